"""Helm releases: installed or upgraded only when the chart, the values or the live objects differ.

Helm keeps each revision of a release in a Secret.  Reading the newest one tells what chart and values are
installed and which objects they gave, so an unchanged release costs a few reads and no helm call.

What differs, and what is done:

- *chart or values*: `helm upgrade --install`, values by standard input, never by a file or argument.
- *an object of the release is missing, or a field of it was changed*: the same.  Helm 3 does not restore fields of
  custom resources (it merges those without looking at the live object), so these get a merge patch by us.
- *a field that another manager took by server-side apply* (an operator that adopted the object): left alone, noted.
- *the last upgrade failed*: `helm upgrade` works on top of it and is run again.
- *an object whose deletion takes other things with it would go* (LeaderWorkerSetOperator, Kserve): refused before helm
  runs; see catalog/preflight.yml, `protected`.
- *an object to create is there and being deleted*: its end is waited for, then helm is run again.
- *an upgrade was interrupted* (a pending revision): helm refuses every further upgrade.  After `STALE_SECONDS`
  without an end the pending revision is marked failed, as helm itself would have done, and the upgrade is run.  No
  rollback: it would restart every pod twice.  A younger one is waited for: another run may be at work.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import gzip
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from inference_platform.cluster import deletion, errors, objects
from inference_platform.cluster import helm as helm_program
from inference_platform.cluster.apply import CREATE, DELETE, UPDATE, Change, read_live
from inference_platform.cluster.client import FIELD_MANAGER, Cluster
from inference_platform.cluster.helm import STALE_SECONDS, TakenNameError
from inference_platform.cluster.helm import Release as Release
from inference_platform.cluster.helm import ReleaseError as ReleaseError
from inference_platform.cluster.objects import Object, Ref
from inference_platform.preflight import protected

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OWN_MANAGERS = ("helm", FIELD_MANAGER)
INSTALL, UPGRADE, REPAIR, UNCHANGED = "install", "upgrade", "repair", "unchanged"


@dataclass
class ReleaseResult:
    """What was done (or would be, in check mode).

    action   "install", "upgrade", "repair" (fields of custom resources put back) or "unchanged"
    changes  objects that change, from comparing manifests and live objects
    reasons  why it was not left alone, one sentence each
    notes    what a reader should know besides, e.g. fields that an operator has taken over
    revision the release's revision afterwards (0 in check mode before the first install)
    """

    name: str
    namespace: str
    action: str = UNCHANGED
    changes: list[Change] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    revision: int = 0

    @property
    def changed(self) -> bool:
        """Whether anything was (or would be) written."""
        return self.action != UNCHANGED

    @property
    def diff(self) -> str:
        """All changes as one unified diff, without secret values."""
        return "\n".join(filter(None, (change.diff() for change in self.changes)))


@dataclass(frozen=True)
class StoredRelease:
    """The newest revision of a release as Helm keeps it."""

    name: str
    namespace: str
    revision: int
    status: str
    chart: Mapping[str, Any]
    config: Mapping[str, Any]
    manifest: str
    last_deployed: datetime.datetime | None
    secret: Object

    def is_pending(self) -> bool:
        """Whether an operation on it has begun and not ended."""
        return self.status.startswith("pending-")

    def age(self) -> float:
        """Seconds since its operation began."""
        if self.last_deployed is None:
            return float("inf")
        return (datetime.datetime.now(datetime.UTC) - self.last_deployed).total_seconds()


def install(
    cluster: Cluster,
    release: Release,
    *,
    helm: str | None = None,
    check: bool = False,
    adopt: bool = False,
    let_go: Collection[str] = (),
    sleep: Callable[[float], None] = time.sleep,
    on_wait: Callable[[float, str], None] = lambda _seconds, _what: None,
) -> ReleaseResult:
    """Makes the release be what the chart and values say.  Raises ReleaseError.

    helm   path of the helm program; None means $INFERENCE_PLATFORM_HELM, then PATH
    check  says what would change, from `helm template` and the live objects; writes nothing
    adopt  take over objects of this name that somebody else made
    let_go  dependencies that the cloud manager may delete (``ownership_let_go``)
    on_wait  told the seconds so far and what is waited for
    """
    result = ReleaseResult(release.name, release.namespace)
    stored = _settled(cluster, release, result, check=check, sleep=sleep)
    local = load_chart(release.chart)
    drift: list[Drift] = []
    if stored is not None:
        result.revision = stored.revision
        result.reasons = reasons(stored, local, release.values)
        drift = find_drift(cluster, stored, result.notes)
        result.reasons += [item.sentence() for item in drift]
    else:
        result.reasons = ["it is not installed"]
    if not result.reasons:
        return result
    only_custom = stored is not None and len(drift) == len(result.reasons) and all(item.is_custom() for item in drift)
    if only_custom:
        result.action = REPAIR
        result.changes = [_repair(cluster, item, check=check) for item in drift]
        return result
    result.action = UPGRADE if stored else INSTALL
    program = helm_program.find(helm)
    old = parse_manifest(stored.manifest, release.namespace, cluster) if stored else []
    if check or protected.holds(old):
        manifest = helm_program.template(program, cluster, release, upgrade=stored is not None)
        refuse_losses(release, old, parse_manifest(manifest, release.namespace, cluster), let_go)
    if not check:
        cluster.about_to_write()
        manifest, result.revision = _upgrade(program, cluster, release, sleep, on_wait, adopt=adopt)
    wanted = parse_manifest(manifest, release.namespace, cluster)
    result.changes = _manifest_changes(old, wanted, drift)
    if not check:
        new = {Ref.of(obj): obj for obj in wanted}
        for item in drift:
            if item.is_custom() and (obj := new.get(item.ref)):
                _repair(cluster, Drift(item.ref, obj, item.live, item.differences), check=False)
    return result


def _upgrade(
    program: str,
    cluster: Cluster,
    release: Release,
    sleep: Callable[[float], None],
    on_wait: Callable[[float, str], None],
    *,
    adopt: bool,
) -> tuple[str, int]:
    """``helm.upgrade``, where nothing of it is being deleted: an adopted object would go all the same."""

    def wait() -> bool:
        manifest = helm_program.template(program, cluster, release, upgrade=False)
        wanted = parse_manifest(manifest, release.namespace, cluster)
        return deletion.wait(cluster, wanted, str(release), sleep, on_wait)

    if adopt:
        wait()
    try:
        return helm_program.upgrade(program, cluster, release, sleep, adopt=adopt)
    except TakenNameError:
        if not wait():
            raise
        return helm_program.upgrade(program, cluster, release, sleep, adopt=adopt)


def refuse_losses(release: Release, before: list[Object], after: list[Object], let_go: Collection[str] = ()) -> None:
    """Raises ReleaseError when more would be lost than the objects of the release; ``let_go`` as for `install`."""
    losses = protected.losses(before, after, let_go)
    if losses:
        raise ReleaseError(
            f"{release}: expected objects with more behind them to stay, found that {'; '.join(losses)}. Nothing was "
            "changed. Take the value back; to remove a whole object on purpose, delete it by hand first."
        )


# ---- what Helm stored -------------------------------------------------------------------------------------


def read(cluster: Cluster, name: str, namespace: str) -> StoredRelease | None:
    """The newest revision of a release, or None when there is none (or it was uninstalled)."""
    selector = f"owner=helm,name={name}"
    found = cluster.list("v1", "Secret", namespace, label_selector=selector, metadata_only=True)
    if not found:
        return None
    newest = max(found, key=lambda item: int(item["metadata"]["labels"].get("version", "0")))
    if newest["metadata"]["labels"].get("status") == "uninstalled":
        return None
    secret = cluster.get("v1", "Secret", newest["metadata"]["name"], namespace)
    return decode(secret) if secret else None


def decode(secret: Object) -> StoredRelease:
    """A StoredRelease from Helm's Secret: base64 of base64 of gzip of JSON."""
    name = secret["metadata"]["name"]
    try:
        packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
        body = json.loads(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
        info = body["info"]
        return StoredRelease(
            name=body["name"],
            namespace=body["namespace"],
            revision=int(body["version"]),
            status=str(info["status"]),
            chart=body.get("chart") or {},
            config=body.get("config") or {},
            manifest=body.get("manifest") or "",
            last_deployed=_time(info.get("last_deployed")),
            secret=secret,
        )
    except (KeyError, ValueError, TypeError, OSError, binascii.Error) as error:
        raise ReleaseError(
            f"Secret {secret['metadata'].get('namespace')}/{name}: expected a Helm 3 release record, found something "
            f"else ({type(error).__name__}). Look at it with `helm history`; delete it if no release uses it."
        ) from None


def _time(value: Any) -> datetime.datetime | None:
    """Helm writes nanoseconds, which Python's parser cuts itself; an empty or zero time is None."""
    try:
        moment = datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.year > 1 and moment.tzinfo else None


def _settled(
    cluster: Cluster,
    release: Release,
    result: ReleaseResult,
    *,
    check: bool,
    sleep: Callable[[float], None],
) -> StoredRelease | None:
    """The stored release once no operation is pending on it: waits for a young one, ends an old one."""
    stored = read(cluster, release.name, release.namespace)
    while stored is not None and stored.is_pending():
        if check or stored.age() >= STALE_SECONDS:
            result.notes.append(
                f"{release}: revision {stored.revision} was left {stored.status} by an interrupted run; it is marked "
                "failed and the upgrade is run again."
            )
            return stored if check else _mark_failed(cluster, stored)
        sleep(1.0)
        stored = read(cluster, release.name, release.namespace)
    return stored


def _mark_failed(cluster: Cluster, stored: StoredRelease) -> StoredRelease:
    """Writes status "failed" into the pending revision's Secret, as helm does when an upgrade fails."""
    body = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(stored.secret["data"]["release"]))))
    body["info"]["status"] = "failed"
    body["info"]["description"] = f"interrupted while {stored.status}; marked failed by inference-platform"
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(body).encode()))).decode()
    metadata = stored.secret["metadata"]
    secret = {
        **stored.secret,
        "metadata": {**metadata, "labels": {**metadata["labels"], "status": "failed"}},
        "data": {"release": packed},
    }
    return decode(cluster.replace(secret))


# ---- what differs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LocalChart:
    """A chart folder, read in the form in which Helm stores a chart."""

    metadata: Mapping[str, Any]
    templates: Mapping[str, bytes]
    values: Mapping[str, Any]
    schema: bytes
    files: Mapping[str, bytes]


def load_chart(folder: Path) -> LocalChart:
    """Reads a chart folder.  Raises ReleaseError when it is none or has subcharts (which Helm does not store)."""
    if not (folder / "Chart.yaml").is_file():
        raise ReleaseError(f"{folder}: expected a chart (a folder with Chart.yaml), found none.")
    if (folder / "charts").exists():
        raise ReleaseError(f"{folder}: expected a chart without subcharts, found a charts folder.")
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("~")
    }
    special = ("Chart.yaml", "values.yaml", "values.schema.json")
    return LocalChart(
        metadata=yaml.load(contents["Chart.yaml"], Loader=_LOADER),
        templates={name: data for name, data in contents.items() if name.startswith("templates/")},
        values=yaml.load(contents.get("values.yaml", b"{}"), Loader=_LOADER) or {},
        schema=contents.get("values.schema.json", b""),
        files={k: v for k, v in contents.items() if k not in special and not k.startswith("templates/")},
    )


def reasons(stored: StoredRelease, chart: LocalChart, values: Mapping[str, Any]) -> list[str]:
    """Why the stored release is not what chart and values say; empty when it is."""
    found = []
    if stored.status == "failed":
        found.append(f"revision {stored.revision} failed")
    elif stored.status != "deployed":
        found.append(f"revision {stored.revision} is {stored.status}")
    was = stored.chart
    if (was.get("metadata") or {}) != _plain(chart.metadata):
        old, new = (was.get("metadata") or {}).get("version"), chart.metadata.get("version")
        found.append(f"Chart.yaml differs (version {old} installed, {new} wanted)")
    templates = _stored_files(was.get("templates"))
    differing = sorted(
        n for n in templates.keys() | chart.templates.keys() if templates.get(n) != chart.templates.get(n)
    )
    if differing:
        found.append(f"templates differ: {', '.join(differing)}")
    if _without_nulls(was.get("values") or {}) != _without_nulls(_plain(chart.values)):
        found.append("the chart's default values differ")
    if base64.b64decode(was.get("schema") or "") != chart.schema:
        found.append("the chart's values schema differs")
    reads_files = any(b".Files" in data for data in chart.templates.values())
    if reads_files and _stored_files(was.get("files")) != chart.files:
        found.append("files of the chart differ")
    changed = _changed_keys(_without_nulls(stored.config), _without_nulls(_plain(values)))
    if changed:
        found.append(f"values differ: {', '.join(changed)}")
    return found


def _stored_files(files: Iterable[Mapping[str, Any]] | None) -> dict[str, bytes]:
    return {str(item["name"]): base64.b64decode(item.get("data") or "") for item in files or []}


def _plain(value: Any) -> Any:
    """Data as it looks after a trip through JSON."""
    return json.loads(json.dumps(value, default=str))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _changed_keys(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of values that differ; names only, because values may be secret."""
    changed: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        one, other = old.get(key), new.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            changed += _changed_keys(one, other, f"{prefix}{key}.")
        elif one != other:
            changed.append(f"{prefix}{key}")
    return changed


@dataclass(frozen=True)
class Drift:
    """An object of the stored manifest that is missing or changed in the cluster."""

    ref: Ref
    wanted: Object
    live: Object | None
    differences: Sequence[objects.Difference] = ()

    def is_custom(self) -> bool:
        """Whether it is a custom resource that is there, whose fields helm would not restore."""
        return self.live is not None and not objects.is_built_in(self.ref.api_version)

    def sentence(self) -> str:
        """What is wrong with it."""
        if self.live is None:
            return f"{self.ref} is missing"
        return f"{self.ref} was changed: {', '.join(d.path for d in self.differences)}"


def find_drift(cluster: Cluster, stored: StoredRelease, notes: list[str]) -> list[Drift]:
    """Objects of the stored manifest whose live state differs from it; takeovers by other managers go to `notes`."""
    wanted = parse_manifest(stored.manifest, stored.namespace, cluster)
    found = []
    with ThreadPoolExecutor(max_workers=cluster.workers) as pool:
        live = read_live(cluster, [Ref.of(obj) for obj in wanted], pool)
    for obj in wanted:
        ref = Ref.of(obj)
        state = live.get(ref)
        if state is None or isinstance(state, errors.UnknownKind):
            found.append(Drift(ref, obj, None))
            continue
        if isinstance(state, errors.ClusterError):
            raise state
        different = _own_differences(obj, state, notes)
        if different and not _is_server_doing(cluster, obj, state):
            found.append(Drift(ref, obj, state, different))
    return found


def _own_differences(obj: Object, live: Object, notes: list[str]) -> list[objects.Difference]:
    kept = []
    for difference in objects.differences(objects.without_write_only(obj), live):
        manager = objects.applied_by_other(live, difference, _OWN_MANAGERS)
        if manager:
            notes.append(f"{Ref.of(obj)}: {difference.path} is now managed by {manager}; left alone.")
        else:
            kept.append(difference)
    return kept


def _is_server_doing(cluster: Cluster, obj: Object, live: Object) -> bool:
    """Whether applying the object again would change nothing: the difference is the server's or a webhook's."""
    try:
        predicted = cluster.apply(obj, force=True, dry_run=True, attempts=2)
    except errors.ApiError:
        return False
    return objects.same_content(predicted, live)


def _repair(cluster: Cluster, item: Drift, *, check: bool) -> Change:
    """Puts the manifest's fields back into a custom resource."""
    if check:
        return Change(item.ref, UPDATE, before=item.live, after=_merged(item.live, item.wanted))
    after = cluster.merge_patch(item.wanted, manager="helm")
    return Change(item.ref, UPDATE, before=item.live, after=after)


def _merged(live: Any, wanted: Any) -> Any:
    """JSON merge patch without deletions: wanted over live."""
    if isinstance(live, Mapping) and isinstance(wanted, Mapping):
        return {**live, **{key: _merged(live.get(key), value) for key, value in wanted.items()}}
    return wanted


def parse_manifest(manifest: str, namespace: str, cluster: Cluster) -> list[Object]:
    """The objects of a manifest, namespaced ones with their namespace filled in as helm does."""
    found = []
    for obj in yaml.load_all(manifest, Loader=_LOADER):
        if not obj:
            continue
        resource = cluster.discovery().find(obj["apiVersion"], obj["kind"])
        if not obj["metadata"].get("namespace") and (resource is None or resource.namespaced):
            obj["metadata"]["namespace"] = namespace
        elif resource is not None and not resource.namespaced:
            obj["metadata"].pop("namespace", None)
        found.append(obj)
    return found


def _manifest_changes(old: list[Object], new: list[Object], drift: list[Drift]) -> list[Change]:
    before, after = {Ref.of(obj): obj for obj in old}, {Ref.of(obj): obj for obj in new}
    drifted = {item.ref: item for item in drift}
    changes = []
    for ref, obj in after.items():
        if ref not in before or (ref in drifted and drifted[ref].live is None):
            changes.append(Change(ref, CREATE, after=obj))
        elif ref in drifted:
            live = drifted[ref].live
            changes.append(Change(ref, UPDATE, before=live, after=_merged(live, obj)))
        elif before[ref] != obj:
            changes.append(Change(ref, UPDATE, before=before[ref], after=obj))
    changes += [Change(ref, DELETE, before=obj) for ref, obj in before.items() if ref not in after]
    return changes
