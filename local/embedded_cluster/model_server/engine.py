"""When tokens come and what the KV cache holds: vLLM's scheduling reduced to what clients and schedulers can see.

A request waits until a sequence slot and blocks for its prompt are free (first come, first served). Its first token
takes a fixed time plus a time for every prompt token that is not cached; then tokens come at a fixed pace. Full blocks
of a prompt stay cached after the request, least recently used ones are evicted when room is needed.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
import zlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Protocol

from embedded_cluster.model_server.metrics import Counters

CHARACTERS_PER_TOKEN = 4
SETTING_PREFIXES = ("embedded-cluster/", "EMBEDDED_CLUSTER_")


@dataclass(frozen=True)
class Pace:
    """How fast the simulated hardware is. Pod annotations `embedded-cluster/<name>` and variables set it.

    >>> Pace.of({"embedded-cluster/ttft-ms": "100"}, {"EMBEDDED_CLUSTER_ITL_MS": "2"})
    Pace(ttft_ms=100.0, itl_ms=2.0, prefill_us_per_token=20.0, load_seconds=0.0, kv_blocks=4096.0)
    """

    ttft_ms: float = 20.0
    itl_ms: float = 5.0
    prefill_us_per_token: float = 20.0
    load_seconds: float = 0.0
    kv_blocks: float = 4096.0

    @classmethod
    def of(cls, annotations: Mapping[str, str], env: Mapping[str, str]) -> Pace:
        """Annotations over environment over defaults; raises ValueError naming what is no number."""
        found = {}
        for item in fields(cls):
            annotation = SETTING_PREFIXES[0] + item.name.replace("_", "-")
            variable = SETTING_PREFIXES[1] + item.name.upper()
            text = annotations.get(annotation) or env.get(variable)
            try:
                found.update({item.name: float(text)} if text else {})
            except ValueError:
                raise ValueError(f"{annotation} or {variable}: expected a number, found {text!r}") from None
        return cls(**found)


def count_tokens(text: str) -> int:
    """Tokens of a text: four characters each, as schedulers estimate it too."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def token_numbers(text: str) -> list[int]:
    """Numbers for the tokens of a text: the same for the same four characters."""
    starts = range(0, len(text), CHARACTERS_PER_TOKEN)
    return [zlib.crc32(_bytes(text[start : start + CHARACTERS_PER_TOKEN])) for start in starts]


def _bytes(text: str) -> bytes:
    """JSON may hold halves of characters."""
    return text.encode(errors="surrogatepass")


def block_hashes(text: str, block_size: int, salt: str = "") -> list[int]:
    """Hashes (64 bits) of the full blocks of a prompt; each covers everything before it."""
    width = block_size * CHARACTERS_PER_TOKEN
    hashes: list[int] = []
    before = salt.encode()
    for start in range(0, len(text) - width + 1, width):
        before = hashlib.blake2b(before + _bytes(text[start : start + width]), digest_size=8).digest()
        hashes.append(int.from_bytes(before, "big"))
    return hashes


class CacheListener(Protocol):
    """Who hears what the cache holds (see event_publisher.Publisher)."""

    def stored(
        self, hashes: Sequence[int], parent: int | None, tokens: Sequence[int], block_size: int, lora: str
    ) -> None:
        """Blocks of a prompt are in the cache."""

    def removed(self, hashes: Sequence[int]) -> None:
        """Blocks have left the cache."""


class KvCache:
    """Blocks in use, and blocks that are free but still hold the prompt of an earlier request."""

    def __init__(self, total: int, *, keeps_prefixes: bool = True) -> None:
        self.total = total
        self._keeps_prefixes = keeps_prefixes
        self._shared: dict[int, int] = {}  # hash of a block in use to its number of users
        self._cached: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self._private = 0
        self.evicted: list[int] = []
        """Blocks that lost their content since somebody last emptied this list."""

    @property
    def usage(self) -> float:
        """Share of blocks in use, 0 to 1."""
        return min(1.0, (len(self._shared) + self._private) / self.total)

    def take(self, hashes: Sequence[int], private: int) -> int | None:
        """Blocks for a request: those of its prompt and `private` more.

        Returns how many of the prompt's blocks were there already, None when there is no room.
        """
        hits = 0
        while hits < len(hashes) and (hashes[hits] in self._shared or hashes[hits] in self._cached):
            hits += 1
        new = sum(1 for item in hashes if item not in self._shared)
        if len(self._shared) + self._private + new + private > self.total:
            return None
        for item in hashes:
            self._cached.pop(item, None)
            self._shared[item] = self._shared.get(item, 0) + 1
        self._private += private
        self._evict()
        return hits if self._keeps_prefixes else 0

    def grow(self, private: int) -> None:
        """More blocks for a request that runs."""
        self._private += private
        self._evict()

    def give_back(self, hashes: Sequence[int], private: int) -> None:
        """The request is over; its prompt stays cached, the newest use last."""
        self._private -= private
        for item in hashes:
            self._shared[item] -= 1
            if not self._shared[item]:
                del self._shared[item]
                if self._keeps_prefixes:
                    self._cached[item] = None
        self._evict()

    def _evict(self) -> None:
        while self._cached and len(self._cached) + len(self._shared) + self._private > self.total:
            self.evicted.append(self._cached.popitem(last=False)[0])


@dataclass
class Job:
    """One sequence to generate. `first` and `last` say when tokens came (loop time, seconds)."""

    prompt: str
    tokens: int
    lora: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    arrived: float = 0.0
    admitted: asyncio.Event = field(default_factory=asyncio.Event)
    hashes: list[int] = field(default_factory=list)
    private_blocks: int = 0


class Engine:
    """One simulated GPU's worth of vLLM."""

    def __init__(
        self,
        *,
        block_size: int,
        blocks: int,
        max_sequences: int,
        keeps_prefixes: bool,
        pace: Pace,
        max_loras: int = 0,
        hash_seed: str = "",
        listener: CacheListener | None = None,
    ) -> None:
        self.block_size = block_size
        self._hash_seed = hash_seed or secrets.token_hex(8)  # as vLLM: without a seed, no two servers agree
        self._listener = listener if keeps_prefixes else None
        self.max_sequences = max_sequences
        self.max_loras = max_loras
        self.pace = pace
        self.cache = KvCache(blocks, keeps_prefixes=keeps_prefixes)
        self.counters = Counters()
        self.running: list[Job] = []
        self.waiting: deque[Job] = deque()

    async def run(self, job: Job, *, stream: bool) -> AsyncIterator[int]:
        """Numbers of tokens as they come: one at a time for a stream, else all at the end."""
        loop = asyncio.get_running_loop()
        job.arrived = loop.time()
        job.prompt_tokens = count_tokens(job.prompt)
        job.hashes = block_hashes(job.prompt, self.block_size, f"{self._hash_seed}/{job.lora}")
        self.waiting.append(job)
        self._admit()
        try:
            await job.admitted.wait()
            self.counters.queue_time.observe(loop.time() - job.arrived)
            async for count in self._tokens(job, loop, stream=stream):
                yield count
            self.counters.finished(job.prompt_tokens, job.tokens, loop.time() - job.arrived)
        finally:
            self._leave(job)

    async def _tokens(self, job: Job, loop: asyncio.AbstractEventLoop, *, stream: bool) -> AsyncIterator[int]:
        fresh = job.prompt_tokens - job.cached_tokens
        await asyncio.sleep((self.pace.ttft_ms + fresh * self.pace.prefill_us_per_token / 1000) / 1000)
        first = loop.time()
        self.counters.first_token.observe(first - job.arrived)
        if not stream:
            self._grow_to(job, job.tokens)
            await asyncio.sleep((job.tokens - 1) * self.pace.itl_ms / 1000)
            self.counters.paced(job.tokens, loop.time() - first)
            yield job.tokens
            return
        due = first
        for number in range(job.tokens):
            if number:
                due += self.pace.itl_ms / 1000
                await asyncio.sleep(max(0.0, due - loop.time()))
            self._grow_to(job, number + 1)
            yield 1
        self.counters.paced(job.tokens, loop.time() - first)

    def _admit(self) -> None:
        while self.waiting and len(self.running) < self.max_sequences:
            job = self.waiting[0]
            private = self._blocks(job.prompt_tokens + 1) - len(job.hashes)
            hits = self.cache.take(job.hashes, private)
            if hits is None:
                return
            self.waiting.popleft()
            job.private_blocks = private
            # The last prompt token is always computed, so a prompt is never cached as a whole.
            job.cached_tokens = min(hits * self.block_size, max(0, job.prompt_tokens - 1))
            self.counters.prefix_queries += job.prompt_tokens
            self.counters.prefix_hits += job.cached_tokens
            self.running.append(job)
            job.admitted.set()
            self._tell_removed()
            self._tell_stored(job, hits)

    def _tell_stored(self, job: Job, hits: int) -> None:
        """The prompt of a request is in the cache; `hits` of its blocks were there already."""
        if self._listener and (new := job.hashes[hits:]):
            covered = slice(hits * self.block_size, len(job.hashes) * self.block_size)
            parent = job.hashes[hits - 1] if hits else None
            self._listener.stored(new, parent, token_numbers(job.prompt)[covered], self.block_size, job.lora)

    def _tell_removed(self) -> None:
        """Blocks were evicted, if any."""
        evicted, self.cache.evicted = self.cache.evicted, []
        if self._listener and evicted:
            self._listener.removed(evicted)

    def _grow_to(self, job: Job, generated: int) -> None:
        more = self._blocks(job.prompt_tokens + generated) - len(job.hashes) - job.private_blocks
        if more > 0:
            self.cache.grow(more)
            job.private_blocks += more
            self._tell_removed()

    def _leave(self, job: Job) -> None:
        """The job is done or its client is gone."""
        if job in self.running:
            self.running.remove(job)
            self.cache.give_back(job.hashes, job.private_blocks)
            self._tell_removed()
        elif job in self.waiting:
            self.waiting.remove(job)
        self._admit()

    def _blocks(self, tokens: int) -> int:
        return math.ceil(tokens / self.block_size)
