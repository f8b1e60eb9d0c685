"""Throw-away embedded clusters for the tests that need a real API server.

The tools are those of this checkout, built on demand; EMBEDDED_CLUSTER_TOOLS names another folder.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from embedded_cluster import launcher, tools
from embedded_cluster.paths import ClusterPaths
from kubernetes import client, config


@dataclass
class EmbeddedCluster:
    """A running cluster and what tests need of it."""

    paths: ClusterPaths
    tools: Path
    progress: list[str]

    @property
    def api(self) -> client.ApiClient:
        """A client of the official library, as administrator."""
        return config.new_client_from_config(str(self.paths.kubeconfig))

    def kubectl(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator; the caller looks at the return code."""
        command = [str(self.tools / "bin" / "kubectl"), "--kubeconfig", str(self.paths.kubeconfig), *args]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)


def wait_for(what: str, check: Callable[[], object], seconds: float = 30) -> object:
    """Poll until `check` returns something true, and return it; fails with what it returned last."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}, last seen: {found!r}"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="session")
def tools_folder() -> Path:
    """Folder with the built programs."""
    given = os.environ.get("EMBEDDED_CLUSTER_TOOLS")
    return Path(given) if given else tools.ensure()


@pytest.fixture(scope="session")
def embedded_cluster(tools_folder: Path) -> Iterator[EmbeddedCluster]:
    """A cluster for the whole session, removed at its end."""
    name = f"test-{os.getpid()}"
    lines: list[str] = []
    try:
        paths = launcher.up(name, tools=tools_folder, log=lines.append)
        yield EmbeddedCluster(paths, tools_folder, lines)
    finally:
        launcher.destroy(name, log=lines.append)
