"""Rules about the rendered spec of a model, after override: what KServe's admission asks, and what override may break.

Most of them hold by construction without override. The admission rules are those of
models.md 1.5; they are checked here so that nothing is refused half way through a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from inference_platform.findings import ERROR, WARNING, show
from inference_platform.models import scheduler
from inference_platform.models.merge import has
from inference_platform.models.pods import gpu_resource, tolerations
from inference_platform.models.rules.engine import SPEC, Objection
from inference_platform.models.rules.registry import rule
from inference_platform.models.server import EXTRA_ARGS, shell_words
from inference_platform.models.services import parallelism_spec
from inference_platform.models.subjects import Subject
from inference_platform.models.topology import Workload
from inference_platform.schema import KeyPath, or_list

Spec = Mapping[str, Any]

SERVER_CONTAINER = "main"

# Fields of the spec and where an entry says them.
_FIELDS: Mapping[KeyPath, KeyPath] = {
    ("scaling", "minReplicas"): ("scaling", "min_replicas"),
    ("scaling", "maxReplicas"): ("scaling", "max_replicas"),
    ("scaling", "wva"): ("scaling",),
    ("scaling", "wva", "keda"): ("scaling", "keda"),
    ("scaling", "wva", "keda", "advanced"): ("scaling", "keda", "advanced"),
    ("scaling", "wva", "keda", "idleReplicaCount"): ("scaling", "keda", "idle_replica_count"),
    ("router", "route", "http", "refs"): ("router", "routes"),
    ("router", "route", "http", "spec"): ("router",),
    ("router", "gateway"): ("router", "gateways"),
    ("router", "scheduler", "replicas"): ("scheduler", "replicas"),
    ("router", "scheduler", "config"): ("scheduler",),
    ("template", "topologySpreadConstraints"): ("topology_spread",),
    ("worker", "topologySpreadConstraints"): ("topology_spread",),
}
# Lists of a pod whose items the API tells apart by these keys (x-kubernetes-list-map-keys of the CRD).
_ITEM_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "ports": ("containerPort", "protocol"),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
_ITEM_KEY_DEFAULTS = {"protocol": "TCP"}
_PARALLEL_FLAGS = {
    "--tensor-parallel-size": "tensor",
    "-tp": "tensor",
    "--data-parallel-size": "data",
    "-dp": "data",
    "--pipeline-parallel-size": "pipeline",
    "-pp": "pipeline",
}
# What KServe knows in double braces (models.md 2.3).
_ACTION = re.compile(
    r"\{\{-?\s*(\.ObjectMeta\.(Name|Namespace)|\.Spec(\.[A-Za-z]+)+|\.GlobalConfig\.[A-Za-z]+"
    r"|ChildName\s+\.ObjectMeta\.Name\s+`[^`]*`|`[^`]*`)\s*-?\}\}"
)


@dataclass(frozen=True)
class SpecPod:
    """A pod template of the spec, the workload it is of, and its place in the spec."""

    path: KeyPath
    pod: Mapping[str, Any]
    workload: Workload

    @property
    def is_worker(self) -> bool:
        """Whether it is the pod of further nodes of a group."""
        return self.path[-1] == "worker"

    @property
    def server(self) -> Mapping[str, Any] | None:
        """The container of the model server; None when override took it away."""
        containers = self.pod.get("containers") or []
        found = (item for item in containers if isinstance(item, Mapping) and item.get("name") == SERVER_CONTAINER)
        return next(found, None)


@rule("IP-MOD-103", "Tensor parallelism reaches vLLM.", SPEC, catches=("mistake 3",))
def parallelism_reaches_the_server(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Presets for one node give vLLM no parallel size; without it one GPU works and the others idle."""
    for one in _pods(subject, spec):
        server = one.server
        if server is None or one.workload.multi_node or "command" in server or not one.workload.gpus:
            continue
        sizes = _parallel_sizes(server)
        used = sizes.get("tensor", 1) * sizes.get("data", 1) * sizes.get("pipeline", 1)
        if used != one.workload.gpus:
            yield Objection(
                _blame(subject, (*one.path, "containers")),
                f"arguments for {one.workload.gpus} GPUs",
                f"arguments for {used}",
                "List all arguments in override, --tensor-parallel-size too, or use args.",
            )


@rule("IP-MOD-106", "Worker pods come with data or pipeline parallelism.", SPEC, catches=("mistake 6", "admission 8"))
def workers_have_parallelism(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """KServe cannot tell what the pods of a group are for."""
    for path, workload in _workloads(spec):
        parallelism = workload.get("parallelism") or {}
        if "worker" in workload and not any(parallelism.get(key) for key in ("data", "dataLocal", "pipeline")):
            yield Objection(
                _blame(subject, (*path, "worker")),
                "data and data_local, or pipeline, with worker pods",
                "none of them",
                "Set parallelism; worker pods follow from it.",
            )


@rule("IP-MOD-113", "A scheduler pod names the containers of its preset.", SPEC, catches=("mistake 13",))
def scheduler_pods_name_their_containers(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """A pod template without containers is refused by the API server."""
    template = _at(spec, "router", "scheduler", "template")
    if not isinstance(template, Mapping):
        return
    named = [item.get("name") for item in template.get("containers") or [] if isinstance(item, Mapping)]
    missing = [name for name in subject.serving["scheduler_containers"] if name not in named]
    if missing:
        yield Objection(
            _blame(subject, ("router", "scheduler", "template", "containers")),
            f"the containers {or_list(subject.serving['scheduler_containers'])}",
            f"{', '.join(missing)} missing",
            "Name them all; what is not said about them stays as in the preset.",
        )


@rule("IP-MOD-114", "Every pod may pull its images.", SPEC, catches=("mistake 14",))
def pods_have_the_pull_secret(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Serving pods and scheduler run under different ServiceAccounts, so each names the secret itself."""
    wanted = subject.serving["pull_secret"]
    if not wanted:
        return
    pods = [(one.path, one.pod) for one in _pods(subject, spec)]
    scheduler_pod = _at(spec, "router", "scheduler", "template")
    if scheduler_pod is not None:
        pods.append((("router", "scheduler", "template"), scheduler_pod))
    for path, pod in pods:
        secrets = [item.get("name") for item in pod.get("imagePullSecrets") or [] if isinstance(item, Mapping)]
        if wanted not in secrets:
            yield Objection(
                _blame(subject, (*path, "imagePullSecrets")),
                f"the pull secret {wanted}",
                "not named",
                "Do not remove imagePullSecrets; add to them by name.",
            )


@rule("IP-MOD-115", "The container of the server is called main.", SPEC, catches=("mistake 15",))
def the_server_is_called_main(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """A container of another name is one more, beside that of the preset, and then needs an image."""
    for one in _pods(subject, spec):
        for container in one.pod.get("containers") or []:
            if (
                isinstance(container, Mapping)
                and container.get("name") != SERVER_CONTAINER
                and "image" not in container
            ):
                yield Objection(
                    _blame(subject, (*one.path, "containers")),
                    f"{SERVER_CONTAINER}, or a further container with an image",
                    show(container.get("name")),
                    f"Rename it to {SERVER_CONTAINER} to change the server, or give it an image.",
                )
        if one.server is None:
            yield Objection(
                _blame(subject, (*one.path, "containers")),
                f"a container {SERVER_CONTAINER}",
                "none",
                f"Do not remove the container {SERVER_CONTAINER}.",
            )


@rule("IP-MOD-117", "Lists that override gives are complete.", SPEC, WARNING, catches=("mistake 17",))
def replaced_lists_are_complete(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Tolerations and arguments are replaced as a whole (models.md 2.2)."""
    if "override" not in subject.entry:
        return
    for one in _pods(subject, spec):
        given = one.pod.get("tolerations") or []
        lost = [item for item in tolerations(one.workload, subject.serving) if item not in given]
        for toleration in lost:
            yield Objection(
                _blame(subject, (*one.path, "tolerations")),
                f"the toleration of {toleration.get('key', 'all taints')} too, which GPU nodes may need",
                "a list without it",
                "Give tolerations outside override; they are added to those of the platform.",
            )


@rule("IP-MOD-118", "Probes look where the server listens.", SPEC, catches=("mistake 18",))
def probes_fit_the_server(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """A probe on the wrong port or scheme kills a healthy server (models.md 2.4, 3.2)."""
    scheme = "HTTPS" if subject.serving["tls"] else "HTTP"
    for one in _pods(subject, spec):
        if one.server is None or "command" in one.server:
            continue
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            look = _at(one.server, kind, "httpGet") or {}
            for field, wanted in (("port", one.workload.port), ("scheme", scheme)):
                if field in look and look[field] != wanted:
                    yield Objection(
                        _blame(subject, (*one.path, "containers")),
                        f"{field} {wanted} in {kind} of {one.workload.role} pods",
                        show(look[field]),
                        f"Remove {field}, or set timing in probes.",
                    )


@rule("IP-MOD-126", "Adapters are given in the way that the release serves.", SPEC, catches=("mistake 26",))
def adapters_are_not_ignored(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """The controller of this release reads past model.lora (models.md 1.2)."""
    if subject.serving["lora"] == "arguments" and _at(spec, "model", "lora") is not None:
        yield Objection(
            _blame(subject, ("model", "lora")),
            f"no model.lora, which KServe ignores in release {subject.serving['release']}",
            "model.lora",
            "Give adapters in lora, outside override.",
        )


@rule("IP-MOD-132", "Double braces in override mean what KServe reads.", SPEC, catches=("mistake 32",))
def braces_can_be_evaluated(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """KServe evaluates the whole spec as a Go template; what it does not know stops the model."""
    del spec
    for path, text in _texts(subject.entry.get("override"), ("override",)):
        if "{{" in _ACTION.sub("", text):
            yield Objection(
                path,
                "text without {{, or one of KServe's own expressions such as {{ .ObjectMeta.Name }}",
                show(text),
                "Write {{`{{`}} for two braces, or give the value outside override, where braces are text.",
            )


@rule("IP-MOD-201", "replicas and scaling exclude each other in the spec.", SPEC, catches=("admission 1", "mistake 7"))
def replicas_exclude_scaling(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Refused by the API server."""
    for path, workload in _workloads(spec):
        if workload.get("replicas") is not None and workload.get("scaling") is not None:
            yield Objection(
                _blame(subject, (*path, "scaling")),
                "replicas or scaling",
                "both",
                "Remove one of the two; null removes.",
            )


@rule("IP-MOD-202", "Limits of autoscaling are in order.", SPEC, catches=("admission 2", "mistake 25"))
def scaling_limits_are_in_order(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """1 <= idle < min <= max; an idle count needs a minimum (models.md 1.4)."""
    for path, scaling in _scalings(spec):
        least, most = scaling.get("minReplicas"), scaling.get("maxReplicas")
        idle = _at(scaling, "wva", "keda", "idleReplicaCount")
        if "wva" not in scaling:
            yield Objection(_blame(subject, (*path, "wva")), "hpa or keda", "none", "Add scaling.hpa or scaling.keda.")
        if least is not None and most is not None and least > most:
            yield Objection(
                _blame(subject, (*path, "minReplicas")),
                f"at most max_replicas, {most}",
                str(least),
                "Lower min_replicas.",
            )
        if idle is not None and (not _is_number(least) or idle >= least):
            yield Objection(
                _blame(subject, (*path, "wva", "keda", "idleReplicaCount")),
                "less than min_replicas, which is then needed",
                f"{idle} with min_replicas {show(least)}",
                "Raise min_replicas, or remove idle_replica_count.",
            )


@rule("IP-MOD-203", "Autoscaling has one of hpa and keda.", SPEC, catches=("admission 3",))
def scaling_has_one_actuator(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Refused by the API server."""
    for path, scaling in _scalings(spec):
        given = [kind for kind in ("hpa", "keda") if _at(scaling, "wva", kind) is not None]
        if "wva" in scaling and len(given) != 1:
            yield Objection(
                _blame(subject, (*path, "wva")),
                "hpa or keda",
                "both" if given else "none",
                "Write hpa: {} for a HorizontalPodAutoscaler, or keda: {}.",
            )


@rule("IP-MOD-204", "KEDA gets no settings of its own.", SPEC, catches=("admission 4",))
def keda_settings_are_allowed(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """The trigger and the name of the HPA are KServe's (models.md 1.4).

    The CRD refuses every ``advanced``: its rule asks for the length of scalingModifiers.metricType, which may neither
    be empty nor absent.
    """
    for path, scaling in _scalings(spec):
        if _at(scaling, "wva", "keda", "advanced") is not None:
            yield Objection(
                _blame(subject, (*path, "wva", "keda", "advanced")),
                "keda without advanced, which the API server refuses whatever is in it",
                "advanced",
                "Remove advanced; KServe sets trigger and name of the autoscaler itself.",
            )


@rule("IP-MOD-205", "A model has routes of its own or a managed one.", SPEC, catches=("admission 5", "mistake 9"))
def routes_are_own_or_managed(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Refused by admission."""
    http = _at(spec, "router", "route", "http") or {}
    if http.get("refs") and http.get("spec") is not None:
        yield Objection(
            _blame(subject, ("router", "route", "http", "refs")), "refs or spec", "both", "Remove one of the two."
        )


@rule("IP-MOD-206", "Routes of one's own come without a managed gateway.", SPEC, catches=("admission 6", "mistake 9"))
def own_routes_have_no_managed_gateway(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Refused by admission."""
    router = spec.get("router") or {}
    managed = router.get("gateway") is not None and not _at(router, "gateway", "refs")
    if _at(router, "route", "http", "refs") and managed:
        yield Objection(
            _blame(subject, ("router", "gateway")), "gateway.refs, or no gateway", "gateway: {}", "Remove gateway."
        )


@rule("IP-MOD-207", "A managed route hangs at the gateways of the model.", SPEC, catches=("admission 7",))
def parents_are_the_gateways(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """KServe takes the gateways; parents that differ are refused."""
    parents = _at(spec, "router", "route", "http", "spec", "parentRefs") or []
    gateways = _at(spec, "router", "gateway", "refs") or []
    if parents and gateways and _names(parents) != _names(gateways):
        yield Objection(
            _blame(subject, ("router", "route", "http", "spec")),
            "no parentRefs, or those of router.gateways",
            "others",
            "Remove parentRefs.",
        )


@rule("IP-MOD-209", "pipeline and data exclude each other in the spec.", SPEC, catches=("admission 9", "mistake 5"))
def pipeline_excludes_data(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Refused by admission."""
    for path, workload in _workloads(spec):
        parallelism = workload.get("parallelism") or {}
        if parallelism.get("pipeline") and (parallelism.get("data") or parallelism.get("dataLocal")):
            yield Objection(
                _blame(subject, (*path, "parallelism")), "pipeline or data", "both", "Remove one of the two."
            )


@rule("IP-MOD-210", "data and dataLocal go together in the spec.", SPEC, catches=("admission 10", "mistake 1"))
def data_comes_with_data_local(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Each must be above 0 and one needs the other; the rest of a division is lost (models.md 6.1)."""
    for path, workload in _workloads(spec):
        parallelism = workload.get("parallelism") or {}
        data, local = parallelism.get("data"), parallelism.get("dataLocal")
        given = [value for value in (data, local, parallelism.get("pipeline")) if value is not None]
        if any(not _is_number(value) or value < 1 for value in given):
            found, expected = ", ".join(map(str, given)), "numbers above 0"
        elif (data is None) != (local is None):
            found, expected = "one of them", "data and dataLocal together"
        elif data is not None and local is not None and data % local:
            found, expected = f"{data} and {local}", "data as a multiple of dataLocal"
        else:
            continue
        yield Objection(_blame(subject, (*path, "parallelism")), expected, found, "Correct parallelism.")


@rule("IP-MOD-211", "There is at least one scheduler pod.", SPEC, catches=("admission 11",))
def schedulers_have_pods(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Refused by admission."""
    replicas = _at(spec, "router", "scheduler", "replicas")
    if replicas is not None and (not _is_number(replicas) or replicas < 1):
        yield Objection(
            _blame(subject, ("router", "scheduler", "replicas")),
            "at least 1",
            str(replicas),
            "Set scheduler.enabled to false for none.",
        )


@rule("IP-MOD-212", "A scheduler has one configuration.", SPEC, catches=("admission 12", "mistake 22"))
def schedulers_have_one_configuration(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Inline, by reference or from base_refs. None at all keeps whatever was there last (models.md 2.6)."""
    block = _at(spec, "router", "scheduler")
    if block is None or _at(block, "pool", "ref") is not None:
        return
    config = block.get("config") or {}
    given = [kind for kind in ("inline", "ref") if config.get(kind)]
    if len(given) != 1 and (given or not spec.get("baseRefs")):
        yield Objection(
            _blame(subject, ("router", "scheduler", "config")),
            "inline or ref",
            "both" if given else "none",
            "Use scheduler.strategy or scheduler.config, outside override.",
        )
    elif given == ["ref"] and not config["ref"].get("name"):
        yield Objection(
            _blame(subject, ("router", "scheduler", "config")), "the name of a ConfigMap", "none", "Add ref.name."
        )


@rule("IP-MOD-213", "Prefill and decode scale in the same way.", SPEC, catches=("admission 13",))
def both_sides_use_one_actuator(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Both by hpa or both by keda; refused by admission."""
    kinds = {
        kind for _, scaling in _scalings(spec) for kind in ("hpa", "keda") if _at(scaling, "wva", kind) is not None
    }
    if len(list(_scalings(spec))) == 2 and len(kinds) == 2:
        yield Objection(
            _blame(subject, ("prefill", "scaling", "wva")), "hpa or keda on both sides", "one of each", "Use the same."
        )


@rule("IP-MOD-221", "Pods of the spec have the GPUs that parallelism uses.", SPEC, catches=("mistake 2", "mistake 16"))
def override_keeps_the_gpus(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Leader and worker of a group are alike; GPUs are changed in gpu.count."""
    for one in _pods(subject, spec):
        resource = gpu_resource(one.workload.settings, subject.serving)
        limit = _at(one.server or {}, "resources", "limits", resource)
        wanted = str(one.workload.gpus) if one.workload.gpus else None
        if one.server is not None and (None if limit is None else str(limit)) != wanted:
            yield Objection(
                _blame(subject, (*one.path, "containers")),
                f"{wanted or 'no'} {resource}",
                str(limit or "none"),
                "Change gpu.count, outside override.",
            )


@rule("IP-MOD-222", "The scheduler program knows its arguments.", SPEC, catches=("mistake 20",))
def scheduler_arguments_are_known(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """An argument that the program does not know keeps it from starting (models.md 4.5)."""
    template = _at(spec, "router", "scheduler", "template") or {}
    for container in template.get("containers") or []:
        if not isinstance(container, Mapping) or container.get("name") != SERVER_CONTAINER:
            continue
        words = [word for word in container.get("args") or [] if isinstance(word, str)]
        path = _blame(subject, ("router", "scheduler", "template", "containers"))
        for mistake in scheduler.check_flags(words, subject.serving["endpoint_picker"], path):
            yield Objection(path, mistake.expected, mistake.found, mistake.remedy)


@rule("IP-MOD-223", "The scheduler program takes the configuration of the spec.", SPEC, catches=("mistake 20",))
def scheduler_configurations_start(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Override may change the configuration, or the topology that it is for (models.md 4.6, 4.7)."""
    config = _at(spec, "router", "scheduler", "config", "inline")
    if "override" not in subject.entry or not isinstance(config, Mapping):
        return
    path = _blame(subject, ("router", "scheduler", "config"))
    program, prefill = subject.serving["endpoint_picker"], isinstance(spec.get("prefill"), Mapping)
    for mistake in scheduler.check_config(config, program, prefill=prefill):
        if mistake.severity == ERROR:
            yield Objection(path, mistake.expected, mistake.found, mistake.remedy)


@rule(
    "IP-MOD-224", "Servers publish cache events as the scheduler of the spec reads them.", SPEC, catches=("mistake 23",)
)
def cache_events_agree(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Both sides are made of scheduler.kv_events; override may take one of them away (models.md 4.8)."""
    if "override" not in subject.entry or "command" in subject.entry:
        return
    config = _at(spec, "router", "scheduler", "config", "inline")
    asked, given = (scheduler.asked_of_servers(subject.entry, of) for of in (config, subject.wiring.epp_config))
    if asked != given:
        yield Objection(
            _blame(subject, ("router", "scheduler", "config")),
            "the settings of cache events that the servers have",
            "others",
            "Use scheduler.strategy or scheduler.config, outside override: both sides follow from them.",
        )
    for one in _pods(subject, spec):
        server = one.server or {}
        lost = [word for word in subject.wiring.vllm_args if word not in _words_of(server)]
        lost += [item["name"] for item in subject.wiring.vllm_env if item not in (server.get("env") or [])]
        if lost:
            yield Objection(
                _blame(subject, (*one.path, "containers")),
                "arguments and variables with which servers publish what they cache",
                f"no or other {or_list(lost)}",
                "Give arguments in args and variables in env, outside override.",
            )


@rule("IP-MOD-225", "Items of a list that the API tells apart by a key are given once.", SPEC)
def keyed_items_are_given_once(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """The API server refuses the whole object for one item that is there twice, with status 500."""
    for one in _pods(subject, spec):
        for path, items in _keyed_lists(one.pod, one.path):
            keys = _ITEM_KEYS[str(path[-1])]
            values = [
                tuple(item.get(key, _ITEM_KEY_DEFAULTS.get(key)) for key in keys)
                for item in items
                if isinstance(item, Mapping)
            ]
            for twice in _repeated(values):
                yield Objection(
                    _blame(subject, path),
                    f"items of {path[-1]} that differ in {' or '.join(keys)}",
                    f"{values.count(twice)} with {', '.join(map(show, twice))}",
                    "Leave one of them.",
                )


@rule("IP-MOD-226", "Override leaves parallelism to its field.", SPEC, catches=("mistake 1", "mistake 2"))
def override_keeps_the_parallelism(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """GPUs, arguments of the server and number of pods follow from parallelism; override changes only one of them."""
    if "override" not in subject.entry:
        return
    rendered = {pod.path: parallelism_spec(pod) for pod in subject.pods}
    for path, workload in _workloads(spec):
        wanted, given = rendered.get(path, {}), workload.get("parallelism") or {}
        if given != wanted:
            yield Objection(
                _blame(subject, (*path, "parallelism")),
                f"{_said(wanted)}, as gpu.count and parallelism ask for",
                _said(given),
                f"Use {'.'.join((*map(str, path), 'parallelism'))}, outside override.",
            )


@rule("IP-MOD-227", "Override leaves the served name to its field.", SPEC, catches=("mistake 23", "mistake 29"))
def override_keeps_the_served_name(subject: Subject, spec: Spec) -> Iterator[Objection]:
    """Topics of cache events, traffic groups and routes carry the name that the entry says."""
    wanted = subject.entry.get("served_name", subject.entry["name"])
    given = _at(spec, "model", "name") or subject.entry["name"]
    if given != wanted:
        yield Objection(
            _blame(subject, ("model", "name")), show(wanted), show(given), "Use served_name, outside override."
        )


def _said(parallelism: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in parallelism.items()) or "no parallelism"


def _repeated(values: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What is there more than once, each told once; junk need not be hashable."""
    return [value for place, value in enumerate(values) if values.count(value) > 1 and values.index(value) == place]


def _keyed_lists(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Sequence[Any]]]:
    """The lists with keyed items at and below ``value``; paths leave out positions in lists."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in _ITEM_KEYS and isinstance(item, list):
                yield (*path, key), item
            yield from _keyed_lists(item, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from _keyed_lists(item, path)


def _words_of(server: Mapping[str, Any]) -> set[str]:
    """The arguments of a server, quoted for a shell or not."""
    given = [str(word) for word in server.get("args") or []]
    return {*given, *(word for text in given for word in shell_words(text) or [])}


def _workloads(spec: Spec) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    yield (), spec
    if isinstance(spec.get("prefill"), Mapping):
        yield ("prefill",), spec["prefill"]


def _scalings(spec: Spec) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    for path, workload in _workloads(spec):
        if isinstance(workload.get("scaling"), Mapping):
            yield (*path, "scaling"), workload["scaling"]


def _pods(subject: Subject, spec: Spec) -> Iterator[SpecPod]:
    """The pod templates of the spec; those that override adds are taken for the nearest workload."""
    for path, workload in _workloads(spec):
        pods = subject.pods[1] if path and len(subject.pods) > 1 else subject.pods[0]
        for key in ("template", "worker"):
            if isinstance(workload.get(key), Mapping):
                yield SpecPod((*path, key), workload[key], pods)


def _parallel_sizes(server: Mapping[str, Any]) -> dict[str, int]:
    """The parallel sizes among the arguments of a server; the last of each counts."""
    words: list[str] = []
    for variable in server.get("env") or []:
        if isinstance(variable, Mapping) and variable.get("name") == EXTRA_ARGS:
            words += shell_words(str(variable.get("value", ""))) or []
    words += [str(word) for word in server.get("args") or []]
    sizes: dict[str, int] = {}
    for word, following in pairwise([*words, ""]):
        flag, _, value = word.partition("=")
        size = _PARALLEL_FLAGS.get(flag.replace("_", "-"))
        number = value or following
        if size and number.isdigit():
            sizes[size] = int(number)
    return sizes


def _blame(subject: Subject, path: KeyPath) -> KeyPath:
    """Where the user wrote what stands at ``path`` of the spec: in override, or in the field it is made of."""
    override = subject.entry.get("override", {})
    if path and has(override, path[:1]):
        depth = max(length for length in range(1, len(path) + 1) if has(override, path[:length]))
        return ("override", *path[:depth])
    prefix: KeyPath = ("prefill",) if path[:1] == ("prefill",) else ()
    inside = path[len(prefix) :]
    return (*prefix, *_FIELDS.get(inside, inside[:1]))


def _at(value: Any, *path: str) -> Any:
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _names(references: Sequence[Any]) -> set[tuple[Any, Any]]:
    return {(item.get("namespace"), item.get("name")) for item in references if isinstance(item, Mapping)}


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
