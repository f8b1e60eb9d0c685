"""HTTPRoute statuses: the rows of the observed table, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from embedded_cluster.standins.gateway.pools import shadow_service_name
from embedded_cluster.standins.gateway.routes import attached_counts, route_status, route_table
from embedded_cluster.standins.gateway.settings import Settings

from tests.unit.standins.gateway.world import (
    GATEWAY,
    NOW,
    PLATFORM,
    SETTINGS,
    V1,
    Object,
    X,
    conditions,
    gateway,
    grant,
    http,
    namespace,
    pool,
    route,
    service,
    snapshot,
    to_pool,
    to_service,
)

POOL = "qwen-inference-pool"
SHADOW = shadow_service_name(POOL)
GOOD = ("True", "ResolvedRefs", "All references resolved")
VALID = ("True", "Accepted", "Route was valid")


def statuses(subject: Object, *world: Object, settings: Settings = SETTINGS) -> list[dict[str, Any]]:
    status = route_status(subject, snapshot(subject, *world), settings, NOW)
    return status["parents"] if status else []


def judged(subject: Object, *world: Object, settings: Settings = SETTINGS) -> dict[str, tuple[str, str, str]]:
    (parent,) = statuses(subject, gateway(), *world, settings=settings)
    return conditions(parent)


def not_found(name: str) -> tuple[str, str, str]:
    return "False", "BackendNotFound", f"backend({name}) not found"


def invalid_kind(group: str, kind: str) -> tuple[str, str, str]:
    return "False", "InvalidKind", f'referencing unsupported backendRef: group "{group}" kind "{kind}"'


def not_permitted(name: str) -> tuple[str, str, str]:
    text = f'backendRef {name}/shared not accessible to a HTTPRoute in namespace "llm" (missing a ReferenceGrant?)'
    return "False", "RefNotPermitted", text


READY_POOL = (pool(), service(SHADOW))


@pytest.mark.parametrize(
    ("refs", "world", "expected"),
    [
        pytest.param([to_service()], [service()], GOOD, id="service"),
        pytest.param([to_service()], [], not_found("web.llm.svc.cluster.local"), id="service missing"),
        pytest.param([to_service(port=9999)], [service()], GOOD, id="the port is not checked"),
        pytest.param([to_pool()], READY_POOL, GOOD, id="pool"),
        pytest.param([{k: v for k, v in to_pool().items() if k != "port"}], READY_POOL, GOOD, id="pool without port"),
        pytest.param([to_pool(port=1)], READY_POOL, GOOD, id="the pool's port is ignored"),
        pytest.param([to_pool()], [], not_found(POOL), id="pool missing"),
        pytest.param([to_pool()], [pool()], not_found(f"{SHADOW}.llm.svc.cluster.local"), id="pool just created"),
        pytest.param([to_pool(group=X)], READY_POOL, invalid_kind(X, "InferencePool"), id="pool of the other group"),
        pytest.param([to_pool(group=X)], [], invalid_kind(X, "InferencePool"), id="other group, pool missing"),
        pytest.param(
            [{"group": "foo.io", "kind": "Bar", "name": "b"}], [], invalid_kind("foo.io", "Bar"), id="foreign kind"
        ),
        pytest.param(
            [to_service(namespace="shared")], [service(namespace="shared")], not_permitted("web"), id="no grant"
        ),
        pytest.param(
            [to_service(namespace="shared")],
            [service(namespace="shared"), grant("", "Service")],
            GOOD,
            id="service with grant",
        ),
        pytest.param(
            [to_service(namespace="shared")],
            [service(namespace="shared"), grant("", "Service", name="other")],
            not_permitted("web"),
            id="grant for another service",
        ),
        pytest.param(
            [to_service(namespace="shared")],
            [service(namespace="shared"), grant("", "Service", source="elsewhere")],
            not_permitted("web"),
            id="grant for another namespace",
        ),
        pytest.param(
            [to_pool(namespace="shared")],
            [pool(namespace="shared"), service(SHADOW, "shared")],
            not_permitted(POOL),
            id="pool elsewhere, no grant",
        ),
        pytest.param(
            [to_pool(namespace="shared")],
            [pool(namespace="shared"), service(SHADOW, "shared"), grant(V1, "InferencePool")],
            GOOD,
            id="pool elsewhere with grant",
        ),
        pytest.param([], [], GOOD, id="no backendRefs"),
        pytest.param([to_service(), to_service("gone", weight=0)], [service()], GOOD, id="weight 0 is not validated"),
        pytest.param(
            [to_service(), to_pool(group=X, weight=0)], [service()], GOOD, id="weight 0 of an unsupported kind"
        ),
        pytest.param(
            [to_service(), to_service("a"), to_service("b")],
            [service()],
            not_found("a.llm.svc.cluster.local"),
            id="the first bad one is named",
        ),
    ],
)
def test_references(refs: list[Object], world: list[Object], expected: tuple[str, str, str]) -> None:
    found = judged(route(*refs), *world)
    assert found == {"Accepted": VALID, "ResolvedRefs": expected}


@pytest.mark.parametrize("group", [V1, X])
def test_without_the_inference_extension_no_pool_is_supported(group: str) -> None:
    found = judged(route(to_pool(group=group)), *READY_POOL, settings=Settings())
    assert found["ResolvedRefs"] == (
        "False",
        "InvalidKind",
        "InferencePool is not enabled. To enable, set ENABLE_GATEWAY_API_INFERENCE_EXTENSION to true in istiod",
    )


def test_a_missing_picker_does_not_show_on_the_route() -> None:
    assert judged(route(to_pool()), *READY_POOL)["ResolvedRefs"] == GOOD


def test_a_filter_that_istio_does_not_know_is_refused() -> None:
    subject = route(rules=[{"filters": [{"type": "ExtensionRef"}], "backendRefs": [to_service()]}])
    assert judged(subject, service())["ResolvedRefs"] == (
        "False",
        "InvalidFilter",
        'unsupported filter type "ExtensionRef"',
    )


def test_a_mirror_is_a_reference_too() -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": to_service("copy")}}
    subject = route(rules=[{"filters": [mirror], "backendRefs": [to_service()]}])
    assert judged(subject, service())["ResolvedRefs"] == not_found("copy.llm.svc.cluster.local")


def test_a_parent_that_does_not_exist_gets_no_entry() -> None:
    subject = route(to_service(), parentRefs=[{"name": "nowhere"}])
    assert route_status(subject, snapshot(subject, service()), SETTINGS, NOW) is None


def test_a_parent_of_another_class_gets_no_entry() -> None:
    subject = route(to_service())
    assert statuses(subject, gateway(spec={"gatewayClassName": "other"}), service()) == []


def test_a_mesh_parent_gets_no_entry() -> None:
    subject = route(to_service(), parentRefs=[{"group": "", "kind": "Service", "name": "web"}])
    assert statuses(subject, gateway(), service()) == []


def test_a_deleted_gateway_empties_the_list() -> None:
    before = route(to_service())
    parents = statuses(before, gateway(), service())
    after = {**before, "status": {"parents": parents}}
    assert route_status(after, snapshot(after, service()), SETTINGS, NOW) == {"parents": []}


def test_the_parent_reference_is_filled_in() -> None:
    subject = route(parentRefs=[{"name": GATEWAY, "namespace": PLATFORM, "sectionName": "http", "port": 80}])
    (parent,) = statuses(subject, gateway())
    assert parent["parentRef"] == {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": GATEWAY,
        "namespace": PLATFORM,
        "sectionName": "http",
        "port": 80,
    }
    assert parent["controllerName"] == "istio.io/gateway-controller"


SELECTED = {"allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"access": "true"}}}}}


def not_allowed(host: str = "") -> tuple[str, str, str]:
    text = f'hostnames matched parent hostname "{host}", but namespace "llm" is not allowed by the parent'
    return "False", "NotAllowedByListeners", text


def to_gateway(**extra: Any) -> Object:
    return {"name": GATEWAY, "namespace": PLATFORM, **extra}


@pytest.mark.parametrize(
    ("subject", "listeners", "world", "expected"),
    [
        pytest.param(
            route(parentRefs=[to_gateway(sectionName="x")]),
            [http()],
            [],
            ("False", "NoMatchingParent", 'sectionName "x" not found'),
            id="no such listener",
        ),
        pytest.param(
            route(parentRefs=[to_gateway(port=9999)]),
            [http()],
            [],
            ("False", "NoMatchingParent", "port 9999 not found"),
            id="no such port",
        ),
        pytest.param(route(), [http(allowedRoutes={})], [], not_allowed(), id="same namespace is the default"),
        pytest.param(route(), [http(**SELECTED)], [namespace("llm")], not_allowed(), id="namespace not selected"),
        pytest.param(
            route(), [http(**SELECTED)], [namespace("llm", access="true")], VALID, id="namespace labelled later"
        ),
        pytest.param(
            route(),
            [http("a", hostname="a.io", allowedRoutes={}), http("b", hostname="b.io", allowedRoutes={})],
            [],
            (*not_allowed()[:2], f"{not_allowed('a.io')[2]}; {not_allowed('b.io')[2]}"),
            id="one part per listener",
        ),
        pytest.param(
            route(hostnames=["x.org"]),
            [http(hostname="a.io")],
            [],
            ("False", "NoMatchingListenerHostname", 'no hostnames matched parent hostname "a.io"'),
            id="hostname does not match",
        ),
        pytest.param(route(hostnames=["b.a.io"]), [http(hostname="*.a.io")], [], VALID, id="wildcard listener"),
        pytest.param(route(hostnames=["*.a.io"]), [http(hostname="b.a.io")], [], VALID, id="wildcard route"),
        pytest.param(
            route(parentRefs=[to_gateway(sectionName="a")]),
            [http("a", hostname="a.io", allowedRoutes={}), http("b")],
            [],
            not_allowed("a.io"),
            id="only the named listener reports",
        ),
        pytest.param(
            route(),
            [http("a"), http("b", port=8080)],
            [],
            ("True", "Accepted", "Route was valid, bound to 2 parents"),
            id="bound twice",
        ),
        pytest.param(
            route(),
            [http("a"), http("b", port=8080, allowedRoutes={})],
            [],
            VALID,
            id="one accepting listener is enough",
        ),
    ],
)
def test_acceptance(
    subject: Object, listeners: list[Object], world: list[Object], expected: tuple[str, str, str]
) -> None:
    (parent,) = statuses(subject, gateway(*listeners), *world)
    assert conditions(parent) == {"Accepted": expected, "ResolvedRefs": GOOD}


def test_two_parents_are_judged_alone() -> None:
    refs = [to_gateway(), to_gateway(name="second", sectionName="none")]
    found = statuses(route(parentRefs=refs), gateway(), gateway(name="second"))
    assert {p["parentRef"]["name"]: p["conditions"][0]["status"] for p in found} == {GATEWAY: "True", "second": "False"}


def test_entries_of_other_controllers_stay() -> None:
    foreign = {"parentRef": {"name": "theirs"}, "controllerName": "example.org/other", "conditions": []}
    found = statuses(route(status={"parents": [foreign]}), gateway())
    assert foreign in found
    assert len(found) == 2


def test_conditions_come_in_order_with_the_generation() -> None:
    (parent,) = statuses(route(to_service()), gateway(), service())
    assert [c["type"] for c in parent["conditions"]] == ["Accepted", "ResolvedRefs"]
    assert {c["observedGeneration"] for c in parent["conditions"]} == {1}


def test_a_status_that_says_it_all_stays_as_it_is() -> None:
    subject = route(to_service())
    first = route_status(subject, snapshot(subject, gateway(), service()), SETTINGS, NOW)
    again = {**subject, "status": first}
    assert route_status(again, snapshot(again, gateway(), service()), SETTINGS, "2027-01-01T00:00:00Z") == first


def test_the_transition_time_moves_with_the_status_only() -> None:
    subject = route(to_service())
    first = route_status(subject, snapshot(subject, gateway()), SETTINGS, NOW)
    later = "2027-01-01T00:00:00Z"
    again = {**subject, "status": first}
    second = route_status(again, snapshot(again, gateway(), service()), SETTINGS, later)
    assert second is not None
    times = {c["type"]: c["lastTransitionTime"] for c in second["parents"][0]["conditions"]}
    assert times == {"Accepted": NOW, "ResolvedRefs": later}


def test_attached_routes_count_what_is_accepted_resolved_or_not() -> None:
    world = [
        gateway(http("a"), http("b", port=8080, allowedRoutes={})),
        route(to_service("gone"), name="unresolved"),
        route(name="no-backend"),
        route(name="wrong-section", parentRefs=[to_gateway(sectionName="x")]),
        route(name="section-b", parentRefs=[to_gateway(sectionName="b")]),
        route(name="same-namespace", namespace=PLATFORM),
    ]
    key = (PLATFORM, GATEWAY)
    assert attached_counts(snapshot(*world)) == {(key, "a"): 3, (key, "b"): 1}


PICKER = ("qwen-epp-service.llm.svc.cluster.local", 9002)


@pytest.mark.parametrize(
    ("refs", "picker"),
    [
        pytest.param([to_pool(weight=90), to_pool("other", weight=10)], ("other-epp", 9002), id="the last pool's"),
        pytest.param([to_pool(weight=90), to_service(weight=10)], None, id="pool first, service last: none"),
        pytest.param([to_service(weight=10), to_pool(weight=90)], PICKER, id="service first, pool last"),
        pytest.param([to_pool(), to_pool("other", weight=0)], PICKER, id="weight 0 does not count"),
        pytest.param([to_service()], None, id="service"),
    ],
)
def test_a_rule_asks_only_the_picker_of_its_last_backend(refs: list[Object], picker: tuple[str, int] | None) -> None:
    other = pool("other", endpointPickerRef={"name": "other-epp", "port": {"number": 9002}, "failureMode": "FailClose"})
    shadows = (service(SHADOW), service(shadow_service_name("other")))
    table = route_table(snapshot(gateway(), route(*refs), pool(), other, service(), *shadows), SETTINGS)
    (rule,) = table[(PLATFORM, GATEWAY), "http"]
    wanted = picker and (picker[0] if "." in picker[0] else f"{picker[0]}.llm.svc.cluster.local", picker[1])
    assert rule.endpoint_picker == wanted


def test_a_backend_that_does_not_resolve_keeps_its_share() -> None:
    subject = route(to_service(weight=90), to_pool(group=X, weight=10))
    table = route_table(snapshot(gateway(), subject, service()), SETTINGS)
    (rule,) = table[(PLATFORM, GATEWAY), "http"]
    assert [(d.host, d.weight) for d in rule.destinations] == [("web.llm.svc.cluster.local", 90), ("", 10)]
