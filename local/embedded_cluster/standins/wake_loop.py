"""The loop that stand-ins work in: one pass soon after something happened, and one after a failure."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import aiohttp
from embedded_cluster.kube import ApiError

COALESCE_SECONDS = 0.02
"""Pause after a wake-up, so that a burst of events leads to one pass."""
RETRY_SECONDS = 1.0

Pass = Callable[[], Awaitable[float | None]]
"""One pass; returns the seconds after which the next one is due by itself, None for never."""


class WakeLoop:
    """Runs passes one after the other; `wake` asks for one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Ask for a pass soon."""
        self._event.set()

    @property
    def is_awake(self) -> bool:
        """Whether a pass was asked for and has not begun."""
        return self._event.is_set()

    def rest(self) -> None:
        """Forget that a pass was asked for."""
        self._event.clear()

    async def run(self, look: Pass) -> None:
        """Works until cancelled."""
        delay: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), delay)
            await asyncio.sleep(COALESCE_SECONDS)
            self.rest()
            delay = await look()


def retried(look: Callable[[], Awaitable[None]], log: logging.Logger) -> Pass:
    """A pass that is due again after RETRY_SECONDS when a request or a program failed."""

    async def attempt() -> float | None:
        try:
            await look()
        except (ApiError, aiohttp.ClientError, OSError) as error:
            log.error("%s (will retry)", error)
            return RETRY_SECONDS
        return None

    return attempt
