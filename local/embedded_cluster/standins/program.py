"""What every stand-in checks before it works: its command line and environment, as the real program would."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from embedded_cluster.kube import ApiError
from embedded_cluster.standins.rules import Lease, Program

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment


class ProgramError(Exception):
    """The program cannot run with this pod; the container exits with this text."""


def program(main: Callable[[PodEnvironment], Awaitable[None]]) -> Callable[[PodEnvironment], Awaitable[None]]:
    """Decorate a stand-in's main: what ends the program becomes its exit text instead of a traceback.

    That is ProgramError, and an API error that no retry cured (a watch that stays forbidden).
    """

    @functools.wraps(main)
    async def run(pod: PodEnvironment) -> None:
        try:
            await main(pod)
        except (ProgramError, ApiError, ExceptionGroup) as error:
            causes = list(_leaves(error))
            if all(isinstance(cause, ProgramError | ApiError) for cause in causes):
                raise SystemExit("; ".join(map(str, causes))) from None
            raise

    return run


def _leaves(error: Exception) -> Iterator[Exception]:
    """The errors in a group of groups, or the error itself."""
    if isinstance(error, ExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def check(pod: PodEnvironment, program: Program) -> dict[str, str]:
    """Return the pod's flags by name, or raise ProgramError as the real program would refuse to start."""
    command = pod.command[0] if pod.command else ""
    if command not in program.commands:
        raise ProgramError(f'exec: "{command}": expected {" or ".join(program.commands)} in image {pod.image}')
    words = [*pod.command[1:], *pod.args]
    flags = dict(_flags(words, program))
    if program.subcommands:
        given = [word for word in words if not word.startswith("-")]
        if not given or given[0] not in program.subcommands:
            found = given[0] if given else ""
            raise ProgramError(f'unknown command "{found}" (expected {", ".join(program.subcommands)})')
        flags["command"] = given[0]
    for name in program.required_env:
        if not pod.env.get(name):
            raise ProgramError(f"environment variable {name} must be set")
    return flags


def _flags(words: Sequence[str], program: Program) -> Iterator[tuple[str, str]]:
    for word in words:
        if not word.startswith("-"):
            continue
        name, _, value = word.lstrip("-").partition("=")
        if name not in program.flags:
            raise ProgramError(program.unknown_flag.format(flag=word.partition("=")[0], name=name))
        yield name, value


class LeaderElection:
    """Leader election with a coordination.k8s.io Lease in the pod's namespace, at the real program's rates."""

    def __init__(self, pod: PodEnvironment, lease: Lease) -> None:
        self.pod = pod
        self.lease = lease
        self.identity = f"{pod.name}_{uuid.uuid4()}"
        self.log: logging.Logger = pod.log
        self._held: dict[str, Any] | None = None

    @contextlib.asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        """Wait until this pod leads, then keep the lease renewed; losing it cancels the body with ProgramError."""
        await self._acquire()
        body = asyncio.current_task()
        keeper = asyncio.create_task(self._keep(), name=f"lease {self.lease.name}")
        keeper.add_done_callback(lambda task: body.cancel() if body and not task.cancelled() else None)
        try:
            yield
        except asyncio.CancelledError:
            if keeper.done() and not keeper.cancelled() and keeper.exception():
                raise ProgramError("leader election lost") from keeper.exception()
            raise
        finally:
            keeper.cancel()
            if self.lease.released:
                with contextlib.suppress(Exception):
                    await self._write(await self._get(), "")

    async def _acquire(self) -> None:
        seen: tuple[str, datetime] | None = None
        while True:
            live = await self._get_or_wait()
            spec = live["spec"] if live else {}
            now = datetime.now(UTC)
            renewed = f"{spec.get('holderIdentity')} {spec.get('renewTime')}"
            if seen is None or seen[0] != renewed:
                seen = (renewed, now)
            free = not spec.get("holderIdentity")
            expired = now - seen[1] > timedelta(seconds=spec.get("leaseDurationSeconds", 0))
            if free or expired:
                try:
                    await self._write(live, self.identity)
                    self.log.info("successfully acquired lease %s/%s", self.pod.namespace, self.lease.name)
                    return
                except ApiError:
                    seen = None
            await asyncio.sleep(self.lease.retry)

    async def _keep(self) -> None:
        last = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(self.lease.renew)
            try:
                # The version written last is still the live one, unless somebody else wrote it: then the update fails.
                live = self._held or await self._get()
                if live and live["spec"].get("holderIdentity") != self.identity:
                    raise ProgramError(f"lease {self.lease.name} is held by {live['spec'].get('holderIdentity')}")
                await self._write(live, self.identity)
                last = asyncio.get_running_loop().time()
            except ProgramError:
                raise
            except Exception as error:
                self._held = None
                self.log.warning("error updating lease %s: %s", self.lease.name, error)
                if asyncio.get_running_loop().time() - last > self.lease.duration:
                    raise

    async def _get_or_wait(self) -> dict[str, Any] | None:
        """The live lease. What the API server refuses is logged and tried again for ever, as the real programs do."""
        refused = ""
        while True:
            try:
                return await self._get()
            except ApiError as error:
                if error.message != refused:
                    self.log.error(
                        "error retrieving resource lock %s/%s: %s", self.pod.namespace, self.lease.name, error.message
                    )
                refused = error.message
                await asyncio.sleep(self.lease.retry)

    async def _get(self) -> dict[str, Any] | None:
        return await self.pod.client.get("coordination.k8s.io/v1", "Lease", self.lease.name, self.pod.namespace)

    async def _write(self, live: dict[str, Any] | None, holder: str) -> None:
        """Create or update the lease; raises on a conflict, which means that somebody else was faster."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = live["spec"] if live else {}
        same = old.get("holderIdentity") == holder
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": int(self.lease.duration) if holder else 1,
            "acquireTime": old.get("acquireTime", now) if same else now,
            "renewTime": now,
            "leaseTransitions": old.get("leaseTransitions", 0) + (0 if same or not live or not holder else 1),
        }
        if live is None:
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.lease.name, "namespace": self.pod.namespace},
                "spec": spec,
            }
            self._held = await self.pod.client.create(body)
        else:
            self._held = await self.pod.client.update({**live, "spec": spec})
