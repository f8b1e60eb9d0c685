"""The cluster package against a real API server: apply, CRDs, gates, preflight."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster import crds, errors, gate, secrets, survey
from inference_platform.cluster.apply import apply, prune, summary
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object, Ref
from inference_platform.models import RenderResult
from inference_platform.preflight import data, examine
from inference_platform.preflight.snapshot import Snapshot
from tests.support.audit import entries
from tests.support.clusters import EmbeddedCluster, wait_for
from tests.support.rights import asked_for, settings_of

pytestmark = pytest.mark.cluster

SPACE = "apply-test"
SETTINGS = {"platform_release": "3.4", "provider": "aws"}
NAMESPACE: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@pytest.fixture(scope="module")
def cluster(embedded_cluster: EmbeddedCluster) -> Cluster:
    """Our client, as administrator."""
    return Cluster.connect(str(embedded_cluster.paths.kubeconfig))


@pytest.fixture(autouse=True)
def space(cluster: Cluster) -> Iterator[None]:
    """The test namespace; its objects go after each test."""
    apply(cluster, [NAMESPACE])
    yield
    for kind in (("v1", "ConfigMap"), ("v1", "Secret"), ("apps/v1", "Deployment"), ("v1", "Service")):
        for obj in cluster.list(*kind, SPACE):
            cluster.delete(obj)


def writes(embedded_cluster: EmbeddedCluster) -> list[str]:
    """Writes of our clients in the audit log so far; dry runs and questions about rights are none."""
    found = []
    for entry in entries(embedded_cluster.paths.audit_log):
        ours = str(entry.get("userAgent", "")).startswith(("inference-platform/", "Helm/"))
        uri = entry["requestURI"]
        if ours and entry["verb"] in WRITES and "dryRun" not in uri and "selfsubject" not in uri:
            found.append(f"{entry['verb']} {uri}")
    return found


def deployment(**container: Any) -> Object:
    """A Deployment whose fields the server rewrites or completes."""
    main = {
        "name": "main",
        "image": "example.org/none",
        "ports": [{"containerPort": 8080, "name": "http"}],
        "env": [{"name": "A", "value": "1"}],
        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": 0.5}},
        "securityContext": {},
        **container,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": SPACE, "annotations": {}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {
                    "containers": [main],
                    "tolerations": [{"key": "a", "operator": "Exists"}],
                    "volumes": [{"name": "v", "emptyDir": {}}],
                    "nodeSelector": {},
                },
            },
        },
    }


def service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": SPACE},
        "spec": {"selector": {"app": "d"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }


def secret(value: str = "old") -> Object:
    metadata = {"name": "sec", "namespace": SPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": value}}


def test_three_times_the_same(cluster: Cluster, embedded_cluster: EmbeddedCluster) -> None:
    wanted = [deployment(), service(), secret()]
    predicted = apply(cluster, wanted, check=True)
    first = apply(cluster, wanted)
    assert first.errors == predicted.errors == []
    assert [str(c) for c in predicted.changes] == [str(c) for c in first.changes]
    assert summary(first.changes) == {"create": 3}
    before = writes(embedded_cluster)
    assert not apply(cluster, wanted).changed
    assert not apply(cluster, wanted, check=True).changed
    assert writes(embedded_cluster) == before


def test_a_changed_a_removed_and_a_drifted_field_are_found(cluster: Cluster) -> None:
    apply(cluster, [deployment()])
    without_env = deployment()
    del without_env["spec"]["template"]["spec"]["containers"][0]["env"]
    for wanted, line in (
        (without_env, "-        - name: A"),
        (deployment(image="example.org/other"), "+        image: example.org/other"),
    ):
        predicted = apply(cluster, [wanted], check=True)
        done = apply(cluster, [wanted])
        assert [str(c) for c in done.changes] == [str(c) for c in predicted.changes] == [f"update Deployment {SPACE}/d"]
        for result in (predicted, done):
            assert line.replace(" ", "") in result.diff().replace(" ", "").splitlines()
        assert not apply(cluster, [wanted]).changed
    live = cluster.get("apps/v1", "Deployment", "d", SPACE)
    assert live is not None
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "example.org/edited"
    del live["metadata"]["resourceVersion"]  # whatever the controller wrote meanwhile
    cluster.request(
        "PUT",
        f"/apis/apps/v1/namespaces/{SPACE}/deployments/d",
        body=live,
        query={"fieldManager": "kubectl-edit"},
        subject="edit",
    )
    result = apply(cluster, [deployment(image="example.org/other")])
    assert "kubectl-edit" in str(result.errors[0])
    assert ".spec.template.spec.containers" in str(result.errors[0])
    assert [c.action for c in apply(cluster, [deployment(image="example.org/other")], force=True).changes] == ["update"]


def test_what_a_controller_adds_is_no_difference(cluster: Cluster) -> None:
    apply(cluster, [deployment()])
    other = {**deployment(), "spec": {"minReadySeconds": 3}}
    cluster.apply(other, manager="autoscaler")
    assert not apply(cluster, [deployment()]).changed


def test_an_unknown_field_is_an_error_that_names_it(cluster: Cluster) -> None:
    result = apply(cluster, [deployment(imagePullPolizy="Always")])
    assert "imagePullPolizy" in str(result.errors[0])
    assert f"Deployment {SPACE}/d" in str(result.errors[0])


def test_an_invalid_value_names_object_and_field(cluster: Cluster) -> None:
    bad = service()
    bad["spec"]["ports"][0]["port"] = 99999
    for check in (True, False):
        text = str(apply(cluster, [bad], check=check).errors[0])
        assert "spec.ports[0].port" in text
        assert f"Service {SPACE}/s" in text


def test_prune_spares_what_others_applied(cluster: Cluster) -> None:
    maps = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": n, "namespace": SPACE, "labels": {"prune": "x"}}}
        for n in "abc"
    ]
    apply(cluster, maps[:2])
    cluster.apply(maps[2], manager="somebody")
    result = prune(cluster, [("v1", "ConfigMap")], "prune=x", [Ref.of(maps[0])])
    assert [str(c) for c in result.changes] == [f"delete ConfigMap {SPACE}/b"]
    assert {m["metadata"]["name"] for m in cluster.list("v1", "ConfigMap", SPACE)} >= {"a", "c"}


def test_the_pull_secret_is_rotated(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "pull.json"
    for password, changed in (("YTpi", True), ("YTpi", False), ("YTpj", True)):
        path.write_text(json.dumps({"auths": {"registry.example.org": {"auth": password}}}))
        assert secrets.apply_pull_secret(cluster, "pull", [SPACE], path.read_bytes()).changed is changed


def crd_file(tmp_path: Path, versions: tuple[str, ...], stored: str) -> crds.CrdFile:
    """A CRD of its own group with these versions."""
    name = "gears.apply-test.example.org"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    content = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "group": "apply-test.example.org",
            "scope": "Namespaced",
            "names": {"plural": "gears", "singular": "gear", "kind": "Gear"},
            "versions": [{"name": v, "served": True, "storage": v == stored, "schema": schema} for v in versions],
        },
    }
    (tmp_path / "set").mkdir(exist_ok=True)
    (tmp_path / "set" / f"{name}.json").write_text(json.dumps(content))
    return crds.locate("set", [{"name": name}], directory=tmp_path)[0]


def test_a_crd_is_applied_once_served_and_never_loses_a_stored_version(
    cluster: Cluster, embedded_cluster: EmbeddedCluster, tmp_path: Path
) -> None:
    gear = {"apiVersion": "apply-test.example.org/v1alpha1", "kind": "Gear"}
    gear["metadata"] = {"name": "g", "namespace": SPACE}  # type: ignore[assignment]
    with pytest.raises(errors.UnknownKind):
        cluster.get(gear["apiVersion"], "Gear", "g", SPACE)
    first = crd_file(tmp_path, ("v1alpha1",), "v1alpha1")
    assert crds.apply_crds(cluster, [first], check=True).changed
    assert crds.apply_crds(cluster, [first]).changed
    gate.wait(cluster, [{"check": "crds", "names": [first.name]}], timeout=60)
    assert not apply(cluster, [gear]).errors
    before = writes(embedded_cluster)
    assert not crds.apply_crds(cluster, [first]).changed
    assert writes(embedded_cluster) == before
    assert crds.apply_crds(cluster, [crd_file(tmp_path, ("v1alpha1", "v1"), "v1")]).changed
    refused = crds.apply_crds(cluster, [crd_file(tmp_path, ("v1",), "v1")])
    assert "drops v1alpha1" in str(refused.errors[0])
    cluster.delete({"apiVersion": crds.API_VERSION, "kind": crds.KIND, "metadata": {"name": first.name}})


def test_a_gate_explains_a_deployment_that_cannot_get_ready(cluster: Cluster) -> None:
    obj = deployment()
    obj["spec"]["replicas"] = 1
    obj["spec"]["template"]["spec"]["nodeSelector"] = {"no-such": "node"}
    apply(cluster, [obj])
    check = {"check": "deployment", "namespace": SPACE, "name": "d", "next": "kubectl describe"}
    seen: list[gate.GateProgress] = []
    with pytest.raises(gate.GateTimeout) as caught:
        gate.wait(cluster, [check], timeout=12, on_progress=seen.append)
    text = str(caught.value)
    for part in ("0 of 1 replicas available", "not scheduled: 0/", "Available=False", "event FailedScheduling"):
        assert part in text
    assert "not scheduled" in " ".join(seen[-1].waiting[0].details)


def test_an_administrator_passes_preflight_and_a_stranger_does_not(
    cluster: Cluster, embedded_cluster: EmbeddedCluster
) -> None:
    def look(by: Cluster) -> tuple[set[tuple[str, str]], set[str]]:
        found = examine.examine(by, SETTINGS, RenderResult([], [], []), helm=helm, crd_source=source)
        unknown = {result.check.code for result in found.outcome.results if result.status == "unknown"}
        return {(finding.code, finding.severity) for finding in found.outcome.findings}, unknown

    helm = str(embedded_cluster.tools / "bin" / "helm")
    source = examine.CrdSource(embedded_cluster.tools / "crds")
    assert look(cluster) == (set(), set())
    stranger = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "stranger", "namespace": SPACE}}
    apply(cluster, [stranger])
    path = f"/api/v1/namespaces/{SPACE}/serviceaccounts/stranger/token"
    token = cluster.request("POST", path, body={"spec": {}}, subject="get a token")["status"]["token"]
    other = as_user(embedded_cluster, {"token": token})
    codes, unknown = look(other)
    assert codes == {
        ("IP-PRE-004", "error"),
        ("IP-PRE-006", "error"),
        ("IP-PRE-006", "warning"),
        ("IP-PRE-009", "warning"),
    }
    assert {"IP-PRE-010", "IP-PRE-050"} <= unknown
    result = apply(other, [secret()])
    assert "is forbidden" in str(result.errors[0])
    assert "cluster-admin" in str(result.errors[0])


def test_a_right_in_the_namespaces_of_the_plan_will_do(cluster: Cluster, embedded_cluster: EmbeddedCluster) -> None:
    rbac, role = "rbac.authorization.k8s.io", "ClusterRole"
    user = {"kind": "ServiceAccount", "name": "tenant", "namespace": SPACE}
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "tenant", "namespace": SPACE},
        "roleRef": {"apiGroup": rbac, "kind": role, "name": "cluster-admin"},
        "subjects": [user],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant", "namespace": SPACE}}
    assert not apply(cluster, [account, binding]).errors
    path = f"/api/v1/namespaces/{SPACE}/serviceaccounts/tenant/token"
    token = cluster.request("POST", path, body={"spec": {}}, subject="get a token")["status"]["token"]
    tenant = as_user(embedded_cluster, {"token": token})
    deployment, claim = ("apps", "deployments", "create"), ("", "services", "create")
    listing, namespace = ("", "secrets", "list"), ("", "namespaces", "create")
    homes = {("apps", "deployments"): [SPACE], ("", "services"): [SPACE, "kube-system"], ("", "secrets"): [SPACE]}

    def denied() -> dict[tuple[str, str, str], tuple[str, ...]]:
        seen = Snapshot()
        survey.ask_for_rights(tenant, seen, [deployment, claim, listing, namespace], homes)
        return seen.denied

    wait_for("the binding to act", lambda: deployment not in denied())
    assert denied() == {claim: ("kube-system",), listing: (), namespace: ()}


def test_the_catalogue_knows_what_is_in_namespaces(cluster: Cluster, embedded_cluster: EmbeddedCluster) -> None:
    rules = data.load()["rights"]["namespaced"]
    said = {(group, name) for group, names in rules.items() for name in names}
    files = (json.loads(path.read_text())["spec"] for path in (embedded_cluster.tools / "crds").glob("*/*.json"))
    scopes = {(spec["group"], spec["names"]["plural"]): spec["scope"] == "Namespaced" for spec in files}
    for document in ("/api", "/apis"):
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        found = cluster.request("GET", document, accept=accept, subject="discovery")
        for group in found["items"]:
            for item in group["versions"][0]["resources"]:
                scopes[group["metadata"].get("name", ""), item["resource"]] = item["scope"] == "Namespaced"
    asked = {
        (group, resource)
        for inventory in ("eks", "aks", "gke", "generic", "openshift")
        for group, resource, _ in asked_for(settings_of(inventory))
    }
    assert asked <= scopes.keys()
    assert {key for key in asked | said if scopes[key]} == said & (asked | said)


def test_a_bad_token_is_rejected_and_not_shown(embedded_cluster: EmbeddedCluster) -> None:
    with pytest.raises(errors.CredentialsRejected) as caught:
        as_user(embedded_cluster, {"token": "not-a-good-token"})
    assert "not-a-good-token" not in str(caught.value)


def as_user(embedded_cluster: EmbeddedCluster, user: dict[str, Any]) -> Cluster:
    """A client of the same server that logs in otherwise."""
    import yaml

    body = yaml.safe_load(embedded_cluster.paths.kubeconfig.read_text())
    for entry in body["users"]:
        entry["user"] = user
    path = embedded_cluster.paths.kubeconfig.with_name("as-user.kubeconfig")
    path.write_text(yaml.safe_dump(body))
    return Cluster.connect(str(path))
