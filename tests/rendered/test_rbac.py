"""Rights of the operators: complete, nothing beyond their source, and fitting each other.

Sources: operators.md 1.3, 2.3 and 3.3; platform.md 1.5 and 2.2.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rendered.charts import Helm, all_cases, case, label, named

Objects = list[dict[str, Any]]

FULL = {"create", "delete", "get", "list", "patch", "update", "watch"}
READ = {"get", "list", "watch"}
STATUS = {"get", "patch", "update"}
COLLECTION = FULL | {"deletecollection"}

# Number of rules in each role, as many as its source has rows.
RULE_COUNTS = {
    ("cert-manager-operator", "ClusterRole", "cert-manager-operator-controller-manager-clusterrole"): 23,
    ("cert-manager-operator", "ClusterRole", "cert-manager-operator-metrics-reader"): 1,
    ("cert-manager-operator", "Role", "cert-manager-operator-controller-manager-role"): 3,
    ("sail-operator", "ClusterRole", "servicemesh-operator3-clusterrole"): 32,
    ("sail-operator", "ClusterRole", "servicemeshoperator3-metrics-reader"): 1,
    ("sail-operator", "Role", "servicemesh-operator3-role"): 3,
    ("lws-operator", "ClusterRole", "openshift-lws-operator-clusterrole"): 19,
    ("lws-operator", "Role", "openshift-lws-operator-role"): 11,
    ("cloud-manager", "ClusterRole", "rhai-azure-cloud-manager-role"): 22,
    ("cloud-manager", "Role", "azure-cloud-manager-leader-election-role"): 2,
    ("rhai-operator", "ClusterRole", "rhai-operator-role"): 123,
    ("rhai-operator", "ClusterRole", "rhai-operator-metrics-reader"): 1,
}

# Samples of the sources, chosen for what breaks without them: (group, resource) -> verbs.
GRANTS = {
    ("cert-manager-operator", "cert-manager-operator-controller-manager-clusterrole"): {
        ("", "secrets"): FULL,
        ("", "serviceaccounts/token"): {"create"},
        ("acme.cert-manager.io", "challenges/finalizers"): COLLECTION,
        ("cert-manager.io", "signers"): {"approve"},
        ("certificates.k8s.io", "signers"): FULL | {"sign"},
        ("coordination.k8s.io", "leases"): FULL,
        ("operator.openshift.io", "certmanagers"): FULL,
        ("operator.openshift.io", "certmanagers/finalizers"): {"update"},
        ("operator.openshift.io", "istiocsrs"): FULL - {"create", "delete"},
        ("rbac.authorization.k8s.io", "clusterroles"): FULL,
        ("authorization.k8s.io", "subjectaccessreviews"): {"create"},
    },
    ("sail-operator", "servicemesh-operator3-clusterrole"): {
        ("", "*"): {"*"},
        ("apiextensions.k8s.io", "customresourcedefinitions"): READ,
        ("apps", "deployments"): {"*"},
        ("rbac.authorization.k8s.io", "clusterroles"): {"*"},
        ("sailoperator.io", "istios"): FULL,
        ("sailoperator.io", "istiorevisions/status"): STATUS,
        ("sailoperator.io", "ztunnels/finalizers"): {"update"},
        ("security.openshift.io", "securitycontextconstraints"): {"use"},
    },
    ("lws-operator", "openshift-lws-operator-clusterrole"): {
        ("", "nodes"): FULL - {"create", "delete"},
        ("", "pods"): FULL,
        ("apps", "statefulsets"): FULL,
        ("leaderworkerset.x-k8s.io", "leaderworkersets"): FULL,
        ("operator.openshift.io", "leaderworkersetoperators"): COLLECTION,
        ("rbac.authorization.k8s.io", "roles"): FULL,
        ("apiextensions.k8s.io", "customresourcedefinitions"): FULL,
    },
    ("lws-operator", "openshift-lws-operator-role"): {
        ("apps", "deployments"): FULL,
        ("monitoring.coreos.com", "servicemonitors"): FULL,
        ("cert-manager.io", "certificates"): {"create", "get", "list", "patch", "update"},
        ("", "serviceaccounts"): FULL,
    },
    ("cloud-manager", "rhai-azure-cloud-manager-role"): {
        ("", "namespaces"): FULL,
        ("apiextensions.k8s.io", "customresourcedefinitions"): FULL - {"delete"},
        ("cert-manager.io", "clusterissuers"): FULL,
        ("infrastructure.opendatahub.io", "azurekubernetesengines"): FULL,
        ("infrastructure.opendatahub.io", "azurekubernetesengines/status"): STATUS,
        ("sailoperator.io", "istios"): FULL,
    },
    ("rhai-operator", "rhai-operator-role"): {
        ("", "nodes"): READ,
        ("", "configmaps"): FULL,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies"): FULL,
        ("cert-manager.io", "certificates"): FULL,
        ("cert-manager.io", "issuers"): {"create", "patch"},
        ("components.platform.opendatahub.io", "kserves"): FULL,
        ("components.platform.opendatahub.io", "kserves/status"): STATUS,
        ("coordination.k8s.io", "leases"): FULL,
        ("rbac.authorization.k8s.io", "clusterroles"): {"*"},
        ("serving.kserve.io", "llminferenceserviceconfigs"): FULL,
        ("serving.kserve.io", "llminferenceservices"): READ,
        ("user.openshift.io", "users"): FULL - {"create"},
    },
}

# The only wildcards; each stands in the source named.
WILDCARDS = {
    # operators.md 2.3
    ("servicemesh-operator3-clusterrole", "", "*", "*"),
    ("servicemesh-operator3-clusterrole", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "*"),
    ("servicemesh-operator3-clusterrole", "admissionregistration.k8s.io", "validatingadmissionpolicies", "*"),
    ("servicemesh-operator3-clusterrole", "admissionregistration.k8s.io", "validatingadmissionpolicybindings", "*"),
    ("servicemesh-operator3-clusterrole", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "*"),
    ("servicemesh-operator3-clusterrole", "apps", "daemonsets", "*"),
    ("servicemesh-operator3-clusterrole", "apps", "deployments", "*"),
    ("servicemesh-operator3-clusterrole", "autoscaling", "horizontalpodautoscalers", "*"),
    ("servicemesh-operator3-clusterrole", "k8s.cni.cncf.io", "network-attachment-definitions", "*"),
    ("servicemesh-operator3-clusterrole", "networking.istio.io", "envoyfilters", "*"),
    ("servicemesh-operator3-clusterrole", "networking.k8s.io", "networkpolicies", "*"),
    ("servicemesh-operator3-clusterrole", "policy", "poddisruptionbudgets", "*"),
    ("servicemesh-operator3-clusterrole", "rbac.authorization.k8s.io", "clusterrolebindings", "*"),
    ("servicemesh-operator3-clusterrole", "rbac.authorization.k8s.io", "clusterroles", "*"),
    ("servicemesh-operator3-clusterrole", "rbac.authorization.k8s.io", "rolebindings", "*"),
    ("servicemesh-operator3-clusterrole", "rbac.authorization.k8s.io", "roles", "*"),
    ("servicemesh-operator3-clusterrole", "rbac.authorization.k8s.io", "serviceaccount", "*"),
    # platform.md 1.5; "read" and "full" stand for the verbs of a rule whose group is the wildcard
    ("rhai-operator-role", "*", "deployments", "full"),
    ("rhai-operator-role", "*", "services", "full"),
    ("rhai-operator-role", "*", "statefulsets", "full"),
    ("rhai-operator-role", "*", "replicasets", "read"),
    ("rhai-operator-role", "rbac.authorization.k8s.io", "clusterrolebindings", "*"),
    ("rhai-operator-role", "rbac.authorization.k8s.io", "clusterroles", "*"),
    ("rhai-operator-role", "rbac.authorization.k8s.io", "rolebindings", "*"),
    ("rhai-operator-role", "rbac.authorization.k8s.io", "roles", "*"),
}

# Resource names of the kinds in the charts that a cloud manager may render.
RESOURCES = {
    "ClusterRole": ("rbac.authorization.k8s.io", "clusterroles"),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io", "clusterrolebindings"),
    "Deployment": ("apps", "deployments"),
    "Istio": ("sailoperator.io", "istios"),
    "LeaderWorkerSetOperator": ("operator.openshift.io", "leaderworkersetoperators"),
    "Role": ("rbac.authorization.k8s.io", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io", "rolebindings"),
    "Service": ("", "services"),
    "ServiceAccount": ("", "serviceaccounts"),
}


@pytest.mark.parametrize(("chart", "kind", "name"), RULE_COUNTS)
def test_a_role_has_as_many_rules_as_its_source(helm: Helm, chart: str, kind: str, name: str) -> None:
    role = named(helm.objects(case(chart)), kind, name)
    assert len(role["rules"]) == RULE_COUNTS[chart, kind, name]


def test_there_are_no_other_roles(helm: Helm) -> None:
    charts = {chart for chart, _, _ in RULE_COUNTS}
    found = {
        (chart, obj["kind"], obj["metadata"]["name"])
        for chart in charts
        for obj in helm.objects(case(chart))
        if obj["kind"] in ("ClusterRole", "Role")
    }
    assert found == RULE_COUNTS.keys()


@pytest.mark.parametrize(("chart", "role"), GRANTS)
def test_a_role_grants_what_its_source_says(helm: Helm, chart: str, role: str) -> None:
    objects = [o for o in helm.objects(case(chart)) if o["kind"] in ("ClusterRole", "Role")]
    rules = next(o["rules"] for o in objects if o["metadata"]["name"] == role)
    granted = {target: _verbs(rules, *target) for target in GRANTS[chart, role]}
    assert granted == GRANTS[chart, role]


def test_wildcards_are_only_where_the_source_has_them(helm: Helm) -> None:
    found = set()
    for any_case in all_cases():
        for obj in helm.objects(any_case):
            if obj["kind"] in ("ClusterRole", "Role"):
                found |= {(obj["metadata"]["name"], *wildcard) for wildcard in _wildcards(obj["rules"])}
    assert found == WILDCARDS


@pytest.mark.parametrize("values", [None, "coreweave-3.4", "aws-3.5"])
def test_the_cloud_managers_names_follow_the_provider(helm: Helm, values: str | None) -> None:
    chosen = case("cloud-manager", values)
    provider = chosen.values()["provider"]
    names = {label(obj) for obj in helm.objects(chosen)}
    assert names == {
        f"ServiceAccount rhai-cloudmanager-system/{provider}-cloud-manager-operator",
        f"Deployment rhai-cloudmanager-system/{provider}-cloud-manager-operator",
        f"ClusterRole rhai-{provider}-cloud-manager-role",
        f"ClusterRoleBinding rhai-{provider}-cloud-manager-rolebinding",
        f"Role rhai-cloudmanager-system/{provider}-cloud-manager-leader-election-role",
        f"RoleBinding rhai-cloudmanager-system/{provider}-cloud-manager-leader-election-rolebinding",
    }


@pytest.mark.parametrize(
    ("values", "sail_names"),
    [
        (None, {"metrics-reader", "servicemesh-operator3-clusterrole"}),
        ("aws-3.5", {"metrics-reader", "servicemesh-operator3-clusterrole", "servicemeshoperator3-metrics-reader"}),
    ],
)
def test_the_cloud_manager_may_escalate_only_under_fixed_names(
    helm: Helm, values: str | None, sail_names: set[str]
) -> None:
    rules = _cloud_manager_rules(helm, values)
    assert _escalatable(rules, "clusterroles") == sail_names | {
        "cert-manager-operator-controller-manager-clusterrole",
        "cert-manager-operator-metrics-reader",
        "openshift-lws-operator-clusterrole",
    }
    assert _escalatable(rules, "roles") == {
        "cert-manager-operator-controller-manager-role",
        "openshift-lws-operator-role",
        "servicemesh-operator3-role",
    }


@pytest.mark.parametrize("chart", ["sail-operator", "istio", "lws-operator", "lws"])
def test_a_cloud_manager_of_line_3_5_may_apply_every_object_it_is_delegated(helm: Helm, chart: str) -> None:
    rules = _cloud_manager_rules(helm, "aws-3.5")
    for obj in helm.objects(case(chart)):
        group, resource = RESOURCES[obj["kind"]]
        name = obj["metadata"]["name"]
        assert {"create", "patch"} <= _verbs(rules, group, resource, name), label(obj)
        if obj["kind"] in ("ClusterRole", "Role"):
            assert name in _escalatable(rules, resource), f"{label(obj)}: the apply would be refused"


@pytest.mark.parametrize("resource", ["nodes", "resourcequotas", "limitranges", "priorityclasses", "nodepools"])
@pytest.mark.parametrize("values", [None, "coreweave-3.4", "aws-3.5"])
def test_the_cloud_manager_has_no_rights_on_what_docs_node_pools_md_is_about(
    helm: Helm, values: str | None, resource: str
) -> None:
    rules = _cloud_manager_rules(helm, values)
    assert not [rule for rule in rules if {resource, "*"} & set(rule.get("resources", []))]


def _cloud_manager_rules(helm: Helm, values: str | None) -> Objects:
    roles = [obj for obj in helm.objects(case("cloud-manager", values)) if obj["kind"] == "ClusterRole"]
    rules: Objects = roles[0]["rules"]
    return rules


def _verbs(rules: Objects, group: str, resource: str, name: str | None = None) -> set[str]:
    """Verbs that rules naming exactly this group and resource grant; with ``name`` also those tied to that name."""
    return {
        verb
        for rule in rules
        if group in rule.get("apiGroups", []) and resource in rule.get("resources", [])
        if name is None or name in rule.get("resourceNames", [name])
        for verb in rule["verbs"]
    }


def _escalatable(rules: Objects, resource: str) -> set[str]:
    names = set()
    for rule in rules:
        if resource in rule.get("resources", []) and "escalate" in rule["verbs"]:
            assert "bind" in rule["verbs"]
            names |= set(rule["resourceNames"])
    return names


def _wildcards(rules: Objects) -> set[tuple[str, str, str]]:
    """(group, resource, verbs) of every combination with a wildcard; verbs are "*", "full" or "read"."""
    found = set()
    for rule in rules:
        verbs = {frozenset(FULL): "full", frozenset(READ): "read"}.get(frozenset(rule["verbs"]), str(rule["verbs"]))
        verbs = "*" if "*" in rule["verbs"] else verbs
        for group in rule.get("apiGroups", []):
            for resource in rule.get("resources", []):
                if "*" in (group, resource, verbs):
                    found.add((group, resource, verbs))
        assert "*" not in rule.get("nonResourceURLs", [])
    return found
