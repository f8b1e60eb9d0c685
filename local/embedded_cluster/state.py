"""What is recorded about a cluster on disk: `state.json`, and who runs according to it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from embedded_cluster.paths import ClusterPaths
from embedded_cluster.private_files import write_private
from embedded_cluster.processes import ProcessId

STARTING, READY, FAILED, STOPPED = "starting", "ready", "failed", "stopped"
SUPERVISOR = "supervisor"


@dataclass
class ClusterState:
    """Contents of state.json.

    `processes` maps a process name to its identity; `supervisor` is the launcher itself,
    `pod/<namespace>/<name>` a pod's program.
    """

    name: str
    status: str = STARTING
    octet: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    flavour: str = "aws"
    started_at: str = ""
    seconds_to_ready: float | None = None
    message: str = ""
    processes: dict[str, ProcessId] = field(default_factory=dict)

    @classmethod
    def load(cls, paths: ClusterPaths) -> ClusterState | None:
        """The recorded state, None when there is none (or none that can be read)."""
        try:
            data = json.loads(paths.state.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        processes = {name: ProcessId.from_dict(item) for name, item in data.pop("processes").items()}
        return cls(**data, processes=processes)

    def save(self, paths: ClusterPaths) -> None:
        """Write state.json (0600, in one step)."""
        data: dict[str, Any] = {**vars(self), "processes": {}}
        data["processes"] = {name: item.to_dict() for name, item in self.processes.items()}
        write_private(paths.state, json.dumps(data, indent=2) + "\n")

    @property
    def supervisor_alive(self) -> bool:
        supervisor = self.processes.get(SUPERVISOR)
        return supervisor is not None and supervisor.alive()


def pod_processes(paths: ClusterPaths) -> dict[str, ProcessId]:
    """Programs of pods, as the node agent recorded them in `run/pod-processes.json`."""
    try:
        data = json.loads((paths.run / "pod-processes.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {name: ProcessId.from_dict(item) for name, item in data.items()}


def save_pod_processes(paths: ClusterPaths, processes: dict[str, ProcessId]) -> None:
    """Record the programs of pods."""
    content = {name: item.to_dict() for name, item in processes.items()}
    write_private(paths.run / "pod-processes.json", json.dumps(content))


def leftovers(paths: ClusterPaths) -> list[ProcessId]:
    """Recorded processes that still run although nobody supervises them any more."""
    state = ClusterState.load(paths)
    recorded = {**(state.processes if state else {}), **pod_processes(paths)}
    return [process for process in recorded.values() if process.alive()]
