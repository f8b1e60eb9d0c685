"""The API server as programs see it that connect to pods: with the pods' addresses of this machine.

Pods have addresses 10.x.y.z in the cluster and the same with 127 here (see `network`). A program that reads pods and
connects to them, such as the endpoint picker, gets its API through this proxy, which changes nothing but the addresses
in pods. Tokens pass through, so the program has the rights of its own ServiceAccount and no others.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web

from embedded_cluster.network import Network
from embedded_cluster.pki import KeyPair

PORT = 6443
_PODS = re.compile(r"/api/v1/(namespaces/[^/]+/)?pods(/[^/]+)?")
_HOP_BY_HOP = frozenset({"connection", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})


class PodView:
    """A reverse proxy at `https://<address>:6443`; `pair` is its certificate, signed by `authority`."""

    def __init__(self, network: Network, address: str, pair: KeyPair, server: str, authority: Path) -> None:
        self.url = f"https://{address}:{PORT}"
        self.certificate_name = "127.0.0.1"
        self._address = address
        self._pair = pair
        self._server = server
        self._authority = authority
        self._own_pods = re.compile(rb'("(?:podIP|ip)":\s*")10\.(?=%d\.)' % network.octet)
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the port."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(str(self._pair.certificate), str(self._pair.key))
        trust = ssl.create_default_context(cafile=str(self._authority))
        connector = aiohttp.TCPConnector(ssl=trust, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._forward, access_log=None), handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._address, PORT, ssl_context=context, reuse_address=True).start()

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._session:
            await self._session.close()
        if self._runner:
            await self._runner.cleanup()

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        translate = bool(_PODS.fullmatch(request.path))
        if translate:
            headers |= {"Accept": "application/json", "Accept-Encoding": "identity"}
        body = await request.read() if request.can_read_body else None
        url = self._server + request.path_qs
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body, allow_redirects=False
            ) as answer:
                return await self._pass_on(request, answer, translate=translate)
        except aiohttp.ClientConnectionError as error:
            return web.Response(status=502, text=f"the API server does not answer: {error}\n")

    async def _pass_on(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, *, translate: bool
    ) -> web.StreamResponse:
        dropped = _HOP_BY_HOP | ({"content-length"} if translate else set())
        headers = {name: value for name, value in answer.headers.items() if name.lower() not in dropped}
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        chunks = _lines(answer.content) if translate else answer.content.iter_any()
        with contextlib.suppress(ConnectionError):
            async for chunk in chunks:
                await response.write(self.translated(chunk) if translate else chunk)
            await response.write_eof()
        return response

    def translated(self, content: bytes) -> bytes:
        """JSON of pods with their addresses on this machine."""
        return self._own_pods.sub(rb"\g<1>127.", content)


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length: a watch sends one event a line, a list may be one long line."""
    rest = b""
    with contextlib.suppress(asyncio.IncompleteReadError):
        async for chunk in stream.iter_any():
            rest += chunk
            head, newline, tail = rest.rpartition(b"\n")
            if newline:
                yield head + newline
                rest = tail
    if rest:
        yield rest
