"""What pods a model needs, read from its LLMInferenceService, or from its summary.

Reading the rendered object means that whatever the inventory said, overrides included,
counts as it will reach the cluster.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from inference_platform.models.capacity.resources import (
    CPU,
    MEMORY,
    PODS,
    Amounts,
    pod_requests,
    raise_to,
)

if TYPE_CHECKING:
    from inference_platform.models.pipeline import ModelSummary

SERVING = "serving"
PREFILL = "prefill"
SCHEDULER = "scheduler"

Key = tuple[str, str]

_SERVICE = "LLMInferenceService"
_STOPPED = "stopped"
_STOP = "serving.kserve.io/stop"
_EXCLUSIVE = "leaderworkerset.sigs.k8s.io/exclusive-topology"

# What the presets add (models.md 2.5, 3.7): requests of the two scheduler containers,
# and of the init container that fetches weights.
_SCHEDULER_REQUESTS: Amounts = {CPU: 512, MEMORY: 1000 * 2**20}
_FETCH_REQUESTS: Amounts = {CPU: 100, MEMORY: 100 * 2**20}
_FETCHED = ("hf://", "s3://")

# Part of the replicas of a Deployment that a rollout starts before it stops old ones (models.md 3.8).
_SURGE = 0.25


@dataclass(frozen=True)
class Needs:
    """What one pod needs of a node. Hashable: equal needs have equal nodes to choose from.

    ``requests`` are (resource, whole number) pairs; ``selector`` label pairs;
    ``tolerations`` and ``affinity`` (the required node affinity, or "") are JSON texts.
    """

    requests: tuple[tuple[str, int], ...]
    selector: tuple[tuple[str, str], ...] = ()
    tolerations: str = "[]"
    affinity: str = ""

    def asks(self, resource: str) -> int:
        """How much of a resource."""
        return dict(self.requests).get(resource, 0)


@dataclass(frozen=True)
class PodSet:
    """Equal replicas of a model in one role.

    ``pods`` are those of one replica, the leader first: one, or a group that is placed
    as a whole. ``surge`` says whether a rollout starts new pods before it stops old ones.
    ``exclusive_topology`` is a node label of which each group takes one value for itself.
    """

    model: Key
    role: str
    replicas: int
    pods: tuple[Needs, ...]
    surge: bool = True
    exclusive_topology: str | None = None

    @cached_property
    def hardest(self) -> Needs:
        """Needs that satisfy each pod of a replica: the most of every resource."""
        most: Amounts = {}
        for pod in self.pods:
            raise_to(most, dict(pod.requests))
        first = self.pods[0]
        return Needs(tuple(sorted(most.items())), first.selector, first.tolerations, first.affinity)

    @property
    def surge_pods(self) -> int:
        """Pods that a rollout starts beside the old ones."""
        return math.ceil(_SURGE * self.replicas) if self.surge else 0

    @property
    def can_give_up_pods(self) -> bool:
        """Whether a rollout goes on, slower, when no new pod finds a place first."""
        return not self.surge or math.floor(_SURGE * self.replicas) > 0


@dataclass(frozen=True)
class Demand:
    """All pods of a model, and what about them is not judged here."""

    model: Key
    sets: tuple[PodSet, ...]
    not_judged: tuple[str, ...] = ()


def of_objects(objects: Iterable[Mapping[str, Any]]) -> list[Demand]:
    """The pods of the LLMInferenceServices among rendered objects, in their order."""
    return [of_service(item) for item in objects if item.get("kind") == _SERVICE]


def of_service(service: Mapping[str, Any]) -> Demand:
    """The pods that KServe makes of an LLMInferenceService (models.md 3.3, 6.1).

    With an autoscaler the fewest replicas count. A stopped model has none.
    """
    metadata, spec = service["metadata"], service.get("spec") or {}
    key = (metadata["namespace"], metadata["name"])
    annotations = metadata.get("annotations") or {}
    if annotations.get(_STOP) == "true":
        return Demand(key, ())
    fetches = str((spec.get("model") or {}).get("uri", "")).startswith(_FETCHED)
    sets = [_workload(key, SERVING, spec, annotations, fetches)]
    if "prefill" in spec:
        sets.append(_workload(key, PREFILL, spec["prefill"], annotations, fetches))
    sets += _scheduler(key, spec)
    return Demand(key, tuple(item for item in sets if item.replicas), tuple(_not_judged(spec)))


def of_summary(model: ModelSummary, gpu: Mapping[str, Any]) -> Demand:
    """One pod per replica with its GPUs, and nothing known about CPU and memory.

    ``gpu`` is ``serving.gpu`` of the plan (resource, product_label, tolerations).
    """
    product = model.gpu_product
    needs = Needs(
        requests=_pairs({gpu["resource"]: model.gpu_count, PODS: 1}),
        selector=((gpu["product_label"], product),) if product is not None else (),
        tolerations=_canonical(gpu["tolerations"]),
    )
    key = (model.namespace, model.name)
    runs = model.replicas and model.state != _STOPPED
    return Demand(key, (PodSet(key, SERVING, model.replicas, (needs,)),) if runs else ())


def needs_of(pod: Mapping[str, Any], at_least: Amounts | None = None) -> Needs:
    """The needs of a pod spec (with or without a node affinity)."""
    return Needs(
        requests=_pairs(raise_to(pod_requests(pod), at_least or {})),
        selector=tuple(sorted((pod.get("nodeSelector") or {}).items())),
        tolerations=_canonical(pod.get("tolerations") or []),
        affinity=_affinity(pod),
    )


def _workload(key: Key, role: str, block: Mapping[str, Any], annotations: Mapping[str, str], fetches: bool) -> PodSet:
    least = _FETCH_REQUESTS if fetches else {}
    leader = needs_of(block.get("template") or {}, least)
    replicas = _replicas(block)
    if "worker" not in block:
        return PodSet(key, role, replicas, (leader,))
    size = group_size(block.get("parallelism") or {})
    worker = needs_of(block["worker"], least)
    pods = (leader, *[worker] * (size - 1))
    # A LeaderWorkerSet replaces its groups without a surge (models.md 6.3).
    return PodSet(key, role, replicas, pods, surge=False, exclusive_topology=annotations.get(_EXCLUSIVE))


def group_size(parallelism: Mapping[str, Any]) -> int:
    """Pods of one replica over several nodes, as KServe counts them (models.md 6.1)."""
    if "data" in parallelism or "dataLocal" in parallelism:
        return max(int(parallelism.get("data", 1)) // int(parallelism.get("dataLocal", 1)), 1)
    return int(parallelism.get("pipeline", 1))


def _replicas(block: Mapping[str, Any]) -> int:
    if "scaling" in block:
        return int(block["scaling"].get("minReplicas", 1))
    return int(block.get("replicas", 1))


def _scheduler(key: Key, spec: Mapping[str, Any]) -> Iterator[PodSet]:
    router = spec.get("router") or {}
    scheduler = router.get("scheduler")
    if scheduler is None or "ref" in (scheduler.get("pool") or {}):
        return
    needs = needs_of(scheduler.get("template") or {}, _SCHEDULER_REQUESTS)
    # The Deployment is recreated: no surge (models.md 3.1).
    yield PodSet(key, SCHEDULER, int(scheduler.get("replicas", 1)), (needs,), surge=False)


def _not_judged(spec: Mapping[str, Any]) -> list[str]:
    """Rules about other pods, which a plan for single pods cannot weigh."""
    found: dict[str, None] = {}
    for pod in _pod_specs(spec):
        affinity = pod.get("affinity") or {}
        for kind in ("podAffinity", "podAntiAffinity"):
            if (affinity.get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution"):
                found[f"required {kind}"] = None
        spread = pod.get("topologySpreadConstraints") or []
        if any(constraint.get("whenUnsatisfiable") == "DoNotSchedule" for constraint in spread):
            found["topology spread with DoNotSchedule"] = None
    return list(found)


def _pod_specs(spec: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    for block in (spec, spec.get("prefill") or {}):
        yield from (block[name] for name in ("template", "worker") if block.get(name))


def _affinity(pod: Mapping[str, Any]) -> str:
    node = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    return _canonical(required) if required else ""


def _pairs(requests: Amounts) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((resource, count) for resource, count in requests.items() if count))


def _canonical(value: Sequence[Any] | Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
