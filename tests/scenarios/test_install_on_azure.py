"""The sample inventory of AKS: every dependency is ours, and the engine of the 3.4 line is never Ready."""

from __future__ import annotations

import json

import pytest

from tests.scenarios.conftest import Installation
from tests.scenarios.test_install_on_aws import DEPLOYMENTS, condition, deployments, model
from tests.support.audit import AuditMark

pytestmark = pytest.mark.cluster

RELEASES = frozenset(
    {
        *("cert-manager-operator", "sail-operator", "istio", "lws-operator", "lws", "kserve", "cloud-manager"),
        *("kubernetes-engine", "rhai-operator", "kserve-instance", "inference-gateway"),
    }
)


def test_all_deployments_are_ready_with_the_cloud_manager_of_azure(azure: Installation) -> None:
    wanted = {name.replace("/aws-", "/azure-"): (count, count) for name, count in DEPLOYMENTS.items()}
    assert deployments(azure) == wanted


def test_all_four_dependencies_are_installed_by_this_installer(azure: Installation) -> None:
    report = json.loads((azure.report_folder / "report.json").read_text(encoding="utf-8"))
    ownership = {layer["name"]: layer["ownership"] for layer in report["layers"]}
    dependencies = ("gateway_api", "cert_manager", "sail", "lws")
    assert [ownership[name] for name in dependencies] == ["managed"] * 4
    assert report["problems"] == []


def test_istio_and_leader_worker_set_are_helm_releases_of_ours(azure: Installation) -> None:
    secrets = azure.cluster.objects("secrets", "--selector", "owner=helm,status=deployed")
    assert {item["metadata"]["labels"]["name"] for item in secrets} == RELEASES
    (istio,) = azure.cluster.objects("istios.sailoperator.io")
    assert istio["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_the_run_succeeds_although_the_engine_is_never_ready(azure: Installation) -> None:
    (engine,) = azure.cluster.objects("azurekubernetesengines")
    assert {entry["managementPolicy"] for entry in engine["spec"]["dependencies"].values()} == {"Unmanaged"}
    assert condition(engine, "Ready") == "False"
    assert condition(engine, "ProvisioningSucceeded") == "True"
    assert azure.run.recap["failed"] == 0


def test_the_model_is_ready(azure: Installation) -> None:
    assert condition(model(azure), "Ready") == "True"


def test_the_gateway_has_the_probe_that_load_balancers_of_azure_need(azure: Installation) -> None:
    service = azure.cluster.get("service", "inference-gateway-istio", "redhat-ods-applications")
    annotations = service["metadata"]["annotations"]
    assert annotations["service.beta.kubernetes.io/port_80_health-probe_protocol"] == "tcp"


def test_a_second_run_changes_nothing_and_sends_no_write(azure: Installation) -> None:
    mark = AuditMark.now(azure.cluster.paths.audit_log)
    run = azure.again()
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    assert mark.installer_writes() == []
