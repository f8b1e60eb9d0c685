"""What a run does that has nothing to do, and what a run says that may do nothing."""

from __future__ import annotations

import json

import pytest

from tests.scenarios.conftest import Installation, run_on
from tests.scenarios.test_install_on_aws import CRDS, NAMESPACES
from tests.support.audit import AuditMark
from tests.support.clusters import EmbeddedCluster
from tests.support.playbook import REPOSITORY, Run

pytestmark = pytest.mark.cluster


def test_a_second_run_changes_nothing_and_sends_no_write(aws: Installation) -> None:
    mark = aws.audit_mark()
    run = aws.again()
    assert run.exit_code == 0, run.output
    assert (run.recap["changed"], run.recap["failed"]) == (0, 0), run.output
    assert mark.installer_writes() == []
    assert mark.installer_requests() != [], "the audit log must have seen the run"
    assert asked() == {"IP-PRE-004": "ok", "IP-PRE-009": "ok", "IP-PRE-030": "not asked"}


def test_a_second_run_leaves_every_object_at_its_version(aws: Installation) -> None:
    before = generations(aws.cluster)
    assert aws.again().recap["changed"] == 0
    assert generations(aws.cluster) == before


def test_check_mode_on_an_installed_cluster_changes_nothing_and_shows_no_difference(aws: Installation) -> None:
    mark = aws.audit_mark()
    run = aws.again("--check", "--diff")
    assert run.exit_code == 0, run.output
    assert run.recap["changed"] == 0, run.output
    assert differences(run) == []
    assert mark.installer_writes() == []


@pytest.fixture(scope="module")
def preview(empty: EmbeddedCluster) -> tuple[Run, AuditMark]:
    """`--check --diff` on a cluster without anything, and the audit log since before it."""
    mark = AuditMark.now(empty.paths.audit_log)
    return run_on(empty, "--check", "--diff"), mark


def test_check_mode_on_an_empty_cluster_succeeds_and_writes_nothing(preview: tuple[Run, AuditMark]) -> None:
    run, mark = preview
    assert run.exit_code == 0, run.output
    assert run.recap["failed"] == 0
    assert run.recap["changed"] > 0
    assert mark.installer_writes() == []
    assert mark.installer_requests() != []


def test_check_mode_on_an_empty_cluster_leaves_no_trace_of_the_platform(
    preview: tuple[Run, AuditMark], empty: EmbeddedCluster
) -> None:
    assert preview[0].exit_code == 0
    assert NAMESPACES.isdisjoint(item["metadata"]["name"] for item in empty.objects("namespaces"))
    assert empty.objects("customresourcedefinitions") == []


def test_check_mode_on_an_empty_cluster_tells_everything_that_would_be_made(preview: tuple[Run, AuditMark]) -> None:
    run, _ = preview
    made = "\n".join(differences(run))
    own = CRDS - {"leaderworkersets.leaderworkerset.x-k8s.io", *DELEGATED}
    wanted = [
        *(f"Namespace {name}" for name in NAMESPACES),
        *(f"CustomResourceDefinition {name}" for name in own),
        "Deployment cert-manager-operator/cert-manager-operator-controller-manager",
        "Deployment rhai-cloudmanager-system/aws-cloud-manager-operator",
        "Deployment redhat-ods-operator/rhai-operator",
        "default-awskubernetesengine",
        "default-kserve",
        "Gateway redhat-ods-applications/inference-gateway",
        "LLMInferenceService models/qwen-basic",
    ]
    assert [name for name in wanted if name not in made] == []


def test_a_preview_predicts_the_tasks_that_the_run_then_changes(
    preview: tuple[Run, AuditMark], aws: Installation
) -> None:
    assert changed_tasks(preview[0]) == changed_tasks(aws.run)


def test_the_tags_that_the_readme_names_work_on_an_installed_cluster(aws: Installation) -> None:
    mark = aws.audit_mark()
    for tag in ("validate", "verify"):
        run = aws.again("--tags", tag)
        assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    assert mark.installer_writes() == []


@pytest.mark.parametrize("playbook", ["playbooks/preflight.yml", "playbooks/models.yml", "playbooks/verify.yml"])
def test_the_other_playbooks_find_an_installed_cluster_as_it_should_be(aws: Installation, playbook: str) -> None:
    mark = aws.audit_mark()
    run = run_on(aws.cluster, playbook=playbook)
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output
    assert mark.installer_writes() == []
    wanted = "not asked" if playbook.endswith("models.yml") else "ok"
    if not playbook.endswith("verify.yml"):
        assert set(asked().values()) == {wanted}


# ---- reading ----------------------------------------------------------------------------------------------

#: CRDs that the cloud manager brings on aws.
DELEGATED = ("gateways.networking.istio.io", "leaderworkersetoperators.operator.openshift.io")


def asked() -> dict[str, str]:
    """What the last preflight says about rights and admission."""
    path = REPOSITORY / "build" / "local" / "preflight.json"
    states = {entry["code"]: entry["status"] for entry in json.loads(path.read_text(encoding="utf-8"))["checks"]}
    return {code: states[code] for code in ("IP-PRE-004", "IP-PRE-009", "IP-PRE-030")}


def differences(run: Run) -> list[str]:
    """The lines of diffs that a run printed."""
    lines = (line.strip() for line in run.output.partition("PLAY RECAP")[0].splitlines())
    return [line for line in lines if line.startswith(("+", "-", "@@"))]


def changed_tasks(run: Run) -> list[str]:
    """Names of the tasks that said "changed", in order."""
    lines = (line.split() for line in run.output.splitlines())
    return [" ".join(words[1 : words.index("s") - 1]) for words in lines if words[:1] == ["changed"] and "s" in words]


def generations(cluster: EmbeddedCluster) -> dict[str, int]:
    """The generation of each object that counts one, by uid; changes of status do not count."""
    kinds = "deployments,customresourcedefinitions,gateways,httproutes,inferencepools,llminferenceservices,kserves"
    return {item["metadata"]["uid"]: item["metadata"]["generation"] for item in cluster.objects(kinds)}
