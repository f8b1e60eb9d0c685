"""One run at a time changes a cluster."""

from __future__ import annotations

import datetime
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from inference_platform.cluster import run_lock
from inference_platform.cluster.apply import apply
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.run_lock import Holder, RunInProgress
from tests.unit.cluster.fake_api import FakeApi

US = Holder("me", socket.gethostname(), os.getpid())
THEM = Holder("you", "elsewhere", 42)
KEY = (run_lock.API, "Lease", run_lock.NAMESPACE, run_lock.NAME)
START = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
SPACE: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "space"}}


@pytest.fixture(autouse=True)
def kinds(api: FakeApi) -> None:
    api.kinds.append((run_lock.API, "Lease", "leases", True))


def take(cluster: Cluster, holder: Holder, seconds: float = 0, **more: Any) -> bool:
    return run_lock.take(cluster, holder, now=lambda: START + datetime.timedelta(seconds=seconds), **more)


def held_by(api: FakeApi) -> str:
    return str(api.objects[KEY]["spec"]["holderIdentity"])


def test_the_first_run_has_it_and_a_second_is_told_who_and_since_when(api: FakeApi, cluster: Cluster) -> None:
    assert take(cluster, THEM)
    with pytest.raises(RunInProgress, match=r"you@elsewhere 42, since 2026-01-01T12:00:00.*platform_take_over"):
        take(cluster, US, 10)
    assert held_by(api) == str(THEM)


def test_a_run_takes_its_own_again_and_writes_only_when_that_is_old(api: FakeApi, cluster: Cluster) -> None:
    take(cluster, US)
    api.requests.clear()
    assert take(cluster, US, 30)
    assert api.writes() == []
    assert take(cluster, US, 100)
    spec = api.objects[KEY]["spec"]
    assert (spec["acquireTime"], spec["renewTime"]) == ("2026-01-01T12:00:00.000000Z", "2026-01-01T12:01:40.000000Z")


@pytest.mark.parametrize(("seconds", "more"), [(run_lock.SECONDS, {}), (1, {"force": True})])
def test_it_is_taken_over_when_it_is_old_or_on_purpose(
    api: FakeApi, cluster: Cluster, seconds: float, more: dict[str, Any]
) -> None:
    take(cluster, THEM)
    assert take(cluster, US, seconds, **more)
    assert held_by(api) == str(US)


def test_a_process_of_this_machine_that_is_gone_holds_nothing(api: FakeApi, cluster: Cluster) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    take(cluster, Holder("me", socket.gethostname(), done.pid))
    assert take(cluster, US, 1)
    assert held_by(api) == str(US)


def test_a_process_of_this_machine_that_runs_holds_it(cluster: Cluster) -> None:
    take(cluster, US)
    with pytest.raises(RunInProgress):
        take(cluster, Holder("me", socket.gethostname(), os.getpid() + 1), 1)


@pytest.mark.parametrize("faster", [US, THEM])
def test_of_two_that_come_at_the_same_moment_one_has_it_and_a_lost_answer_is_no_second_run(
    api: FakeApi, cluster: Cluster, faster: Holder
) -> None:
    """Both saw that there is none; then one made it."""
    take(cluster, faster)
    api.fail("GET", "/leases/", 404)
    if faster is US:
        assert take(cluster, US, 1)
    else:
        with pytest.raises(RunInProgress, match="you@elsewhere 42"):
            take(cluster, US, 1)
    assert held_by(api) == str(faster)


def test_who_may_not_see_leases_works_without(api: FakeApi, cluster: Cluster) -> None:
    api.fail("GET", "/leases/", 403, "leases is forbidden")
    assert take(cluster, US) is False


def test_it_is_given_back_by_its_holder_alone(api: FakeApi, cluster: Cluster) -> None:
    take(cluster, US)
    run_lock.give_back(cluster, THEM)
    assert KEY in api.objects
    run_lock.give_back(cluster, US)
    assert KEY not in api.objects


def test_the_first_write_of_a_client_takes_it_and_what_only_looks_does_not(cluster: Cluster) -> None:
    asked: list[str] = []
    cluster.guard(lambda: asked.append("taken"))
    apply(cluster, [SPACE], check=True)
    assert asked == []
    apply(cluster, [SPACE, {**SPACE, "metadata": {"name": "other"}}])
    assert asked == ["taken"]


def test_nothing_is_written_when_it_is_not_free(api: FakeApi, cluster: Cluster) -> None:
    def refuse() -> None:
        raise RunInProgress("another run")

    cluster.guard(refuse)
    with pytest.raises(RunInProgress):
        apply(cluster, [SPACE, {**SPACE, "metadata": {"name": "other"}}])
    assert api.writes() == []
