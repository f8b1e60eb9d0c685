"""What the real endpoint picker makes of a load, beside round robin under the same load.

The load is bounded by the pace of the simulated servers, so that it comes out the same on a busy machine.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import statistics
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgpack
import pytest
import zmq
from embedded_cluster.network import host_address

from tests.scenarios.conftest import Installation, run_on
from tests.support.clusters import EmbeddedCluster
from tests.support.playbook import Run
from tests.support.requests import Client, off_loop, play

pytestmark = pytest.mark.cluster

NAMESPACE, MODEL, ALIAS, GROUP = "models", "small", "chat", "versions"
FAST_MS, SLOW_MS = 20, 4000
WITH_ONE_QUEUED = {"queue_depth": 1, "metrics_staleness": "2s"}
#: A burst of requests ends soon: its picker goes by what it read from the servers, which is late when they are busy.
WITH_FRESH_METRICS = {**WITH_ONE_QUEUED, "metrics_staleness": "100ms"}
SMALL = {
    "namespace": NAMESPACE,
    "served_name": MODEL,
    "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
    "gpu": {"count": 0},
    "image": "registry.redhat.io/rhaiis/vllm-cpu-rhel9:3",
    "resources": {"cpu": "100m", "memory": "256Mi"},
}


def model(name: str, scheduler: Mapping[str, Any], *, sequences: int, ttft_ms: int, **more: Any) -> dict[str, Any]:
    """An entry of `models` for which there is room beside those of the inventory."""
    return {
        **SMALL,
        "name": name,
        "replicas": 3,
        "scheduler": dict(scheduler),
        "vllm": {"max_num_seqs": sequences},
        "pod_annotations": {"embedded-cluster/ttft-ms": str(ttft_ms)},
        **more,
    }


#: Cache events on a port of each pod, as for precise_prefix_cache, whose scorer no picker here has.
EVENTS_PORT = 5557
#: Or sent to a Service, which a test makes.
LISTENER, LISTENER_PORT = "listener", 5558


def publishes(endpoint: str) -> dict[str, Any]:
    """What makes a model tell its cache events."""
    events = {"enable_kv_cache_events": True, "publisher": "zmq", "endpoint": endpoint}
    return {
        "env": {"POD_IP": {"field": "status.podIP"}, "PYTHONHASHSEED": "42"},
        "args": ["--kv-events-config", json.dumps({**events, "topic": f"kv@$(POD_IP):8000@{MODEL}"})],
    }


def version(weight: int) -> dict[str, Any]:
    """What makes a model a version of the group."""
    return {"traffic": {"group": GROUP, "weight": weight}}


MODELS = [
    model(
        "by-prefix",
        {"strategy": "prefix_cache", "model_rewrites": [{"models": [ALIAS], "targets": [{"model": MODEL}]}]},
        sequences=64,
        ttft_ms=5,
        **version(3),
        **publishes(f"tcp://*:{EVENTS_PORT}"),
    ),
    model(
        "by-load",
        {"strategy": "load_aware", "objectives": "default", "saturation": WITH_ONE_QUEUED},
        sequences=2,
        ttft_ms=FAST_MS,
        **version(1),
    ),
    model(
        "in-bands",
        {"strategy": "load_aware", "objectives": "default", "saturation": WITH_FRESH_METRICS, "flow_control": {}},
        sequences=40,
        ttft_ms=1000,
        replicas=2,
        **publishes(f"tcp://{LISTENER}.{NAMESPACE}.svc.cluster.local:{LISTENER_PORT}"),
    ),
]
#: Past the scheduler, over the Service: the gateway takes the pods in turn.
IN_TURN = [
    {
        "name": f"{name}-in-turn",
        "namespace": NAMESPACE,
        "rules": [
            {
                "matches": [{"path": f"/in-turn/{name}"}],
                "backends": [{"model": name, "through": "service"}],
                "rewrite": {"prefix": "/"},
            }
        ],
    }
    for name in ("by-prefix", "by-load")
]


VARIABLES = {"models": MODELS, "model_routes": IN_TURN}


@pytest.fixture(scope="module")
def cluster(aws: Installation) -> Iterator[EmbeddedCluster]:
    """The installed cluster with the models of this file, which go again."""
    run = run_on(aws.cluster, playbook="playbooks/models.yml", variables={**VARIABLES, "models_prune": False})
    assert run.exit_code == 0, str(run)
    yield aws.cluster
    run = run_on(aws.cluster, playbook="playbooks/models.yml")
    assert run.exit_code == 0, str(run)


def url_of(cluster: EmbeddedCluster, name: str) -> str:
    return str(cluster.get("llminferenceservice", name, NAMESPACE)["status"]["url"])


def in_turn(cluster: EmbeddedCluster, name: str) -> str:
    """The URL of a model past its scheduler."""
    return url_of(cluster, name).replace(f"/{NAMESPACE}/", "/in-turn/")


class Servers:
    """The metrics of the pods of a model."""

    def __init__(self, cluster: EmbeddedCluster, name: str) -> None:
        selector = f"app.kubernetes.io/name={name},kserve.io/component=workload"
        self.pods = {
            pod["metadata"]["name"]: f"https://{host_address(pod['status']['podIP'])}:8000/metrics"
            for pod in cluster.objects("pods", "--selector", selector)
        }

    async def read(self, session: aiohttp.ClientSession, metric: str) -> dict[str, float]:
        """A metric of each pod, without its prefix "vllm:"."""

        async def one(url: str) -> float:
            async with session.get(url, ssl=False) as answer:
                found = re.search(rf"^vllm:{metric}{{.*}} (\S+)$", await answer.text(), re.MULTILINE)
            assert found, f"{url}: no metric vllm:{metric}"
            return float(found[1])

        return dict(zip(self.pods, await asyncio.gather(*map(one, self.pods.values())), strict=True))

    def total(self, metric: str) -> float:
        """The sum over all pods."""

        async def read() -> float:
            async with aiohttp.ClientSession() as session:
                return sum((await self.read(session, metric)).values())

        return asyncio.run(read())


# Prefix cache ----------------------------------------------------------------------------

#: No multiple of the number of pods, or taking them in turn would keep each document on one by chance.
DOCUMENTS, QUESTIONS = 13, 4
#: No server has seen the documents of another run.
RUN = uuid.uuid4()


def document(number: int, kind: str) -> str:
    """About a thousand tokens that no other document begins with."""
    return f"{kind} {number} of {RUN}: " + f"section {number} of the {kind} says nothing new. " * 90


def ask_about_documents(url: str, kind: str) -> dict[int, set[str]]:
    """A few questions about each of some documents, one document after the other; the pods that answered for each."""
    pods: dict[int, set[str]] = {number: set() for number in range(DOCUMENTS)}

    async def scenario(client: Client) -> None:
        for question in range(QUESTIONS):
            for number in range(DOCUMENTS):
                pods[number].add(await client.ask(f"{document(number, kind)} Question {question}?"))
        assert set(client.statuses) == {200}, client.statuses

    play(url, MODEL, scenario)
    return pods


def test_long_prompts_stay_on_their_pod_and_hit_its_cache_twice_as_often(cluster: EmbeddedCluster) -> None:
    servers = Servers(cluster, "by-prefix")

    def hit_rate(url: str, kind: str) -> tuple[float, dict[int, set[str]]]:
        before = servers.total("prefix_cache_hits_total"), servers.total("prefix_cache_queries_total")
        pods = ask_about_documents(url, kind)
        hits, queries = (
            servers.total(f"prefix_cache_{name}_total") - start
            for name, start in zip(("hits", "queries"), before, strict=True)
        )
        return hits / queries, pods

    spread, _ = hit_rate(in_turn(cluster, "by-prefix"), "contract")
    kept, pods = hit_rate(url_of(cluster, "by-prefix"), "manual")
    assert all(len(seen) == 1 for seen in pods.values()), pods
    assert len(set.union(*pods.values())) > 1, "all documents went to one pod"
    assert kept >= 2 * spread > 0, f"hit rate {kept:.2f} with the scheduler, {spread:.2f} in turn"


def test_the_pod_that_keeps_a_prompt_says_so_to_whoever_listens(cluster: EmbeddedCluster) -> None:
    """KV events: topic and blocks of the pod that answered, once, however often the prompt comes."""
    addresses = {name: urlsplit(url).hostname for name, url in Servers(cluster, "by-prefix").pods.items()}
    answered: set[str] = set()

    async def scenario(client: Client) -> None:
        for question in range(3):
            answered.add(await client.ask(f"{document(1, 'letter')} Question {question}?"))

    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.RCVTIMEO, 20_000)
        socket.setsockopt(zmq.LINGER, 0)
        socket.subscribe("kv@")
        for address in addresses.values():
            socket.connect(f"tcp://{address}:{EVENTS_PORT}")
        hear_all(cluster, socket, pods=len(addresses))
        play(url_of(cluster, "by-prefix"), MODEL, scenario)
        topic, _, payload = socket.recv_multipart()
        assert socket.poll(500) == 0, "the questions differ in their last, unfinished block only"
    (pod,) = answered
    assert topic.decode() == f"kv@{addresses[pod].replace('127.', '10.', 1)}:8000@{MODEL}"
    _, ((name, hashes, parent, tokens, block_size, *_),), _ = msgpack.unpackb(payload)
    assert (name, parent, block_size) == ("BlockStored", None, 16)
    assert len(tokens) == 16 * len(set(hashes)) > 900


def test_cache_events_find_a_service_by_its_name(cluster: EmbeddedCluster) -> None:
    """The Service comes after the servers, and leads to a port of their pods at which the test listens."""
    addresses = [str(urlsplit(url).hostname) for url in Servers(cluster, "in-bands").pods.values()]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": LISTENER, "namespace": NAMESPACE},
        "spec": {
            "selector": {"app.kubernetes.io/name": "in-bands", "kserve.io/component": "workload"},
            "ports": [{"name": "events", "port": LISTENER_PORT}],
        },
    }
    numbers = itertools.count()
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.subscribe("kv@")
        for address in addresses:
            socket.bind(f"tcp://{address}:{LISTENER_PORT}")
        cluster.do("apply", "-f", "-", stdin=json.dumps(service))

        async def heard(client: Client) -> bool:
            await client.ask(document(next(numbers), "memo"))
            return bool(socket.poll(100))

        async def scenario(client: Client) -> None:
            await client.until("an event", lambda: heard(client), seconds=90)

        try:
            play(url_of(cluster, "in-bands"), MODEL, scenario)
            topic = socket.recv_multipart()[0].decode()
        finally:
            cluster.do("delete", "service", LISTENER, "--namespace", NAMESPACE)
    assert topic in {f"kv@{address.replace('127.', '10.', 1)}:8000@{MODEL}" for address in addresses}


def hear_all(cluster: EmbeddedCluster, socket: zmq.Socket[bytes], *, pods: int) -> None:
    """Ask every pod something new until events of all of them arrive, and no more come."""
    topics: set[bytes] = set()
    numbers = itertools.count()

    async def heard(client: Client) -> bool:
        await client.ask(document(next(numbers), "note"))
        while socket.poll(100):
            topics.add(socket.recv_multipart()[0])
        return len(topics) == pods

    async def scenario(client: Client) -> None:
        await client.until("events of all pods", lambda: heard(client), seconds=60)

    play(in_turn(cluster, "by-prefix"), MODEL, scenario)
    while socket.poll(500):
        socket.recv_multipart()


def test_a_model_may_be_asked_for_by_another_name(cluster: EmbeddedCluster) -> None:
    """scheduler.model_rewrites: the picker puts the name that the servers know in its place."""

    async def scenario(client: Client) -> None:
        assert await client.ask()
        assert client.statuses == {200: 1}

    play(url_of(cluster, "by-prefix"), ALIAS, scenario)


# Versions --------------------------------------------------------------------------------

ASKED = 2000


def share_out(cluster: EmbeddedCluster, parts: Mapping[str, Mapping[str, Any]], **variables: Any) -> None:
    """A run of models.yml that gives some models another part in the traffic group."""
    models = [
        {**entry, "traffic": {"group": GROUP, **parts[entry["name"]]}} if entry["name"] in parts else entry
        for entry in MODELS
    ]
    variables = {**VARIABLES, "models": models, "models_prune": False, "models_smoke": False, **variables}
    run = run_on(cluster, playbook="playbooks/models.yml", variables=variables)
    assert run.exit_code == 0, str(run)


def url_of_versions(cluster: EmbeddedCluster) -> str:
    return url_of(cluster, "by-prefix").replace("/by-prefix", f"/{GROUP}")


def test_new_weights_in_the_inventory_move_the_traffic_and_lose_no_request(cluster: EmbeddedCluster) -> None:
    """A run of models.yml makes 90 to 10 of 3 to 1, while requests come; 2,000 later ones are shared like that."""

    def turn(**weights: int) -> None:
        share_out(cluster, {name.replace("_", "-"): {"weight": weight} for name, weight in weights.items()})

    async def scenario(client: Client) -> None:
        async with client.load():
            await off_loop(lambda: turn(by_prefix=90, by_load=10))
        assert set(client.statuses) == {200}, client.statuses
        client.versions.clear()
        await client.many(ASKED)
        share = client.versions["by-prefix"] / client.versions.total()
        assert (client.versions.total(), set(client.statuses)) == (ASKED, {200}), client.statuses
        assert abs(share - 0.9) < 0.02, client.versions

    play(url_of_versions(cluster), MODEL, scenario)
    turn(by_prefix=3, by_load=1)


def test_a_header_of_the_inventory_sends_all_marked_requests_to_its_version(cluster: EmbeddedCluster) -> None:
    """A run of models.yml turns the shares into a split by header; marked requests go to one model, others not."""
    mark = {"x-version": "two"}
    marked = {"by-prefix": {}, "by-load": {"headers": [{"name": "x-version", "value": "two"}]}}

    async def divided(client: Client) -> bool:
        """The header decides, not the shares of before by chance."""
        found = [(await client.ask(headers=mark), await client.ask()) for _ in range(6)]
        return all(one.startswith("by-load") and other.startswith("by-prefix") for one, other in found)

    async def scenario(client: Client) -> None:
        async with client.load():
            group = {"name": GROUP, "namespace": NAMESPACE, "split": "header"}
            await off_loop(lambda: share_out(cluster, marked, traffic_groups=[group]))
            await client.until("the new route", lambda: divided(client))
        assert set(client.statuses) == {200}, client.statuses
        client.versions.clear()
        await client.many(200, headers=mark)
        assert client.versions == {"by-load": 200}, client.statuses
        await client.many(200, headers={"x-version": "one"})
        assert client.versions == {"by-load": 200, "by-prefix": 200}, client.statuses

    play(url_of_versions(cluster), MODEL, scenario)
    share_out(cluster, {"by-prefix": {"weight": 3}, "by-load": {"weight": 1}})


# Load ------------------------------------------------------------------------------------

RATE, SECONDS = 10, 5


def set_pace(cluster: EmbeddedCluster, pod: str, ttft_ms: int) -> None:
    """From now on a server takes so long until the first token."""
    annotation = f"embedded-cluster/ttft-ms={ttft_ms}"
    cluster.do("annotate", "pod", pod, "--namespace", NAMESPACE, "--overwrite", annotation)


def longest_queue(cluster: EmbeddedCluster, servers: Servers, url: str) -> float:
    """The most requests that waited at one pod while requests came at a fixed rate and one pod was slow."""
    slow, seen = next(iter(servers.pods)), [0.0]

    async def watch(session: aiohttp.ClientSession, done: asyncio.Event) -> None:
        while not done.is_set():
            seen.extend((await servers.read(session, "num_requests_waiting")).values())
            await asyncio.sleep(0.1)

    async def scenario(client: Client) -> None:
        done, asked = asyncio.Event(), []
        async with aiohttp.ClientSession() as session:
            watching = asyncio.create_task(watch(session, done))
            for number in range(RATE * SECONDS):
                asked.append(asyncio.create_task(client.ask(f"{number} hello")))
                await asyncio.sleep(1 / RATE)
            done.set()
            await watching
        await off_loop(set_pace, cluster, slow, FAST_MS)  # what still waits is answered at once
        await asyncio.gather(*asked)
        assert set(client.statuses) == {200}, client.statuses

    set_pace(cluster, slow, SLOW_MS)
    play(url, MODEL, scenario)
    return max(seen)


def test_the_longest_queue_is_at_most_half_of_that_in_turn_with_a_slow_pod(cluster: EmbeddedCluster) -> None:
    servers = Servers(cluster, "by-load")
    spread = longest_queue(cluster, servers, in_turn(cluster, "by-load"))
    picked = longest_queue(cluster, servers, url_of(cluster, "by-load"))
    assert spread >= 10, "the slow pod was not slow enough to tell"
    assert picked <= spread / 2, f"longest queue {picked} with the scheduler, {spread} in turn"


# Priorities ------------------------------------------------------------------------------

OBJECTIVE = "x-gateway-inference-objective"
PREMIUM, EVERY_SECONDS, COME_AGAIN_SECONDS, STARTED_SECONDS = 10, 0.3, 1.0, 2.0


class Flood:
    """What premium clients see while many others, of one objective, ask again as soon as they have an answer.

    premium, others  seconds until the first (and only) token of each request that was answered
    statuses         how the requests of the others ended
    """

    def __init__(self, cluster: EmbeddedCluster, name: str, *, clients: int, others: str) -> None:
        self.premium: list[float] = []
        self.others: list[float] = []
        self.statuses: Counter[int | str] = Counter()
        self._servers = Servers(cluster, name)
        self._header = {kind: {OBJECTIVE: f"{name}-{kind}"} for kind in ("premium", others)}
        play(url_of(cluster, name), MODEL, lambda client: self._run(client, clients, others))

    async def _run(self, client: Client, clients: int, others: str) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            other = client.beside(session)
            flooding = []
            for _ in range(clients):
                flooding.append(asyncio.create_task(self._flood(other, others)))
                await asyncio.sleep(STARTED_SECONDS / clients)
            await client.until("full servers", lambda: self._all_full(session), seconds=60)
            asked = []
            for _ in range(PREMIUM):
                asked.append(asyncio.create_task(self._timed(client, "premium", self.premium)))
                await asyncio.sleep(EVERY_SECONDS)
            await asyncio.gather(*asked)
            for task in flooding:
                task.cancel()
            await asyncio.gather(*flooding, return_exceptions=True)
        self.statuses = other.statuses
        assert client.statuses == {200: PREMIUM}, client.statuses

    async def _flood(self, client: Client, kind: str) -> None:
        while True:
            if not await self._timed(client, kind, self.others):
                await asyncio.sleep(COME_AGAIN_SECONDS)  # as a client would that was told to come again

    async def _timed(self, client: Client, kind: str, seconds: list[float]) -> bool:
        began = time.monotonic()
        answered = bool(await client.ask(headers=self._header[kind]))
        if answered:
            seconds.append(time.monotonic() - began)
        return answered

    async def _all_full(self, session: aiohttp.ClientSession) -> bool:
        waiting = await self._servers.read(session, "num_requests_waiting")
        return min(waiting.values()) > WITH_ONE_QUEUED["queue_depth"]

    @property
    def typical(self) -> float:
        """The median of what premium clients waited."""
        return statistics.median(self.premium)

    def __str__(self) -> str:
        premium, others = ([round(item, 2) for item in sorted(kind)] for kind in (self.premium, self.others))
        return f"premium {premium}, others {others[:3]} to {others[-3:]} of {len(others)}, {dict(self.statuses)}"


def test_full_servers_refuse_batch_requests_so_that_premium_ones_keep_their_time(cluster: EmbeddedCluster) -> None:
    pods = Servers(cluster, "by-load").pods
    for pod in pods:
        set_pace(cluster, pod, 300)
    equals = Flood(cluster, "by-load", clients=40, others="normal")
    assert set(equals.statuses) == {200}, equals
    batch = Flood(cluster, "by-load", clients=40, others="batch")
    for pod in pods:
        set_pace(cluster, pod, FAST_MS)
    assert set(batch.statuses) == {200, 429}, batch
    assert batch.typical <= equals.typical / 2, f"with batch: {batch}; with equals: {equals}"


def test_with_flow_control_batch_requests_wait_so_that_premium_ones_keep_their_time(cluster: EmbeddedCluster) -> None:
    equals = Flood(cluster, "in-bands", clients=300, others="premium")
    batch = Flood(cluster, "in-bands", clients=300, others="batch")
    assert set(equals.statuses) == set(batch.statuses) == {200}, f"with batch: {batch}; with equals: {equals}"
    # The picker sends on by what it last read of the servers, so that some of the batch requests get ahead.
    assert batch.typical <= equals.typical * 3 / 4, f"with batch: {batch}; with equals: {equals}"
    assert max(batch.others) >= 2 * batch.typical, batch


# Guides ----------------------------------------------------------------------------------


def conformance(cluster: EmbeddedCluster, **variables: Any) -> Run:
    return run_on(cluster, playbook="playbooks/conformance.yml", variables={**VARIABLES, **variables})


def test_the_models_do_what_the_guides_promise(cluster: EmbeddedCluster) -> None:
    run = conformance(cluster)
    assert run.exit_code == 0, str(run)
    assert "4 profiles tried, none failed" in run.text
    for row in ("models/by-prefix ok", "models/by-load ok", "models/versions ok", "models/by-load-batch (-10) ok"):
        assert row in run.text, str(run)
    assert "skipped: no model with prefill workers" in run.text


def test_shares_that_are_not_those_of_the_inventory_fail(cluster: EmbeddedCluster) -> None:
    by_prefix, by_load, in_bands = MODELS
    turned = [{**by_prefix, **version(1)}, {**by_load, **version(3)}, in_bands]
    run = conformance(cluster, models=turned, models_profiles="ab_test")
    assert run.exit_code != 0
    assert "1 profile tried, failed: ab_test" in run.text
    assert "expected shares within 9 points of the weights, found" in run.text
    assert re.search(r"by-load (1[6-9]|2\d|3[0-4])% of 75%", run.text), str(run)
