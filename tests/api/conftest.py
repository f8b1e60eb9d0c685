"""The embedded cluster of these tests."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from inference_platform.cluster import crds
from inference_platform.cluster.client import Cluster
from tests.support.clusters import EmbeddedCluster, running_cluster, wait_for


@pytest.fixture(scope="session")
def embedded_cluster(tools_folder: Path) -> Iterator[EmbeddedCluster]:
    """A cluster for the whole session, removed at its end."""
    with running_cluster(f"test-{os.getpid()}", tools_folder) as cluster:
        yield cluster


def serve_kinds(client: Cluster, cluster: EmbeddedCluster, groups: Collection[str] = ("",)) -> list[str]:
    """Installs every CRD that the tools have, and waits until all are served; the names of those it added.

    groups  API groups to leave it at, or ends of their names
    """
    folder = cluster.tools / "crds"
    files = [
        file
        for crd_set in sorted(path for path in folder.iterdir() if path.is_dir())
        for file in crds.locate(crd_set.name, [{"name": p.stem} for p in crd_set.glob("*.json")], directory=folder)
        if file.name.endswith(tuple(groups))
    ]
    result = crds.apply_crds(client, files)
    result.raise_errors()
    wait_for("all CRDs", lambda: all(client.discovery(max_age=0.0).serves(file.name) for file in files))
    return [change.ref.name for change in result.changes]
