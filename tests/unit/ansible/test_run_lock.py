"""The Lease of a run: taken before the first write of a task, given back at the end of the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible import constants
from ansible_collections.inference.platform.plugins.action import models_ready
from ansible_collections.inference.platform.plugins.plugin_utils import run_lock

from inference_platform.cluster import model_wait
from inference_platform.cluster import run_lock as lease
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.model_wait import Waiting, WaitProgress
from inference_platform.cluster.readiness import Verdict

CONNECTION = {"kubeconfig": "file", "context": None}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of a run, in which nothing is left."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.delenv(run_lock.VARIABLE, raising=False)
    yield tmp_path
    os.environ.pop(run_lock.VARIABLE, None)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the package is asked for."""
    found: list[Any] = []
    monkeypatch.setattr(
        lease, "take", lambda _, holder, *, force=False: found.append(("take", holder.process, force)) or True
    )
    monkeypatch.setattr(lease, "give_back", lambda cluster, holder: found.append((cluster, holder.process)))
    monkeypatch.setattr(Cluster, "connect", lambda *given: given)
    return found


def test_outside_of_a_run_nothing_is_taken(folder: Path) -> None:
    assert run_lock.before_write(None, CONNECTION, {}) is None
    assert run_lock.end() == ""
    assert list(folder.iterdir()) == []


def test_what_a_task_took_is_given_back_at_the_end_in_the_same_cluster(folder: Path, calls: list[Any]) -> None:
    run_lock.begin()
    take = run_lock.before_write(None, CONNECTION, {"platform_take_over": "true"})
    assert take is not None
    assert calls == []
    take()
    assert run_lock.end() == ""
    assert calls == [("take", os.getpid(), True), (("file", None), os.getpid())]
    assert list(folder.iterdir()) == []


def test_a_run_that_wrote_nothing_asks_for_nothing_at_its_end(folder: Path, calls: list[Any]) -> None:
    run_lock.begin()
    assert run_lock.end() == ""
    assert calls == []
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("folder")
def test_every_run_has_a_name_of_its_own_that_its_tasks_share(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(lease, "take", lambda _, holder, **__: names.append(str(holder)) or True)
    monkeypatch.setattr(lease, "give_back", lambda _, holder: names.append(str(holder)))
    monkeypatch.setattr(Cluster, "connect", lambda *given: given)
    for _ in range(2):
        run_lock.begin()
        for _ in range(2):
            take = run_lock.before_write(None, CONNECTION, {})
            assert take is not None
            take()
        assert run_lock.end() == ""
    assert len(names) == 6
    assert len(set(names[:3])) == len(set(names[3:])) == 1
    assert names[0] != names[3]


@pytest.mark.usefixtures("folder")
def test_a_run_that_waits_renews_what_it_has_and_takes_nothing(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(run_lock.time, "monotonic", lambda: now[0])
    run_lock.begin()
    stay = run_lock.while_waiting(None)
    now[0] = 100.0
    stay()
    assert calls == []
    take = run_lock.before_write(None, CONNECTION, {})
    assert take is not None
    take()
    stay()
    now[0] = 159.0
    stay()
    assert calls == [("take", os.getpid(), False)] * 2
    now[0] = 160.0
    stay()
    assert len(calls) == 3


@pytest.mark.usefixtures("folder")
def test_outside_of_a_run_waiting_renews_nothing(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock.time, "monotonic", iter((0.0, 100.0)).__next__)
    run_lock.while_waiting(None)()
    assert calls == []


def test_the_wait_for_models_renews(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    progress = WaitProgress(1.0, 60.0, 0, 1, Waiting("team/m", Verdict(False, "Pending", "no pod")))
    monkeypatch.setattr(models_ready.handover, "take", lambda _: SimpleNamespace(objects=[]))
    monkeypatch.setattr(run_lock, "while_waiting", lambda _: lambda: done.append("renewed"))
    monkeypatch.setattr(
        model_wait, "wait", lambda *_, on_progress, **__: on_progress(progress) or model_wait.WaitResult(1.0)
    )
    action = models_ready.ActionModule.__new__(models_ready.ActionModule)
    monkeypatch.setattr(action, "_task", SimpleNamespace(check_mode=False), raising=False)
    monkeypatch.setattr(action, "connect", lambda _: None)
    serving = {"gateway": {"address_required": False}, "api_version": "serving.kserve.io/v1alpha2"}
    platform = {"namespaces": {"applications": "apps"}, "serving": serving}
    action.perform(
        {
            "rendered": "",
            "platform": platform,
            "only": [],
            "without": [],
            "timeout_seconds": 60,
            "patience_seconds": 1.0,
        }
    )
    assert done == ["renewed"]
