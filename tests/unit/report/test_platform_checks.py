"""The checks of tests/platform fail where they must: called here with objects that no cluster has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.platform import test_models, test_platform
from tests.platform.expectations import Expectations, Gateway, Service, expectations

Object = dict[str, Any]
KEY = ("models", "qwen")


def holding(**kinds: list[Object]) -> Callable[..., dict[tuple[str, str], Object]]:
    """Stands for the fixture ``objects``: a cluster that has these, by kind."""

    def objects(_: str, kind: str) -> dict[tuple[str, str], Object]:
        return {(item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in kinds.get(kind, [])}

    return objects


# ---- the platform --------------------------------------------------------------------------------


def deployment(replicas: int, ready: int) -> Object:
    counts = dict.fromkeys(("updatedReplicas", "readyReplicas", "availableReplicas"), ready)
    return {
        "metadata": {"namespace": "cert-manager", "name": "cert-manager", "generation": 1},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": 1, **counts},
    }


def test_a_deployment_must_be_there_with_all_its_pods_and_at_least_one() -> None:
    key = ("cert-manager", "cert-manager")
    test_platform.test_deployment_is_ready(holding(Deployment=[deployment(1, 1)]), key)
    for wrong in ([], [deployment(0, 0)], [deployment(2, 1)]):
        with pytest.raises(AssertionError):
            test_platform.test_deployment_is_ready(holding(Deployment=wrong), key)


@pytest.fixture
def expected(aws: dict[str, Any]) -> Expectations:
    return expectations(aws)


def gateway(*ports: int, condition: str = "Programmed", addresses: tuple[str, ...] = ("192.0.2.1",)) -> Object:
    return {
        "metadata": {"namespace": "redhat-ods-applications", "name": "inference-gateway"},
        "spec": {"listeners": [{"port": port} for port in ports]},
        "status": {
            "conditions": [{"type": condition, "status": "True"}],
            "addresses": [{"value": value} for value in addresses],
        },
    }


def service(*ports: int, kind: str = "LoadBalancer") -> Object:
    return {
        "metadata": {"namespace": "redhat-ods-applications", "name": "inference-gateway-istio"},
        "spec": {"type": kind, "ports": [{"port": port} for port in ports]},
    }


def test_the_service_of_the_gateway_must_offer_what_its_listeners_ask_for(expected: Expectations) -> None:
    (wanted,) = [item for item in expected.services if item.of_gateway]
    right = holding(Gateway=[gateway(8080)], Service=[service(15021, 8080)])
    test_platform.test_service_offers_its_ports(right, expected, wanted)
    for found in ([], [service(15021, 80)], [service(8080)], [service(15021, 8080, kind="ClusterIP")]):
        with pytest.raises(AssertionError):
            test_platform.test_service_offers_its_ports(
                holding(Gateway=[gateway(8080)], Service=found), expected, wanted
            )


def test_another_service_needs_no_gateway(expected: Expectations) -> None:
    wanted = Service("redhat-ods-applications", "inference-gateway-istio", "LoadBalancer", (80,))
    test_platform.test_service_offers_its_ports(holding(Service=[service(80)]), expected, wanted)


def test_the_gateway_must_be_programmed_and_have_an_address(expected: Expectations) -> None:
    check = test_platform.test_gateway_is_as_ready_as_the_provider_lets_it_be
    check(holding(Gateway=[gateway(80)]), expected)
    for wrong in ([], [gateway(80, condition="Accepted")], [gateway(80, addresses=())], [gateway(8080)]):
        with pytest.raises(AssertionError):
            check(holding(Gateway=wrong), expected)


def test_without_load_balancers_the_gateway_must_be_accepted(plan_for: Callable[..., Any]) -> None:
    check = test_platform.test_gateway_is_as_ready_as_the_provider_lets_it_be
    expected = expectations(plan_for("generic").to_dict())
    assert expected.gateway == Gateway("redhat-ods-applications", "inference-gateway", "Accepted", (80,))
    check(holding(Gateway=[gateway(80, condition="Accepted", addresses=())]), expected)
    with pytest.raises(AssertionError):
        check(holding(Gateway=[gateway(80, condition="Programmed", addresses=())]), expected)


# ---- the models ----------------------------------------------------------------------------------


def model(stopped: bool = False, **spec: Any) -> Object:
    reason = {"status": "False", "reason": "Stopped"} if stopped else {"status": "True"}
    return {
        "metadata": {
            "namespace": "models",
            "name": "qwen",
            "generation": 1,
            **({"annotations": {"serving.kserve.io/stop": "true"}} if stopped else {}),
        },
        "spec": spec,
        "status": {
            "observedGeneration": 1,
            "url": "http://192.0.2.1/models/qwen",
            "conditions": [{"type": "Ready", **reason}],
        },
    }


def pods(component: str, *ready: bool) -> list[Object]:
    name = "qwen-kserve-router-scheduler-0" if component == "router-scheduler" else "qwen-kserve-0"
    return [
        {
            "metadata": {"name": name, "labels": {"app.kubernetes.io/component": f"llminferenceservice-{component}"}},
            "spec": {"containers": []},
            "status": {"conditions": [{"type": "Ready", "status": str(value)}]},
        }
        for value in ready
    ]


SCALING = {"minReplicas": 2, "maxReplicas": 3, "wva": {"hpa": {}}}


@pytest.mark.parametrize(
    ("model", "component", "right", "wrong"),
    [
        (model(replicas=2), "workload", [(True, True)], [(True,), (True, False), (True, True, True)]),
        (model(replicas=1, worker={}), "workload-leader", [(True,)], [(), (False,)]),
        (model(replicas=0), "workload", [()], [(True,)]),
        (model(), "workload", [(True,), (True, True)], [(), (False,)]),
        (
            model(scaling=SCALING),
            "workload",
            [(True, True), (True, True, False)],
            [(True,), (True, False), (True, True, True, True)],
        ),
        (model(scaling={"maxReplicas": 3}), "workload", [(True,)], [()]),
        (
            model(scaling={**SCALING, "wva": {"keda": {"idleReplicaCount": 1}}}),
            "workload",
            [(True,), (True, True)],
            [()],
        ),
        (model(stopped=True, replicas=2), "workload", [()], [(True,), (False,)]),
    ],
)
def test_a_model_must_have_the_pods_that_its_spec_asks_for(
    model: Object, component: str, right: list[tuple[bool, ...]], wrong: list[tuple[bool, ...]]
) -> None:
    for found in right:
        test_models.test_model_has_its_serving_pods(model, pods(component, *found))
    for found in wrong:
        with pytest.raises(AssertionError):
            test_models.test_model_has_its_serving_pods(model, pods(component, *found))


def test_a_stopped_model_must_be_stopped_and_another_ready() -> None:
    check = test_models.test_model_is_ready_or_stopped_as_it_is_to_be
    check(model())
    check(model(stopped=True))
    for right in (model(), model(stopped=True)):
        other = model() if "annotations" in right["metadata"] else model(stopped=True)
        with pytest.raises(AssertionError):
            check(right | {"status": other["status"]})


@pytest.mark.parametrize(
    ("scheduler", "right", "wrong"),
    [({}, (True,), [(), (False,), (True, True)]), ({"replicas": 2}, (True, False), [(True,), (False, False)])],
)
def test_a_model_must_have_the_schedulers_that_its_spec_asks_for(
    scheduler: Object, right: tuple[bool, ...], wrong: list[tuple[bool, ...]]
) -> None:
    served = model(router={"scheduler": scheduler})
    test_models.test_model_has_its_schedulers(served, pods("router-scheduler", *right))
    for found in wrong:
        with pytest.raises(AssertionError):
            test_models.test_model_has_its_schedulers(served, pods("router-scheduler", *found))


@pytest.mark.parametrize("router", [None, {"route": {}}, {"scheduler": {"pool": {"ref": {"name": "own"}}}}])
def test_a_model_without_a_scheduler_of_its_own_needs_none(router: Object | None) -> None:
    with pytest.raises(pytest.skip.Exception):
        test_models.test_model_has_its_schedulers(model(**({"router": router} if router else {})), [])


def attached(name: str, condition: str = "True", owner: str = "qwen") -> Object:
    conditions = [{"type": kind, "status": condition} for kind in ("Accepted", "ResolvedRefs")]
    return {
        "metadata": {
            "namespace": "models",
            "name": name,
            "ownerReferences": [{"kind": "LLMInferenceService", "name": owner}],
        },
        "status": {"parents": [{"conditions": conditions}]},
    }


@pytest.mark.parametrize(
    ("scheduler", "right", "wrong"),
    [
        (
            {},
            attached("qwen-inference-pool"),
            [attached("other"), attached("qwen-inference-pool", "False"), attached("qwen-inference-pool", owner="x")],
        ),
        ({"pool": {"ref": {"name": "own"}}}, attached("own", owner="x"), [attached("own", "False"), attached("other")]),
    ],
)
def test_a_pool_must_be_accepted_in_one_of_its_kinds(scheduler: Object, right: Object, wrong: list[Object]) -> None:
    served = model(router={"scheduler": scheduler})
    test_models.test_model_has_an_accepted_pool(holding(InferencePool=[right]), served, KEY)
    for found in ([], *([item] for item in wrong)):
        with pytest.raises(AssertionError):
            test_models.test_model_has_an_accepted_pool(holding(InferencePool=found), served, KEY)


@pytest.mark.parametrize(
    ("route", "right", "wrong"),
    [
        (
            {},
            attached("qwen-kserve-route"),
            [attached("other"), attached("qwen-kserve-route", "False"), attached("qwen-kserve-route", owner="x")],
        ),
        (
            {"http": {"refs": [{"name": "own"}]}},
            attached("own", owner="x"),
            [attached("own", "False"), attached("other")],
        ),
    ],
)
def test_routes_must_resolve(route: Object, right: Object, wrong: list[Object]) -> None:
    served = model(router={"route": route})
    test_models.test_model_has_routes_that_resolve(holding(HTTPRoute=[right]), served, KEY)
    for found in ([], *([item] for item in wrong)):
        with pytest.raises(AssertionError):
            test_models.test_model_has_routes_that_resolve(holding(HTTPRoute=found), served, KEY)


def test_a_model_with_a_route_must_have_an_address_from_outside(expected: Expectations) -> None:
    check = test_models.test_model_has_a_url_through_the_gateway
    routed = model(router={"route": {}})
    check(routed, KEY, expected)
    for url in ("", "http://192.0.2.1/elsewhere"):
        with pytest.raises(AssertionError):
            check(routed | {"status": {"url": url}}, KEY, expected)
    own = model(router={"route": {"http": {"refs": [{"name": "own"}]}}})
    check(own | {"status": {"url": "http://192.0.2.1/elsewhere"}}, KEY, expected)


@pytest.mark.parametrize(("provider", "router"), [("generic", {"route": {}}), ("aws", {})])
def test_without_route_or_load_balancer_a_model_needs_no_address(
    plan_for: Callable[..., Any], provider: str, router: Object
) -> None:
    expected = expectations(plan_for(provider).to_dict())
    with pytest.raises(pytest.skip.Exception):
        test_models.test_model_has_a_url_through_the_gateway(model(router=router) | {"status": {}}, KEY, expected)
