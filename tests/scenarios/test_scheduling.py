"""What the real endpoint picker makes of a load, beside round robin under the same load.

The load is bounded by the pace of the simulated servers, so that it comes out the same on a busy machine.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
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
        {"strategy": "load_aware", "objectives": "default", "saturation": WITH_ONE_QUEUED, "flow_control": {}},
        sequences=2,
        ttft_ms=FAST_MS,
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
    while socket.poll(2000):
        socket.recv_multipart()


def test_a_model_may_be_asked_for_by_another_name(cluster: EmbeddedCluster) -> None:
    """scheduler.model_rewrites: the picker puts the name that the servers know in its place."""

    async def scenario(client: Client) -> None:
        assert await client.ask()
        assert client.statuses == {200: 1}

    play(url_of(cluster, "by-prefix"), ALIAS, scenario)


# Versions --------------------------------------------------------------------------------

#: So many that chance alone is two points off in one of 400,000 runs.
ASKED = 5000


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
    """A run of models.yml makes 90 to 10 of 3 to 1, while requests come; later ones are shared like that."""

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
    assert spread >= 8, "the slow pod was not slow enough to tell"
    assert picked <= spread / 2, f"longest queue {picked} with the scheduler, {spread} in turn"


# Priorities ------------------------------------------------------------------------------

OBJECTIVE = "x-gateway-inference-objective"
#: For as long as no test lasts.
HELD_MS = 600_000


class FullServers:
    """A model whose servers have no place left, until `free`; who asks then waits, or is refused.

    Used inside `play`, as a context:

    >>> async with FullServers(cluster, "by-load", client) as full:
    ...     refused = full.ask("batch", 10)
    """

    def __init__(self, cluster: EmbeddedCluster, name: str, client: Client) -> None:
        self._cluster, self._name, self._servers = cluster, name, Servers(cluster, name)
        patient = aiohttp.ClientTimeout(total=120)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=patient)
        self._client = client.beside(self._session)
        self._holding: list[asyncio.Task[str]] = []
        #: Who was answered, in order.
        self.answered: list[str] = []

    async def __aenter__(self) -> FullServers:
        for pod in self._servers.pods:
            await off_loop(set_pace, self._cluster, pod, HELD_MS)
        await self._client.until("full servers", self._one_more_fills, seconds=60)
        await asyncio.sleep(1)  # until the picker has read it from the servers
        return self

    async def _one_more_fills(self) -> bool:
        self._holding.append(asyncio.create_task(self._client.ask()))
        await asyncio.sleep(0.2)
        waiting = await self._servers.read(self._session, "num_requests_waiting")
        return min(waiting.values()) > WITH_ONE_QUEUED["queue_depth"]

    async def held(self) -> float:
        """Requests that are at the servers, in work or in their queues."""
        kinds = [await self._servers.read(self._session, f"num_requests_{kind}") for kind in ("running", "waiting")]
        return sum(sum(kind.values()) for kind in kinds)

    def ask(self, objective: str, number: int, label: str = "") -> asyncio.Task[Counter[int | str]]:
        """So many requests at once; the task ends with the last answer, and has the counts of statuses."""
        client = self._client.beside(self._session)

        async def one() -> None:
            if await client.ask(headers={OBJECTIVE: f"{self._name}-{objective}"}):
                self.answered.append(label or objective)

        async def all_of_them() -> Counter[int | str]:
            await asyncio.gather(*(one() for _ in range(number)))
            return client.statuses

        return asyncio.create_task(all_of_them())

    async def free(self) -> None:
        """Those who fill the servers leave, and answers take a tenth of a second from now on."""
        for pod in self._servers.pods:
            await off_loop(set_pace, self._cluster, pod, 100)
        for task in self._holding:
            task.cancel()
        await asyncio.gather(*self._holding, return_exceptions=True)

    async def __aexit__(self, *error: object) -> None:
        await self.free()
        await self._session.close()
        for pod in self._servers.pods:
            await off_loop(set_pace, self._cluster, pod, FAST_MS)


def test_full_servers_refuse_batch_requests_and_take_premium_ones(cluster: EmbeddedCluster) -> None:
    async def scenario(client: Client) -> None:
        async with FullServers(cluster, "by-load", client) as full:
            premium = full.ask("premium", 10)
            refused = await full.ask("batch", 10)
            assert (refused, premium.done()) == ({429: 10}, False)
            await full.free()
            assert await premium == {200: 10}

    play(url_of(cluster, "by-load"), MODEL, scenario)


EARLY, LATE = 40, 10


def overtaken(cluster: EmbeddedCluster, early: str) -> int:
    """How many of many requests with an objective are answered after all premium ones, which came last."""
    order: list[str] = []

    async def scenario(client: Client) -> None:
        async with FullServers(cluster, "in-bands", client) as full:
            before = await full.held()
            waiting = [full.ask(early, EARLY, "early")]
            await asyncio.sleep(1)
            waiting.append(full.ask("premium", LATE, "late"))
            await asyncio.sleep(1)
            assert (await full.held(), full.answered) == (before, []), "not all wait in the picker"
            await full.free()
            assert [await one for one in waiting] == [{200: EARLY}, {200: LATE}]
            order.extend(full.answered)

    play(url_of(cluster, "in-bands"), MODEL, scenario)
    return order[::-1].index("late")


def test_with_flow_control_premium_requests_overtake_batch_ones_that_wait(cluster: EmbeddedCluster) -> None:
    assert overtaken(cluster, early="premium") < EARLY / 4
    assert overtaken(cluster, early="batch") > EARLY * 3 / 4


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
    assert "expected shares within 10 points of the weights, found" in run.text
    (share,) = re.findall(r"by-load (\d+)% of 75%", run.text)
    assert 10 <= int(share) <= 40, str(run)
