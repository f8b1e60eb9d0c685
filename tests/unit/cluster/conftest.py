"""A fake API server and a client of it that does not sleep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_platform.cluster import kubeconfig
from inference_platform.cluster.client import Cluster
from tests.unit.cluster.fake_api import FakeApi, running


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """The server, empty."""
    yield from running()


@pytest.fixture
def pauses() -> list[float]:
    """The seconds that the client wanted to sleep, in order."""
    return []


@pytest.fixture
def cluster(api: FakeApi, tmp_path: Path, pauses: list[float]) -> Cluster:
    """A client of the server; its pauses are recorded instead of slept."""
    client = Cluster(kubeconfig.load(api.kubeconfig(tmp_path)), sleep=pauses.append)
    client.version = api.version
    return client
