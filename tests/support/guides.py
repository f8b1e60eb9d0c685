"""The commands of a guide in docs/, run on a cluster as its reader would run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator

from tests.support.clusters import EmbeddedCluster, wait_for
from tests.support.playbook import REPOSITORY

_UNINSTALL = re.compile(r"helm uninstall (\S+) -n (\S+)")
#: A comment behind a command that says that it shows nothing.
_SHOWS_NONE = re.compile(r"\s# none")


def commands(guide: str, section: str) -> list[str]:
    """The commands in the indented blocks of a section, those over several lines joined."""
    text = (REPOSITORY / "docs" / guide).read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    block = "\n".join(line.strip() for line in body.splitlines() if line.startswith("    "))
    return block.replace("\\\n", "").splitlines()


def follow(cluster: EmbeddedCluster, lines: list[str]) -> list[str]:
    """Runs the commands, but for releases that are not there; the names of the releases that were uninstalled.

    Fails when a command fails, or shows something where its comment says that it shows none.
    """
    return [name for line in lines for name in _follow(cluster, line)]


def _follow(cluster: EmbeddedCluster, line: str) -> Iterator[str]:
    uninstalls = _UNINSTALL.match(line)
    if uninstalls and uninstalls.groups() not in set(releases(cluster)):
        return
    if _SHOWS_NONE.search(line):
        # What belonged to an object that was deleted is collected a moment later.
        wait_for(f"{line} to show nothing", lambda: _run(cluster, line).stdout == "", seconds=60)
        return
    done = _run(cluster, line)
    assert done.returncode == 0, f"{line}: {done.stderr}"
    if uninstalls:
        yield uninstalls[1]


def releases(cluster: EmbeddedCluster) -> list[tuple[str, str]]:
    """Name and namespace of each Helm release."""
    done = _run(cluster, "helm list --all-namespaces --output json")
    return [(item["name"], item["namespace"]) for item in json.loads(done.stdout)]


def _run(cluster: EmbeddedCluster, line: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "KUBECONFIG": str(cluster.paths.kubeconfig),
        "PATH": f"{cluster.tools / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
