"""Releases can be carried on with helm alone: `helm upgrade` with the values that a run wrote changes nothing."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.scenarios.conftest import Installation
from tests.support.clusters import EmbeddedCluster, Object
from tests.support.playbook import REPOSITORY

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
    before = chart_objects(aws.cluster)
    for name, namespace in RELEASES.items():
        done = helm_upgrade(aws.cluster, name, namespace, aws.report_folder / "values" / f"{name}.yaml")
        assert done.returncode == 0, f"{name}: {done.stderr}"
    assert chart_objects(aws.cluster) == before
    run = aws.again()
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output


def test_the_values_say_what_was_installed(aws: Installation) -> None:
    values = yaml.safe_load((aws.report_folder / "values" / "inference-gateway.yaml").read_text(encoding="utf-8"))
    assert values["http"]["port"] == 8080
    bundle = aws.cluster.get("configmap", "rhai-ca-bundle", "redhat-ods-applications")["data"]["ca.crt"]
    assert values["caBundle"].strip() == bundle.strip()


# ---- helm and what it made --------------------------------------------------------------------------------


def helm_upgrade(cluster: EmbeddedCluster, name: str, namespace: str, values: Path) -> subprocess.CompletedProcess[str]:
    """`helm upgrade` as a user types it."""
    command = [str(cluster.tools / "bin" / "helm"), "upgrade", name, f"charts/{name}"]
    return subprocess.run(
        [*command, "--namespace", namespace, "--values", str(values)],
        cwd=REPOSITORY,
        env={**os.environ, "KUBECONFIG": str(cluster.paths.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def chart_objects(cluster: EmbeddedCluster) -> dict[str, Object]:
    """What was asked for in every object of every release, by kind, namespace and name.

    Status and resourceVersion are left out: the controllers go on writing while helm works.
    """
    found: dict[str, Object] = {}
    for name, namespace in RELEASES.items():
        manifest = subprocess.run(
            [str(cluster.tools / "bin" / "helm"), "get", "manifest", name, "--namespace", namespace],
            env={**os.environ, "KUBECONFIG": str(cluster.paths.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        listed = cluster.do("get", "--filename", "-", "--output", "yaml", stdin=manifest)
        answer = yaml.safe_load(listed)
        for obj in answer["items"] if answer["kind"] == "List" else [answer]:
            about = obj["metadata"]
            key = f"{obj['kind']} {about.get('namespace', '')}/{about['name']}"
            kept = {"generation": about.get("generation"), "labels": about.get("labels")}
            found[key] = {
                **{name: value for name, value in obj.items() if name not in ("metadata", "status")},
                "metadata": {**kept, "annotations": about.get("annotations"), "uid": about["uid"]},
            }
    return found
