"""Container probes: what a pod asks for, and asking it on this machine.

Delays are those of the pod once a container is ready; until then probes are repeated quickly
and the initial delay of readiness and startup probes is left out, so that an installation does
not wait for nothing. HTTPS probes only connect: a kubelet does not verify their certificates,
and nothing here talks TLS without verifying.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from embedded_cluster import grpc_health
from embedded_cluster.programs import Endpoint

UNREADY_PERIOD_SECONDS = 0.2
Check = Callable[["Probe"], Awaitable[str | None]]
"""Asks a probe; returns None when it passes, else why not."""


@dataclass(frozen=True)
class Probe:
    """One probe of a container; `port` is the pod's port, 0 for an exec probe, `service` what a gRPC probe asks for."""

    kind: str
    port: int
    path: str = ""
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    failure_threshold: int = 3
    service: str = ""


def probe_of(container: Mapping[str, Any], name: str) -> Probe | None:
    """The container's probe `name` (readinessProbe, livenessProbe, startupProbe), or None.

    Raises ValueError when it names a port that the container does not declare.
    """
    spec = container.get(name)
    if not spec:
        return None
    kind = next((kind for kind in ("httpGet", "tcpSocket", "grpc") if kind in spec), "exec")
    handler: dict[str, Any] = spec.get(kind) or {}
    return Probe(
        kind=kind if (handler.get("scheme") or "HTTP") == "HTTP" else "tcpSocket",
        port=0 if kind == "exec" else port_of(container, handler["port"], name),
        path=handler.get("path") or "/",
        initial_delay=float(spec.get("initialDelaySeconds") or 0),
        period=float(spec.get("periodSeconds") or 10),
        timeout=float(spec.get("timeoutSeconds") or 1),
        failure_threshold=int(spec.get("failureThreshold") or 3),
        service=handler.get("service") or "",
    )


def port_of(container: Mapping[str, Any], port: int | str, where: str) -> int:
    """A port number or the number of a named container port."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for item in container.get("ports") or []:
        if item.get("name") == port:
            return int(item["containerPort"])
    raise ValueError(f"{where}: container {container['name']} declares no port named {port}")


def network_check(locate: Callable[[int], tuple[str, int]]) -> Check:
    """Asks over the network; `locate` maps a pod port to (host, port)."""

    async def check(probe: Probe) -> str | None:
        if probe.kind == "exec":
            return None
        host, port = locate(probe.port)
        try:
            async with asyncio.timeout(probe.timeout):
                if probe.kind == "httpGet":
                    return await _http_get(host, port, probe.path)
                if probe.kind == "grpc":
                    return await grpc_health.check(host, port, probe.service)
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return None
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            detail = "timeout" if isinstance(error, asyncio.TimeoutError) else "connection refused"
            return f"{probe.kind} port {probe.port}: {detail}"

    return check


def declared_check(endpoints: Sequence[Endpoint]) -> Check:
    """Asks the list of what the real program answers, for stand-ins; an empty list answers all."""

    async def check(probe: Probe) -> str | None:
        if probe.kind == "exec" or not endpoints:
            return None
        endpoint = next((item for item in endpoints if item.port == probe.port), None)
        if endpoint is None:
            return f"{probe.kind} port {probe.port}: connection refused"
        if probe.kind == "httpGet" and endpoint.paths and probe.path.split("?")[0] not in endpoint.paths:
            return f"HTTP probe failed with statuscode: 404 ({probe.path})"
        return None

    return check


async def run_probes(
    container: Mapping[str, Any],
    check: Check,
    *,
    on_started: Callable[[], None],
    on_ready: Callable[[bool, str], None],
    on_dead: Callable[[str], None],
) -> None:
    """Probe one container until cancelled.

    `on_ready(ready, why_not)` is called when readiness changes or first fails; `on_dead(reason)`
    when the liveness or startup probe has failed as often as it may.
    """
    startup = probe_of(container, "startupProbe")
    if startup and not await _until_passed(startup, check, on_dead):
        return
    on_started()
    async with asyncio.TaskGroup() as group:
        group.create_task(_readiness(probe_of(container, "readinessProbe"), check, on_ready))
        if liveness := probe_of(container, "livenessProbe"):
            group.create_task(_liveness(liveness, check, on_dead))


async def _until_passed(probe: Probe, check: Check, on_dead: Callable[[str], None]) -> bool:
    """Wait for a startup probe; False when its time is over."""
    deadline = asyncio.get_running_loop().time() + probe.initial_delay + probe.period * probe.failure_threshold
    while (reason := await check(probe)) is not None:
        if asyncio.get_running_loop().time() > deadline:
            on_dead(f"startup probe failed: {reason}")
            return False
        await asyncio.sleep(UNREADY_PERIOD_SECONDS)
    return True


async def _readiness(probe: Probe | None, check: Check, on_ready: Callable[[bool, str], None]) -> None:
    if probe is None:
        on_ready(True, "")
        return
    ready, failures = False, 0
    while True:
        reason = await check(probe)
        failures = failures + 1 if reason else 0
        if reason is None and not ready:
            ready = True
            on_ready(True, "")
        elif reason and (failures == probe.failure_threshold or (not ready and failures == 1)):
            ready = False
            on_ready(False, f"Readiness probe failed: {reason}")
        await asyncio.sleep(probe.period if ready else UNREADY_PERIOD_SECONDS)


async def _liveness(probe: Probe, check: Check, on_dead: Callable[[str], None]) -> None:
    await asyncio.sleep(probe.initial_delay)
    failures = 0
    while True:
        reason = await check(probe)
        failures = failures + 1 if reason else 0
        if failures >= probe.failure_threshold:
            on_dead(f"Liveness probe failed: {reason}")
            return
        await asyncio.sleep(probe.period)


async def _http_get(host: str, port: int, path: str) -> str | None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{host}:{port}{path}", allow_redirects=False) as answer,
    ):
        with contextlib.suppress(aiohttp.ClientError):
            await answer.read()
        if 200 <= answer.status < 400:
            return None
        return f"HTTP probe failed with statuscode: {answer.status}"
