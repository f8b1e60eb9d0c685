"""The loop of the stand-ins: a burst of events leads to one pass, a failure to another one later."""

from __future__ import annotations

import asyncio
import logging

import pytest
from embedded_cluster.kube import ApiError
from embedded_cluster.standins import wake_loop
from embedded_cluster.standins.wake_loop import WakeLoop, retried

LOG = logging.getLogger("test")


async def until(reached: asyncio.Event, loop: WakeLoop, look: wake_loop.Pass) -> None:
    """Runs the loop until something is reached."""
    work = asyncio.create_task(loop.run(look))
    try:
        await asyncio.wait_for(reached.wait(), 30)
    finally:
        work.cancel()


def test_a_burst_of_events_is_one_pass_and_one_during_a_pass_another() -> None:
    async def scenario() -> list[bool]:
        loop, done, passes = WakeLoop(), asyncio.Event(), []

        async def look() -> float | None:
            passes.append(loop.is_awake)
            if len(passes) == 1:
                loop.wake()
            else:
                done.set()
            return None

        for _ in range(5):
            loop.wake()
        await until(done, loop, look)
        return passes

    assert asyncio.run(scenario()) == [False, False]


def test_a_pass_that_asks_for_another_gets_it_without_an_event() -> None:
    async def scenario() -> int:
        loop, done, count = WakeLoop(), asyncio.Event(), 0

        async def look() -> float | None:
            nonlocal count
            count += 1
            if count == 3:
                done.set()
            return 0

        loop.wake()
        await until(done, loop, look)
        return count

    assert asyncio.run(scenario()) == 3


@pytest.mark.parametrize("error", [ApiError(500, "InternalError", "no"), OSError("gone")])
def test_what_failed_is_tried_again(error: Exception) -> None:
    async def fail() -> None:
        raise error

    async def succeed() -> None:
        return None

    assert asyncio.run(retried(fail, LOG)()) == wake_loop.RETRY_SECONDS
    assert asyncio.run(retried(succeed, LOG)()) is None
