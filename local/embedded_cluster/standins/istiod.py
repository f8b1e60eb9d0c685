"""Stand-in for istiod's gateway controller, acting with istiod's ServiceAccount.

It imitates what istiod does to the API server for Gateways, HTTPRoutes and InferencePools, the certificates it spreads
and the webhooks it completes; the proxies of gateways get their configuration as files. What it computes is in
`standins/gateway/` as pure functions; here are the watches, the writes and the order of a start:

1. watch everything, wait until all kinds that are served are listed, and only then judge (a status written while
   starting could send KServe to the wrong InferencePool group for good);
2. be ready, whether or not the Gateway API exists;
3. hold the two leases of the real program, then compute and write on every change.

Not imitated: sidecars, the mesh, GRPCRoutes, ServiceEntries, the discovery protocol, the leader ConfigMaps of older
versions, the status apply that only marks a Gateway with the controller's version. It writes no Events, as istiod does
not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
from embedded_cluster import proxy
from embedded_cluster.kube import ApiError, KindNotServedError
from embedded_cluster.standins.gateway import leases, mesh_ca, webhooks
from embedded_cluster.standins.gateway.controller import Desired, Memory, StatusWrite, desired
from embedded_cluster.standins.gateway.objects import FIELD_MANAGER, MANAGED_LABEL
from embedded_cluster.standins.gateway.pools import FIELD_MANAGER as POOL_MANAGER
from embedded_cluster.standins.gateway.proxies import Machine, proxy_configs
from embedded_cluster.standins.gateway.settings import Settings
from embedded_cluster.standins.gateway.snapshot import API_VERSIONS, Key, Object, Snapshot, key_of
from embedded_cluster.standins.proxy_files import ProxyFiles

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

PROCESS_NAME = "pilot-discovery"  # field manager of everything that is not applied
SELECTORS = {
    # Of these kinds only what the gateway controller made itself; Secrets without Helm releases and tokens.
    "Deployment": {"label_selector": MANAGED_LABEL},
    "ServiceAccount": {"label_selector": MANAGED_LABEL},
    "HorizontalPodAutoscaler": {"label_selector": MANAGED_LABEL},
    "PodDisruptionBudget": {"label_selector": MANAGED_LABEL},
    "Secret": {"field_selector": "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"},
}
GATHER_SECONDS = 0.02  # changes that come together are answered together
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 15.0)
PARALLEL_WRITES = 8
PUBLISH_PAUSE_SECONDS = 0.2  # proxies are told at most so often


async def main(pod: PodEnvironment) -> None:
    """Run until cancelled; raises ProgramError for a pod the real program would not start in."""
    settings = Settings.of_pod([*pod.command[1:], *pod.args], pod.env)
    controller = GatewayController(pod, settings)
    async with asyncio.TaskGroup() as tasks:
        controller.watch(tasks)
        authority = await mesh_ca.ensure(pod.client, settings.namespace)
        await controller.synced()
        await webhooks.serve(pod, settings, authority, tasks)
        pod.ready()
        async with (
            leases.held(pod, f"istio-gateway-status-leader-{settings.revision}", tasks),
            leases.held(pod, f"istio-gateway-deployment-{settings.revision}", tasks),
        ):
            pod.log.info("gateway controller is leading, revision %s", settings.revision)
            tasks.create_task(controller.configure_proxies(), name="proxies")
            await controller.run(authority.root_certificate)


@dataclass
class Applied:
    """What was last applied for a child, to see when it has to be applied again."""

    wanted: str  # fingerprint of the object we applied
    live: str  # fingerprint of what the API server made of it


@dataclass
class GatewayController:
    """Keeps the cluster as `gateway.controller.desired` says."""

    pod: PodEnvironment
    settings: Settings
    memory: Memory = field(default_factory=Memory)
    _objects: dict[str, dict[Key, Object]] = field(default_factory=lambda: {kind: {} for kind in API_VERSIONS})
    _listed: dict[str, asyncio.Event] = field(default_factory=lambda: {k: asyncio.Event() for k in API_VERSIONS})
    _applied: dict[tuple[str, Key], Applied] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _unpublished: asyncio.Event = field(default_factory=asyncio.Event)
    _problems: dict[str, str] = field(default_factory=dict)

    # Reading -----------------------------------------------------------------------------

    def watch(self, tasks: asyncio.TaskGroup) -> None:
        """Start the watches of all kinds."""
        for kind in API_VERSIONS:
            tasks.create_task(self._watch(kind), name=f"watch {kind}")

    async def _watch(self, kind: str) -> None:
        known = self._objects[kind]

        def listed() -> None:
            self._listed[kind].set()
            self._changed.set()  # an empty list is news too: the kind is served now

        events = self.pod.client.watch(API_VERSIONS[kind], kind, on_synced=listed, **SELECTORS.get(kind, {}))
        async for event, obj in events:
            before = known.get(key_of(obj))
            if event == "DELETED":
                known.pop(key_of(obj), None)
            else:
                obj["metadata"].pop("managedFields", None)
                known[key_of(obj)] = obj
            if event == "DELETED" or before is None or _matters(kind, before, obj):
                self._changed.set()

    async def synced(self) -> None:
        """Wait until every kind that is served now has been listed; kinds whose CRD is missing may come later."""
        for kind, listed in self._listed.items():
            try:
                await self.pod.client.resource(API_VERSIONS[kind], kind)
            except KindNotServedError:
                self.pod.log.info("%s %s is not served yet", API_VERSIONS[kind], kind)
                continue
            await listed.wait()

    def _served(self) -> frozenset[str]:
        return frozenset(kind for kind, listed in self._listed.items() if listed.is_set())

    # Writing -----------------------------------------------------------------------------

    async def run(self, certificate: str) -> None:
        """Compute and write, at the start and after every change."""
        failures = 0
        self._changed.set()
        while True:
            await self._changed.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._changed.clear()
            self._unpublished.set()
            wanted = desired(
                Snapshot(self._objects, self.settings.controller),
                self.memory,
                self.settings,
                certificate,
                _now(),
                served=self._served(),
            )
            self.memory = wanted.memory
            self._report(wanted)
            if await self._write(wanted):
                failures = 0
                continue
            pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
            asyncio.get_running_loop().call_later(pause, self._changed.set)
            failures += 1

    async def configure_proxies(self) -> None:
        """Tell the proxies of gateways about every change."""
        files = ProxyFiles()
        pods = self.pod.cluster_dir / "run" / "pods"
        machine = Machine(self.pod.locate, proxy.host_port, lambda uid: str(proxy.folder(pods, uid)))
        while True:
            await self._unpublished.wait()
            self._unpublished.clear()
            configs = proxy_configs(Snapshot(self._objects, self.settings.controller), self.settings, machine)
            try:
                again = await files.publish(configs)
            except OSError as error:
                self.pod.log.error("a proxy's configuration was not written: %s (will retry)", error)
                again = PUBLISH_PAUSE_SECONDS
            if again is not None:
                asyncio.get_running_loop().call_later(again, self._unpublished.set)
            await asyncio.sleep(PUBLISH_PAUSE_SECONDS)

    def _report(self, wanted: Desired) -> None:
        """Log problems of Gateways when they are new; istiod shows them nowhere else."""
        for gateway, problem in wanted.problems.items():
            if self._problems.get(gateway) != problem:
                self.pod.log.error("%s for gateway %s", problem, gateway)
        self._problems = wanted.problems

    async def _write(self, wanted: Desired) -> bool:
        """Carry out a pass; False when something has to be tried again."""
        slots = asyncio.Semaphore(PARALLEL_WRITES)
        work = [self._attempt(slots, f"create {_name(obj)}", self._create(obj)) for obj in wanted.create]
        work += [self._attempt(slots, f"update {_name(obj)}", self._update(obj)) for obj in wanted.update]
        work += [
            self._attempt(slots, f"update status of {_name(write.obj)}", self._write_status(write))
            for write in wanted.statuses
        ]
        for family in wanted.apply:
            due = [obj for obj in family if self._must_apply(obj)]
            if due:
                work.append(self._attempt(slots, f"apply {_name(due[0])}", self._apply(due)))
        return all(await asyncio.gather(*work))

    async def _attempt(self, slots: asyncio.Semaphore, what: str, write: Coroutine[Any, Any, None]) -> bool:
        """Do one write; False when it has to be tried again, which is logged."""
        async with slots:
            try:
                await write
            except KindNotServedError:
                return True  # its CRD went; when it comes back the watch says so
            except ApiError as error:
                if error.status == 404:
                    return True  # the object or its namespace went meanwhile; its deletion is an event of its own
                level = logging.INFO if error.status == 409 else logging.ERROR
                self.pod.log.log(level, "%s: %s (will retry)", what, error.message)
                return False
            except (aiohttp.ClientError, OSError) as error:
                self.pod.log.warning("%s: %r (will retry)", what, error)
                return False
            return True

    async def _update(self, obj: Object) -> None:
        await self.pod.client.update(dict(obj), manager=PROCESS_NAME)

    async def _create(self, obj: Object) -> None:
        try:
            await self.pod.client.create(dict(obj), manager=PROCESS_NAME)
        except ApiError as error:
            terminating = error.status == 403 and "is being terminated" in error.message
            if error.reason != "AlreadyExists" and not terminating:
                raise

    async def _write_status(self, write: StatusWrite) -> None:
        """Replace the status; a stale resourceVersion ends in a conflict, and the pass is repeated."""
        body = {**write.obj, "status": write.status}
        self._seen(await self.pod.client.update(body, subresource="status", manager=PROCESS_NAME))

    def _must_apply(self, obj: Object) -> bool:
        live = self._objects[obj["kind"]].get(key_of(obj))
        done = self._applied.get((obj["kind"], key_of(obj)))
        return live is None or done is None or done.wanted != _fingerprint(obj) or done.live != _fingerprint(live)

    async def _apply(self, family: list[dict[str, Any]]) -> None:
        """Apply objects of one owner in order."""
        for obj in family:
            manager = FIELD_MANAGER if MANAGED_LABEL in obj["metadata"]["labels"] else POOL_MANAGER
            live = await self.pod.client.apply(obj, manager, force=True)
            live["metadata"].pop("managedFields", None)
            self._applied[obj["kind"], key_of(obj)] = Applied(_fingerprint(obj), _fingerprint(live))
            self._seen(live)

    def _seen(self, live: Object) -> None:
        """Take an answer of the API server into the cache unless the watch already brought something newer."""
        kind, key = live["kind"], key_of(live)
        known = self._objects[kind].get(key)
        if known is None or int(known["metadata"]["resourceVersion"]) < int(live["metadata"]["resourceVersion"]):
            live["metadata"].pop("managedFields", None)
            self._objects[kind][key] = live
            self._changed.set()


def _matters(kind: str, before: Object, after: Object) -> bool:
    """False for changes that nothing here depends on, such as heartbeats of pods and rollouts."""
    if kind == "Pod":
        return _endpoint(before) != _endpoint(after)
    if kind in ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ServiceAccount"):
        return _fingerprint(before) != _fingerprint(after)
    return True


def _endpoint(pod: Object) -> tuple[Any, ...]:
    """What makes a pod an endpoint of a Service, for statuses and for proxies."""
    status, metadata = pod.get("status") or {}, pod["metadata"]
    ready = next((item["status"] for item in status.get("conditions") or [] if item["type"] == "Ready"), "")
    return status.get("podIP"), status.get("phase"), ready, metadata.get("labels"), metadata.get("deletionTimestamp")


def _fingerprint(obj: Object) -> str:
    """What an owner of the object decides: everything but status and the API server's bookkeeping."""
    metadata = {k: obj["metadata"].get(k) for k in ("labels", "annotations", "ownerReferences", "deletionTimestamp")}
    body = {k: v for k, v in obj.items() if k not in ("metadata", "status")}
    return hashlib.sha256(json.dumps([metadata, body], sort_keys=True).encode()).hexdigest()


def _name(obj: Object) -> str:
    return f"{obj['kind']} {'/'.join(filter(None, key_of(obj)))}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
