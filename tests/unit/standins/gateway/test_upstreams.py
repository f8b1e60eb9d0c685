"""Where a gateway's proxy sends requests: pools, their endpoint pickers, and pods that nobody listens on."""

from __future__ import annotations

import pytest
from embedded_cluster.pod_status import simulated_status
from embedded_cluster.standins.gateway.pools import FIRST_PORT, shadow_service_name
from embedded_cluster.standins.gateway.routes import route_table
from embedded_cluster.standins.gateway.upstreams import Tls, Upstream, Upstreams, cluster_name

from tests.unit.standins.gateway.world import (
    GATEWAY,
    NOW,
    PLATFORM,
    SETTINGS,
    Object,
    gateway,
    http,
    meta,
    namespace,
    pool,
    route,
    service,
    snapshot,
    to_pool,
)

MODEL = cluster_name(f"{shadow_service_name('qwen-inference-pool')}.llm.svc.cluster.local", FIRST_PORT)
PICKER = cluster_name("qwen-epp-service.llm.svc.cluster.local", 9002)


def pod(name: str, app: str, ip: str, *, ready: bool = True) -> Object:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "kind": "Pod",
        "metadata": meta(name, "llm", labels={"app": app}),
        "spec": {},
        "status": {"podIP": ip, "conditions": conditions},
    }


def simulated(subject: Object) -> Object:
    """The pod after it was handed over to kwok."""
    ip = subject["status"]["podIP"]
    return {**subject, "status": simulated_status(subject, host_ip="10.0.0.1", pod_ip=ip, now=NOW)}


def leaving(subject: Object) -> Object:
    return {**subject, "metadata": {**subject["metadata"], "deletionTimestamp": NOW}}


def upstreams(to_model: Object, *pods: Object) -> dict[str, Upstream]:
    """What a route to a pool with its picker leads to."""
    shadow = service(shadow_service_name("qwen-inference-pool"), spec={"selector": {}})
    picker = service("qwen-epp-service", spec={"selector": {"app": "epp"}, "ports": [{"port": 9002}]})
    found = snapshot(gateway(http()), namespace("llm"), to_model, pool(), shadow, picker, *pods)
    rules = route_table(found, SETTINGS)[(PLATFORM, GATEWAY), "http"]
    return Upstreams(found, SETTINGS, lambda address, port: (address, port)).of(rules)


def endpoints(*pods: Object) -> dict[str, tuple[tuple[str, int], ...]]:
    """Endpoints by cluster of a model behind its pool and picker."""
    return {name: upstream.endpoints for name, upstream in upstreams(route(to_pool()), *pods).items()}


def test_a_pool_of_the_users_gets_tls_where_the_route_of_a_model_leads_to_it() -> None:
    """As the product's KServe has it for router.scheduler.pool.ref."""
    anybodys = route(to_pool())
    assert {upstream.tls for upstream in upstreams(anybodys).values()} == {None}
    owner = {"kind": "LLMInferenceService", "name": "qwen"}
    of_a_model = {**anybodys, "metadata": {**anybodys["metadata"], "ownerReferences": [owner]}}
    assert {name: upstream.tls for name, upstream in upstreams(of_a_model).items()} == {MODEL: Tls(), PICKER: Tls()}


def test_a_pool_leads_to_its_pods_and_its_picker_to_its_own() -> None:
    pods = pod("model-0", "qwen", "10.0.0.2"), pod("model-1", "qwen", "10.0.0.3"), pod("epp", "epp", "10.0.0.4")
    assert endpoints(*pods) == {
        MODEL: (("10.0.0.2", 8000), ("10.0.0.3", 8000)),
        PICKER: (("10.0.0.4", 9002),),
    }


@pytest.mark.parametrize(
    "absent",
    [
        pytest.param(pod("epp", "epp", "10.0.0.4", ready=False), id="not ready"),
        pytest.param(leaving(pod("epp", "epp", "10.0.0.4")), id="on its way out"),
        # Refused connections to it would fail requests that FailOpen lets through.
        pytest.param(simulated(pod("epp", "epp", "10.0.0.4")), id="simulated: nobody listens"),
    ],
)
def test_a_pod_that_serves_nothing_is_no_endpoint(absent: Object) -> None:
    assert endpoints(pod("model-0", "qwen", "10.0.0.2"), absent) == {MODEL: (("10.0.0.2", 8000),), PICKER: ()}


@pytest.mark.parametrize(("weights", "asked"), [((90, 10), "b-epp"), ((10, 90), "b-epp"), ((1, 0), "a-epp")])
def test_of_two_pools_in_a_rule_only_the_picker_of_the_last_with_a_weight_is_asked(
    weights: tuple[int, int], asked: str
) -> None:
    """As istiod 1.27 does (observed-gateway.md section 7): the shares hold, the other pool gets no choice."""
    names = ("a", "b")
    pools = [
        pool(name, endpointPickerRef={"kind": "Service", "name": f"{name}-epp", "port": {"number": 9002}})
        for name in names
    ]
    shadows = [service(shadow_service_name(name), spec={"selector": {}}) for name in names]
    backends = [to_pool(name, weight=weight) for name, weight in zip(names, weights, strict=True)]
    found = snapshot(gateway(http()), namespace("llm"), route(*backends), *pools, *shadows)
    (rule,) = route_table(found, SETTINGS)[(PLATFORM, GATEWAY), "http"]
    assert rule.endpoint_picker == (f"{asked}.llm.svc.cluster.local", 9002)
    assert [item.weight for item in rule.destinations] == [weight for weight in weights if weight]
