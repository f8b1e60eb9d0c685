"""The sample inventory of AKS: every dependency is ours, the engine of 3.4 is never Ready; then the upgrade to 3.5."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from inference_platform.platform import resolve
from tests.scenarios.conftest import Installation
from tests.scenarios.test_install_on_aws import DEPLOYMENTS, condition, deployments, model
from tests.support.audit import AuditMark
from tests.support.clusters import Object, wait_for
from tests.support.playbook import Run
from tests.support.values_files import upgrade_by_hand

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


def test_helm_upgrade_with_the_written_values_changes_nothing(azure: Installation) -> None:
    """Nor does the run after it."""
    done = upgrade_by_hand(azure.cluster, azure.report_folder / "values")
    assert (done.failures, done.changes) == ([], [])
    assert done.charts.keys() == RELEASES


def test_a_second_run_changes_nothing_and_sends_no_write(azure: Installation) -> None:
    mark = AuditMark.now(azure.cluster.paths.audit_log)
    run = azure.again()
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    assert mark.installer_writes() == []


# ---- from 3.4 to 3.5: these tests follow each other, and those above are over -----------------------------

NEW: dict[str, object] = {"platform_release": "3.5"}
#: The cloud manager of 3.5 insists on Istio and LeaderWorkerSet; it gets them only when told.
ADOPT: dict[str, object] = {**NEW, "ownership_adopt": ["sail", "lws"]}
ONE_REPLICA = [
    {
        "name": "qwen-basic",
        "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
        "replicas": 1,
        "gpu": {"product": "Tesla-T4", "count": 1},
    }
]


def test_the_new_release_takes_nothing_over_without_being_told(azure: Installation) -> None:
    mark = AuditMark.now(azure.cluster.paths.audit_log)
    run = azure.again(variables=NEW)
    assert (run.exit_code, run.recap["changed"]) == (2, 0), run.output
    assert "set ownership_adopt: [sail]" in run.text
    assert mark.installer_writes() == []


@dataclass(frozen=True)
class Upgrade:
    """The upgrade; the identities of what must survive it and the generation of the model, before it."""

    run: Run
    before: dict[str, str]
    generation: int


@pytest.fixture(scope="module")
def upgrade(azure: Installation) -> Upgrade:
    """site.yml with nothing but another release, and the leave that it asks for."""
    before, generation = surviving(azure), model(azure)["metadata"]["generation"]
    return Upgrade(azure.again(variables=ADOPT), before, generation)


def surviving(installation: Installation) -> dict[str, str]:
    """The identity of everything that an upgrade must not make anew."""
    kinds = (
        "namespaces,llminferenceservices,kserves,azurekubernetesengines,istios.sailoperator.io,gateways,clusterissuers"
    )
    found = {f"{item['kind']} {item['metadata']['name']}": item for item in installation.cluster.objects(kinds)}
    pods = installation.cluster.objects(
        "pods", "--selector", "app.kubernetes.io/component=llminferenceservice-workload"
    )
    found |= {f"Pod {item['metadata']['name']}": item for item in pods}
    return {name: item["metadata"]["uid"] for name, item in found.items()}


def test_a_change_of_the_release_upgrades_the_platform(azure: Installation, upgrade: Upgrade) -> None:
    assert upgrade.run.exit_code == 0, upgrade.run.output
    cluster = azure.cluster
    operator = cluster.get("deployment", "rhai-operator", "redhat-ods-operator")
    assert operator["metadata"]["labels"]["app.kubernetes.io/version"] == "3.5.0"
    cluster.get("deployment", "kserve-module-controller-manager", "redhat-ods-applications")
    (kserve,) = cluster.objects("kserves.components.platform.opendatahub.io")
    releases = {item["name"]: item.get("version") for item in kserve["status"]["releases"]}
    assert (condition(kserve, "Ready"), releases["platform"]) == ("True", "3.5.0")


def test_istio_becomes_that_of_the_new_cloud_manager(azure: Installation, upgrade: Upgrade) -> None:
    assert upgrade.run.exit_code == 0, upgrade.run.output
    plan = resolve({"platform_release": "3.5", "provider": "azure"})
    operator = azure.cluster.get("deployment", "servicemesh-operator3", "istio-system")
    assert image_of(operator) == plan.images["sail_operator"]
    for name, namespace, image in (
        ("istiod", "istio-system", "istiod"),
        ("inference-gateway-istio", "redhat-ods-applications", "istio_proxy"),
    ):
        runs(azure, name, namespace, plan.images[image])


def runs(installation: Installation, name: str, namespace: str, image: str) -> None:
    """Waits until a Deployment has the image."""
    found = lambda: image_of(installation.cluster.get("deployment", name, namespace)) == image  # noqa: E731
    wait_for(f"{name} of {image}", found, 240)


def image_of(deployment: dict[str, Any]) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def test_an_upgrade_makes_nothing_anew_and_leaves_serving_pods_alone(azure: Installation, upgrade: Upgrade) -> None:
    assert upgrade.run.exit_code == 0, upgrade.run.output
    assert sum(name.startswith("Pod ") for name in upgrade.before) == 2
    after = surviving(azure)
    assert {name: after.get(name) for name in upgrade.before} == upgrade.before


def test_a_model_stays_as_the_old_release_made_it_and_serves(azure: Installation, upgrade: Upgrade) -> None:
    assert "stays as release 3.4 made it, until models_move names it: models/qwen-basic" in upgrade.run.text
    # The gateway may roll for a while after the run.
    wait_for("the model to be ready", lambda: condition(model(azure), "Ready") == "True", 240)
    service = model(azure)
    assert service["metadata"]["generation"] == upgrade.generation, "its spec is as before"
    assert presets(service) == {"v3-4-4"}


def test_after_an_upgrade_a_second_run_changes_nothing(azure: Installation, upgrade: Upgrade) -> None:
    assert upgrade.run.exit_code == 0, upgrade.run.output
    mark = AuditMark.now(azure.cluster.paths.audit_log)
    run = azure.again(variables=NEW)
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    assert mark.installer_writes() == []


def test_the_way_back_is_refused_before_the_first_write(azure: Installation, upgrade: Upgrade) -> None:
    assert upgrade.run.exit_code == 0, upgrade.run.output
    mark = AuditMark.now(azure.cluster.paths.audit_log)
    run = azure.again()
    assert (run.exit_code, run.recap["changed"]) == (2, 0), run.output
    assert "platform_release (3.4) (error IP-PRE-090) expected 3.5, which is installed, or newer" in run.text
    assert mark.installer_writes() == []


def test_a_model_that_is_named_goes_over_to_the_new_release(azure: Installation, upgrade: Upgrade) -> None:
    """One replica, because every GPU of the cluster is in use and new pods start before old ones end."""
    assert upgrade.run.exit_code == 0, upgrade.run.output
    wanted = {**NEW, "models": ONE_REPLICA, "models_move": ["qwen-basic"]}
    run = azure.again("--tags", "models", variables=wanted)
    assert run.exit_code == 0, run.output
    service = model(azure)
    assert (condition(service, "Ready"), presets(service)) == ("True", {"v3-5-0"})
    again = azure.again("--tags", "models", variables={**NEW, "models": ONE_REPLICA})
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output


def presets(service: Object) -> set[str]:
    """The versions of the presets that a model keeps to."""
    return {preset.partition("-kserve-")[0] for preset in service["status"]["annotations"].values()}
