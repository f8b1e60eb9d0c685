"""Which rights preflight asks for: all that a run writes, for every sample inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster import rights
from inference_platform.models import render
from inference_platform.platform import resolve
from inference_platform.preflight import data
from tests.support.rights import asked_for, settings_of

RULES = data.load()["rights"]
SAMPLES = ("eks", "aks", "gke", "coreweave", "generic", "openshift")
WRITE = {"get", "create", "patch"}


def verbs(asked: set[rights.Right], group: str, resource: str) -> set[str]:
    return {verb for in_group, of, verb in asked if (in_group, of) == (group, resource)}


@pytest.mark.parametrize("inventory", SAMPLES)
def test_namespaces_secrets_and_models_are_written_everywhere(inventory: str) -> None:
    asked = asked_for(settings_of(inventory))
    assert verbs(asked, "", "namespaces") == WRITE
    assert verbs(asked, "", "secrets") >= WRITE | {"delete", "update"}
    assert verbs(asked, "serving.kserve.io", "llminferenceservices") == WRITE | {"delete"}
    assert verbs(asked, "gateway.networking.k8s.io", "gateways") >= WRITE


def test_on_openshift_what_olm_and_the_platform_operator_read_is_asked_for_and_no_crd() -> None:
    asked = asked_for(settings_of("openshift"))
    for group, resource in (
        ("operators.coreos.com", "subscriptions"),
        ("operators.coreos.com", "operatorgroups"),
        ("dscinitialization.opendatahub.io", "dscinitializations"),
        ("datasciencecluster.opendatahub.io", "datascienceclusters"),
        ("gateway.networking.k8s.io", "gatewayclasses"),
    ):
        assert verbs(asked, group, resource) == WRITE | {"delete"}, resource
    assert verbs(asked, "operators.coreos.com", "installplans") == {"list", "patch"}
    assert verbs(asked, "apiextensions.k8s.io", "customresourcedefinitions") == set()


def test_the_bundle_for_a_gateway_of_the_users_is_asked_for() -> None:
    settings = settings_of("generic")
    own = settings | {"gateway": {"external": {"name": "front", "namespace": "edge"}}}
    assert verbs(asked_for(own), "", "configmaps") == WRITE
    homes = rights.homes(resolve(own).to_dict(), [], RULES)
    assert homes["", "configmaps"] == {"edge"}
    assert "edge" in homes["", "secrets"]
    assert "edge" not in homes["apps", "deployments"]


def test_quotas_priorities_and_node_pools_are_asked_for_when_the_inventory_has_them() -> None:
    resources = (
        ("", "resourcequotas"), ("scheduling.k8s.io", "priorityclasses"), ("karpenter.sh", "nodepools"),
    )  # fmt: skip
    settings = settings_of("eks")
    without = asked_for(settings | {"node_pools": [], "namespace_quotas": []})
    pools = [{"name": "calm", "priority": 1000}, {"name": "burst", "karpenter": {"template": {}}}]
    quotas = [{"namespace": "models", "hard": {"pods": 40}}]
    with_them = asked_for(settings | {"node_pools": pools, "namespace_quotas": quotas})
    assert [verbs(without, *item) for item in resources] == [set()] * 3
    assert [verbs(with_them, *item) for item in resources] == [WRITE | {"delete"}] * 3


@pytest.mark.parametrize("inventory", SAMPLES)
def test_what_is_in_namespaces_is_asked_for_in_those_of_the_plan(inventory: str) -> None:
    settings = settings_of(inventory)
    plan = resolve(settings).to_dict()
    models = render(settings["models"], settings.get("model_defaults") or {}, plan).objects
    homes = rights.homes(plan, models, RULES)
    spaces = {*plan["namespaces"].values(), *(item["metadata"].get("namespace") for item in models)}
    assert homes["serving.kserve.io", "llminferenceservices"] >= {"models"}
    assert homes["", "secrets"] >= spaces - {None}
    assert set.union(*homes.values()) <= spaces | {"kube-system"}
    if inventory != "openshift":
        assert homes["apps", "deployments"] < homes["", "secrets"]


def test_bindings_outside_of_the_platform_are_known() -> None:
    plan = resolve({"platform_release": "3.4", "provider": "generic"}).to_dict()
    assert rights.bindings_elsewhere(plan) == {("kube-system", "extension-apiserver-authentication-reader")}
    plan["layers"] = [layer for layer in plan["layers"] if layer["name"] != "lws"]
    assert rights.bindings_elsewhere(plan) == set()


def test_every_kind_of_the_models_is_asked_for() -> None:
    plan = resolve({"platform_release": "3.4", "provider": "generic"}).to_dict()
    kinds = [
        ("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
        ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "referencegrants"),
        ("inference.networking.x-k8s.io/v1alpha2", "InferenceObjective", "inferenceobjectives"),
        ("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
    ]
    asked = set(rights.needed(plan, [{"apiVersion": version, "kind": kind} for version, kind, _ in kinds], RULES))
    for version, _, resource in kinds:
        assert verbs(asked, version.partition("/")[0], resource) == WRITE | {"delete"}


def test_what_somebody_else_has_installed_needs_no_right() -> None:
    external = dict.fromkeys(("gateway_api", "cert_manager", "sail", "lws"), "external")
    asked = asked_for(settings_of("generic") | {"ownership": external})
    assert verbs(asked, "sailoperator.io", "istios") == set()
    assert verbs(asked, "operator.openshift.io", "certmanagers") == set()


def test_the_lease_is_no_right_without_which_a_run_is_refused() -> None:
    assert verbs(asked_for(settings_of("generic")), "coordination.k8s.io", "leases") == set()


def test_what_only_one_distribution_writes_is_asked_for_there_alone() -> None:
    of_community = asked_for(settings_of("generic") | {"distribution": "community"})
    assert verbs(of_community, "operator.openshift.io", "certmanagers") == set()
    assert verbs(of_community, "apps", "deployments") == WRITE | {"delete"}
    assert verbs(asked_for(settings_of("generic")), "operator.openshift.io", "certmanagers") == WRITE


def test_roles_are_given_with_the_rights_to_do_so() -> None:
    asked = asked_for(settings_of("generic"))
    assert verbs(asked, "rbac.authorization.k8s.io", "clusterroles") == WRITE | {"delete", "escalate", "bind"}
    assert verbs(asked, "rbac.authorization.k8s.io", "clusterrolebindings") == WRITE | {"delete"}


def test_a_kind_out_of_a_value_is_that_of_the_engine() -> None:
    asked = asked_for(settings_of("eks"))
    assert verbs(asked, "infrastructure.opendatahub.io", "awskubernetesengines") == WRITE | {"delete"}


def test_nested_kinds_of_a_template_are_none_that_is_written(tmp_path: Path) -> None:
    template = "apiVersion: v1\nkind: Service\nspec:\n  apiVersion: v2\n  kind: Other\n"
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.yaml").write_text(template, encoding="utf-8")
    plan: dict[str, Any] = {"engine": None}
    assert rights.kinds_of_chart(tmp_path, plan) == {("", "Service")}


@pytest.mark.parametrize(
    ("kind", "resource"),
    [("Gateway", "gateways"), ("NetworkPolicy", "networkpolicies"), ("PriorityClass", "priorityclasses")],
)
def test_kinds_have_the_plural_that_urls_have(kind: str, resource: str) -> None:
    assert rights.resource_of(kind) == resource
