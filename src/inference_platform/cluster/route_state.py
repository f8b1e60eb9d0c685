"""Whether an HTTPRoute leads to its backends, and if not, why: objects in, problems out.  Pure.

Gateways say it in the status of the route, one entry for each parent (observed-gateway.md 3); what they do not look
at is checked here: a port that the Service does not have, and a pool without its endpoint picker (4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference_platform.cluster.objects import Object

Key = tuple[str, str]


@dataclass(frozen=True)
class Around:
    """What is in the cluster beside the routes, by namespace and name."""

    gateways: Mapping[Key, Object] = field(default_factory=dict)
    services: Mapping[Key, Object] = field(default_factory=dict)
    pools: Mapping[Key, Object] = field(default_factory=dict)


@dataclass(frozen=True)
class RouteProblem:
    """What is wrong with a route (id "namespace/name"): why, what that means to a client, what to do."""

    route: str
    why: str
    meaning: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.route}: {self.why}"


@dataclass(frozen=True)
class _Reason:
    meaning: str
    remedy: str


#: By reason of a condition that is not True.
REASONS: Mapping[str, _Reason] = {
    "NotAllowedByListeners": _Reason(
        "the gateway lets no route of this namespace in; requests are answered with 404",
        "Change allowedRoutes of the listener, give the namespace the label that it asks for, or attach the route to "
        "another gateway.",
    ),
    "NoMatchingParent": _Reason(
        "the gateway has no listener with that name or port; requests are answered with 404",
        "Correct section_name or port in gateways of the route, or add the listener.",
    ),
    "NoMatchingListenerHostname": _Reason(
        "no listener takes the route's host names; requests are answered with 404",
        "Correct hostnames of the route, or those of the listener.",
    ),
    "BackendNotFound": _Reason(
        "its requests are answered with 500; normal for a moment after the pool or Service was made",
        "Correct the name in backends of the route, or make the pool or Service.",
    ),
    "RefNotPermitted": _Reason(
        "its requests are answered with 500: the namespace of the backend has not granted its use",
        "Run models.yml again if the grant that this installer makes is gone, or add a ReferenceGrant there.",
    ),
    "InvalidKind": _Reason(
        "its requests are answered with 500: the gateway does not know this kind of backend",
        "Use pools of the group inference.networking.k8s.io, Services, or models by name.",
    ),
}
_OTHER = _Reason("its requests may not arrive", "Read the status of the HTTPRoute.")


def judge_route(route: Object, around: Around) -> list[RouteProblem]:
    """The problems of one HTTPRoute; none when every parent takes it and every backend can be reached."""
    return list(dict.fromkeys((*_of_parents(route, around), *_of_backends(route, around))))


def backend_keys(routes: Iterable[Object], kind: str) -> set[Key]:
    """Namespace and name of the backends of this kind that routes send requests to."""
    return {
        (backend.get("namespace") or route["metadata"]["namespace"], backend["name"])
        for route in routes
        for backend in _backends(route)
        if backend.get("kind", "Service") == kind
    }


def parent_keys(routes: Iterable[Object]) -> set[Key]:
    """Namespace and name of the Gateways that routes are attached to."""
    return {_parent_key(route, parent) for route in routes for parent in _parents(route)}


def _parents(route: Object) -> list[Mapping[str, Any]]:
    parents: list[Mapping[str, Any]] = (route.get("spec") or {}).get("parentRefs") or []
    return [item for item in parents if item.get("kind", "Gateway") == "Gateway"]


def _parent_key(route: Object, parent: Mapping[str, Any]) -> Key:
    return parent.get("namespace") or route["metadata"]["namespace"], parent["name"]


def _of_parents(route: Object, around: Around) -> Iterator[RouteProblem]:
    for parent in _parents(route):
        gateway = _parent_key(route, parent)
        entry = next((item for item in _entries(route) if _is_about(item, parent, route)), None)
        where = f"Gateway {'/'.join(gateway)}"
        if gateway not in around.gateways:
            yield _problem(
                route,
                f"{where} does not exist",
                _Reason(
                    "nothing serves the route", "Correct gateways of the route, or install the gateway with site.yml."
                ),
            )
        elif entry is None or _is_old(entry, route):
            yield _problem(
                route,
                f"{where} has not looked at its newest version yet",
                _Reason("normal for a moment", "If it stays, look at istiod and at the class of the Gateway."),
            )
        else:
            for condition in entry["conditions"]:
                if condition["type"] in ("Accepted", "ResolvedRefs") and condition["status"] != "True":
                    reason = condition.get("reason", "")
                    text = f"{where}: {condition['type']}={condition['status']} {reason}: {condition.get('message')}"
                    yield _problem(route, text, REASONS.get(reason, _OTHER))


def _entries(route: Object) -> Sequence[Mapping[str, Any]]:
    return (route.get("status") or {}).get("parents") or []


def _is_about(entry: Mapping[str, Any], parent: Mapping[str, Any], route: Object) -> bool:
    told = entry.get("parentRef") or {}
    same = _parent_key(route, {"name": "", **told}) == _parent_key(route, parent)
    return same and all(told.get(key) == parent.get(key) for key in ("sectionName", "port"))


def _is_old(entry: Mapping[str, Any], route: Object) -> bool:
    generation = route["metadata"].get("generation", 0)
    seen = [item.get("observedGeneration", generation) for item in entry.get("conditions") or []]
    return not seen or min(seen) < generation


def _backends(route: Object) -> Iterator[Mapping[str, Any]]:
    for rule in (route.get("spec") or {}).get("rules") or []:
        yield from (item for item in rule.get("backendRefs") or [] if item.get("weight", 1))


def _of_backends(route: Object, around: Around) -> Iterator[RouteProblem]:
    for backend in _backends(route):
        key = backend.get("namespace") or route["metadata"]["namespace"], backend["name"]
        kind = backend.get("kind", "Service")
        if kind == "Service" and key in around.services:
            yield from _of_service(route, key, around.services[key], backend.get("port"))
        elif kind == "InferencePool" and key in around.pools:
            yield from _of_pool(route, key, around.pools[key], around)


def _of_service(route: Object, key: Key, service: Object, port: int | None) -> Iterator[RouteProblem]:
    ports = [item["port"] for item in (service.get("spec") or {}).get("ports") or []]
    if port not in ports:
        yield _problem(
            route,
            f"Service {'/'.join(key)} has no port {port}, only {', '.join(map(str, ports)) or 'none'}",
            _Reason("its requests are answered with 503; gateways do not check it", "Correct port of the backend."),
        )


def _of_pool(route: Object, key: Key, pool: Object, around: Around) -> Iterator[RouteProblem]:
    # The status of a pool is stale when its picker comes or goes (observed-gateway.md 4), so the Service is looked for.
    picker = (pool.get("spec") or {}).get("endpointPickerRef") or {}
    name = picker.get("name", "")
    if picker.get("kind", "Service") == "Service" and (key[0], name) not in around.services:
        yield _problem(
            route,
            f"InferencePool {'/'.join(key)} names the endpoint picker {name}, a Service that does not exist",
            _Reason(
                "its requests are answered with 500 when the pool says FailClose, and go to any pod otherwise",
                "Look at the scheduler of the model that the pool belongs to.",
            ),
        )


def _problem(route: Object, why: str, reason: _Reason) -> RouteProblem:
    metadata = route["metadata"]
    return RouteProblem(f"{metadata['namespace']}/{metadata['name']}", why, reason.meaning, reason.remedy)
