"""The engine of the stand-in operators: carries out the rules of one custom resource.

A Controller watches its custom resource and the kinds it writes, and on every relevant change runs the rule's steps in
order: write the operands that are missing or changed, wait for what must exist, then write the status if it differs.
What is settled is remembered, so an idle controller sends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from embedded_cluster.kube import ApiError, Credentials, KindNotServedError, KubeClient
from embedded_cluster.standins import events, objects, rules, templates
from embedded_cluster.standins.objects import Ref, contains, dig, marked
from embedded_cluster.standins.rules import Requirement, Rules, Step, Watch
from embedded_cluster.standins.wake_loop import WakeLoop

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

BACKOFF_BASE_SECONDS = 0.005
BACKOFF_LIMIT_SECONDS = 1000.0

CRD_API = "apiextensions.k8s.io/v1"
CRD = "CustomResourceDefinition"


@dataclass(frozen=True)
class Desired:
    """One object as its operator wants it.

    write: `apply` (server-side, forced), `update` (get, then create or replace) or `create` (left alone once there).
    keep: what a live Deployment may set on its own, of `replicas` and `resources`.
    """

    body: Mapping[str, Any]
    manager: str
    write: str = "apply"
    keep: tuple[str, ...] = ()

    @property
    def ref(self) -> Ref:
        return Ref.of(self.body)


class StepError(Exception):
    """A step of the sync failed; the text goes into conditions.

    With `retry` the next try comes after exactly that many seconds, whatever happens meanwhile.
    """

    def __init__(self, message: str, retry: float | None = None) -> None:
        super().__init__(message)
        self.retry = retry


class MetadataClient(KubeClient):
    """A client whose lists and watches carry only metadata: 45 CRDs are 15 MB in full."""

    def __init__(self, client: KubeClient) -> None:
        super().__init__(_MetadataCredentials(**vars(client.credentials)), user_agent=client.user_agent, log=client.log)

    @contextlib.asynccontextmanager
    async def _send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert isinstance(self.credentials, _MetadataCredentials)
        self.credentials.shape = "PartialObjectMetadata" if query and "watch" in query else "PartialObjectMetadataList"
        async with super()._send(method, path, query=query, **options) as response:
            yield response


class _MetadataCredentials(Credentials):
    shape = ""

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "Accept": f"application/json;as={self.shape};g=meta.k8s.io;v=v1,application/json"}


class Controller:
    """Runs the rules for one custom resource. Operators with ways of their own override the hooks at the end."""

    def __init__(self, pod: PodEnvironment, ruleset: Rules, values: Mapping[str, Any] | None = None) -> None:
        self.pod = pod
        self.client = pod.client
        self.rules = ruleset
        self.log = pod.log
        self.values = {"namespace": pod.namespace, "env": pod.env, **ruleset.settings, **(values or {})}
        self.source: dict[str, Any] | None = None
        self.crds: dict[str, dict[str, Any]] = {}
        self.seen: dict[Ref, dict[str, Any]] = {}
        self.desired: dict[Ref, Desired] = {}
        self.settled: dict[Ref, Any] = {}
        self.failures = 0
        self.pause: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._loop = WakeLoop()
        self._unsynced: set[int] = set()
        self._reported: set[str] = set()

    # Running -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled; raises if a watch is refused for good."""
        async with asyncio.TaskGroup() as tasks:
            for number, watch in enumerate(self.watches()):
                self._unsynced.add(number)
                tasks.create_task(self._follow(number, watch), name=f"watch {watch.kind}")
            tasks.create_task(self._loop.run(self._sync_once_listed), name=f"sync {self.rules.source['kind']}")

    def watches(self) -> list[Watch]:
        """The kinds this controller follows: its custom resource, CRDs, and those of its rules."""
        own = self.rules.source
        return [Watch(own["apiVersion"], own["kind"]), Watch(CRD_API, CRD, metadata=True), *self.rules.watches]

    async def _follow(self, number: int, watch: Watch) -> None:
        def synced() -> None:
            self._unsynced.discard(number)
            self.wake()

        client = MetadataClient(self.client) if watch.metadata else self.client
        try:
            stream = client.watch(
                watch.api_version,
                watch.kind,
                templates.render_text(watch.namespace, self.values) if watch.namespace else None,
                label_selector=templates.render_text(watch.labels, self.values) if watch.labels else None,
                on_synced=synced,
            )
            async for event, obj in stream:
                self.observe(event, {**obj, "apiVersion": watch.api_version, "kind": watch.kind})
        finally:
            if client is not self.client:
                await client.close()

    async def _sync_once_listed(self) -> float | None:
        return None if self._needs_first_lists() else await self.sync()

    def _needs_first_lists(self) -> bool:
        """True until the custom resource and the CRDs were listed once (the first two watches)."""
        return bool(self._unsynced & {0, 1})

    def wake(self) -> None:
        """Ask for a sync soon."""
        self._loop.wake()

    # Observing ---------------------------------------------------------------------------

    def observe(self, event: str, obj: dict[str, Any]) -> None:
        """Take in one watch event and wake the controller if it matters."""
        ref = Ref.of(obj)
        gone = event == "DELETED"
        if ref.kind == self.rules.source["kind"]:
            self._observe_source(gone, ref, obj)
        elif ref.kind == CRD:
            self._observe_crd(gone, ref, obj)
        else:
            self._observe_owned(gone, ref, obj)

    def _observe_source(self, gone: bool, ref: Ref, obj: dict[str, Any]) -> None:
        if ref.name != self.rules.source["name"]:
            return
        before, self.source = self.source, None if gone else obj
        if gone or before is None or objects.intent(before) != objects.intent(obj):
            self.wake()

    def _observe_crd(self, gone: bool, ref: Ref, obj: dict[str, Any]) -> None:
        before = self.crds.get(ref.name)
        if gone:
            self.crds.pop(ref.name, None)
        else:
            self.crds[ref.name] = obj
        if ref in self.settled and (gone or self.settled[ref] != obj["metadata"].get("generation")):
            del self.settled[ref]
            self.wake()
        elif gone or before is None or self.failures:
            # While something fails, any change counts: the CRD may just have been established.
            self.wake()

    def _observe_owned(self, gone: bool, ref: Ref, obj: dict[str, Any]) -> None:
        before = self.seen.pop(ref, None)
        if not gone:
            self.seen[ref] = obj
        desired = self.desired.get(ref)
        if ref in self.settled and desired and (gone or self.drifted(desired, obj)):
            self.log.info("%s %s", ref, "was deleted" if gone else "was changed")
            del self.settled[ref]
            self.wake()
        elif self.concerns_status(ref, before, None if gone else obj):
            self.wake()

    def drifted(self, desired: Desired, live: Mapping[str, Any]) -> bool:
        """True if the live object lacks something the operator insists on."""
        if desired.write == "create":
            return False
        return not contains(live, kept_from_live(desired, live).body)

    def concerns_status(self, ref: Ref, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> bool:
        """True if a change of an object that is as desired must lead to a sync: by default, readiness flipped."""
        if ref.kind != "Deployment":
            return bool(dig(before, "status", "conditions") != dig(now, "status", "conditions"))
        return objects.deployment_is_ready(before) != objects.deployment_is_ready(now)

    # One sync ----------------------------------------------------------------------------

    async def sync(self) -> float | None:
        """Run the rules once. Returns the seconds until the next try, or None to wait for an event."""
        source = self.source
        if source is None:
            return await self.absent()
        try:
            if source["metadata"].get("deletionTimestamp"):
                return await self.finalize(source)
            source = await self._with_finalizers(source)
        except (ApiError, aiohttp.ClientError) as refusal:
            self.log.error("%s: %s", Ref.of(source), refusal)
            return self._backoff()
        error = await self._provision(source)
        status_error = await self._publish(source, str(error) if error else "")
        if error is None and status_error is None:
            self.failures = 0
            self._reported.clear()
            return self.resync()
        if error is not None and self._report(f"{Ref.of(source)}: {error}"):
            await self._record_event(source, str(error))
        if error is not None and error.retry is not None:
            await self.pause(error.retry)
            return 0
        return self._backoff()

    def _report(self, text: str) -> bool:
        """Log an error once until the next sync that succeeds; True if it is new."""
        new = text not in self._reported
        if new:
            self._reported.add(text)
            self.log.error("%s", text)
        return new

    async def _record_event(self, source: Mapping[str, Any], note: str) -> None:
        """Write a Warning event about the custom resource, if the operator does that; a refusal is only logged."""
        if not self.rules.event:
            return
        namespace = templates.render_text(self.rules.event["namespace"], self.values)
        event = events.warning(source, {**self.rules.event, "namespace": namespace}, note, self.pod.name)
        try:
            await self.client.create(event)
        except (ApiError, aiohttp.ClientError) as error:
            self.log.warning("event not recorded: %s", error)

    def _backoff(self) -> float:
        delay = min(BACKOFF_BASE_SECONDS * 2.0**self.failures, BACKOFF_LIMIT_SECONDS)
        self.failures += 1
        return delay

    async def _provision(self, source: dict[str, Any]) -> StepError | None:
        try:
            await self.provision(source)
        except StepError as error:
            return error
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            return StepError(str(error))
        return None

    async def _with_finalizers(self, source: dict[str, Any]) -> dict[str, Any]:
        present = source["metadata"].get("finalizers", [])
        missing = [name for name in self.rules.finalizers if name not in present]
        if not missing:
            return source
        metadata = {**source["metadata"], "finalizers": [*present, *missing]}
        self.source = await self.client.update({**self.with_defaults(source), "metadata": metadata})
        return self.source

    async def remove_finalizers(self, source: dict[str, Any]) -> None:
        """Let the custom resource go."""
        kept = [name for name in source["metadata"].get("finalizers", []) if name not in self.rules.finalizers]
        if len(kept) != len(source["metadata"].get("finalizers", [])):
            patch = {"metadata": {"finalizers": kept, "resourceVersion": source["metadata"]["resourceVersion"]}}
            await self.client.patch(*_address(Ref.of(source))[:3], patch)

    async def provision(self, source: dict[str, Any]) -> None:
        """Run the steps in order; raises StepError at the first failure, or at the end when the rules continue."""
        failures: list[StepError] = []
        for step in self.rules.steps:
            failures += await self.run_step(step, source)
        self.raise_failures(failures)

    def raise_failures(self, failures: list[StepError]) -> None:
        """Raise the first failure with a count of the others, if there is any."""
        if failures:
            more = f"; {len(failures) - 1} more resources failed (see logs for details)" if failures[1:] else ""
            raise StepError(f"{failures[0]}{more}")

    async def run_step(self, step: Step, source: dict[str, Any]) -> list[StepError]:
        """Run one step. Returns failures if the rules go on after an error, else raises the first."""
        if step.call:
            await getattr(self, step.call)(source)
            return []
        if step.wait_for:
            await self._await(step.wait_for)
            return []
        if step.crds:
            return await self.write_all(self.crd_objects(step.crds, source))
        chosen = rules.select(self.operands(source), step.objects)
        return await self.write_all([self.prepared(document, step, source) for document in chosen])

    async def _await(self, wait: Mapping[str, Any]) -> None:
        namespace = templates.render_text(wait["namespace"], self.values)
        if await self.client.get(wait["apiVersion"], wait["kind"], wait["name"], namespace) is None:
            raise StepError(f'{wait["kind"].lower()} "{wait["name"]}" not found', wait.get("retry"))

    def prepared(self, document: Mapping[str, Any], step: Step, source: Mapping[str, Any]) -> Desired:
        """An operand with the marks of the rules."""
        owned = self.rules.owner if step.owner is None else step.owner
        body = marked(
            rules.placed(document, self.values["namespace"]),
            labels=self._rendered(self.rules.labels, source),
            annotations=self._rendered(self.rules.annotations, source),
            owner=source if owned else None,
            controller=self.rules.controller,
        )
        return Desired(body, step.manager or self.rules.manager, step.write or self.rules.write, step.keep)

    def _rendered(self, texts: Mapping[str, str], source: Mapping[str, Any]) -> dict[str, str]:
        values = {**self.values, "source": source}
        return {key: templates.render_text(text, values) for key, text in texts.items()}

    def operands(self, source: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All operand objects of the rules for this custom resource, in file order."""
        values = {**self.values, "source": source}
        return [doc for name in self.rules.operands for doc in templates.render_documents(f"operands/{name}", values)]

    # Writing -----------------------------------------------------------------------------

    async def write_all(self, wanted: Iterable[Desired]) -> list[StepError]:
        """Write what is not settled, in order. Stops at the first error unless the rules say continue."""
        failures = []
        for desired in wanted:
            try:
                await self.settle(desired)
            except (ApiError, aiohttp.ClientError) as error:
                failure = StepError(self.explain(desired, error))
                if self.rules.on_error == "stop":
                    raise failure from error
                self._report(str(failure))
                failures.append(failure)
        return failures

    def explain(self, desired: Desired, error: Exception) -> str:
        """The operator's words for a failed write."""
        ref = desired.ref
        reason = error.message if isinstance(error, ApiError) else str(error)
        values = {"path": ref.path, "api_version": ref.api_version, "kind": ref.kind, "reason": reason}
        return templates.render_text(self.rules.error_text, values)

    async def settle(self, desired: Desired) -> None:
        """Make the live object as desired, unless it is known to be so."""
        ref = desired.ref
        if ref in self.settled and self.desired.get(ref) == desired:
            return
        self.settled.pop(ref, None)
        stored = await self._write(desired)
        self.desired[ref] = desired
        self.settled[ref] = dig(stored, "metadata", "generation")

    async def _write(self, desired: Desired) -> Mapping[str, Any]:
        live = await self.client.get(*_address(desired.ref)) if self._must_read(desired) else None
        if live is not None:
            desired = kept_from_live(desired, live)
            if desired.write == "create" or contains(live, desired.body):
                return live
            if desired.write == "update":
                return await self.client.update(objects.merged(live, dict(desired.body)), manager=desired.manager)
        if live is None and desired.write in ("create", "update"):
            return await self.client.create(dict(desired.body), manager=desired.manager)
        return await self.client.apply(dict(desired.body), desired.manager)

    def _must_read(self, desired: Desired) -> bool:
        """True if the live object decides what is written. Reading a big CRD is spared when its metadata tells."""
        if desired.ref.kind != CRD:
            return bool(desired.keep) or desired.write != "apply"
        seen = self.crds.get(desired.ref.name)
        if seen is None or desired.write != "apply":
            return seen is not None
        return contains(seen["metadata"], {key: desired.body["metadata"].get(key) for key in ("labels", "annotations")})

    async def remove(self, ref: Ref, *, propagation: str | None = None, uid: str | None = None) -> bool:
        """Delete an object and forget that it was wanted. False if there was none."""
        self.settled.pop(ref, None)
        self.desired.pop(ref, None)
        return await self.client.delete(*_address(ref), propagation=propagation, uid=uid)

    def crd_objects(self, crds: Mapping[str, Any], source: Mapping[str, Any] | None) -> list[Desired]:
        """The CRDs of a set as a rule wants them.

        Keys: set, names (default all), manager, write, owner, labels, annotations, if_absent (skip those that exist),
        conversion (names, service, namespace, path: adds a conversion webhook to these).
        """
        folder = self.pod.crds_dir / crds["set"]
        names = crds.get("names") or sorted(path.stem for path in folder.glob("*.json"))
        wanted = []
        for name in names:
            if crds.get("if_absent") and name in self.crds and Ref(CRD_API, CRD, name) not in self.settled:
                continue
            body = with_conversion(_crd_file(folder / f"{name}.json"), crds.get("conversion"), self.values)
            body = marked(
                body,
                labels=self._rendered(crds.get("labels", {}), source or {}),
                owner=source if crds.get("owner") else None,
                controller=self.rules.controller,
            )
            wanted.append(Desired(body, crds.get("manager", self.rules.manager), crds.get("write", self.rules.write)))
        return wanted

    # Status ------------------------------------------------------------------------------

    async def _publish(self, source: dict[str, Any], error: str) -> Exception | None:
        """Write the status if it differs from the live one."""
        try:
            await self.publish(source, error)
        except (ApiError, aiohttp.ClientError) as failure:
            self.log.error("status of %s: %s", Ref.of(source), failure)
            return failure
        return None

    async def publish(self, source: dict[str, Any], error: str) -> None:
        """Work out conditions and other status fields from the rules, and write them if anything changed."""
        previous = dig(source, "status", "conditions", default=[])
        facts = {**self.values, **self.observations(source), "error": error, "source": source}
        conditions = self.conditions(facts, {entry["type"]: entry for entry in previous})
        facts["failing"] = _first_false(conditions)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {
            **self.status_fields(facts),
            "conditions": objects.with_transition_times(conditions, previous, now),
        }
        if all(dig(source, "status", key) == value for key, value in status.items()):
            return
        stored = await self.client.patch_status(*_address(Ref.of(source))[:3], status, manager=self.rules.manager)
        if self.source is not None and self.source["metadata"]["uid"] == stored["metadata"]["uid"]:
            self.source = stored

    def observations(self, source: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - operators look at it
        """What the condition tables can refer to: missing (CRD words), missing_text, ready and wanted (Deployments)."""
        deployments = [ref for ref in self.desired if ref.kind == "Deployment"]
        missing = [entry.display for entry in self.missing()]
        return {
            "missing": missing,
            "missing_text": "; ".join(f"{word}: CRD not found" for word in missing),
            "ready": sum(objects.deployment_is_ready(self.seen.get(ref)) for ref in deployments),
            "wanted": len(deployments),
        }

    def missing(self) -> list[Requirement]:
        """The required CRDs that do not exist."""
        return [entry for entry in self.rules.requires if entry.crd not in self.crds]

    def conditions(self, facts: dict[str, Any], previous: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The conditions by the rules' tables, in the tables' order.

        A table can refer to `failing`, the first condition so far that is False, and to what `facts["each"]` holds
        under the condition's own type.
        """
        result: list[dict[str, Any]] = []
        for kind, cases in self.rules.conditions.items():
            facts |= {"failing": _first_false(result), **facts.get("each", {}).get(kind, {})}
            case = next(case for case in cases if templates.holds(case.when, facts))
            if case.absent or (case.keep and kind not in previous):
                continue
            if case.keep:
                result.append({key: previous[kind][key] for key in previous[kind] if key != "lastTransitionTime"})
                continue
            entry = {"type": kind, "status": templates.render_text(case.status, facts)}
            for name, text in (("reason", case.reason), ("message", case.message)):
                if rendered := templates.render_text(text, facts):
                    entry[name] = rendered
            result.append(entry)
        return result

    def status_fields(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Status besides conditions: the rules' `status` map; text values are rendered, `generation` is a number."""
        fields: dict[str, Any] = {}
        for name, value in self.rules.status.items():
            if isinstance(value, Mapping) and "when" in value:
                if not templates.holds(value["when"], facts):
                    continue
                value = value["value"]
            if value == "generation":
                fields[name] = facts["source"]["metadata"]["generation"]
            else:
                fields[name] = templates.render_text(value, facts) if isinstance(value, str) else value
        return fields

    # Hooks -------------------------------------------------------------------------------

    def with_defaults(self, source: dict[str, Any]) -> dict[str, Any]:
        """The custom resource as the operator writes it back together with its finalizers."""
        return source

    async def absent(self) -> float | None:
        """Called when the custom resource does not exist. Returns seconds until the next look, or None."""
        self.settled.clear()
        self.desired.clear()
        return None

    async def finalize(self, source: dict[str, Any]) -> float | None:
        """Called while the custom resource is being deleted and still has finalizers."""
        await self.remove_finalizers(source)
        return None

    def resync(self) -> float | None:
        """Seconds until a sync without any event, or None."""
        return None


def _first_false(conditions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The first condition that is False, with empty texts where it has none; empty if there is none."""
    for entry in conditions:
        if entry["status"] == "False":
            return {"reason": "", "message": "", **entry}
    return {}


@lru_cache(maxsize=128)
def _crd_file(path: Path) -> dict[str, Any]:
    """A CRD file, read once; shared between syncs, so that comparing it with itself costs nothing."""
    crd: dict[str, Any] = json.loads(path.read_text())
    return crd


def _address(ref: Ref) -> tuple[str, str, str, str | None]:
    return ref.api_version, ref.kind, ref.name, ref.namespace


def kept_from_live(desired: Desired, live: Mapping[str, Any]) -> Desired:
    """The desired object with replicas and container resources of the live Deployment, where the rule keeps them."""
    if not desired.keep:
        return desired
    spec = dict(desired.body["spec"])
    if "replicas" in desired.keep and dig(live, "spec", "replicas") is not None:
        spec["replicas"] = live["spec"]["replicas"]
    if "resources" in desired.keep:
        found = dig(live, "spec", "template", "spec", "containers", default=[])
        resources = {container["name"]: container.get("resources", {}) for container in found}
        pod = spec["template"]["spec"]
        containers = [
            {**container, "resources": resources.get(container["name"], container.get("resources", {}))}
            for container in pod["containers"]
        ]
        spec["template"] = {**spec["template"], "spec": {**pod, "containers": containers}}
    return replace(desired, body={**desired.body, "spec": spec})


def ca_annotations(certificate: str, values: Mapping[str, Any]) -> dict[str, str]:
    """What has the CA injected: cert-manager from a Certificate, or OpenShift's service CA (operators.md 5)."""
    if values.get("openshift"):
        return {"service.beta.openshift.io/inject-cabundle": "true"}
    return {"cert-manager.io/inject-ca-from": templates.render_text(certificate, values)}


def with_conversion(
    crd: dict[str, Any], conversion: Mapping[str, Any] | None, values: Mapping[str, Any]
) -> dict[str, Any]:
    """The CRD with a conversion webhook and the annotation that has its CA injected, if it is one of those named."""
    if not conversion or crd["metadata"]["name"] not in conversion["names"]:
        return crd
    service = {
        "name": conversion["service"],
        "namespace": templates.render_text(conversion["namespace"], values),
        "path": "/convert",
    }
    webhook = {"clientConfig": {"service": service}, "conversionReviewVersions": ["v1"]}
    crd = marked(crd, annotations=ca_annotations(conversion["ca"], values))
    return {**crd, "spec": {**crd["spec"], "conversion": {"strategy": "Webhook", "webhook": webhook}}}


async def run_together(*jobs: Awaitable[Any] | Callable[[], Awaitable[Any]]) -> None:
    """Run several endless jobs; the first that fails ends all and raises its error."""
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(_as_coroutine(job))


async def _as_coroutine(job: Awaitable[Any] | Callable[[], Awaitable[Any]]) -> None:
    await (job() if callable(job) else job)


__all__ = [
    "ApiError",
    "Controller",
    "Desired",
    "KindNotServedError",
    "MetadataClient",
    "StepError",
    "run_together",
]
