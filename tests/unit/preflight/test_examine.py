"""What a preflight says about models that an earlier release made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from inference_platform import platform
from inference_platform.cluster import crds, secrets, survey
from inference_platform.cluster.client import Cluster
from inference_platform.models.pipeline import render_inventory
from inference_platform.preflight import data, examine
from inference_platform.preflight.snapshot import Snapshot
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


GENERIC: dict[str, Any] = {"platform_release": "3.5", "provider": "generic", "models": []}


def statuses(cluster: Cluster, accepted: tuple[str, ...] = (), **how: Any) -> dict[str, str]:
    """What each check came to."""
    settings = {**GENERIC, "preflight_accept": list(accepted)}
    rendered = render_inventory(settings, platform.resolve(settings).to_dict())
    found = examine.examine(cluster, settings, rendered, helm="/nowhere/helm", **how)
    return {result.check.code: result.status for result in found.outcome.results}


def lay(api: FakeApi, image: str = "", without: str = "") -> None:
    """The Deployments of the platform, as a run of ours leaves them."""
    plan = platform.resolve(GENERIC).to_dict()
    for layer in ("cert_manager", "sail", "lws", "platform_operator"):
        metadata = {"name": layer, "namespace": "team", "labels": {"inference-platform.io/layer": layer}}
        pod = {"containers": [{"name": "main", "image": image or plan["images"]["rhai_operator"]}]}
        if layer != without:
            spec = {"template": {"spec": pod}}
            api.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})


@pytest.mark.parametrize("laid", [False, True])
def test_rights_are_asked_for_whatever_is_there_already(api: FakeApi, cluster: Cluster, laid: bool) -> None:
    if laid:
        lay(api)
    assert statuses(cluster)["IP-PRE-004"] == "ok"
    api.fail("POST", "selfsubjectaccessreviews$", 201, times=1000)  # an answer that does not allow
    assert statuses(cluster)["IP-PRE-004"] == "error"
    assert statuses(cluster, ("IP-PRE-004",))["IP-PRE-004"] == "accepted"


def test_a_run_that_lays_no_layer_needs_no_right_to(api: FakeApi, cluster: Cluster) -> None:
    api.requests.clear()
    found = statuses(cluster, layers=[], asks_all=True)
    assert {found[code] for code in ("IP-PRE-004", "IP-PRE-009", "IP-PRE-030")} == {"not asked"}
    assert [item for item in api.requests if item.method in ("POST", "PATCH")] == []


def test_rights_are_asked_for_the_layers_of_the_run_alone(api: FakeApi, cluster: Cluster) -> None:
    api.fail("POST", "selfsubjectaccessreviews$", 201, times=1000)  # an answer that does not allow
    api.requests.clear()
    statuses(cluster, layers=["pki"])
    reviews = [item.body["spec"]["resourceAttributes"] for item in api.requests if item.path.endswith("accessreviews")]
    asked = {item["resource"] for item in reviews}
    assert "clusterissuers" in asked
    assert "gateways" not in asked


@pytest.mark.parametrize(
    ("there", "how", "status"),
    [
        pytest.param({}, {}, "not asked", id="all of it"),
        pytest.param({}, {"asks_all": True}, "ok", id="all of it, and asked for"),
        pytest.param({"without": "lws"}, {}, "ok", id="a run that was interrupted"),
        pytest.param({"image": "registry.example.org/operator@sha256:0"}, {}, "ok", id="another version"),
    ],
)
def test_admission_is_tried_until_all_is_laid_in_the_versions_of_the_plan(
    api: FakeApi, cluster: Cluster, there: dict[str, str], how: dict[str, Any], status: str
) -> None:
    lay(api, **there)
    assert statuses(cluster, **how)["IP-PRE-030"] == status
    assert any(item.method == "PATCH" for item in api.requests) is (status == "ok")


@pytest.mark.parametrize(
    ("registry", "mirror", "status"),
    [
        pytest.param("registry.redhat.io", "", "ok", id="the registry"),
        pytest.param("quay.io", "", "error", id="another registry"),
        pytest.param("mirror.example.com:5000", "mirror.example.com:5000/platform/", "ok", id="the mirror"),
        pytest.param("registry.redhat.io", "mirror.example.com:5000/platform", "warning", id="not the mirror"),
        pytest.param("", "mirror.example.com:5000/platform", "error", id="none at all"),
    ],
)
def test_a_secret_to_copy_has_credentials_for_where_the_nodes_pull_from(
    api: FakeApi, cluster: Cluster, registry: str, mirror: str, status: str
) -> None:
    """As for a file (IP-INV-013): a mirror may let everyone pull."""
    auths = {registry: {"username": "somebody", "password": "not-to-be-seen"}} if registry else {}
    api.put(secrets.pull_secret("registry", "vault", json.dumps({"auths": auths}).encode()))
    source = {"namespace": "vault", "name": "registry"}
    settings = {**GENERIC, "pull_secret_from": source, "platform_image_registry": mirror}
    rendered = render_inventory(settings, platform.resolve(settings).to_dict())
    found = examine.examine(cluster, settings, rendered, helm="/nowhere/helm").outcome
    assert {result.check.code: result.status for result in found.results}["IP-PRE-023"] == status
    told = " ".join(f"{item.expected} {item.found}" for item in found.findings if item.code == "IP-PRE-023")
    assert (f"credentials for {mirror}, found those for {registry}" in told) is (status == "warning")
    assert "not-to-be-seen" not in told


@pytest.mark.parametrize(
    ("provider", "owner", "reads"),
    [
        pytest.param("openshift", "", False, id="OpenShift's own"),
        pytest.param("openshift", "auto", False, id="OpenShift's own, auto"),
        pytest.param("generic", "external", False, id="external"),
        pytest.param("aws", "delegated", False, id="of the cloud manager"),
        pytest.param("generic", "auto", True, id="auto"),
        pytest.param("generic", "", True, id="managed"),
    ],
)
def test_the_file_of_a_crd_is_read_only_where_this_installer_may_lay_it(
    tmp_path: Path, provider: str, owner: str, reads: bool
) -> None:
    settings: dict[str, Any] = {"platform_release": "3.4", "provider": provider}
    settings |= {"ownership": {"gateway_api": owner}} if owner else {}
    plan, empty = platform.resolve(settings).to_dict(), examine.CrdSource(tmp_path)
    with pytest.raises(crds.CrdFileError, match="crd_directory") if reads else nullcontext():
        examine.decide(settings, plan, data.load()["dependencies"], Snapshot(), empty)


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
