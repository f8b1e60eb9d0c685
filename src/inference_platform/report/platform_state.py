"""The state of the platform: layers, namespaces, Deployments, Services, CRDs, gateway.

Names and states follow the facts: platform.md 7 (what a finished platform
holds), observed-gateway.md 2 (Gateway status). Pure: lists of objects in,
observation types out. ``platform`` is always a plan as a dict.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

from inference_platform.report.context import Context
from inference_platform.report.objects import (
    Object,
    at,
    condition,
    condition_status,
    labels_of,
    name_of,
    namespace_of,
)
from inference_platform.report.observation import (
    NOT_READY,
    READY,
    UNCHECKED,
    Count,
    CrdSet,
    Deployment,
    Gateway,
    Layer,
    Listener,
    Namespace,
    PlatformIdentity,
    Service,
)

LAYER_LABEL = "inference-platform.io/layer"


def identity(platform: Mapping[str, Any]) -> PlatformIdentity:
    """The release the plan resolved, for whom, and who owns the dependencies."""
    return PlatformIdentity(
        release=str(platform["release"]),
        version=str(platform.get("version") or platform["release"]),
        distribution=str(platform["distribution"]),
        provider=str(platform["provider"]),
        engine_line=str(platform["engine_line"]) if platform.get("engine_line") else None,
        ownership={str(name): str(owner) for name, owner in (platform.get("ownership") or {}).items()},
    )


def layers(platform: Mapping[str, Any], context: Context) -> tuple[Layer, ...]:
    """The layers in the order of the plan, with time and state from ``context``."""
    return tuple(_layer(entry, context) for entry in platform["layers"])


def _layer(entry: Mapping[str, Any], context: Context) -> Layer:
    name = entry["name"]
    timing = context.timings.get(name)
    problems = context.layer_problems.get(name)
    return Layer(
        name=name,
        title=entry.get("title") or name.replace("_", " "),
        ownership=entry.get("ownership") or "",
        needs=tuple(entry.get("needs") or ()),
        releases=tuple(release["name"] for release in entry.get("releases") or ()),
        state=_layer_state(problems),
        seconds=timing.seconds if timing else None,
        changed=timing.changed if timing else None,
        problems=tuple(problems or ()),
    )


def _layer_state(problems: Sequence[str] | None) -> str:
    if problems is None:
        return UNCHECKED
    return NOT_READY if problems else READY


def _platform_namespaces(platform: Mapping[str, Any]) -> list[str]:
    return sorted(set(platform["namespaces"].values()))


def namespaces(platform: Mapping[str, Any], items: Sequence[Object]) -> tuple[Namespace, ...]:
    """Every namespace of the plan, present or not, by name."""
    phases = {name_of(item): at(item, "status", "phase") or "Active" for item in items}
    return tuple(Namespace(name, phases.get(name, "")) for name in _platform_namespaces(platform))


def deployments(platform: Mapping[str, Any], items: Sequence[Object]) -> tuple[Deployment, ...]:
    """The Deployments of the platform namespaces, by namespace and name."""
    claimed = _claimed_deployments(platform)
    homes = _layer_of_namespace(platform)
    found = []
    for item in _of_platform(platform, items):
        namespace, name = namespace_of(item), name_of(item)
        label = labels_of(item).get(LAYER_LABEL)
        layer = claimed.get((namespace, name)) or label or homes.get(namespace, "")
        found.append(Deployment(namespace, name, layer, deployment_replicas(item)))
    return tuple(found)


def deployment_replicas(item: Object) -> Count:
    """Ready and wanted replicas; ready is 0 while the status is of an older generation."""
    wanted = at(item, "spec", "replicas")
    wanted = 1 if wanted is None else int(wanted)
    generation = at(item, "metadata", "generation") or 0
    current = (at(item, "status", "observedGeneration") or 0) >= generation
    ready = int(at(item, "status", "readyReplicas") or 0) if current else 0
    return Count(min(ready, wanted), wanted)


def _claimed_deployments(platform: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Deployments that a layer's gate names: (namespace, name) -> layer."""
    return {
        (check["namespace"], check["name"]): layer
        for layer, checks in (platform.get("gates") or {}).items()
        for check in checks
        if check.get("check") == "deployment"
    }


def _layer_of_namespace(platform: Mapping[str, Any]) -> dict[str, str]:
    """Namespaces that hold the releases of one layer only: namespace -> layer."""
    owners: dict[str, set[str]] = {}
    for layer in platform["layers"]:
        for release in layer.get("releases") or ():
            owners.setdefault(release["namespace"], set()).add(layer["name"])
    return {namespace: next(iter(names)) for namespace, names in owners.items() if len(names) == 1}


def services(platform: Mapping[str, Any], items: Sequence[Object]) -> tuple[Service, ...]:
    """The Services of the platform namespaces, by namespace and name."""
    return tuple(_service(item) for item in _of_platform(platform, items))


def _service(item: Object) -> Service:
    ports = [f"{port['port']}/{port.get('protocol', 'TCP')}" for port in at(item, "spec", "ports") or ()]
    ingress = at(item, "status", "loadBalancer", "ingress") or [{}]
    cluster_ip = at(item, "spec", "clusterIP") or ""
    return Service(
        namespace=namespace_of(item),
        name=name_of(item),
        type=at(item, "spec", "type") or "ClusterIP",
        ports=tuple(ports),
        address=ingress[0].get("hostname") or ingress[0].get("ip") or cluster_ip,
    )


def crd_sets(platform: Mapping[str, Any], established: Container[str]) -> tuple[CrdSet, ...]:
    """The CRD sets of the plan, in the order of the layers that apply them or wait for them.

    ``established`` holds the names of the Established CRDs.
    """
    owners = _layer_of_crd(platform)
    order = [layer["name"] for layer in platform["layers"]]
    sets = [_crd_set(name, entry, owners, established) for name, entry in platform["crds"].items()]
    return tuple(sorted(sets, key=lambda s: (order.index(s.layer) if s.layer else len(order), s.name)))


def _crd_set(name: str, entry: Mapping[str, Any], owners: Mapping[str, str], established: Container[str]) -> CrdSet:
    wanted = sorted(file["name"] for file in entry["files"])
    missing = tuple(crd for crd in wanted if crd not in established)
    count = Count(len(wanted) - len(missing), len(wanted))
    layer = next((owners[crd] for crd in wanted if crd in owners), "")
    return CrdSet(name, layer, str(entry.get("version") or ""), count, missing)


def _layer_of_crd(platform: Mapping[str, Any]) -> dict[str, str]:
    """CRDs that a layer's gate asks for or that a layer applies: name -> layer."""
    waited = {
        crd: layer
        for layer, checks in (platform.get("gates") or {}).items()
        for check in checks
        if check.get("check") == "crds"
        for crd in check["names"]
    }
    applied = {
        file["name"]: layer["name"]
        for layer in platform["layers"]
        for name in layer.get("crds") or ()
        for file in platform["crds"][name]["files"]
    }
    return waited | applied


def crd_names(platform: Mapping[str, Any]) -> list[str]:
    """Names of all CRDs of the plan."""
    return sorted({file["name"] for entry in platform["crds"].values() for file in entry["files"]})


def gateway(platform: Mapping[str, Any], gateways: Sequence[Object], classes: Sequence[Object]) -> Gateway | None:
    """The gateway of the models, None when it does not exist."""
    wanted = platform["serving"]["gateway"]
    for item in gateways:
        if (namespace_of(item), name_of(item)) == (wanted["namespace"], wanted["name"]):
            return _gateway_from(item, classes)
    return None


def _gateway_from(item: Object, classes: Sequence[Object]) -> Gateway:
    class_name = at(item, "spec", "gatewayClassName") or ""
    programmed = condition(item, "Programmed")
    addresses = at(item, "status", "addresses") or [{}]
    routes = {
        entry.get("name"): int(entry.get("attachedRoutes") or 0) for entry in at(item, "status", "listeners") or ()
    }
    return Gateway(
        namespace=namespace_of(item),
        name=name_of(item),
        gateway_class=class_name,
        class_accepted=any(
            name_of(entry) == class_name and condition_status(entry, "Accepted") == "True" for entry in classes
        ),
        address=addresses[0].get("value") or "",
        accepted=condition_status(item, "Accepted") == "True",
        programmed=programmed.status == "True",
        reason=programmed.reason,
        message=programmed.message,
        listeners=tuple(
            Listener(entry["name"], int(entry["port"]), entry.get("protocol", ""), routes.get(entry["name"], 0))
            for entry in at(item, "spec", "listeners") or ()
        ),
    )


def _of_platform(platform: Mapping[str, Any], items: Sequence[Object]) -> list[Object]:
    """Items of the platform namespaces, by namespace and name."""
    homes = set(_platform_namespaces(platform))
    return sorted((i for i in items if namespace_of(i) in homes), key=lambda i: (namespace_of(i), name_of(i)))
