"""Makes the cluster have a set of objects: list, compare, and server-side apply only what differs.

One list per kind, one pool of workers; kinds in the order given, Namespaces first.  Another manager's fields are
never taken over unless `force`.  `prune` deletes only objects that our field manager applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from inference_platform.cluster import errors, objects
from inference_platform.cluster.client import FIELD_MANAGER, Cluster
from inference_platform.cluster.objects import Object, Ref
from inference_platform.manifest import to_yaml

Live = Object | errors.ClusterError  # a live object, or why it could not be read
CREATE, UPDATE, DELETE = "create", "update", "delete"
# Up to this many objects of a kind are read one by one; more by one list.  Of kinds with much or secret content
# that is not ours nothing is listed but objects of one name.
_READ_ONE_BY_ONE = 4
_NEVER_LISTED = frozenset({"Secret", "ConfigMap"})


@dataclass(frozen=True)
class Change:
    """One object that differs (or differed).

    action  "create", "update" or "delete"
    before  live object before, None if it was not there
    after   object after (in check mode: as the server's dry run or our own data predict), None if deleted
    note    anything a reader should know, e.g. why a prediction could not be checked with the server
    """

    ref: Ref
    action: str
    before: Object | None = None
    after: Object | None = None
    note: str = ""

    def diff(self) -> str:
        """Unified diff as YAML, without secret values."""
        return objects.diff(self.ref, self.before, self.after)

    def __str__(self) -> str:
        return f"{self.action} {self.ref}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True)
class ObjectError:
    """One object that could not be applied; `message` is complete, with what to do."""

    ref: Ref
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass
class ApplyResult:
    """What changed (or would, in check mode) and what failed, in the order of the objects given."""

    changes: list[Change] = field(default_factory=list)
    errors: list[ObjectError] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether anything differs."""
        return bool(self.changes)

    def diff(self) -> str:
        """All changes as one unified diff, without secret values."""
        return "\n".join(filter(None, (change.diff() for change in self.changes)))

    def extend(self, other: ApplyResult) -> None:
        """Adds another result to this one."""
        self.changes.extend(other.changes)
        self.errors.extend(other.errors)

    def raise_errors(self) -> None:
        """Raises a ClusterError with every object's error, if there is any."""
        if self.errors:
            count = f"{len(self.errors)} object{'s' if len(self.errors) > 1 else ''} could not be applied:"
            raise errors.ClusterError("\n".join([count, *(f"- {error}" for error in self.errors)]))


def apply(
    cluster: Cluster,
    wanted: Iterable[Object],
    *,
    check: bool = False,
    force: bool = False,
    workers: int = 8,
) -> ApplyResult:
    """Applies the objects that differ from the live ones; nothing is written when none does.

    wanted  objects with apiVersion, kind, metadata.name (and namespace); any order, no kind twice by name
    check   predicts only: asks the server for dry runs where it can answer, writes nothing
    force   takes over fields that other managers own

    An error of one object does not stop the others; it is in `.errors`.
    """
    result = ApplyResult()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for group in grouped(wanted):
            live = read_live(cluster, [Ref.of(obj) for obj in group], pool)
            result.extend(apply_group(cluster, group, live, pool, check=check, force=force))
    return result


def apply_group(
    cluster: Cluster,
    group: Sequence[Object],
    live: Mapping[Ref, Live],
    pool: ThreadPoolExecutor,
    *,
    check: bool = False,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> ApplyResult:
    """Applies prepared objects of one kind that differ from `live`, by the workers of `pool`.

    group        as `grouped` gives it
    live         as `read_live` gives it
    on_progress  told how many are done, from this thread
    """
    result, job = ApplyResult(), _Job(cluster, live, check=check, force=force)
    for done, outcome in enumerate(pool.map(job.run, group), start=1):
        if isinstance(outcome, Change):
            result.changes.append(outcome)
        elif isinstance(outcome, ObjectError):
            result.errors.append(outcome)
        if on_progress is not None:
            on_progress(done)
    return result


def prune(
    cluster: Cluster,
    kinds: Iterable[tuple[str, str]],
    selector: str,
    keep: Iterable[Ref],
    *,
    namespace: str | None = None,
    check: bool = False,
) -> ApplyResult:
    """Deletes objects of these kinds that match the label selector, that we applied, and that are not in `keep`.

    kinds     (apiVersion, kind) pairs; a kind that is not served has nothing to delete
    selector  label selector, required: an empty one is refused
    keep      references of the objects that stay
    """
    if not selector:
        raise ValueError("prune: expected a label selector, found an empty one")
    kept, result = set(keep), ApplyResult()
    for api_version, kind in kinds:
        try:
            found = cluster.list(api_version, kind, namespace, label_selector=selector)
        except errors.UnknownKind:
            continue
        for obj in found:
            ref = Ref.of(obj)
            if ref in kept or not objects.is_managed_by(obj, FIELD_MANAGER):
                continue
            if obj["metadata"].get("deletionTimestamp"):
                continue
            try:
                if not check:
                    cluster.delete(obj)
                result.changes.append(Change(ref, DELETE, before=obj))
            except errors.ApiError as error:
                result.errors.append(ObjectError(ref, str(error)))
    return result


def grouped(wanted: Iterable[Object]) -> list[list[Object]]:
    """Objects prepared and grouped by kind: Namespaces first, then kinds in the order they first appear."""
    groups: dict[tuple[str, str], list[Object]] = {("v1", "Namespace"): []}
    seen: set[Ref] = set()
    for obj in wanted:
        ref = Ref.of(obj)
        if ref in seen:
            raise ValueError(f"{ref}: expected once in the list, found twice")
        seen.add(ref)
        groups.setdefault((ref.api_version, ref.kind), []).append(objects.prepare(obj))
    return [group for group in groups.values() if group]


def read_live(cluster: Cluster, refs: Sequence[Ref], pool: ThreadPoolExecutor) -> dict[Ref, Live]:
    """The live objects of these references, by as few requests as sensible; absent ones are left out.

    An object that could not be read has the error in its place; an unknown kind counts as an error too.
    """
    by_kind: dict[tuple[str, str], list[Ref]] = {}
    for ref in refs:
        by_kind.setdefault((ref.api_version, ref.kind), []).append(ref)
    jobs: list[Callable[[], dict[Ref, Live]]] = []
    for (api_version, kind), group in by_kind.items():
        names, namespaces = {ref.name for ref in group}, {ref.namespace for ref in group}
        only = next(iter(namespaces)) if len(namespaces) == 1 else ""
        # One name in many namespaces (a pull secret): the server finds them without showing any other.
        selector = f"metadata.name={next(iter(names))}" if len(names) == 1 and len(namespaces) > 1 else ""
        if len(group) > _READ_ONE_BY_ONE and (selector or kind not in _NEVER_LISTED):
            jobs.append(_list_job(cluster, api_version, kind, only or None, set(group), selector))
        else:
            jobs.extend(_get_job(cluster, ref) for ref in group)
    cluster.discovery()  # once, before the workers ask for it
    live: dict[Ref, Live] = {}
    for found in pool.map(lambda job: job(), jobs):
        live.update(found)
    return live


def _list_job(
    cluster: Cluster, api_version: str, kind: str, namespace: str | None, wanted: set[Ref], field_selector: str
) -> Callable[[], dict[Ref, Live]]:
    def job() -> dict[Ref, Live]:
        try:
            found = cluster.list(api_version, kind, namespace, field_selector=field_selector)
        except (errors.ApiError, errors.UnknownKind) as error:
            return dict.fromkeys(wanted, error)
        return {ref: obj for obj in found if (ref := Ref.of(obj)) in wanted}

    return job


def _get_job(cluster: Cluster, ref: Ref) -> Callable[[], dict[Ref, Live]]:
    def job() -> dict[Ref, Live]:
        try:
            obj = cluster.get(ref.api_version, ref.kind, ref.name, ref.namespace or None)
        except (errors.ApiError, errors.UnknownKind) as error:
            return {ref: error}
        return {ref: obj} if obj is not None else {}

    return job


class _Job:
    """Applies the objects of one kind.

    When one of them fails although it was tried again and again (a webhook that does not answer), the others are
    tried once: two hundred objects must not each wait for the same dead webhook.
    """

    def __init__(self, cluster: Cluster, live: Mapping[Ref, Live], *, check: bool, force: bool) -> None:
        self._cluster, self._live, self._check, self._force = cluster, live, check, force
        self._attempts: int | None = None

    def run(self, wanted: Object) -> Change | ObjectError | None:
        """One object: what was done, what went wrong, or None when there was nothing to do."""
        ref = Ref.of(wanted)
        live = self._live.get(ref)
        if isinstance(live, errors.UnknownKind):
            if self._check:
                return Change(ref, CREATE, after=wanted, note=f"{ref.kind} is not served yet")
            return ObjectError(ref, f"{ref}: {live} Apply the CRD first, and wait until it is Established.")
        if isinstance(live, errors.ClusterError):
            return ObjectError(ref, f"{ref}: {live}")
        try:
            return self._create(ref, wanted) if live is None else self._update(ref, wanted, live)
        except errors.Overloaded as error:
            self._attempts = 1
            return ObjectError(ref, str(error))
        except errors.ApiError as error:
            return ObjectError(ref, str(error))

    def _create(self, ref: Ref, wanted: Object) -> Change:
        if not self._check:
            return Change(ref, CREATE, after=self._write(wanted))
        note = ""
        try:
            self._dry_run(wanted)
        except errors.NotFound:
            note = f"namespace {ref.namespace} does not exist yet"
        except errors.Overloaded as error:
            note = f"not checked by the server: {error.message}"
        return Change(ref, CREATE, after=wanted, note=note)

    def _update(self, ref: Ref, wanted: Object, live: Object) -> Change | None:
        as_applied = objects.stamp_of(live) == objects.stamp_of(wanted) and objects.is_managed_by(live, FIELD_MANAGER)
        if as_applied and not objects.differences(wanted, live):
            return None
        if as_applied or self._check:
            predicted, note = self._predict(wanted)
            if predicted is not None and as_applied and objects.same_content(predicted, live):
                return None  # the difference is the server's own doing, e.g. a mutating webhook's
            if self._check:
                return Change(ref, UPDATE, before=live, after=predicted or wanted, note=note)
        after = self._write(wanted)
        if after["metadata"].get("resourceVersion") == live["metadata"].get("resourceVersion"):
            return None
        return Change(ref, UPDATE, before=live, after=after)

    def _predict(self, wanted: Object) -> tuple[Object | None, str]:
        """What an apply would give, by the server's dry run; (None, why) when the server cannot tell."""
        try:
            return self._dry_run(wanted), ""
        except errors.Overloaded as error:
            return None, f"not checked by the server: {error.message}"
        except errors.Invalid as error:
            if "does not support dry run" in error.message:
                return None, "not checked by the server: one of its webhooks does not support dry runs"
            raise

    def _write(self, wanted: Object) -> Object:
        body = to_yaml(wanted).encode()  # what an export holds
        return self._cluster.apply(wanted, force=self._force, attempts=self._attempts, body=body)

    def _dry_run(self, wanted: Object) -> Object:
        return self._cluster.apply(wanted, force=self._force, dry_run=True, attempts=1)


def summary(changes: Iterable[Change]) -> dict[str, Any]:
    """Counts by action, e.g. {"create": 3, "update": 1}, without zeros."""
    counts: dict[str, int] = {}
    for change in changes:
        counts[change.action] = counts.get(change.action, 0) + 1
    return counts
