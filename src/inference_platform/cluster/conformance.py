"""Runs the profiles of catalog/conformance.yml: requests through the gateway, and what the pods counted meanwhile."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import urllib3
import yaml

from inference_platform import schema
from inference_platform.cluster import errors, pod_metrics
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.conformance_cases import Case, Cases, Key
from inference_platform.cluster.front import Front
from inference_platform.cluster.pod_metrics import SERVING, ServingPod
from inference_platform.cluster.smoke import (
    FAILED,
    PASSED,
    SKIPPED,
    UNREACHABLE,
    Asker,
    Outcome,
    Smoke,
    SmokeResult,
    address_of,
    table,
    unreachable_because,
)
from inference_platform.load.exposition import Samples, since
from inference_platform.paths import CATALOG

_LONG_WORDS = 1400
_COUNTED = "vllm:request_success_total"
#: A server may count a request a moment after its answer.
_COUNTING_SECONDS, _PAUSE_SECONDS = 3.0, 0.2

Growth = Mapping[ServingPod, Samples]


@dataclass(frozen=True)
class Profile:
    """One profile of the catalogue: its name, what its guide is called, what it applies to, and its checks."""

    name: str
    title: str
    guide: str
    applies: str
    checks: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class ProfileResult:
    """What became of the cases of one profile."""

    profile: Profile
    result: SmokeResult

    @property
    def failed(self) -> bool:
        """Whether something was asked and answered wrongly."""
        return self.result.count(FAILED) > 0


@cache
def profiles() -> Mapping[str, Profile]:
    """The profiles of the catalogue by name.  Raises ValueError naming the mistakes of the file."""
    path = CATALOG / "conformance.yml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    wrong = schema.mistakes(data, schema.validator(schema.load_schema("conformance")))
    if wrong:
        raise ValueError(f"{path.name}: " + "; ".join(f"{item.path}: {item.expected}" for item in wrong))
    return {
        name: Profile(name, item["title"], item["guide"], item["applies"], tuple(item["checks"]))
        for name, item in data["profiles"].items()
    }


def conform(
    cluster: Cluster,
    chosen: Iterable[Profile],
    cases: Cases,
    *,
    tls: bool,
    patience: float,
    on_progress: Callable[[str], None] | None = None,
    front: Front | None = None,
) -> list[ProfileResult]:
    """Runs profiles, one case after the other, as cases of one model would see each other's requests.

    tls          whether the servers speak HTTPS
    patience     seconds for which a request that goes wrong is repeated
    on_progress  told what is asked next
    front        how the gateway is found and whom to trust
    """
    results, front = [], front or Front()
    with front.http() as http:
        for profile in chosen:
            result = SmokeResult(columns=tuple(str(check["name"]) for check in profile.checks))
            for case in cases.of(profile.applies):
                if on_progress is not None:
                    on_progress(f"{profile.name}: {case.name}")
                result.models.append(_run(cluster, _Way(front, http), profile, case, tls=tls, patience=patience))
            results.append(ProfileResult(profile, result))
    return results


def report(results: Sequence[ProfileResult], note: str = "") -> str:
    """A table for each profile, its problems below each row.

    note  a sentence about what could not be reached
    """
    parts = []
    for item in results:
        profile = item.profile
        parts.append(f"{profile.name}: {profile.title} (guide: {profile.guide})")
        text = table(item.result, note) if item.result.models else f"skipped: {_MISSING[profile.applies]}"
        parts.append("\n".join(f"  {line}" for line in text.splitlines()))
    return "\n".join(parts)


#: What a profile needs, for inventories that have none of it.
_MISSING = {
    "models": "no models",
    "prefix_cache": "no model with several pods and a scheduler that scores prefixes",
    "prefill": "no model with prefill workers",
    "groups": "no traffic group",
    "objectives": "no model with scheduler.objectives",
}


@dataclass(frozen=True)
class _Way:
    """How requests go out: where the gateway is, and the connections to it."""

    front: Front
    http: urllib3.PoolManager

    def blocked(self, url: str) -> str:
        """Why no connection can be made, or nothing."""
        host, port = address_of(url)
        return unreachable_because((self.front.host_for(host), port))


def _run(cluster: Cluster, way: _Way, profile: Profile, case: Case, *, tls: bool, patience: float) -> Smoke:
    if case.skip:
        return Smoke(case.name, case.url, SKIPPED, case.skip)
    why = way.blocked(case.url) if case.url else "it has no address from outside"
    if why:
        return Smoke(case.name, case.url, UNREACHABLE, why)
    texts = {**case.placeholders, "long": f"{uuid.uuid4()} " + "all the same " * (_LONG_WORDS // 2)}
    asker = Asker(way.http, case.url, texts, patience, case.headers)
    outcomes = [_outcome(cluster, asker, check, case, tls) for check in profile.checks]
    good = all(outcome.ok for outcome in outcomes)
    return Smoke(case.name, case.url, PASSED if good else FAILED, "", tuple(outcomes))


def _outcome(cluster: Cluster, asker: Asker, check: Mapping[str, Any], case: Case, tls: bool) -> Outcome:
    if "counters" not in check and "shares" not in check:
        return _asked(asker, check)
    try:
        pods = pod_metrics.serving_pods(cluster, case.shares)
        before = pod_metrics.read(cluster, pods, tls=tls)
        outcome = _asked(asker, check)
        if not outcome.ok:
            return outcome
        problem = _counted(cluster, check, case, before, tls)
    except errors.ClusterError as error:
        return Outcome(str(check["name"]), False, 0.0, str(error))
    return Outcome(outcome.name, not problem, outcome.seconds, problem)


def _asked(asker: Asker, check: Mapping[str, Any]) -> Outcome:
    """The check's request as often as it says: the first with patience, the others as they come."""
    began = time.monotonic()
    outcome = asker.outcome(check)
    if not outcome.ok:
        return outcome
    times = check.get("times", 1)
    problems = [problem for _ in range(times - 1) if (problem := asker.send(check))]
    problem = f"{len(problems)} of {times} requests failed, first {problems[0]}" if problems else ""
    return Outcome(outcome.name, not problem, time.monotonic() - began, problem)


def _counted(
    cluster: Cluster, check: Mapping[str, Any], case: Case, before: Mapping[ServingPod, Samples], tls: bool
) -> str:
    """What is wrong with what the pods counted; looked at until nothing is, or no server can still be counting."""
    deadline = time.monotonic() + _COUNTING_SECONDS
    while True:
        after = pod_metrics.read(cluster, list(before), tls=tls)
        growth = {pod: since(before[pod], samples) for pod, samples in after.items()}
        problem = next(filter(None, (wrong_growth(counter, growth) for counter in check.get("counters", ()))), "")
        if not problem and "shares" in check:
            problem = wrong_shares(case.shares, growth, check["shares"]["within"])
        if not problem or time.monotonic() >= deadline:
            return problem
        time.sleep(_PAUSE_SECONDS)


def wrong_growth(counter: Mapping[str, Any], growth: Growth) -> str:
    """How what the pods of a role counted differs from what a check wants; "" when it does not."""
    metric, role = counter["metric"], counter["pods"]
    grew = {pod.name: samples.value(metric) for pod, samples in growth.items() if pod.role == role}
    where = sorted(name for name, value in grew.items() if value > 0)
    if not grew:
        return f"expected {role} pods, found none"
    if "at_most" in counter:
        return _too_much(counter, sum(grew.values()))
    if not where:
        return f"expected {metric} to grow at the {role} pods ({', '.join(sorted(grew))}), found it unchanged"
    if counter["at"] == "one" and len(where) > 1:
        return f"expected {metric} to grow at one pod, found it growing at {', '.join(where)}"
    return ""


def _too_much(counter: Mapping[str, Any], total: float) -> str:
    if total <= counter["at_most"]:
        return ""
    expected = f"expected {counter['metric']} of the {counter['pods']} pods to grow by {counter['at_most']} at most"
    return f"{expected}, found {total:g}: they answer requests themselves, as pods do that no scheduler tells apart"


def wrong_shares(wanted: Mapping[Key, float], growth: Growth, within: float) -> str:
    """How the shares of the models differ from the wanted ones by more than so many points; "" when they do not."""
    counts = dict.fromkeys(wanted, 0.0)
    for pod, samples in growth.items():
        if pod.role == SERVING:
            counts[pod.namespace, pod.model] += samples.value(_COUNTED)
    total = sum(counts.values())
    if not total:
        return f"expected {_COUNTED} to grow at the pods of {', '.join(name for _, name in wanted)}, found it unchanged"
    found = {key: count / total for key, count in counts.items()}
    if all(abs(found[key] - share) * 100 <= within for key, share in wanted.items()):
        return ""
    texts = (f"{name} {found[namespace, name]:.0%} of {share:.0%}" for (namespace, name), share in wanted.items())
    return f"expected shares within {within} points of the weights, found {', '.join(texts)}"
