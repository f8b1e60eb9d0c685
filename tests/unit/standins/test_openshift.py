"""The parts of OpenShift that the platform leans on: OLM, ingress operator and service CA (operators.md 5)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml
from embedded_cluster.nodes import OBJECTS
from embedded_cluster.standins import ingress_operator, olm, service_ca

from tests.rendered.charts import REPOSITORY

RULES = olm.load_rules()
LWS = ["leader-worker-set.v1.0.0", "leader-worker-set.v1.0.1"]


def subscription(starting: str = "", installed: str = "", package: str = "leader-worker-set") -> dict[str, Any]:
    spec = {"name": package, "channel": "stable-v1.0", **({"startingCSV": starting} if starting else {})}
    return {"spec": spec, "status": {"installedCSV": installed} if installed else {}}


@pytest.mark.parametrize(
    ("given", "offered"),
    [
        (subscription(starting=LWS[0]), LWS[0]),
        (subscription(), LWS[1]),
        (subscription(starting=LWS[0], installed=LWS[0]), LWS[1]),
        (subscription(installed=LWS[1]), ""),
        (subscription(starting="leader-worker-set.v9"), None),
        (subscription(package="nothing"), None),
    ],
)
def test_the_starting_version_comes_first_and_newer_ones_are_offered_then(given: Any, offered: str | None) -> None:
    assert olm.next_version(given, RULES["packages"]) == offered


def test_every_version_that_the_catalogue_locks_can_be_installed() -> None:
    locked = yaml.safe_load((REPOSITORY / "catalog" / "releases" / "3.4.yml").read_text(encoding="utf-8"))["olm"]
    for operator in locked["operators"].values():
        assert operator["csv"] in RULES["packages"][operator["package"]][operator["channel"]]
        bundle = RULES["csvs"][operator["csv"]]
        assert bool(bundle.get("own_namespace")) == bool(operator.get("own_namespace"))
        assert (REPOSITORY / "charts" / bundle["chart"] / "Chart.yaml").is_file()


def deployment() -> dict[str, Any]:
    env = [{"name": "KEPT", "value": "1"}, {"name": "DROPPED_ONE", "value": "1"}, {"name": "CHANGED", "value": "1"}]
    pod = {"serviceAccountName": "operator", "containers": [{"name": "c", "env": env}]}
    labels = {"app.kubernetes.io/managed-by": "Helm", "inference-platform.io/layer": "x", "app.kubernetes.io/name": "o"}
    metadata = {"name": "ours", "namespace": "ns", "labels": labels, "annotations": {"a": "b"}}
    spec = {"template": {"metadata": {"labels": {"inference-platform.io/layer": "x", "app": "o"}}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def account(name: str, namespace: str = "ns") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def test_a_bundle_has_no_mark_of_helm_and_only_the_account_of_its_operator() -> None:
    bundle = {"rename": {"ours": "theirs"}, "env": {"drop": ["^DROPPED_"], "set": {"CHANGED": "2"}}}
    documents = [deployment(), account("operator"), account("operand"), account("operator", "elsewhere")]
    found = list(olm.bundle_objects(documents, bundle, "ns", {"OPERATOR_CONDITION_NAME": "o.v1"}, ""))
    assert [(obj["kind"], obj["metadata"]["name"]) for obj in found] == [
        ("Deployment", "theirs"),
        ("ServiceAccount", "operator"),
    ]
    made = found[0]
    assert made["metadata"] == {"name": "theirs", "namespace": "ns", "labels": {"app.kubernetes.io/name": "o"}}
    assert made["spec"]["template"]["metadata"]["labels"] == {"app": "o"}
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert {item["name"]: item["value"] for item in container["env"]} == {
        "KEPT": "1",
        "CHANGED": "2",
        "OPERATOR_CONDITION_NAME": "o.v1",
    }


def test_webhooks_of_a_bundle_trust_the_certificate_that_olm_made() -> None:
    hook = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    hook |= {"metadata": {"name": "h", "annotations": {"cert-manager.io/inject-ca-from": "ns/c"}}}
    hook |= {"webhooks": [{"name": "h.example.org", "clientConfig": {"service": {"name": "s", "namespace": "ns"}}}]}
    (made,) = olm.bundle_objects([hook], {}, "ns", {}, "Q0E=")
    assert made["webhooks"][0]["clientConfig"]["caBundle"] == "Q0E="
    assert "annotations" not in made["metadata"]


def test_service_mesh_is_subscribed_to_manually_and_at_the_version_of_openshift() -> None:
    rules = ingress_operator.load_rules()
    made = ingress_operator.subscription_object(rules)
    assert made["metadata"]["annotations"] == {"ingress.operator.openshift.io/owned": "true"}
    assert (made["spec"]["installPlanApproval"], made["spec"]["startingCSV"]) == (
        "Manual",
        "servicemeshoperator3.v3.3.1",
    )
    assert made["metadata"]["namespace"] == "openshift-operators"


@pytest.mark.parametrize("crd", ["", *ingress_operator.load_rules()["inference"]["crds"]])
def test_the_inference_extension_is_switched_on_by_a_crd_of_either_group(crd: str) -> None:
    made = ingress_operator.istio_object(ingress_operator.load_rules(), {crd, "other.example.org"})
    env = made["spec"]["values"]["pilot"]["env"]
    assert env.get("ENABLE_GATEWAY_API_INFERENCE_EXTENSION") == ("true" if crd else None)
    assert env["PILOT_GATEWAY_API_CONTROLLER_NAME"] == "openshift.io/gateway-controller/v1"


def test_the_service_ca_gives_its_authority_to_what_asks_for_it_and_only_once() -> None:
    encoded = base64.b64encode(b"CA").decode()
    webhook = {"kind": "ValidatingWebhookConfiguration", "webhooks": [{"name": "a", "clientConfig": {"url": "u"}}]}
    patch = service_ca.injection(webhook, "CA")
    assert patch == {"webhooks": [{"name": "a", "clientConfig": {"url": "u", "caBundle": encoded}}]}
    assert service_ca.injection({**webhook, **patch}, "CA") is None
    assert service_ca.injection({"kind": "ConfigMap"}, "CA") == {"data": {"service-ca.crt": "CA"}}
    assert service_ca.injection({"kind": "ConfigMap", "data": {"service-ca.crt": "CA"}}, "CA") is None
    crd = {"kind": "CustomResourceDefinition", "spec": {"conversion": {"webhook": {"clientConfig": {}}}}}
    conversion = {"webhook": {"clientConfig": {"caBundle": encoded}}}
    assert service_ca.injection(crd, "CA") == {"spec": {"conversion": conversion}}
    assert service_ca.injection({"kind": "CustomResourceDefinition", "spec": {}}, "CA") is None


@pytest.mark.parametrize(("annotations", "wants"), [({}, False), ({service_ca.INJECT_ANNOTATION: "true"}, True)])
def test_only_what_has_the_annotation_is_touched(annotations: dict[str, str], wants: bool) -> None:
    assert service_ca.wants_bundle({"metadata": {"annotations": annotations}}) == wants


def test_the_objects_of_the_flavour_name_the_parts_that_programs_yml_runs() -> None:
    objects = list(yaml.safe_load_all((OBJECTS / "openshift.yml").read_text(encoding="utf-8")))
    programs = yaml.safe_load((OBJECTS.parent / "programs.yml").read_text(encoding="utf-8"))["programs"]
    modules = {item["module"] for item in programs if "ocp-v4.0-art-dev" in item["image"]}
    assert modules == {"olm", "ingress_operator", "service_ca"}
    assert len([obj for obj in objects if obj["kind"] == "Deployment"]) == len(modules)
