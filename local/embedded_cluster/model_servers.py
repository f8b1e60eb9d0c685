"""The node agent's side of the process that serves the pods of models."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from embedded_cluster.egress import NoRouteError
from embedded_cluster.processes import ProcessId, die_with_parent

KILLED = 137
STOP_MARGIN_SECONDS = 2.0
FIND_SECONDS = 0.5
Find = Callable[[str, int], list[tuple[str, int]]]
"""Host and port in the cluster to addresses on this machine; raises NoRouteError."""
_log = logging.getLogger(__name__)


class ModelServers:
    """Starts and stops simulated model servers; the process behind them starts with the first one.

    If that process ends, all its servers have ended (exit code 137) and the next start makes a new one.
    """

    def __init__(self, log_file: Path, on_process: Callable[[ProcessId | None], None], find: Find) -> None:
        self._log_file = log_file
        self._on_process = on_process
        self._find = find
        self._leading: set[asyncio.Task[None]] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._exits: dict[str, asyncio.Future[int]] = {}

    async def start(self, server: str, spec: Mapping[str, Any]) -> asyncio.Future[int]:
        """Start a server (`spec` as in model_server.host); the future gives its exit code."""
        async with self._starting:
            if self._process is None:
                await self._launch()
        ended = self._exits[server] = asyncio.get_running_loop().create_future()
        self._send({"start": server, **spec})
        return ended

    async def stop(self, server: str, seconds: float) -> None:
        """Stop a server within about so many seconds."""
        ended = self._exits.get(server)
        if ended is None or ended.done():
            return
        self._send({"stop": server, "seconds": seconds})
        _, late = await asyncio.wait({ended}, timeout=seconds + STOP_MARGIN_SECONDS)
        if late:
            self._end(server, KILLED)

    def reload(self, server: str) -> None:
        """Its mounted certificates changed."""
        self._send({"reload": server})

    def set_pace(self, server: str, annotations: Mapping[str, str]) -> None:
        """Its pod's annotations changed."""
        self._send({"pace": server, "annotations": dict(annotations)})

    async def close(self) -> None:
        """End the process."""
        process = self._process
        if process and process.returncode is None:
            process.terminate()
            await process.wait()
        for task in self._leading:
            task.cancel()
        if self._reader:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _launch(self) -> None:
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "embedded_cluster.model_server.host"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                preexec_fn=die_with_parent(),
                start_new_session=True,
            )
        self._on_process(ProcessId.of(self._process.pid))
        self._reader = asyncio.create_task(self._read(self._process), name="model servers")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            message = json.loads(line)
            if "find" in message:
                self._start_leading(message["find"], message["host"], message["port"])
            else:
                self._end(message["exited"], message["code"])
        await process.wait()
        _log.info("the process of the model servers ended (%s)", process.returncode)
        self._process = None
        self._on_process(None)
        for server in list(self._exits):
            self._end(server, KILLED)

    def _start_leading(self, server: str, host: str, port: int) -> None:
        ended = self._exits.get(server)
        if ended is not None:
            task = asyncio.create_task(self._lead(server, ended, host, port))
            self._leading.add(task)
            task.add_done_callback(self._leading.discard)

    async def _lead(self, server: str, ended: asyncio.Future[int], host: str, port: int) -> None:
        """Tell a server where a host of the cluster is, until the server ends; as DNS and a Service would."""
        current: tuple[str, int] | None = None
        while not ended.done():
            try:
                found = self._find(host, port)
            except NoRouteError:
                found = []
            if found and current not in found:
                current = found[0]
                self._send({"reach": server, "endpoint": f"tcp://{current[0]}:{current[1]}"})
            await asyncio.wait({ended}, timeout=FIND_SECONDS)

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def _end(self, server: str, code: int) -> None:
        ended = self._exits.pop(server, None)
        if ended and not ended.done():
            ended.set_result(code)
