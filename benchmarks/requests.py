"""Requests through the embedded cluster's gateway beside Envoy and endpoint picker configured by hand.

Both ways lead to the same simulated model servers. The reference is a second Envoy with one route and a second endpoint
picker with the arguments of the first, so the difference is what the stand-in for istiod writes into its Envoy. The
same load goes over both ways in turn. Then a route is changed again and again while requests ask which one is live.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from embedded_cluster import proxy
from embedded_cluster.network import host_address
from embedded_cluster.paths import ClusterPaths
from embedded_cluster.state import pod_processes

from benchmarks.install import Cluster, Say, embedded_cluster, site_yml, timed
from benchmarks.measurement import Measurement, compare
from inference_platform.cluster.client import Cluster as ApiServer

NAMESPACE, MODEL = "models", "qwen-basic"
REQUESTS, PARALLEL, PAIRS = 1000, 16, 5
CHANGES = 20
LIVE_SECONDS, START_SECONDS = 1.0, 60.0
ADDED_AT_MOST = 1.15
PICKER_PORTS = ("--grpc-port", "--grpc-health-port", "--metrics-port")
ENVOY = "type.googleapis.com/envoy"
ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Way:
    """A base URL under which the model answers."""

    name: str
    url: str


def measure(repository: Path, rounds: int, say: Say) -> list[Measurement]:
    """The rows of the table. Raises SystemExit when a request fails or a route change is never live."""
    folder = repository / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with embedded_cluster("bench") as cluster:
        timed(site_yml(), repository, cluster, folder / "site.log")
        api = ApiServer.connect(str(cluster.kubeconfig))
        model = api.get("serving.kserve.io/v1alpha2", "LLMInferenceService", MODEL, NAMESPACE)
        gateway = Way("gateway", model["status"]["url"])
        with by_hand(cluster, api, folder) as plain:
            samples = _loads([gateway, plain], rounds * PAIRS, say)
        changes = _changes(api, gateway, rounds * CHANGES, say)
    what = f"{REQUESTS} completions, {PARALLEL} at once"
    reference = "Envoy and picker by hand"
    return [
        compare(f"{what}: gateway", samples[gateway], reference, samples[plain], ADDED_AT_MOST),
        compare(f"route change live, slowest of {len(changes)}", [max(changes)], "a second", [LIVE_SECONDS], 1.0),
    ]


# Load ------------------------------------------------------------------------------------


def _loads(ways: list[Way], pairs: int, say: Say) -> dict[Way, list[float]]:
    """Seconds that the load took over each way, in turn; the first of each is for warming up."""
    samples: dict[Way, list[float]] = {way: [] for way in ways}
    for number in range(pairs + 1):
        for way in ways if number % 2 else reversed(ways):
            seconds = asyncio.run(_load(way, number))
            if number:
                samples[way].append(seconds)
        if number:
            last = ", ".join(f"{way.name} {samples[way][-1]:.2f} s" for way in ways)
            say(f"load {number}/{pairs}, {REQUESTS} completions: {last}")
    return samples


async def _load(way: Way, number: int) -> float:
    """Seconds for all completions; raises SystemExit when one fails."""
    left = iter(range(REQUESTS))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=START_SECONDS)) as session:

        async def work() -> None:
            for index in left:
                body = {"model": MODEL, "prompt": f"{number} {index} hello", "max_tokens": 1}
                async with session.post(f"{way.url}/v1/completions", json=body) as answer:
                    text = await answer.text()
                    if answer.status != 200:
                        raise SystemExit(f"{way.name}: expected 200, found {answer.status}: {text}")

        began = time.monotonic()
        await asyncio.gather(*(work() for _ in range(PARALLEL)))
        return time.monotonic() - began


# Envoy and endpoint picker by hand --------------------------------------------------------


@contextmanager
def by_hand(cluster: Cluster, api: ApiServer, folder: Path) -> Iterator[Way]:
    """A second picker and a second Envoy in front of the same model servers."""
    ports = _free_ports(len(PICKER_PORTS) + 1)
    picker, environment = _picker(cluster, dict(zip(PICKER_PORTS, ports, strict=False)))
    config = folder / "envoy-by-hand.yaml"
    config.write_text(yaml.safe_dump(envoy_config(ports[-1], ports[0], _servers(api))), encoding="utf-8")
    envoy = [str(proxy.program()), "--config-path", str(config), "--disable-hot-restart", "--log-level", "warning"]
    envoy += ["--concurrency", proxy.DEFAULT_THREADS]
    way = Way("by hand", f"http://{ADDRESS}:{ports[-1]}")
    with _running(picker, environment, folder / "picker.log"), _running(envoy, None, folder / "envoy.log"):
        asyncio.run(_until_answering(way, folder))
        yield way


def _picker(cluster: Cluster, ports: Mapping[str, int]) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of the model's own picker, with other ports."""
    processes = pod_processes(ClusterPaths.of(cluster.name))
    running = next(found for name, found in processes.items() if f"/{MODEL}-kserve-router-scheduler" in name)
    place = Path("/proc") / str(running.pid)
    arguments = [word for word in (place / "cmdline").read_text().split("\0") if word]
    variables = [line.partition("=") for line in (place / "environ").read_text().split("\0") if line]
    kept = [word for word in arguments if word.partition("=")[0] not in ports]
    flags = [f"{flag}={port}" for flag, port in ports.items()]
    return [*kept, *flags], {name: value for name, _, value in variables}


def _servers(api: ApiServer) -> list[tuple[str, int]]:
    """Where the model servers listen on this machine."""
    labels = {"app.kubernetes.io/name": MODEL, "kserve.io/component": "workload"}
    pods = [pod for pod in api.list("v1", "Pod", NAMESPACE) if labels.items() <= pod["metadata"]["labels"].items()]
    return [(host_address(pod["status"]["podIP"]), 8000) for pod in pods]


def envoy_config(port: int, picker_port: int, servers: list[tuple[str, int]]) -> dict[str, Any]:
    """An Envoy that asks the picker for every request: one listener, one route, nothing watched."""
    manager = {
        "@type": f"{ENVOY}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "by-hand",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "servers", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.ext_proc", "typed_config": _asks_picker()},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{ENVOY}.extensions.filters.http.router.v3.Router"},
            },
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "by-hand", "address": _address(ADDRESS, port), "filter_chains": [chain]}
    clusters = [_servers_cluster(servers), _picker_cluster(picker_port)]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def _asks_picker() -> dict[str, Any]:
    return {
        "@type": f"{ENVOY}.extensions.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": {"envoy_grpc": {"cluster_name": "picker"}},
        "message_timeout": "1000s",
        "processing_mode": {
            "request_header_mode": "SEND",
            "response_header_mode": "SEND",
            "request_body_mode": "FULL_DUPLEX_STREAMED",
            "response_body_mode": "FULL_DUPLEX_STREAMED",
            "request_trailer_mode": "SEND",
            "response_trailer_mode": "SEND",
        },
        "mutation_rules": {"allow_all_routing": True, "allow_envoy": True},
        "metadata_options": {"receiving_namespaces": {"untyped": ["envoy.lb"]}},
    }


def _servers_cluster(servers: list[tuple[str, int]]) -> dict[str, Any]:
    policies = f"{ENVOY}.extensions.load_balancing_policies"
    fallback = {
        "name": "envoy.load_balancing_policies.round_robin",
        "typed_config": {"@type": f"{policies}.round_robin.v3.RoundRobin"},
    }
    picked = {
        "@type": f"{policies}.override_host.v3.OverrideHost",
        "override_host_sources": [
            {"metadata": {"key": "envoy.lb", "path": [{"key": "x-gateway-destination-endpoint"}]}}
        ],
        "fallback_policy": {"policies": [{"typed_extension_config": fallback}]},
    }
    policy = {"name": "envoy.load_balancing_policies.override_host", "typed_config": picked}
    return {
        **_cluster("servers", servers),
        "load_balancing_policy": {"policies": [{"typed_extension_config": policy}]},
        "transport_socket": _tls({}),
    }


def _picker_cluster(port: int) -> dict[str, Any]:
    options = {
        "@type": f"{ENVOY}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        **_cluster("picker", [(ADDRESS, port)]),
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "transport_socket": _tls({"alpn_protocols": ["h2"]}),
    }


def _cluster(name: str, endpoints: list[tuple[str, int]]) -> dict[str, Any]:
    hosts = [{"endpoint": {"address": _address(*endpoint)}} for endpoint in endpoints]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "10s", "load_assignment": assignment}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _tls(common: dict[str, Any]) -> dict[str, Any]:
    context = {
        "@type": f"{ENVOY}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


@contextmanager
def _running(command: list[str], environment: dict[str, str] | None, log: Path) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def _until_answering(way: Way, folder: Path) -> None:
    """Until the picker knows the servers: without its choice there is no answer."""
    deadline = time.monotonic() + START_SECONDS
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 1}
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            try:
                async with session.post(f"{way.url}/v1/completions", json=body) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)
    raise SystemExit(f"{way.name}: no answer at {way.url} within {START_SECONDS:.0f} s; see the logs in {folder}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((ADDRESS, 0)) for _ in range(count)]
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports


# Route changes ----------------------------------------------------------------------------


def _changes(api: ApiServer, gateway: Way, number: int, say: Say) -> list[float]:
    """Seconds from sending a changed route to the first answer that follows it."""
    url = gateway.url.replace(f"/{MODEL}", "/route-change") + "/health"
    _send(api, 0)
    asyncio.run(_until_live(url, 0))
    seconds = []
    for change in range(1, number + 1):
        began = time.monotonic()
        _send(api, change)
        asyncio.run(_until_live(url, change))
        seconds.append(time.monotonic() - began)
    spread = sorted(seconds)
    half = spread[number // 2]
    say(f"{number} route changes, live after {spread[0]:.2f} to {spread[-1]:.2f} s, half after {half:.2f} s")
    return seconds


def _send(api: ApiServer, change: int) -> None:
    """Apply a route whose answers say which one it is."""
    path = {"type": "PathPrefix", "value": f"/{NAMESPACE}/route-change"}
    to = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    rule = {
        "matches": [{"path": path}],
        "filters": [
            {"type": "URLRewrite", "urlRewrite": {"path": to}},
            {
                "type": "ResponseHeaderModifier",
                "responseHeaderModifier": {"set": [{"name": "x-change", "value": str(change)}]},
            },
        ],
        "backendRefs": [{"name": f"{MODEL}-kserve-workload-svc", "port": 8000}],
    }
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "route-change", "namespace": NAMESPACE},
        "spec": {
            "parentRefs": [{"name": "inference-gateway", "namespace": "redhat-ods-applications"}],
            "rules": [rule],
        },
    }
    where = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes/route-change"
    api.request(
        "PATCH",
        where,
        body=json.dumps(route).encode(),
        query={"fieldManager": "bench", "force": "true"},
        content_type="application/apply-patch+yaml",
        subject=where,
    )


async def _until_live(url: str, change: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            async with session.get(url) as answer:
                if answer.headers.get("x-change") == str(change):
                    return
            await asyncio.sleep(0.01)
    raise SystemExit(f"route change {change} was not live after {START_SECONDS:.0f} s at {url}")
