"""What a preflight says about models that an earlier release made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_platform import platform
from inference_platform.cluster import survey
from inference_platform.cluster.client import Cluster
from inference_platform.models.pipeline import render_inventory
from inference_platform.preflight import examine
from tests.unit.cluster.fake_api import FakeApi

SERVING = "serving.kserve.io/v1alpha2"
CONFIG = {
    "apiVersion": "llm-d.ai/v1alpha1",
    "kind": "EndpointPickerConfig",
    "plugins": [{"type": "single-profile-handler"}, {"type": "queue-scorer"}, {"type": "max-score-picker"}],
    "schedulingProfiles": [
        {"name": "default", "plugins": [{"pluginRef": "queue-scorer"}, {"pluginRef": "max-score-picker"}]}
    ],
}
MODEL = {"name": "m", "namespace": "team", "uri": "hf://a/b", "gpu": {"count": 1}, "scheduler": {"config": CONFIG}}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """A server with one model that release 3.4 made."""
    api = FakeApi()
    api.kinds.append((SERVING, "LLMInferenceService", "llminferenceservices", True))
    api.kinds.append(("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", False))
    api.kinds.append(("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", True))
    notes = {"serving.kserve.io/config-llm-scheduler": "v3-4-4-kserve-config-llm-scheduler"}
    metadata = {"name": "m", "namespace": "team"}
    for name in ("team", "redhat-ods-applications"):
        api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    api.put(
        {
            "apiVersion": SERVING,
            "kind": "LLMInferenceService",
            "metadata": metadata,
            "spec": {},
            "status": {"annotations": notes},
        }
    )
    yield api
    api.close()


@pytest.fixture
def cluster(api: FakeApi, tmp_path: Path) -> Cluster:
    return Cluster.connect(api.kubeconfig(tmp_path))


@pytest.mark.parametrize("installs", [False, True])
def test_charts_of_others_are_asked_for_only_by_a_run_that_installs(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installs: bool
) -> None:
    helm = tmp_path / "helm"
    helm.write_text("#!/bin/sh\necho v3.18.0\n")
    helm.chmod(0o755)
    asked: list[str] = []
    monkeypatch.setattr(survey, "look_at_charts", lambda _, charts, **__: asked.extend(c["name"] for c in charts))
    monkeypatch.setattr(survey, "try_admission", lambda *_, **__: None)
    settings = {
        "platform_release": "3.4",
        "provider": "generic",
        "distribution": "community",
        "chart_sha256": {"lws": "a" * 64},
    }
    rendered = render_inventory(settings, platform.resolve(settings).to_dict())
    found = examine.examine(cluster, settings, rendered, helm=str(helm), installs=installs)
    assert asked == (["lws"] if installs else [])
    assert ("IP-PRE-044" in {item.code for item in found.outcome.findings}) is installs


@pytest.mark.parametrize("moves", [False, True])
def test_a_model_with_a_configuration_for_the_new_release_is_told_to_move(cluster: Cluster, moves: bool) -> None:
    settings: dict[str, Any] = {
        "platform_release": "3.5",
        "provider": "generic",
        "models": [MODEL],
        "models_move": ["m"] if moves else [],
    }
    rendered = render_inventory(settings, platform.resolve(settings).to_dict())
    assert rendered.findings == []
    found = examine.examine(cluster, settings, rendered, installs=False)
    told = [item for item in found.outcome.findings if item.code == "IP-SCH-020"]
    assert found.kept == ({} if moves else {"team/m": "3.4"})
    assert [item.remedy for item in told] == (
        []
        if moves
        else [
            "Set apiVersion to inference.networking.x-k8s.io/v1alpha1. An earlier release made this model and it "
            "stays with that: name it in models_move to take it to 3.5."
        ]
    )


@pytest.mark.parametrize("begun", [False, True])
def test_rights_are_asked_for_until_something_of_ours_is_there_not_only_a_namespace(
    api: FakeApi, cluster: Cluster, begun: bool
) -> None:
    settings: dict[str, Any] = {"platform_release": "3.5", "provider": "generic", "models": []}
    if begun:
        marks = {"inference-platform.io/layer": "kserve"}
        metadata = {"name": "rhai-operator", "namespace": "redhat-ods-operator", "labels": marks}
        api.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {}})
    api.fail("POST", "selfsubjectaccessreviews$", 201)
    api.faults[-1].body = {"status": {"allowed": False}}
    api.requests.clear()
    examine.examine(cluster, settings, render_inventory(settings, platform.resolve(settings).to_dict()))
    asked = [request for request in api.requests if request.path.endswith("selfsubjectaccessreviews")]
    assert bool(asked) is not begun


@pytest.mark.parametrize("installs", [False, True])
@pytest.mark.parametrize(
    ("product", "karpenter", "said", "severity", "words"),
    [
        ("NVIDIA-L4", True, False, "warning", "Expect Karpenter to start 1 x g6."),
        ("NVIDIA-L4", False, True, "warning", "Expect the autoscaler to start 1 x g6."),
        ("NVIDIA-L4", False, False, "error", "set node_autoscaling: true."),
        ("Tesla-T4", True, False, "error", "no machine with Tesla-T4 is known for aws"),
    ],
)
def test_a_model_on_an_empty_pool_waits_for_karpenters_nodes(
    api: FakeApi,
    cluster: Cluster,
    product: str,
    karpenter: bool,
    said: bool,
    severity: str,
    words: str,
    installs: bool,
) -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"cpu": "8", "memory": "32Gi"}}
    api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cpu"}, "status": ready})
    pool: dict[str, Any] = {"name": "burst", "capacity": "spot", "nodes_by": "karpenter"}
    if karpenter:
        name = {"name": "nodepools.karpenter.sh"}
        api.put({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": name})
        pool["karpenter"] = {"template": {}}
    settings: dict[str, Any] = {
        "platform_release": "3.5",
        "provider": "aws",
        "node_autoscaling": said,
        "node_pools": [pool],
        "models": [{"name": "n", "namespace": "team", "uri": "hf://a/b", "profiles": ["burst"]}],
    }
    settings["models"][0]["gpu"] = {"product": product, "count": 1}
    rendered = render_inventory(settings, platform.resolve(settings).to_dict())
    assert rendered.findings == []
    found = examine.examine(cluster, settings, rendered, installs=installs)
    (finding,) = (item for item in found.outcome.findings if item.code == "IP-CAP-001")
    assert (finding.severity, words in finding.remedy) == (severity, True), finding.remedy


@pytest.mark.parametrize("by_us", [False, True])
def test_what_a_chart_of_the_community_made_is_ours_by_helms_record(
    api: FakeApi, cluster: Cluster, by_us: bool
) -> None:
    settings: dict[str, Any] = {
        "platform_release": "3.4",
        "provider": "generic",
        "distribution": "community",
        "models": [],
    }
    release = {"meta.helm.sh/release-name": "kserve-llmisvc-resources", "meta.helm.sh/release-namespace": "kserve"}
    controller = {"name": "llmisvc-controller-manager", "namespace": "kserve", "annotations": release}
    marks = {"owner": "helm", "name": "kserve-llmisvc-resources"}
    if by_us:
        marks["inference-platform.io/layer"] = "kserve"
    record = {"name": "sh.helm.release.v1.kserve-llmisvc-resources.v1", "namespace": "kserve", "labels": marks}
    api.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": controller, "spec": {}})
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": record})
    rendered = render_inventory(settings, platform.resolve(settings).to_dict())
    found = examine.examine(cluster, settings, rendered, helm="/nowhere/helm")
    codes = {item.code for item in found.outcome.findings}
    assert ("IP-PRE-092" in codes) is not by_us
