"""Events that the node agent records for pods, repeated ones counted."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib

import aiohttp

from embedded_cluster.kube import ApiError, KubeClient, Object

NORMAL, WARNING = "Normal", "Warning"
MESSAGE_LIMIT = 1024


def now_text() -> str:
    """The present time as Kubernetes writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class EventRecorder:
    """Writes core/v1 Events in the background; failures to write one are not errors."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._counts: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def record(self, pod: Object, kind: str, reason: str, message: str) -> None:
        """Record an event about a pod; the same one again raises its count."""
        task = asyncio.create_task(self._write(pod, kind, reason, message[:MESSAGE_LIMIT]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, pod: Object, kind: str, reason: str, message: str) -> None:
        meta = pod["metadata"]
        digest = hashlib.sha256(f"{meta['uid']}/{reason}/{message}".encode()).hexdigest()[:16]
        name = f"{meta['name']}.{digest}"
        count = self._counts[name] = self._counts.get(name, 0) + 1
        now = now_text()
        with contextlib.suppress(ApiError, aiohttp.ClientError, asyncio.TimeoutError):
            if count > 1:
                patch = {"count": count, "lastTimestamp": now}
                await self._client.patch("v1", "Event", name, patch, meta["namespace"])
                return
            node = pod["spec"].get("nodeName", "")
            await self._client.create(
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": name, "namespace": meta["namespace"]},
                    "involvedObject": {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "name": meta["name"],
                        "namespace": meta["namespace"],
                        "uid": meta["uid"],
                    },
                    "type": kind,
                    "reason": reason,
                    "message": message,
                    "count": 1,
                    "firstTimestamp": now,
                    "lastTimestamp": now,
                    "source": {"component": "kubelet", "host": node},
                    "reportingComponent": "kubelet",
                    "reportingInstance": node,
                }
            )
