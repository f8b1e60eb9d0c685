"""Throw-away embedded clusters, and what tests ask of them."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded_cluster import launcher
from embedded_cluster.paths import ClusterPaths
from kubernetes import client, config

Object = dict[str, Any]

#: Clusters that run now, by name: what is collected when a test fails.
RUNNING: dict[str, EmbeddedCluster] = {}


@dataclass
class EmbeddedCluster:
    """A running cluster: its files, the programs it was built from, what its start printed."""

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
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=180)

    def do(self, *args: str, stdin: str | None = None) -> str:
        """What kubectl prints; fails the test when kubectl fails."""
        done = self.kubectl(*args, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr.strip()}"
        return done.stdout

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """One object; fails the test when it is not there."""
        place = ["--namespace", namespace] if namespace else []
        found: Object = json.loads(self.do("get", kind, name, *place, "--output", "json"))
        return found

    def objects(self, kind: str, *args: str) -> list[Object]:
        """Objects of a kind in all namespaces; `args` narrow them as kubectl's flags do."""
        answer = json.loads(self.do("get", kind, "--all-namespaces", "--output", "json", *args))
        items: list[Object] = answer["items"]
        return items


@contextmanager
def running_cluster(name: str, tools: Path, flavour: str = "aws") -> Iterator[EmbeddedCluster]:
    """A cluster of this name, which goes with everything of it at the end."""
    lines: list[str] = []
    try:
        paths = launcher.up(name, tools=tools, flavour=flavour, log=lines.append)
        RUNNING[name] = EmbeddedCluster(paths, tools, lines)
        yield RUNNING[name]
    finally:
        RUNNING.pop(name, None)
        launcher.destroy(name, log=lines.append)


def wait_for_crds(cluster: EmbeddedCluster, *names: str) -> None:
    """Wait until CRDs ("--all": every one) are established."""
    # kubectl wait gives up on a CRD that has no conditions yet, hence the loop around it.
    established = ("wait", "crd", *names, "--for=condition=Established", "--timeout=30s")
    wait_for("CRDs to be established", lambda: cluster.kubectl(*established).returncode == 0, seconds=180)


def wait_for(what: str, check: Callable[[], object], seconds: float = 120) -> object:
    """Poll until `check` returns something true, and return it; fails with what it returned last."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}, last seen: {found!r}"
        time.sleep(0.05)
    return found
