"""Brings proxies their configuration: as files that Envoy watches, in an order that loses no request."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded_cluster.private_files import write_private
from embedded_cluster.proxy import CLUSTERS_FILE, LISTENERS_FILE
from embedded_cluster.standins.gateway.proxies import ProxyConfig

WARMING_SECONDS = 0.3
"""What Envoy needs at most until a new cluster can be used."""
RETIREMENT_SECONDS = 2.0
"""A cluster that no route names any more goes this much later, so that requests under way reach it."""


@dataclass
class Written:
    """What a proxy's folder holds, and when clusters went out of use (loop time)."""

    files: dict[str, str] = field(default_factory=dict)
    clusters: dict[str, Any] = field(default_factory=dict)
    retired: dict[str, float] = field(default_factory=dict)


class ProxyFiles:
    """Writes configurations; remembers what it wrote, so that nothing is written twice."""

    def __init__(self) -> None:
        self._written: dict[str, Written] = {}

    async def publish(self, configs: list[ProxyConfig]) -> float | None:
        """Write what changed; the seconds after which it has to be called again, None when all is done."""
        for gone in self._written.keys() - {config.folder for config in configs}:
            del self._written[gone]
        again = [await self._publish(config) for config in configs]
        return min((seconds for seconds in again if seconds is not None), default=None)

    async def _publish(self, config: ProxyConfig) -> float | None:
        folder = Path(config.folder)
        if not (folder / LISTENERS_FILE).exists():
            self._written.pop(config.folder, None)
            return WARMING_SECONDS  # its process is being started
        written = self._written.setdefault(config.folder, Written())
        now = asyncio.get_running_loop().time()
        fresh = bool(config.clusters.keys() - written.clusters.keys())
        waits = self._retire(written, config, now)
        self._write(folder, written, CLUSTERS_FILE, list(written.clusters.values()))
        if fresh:
            await asyncio.sleep(WARMING_SECONDS)
        for name, resource in config.routes.items():
            self._write(folder, written, name, [resource])
        self._write(folder, written, LISTENERS_FILE, list(config.listeners))
        return waits

    def _retire(self, written: Written, config: ProxyConfig, now: float) -> float | None:
        """Brings `written.clusters` up to date; the seconds until the next one may go."""
        for name in written.clusters.keys() - config.clusters.keys():
            if now - written.retired.setdefault(name, now) >= RETIREMENT_SECONDS:
                del written.clusters[name], written.retired[name]
        for name in config.clusters:
            written.retired.pop(name, None)
        written.clusters |= config.clusters
        return RETIREMENT_SECONDS if written.retired else None

    def _write(self, folder: Path, written: Written, name: str, resources: list[Any]) -> None:
        content = json.dumps({"resources": resources})
        if written.files.get(name) != content:
            write_private(folder / name, content)
            written.files[name] = content
