"""A whole pass: certificates, classes, late CRDs, switches, and a model from creation to ready."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from embedded_cluster.standins.gateway.controller import Desired, Memory, desired
from embedded_cluster.standins.gateway.pools import shadow_service_name
from embedded_cluster.standins.gateway.settings import Settings
from embedded_cluster.standins.gateway.snapshot import API_VERSIONS, Snapshot, key_of

from tests.unit.standins.gateway.world import (
    CHILD,
    GATEWAY,
    NOW,
    PLATFORM,
    SETTINGS,
    Object,
    X,
    conditions,
    gateway,
    gateway_pod,
    http,
    meta,
    namespace,
    pool,
    route,
    service,
    snapshot,
    to_pool,
)

SERVED = frozenset(API_VERSIONS)
CERTIFICATE = "-----BEGIN CERTIFICATE-----"


def one_pass(
    *world: Object, memory: Memory | None = None, settings: Settings = SETTINGS, served: frozenset[str] = SERVED
) -> Desired:
    return desired(snapshot(*world), memory or Memory(), settings, CERTIFICATE, NOW, served=served)


def test_every_namespace_gets_the_root_certificate() -> None:
    found = {key_of(obj): obj for obj in one_pass(namespace("a"), namespace("b")).create if obj["kind"] == "ConfigMap"}
    assert set(found) == {(ns, name) for ns in "ab" for name in ("istio-ca-root-cert", "istio-ca-crl")}
    assert found["a", "istio-ca-root-cert"]["data"] == {"root-cert.pem": CERTIFICATE}
    assert found["a", "istio-ca-crl"]["data"] == {"ca-crl.pem": ""}
    assert found["a", "istio-ca-crl"]["metadata"]["labels"] == {"istio.io/config": "true"}


def test_a_namespace_on_its_way_out_gets_nothing() -> None:
    leaving = namespace("a")
    leaving["metadata"]["deletionTimestamp"] = NOW
    assert not [obj for obj in one_pass(leaving).create if obj["kind"] == "ConfigMap"]


def test_a_certificate_map_that_was_changed_is_put_back() -> None:
    changed = {
        "kind": "ConfigMap",
        "metadata": meta("istio-ca-root-cert", "a", resourceVersion="7"),
        "data": {"root-cert.pem": "old"},
    }
    (update,) = one_pass(namespace("a"), changed).update
    assert update["data"] == {"root-cert.pem": CERTIFICATE}
    assert update["metadata"]["resourceVersion"] == "7"


def test_nothing_is_said_before_the_gateway_api_is_known() -> None:
    early = one_pass(gateway(), route(), served=SERVED - {"HTTPRoute"})
    assert (early.statuses, early.apply, early.create) == ([], [], [])


def test_classes_are_created_when_the_gateway_api_arrives() -> None:
    assert {obj["metadata"]["name"] for obj in one_pass().create} == {"istio", "istio-remote"}


def test_without_pool_crds_a_pool_reference_is_never_an_invalid_kind() -> None:
    result = one_pass(gateway(), route(to_pool()), served=SERVED - {"InferencePool"})
    (status,) = [w.status for w in result.statuses if w.obj["kind"] == "HTTPRoute"]
    assert conditions(status["parents"][0])["ResolvedRefs"][1] == "BackendNotFound"


@pytest.mark.parametrize(
    ("switch", "silent"),
    [
        ("gateway_api", {"statuses", "apply", "create"}),
        ("gateway_status", {"statuses"}),
        ("gateway_deployments", {"apply"}),
        ("gateway_classes", {"create"}),
    ],
)
def test_each_switch_silences_its_part(switch: str, silent: set[str]) -> None:
    result = one_pass(gateway(), settings=Settings(inference_extension=True, **{switch: False}))
    assert {part for part in ("statuses", "apply", "create") if not getattr(result, part)} == silent


def test_an_unknown_class_is_untouched() -> None:
    result = one_pass(gateway(spec={"gatewayClassName": "unknown"}))
    assert (result.statuses, result.apply) == ([], [])


@pytest.mark.parametrize(
    "spec", [{"addresses": [{"type": "Hostname", "value": "mine"}]}, {"gatewayClassName": "istio-remote"}]
)
def test_gateways_for_which_nothing_is_made(spec: Object) -> None:
    result = one_pass(gateway(spec=spec))
    assert result.apply == []
    assert len(result.statuses) == 1


def test_missing_parameters_show_in_the_log_only() -> None:
    parameters = {"parametersRef": {"group": "", "kind": "ConfigMap", "name": "config"}}
    result = one_pass(gateway(spec={"infrastructure": parameters}))
    assert result.apply == []
    assert result.problems == {
        f"{PLATFORM}/{GATEWAY}": "error rendering templates: parametersRef targeting configmap "
        f'"{PLATFORM}/config", but configmap does not exist'
    }
    (status,) = [w.status for w in result.statuses]
    assert conditions(status)["Programmed"][1] == "AddressNotUsable"


class World:
    """Objects that change as the API server and the cluster around istiod would change them."""

    def __init__(self, *objects: Object) -> None:
        self.objects: dict[tuple[str, tuple[str, str]], Object] = {}
        self.memory = Memory()
        self.version = 1
        for obj in objects:
            self.put(obj)

    def put(self, obj: Object) -> None:
        self.version += 1
        stored: dict[str, Any] = copy.deepcopy(obj)
        stored["metadata"].setdefault("uid", f"uid-{stored['metadata']['name']}")
        stored["metadata"].setdefault("generation", 1)
        stored["metadata"]["resourceVersion"] = str(self.version)
        self.objects[stored["kind"], key_of(stored)] = stored

    def remove(self, kind: str, where: str, name: str) -> None:
        del self.objects[kind, (where, name)]

    def get(self, kind: str, where: str, name: str) -> Object:
        return self.objects[kind, (where, name)]

    def turn(self) -> Desired:
        """One pass, and its writes."""
        view = Snapshot.of(self.objects.values())
        result = desired(view, self.memory, SETTINGS, CERTIFICATE, NOW, served=SERVED)
        self.memory = result.memory
        for obj in (*result.create, *result.update):
            self.put(obj)
        for family in result.apply:
            for obj in family:
                live = self.objects.get((obj["kind"], key_of(obj)))
                wanted = {**obj, "status": live.get("status", {})} if live else obj
                comparable = live and {**live, "metadata": {k: live["metadata"].get(k) for k in obj["metadata"]}}
                if comparable != {**wanted, "metadata": obj["metadata"]}:
                    self.put(wanted)
        for write in result.statuses:
            self.put({**self.objects[write.obj["kind"], key_of(write.obj)], "status": write.status})
        return result

    def settle(self) -> int:
        """Turns until nothing more is written."""
        for turns in range(20):
            before = self.version
            self.turn()
            if self.version == before:
                return turns
        raise AssertionError("istiod never comes to rest")


def route_verdict(world: World) -> tuple[str, str, str]:
    (parent,) = world.get("HTTPRoute", "llm", "qwen")["status"]["parents"]
    return conditions(parent)["ResolvedRefs"]


def give_address(world: World) -> None:
    child = world.get("Service", PLATFORM, CHILD)
    world.put({**child, "status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}]}}})


def platform() -> World:
    """A programmed Gateway."""
    world = World(namespace("llm"), namespace(PLATFORM), gateway(http()))
    world.settle()
    world.put(gateway_pod())
    give_address(world)
    world.settle()
    return world


def programmed(world: World) -> str:
    return conditions(world.get("Gateway", PLATFORM, GATEWAY)["status"])["Programmed"][1]


def test_a_gateway_from_creation_to_programmed() -> None:
    world = World(namespace(PLATFORM), gateway(http()))
    seen = []
    world.turn()
    seen.append(programmed(world))
    world.settle()
    seen.append(programmed(world))
    world.put(gateway_pod())
    world.settle()
    seen.append(programmed(world))
    give_address(world)
    world.settle()
    seen.append(programmed(world))
    assert seen == ["AddressNotUsable", "AddressNotAssigned", "AddressNotAssigned", "Programmed"]


def test_a_lost_pod_does_not_show_until_the_service_changes() -> None:
    world = platform()
    world.remove("Pod", PLATFORM, f"{CHILD}-0")
    world.settle()
    assert programmed(world) == "Programmed"
    give_address(world)
    world.settle()
    assert programmed(world) == "AddressNotAssigned"


def test_a_model_passes_through_the_other_group_and_backend_not_found() -> None:
    world = platform()
    world.put(service("qwen-epp-service"))
    world.put(pool())
    world.put(route(to_pool(group=X)))
    world.settle()
    assert route_verdict(world)[1] == "InvalidKind"
    assert world.get("InferencePool", "llm", "qwen-inference-pool")["status"] == {}

    world.put({**route(to_pool()), "status": world.get("HTTPRoute", "llm", "qwen")["status"]})
    world.turn()
    shadow = shadow_service_name("qwen-inference-pool")
    assert route_verdict(world)[1:] == ("BackendNotFound", f"backend({shadow}.llm.svc.cluster.local) not found")
    world.settle()
    assert route_verdict(world)[1] == "ResolvedRefs"
    (parent,) = world.get("InferencePool", "llm", "qwen-inference-pool")["status"]["parents"]
    assert {kind: verdict[0] for kind, verdict in conditions(parent).items()} == {
        "Accepted": "True",
        "ResolvedRefs": "True",
    }
    (listener,) = world.get("Gateway", PLATFORM, GATEWAY)["status"]["listeners"]
    assert listener["attachedRoutes"] == 1


def test_a_platform_at_rest_writes_nothing() -> None:
    world = platform()
    world.put(service("qwen-epp-service"))
    world.put(pool())
    world.put(route(to_pool()))
    world.settle()
    assert world.settle() == 0


def test_the_shadow_service_outlives_its_routes() -> None:
    world = platform()
    world.put(pool())
    world.put(route(to_pool()))
    world.settle()
    world.remove("HTTPRoute", "llm", "qwen")
    result = world.turn()
    assert world.get("InferencePool", "llm", "qwen-inference-pool")["status"] == {}
    world.get("Service", "llm", shadow_service_name("qwen-inference-pool"))
    assert not [f for f in result.apply if f[0]["metadata"]["namespace"] == "llm"]


def test_a_deleted_gateway_leaves_the_pool_accepted() -> None:
    world = platform()
    world.put(service("qwen-epp-service"))
    world.put(pool())
    world.put(route(to_pool()))
    world.settle()
    world.remove("Gateway", PLATFORM, GATEWAY)
    world.settle()
    assert world.get("HTTPRoute", "llm", "qwen")["status"] == {"parents": []}
    (parent,) = world.get("InferencePool", "llm", "qwen-inference-pool")["status"]["parents"]
    assert conditions(parent)["Accepted"][0] == "True"
