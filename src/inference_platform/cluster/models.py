"""Applies all models of an inventory in one batch, and removes those that are no longer in it.

One list per kind; what cannot be changed is found and refused before the first write; then only what differs is
written, by a pool of workers over one pool of connections.  A model that fails does not stop the others.
Which objects belong to a model is the business of `selection`; an id is "namespace/name".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from inference_platform.cluster import admission, errors, objects, route_wait, secrets
from inference_platform.cluster.apply import (
    CREATE,
    DELETE,
    UPDATE,
    ApplyResult,
    Change,
    Live,
    ObjectError,
    apply_group,
    grouped,
    read_live,
)
from inference_platform.cluster.client import FIELD_MANAGER, Cluster
from inference_platform.cluster.immutable import CODE, KIND, fixed_fields
from inference_platform.cluster.objects import Object, Ref
from inference_platform.cluster.readiness import STOP_ANNOTATION
from inference_platform.cluster.selection import Choice, model_of
from inference_platform.models.choice import means, unknown
from inference_platform.models.kept import notes_of

SELECTOR = "inference-platform.io/layer=models"
WORKERS = 16

#: (API group, kind) of everything that may be made for models and is removed with them; the models come last.
REMOVED_WITH_MODELS: tuple[tuple[str, str], ...] = (
    ("gateway.networking.k8s.io", "HTTPRoute"),
    ("gateway.networking.k8s.io", "ReferenceGrant"),
    ("inference.networking.x-k8s.io", "InferenceObjective"),
    ("inference.networking.x-k8s.io", "InferenceModelRewrite"),
    ("llm-d.ai", "InferenceObjective"),  # from 3.5 on
    ("llm-d.ai", "InferenceModelRewrite"),
    ("monitoring.coreos.com", "PodMonitor"),
    ("", "ConfigMap"),
    ("", "ServiceAccount"),
    ("serving.kserve.io", KIND),
)
#: Up to this many removed models need no leave, unless they are all there are.
FEW_REMOVALS = 5
#: Seconds that an object which is being deleted is waited for before it is made anew.
DELETION_SECONDS = 60.0


class UnknownModel(errors.ClusterError):
    """A model that was named is neither in the inventory nor, as one of ours, in the cluster."""


class RemovalRefused(errors.ClusterError):
    """So many models would be removed that it needs an explicit leave; nothing was written."""


@dataclass(frozen=True)
class PullSecret:
    """The pull secret that goes into each namespace with models: its name, and where its content is."""

    name: str
    source: secrets.Credentials


@dataclass
class ModelsResult(ApplyResult):
    """What changed and what failed; `models` and `routes` were acted on, `notes` are what a reader should know.

    Models are ids, routes are HTTPRoutes over several models as namespace/name.
    """

    models: list[str] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    owners: dict[Ref, str] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        """Ids of the models of which an object could not be applied, sorted."""
        return sorted({model for error in self.errors if (model := self.owners.get(error.ref))})

    def outcome(self) -> dict[str, str]:
        """For each model "created", "changed", "stopped", "started", "removed", "recreated", "failed", "unchanged"."""
        words = {CREATE: "created", UPDATE: "changed", DELETE: "removed"}
        result = dict.fromkeys(self.models, "unchanged")
        for change in self.changes:
            model = self.owners.get(change.ref)
            if model is None:
                continue
            word = (_turned(change) or words[change.action]) if change.ref.kind == KIND else "changed"
            before = result.get(model, "unchanged")
            if (before, word) == ("removed", "created"):
                result[model] = "recreated"
            elif before == "unchanged" or change.ref.kind == KIND:
                result[model] = word
        return result | dict.fromkeys(self.failed, "failed")


Progress = Callable[[str, int, int], None]


def apply_models(
    cluster: Cluster,
    wanted: Iterable[Object],
    *,
    choice: Choice | None = None,
    pull_secret: PullSecret | None = None,
    gateway: Mapping[str, Any] | None = None,
    check: bool = False,
    workers: int = WORKERS,
    on_progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> ModelsResult:
    """Makes the cluster have exactly these models.

    wanted       all objects of the inventory's models, Namespaces included
    gateway      that of the plan: namespaces keep the labels by which it admits them now
    on_progress  told what is being done, how many objects of it are done, and how many there are

    Raises RemovalRefused, UnknownModel and errors of the connection before the first write; errors of single
    objects are in the result.
    """
    batch = _Batch(cluster, choice or Choice(), check=check, on_progress=on_progress, sleep=sleep)
    content = secrets.read_credentials(cluster, pull_secret.source) if pull_secret else None
    with ThreadPoolExecutor(max_workers=workers) as pool:
        batch.look(list(wanted), pool)
        batch.refuse_fixed_fields()
        surplus = batch.surplus()
        batch.make_namespaces(pool, gateway)
        if pull_secret and content is not None:
            batch.result.extend(
                secrets.apply_pull_secret(
                    cluster, pull_secret.name, batch.namespaces, content, check=check, workers=workers
                )
            )
        batch.move(pool)
        batch.write(pool)
        batch.remove(surplus, pool)
    return batch.result


class _Batch:
    """The steps of one run, in the order in which they are called."""

    def __init__(
        self,
        cluster: Cluster,
        choice: Choice,
        *,
        check: bool,
        on_progress: Progress | None,
        sleep: Callable[[float], None],
    ) -> None:
        self._cluster, self._choice, self._check = cluster, choice, check
        self._on_progress = on_progress
        self._sleep = sleep
        self._groups: list[list[Object]] = []
        self._live: dict[Ref, Live] = {}
        self._ours: dict[Ref, Object] = {}
        self._recreated: set[Ref] = set()
        self.namespaces: list[str] = []
        self.result = ModelsResult()

    def _say(self, what: str, done: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress(what, done, total)

    # ---- reading ----

    def look(self, wanted: list[Object], pool: ThreadPoolExecutor) -> None:
        """Reads what is there, one list per kind, and chooses the objects to act on."""
        self._cluster.discovery()  # once, before the workers ask for it
        asked = dict.fromkeys((obj["apiVersion"], obj["kind"]) for obj in wanted if obj["kind"] != "Namespace")
        kinds = dict.fromkeys([*asked, *self._removable(asked)])
        self._say("reading", 0, len(kinds))
        for found in pool.map(self._list_ours, kinds):
            self._ours.update(found)
        self._live.update(self._ours)
        selection = self._choice.of(wanted, self._ours.values())
        self.result.notes += selection.notes
        self.result.routes = sorted(ref.place for ref in route_wait.routes_of(selection.objects))
        self._groups = grouped(selection.objects)
        self.namespaces = sorted({obj["metadata"]["name"] for obj in selection.objects if obj["kind"] == "Namespace"})
        owners = {Ref.of(obj): model for obj in selection.objects if (model := model_of(obj))}
        self.result.owners.update(owners)
        self.result.models = sorted(set(owners.values()))
        for group in self._groups:
            missing = [ref for obj in group if (ref := Ref.of(obj)) not in self._live]
            self._live.update(read_live(self._cluster, missing, pool))
        self._know_all_names(wanted)

    def _know_all_names(self, wanted: list[Object]) -> None:
        known = {model for obj in [*wanted, *self._ours.values()] if (model := model_of(obj))} | self._choice.absent
        for setting, names in (("only", self._choice.only), ("models_recreate", self._choice.recreate)):
            wrong = unknown(names, known)
            if wrong:
                raise UnknownModel(
                    f"{setting}: expected a model of the inventory, or one of ours in the cluster, {wrong}"
                )

    def _removable(self, asked: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
        """(apiVersion, kind) of what can be removed, as the cluster serves it; of kinds `asked` for in that version."""
        known = {(version.rpartition("/")[0], kind): version for version, kind in asked}
        found = []
        for group, kind in REMOVED_WITH_MODELS:
            versions = self._cluster.discovery().versions(kind, group)
            if versions:
                found.append((known.get((group, kind), versions[-1]), kind))
        return found

    def _list_ours(self, kind: tuple[str, str]) -> dict[Ref, Object]:
        try:
            found = self._cluster.list(*kind, label_selector=SELECTOR)
        except errors.UnknownKind:
            return {}
        return {Ref.of(obj): obj for obj in found}

    # ---- before the first write ----

    def refuse_fixed_fields(self) -> None:
        """Takes models out of the batch that the API server would refuse to change."""
        refused = set()
        for group in self._groups:
            for obj in group:
                ref = Ref.of(obj)
                live = self._live.get(ref)
                fixed = fixed_fields(obj, live) if isinstance(live, dict) and not _is_dying(live) else []
                model = self.result.owners.get(ref, ref.place)
                if fixed and means(self._choice.recreate, model):
                    self._recreated.add(ref)
                elif fixed:
                    refused.add(model)
                    self.result.errors.append(ObjectError(ref, _refusal(ref, fixed)))
        if refused:
            self._leave_out(lambda ref: self.result.owners.get(ref) in refused)

    def surplus(self) -> list[Object]:
        """What is to be removed.  Raises RemovalRefused when that is too much to do without being told."""
        if not self._choice.prune:
            return []
        kept = {Ref.of(obj) for group in self._groups for obj in group} | {error.ref for error in self.result.errors}
        found = []
        for ref, obj in self._ours.items():
            if ref in kept or _is_dying(obj) or not objects.is_managed_by(obj, FIELD_MANAGER):
                continue
            model = model_of(obj)
            if model in self.result.failed or not self._choice.covers(model):
                continue
            found.append(obj)
            if model:
                self.result.owners[ref] = model
        self._need_leave([ref for obj in found if (ref := Ref.of(obj)).kind == KIND])
        order = [kind for _, kind in REMOVED_WITH_MODELS]
        return sorted(found, key=lambda obj: (order.index(obj["kind"]), obj["metadata"].get("namespace") or ""))

    def _need_leave(self, removed: list[Ref]) -> None:
        """Stops the run when more models go than may go without leave."""
        counted = [ref for ref in removed if ref.place not in self._choice.absent]
        total = sum(1 for ref in self._ours if ref.kind == KIND)
        allowed = self._choice.removals
        if allowed is None:
            if len(counted) <= FEW_REMOVALS and not 1 < len(counted) == total:
                return
        elif allowed < 0 or len(counted) <= allowed:
            return
        text = _removal_text(counted, total, allowed)
        if not self._check:
            raise RemovalRefused(text)
        self.result.notes.append(text)

    # ---- writing ----

    def make_namespaces(self, pool: ThreadPoolExecutor, gateway: Mapping[str, Any] | None) -> None:
        """The namespaces; without one, the models in it are left out."""
        for group in self._groups:
            if group[0]["kind"] != "Namespace":
                continue
            if gateway is not None and not all(self._is_as_applied(space) for space in group):
                group = list(map(objects.prepare, admission.still_admitted(self._cluster, gateway, group)))
            done = self._apply(group, pool)
            lost = {error.ref.name for error in done.errors}
            if lost:
                self.namespaces = [name for name in self.namespaces if name not in lost]
                self._leave_out_namespaces(lost)

    def _is_as_applied(self, obj: Object) -> bool:
        live = self._live.get(Ref.of(obj))
        return isinstance(live, dict) and objects.stamp_of(live) == objects.stamp_of(obj)

    def _leave_out_namespaces(self, namespaces: set[str]) -> None:
        for group in self._groups:
            for obj in group:
                ref = Ref.of(obj)
                if ref.kind == KIND and ref.namespace in namespaces:
                    text = f"{ref}: not applied, because its namespace could not be made (see above)."
                    self.result.errors.append(ObjectError(ref, text))
        self._leave_out(lambda ref: ref.namespace in namespaces)

    def move(self, pool: ThreadPoolExecutor) -> None:
        """Takes from the status of models the presets of another release that they keep to.

        KServe then chooses those of its own release and notes them (platform.md 1.11).  It does so at once, so the
        server is asked first whether it takes the model as this release writes it; what it refuses stays as it is.
        """
        moving = [obj for group in self._groups for obj in group if self._old_presets(Ref.of(obj))]
        if not moving:
            return
        refused = apply_group(self._cluster, moving, self._live, pool, check=True).errors
        self.result.errors += refused
        stay = {error.ref for error in refused}
        stay |= {ref for ref in map(Ref.of, moving) if ref not in stay and not self._forget_presets(ref)}
        left = {self.result.owners.get(ref, ref.place) for ref in stay}
        self._leave_out(lambda ref: self.result.owners.get(ref) in left)

    def _old_presets(self, ref: Ref) -> list[str]:
        """The notes of presets of another release on a model that is to move."""
        live = self._live.get(ref)
        if ref.kind != KIND or not isinstance(live, dict) or not means(self._choice.move, ref.place):
            return []
        if _is_dying(live) or ref in self._recreated:
            return []  # it is made anew, without notes
        return [name for name, preset in notes_of(live).items() if not preset.startswith(self._choice.presets)]

    def _forget_presets(self, ref: Ref) -> bool:
        """Whether the notes could be taken away."""
        try:
            if not self._check:
                self._cluster.patch_status(ref, {"annotations": dict.fromkeys(self._old_presets(ref))})
        except errors.ClusterError as error:
            self.result.errors.append(ObjectError(ref, str(error)))
            return False
        self.result.changes.append(Change(ref, UPDATE, note="goes over to the presets of this release"))
        return True

    def write(self, pool: ThreadPoolExecutor) -> None:
        """All other objects, kind by kind."""
        for group in self._groups:
            if group[0]["kind"] != "Namespace":
                ready = self._make_way(group, pool)
                if ready:
                    self._apply(ready, pool)

    def _apply(self, group: list[Object], pool: ThreadPoolExecutor) -> ApplyResult:
        kind, total = group[0]["kind"], len(group)
        done = apply_group(
            self._cluster,
            group,
            self._live,
            pool,
            check=self._check,
            on_progress=lambda count: self._say(f"{kind}s", count, total),
        )
        self.result.extend(done)
        return done

    def _make_way(self, group: list[Object], pool: ThreadPoolExecutor) -> list[Object]:
        """Deletes what is to be made anew, waits until what is being deleted is gone; returns what to apply."""
        going = []
        for obj in group:
            ref = Ref.of(obj)
            live = self._live.get(ref)
            if isinstance(live, dict) and (ref in self._recreated or _is_dying(live)):
                going.append((ref, live))
            if isinstance(live, dict) and ref in self._recreated:
                self.result.changes.append(Change(ref, DELETE, before=live, note="to be made anew"))
                if self._check:
                    self.result.changes.append(Change(ref, CREATE, after=obj, note="made anew"))
        if self._check:
            return [obj for obj in group if Ref.of(obj) not in self._recreated]
        stuck = {ref: error for ref, error in pool.map(self._until_gone, going) if error is not None}
        self.result.errors += [ObjectError(ref, error) for ref, error in stuck.items()]
        for ref, _ in going:
            self._live.pop(ref)
        return [obj for obj in group if Ref.of(obj) not in stuck]

    def _until_gone(self, item: tuple[Ref, Object]) -> tuple[Ref, str | None]:
        ref, live = item
        try:
            if not _is_dying(live):
                self._cluster.delete(live)
            waited, pause = 0.0, 0.1
            while (now := self._cluster.get(ref.api_version, ref.kind, ref.name, ref.namespace)) is not None:
                if now["metadata"].get("uid") != live["metadata"].get("uid"):
                    return ref, f"{ref}: somebody made it anew while it was being replaced. Run again."
                if waited >= DELETION_SECONDS:
                    return ref, _stuck(ref, now)
                self._sleep(pause)
                waited, pause = waited + pause, min(pause * 1.5, 2.0)
        except errors.ClusterError as error:
            return ref, str(error)
        return ref, None

    def remove(self, surplus: Sequence[Object], pool: ThreadPoolExecutor) -> None:
        """Removes what the inventory no longer has; of a model that could not be written nothing."""
        failed = self.result.failed
        surplus = [obj for obj in surplus if model_of(obj) not in failed]
        for done, (obj, error) in enumerate(pool.map(self._delete, surplus), start=1):
            ref = Ref.of(obj)
            if error is None:
                self.result.changes.append(Change(ref, DELETE, before=obj))
            else:
                self.result.errors.append(ObjectError(ref, str(error)))
            self._say("removing", done, len(surplus))

    def _delete(self, obj: Object) -> tuple[Object, errors.ClusterError | None]:
        try:
            if not self._check:
                self._cluster.delete(obj)
        except errors.ClusterError as error:
            return obj, error
        return obj, None

    def _leave_out(self, condition: Callable[[Ref], bool]) -> None:
        kept = [[obj for obj in group if not condition(Ref.of(obj))] for group in self._groups]
        self._groups = [group for group in kept if group]


def _turned(change: Change) -> str:
    """Whether a change of a model stops or starts it; empty when it does neither."""
    if change.before is None or change.after is None:
        return ""
    before, after = _is_stopped(change.before), _is_stopped(change.after)
    return "" if before == after else "stopped" if after else "started"


def _is_stopped(model: Object) -> bool:
    return (model["metadata"].get("annotations") or {}).get(STOP_ANNOTATION) == "true"


def _is_dying(live: Mapping[str, object]) -> bool:
    metadata = live.get("metadata")
    return isinstance(metadata, Mapping) and bool(metadata.get("deletionTimestamp"))


def _refusal(ref: Ref, fixed: Sequence[object]) -> str:
    what = "; ".join(map(str, fixed))
    return (
        f"{ref} ({CODE}): {what}. KServe does not change this on a model that exists, so nothing of the model was "
        "written. "
        f"To delete the model and make it anew (it does not serve meanwhile), run again with "
        f"`-e models_recreate={ref.place}`. To keep serving, add the new shape under another name, move the "
        "traffic, then remove this one."
    )


def _removal_text(removed: Sequence[Ref], total: int, allowed: int | None) -> str:
    names = ", ".join(sorted(ref.place for ref in removed)[:10])
    more = f" and {len(removed) - 10} more" if len(removed) > 10 else ""
    limit = (
        f"without being told at most {FEW_REMOVALS} are removed, and not all"
        if allowed is None
        else f"models_delete allows {allowed}"
    )
    return (
        f"{len(removed)} of {total} models of this installer are in the cluster and not in the inventory: "
        f"{names}{more}. Expected fewer ({limit}), so nothing was written. Check that the right inventory was named "
        f"and its models were read. If they shall go, run again with `-e models_delete={len(removed)}`; to keep them, "
        "with `-e models_prune=false`."
    )


def _stuck(ref: Ref, live: Object) -> str:
    metadata = live["metadata"]
    holders = ", ".join(metadata.get("finalizers") or []) or "none"
    return (
        f"{ref}: expected it to be gone {DELETION_SECONDS:.0f} s after its deletion, found it still there "
        f"(deleted at {metadata.get('deletionTimestamp')}, finalizers: {holders}). See that the controller of these "
        "finalizers runs, then run again."
    )
