"""A client of a model: asks for completions, several at a time, and counts what came back."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

PARALLEL = 16


class Client:
    """Sends completions and counts what came back."""

    def __init__(self, session: aiohttp.ClientSession, url: str, model: str) -> None:
        self._session, self._url, self._model = session, url, model
        self.statuses: collections.Counter[int | str] = collections.Counter()
        self.versions: collections.Counter[str] = collections.Counter()
        self.last_failure = 0.0  # monotonic time

    def beside(self, session: aiohttp.ClientSession) -> Client:
        """Another client of the same model, with a session of its own."""
        return Client(session, self._url, self._model)

    async def ask(self, prompt: str = "hello", headers: dict[str, str] | None = None) -> str:
        """One completion; the pod that answered, "" for a failure (which is counted)."""
        body = {"model": self._model, "prompt": prompt, "max_tokens": 1}
        try:
            async with self._session.post(f"{self._url}/v1/completions", json=body, headers=headers) as answer:
                self.statuses[answer.status] += 1
                if answer.status != 200:
                    self.last_failure = time.monotonic()
                    return ""
                pod = str((await answer.json())["system_fingerprint"]).rpartition("/")[2]
        except (TimeoutError, aiohttp.ClientError) as error:
            self.statuses[type(error).__name__] += 1
            self.last_failure = time.monotonic()
            return ""
        self.versions[pod.partition("-kserve")[0]] += 1
        return pod

    async def many(self, number: int, headers: dict[str, str] | None = None) -> None:
        """So many completions, some at a time."""
        left = iter(range(number))

        async def work() -> None:
            for index in left:
                await self.ask(f"{index} hello", headers)

        await asyncio.gather(*(work() for _ in range(PARALLEL)))

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Requests without a pause while the block runs."""
        stop = asyncio.Event()

        async def work() -> None:
            while not stop.is_set():
                if not await self.ask():
                    await asyncio.sleep(0.25)  # or a short failure would count many times

        workers = [asyncio.create_task(work()) for _ in range(4)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*workers)

    async def until(self, what: str, check: Callable[[], Awaitable[bool]], seconds: float = 90) -> None:
        """Poll. Raises AssertionError after so many seconds."""
        began = time.monotonic()
        while not await check():
            assert time.monotonic() - began < seconds, f"waited {seconds} s for {what}; {self.statuses}"
            await asyncio.sleep(0.05)


def play(url: str, model: str, scenario: Callable[[Client], Awaitable[None]]) -> None:
    """Run a scenario with a client of a model."""

    async def run() -> None:
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await scenario(Client(session, url, model))

    asyncio.run(run())


async def off_loop(work: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """A blocking call (kubectl) that must not hold up the load."""
    return await asyncio.to_thread(work, *args, **options)
