"""The embedded cluster of these tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clusters import EmbeddedCluster, running_cluster


@pytest.fixture(scope="session")
def embedded_cluster(tools_folder: Path) -> Iterator[EmbeddedCluster]:
    """A cluster for the whole session, removed at its end."""
    with running_cluster(f"test-{os.getpid()}", tools_folder) as cluster:
        yield cluster
