"""Reads what the models of an inventory refer to, as facts for the rules about clusters.  Read-only.

Only what some model names is asked for; of Secrets, names alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from inference_platform.cluster import survey
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.survey import Read
from inference_platform.models.rules.cluster import BROUGHT_CRDS, ClusterFacts
from inference_platform.models.subjects import Key
from inference_platform.models.topology import workloads
from inference_platform.platform.gateway import EXTERNAL
from inference_platform.preflight.snapshot import Snapshot, dig, labels_of

_GATEWAY_API = "gateway.networking.k8s.io/v1"
_WEBHOOK = "llmisvc-webhook-server-service"
_CONFIG = "LLMInferenceServiceConfig"

_ALWAYS = (
    Read("gateways", _GATEWAY_API, "Gateway"),
    Read("gateway_classes", _GATEWAY_API, "GatewayClass"),
)
#: What is read when a model names something of the kind.
_NAMED = {
    "Secret": Read("secrets", "v1", "Secret", metadata_only=True),
    "ServiceAccount": Read("service_accounts", "v1", "ServiceAccount"),
    "HTTPRoute": Read("routes", _GATEWAY_API, "HTTPRoute", metadata_only=True),
    "PriorityClass": Read("priority_classes", "scheduling.k8s.io/v1", "PriorityClass", metadata_only=True),
    "NetworkAttachmentDefinition": Read(
        "networks", "k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition", metadata_only=True
    ),
}


def read(
    cluster: Cluster,
    seen: Snapshot,
    plan: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    objects: Sequence[Mapping[str, Any]] = (),
    *,
    installs: bool,
) -> ClusterFacts:
    """Facts about what these models need; what could not be read is None, and noted in ``seen``.

    seen      as ``survey.look`` gave it; what is read here becomes part of it
    entries   completed entries
    objects   rendered ones: what they bring themselves counts as there
    installs  whether the run brings the platform before it applies the models: what comes with the platform then
              counts as there

    ``chat_templates`` stays None: it is not known from where the cluster takes its models.
    """
    configs = Read("configs", plan["serving"]["api_version"], _CONFIG, metadata_only=True)
    wanted = {kind for entry in entries for kind in _kinds(entry)}
    reads = [*_ALWAYS, configs, *(read for kind, read in _NAMED.items() if kind in wanted)]
    survey.read_parts(cluster, seen, [read for read in reads if read.part not in {*seen.parts, *seen.unseen}])
    own_gateway = plan["serving"]["gateway"]["namespace"], plan["serving"]["gateway"]["name"]
    gateways = _by_key(seen, "gateways")
    # Its listeners are as the inventory says when the models come; one of the user's is as it is.
    brings_gateway = installs and plan["gateway"]["ownership"] != EXTERNAL
    return ClusterFacts(
        gateways=gateways if gateways is None or not brings_gateway else {**gateways, own_gateway: None},
        gateway_classes=_by_name(seen, "gateway_classes"),
        namespaces=None
        if "namespaces" in seen.unseen
        else {item["metadata"]["name"]: labels_of(item) for item in seen.of("namespaces")},
        routes=_keys(seen, "routes", _made(objects, "HTTPRoute")),
        secrets=_keys(seen, "secrets", _pull_secrets(plan, entries)),
        service_accounts=_by_key(seen, "service_accounts"),
        claims=_by_key(seen, "claims"),
        configs=_configs(seen, plan, installs=installs),
        networks=_keys(seen, "networks"),
        crds=None if "crds" in seen.unseen else _crds(seen, installs=installs),
        priority_classes=_names(seen, "priority_classes", plan["capacity"]),
        resources=_resources(seen, plan["serving"]["gpu"]["resource"]),
        webhook_ready=None if installs else _webhook_ready(cluster, seen, plan),
    )


def _kinds(entry: Mapping[str, Any]) -> Iterator[str]:
    """Kinds of which a model names an object."""
    if "credentials_secret" in entry or entry.get("pull_secrets"):
        yield "Secret"
    if entry.get("router", {}).get("routes"):
        yield "HTTPRoute"
    if entry.get("networks"):
        yield "NetworkAttachmentDefinition"
    for pod in workloads(entry):
        if "service_account" in pod.settings:
            yield "ServiceAccount"
        if "priority_class" in pod.settings:
            yield "PriorityClass"
        if any(isinstance(value, Mapping) and "secret" in value for value in pod.settings.get("env", {}).values()):
            yield "Secret"


def _by_key(seen: Snapshot, part: str) -> dict[Key, Any] | None:
    """Objects of a part by namespace and name; None when it was not to be seen."""
    if part in seen.unseen:
        return None
    return {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in seen.of(part)}


def _by_name(seen: Snapshot, part: str) -> dict[str, Any] | None:
    return None if part in seen.unseen else {item["metadata"]["name"]: item for item in seen.of(part)}


def _names(seen: Snapshot, part: str, made: Sequence[Mapping[str, Any]]) -> set[str] | None:
    """Names of a part, with those of what the run makes before the models."""
    found = _by_name(seen, part)
    return None if found is None else {*found, *(item["metadata"]["name"] for item in made)}


def _keys(seen: Snapshot, part: str, more: Iterable[Key] = ()) -> set[Key] | None:
    found = _by_key(seen, part)
    return None if found is None else {*found, *more}


def _made(objects: Sequence[Mapping[str, Any]], kind: str) -> Iterator[Key]:
    return ((item["metadata"]["namespace"], item["metadata"]["name"]) for item in objects if item["kind"] == kind)


def _pull_secrets(plan: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> Iterator[Key]:
    """The pull secret that the run puts into each namespace with models."""
    name = plan["pull_secret"]["name"]
    return ((entry["namespace"], name) for entry in entries)


def _configs(seen: Snapshot, plan: Mapping[str, Any], *, installs: bool) -> set[Key] | None:
    """None before the platform brought the presets of this release, also where those of an earlier one are there."""
    found = _keys(seen, "configs")
    system, prefix = plan["namespaces"]["applications"], plan["serving"]["presets"]["prefix"]
    brought = any(namespace == system and name.startswith(prefix) for namespace, name in found or ())
    return None if installs and not brought else found


def _crds(seen: Snapshot, *, installs: bool) -> set[str]:
    return {item["metadata"]["name"] for item in seen.of("crds")} | (set(BROUGHT_CRDS) if installs else set())


def _resources(seen: Snapshot, gpu: str) -> set[str] | None:
    """Extended resources of all nodes; None while no node has GPUs: machines with devices may be scaled to zero."""
    found = {name for node in seen.of("nodes") for name in dig(node, "status", "allocatable", default={})}
    return {name for name in found if "/" in name} if gpu in found else None


def _webhook_ready(cluster: Cluster, seen: Snapshot, plan: Mapping[str, Any]) -> bool | None:
    """None when no configuration sends models to the webhook."""
    namespace = plan["namespaces"]["applications"]
    services = (
        dig(webhook, "clientConfig", "service", default={})
        for configuration in seen.of("validating_webhooks")
        for webhook in configuration.get("webhooks") or []
    )
    if not any((item.get("namespace"), item.get("name")) == (namespace, _WEBHOOK) for item in services):
        return None
    return not survey.backend(cluster, namespace, _WEBHOOK)
