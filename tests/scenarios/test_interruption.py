"""A run that was killed half way: the next one goes on from there and completes."""

from __future__ import annotations

import pytest

from tests.scenarios.conftest import run_on
from tests.scenarios.test_install_on_aws import DEPLOYMENTS, readiness
from tests.support.audit import AuditMark, Request
from tests.support.clusters import EmbeddedCluster, wait_for
from tests.support.playbook import REPOSITORY, started

pytestmark = pytest.mark.cluster

PLAY = ("-i", "inventories/local", "site.yml")


def test_a_run_killed_within_a_release_and_killed_again_at_a_gate_is_completed_by_the_next(
    fresh: EmbeddedCluster,
) -> None:
    mark = AuditMark.now(fresh.paths.audit_log)
    with started(REPOSITORY, PLAY, cluster=fresh.paths.name) as play:
        wait_for("helm to record a release", lambda: records_of_helm(mark), seconds=180)
        killed = play.kill()
    assert killed.exit_code == -9, killed.output
    with started(REPOSITORY, PLAY, cluster=fresh.paths.name) as play:
        # An operation of helm that was cut off is waited for before it is taken to be dead.
        play.wait_until_it_says(r"\[6/12\] Cloud manager[\s\S]*waiting", seconds=400)
        killed = play.kill()
    assert killed.exit_code == -9, killed.output
    run = run_on(fresh)
    assert run.exit_code == 0, run.output
    deployments = {
        f"{item['metadata']['namespace']}/{item['metadata']['name']}": readiness(item)
        for item in fresh.objects("deployments")
    }
    assert {name: deployments[name] for name in DEPLOYMENTS} == {name: (n, n) for name, n in DEPLOYMENTS.items()}
    assert run_on(fresh).recap["changed"] == 0


def records_of_helm(mark: AuditMark) -> list[Request]:
    """Records of releases that helm has begun to keep since."""
    return [
        request
        for request in mark.installer_requests()
        if request.agent.startswith("Helm/") and request.verb == "create" and request.uri.endswith("/secrets")
    ]
