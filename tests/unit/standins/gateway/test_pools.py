"""InferencePool statuses and shadow Services."""

from __future__ import annotations

from typing import Any

import pytest
from embedded_cluster.standins.gateway import pools
from embedded_cluster.standins.gateway.controller import Desired, Memory, desired
from embedded_cluster.standins.gateway.pools import PickerCheck, check_picker, shadow_service, shadow_service_name
from embedded_cluster.standins.gateway.routes import route_status
from embedded_cluster.standins.gateway.settings import Settings
from embedded_cluster.standins.gateway.snapshot import API_VERSIONS

from tests.unit.standins.gateway.world import (
    GATEWAY,
    NOW,
    PLATFORM,
    SETTINGS,
    Object,
    X,
    conditions,
    gateway,
    pool,
    route,
    service,
    snapshot,
    to_pool,
)

SERVED = frozenset(API_VERSIONS)
ACCEPTED = ("True", "Accepted", "Referenced by an HTTPRoute accepted by the parentRef Gateway")
RESOLVED = ("True", "ResolvedRefs", "Referenced ExtensionRef resolved successfully")
PICKER = service("qwen-epp-service")


def judged(subject: Object, *world: Object, settings: Settings = SETTINGS) -> Desired:
    return desired(snapshot(subject, *world), Memory(), settings, "", NOW, served=SERVED)


def status_of(subject: Object, *world: Object) -> dict[str, Any] | None:
    """The status that a pass writes to the pool, None when it writes none."""
    writes = judged(subject, *world).statuses
    return next((write.status for write in writes if write.obj["kind"] == "InferencePool"), None)


def written(subject: Object, *world: Object) -> Object:
    """The route with the status that istiod gives it."""
    return {**subject, "status": route_status(subject, snapshot(subject, *world), SETTINGS, NOW)}


def referring(**extra: Any) -> Object:
    return written(route(to_pool(**extra)), gateway())


def test_a_pool_without_routes_gets_an_empty_status() -> None:
    assert status_of(pool(), gateway()) == {}


def test_an_empty_status_is_written_once() -> None:
    assert status_of({**pool(), "status": {}}, gateway()) is None


def test_a_pool_with_a_route_has_its_gateway_as_parent() -> None:
    status = status_of(pool(), gateway(), referring(), PICKER)
    assert status is not None
    (parent,) = status["parents"]
    assert parent["parentRef"] == {
        "group": "networking.istio.io",
        "kind": "Gateway",
        "name": GATEWAY,
        "namespace": PLATFORM,
    }
    assert conditions(parent) == {"Accepted": ACCEPTED, "ResolvedRefs": RESOLVED}
    assert {c["observedGeneration"] for c in parent["conditions"]} == {1}


def test_a_route_without_a_status_does_not_count_yet() -> None:
    assert status_of(pool(), gateway(), route(to_pool()), PICKER) == {}


def test_a_route_that_is_not_accepted_says_why() -> None:
    parents = [{"name": GATEWAY, "namespace": PLATFORM, "sectionName": "x"}]
    refused = written(route(to_pool(), parentRefs=parents), gateway())
    status = status_of(pool(), gateway(), refused, PICKER)
    assert status is not None
    assert conditions(status["parents"][0])["Accepted"] == (
        "False",
        "HTTPRouteNotAccepted",
        f'Referenced HTTPRoute llm/qwen not accepted by Gateway {PLATFORM}/{GATEWAY}: sectionName "x" not found',
    )


def test_a_route_elsewhere_counts_without_a_grant() -> None:
    elsewhere = written(route(to_pool(namespace="llm"), namespace="apps"), gateway())
    status = status_of(pool(), gateway(), elsewhere, PICKER)
    assert status is not None
    assert conditions(status["parents"][0])["Accepted"] == ACCEPTED


def test_a_reference_of_weight_zero_counts() -> None:
    assert status_of(pool(), gateway(), referring(weight=0), PICKER) != {}


def test_one_parent_per_gateway_not_per_route() -> None:
    both = [written(route(to_pool(), name=name), gateway()) for name in ("a", "b")]
    status = status_of(pool(), gateway(), *both, PICKER)
    assert status is not None
    assert len(status["parents"]) == 1


@pytest.mark.parametrize(
    ("picker", "message"),
    [
        ({"name": "qwen-epp-service", "port": {"number": 9002}}, "Referenced ExtensionRef not found qwen-epp-service"),
        ({"name": "epp", "kind": "Job", "port": {"number": 9002}}, "Unsupported ExtensionRef kind Job"),
    ],
)
def test_a_picker_that_is_not_there(picker: Object, message: str) -> None:
    status = status_of(pool(endpointPickerRef=picker), gateway(), referring())
    assert status is not None
    assert conditions(status["parents"][0])["ResolvedRefs"] == ("False", "InvalidExtensionRef", message)


def test_the_picker_is_looked_up_again_only_when_pool_or_route_change() -> None:
    subject, to_it = pool(), referring()
    first = check_picker(subject, [to_it], snapshot(subject), None)
    assert first.verdict.status == "False"
    assert check_picker(subject, [to_it], snapshot(subject, PICKER), first) == first
    touched = {**subject, "metadata": {**subject["metadata"], "resourceVersion": "2"}}
    assert check_picker(touched, [to_it], snapshot(touched, PICKER), first).verdict.status == "True"
    changed = {**to_it, "metadata": {**to_it["metadata"], "resourceVersion": "2"}}
    assert check_picker(subject, [changed], snapshot(subject, PICKER), first).verdict.status == "True"


def test_a_pass_hands_the_look_up_to_the_next() -> None:
    subject = pool()
    memory = judged(subject, gateway(), referring()).memory
    again = desired(snapshot(subject, gateway(), referring(), PICKER), memory, SETTINGS, "", NOW, served=SERVED)
    assert isinstance(again.memory.pickers["llm", "qwen-inference-pool"], PickerCheck)
    assert again.memory.pickers == memory.pickers


def test_the_last_route_gone_empties_the_status() -> None:
    before = status_of(pool(), gateway(), referring(), PICKER)
    assert status_of({**pool(), "status": before}, gateway(), PICKER) == {}


def test_with_its_gateway_gone_an_accepted_parent_stays() -> None:
    before = status_of(pool(), gateway(), referring(), PICKER)
    orphan = {**referring(), "status": {"parents": []}}
    assert status_of({**pool(), "status": before}, orphan, PICKER) is None


def test_the_default_parent_of_a_crd_is_replaced() -> None:
    default = {"parents": [{"parentRef": {"kind": "Status", "name": "default"}, "conditions": []}]}
    assert status_of({**pool(), "status": default}, gateway()) == {}


def test_a_parent_of_another_controller_stays() -> None:
    foreign = {"parentRef": {"kind": "Gateway", "name": "theirs"}, "conditions": []}
    assert status_of({**pool(), "status": {"parents": [foreign]}}, gateway()) is None


def test_pools_of_the_other_group_are_never_looked_at() -> None:
    to_x = written(route(to_pool(group=X)), gateway())
    assert status_of(pool(), gateway(), to_x, PICKER) == {}


def test_without_the_extension_pools_are_left_alone() -> None:
    result = judged(pool(), gateway(), referring(), PICKER, settings=Settings())
    assert not [write for write in result.statuses if write.obj["kind"] == "InferencePool"]
    assert not [family for family in result.apply if family[0]["metadata"]["namespace"] == "llm"]


def test_a_long_pool_name_is_cut() -> None:
    name = shadow_service_name("p" * 70)
    assert len(name) == 63
    assert name.startswith("p" * 51 + "-ip-")


def test_the_observed_shadow_service_name() -> None:
    assert shadow_service_name("qwen-inference-pool") == "qwen-inference-pool-ip-4cd103db"


def test_the_shadow_service() -> None:
    made = shadow_service(pool(targetPorts=[{"number": 8000}, {"number": 8001}]))
    assert made is not None
    assert made["metadata"]["labels"] == {
        "istio.io/inferencepool-name": "qwen-inference-pool",
        "istio.io/inferencepool-extension-service": "qwen-epp-service",
        "istio.io/inferencepool-extension-port": "9002",
        "istio.io/inferencepool-extension-failure-mode": "FailOpen",
        "internal.istio.io/service-semantics": "inferencepool",
    }
    assert "annotations" not in made["metadata"]
    assert made["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "inference.networking.k8s.io/v1",
            "kind": "InferencePool",
            "name": "qwen-inference-pool",
            "uid": "uid-qwen-inference-pool",
        }
    ]
    assert made["spec"] == {
        "clusterIP": "None",
        "type": "ClusterIP",
        "selector": {"app": "qwen"},
        "ports": [
            {"name": "http-0", "protocol": "TCP", "port": 54321, "targetPort": 8000},
            {"name": "http-1", "protocol": "TCP", "port": 54322, "targetPort": 8001},
        ],
    }


@pytest.mark.parametrize(
    ("world", "made"),
    [
        pytest.param([], False, id="unreferenced"),
        pytest.param([route(to_pool())], False, id="route without a status"),
        pytest.param([referring()], True, id="route with a status, picker missing"),
        pytest.param(
            [written(route(to_pool(), parentRefs=[{"name": GATEWAY, "namespace": PLATFORM, "port": 1}]), gateway())],
            True,
            id="route that is not accepted",
        ),
    ],
)
def test_when_a_shadow_service_is_made(world: list[Object], made: bool) -> None:
    names = [obj["metadata"]["name"] for family in judged(pool(), gateway(), *world).apply for obj in family]
    assert (pools.shadow_service_name("qwen-inference-pool") in names) is made
