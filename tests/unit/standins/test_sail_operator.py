"""The Sail operator: versions, images, the two resources and what it leaves alone (operators.md 2)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from embedded_cluster.standins import rules
from embedded_cluster.standins.sail_operator import (
    IstioController,
    RevisionController,
    images_by_version,
    operator_values,
    resolve_version,
)

from tests.unit.standins.fake_api import Bench, FakeApi, conditions, pod

PILOT = "registry.example/pilot@sha256:1"
PROXY = "registry.example/proxy@sha256:2"
ANNOTATIONS = {
    "images.v1_27_8.istiod": PILOT,
    "images.v1_27_8.proxy": PROXY,
    "images.v1_27_8.must-gather": "registry.example/gather@sha256:3",
    "kubectl.kubernetes.io/default-container": "sail-operator",
}
MOUNT = "/etc/sail-operator"


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


class Operator:
    """Both controllers of the operator on one bench."""

    def __init__(self, api: FakeApi, mounted: bool = True) -> None:
        file = rules.load("sail_operator")
        mounts: Any = {MOUNT: "folder"} if mounted else {}
        environment = pod(api, "istio-system", annotations=ANNOTATIONS, mounts=mounts)
        values = operator_values(environment, file.settings)
        self.istio = Bench(api, IstioController(environment, file.rules["istio"], values))
        self.revision = Bench(api, RevisionController(environment, file.rules["revision"], values))

    def run(self) -> None:
        for bench in (self.istio, self.revision, self.istio):
            asyncio.run(bench.run())


def istio(api: FakeApi, version: str = "v1.27-latest", **values: Any) -> None:
    spec = {"namespace": "istio-system", "version": version, "values": values}
    api.put({"apiVersion": "sailoperator.io/v1", "kind": "Istio", "metadata": {"name": "default"}, "spec": spec})


def container(api: FakeApi) -> dict[str, Any]:
    return dict(api.find("Deployment", "istiod")["spec"]["template"]["spec"]["containers"][0])


@pytest.mark.parametrize(
    ("wanted", "version"),
    [("v1.27-latest", "v1.27.10"), ("v1.27.8", "v1.27.8"), ("v1.26-latest", None), ("v1.27.4", None)],
)
def test_an_alias_is_the_newest_patch_known(wanted: str, version: str | None) -> None:
    assert resolve_version(wanted, ["v1.27.8", "v1.27.10", "v1.27.9"]) == version


def test_images_are_read_from_the_pod_annotations() -> None:
    assert images_by_version(ANNOTATIONS)["v1.27.8"]["istiod"] == PILOT
    assert list(images_by_version(ANNOTATIONS)) == ["v1.27.8"]


def test_istiod_runs_the_annotated_image_with_the_given_environment(api: FakeApi) -> None:
    istio(api, pilot={"env": {"PILOT_ENABLE_GATEWAY_API": "true"}}, **{"global": {"imagePullSecrets": ["pull"]}})
    Operator(api).run()
    assert container(api)["image"] == PILOT
    assert {"name": "PILOT_ENABLE_GATEWAY_API", "value": "true"} in container(api)["env"]
    assert api.find("ServiceAccount", "istiod")["imagePullSecrets"] == [{"name": "pull"}]
    shared = json.loads(api.find("ConfigMap", "istio-sidecar-injector")["data"]["values"])["global"]
    assert (shared["proxy"]["image"], shared["imagePullSecrets"]) == (PROXY, ["pull"])


def test_without_the_volume_the_compiled_in_images_are_used(api: FakeApi) -> None:
    istio(api)
    Operator(api, mounted=False).run()
    assert container(api)["image"] == "gcr.io/istio-release/pilot:1.27.8"


def test_the_revision_belongs_to_the_istio_object_and_the_operands_to_the_revision(api: FakeApi) -> None:
    istio(api)
    Operator(api).run()
    revision = api.find("IstioRevision", "default")
    assert revision["metadata"]["ownerReferences"][0]["kind"] == "Istio"
    assert revision["spec"]["version"] == "v1.27.8"
    assert revision["spec"]["values"]["global"]["istioNamespace"] == "istio-system"
    for kind in ("Deployment", "ClusterRole", "MutatingWebhookConfiguration"):
        assert {obj["metadata"]["ownerReferences"][0]["kind"] for obj in api.all(kind)} == {"IstioRevision"}


def test_the_names_are_those_without_a_revision_suffix(api: FakeApi) -> None:
    istio(api)
    Operator(api).run()
    names = {(ref.kind, ref.name) for ref in api.objects}
    assert {
        ("Service", "istiod"),
        ("ConfigMap", "istio"),
        ("ClusterRole", "istiod-clusterrole-istio-system"),
        ("ClusterRole", "istiod-gateway-controller-istio-system"),
        ("ClusterRole", "istio-reader-clusterrole-istio-system"),
        ("MutatingWebhookConfiguration", "istio-sidecar-injector"),
        ("ValidatingWebhookConfiguration", "istio-validator-istio-system"),
        ("ServiceAccount", "istio-reader-service-account"),
        ("HorizontalPodAutoscaler", "istiod"),
        ("PodDisruptionBudget", "istiod"),
    } <= names


def test_the_state_is_healthy_once_istiod_is_ready(api: FakeApi) -> None:
    istio(api)
    operator = Operator(api)
    operator.run()
    expected = ("False", "IstiodNotReady", "not all istiod pods are ready")
    for kind in ("Istio", "IstioRevision"):
        assert conditions(api.find(kind))["Ready"] == expected
        assert api.find(kind)["status"]["state"] == "IstiodNotReady"
    api.ready()
    asyncio.run(operator.revision.run())
    operator.istio.show()
    assert operator.istio.awake
    asyncio.run(operator.istio.run())
    for kind in ("Istio", "IstioRevision"):
        found = conditions(api.find(kind))
        assert found["Reconciled"] == found["Ready"] == found["DependenciesHealthy"] == ("True",)
        assert api.find(kind)["status"]["state"] == "Healthy"
    assert api.find("Istio")["status"]["activeRevisionName"] == "default"
    assert conditions(api.find("IstioRevision"))["InUse"][0] == "True"


def test_an_unknown_version_is_a_reconcile_error(api: FakeApi) -> None:
    istio(api, version="v1.99.0")
    operator = Operator(api)
    asyncio.run(operator.istio.step())
    found = conditions(api.find("Istio"))
    assert found["Reconciled"] == ("False", "ReconcileError", "version 'v1.99.0' not supported")
    assert found["Ready"][0] == "Unknown"
    assert api.find("Istio")["status"]["state"] == "ReconcileError"
    assert not api.all("IstioRevision")


def test_what_istiod_writes_into_its_webhooks_is_not_fought(api: FakeApi) -> None:
    istio(api)
    operator = Operator(api)
    operator.run()
    validator = api.find("ValidatingWebhookConfiguration")
    assert validator["webhooks"][0]["failurePolicy"] == "Ignore"
    validator["webhooks"][0]["failurePolicy"] = "Fail"
    validator["webhooks"][0]["clientConfig"]["caBundle"] = "Q0E="
    api.forget()
    operator.run()
    assert api.writes() == []
    api.drop("ValidatingWebhookConfiguration", "istio-validator-istio-system")
    operator.run()
    assert api.writes() == ["ValidatingWebhookConfiguration istio-validator-istio-system"]


def test_service_accounts_are_left_alone_once_they_exist(api: FakeApi) -> None:
    istio(api)
    operator = Operator(api)
    operator.run()
    api.find("ServiceAccount", "istiod")["imagePullSecrets"] = [{"name": "added"}]
    operator.run()
    assert api.find("ServiceAccount", "istiod")["imagePullSecrets"] == [{"name": "added"}]


def test_deleting_istio_uninstalls_everything(api: FakeApi) -> None:
    istio(api)
    operator = Operator(api)
    operator.run()
    api.find("Istio")["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    asyncio.run(operator.istio.step())
    assert not api.all("Istio")
    revision = api.find("IstioRevision")
    assert revision["metadata"]["finalizers"] == ["sailoperator.io/sail-operator"]
    revision["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    asyncio.run(operator.revision.step())
    assert api.objects == {}


def test_idle_it_sends_nothing(api: FakeApi) -> None:
    istio(api)
    operator = Operator(api)
    operator.run()
    api.forget()
    operator.run()
    assert api.requests == []
