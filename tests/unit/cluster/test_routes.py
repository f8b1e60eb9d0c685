"""Routes that lead nowhere: each cause is named, with what it means and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Ref
from inference_platform.cluster.route_state import REASONS, Around, judge_route
from inference_platform.cluster.route_wait import RoutesLeadNowhere, RoutesResult, look, wait
from tests.unit.cluster.fake_api import FakeApi

GATEWAY_API = "gateway.networking.k8s.io/v1"
POOLS = "inference.networking.k8s.io"
REF = Ref(GATEWAY_API, "HTTPRoute", "team", "shared")
POOL = {"group": POOLS, "kind": "InferencePool", "name": "p"}
SERVICE = {"name": "s", "port": 8000}


def route(*backends: dict[str, Any], parent: dict[str, Any] | None = None, **conditions: tuple[str, str]) -> Any:
    """A route of the gateway `platform/gw`; conditions are type: (status, reason)."""
    wanted = parent or {"name": "gw", "namespace": "platform"}
    told = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs"), **conditions}
    entries = [
        {"type": kind, "status": status, "reason": reason, "message": "why", "observedGeneration": 1}
        for kind, (status, reason) in told.items()
    ]
    return {
        "apiVersion": GATEWAY_API,
        "kind": "HTTPRoute",
        "metadata": {"name": "shared", "namespace": "team", "generation": 1},
        "spec": {"parentRefs": [wanted], "rules": [{"backendRefs": list(backends)}]},
        "status": {"parents": [{"parentRef": wanted, "conditions": entries}]},
    }


def around(**changes: Any) -> Around:
    objects = {
        "gateways": {("platform", "gw"): {}},
        "services": {("team", "s"): {"spec": {"ports": [{"port": 8000}]}}, ("team", "epp"): {}},
        "pools": {("team", "p"): {"spec": {"endpointPickerRef": {"name": "epp"}}}},
    }
    return Around(**{**objects, **changes})


def test_a_good_route_has_no_problem() -> None:
    assert judge_route(route(POOL, SERVICE), around()) == []


@pytest.mark.parametrize("reason", REASONS)
def test_what_the_gateway_refuses_is_named_with_meaning_and_remedy(reason: str) -> None:
    kind = "Accepted" if reason.startswith(("No", "Not")) else "ResolvedRefs"
    (problem,) = judge_route(route(SERVICE, **{kind: ("False", reason)}), around())
    assert problem.why == f"Gateway platform/gw: {kind}=False {reason}: why"
    assert (problem.meaning, problem.remedy) == (REASONS[reason].meaning, REASONS[reason].remedy)


def test_a_reason_nobody_knows_is_shown_as_it_is() -> None:
    (problem,) = judge_route(route(SERVICE, Accepted=("False", "Whim")), around())
    assert str(problem) == "team/shared: Gateway platform/gw: Accepted=False Whim: why"


def test_a_gateway_that_does_not_exist_says_nothing_so_we_do() -> None:
    (problem,) = judge_route(route(SERVICE), around(gateways={}))
    assert problem.why == "Gateway platform/gw does not exist"


@pytest.mark.parametrize("seen", ["nothing", "another parent", "another listener", "an older version"])
def test_a_route_that_its_gateway_has_not_seen_is_not_good(seen: str) -> None:
    one = route(SERVICE)
    entry = one["status"]["parents"][0]
    if seen == "nothing":
        one["status"] = {"parents": []}
    elif seen == "another parent":
        entry["parentRef"] = {"name": "gw"}
    elif seen == "another listener":
        entry["parentRef"] = {**entry["parentRef"], "sectionName": "https"}
    else:
        one["metadata"]["generation"] = 2
    (problem,) = judge_route(one, around())
    assert problem.why == "Gateway platform/gw has not looked at its newest version yet"


def test_the_namespace_of_a_parent_is_that_of_the_route_when_it_is_left_out() -> None:
    assert judge_route(route(SERVICE, parent={"name": "gw"}), around(gateways={("team", "gw"): {}})) == []


def test_a_port_that_the_service_lacks_is_found_although_gateways_accept_it() -> None:
    (problem,) = judge_route(route({"name": "s", "port": 80}), around())
    assert problem.why == "Service team/s has no port 80, only 8000"


def test_a_pool_without_its_endpoint_picker_is_found_although_gateways_accept_it() -> None:
    services = {("elsewhere", "epp"): {}}
    (problem,) = judge_route(route(POOL), around(services=services))
    assert problem.why == "InferencePool team/p names the endpoint picker epp, a Service that does not exist"


def test_backends_that_get_no_requests_are_not_looked_at() -> None:
    assert judge_route(route({"name": "s", "port": 80, "weight": 0}, SERVICE), around()) == []


@pytest.fixture
def kinds(api: FakeApi) -> None:
    api.kinds += [
        (GATEWAY_API, "HTTPRoute", "httproutes", True),
        (GATEWAY_API, "Gateway", "gateways", True),
        ("v1", "Service", "services", True),
    ]
    api.put({"apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": {"name": "gw", "namespace": "platform"}})
    service = {"spec": {"ports": [{"port": 8000}]}, "metadata": {"name": "s", "namespace": "team"}}
    api.put({"apiVersion": "v1", "kind": "Service", **service})


def test_without_routes_nothing_is_asked(api: FakeApi, cluster: Cluster) -> None:
    assert wait(cluster, [], POOLS) == RoutesResult(elapsed=pytest.approx(0, abs=1), total=0)
    assert api.requests == []


@pytest.mark.usefixtures("kinds")
def test_a_route_is_given_a_moment_to_recover(api: FakeApi, cluster: Cluster) -> None:
    api.put(route(SERVICE, ResolvedRefs=("False", "BackendNotFound")))
    seen: list[RoutesResult] = []

    def recover(_: float) -> None:
        api.put(route(SERVICE))

    result = wait(cluster, [REF], POOLS, on_progress=lambda _, now: seen.append(now), sleep=recover)
    assert (result.total, result.problems) == (1, ())
    assert "BackendNotFound" in str(seen[0].problems[0])


@pytest.mark.usefixtures("kinds")
def test_a_route_that_does_not_recover_is_explained(api: FakeApi, cluster: Cluster) -> None:
    api.put(route(SERVICE, Accepted=("False", "NotAllowedByListeners")))
    with pytest.raises(RoutesLeadNowhere) as caught:
        wait(cluster, [REF], POOLS, patience=0.0)
    assert str(caught.value).splitlines() == [
        "1 of 1 routes do not lead to their models after 0 s.",
        "1. HTTPRoute team/shared: Gateway platform/gw: Accepted=False NotAllowedByListeners: why",
        f"   what it means: {REASONS['NotAllowedByListeners'].meaning}.",
        f"   next: {REASONS['NotAllowedByListeners'].remedy}",
    ]


@pytest.mark.usefixtures("kinds")
def test_a_route_that_was_deleted_is_missed(cluster: Cluster) -> None:
    (problem,) = look(cluster, [REF], POOLS).problems
    assert str(problem) == "team/shared: it does not exist"
