"""Child processes that cannot outlive their parent, and finding processes again after a crash.

A process is known by its id together with its start time and the machine's boot id, never by
its name: a recorded process is only ever ended when all three still agree.
"""

from __future__ import annotations

import ctypes
import functools
import os
import random
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SERVER_PORTS = (18000, 31999)
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ProcessId:
    """A process that can be recognised later."""

    pid: int
    start_time: int
    """Clock ticks after boot, field 22 of /proc/<pid>/stat."""
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Identity of a running process, None when there is no such process."""
        started = _start_time(pid)
        return cls(pid, started, _boot_id()) if started is not None else None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ProcessId:
        return cls(data["pid"], data["start_time"], data["boot_id"])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def alive(self) -> bool:
        """True while this very process runs (a zombie counts as ended)."""
        return self.boot_id == _boot_id() and _start_time(self.pid) == self.start_time

    def send(self, number: signal.Signals) -> None:
        """Send a signal if the process still is the recorded one."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def age_seconds(self) -> float:
        """Seconds since the process was started."""
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return uptime - self.start_time / os.sysconf("SC_CLK_TCK")


def die_with_parent() -> Callable[[], None]:
    """A `preexec_fn` that has the kernel kill the child when its parent ends."""
    parent = os.getpid()

    def set_death_signal() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return set_death_signal


def stop_all(processes: Iterable[ProcessId], *, grace_seconds: float) -> None:
    """End processes: SIGTERM, wait, then SIGKILL for what is left; returns when all are gone."""
    waiting = [process for process in processes if process.alive()]
    for process in waiting:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while waiting and time.monotonic() < deadline:
        time.sleep(0.02)
        waiting = [process for process in waiting if process.alive()]
    for process in waiting:
        process.send(signal.SIGKILL)
    while any(process.alive() for process in waiting):
        time.sleep(0.02)


def free_port(address: str = "127.0.0.1", preferred: int | None = None) -> int:
    """A free TCP port of an address; `preferred` when it is free.

    Ports come from below the range that the kernel uses for outgoing connections, so that
    none of those takes the port before its server listens. None of the last hundreds is given
    twice by a process: its server may not listen yet.
    """
    if not (preferred and _is_free(address, preferred)):
        preferred = next(port for port in _random_ports() if port not in _given and _is_free(address, port))
    _given.append(preferred)
    return preferred


def _random_ports() -> Iterator[int]:
    while True:
        yield random.randint(*SERVER_PORTS)


_given: deque[int] = deque(maxlen=500)


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((address, port))
        except OSError:
            return False
        return True


def _start_time(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return int(fields[19])


@functools.cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
