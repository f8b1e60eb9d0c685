"""Waits until the routes of an inventory lead to their backends, and says of the others why they do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from inference_platform.cluster import errors
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object, Ref
from inference_platform.cluster.route_state import (
    Around,
    Key,
    RouteProblem,
    backend_keys,
    judge_route,
    parent_keys,
)

#: Seconds for which a route that leads nowhere may recover: a gateway learns of new pools a moment late.
PATIENCE_SECONDS = 30.0
ROUTE_KIND = "HTTPRoute"
_PAUSE_SECONDS = 0.5
_API = "gateway.networking.k8s.io/v1"


@dataclass(frozen=True)
class RoutesResult:
    """How it ended: seconds it took, how many routes there are, what is wrong with them."""

    elapsed: float
    total: int
    problems: tuple[RouteProblem, ...] = ()


class RoutesLeadNowhere(errors.ClusterError):
    """Some routes do not lead to their backends.  `str()` explains each, `result` is the data."""

    def __init__(self, result: RoutesResult) -> None:
        self.result = result
        super().__init__(explained(result))


def routes_of(objects: Iterable[Object]) -> list[Ref]:
    """The HTTPRoutes among objects that were applied."""
    return [Ref.of(obj) for obj in objects if obj["kind"] == ROUTE_KIND]


def look(cluster: Cluster, wanted: Sequence[Ref], pool_group: str) -> RoutesResult:
    """One look at these routes, by one list of each kind that they speak of; no request without routes.

    pool_group  API group of the InferencePools that the gateway knows
    """
    if not wanted:
        return RoutesResult(0.0, 0)
    live = {Ref.of(obj): obj for obj in cluster.list(wanted[0].api_version, ROUTE_KIND)}
    found = [live[ref] for ref in wanted if ref in live]
    around = _around(cluster, found, pool_group)
    problems = [_missing(ref) for ref in wanted if ref not in live]
    problems += [problem for route in found for problem in judge_route(route, around)]
    return RoutesResult(0.0, len(wanted), tuple(problems))


def wait(
    cluster: Cluster,
    wanted: Sequence[Ref],
    pool_group: str,
    *,
    patience: float = PATIENCE_SECONDS,
    on_progress: Callable[[float, RoutesResult], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> RoutesResult:
    """Looks until nothing is wrong.  Raises RoutesLeadNowhere after `patience` seconds.

    on_progress  called with the seconds since the start and what is wrong, after each look
    """
    began = clock()
    while True:
        seen = look(cluster, wanted, pool_group)
        elapsed = clock() - began
        result = RoutesResult(elapsed, seen.total, seen.problems)
        if not result.problems:
            return result
        if elapsed >= patience:
            raise RoutesLeadNowhere(result)
        if on_progress is not None:
            on_progress(elapsed, result)
        sleep(_PAUSE_SECONDS)


def explained(result: RoutesResult) -> str:
    """The problems, numbered, each with what it means and what to do."""
    broken = len({problem.route for problem in result.problems})
    lines = [f"{broken} of {result.total} routes do not lead to their models after {result.elapsed:.0f} s."]
    for number, problem in enumerate(result.problems, start=1):
        lines += [
            f"{number}. HTTPRoute {problem}",
            f"   what it means: {problem.meaning}.",
            f"   next: {problem.remedy}",
        ]
    return "\n".join(lines)


def _around(cluster: Cluster, routes: Sequence[Object], pool_group: str) -> Around:
    pools = _objects(cluster, f"{pool_group}/v1", "InferencePool", backend_keys(routes, "InferencePool"))
    services = backend_keys(routes, "Service")
    services |= {(namespace, _picker(pool)) for (namespace, _), pool in pools.items()}
    return Around(
        gateways=_objects(cluster, _API, "Gateway", parent_keys(routes)),
        services=_objects(cluster, "v1", "Service", services),
        pools=pools,
    )


def _picker(pool: Object) -> str:
    return str(((pool.get("spec") or {}).get("endpointPickerRef") or {}).get("name", ""))


def _objects(cluster: Cluster, api_version: str, kind: str, keys: set[Key]) -> dict[Key, Object]:
    """Those of `keys` that exist: by one list for each namespace they are in."""
    try:
        return {
            key: obj
            for namespace in sorted({namespace for namespace, _ in keys})
            for obj in cluster.list(api_version, kind, namespace)
            if (key := (namespace, obj["metadata"]["name"])) in keys
        }
    except errors.UnknownKind:
        return {}


def _missing(ref: Ref) -> RouteProblem:
    return RouteProblem(
        f"{ref.namespace}/{ref.name}",
        "it does not exist",
        "requests to it are answered with 404",
        "Somebody deleted it: run models.yml again.",
    )
