"""The way into the cluster: a CONNECT proxy that finds the process behind an address.

The API server's egress selector sends `CONNECT host:port` for webhooks, logs and proxied
requests. `host` is a pod's or node's address, a Service's cluster IP or its DNS name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from embedded_cluster.kube import Object
from embedded_cluster.network import API_SERVICE_ADDRESS, KUBELET_PORT, Network, host_address

CONNECT_SECONDS = 5.0
REQUEST_LIMIT = 8192
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_log = logging.getLogger(__name__)


class NoRouteError(Exception):
    """Nothing answers at an address; the text says why."""


@dataclass(frozen=True)
class PodEndpoint:
    """A pod with an address: whether a process stands behind it, and ports it has elsewhere."""

    namespace: str
    name: str
    simulated: bool
    overrides: dict[int, int] = field(default_factory=dict)


@dataclass
class Directory:
    """Finds the host address behind cluster addresses. The functions read live caches."""

    network: Network
    api_port: int
    pods: dict[str, PodEndpoint]
    services: Callable[[], Iterable[Object]]
    endpoint_slices: Callable[[], Iterable[Object]]

    def resolve(self, host: str, port: int) -> tuple[str, int]:
        """(address, port) on this machine for an address of the cluster; raises NoRouteError."""
        if host in (self.network.api_address, API_SERVICE_ADDRESS):
            return "127.0.0.1", self.api_port
        if host in self.pods:
            return self._pod_port(host, port)
        if self.network.owns(host):
            if port == KUBELET_PORT:
                return host_address(host), port
            raise NoRouteError(f"no pod has address {host}")
        service = self._service(host)
        if service is None:
            raise NoRouteError(f"{host} is neither a pod, a node nor a service of this cluster")
        return self.resolve(*random.choice(self._candidates(service, port)))

    def addresses(self, host: str, port: int) -> list[tuple[str, int]]:
        """All that `resolve` could give, sorted: of a Service one for each ready endpoint."""
        service = self._service(host)
        if service is None:
            return [self.resolve(host, port)]
        return sorted(self.resolve(*candidate) for candidate in self._candidates(service, port))

    def _pod_port(self, address: str, port: int) -> tuple[str, int]:
        pod = self.pods[address]
        if pod.simulated:
            raise NoRouteError(f"pod {pod.namespace}/{pod.name} is simulated, nothing listens on port {port}")
        return host_address(address), pod.overrides.get(port, port)

    def _service(self, host: str) -> Object | None:
        """The Service with a cluster IP or DNS name."""
        by_name = re.fullmatch(r"([^.]+)\.([^.]+)\.svc(\.cluster\.local)?\.?", host)
        for service in self.services():
            meta = service["metadata"]
            if by_name and (meta["name"], meta["namespace"]) == by_name.group(1, 2):
                return service
            if not by_name and host in (service["spec"].get("clusterIPs") or []):
                return service
        return None

    def _candidates(self, service: Object, port: int) -> list[tuple[str, int]]:
        """The ready endpoints of a Service's port."""
        meta = service["metadata"]
        label = f"{meta['namespace']}/{meta['name']}"
        wanted = next((item for item in service["spec"].get("ports") or [] if item["port"] == port), None)
        if wanted is None:
            raise NoRouteError(f"service {label} has no port {port}")
        port_name = wanted.get("name") or ""
        candidates = [
            (endpoint["addresses"][0], target)
            for item in self.endpoint_slices()
            if _service_of(item) == (meta["namespace"], meta["name"])
            for target in _ports_named(item, port_name)
            for endpoint in item.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready", True)
        ]
        if not candidates:
            raise NoRouteError(f"no ready endpoint for service {label} port {port}")
        return candidates


def _service_of(endpoint_slice: Object) -> tuple[str, str | None]:
    """(namespace, name) of the Service that an EndpointSlice belongs to."""
    meta = endpoint_slice["metadata"]
    return meta["namespace"], (meta.get("labels") or {}).get(SERVICE_NAME_LABEL)


def _ports_named(endpoint_slice: Object, name: str) -> list[int]:
    return [item["port"] for item in endpoint_slice.get("ports") or [] if (item.get("name") or "") == name]


class EgressProxy:
    """HTTP CONNECT over a unix socket."""

    def __init__(self, directory: Directory, socket: Path) -> None:
        self._directory = directory
        self._socket = socket
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Open the socket (0600)."""
        self._socket.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._socket))
        self._socket.chmod(0o600)

    async def stop(self) -> None:
        """Close the socket and remove it."""
        if self._server:
            self._server.close()
        self._socket.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            host, port = await _read_connect(reader)
        except (ValueError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.close()
            return
        try:
            address = self._directory.resolve(host, port)
            async with asyncio.timeout(CONNECT_SECONDS):
                upstream_reader, upstream_writer = await asyncio.open_connection(*address)
        except NoRouteError as error:
            await _refuse(writer, str(error))
        except (TimeoutError, OSError):
            await _refuse(writer, f"connection to {host}:{port} refused")
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pipe(reader, upstream_writer), _pipe(upstream_reader, writer))


async def _read_connect(reader: asyncio.StreamReader) -> tuple[str, int]:
    """Host and port of a CONNECT request; raises ValueError for anything else."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
    if method != "CONNECT" or len(head) > REQUEST_LIMIT:
        raise ValueError(f"expected CONNECT, found {method}")
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


async def _refuse(writer: asyncio.StreamWriter, reason: str) -> None:
    """Answer 502; the reason goes into the status line, where the API server's errors show it."""
    _log.info("refused: %s", reason)
    writer.write(f"HTTP/1.1 502 {reason}\r\nContent-Length: 0\r\n\r\n".encode())
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(ConnectionError, OSError, RuntimeError):
        writer.close()
