"""An API server in memory, and a bench that runs one controller against it without any clock."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from embedded_cluster.kube import ApiError
from embedded_cluster.standins import templates
from embedded_cluster.standins.engine import CRD, CRD_API, Controller
from embedded_cluster.standins.objects import Ref, merged
from embedded_cluster.standins.rules import Watch

Object = dict[str, Any]
WRITES = ("create", "update", "apply", "patch", "delete")


class FakeApi:
    """Objects by identity, with every request recorded; the part of KubeClient that stand-ins use."""

    def __init__(self) -> None:
        self.objects: dict[Ref, Object] = {}
        self.requests: list[tuple[str, Ref]] = []
        self.bodies: list[Object] = []
        self.managers: dict[Ref, str] = {}
        self.refuse: dict[str, ApiError] = {}
        self._number = 0

    # Requests ------------------------------------------------------------------------------

    async def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        ref = Ref(api_version, kind, name, namespace)
        self.requests.append(("get", ref))
        return copy.deepcopy(self.objects.get(ref))

    async def create(self, obj: Object, *, manager: str | None = None) -> Object:
        return self._write("create", obj, manager, merged({}, obj))

    async def update(self, obj: Object, *, manager: str | None = None) -> Object:
        live = self.objects[Ref.of(obj)]["metadata"]["resourceVersion"]
        if obj["metadata"].get("resourceVersion") != live:
            raise ApiError(409, "Conflict", "the object has been modified")
        return self._write("update", obj, manager, copy.deepcopy(obj))

    async def apply(self, obj: Object, manager: str) -> Object:
        live = self.objects.get(Ref.of(obj), {})
        return self._write("apply", obj, manager, merged(live, obj))

    async def patch(
        self, api_version: str, kind: str, name: str, patch: Any, namespace: str | None = None, **options: Any
    ) -> Object:
        ref = Ref(api_version, kind, name, namespace)
        body = _merge_patch(self.objects[ref], patch)
        if not body["metadata"].get("finalizers") and body["metadata"].get("deletionTimestamp"):
            self.requests.append(("patch", ref))
            return self.objects.pop(ref)
        return self._write("patch", body, options.get("manager"), body, ref)

    async def patch_status(
        self, api_version: str, kind: str, name: str, status: Any, namespace: str | None = None, **_: Any
    ) -> Object:
        ref = Ref(api_version, kind, name, namespace)
        self.requests.append(("status", ref))
        live = self.objects[ref]
        live["status"] = {**live.get("status", {}), **copy.deepcopy(dict(status))}
        return copy.deepcopy(live)

    async def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        **_: Any,
    ) -> bool:
        ref = Ref(api_version, kind, name, namespace)
        self.requests.append(("delete", ref))
        live = self.objects.get(ref)
        if live and live["metadata"].get("finalizers"):
            live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return True
        return self.objects.pop(ref, None) is not None

    def _write(self, verb: str, obj: Object, manager: str | None, body: Object, ref: Ref | None = None) -> Object:
        ref = ref or Ref.of(obj)
        if obj["kind"] != "Event":
            self.requests.append((verb, ref))
            self.bodies.append(copy.deepcopy(obj))
        for pattern, error in self.refuse.items():
            if pattern in (ref.kind, str(ref)):
                raise error
        return copy.deepcopy(self.put(body, manager))

    # Arranging -----------------------------------------------------------------------------

    def put(self, obj: Mapping[str, Any], manager: str | None = None) -> Object:
        """Store an object as the API server would: with uid, and a generation that follows the spec."""
        body = copy.deepcopy(dict(obj))
        ref = Ref.of(body)
        self._number += 1
        before = self.objects.get(ref, {})
        old = before.get("metadata", {})
        same = {k: v for k, v in before.items() if k not in ("metadata", "status")} == {
            k: v for k, v in body.items() if k not in ("metadata", "status")
        }
        generation = old.get("generation", 0) + (0 if before and same else 1)
        body["metadata"] = {
            **body["metadata"],
            "uid": old.get("uid", f"uid-{self._number}"),
            "generation": generation,
            "resourceVersion": str(self._number),
        }
        if "status" not in body and "status" in before:
            body["status"] = before["status"]
        self.objects[ref] = body
        if manager:
            self.managers[ref] = manager
        return body

    def crd(self, *names: str, **fields: Any) -> None:
        """Install CRDs by name."""
        for name in names:
            self.put({"apiVersion": CRD_API, "kind": CRD, "metadata": {"name": name}, "spec": fields})

    def find(self, kind: str, name: str | None = None) -> Object:
        """The one object of this kind (and name)."""
        found = self.all(kind, name)
        assert len(found) == 1, f"{kind}/{name}: found {len(found)} of {sorted({str(ref) for ref in self.objects})}"
        return found[0]

    def all(self, kind: str, name: str | None = None) -> list[Object]:
        return [obj for ref, obj in self.objects.items() if ref.kind == kind and name in (None, ref.name)]

    def drop(self, kind: str, name: str) -> Object:
        """Delete behind the controller's back."""
        return self.objects.pop(Ref.of(self.find(kind, name)))

    def ready(self, *names: str) -> None:
        """Let Deployments (all without names) have all their replicas."""
        for deployment in self.all("Deployment"):
            if not names or deployment["metadata"]["name"] in names:
                replicas = deployment["spec"].get("replicas", 1)
                generation = deployment["metadata"]["generation"]
                deployment["status"] = {"observedGeneration": generation, "readyReplicas": replicas}

    def unready(self, name: str) -> None:
        self.find("Deployment", name)["status"] = {}

    def collect_garbage(self) -> None:
        """Delete what only has owners that are gone."""
        uids = {obj["metadata"]["uid"] for obj in self.objects.values()}
        for ref, obj in list(self.objects.items()):
            owners = obj["metadata"].get("ownerReferences", [])
            if owners and not any(owner["uid"] in uids for owner in owners):
                del self.objects[ref]
                return self.collect_garbage()
        return None

    # Looking -------------------------------------------------------------------------------

    def writes(self) -> list[str]:
        """`Kind name` of every write so far, in order, without Events."""
        return [str(ref) for verb, ref in self.requests if verb in WRITES]

    def verbs(self, kind: str) -> list[str]:
        return [verb for verb, ref in self.requests if ref.kind == kind]

    def forget(self) -> None:
        """Forget the requests so far."""
        self.requests.clear()
        self.bodies.clear()


def _merge_patch(live: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(live) if isinstance(live, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge_patch(result.get(key), value)
    return result


class Bench:
    """Runs one controller: shows it what its watches would, and syncs until it is quiet."""

    def __init__(self, api: FakeApi, controller: Controller) -> None:
        self.api = api
        self.controller = controller
        self.pauses: list[float] = []
        self.delay: float | None = None
        self.before_pause: Callable[[], None] = lambda: None
        self._shown: dict[Ref, Object] = {}
        controller.pause = self._pause

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.before_pause()

    def show(self) -> None:
        """Deliver the difference between what was shown and what is there."""
        visible = {ref: obj for ref, obj in self.api.objects.items() if self._visible(ref, obj)}
        for ref in list(self._shown):
            if ref not in visible or visible[ref]["metadata"]["uid"] != self._shown[ref]["metadata"]["uid"]:
                self.controller.observe("DELETED", self._shown.pop(ref))
        for ref, obj in visible.items():
            if self._shown.get(ref) != obj:
                self.controller.observe("MODIFIED" if ref in self._shown else "ADDED", copy.deepcopy(obj))
                self._shown[ref] = copy.deepcopy(obj)

    def _visible(self, ref: Ref, obj: Object) -> bool:
        return any(self._matches(watch, ref, obj) for watch in self.controller.watches())

    def _matches(self, watch: Watch, ref: Ref, obj: Object) -> bool:
        values = self.controller.values
        namespace = templates.render_text(watch.namespace, values) if watch.namespace else None
        key, _, value = templates.render_text(watch.labels or "", values).partition("=")
        labelled = not key or obj["metadata"].get("labels", {}).get(key) == value
        same_kind = (watch.api_version, watch.kind) == (ref.api_version, ref.kind)
        return same_kind and namespace in (None, ref.namespace) and labelled

    @property
    def awake(self) -> bool:
        return self.controller._loop.is_awake

    async def step(self) -> float | None:
        """One sync, whether or not anything asks for it; returns its delay."""
        self.show()
        self.controller._loop.rest()
        self.delay = await self.controller.sync()
        self.show()
        return self.delay

    async def run(self, limit: int = 12) -> None:
        """Sync as long as something asks for it (and once at least), without waiting for back-offs."""
        self.show()
        self.controller.wake()
        for _ in range(limit):
            if not self.awake and self.delay != 0:
                return
            await self.step()
        raise AssertionError(f"still busy after {limit} syncs: {self.api.writes()[-5:]}")


def pod(
    api: FakeApi,
    namespace: str,
    *,
    image: str = "registry.example/program@sha256:0",
    command: Iterable[str] = (),
    args: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    mounts: Mapping[str, Path] | None = None,
    annotations: Mapping[str, str] | None = None,
    crds_dir: Path | None = None,
) -> Any:
    """What a stand-in sees of its pod."""
    ready: list[bool] = []
    return SimpleNamespace(
        namespace=namespace,
        name="program-0",
        image=image,
        command=list(command),
        args=list(args),
        env=dict(env or {}),
        client=api,
        mounts=dict(mounts or {}),
        crds_dir=crds_dir or Path("/nonexistent"),
        charts_dir=Path("/nonexistent"),
        helm=Path("helm"),
        log=logging.getLogger("standin"),
        pod={"metadata": {"annotations": dict(annotations or {})}, "spec": dict(spec or {})},
        ready=ready.append,
        is_ready=ready,
    )


def crd_folder(root: Path, sets: Mapping[str, Iterable[str]]) -> Path:
    """A folder of CRD files laid out as the tools folder has them."""
    for name, crds in sets.items():
        (root / name).mkdir(parents=True)
        for crd in crds:
            plural, _, group = crd.partition(".")
            body = {
                "apiVersion": CRD_API,
                "kind": CRD,
                "metadata": {"name": crd},
                "spec": {"group": group, "names": plural},
            }
            (root / name / f"{crd}.json").write_text(json.dumps(body))
    return root


def conditions(obj: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Condition type -> (status, reason, message), without what is absent."""
    return {
        entry["type"]: tuple(entry[key] for key in ("status", "reason", "message") if key in entry)
        for entry in obj.get("status", {}).get("conditions", [])
    }
