"""A changed inventory changes what it names and nothing else; what was changed by hand is put back, and said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios.conftest import Installation, run_on
from tests.scenarios.test_install_on_aws import MODEL_NAMESPACE, condition, in_namespace, model
from tests.support.clusters import EmbeddedCluster, wait_for
from tests.support.playbook import Run, replace_once

pytestmark = pytest.mark.cluster

APPLICATIONS = "redhat-ods-applications"
MODEL_PATH = "/apis/serving.kserve.io/v1alpha2/namespaces/models/llminferenceservices/qwen-basic"


@pytest.fixture
def as_installed(aws: Installation) -> Iterator[Installation]:
    """The installed cluster, which is as the inventory says again when the test is over."""
    yield aws
    run = aws.again()
    assert run.exit_code == 0, run.output
    assert condition(model(aws), "Ready") == "True"


@pytest.fixture
def one_replica(inventory: Path) -> Path:
    """An inventory whose model has one replica instead of two."""
    replace_once(inventory / "group_vars/all/30-models.yml", "    replicas: 2", "    replicas: 1")
    return inventory


def test_another_number_of_replicas_changes_exactly_the_model(as_installed: Installation, one_replica: Path) -> None:
    cluster = as_installed.cluster
    others = untouched(cluster)
    mark = as_installed.audit_mark()
    run = run_on(cluster, inventory=one_replica)
    assert (run.exit_code, run.recap["changed"]) == (0, 1), run.output
    assert [write.split("?")[0] for write in mark.platform_writes()] == [f"patch {MODEL_PATH}"]
    assert model(as_installed)["spec"]["replicas"] == 1
    assert untouched(cluster) == others
    wait_for("one serving pod", lambda: len(serving_pods(as_installed)) == 1)
    assert "1 changed" in line_of(run, "Apply the models")


def test_check_mode_predicts_that_change_and_makes_none(as_installed: Installation, one_replica: Path) -> None:
    mark = as_installed.audit_mark()
    run = run_on(as_installed.cluster, "--check", "--diff", inventory=one_replica)
    assert (run.exit_code, run.recap["changed"]) == (0, 1), run.output
    changed = [line.strip() for line in run.output.splitlines() if line.strip().startswith(("-", "+"))]
    assert [line for line in changed if line[1:2] == " "] == ["-  replicas: 2", "+  replicas: 1"], run.output
    assert mark.installer_writes() == []
    assert model(as_installed)["spec"]["replicas"] == 2


@dataclass(frozen=True)
class Drift:
    """A change by hand: kubectl's words for it, the task that must notice and what it says, the proof of repair."""

    command: str
    task: str
    says: str
    repaired: Callable[[EmbeddedCluster], bool]


DRIFTS = {
    "a deleted ConfigMap of a release": Drift(
        f"delete configmap inference-gateway-config --namespace {APPLICATIONS}",
        "Install the releases of the inference_gateway layer",
        f"inference-gateway upgrade: ConfigMap {APPLICATIONS}/inference-gateway-config is missing",
        lambda cluster: cluster.get("configmap", "inference-gateway-config", APPLICATIONS)["data"] != {},
    ),
    "a changed label of a Deployment of a release": Drift(
        "label deployment rhai-operator --namespace redhat-ods-operator --overwrite app.kubernetes.io/part-of=other",
        "Install the releases of the platform_operator layer",
        "rhai-operator upgrade: Deployment redhat-ods-operator/rhai-operator was changed: metadata.labels",
        lambda cluster: part_of(cluster.get("deployment", "rhai-operator", "redhat-ods-operator")),
    ),
    "a changed label of a custom resource of a release": Drift(
        f"label gateway inference-gateway --namespace {APPLICATIONS} --overwrite app.kubernetes.io/part-of=other",
        "Install the releases of the inference_gateway layer",
        f"inference-gateway repair: Gateway {APPLICATIONS}/inference-gateway was changed: metadata.labels",
        lambda cluster: part_of(cluster.get("gateway", "inference-gateway", APPLICATIONS)),
    ),
    "a label taken from a namespace": Drift(
        "label namespace istio-system app.kubernetes.io/part-of-",
        "Apply the objects of the namespaces layer",
        "1 changed",
        lambda cluster: part_of(cluster.get("namespace", "istio-system")),
    ),
    "a pull secret emptied by hand": Drift(
        "patch secret rhai-pull-secret --namespace istio-system --type merge --patch "
        '{"data":{".dockerconfigjson":"e30="}}',
        "Copy the pull secret into each namespace",
        "1 changed",
        lambda cluster: (
            cluster.get("secret", "rhai-pull-secret", "istio-system")["data"][".dockerconfigjson"] != "e30="
        ),
    ),
    "a deleted model": Drift(
        f"delete llminferenceservice qwen-basic --namespace {MODEL_NAMESPACE} --wait",
        "Apply the models",
        "1 created",
        lambda cluster: cluster.get("llminferenceservice", "qwen-basic", MODEL_NAMESPACE) is not None,
    ),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_what_was_changed_by_hand_is_previewed_then_repaired_and_said(aws: Installation, name: str) -> None:
    drift, cluster = DRIFTS[name], aws.cluster
    cluster.do(*drift.command.split())
    mark = aws.audit_mark()
    preview = aws.again("--check", "--diff")
    assert (preview.exit_code, preview.recap["changed"]) == (0, 1), preview.output
    assert mark.installer_writes() == []
    run = aws.again()
    assert (run.exit_code, run.recap["changed"]) == (0, 1), run.output
    for output in (preview, run):
        assert drift.says in line_of(output, drift.task), output.output
    assert drift.repaired(cluster)
    assert aws.again().recap["changed"] == 0


def test_a_model_taken_from_the_inventory_goes_and_the_platform_stays(
    as_installed: Installation, inventory: Path
) -> None:
    file = inventory / "group_vars/all/30-models.yml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text[: text.index("\nmodels:")] + "\nmodels: []\n", encoding="utf-8")
    run = run_on(as_installed.cluster, inventory=inventory)
    assert (run.exit_code, run.recap["changed"]) == (0, 1), run.output
    assert "1 removed" in line_of(run, "Apply the models")
    wait_for("no pod of the model", lambda: in_namespace(as_installed, "pods", MODEL_NAMESPACE) == [])


# ---- reading ----------------------------------------------------------------------------------------------


def line_of(run: Run, task: str) -> str:
    """What a run printed about a task: the rest of its line."""
    return run.output.partition(f" {task} ")[2].partition("\n")[0]


def part_of(item: dict[str, dict[str, dict[str, str]]]) -> bool:
    return item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "inference-platform"


def serving_pods(installation: Installation) -> list[str]:
    names = (pod["metadata"]["name"] for pod in in_namespace(installation, "pods", MODEL_NAMESPACE))
    return [name for name in names if "router-scheduler" not in name]


def untouched(cluster: EmbeddedCluster) -> dict[str, int]:
    """The generation of everything that the installer makes besides the model, by uid."""
    kinds = "deployments,gateways,kserves,awskubernetesengines,certmanagers,customresourcedefinitions"
    items = cluster.objects(kinds)
    return {
        item["metadata"]["uid"]: item["metadata"]["generation"]
        for item in items
        if item["metadata"].get("namespace") != MODEL_NAMESPACE
    }
