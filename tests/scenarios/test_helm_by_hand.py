"""Releases can be carried on with helm alone: `helm upgrade` with the values that a run wrote changes nothing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from inference_platform.platform import resolve
from inference_platform.platform.plan import SUBSCRIPTION_CHART
from tests.scenarios.conftest import Installation
from tests.scenarios.test_install_elsewhere import BY_HAND
from tests.support.playbook import REPOSITORY
from tests.support.values_files import upgrade_by_hand

pytestmark = pytest.mark.cluster

#: The layers that the cloud manager of aws does not install itself.
RELEASES = {
    "cert-manager-operator": "cert-manager-operator",
    "kserve": "redhat-ods-applications",
    "cloud-manager": "rhai-cloudmanager-system",
    "kubernetes-engine": "rhai-cloudmanager-system",
    "rhai-operator": "redhat-ods-operator",
    "kserve-instance": "redhat-ods-applications",
    "inference-gateway": "redhat-ods-applications",
}


def test_a_run_writes_the_values_of_every_release_for_its_user_alone(aws: Installation) -> None:
    files = sorted((aws.report_folder / "values").iterdir())
    assert {path.stem for path in files} == set(RELEASES)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    first_lines = {path.stem: path.read_text(encoding="utf-8").splitlines()[0].split() for path in files}
    assert {words[3]: words[6] for words in first_lines.values()} == RELEASES


def test_helm_upgrade_with_the_written_values_changes_nothing_and_neither_does_the_next_run(
    aws: Installation,
) -> None:
    done = upgrade_by_hand(aws.cluster, aws.report_folder / "values")
    assert (done.failures, done.changes) == ([], [])
    assert done.charts.keys() == RELEASES.keys()
    run = aws.again()
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output


def test_the_values_say_what_was_installed(aws: Installation) -> None:
    values = yaml.safe_load((aws.report_folder / "values" / "inference-gateway.yaml").read_text(encoding="utf-8"))
    assert values["http"]["port"] == 8080
    bundle = aws.cluster.get("configmap", "rhai-ca-bundle", "redhat-ods-applications")["data"]["ca.crt"]
    assert values["caBundle"].strip() == bundle.strip()


def test_a_value_that_differs_is_seen_as_a_change(aws: Installation, tmp_path: Path) -> None:
    """The control of the tests above and of other modules."""
    file = tmp_path / "kserve-instance.yaml"
    text = (aws.report_folder / "values" / file.name).read_text(encoding="utf-8")
    file.write_text(text.replace("version: 3.4.4", "version: 3.4.9"), encoding="utf-8")
    done = upgrade_by_hand(aws.cluster, tmp_path)
    file.write_text(text, encoding="utf-8")
    assert upgrade_by_hand(aws.cluster, tmp_path).failures == done.failures == []
    (change,) = done.changes
    assert change.startswith("object Kserve /default-kserve: expected ")


def test_every_chart_is_upgraded_by_hand_somewhere() -> None:
    """On aws here; beside the installations of other targets there."""
    plans = [{"platform_release": "3.4", "provider": "aws"}, {"platform_release": "3.4", "provider": "azure"}]
    plans += [{"platform_release": "3.4", "provider": "openshift"}]
    plans += [{"platform_release": target.release, "provider": target.flavour} for target in BY_HAND]
    layers = [layer for plan in plans for layer in resolve(plan).to_dict()["layers"]]
    charts = {release["chart"] for layer in layers for release in layer["releases"]}
    charts |= {SUBSCRIPTION_CHART for layer in layers if layer["operator"]}
    assert charts == {path.parent.name for path in (REPOSITORY / "charts").glob("*/Chart.yaml")}
