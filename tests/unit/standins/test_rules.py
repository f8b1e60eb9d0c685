"""The rule files themselves: complete, consistent, and each naming its fact."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from embedded_cluster.standins import rules, templates
from embedded_cluster.standins.cert_manager_operator import operator_values as cert_manager_values
from embedded_cluster.standins.kserve_module import module_values
from embedded_cluster.standins.objects import CLUSTER_SCOPED
from embedded_cluster.standins.rhai_operator import installer_values
from embedded_cluster.standins.rhai_operator import operator_values as rhai_values

from tests.unit.standins.fake_api import FakeApi, pod

OPERATORS = (
    *("cert_manager_operator", "sail_operator", "lws_operator", "cloud_manager"),
    *("rhai_operator", "rhai_operator_3_5", "kserve_module"),
)
RULES = [(operator, name) for operator in OPERATORS for name in rules.load(operator).rules]
SOURCE = {
    "metadata": {"name": "default", "uid": "uid", "generation": 1},
    "spec": {
        "namespace": "istio-system",
        "values": {"pilot": {"image": "pilot"}, "global": {}},
        "applicationsNamespace": "apps",
        "components": {"kserve": {"managementState": "Managed"}},
    },
}


CONFIGURATION = {
    "CERT_MANAGER_CA_SECRET_NAME": "rhai-ca",
    "CERT_MANAGER_CA_SECRET_NAMESPACE": "cert-manager",
    "CERT_MANAGER_ISSUER_REF_NAME": "rhai-ca-issuer",
    "CERT_MANAGER_ISSUER_REF_KIND": "ClusterIssuer",
    "CERT_MANAGER_ISTIO_CA_CERT_PATH": "/var/run/secrets/rhai/ca.crt",
    "platformVersion": "3.5.0",
}


PLATFORM_TYPE = "XKS"


def values(operator: str) -> dict[str, Any]:
    """What the operands of an operator refer to."""
    settings = rules.load(operator).settings
    env = {"OPERAND_IMAGE_VERSION": "1", "RELATED_IMAGE_OPERAND_IMAGE": "lws"}
    names = {"RHAI_APPLICATIONS_NAMESPACE": "apps", "POD_NAMESPACE": "apps"}
    made = pod(FakeApi(), "ns", env={"ODH_PLATFORM_TYPE": PLATFORM_TYPE, "RHAI_VERSION": "3.4.4", **names})
    build: dict[str, Callable[[], dict[str, Any]]] = {
        "cert_manager_operator": lambda: cert_manager_values(env, settings),
        "sail_operator": lambda: {"resolved": {"version": "v1", "values": {}}, "pull_secrets": [], "mesh": {}},
        "lws_operator": lambda: {"versions": {"serving": "", "metrics": "", "config": ""}},
        "cloud_manager": lambda: {name: name for name in settings["names"]},
        "rhai_operator": lambda: rhai_values(made, settings),
        "rhai_operator_3_5": lambda: installer_values(made, settings),
        "kserve_module": lambda: module_values(made, settings, CONFIGURATION),
    }
    return {"namespace": "ns", "env": env, "source": SOURCE, **build[operator]()}


def documents(operator: str, name: str) -> list[dict[str, Any]]:
    files = rules.load(operator).rules[name].operands
    return [doc for file in files for doc in templates.render_documents(f"operands/{file}", values(operator))]


@pytest.mark.parametrize(("operator", "name"), RULES)
def test_every_set_of_rules_names_its_fact(operator: str, name: str) -> None:
    assert re.match(r"(observed-)?(operators|platform)\.md \d", rules.load(operator).rules[name].fact)


@pytest.mark.parametrize(("operator", "name"), [entry for entry in RULES if entry[0] != "cloud_manager"])
def test_every_operand_is_written_by_exactly_one_step(operator: str, name: str) -> None:
    chosen = [
        (document["kind"], document["metadata"]["name"])
        for step in rules.load(operator).rules[name].steps
        for document in rules.select(documents(operator, name), step.objects)
    ]
    assert sorted(chosen) == sorted((doc["kind"], doc["metadata"]["name"]) for doc in documents(operator, name))


@pytest.mark.parametrize(("operator", "name"), RULES)
def test_operands_are_valid_enough_to_be_written(operator: str, name: str) -> None:
    for document in documents(operator, name):
        assert document["apiVersion"], document
        scoped = document["kind"] in CLUSTER_SCOPED
        assert not (scoped and document["metadata"].get("namespace")), document["metadata"]


@pytest.mark.parametrize(("operator", "name"), RULES)
def test_every_table_of_a_condition_ends_in_a_case_that_always_holds(operator: str, name: str) -> None:
    for kind, cases in rules.load(operator).rules[name].conditions.items():
        assert cases[-1].when == "true", kind


@pytest.mark.parametrize(("operator", "name"), RULES)
def test_written_kinds_that_can_drift_are_watched(operator: str, name: str) -> None:
    """Except those for which the operator has no right to watch, or which the real one does not restore."""
    unwatched = {
        "lws_operator": {"Certificate", "Issuer", "ServiceMonitor", "ServiceAccount", "ClusterRole", "Role"}
        | {"ClusterRoleBinding", "RoleBinding", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"},
        "cert_manager_operator": {"Namespace"},
        "sail_operator": {"ServiceAccount"},
        "rhai_operator": {"Namespace"},
    }
    watched = {watch.kind for watch in rules.load(operator).rules[name].watches}
    written = {document["kind"] for document in documents(operator, name)}
    assert written - watched - unwatched.get(operator, set()) == set()


def test_on_openshift_certificates_are_those_of_the_service_ca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PLATFORM_TYPE", "SelfManagedRhoai")
    made = documents("rhai_operator", "kserve")
    assert {"SecurityContextConstraints"} <= {doc["kind"] for doc in made}
    assert "Certificate" not in {doc["kind"] for doc in made}
    inject = {"service.beta.openshift.io/inject-cabundle": "true"}
    webhooks = [doc for doc in made if doc["kind"] == "ValidatingWebhookConfiguration"]
    assert [doc["metadata"]["annotations"] for doc in webhooks] == [inject] * 2
    (config,) = [doc for doc in made if doc["metadata"]["name"] == "inferenceservice-config"]
    assert '"kserveIngressGateway": "openshift-ingress/openshift-ai-inference"' in config["data"]["ingress"]


def test_selection_follows_the_patterns_first_and_then_the_file() -> None:
    docs = [{"kind": kind, "metadata": {"name": name}} for kind, name in [("B", "x"), ("A", "y"), ("A", "z-1")]]
    assert rules.select(docs, ["A", "B"]) == [docs[1], docs[2], docs[0]]
    assert rules.select(docs, ["A/z-*", "A"]) == [docs[2], docs[1]]


def test_an_unknown_key_in_a_rule_is_refused() -> None:
    with pytest.raises(TypeError, match="stepz"):
        rules.Rules(operator="x", **{"fact": "f", "source": {}, "manager": "m", "stepz": []})


def test_double_braces_pass_through_templates_untouched() -> None:
    assert templates.render_text("{{ .Spec.Model.Name }} << name >>", {"name": "x"}) == "{{ .Spec.Model.Name }} x"
