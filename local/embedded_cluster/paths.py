"""Folders and files of one named cluster."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from embedded_cluster.tools import cache_root

SOCKET_PATH_LIMIT = 100
"""Unix socket paths are limited to 107 bytes on Linux."""


@dataclass(frozen=True)
class ClusterPaths:
    """Where a cluster keeps its files; `root` is `<cache>/clusters/<name>`."""

    name: str
    root: Path

    @classmethod
    def of(cls, name: str) -> ClusterPaths:
        """Paths of the named cluster; raises ValueError for a name that is no DNS label."""
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", name):
            raise ValueError(f"cluster name: expected at most 40 lower-case letters, digits and dashes, found {name!r}")
        return cls(name, cache_root() / "clusters" / name)

    @property
    def kubeconfig(self) -> Path:
        """Administrator's kubeconfig (0600, certificates embedded)."""
        return self.root / "kubeconfig"

    @property
    def pull_secret(self) -> Path:
        """A throw-away dockerconfigjson for the private registries."""
        return self.root / "pull-secret.json"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON event a line."""
        return self.root / "audit.log"

    @property
    def state(self) -> Path:
        """What runs: ports, process ids with start times."""
        return self.root / "state.json"

    @property
    def pod_network(self) -> Path:
        """Which pod address and port is which address and port of this machine."""
        return self.root / "run" / "pod-network.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def etcd(self) -> Path:
        return self.root / "etcd"

    @property
    def pods(self) -> Path:
        """One folder per pod that runs as a process."""
        return self.run / "pods"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def egress_socket(self) -> Path:
        """Socket of the proxy from the API server into the cluster, at a path short enough."""
        inside = self.run / "egress.sock"
        if len(str(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"embedded-cluster-{os.getuid()}-{digest}" / "egress.sock"

    def create(self) -> None:
        """Make the folders, readable by their owner only."""
        for folder in (self.root, self.logs, self.run, self.pki, self.pods, self.egress_socket.parent):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
