"""Requests through the gateway of an installed platform: Envoy, endpoint picker and simulated model servers."""

from __future__ import annotations

import asyncio
import collections
import json
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from embedded_cluster.ask import ask_models
from embedded_cluster.network import host_address
from embedded_cluster.processes import ProcessId
from embedded_cluster.state import pod_processes

from tests.scenarios.conftest import Installation, run_on
from tests.support.clusters import EmbeddedCluster, Object, wait_for
from tests.support.requests import PARALLEL, Client, off_loop, play

pytestmark = pytest.mark.cluster

NAMESPACE, MODEL = "models", "qwen-basic"
STOP = "serving.kserve.io/stop"
GATEWAY = {"name": "inference-gateway", "namespace": "redhat-ods-applications"}


@pytest.fixture(scope="module")
def cluster(aws: Installation) -> EmbeddedCluster:
    return aws.cluster


@pytest.fixture(scope="module")
def versions(cluster: EmbeddedCluster) -> Iterator[str]:
    """Two models that serve the same name, as versions of one; the URL of the shared path."""
    names = ("ab-one", "ab-two")
    cluster.do("apply", "-f", "-", stdin=yaml.safe_dump_all([plain_model(name, served="ab") for name in names]))
    for name in names:
        wait_for(f"model {name}", lambda name=name: is_ready(cluster, name), seconds=120)
    yield base_url(cluster).replace(f"/{MODEL}", "/ab")
    cluster.do("delete", "llminferenceservice", *names, "--namespace", NAMESPACE)


def plain_model(name: str, *, served: str, **scheduler: Any) -> Object:
    """A model without GPU, which fits beside those of the inventory."""
    secrets = [{"name": "rhai-pull-secret"}]
    pickers = [{"name": name, "resources": {}} for name in ("main", "tokenizer")]
    scheduler["template"] = {"containers": pickers, "imagePullSecrets": secrets}
    return {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"uri": "hf://Qwen/Qwen2.5-0.5B-Instruct", "name": served},
            "replicas": 1,
            "template": {"containers": [{"name": "main", "resources": {}}], "imagePullSecrets": secrets},
            "router": {"gateway": {}, "route": {}, "scheduler": scheduler},
        },
    }


def is_ready(cluster: EmbeddedCluster, name: str) -> bool:
    status = cluster.get("llminferenceservice", name, NAMESPACE).get("status") or {}
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or [])
    return ready and bool(status.get("url"))


def base_url(cluster: EmbeddedCluster, name: str = MODEL) -> str:
    return str(cluster.get("llminferenceservice", name, NAMESPACE)["status"]["url"])


def shared_route(*rules: Object) -> str:
    """A route at /models/ab, written by hand as for an A/B test."""
    spec = {"parentRefs": [GATEWAY], "rules": list(rules)}
    metadata = {"name": "ab", "namespace": NAMESPACE}
    return yaml.safe_dump(
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec}
    )


def split(one: int, two: int, **match: Any) -> Object:
    """A rule that shares requests between the workload Services of the two versions."""
    path = {"type": "PathPrefix", "value": f"/{NAMESPACE}/ab"}
    to = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    shares = {"ab-one": one, "ab-two": two}
    return {
        "matches": [{"path": path, **match}],
        "filters": [{"type": "URLRewrite", "urlRewrite": {"path": to}}],
        "backendRefs": [
            {"name": f"{name}-kserve-workload-svc", "port": 8000, "weight": weight} for name, weight in shares.items()
        ],
    }


def picker_requests(cluster: EmbeddedCluster, model: str) -> float:
    """Requests that the gateway sent to the endpoint picker of a model so far, from Envoy's own statistics."""
    selector = ("--selector", f"gateway.networking.k8s.io/gateway-name={GATEWAY['name']}")
    (pod,) = cluster.objects("pods", *selector)

    async def read() -> str:
        url = f"http://{host_address(pod['status']['podIP'])}:15090/stats/prometheus"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    name = f"outbound|9002||{model}-epp-service.{NAMESPACE}.svc.cluster.local".replace(".", "_")
    pattern = rf'^envoy_cluster_upstream_rq_total\{{envoy_cluster_name="{re.escape(name)}"\}} (\d+)'
    found = re.search(pattern, asyncio.run(read()), re.MULTILINE)
    return float(found.group(1)) if found else 0


# One model --------------------------------------------------------------------------------


def test_every_model_answers_where_its_status_says(cluster: EmbeddedCluster) -> None:
    answers = {question.model: text for question, text in asyncio.run(ask_models(cluster.paths))}
    assert answers[f"{NAMESPACE}/{MODEL}"].strip()


def test_the_steps_of_a_smoke_test(cluster: EmbeddedCluster) -> None:
    """facts/models.md section 9, steps 1 to 6."""
    url = base_url(cluster)
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}

    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/v1/models") as answer:
                assert [card["id"] for card in (await answer.json())["data"]] == [MODEL]
            async with session.post(f"{url}/v1/chat/completions", json=chat) as answer:
                assert (await answer.json())["choices"][0]["message"]["content"]
            async with session.post(f"{url}/v1/chat/completions", json={**chat, "stream": True}) as answer:
                assert answer.content_type == "text/event-stream"
                assert (await answer.text()).rstrip().endswith("data: [DONE]")
            async with session.get(f"{url}/health") as answer:
                assert (answer.status, await answer.text()) == (200, "")
            wrong = {"model": "nobody", "prompt": "hello"}
            async with session.post(f"{url}/v1/completions", json=wrong) as answer:
                assert answer.status == 404
                assert "The model `nobody` does not exist." in await answer.text()
            async with session.get(url.replace(MODEL, "no-such-model")) as answer:
                assert answer.status == 404

    asyncio.run(run())


def test_completions_are_scheduled_by_the_endpoint_picker(cluster: EmbeddedCluster) -> None:
    before = picker_requests(cluster, MODEL)

    async def scenario(client: Client) -> None:
        await client.many(20)
        assert client.statuses == {200: 20}

    play(base_url(cluster), MODEL, scenario)
    wait_for("20 more requests to the picker", lambda: picker_requests(cluster, MODEL) - before == 20, seconds=60)


def test_a_repeated_long_prompt_stays_with_the_pod_that_has_it(cluster: EmbeddedCluster) -> None:
    async def scenario(client: Client) -> None:
        for topic in ("tea", "coffee", "cocoa"):
            pods = {await client.ask(topic * 600) for _ in range(8)}
            assert len(pods) == 1

    play(base_url(cluster), MODEL, scenario)


def test_a_model_with_fail_open_goes_on_without_its_picker(cluster: EmbeddedCluster) -> None:
    """Requests fail only until the gateway knows that the picker is gone.

    Envoy cannot take back a body that it streamed to a picker, so a picker that dies fails the requests that reach it;
    without any picker the filter lets requests through.
    """
    name = next(name for name in pod_processes(cluster.paths) if f"/{MODEL}-kserve-router-scheduler" in name)
    picker = pod_processes(cluster.paths)[name]

    def is_back() -> bool:
        return pod_processes(cluster.paths).get(name, picker) != picker and is_ready(cluster, MODEL)

    async def scenario(client: Client) -> None:
        async with client.load():
            await client.until("requests before the end", enough(client, 20))
            picker.send(signal.SIGKILL)
            killed = time.monotonic()
            await client.until("answers again", answers_after(client, killed))
            await client.until("the picker's next start", lambda: off_loop(is_back))
            before = client.statuses.total()
            await client.until("requests after the next start", enough(client, before + 50))
        assert client.last_failure - killed < 15, client.statuses
        assert set(client.statuses) <= {200, 500}, client.statuses

    play(base_url(cluster), MODEL, scenario)


def test_killed_model_servers_start_again(cluster: EmbeddedCluster) -> None:
    servers: ProcessId = pod_processes(cluster.paths)["model-servers"]
    restarts = server_restarts(cluster)
    expected = {pod: count + 1 for pod, count in restarts.items()}

    async def started() -> bool:
        return await off_loop(server_restarts, cluster) == expected and await serving(cluster, len(expected))

    async def scenario(client: Client) -> None:
        async with client.load():
            await client.until("requests before the end", enough(client, 20))
            assert set(client.statuses) == {200}
            servers.send(signal.SIGKILL)
            await client.until("the next start of all servers", started)
            await client.until("an answer", answers_after(client, time.monotonic()))
        assert set(client.statuses) <= {200, 503}, client.statuses

    play(base_url(cluster), MODEL, scenario)


def server_pods(cluster: EmbeddedCluster, name: str = MODEL) -> list[Object]:
    return cluster.objects("pods", "--selector", f"app.kubernetes.io/name={name},kserve.io/component=workload")


def server_restarts(cluster: EmbeddedCluster) -> dict[str, int]:
    """Restarts of each model server, by pod."""
    return {
        pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in server_pods(cluster)
    }


def server_names(cluster: EmbeddedCluster, name: str = MODEL) -> set[str]:
    return {pod["metadata"]["name"] for pod in server_pods(cluster, name)}


def test_scaling_under_load_loses_next_to_no_request(cluster: EmbeddedCluster) -> None:
    """At most the requests that are on their way when a pod leaves fail, once each."""

    async def scenario(client: Client) -> None:
        async with client.load():
            for replicas in (1, 2):
                await off_loop(change, cluster, {"spec": {"replicas": replicas}})
                await client.until(f"{replicas} replicas", lambda n=replicas: serving(cluster, n))
                seen = client.statuses.total()
                await client.until("requests after it", enough(client, seen + 30))
        assert set(client.statuses) <= {200, 503}, client.statuses
        assert client.statuses[503] <= PARALLEL, client.statuses

    play(base_url(cluster), MODEL, scenario)


def test_a_roll_that_finds_no_gpu_leaves_the_old_servers_as_they_are(cluster: EmbeddedCluster) -> None:
    """The new pod comes before an old one goes (facts/models.md section 3.8), and both GPUs are taken."""
    before = server_names(cluster)

    async def waiting() -> bool:
        pods = await off_loop(server_pods, cluster)
        return [pod["status"]["phase"] for pod in pods if pod["metadata"]["name"] not in before] == ["Pending"]

    async def scenario(client: Client) -> None:
        async with client.load():
            await off_loop(change, cluster, rolled_by(20))
            await client.until("a pod that waits", waiting)
            await client.until("requests after it", enough(client, client.statuses.total() + 50))
            await off_loop(change, cluster, rolled_by(None))
            await client.until("the old ones alone", lambda: off_loop(lambda: server_names(cluster) == before))
        assert set(client.statuses) == {200}, client.statuses

    play(base_url(cluster), MODEL, scenario)


def rolled_by(seconds: int | None) -> Object:
    """A change of the pod template, and back (None)."""
    return {"spec": {"template": {"terminationGracePeriodSeconds": seconds}}}


def test_a_model_without_replicas_answers_503(cluster: EmbeddedCluster) -> None:
    """facts/models.md section 3.8: the route stays, its pool is empty."""

    async def scenario(client: Client) -> None:
        async with client.load():
            await client.until("requests before it", enough(client, 20))
            await off_loop(change, cluster, {"spec": {"replicas": 0}})
            await client.until("no servers", lambda: serving(cluster, 0))
            await client.until("only 503", only(client, 503))
            await off_loop(change, cluster, {"spec": {"replicas": 2}})
            await client.until("servers", lambda: serving(cluster, 2), seconds=60)
            await client.until("an answer", answers_after(client, time.monotonic()))
        assert set(client.statuses) == {200, 503}, client.statuses

    play(base_url(cluster), MODEL, scenario)


def test_a_stopped_model_has_no_route_and_comes_back(cluster: EmbeddedCluster) -> None:
    """facts/observed-gateway.md section 5.5: workload, pools and route go, the address stays in the status."""

    async def scenario(client: Client) -> None:
        async with client.load():
            await client.until("requests before it", enough(client, 20))
            await off_loop(change, cluster, {"metadata": {"annotations": {STOP: "true"}}})
            await client.until("only 404", only(client, 404))
            await off_loop(change, cluster, {"metadata": {"annotations": {STOP: None}}})
            await client.until("the model", lambda: off_loop(is_ready, cluster, MODEL), seconds=90)
            await client.until("an answer", answers_after(client, time.monotonic()))
        assert set(client.statuses) <= {200, 404, 500, 503}, client.statuses

    play(base_url(cluster), MODEL, scenario)


def change(cluster: EmbeddedCluster, patch: Object, name: str = MODEL) -> None:
    """Merge something into a model."""
    place = ("llminferenceservice", name, "--namespace", NAMESPACE)
    cluster.do("patch", *place, "--type", "merge", "--patch", json.dumps(patch))


def only(client: Client, status: int) -> Callable[[], Awaitable[bool]]:
    """Nothing but this status for a while."""
    seen: list[collections.Counter[int | str]] = []

    async def check() -> bool:
        seen.append(client.statuses.copy())
        new = client.statuses - seen[max(0, len(seen) - 6)]
        return len(seen) > 5 and set(new) == {status}

    return check


def answers_after(client: Client, moment: float) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return bool(await client.ask()) and time.monotonic() - max(moment, client.last_failure) > 0.3

    return check


def enough(client: Client, number: int) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return client.statuses.total() >= number

    return check


async def serving(cluster: EmbeddedCluster, number: int) -> bool:
    """So many replicas, all of them ready."""
    status = (await off_loop(cluster.get, "deployment", f"{MODEL}-kserve", NAMESPACE))["status"]
    return bool(status.get("readyReplicas", 0) == status.get("replicas", 0) == number)


# Two versions ----------------------------------------------------------------------------


#: So many that chance alone is two points off in one of 400,000 runs.
ASKED = 5000


def test_a_split_over_services_lands_within_two_points(cluster: EmbeddedCluster, versions: str) -> None:
    cluster.do("apply", "-f", "-", stdin=shared_route(split(90, 10)))

    async def scenario(client: Client) -> None:
        await client.until("the route", lambda: answered(client))
        client.versions.clear()
        await client.many(ASKED)
        share = client.versions["ab-one"] / client.versions.total()
        assert client.versions.total() == ASKED, client.statuses
        assert abs(share - 0.9) < 0.02, client.versions

    play(versions, "ab", scenario)


def test_a_header_decides_the_version(cluster: EmbeddedCluster, versions: str) -> None:
    mark = {"x-version": "two"}
    marked = split(0, 1, headers=[{"name": "x-version", "value": "two"}])
    cluster.do("apply", "-f", "-", stdin=shared_route(marked, split(1, 0)))

    async def scenario(client: Client) -> None:
        await client.until("the route", lambda: by_header(client, mark))
        client.versions.clear()
        await client.many(50, headers=mark)
        assert client.versions == {"ab-two": 50}, client.statuses
        await client.many(50)
        assert client.versions == {"ab-two": 50, "ab-one": 50}, client.statuses

    play(versions, "ab", scenario)


async def by_header(client: Client, mark: dict[str, str]) -> bool:
    """The header decides, not the shares of an earlier route by chance."""
    found = [(await client.ask(headers=mark), await client.ask()) for _ in range(6)]
    return all(with_it.startswith("ab-two") and without.startswith("ab-one") for with_it, without in found)


def test_changed_weights_are_live_at_once_and_lose_no_request(cluster: EmbeddedCluster, versions: str) -> None:
    cluster.do("apply", "-f", "-", stdin=shared_route(split(1, 0)))

    async def scenario(client: Client) -> None:
        await client.until("the route", lambda: answered(client))
        client.statuses.clear()
        async with client.load():
            await off_loop(cluster.do, "apply", "-f", "-", stdin=shared_route(split(0, 1)))
            await client.until("the other version", lambda: answers_from(client, "ab-two"), seconds=30)
        assert set(client.statuses) == {200}, client.statuses

    play(versions, "ab", scenario)


@pytest.mark.usefixtures("versions")
def test_rolling_a_model_under_load_loses_next_to_no_request(cluster: EmbeddedCluster) -> None:
    """The new server comes before the old one goes; the picker starts again with each change of addresses."""
    before = server_names(cluster, "ab-one")

    async def rolled() -> bool:
        now = await off_loop(server_names, cluster, "ab-one")
        return bool(now) and not now & before and await off_loop(is_ready, cluster, "ab-one")

    async def scenario(client: Client) -> None:
        async with client.load():
            await client.until("requests before it", enough(client, 20))
            await off_loop(change, cluster, rolled_by(20), "ab-one")
            await client.until("the new server", rolled, seconds=120)
            await client.until("an answer", answers_after(client, time.monotonic()))
        assert set(client.statuses) <= {200, 500, 503}, client.statuses
        assert client.statuses.total() - client.statuses[200] <= PARALLEL, client.statuses

    play(base_url(cluster, "ab-one"), "ab", scenario)


async def answered(client: Client) -> bool:
    return bool(await client.ask())


async def answers_from(client: Client, version: str) -> bool:
    return (await client.ask()).startswith(version)


# Configurations that the endpoint picker refuses ------------------------------------------


def test_a_plugin_that_the_picker_lacks_ends_it_in_its_own_words(cluster: EmbeddedCluster) -> None:
    plugins = [{"type": "precise-prefix-cache-scorer"}, {"type": "max-score-picker"}]
    inline = {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": plugins,
        "schedulingProfiles": [{"name": "default", "plugins": [{"pluginRef": item["type"]} for item in plugins]}],
    }
    model = plain_model("precise", served="precise", config={"inline": inline})
    cluster.do("apply", "-f", "-", stdin=yaml.safe_dump(model))

    def last_words() -> str:
        labels = "app.kubernetes.io/name=precise,app.kubernetes.io/component=llminferenceservice-router-scheduler"
        for pod in cluster.objects("pods", "--selector", labels):
            for status in pod["status"].get("containerStatuses") or []:
                if status["name"] == "main" and (ended := status.get("lastState", {}).get("terminated")):
                    return str(ended["message"])
        return ""

    try:
        message = wait_for("the picker's end", last_words, seconds=90)
        assert "precise-prefix-cache-scorer" in str(message)
        assert not is_ready(cluster, "precise")
    finally:
        cluster.do("delete", "llminferenceservice", "precise", "--namespace", NAMESPACE)


# A measured load --------------------------------------------------------------------------


def test_guidellm_measures_a_model_through_the_gateway(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    variables = {"model": MODEL, "models_benchmark_seconds": 10, "models_benchmark_directory": str(tmp_path)}
    run = run_on(cluster, playbook="playbooks/benchmark.yml", variables=variables)
    assert run.exit_code == 0, str(run)
    report = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    (figures,) = report["guidellm"]
    assert figures["requests"]["successful"] > 10
    assert figures["requests"]["errored"] == 0
    assert figures["time_to_first_token_ms"].keys() >= {"p50", "p99"}
    assert report["servers"]["requests"] >= figures["requests"]["successful"]
    assert report["servers"]["share_per_pod"].keys() == server_names(cluster)
    assert "<svg" in (tmp_path / "benchmark.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "guidellm.json").read_text(encoding="utf-8"))["benchmarks"]
