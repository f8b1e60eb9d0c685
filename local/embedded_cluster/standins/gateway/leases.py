"""The leases istiod holds while it writes (section 1.1): 30 s, renewed every 7.5 s, emptied on a clean stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
from embedded_cluster.kube import ApiError
from embedded_cluster.standins.program import ProgramError

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

API_VERSION = "coordination.k8s.io/v1"
DURATION_SECONDS = 30
RENEW_SECONDS = 7.5
RETRY_SECONDS = 2.0


@contextlib.asynccontextmanager
async def held(pod: PodEnvironment, name: str, tasks: asyncio.TaskGroup) -> AsyncIterator[None]:
    """Wait for the lease in the pod's namespace, keep it for the body, then give it up.

    Losing it ends the program, as the task group ends with the renewal. The identity is the pod's name, so a
    container that restarts takes its own lease over at once.
    """
    await _acquire(pod, name)
    keeper = tasks.create_task(_keep(pod, name), name=f"lease {name}")
    try:
        yield
    finally:
        keeper.cancel()
        with contextlib.suppress(ApiError, aiohttp.ClientError, OSError):
            await _write(pod, name, await _get(pod, name), "")


def holder_after(lease: dict[str, Any] | None, identity: str, now: datetime) -> str:
    """Who holds the lease at `now` apart from `identity`; empty when `identity` may take it."""
    spec = (lease or {}).get("spec") or {}
    holder = str(spec.get("holderIdentity") or "")
    if not holder or holder == identity or not spec.get("renewTime"):
        return ""
    expires = datetime.fromisoformat(spec["renewTime"]) + timedelta(seconds=spec.get("leaseDurationSeconds", 0))
    return holder if now < expires else ""


async def _acquire(pod: PodEnvironment, name: str) -> None:
    waiting_for = ""
    while True:
        lease = await _get(pod, name)
        holder = holder_after(lease, pod.name, datetime.now(UTC))
        if not holder:
            with contextlib.suppress(ApiError):  # somebody was faster, or the API server is away: look again
                await _write(pod, name, lease, pod.name)
                return
        elif holder != waiting_for:
            waiting_for = holder
            pod.log.info("lease %s is held by %s, waiting", name, holder)
        await asyncio.sleep(RETRY_SECONDS)


async def _keep(pod: PodEnvironment, name: str) -> None:
    loop = asyncio.get_running_loop()
    renewed = loop.time()
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        try:
            lease = await _get(pod, name)
            if holder := holder_after(lease, pod.name, datetime.now(UTC)):
                raise ProgramError(f"lease {name} lost to {holder}")
            await _write(pod, name, lease, pod.name)
            renewed = loop.time()
        except (TimeoutError, ApiError, OSError) as error:
            pod.log.warning("lease %s: %s", name, error)
            if loop.time() - renewed > DURATION_SECONDS:
                raise


async def _get(pod: PodEnvironment, name: str) -> dict[str, Any] | None:
    return await pod.client.get(API_VERSION, "Lease", name, pod.namespace)


async def _write(pod: PodEnvironment, name: str, lease: dict[str, Any] | None, holder: str) -> None:
    """Create or update the lease for `holder`; raises ApiError when another was faster."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    before = (lease or {}).get("spec") or {}
    kept = before.get("holderIdentity") == holder
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": DURATION_SECONDS,
        "acquireTime": before.get("acquireTime", now) if kept else now,
        "renewTime": now,
        "leaseTransitions": before.get("leaseTransitions", 0) + (1 if before and holder and not kept else 0),
    }
    if lease is not None:
        await pod.client.update({**lease, "spec": spec})
        return
    metadata = {"name": name, "namespace": pod.namespace}
    await pod.client.create({"apiVersion": API_VERSION, "kind": "Lease", "metadata": metadata, "spec": spec})
