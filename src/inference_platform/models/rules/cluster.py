"""Rules that need to know a live cluster. Pure: they take facts that somebody else gathered.

A fact that is None is not known, and nothing is objected to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from inference_platform.findings import WARNING, Finding, show
from inference_platform.label_selector import selects
from inference_platform.models.routes import has_scheduler
from inference_platform.models.rules.engine import CLUSTER, Objection, Problem
from inference_platform.models.rules.registry import RULES, rule
from inference_platform.models.subjects import Key, Subject
from inference_platform.models.topology import Workload, workloads
from inference_platform.schema import KeyPath, or_list

Object = Mapping[str, Any]

# CRDs by what needs them (models.md 1.4, 3.1).
_POOL_CRDS = ("inferencepools.inference.networking.k8s.io", "inferencepools.inference.networking.x-k8s.io")
_ROUTE_CRD = "httproutes.gateway.networking.k8s.io"
_GROUP_CRD = "leaderworkersets.leaderworkerset.x-k8s.io"
_VARIANT_CRD = "variantautoscalings.llmd.ai"
_KEDA_CRD = "scaledobjects.keda.sh"
_MONITOR_CRD = "podmonitors.monitoring.coreos.com"

#: CRDs that come with the platform.
BROUGHT_CRDS = (*_POOL_CRDS, _ROUTE_CRD, _GROUP_CRD)

# Gateway controllers of which we know that they understand InferencePools.
_CONTROLLERS_WITH_POOLS = (
    "istio.io/gateway-controller",
    "gateway.envoyproxy.io/gatewayclass-controller",
    "networking.gke.io/gateway",
    "kgateway.dev/kgateway",
    "kgateway.dev/agentgateway",
    "gateway.nginx.org/nginx-gateway-controller",
)
_SHARED = ("ReadWriteMany", "ReadOnlyMany")


@dataclass(frozen=True)
class ClusterFacts:
    """What is in a cluster, as far as models care. Names of namespaced things come with their namespace.

    A gateway that is None will be there, and more is not known. ``chat_templates`` says of
    model uris whether the model brings a chat template; ``webhook_ready`` whether the webhook
    of KServe has an endpoint; ``resources`` are the extended resources that nodes offer.
    """

    gateways: Mapping[Key, Object | None] | None = None
    gateway_classes: Mapping[str, Object] | None = None
    namespaces: Mapping[str, Mapping[str, str]] | None = None
    routes: Set[Key] | None = None
    secrets: Set[Key] | None = None
    service_accounts: Mapping[Key, Object] | None = None
    claims: Mapping[Key, Object] | None = None
    configs: Set[Key] | None = None
    networks: Set[Key] | None = None
    crds: Set[str] | None = None
    priority_classes: Set[str] | None = None
    resources: Set[str] | None = None
    chat_templates: Mapping[str, bool] | None = None
    webhook_ready: bool | None = None


def check_cluster(
    entries: Sequence[Mapping[str, Any]],
    platform: Mapping[str, Any],
    facts: ClusterFacts,
    where: Callable[[Mapping[str, Any], KeyPath], str] | None = None,
) -> list[Finding]:
    """Findings about completed entries (``RenderResult.entries``) on a cluster with these facts.

    ``where`` names the place of a path of an entry; default: "models namespace/name path".
    """
    from inference_platform.models.scheduler import Wiring

    place = where or _place
    found = []
    for index, entry in enumerate(entries):
        subject = Subject(index, entry, workloads(entry), Wiring(None), platform)
        for problem in cluster_problems(subject, facts):
            found.append(
                Finding(
                    problem.code,
                    problem.severity,
                    place(entry, problem.path),
                    problem.expected,
                    problem.found,
                    problem.remedy,
                )
            )
    return found


def cluster_problems(subject: Subject, facts: ClusterFacts) -> list[Problem]:
    """The problems of one model."""
    return [
        one.problem(objection, subject.index)
        for one in RULES.of(CLUSTER)
        if one.check
        for objection in one.check(subject, facts)
    ]


@rule("IP-MOD-111", "The gateways of a model exist.", CLUSTER, catches=("mistake 11",))
def gateways_exist(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """A model whose gateway is missing gets no scheduler, pool or route (RefsInvalid)."""
    for path, key in _gateways(subject):
        if facts.gateways is not None and key not in facts.gateways:
            yield Objection(
                path,
                f"a Gateway: {or_list(sorted('/'.join(known) for known in facts.gateways)) or 'none exists'}",
                "/".join(key),
                "Correct name and namespace, or make the Gateway.",
            )


@rule("IP-MOD-112", "The gateway admits routes of the namespace.", CLUSTER, catches=("mistake 12",))
def listeners_admit_the_namespace(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """A listener says from which namespaces routes may come (models.md 5.2)."""
    namespace = subject.entry["namespace"]
    known = {**(facts.namespaces or {}).get(namespace, {}), **subject.serving["gateway"]["namespace_labels"]}
    known["kubernetes.io/metadata.name"] = namespace
    for path, key in _gateways(subject):
        gateway = (facts.gateways or {}).get(key)
        if gateway is None:
            continue
        listeners = gateway["spec"].get("listeners", [])
        if not any(admits(listener, key[0], namespace, known) for listener in listeners):
            yield Objection(
                path,
                f"a listener of {'/'.join(key)} that admits routes of namespace {namespace}",
                ", ".join(f"{item['name']}: {_admission(item)}" for item in listeners) or "no listener",
                "Change allowedRoutes of the Gateway, or use another namespace.",
            )


@rule("IP-MOD-128", "Secrets, ServiceAccounts and claims of a model exist.", CLUSTER, catches=("mistake 28",))
def references_exist(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """All are looked up in the namespace of the model."""
    entry, namespace = subject.entry, subject.entry["namespace"]
    wanted: list[tuple[KeyPath, str, Any, str]] = []
    if "credentials_secret" in entry:
        wanted.append((("credentials_secret",), "Secret", facts.secrets, entry["credentials_secret"]))
    for index, name in enumerate(entry.get("pull_secrets", [])):
        wanted.append((("pull_secrets", index), "Secret", facts.secrets, name))
    for pod in subject.pods:
        if "service_account" in pod.settings:
            name = pod.settings["service_account"]
            wanted.append(((*pod.path, "service_account"), "ServiceAccount", facts.service_accounts, name))
        for variable, value in pod.settings.get("env", {}).items():
            if isinstance(value, Mapping) and "secret" in value:
                wanted.append(((*pod.path, "env", variable), "Secret", facts.secrets, value["secret"]))
    if entry["uri"].startswith("pvc://"):
        wanted.append((("uri",), "PersistentVolumeClaim", facts.claims, _claim(entry)))
    for path, kind, known, name in wanted:
        if known is not None and (namespace, name) not in known:
            there = facts.namespaces is None or namespace in facts.namespaces
            yield Objection(
                path,
                f"a {kind} of namespace {namespace}",
                f"{show(name)}, which does not exist",
                f"Make it in {namespace}." if there else f"Make the namespace {namespace}, and it in there.",
            )


@rule("IP-MOD-143", "A claim of several nodes can be mounted by them.", CLUSTER, catches=("mistake 28",))
def claims_can_be_shared(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """ReadWriteOnce keeps all pods but those of one node waiting."""
    claim = (facts.claims or {}).get((subject.entry["namespace"], _claim(subject.entry)))
    if claim is None or not subject.entry["uri"].startswith("pvc://"):
        return
    modes = claim["spec"].get("accessModes", [])
    nodes = sum((pod.replicas if pod.replicas is not None else 2) * pod.size for pod in subject.pods)
    if nodes > 1 and not any(mode in _SHARED for mode in modes):
        yield Objection(
            ("uri",),
            f"a claim with {or_list(_SHARED)} for {nodes} pods",
            or_list(modes) if modes else "no access mode",
            "Use another claim, or one replica on one node.",
        )


@rule("IP-MOD-130", "Chat has a template.", CLUSTER, WARNING, catches=("mistake 30",))
def chat_has_a_template(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """Base models bring none, and /v1/chat/completions answers 400."""
    known = (facts.chat_templates or {}).get(subject.entry["uri"])
    if known is False and "chat_template" not in subject.entry.get("vllm", {}):
        yield Objection(
            ("uri",),
            "a model with a chat template, or vllm.chat_template",
            "neither",
            "Use /v1/completions, or give vllm.chat_template.",
        )


@rule("IP-MOD-134", "The kinds that a model is made of exist.", CLUSTER, catches=("mistake 34",))
def kinds_exist(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """A missing CRD keeps the model from being reconciled (models.md 3.1)."""
    if facts.crds is None:
        return
    for path, names, remedy in _needed_crds(subject):
        missing = [name for name in names if name not in facts.crds]
        if missing:
            yield Objection(path, f"the CRDs {', '.join(names)}", f"{', '.join(missing)} missing", remedy)


@rule("IP-MOD-135", "The configurations that a model is built on exist.", CLUSTER, catches=("mistake 35",))
def configurations_exist(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """Looked up in the namespace of the model, then in that of KServe."""
    if facts.configs is None:
        return
    system = subject.platform["namespaces"]["applications"]
    namespace = subject.entry["namespace"]
    wanted: list[tuple[KeyPath, str]] = [
        (("base_refs", index), name) for index, name in enumerate(subject.entry.get("base_refs", []))
    ]
    prefix = subject.serving["presets"]["prefix"]
    wanted += [((*pod.path, "parallelism") if pod.path else ("name",), f"{prefix}{pod.preset}") for pod in subject.pods]
    for path, name in wanted:
        if (namespace, name) not in facts.configs and (system, name) not in facts.configs:
            yield Objection(
                path,
                f"LLMInferenceServiceConfig {name} in {namespace} or {system}",
                "none",
                "Make it, or see why the platform operator did not.",
            )


@rule("IP-MOD-136", "The gateway understands InferencePools.", CLUSTER, WARNING, catches=("mistake 36",))
def gateways_understand_pools(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """Behind another gateway a model with a scheduler is never Ready."""
    if not has_scheduler(subject.entry):
        return
    for path, key in _gateways(subject):
        gateway = (facts.gateways or {}).get(key)
        name = gateway["spec"].get("gatewayClassName", "") if gateway else ""
        gateway_class = (facts.gateway_classes or {}).get(name)
        controller = gateway_class["spec"].get("controllerName") if gateway_class else None
        if controller is not None and controller not in _CONTROLLERS_WITH_POOLS:
            yield Objection(
                path,
                f"a Gateway of {or_list(_CONTROLLERS_WITH_POOLS)}",
                f"{'/'.join(key)} of {controller}",
                "Use the gateway of the platform, or set scheduler.enabled to false.",
            )


@rule("IP-MOD-138", "Nodes offer the devices, and the networks exist.", CLUSTER, catches=("mistake 38",))
def devices_exist(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """A pod that asks for what no node has waits for ever."""
    for pod in subject.pods:
        for path, name in _devices(pod):
            if facts.resources is not None and name not in facts.resources:
                yield Objection(
                    path, f"a resource of some node: {or_list(sorted(facts.resources)) or 'none'}", name, "Correct it."
                )
    if facts.networks is not None:
        for text in filter(None, subject.entry.get("networks", "").split(",")):
            namespace, _, name = text.strip().partition("@")[0].rpartition("/")
            if (namespace or subject.entry["namespace"], name) not in facts.networks:
                yield Objection(
                    ("networks",),
                    "NetworkAttachmentDefinitions that exist",
                    show(text.strip()),
                    "Make it, or correct it.",
                )


@rule("IP-MOD-140", "The webhook of KServe answers.", CLUSTER, catches=("mistake 40",))
def the_webhook_answers(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """Without it the API server refuses every model."""
    del subject
    if facts.webhook_ready is False:
        yield Objection(
            ("name",),
            "an endpoint of llmisvc-webhook-server-service",
            "none",
            "Look at the Deployment llmisvc-controller-manager, or run site.yml, which repairs it.",
        )


@rule("IP-MOD-142", "Somebody reads the PodMonitors.", CLUSTER, catches=("mistake 42",))
def monitors_are_read(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """KServe itself makes none on this platform; ours need the Prometheus operator."""
    wanted = subject.entry.get("monitoring") == "pod_monitor"
    if wanted and facts.crds is not None and _MONITOR_CRD not in facts.crds:
        yield Objection(
            ("monitoring",),
            f"the CRD {_MONITOR_CRD}",
            "not there",
            "Install the Prometheus operator, or use monitoring: annotations.",
        )


@rule("IP-MOD-145", "The priority class exists.", CLUSTER)
def priority_classes_exist(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """Pods that name another are refused."""
    for pod in subject.pods:
        name = pod.settings.get("priority_class")
        if name is not None and facts.priority_classes is not None and name not in facts.priority_classes:
            yield Objection(
                (*pod.path, "priority_class"), "a PriorityClass", show(name), "Make it, or correct the name."
            )


@rule("IP-MOD-146", "Routes that a model names exist.", CLUSTER, catches=("mistake 9",))
def own_routes_exist(subject: Subject, facts: ClusterFacts) -> Iterator[Objection]:
    """Looked up in the namespace of the model; give those of model_routes among the facts."""
    for index, name in enumerate(subject.entry.get("router", {}).get("routes", [])):
        if facts.routes is not None and (subject.entry["namespace"], name) not in facts.routes:
            yield Objection(
                ("router", "routes", index),
                "an HTTPRoute of the namespace",
                show(name),
                "Make it, or correct the name.",
            )


def _needed_crds(subject: Subject) -> Iterator[tuple[KeyPath, tuple[str, ...], str]]:
    entry = subject.entry
    install = "Install the platform, then restart llmisvc-controller-manager."
    if has_scheduler(entry):
        yield ("scheduler",), _POOL_CRDS, install
    if entry.get("router", {}).get("route", "managed") != "none":
        yield ("router",), (_ROUTE_CRD,), install
    for pod in subject.pods:
        if pod.multi_node:
            yield (*pod.path, "parallelism"), (_GROUP_CRD,), install
        scaling = pod.settings.get("scaling", {})
        if scaling:
            keda = (_KEDA_CRD,) if "keda" in scaling else ()
            yield (*pod.path, "scaling"), (_VARIANT_CRD, *keda), "Install the autoscaler, or use replicas."


def _gateways(subject: Subject) -> Iterator[tuple[KeyPath, Key]]:
    router = subject.entry.get("router", {})
    if router.get("route", "managed") == "none":
        return
    if "gateways" in router:
        for index, item in enumerate(router["gateways"]):
            yield ("router", "gateways", index), (item["namespace"], item["name"])
    else:
        gateway = subject.serving["gateway"]
        yield ("router",), (gateway["namespace"], gateway["name"])


def admits(listener: Object, own: str, namespace: str, known: Mapping[str, str]) -> bool:
    """Whether a listener takes routes of a namespace.

    own    the namespace of the Gateway
    known  the labels of the namespace
    """
    rule_of = listener.get("allowedRoutes", {}).get("namespaces", {})
    source = rule_of.get("from", "Same")
    if source == "Selector":
        return selects(rule_of.get("selector", {}), known)
    return bool(source == "All" or (source == "Same" and own == namespace))


def _admission(listener: Object) -> str:
    return str(listener.get("allowedRoutes", {}).get("namespaces", {}).get("from", "Same"))


def _devices(pod: Workload) -> Iterator[tuple[KeyPath, str]]:
    if "resource" in pod.settings.get("rdma", {}):
        yield (*pod.path, "rdma", "resource"), pod.settings["rdma"]["resource"]
    for name in pod.settings.get("resources", {}).get("devices", {}):
        yield (*pod.path, "resources", "devices", name), name


def _claim(entry: Mapping[str, Any]) -> str:
    return str(entry["uri"]).removeprefix("pvc://").split("/")[0]


def _place(entry: Mapping[str, Any], path: KeyPath) -> str:
    return f"models {entry['namespace']}/{entry['name']} {'.'.join(map(str, path))}"


__all__ = ["BROUGHT_CRDS", "ClusterFacts", "check_cluster", "cluster_problems"]
