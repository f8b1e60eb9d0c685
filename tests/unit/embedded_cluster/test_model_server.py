"""What clients and schedulers see of the simulated vLLM: caches, queue, answers, errors, metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from embedded_cluster.model_server.api import ModelServer
from embedded_cluster.model_server.command_line import ServerSettings
from embedded_cluster.model_server.engine import Engine, Job, KvCache, Pace, block_hashes, count_tokens

FAST = Pace(ttft_ms=0, itl_ms=0, prefill_us_per_token=0)
SETTINGS = ServerSettings(model="/mnt/models", served_names=("qwen",), loras={"sql": "/adapters/sql"})
LONG_PROMPT = "x" * 640  # 160 tokens, 10 blocks


def engine(pace: Pace = FAST, **changes: Any) -> Engine:
    values = {"block_size": 16, "blocks": 100, "max_sequences": 2, "keeps_prefixes": True, "pace": pace, **changes}
    return Engine(**values)


async def generate(subject: Engine, job: Job, *, stream: bool = False) -> int:
    return sum([count async for count in subject.run(job, stream=stream)])


# Cache -----------------------------------------------------------------------------------


def test_a_block_hash_covers_everything_before_it() -> None:
    first, second = block_hashes("a" * 64 + "c" * 64, 16), block_hashes("b" * 64 + "c" * 64, 16)
    assert len(first) == 2
    assert not set(first) & set(second)


def test_adapters_do_not_share_blocks() -> None:
    assert not set(block_hashes("a" * 64, 16, "sql")) & set(block_hashes("a" * 64, 16))


def test_a_prompt_stays_cached_after_its_request() -> None:
    cache = KvCache(10)
    assert cache.take([1, 2], private=1) == 0
    assert cache.usage == pytest.approx(0.3)
    cache.give_back([1, 2], private=1)
    assert cache.usage == 0
    assert cache.take([1, 2, 3], private=0) == 2


def test_least_recently_used_blocks_are_evicted_first() -> None:
    cache = KvCache(3)
    for block in (1, 2, 3):
        cache.take([block], private=0)
        cache.give_back([block], private=0)
    cache.take([4], private=0)
    cache.give_back([4], private=0)
    assert [cache.take([block], private=0) for block in (2, 3)] == [1, 1]
    cache.give_back([2], private=0)
    cache.give_back([3], private=0)
    assert cache.take([1], private=0) == 0


def test_a_request_without_room_gets_nothing() -> None:
    cache = KvCache(2)
    assert cache.take([1, 2], private=0) == 0
    assert cache.take([3], private=0) is None
    assert cache.take([1], private=0) == 1


# Engine ----------------------------------------------------------------------------------


def test_a_repeated_prompt_hits_the_cache_but_for_its_last_token() -> None:
    async def scenario() -> list[int]:
        subject = engine()
        jobs = [Job(LONG_PROMPT, 4), Job(LONG_PROMPT, 4)]
        for job in jobs:
            assert await generate(subject, job) == 4
        assert subject.counters.prefix_queries == 320
        assert subject.counters.prefix_hits == 159
        return [job.cached_tokens for job in jobs]

    assert asyncio.run(scenario()) == [0, 159]


def test_without_prefix_caching_nothing_is_ever_hit() -> None:
    async def scenario() -> int:
        subject = engine(keeps_prefixes=False)
        for _ in range(2):
            await generate(subject, Job(LONG_PROMPT, 1))
        return subject.counters.prefix_hits

    assert asyncio.run(scenario()) == 0


def test_requests_beyond_the_limit_wait_in_order() -> None:
    async def scenario() -> None:
        subject = engine(Pace(ttft_ms=20, itl_ms=0, prefill_us_per_token=0))
        order: list[str] = []

        async def ask(name: str) -> None:
            await generate(subject, Job(name, 1))
            order.append(name)

        tasks = [asyncio.create_task(ask(name)) for name in ("a", "b", "c", "d")]
        await asyncio.sleep(0.01)
        assert (len(subject.running), len(subject.waiting)) == (2, 2)
        await asyncio.gather(*tasks)
        assert set(order[:2]) == {"a", "b"}
        assert (len(subject.running), len(subject.waiting), subject.cache.usage) == (0, 0, 0)

    asyncio.run(scenario())


def test_a_client_that_leaves_frees_its_place() -> None:
    async def scenario() -> None:
        subject = engine(Pace(ttft_ms=60_000), max_sequences=1)
        running = asyncio.create_task(generate(subject, Job("a", 1)))
        waiting = asyncio.create_task(generate(subject, Job("b", 1)))
        await asyncio.sleep(0.01)
        waiting.cancel()
        running.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert (subject.running, list(subject.waiting), subject.cache.usage) == ([], [], 0)

    asyncio.run(scenario())


def test_first_token_takes_longer_for_uncached_prompts() -> None:
    async def scenario() -> list[float]:
        subject = engine(Pace(ttft_ms=0, itl_ms=0, prefill_us_per_token=5000))
        loop, seconds = asyncio.get_running_loop(), []
        for _ in range(2):
            began = loop.time()
            await generate(subject, Job(LONG_PROMPT, 1))
            seconds.append(loop.time() - began)
        return seconds

    cold, warm = asyncio.run(scenario())
    assert cold >= 0.8  # 160 tokens of 5 ms
    assert warm < cold / 2


def test_the_pace_comes_from_annotations_before_the_environment() -> None:
    env = {"EMBEDDED_CLUSTER_TTFT_MS": "7", "EMBEDDED_CLUSTER_ITL_MS": "3"}
    pace = Pace.of({"embedded-cluster/ttft-ms": "9"}, env)
    assert (pace.ttft_ms, pace.itl_ms) == (9, 3)
    with pytest.raises(ValueError, match="expected a number, found 'fast'"):
        Pace.of({"embedded-cluster/ttft-ms": "fast"}, {})


# API -------------------------------------------------------------------------------------

Ask = Callable[..., Awaitable[tuple[int, str]]]


def talk(
    scenario: Callable[[Ask], Awaitable[None]], settings: ServerSettings = SETTINGS, server: ModelServer | None = None
) -> None:
    """Run a scenario against a server; it gets a function from method, path and body to status and text."""

    async def run() -> None:
        runner = web.ServerRunner((server or ModelServer(settings, FAST, "llm/pod-1")).http())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        root = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:

            async def ask(method: str, path: str, body: object = None) -> tuple[int, str]:
                async with session.request(method, root + path, json=body) as answer:
                    return answer.status, await answer.text()

            await scenario(ask)
        await runner.cleanup()

    asyncio.run(run())


def test_models_list_adapters_below_their_base() -> None:
    async def scenario(ask: Ask) -> None:
        _, text = await ask("GET", "/v1/models")
        cards = {card["id"]: (card["root"], card["parent"]) for card in json.loads(text)["data"]}
        assert cards == {"qwen": ("/mnt/models", None), "sql": ("/adapters/sql", "qwen")}

    talk(scenario)


def test_a_completion_has_the_length_asked_for_and_says_who_answered() -> None:
    async def scenario(ask: Ask) -> None:
        status, text = await ask("POST", "/v1/completions", {"model": "qwen", "prompt": "a" * 10, "max_tokens": 5})
        answer = json.loads(text)
        assert status == 200
        assert answer["usage"]["prompt_tokens"] == count_tokens("a" * 10) == 3
        assert answer["usage"]["completion_tokens"] == len(answer["choices"][0]["text"].split()) == 5
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["system_fingerprint"] == "simulated-vllm/llm/pod-1"

    talk(scenario)


def test_the_same_question_gets_the_same_answer_streamed_or_not() -> None:
    body = {"model": "qwen", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 6}

    async def scenario(ask: Ask) -> None:
        _, whole = await ask("POST", "/v1/chat/completions", body)
        options = {"stream": True, "stream_options": {"include_usage": True}}
        _, stream = await ask("POST", "/v1/chat/completions", {**body, **options})
        events = [line.removeprefix("data: ") for line in stream.split("\n\n") if line]
        assert events[-1] == "[DONE]"
        *chunks, usage = map(json.loads, events[:-1])
        streamed = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        assert streamed.strip() == json.loads(whole)["choices"][0]["message"]["content"]
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "length"]
        assert usage["usage"]["completion_tokens"] == 6

    talk(scenario)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/completions", {"model": "other", "prompt": "x"}, 404, "The model `other` does not exist."),
        ("/v1/completions", {"model": "qwen"}, 400, "Either prompt or prompt_embeds must be provided"),
        ("/v1/completions", {"model": "qwen", "prompt": "x", "max_tokens": 0}, 400, "max_tokens must be at least 1"),
        ("/v1/completions", {"model": "qwen", "prompt": "x" * 200_000}, 400, "maximum context length is 32768"),
        ("/v1/chat/completions", {"model": "qwen", "messages": []}, 400, "at least one message"),
        ("/v1/embeddings", {"model": "qwen", "input": "x"}, 404, "Not Found"),
    ],
)
def test_wrong_requests_are_refused_in_vllms_words(path: str, body: object, status: int, message: str) -> None:
    async def scenario(ask: Ask) -> None:
        found, text = await ask("POST", path, body)
        assert (found, message in text) == (status, True), text

    talk(scenario)


def test_metrics_have_vllms_names_and_follow_requests() -> None:
    async def scenario(ask: Ask) -> None:
        for _ in range(2):
            await ask("POST", "/v1/completions", {"model": "qwen", "prompt": LONG_PROMPT, "max_tokens": 3})
        _, page = await ask("GET", "/metrics")
        values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        labels = '{engine="0",model_name="qwen"}'
        assert values[f"vllm:num_requests_running{labels}"] == "0.0"
        assert values[f"vllm:num_requests_waiting{labels}"] == "0.0"
        assert values[f"vllm:kv_cache_usage_perc{labels}"] == "0.0"
        assert values[f"vllm:prompt_tokens_total{labels}"] == "320.0"
        assert values[f"vllm:generation_tokens_total{labels}"] == "6.0"
        assert values[f"vllm:prefix_cache_hits_total{labels}"] == "159.0"
        assert values[f"vllm:time_to_first_token_seconds_count{labels}"] == "2.0"
        assert 'block_size="16",num_gpu_blocks="4096"' in page
        assert 'vllm:lora_requests_info{max_lora="1",running_lora_adapters="",waiting_lora_adapters=""}' in page

    talk(scenario)


def test_a_request_is_given_up_when_its_client_goes() -> None:
    server = ModelServer(SETTINGS, Pace(ttft_ms=60_000), "llm/pod-1")

    async def scenario(ask: Ask) -> None:
        asked = asyncio.create_task(ask("POST", "/v1/completions", {"model": "qwen", "prompt": "x"}))
        async with asyncio.timeout(10):
            while not server.engine.running:
                await asyncio.sleep(0.01)
            asked.cancel()
            while server.engine.running:
                await asyncio.sleep(0.01)

    talk(scenario, server=server)


def test_health_is_empty_and_unknown_paths_are_not_found() -> None:
    async def scenario(ask: Ask) -> None:
        assert await ask("GET", "/health") == (200, "")
        assert (await ask("GET", "/nothing"))[0] == 404
        assert (await ask("GET", "/v1/completions"))[0] == 405

    talk(scenario)
