"""Mistakes in charts and in the catalogue, made on purpose in a copy of the project: a run catches each one.

Every run ends at the layer that cannot work, within its time, and says which object it waited for, why, and the
command to look further.
"""

from __future__ import annotations

import re

import pytest
import yaml

from tests.scenarios.conftest import run_on
from tests.support.clusters import EmbeddedCluster
from tests.support.playbook import Project, Run

pytestmark = pytest.mark.cluster

FIRST_LAYERS = "namespaces,gateway_api,cert_manager"
#: Enough for a healthy cert-manager on a busy machine, and short for one that never comes.
SECONDS = 15
OPERATOR = "cert-manager-operator/cert-manager-operator-controller-manager"
TEMPLATE = "charts/cert-manager-operator/templates/deployment.yaml"
WRONG_FLAG = "            - --colour=blue\n"


def test_a_right_missing_from_an_operator_is_named_with_user_verb_and_resource(
    fresh: EmbeddedCluster, project: Project
) -> None:
    remove_rule(project, "cert-manager-operator", group="apps", resource="deployments")
    run = install(fresh, project, FIRST_LAYERS)
    assert failed_at(run, "cert-manager"), run.output
    for words in (
        "Deployment cert-manager/cert-manager: does not exist yet",
        "CertManager cluster condition cert-manager-controller-deploymentDegraded",
        "deployments.apps",
        'is forbidden: User "system:serviceaccount:cert-manager-operator:cert-manager-operator-controller-manager"',
        "next: kubectl -n cert-manager-operator logs deployment/cert-manager-operator-controller-manager",
    ):
        assert words in run.text, words


def test_a_flag_that_an_operator_does_not_know_is_shown_with_its_last_words(
    fresh: EmbeddedCluster, project: Project
) -> None:
    project.edit(
        "charts/cert-manager-operator/templates/deployment.yaml", "- start\n", "- start\n            - --colour=blue\n"
    )
    run = install(fresh, project, FIRST_LAYERS)
    assert failed_at(run, "cert-manager"), run.output
    for words in (
        f"Deployment {OPERATOR}: 0 of 1 replicas available",
        "exit code 1 Error",
        "unknown flag: --colour",
        "event BackOff",
        "next: kubectl -n cert-manager-operator describe pods",
    ):
        assert words in run.text, words
    # The gate may look in the very moment of a start.
    assert re.search(r"container cert-manager-operator (waiting, CrashLoopBackOff|runs but is not ready)", run.text)
    assert re.search(r"[1-9]\d* restarts", run.text)


def test_a_release_is_repaired_by_the_next_run_once_its_chart_is(fresh: EmbeddedCluster, project: Project) -> None:
    project.edit(TEMPLATE, "- start\n", f"- start\n{WRONG_FLAG}")
    assert install(fresh, project, FIRST_LAYERS).exit_code != 0
    project.edit(TEMPLATE, WRONG_FLAG, "")
    run = install(fresh, project, FIRST_LAYERS, seconds=120)
    assert run.exit_code == 0, run.output
    assert install(fresh, project, FIRST_LAYERS).recap["changed"] == 0


def test_pods_without_the_pull_secret_show_as_images_that_cannot_be_pulled(
    fresh: EmbeddedCluster, project: Project
) -> None:
    project.edit(
        "roles/platform/vars/main.yml",
        'imagePullSecrets: "{{ [platform.pull_secret.name] | select | list }}"',
        "imagePullSecrets: []",
    )
    run = install(fresh, project, FIRST_LAYERS)
    assert failed_at(run, "cert-manager"), run.output
    for words in (f"Deployment {OPERATOR}", "ImagePullBackOff", "registry.redhat.io"):
        assert words in run.text, words


def test_without_the_gate_of_a_broken_layer_the_next_layer_that_needs_it_stops_the_run(
    fresh: EmbeddedCluster, project: Project
) -> None:
    project.edit(
        "charts/cert-manager-operator/templates/deployment.yaml", "- start\n", "- start\n            - --colour=blue\n"
    )
    open_gate(project, "cert_manager")
    project.edit("roles/cert_manager/tasks/install.yml", 'checks: "{{ _cert_manager_operator_checks }}"', "checks: []")
    run = install(fresh, project, f"{FIRST_LAYERS},pki", provider="azure", cloud_manager="none")
    assert failed_at(run, "Certificates of the platform"), run.output
    for words in (
        "ClusterIssuer opendatahub-selfsigned-issuer",
        "Secret cert-manager/rhai-ca: does not exist yet",
        "why it matters: The gateway and KServe trust and sign with this authority.",
        "next: kubectl -n cert-manager describe certificate rhai-ca",
    ):
        assert words in run.text, words


def test_a_layer_without_a_gate_in_the_catalogue_is_refused_before_the_first_write(
    fresh: EmbeddedCluster, project: Project
) -> None:
    path = project.root / "catalog" / "gates.yml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    del content["gates"]["cert_manager"]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    run = install(fresh, project, FIRST_LAYERS)
    assert (run.exit_code, run.recap["changed"]) == (2, 0), run.output
    assert "gates.yml: expected a gate for the layer cert_manager, found none: add its checks" in run.text


# ---- breaking and running ---------------------------------------------------------------------------------


def install(
    cluster: EmbeddedCluster, project: Project, layers: str, *, seconds: int = SECONDS, **variables: object
) -> Run:
    """Runs the named layers with little patience."""
    waits = {f"{layer}_wait_seconds": seconds for layer in layers.split(",")}
    return run_on(cluster, "--tags", layers, project=project, variables={**waits, **variables})


def failed_at(run: Run, title: str) -> bool:
    """Whether the gate of this layer ended the run, and said how long it had waited."""
    found = re.search(rf"Gate of {re.escape(title)}: \d+ of \d+ checks still fail after (\d+) s", run.text)
    return run.exit_code == 2 and found is not None and SECONDS <= int(found[1]) < SECONDS + 15


def remove_rule(project: Project, chart: str, *, group: str, resource: str) -> None:
    """Takes the one rule for a resource out of a chart's rights."""
    path = project.root / "charts" / chart / "rbac.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    before = sum(map(len, content["clusterRoles"].values()))
    for name, rules in content["clusterRoles"].items():
        content["clusterRoles"][name] = [
            rule for rule in rules if group not in rule.get("apiGroups", ()) or resource not in rule["resources"]
        ]
    assert sum(map(len, content["clusterRoles"].values())) == before - 1
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def open_gate(project: Project, layer: str) -> None:
    """Replaces the checks of a layer in the catalogue by one that always holds."""
    path = project.root / "catalog" / "gates.yml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    holds = {"check": "exists", "api_version": "v1", "kind": "Namespace", "name": "default"}
    content["gates"][layer] = [{"checks": [holds]}]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
