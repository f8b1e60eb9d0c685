"""The real endpoint picker program, started as the platform starts it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.grpc_health import NoAnswerError, health

_SECONDS = 60
_PAUSE_SECONDS = 0.1


@dataclass
class EndpointPicker:
    """A running endpoint picker: its process, its ports, and the file it logs to."""

    process: subprocess.Popen[bytes]
    port: int
    health_port: int
    log: Path

    def health(self, service: str = "") -> str:
        """What its health service says; "" before it answers."""
        try:
            return health(self.health_port, service)
        except NoAnswerError:
            return ""

    def messages(self) -> list[str]:
        """The messages of its log so far."""
        return [_message(line) for line in self.log.read_text(errors="replace").splitlines()]

    def wait_until_serving(self) -> None:
        """Wait for health SERVING and for its port; fails with the end of the log."""
        deadline = time.monotonic() + _SECONDS
        while self.health() != "SERVING" or not _listens(self.port):
            assert self.process.poll() is None, f"the endpoint picker ended: {self.messages()[-3:]}"
            assert time.monotonic() < deadline, f"not serving after {_SECONDS} s: {self.messages()[-3:]}"
            time.sleep(_PAUSE_SECONDS)

    def wait_until_ended(self) -> int:
        """Wait until it gives up; its exit code."""
        return self.process.wait(_SECONDS)


@contextmanager
def endpoint_picker(
    tools: Path,
    kubeconfig: Path,
    config: Mapping[str, Any],
    folder: Path,
    *,
    pool: str,
    namespace: str,
    flags: tuple[str, ...] = (),
) -> Iterator[EndpointPicker]:
    """The program with this configuration, stopped at the end. The configuration goes as text, as KServe gives it."""
    port, health_port, metrics_port = _free_ports(3)
    log = folder / f"epp-{port}.log"
    command = [
        str(tools / "bin" / "epp"),
        f"--pool-name={pool}",
        f"--pool-namespace={namespace}",
        f"--grpc-port={port}",
        f"--grpc-health-port={health_port}",
        f"--metrics-port={metrics_port}",
        "--zap-encoder=json",
        "--tracing=false",
        f"--config-text={json.dumps(config)}",
        *flags,
    ]
    with log.open("wb") as output:
        environment = {"KUBECONFIG": str(kubeconfig), "PATH": os.environ["PATH"]}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        yield EndpointPicker(process, port, health_port, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _message(line: str) -> str:
    """Message and error of a line of the log; lines that are not JSON as they are."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    return " ".join(str(entry[key]) for key in ("msg", "error") if key in entry)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
