"""One run at a time changes a cluster."""

from __future__ import annotations

import datetime
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster import run_lock
from inference_platform.cluster.apply import apply
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.run_lock import Holder, RunInProgress
from tests.unit.cluster.fake_api import FakeApi

SPACE_HERE = run_lock.process_space() or "a machine"
US = Holder("me", socket.gethostname(), os.getpid(), "aa11", SPACE_HERE)
THEM = Holder("you", "elsewhere", 42, "bb22", "another machine")
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
    with pytest.raises(RunInProgress, match=r"you@elsewhere 42 bb22, since 2026-01-01T12:00:00.*platform_take_over"):
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


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_process_of_this_machine_that_is_gone_holds_nothing(api: FakeApi, cluster: Cluster, ended: int) -> None:
    take(cluster, replace(US, process=ended, run="cc33"))
    assert take(cluster, US, 1)
    assert held_by(api) == str(US)


@pytest.mark.parametrize(
    "other",
    [{"space": "another container"}, {"space": ""}, {"host": "elsewhere"}],
    ids=["other processes", "processes unknown", "another machine"],
)
def test_a_process_that_cannot_be_seen_from_here_is_not_taken_to_be_gone(
    api: FakeApi, cluster: Cluster, ended: int, other: dict[str, Any]
) -> None:
    holder = replace(US, process=ended, run="cc33", **other)
    take(cluster, holder)
    with pytest.raises(RunInProgress):
        take(cluster, US, 1)
    assert held_by(api) == str(holder)


def test_where_no_processes_are_known_nobody_is_taken_to_be_gone(cluster: Cluster, ended: int) -> None:
    take(cluster, replace(US, process=ended, run="cc33", space=""))
    with pytest.raises(RunInProgress):
        take(cluster, replace(US, space=""), 1)


def test_a_process_of_this_machine_that_runs_holds_it(cluster: Cluster) -> None:
    take(cluster, US)
    with pytest.raises(RunInProgress):
        take(cluster, replace(US, process=os.getpid() + 1, run="cc33"), 1)


def test_the_same_number_of_a_process_is_not_the_same_run(api: FakeApi, cluster: Cluster) -> None:
    """As in two containers of one machine, each with its own numbers."""
    take(cluster, US)
    with pytest.raises(RunInProgress):
        take(cluster, replace(US, run="cc33", space="another container"), 1)
    run_lock.give_back(cluster, replace(US, run="cc33"))
    assert held_by(api) == str(US)


def test_who_takes_it_over_says_where_its_process_is(api: FakeApi, cluster: Cluster) -> None:
    take(cluster, THEM)
    api.objects[KEY]["metadata"]["annotations"]["theirs"] = "kept"
    take(cluster, US, run_lock.SECONDS)
    assert api.objects[KEY]["metadata"]["annotations"] == {run_lock.SPACE: US.space, "theirs": "kept"}


def test_processes_are_known_by_the_start_of_the_machine_and_their_namespace(tmp_path: Path) -> None:
    assert run_lock.process_space(tmp_path) == ""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("1234-abcd\n", encoding="utf-8")
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026531836]")
    assert run_lock.process_space(tmp_path) == "1234-abcd pid:[4026531836]"


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
        with pytest.raises(RunInProgress, match="you@elsewhere 42 bb22"):
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
