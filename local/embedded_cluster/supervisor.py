"""The detached process that runs one cluster: starts its processes, watches them, stops them.

Order: etcd and the API server together; when the API server answers, rights and nodes are
applied and the rest starts. All children die with the supervisor (the kernel sees to it), and
all are recorded with pid and start time, so a killed supervisor leaves nothing that the next
`up` or `down` would not find.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import functools
import json
import logging
import os
import shutil
import signal
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any

import aiohttp
import yaml

from embedded_cluster import pki as cluster_pki
from embedded_cluster import state as cluster_state
from embedded_cluster.control_plane import PACKAGE, ControlPlane, Ports
from embedded_cluster.kube import ApiError, KindNotServedError, KubeClient
from embedded_cluster.launcher import SUPERVISOR_LOG
from embedded_cluster.network import API_SERVICE_ADDRESS, Network, claim_octet
from embedded_cluster.nodes import Flavour, node_objects
from embedded_cluster.paths import ClusterPaths
from embedded_cluster.processes import ProcessId, die_with_parent, free_port
from embedded_cluster.state import ClusterState

START_TIMEOUT_SECONDS = 120
STOP_GRACE_SECONDS = 3.0
RESTART_LIMIT = 5
RESTART_WINDOW_SECONDS = 60.0
POLL_SECONDS = 0.03
STOP_ORDER = (
    ("node-agent",),
    ("kwok", "kube-scheduler", "kube-controller-manager"),
    ("kube-apiserver",),
    ("etcd",),
)
LOG_TAIL_LINES = 15

Progress = Callable[[dict[str, Any]], None]
_log = logging.getLogger("embedded_cluster.supervisor")


class StartError(Exception):
    """The cluster cannot start; the message says which process failed and how its log ends."""


class Child:
    """One process of the cluster, restarted when it ends by itself."""

    def __init__(self, name: str, argv: list[str], log_file: Path) -> None:
        self.name = name
        self.argv = argv
        self.log_file = log_file
        self.process: asyncio.subprocess.Process | None = None
        self.restarts: list[float] = []

    async def start(self) -> ProcessId:
        """Start the process; its output is appended to its log file."""
        with open(self.log_file, "ab", opener=_private_opener) as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_child_environment(),
                preexec_fn=die_with_parent(),
                start_new_session=True,
            )
        identity = ProcessId.of(self.process.pid)
        if identity is None:
            raise StartError(f"{self.name} ended at once\n{self.tail()}")
        return identity

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def tail(self) -> str:
        """The last lines of the log."""
        lines = self.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(f"    {line}" for line in lines)

    async def stop(self, number: signal.Signals = signal.SIGTERM, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Send a signal, wait, kill."""
        if self.process is None or self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            await asyncio.wait_for(self.process.wait(), grace_seconds)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


class Supervisor:
    """Runs one cluster until told to stop."""

    def __init__(self, paths: ClusterPaths, tools: Path, flavour: str, progress: Progress) -> None:
        self.paths = paths
        self.tools = tools
        self.flavour = Flavour.load(flavour)
        self.progress = progress
        self.state = ClusterState(name=paths.name, flavour=flavour)
        self.children: dict[str, Child] = {}
        self.stopping = asyncio.Event()
        self._claim: socket.socket | None = None  # of our block of addresses, held as long as we run
        self._began = time.monotonic()

    async def run(self) -> None:
        """Start the cluster, keep it running, stop it on SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        try:
            await self._until_stopped(self._start())
        except Exception as error:
            _log.exception("start failed")
            self.state.status, self.state.message = cluster_state.FAILED, str(error)
            await self._stop()
            self.progress({"error": str(error)})
            raise SystemExit(1) from None
        if not self.stopping.is_set():
            self.progress({"ready": True, "seconds": self.state.seconds_to_ready})
            await self._watch_children()
        self.state.status = cluster_state.STOPPED
        await self._stop()

    async def _until_stopped(self, work: Awaitable[None]) -> None:
        """Await `work`, unless the supervisor is told to stop first."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            task.result()
        else:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # Start -------------------------------------------------------------------------------

    async def _start(self) -> None:
        plane = self._prepare()
        await asyncio.gather(self._spawn("etcd", plane.etcd()), self._spawn("kube-apiserver", plane.apiserver()))
        async with self._client(plane) as client:
            # Starting the rest earlier gains nothing: it would wait for the API server's own roles.
            await self._wait_until("the API server is ready", lambda: _answers(client, "/readyz"))
            self._step("API server ready")
            await asyncio.gather(
                self._spawn("kube-controller-manager", plane.controller_manager()),
                self._spawn("kube-scheduler", plane.scheduler()),
                self._bootstrap(client, plane),
            )
            await asyncio.gather(
                self._spawn("kwok", plane.kwok()), self._spawn("node-agent", self._node_agent_command())
            )
            await self._wait_until("nodes are schedulable", lambda: _nodes_ready(client, self.flavour.node_names))
            self._step(f"{len(self.flavour.node_names)} nodes ready")
            await self._wait_until("the default ServiceAccount exists", lambda: _has_default_account(client))
            await self._wait_until("the node agent is ready", self._agent_ready)
        self.state.status = cluster_state.READY
        self.state.seconds_to_ready = round(time.monotonic() - self._began, 1)
        self.state.save(self.paths)
        self._step("cluster ready")

    def _prepare(self) -> ControlPlane:
        """Choose addresses and ports, make the PKI and configuration files, record ourselves."""
        self.paths.create()
        before = ClusterState.load(self.paths)
        has_data = self.paths.etcd.exists() and (self.paths.pki / "ca.crt").exists() and before is not None
        old_ports = before.ports if before and has_data else {}
        names = ("apiserver", "etcd", "etcd_peer")
        self.state.ports = {name: free_port(preferred=old_ports.get(name)) for name in names}
        identity = ProcessId.of(os.getpid())
        assert identity is not None
        self.state.processes = {cluster_state.SUPERVISOR: identity}
        self.state.started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with self.paths.root.parent.with_suffix(".lock").open("w") as lock:
            # Clusters that start at the same time must not choose the same addresses.
            fcntl.flock(lock, fcntl.LOCK_EX)
            preferred = before.octet if before and has_data else None
            self.state.octet, self._claim = claim_octet(_octets_of_other_clusters(self.paths), preferred)
            self.state.save(self.paths)

        network = Network(self.state.octet)
        if has_data and before and before.octet == self.state.octet:
            pki = cluster_pki.Pki(self.paths.pki)
        else:
            self._forget_earlier_cluster()
            addresses = [network.node_address(index) for index in range(len(self.flavour.node_names))]
            pki = cluster_pki.create(
                self.paths.pki, api_addresses=[API_SERVICE_ADDRESS, network.api_address], node_addresses=addresses
            )
        plane = ControlPlane(self.paths, pki, network, Ports(**self.state.ports), self.tools / "bin")
        plane.write_files()
        self._step("certificates and configuration written")
        return plane

    def _forget_earlier_cluster(self) -> None:
        """A new cluster begins with empty data, audit log and logs."""
        shutil.rmtree(self.paths.etcd, ignore_errors=True)
        for path in self.paths.root.glob("audit*.log"):
            path.unlink()
        for path in self.paths.logs.rglob("*.log"):
            if path.name != SUPERVISOR_LOG:
                path.unlink()
        self.paths.pull_secret.unlink(missing_ok=True)

    def _client(self, plane: ControlPlane) -> KubeClient:
        return KubeClient.from_kubeconfig(plane.kubeconfig_of("supervisor"), user_agent="embedded-cluster/supervisor")

    async def _bootstrap(self, client: KubeClient, plane: ControlPlane) -> None:
        """Apply the helpers' rights and the nodes."""
        rights = list(yaml.safe_load_all((PACKAGE / "bootstrap.yml").read_text()))
        now = datetime.datetime.now(datetime.UTC)
        await asyncio.gather(*(client.apply(item, "embedded-cluster") for item in rights))
        for node in node_objects(self.flavour, plane.network, now):
            await _create_unless_there(client, node)
        crds = self.flavour.crds(self.tools / "crds")
        await asyncio.gather(*(_create_unless_there(client, crd) for crd in crds))
        for obj in self.flavour.objects():
            await self._wait_until(
                f"{obj['kind']} {obj['metadata']['name']} exists", functools.partial(_make, client, obj)
            )

    def _node_agent_command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "embedded_cluster",
            "node-agent",
            "--name",
            self.paths.name,
            "--tools",
            str(self.tools),
        ]

    async def _agent_ready(self) -> bool:
        return (self.paths.run / "node-agent.ready").exists()

    async def _spawn(self, name: str, argv: list[str]) -> None:
        child = Child(name, argv, self.paths.logs / f"{name}.log")
        self.children[name] = child
        self.state.processes[name] = await child.start()
        self.state.save(self.paths)

    async def _wait_until(self, what: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Poll until `check` holds; fails early when a child ends."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not await check():
            for child in self.children.values():
                if not child.running:
                    raise StartError(f"{child.name} ended while waiting until {what}:\n{child.tail()}")
            if time.monotonic() > deadline:
                raise StartError(f"waited {START_TIMEOUT_SECONDS} s until {what}; see {self.paths.logs}")
            await asyncio.sleep(POLL_SECONDS)

    def _step(self, text: str) -> None:
        seconds = round(time.monotonic() - self._began, 1)
        _log.info("%.1f s %s", seconds, text)
        self.progress({"step": text, "seconds": seconds})

    # Run and stop ------------------------------------------------------------------------

    async def _watch_children(self) -> None:
        """Restart children that end, until told to stop."""
        while not self.stopping.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 0.5)
            for child in self.children.values():
                if not child.running and not self.stopping.is_set():
                    await self._restart(child)

    async def _restart(self, child: Child) -> None:
        now = time.monotonic()
        child.restarts = [moment for moment in child.restarts if now - moment < RESTART_WINDOW_SECONDS]
        if len(child.restarts) >= RESTART_LIMIT:
            return
        child.restarts.append(now)
        code = child.process.returncode if child.process else None
        _log.warning("%s ended with code %s, starting it again", child.name, code)
        self.state.processes[child.name] = await child.start()
        self.state.save(self.paths)

    async def _stop(self) -> None:
        """End all children: first what talks to the API server, last etcd."""
        for group in STOP_ORDER:
            await asyncio.gather(*(self.children[name].stop() for name in group if name in self.children))
        self.paths.egress_socket.unlink(missing_ok=True)
        (self.paths.run / "node-agent.ready").unlink(missing_ok=True)
        self.state.processes = {}
        self.state.save(self.paths)


def _octets_of_other_clusters(paths: ClusterPaths) -> list[int]:
    """Address blocks that other clusters of this user have recorded."""
    octets = []
    for folder in paths.root.parent.iterdir():
        if folder.is_dir() and folder != paths.root and (state := ClusterState.load(ClusterPaths(folder.name, folder))):
            octets.append(state.octet)
    return octets


async def _create_unless_there(client: KubeClient, obj: dict[str, Any]) -> None:
    """Create an object; one of the same name (after a restart with data) is left as it is."""
    try:
        await client.create(obj, manager="embedded-cluster")
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise


async def _make(client: KubeClient, obj: dict[str, Any]) -> bool:
    """Create an object with its status, unless it is there; False while its kind is not served."""
    try:
        await _create_unless_there(client, obj)
        # Creating it dropped the status where that is a subresource.
        address = obj["apiVersion"], obj["kind"], obj["metadata"]["name"]
        if "status" in obj and "status" not in (await client.get(*address) or {}):
            await client.patch_status(*address, obj["status"])
    except KindNotServedError:
        return False
    return True


async def _answers(client: KubeClient, path: str) -> bool:
    """True when the API server answers a GET of `path` with success."""
    try:
        await client.text(path)
    except (TimeoutError, ApiError, aiohttp.ClientError, ssl.SSLError, OSError):
        return False
    return True


async def _nodes_ready(client: KubeClient, names: list[str]) -> bool:
    """True when every node is Ready and carries no taint."""
    nodes = {node["metadata"]["name"]: node for node in await client.list("v1", "Node")}
    return all(name in nodes and not nodes[name]["spec"].get("taints") for name in names)


async def _has_default_account(client: KubeClient) -> bool:
    return await client.get("v1", "ServiceAccount", "default", "default") is not None


def _child_environment() -> dict[str, str]:
    """Only what the processes need; no proxies, no foreign kubeconfig."""
    keep = ("PATH", "HOME", "LANG", "TZ", "XDG_CACHE_HOME", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")
    return {name: os.environ[name] for name in keep if name in os.environ}


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def run_supervisor(paths: ClusterPaths, tools: Path, flavour: str, report: IO[str] | None) -> None:
    """Entry point of the detached process; `report` receives one JSON object a line."""

    def progress(event: dict[str, Any]) -> None:
        if report and not report.closed:
            try:
                report.write(json.dumps(event) + "\n")
                report.flush()
                if "ready" in event or "error" in event:
                    report.close()
            except (BrokenPipeError, OSError):
                with contextlib.suppress(OSError):
                    report.close()

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with (paths.root / "supervisor.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress({"error": "another supervisor of this cluster is running"})
            raise SystemExit(1) from None
        asyncio.run(Supervisor(paths, tools, flavour, progress).run())
