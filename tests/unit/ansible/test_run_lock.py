"""The Lease of a run: taken before the first write of a task, given back at the end of the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible_collections.inference.platform.plugins.plugin_utils import run_lock

from inference_platform.cluster import run_lock as lease
from inference_platform.cluster.client import Cluster

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
        lease, "take", lambda _, holder, *, force: found.append(("take", holder.process, force)) or True
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
