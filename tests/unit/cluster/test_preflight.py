"""Looking at a cluster before the first write."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from inference_platform.cluster import preflight
from inference_platform.cluster.client import Cluster
from tests.unit.cluster.fake_api import FakeApi


@pytest.fixture
def helm(tmp_path: Path) -> str:
    """A helm that only knows its version."""
    path = tmp_path / "helm"
    path.write_text("#!/bin/sh\necho v3.19.0\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def codes(found: preflight.Preflight) -> list[str]:
    return [finding.code for finding in found.findings]


def test_a_good_cluster_has_no_findings_and_is_not_written_to(api: FakeApi, cluster: Cluster, helm: str) -> None:
    api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu"}})
    found = preflight.examine(cluster, helm=helm)
    assert (codes(found), found.version, [n["metadata"]["name"] for n in found.nodes]) == ([], "1.34", ["gpu"])
    posts = {request.path for request in api.writes()}
    assert posts == {"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ({"major": "1", "minor": "29+"}, ["cluster-version-old"]),
        ({"major": "1", "minor": "30"}, ["cluster-version-untested"]),
        ({"major": "1", "minor": "32"}, ["cluster-version-untested"]),
        ({"major": "1", "minor": "33+"}, []),
        ({"major": "1", "minor": "40"}, []),
        ({"major": "", "minor": ""}, ["cluster-version-unknown"]),
    ],
)
def test_the_version_window(version: dict[str, str], expected: list[str]) -> None:
    assert [finding.code for finding in preflight.check_version(version, "https://x")] == expected


def test_missing_rights_are_named_together(api: FakeApi, cluster: Cluster, helm: str) -> None:
    for _ in range(2):
        api.fail("POST", "selfsubjectaccessreviews$", 201)
        api.faults[-1].body = {"status": {"allowed": False}}
    writes = (("", "namespaces", "create"), ("apps", "deployments", "create"))
    found = preflight.examine(cluster, writes=writes, helm=helm)
    assert codes(found) == ["cluster-rights"]
    assert found.findings[0].found == "no right to create namespaces, create deployments.apps"


def test_a_missing_or_old_helm_is_found(cluster: Cluster, tmp_path: Path, helm: str) -> None:
    assert codes(preflight.examine(cluster, helm=str(tmp_path / "none"))) == ["helm-missing"]
    Path(helm).write_text("#!/bin/sh\necho v3.16.4\n")
    assert codes(preflight.examine(cluster, helm=helm)) == ["helm-old"]


def test_without_the_right_to_see_nodes_capacity_is_unknown(api: FakeApi, cluster: Cluster, helm: str) -> None:
    api.fail("GET", "/nodes$", 403, "nodes is forbidden")
    found = preflight.examine(cluster, helm=helm)
    assert [(f.code, f.severity) for f in found.findings] == [("cluster-capacity-unknown", "warning")]
    assert not found.sees_nodes


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
def test_models_whose_pods_are_replaced_are_known_before(
    api: FakeApi, cluster: Cluster, change: dict[str, object], replaces: bool
) -> None:
    api.kinds.append((SERVING, "LLMInferenceService", "llminferenceservices", True))
    api.put(service("m", prefill={"replicas": 1}))
    wanted = service("m", **{"prefill": {"replicas": 1}, **change})
    assert preflight.changing_models(cluster, [wanted], [pod_of("m")]) == ({("team", "m")} if replaces else set())


def test_nothing_is_asked_about_models_without_pods(api: FakeApi, cluster: Cluster) -> None:
    new = service("new", model={"uri": "hf://c/d"})
    assert preflight.changing_models(cluster, [new], [pod_of("other"), {"metadata": {"name": "x"}}]) == set()
    assert [request.path for request in api.requests if request.path.startswith("/apis/serving")] == []
