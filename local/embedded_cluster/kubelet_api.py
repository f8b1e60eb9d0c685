"""What `kubectl logs` needs from a node: the kubelet's containerLogs endpoint.

Served on every node's address with the cluster's own certificates; only the API server's kubelet
client may ask. Exec, attach and port-forward are refused with a sentence.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

from embedded_cluster.network import KUBELET_PORT
from embedded_cluster.pki import Pki

CLIENT_NAME = "embedded-cluster:kubelet-client"
FOLLOW_POLL_SECONDS = 0.3
LogFiles = Callable[[str, str, bool], Path | None]
"""(namespace, pod, previous) to a log file; None for a pod that is simulated or unknown."""


class KubeletApi:
    """HTTPS server for all nodes; `addresses` are loopback addresses."""

    def __init__(self, pki: Pki, addresses: Sequence[str], log_files: LogFiles) -> None:
        self._pki = pki
        self._addresses = addresses
        self._log_files = log_files
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Open the ports."""
        pair = self._pki.pair("kubelet")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self._pki.ca.certificate))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(str(pair.certificate), str(pair.key))
        app = web.Application(middlewares=[_only_api_server])
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_route("*", "/{rest:.*}", _unsupported)
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        for address in self._addresses:
            await web.TCPSite(self._runner, address, KUBELET_PORT, ssl_context=context, reuse_address=True).start()

    async def stop(self) -> None:
        """Close the ports."""
        if self._runner:
            await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        namespace, pod = request.match_info["namespace"], request.match_info["pod"]
        previous = request.query.get("previous") == "true"
        path = self._log_files(namespace, pod, previous)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        if path is None or not path.exists():
            text = f"no log: pod {namespace}/{pod} runs no process in the embedded cluster\n"
            return web.Response(text=text)
        await response.prepare(request)
        with path.open("rb") as stream:
            await response.write(_last_lines(stream.read(), request.query.get("tailLines")))
            while request.query.get("follow") == "true":
                await asyncio.sleep(FOLLOW_POLL_SECONDS)
                await response.write(stream.read())
                if not path.exists() or path.stat().st_ino != _inode(stream.fileno()):
                    break
        return response


def _last_lines(content: bytes, wanted: str | None) -> bytes:
    if wanted is None:
        return content
    count = int(wanted)
    return b"".join(content.splitlines(keepends=True)[-count:]) if count else b""


def _inode(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


@web.middleware
async def _only_api_server(request: web.Request, handler: Callable[[web.Request], object]) -> web.StreamResponse:
    certificate = request.get_extra_info("peercert") or {}
    names = {value for entry in certificate.get("subject", ()) for kind, value in entry if kind == "commonName"}
    if CLIENT_NAME not in names:
        raise web.HTTPForbidden(text="only the API server may ask a node\n")
    return await handler(request)  # type: ignore[misc, no-any-return]


async def _unsupported(_: web.Request) -> web.Response:
    return web.Response(status=501, text="the embedded cluster runs no containers: only logs are served\n")
