"""The process that serves all pods of models of a cluster: `python -m embedded_cluster.model_server.host`.

The node agent talks to it over standard input and output, one JSON object a line:

    in   {"start": ID, "pod": "namespace/name", "command": [...], "args": [...], "env": {...}, "annotations": {...},
          "address": "127.64.8.3", "extra_ports": [8000], "root": "/path", "log": "/path"}
    in   {"stop": ID, "seconds": 5}      {"reload": ID} (certificates)      {"pace": ID, "annotations": {...}}
    in   {"reach": ID, "endpoint": "tcp://127.64.8.9:5557"} (where to send KV events)
    out  {"exited": ID, "code": 0}       {"find": ID, "host": "picker.team.svc", "port": 5557}

Each server listens on its pod's loopback address only.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import ssl
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from embedded_cluster.model_server.api import ModelServer
from embedded_cluster.model_server.command_line import USAGE_EXIT, ServerSettings, UsageError, parse
from embedded_cluster.model_server.engine import Pace

if TYPE_CHECKING:
    from embedded_cluster.model_server.event_publisher import Publisher

BACKLOG = 1024
LINE_LIMIT = 4 * 1024 * 1024
NOTICE_SECONDS = 0.3
"""A server goes on for a moment after it is told to stop, as vLLM does while it winds up its engine."""
Message = dict[str, Any]


class Server:
    """The server of one pod, from its start to its end."""

    def __init__(self, message: Message) -> None:
        self.id = str(message["start"])
        self._message = message
        self._env: dict[str, str] = message["env"]
        self._stop = asyncio.Event()
        self._grace = 0.0
        self._context: ssl.SSLContext | None = None
        self._settings: ServerSettings | None = None
        self._server: ModelServer | None = None
        self._publisher: Publisher | None = None

    async def run(self) -> int:
        """Serve until stopped; the exit code. Everything worth saying goes to the pod's log."""
        log = logging.Logger(self.id)
        handler = logging.FileHandler(self._message["log"])
        handler.setFormatter(logging.Formatter("%(levelname)s %(asctime)s %(message)s"))
        log.addHandler(handler)
        try:
            return await self._serve(log)
        except UsageError as error:
            log.error("%s", error)
            return USAGE_EXIT
        except (OSError, ValueError) as error:
            log.error("%s", error)
        except Exception as error:
            log.error("%s", "".join(traceback.format_exception(error)).rstrip())
        finally:
            handler.close()
        return 1

    async def _serve(self, log: logging.Logger) -> int:
        settings = parse(self._message["command"], self._message["args"], self._env)
        settings = settings.inside(self._message["root"])
        pace = Pace.of(self._message["annotations"], self._env)
        self._settings = settings
        log.info("simulated vLLM, model %s served as %s", settings.model, ", ".join(settings.served_names))
        if settings.headless:
            log.info("headless: no API server on this pod")
            await self._stop.wait()
            return 0
        await asyncio.sleep(pace.load_seconds)
        publisher = self._publisher = self._new_publisher(settings, log)
        server = self._server = ModelServer(settings, pace, self._message["pod"], publisher)
        runner = web.ServerRunner(server.http())
        try:
            await runner.setup()
            context = self._tls(settings)
            for port in sorted({settings.port, *self._message["extra_ports"]}):
                address = self._message["address"]
                options = {"ssl_context": context, "backlog": BACKLOG, "reuse_address": True}
                await web.TCPSite(runner, address, port, **options).start()
                log.info("listening on port %d%s", port, " (TLS)" if context else "")
            await self._stop.wait()
            await asyncio.sleep(min(NOTICE_SECONDS, self._grace))
            log.info("shutting down, %d requests in flight", len(server.engine.running))
            for site in list(runner.sites):
                await site.stop()
            await self._until_idle(server)
        finally:
            await runner.cleanup()
            if publisher:
                publisher.close()
        return 0

    def _new_publisher(self, settings: ServerSettings, log: logging.Logger) -> Publisher | None:
        if not settings.events.published:
            return None
        from embedded_cluster.model_server.event_publisher import Publisher  # ZeroMQ only for those who ask for it

        namespace = self._message["pod"].partition("/")[0]
        publisher = Publisher(settings.events, self._message["address"], namespace)
        way = "listening at" if publisher.listens else "connecting to"
        log.info("KV events with topic %s: %s %s", settings.events.topic, way, publisher.endpoint)
        if publisher.wanted:
            host, port = publisher.wanted
            _tell({"find": self.id, "host": host, "port": port})
        return publisher

    def _tls(self, settings: ServerSettings) -> ssl.SSLContext | None:
        if settings.certificate:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(settings.certificate, settings.key)
        return self._context

    async def _until_idle(self, server: ModelServer) -> None:
        """Let requests in flight come to their end, within the grace period."""
        deadline = asyncio.get_running_loop().time() + self._grace
        while (server.engine.running or server.engine.waiting) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)

    def stop(self, seconds: float) -> None:
        """End within so many seconds."""
        self._grace = seconds
        self._stop.set()

    def reload(self) -> None:
        """Read the certificate again, as --enable-ssl-refresh does."""
        if self._context and self._settings and Path(self._settings.certificate).exists():
            self._context.load_cert_chain(self._settings.certificate, self._settings.key)

    def reach(self, endpoint: str) -> None:
        """Send KV events there."""
        if self._publisher:
            self._publisher.reach(endpoint)

    def set_pace(self, annotations: dict[str, str]) -> None:
        """Follow changed annotations of the pod; the size of the cache stays."""
        if self._server:
            pace = Pace.of(annotations, self._env)
            self._server.engine.pace = dataclasses.replace(pace, kv_blocks=self._server.engine.cache.total)


class Host:
    """All servers of the process."""

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow the node agent's messages until it closes the line."""
        reader = asyncio.StreamReader(limit=LINE_LIMIT)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            self._take(json.loads(line))

    def _take(self, message: Message) -> None:
        if "start" in message:
            server = self._servers[str(message["start"])] = Server(message)
            task = asyncio.create_task(self._follow(server))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        name = next(name for name in ("stop", "reload", "reach", "pace") if name in message)
        known = self._servers.get(str(message[name]))
        if known is None:
            return
        if name == "stop":
            known.stop(float(message["seconds"]))
        elif name == "reload":
            known.reload()
        elif name == "reach":
            known.reach(message["endpoint"])
        else:
            try:
                known.set_pace(message["annotations"])
            except ValueError as error:
                print(error, file=sys.stderr, flush=True)

    async def _follow(self, server: Server) -> None:
        code = await server.run()
        if self._servers.get(server.id) is server:
            del self._servers[server.id]
        _tell({"exited": server.id, "code": code})


def _tell(message: Message) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    asyncio.run(Host().run())
