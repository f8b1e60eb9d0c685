"""Reading a cluster before the first write: lists, rights, dry runs, what is behind webhooks, stored versions."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster import survey
from inference_platform.cluster.client import Cluster
from inference_platform.preflight.snapshot import Refusal, Snapshot
from tests.unit.cluster.fake_api import FakeApi

ADMISSION = "admissionregistration.k8s.io/v1"
NAMESPACE = ("", "namespaces", "create")
DEPLOYMENT = ("apps", "deployments", "create")


@pytest.fixture
def helm(tmp_path: Path) -> str:
    """A helm that only knows its version."""
    path = tmp_path / "helm"
    path.write_text("#!/bin/sh\necho v3.19.0\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_what_is_served_is_listed_and_nothing_is_written(api: FakeApi, cluster: Cluster, helm: str) -> None:
    api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu"}})
    seen = survey.look(cluster, helm=helm)
    assert [node["metadata"]["name"] for node in seen.of("nodes")] == ["gpu"]
    assert (seen.of("subscriptions"), seen.unseen, seen.helm) == ([], {}, None)
    assert api.writes() == []


def test_the_status_of_cluster_autoscaler_is_looked_for_in_its_namespace_alone(
    api: FakeApi, cluster: Cluster, helm: str
) -> None:
    for namespace, name in (("kube-system", "other"), ("team", "cluster-autoscaler-status")):
        api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}})
    assert survey.look(cluster, helm=helm).of("autoscaler_status") == []
    metadata = {"name": "cluster-autoscaler-status", "namespace": "kube-system"}
    api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    (found,) = survey.look(cluster, helm=helm).of("autoscaler_status")
    assert found["metadata"]["namespace"] == "kube-system"


def test_what_may_not_be_listed_is_noted_with_the_servers_words(api: FakeApi, cluster: Cluster, helm: str) -> None:
    api.fail("GET", "/nodes$", 403, "nodes is forbidden")
    seen = survey.look(cluster, helm=helm)
    assert seen.unseen == {"nodes": "nodes is forbidden"}
    assert "pods" in seen.parts


def test_a_missing_or_old_helm_is_noted(cluster: Cluster, tmp_path: Path, helm: str) -> None:
    missing = survey.look(cluster, helm=str(tmp_path / "none")).helm
    assert missing is not None
    assert missing[0] == "none"
    Path(helm).write_text("#!/bin/sh\necho v3.16.4\n")
    assert survey.look(cluster, helm=helm).helm == (f"{helm}: 3.16", "Install a newer Helm, then re-run.")


def answer_reviews(api: FakeApi, *answers: bool) -> None:
    """What the next questions for rights are answered; later ones with yes."""
    for allowed in answers:
        api.fail("POST", "selfsubjectaccessreviews$", 201)
        api.faults[-1].body = {"status": {"allowed": allowed}}


def test_a_cluster_admin_is_asked_once(api: FakeApi, cluster: Cluster) -> None:
    seen = Snapshot()
    survey.ask_for_rights(cluster, seen, [NAMESPACE, DEPLOYMENT])
    assert (seen.denied, len(api.requests)) == ({}, 1)


def test_missing_rights_are_noted_together(api: FakeApi, cluster: Cluster) -> None:
    answer_reviews(api, False, False, False)
    seen = Snapshot()
    survey.ask_for_rights(cluster, seen, [NAMESPACE, DEPLOYMENT])
    assert seen.denied == {NAMESPACE: (), DEPLOYMENT: ()}


def test_the_right_to_the_lease_is_asked_for_in_its_namespace_and_noted_apart(api: FakeApi, cluster: Cluster) -> None:
    answer_reviews(api, False, True, False, False, False, False)
    seen = Snapshot()
    survey.ask_for_rights(cluster, seen, [NAMESPACE])
    asked = [request.body["spec"]["resourceAttributes"] for request in api.requests][2:]
    assert {(item["group"], item["resource"], item["namespace"]) for item in asked} == {
        ("coordination.k8s.io", "leases", "kube-system")
    }
    assert seen.denied == {}
    assert seen.denied_lease == ["get", "create", "update", "delete"]


@pytest.mark.parametrize(
    ("status", "words", "refused"),
    [
        (403, 'admission webhook "policy" denied the request: image not allowed', True),
        (422, "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no", True),
        (500, 'Internal error: failed calling webhook "gone.example.org"', True),
        (403, 'namespaces is forbidden: User "me" cannot patch resource', False),
        (400, "admission webhook does not support dry run", False),
    ],
)
def test_refused_dry_runs_are_noted(api: FakeApi, cluster: Cluster, status: int, words: str, refused: bool) -> None:
    api.fail("PATCH", "/namespaces/", status, words, times=2)
    seen, namespace = Snapshot(), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    survey.try_admission(cluster, seen, [namespace])
    assert [refusal.words for refusal in seen.refusals] == ([words] if refused else [])
    assert api.writes() == []


def test_samples_of_the_platform_are_dry_runs_only(api: FakeApi, cluster: Cluster) -> None:
    api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    api.kinds.append(("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", False))
    seen = Snapshot()
    objects = survey.samples("registry/image@sha256:1", "secret", "apps", ["default"])
    survey.try_admission(cluster, seen, objects)
    assert (seen.refusals, api.writes()) == ([], [])
    assert len(api.requests) >= 4


def test_samples_are_tried_where_the_platform_writes() -> None:
    objects = survey.samples("i", None, "apps", ["istio", "apps"], [("kube-system", "reader")])
    places = [(item["kind"], item["metadata"].get("namespace", "")) for item in objects]
    assert places == [
        ("Namespace", ""),
        ("ClusterRole", ""),
        ("RoleBinding", "kube-system"),
        ("Deployment", "istio"),
        ("Pod", "istio"),
        ("Deployment", "apps"),
        ("Pod", "apps"),
    ]


@pytest.mark.parametrize(("space", "absent"), [("default", ("apps",)), ("kube-system", ())])
def test_only_what_is_refused_in_default_stands_for_something_else(
    api: FakeApi, cluster: Cluster, space: str, absent: tuple[str, ...]
) -> None:
    api.kinds.append(("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", True))
    api.fail("PATCH", "/rolebindings/", 403, "admission webhook denied the request", times=2)
    seen = Snapshot()
    binding = survey.samples("i", None, "apps", [], [(space, "reader")])[-1]
    survey.try_admission(cluster, seen, [binding], instead_of=["apps"])
    words = "admission webhook denied the request"
    assert seen.refusals == [Refusal(f"RoleBinding of the platform in namespace {space}", words, absent)]


def webhook(name: str, namespace: str, policy: str = "Fail") -> dict[str, Any]:
    service = {"name": name, "namespace": namespace}
    return {"name": f"{name}.example.org", "failurePolicy": policy, "clientConfig": {"service": service}}


def test_what_is_behind_webhooks_is_looked_at_once_per_service(api: FakeApi, cluster: Cluster) -> None:
    api.kinds += [
        ("v1", "Service", "services", True),
        ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", True),
    ]
    for name, ready in (("good", True), ("empty", False)):
        api.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "x"}})
        labels = {"kubernetes.io/service-name": name}
        api.put(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "namespace": "x", "labels": labels},
                "endpoints": [{"conditions": {"ready": ready}}],
            }
        )
    hooks = [webhook("good", "x"), webhook("empty", "x"), webhook("gone", "x"), webhook("gone", "x")]
    hooks += [webhook("ignored", "x", "Ignore"), webhook("own", "ours")]
    configuration = {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "w"}, "webhooks": hooks}
    seen = Snapshot(parts={"validating_webhooks": [configuration]})
    survey.look_behind_webhooks(cluster, seen, without=["ours"])
    assert seen.backends == {
        ("x", "good"): "",
        ("x", "empty"): "no ready pod behind the Service",
        ("x", "gone"): "no such Service",
    }


def crd(name: str, versions: list[str], stored: list[str], stamp: str = "") -> dict[str, Any]:
    group = name.partition(".")[2]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "annotations": {"inference-platform.io/sha256": stamp}},
        "spec": {
            "group": group,
            "names": {"plural": name.partition(".")[0]},
            "versions": [{"name": v} for v in versions],
        },
        "status": {"storedVersions": stored},
    }


def test_stored_versions_that_the_plan_drops_are_noted(api: FakeApi, cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    text = {name: json.dumps(crd(name, ["v2"], [])) for name in ("a.x.io", "same.x.io", "new.x.io")}
    for name, content in text.items():
        (folder / f"{name}.json").write_text(content)
    api.put(crd("a.x.io", ["v1", "v2"], ["v1", "v2"]))
    api.put(crd("same.x.io", ["v2"], ["v1"], hashlib.sha256(text["same.x.io"].encode()).hexdigest()))
    seen = Snapshot(parts={"crds": list(api.objects.values())})
    sets = {"set": {"files": [{"name": name} for name in text]}}
    survey.look_at_crds(cluster, seen, sets, directory=tmp_path)
    assert seen.dropped == {"a.x.io": ["v1"]}
    assert seen.still_stored["a.x.io"] == ["v2"]
    read = [request.path for request in api.requests if "customresourcedefinitions/" in request.path]
    assert read == ["/apis/apiextensions.k8s.io/v1/customresourcedefinitions/a.x.io"], "unchanged CRDs are not read"


@pytest.mark.parametrize(("contested", "managers"), [(["set"], ["kubectl"]), ([], [])])
def test_fields_of_others_are_noted_where_they_are_not_to_be_taken(
    api: FakeApi, cluster: Cluster, tmp_path: Path, contested: list[str], managers: list[str]
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.x.io.json").write_text(json.dumps(crd("a.x.io", ["v1"], [])))
    api.put(crd("a.x.io", ["v1"], ["v1"], "another file"))
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".spec.versions"}
    api.fail("PATCH", "/customresourcedefinitions/a.x.io", 409, "conflict", details={"causes": [cause]})
    seen = Snapshot(parts={"crds": list(api.objects.values())})
    sets = {"set": {"files": [{"name": "a.x.io"}]}}
    survey.look_at_crds(cluster, seen, sets, contested=contested, directory=tmp_path)
    assert seen.conflicts == ({"a.x.io": managers} if managers else {})
    assert api.writes() == []


SERVING = "serving.kserve.io/v1alpha2"


def service(name: str, **spec: object) -> dict[str, object]:
    return {
        "apiVersion": SERVING,
        "kind": "LLMInferenceService",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"model": {"uri": "hf://a/b"}, "replicas": 1, "template": {"containers": []}, **spec},
    }


def pod_of(model: str) -> dict[str, object]:
    labels = {"app.kubernetes.io/part-of": "llminferenceservice", "app.kubernetes.io/name": model}
    return {"metadata": {"name": model, "namespace": "team", "labels": labels}}


@pytest.mark.parametrize(
    ("change", "replaces"),
    [
        ({}, False),
        ({"replicas": 5}, False),
        ({"router": {"route": {}}}, False),
        ({"model": {"uri": "hf://c/d"}}, True),
        ({"template": {"containers": [{"name": "main", "args": ["--enforce-eager"]}]}}, True),
        ({"prefill": {"replicas": 3}}, False),
        ({"prefill": {"template": {"containers": []}}}, True),
        ({"parallelism": {"tensor": 2}}, True),
    ],
)
def test_models_whose_pods_are_replaced_are_known_before(change: dict[str, object], replaces: bool) -> None:
    live = service("m", prefill={"replicas": 1})
    wanted = service("m", **{"prefill": {"replicas": 1}, **change})
    assert survey.changing_models([wanted], [live], [pod_of("m")]) == ({("team", "m")} if replaces else set())


def test_models_without_pods_replace_none() -> None:
    new, live = service("m", model={"uri": "hf://c/d"}), service("m")
    assert survey.changing_models([new], [live], [pod_of("other"), {"metadata": {"name": "x"}}]) == set()
