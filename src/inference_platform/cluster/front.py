"""The gateway as a client on this machine finds it: by which address, and whose certificate to trust."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3

from inference_platform.cluster.client import Cluster


@dataclass(frozen=True)
class Front:
    """How requests get to the gateway.

    address      what the Gateway reports, "" when nothing is known
    hostnames    names of its HTTPS listeners; *.DOMAIN stands for all of a domain
    authorities  certificates (PEM) that clients need besides those of this machine
    """

    address: str = ""
    hostnames: tuple[str, ...] = ()
    authorities: str = ""

    def host_for(self, host: str) -> str:
        """Where to connect for a host name: itself, or the gateway where DNS does not know a name of the gateway."""
        if self.address and self.serves(host) and not _in_dns(host):
            return self.address
        return host

    def serves(self, host: str) -> bool:
        """Whether a name is one of the gateway's listeners."""
        return any(_fits(host, pattern) for pattern in self.hostnames)

    def http(self, **settings: Any) -> urllib3.PoolManager:
        """Connections that verify the gateway's certificate and find it by its names."""
        return _Connections(self, ssl_context=self._context(), **settings)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.authorities:
            context.load_verify_locations(cadata=self.authorities)
        return context


def front_of(cluster: Cluster, gateway: Mapping[str, Any]) -> Front:
    """The gateway of a plan (``platform["gateway"]``); one without HTTPS listeners of ours needs no look."""
    https = gateway["https"]
    if not https["enabled"]:
        return Front()
    found = cluster.get("gateway.networking.k8s.io/v1", "Gateway", gateway["name"], gateway["namespace"]) or {}
    addresses = (found.get("status") or {}).get("addresses") or [{}]
    secret = cluster.get("v1", "Secret", https["secret"], gateway["namespace"]) or {}
    authority = base64.b64decode((secret.get("data") or {}).get("ca.crt", "")).decode("utf-8", "replace")
    return Front(str(addresses[0].get("value", "")), tuple(https["hostnames"]), authority)


class _Connections(urllib3.PoolManager):
    """A pool that connects to the gateway for its names, and still asks for, and verifies, the name."""

    def __init__(self, front: Front, **settings: Any) -> None:
        super().__init__(**settings)
        self._front = front

    def connection_from_host(
        self,
        host: str | None,
        port: int | None = None,
        scheme: str | None = "http",
        pool_kwargs: dict[str, Any] | None = None,
    ) -> urllib3.HTTPConnectionPool:
        place = self._front.host_for(host or "")
        if place != host:
            pool_kwargs = {**self.connection_pool_kw, **(pool_kwargs or {})}
            pool_kwargs |= {"server_hostname": host, "assert_hostname": host}
        return super().connection_from_host(place, port, scheme, pool_kwargs)

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **settings: Any
    ) -> urllib3.BaseHTTPResponse:
        """As that of the base class, with the name of the URL as the host of the request."""
        headers = {**(settings.pop("headers", None) or {}), "Host": urlsplit(url).netloc}
        return super().urlopen(method, url, redirect=redirect, headers=headers, **settings)


def _fits(host: str, pattern: str) -> bool:
    """Whether a listener's host name covers a name; a star is one or more labels, as in the Gateway API."""
    return host.endswith(pattern[1:]) and host != pattern[2:] if pattern.startswith("*.") else host == pattern


def _in_dns(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror:
        return False
    return True
