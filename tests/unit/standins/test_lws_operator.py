"""The LeaderWorkerSet operator's order, waits, conditions and traps (observed-operators.md 4)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from embedded_cluster.kube import ApiError
from embedded_cluster.standins import rules
from embedded_cluster.standins.lws_operator import LWS_CRD, SERVICE_MONITOR_CRD, LwsOperator

from tests.unit.standins.fake_api import Bench, FakeApi, conditions, crd_folder, pod

NAMESPACE = "openshift-lws-operator"
SECRETS = ("webhook-server-cert", "metrics-server-cert")
ORDER = [
    "ClusterRole lws-manager-role",
    "ClusterRole lws-metrics-reader",
    "ClusterRole lws-proxy-role",
    "ClusterRoleBinding lws-manager-rolebinding",
    "ClusterRoleBinding lws-metrics-reader-rolebinding",
    "ClusterRoleBinding lws-proxy-rolebinding",
    f"Role {NAMESPACE}/lws-leader-election-role",
    f"Role {NAMESPACE}/lws-prometheus-k8s",
    f"RoleBinding {NAMESPACE}/lws-leader-election-rolebinding",
    f"RoleBinding {NAMESPACE}/lws-prometheus-k8s",
    f"Service {NAMESPACE}/lws-webhook-service",
    f"Issuer {NAMESPACE}/lws-selfsigned-issuer",
    f"Certificate {NAMESPACE}/lws-serving-cert",
    f"Certificate {NAMESPACE}/lws-metrics-cert",
    f"ConfigMap {NAMESPACE}/lws-manager-config",
    f"CustomResourceDefinition {LWS_CRD}",
    f"ServiceAccount {NAMESPACE}/lws-controller-manager",
    f"Service {NAMESPACE}/lws-controller-manager-metrics-service",
    "MutatingWebhookConfiguration lws-mutating-webhook-configuration",
    "ValidatingWebhookConfiguration lws-validating-webhook-configuration",
    f"ServiceMonitor {NAMESPACE}/lws-controller-manager-metrics-monitor",
    f"Deployment {NAMESPACE}/lws-controller-manager",
]


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.crd("issuers.cert-manager.io", SERVICE_MONITOR_CRD)
    return api


@pytest.fixture
def bench(api: FakeApi, tmp_path: Path) -> Bench:
    environment = pod(
        api, NAMESPACE, env={"RELATED_IMAGE_OPERAND_IMAGE": "lws:1"}, crds_dir=crd_folder(tmp_path, {"lws": [LWS_CRD]})
    )
    versions = {"versions": dict.fromkeys(("serving", "metrics", "config"), "")}
    return Bench(api, LwsOperator(environment, rules.load("lws_operator").rules["cluster"], versions))


def custom_resource(api: FakeApi, name: str = "cluster", **spec: Any) -> dict[str, Any]:
    body = {"apiVersion": "operator.openshift.io/v1", "kind": "LeaderWorkerSetOperator", "metadata": {"name": name}}
    return api.put({**body, "spec": {"managementState": "Managed", **spec}})


def issue(api: FakeApi, *names: str) -> None:
    for name in names:
        api.put(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "data": {"a": "1"},
            }
        )


def touch(api: FakeApi, value: str) -> None:
    cr = api.find("LeaderWorkerSetOperator")
    cr["metadata"].setdefault("annotations", {})["touched"] = value


def test_everything_is_written_in_the_observed_order(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.run())
    assert api.writes() == ORDER
    assert bench.pauses == []


def test_a_first_install_waits_two_seconds_for_each_certificate(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    missing = list(SECRETS)
    bench.before_pause = lambda: issue(api, missing.pop(0))
    asyncio.run(bench.run())
    assert bench.pauses == [2, 2]
    assert api.writes() == ORDER


def test_while_it_waits_the_sync_error_names_the_secret(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    asyncio.run(bench.step())
    found = conditions(api.find("LeaderWorkerSetOperator"))
    assert found["TargetConfigControllerDegraded"] == ("True", "SyncError", 'secret "webhook-server-cert" not found')
    assert found["Degraded"] == ("False", "AsExpected")
    assert "Available" not in found


def test_available_is_true_with_no_pod_and_ready_replicas_stays_0(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.run())
    assert conditions(api.find("LeaderWorkerSetOperator"))["Available"] == ("True", "AsExpected")
    api.ready()
    asyncio.run(bench.run())
    assert api.find("LeaderWorkerSetOperator")["status"]["readyReplicas"] == 0


def test_an_existing_crd_without_conversion_webhook_makes_it_panic_before_the_deployment(
    api: FakeApi, bench: Bench
) -> None:
    api.crd(LWS_CRD, group="leaderworkerset.x-k8s.io")
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.step())
    found = conditions(api.find("LeaderWorkerSetOperator"))["TargetConfigControllerDegraded"]
    assert found[1:] == (
        "SyncError",
        "panic caught: runtime error: invalid memory address or nil pointer dereference",
    )
    assert not api.all("Deployment")
    assert not api.all("ServiceAccount")

    api.drop("CustomResourceDefinition", LWS_CRD)
    touch(api, "1")
    asyncio.run(bench.run())
    assert api.find("Deployment", "lws-controller-manager")
    assert conditions(api.find("LeaderWorkerSetOperator"))["TargetConfigControllerDegraded"][0] == "False"


def test_without_cert_manager_nothing_is_created_and_it_looks_again_after_15_seconds(
    api: FakeApi, bench: Bench
) -> None:
    api.drop("CustomResourceDefinition", "issuers.cert-manager.io")
    custom_resource(api)
    asyncio.run(bench.step())
    text = "please make sure that cert-manager is installed on your cluster"
    found = conditions(api.find("LeaderWorkerSetOperator"))
    assert found["Degraded"] == ("True", "MissingDependency", text)
    assert found["TargetConfigControllerDegraded"] == ("True", "SyncError", text)
    assert "Available" not in found
    assert api.writes() == []
    assert bench.pauses == [15]


def test_without_the_servicemonitor_crd_the_deployment_never_appears(api: FakeApi, bench: Bench) -> None:
    api.drop("CustomResourceDefinition", SERVICE_MONITOR_CRD)
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.step())
    found = conditions(api.find("LeaderWorkerSetOperator"))
    expected = ("True", "SyncError", "the server could not find the requested resource")
    assert found["TargetConfigControllerDegraded"] == expected
    assert found["Degraded"] == ("False", "AsExpected")
    assert not api.all("Deployment")


def test_available_stays_true_whatever_fails_later(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.run())
    api.refuse["Service"] = ApiError(403, "Forbidden", "no")
    api.drop("Service", "lws-webhook-service")
    asyncio.run(bench.step())
    found = conditions(api.find("LeaderWorkerSetOperator"))
    assert found["Available"][0] == "True"
    assert found["TargetConfigControllerDegraded"] == ("True", "SyncError", "no")


def test_unmanaged_returns_early_and_keeps_degraded_as_it_was(api: FakeApi, bench: Bench) -> None:
    api.drop("CustomResourceDefinition", "issuers.cert-manager.io")
    custom_resource(api)
    asyncio.run(bench.step())
    custom_resource(api, managementState="Unmanaged")
    asyncio.run(bench.step())
    found = conditions(api.find("LeaderWorkerSetOperator"))
    assert found["Degraded"][0] == "True"
    assert found["TargetConfigControllerDegraded"][0] == "False"
    assert api.writes() == []


def test_unmanaged_does_not_bring_back_a_deleted_deployment(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.run())
    custom_resource(api, managementState="Unmanaged")
    api.drop("Deployment", "lws-controller-manager")
    asyncio.run(bench.run())
    assert not api.all("Deployment")


def test_a_scaled_deployment_and_a_deleted_service_are_restored(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.run())
    api.find("Deployment")["spec"]["replicas"] = 1
    api.drop("Service", "lws-webhook-service")
    asyncio.run(bench.run())
    assert api.find("Deployment")["spec"]["replicas"] == 2
    assert api.find("Service", "lws-webhook-service")


def test_deleting_the_resource_takes_the_crd_with_it(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.run())
    crd = api.find("CustomResourceDefinition", LWS_CRD)
    assert crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["path"] == "/convert"
    api.drop("LeaderWorkerSetOperator", "cluster")
    api.collect_garbage()
    kinds = {ref.kind for ref in api.objects}
    assert kinds == {"CustomResourceDefinition", "Secret"}
    assert not api.all("CustomResourceDefinition", LWS_CRD)


def test_pull_secrets_and_owner_of_a_service_account_that_was_there_stay(api: FakeApi, bench: Bench) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    metadata = {"name": "lws-controller-manager", "namespace": NAMESPACE}
    engine = {"apiVersion": "x/v1", "kind": "Engine", "name": "e", "uid": "engine", "controller": True}
    metadata = {**metadata, "ownerReferences": [engine]}
    api.put({**account, "metadata": metadata, "imagePullSecrets": [{"name": "pull"}]})
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.run())
    found = api.find("ServiceAccount")
    assert found["imagePullSecrets"] == [{"name": "pull"}]
    owners = found["metadata"]["ownerReferences"]
    assert [(owner["kind"], owner.get("controller", False)) for owner in owners] == [
        ("Engine", True),
        ("LeaderWorkerSetOperator", False),
    ]


def test_a_reissued_certificate_rolls_the_deployment(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.run())
    before = api.find("Deployment")["spec"]["template"]["metadata"]["annotations"]
    api.find("Secret", "webhook-server-cert")["data"] = {"a": "2"}
    issue_again = api.find("Secret", "webhook-server-cert")
    api.put(issue_again)
    asyncio.run(bench.run())
    assert api.find("Deployment")["spec"]["template"]["metadata"]["annotations"] != before


def test_a_resource_under_another_name_is_ignored(api: FakeApi, bench: Bench) -> None:
    custom_resource(api, name="other")
    issue(api, *SECRETS)
    asyncio.run(bench.run())
    assert api.writes() == []


def test_idle_it_sends_nothing(api: FakeApi, bench: Bench) -> None:
    custom_resource(api)
    issue(api, *SECRETS)
    asyncio.run(bench.run())
    api.forget()
    asyncio.run(bench.step())
    assert [verb for verb, _ in api.requests if verb != "get"] == []
