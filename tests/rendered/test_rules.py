"""Rules that hold for every object of every chart, whatever the values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import yaml

from tests.rendered.charts import (
    IMAGE,
    NEED_VALUES,
    RELEASE_NAMESPACES,
    Case,
    Helm,
    all_cases,
    label,
    load_yaml,
    pod_specs,
    strings,
)
from tests.rendered.pod_security import violations

Objects = list[dict[str, Any]]

# The seven namespaces of the platform, and the one that holds how the cluster authenticates (operators.md 3.5).
NAMESPACES = set(RELEASE_NAMESPACES.values()) | {"kube-system"}

# ServiceAccounts that an operator adopts: it would overwrite all our labels but the layer's
# (operators.md 1.7 and 3.5, observed-operators.md 3.2).
ADOPTED = {
    "ServiceAccount cert-manager/cert-manager",
    "ServiceAccount cert-manager/cert-manager-cainjector",
    "ServiceAccount cert-manager/cert-manager-webhook",
    "ServiceAccount openshift-lws-operator/lws-controller-manager",
    "ServiceAccount redhat-ods-applications/kserve-module-controller-manager",
    "ServiceAccount redhat-ods-applications/llmisvc-controller-manager",
}

CLUSTER_SCOPED = {
    "AWSKubernetesEngine", "AzureKubernetesEngine", "ClusterIssuer", "ClusterRole", "ClusterRoleBinding",
    "CoreWeaveKubernetesEngine", "DSCInitialization", "DataScienceCluster", "GatewayClass", "Istio", "Kserve",
    "LeaderWorkerSetOperator", "MutatingWebhookConfiguration",
    "Platform",
}  # fmt: skip

MIRROR = "mirror.example.com:5000/platform"


def test_every_pod_and_service_account_has_the_pull_secrets(any_case: Case, objects: Objects) -> None:
    expected = [{"name": name} for name in any_case.values()["global"]["imagePullSecrets"]]
    holders = {label(obj): obj.get("imagePullSecrets") for obj in objects if obj["kind"] == "ServiceAccount"}
    holders |= {name: spec.get("imagePullSecrets") for name, spec in pod_specs(objects)}
    assert {name for name, secrets in holders.items() if secrets != expected} == set()


@pytest.mark.parametrize("chart", sorted({case.chart for case in all_cases()} - NEED_VALUES))
def test_no_pull_secret_is_left_when_none_is_wanted(helm: Helm, chart: str) -> None:
    assert "rhai-pull-secret" not in helm.text(Case(chart), "--set-json", "global.imagePullSecrets=[]")


def test_every_image_is_a_digest_from_the_values(any_case: Case, objects: Objects) -> None:
    allowed = {text for text in strings(any_case.values()) if IMAGE.fullmatch(text)}
    registry = any_case.values()["global"]["imageRegistry"]
    if registry:
        allowed = {re.sub(r"^[^/]+", registry, ref) for ref in allowed}
    used = {text for text in strings(objects) if re.match(r"[a-z0-9.-]+\.[a-z]+(:[0-9]+)?/\S+[@:]", text)}
    used |= {container["image"] for _, spec in pod_specs(objects) for container in _containers(spec)}
    assert used - allowed == set()
    assert allowed - used == set(), "these images of the values are used nowhere"


def test_a_mirror_replaces_the_registry_of_every_image(helm: Helm, any_case: Case) -> None:
    plain = helm.text(any_case, "--set", "global.imageRegistry=")
    mirrored = helm.text(any_case, "--set", f"global.imageRegistry={MIRROR}/")
    images = [match.group() for match in IMAGE.finditer(plain)]
    assert [match.group() for match in IMAGE.finditer(mirrored)] == [re.sub(r"^[^/]+", MIRROR, i) for i in images]


def test_every_pod_meets_the_restricted_level(objects: Objects) -> None:
    assert {name: violations(spec) for name, spec in pod_specs(objects) if violations(spec)} == {}


def test_every_container_has_a_read_only_root_file_system(objects: Objects) -> None:
    writable = [
        f"{name} {container['name']}"
        for name, spec in pod_specs(objects)
        for container in _containers(spec)
        if not container["securityContext"].get("readOnlyRootFilesystem")
    ]
    assert writable == []


def test_every_object_says_who_made_it_and_for_which_layer(any_case: Case, objects: Objects) -> None:
    chart = load_yaml(any_case.folder / "Chart.yaml")
    version = any_case.values().get("version") or chart["appVersion"]
    layer = {
        "inference-platform.io/layer": any_case.values().get("layer")
        or chart["annotations"]["inference-platform.io/layer"]
    }
    full = layer | {
        "app.kubernetes.io/name": any_case.chart,
        "app.kubernetes.io/part-of": "inference-platform",
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/version": version,
    }
    for obj in objects:
        labels = obj["metadata"]["labels"]
        if label(obj) in ADOPTED:
            assert labels == layer, f"{label(obj)}: its operator would overwrite any other label"
        else:
            assert full.items() <= labels.items(), label(obj)


def test_no_object_is_in_a_foreign_namespace(objects: Objects) -> None:
    assert {obj["metadata"].get("namespace") for obj in objects} <= NAMESPACES | {None}


def test_namespaced_objects_have_a_namespace_and_others_have_none(objects: Objects) -> None:
    wrong = [label(obj) for obj in objects if ("namespace" in obj["metadata"]) == (obj["kind"] in CLUSTER_SCOPED)]
    assert wrong == []


def test_there_are_no_namespaces_crds_secrets_or_hooks(objects: Objects) -> None:
    assert {obj["kind"] for obj in objects} & {"Namespace", "CustomResourceDefinition", "Secret", "Job", "Pod"} == set()
    hooks = [label(obj) for obj in objects if "helm.sh/hook" in obj["metadata"].get("annotations", {})]
    assert hooks == []
    assert "PRIVATE KEY" not in " ".join(strings(objects))


def test_no_object_is_rendered_twice(objects: Objects) -> None:
    names = [label(obj) for obj in objects]
    assert sorted(names) == sorted(set(names))


def test_every_reference_inside_a_chart_leads_to_an_object_of_it(objects: Objects) -> None:
    have = {label(obj) for obj in objects}
    wanted = set()
    for obj in objects:
        if obj["kind"] == "Deployment":
            account = obj["spec"]["template"]["spec"]["serviceAccountName"]
            wanted.add(f"ServiceAccount {obj['metadata']['namespace']}/{account}")
        if obj["kind"].endswith("RoleBinding"):
            wanted |= {f"ServiceAccount {s['namespace']}/{s['name']}" for s in obj["subjects"]}
        if obj["kind"] == "ClusterRoleBinding":
            wanted.add(f"ClusterRole {obj['roleRef']['name']}")
        if obj["kind"] == "RoleBinding" and obj["metadata"]["namespace"] != "kube-system":
            wanted.add(f"Role {obj['metadata']['namespace']}/{obj['roleRef']['name']}")
    assert wanted - have == set()


def test_every_service_selects_the_pods_of_its_chart(objects: Objects) -> None:
    templates = [obj["spec"]["template"] for obj in objects if obj["kind"] == "Deployment"]
    for service in (obj for obj in objects if obj["kind"] == "Service"):
        selector = service["spec"]["selector"]
        chosen = [t for t in templates if selector.items() <= t["metadata"]["labels"].items()]
        assert len(chosen) == 1, f"{label(service)} selects {len(chosen)} Deployments"
        names = {port["name"] for c in chosen[0]["spec"]["containers"] for port in c.get("ports", [])}
        targets = {port["targetPort"] for port in service["spec"]["ports"]}
        assert {target for target in targets if isinstance(target, str)} <= names, label(service)


def test_selectors_match_the_labels_of_their_own_pods(objects: Objects) -> None:
    for obj in objects:
        if obj["kind"] == "Deployment":
            selector = obj["spec"]["selector"]["matchLabels"]
            assert selector.items() <= obj["spec"]["template"]["metadata"]["labels"].items(), label(obj)


def test_rendering_twice_gives_the_same_text(helm: Helm, any_case: Case) -> None:
    assert helm.template(any_case).stdout == helm.text(any_case)


def _containers(spec: dict[str, Any]) -> Objects:
    return [*spec.get("initContainers", []), *spec["containers"]]


def test_no_key_is_given_twice(helm: Helm, any_case: Case) -> None:
    """Neither Helm nor the API server says so: the last one wins."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    assert list(_keys_given_twice(yaml.compose_all(helm.text(any_case), Loader=loader))) == []


def _keys_given_twice(nodes: Iterable[yaml.Node | None]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, yaml.SequenceNode):
            yield from _keys_given_twice(node.value)
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            yield from (f"{key}{node.start_mark}" for key in keys if keys.count(key) > 1)
            yield from _keys_given_twice(value for _, value in node.value)
