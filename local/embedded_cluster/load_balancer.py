"""Addresses for Services of type LoadBalancer, as a cloud's controller gives them after a while."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Any

import aiohttp

from embedded_cluster.kube import ApiError, KubeClient, Object, key_of
from embedded_cluster.network import Network

_log = logging.getLogger(__name__)


class LoadBalancers:
    """Puts an address into each Service's status; `settings` is the flavour's load_balancer."""

    def __init__(self, client: KubeClient, network: Network, settings: dict[str, Any]) -> None:
        self._client = client
        self._settings = settings
        self._network = network
        self._given: dict[tuple[str, str], str] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def on_service(self, event: str, service: Object) -> None:
        """Take in a change of a Service."""
        key = key_of(service)
        wanted = event != "DELETED" and service["spec"].get("type") == "LoadBalancer"
        wanted = wanted and self._settings["kind"] != "none"
        if not wanted:
            self._given.pop(key, None)
            return
        ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        if ingress:
            self._given[key] = ingress[0].get("ip") or ""
        elif key not in self._tasks:
            task = asyncio.create_task(self._assign(key))
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _assign(self, key: tuple[str, str]) -> None:
        await asyncio.sleep(float(self._settings["delay_seconds"]))
        namespace, name = key
        entry = self._entry(key)
        try:
            await self._client.patch_status("v1", "Service", name, {"loadBalancer": {"ingress": [entry]}}, namespace)
        except (TimeoutError, ApiError, aiohttp.ClientError) as error:
            _log.warning("service %s/%s gets no load balancer: %s", namespace, name, error)
        else:
            _log.info("service %s/%s has load balancer %s", namespace, name, entry)

    def _entry(self, key: tuple[str, str]) -> Object:
        namespace, name = key
        if self._settings["kind"] == "hostname":
            digest = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()[:32]
            return {"hostname": self._settings["hostname"].format(name=name, namespace=namespace, digest=digest)}
        if not self._given.get(key):
            taken = set(self._given.values())
            self._given[key] = next(item for item in self._network.load_balancer_addresses() if item not in taken)
        return {"ip": self._given[key], "ipMode": "VIP"}
