"""What an object asks for, whatever way it is written in: two objects with one meaning ask for the same.

A meaning is a flat mapping from paths to values. Two spellings have one path and value where
the API or the presets of the platform make no difference between them, and only there:

- lists that merge by a key (containers, env, volumes ...) are looked up by that key; the order
  of other lists counts;
- quantities are numbers; requests that are left out are the limits (Kubernetes API);
- arguments and ``VLLM_ADDITIONAL_ARGS`` are one command line: the presets hand both to vLLM,
  through a shell; flags have no order, and the last of a kind counts (models.md 2.4);
- a variable counts together with which references ``$(NAME)`` in it are replaced;
- values that API or presets fill in are filled in, unless a base may say them: names, replicas,
  the port, path and scheme of probes, the default gateway, the scheduler configuration of
  KServe (models.md 1.2, 2.4-2.6), and the defaults of the Gateway API;
- expressions of KServe are replaced by what they stand for, where ``names`` are given;
- labels that mark an object as the platform's are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from inference_platform.models import labels
from inference_platform.models.scheduler import catalogue
from inference_platform.models.server import EXTRA_ARGS, shell_words
from inference_platform.models.strategic_merge import FREE_FORM, MERGE_KEYS
from inference_platform.models.topology import DECODE_PORT, SERVER_PORT

SERVER = "main"
#: Stands in a path where the command line of the server is taken apart.
ARGUMENTS = "(arguments)"

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_HANDLERS = ("httpGet", "exec", "tcpSocket", "grpc")
_PODS = ("template", "worker")
_SHORT_FLAGS = {"-tp": "--tensor-parallel-size", "-dp": "--data-parallel-size", "-pp": "--pipeline-parallel-size"}
_FLAG = re.compile(r"--[A-Za-z].*|-[a-z]+")
_SHELL_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_REFERENCE = re.compile(r"\$\(([A-Za-z_]\w*)\)")
_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(m|k|[KMGTPE]i?|)")
_UNITS = {"m": Decimal("0.001"), "": Decimal(1), "k": Decimal(1000)}
_UNITS |= {unit: Decimal(1000) ** power for power, unit in enumerate("KMGTPE", 1)}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)}
# What these do when left out (models.md 1.2, 2.4).
_PARALLELISM_DEFAULTS = {"tensor": 1, "pipeline": 1, "expert": False, "dataRPCPort": 5555}
_GRACE_SECONDS = 30
_NOT_SAID = {"kubectl.kubernetes.io/last-applied-configuration"}
_GATEWAY_GROUP = "gateway.networking.k8s.io"


class Item(NamedTuple):
    """A step of a path: the item of a list whose ``key`` is ``value``."""

    key: str
    value: Any


Path = tuple[str | Item, ...]
Meaning = dict[Path, Any]


def service_meaning(
    obj: Mapping[str, Any], serving: Mapping[str, Any], names: Mapping[str, str] | None = None
) -> Meaning:
    """The meaning of an LLMInferenceService. ``names`` are those of ``names_of``; without, expressions stay."""
    spec = _copied(obj.get("spec") or {})
    if names:
        spec = evaluated(spec, names)
    _fill_spec(spec, obj["metadata"], serving)
    return _metadata(obj["metadata"]) | flat(_written_out(spec), ("spec",))


def route_meaning(obj: Mapping[str, Any], namespace: str) -> Meaning:
    """The meaning of an HTTPRoute of ``namespace``."""
    spec = _copied(obj.get("spec") or {})
    for parent in spec.get("parentRefs", []):
        _fill(parent, group=_GATEWAY_GROUP, kind="Gateway", namespace=namespace)
    spec["rules"] = [_filled_rule(rule, namespace) for rule in spec.get("rules") or [{}]]
    return _metadata(obj["metadata"]) | flat(_indexed(spec), ("spec",))


def objective_meaning(obj: Mapping[str, Any]) -> Meaning:
    """The meaning of an InferenceObjective: unset priority is 0 (models.md 4.2)."""
    spec = _copied(obj.get("spec") or {})
    _fill(spec, priority=0)
    _fill(spec["poolRef"], group="inference.networking.k8s.io", kind="InferencePool")
    return _metadata(obj["metadata"]) | flat(spec, ("spec",))


def differences(one: Meaning, other: Meaning) -> dict[Path, tuple[Any, Any]]:
    """Where two meanings differ, and what each says there; None: nothing."""
    found = {}
    for path in sorted({*one, *other}, key=shown):
        pair = (one.get(path), other.get(path))
        if pair[0] != pair[1] and not _is_filled_elsewhere(path, pair, one, other):
            found[path] = pair
    return found


def names_of(obj: Mapping[str, Any], namespace: str) -> dict[str, str]:
    """What expressions of KServe in a service stand for (models.md 2.3)."""
    metadata = obj["metadata"]
    model = (obj.get("spec") or {}).get("model") or {}
    return {
        ".ObjectMeta.Name": metadata["name"],
        ".ObjectMeta.Namespace": metadata.get("namespace", namespace),
        ".Spec.Model.Name": model.get("name", metadata["name"]),
    }


def evaluated(value: Any, names: Mapping[str, str]) -> Any:
    """A copy of ``value`` with the expressions that ``names`` know replaced, as KServe does."""
    if isinstance(value, str):
        return _EXPRESSION.sub(lambda found: _stands_for(found, names), value) if "{{" in value else value
    if isinstance(value, Mapping):
        return {key: evaluated(item, names) for key, item in value.items()}
    return [evaluated(item, names) for item in value] if isinstance(value, list) else value


_EXPRESSION = re.compile(
    r"\{\{-?\s*(?:(?P<name>\.[A-Za-z.]+)|ChildName\s+\.ObjectMeta\.Name\s+`(?P<suffix>[^`]*)`|`(?P<text>[^`]*)`)\s*-?\}\}"
)


def _stands_for(found: re.Match[str], names: Mapping[str, str]) -> str:
    if found["text"] is not None:
        return found["text"]
    if found["suffix"] is not None:
        return f"{names['.ObjectMeta.Name']}{found['suffix']}"
    return names.get(found["name"], found[0])


def server_words(container: Mapping[str, Any]) -> list[str] | None:
    """What vLLM sees of arguments and ``VLLM_ADDITIONAL_ARGS`` of a container of a preset.

    None when a quote is not closed. References to variables of the container are written
    ``$(NAME)`` whether a shell or the kubelet replaces them.
    """
    variables = {item["name"]: item for item in container.get("env") or []}
    extra = str(variables.get(EXTRA_ARGS, {}).get("value") or "")
    words: list[str] = []
    for text in [extra, *map(str, container.get("args") or [])]:
        more = shell_words(text)
        if more is None:
            return None
        words += more
    return [_SHELL_VARIABLE.sub(lambda found: _referred(found, variables), word) for word in words]


def flags_of(words: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each flag with its values, in order; words before the first flag come with an empty one."""
    flag, values = "", list[str]()
    for word in words:
        if not _FLAG.fullmatch(word):
            values.append(word)
            continue
        if flag or values:
            yield flag, tuple(values)
        name, sign, value = word.partition("=")
        flag = _SHORT_FLAGS.get(name, name.replace("_", "-"))
        values = [value] if sign else []
    if flag or values:
        yield flag, tuple(values)


def shown(path: Path) -> str:
    """A path as text: spec.template.containers[main].image."""
    text = "".join(f"[{part.value}]" if isinstance(part, Item) else f".{part}" for part in path)
    return text.removeprefix(".")


def quantity(value: Any) -> Any:
    """A Kubernetes quantity as a number; what is none stays."""
    found = _QUANTITY.fullmatch(str(value))
    return Decimal(found[1]) * _UNITS[found[2]] if found else value


# filling in ----------------------------------------------------------------------------


def _fill_spec(spec: dict[str, Any], metadata: Mapping[str, Any], serving: Mapping[str, Any]) -> None:
    has_base = bool(spec.get("baseRefs"))
    if "model" in spec and not has_base:
        _fill(spec["model"], name=metadata["name"])
    for workload in (spec, spec.get("prefill")):
        if workload is not None:
            if not workload.get("scaling") and not has_base:
                _fill(workload, replicas=1)
            _fill_workload(workload, DECODE_PORT if workload is spec and "prefill" in spec else SERVER_PORT, serving)
    router = spec.get("router")
    if router is not None:
        _fill_router(router, "prefill" in spec, has_base, serving)


def _fill_workload(workload: dict[str, Any], port: int, serving: Mapping[str, Any]) -> None:
    parallelism = workload.get("parallelism")
    if parallelism is not None:
        kept = {key: value for key, value in parallelism.items() if _PARALLELISM_DEFAULTS.get(key) != value}
        workload["parallelism"] = kept
        if not kept:
            del workload["parallelism"]
    if "template" in workload:
        for container in workload["template"].get("containers") or []:
            if container.get("name") == SERVER:
                _fill_probes(container, port, "HTTPS" if serving["tls"] else "HTTP")


def _fill_probes(container: dict[str, Any], port: int, scheme: str) -> None:
    """The presets have all three; a container of the same name is merged over them (models.md 2.4)."""
    for name in PROBES:
        probe = container.setdefault(name, {})
        if not any(handler in probe for handler in _HANDLERS[1:]):
            _fill(probe.setdefault("httpGet", {}), path="/health", port=port, scheme=scheme)
        if probe.get("successThreshold") == 1:
            del probe["successThreshold"]


def _fill_router(router: dict[str, Any], prefill: bool, has_base: bool, serving: Mapping[str, Any]) -> None:
    managed = "route" in router and not ((router["route"] or {}).get("http") or {}).get("refs")
    if managed and not (router.get("gateway") or {}).get("refs"):
        gateway = serving["gateway"]
        router["gateway"] = {"refs": [{"name": gateway["name"], "namespace": gateway["namespace"]}]}
    scheduler = router.get("scheduler")
    if scheduler is None:
        return
    if not scheduler.get("config") and not (scheduler.get("pool") or {}).get("ref") and not has_base:
        scheduler["config"] = {"inline": _kserve_default(prefill, serving["endpoint_picker"])}
    template = scheduler.get("template") or {}
    if "containers" in template:
        stubs = [{"name": name} for name in serving["scheduler_containers"]]
        template["containers"] = [item for item in template["containers"] if item not in stubs]
        if not template["containers"]:
            del template["containers"]
    if not template:
        scheduler.pop("template", None)


def _kserve_default(prefill: bool, program: str) -> dict[str, Any]:
    """The EndpointPickerConfig that KServe makes for an endpoint picker when none is given (models.md 2.6)."""
    scorers = [{"pluginRef": "queue-scorer", "weight": 2}, {"pluginRef": "prefix-cache-scorer", "weight": 3}]
    last = {"pluginRef": "max-score-picker"}
    chosen = ["queue-scorer", "prefix-cache-scorer", "max-score-picker"]
    if prefill:
        names = ["disagg-headers-handler", "prefill-filter", "decode-filter", *chosen, "always-disagg-pd-decider"]
        handler = {
            "type": "disagg-profile-handler",
            "parameters": {"deciders": {"prefill": "always-disagg-pd-decider"}},
        }
        plugins: list[dict[str, Any]] = [*({"type": name} for name in names), handler]
        profiles = [
            {"name": role, "plugins": [{"pluginRef": f"{role}-filter"}, *scorers, last]}
            for role in ("prefill", "decode")
        ]
    else:
        plugins = [{"type": name} for name in ("single-profile-handler", *chosen)]
        profiles = [{"name": "default", "plugins": [*scorers, last]}]
    return {
        "apiVersion": catalogue.load().programs[program].api_version,
        "kind": "EndpointPickerConfig",
        "plugins": plugins,
        "schedulingProfiles": profiles,
    }


def _filled_rule(rule: dict[str, Any], namespace: str) -> dict[str, Any]:
    """A rule of an HTTPRoute with the defaults of the Gateway API."""
    rule["matches"] = rule.get("matches") or [{}]
    for match in rule["matches"]:
        _fill(match.setdefault("path", {}), type="PathPrefix", value="/")
        for condition in [*match.get("headers", []), *match.get("queryParams", [])]:
            _fill(condition, type="Exact")
    for item in rule.get("filters", []):
        if "requestRedirect" in item:
            _fill(item["requestRedirect"], statusCode=302)
        if "requestMirror" in item:
            _fill(item["requestMirror"]["backendRef"], group="", kind="Service", namespace=namespace)
    for backend in rule.get("backendRefs", []):
        _fill(backend, group="", kind="Service", namespace=namespace, weight=1)
    return rule


def _fill(block: dict[str, Any], **values: Any) -> None:
    for key, value in values.items():
        block.setdefault(key, value)


# taking apart ----------------------------------------------------------------------------


def flat(value: Any, path: Path = (), in_pod: bool = False) -> Meaning:
    """The leaves of ``value`` by their paths. Lists of a pod that merge by a key are not leaves, other lists are."""
    if isinstance(value, Mapping) and path[-1] not in FREE_FORM:
        found: Meaning = {} if value else {path: "{}"}
        for key, item in value.items():
            found |= flat(item, (*path, key), in_pod or key in _PODS)
        return found
    key = MERGE_KEYS.get(str(path[-1])) if in_pod and path else None
    if isinstance(value, list) and key and all(isinstance(item, Mapping) and key in item for item in value):
        found = {}
        for item in value:
            inside = {name: part for name, part in item.items() if name != key}
            found |= flat(inside, (*path, Item(key, item[key])), in_pod)
        return found
    whole = isinstance(value, (list, Mapping))
    return {path: json.dumps(value, sort_keys=True, default=str) if whole else value}


def _written_out(spec: dict[str, Any]) -> dict[str, Any]:
    """``spec`` with its pods in terms in which two spellings are one."""
    opaque = bool(spec.get("baseRefs"))
    for workload in (spec, spec.get("prefill") or {}):
        for key in _PODS:
            if isinstance(workload.get(key), dict):
                _write_out_pod(workload[key], opaque)
    scheduler = (spec.get("router") or {}).get("scheduler") or {}
    if isinstance(scheduler.get("template"), dict):
        _write_out_pod(scheduler["template"], True)
    if (spec.get("router") or {}).get("gateway"):
        references = spec["router"]["gateway"].get("refs") or []
        spec["router"]["gateway"]["refs"] = sorted(references, key=lambda item: json.dumps(item, sort_keys=True))
    return spec


def _write_out_pod(pod: dict[str, Any], opaque: bool) -> None:
    if pod.get("terminationGracePeriodSeconds") == _GRACE_SECONDS:
        del pod["terminationGracePeriodSeconds"]
    for volume in pod.get("volumes") or []:
        if "sizeLimit" in (volume.get("emptyDir") or {}):
            volume["emptyDir"]["sizeLimit"] = quantity(volume["emptyDir"]["sizeLimit"])
    for kind in ("containers", "initContainers"):
        for container in pod.get(kind) or []:
            by_preset = kind == "containers" and container.get("name") == SERVER and "command" not in container
            _write_out_container(container, by_preset and not opaque)


def _write_out_container(container: dict[str, Any], by_preset: bool) -> None:
    words = server_words(container) if by_preset else None
    if words is not None:
        container["env"] = [item for item in container.get("env") or [] if item["name"] != EXTRA_ARGS]
        container.pop("args", None)
        container[ARGUMENTS] = dict(_said(flag, values) for flag, values in flags_of(words))
        for key in ("env", ARGUMENTS):
            if not container[key]:
                del container[key]
    seen: set[str] = set()
    for item in container.get("env") or []:
        _write_out_variable(item, seen)
        seen.add(item["name"])
    resources = container.get("resources")
    if resources:
        limits = {key: quantity(value) for key, value in (resources.pop("limits", None) or {}).items()}
        requests = {key: quantity(value) for key, value in (resources.pop("requests", None) or {}).items()}
        resources |= {key: part for key, part in (("limits", limits), ("requests", {**limits, **requests})) if part}


def _write_out_variable(item: dict[str, Any], seen: set[str]) -> None:
    field = (item.get("valueFrom") or {}).get("fieldRef") or {}
    if field.get("apiVersion") == "v1":
        del field["apiVersion"]
    if "valueFrom" not in item:
        text = item.get("value") or ""
        item["value"] = _REFERENCE.sub(lambda found: f"<{found[1]}>" if found[1] in seen else found[0], text)


def _said(flag: str, values: tuple[str, ...]) -> tuple[str, Any]:
    positive = f"--{flag.removeprefix('--no-')}" if flag.startswith("--no-") else flag
    if positive != flag and not values:
        return positive, "off"
    return flag, " ".join(map(_canonical, values)) if values else "on"


def _canonical(value: str) -> str:
    """JSON in one spelling; other texts as they are."""
    try:
        return json.dumps(json.loads(value), sort_keys=True) if value[:1] in "{[" else value
    except ValueError:
        return value


def _referred(found: re.Match[str], variables: Mapping[str, Any]) -> str:
    name = found[1] or found[2]
    return f"$({name})" if name in variables else found[0]


def _metadata(metadata: Mapping[str, Any]) -> Meaning:
    ours = labels.managed({})
    own = (labels.MODEL, labels.ROUTE, labels.GROUP)
    found: Meaning = {}
    for key, value in (metadata.get("labels") or {}).items():
        if ours.get(key) != value and key not in own:
            found[("metadata", "labels", key)] = value
    for key, value in (metadata.get("annotations") or {}).items():
        if key not in _NOT_SAID:
            found[("metadata", "annotations", key)] = value
    return found


def _indexed(spec: dict[str, Any]) -> dict[str, Any]:
    """Lists of mappings as mappings by position, so that a difference has a place."""

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            return {str(index): walk(item) for index, item in enumerate(value)}
        return value

    return {key: walk(value) for key, value in spec.items()}


def _is_filled_elsewhere(path: Path, pair: tuple[Any, Any], one: Meaning, other: Meaning) -> bool:
    """Whether an empty mapping on one side has content on the other, which is a difference of its own."""
    if pair not in (("{}", None), (None, "{}")):
        return False
    full = other if pair[0] == "{}" else one
    return any(key[: len(path)] == path for key in full)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items() if item is not None}
    return [_copied(item) for item in value] if isinstance(value, list) else value
