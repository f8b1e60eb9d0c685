"""Approval of a version with OLM: the wanted one and no other (operators.md 5)."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.cluster.client import Cluster
from inference_platform.cluster.install_plan import API, Approval, ApprovalError, Wanted, approve
from tests.unit.cluster.fake_api import FakeApi

WANTED = Wanted("leader-worker-set", "openshift-lws-operator", "leader-worker-set.v1.0.0")


class Clock:
    """Time that passes only in sleep; ``then`` runs in the first one, as OLM would meanwhile."""

    def __init__(self, then: Any = None) -> None:
        self.now, self.then = 0.0, then

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.then is not None:
            self.then()
            self.then = None


@pytest.fixture
def olm(api: FakeApi) -> FakeApi:
    api.kinds += [(API, "Subscription", "subscriptions", True), (API, "InstallPlan", "installplans", True)]
    api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": WANTED.namespace}})
    return api


def subscription(api: FakeApi, **status: str) -> None:
    metadata = {"name": WANTED.subscription, "namespace": WANTED.namespace}
    api.put({"apiVersion": API, "kind": "Subscription", "metadata": metadata, "spec": {}, "status": status})


def plan(
    api: FakeApi, name: str, *csvs: str, approved: bool = False, phase: str = "RequiresApproval", minute: int = 0
) -> None:
    made = f"2026-01-01T00:{minute:02d}:00Z"
    api.put(
        {
            "apiVersion": API,
            "kind": "InstallPlan",
            "metadata": {"name": name, "namespace": WANTED.namespace, "creationTimestamp": made},
            "spec": {"approval": "Manual", "approved": approved, "clusterServiceVersionNames": list(csvs)},
            "status": {"phase": phase},
        }
    )


def run(cluster: Cluster, clock: Clock | None = None, *, check: bool = False) -> Approval:
    clock = clock or Clock()
    return approve(cluster, WANTED, timeout=10, check=check, sleep=clock.sleep, clock=lambda: clock.now)


def is_approved(api: FakeApi, name: str) -> bool:
    return bool(api.stored("InstallPlan", name, WANTED.namespace)["spec"]["approved"])


def test_the_plan_of_the_wanted_version_alone_is_approved(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm, currentCSV=WANTED.csv)
    plan(olm, "install-other", "leader-worker-set.v1.1.0")
    plan(olm, "install-wanted", WANTED.csv)
    assert run(cluster) == Approval(changed=True, plan="install-wanted")
    assert (is_approved(olm, "install-wanted"), is_approved(olm, "install-other")) == (True, False)


def test_it_waits_until_olm_has_written_the_plan(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm)
    assert run(cluster, Clock(lambda: plan(olm, "install-1", WANTED.csv))).changed
    assert is_approved(olm, "install-1")


@pytest.mark.parametrize("check", [False, True])
def test_an_installed_version_needs_nothing_even_when_an_update_waits(
    olm: FakeApi, cluster: Cluster, check: bool
) -> None:
    subscription(olm, installedCSV=WANTED.csv, currentCSV="leader-worker-set.v1.1.0")
    plan(olm, "install-update", "leader-worker-set.v1.1.0")
    assert run(cluster, check=check) == Approval(changed=False)
    assert olm.writes() == []


def test_an_approved_plan_is_left_to_olm(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm, currentCSV=WANTED.csv)
    plan(olm, "install-1", WANTED.csv, "other.v1", approved=True, phase="Installing")
    assert run(cluster) == Approval(changed=False)
    assert olm.writes() == []


def test_check_mode_says_what_would_be_approved_and_writes_nothing(olm: FakeApi, cluster: Cluster) -> None:
    assert run(cluster, check=True) == Approval(changed=True)
    subscription(olm, currentCSV=WANTED.csv)
    plan(olm, "install-1", WANTED.csv)
    assert run(cluster, check=True) == Approval(changed=True)
    assert olm.writes() == []


def test_a_plan_that_would_install_more_is_not_approved(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm, currentCSV=WANTED.csv)
    plan(olm, "install-both", WANTED.csv, "something-else.v2.0.0")
    with pytest.raises(ApprovalError, match=r"install-both: expected nothing but .*, found something-else\.v2\.0\.0"):
        run(cluster)
    assert not is_approved(olm, "install-both")


def test_another_installed_version_is_told_at_once(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm, installedCSV="leader-worker-set.v1.1.0", currentCSV="leader-worker-set.v1.1.0")
    clock = Clock()
    with pytest.raises(ApprovalError, match=r"found leader-worker-set\.v1\.1\.0 installed.*external"):
        run(cluster, clock)
    assert clock.now == 0


def test_an_update_to_the_wanted_version_is_approved(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm, installedCSV="leader-worker-set.v0.9.0", currentCSV=WANTED.csv)
    plan(olm, "install-old", "leader-worker-set.v0.9.0", approved=True, phase="Complete")
    plan(olm, "install-update", WANTED.csv)
    assert run(cluster).plan == "install-update"


def test_a_plan_that_was_carried_out_before_is_not_taken_for_the_one_that_waits(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm, currentCSV=WANTED.csv)
    plan(olm, "install-a", WANTED.csv, approved=True, phase="Complete")
    plan(olm, "install-b", WANTED.csv, minute=2)
    assert run(cluster) == Approval(changed=True, plan="install-b")


def test_of_several_plans_the_newest_counts(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm, currentCSV=WANTED.csv)
    plan(olm, "install-a", WANTED.csv, phase="Failed", minute=1)
    plan(olm, "install-b", WANTED.csv, minute=3)
    plan(olm, "install-c", WANTED.csv, phase="Failed", minute=2)
    assert run(cluster).plan == "install-b"


def test_a_change_of_channel_is_given_time(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm, installedCSV="leader-worker-set.v0.9.0", currentCSV="leader-worker-set.v0.9.0")
    assert run(cluster, Clock(lambda: plan(olm, "install-1", WANTED.csv))).changed


def test_an_update_that_never_comes_is_told_with_what_is_offered(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm, installedCSV="leader-worker-set.v0.8.0", currentCSV="leader-worker-set.v0.9.0")
    with pytest.raises(ApprovalError, match=r"v0\.8\.0 is installed, leader-worker-set\.v0\.9\.0 is what it offers"):
        run(cluster)


def test_a_failed_plan_is_told_with_its_reason(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm, currentCSV=WANTED.csv)
    plan(olm, "install-1", WANTED.csv, approved=True, phase="Failed")
    with pytest.raises(ApprovalError, match="phase Failed"):
        run(cluster)


def test_a_plan_that_never_comes_ends_in_the_conditions_of_the_subscription(olm: FakeApi, cluster: Cluster) -> None:
    subscription(olm)
    stored = olm.stored("Subscription", WANTED.subscription, WANTED.namespace)
    stored["status"] = {"conditions": [{"type": "ResolutionFailed", "status": "True", "message": "no such package"}]}
    clock = Clock()
    with pytest.raises(ApprovalError, match=r"within 10 s, found none.*ResolutionFailed=True no such package"):
        run(cluster, clock)
    assert clock.now >= 10


def test_a_cluster_without_olm_is_told_as_such(cluster: Cluster) -> None:
    with pytest.raises(ApprovalError, match="expected a cluster with OLM, found none"):
        run(cluster)
