"""What an inventory may say about the gateway and the authority, and what the plan makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from inference_platform.inventory import validate
from inference_platform.paths import CHARTS
from inference_platform.platform import gateway, resolve
from inference_platform.platform.resolve import check_settings

BASE = {"platform_release": "3.4", "provider": "generic"}
HTTPS = {"enabled": True, "hostnames": ["models.example.com"]}
OPENSHIFT = {"platform_release": "3.4", "provider": "openshift"}
EXTERNAL = {"name": "mine", "namespace": "edge"}


def plan(**settings: Any) -> dict[str, Any]:
    return resolve({**BASE, **settings}).to_dict()


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        pytest.param(
            {"gateway": {"external": EXTERNAL, "https": HTTPS}}, "IP-PLT-010", "Remove gateway.https", id="both"
        ),
        pytest.param(
            {"gateway": {"external": EXTERNAL}, "provider": "aws", "gateway_load_balancer": "nlb"},
            "IP-PLT-010",
            "Remove gateway_load_balancer",
            id="load balancer of another's gateway",
        ),
        pytest.param(
            {"gateway": {"external": EXTERNAL}, "inference_gateway_service_annotations": {"a/b": "c"}},
            "IP-PLT-010",
            "Remove inference_gateway_service_annotations",
            id="annotations that no Service gets",
        ),
        pytest.param(
            {"gateway": {"external": EXTERNAL}, "inference_gateway_values": {"inference-gateway": {}}},
            "IP-PLT-010",
            "Remove inference_gateway_values",
            id="values of a chart that is not installed",
        ),
        pytest.param(
            {"gateway": {"external": {"name": "inference-gateway", "namespace": "redhat-ods-applications"}}},
            "IP-PLT-011",
            "the platform's",
            id="the platform's own is no external one",
        ),
        pytest.param({"gateway": {"http": {"enabled": False}}}, "IP-PLT-012", "at least one", id="no listener"),
        pytest.param(
            {"gateway": {"http": {"redirect": True}}}, "IP-PLT-013", "https.enabled", id="redirect to nothing"
        ),
        pytest.param(
            {"gateway": {"http": {"enabled": False, "redirect": True}, "https": HTTPS}},
            "IP-PLT-013",
            "http.enabled",
            id="redirect from nothing",
        ),
        pytest.param(
            {"gateway": {"https": {"hostnames": ["a.example.com"]}}},
            "IP-PLT-019",
            "enabled to true",
            id="names, but off",
        ),
        pytest.param({"gateway": {"https": {**HTTPS, "port": 80}}}, "IP-PLT-014", "80 for both", id="one port"),
        pytest.param({"gateway": {"http": {"port": 15021}}}, "IP-PLT-039", "15021", id="a port of the proxy"),
        pytest.param({"gateway": {"https": {"enabled": True}}}, "IP-PLT-015", "DNS names", id="no names"),
        pytest.param(
            {"gateway": {"https": {**HTTPS, "secret": "a", "issuer": {"name": "b"}}}},
            "IP-PLT-016",
            "gateway.https.secret or gateway.https.issuer",
            id="secret and issuer",
        ),
        pytest.param(
            {"provider": "aws", "certificate_authority": {"issuer": {"name": "corp"}}},
            "IP-PLT-017",
            "cloud_manager to none",
            id="the cloud manager makes the authority",
        ),
        pytest.param(
            {**OPENSHIFT, "certificate_authority": {"issuer": {"name": "corp"}}},
            "IP-PLT-017",
            "OpenShift makes the authority",
            id="OpenShift makes the authority",
        ),
        pytest.param(
            {**OPENSHIFT, "certificate_authority": {"issuer": {"name": "rhai-ca-issuer"}}},
            "IP-PLT-017",
            "Remove certificate_authority. A certificate of your own goes into a Secret beside the Gateway, which "
            "inference_gateway_values.openshift-gateway.https.secretName names",
            id="OpenShift takes a certificate of one's own",
        ),
        pytest.param(
            {"cloud_manager": "none", "certificate_authority": {"issuer": {"name": "rhai-ca-issuer"}}},
            "IP-PLT-030",
            "signs with this very authority",
            id="an authority below itself",
        ),
        pytest.param(
            {**OPENSHIFT, "gateway": {"http": {"enabled": True}}},
            "IP-PLT-018",
            "Remove gateway.http. What the listener can have otherwise is in inference_gateway_values",
            id="OpenShift makes the listeners",
        ),
        pytest.param(
            {**OPENSHIFT, "gateway": {"namespace_labels": {"team": "a"}}},
            "IP-PLT-018",
            "Remove gateway.namespace_labels. Namespaces with the label inference-platform.io/gateway-access=true may",
            id="OpenShift's Gateway selects by one label",
        ),
        pytest.param(
            {**OPENSHIFT, "gateway": {"allowed_routes": "all"}},
            "IP-PLT-018",
            "Remove gateway.allowed_routes. Namespaces with the label",
            id="OpenShift's Gateway selects",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict[str, Any], code: str, words: str) -> None:
    (finding,) = check_settings({**BASE, **settings})
    assert finding.code == code
    assert words in str(finding)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        pytest.param({"https": {"hostnames": ["https://a.example.com"]}}, "DNS name", id="a url"),
        pytest.param({"https": {"hostnames": ["a.*.com"]}}, "DNS name", id="a star inside"),
        pytest.param({"https": {"hostnames": ["10.0.0.1"]}}, "not an IP address", id="an address"),
        pytest.param({"https": {"hostnames": ["*.10.0.0.1"]}}, "not an IP address", id="an address behind a star"),
        pytest.param(
            {"https": {"hostnames": ["a.com", "b.com", "a.com", "c.com", "b.com", "a.com"]}},
            'found "a.com", "b.com" more than once',
            id="names twice",
        ),
        pytest.param({"htps": {}}, "https", id="a key that does not exist"),
        pytest.param({"http": {"port": 0}}, "port", id="no port"),
        pytest.param({"namespace_labels": {}}, "namespace_labels", id="no label"),
        pytest.param({"external": {"name": "a"}}, "namespace", id="half a name"),
        pytest.param({"https": {"issuer": {"kind": "Secret", "name": "a"}}}, "ClusterIssuer", id="no issuer"),
    ],
)
def test_what_the_schema_does_not_know_is_refused(written: dict[str, Any], words: str) -> None:
    found = [item for item in validate({**BASE, "gateway": written}, environ={}) if "gateway" in item.where]
    assert len(found) == 1
    assert words in str(found[0])


def test_names_of_digits_are_host_names() -> None:
    names = ["10.0.0.1.nip.io", "1.example.com", "10.0.0.a1"]
    found = validate({**BASE, "gateway": {"https": {**HTTPS, "hostnames": names}}}, environ={})
    assert [item for item in found if "gateway" in item.where] == []


def test_without_settings_the_gateway_is_the_platforms_with_plain_http() -> None:
    found = plan()["gateway"]
    assert (found["ownership"], found["namespace"], found["name"]) == (
        "managed",
        "redhat-ods-applications",
        "inference-gateway",
    )
    assert found["http"] == {"enabled": True, "port": 80, "redirect": False}
    assert (found["https"]["enabled"], found["https"]["certificate"]) == (False, "none")
    assert found["allowed_from"] == "Selector"


def test_the_platforms_issuer_signs_names_inside_the_cluster_and_no_other_does() -> None:
    own = plan(gateway={"https": HTTPS})["gateway"]["https"]
    other = plan(gateway={"https": {**HTTPS, "issuer": {"name": "letsencrypt"}}})["gateway"]["https"]
    assert (own["issuer"], own["internal_names"]) == (gateway.PLATFORM_ISSUER, True)
    assert (other["issuer"], other["internal_names"]) == ({"kind": "ClusterIssuer", "name": "letsencrypt"}, False)


def test_a_certificate_is_waited_for_where_one_is_asked_for() -> None:
    def kinds(**settings: Any) -> list[str]:
        return [check.get("kind", "") for check in plan(**settings)["gates"]["inference_gateway"]]

    assert "Certificate" not in kinds()
    assert {"Certificate", "Secret"} <= set(kinds(gateway={"https": HTTPS}))
    own_secret = kinds(gateway={"https": {**HTTPS, "secret": "mine"}})
    assert "Secret" in own_secret
    assert "Certificate" not in own_secret


def test_for_a_gateway_of_ones_own_nothing_is_made_and_models_name_it() -> None:
    found = plan(gateway={"external": EXTERNAL, "namespace_labels": {"team": "a"}})
    layer = found["layers"][-1]
    assert (layer["name"], layer["ownership"], layer["releases"]) == ("inference_gateway", "external", [])
    assert found["serving"]["gateway"] == {
        "name": "mine",
        "namespace": "edge",
        # Of a provider whose own gateway needs none: the model could not be reached otherwise.
        "address_required": True,
        "namespace_labels": {"team": "a"},
    }
    named = {(check["kind"], check["namespace"], check["name"]) for check in found["gates"]["inference_gateway"]}
    assert named == {("Gateway", "edge", "mine")}


def test_what_is_said_about_a_certificate_on_openshift_can_be_done() -> None:
    """The values that the remedy of IP-PLT-017 names are those of the chart, and nothing refuses them."""
    https = yaml.safe_load((CHARTS / "openshift-gateway" / "values.yaml").read_text(encoding="utf-8"))["https"]
    assert {"secretName", "serviceCA"} <= https.keys()
    values = {"openshift-gateway": {"https": {"secretName": "mine", "serviceCA": False}}}
    assert check_settings({**OPENSHIFT, "inference_gateway_values": values}) == []


def test_an_issuer_of_a_namespace_may_have_the_name_of_the_platforms() -> None:
    issuer = {"kind": "Issuer", "name": "rhai-ca-issuer"}
    assert check_settings({**BASE, "cloud_manager": "none", "certificate_authority": {"issuer": issuer}}) == []


def test_an_authority_may_be_below_an_issuer_of_ones_own() -> None:
    assert plan()["authority"]["issuer"]["name"] == "opendatahub-selfsigned-issuer"
    found = plan(cloud_manager="none", certificate_authority={"issuer": {"kind": "Issuer", "name": "corp"}})
    assert found["authority"]["issuer"] == {"kind": "Issuer", "name": "corp"}
