"""How istiod starts: command line, environment, leases, webhooks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from embedded_cluster.standins.gateway.leases import holder_after
from embedded_cluster.standins.gateway.mesh_ca import Authority
from embedded_cluster.standins.gateway.settings import Settings, parse_flags
from embedded_cluster.standins.gateway.webhooks import NO_SERVERS, completed, review
from embedded_cluster.standins.program import ProgramError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_command_line_of_the_chart_is_understood() -> None:
    words = ["discovery", "--monitoringAddr=:15014", "--domain", "cluster.local", "--keepaliveMaxServerConnectionAge"]
    assert parse_flags([*words, "30m"]) == {
        "monitoringAddr": ":15014",
        "domain": "cluster.local",
        "keepaliveMaxServerConnectionAge": "30m",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], 'unknown command ""'),
        (["proxy"], 'unknown command "proxy"'),
        (["discovery", "--bogus=1"], "unknown flag: --bogus"),
        (["discovery", "extra"], 'accepts no arguments, found "extra"'),
    ],
)
def test_a_wrong_command_line_ends_the_program(words: list[str], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        parse_flags(words)


@pytest.mark.parametrize(
    ("env", "field", "expected"),
    [
        ({}, "inference_extension", False),
        ({"ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true"}, "inference_extension", True),
        ({"ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "yes"}, "inference_extension", False),
        ({}, "gateway_status", True),
        ({"PILOT_ENABLE_GATEWAY_API_STATUS": "false"}, "gateway_status", False),
        ({"PILOT_ENABLE_GATEWAY_API": "0"}, "gateway_api", False),
        ({"REVISION": "canary"}, "suffix", "-canary"),
        ({}, "suffix", ""),
        ({"POD_NAMESPACE": "mesh"}, "namespace", "mesh"),
    ],
)
def test_the_environment(env: dict[str, str], field: str, expected: Any) -> None:
    assert getattr(Settings.of_pod(["discovery"], env), field) == expected


def lease(holder: str, age_seconds: float) -> dict[str, Any]:
    renewed = (NOW - timedelta(seconds=age_seconds)).isoformat()
    return {"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 30}}


@pytest.mark.parametrize(
    ("found", "holder"),
    [
        pytest.param(None, "", id="no lease"),
        pytest.param(lease("other", 5), "other", id="held by another"),
        pytest.param(lease("other", 31), "", id="expired"),
        pytest.param(lease("", 1), "", id="given up"),
        pytest.param(lease("me", 1), "", id="our own, before a restart"),
    ],
)
def test_who_holds_a_lease(found: dict[str, Any] | None, holder: str) -> None:
    assert holder_after(found, "me", NOW) == holder


def request(group: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"uid": "1", "kind": {"group": group, "version": "v1", "kind": "Gateway"}, "object": {"spec": spec}}


@pytest.mark.parametrize(
    ("group", "spec", "path", "allowed"),
    [
        ("networking.istio.io", {}, "validate", False),
        ("networking.istio.io", {"servers": [{}]}, "validate", True),
        ("security.istio.io", {}, "validate", True),
        ("networking.istio.io", {}, "inject", True),
    ],
)
def test_admission(group: str, spec: dict[str, Any], path: str, allowed: bool) -> None:
    answer = review(request(group, spec), path)
    assert answer["allowed"] is allowed
    assert ("status" in answer) is not allowed
    if not allowed:
        assert answer["status"]["message"] == NO_SERVERS


@pytest.mark.parametrize(("fail", "policy"), [(False, "Ignore"), (True, "Fail")])
def test_a_configuration_is_completed(fail: bool, policy: str) -> None:
    before = {"webhooks": [{"name": "a", "failurePolicy": "Ignore", "clientConfig": {"service": {}}}]}
    (webhook,) = completed(before, "Y2E=", fail=fail)["webhooks"]
    assert webhook == {
        "name": "a",
        "failurePolicy": policy,
        "clientConfig": {"service": {}, "caBundle": "Y2E="},
    }
    assert "caBundle" not in before["webhooks"][0]["clientConfig"]


def test_serving_certificates_are_signed_by_the_root() -> None:
    authority = Authority.create()
    certificate, _ = authority.serving_pair(["istiod.istio-system.svc"])
    leaf = x509.load_pem_x509_certificate(certificate.encode())
    root = x509.load_pem_x509_certificate(authority.root_certificate.encode())
    leaf.verify_directly_issued_by(root)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["istiod.istio-system.svc"]
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)
