"""One pass of the controller: from what the cluster is to what has to be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedded_cluster.standins.gateway import classes, gateways, objects, pools, routes
from embedded_cluster.standins.gateway.settings import ProxyValues, Settings
from embedded_cluster.standins.gateway.snapshot import Key, Object, Snapshot, key_of

CA_LABELS = {"istio.io/config": "true"}


@dataclass(frozen=True)
class Memory:
    """What earlier passes saw, for what istiod does not look at again with each change."""

    endpoints: Mapping[Key, gateways.SeenEndpoints] = field(default_factory=dict)  # by Service
    pickers: Mapping[Key, pools.PickerCheck] = field(default_factory=dict)  # by InferencePool


@dataclass(frozen=True)
class StatusWrite:
    """An object whose status has to become `status`."""

    obj: Object
    status: dict[str, Any]


@dataclass
class Desired:
    """Everything one pass wants written, in the order in which istiod writes per owner."""

    memory: Memory = field(default_factory=Memory)
    create: list[dict[str, Any]] = field(default_factory=list)  # GatewayClasses and CA ConfigMaps that are missing
    update: list[dict[str, Any]] = field(default_factory=list)  # CA ConfigMaps that differ
    apply: list[list[dict[str, Any]]] = field(default_factory=list)  # children, one list per Gateway or pool
    statuses: list[StatusWrite] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)  # by Gateway, for the log


def desired(
    snapshot: Snapshot, memory: Memory, settings: Settings, certificate: str, now: str, *, served: frozenset[str]
) -> Desired:
    """What has to exist and to be written now.

    `certificate` is the mesh's root certificate (PEM), `now` an RFC 3339 time for transitions, `served` the kinds
    that the API server serves: nothing is said about a Gateway before its whole world is known.
    """
    result = Desired()
    _root_certificates(result, snapshot, certificate)
    if not settings.gateway_api or not {"Gateway", "GatewayClass", "HTTPRoute"} <= served:
        result.memory = memory
        return result
    if settings.gateway_classes:
        result.create += classes.missing_classes(snapshot)
    endpoints = _endpoints(snapshot, memory)
    if settings.gateway_deployments:
        _gateway_children(result, snapshot, settings)
    pickers: dict[Key, pools.PickerCheck] = {}
    if settings.gateway_status:
        _statuses(result, snapshot, settings, endpoints, now)
    if settings.inference_extension:
        pickers = _pools(result, snapshot, settings, memory, now)
    result.memory = Memory(endpoints, pickers)
    return result


def _root_certificates(result: Desired, snapshot: Snapshot, certificate: str) -> None:
    """ConfigMaps with the mesh's root certificate and revocation list in every namespace (section 1.1)."""
    contents = {
        "istio-ca-root-cert": {"root-cert.pem": certificate},
        "istio-ca-crl": {"ca-crl.pem": ""},
    }
    for namespace in snapshot.all("Namespace"):
        if namespace["metadata"].get("deletionTimestamp"):
            continue
        for name, data in contents.items():
            wanted = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace["metadata"]["name"], "labels": CA_LABELS},
                "data": data,
            }
            live = snapshot.get("ConfigMap", namespace["metadata"]["name"], name)
            if live is None:
                result.create.append(wanted)
            elif live.get("data") != data:
                result.update.append({**wanted, "metadata": {**live["metadata"], "labels": CA_LABELS}})


def _endpoints(snapshot: Snapshot, memory: Memory) -> dict[Key, gateways.SeenEndpoints]:
    return {
        key_of(service): gateways.look_at_endpoints(service, snapshot, memory.endpoints.get(key_of(service)))
        for service in snapshot.all("Service")
        if objects.GATEWAY_NAME_LABEL in (service["spec"].get("selector") or {})
    }


def _gateway_children(result: Desired, snapshot: Snapshot, settings: Settings) -> None:
    values = ProxyValues.of(snapshot, settings)
    for gateway in snapshot.all("Gateway"):
        mine = classes.controller_of(gateway, snapshot) == snapshot.controller
        if not mine or not objects.is_managed(gateway) or gateway["metadata"].get("deletionTimestamp"):
            continue
        try:
            result.apply.append(objects.children(gateway, snapshot, settings, values))
        except objects.TemplateError as error:
            result.problems["/".join(key_of(gateway))] = f"error rendering templates: {error}"


def _statuses(
    result: Desired,
    snapshot: Snapshot,
    settings: Settings,
    endpoints: Mapping[Key, gateways.SeenEndpoints],
    now: str,
) -> None:
    for gateway_class in snapshot.all("GatewayClass"):
        _write(result, gateway_class, classes.class_status(gateway_class, snapshot, now))
    attached = routes.attached_counts(snapshot)
    for gateway in snapshot.all("Gateway"):
        controller = classes.controller_of(gateway, snapshot)
        if controller in (snapshot.controller, classes.UNMANAGED):
            status = gateways.gateway_status(gateway, controller, snapshot, settings, endpoints, attached, now)
            _write(result, gateway, status)
    for route in snapshot.all("HTTPRoute"):
        _write(result, route, routes.route_status(route, snapshot, settings, now))


def _pools(
    result: Desired, snapshot: Snapshot, settings: Settings, memory: Memory, now: str
) -> dict[Key, pools.PickerCheck]:
    pickers = {}
    routes_by_pool = pools.referring_routes(snapshot)
    for pool in snapshot.all("InferencePool"):
        key = key_of(pool)
        referring = routes_by_pool.get(key, [])
        accepted = pools.gateway_verdicts(referring, snapshot.controller)
        pickers[key] = pools.check_picker(pool, referring, snapshot, memory.pickers.get(key))
        if settings.gateway_status:
            _write(result, pool, pools.pool_status(pool, accepted, pickers[key].verdict, snapshot, now))
        shadow = pools.shadow_service(pool) if accepted else None
        if shadow and not pool["metadata"].get("deletionTimestamp"):
            result.apply.append([shadow])
    return pickers


def _write(result: Desired, obj: Object, status: dict[str, Any] | None) -> None:
    """Notes a status write when there is something to say that the object does not say yet."""
    if status is not None and status != obj.get("status"):
        result.statuses.append(StatusWrite(obj, status))
