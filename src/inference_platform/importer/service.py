"""The settings of an LLMInferenceService that have a field in the language.

What is left out here is not lost: whoever renders the entry sees what is missing and puts
it into ``override``. So this only has to find the fields, not to account for everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from inference_platform.importer.meaning import PROBES, SERVER, flags_of, server_words
from inference_platform.models import services
from inference_platform.models.merge import ALTERNATIVES
from inference_platform.models.pods import PROBE_FIELDS
from inference_platform.models.server import EXTRA_ARGS, NO_CONNECTOR, flags, variables
from inference_platform.schema import inlined_schema, mistakes, validator

_POD_FIELDS = {
    "nodeSelector": "node_selector",
    "tolerations": "tolerations",
    "affinity": "affinity",
    "topologySpreadConstraints": "topology_spread",
    "priorityClassName": "priority_class",
    "schedulerName": "scheduler_name",
    "serviceAccountName": "service_account",
    "terminationGracePeriodSeconds": "termination_grace_period_seconds",
}
_ANNOTATIONS = {
    services.SECRET_ANNOTATION: "credentials_secret",
    services.NETWORKS_ANNOTATION: "networks",
    services.EXCLUSIVE_ANNOTATION: "exclusive_topology",
}
_RESOURCES = {
    ("requests", "cpu"): "cpu",
    ("limits", "cpu"): "cpu_limit",
    ("requests", "memory"): "memory",
    ("limits", "memory"): "memory_limit",
    ("limits", "ephemeral-storage"): "ephemeral_storage",
}
_GPU = re.compile(r"[a-z0-9.-]+/(gpu|mig-.+|gaudi|spyre_.+)")
_RDMA = re.compile(r"rdma/.+|.+/efa")
_TRANSFER = "--kv-transfer-config"
_SIDE_CHANNEL = "VLLM_NIXL_SIDE_CHANNEL_HOST"
_POD_IP = {"field": "status.podIP"}
_KV_TRANSFER = {"kv_connector": "connector", "kv_role": "role", "kv_connector_extra_config": "config"}
_NUMBERS = {"--tensor-parallel-size": "tensor", "--data-parallel-size": "data_local"}
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def settings_of(metadata: Mapping[str, Any], spec: Mapping[str, Any], serving: Mapping[str, Any]) -> dict[str, Any]:
    """The entry, without name and namespace, as far as the language has fields.

    Texts that still hold expressions of KServe are left out: a field would take them literally.
    """
    entry = {**_source(spec), **_metadata(metadata)}
    opaque = bool(spec.get("baseRefs"))
    entry |= _workload(spec, serving, opaque)
    prefill = spec.get("prefill")
    sides = [entry] if prefill is None else [entry, _workload(prefill, serving, opaque)]
    transfer = _transfer(sides)
    if transfer is not None:
        entry["kv_transfer"] = transfer
    pull_secrets = _pull_secrets(spec, serving)
    if pull_secrets:
        entry["pull_secrets"] = pull_secrets
    if prefill is not None:
        inherited = {key: entry[key] for key in _heritable() if key in entry}
        entry["prefill"] = beyond(sides[1], inherited)
    entry |= _router(spec.get("router"), opaque)
    if opaque:
        entry["base_refs"] = [item["name"] for item in spec["baseRefs"]]
    for key, name in (("kvCacheOffloading", "kv_cache_offloading"), ("tracing", "tracing")):
        if spec.get(key):
            entry[name] = renamed(spec[key], services.TRACING_FIELDS) if key == "tracing" else spec[key]
    return entry


def beyond(settings: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """What ``settings`` say over ``below``, so that merging gives ``settings``; null takes back what is below."""
    result: dict[str, Any] = {}
    for key in dict.fromkeys([*settings, *below]):
        if key not in settings:
            result[key] = None
        elif isinstance(settings[key], Mapping) and isinstance(below.get(key), Mapping):
            inside = beyond(settings[key], below[key])
            if inside:
                result[key] = inside
        elif key not in below or settings[key] != below[key]:
            result[key] = settings[key]
    return result


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What ``values`` say under the names of the API, under those of the language ({language: API})."""
    return {name: values[field] for name, field in names.items() if field in values}


# the model -------------------------------------------------------------------------------


def _source(spec: Mapping[str, Any]) -> dict[str, Any]:
    model = spec.get("model") or {}
    entry = {name: model[key] for key, name in (("uri", "uri"), ("name", "served_name")) if _plain(model.get(key))}
    lora = model.get("lora") or {}
    if lora.get("adapters"):
        adapters = [{key: item[key] for key in ("name", "uri") if key in item} for item in lora["adapters"]]
        entry["lora"] = {"adapters": adapters, **renamed(lora, services.LORA_FIELDS)}
    if (spec.get("storageInitializer") or {}).get("enabled") is False:
        entry["storage_initializer"] = False
    return entry


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != _LAST_APPLIED}
    entry: dict[str, Any] = {name: annotations.pop(key) for key, name in _ANNOTATIONS.items() if key in annotations}
    if annotations.get(services.STOP_ANNOTATION) == "true":
        del annotations[services.STOP_ANNOTATION]
        entry["state"] = "stopped"
    if annotations:
        entry["annotations"] = annotations
    if metadata.get("labels"):
        entry["labels"] = dict(metadata["labels"])
    return entry


# pods ------------------------------------------------------------------------------------


def _workload(workload: Mapping[str, Any], serving: Mapping[str, Any], opaque: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if workload.get("scaling"):
        settings["scaling"] = _scaling(workload["scaling"])
    elif "replicas" in workload:
        settings["replicas"] = workload["replicas"]
    parallelism = renamed(workload.get("parallelism") or {}, services.PARALLELISM_FIELDS)
    if parallelism.get("tensor") == 1:
        del parallelism["tensor"]
    if parallelism:
        settings["parallelism"] = parallelism
    for key, name in (("labels", "pod_labels"), ("annotations", "pod_annotations")):
        if workload.get(key):
            settings[name] = dict(workload[key])
    pod = workload.get("template") or {}
    settings |= {name: pod[key] for key, name in _POD_FIELDS.items() if pod.get(key) and _plain(pod[key])}
    _take_product(settings, serving)
    for volume in pod.get("volumes") or []:
        memory = volume.get("emptyDir") or {}
        if volume.get("name") == "dshm" and memory.get("medium") == "Memory" and "sizeLimit" in memory:
            settings["shm"] = str(memory["sizeLimit"])
    server: Mapping[str, Any] = next((item for item in pod.get("containers") or [] if item.get("name") == SERVER), {})
    _server(server, settings, serving, opaque)
    return settings


def _take_product(settings: dict[str, Any], serving: Mapping[str, Any]) -> None:
    selector = settings.get("node_selector", {})
    label = serving["gpu"]["product_label"]
    if label in selector:
        settings["gpu"] = {"product": selector[label]}
        settings["node_selector"] = {key: value for key, value in selector.items() if key != label}
        if not settings["node_selector"]:
            del settings["node_selector"]


def _server(server: Mapping[str, Any], settings: dict[str, Any], serving: Mapping[str, Any], opaque: bool) -> None:
    own_command = "command" in server
    for key in ("image", "command"):
        if key in server and _plain(server[key]):
            settings[key] = server[key]
    words = None if own_command or opaque else server_words(server)
    env = {item["name"]: item for item in server.get("env") or []}
    if words is not None and all(map(_plain, words)):
        env.pop(EXTRA_ARGS, None)
        _arguments(words, settings)
    elif server.get("args") and _plain(server["args"]) and not opaque:
        settings["args"] = [str(word) for word in server["args"]]
    _environment(env.values(), settings)
    settings["gpu"] = {**settings.get("gpu", {}), **_resources(server.get("resources") or {}, settings, serving)}
    timing = {key.removesuffix("Probe"): renamed(server.get(key) or {}, PROBE_FIELDS) for key in PROBES}
    if any(timing.values()):
        settings["probes"] = {name: values for name, values in timing.items() if values}


def _arguments(words: list[str], settings: dict[str, Any]) -> None:
    """Arguments with a field go there; the others stay arguments."""
    kept: list[str] = []
    for flag, values in flags_of(words):
        value = values[0] if len(values) == 1 else None
        number = _NUMBERS.get(flag)
        name = _named_flags().get(flag)
        if number and value and value.isdigit():
            settings.setdefault("parallelism", {})[number] = int(value)
        elif flag == "--enable-expert-parallel" and not values:
            settings.setdefault("parallelism", {})["expert"] = True
        elif name and len(values) <= 1 and _fits(name, value):
            settings.setdefault("vllm", {})[name] = _typed(name, value)
        elif flag.startswith("--no-") and not values and _fits(_named_flags().get(f"--{flag[5:]}", ""), "false"):
            settings.setdefault("vllm", {})[_named_flags()[f"--{flag[5:]}"]] = False
        else:
            kept += [*([flag] if flag else []), *values]
    if kept:
        settings["args"] = kept


def _environment(given: Iterable[Mapping[str, Any]], settings: dict[str, Any]) -> None:
    env: dict[str, Any] = {}
    named = {variable: name for name, variable in variables().items()}
    for item in given:
        name, value = item["name"], item.get("value") or ""
        source = _value_from(item.get("valueFrom") or {})
        if not _plain(value):
            continue
        if source is not None:
            env[name] = source
        elif "valueFrom" in item:
            continue
        elif _fits(named.get(name, ""), value):
            settings.setdefault("vllm", {})[named[name]] = _typed(named[name], value)
        elif name == "KSERVE_INFER_ROCE" and value in ("true", "false"):
            settings.setdefault("rdma", {})["roce"] = value == "true"
        elif name == "UCX_TLS":
            settings.setdefault("rdma", {})["ucx_tls"] = value
        else:
            env[name] = value
    if env:
        settings["env"] = env


def _value_from(source: Mapping[str, Any]) -> dict[str, Any] | None:
    if "fieldRef" in source:
        return {"field": source["fieldRef"]["fieldPath"]}
    for key, kind in (("secretKeyRef", "secret"), ("configMapKeyRef", "config_map")):
        if key in source and not source[key].get("optional"):
            return {kind: source[key]["name"], "key": source[key]["key"]}
    return None


def _resources(resources: Mapping[str, Any], settings: dict[str, Any], serving: Mapping[str, Any]) -> dict[str, Any]:
    """Fills resources and RDMA devices; the GPUs are returned."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    found = {
        (kind, key): values[key] for kind, values in (("limits", limits), ("requests", requests)) for key in values
    }
    given: dict[str, Any] = {name: str(found[key]) for key, name in _RESOURCES.items() if key in found}
    if given.get("memory_limit") == given.get("memory"):
        given.pop("memory_limit", None)
    gpu: dict[str, Any] = {"count": 0}
    for name, count in limits.items():
        if _GPU.fullmatch(name):
            gpu = {"count": int(count), **({"resource": name} if name != serving["gpu"]["resource"] else {})}
        elif _RDMA.fullmatch(name):
            settings.setdefault("rdma", {}).update(resource=name, count=int(count))
        elif "/" in name:
            given.setdefault("devices", {})[name] = int(count)
    if given:
        settings["resources"] = given
    return gpu


def _scaling(scaling: Mapping[str, Any]) -> dict[str, Any]:
    wva = scaling.get("wva") or {}
    result = renamed(scaling, services.SCALING_FIELDS) | renamed(wva, {"variant_cost": "variantCost"})
    if "hpa" in wva:
        result["hpa"] = dict(wva["hpa"] or {})
    if "keda" in wva:
        keda = wva["keda"] or {}
        result["keda"] = renamed(keda, services.KEDA_FIELDS)
        if "fallback" in keda:
            result["keda"]["fallback"] = renamed(keda["fallback"], services.FALLBACK_FIELDS)
    return result


def _pull_secrets(spec: Mapping[str, Any], serving: Mapping[str, Any]) -> list[str]:
    pods = [(workload or {}).get("template") or {} for workload in (spec, spec.get("prefill"))]
    names = [item["name"] for pod in pods for item in pod.get("imagePullSecrets") or []]
    return [name for name in dict.fromkeys(names) if name != serving["pull_secret"]]


def _transfer(sides: list[dict[str, Any]]) -> dict[str, Any] | None:
    """How KV cache moves, taken out of the arguments when all sides say the same; None: nothing to say."""
    given = [dict(flags_of(side.get("args", []))).get(_TRANSFER) for side in sides]
    config = json.loads(given[0][0]) if given[0] and len(set(given)) == 1 else {}
    if "kv_connector" not in config or set(config) - set(_KV_TRANSFER):
        return {"connector": NO_CONNECTOR} if len(sides) > 1 else None
    for side in sides:
        kept = [word for flag, values in flags_of(side["args"]) if flag != _TRANSFER for word in (flag, *values)]
        _put_or_drop(side, "args", [word for word in kept if word])
        env = {name: value for name, value in side.get("env", {}).items() if (name, value) != (_SIDE_CHANNEL, _POD_IP)}
        _put_or_drop(side, "env", env)
    return {name: config[key] for key, name in _KV_TRANSFER.items() if key in config}


def _put_or_drop(settings: dict[str, Any], key: str, value: Any) -> None:
    if value:
        settings[key] = value
    else:
        settings.pop(key, None)


# routing ---------------------------------------------------------------------------------


def _router(router: Mapping[str, Any] | None, has_base: bool) -> dict[str, Any]:
    if router is None:
        return {"router": {"route": "none"}}
    block: dict[str, Any] = {}
    gateways = (router.get("gateway") or {}).get("refs")
    if gateways:
        names = {"name": "name", "namespace": "namespace", "section_name": "sectionName"}
        block["gateways"] = [renamed(item, names) for item in gateways]
    route = router.get("route") or {}
    references = (route.get("http") or {}).get("refs")
    if references:
        block |= {"route": "own", "routes": [item["name"] for item in references]}
    block |= renamed(route, {"group": "group", "weight": "weight"})
    settings = _scheduler(router.get("scheduler"), block, has_base)
    return {key: value for key, value in (("router", block), ("scheduler", settings)) if value}


def _scheduler(scheduler: Mapping[str, Any] | None, block: dict[str, Any], has_base: bool) -> dict[str, Any]:
    if scheduler is None:
        return {} if has_base else {"enabled": False}
    pool = (scheduler.get("pool") or {}).get("ref") or {}
    if pool.get("name"):
        block["pool"] = pool["name"]
        return {}
    settings = renamed(scheduler, {"replicas": "replicas", "pod_labels": "labels", "pod_annotations": "annotations"})
    config = (scheduler.get("config") or {}).get("inline")
    if isinstance(config, Mapping) and _plain(config):
        settings |= {"strategy": "custom", "config": dict(config)}
    return settings


# named settings --------------------------------------------------------------------------


@cache
def _heritable() -> tuple[str, ...]:
    prefill = inlined_schema("model")["properties"]["prefill"]["properties"]
    return tuple(key for key in prefill if key not in ALTERNATIVES)


@cache
def _named_flags() -> dict[str, str]:
    return {flag: name for name, flag in flags().items()}


def _rule_of(name: str) -> dict[str, Any]:
    return dict(inlined_schema("model")["properties"]["vllm"]["properties"][name])


def _fits(name: str, value: str | None) -> bool:
    """Whether there is a named setting, and it can hold what a flag or variable says."""
    if not name:
        return False
    try:
        return not mistakes(_typed(name, value), validator(_rule_of(name)))
    except ValueError:
        return False


def _typed(name: str, value: str | None) -> Any:
    """What a flag or variable says, in the type of the named setting; ValueError when it cannot be."""
    kinds = _rule_of(name).get("type", "string")
    if kinds == "boolean":
        if value not in (None, "true", "false"):
            raise ValueError(value)
        return value != "false"
    if value is None:
        raise ValueError("no value")
    if kinds == "object":
        return json.loads(value)
    if "integer" in kinds and value.isdigit():
        return int(value)
    if kinds == "integer":
        raise ValueError(value)
    if kinds == "number":
        return int(value) if value.isdigit() else float(value)
    return value


def _plain(value: Any) -> bool:
    """Whether there is a value, without expressions of KServe."""
    return value is not None and "{{" not in json.dumps(value, default=str)
