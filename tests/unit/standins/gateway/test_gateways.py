"""Gateway and listener statuses: the observed sequence and variants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from embedded_cluster.standins.gateway.classes import MANAGED, UNMANAGED, class_status, controller_of, missing_classes
from embedded_cluster.standins.gateway.gateways import SeenEndpoints, gateway_status, joined, look_at_endpoints
from embedded_cluster.standins.gateway.settings import Settings

from tests.unit.standins.gateway.world import (
    GATEWAY,
    HOST,
    NOW,
    PLATFORM,
    SETTINGS,
    Object,
    conditions,
    gateway,
    gateway_pod,
    gateway_service,
    http,
    meta,
    namespace,
    service,
    snapshot,
)

ADDRESS = {"hostname": "lb.example.org"}


def status_of(
    subject: Object, *world: Object, settings: Settings = SETTINGS, attached: dict[str, int] | None = None
) -> dict[str, Any]:
    view = snapshot(subject, *world)
    seen = {
        (s["metadata"]["namespace"], s["metadata"]["name"]): look_at_endpoints(s, view, None)
        for s in view.all("Service")
    }
    counts = {((PLATFORM, GATEWAY), name): count for name, count in (attached or {}).items()}
    controller = controller_of(subject, view)
    assert controller is not None
    return gateway_status(subject, controller, view, settings, seen, counts, NOW)


def programmed(status: dict[str, Any]) -> tuple[str, str, str]:
    return conditions(status)["Programmed"]


@pytest.mark.parametrize(
    ("world", "expected", "addresses"),
    [
        pytest.param(
            [],
            (
                "False",
                "AddressNotUsable",
                f'Failed to assign to any requested addresses: hostname "{HOST}" not found',
            ),
            None,
            id="no Service yet",
        ),
        pytest.param(
            [gateway_service()],
            (
                "False",
                "AddressNotAssigned",
                f'Failed to assign to any requested addresses: no instances found for hostname "{HOST}"',
            ),
            None,
            id="Service, no pod",
        ),
        pytest.param(
            [gateway_service(), gateway_pod(ip=None, phase="Pending")],
            (
                "False",
                "AddressNotAssigned",
                f'Failed to assign to any requested addresses: no instances found for hostname "{HOST}"',
            ),
            None,
            id="pod without IP",
        ),
        pytest.param(
            [gateway_service(ADDRESS)],
            (
                "False",
                "AddressNotAssigned",
                f'Failed to assign to any requested addresses: no instances found for hostname "{HOST}"',
            ),
            None,
            id="address but no pod",
        ),
        pytest.param(
            [gateway_service(), gateway_pod()],
            (
                "False",
                "AddressNotAssigned",
                f"Assigned to service(s) {HOST}:80, but failed to assign to all requested addresses: "
                f'address pending for hostname "{HOST}"',
            ),
            None,
            id="pod has an IP, no address",
        ),
        pytest.param(
            [gateway_service(ADDRESS), gateway_pod()],
            ("True", "Programmed", f"Resource programmed, assigned to service(s) {HOST}:80"),
            [{"type": "Hostname", "value": "lb.example.org"}],
            id="programmed, hostname",
        ),
        pytest.param(
            [gateway_service({"ip": "192.0.2.7"}), gateway_pod()],
            ("True", "Programmed", f"Resource programmed, assigned to service(s) {HOST}:80"),
            [{"type": "IPAddress", "value": "192.0.2.7"}],
            id="programmed, IP",
        ),
        pytest.param(
            [gateway_service({"ip": "192.0.2.7", "hostname": "lb"}), gateway_pod()],
            ("True", "Programmed", f"Resource programmed, assigned to service(s) {HOST}:80"),
            [{"type": "IPAddress", "value": "192.0.2.7"}],
            id="the IP wins over the hostname",
        ),
        pytest.param(
            [gateway_service(kind="ClusterIP"), gateway_pod()],
            ("True", "Programmed", f"Resource programmed, assigned to service(s) {HOST}:80"),
            [{"type": "Hostname", "value": HOST}],
            id="ClusterIP needs no load balancer",
        ),
    ],
)
def test_the_way_to_programmed(
    world: list[Object], expected: tuple[str, str, str], addresses: list[Object] | None
) -> None:
    status = status_of(gateway(), *world)
    assert conditions(status) == {"Accepted": ("True", "Accepted", "Resource accepted"), "Programmed": expected}
    assert status.get("addresses") == addresses


def test_conditions_carry_the_generation_and_follow_the_default_ones() -> None:
    waiting = {"reason": "Pending", "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z"}
    defaults = [{"type": t, "status": "Unknown", **waiting} for t in ("Accepted", "Programmed")]
    subject = gateway(status={"conditions": defaults})
    subject["metadata"]["generation"] = 4
    status = status_of(subject)
    assert [(c["type"], c["observedGeneration"]) for c in status["conditions"]] == [("Accepted", 4), ("Programmed", 4)]


def test_several_ports_are_listed_in_words() -> None:
    subject = gateway(http(), http("b", 8080), http("c", 9090))
    status = status_of(subject, gateway_service(ADDRESS, ports=(80, 8080, 9090)), gateway_pod())
    ports = f"{HOST}:80, {HOST}:8080, and {HOST}:9090"
    assert programmed(status)[2] == f"Resource programmed, assigned to service(s) {ports}"


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b, and c")]
)
def test_words_are_joined(words: list[str], text: str) -> None:
    assert joined(words) == text


def test_the_address_is_never_cleared() -> None:
    before = status_of(gateway(), gateway_service(ADDRESS), gateway_pod())
    status = status_of(gateway(status=before), gateway_service(), gateway_pod())
    assert programmed(status)[1] == "AddressNotAssigned"
    assert status["addresses"] == [{"type": "Hostname", "value": "lb.example.org"}]


def test_a_new_address_replaces_the_old() -> None:
    before = status_of(gateway(), gateway_service(ADDRESS), gateway_pod())
    status = status_of(gateway(status=before), gateway_service({"ip": "192.0.2.1"}), gateway_pod())
    assert status["addresses"] == [{"type": "IPAddress", "value": "192.0.2.1"}]


@pytest.mark.parametrize(
    ("last", "pods", "version", "present"),
    [
        pytest.param(None, [], "1", False, id="never seen"),
        pytest.param(SeenEndpoints("1", False), [gateway_pod()], "1", True, id="a new endpoint is noticed at once"),
        pytest.param(SeenEndpoints("1", True), [], "1", True, id="a lost one is not"),
        pytest.param(SeenEndpoints("1", True), [], "2", False, id="until the Service changes"),
        pytest.param(SeenEndpoints("1", True), [gateway_pod(phase="Failed")], "2", False, id="finished pods are none"),
    ],
)
def test_endpoints_are_remembered(last: SeenEndpoints | None, pods: list[Object], version: str, present: bool) -> None:
    subject = gateway_service()
    subject["metadata"]["resourceVersion"] = version
    assert look_at_endpoints(subject, snapshot(subject, *pods), last) == SeenEndpoints(version, present)


def test_pods_of_another_namespace_are_no_endpoints() -> None:
    stray = gateway_pod()
    stray["metadata"]["namespace"] = "elsewhere"
    assert programmed(status_of(gateway(), gateway_service(ADDRESS), stray))[1] == "AddressNotAssigned"


def listener(status: dict[str, Any], name: str = "http") -> dict[str, Any]:
    return next(entry for entry in status["listeners"] if entry["name"] == name)


FINE = "No errors found"


def test_a_listener_is_programmed_although_the_gateway_is_not() -> None:
    found = listener(status_of(gateway(), attached={"http": 3}))
    assert conditions(found) == {
        "Accepted": ("True", "Accepted", FINE),
        "Conflicted": ("False", "NoConflicts", FINE),
        "Programmed": ("True", "Programmed", FINE),
        "ResolvedRefs": ("True", "ResolvedRefs", FINE),
    }
    assert [c["type"] for c in found["conditions"]] == ["Accepted", "Conflicted", "Programmed", "ResolvedRefs"]
    assert found["attachedRoutes"] == 3
    assert [k["kind"] for k in found["supportedKinds"]] == ["HTTPRoute", "GRPCRoute"]


def test_a_removed_listener_leaves_the_status() -> None:
    before = status_of(gateway(http("a"), http("b", 8080)))
    assert [entry["name"] for entry in status_of(gateway(http("b", 8080), status=before))["listeners"]] == ["b"]


def https(**reference: Any) -> Object:
    return http("https", 443, protocol="HTTPS", tls={"certificateRefs": [{"name": "cert", **reference}]})


def tls_secret(where: str = PLATFORM, **data: str) -> Object:
    return {"kind": "Secret", "metadata": meta("cert", where), "data": data or {"tls.crt": "eA==", "tls.key": "eA=="}}


@pytest.mark.parametrize(
    ("reference", "world", "reason", "message"),
    [
        pytest.param(
            {"kind": "Secret"},
            [],
            "InvalidCertificateRef",
            f"invalid certificate reference /Secret/cert., secret {PLATFORM}/cert not found",
            id="missing",
        ),
        pytest.param(
            {"kind": "ConfigMap"},
            [],
            "InvalidCertificateRef",
            "invalid certificate reference /ConfigMap/cert., only secret is allowed",
            id="not a Secret",
        ),
        pytest.param(
            {},
            [tls_secret(other="eA==")],
            "InvalidCertificateRef",
            "invalid certificate reference /Secret/cert., found secret, but didn't have expected keys "
            "(cert and key) or (tls.crt and tls.key); found: other",
            id="without the keys",
        ),
        pytest.param(
            {"namespace": "certs"},
            [tls_secret("certs")],
            "RefNotPermitted",
            f'certificateRef cert/certs not accessible to a Gateway in namespace "{PLATFORM}" '
            "(missing a ReferenceGrant?)",
            id="elsewhere without grant",
        ),
    ],
)
def test_a_bad_certificate_shows_on_the_listener_only(
    reference: dict[str, str], world: list[Object], reason: str, message: str
) -> None:
    subject = gateway(http(), https(**reference))
    status = status_of(subject, gateway_service(ADDRESS, ports=(80, 443)), gateway_pod(), *world)
    found = conditions(listener(status, "https"))
    assert found["Accepted"] == ("True", "Accepted", FINE)
    assert found["Programmed"] == ("False", "Invalid", "Bad TLS configuration")
    assert found["ResolvedRefs"] == ("False", reason, message)
    assert programmed(status)[0] == "True"


def test_a_certificate_that_came_later_heals_the_listener() -> None:
    before = status_of(gateway(https()))
    found = conditions(listener(status_of(gateway(https(), status=before), tls_secret()), "https"))
    assert {kind: entry[0] for kind, entry in found.items()} == {
        "Accepted": "True",
        "Conflicted": "False",
        "Programmed": "True",
        "ResolvedRefs": "True",
    }


@pytest.mark.parametrize(
    ("protocol", "alpha", "message"),
    [
        (
            "TCP",
            False,
            'protocol "TCP" is supported, but only when PILOT_ENABLE_ALPHA_GATEWAY_API=true is configured',
        ),
        ("TCP", True, ""),
        ("UDP", True, 'protocol "UDP" is unsupported'),
    ],
)
def test_protocols(protocol: str, alpha: bool, message: str) -> None:
    subject = gateway(http("other", 5000, protocol=protocol))
    found = conditions(listener(status_of(subject, settings=Settings(alpha_protocols=alpha)), "other"))
    expected = ("False", "UnsupportedProtocol", message) if message else ("True", "Accepted", FINE)
    assert found["Accepted"] == expected
    assert found["Programmed"][0] == "True"


def test_a_tcp_listener_takes_tcp_routes() -> None:
    found = listener(status_of(gateway(http("t", 5000, protocol="TCP"))), "t")
    assert [k["kind"] for k in found["supportedKinds"]] == ["TCPRoute"]


def test_kinds_that_the_protocol_cannot_take() -> None:
    subject = gateway(http(allowedRoutes={"kinds": [{"kind": "HTTPRoute"}, {"kind": "TCPRoute"}]}))
    found = listener(status_of(subject))
    assert [k["kind"] for k in found["supportedKinds"]] == ["HTTPRoute"]
    assert conditions(found)["ResolvedRefs"] == ("False", "InvalidRouteKinds", "Invalid route kinds")


def test_an_address_that_names_a_missing_service() -> None:
    subject = gateway(spec={"addresses": [{"type": "Hostname", "value": "mine"}]})
    assert programmed(status_of(subject)) == (
        "False",
        "AddressNotUsable",
        f'Failed to assign to any requested addresses: hostname "mine.{PLATFORM}.svc.cluster.local" not found',
    )


def test_an_address_that_names_a_service_elsewhere() -> None:
    subject = gateway(spec={"addresses": [{"type": "Hostname", "value": "web.llm.svc.cluster.local"}]})
    assert programmed(status_of(subject, service(), namespace("llm")))[1] == "AddressNotUsable"


def test_a_port_that_the_service_does_not_offer() -> None:
    subject = gateway(http(port=9999))
    status = status_of(subject, gateway_service(ADDRESS), gateway_pod())
    assert programmed(status)[1:] == (
        "AddressNotUsable",
        f'Failed to assign to any requested addresses: port 9999 not found for hostname "{HOST}"',
    )


def test_a_remote_gateway_is_left_alone() -> None:
    status = status_of(gateway(spec={"gatewayClassName": "istio-remote"}))
    assert conditions(status) == {
        "Accepted": ("True", "Accepted", "Resource accepted"),
        "Programmed": ("True", "Programmed", "This Gateway is remote; Istio will not program it"),
    }
    assert "listeners" not in status


def test_both_classes_are_created_when_missing() -> None:
    found = {c["metadata"]["name"]: c["spec"] for c in missing_classes(snapshot())}
    assert found == {
        "istio": {"controllerName": MANAGED, "description": "The default Istio GatewayClass"},
        "istio-remote": {
            "controllerName": UNMANAGED,
            "description": "Remote to this cluster. Does not deploy or affect configuration.",
        },
    }


def test_a_class_is_accepted() -> None:
    istio, _ = missing_classes(snapshot())
    istio["metadata"]["generation"] = 1
    status = class_status(istio, snapshot(), NOW)
    assert status is not None
    assert conditions(status) == {"Accepted": ("True", "Accepted", "Handled by Istio controller")}
    assert list(status) == ["conditions"]


def test_a_class_of_somebody_else_is_left_alone() -> None:
    theirs = {"kind": "GatewayClass", "metadata": meta("theirs"), "spec": {"controllerName": "example.org/other"}}
    assert class_status(theirs, snapshot(), NOW) is None


def test_an_istiod_with_a_controller_name_of_its_own_serves_classes_of_that_name_only() -> None:
    seen = replace(snapshot(), controller="openshift.io/gateway-controller/v1")
    istio, _ = missing_classes(seen)
    theirs = {"kind": "GatewayClass", "metadata": meta("theirs"), "spec": {"controllerName": seen.controller}}
    assert class_status(istio, seen, NOW) is None
    assert class_status(theirs, seen, NOW) is not None


def test_gateways_are_not_disturbed_by_a_deleted_class() -> None:
    assert controller_of(gateway(), snapshot()) == MANAGED
    assert controller_of(gateway(spec={"gatewayClassName": "unknown"}), snapshot()) is None
