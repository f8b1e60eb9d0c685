"""The cloud manager of lines 3.4 and 3.5: PKI, conditions, takeover, uninstalling (observed-operators.md 2)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from embedded_cluster.kube import ApiError
from embedded_cluster.standins import cloud_manager, rules
from embedded_cluster.standins.cloud_manager import CloudManager, line_of, names_from, rules_for

from inference_platform.platform import resolve
from tests.unit.standins.fake_api import Bench, FakeApi, conditions, crd_folder, pod

CERT_MANAGER = ("certificates.cert-manager.io", "issuers.cert-manager.io", "clusterissuers.cert-manager.io")
NO_CERT_MANAGER = "Certificate: CRD not found; Issuer: CRD not found; ClusterIssuer: CRD not found"
ENGINE_API = "infrastructure.opendatahub.io/v1alpha1"
PROVIDERS = {"3.5": "AWSKubernetesEngine", "3.4": "AzureKubernetesEngine"}
MONITORS = "servicemonitors.monitoring.coreos.com"
ISTIO = {"apiVersion": "sailoperator.io/v1", "kind": "Istio", "metadata": {"name": "default"}}
LWS = {"apiVersion": "operator.openshift.io/v1", "kind": "LeaderWorkerSetOperator", "metadata": {"name": "cluster"}}
ENV = {
    "RHAI_OPERATOR_NAMESPACE": "redhat-ods-operator",
    "RHAI_WEBHOOK_CERT_SECRET_NAME": "rhai-operator-controller-webhook-cert",
    "RHAI_WEBHOOK_SERVICE_NAME": "rhai-operator-webhook-service",
    "RHAI_WEBHOOK_CERT_NAME": "rhai-operator-webhook-cert",
    "RHAI_CA_SECRET_NAME": "rhai-ca",
    "RHAI_CA_SECRET_NAMESPACE": "cert-manager",
    "RHAI_ISSUER_REF_NAME": "rhai-ca-issuer",
}
CRDS = {
    "gateway-api": ["gateways.gateway.networking.k8s.io"],
    "lws-operator": ["leaderworkersetoperators.operator.openshift.io", MONITORS],
    "istio": ["gateways.networking.istio.io"],
    "sail-operator": ["istios.sailoperator.io"],
}


def deployment(name: str) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": 1}}


def account(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


CHARTS = {
    "lws-operator": [account("openshift-lws-operator"), deployment("openshift-lws-operator")],
    "lws": [LWS],
    "sail-operator": [account("servicemesh-operator3"), deployment("servicemesh-operator3")],
    "istio": [ISTIO],
}


class Manager(CloudManager):
    """Takes the charts above instead of rendering ours with Helm."""

    async def rendered(self, chart: str, _: str) -> list[dict[str, Any]]:
        return CHARTS[chart]


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.crd(*CERT_MANAGER)
    return api


@pytest.fixture
def bench_of(api: FakeApi, tmp_path: Path) -> Any:
    def make(line: str) -> Bench:
        file = rules.load("cloud_manager")
        ruleset, values = rules_for(file, line, "aws" if line == "3.5" else "azure")
        environment = pod(api, "rhai-cloudmanager-system", env=ENV, crds_dir=crd_folder(tmp_path, CRDS))
        return Bench(api, Manager(environment, ruleset, {**values, **names_from(ENV, file.settings["names"])}))

    return make


def engine(api: FakeApi, line: str, **policies: str) -> dict[str, Any]:
    """The engine resource, all Unmanaged but the given ones."""
    kind = PROVIDERS[line]
    names = ("certManager", "gatewayAPI", "lws", "sailOperator")
    dependencies = {name: {"managementPolicy": policies.get(name, "Unmanaged")} for name in names}
    name = f"default-{kind.lower()}"
    metadata = next((obj["metadata"] for obj in api.all(kind)), {"name": name})
    return api.put(
        {"apiVersion": ENGINE_API, "kind": kind, "metadata": metadata, "spec": {"dependencies": dependencies}}
    )


def state(api: FakeApi, line: str) -> dict[str, tuple[str, ...]]:
    return conditions(api.find(PROVIDERS[line]))


PKI_3_5 = [
    "ClusterIssuer opendatahub-selfsigned-issuer",
    "ClusterIssuer rhai-ca-issuer",
    "Certificate cert-manager/rhai-ca",
    "Certificate redhat-ods-operator/rhai-operator-webhook-cert",
]


@pytest.mark.parametrize(("line", "order"), [("3.5", PKI_3_5), ("3.4", PKI_3_5[2:] + PKI_3_5[:2])])
def test_the_pki_is_applied_in_the_order_of_the_line(api: FakeApi, bench_of: Any, line: str, order: list[str]) -> None:
    engine(api, line)
    asyncio.run(bench_of(line).run())
    assert [write for write in api.writes() if not write.startswith(PROVIDERS[line])] == order


def test_the_pki_objects_are_exact(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.5")
    asyncio.run(bench_of("3.5").run())
    assert api.find("ClusterIssuer", "opendatahub-selfsigned-issuer")["spec"] == {"selfSigned": {}}
    assert api.find("ClusterIssuer", "rhai-ca-issuer")["spec"] == {"ca": {"secretName": "rhai-ca"}}
    assert api.find("Certificate", "rhai-ca")["spec"] == {
        "isCA": True,
        "commonName": "rhai-ca",
        "secretName": "rhai-ca",
        "duration": "876000h",
        "usages": ["cert sign"],
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "opendatahub-selfsigned-issuer"},
    }
    service = "rhai-operator-webhook-service.redhat-ods-operator.svc"
    assert api.find("Certificate", "rhai-operator-webhook-cert")["spec"] == {
        "secretName": "rhai-operator-controller-webhook-cert",
        "dnsNames": [service, f"{service}.cluster.local"],
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "rhai-ca-issuer"},
    }


@pytest.mark.parametrize(
    ("line", "prefix", "labels"),
    [
        ("3.5", "infrastructure", {"infrastructure.opendatahub.io/part-of": "awskubernetesengine"}),
        (
            "3.4",
            "platform",
            {
                "infrastructure.opendatahub.io/part-of": "azurekubernetesengine",
                "platform.opendatahub.io/part-of": "azurekubernetesengine",
            },
        ),
    ],
)
def test_the_marks_are_those_of_the_line(
    api: FakeApi, bench_of: Any, line: str, prefix: str, labels: dict[str, str]
) -> None:
    uid = engine(api, line)["metadata"]["uid"]
    asyncio.run(bench_of(line).run())
    live = api.find("Certificate", "rhai-ca")
    generation = str(api.find(PROVIDERS[line])["metadata"]["generation"])
    assert live["metadata"]["labels"] == labels
    assert live["metadata"]["annotations"] == {
        f"{prefix}.opendatahub.io/instance.generation": generation,
        f"{prefix}.opendatahub.io/instance.name": f"default-{PROVIDERS[line].lower()}",
        f"{prefix}.opendatahub.io/instance.uid": uid,
        f"{prefix}.opendatahub.io/type": "",
        f"{prefix}.opendatahub.io/version": "0.0.0",
    }
    assert [(owner["uid"], owner["controller"]) for owner in live["metadata"]["ownerReferences"]] == [(uid, True)]
    assert {manager for ref, manager in api.managers.items() if ref.kind == "Certificate"} == {PROVIDERS[line].lower()}


def test_3_5_is_ready_before_any_certificate_is(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.5")
    asyncio.run(bench_of("3.5").run())
    assert state(api, "3.5") == {
        "ProvisioningSucceeded": ("True",),
        "DependenciesAvailable": ("True",),
        "DependenciesReady": ("True",),
        "CertManagerReady": ("True", "Unmanaged"),
        "GatewayAPIReady": ("True", "Unmanaged"),
        "LWSReady": ("True", "Unmanaged"),
        "SailOperatorReady": ("True", "Unmanaged"),
        "Ready": ("True",),
    }
    assert api.find("AWSKubernetesEngine")["status"]["phase"] == "Ready"


def test_3_5_adds_its_finalizer_and_defaults_so_the_generation_becomes_2(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.5")
    asyncio.run(bench_of("3.5").run())
    live = api.find("AWSKubernetesEngine")
    assert live["metadata"]["finalizers"] == ["platform.opendatahub.io/finalizer"]
    assert live["metadata"]["generation"] == 2
    assert live["status"]["observedGeneration"] == 2


def test_3_4_has_no_finalizer_and_keeps_its_generation(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.4")
    asyncio.run(bench_of("3.4").run())
    assert "finalizers" not in api.find("AzureKubernetesEngine")["metadata"]
    assert api.find("AzureKubernetesEngine")["metadata"]["generation"] == 1


def test_3_4_with_all_unmanaged_is_never_ready_although_the_pki_is_there(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.4")
    asyncio.run(bench_of("3.4").run())
    assert state(api, "3.4") == {
        "ProvisioningSucceeded": ("True",),
        "DependenciesAvailable": ("True",),
        "DeploymentsAvailable": ("False", "DeploymentsNotReady", "0/0 deployments ready"),
        "Ready": ("False", "DeploymentsNotReady", "0/0 deployments ready"),
    }
    assert len(api.all("Certificate")) == len(api.all("ClusterIssuer")) == 2


def test_without_cert_manager_provisioning_still_counts_as_succeeded(api: FakeApi, bench_of: Any) -> None:
    for name in CERT_MANAGER:
        api.drop("CustomResourceDefinition", name)
    engine(api, "3.5")
    bench = bench_of("3.5")
    asyncio.run(bench.run())
    found = state(api, "3.5")
    assert found["Ready"] == found["DependenciesAvailable"] == ("False", "PreConditionFailed", NO_CERT_MANAGER)
    assert found["ProvisioningSucceeded"] == found["DependenciesReady"] == ("True",)
    assert found["CertManagerReady"] == ("True", "Unmanaged")
    assert "observedGeneration" not in api.find("AWSKubernetesEngine")["status"]

    api.crd(*CERT_MANAGER[:1])
    asyncio.run(bench.run())
    expected = "Issuer: CRD not found; ClusterIssuer: CRD not found"
    assert state(api, "3.5")["DependenciesAvailable"][2] == expected
    api.crd(*CERT_MANAGER[1:])
    asyncio.run(bench.run())
    assert state(api, "3.5")["Ready"] == ("True",)


def refuse_ca(api: FakeApi) -> None:
    api.refuse["Certificate cert-manager/rhai-ca"] = ApiError(404, "NotFound", 'namespaces "cert-manager" not found')


def test_3_5_goes_on_without_the_namespace_and_hides_the_dependency_conditions(api: FakeApi, bench_of: Any) -> None:
    refuse_ca(api)
    engine(api, "3.5")
    bench = bench_of("3.5")
    asyncio.run(bench.step())
    text = (
        "deploy failed: failure deploying resource cert-manager/rhai-ca: apply failed cert-manager.io/v1, "
        'Kind=Certificate: namespaces "cert-manager" not found'
    )
    unset = "condition DependenciesReady was not set during reconciliation"
    assert state(api, "3.5") == {
        "ProvisioningSucceeded": ("False", "Error", text),
        "DependenciesAvailable": ("True",),
        "DependenciesReady": ("False", "ConditionNotSet", unset),
        "Ready": ("False", "Error", text),
    }
    assert api.all("Certificate", "rhai-operator-webhook-cert")


def test_3_4_stops_at_the_first_error(api: FakeApi, bench_of: Any) -> None:
    refuse_ca(api)
    engine(api, "3.4")
    asyncio.run(bench_of("3.4").step())
    assert api.writes() == ["Certificate cert-manager/rhai-ca"]
    assert state(api, "3.4")["ProvisioningSucceeded"][:2] == ("False", "Error")


def test_a_missing_namespace_is_noticed_only_by_a_retry_with_growing_gaps(api: FakeApi, bench_of: Any) -> None:
    refuse_ca(api)
    engine(api, "3.5")
    bench = bench_of("3.5")
    gaps = [asyncio.run(bench.step()) for _ in range(12)]
    assert gaps[:4] == [0.005, 0.01, 0.02, 0.04]
    assert gaps[-1] == pytest.approx(0.005 * 2**11)
    api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cert-manager"}})
    bench.show()
    assert not bench.awake
    api.refuse.clear()
    assert asyncio.run(bench.step()) is None
    assert state(api, "3.5")["Ready"] == ("True",)


def test_3_5_leaves_operators_of_others_alone_while_their_resource_does_not_exist(api: FakeApi, bench_of: Any) -> None:
    api.put(placed(deployment("servicemesh-operator3"), "istio-system"))
    engine(api, "3.5")
    asyncio.run(bench_of("3.5").run())
    assert "ownerReferences" not in api.find("Deployment")["metadata"]
    assert not api.all("Namespace")


def placed(obj: dict[str, Any], namespace: str) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}


def touch(api: FakeApi, line: str, value: str) -> None:
    api.find(PROVIDERS[line])["metadata"].setdefault("annotations", {})["touched"] = value


def test_3_5_takes_over_by_force_at_the_next_sync_once_somebodys_resource_exists(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.5")
    bench = bench_of("3.5")
    asyncio.run(bench.run())
    api.put(placed(deployment("servicemesh-operator3"), "istio-system"))
    api.put(ISTIO)
    bench.show()
    assert not bench.awake

    touch(api, "3.5", "1")
    asyncio.run(bench.run())
    uid = api.find("AWSKubernetesEngine")["metadata"]["uid"]
    assert api.find("Deployment", "servicemesh-operator3")["metadata"]["ownerReferences"][0]["uid"] == uid
    assert state(api, "3.5")["SailOperatorReady"] == ("True", "Unmanaged")
    assert "ownerReferences" not in api.find("Istio")["metadata"]
    assert "ownerReferences" not in api.find("Namespace", "istio-system")["metadata"]


def test_3_4_does_not_take_over(api: FakeApi, bench_of: Any) -> None:
    api.put(ISTIO)
    api.put(LWS)
    engine(api, "3.4")
    asyncio.run(bench_of("3.4").run())
    assert not api.all("Deployment")


def test_a_takeover_that_cannot_be_applied_is_retried_for_ever(api: FakeApi, bench_of: Any) -> None:
    api.put(ISTIO)
    immutable = "spec.selector: Invalid value: field is immutable"
    api.refuse["Deployment istio-system/servicemesh-operator3"] = ApiError(422, "Invalid", immutable)
    engine(api, "3.5")
    bench = bench_of("3.5")
    asyncio.run(bench.step())
    assert state(api, "3.5")["Ready"][:2] == ("False", "Error")
    assert immutable in state(api, "3.5")["Ready"][2]
    assert asyncio.run(bench.step()) == pytest.approx(0.01)


def test_when_the_resource_of_a_takeover_goes_all_that_was_taken_over_is_deleted(api: FakeApi, bench_of: Any) -> None:
    api.put(LWS)
    engine(api, "3.5")
    bench = bench_of("3.5")
    asyncio.run(bench.run())
    assert api.find("Deployment", "openshift-lws-operator")
    api.drop("LeaderWorkerSetOperator", "cluster")
    asyncio.run(bench.run())
    assert not api.all("Deployment")
    assert not api.all("ServiceAccount")
    assert api.find("Namespace", "openshift-lws-operator")
    assert api.find("CustomResourceDefinition", MONITORS)
    assert len(api.all("Certificate")) == 2


def test_managed_dependencies_are_installed_and_hold_up_ready_until_their_operators_run(
    api: FakeApi, bench_of: Any
) -> None:
    engine(api, "3.5", lws="Managed", sailOperator="Managed")
    bench = bench_of("3.5")
    asyncio.run(bench.run())
    assert state(api, "3.5")["SailOperatorReady"] == ("False", "DeploymentsNotReady", "0/1 deployments ready")
    assert state(api, "3.5")["Ready"] == ("False", "NotReady", "not ready: lws-operator, sail-operator")
    api.ready()
    asyncio.run(bench.run())
    assert state(api, "3.5")["SailOperatorReady"] == state(api, "3.5")["LWSReady"] == ("True",)
    assert state(api, "3.5")["Ready"] == ("True",)
    uid = api.find("AWSKubernetesEngine")["metadata"]["uid"]
    assert api.find("Istio")["metadata"]["ownerReferences"][0]["uid"] == uid
    assert api.managers[next(ref for ref in api.managers if ref.kind == "Istio")] == "awskubernetesengine"


def test_a_degraded_resource_of_a_managed_dependency_degrades_the_engine(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.5", lws="Managed")
    bench = bench_of("3.5")
    asyncio.run(bench.run())
    api.ready()
    api.find("LeaderWorkerSetOperator")["status"] = {
        "conditions": [{"type": "Degraded", "status": "True", "message": "no cert-manager"}]
    }
    asyncio.run(bench.run())
    found = state(api, "3.5")["LWSReady"]
    assert found[:2] == ("False", "DependencyDegraded")
    assert "no cert-manager" in found[2]


def test_a_foreign_servicemonitor_crd_is_left_alone(api: FakeApi, bench_of: Any) -> None:
    api.crd(MONITORS, group="theirs")
    engine(api, "3.5", lws="Managed")
    asyncio.run(bench_of("3.5").run())
    assert api.find("CustomResourceDefinition", MONITORS)["spec"] == {"group": "theirs"}
    assert f"CustomResourceDefinition {MONITORS}" not in api.writes()


def test_gateway_api_crds_stay_with_label_and_without_owner(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.5", gatewayAPI="Managed")
    bench = bench_of("3.5")
    asyncio.run(bench.run())
    assert state(api, "3.5")["GatewayAPIReady"] == ("True",)
    name = CRDS["gateway-api"][0]
    engine(api, "3.5")
    asyncio.run(bench.run())
    live = api.find("CustomResourceDefinition", name)
    assert live["metadata"]["labels"] == {"infrastructure.opendatahub.io/part-of": "awskubernetesengine"}
    assert "ownerReferences" not in live["metadata"]
    assert {api.managers[ref] for ref in api.managers if ref.name == name} == {"platform.opendatahub.io"}
    assert state(api, "3.5")["GatewayAPIReady"] == ("True", "Unmanaged")


def test_3_4_managed_then_unmanaged_uninstalls_operator_and_resource_in_order(api: FakeApi, bench_of: Any) -> None:
    api.put(placed(account("openshift-lws-operator"), "openshift-lws-operator"))
    engine(api, "3.4", lws="Managed")
    bench = bench_of("3.4")
    asyncio.run(bench.run())
    api.ready()
    asyncio.run(bench.run())
    assert state(api, "3.4")["Ready"] == ("True",)
    api.forget()
    engine(api, "3.4")
    asyncio.run(bench.run())
    deleted = [str(ref) for verb, ref in api.requests if verb == "delete"]
    assert deleted == [
        "Deployment openshift-lws-operator/openshift-lws-operator",
        "LeaderWorkerSetOperator cluster",
        "ServiceAccount openshift-lws-operator/openshift-lws-operator",
    ]
    assert state(api, "3.4")["Ready"][2] == "0/0 deployments ready"
    assert api.find("Namespace", "openshift-lws-operator")


def test_3_5_managed_then_unmanaged_deletes_the_resource_while_its_operator_runs(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.5", sailOperator="Managed")
    bench = bench_of("3.5")
    asyncio.run(bench.run())
    api.forget()
    engine(api, "3.5")
    asyncio.run(bench.run())
    deleted = [ref.kind for verb, ref in api.requests if verb == "delete"]
    assert deleted == ["Istio", "Deployment", "ServiceAccount"]


def delete_engine(api: FakeApi) -> None:
    api.find("AWSKubernetesEngine")["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"


def test_deleting_the_engine_skips_what_it_does_not_own(api: FakeApi, bench_of: Any) -> None:
    api.put(ISTIO)
    engine(api, "3.5")
    bench = bench_of("3.5")
    asyncio.run(bench.run())
    delete_engine(api)
    asyncio.run(bench.run())
    api.collect_garbage()
    assert not api.all("AWSKubernetesEngine")
    assert not api.all("Certificate")
    assert not api.all("ClusterIssuer")
    assert not api.all("Deployment")
    assert api.find("Istio")


def test_deleting_the_engine_deletes_its_istio_first(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.5", sailOperator="Managed")
    bench = bench_of("3.5")
    asyncio.run(bench.run())
    delete_engine(api)
    assert asyncio.run(bench.step()) == 0.5
    assert not api.all("Istio")
    assert api.find("Deployment", "servicemesh-operator3")
    asyncio.run(bench.step())
    assert not api.all("AWSKubernetesEngine")


def test_istio_webhooks_are_marked_to_be_ignored(api: FakeApi, bench_of: Any) -> None:
    engine(api, "3.5", sailOperator="Managed")
    bench = bench_of("3.5")
    asyncio.run(bench.run())
    webhook = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    api.put({**webhook, "metadata": {"name": "istio-sidecar-injector", "labels": {"release": "default-istiod"}}})
    asyncio.run(bench.run())
    assert api.find("MutatingWebhookConfiguration")["metadata"]["annotations"] == {"sailoperator.io/ignore": "true"}


@pytest.mark.parametrize("line", ["3.4", "3.5"])
def test_a_deleted_issuer_and_a_changed_certificate_come_back(api: FakeApi, bench_of: Any, line: str) -> None:
    engine(api, line)
    bench = bench_of(line)
    asyncio.run(bench.run())
    api.drop("ClusterIssuer", "rhai-ca-issuer")
    api.find("Certificate", "rhai-ca")["spec"]["duration"] = "1h"
    asyncio.run(bench.run())
    assert api.find("ClusterIssuer", "rhai-ca-issuer")
    assert api.find("Certificate", "rhai-ca")["spec"]["duration"] == "876000h"


@pytest.mark.parametrize("line", ["3.4", "3.5"])
def test_idle_it_sends_nothing(api: FakeApi, bench_of: Any, line: str) -> None:
    engine(api, line, lws="Managed", sailOperator="Managed")
    bench = bench_of(line)
    asyncio.run(bench.run())
    api.forget()
    asyncio.run(bench.step())
    assert api.requests == []


IMAGE_3_4 = "registry/odh@sha256:efc7f3956a6464fb8d36e9982aae3e05fe93770f9f9ac0bf138530537516d724"
IMAGE_3_5 = "registry/odh@sha256:5def622101180ac7164d8c6310cf30f623a1093523b48dff1fc2febaf681e90f"
CHARTS_PATH = {"DEFAULT_CHARTS_PATH": "/opt/charts"}


def test_each_line_brings_the_istio_of_its_image() -> None:
    """Those of the catalogue for the release of that line; the defaults of the chart are those of 3.4."""
    plan = resolve({"platform_release": "3.5", "provider": "azure"})
    values = rules.load("cloud_manager").rules["3.5"].settings["chart_values"]["sail-operator"]
    (istio,) = values["istioImages"]
    assert values["images"]["sail_operator"] == plan.images["sail_operator"]
    assert istio["version"] == plan.versions["istio"]
    names = {"istiod": "istiod", "must-gather": "istio_must_gather"}
    components = ("istiod", "proxy", "cni", "ztunnel", "must-gather")
    assert istio["images"] == {name: plan.images[names.get(name, f"istio_{name}")] for name in components}
    assert rules.load("cloud_manager").rules["3.4"].settings["chart_values"] == {}


@pytest.mark.parametrize(
    ("image", "env", "line"),
    [
        (IMAGE_3_4, CHARTS_PATH, "3.4"),
        (IMAGE_3_5, {}, "3.5"),
        ("other@sha256:1", CHARTS_PATH, "3.5"),
        ("other@sha256:1", {}, "3.4"),
    ],
)
def test_the_image_decides_the_line_and_else_the_charts_path(image: str, env: dict[str, str], line: str) -> None:
    assert line_of(image, env, rules.load("cloud_manager").settings["images"]) == line


@pytest.mark.parametrize(
    ("image", "provider", "env", "text"),
    [
        (IMAGE_3_4, "aws", {**ENV, **CHARTS_PATH}, 'unknown command "aws" for "cloudmanager"'),
        (IMAGE_3_5, "aws", ENV, "DEFAULT_CHARTS_PATH must be set"),
        (IMAGE_3_5, "gcp", {**ENV, **CHARTS_PATH}, 'unknown command "gcp"'),
        (IMAGE_3_5, "aws", CHARTS_PATH, "RHAI_OPERATOR_NAMESPACE must be set"),
    ],
)
def test_it_refuses_to_start_as_the_real_program_does(
    api: FakeApi, image: str, provider: str, env: dict[str, str], text: str
) -> None:
    environment = pod(api, "cm", image=image, command=["/cloudmanager"], args=[provider, "--leader-elect"], env=env)
    with pytest.raises(SystemExit, match=text):
        asyncio.run(cloud_manager.main(environment))
    assert environment.is_ready == []
