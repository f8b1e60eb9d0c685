"""Waits for all models at once, by a watch, and says which is the slowest and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from inference_platform.cluster import diagnose, errors
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.immutable import KIND
from inference_platform.cluster.models import SELECTOR
from inference_platform.cluster.objects import Object, Ref
from inference_platform.cluster.readiness import SERVING, STOP_ANNOTATION, STOPPED, Surroundings, Verdict, judge
from inference_platform.cluster.watching import Watching, Wish

#: A model that became ready while we waited must stay so for this long: its scheduler restarts once more when the
#: addresses of its pods are known (observed-gateway.md 5.3).
SETTLE_SECONDS = 1.0
#: A model that somebody has to correct is waited for this long: routes and gateways also fail for a moment by nature.
HOPELESS_SECONDS = 30.0
_PROGRESS_SECONDS, _DETAIL_SECONDS = 1.0, 3.0
_EXPLAINED_IN_FULL = 10
# Pods that serve, by what KServe makes for them; the scheduler is not among them.
_WORKLOADS = (("apps/v1", "Deployment"), ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"))
_WORKLOAD_SELECTOR = (
    "app.kubernetes.io/part-of=llminferenceservice,app.kubernetes.io/component!=llminferenceservice-router-scheduler"
)
_Found = Mapping[Ref, Object]


@dataclass(frozen=True)
class Target:
    """One model to wait for; `wanted` is SERVING or STOPPED."""

    namespace: str
    name: str
    wanted: str = SERVING

    @property
    def model(self) -> str:
        """Its id."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Waiting:
    """A model that is not as wanted: why, and what is known beyond that (pods, events), one line each."""

    model: str
    verdict: Verdict
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.model}: {self.verdict.why}"


@dataclass(frozen=True)
class WaitProgress:
    """Where the wait is: seconds since its start, models as wanted, all models, and the slowest of the others."""

    elapsed: float
    timeout: float
    ready: int
    total: int
    slowest: Waiting


@dataclass(frozen=True)
class WaitResult:
    """How it ended: seconds until each model was as wanted, and the models that are not."""

    elapsed: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    waiting: tuple[Waiting, ...] = ()

    @property
    def slowest(self) -> str:
        """Id of the model that took longest; "" without models."""
        return max(self.seconds, key=lambda model: self.seconds[model], default="")


class ModelsNotReady(errors.ClusterError):
    """Some models were not as wanted in time.  `str()` explains each, `result` is the data."""

    def __init__(self, result: WaitResult, timeout: float, total: int) -> None:
        self.result = result
        super().__init__(_timeout_text(result, timeout, total))


def targets_of(objects: Iterable[Object]) -> list[Target]:
    """What to wait for after these objects were applied: models that serve, and those that shall stop."""
    return [
        Target(
            obj["metadata"]["namespace"],
            obj["metadata"]["name"],
            STOPPED if (obj["metadata"].get("annotations") or {}).get(STOP_ANNOTATION) == "true" else SERVING,
        )
        for obj in objects
        if obj["kind"] == KIND
    ]


def look(cluster: Cluster, api_version: str, targets: Sequence[Target], around: Surroundings) -> WaitResult:
    """One look, without waiting."""
    verdicts = _Verdicts(api_version, targets, around)
    found = []
    for wish in _wishes(api_version, targets):
        try:
            listed = cluster.list(wish.api_version, wish.kind, wish.namespace, label_selector=wish.selector)
        except errors.UnknownKind:
            listed = []
        found.append({Ref.of(obj): obj for obj in listed})
    verdicts.judge(found[0], found[1:])
    return WaitResult(0.0, dict.fromkeys(verdicts.as_wanted, 0.0), tuple(verdicts.waiting()))


def wait(
    cluster: Cluster,
    api_version: str,
    targets: Sequence[Target],
    around: Surroundings,
    *,
    timeout: float,
    patience: float = HOPELESS_SECONDS,
    on_progress: Callable[[WaitProgress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> WaitResult:
    """Waits until all models are as wanted, at the same time.

    Raises ModelsNotReady after `timeout` seconds, or when all models that are still waited for have been hopeless
    (see Verdict) for `patience` seconds.

    on_progress  called about once a second, from this thread
    """
    if not targets:
        return WaitResult(0.0)
    began = clock()
    state, wishes = _Verdicts(api_version, targets, around), _wishes(api_version, targets)
    shown, explained = 0.0, -_DETAIL_SECONDS
    details: dict[str, tuple[str, ...]] = {}
    with Watching(cluster, wishes) as watching:
        while True:
            elapsed = clock() - began
            found = watching.objects(wishes[0])
            state.judge(found, [watching.objects(wish) for wish in wishes[1:]], elapsed)
            rest = state.seconds_to_settle(elapsed)
            if rest == 0:
                return WaitResult(elapsed, state.seconds)
            if elapsed >= timeout or state.hopeless_for(elapsed) >= patience:
                waiting = _with_details(cluster, api_version, found, state.waiting())
                raise ModelsNotReady(WaitResult(elapsed, state.seconds, tuple(waiting)), timeout, len(targets))
            slowest = next(iter(state.waiting()), None)
            if on_progress is not None and slowest is not None and elapsed - shown >= _PROGRESS_SECONDS:
                if elapsed - explained >= _DETAIL_SECONDS:
                    explained = elapsed
                    details = {slowest.model: _details(cluster, api_version, found, slowest.model)}
                shown = elapsed
                slowest = Waiting(slowest.model, slowest.verdict, details.get(slowest.model, ()))
                on_progress(WaitProgress(elapsed, timeout, len(state.as_wanted), len(targets), slowest))
            watching.wait(min(rest or _PROGRESS_SECONDS, _PROGRESS_SECONDS, max(timeout - elapsed, 0.0)))


def _wishes(api_version: str, targets: Sequence[Target]) -> list[Wish]:
    """The models first: a workload that is read later is at least as new as what its model's status speaks of."""
    names = {target.namespace for target in targets}
    namespace = names.pop() if len(names) == 1 else None
    return [
        Wish(api_version, KIND, SELECTOR, namespace),
        *(Wish(*kind, _WORKLOAD_SELECTOR, namespace) for kind in _WORKLOADS),
    ]


class _Verdicts:
    """What is known of each model, look after look."""

    def __init__(self, api_version: str, targets: Sequence[Target], around: Surroundings) -> None:
        self._targets = {Ref(api_version, KIND, target.namespace, target.name): target for target in targets}
        self._around = around
        self._judged: dict[Ref, tuple[tuple[str | None, ...], Verdict]] = {}
        self._since: dict[str, float] = {}
        self._hopeless: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self._first = True

    @property
    def as_wanted(self) -> list[str]:
        """Ids of the models that are as wanted now."""
        return [self._targets[ref].model for ref, (_, verdict) in self._judged.items() if verdict.ready]

    def judge(self, found: _Found, workloads: Sequence[_Found], elapsed: float = 0.0) -> None:
        """Takes in models and workloads as they are; only models of which something changed are judged anew."""
        of_model: dict[tuple[str, str], list[Object]] = {}
        for kind in workloads:
            for ref, obj in kind.items():
                name = (obj["metadata"].get("labels") or {}).get("app.kubernetes.io/name", "")
                of_model.setdefault((ref.namespace, name), []).append({**obj, "kind": ref.kind})
        for ref, target in self._targets.items():
            model, own = found.get(ref), of_model.get((ref.namespace, ref.name), [])
            seen = tuple(item["metadata"].get("resourceVersion") if item else None for item in (model, *own))
            known = self._judged.get(ref)
            if known is None or known[0] != seen:
                verdict = judge(model, self._around, target.wanted, own)
                self._judged[ref] = (seen, verdict)
                self._note(target.model, verdict, elapsed)
        self._first = False

    def _note(self, model: str, verdict: Verdict, elapsed: float) -> None:
        if verdict.hopeless:
            self._hopeless.setdefault(model, elapsed)
        else:
            self._hopeless.pop(model, None)
        if not verdict.ready:
            self._since.pop(model, None)
            self.seconds.pop(model, None)
        elif model not in self._since:
            self._since[model] = -SETTLE_SECONDS if self._first else elapsed
            self.seconds[model] = elapsed

    def seconds_to_settle(self, elapsed: float) -> float | None:
        """0 when all models are as wanted and have been for long enough; None while some are not."""
        if len(self._since) < len(self._targets):
            return None
        newest = max(self._since.values())
        return max(newest + SETTLE_SECONDS - elapsed, 0.0)

    def hopeless_for(self, elapsed: float) -> float:
        """For how many seconds all models that are not as wanted have been hopeless; 0 while one is not."""
        if not self._hopeless or len(self._hopeless) + len(self._since) < len(self._targets):
            return 0.0
        return elapsed - max(self._hopeless.values())

    def waiting(self) -> list[Waiting]:
        """The models that are not as wanted, in the order of the targets."""
        return [
            Waiting(self._targets[ref].model, verdict)
            for ref, (_, verdict) in self._judged.items()
            if not verdict.ready
        ]


def _details(cluster: Cluster, api_version: str, found: Mapping[Ref, Object], model: str) -> tuple[str, ...]:
    namespace, _, name = model.partition("/")
    obj = found.get(Ref(api_version, KIND, namespace, name))
    if obj is None:
        return ()
    selector = f"app.kubernetes.io/name={name},app.kubernetes.io/part-of=llminferenceservice"
    return tuple(line for line in diagnose.details(cluster, obj, selector) if not line.startswith("condition "))


def _with_details(
    cluster: Cluster, api_version: str, found: Mapping[Ref, Object], waiting: Sequence[Waiting]
) -> list[Waiting]:
    full = [
        Waiting(item.model, item.verdict, _details(cluster, api_version, found, item.model))
        for item in waiting[:_EXPLAINED_IN_FULL]
    ]
    return [*full, *waiting[_EXPLAINED_IN_FULL:]]


def _timeout_text(result: WaitResult, timeout: float, total: int) -> str:
    limit = f"limit {timeout:.0f} s, models_wait_seconds"
    if result.elapsed < timeout:
        limit = "waiting longer would not help"
    lines = [
        f"{len(result.waiting)} of {total} models are not ready after {result.elapsed:.0f} s ({limit}). "
        "They are applied, and KServe goes on with them."
    ]
    for number, item in enumerate(result.waiting, start=1):
        lines.append(f"{number}. {item}")
        if number > _EXPLAINED_IN_FULL:
            continue
        lines += [f"   {detail}" for detail in item.details]
        if item.verdict.meaning:
            lines.append(f"   what it means: {item.verdict.meaning}.")
        if item.verdict.remedy:
            lines.append(f"   next: {item.verdict.remedy}")
    return "\n".join(lines)
