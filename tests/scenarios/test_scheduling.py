"""What the real endpoint picker makes of a load, beside round robin under the same load.

The load is bounded by the pace of the simulated servers, so that it comes out the same on a busy machine.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import pytest
from embedded_cluster.network import host_address

from tests.scenarios.conftest import Installation, run_on
from tests.support.clusters import EmbeddedCluster
from tests.support.playbook import Run
from tests.support.requests import Client, off_loop, play

pytestmark = pytest.mark.cluster

NAMESPACE, MODEL, GROUP = "models", "small", "versions"
FAST_MS, SLOW_MS = 20, 4000
SMALL = {
    "namespace": NAMESPACE,
    "served_name": MODEL,
    "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
    "gpu": {"count": 0},
    "image": "registry.redhat.io/rhaiis/vllm-cpu-rhel9:3",
    "resources": {"cpu": "100m", "memory": "256Mi"},
}


def model(name: str, scheduler: Mapping[str, Any], *, sequences: int, ttft_ms: int, weight: int) -> dict[str, Any]:
    """An entry of `models` for which there is room beside those of the inventory; one version of the group."""
    return {
        **SMALL,
        "name": name,
        "replicas": 3,
        "scheduler": dict(scheduler),
        "vllm": {"max_num_seqs": sequences},
        "pod_annotations": {"embedded-cluster/ttft-ms": str(ttft_ms)},
        "traffic": {"group": GROUP, "weight": weight},
    }


MODELS = [
    model("by-prefix", {"strategy": "prefix_cache"}, sequences=64, ttft_ms=5, weight=3),
    model("by-load", {"strategy": "load_aware", "objectives": "default"}, sequences=2, ttft_ms=FAST_MS, weight=1),
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
    turned = [{**entry, "traffic": {"group": GROUP, "weight": 4 - entry["traffic"]["weight"]}} for entry in MODELS]
    run = conformance(cluster, models=turned, models_profiles="ab_test")
    assert run.exit_code != 0
    assert "1 profile tried, failed: ab_test" in run.text
    assert "expected shares within 9 points of the weights, found" in run.text
    assert re.search(r"by-load (1[6-9]|2\d|3[0-4])% of 75%", run.text), str(run)
