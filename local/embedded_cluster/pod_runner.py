"""One pod on one of our nodes, from its binding to its deletion.

First what a kubelet checks before any container starts: volumes, pull secrets, configuration.
Then either the pod is handed over to kwok (no program is known for its image), or its program
runs here, is probed, is restarted when it ends, and is stopped when the pod is deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import logging
import os
import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import yaml

from embedded_cluster import pod_status, programs, proxy
from embedded_cluster.environment import ConfigError, expand, resolve_env
from embedded_cluster.events import NORMAL, WARNING, EventRecorder, now_text
from embedded_cluster.images import ImagePullError, check_images
from embedded_cluster.kube import ApiError, Cache, Credentials, KubeClient, Object
from embedded_cluster.model_servers import KILLED, ModelServers
from embedded_cluster.network import host_address
from embedded_cluster.pod import PodEnvironment
from embedded_cluster.pod_view import PodView
from embedded_cluster.private_files import write_private
from embedded_cluster.probes import declared_check, network_check, run_probes
from embedded_cluster.processes import ProcessId, die_with_parent, free_port
from embedded_cluster.programs import Program
from embedded_cluster.volumes import MountError, PodFiles, Sources, token_requests

BACK_OFF_SECONDS = (1.0, 2.0, 4.0, 8.0, 10.0)
BACK_OFF_RESET_SECONDS = 60.0
BLOCKED_POLL_SECONDS = 5.0
STOP_SECONDS_LIMIT = 5.0
TOKEN_SECONDS = 3600
TOKEN_RENEWAL_SECONDS = 2400
LOG_TAIL_LINES = 8
LOG_TAIL_BYTES = 2048
MINIMUM_RUN_SECONDS = 0.3
"""A container without readiness probe counts as ready once it has run this long."""

_log = logging.getLogger(__name__)


class Node(Protocol):
    """What a runner needs from the node agent."""

    client: KubeClient
    events: EventRecorder
    secrets: Cache
    config_maps: Cache
    server: str
    certificate_authority: Path
    tools: Path
    charts: Path
    cluster_dir: Path
    pods_dir: Path
    logs_dir: Path
    private_registries: tuple[str, ...]
    model_servers: ModelServers
    pod_view: PodView

    def host_ip(self, node_name: str) -> str: ...
    def locate(self, address: str, port: int) -> tuple[str, int]: ...
    def claim_address(self, pod: Object, *, simulated: bool) -> str: ...
    def release_address(self, pod: Object) -> None: ...
    def override_port(self, pod: Object, pod_port: int, host_port: int) -> None: ...
    def record_process(self, pod: Object, process: ProcessId | None) -> None: ...


@dataclasses.dataclass
class Exit:
    """How a program ended."""

    code: int
    signal: int | None = None


class PodRunner:
    """Runs (or hands over) one pod. `start()` once, then `update()` and `delete()` as events come."""

    def __init__(
        self,
        node: Node,
        pod: Object,
        program: Program | None,
        simulated_because: Mapping[str, str] = pod_status.NO_PROGRAM,
    ) -> None:
        self.node = node
        self.pod = pod
        self.program = program
        self._simulated_because = simulated_because
        self.view = pod_status.ContainerView()
        self.files = PodFiles(node.pods_dir / pod["metadata"]["uid"], pod, self._sources())
        self.environment: PodEnvironment | None = None
        self._task: asyncio.Task[None] | None = None
        self._tokens: dict[tuple[str | None, int], str] = {}
        self._publish_lock = asyncio.Lock()
        self._stop_program: Callable[[float], Awaitable[None]] | None = None
        self._drain_program: Callable[[float], Awaitable[None]] | None = None
        self._probe_passes = False
        self._deleting = False
        self._stopping = False

    # What the node agent calls -----------------------------------------------------------

    @property
    def key(self) -> tuple[str, str]:
        return self.pod["metadata"]["namespace"], self.pod["metadata"]["name"]

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def container(self) -> Object:
        """The container that the program stands for."""
        return dict(self.pod["spec"]["containers"][0])

    @property
    def log_file(self) -> Path:
        """Output of the present container start; the one before is `.previous.log`."""
        return self.node.logs_dir / f"{self.key[0]}_{self.key[1]}.log"

    @property
    def previous_log_file(self) -> Path:
        return self.log_file.with_suffix(".previous.log")

    def start(self) -> None:
        """Begin working on the pod."""
        self._task = asyncio.create_task(self._run(), name=f"pod {'/'.join(self.key)}")

    def update(self, pod: Object) -> None:
        """Take in a newer version of the pod."""
        if self._is_model_server and _annotations(pod) != _annotations(self.pod):
            self.node.model_servers.set_pace(self.uid, _annotations(pod))
        self.pod = pod
        self.files.pod = pod
        if pod["metadata"].get("deletionTimestamp") and not self._deleting:
            self._deleting = True
            grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
            work = self._delete(self._task, grace)
            self._task = asyncio.create_task(work, name=f"delete pod {'/'.join(self.key)}")

    def refresh_volumes(self) -> None:
        """Bring mounted Secrets and ConfigMaps up to date."""
        if self.files.mounts and self.files.refresh() and self.environment:
            self.environment.reload_tls()
            if self._is_model_server:
                self.node.model_servers.reload(self.uid)

    @property
    def _is_model_server(self) -> bool:
        return self.program is not None and self.program.kind == programs.MODEL_SERVER

    async def stop(self) -> None:
        """Stop the program and forget the pod, without touching the pod object."""
        await self._end(self._task, STOP_SECONDS_LIMIT)
        self.node.record_process(self.pod, None)
        self.node.release_address(self.pod)
        self.files.remove()

    # Life of the pod ---------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._until_startable()
            if self.program is None:
                await self._hand_over()
            else:
                await self._run_program(self.program)
        except asyncio.CancelledError:
            raise
        except Exception:
            _log.exception("pod %s/%s: the node agent failed", *self.key)
            raise

    async def _end(self, running: asyncio.Task[None] | None, grace_seconds: float) -> None:
        """Stop the program, then whatever else is going on for the pod."""
        self._stopping = True
        if self._stop_program:
            await self._stop_program(grace_seconds)
        if running:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _delete(self, running: asyncio.Task[None] | None, grace_seconds: float) -> None:
        """Let a proxy's requests finish, stop the program within the grace period, then remove the pod object.

        A pod that was handed over is removed by kwok.
        """
        self._stopping = True
        if self._drain_program:
            await self._drain_program(grace_seconds)
        await self._end(running, min(grace_seconds, STOP_SECONDS_LIMIT))
        self.files.remove()
        if not pod_status.is_simulated(self.pod):
            namespace, name = self.key
            await self.node.client.delete("v1", "Pod", name, namespace, grace_period_seconds=0, uid=self.uid)

    async def _until_startable(self) -> None:
        """Wait for volumes, pull secrets and configuration, showing what is missing."""
        attempts = 0
        while True:
            changes = [self.node.secrets.changed(), self.node.config_maps.changed()]
            state = self._blocked_by(attempts)
            if state is None:
                return
            attempts += 1
            await self._publish(pod_status.blocked_status(self.pod, state, host_ip=self._host_ip, now=now_text()))
            await _first_of(changes, BLOCKED_POLL_SECONDS)

    def _blocked_by(self, attempts: int) -> dict[str, Any] | None:
        """The waiting state that keeps the pod from starting, None when nothing does."""
        record = self.node.events.record
        try:
            self.files.check()
            check_images(self.pod, self._secret, self.node.private_registries)
            for container in self.pod["spec"]["containers"]:
                resolve_env(container, self.pod, self._secret, self._config_map)
        except MountError as error:
            record(self.pod, WARNING, "FailedMount", str(error))
            return pod_status.waiting("ContainerCreating")
        except ImagePullError as error:
            record(self.pod, WARNING, "Failed", str(error))
            if attempts == 0:
                return pod_status.waiting("ErrImagePull", str(error))
            record(self.pod, NORMAL, "BackOff", f'Back-off pulling image "{error.image}"')
            return pod_status.waiting("ImagePullBackOff", f'Back-off pulling image "{error.image}": {error}')
        except ConfigError as error:
            record(self.pod, WARNING, "Failed", f"Error: {error}")
            return pod_status.waiting("CreateContainerConfigError", str(error))
        return None

    async def _hand_over(self) -> None:
        address = self.node.claim_address(self.pod, simulated=True)
        await self._publish(
            pod_status.simulated_status(
                self.pod, host_ip=self._host_ip, pod_ip=address, now=now_text(), because=self._simulated_because
            )
        )

    # Life of the program -----------------------------------------------------------------

    async def _run_program(self, program: Program) -> None:
        """Start the program, and start it again with growing pauses whenever it ends."""
        self._take_over_restarts()
        address = self.node.claim_address(self.pod, simulated=False)
        self._set_status_address(address)
        failures = 0
        while True:
            began, started_at = time.monotonic(), now_text()
            ended = await self._run_once(program, address, started_at)
            if self._stopping:
                return
            if time.monotonic() - began > BACK_OFF_RESET_SECONDS:
                failures = 0
            pause = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
            failures += 1
            message = _tail(self.log_file)
            self.view.last_state = pod_status.terminated(ended.code, started_at, now_text(), message, ended.signal)
            name = self.container["name"]
            text = (
                f"back-off {pause:.0f}s restarting failed container={name} pod={self.key[1]}_{self.key[0]}({self.uid})"
            )
            self.view.state = pod_status.waiting("CrashLoopBackOff", text)
            self.view.ready = self.view.started = False
            self.node.events.record(
                self.pod,
                WARNING,
                "BackOff",
                f"Back-off restarting failed container {name} in pod {self.key[1]}_{self.key[0]}",
            )
            await self._publish_view(address)
            await asyncio.sleep(pause)
            self.view.restarts += 1

    async def _run_once(self, program: Program, address: str, started_at: str) -> Exit:
        """One container start, from its files to its end."""
        self._rotate_log()
        try:
            environment = await self._prepare(program, address)
        except (ConfigError, MountError, ApiError, OSError, ValueError) as error:
            self._write_log(f"the container cannot start: {error}")
            return Exit(128)
        self.environment = environment
        renewal = asyncio.create_task(self._renew_tokens())
        try:
            if program.kind == programs.STANDIN:
                return await self._run_standin(program, environment, address, started_at)
            if program.kind == programs.MODEL_SERVER:
                return await self._run_model_server(environment, address, started_at)
            return await self._run_binary(program, environment, address, started_at)
        finally:
            renewal.cancel()
            self.environment = None
            await environment.close()
            _close_log(environment.log)

    async def _run_binary(self, program: Program, environment: PodEnvironment, address: str, started_at: str) -> Exit:
        launch = self._launch(program, environment, address)
        if program.config_file and launch.config_source and launch.config_target:
            launch.config_target.parent.mkdir(exist_ok=True)
            content = programs.fit_config(
                program.config_file,
                launch.config_source.read_text(),
                address=host_address(address),
                pod_root=self.files.root,
            )
            write_private(launch.config_target, content)
        for pod_port, host_port in launch.port_overrides.items():
            self.node.override_port(self.pod, pod_port, host_port)
        with open(self.log_file, "ab") as log:
            process = await asyncio.create_subprocess_exec(
                *launch.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.files.root,
                env=environment.env,
                preexec_fn=die_with_parent(),
                start_new_session=True,
            )
        self.node.record_process(self.pod, ProcessId.of(process.pid))

        async def stop(grace_seconds: float) -> None:
            await _end_process(process, grace_seconds)

        async def drain(grace_seconds: float) -> None:
            await proxy.drain(host_address(address), proxy.drain_seconds(environment.env, grace_seconds))

        overrides = launch.port_overrides
        check = network_check(lambda port: (host_address(address), overrides.get(port, port)))
        ended = asyncio.create_task(process.wait())
        self._drain_program = drain if program.kind == programs.PROXY else None
        try:
            await self._supervise(ended, stop, check, address, started_at)
        finally:
            self._drain_program = None
            if process.returncode is not None:
                self.node.record_process(self.pod, None)
        code = process.returncode or 0
        return Exit(128 - code, -code) if code < 0 else Exit(code)

    def _launch(self, program: Program, environment: PodEnvironment, address: str) -> programs.Launch:
        if program.kind == programs.PROXY:
            configuration = proxy.folder(self.node.pods_dir, self.uid)
            return proxy.launch(
                environment.args, environment.env, "/".join(self.key), configuration, host_address(address)
            )
        return programs.fit(
            program,
            environment.args,
            address=host_address(address),
            bin_dir=self.node.tools / "bin",
            pod_root=self.files.root,
            free_port=free_port,
        )

    async def _run_standin(self, program: Program, environment: PodEnvironment, address: str, started_at: str) -> Exit:
        task = asyncio.create_task(_standin_main(program, environment), name=f"stand-in {'/'.join(self.key)}")
        standin_ready = asyncio.Event()

        def set_ready(value: bool) -> None:
            (standin_ready.set if value else standin_ready.clear)()
            self._set_ready(value and self._probe_passes, address)

        environment.on_ready = set_ready
        declared = declared_check(program.answers)

        async def stop(_: float) -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        await self._supervise(task, stop, declared, address, started_at, gate=standin_ready)
        if task.cancelled():
            return Exit(137, 9)
        return Exit(task.result())

    async def _run_model_server(self, environment: PodEnvironment, address: str, started_at: str) -> Exit:
        spec = {
            "pod": "/".join(self.key),
            "command": environment.command,
            "args": environment.args,
            "env": environment.env,
            "annotations": _annotations(self.pod),
            "address": host_address(address),
            "extra_ports": sidecar_ports(self.pod),
            "root": str(self.files.root),
            "log": str(self.log_file),
        }
        ended = asyncio.ensure_future(_result(await self.node.model_servers.start(self.uid, spec)))

        async def stop(grace_seconds: float) -> None:
            await self.node.model_servers.stop(self.uid, grace_seconds)

        check = network_check(lambda port: (host_address(address), port))
        await self._supervise(ended, stop, check, address, started_at)
        code = ended.result()
        return Exit(code, signal.SIGKILL if code == KILLED else None)

    async def _supervise(
        self,
        ended: asyncio.Task[Any],
        stop: Callable[[float], Awaitable[None]],
        check: Any,
        address: str,
        started_at: str,
        gate: asyncio.Event | None = None,
    ) -> None:
        """Probe a started program until it ends; `gate` is the stand-in's own word on readiness."""
        self._stop_program = stop
        self._probe_passes = False
        self.view.state = {"running": {"startedAt": started_at}}
        self.view.started = self.view.ready = False
        self.node.events.record(self.pod, NORMAL, "Started", f"Started container {self.container['name']}")
        await self._publish_view(address)
        probes = asyncio.create_task(self._probe(check, stop, address, gate))
        try:
            await asyncio.wait({ended})
        finally:
            self._stop_program = None
            probes.cancel()
            await asyncio.gather(probes, return_exceptions=True)

    async def _probe(
        self, check: Any, stop: Callable[[float], Awaitable[None]], address: str, gate: asyncio.Event | None
    ) -> None:
        deaths: set[asyncio.Task[None]] = set()

        def on_started() -> None:
            self.view.started = True

        def on_ready(ready: bool, why_not: str) -> None:
            self._probe_passes = ready
            if why_not:
                self.node.events.record(self.pod, WARNING, "Unhealthy", why_not)
            self._set_ready(ready and (gate is None or gate.is_set()), address)

        def on_dead(reason: str) -> None:
            if self._stopping:  # as a kubelet, which asks no pod that ends whether it lives
                return
            self.node.events.record(self.pod, WARNING, "Unhealthy", reason)
            self._write_log(reason)
            deaths.add(asyncio.create_task(_as_coroutine(stop(STOP_SECONDS_LIMIT))))

        try:
            await asyncio.sleep(MINIMUM_RUN_SECONDS if gate is None else 0)
            await run_probes(self.container, check, on_started=on_started, on_ready=on_ready, on_dead=on_dead)
        except ValueError as error:
            self.node.events.record(self.pod, WARNING, "Unhealthy", str(error))
        if deaths:
            await asyncio.wait(deaths)

    def _set_ready(self, ready: bool, address: str) -> None:
        if ready != self.view.ready and "running" in self.view.state:
            self.view.ready = ready
            self._spawn(self._publish_view(address))

    # Preparation -------------------------------------------------------------------------

    async def _prepare(self, program: Program, address: str) -> PodEnvironment:
        """Files, environment and client of one container start; raises what keeps it from starting."""
        await self._request_tokens()
        self.files.mounts.clear()
        self.files.write(self.container)
        root = self.files.root
        mounts = self.files.mounts
        kubeconfig = self._write_kubeconfig()
        container = self.container
        values = resolve_env(container, self.pod, self._secret, self._config_map)
        command = [programs.rewrite_paths(expand(item, values), mounts) for item in container.get("command") or []]
        args = [programs.rewrite_paths(expand(item, values), mounts) for item in container.get("args") or []]
        # Without args, what follows the program's path in `command` are its arguments.
        if program.kind == programs.BINARY:
            command, args = command[:1], [*command[1:], *args]
        env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(root),
            "TMPDIR": str(root / "tmp"),
            "HOSTNAME": self.key[1],
            "KUBECONFIG": str(kubeconfig),
        }
        env |= {name: programs.rewrite_paths(value, mounts) for name, value in values.items()}
        log = _open_log(self.key, self.log_file)
        credentials = Credentials(
            server=self.node.server,
            certificate_authority=self.node.certificate_authority,
            token_file=root / "token",
        )
        account = self.pod["spec"].get("serviceAccountName") or "default"
        client = KubeClient(credentials, user_agent=f"{program.name}/embedded", log=log)
        return PodEnvironment(
            namespace=self.key[0],
            name=self.key[1],
            uid=self.uid,
            image=container["image"],
            command=command,
            args=args,
            env=env,
            service_account=account,
            client=client,
            mounts=dict(mounts),
            cluster_dir=self.node.cluster_dir,
            crds_dir=self.node.tools / "crds",
            charts_dir=self.node.charts,
            helm=self.node.tools / "bin" / "helm",
            kubeconfig=kubeconfig,
            log=log,
            pod=self.pod,
            listen_address=host_address(address),
            on_ready=lambda _: None,
            on_listen=lambda pod_port, host_port: self.node.override_port(self.pod, pod_port, host_port),
            locate=self.node.locate,
        )

    async def _request_tokens(self) -> None:
        """Request the tokens of the pod's ServiceAccount, for its API client and its volumes."""
        self.files.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self.files.root / "token", await self._token(None, TOKEN_SECONDS))
        for audience, seconds in token_requests(self.pod):
            self._tokens[(audience, seconds)] = await self._token(audience, seconds)

    async def _token(self, audience: str | None, seconds: int) -> str:
        namespace, name = self.key
        account = self.pod["spec"].get("serviceAccountName") or "default"
        spec: Object = {
            "expirationSeconds": max(600, seconds),
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": self.uid},
        }
        if audience:
            spec["audiences"] = [audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = await self.node.client.request("POST", path, body=body)
        return str(answer["status"]["token"])

    async def _renew_tokens(self) -> None:
        while True:
            await asyncio.sleep(TOKEN_RENEWAL_SECONDS)
            try:
                await self._request_tokens()
                self.files.refresh()
            except (TimeoutError, ApiError, aiohttp.ClientError, OSError) as error:
                _log.warning("pod %s/%s: token not renewed: %s", *self.key, error)

    def _write_kubeconfig(self) -> Path:
        """A kubeconfig (0600) with the pod's token file and namespace."""
        user = {"tokenFile": str(self.files.root / "token")}
        cluster = {"server": self.node.server, "certificate-authority": str(self.node.certificate_authority)}
        if self.program is not None and self.program.connects_to_pods:
            cluster |= {"server": self.node.pod_view.url, "tls-server-name": self.node.pod_view.certificate_name}
        context = {"cluster": "cluster", "user": "pod", "namespace": self.key[0]}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "pod", "user": user}],
            "contexts": [{"name": "pod", "context": context}],
            "current-context": "pod",
        }
        return write_private(self.files.root / "kubeconfig", yaml.safe_dump(content))

    def _sources(self) -> Sources:
        return Sources(self._secret, self._config_map, lambda audience, seconds: self._tokens.get((audience, seconds)))

    def _secret(self, namespace: str, name: str) -> Object | None:
        return self.node.secrets.get(namespace, name)

    def _config_map(self, namespace: str, name: str) -> Object | None:
        return self.node.config_maps.get(namespace, name)

    # Status ------------------------------------------------------------------------------

    @property
    def _host_ip(self) -> str:
        return self.node.host_ip(self.pod["spec"]["nodeName"])

    def _take_over_restarts(self) -> None:
        """After a restart of the node agent the container starts again, so it counts."""
        statuses = (self.pod.get("status") or {}).get("containerStatuses") or []
        if statuses and "running" in (statuses[0].get("state") or {}):
            self.view.restarts = int(statuses[0].get("restartCount") or 0) + 1

    def _set_status_address(self, address: str) -> None:
        """Fields that refer to the pod's address resolve before the status is written."""
        status = {
            **(self.pod.get("status") or {}),
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": self._host_ip,
        }
        self.pod = {**self.pod, "status": status}
        self.files.pod = self.pod

    async def _publish_view(self, address: str) -> None:
        await self._publish(
            pod_status.running_status(self.pod, self.view, host_ip=self._host_ip, pod_ip=address, now=now_text())
        )

    async def _publish(self, status: Object) -> None:
        """Write the status; a pod that is gone meanwhile is no error."""
        namespace, name = self.key
        patch = {"metadata": {"uid": self.uid}, "status": status}
        async with self._publish_lock:
            try:
                stored = await self.node.client.patch("v1", "Pod", name, patch, namespace, subresource="status")
            except ApiError as error:
                if error.status not in (404, 409):
                    _log.error("pod %s/%s: status not written: %s", namespace, name, error)
            except (TimeoutError, aiohttp.ClientError) as error:
                _log.error("pod %s/%s: status not written: %r", namespace, name, error)
            else:
                self.pod = {**stored, "apiVersion": "v1", "kind": "Pod"}

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        _background.add(task)
        task.add_done_callback(_background.discard)

    # Logs --------------------------------------------------------------------------------

    def _rotate_log(self) -> None:
        if self.log_file.exists():
            self.log_file.replace(self.previous_log_file)
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.close(descriptor)

    def _write_log(self, text: str) -> None:
        with self.log_file.open("a") as stream:
            stream.write(text + "\n")


_background: set[asyncio.Future[None]] = set()


async def _standin_main(program: Program, environment: PodEnvironment) -> int:
    """Run a stand-in's main; its exit code. Everything it raises ends up in the pod's log."""
    try:
        module = importlib.import_module(f"embedded_cluster.standins.{program.module}")
        await module.main(environment)
    except asyncio.CancelledError:
        raise
    except SystemExit as error:
        if isinstance(error.code, str):
            environment.log.error("%s", error.code)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        environment.log.error("%s", "".join(traceback.format_exception(error)).rstrip())
        return 1
    return 0


async def _end_process(process: asyncio.subprocess.Process, grace_seconds: float) -> None:
    """SIGTERM, wait, SIGKILL."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), max(grace_seconds, 0.1))
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work


async def _first_of(events: list[asyncio.Event], timeout: float) -> None:
    """Wait until one of the events is set, or for the timeout."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    _, pending = await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()


async def _result(ended: asyncio.Future[int]) -> int:
    return await ended


def _annotations(pod: Object) -> dict[str, str]:
    return dict(pod["metadata"].get("annotations") or {})


def sidecar_ports(pod: Object) -> list[int]:
    """Ports of sidecars before the model server, which itself answers there too: no request is disaggregated."""
    return [
        int(port["containerPort"])
        for container in pod["spec"].get("initContainers") or []
        if container.get("restartPolicy") == "Always"
        for port in container.get("ports") or []
    ]


def _open_log(key: tuple[str, str], path: Path) -> logging.Logger:
    """A logger of its own for a stand-in, which writes to the pod's log file."""
    logger = logging.Logger(f"{key[0]}/{key[1]}", logging.INFO)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    return logger


def _close_log(logger: logging.Logger) -> None:
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def _tail(path: Path) -> str:
    """The last lines of a log, as a kubelet takes them for a failed container."""
    if not path.exists():
        return ""
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - LOG_TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])
