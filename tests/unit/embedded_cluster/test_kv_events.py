"""KV events of the simulated vLLM, as a subscriber gets them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest
import zmq
from embedded_cluster.egress import NoRouteError
from embedded_cluster.model_server.command_line import UsageError, parse
from embedded_cluster.model_server.engine import Engine, Job, Pace, token_numbers
from embedded_cluster.model_server.event_publisher import Publisher
from embedded_cluster.model_server.kv_events import EventSettings
from embedded_cluster.model_servers import ModelServers

TOPIC = "kv@10.64.8.3:8000@qwen"
PUBLISHED = {"enable_kv_cache_events": True, "publisher": "zmq", "topic": TOPIC}
WAIT_MS = 20_000
LISTENER = "127.0.0.1"


@contextmanager
def subscribed(topic: str = "kv@") -> Iterator[tuple[Publisher, Callable[[], tuple[str, int, Any]]]]:
    """A publisher that has connected to a subscriber, and what the subscriber gets next: topic, number, batch."""
    with zmq.Context() as context, context.socket(zmq.XSUB) as socket:
        port = socket.bind_to_random_port(f"tcp://{LISTENER}")
        socket.setsockopt(zmq.RCVTIMEO, WAIT_MS)
        settings = EventSettings(**PUBLISHED, endpoint=f"tcp://{LISTENER}:{port}")
        publisher = Publisher(settings, "127.64.8.3", "team")
        socket.send(b"\x01" + topic.encode())

        def receive() -> tuple[str, int, Any]:
            found, number, payload = socket.recv_multipart()
            return found.decode(), int.from_bytes(number, "big"), msgpack.unpackb(payload)

        try:
            deadline = time.monotonic() + WAIT_MS / 1000
            while not socket.poll(50):  # until it knows of the subscription, it drops what it sends
                assert time.monotonic() < deadline, "no event arrives"
                publisher.removed([0])
            publisher.removed([1])  # order is kept: the last that is not of the test
            while [1] not in [event[1] for event in receive()[2][1]]:
                pass
            yield publisher, receive
        finally:
            publisher.close()
            socket.close(linger=0)


def engine(listener: Publisher, **changes: Any) -> Engine:
    values = {"block_size": 16, "blocks": 8, "max_sequences": 2, "keeps_prefixes": True, "hash_seed": "42", **changes}
    pace = Pace(ttft_ms=0, itl_ms=0, prefill_us_per_token=0)
    return Engine(pace=pace, listener=listener, **values)


def ask(subject: Engine, *prompts: str, lora: str = "") -> None:
    async def run() -> None:
        for prompt in prompts:
            async for _ in subject.run(Job(prompt, 1, lora), stream=False):
                pass

    asyncio.run(run())


def test_a_stored_prompt_is_told_block_by_block_and_only_once() -> None:
    prompt = "".join(f"{number:04d}" for number in range(40))  # 40 tokens: two blocks and a half
    longer = prompt + "".join(f"{number:04d}" for number in range(40, 50))  # three blocks
    with subscribed() as (publisher, receive):
        ask(engine(publisher), prompt, prompt, longer)
        topic, first, (seconds, (event,), rank) = receive()
        assert (topic, rank) == (TOPIC, 0)
        assert abs(seconds - time.time()) < 60
        name, hashes, parent, tokens, block_size, lora_id, medium, lora = event
        assert (name, parent, block_size, lora_id, medium, lora) == ("BlockStored", None, 16, None, "GPU", None)
        assert len(set(hashes)) == 2
        assert tokens == token_numbers(prompt)[:32]
        _, second, (_, (event,), _) = receive()
        assert second == first + 1, "the same prompt again changed nothing"
        assert event[:3] == ["BlockStored", event[1], hashes[-1]]
        assert event[3] == token_numbers(longer)[32:48]


def test_evicted_blocks_are_told_before_what_takes_their_place() -> None:
    with subscribed() as (publisher, receive):
        ask(engine(publisher, blocks=4), "a" * 192, "b" * 192)
        events = [receive()[2][1][0] for _ in range(3)]
    stored_a, removed, stored_b = events
    assert [event[0] for event in events] == ["BlockStored", "BlockRemoved", "BlockStored"]
    assert set(removed[1]) <= set(stored_a[1])
    assert removed[2:] == ["GPU"]
    assert not set(stored_b[1]) & set(stored_a[1])


def test_servers_with_one_seed_agree_on_hashes_and_others_do_not() -> None:
    hashes = []
    with subscribed() as (publisher, receive):
        for seed in ("42", "42", "7", "", ""):
            ask(engine(publisher, hash_seed=seed), "a" * 64)
            hashes.append(receive()[2][1][0][1][0])
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4


def test_an_adapter_is_named_and_its_blocks_are_its_own() -> None:
    with subscribed() as (publisher, receive):
        subject = engine(publisher)
        ask(subject, "a" * 64)
        ask(subject, "a" * 64, lora="sql")
        (plain,), (adapted,) = receive()[2][1], receive()[2][1]
    assert adapted[7] == "sql"
    assert plain[1] != adapted[1]


def test_a_server_without_prefix_caching_has_nothing_to_tell() -> None:
    with subscribed() as (publisher, receive):
        ask(engine(publisher, keeps_prefixes=False), "a" * 256)
        publisher.removed([77])
        assert receive()[2][1] == [["BlockRemoved", [77], "GPU"]]


def test_a_subscriber_gets_its_topics_only() -> None:
    with subscribed(TOPIC) as (publisher, receive):
        settings = EventSettings(**{**PUBLISHED, "topic": "other"}, endpoint=publisher.endpoint)
        other = Publisher(settings, LISTENER, "team")
        for _ in range(3):
            other.removed([1])
        publisher.removed([2])
        assert receive()[2][1] == [["BlockRemoved", [2], "GPU"]]
        other.close()


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("tcp://*:5557", ("tcp://127.64.8.3:5557", True)),
        ("tcp://10.0.0.9:5557", ("tcp://10.0.0.9:5557", False)),
        ("tcp://qwen-epp-service:5557", ("tcp://qwen-epp-service:5557", False)),
    ],
)
def test_a_star_listens_on_the_address_of_the_pod(endpoint: str, expected: tuple[str, bool]) -> None:
    assert EventSettings(endpoint=endpoint).reached_from("127.64.8.3") == expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("tcp://*:5557", None),
        ("ipc:///tmp/events", None),
        ("tcp://127.0.0.1:5557", None),
        ("tcp://localhost:5557", None),
        ("tcp://10.64.8.9:5557", ("10.64.8.9", 5557)),
        ("tcp://picker:5557", ("picker.team.svc", 5557)),
        ("tcp://picker.other:5557", ("picker.other.svc", 5557)),
        ("tcp://picker.other.svc.cluster.local:5557", ("picker.other.svc.cluster.local", 5557)),
    ],
)
def test_what_is_elsewhere_in_the_cluster_must_be_found(endpoint: str, expected: tuple[str, int] | None) -> None:
    assert EventSettings(endpoint=endpoint).wanted_from("team") == expected


def test_events_reach_what_a_service_leads_to_also_after_it_moved(tmp_path: Path) -> None:
    """A real process of model servers, which asks for the Service until it has an endpoint."""
    ports: list[int] = []

    def find(host: str, port: int) -> list[tuple[str, int]]:
        assert (host, port) == ("picker.team.svc.cluster.local", 5557)
        if not ports:
            raise NoRouteError("no ready endpoint")
        return [(LISTENER, ports[-1])]

    config = {**PUBLISHED, "endpoint": "tcp://picker.team.svc.cluster.local:5557"}
    with socket.socket() as free:
        free.bind((LISTENER, 0))
        port = free.getsockname()[1]
    spec = {
        "pod": "team/m-0",
        "command": ["vllm", "serve", "/m"],
        "args": ["--port", str(port), "--block-size", "16", "--kv-events-config", json.dumps(config)],
        "env": {},
        "annotations": {},
        "address": LISTENER,
        "extra_ports": [],
        "root": str(tmp_path),
        "log": str(tmp_path / "log"),
    }

    async def heard(subscriber: zmq.Socket[bytes], session: aiohttp.ClientSession) -> None:
        deadline = time.monotonic() + WAIT_MS / 1000
        for number in itertools.count():
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            body = {"model": "/m", "prompt": f"{number} " * 64, "max_tokens": 1}
            with contextlib.suppress(aiohttp.ClientConnectionError):
                await session.post(f"http://{LISTENER}:{port}/v1/completions", json=body)
            if subscriber.poll(50):
                assert subscriber.recv_multipart()[0].decode() == TOPIC
                return

    async def run() -> None:
        servers = ModelServers(tmp_path / "host.log", lambda _: None, find)
        ended = await servers.start("one", spec)
        async with aiohttp.ClientSession() as session:
            with zmq.Context() as context:
                for _ in range(2):
                    with context.socket(zmq.SUB) as subscriber:
                        subscriber.subscribe("kv@")
                        ports.append(subscriber.bind_to_random_port(f"tcp://{LISTENER}"))
                        await heard(subscriber, session)
        await servers.stop("one", 1)
        assert await ended == 0
        await servers.close()

    asyncio.run(run())


def test_an_endpoint_in_use_ends_the_server() -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        port = socket.bind_to_random_port(f"tcp://{LISTENER}")
        with pytest.raises(OSError, match=rf"endpoint tcp://{LISTENER}:{port}: Address already in use"):
            Publisher(EventSettings(endpoint=f"tcp://*:{port}"), LISTENER, "team")


def test_the_flag_says_whether_events_are_published() -> None:
    def settings(value: dict[str, Any] | None) -> EventSettings:
        flag = [] if value is None else ["--kv-events-config", json.dumps(value)]
        return parse(["vllm", "serve", "/m"], flag, {}).events

    assert settings(None) == EventSettings()
    assert settings(PUBLISHED) == dataclasses.replace(EventSettings(), **PUBLISHED)
    assert settings(PUBLISHED).published
    assert settings({"enable_kv_cache_events": True}).published
    assert not settings({**PUBLISHED, "enable_kv_cache_events": False}).published
    assert not settings({**PUBLISHED, "publisher": "null"}).published
    assert not settings(None).published


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"topics": "kv@"}', "--kv-events-config: expected a JSON object with keys of buffer_steps, "),
        ('{"publisher": "kafka"}', "publisher: expected null or zmq, found kafka"),
    ],
)
def test_what_vllm_does_not_know_ends_the_server(value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(["vllm", "serve", "/m"], ["--kv-events-config", value], {})
