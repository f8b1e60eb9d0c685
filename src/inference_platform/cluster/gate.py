"""Waits until a layer can really be used, and explains what is missing while it waits.

A gate is a list of checks, each plain data (catalog/gates.yml says what the keys mean)::

    {check: crds, names: [...]}
    {check: deployment, namespace, name}
    {check: condition, api_version, kind, name, namespace?, type, status: "True", generation: current | any}
    {check: exists, api_version, kind, name, namespace?, keys?: [path, ...]}
    {check: field, api_version, kind, name, namespace?, path, matches: regular expression}
    {check: dry_run, object: {...}}

and optionally `explain` (what waits for what), `next` (command to look further) and `pods` (label selector of the
pods to look at, in the object's namespace, when the check fails).  A path is a dotted string, in which a key may
itself hold dots ("data.ca.crt"), or a list of keys.

Nothing fails early: what looks broken (a crash loop before a certificate is there) often heals, so it is shown as
progress instead.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from inference_platform.cluster import diagnose, errors
from inference_platform.cluster.apply import Live, read_live
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object, Ref

Check = Mapping[str, Any]
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # seconds between two looks
_PROGRESS_SECONDS = 2.0  # between two looks at pods and events for the progress line
_DISCOVERY_AGE = 0.3  # seconds; while something unknown is waited for


@dataclass(frozen=True)
class Waiting:
    """One check that does not hold.

    what     the object: "Deployment istio-system/istiod"
    why      what was found instead: "0 of 1 replicas available"
    details  conditions last seen, pods, restarts, warning events; one line each
    """

    what: str
    why: str
    details: tuple[str, ...] = ()
    explain: str = ""
    next: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True)
class GateProgress:
    """Where a gate is: seconds since its start, seconds it may take, checks that hold, what is waited for."""

    elapsed: float
    timeout: float
    done: int
    total: int
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True)
class GateResult:
    """Whether all checks hold, after how many seconds, and those that do not."""

    ok: bool
    elapsed: float
    total: int
    waiting: tuple[Waiting, ...] = ()


class GateTimeout(errors.ClusterError):
    """The gate did not open in time.  `str()` is the whole explanation, `result` the data."""

    def __init__(self, result: GateResult, timeout: float, title: str = "") -> None:
        self.result = result
        super().__init__(_timeout_text(result, timeout, title))


def wait(
    cluster: Cluster,
    checks: Sequence[Check],
    *,
    timeout: float,
    on_progress: Callable[[GateProgress], None] | None = None,
    title: str = "",
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> GateResult:
    """Waits until all checks hold in one look at the cluster.  Raises GateTimeout after `timeout` seconds.

    on_progress  called when something changed and at least every two seconds, from this thread
    title        what the gate belongs to, for the explanation ("layer sail")
    """
    began = clock()
    explained, last_text = began, ""
    pending, pause = list(checks), _FIRST_PAUSE
    details: dict[str, tuple[str, ...]] = {}
    while True:
        look = evaluate(cluster, pending, total=len(checks))
        elapsed = clock() - began
        if look.ok:
            if len(pending) == len(checks):
                return GateResult(True, elapsed, len(checks))
            pending = list(checks)  # held one after the other: now all at once
            continue
        if elapsed >= timeout:
            last = evaluate(cluster, list(checks), details=True)
            result = GateResult(last.ok, clock() - began, len(checks), last.waiting)
            if last.ok:
                return result
            raise GateTimeout(result, timeout, title)
        if on_progress is not None:
            text = " ".join(map(str, look.waiting))
            if clock() - explained >= _PROGRESS_SECONDS:
                explained = clock()
                look = evaluate(cluster, pending, details=True, total=len(checks))
                if look.ok:
                    continue  # held since the look before
                details = {item.what: item.details for item in look.waiting}
                on_progress(_progress(look, details, elapsed, timeout, len(checks)))
            elif text != last_text:
                on_progress(_progress(look, details, elapsed, timeout, len(checks)))
            last_text = text
        names = {item.what for item in look.waiting}
        pending = [check for check in pending if label(check) in names] or pending
        sleep(min(pause, max(timeout - elapsed, 0.0)))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def evaluate(
    cluster: Cluster, checks: Sequence[Check], *, details: bool = False, total: int | None = None
) -> GateResult:
    """Looks once at all checks.  `details` adds conditions, pods and events to those that do not hold."""
    live = _live(cluster, checks)
    waiting = []
    for check in checks:
        found = _EVALUATORS[check["check"]](cluster, check, live)
        if found is not None:
            why, obj = found
            lines = tuple(diagnose.details(cluster, obj, check.get("pods"))) if details and obj else ()
            waiting.append(Waiting(label(check), why, lines, check.get("explain", ""), check.get("next", "")))
    return GateResult(not waiting, 0.0, len(checks) if total is None else total, tuple(waiting))


def label(check: Check) -> str:
    """The check's object, for people."""
    kind = check["check"]
    if kind == "crds":
        return "CRDs " + ", ".join(check["names"])
    if kind == "dry_run":
        return f"dry run of {Ref.of(check['object'])}"
    subject = str(_ref(check))
    if kind == "condition":
        return f"{subject} condition {check['type']}"
    if kind == "field":
        return f"{subject} field {_path_text(check['path'])}"
    return subject


# ---- one evaluator per kind of check: None when it holds, else (why, object to explain) -------------------

_Found = tuple[str, Object | None] | None
_Live = Mapping[Ref, Live]


def _ref(check: Check) -> Ref:
    if check["check"] == "deployment":
        return Ref("apps/v1", "Deployment", check["namespace"], check["name"])
    return Ref(check["api_version"], check["kind"], check.get("namespace") or "", check["name"])


def _live(cluster: Cluster, checks: Iterable[Check]) -> _Live:
    """All objects the checks look at, with one list for many of a kind."""
    refs = list(dict.fromkeys(_ref(check) for check in checks if check["check"] not in ("crds", "dry_run")))
    if not refs:
        return {}
    with ThreadPoolExecutor(max_workers=cluster.workers) as pool:
        return read_live(cluster, refs, pool)


def _look_up(check: Check, live: _Live) -> Object | str:
    """The check's object, or why there is none."""
    found = live.get(_ref(check))
    if found is None:
        return "does not exist yet"
    if isinstance(found, errors.UnknownKind):
        return "its kind is not served yet"
    if isinstance(found, (errors.ClusterUnreachable, errors.Overloaded)):
        return str(found)
    if isinstance(found, errors.ClusterError):
        raise found
    return found


def _crds(cluster: Cluster, check: Check, _: _Live) -> _Found:
    names = list(check["names"])
    if all(cluster.discovery().serves(name) for name in names):
        return None
    discovery = cluster.discovery(max_age=_DISCOVERY_AGE)
    missing = [name for name in names if not discovery.serves(name)]
    if not missing:
        return None
    crd = cluster.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", missing[0])
    state = "not established yet" if crd else "not there yet"
    return f"{', '.join(missing)} not served ({missing[0]} is {state})", crd


def _deployment(_: Cluster, check: Check, live: _Live) -> _Found:
    obj = _look_up(check, live)
    if isinstance(obj, str):
        return obj, None
    why = deployment_gap(obj)
    return (why, obj) if why else None


def deployment_gap(obj: Object) -> str | None:
    """What a Deployment lacks to be fully rolled out and available; None when nothing."""
    status = obj.get("status") or {}
    wanted = (obj.get("spec") or {}).get("replicas", 1)
    if wanted == 0:
        return "it is scaled to 0 replicas"
    if (status.get("observedGeneration") or 0) < obj["metadata"].get("generation", 0):
        return "its controller has not seen the newest version yet"
    updated, available = status.get("updatedReplicas") or 0, status.get("availableReplicas") or 0
    if updated < wanted:
        return f"{updated} of {wanted} replicas updated, {available} available"
    if available < wanted:
        return f"{available} of {wanted} replicas available"
    surplus = (status.get("replicas") or 0) - updated
    return f"{surplus} old replicas still running" if surplus > 0 else None


def _condition(_: Cluster, check: Check, live: _Live) -> _Found:
    obj = _look_up(check, live)
    if isinstance(obj, str):
        return obj, None
    why = condition_gap(obj, check["type"], str(check.get("status", "True")), check.get("generation", "current"))
    return (why, obj) if why else None


def condition_gap(obj: Object, kind: str, status: str, generation: str = "current") -> str | None:
    """Why an object's condition is not as wanted; None when it is.

    With generation "current" the condition counts only if it was set for the present metadata.generation, by its
    own observedGeneration or else by the status's; an object that reports neither never passes.
    """
    found = obj.get("status") or {}
    condition = next((c for c in found.get("conditions") or [] if c.get("type") == kind), None)
    if condition is None:
        return f"condition {kind} is not reported yet"
    if str(condition.get("status")) != status:
        return f"{diagnose.condition_text(condition)}, wanted {status}"
    if generation == "any":
        return None
    current = obj["metadata"].get("generation", 0)
    observed = condition.get("observedGeneration", found.get("observedGeneration"))
    if observed is None:
        return f"condition {kind} is {status}, but no observedGeneration tells for which generation"
    if observed < current:
        return f"condition {kind} is {status} for generation {observed}, the object is at {current}"
    return None


def _exists(_: Cluster, check: Check, live: _Live) -> _Found:
    obj = _look_up(check, live)
    if isinstance(obj, str):
        return obj, None
    missing = [_path_text(path) for path in check.get("keys") or [] if not value_at(obj, path)]
    return (f"has no {', '.join(missing)}", obj) if missing else None


def _field(_: Cluster, check: Check, live: _Live) -> _Found:
    obj = _look_up(check, live)
    if isinstance(obj, str):
        return obj, None
    value = value_at(obj, check["path"])
    if value is not None and re.search(check["matches"], str(value)):
        return None
    shown = "nothing" if value is None else "another value" if obj["kind"] == "Secret" else f'"{value}"'
    return f"found {shown}, wanted a match of {check['matches']}", obj


def _dry_run(cluster: Cluster, check: Check, _: _Live) -> _Found:
    try:
        cluster.apply(check["object"], force=True, dry_run=True, attempts=1)
    except errors.UnknownKind:
        return "its kind is not served yet", None
    except errors.CredentialsRejected:
        raise
    except errors.ApiError as error:
        return error.message or error.reason, None
    except errors.ClusterUnreachable as error:
        return str(error), None
    return None


_EVALUATORS: dict[str, Callable[[Cluster, Check, _Live], _Found]] = {
    "crds": _crds,
    "deployment": _deployment,
    "condition": _condition,
    "exists": _exists,
    "field": _field,
    "dry_run": _dry_run,
}


def value_at(obj: Any, path: str | Sequence[str]) -> Any:
    """The value at a path, or None.  In a dotted string the longest key that exists wins ("data.ca.crt")."""
    if not isinstance(path, str):
        for step in path:
            obj = _step(obj, str(step))
        return obj
    if path == "":
        return obj
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        inner = _step(obj, ".".join(parts[:length]))
        if inner is not None:
            found = value_at(inner, ".".join(parts[length:]))
            if found is not None:
                return found
    return None


def _step(obj: Any, key: str) -> Any:
    if isinstance(obj, Mapping):
        return obj.get(key)
    if isinstance(obj, list) and key.isdigit() and int(key) < len(obj):
        return obj[int(key)]
    return None


def _path_text(path: str | Sequence[str]) -> str:
    return path if isinstance(path, str) else ".".join(map(str, path))


# ---- texts ------------------------------------------------------------------------------------------------


def _progress(
    look: GateResult, details: Mapping[str, tuple[str, ...]], elapsed: float, timeout: float, total: int
) -> GateProgress:
    waiting = tuple(
        Waiting(item.what, item.why, item.details or details.get(item.what, ()), item.explain, item.next)
        for item in look.waiting
    )
    return GateProgress(elapsed, timeout, total - len(waiting), total, waiting)


def _timeout_text(result: GateResult, timeout: float, title: str) -> str:
    failing = len(result.waiting)
    lines = [
        f"{f'Gate of {title}' if title else 'Gate'}: {failing} of {result.total} checks still fail after "
        f"{result.elapsed:.0f} s (limit {timeout:.0f} s)."
    ]
    shown: set[str] = set()  # several checks of one object have the same details
    for number, item in enumerate(result.waiting, start=1):
        lines.append(f"{number}. {item}")
        lines += [f"   {detail}" for detail in item.details if detail not in shown]
        shown.update(item.details)
        if item.explain:
            lines.append(f"   why it matters: {' '.join(item.explain.split())}")
        if item.next:
            lines.append(f"   next: {item.next}")
    return "\n".join(lines)
