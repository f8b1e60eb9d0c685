"""Routes as requests meet them: a real Envoy with the configuration that istiod's stand-in makes from objects."""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from embedded_cluster import pki, proxy
from embedded_cluster.network import host_address
from embedded_cluster.processes import die_with_parent, free_port
from embedded_cluster.standins.gateway.proxies import Machine, proxy_configs
from embedded_cluster.standins.gateway.snapshot import Snapshot
from embedded_cluster.standins.proxy_files import WARMING_SECONDS, ProxyFiles

from tests.unit.standins.gateway.world import (
    PLATFORM,
    SETTINGS,
    Object,
    gateway,
    gateway_pod,
    http,
    meta,
    pool,
    route,
    service,
    to_pool,
    to_service,
)

#: Addresses of this test process, so that several can run at once.
BLOCK = f"10.{192 + os.getpid() // 250 % 60}.{os.getpid() % 250}"
GATEWAY_POD = f"{BLOCK}.1"
READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def pod(name: str, address: str, app: str, port: int, **extra: Any) -> Object:
    ports = [{"containerPort": port, "name": "http"}]
    status = {"phase": "Running", "podIP": address, **READY}
    metadata = meta(name, "llm", labels={"app": app})
    spec = {"containers": [{"name": "main", "ports": ports}]}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": status} | extra


class World:
    """Objects, upstreams that say who they are, and an Envoy that follows the objects."""

    def __init__(self, folder: Path) -> None:
        self.pods_folder = folder
        self.objects: list[Object] = []
        self.ports = {app: free_port() for app in ("a", "b", "c")}
        self.listen = {port: free_port(host_address(GATEWAY_POD)) for port in (80, 443)}
        self._files = ProxyFiles()
        self._session: aiohttp.ClientSession | None = None
        self.envoy = 0  # process id
        self.held = asyncio.Event()  # ends what is asked for below /held

    def services(self) -> list[Object]:
        """A Service and one pod for each upstream, all on one machine address."""
        found = []
        for number, (name, port) in enumerate(self.ports.items(), start=1):
            ports = [{"port": 80, "targetPort": "http"}]
            found += [service(name, spec={"ports": ports}), pod(name, f"{BLOCK}.{10 + number}", name, port)]
        return found

    async def use(self, *objects: Object) -> None:
        """From now on these are the objects of the cluster."""
        self.objects = [*objects, *self.services()]
        machine = Machine(
            locate=lambda address, port: (host_address(address), port),
            port=lambda port: self.listen[port],
            folder=lambda uid: str(proxy.folder(self.pods_folder, uid)),
        )
        # The first time Envoy has not made its folder yet; clusters that retire are no reason to wait.
        while await self._files.publish(proxy_configs(Snapshot.of(self.objects), SETTINGS, machine)) == WARMING_SECONDS:
            await asyncio.sleep(WARMING_SECONDS)

    async def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        host: str = "any.example",
        headers: dict[str, str] | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> tuple[int, str]:
        """Status, and who answered with which path: "a /path"; for redirects where they lead."""
        async with self.session.request(
            method,
            self.url(path, secure=trust is not None),
            headers={"Host": host, **(headers or {})},
            allow_redirects=False,
            ssl=trust or True,
        ) as answer:
            return answer.status, answer.headers.get("Location") or await answer.text()

    def url(self, path: str, *, secure: bool = False) -> str:
        port = self.listen[443 if secure else 80]
        return f"{'https' if secure else 'http'}://{host_address(GATEWAY_POD)}:{port}{path}"

    async def until(
        self, path: str, expected: tuple[int, str], seconds: float = 60, trust: ssl.SSLContext | None = None
    ) -> None:
        """Ask until this is the answer, over HTTPS with ``trust``. Raises AssertionError after so many seconds."""
        began = time.monotonic()
        found: object = None
        while time.monotonic() - began < seconds:
            with contextlib.suppress(aiohttp.ClientError):
                if (found := await self.ask(path, trust=trust)) == expected:
                    return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{path}: expected {expected}, last found {found}")

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        """Upstreams and Envoy, until the end of the block."""
        runners = [await self._upstream(name, port, n) for n, (name, port) in enumerate(self.ports.items(), start=1)]
        uid = gateway_pod(GATEWAY_POD)["metadata"]["uid"]
        configuration = proxy.folder(self.pods_folder, uid)
        launch = proxy.launch(["proxy", "router"], {}, "gw", configuration, host_address(GATEWAY_POD))
        with (self.pods_folder / "envoy.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *launch.argv, stdout=log, stderr=log, preexec_fn=die_with_parent()
            )
        self.envoy = process.pid
        try:
            async with aiohttp.ClientSession() as self._session:
                yield self
        finally:
            process.terminate()
            await process.wait()
            for runner in runners:
                await runner.cleanup()

    async def _upstream(self, name: str, port: int, number: int) -> web.ServerRunner:
        async def answer(request: web.BaseRequest) -> web.Response:
            if request.path.startswith("/held"):
                await self.held.wait()
            extra = request.headers.get("x-added", "")
            return web.Response(text=" ".join(filter(None, [name, request.path_qs, extra])))

        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        await web.TCPSite(runner, host_address(f"{BLOCK}.{10 + number}"), port).start()
        return runner


Scenario = Callable[[World], Awaitable[None]]


def play(folder: Path, scenario: Scenario) -> None:
    """Run a scenario in a world of its own."""

    async def run() -> None:
        async with World(folder).running() as world:
            await scenario(world)

    asyncio.run(run())


def rule(to: str, *matches: Object, **extra: Any) -> Object:
    return {"backendRefs": [to_service(to)]} | ({"matches": list(matches)} if matches else {}) | extra


def prefix(value: str, **extra: Any) -> Object:
    return {"path": {"type": "PathPrefix", "value": value}, **extra}


def exact(value: str) -> Object:
    return {"path": {"type": "Exact", "value": value}}


def header(name: str, value: str, kind: str = "Exact") -> Object:
    return {"name": name, "value": value, "type": kind}


def rewrite(to: str) -> list[Object]:
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": to}
    return [{"type": "URLRewrite", "urlRewrite": {"path": path}}]


def platform(*routes: Object, gateway_object: Object | None = None) -> list[Object]:
    return [gateway_object or gateway(), gateway_pod(GATEWAY_POD), *routes]


def test_the_more_specific_match_wins_whatever_its_place(tmp_path: Path) -> None:
    rules = [
        rule("a", prefix("/")),
        rule("b", prefix("/v1")),
        rule("c", exact("/v1/models")),
        rule("c", prefix("/v1", headers=[header("x-version", "two")])),
        rule("c", prefix("/v1", method="DELETE")),
        rule("a", prefix("/v1/long")),
        rule("c", prefix("/q", queryParams=[header("mode", "fast|quick", "RegularExpression")])),
    ]

    async def scenario(world: World) -> None:
        await world.use(*platform(route(rules=rules)))
        await world.until("/", (200, "a /"))
        assert await world.ask("/v1") == (200, "b /v1")
        assert await world.ask("/v1/x") == (200, "b /v1/x")
        assert await world.ask("/v10") == (200, "a /v10")
        assert await world.ask("/v1/models") == (200, "c /v1/models")
        assert await world.ask("/v1/models/x") == (200, "b /v1/models/x")
        assert await world.ask("/v1/y", headers={"x-version": "two"}) == (200, "c /v1/y")
        assert await world.ask("/v1/y", method="DELETE") == (200, "c /v1/y")
        assert await world.ask("/v1/long/y", headers={"x-version": "two"}) == (200, "a /v1/long/y")
        assert await world.ask("/q?mode=quick") == (200, "c /q?mode=quick")
        assert await world.ask("/q?mode=slow") == (200, "a /q?mode=slow")

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("match", "to", "path", "arrives"),
    [
        ("/llm/qwen", "/", "/llm/qwen/health", "/health"),
        ("/llm/qwen", "/", "/llm/qwen", "/"),
        ("/llm/qwen", "/", "/llm/qwen?a=1", "/?a=1"),
        ("/llm/qwen/v1/completions", "/v1/completions", "/llm/qwen/v1/completions", "/v1/completions"),
        ("/llm/qwen", "/new", "/llm/qwen/a/b", "/new/a/b"),
        ("/", "/new", "/a", "/new/a"),
    ],
)
def test_prefixes_are_rewritten_with_exactly_one_slash(
    tmp_path: Path, match: str, to: str, path: str, arrives: str
) -> None:
    async def scenario(world: World) -> None:
        await world.use(*platform(route(rules=[rule("a", prefix(match), filters=rewrite(to))])))
        await world.until(path, (200, f"a {arrives}"))

    play(tmp_path, scenario)


#: So many that chance alone is two points off in one of 400,000 runs.
ASKED = 5000


def test_weights_share_requests_and_lost_backends_lose_theirs(tmp_path: Path) -> None:
    split = [to_service("a", weight=90), to_service("b", weight=10)]
    partly = [to_service("a"), to_service("missing"), to_service("b", weight=0)]

    async def scenario(world: World) -> None:
        rules = [
            {"backendRefs": split, "matches": [prefix("/split")]},
            {"backendRefs": partly, "matches": [prefix("/part")]},
        ]
        await world.use(*platform(route(rules=rules)))
        await world.until("/nothing", (404, ""))
        answers = await asyncio.gather(*(world.ask("/split") for _ in range(ASKED)))
        counted = collections.Counter(text[0] for _, text in answers)
        assert abs(counted["a"] / ASKED - 0.9) < 0.02, counted
        statuses = collections.Counter([(await world.ask("/part"))[0] for _ in range(100)])
        assert set(statuses) == {200, 500}, statuses

    play(tmp_path, scenario)


def test_filters_change_headers_and_redirect(tmp_path: Path) -> None:
    added = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-added", "value": "yes"}]}}
    to = {
        "type": "RequestRedirect",
        "requestRedirect": {"scheme": "https", "hostname": "new.example", "statusCode": 301},
    }
    rules = [rule("a", prefix("/add"), filters=[added]), {"matches": [prefix("/go")], "filters": [to]}]

    async def scenario(world: World) -> None:
        await world.use(*platform(route(rules=rules)))
        await world.until("/add", (200, "a /add yes"))
        status, location = await world.ask("/go/on")
        assert (status, location) == (301, "https://new.example/go/on")

    play(tmp_path, scenario)


def test_host_names_keep_routes_apart(tmp_path: Path) -> None:
    routes = [
        route(name="a", hostnames=["a.example"], rules=[rule("a")]),
        route(name="b", hostnames=["*.example"], rules=[rule("b")]),
    ]

    async def scenario(world: World) -> None:
        await world.use(*platform(*routes))
        await world.until("/", (200, "b /"))
        assert await world.ask("/", host="a.example") == (200, "a /")
        assert await world.ask("/", host="a.example:8080") == (200, "a /")
        assert (await world.ask("/", host="elsewhere.test"))[0] == 404

    play(tmp_path, scenario)


def test_changes_are_live_at_once_and_lose_no_request(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.use(*platform(route(rules=[rule("a")])))
        await world.until("/", (200, "a /"))
        failed: collections.Counter[tuple[int, str]] = collections.Counter()
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                answer = await world.ask("/")
                if answer not in ((200, "a /"), (200, "b /")):
                    failed[answer] += 1

        clients = [asyncio.create_task(load()) for _ in range(4)]
        for name in ("b", "a", "b"):
            await world.use(*platform(route(rules=[rule(name)])))
            await world.until("/", (200, f"{name} /"))
        stop.set()
        await asyncio.gather(*clients)
        assert not failed

    play(tmp_path, scenario)


def test_a_pool_without_its_picker_fails_as_its_mode_says(tmp_path: Path) -> None:
    """The picker has no pod here: FailOpen goes on by round robin, FailClose answers an error."""

    def objects(mode: str) -> list[Object]:
        picker = {"name": "qwen-epp-service", "port": {"number": 9002}, "failureMode": mode}
        ports = [{"number": 0}]
        found = pool(selector={"matchLabels": {"app": "a"}}, endpointPickerRef=picker, targetPorts=ports)
        from embedded_cluster.standins.gateway.pools import shadow_service_name

        shadow = service(shadow_service_name(found["metadata"]["name"]))
        epp = service("qwen-epp-service", spec={"ports": [{"port": 9002}]})
        return platform(route(rules=[{"backendRefs": [to_pool()]}]), found, shadow, epp)

    async def scenario(world: World) -> None:
        def with_port(mode: str) -> list[Object]:
            made = objects(mode)
            made[3]["spec"]["targetPorts"] = [{"number": world.ports["a"]}]
            return made

        await world.use(*with_port("FailOpen"))
        await world.until("/", (200, "a /"))
        await world.use(*with_port("FailClose"))
        await world.until("/", (500, ""))

    play(tmp_path, scenario)


def test_pods_that_are_not_ready_or_go_away_get_no_request(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        def without_b(reason: Object) -> Object:
            broken = pod("b-2", f"{BLOCK}.99", "a", 9)
            return broken | {"metadata": broken["metadata"] | reason.get("metadata", {})} | reason.get("rest", {})

        unready = without_b({"rest": {"status": {"podIP": f"{BLOCK}.99", "conditions": []}}})
        leaving = without_b({"metadata": {"name": "b-3", "deletionTimestamp": "2026-01-01T00:00:00Z"}})
        await world.use(*platform(route(rules=[rule("a")])), unready, leaving)
        await world.until("/", (200, "a /"))
        assert {(await world.ask("/"))[0] for _ in range(20)} == {200}

    play(tmp_path, scenario)


def test_tls_ends_at_the_listener_with_the_secrets_certificate(tmp_path: Path) -> None:
    certificates = pki.create(tmp_path / "pki", api_addresses=[], node_addresses=[host_address(GATEWAY_POD)])
    pair = certificates.pair("kubelet")
    data = {
        key: base64.b64encode(path.read_bytes()).decode()
        for key, path in (("tls.crt", pair.certificate), ("tls.key", pair.key))
    }
    secret = {"kind": "Secret", "metadata": meta("cert", PLATFORM), "data": data}
    tls = {"mode": "Terminate", "certificateRefs": [{"name": "cert"}]}
    listeners = gateway(http(), http("https", 443, protocol="HTTPS", tls=tls))

    async def scenario(world: World) -> None:
        await world.use(*platform(route(rules=[rule("a")]), secret, gateway_object=listeners))
        trust = ssl.create_default_context(cafile=str(certificates.ca.certificate))
        await world.until("/secure", (200, "a /secure"), trust=trust)

    play(tmp_path, scenario)


def test_a_proxy_that_drains_takes_no_connections_and_finishes_its_requests(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.use(*platform(route(rules=[rule("a")])))
        await world.until("/", (200, "a /"))
        asked = asyncio.create_task(world.ask("/held"))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        draining = asyncio.create_task(proxy.drain(host_address(GATEWAY_POD), 60))
        while not await refuses(world.url("/new")):
            assert time.monotonic() - began < 30
            await asyncio.sleep(0.02)
        assert not draining.done()
        world.held.set()
        assert await asked == (200, "a /held")
        await draining
        assert time.monotonic() - began < 60

    play(tmp_path, scenario)


async def refuses(url: str) -> bool:
    """Whether nothing listens there any more."""
    try:
        async with aiohttp.ClientSession() as fresh, fresh.get(url):
            return False
    except aiohttp.ClientError as error:
        return isinstance(error, aiohttp.ClientConnectorError)


def test_a_proxy_drains_no_longer_than_it_may(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.use(*platform(route(rules=[rule("a")])))
        await world.until("/", (200, "a /"))
        asked = asyncio.create_task(world.ask("/held"))
        await asyncio.sleep(0.2)
        await proxy.drain(host_address(GATEWAY_POD), 0.5)
        assert not asked.done()
        world.held.set()
        assert (await asked)[0] == 200

    play(tmp_path, scenario)


def test_a_proxy_that_does_not_run_has_nothing_to_drain() -> None:
    asyncio.run(proxy.drain(host_address(f"{BLOCK}.2"), 60))


def test_configuration_holds_no_key_outside_private_files(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.use(*platform(route(rules=[rule("a")])))
        files = list(tmp_path.rglob("*.json"))
        assert files
        assert {path.stat().st_mode & 0o077 for path in files} == {0}
        assert json.loads(next(path for path in files if path.name == "lds.json").read_text())["resources"]

    play(tmp_path, scenario)


def test_more_backends_take_no_more_watches(tmp_path: Path) -> None:
    """A user has 128 inotify instances on most machines, and Envoy takes one for each file it follows."""

    def watches(process: int) -> int:
        found = 0
        for file in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found += os.readlink(file) == "anon_inode:inotify"
        return found

    async def scenario(world: World) -> None:
        await world.use(*platform(route(rules=[rule("a", prefix("/"))])))
        await world.until("/x", (200, "a /x"))
        before = watches(world.envoy)
        await world.use(*platform(route(rules=[rule("b", prefix("/b")), rule("c", prefix("/c")), rule("a")])))
        await world.until("/c", (200, "c /c"))
        assert watches(world.envoy) == before > 0

    play(tmp_path, scenario)
