"""Starting and stopping clusters: what `up` and `down` do."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from embedded_cluster import state as cluster_state
from embedded_cluster.paths import ClusterPaths
from embedded_cluster.processes import stop_all
from embedded_cluster.state import ClusterState, leftovers

STOP_SECONDS = 20.0
SUPERVISOR_LOG = "supervisor.log"
Log = Callable[[str], None]


class ClusterError(Exception):
    """A cluster cannot be started or used; the message says why and what to do."""


def up(name: str, *, tools: Path, flavour: str = "aws", log: Log = print) -> ClusterPaths:
    """Start the named cluster, or leave it alone when it runs; returns its paths.

    Leftovers of a killed launcher are ended first; the cluster's data is kept and used again.
    Raises ClusterError.
    """
    paths = ClusterPaths.of(name)
    paths.create()
    with _locked(paths):
        state = ClusterState.load(paths)
        if state and state.supervisor_alive:
            _wait_for_ready(paths, log)
            return paths
        _end_leftovers(paths, log)
        _launch(paths, tools, flavour, log)
    return paths


def down(name: str, *, keep_data: bool = False, log: Log = print) -> None:
    """Stop the named cluster: no process and no socket stays. Its data goes, its logs stay."""
    paths = ClusterPaths.of(name)
    if not paths.root.exists():
        log(f"embedded cluster {name}: nothing to stop")
        return
    began = time.monotonic()
    with _locked(paths):
        state = ClusterState.load(paths)
        if state and state.supervisor_alive:
            stop_all([state.processes[cluster_state.SUPERVISOR]], grace_seconds=STOP_SECONDS)
        _end_leftovers(paths, log)
        _remove(paths, keep_data)
    log(f"embedded cluster {name}: stopped in {time.monotonic() - began:.1f} s")


def destroy(name: str, *, log: Log = print) -> None:
    """Stop the named cluster and remove everything of it, logs included."""
    down(name, log=log)
    shutil.rmtree(ClusterPaths.of(name).root, ignore_errors=True)


def _launch(paths: ClusterPaths, tools: Path, flavour: str, log: Log) -> None:
    """Start the detached supervisor and follow its progress until the cluster is ready."""
    missing = [name for name in ("etcd", "kube-apiserver", "kwok") if not (tools / "bin" / name).is_file()]
    if missing:
        raise ClusterError(f"{tools / 'bin'}: missing {', '.join(missing)}; build the tools first")
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "embedded_cluster", "supervise", "--name", paths.name]
    command += ["--tools", str(tools), "--flavour", flavour, "--report-fd", str(write_end)]
    log_file = os.open(paths.logs / SUPERVISOR_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            pass_fds=[write_end],
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    finally:
        os.close(write_end)
        os.close(log_file)
    with os.fdopen(read_end) as events:
        for line in events:
            event = json.loads(line)
            if "error" in event:
                raise ClusterError(f"embedded cluster {paths.name} did not start: {event['error']}")
            if event.get("ready"):
                log(f"embedded cluster {paths.name}: up in {event['seconds']} s, kubeconfig {paths.kubeconfig}")
                return
            log(f"  {event['seconds']:5.1f} s  {event['step']}")
    raise ClusterError(f"embedded cluster {paths.name} did not start; see {paths.logs / SUPERVISOR_LOG}")


def _wait_for_ready(paths: ClusterPaths, log: Log) -> None:
    """Another `up` may still be starting the cluster."""
    while True:
        state = ClusterState.load(paths)
        if state is None or not state.supervisor_alive:
            raise ClusterError(f"embedded cluster {paths.name} stopped while starting; see {paths.logs}")
        if state.status == cluster_state.READY:
            log(f"embedded cluster {paths.name}: already up, kubeconfig {paths.kubeconfig}")
            return
        time.sleep(0.1)


def _end_leftovers(paths: ClusterPaths, log: Log) -> None:
    """End recorded processes whose supervisor is gone, and remove their sockets."""
    found = leftovers(paths)
    if found:
        log(f"embedded cluster {paths.name}: ending {len(found)} processes left by a killed launcher")
        stop_all(found, grace_seconds=2.0)
    paths.egress_socket.unlink(missing_ok=True)
    shutil.rmtree(paths.pods, ignore_errors=True)
    for name in ("node-agent.ready", "pod-processes.json", "pod-network.json"):
        (paths.run / name).unlink(missing_ok=True)
    paths.create()


def _remove(paths: ClusterPaths, keep_data: bool) -> None:
    """Remove what a stopped cluster leaves on disk, except its logs and audit log."""
    shutil.rmtree(paths.run, ignore_errors=True)
    if paths.egress_socket.parent != paths.run:
        shutil.rmtree(paths.egress_socket.parent, ignore_errors=True)
    if keep_data:
        return
    shutil.rmtree(paths.etcd, ignore_errors=True)
    shutil.rmtree(paths.pki, ignore_errors=True)
    for path in (paths.kubeconfig, paths.pull_secret, paths.state):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(paths: ClusterPaths) -> Iterator[None]:
    """One `up` or `down` of a cluster at a time."""
    with paths.lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
