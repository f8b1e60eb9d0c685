"""Findings about models that a live cluster cannot take, or not now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference_platform.findings import ERROR, WARNING, Finding
from inference_platform.models.capacity.demand import PREFILL, SCHEDULER, Key, Needs, of_objects, of_summary
from inference_platform.models.capacity.empty_cluster import EmptyClusterPlan
from inference_platform.models.capacity.nodes import Node, snapshot, tolerates
from inference_platform.models.capacity.packing import device_of
from inference_platform.models.capacity.planning import (
    CapacityPlan,
    ModelPlan,
    Obstacle,
    SetPlan,
    plan_demands,
)
from inference_platform.models.capacity.resources import PODS, text
from inference_platform.schema import or_list

if TYPE_CHECKING:
    from inference_platform.models.pipeline import ModelSummary

NO_NODE = "IP-CAP-001"
NOT_ENOUGH_FREE = "IP-CAP-002"
NO_ROOM_TO_ROLL_OUT = "IP-CAP-003"
GROUP_TOO_LARGE = "IP-CAP-004"

# Names in one message, and findings of one kind one by one.
_LISTED = 8
_TOLD = 20

# Role of the pods -> field of the model that a finding points at.
_SIZED_BY = {PREFILL: "prefill", SCHEDULER: "scheduler"}

Where = Callable[["ModelSummary", str], str]


@dataclass(frozen=True)
class Placement:
    """Where the serving pods of a model would go: one node name per pod that has a place."""

    model: ModelSummary
    nodes: list[str]
    missing: int


@dataclass(frozen=True)
class Capacity:
    """Result of a check: one placement per model, findings, and the whole plan."""

    placements: list[Placement]
    findings: list[Finding]
    plan: CapacityPlan


def check(
    models: Sequence[ModelSummary],
    nodes: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    gpu: Mapping[str, Any],
    where: Where | None = None,
    *,
    objects: Iterable[Mapping[str, Any]] = (),
    changing: Collection[Key] = (),
    startable: EmptyClusterPlan | None = None,
    starter: str = "the autoscaler",
) -> Capacity:
    """Judge whether each model can run on the cluster.

    ``nodes`` and ``pods`` are Kubernetes objects as dicts; ``gpu`` is ``serving.gpu`` of
    the plan (resource, product_label, tolerations). ``objects`` are the rendered ones: of
    a model whose LLMInferenceService is among them all pods count, with CPU, memory,
    selectors and groups; of others the GPUs of the summary. ``changing`` names the models
    whose pods this run replaces. ``startable`` are the machines that ``starter``
    could start (None: nothing is known to start any): what they take is no error, only
    told. ``where`` gives the place of a model's field in the inventory; without it the
    model is named.

    IP-CAP-001 (error): no node can ever take one pod. IP-CAP-004 (error): no nodes can
    ever take one group of pods. IP-CAP-002 (warning): they exist, but not all replicas fit
    beside what runs now; of many the first are told. IP-CAP-003 (warning): a rollout finds no room for the pods that
    it starts before it stops old ones.
    """
    rendered = {demand.model: demand for demand in of_objects(objects)}
    demands = [rendered.get((model.namespace, model.name)) or of_summary(model, gpu) for model in models]
    plan = plan_demands(demands, snapshot(nodes, pods))
    writer = _Writer(plan.nodes, gpu, where or _named, startable, starter)
    answers = list(zip(models, plan.models, strict=True))
    findings = [finding for model, answer in answers for finding in writer.impossible(model, answer)]
    findings += _first([finding for model, answer in answers for finding in writer.not_now(model, answer)])
    for model, answer in answers:
        if answer.model in changing:
            findings += writer.rollout(model, answer)
    placements = [
        Placement(model, [place.node for place in answer.places if place.role != SCHEDULER], answer.missing)
        for model, answer in answers
    ]
    return Capacity(placements, findings, plan)


class _Writer:
    """Turns answers into findings."""

    def __init__(
        self,
        nodes: Sequence[Node],
        gpu: Mapping[str, Any],
        where: Where,
        startable: EmptyClusterPlan | None,
        starter: str,
    ) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._gpu = gpu
        self._where = where
        self._startable = startable
        self._starter = starter

    def impossible(self, model: ModelSummary, answer: ModelPlan) -> Iterator[Finding]:
        """What can never run."""
        for item in answer.sets:
            if not item.impossible:
                continue
            suited = [obstacle for obstacle in item.obstacles if not obstacle.lasting]
            field = _SIZED_BY.get(item.pods.role, "gpu")
            if suited:
                nodes = _listed([node for obstacle in suited for node in obstacle.nodes])
                yield self._impossible(
                    GROUP_TOO_LARGE,
                    model,
                    item,
                    field,
                    f"nodes for a group of {len(item.pods.pods)} pods with {self._wanted(item)} each",
                    f"too few that suit: {nodes}",
                    "Make the group smaller (parallelism), or add nodes of this kind.",
                )
            else:
                yield self._impossible(
                    NO_NODE,
                    model,
                    item,
                    field,
                    f"a node with {self._wanted(item)}",
                    self._what_there_is(item),
                    "Lower gpu.count, choose a gpu.product that the nodes have, or add such a node.",
                )

    def not_now(self, model: ModelSummary, answer: ModelPlan) -> Iterator[Finding]:
        """What could run on an emptier cluster."""
        for item in answer.sets:
            if not item.missing or item.impossible:
                continue
            group = f" of {len(item.pods.pods)}" if len(item.pods.pods) > 1 else ""
            unit = f"groups{group}" if group else "pods"
            busy = [obstacle for obstacle in item.obstacles if not obstacle.lasting]
            remedy = "Expect pending pods: lower replicas, stop another model, or add nodes."
            if answer.stop:
                names = " and ".join("/".join(key) for key in answer.stop)
                remedy = f"It fits when {names} is stopped; or lower replicas, or add nodes."
            if self._startable is not None and self._startable.takes((model.namespace, model.name), item.pods.role):
                remedy += f" Or wait for {self._starter} to start nodes, if it may start such nodes."
            yield Finding(
                NOT_ENOUGH_FREE,
                WARNING,
                self._where(model, _SIZED_BY.get(item.pods.role, "replicas")),
                f"free room for {item.pods.replicas} {unit} with {self._wanted(item)} each",
                f"room for {item.pods.replicas - item.missing}: " + "; ".join(map(_told, busy)),
                remedy,
            )

    def rollout(self, model: ModelSummary, answer: ModelPlan) -> Iterator[Finding]:
        """Rollouts that wait for a place."""
        for item in answer.sets:
            wanted = item.pods.surge_pods
            if not answer.runs or item.missing or item.surge_room >= wanted:
                continue
            waits = "slows down" if item.pods.can_give_up_pods else "waits until a place is free"
            yield Finding(
                NO_ROOM_TO_ROLL_OUT,
                WARNING,
                self._where(model, _SIZED_BY.get(item.pods.role, "replicas")),
                f"spare room for {wanted} more pods with {self._wanted(item)} each, which a rollout starts first",
                f"room for {item.surge_room}",
                f"The change {waits}: stop the model first, stop another one, or add nodes.",
            )

    def _impossible(
        self, code: str, model: ModelSummary, item: SetPlan, field: str, expected: str, found: str, remedy: str
    ) -> Finding:
        """An error; a warning when nodes may be started for these pods."""
        key = (model.namespace, model.name)
        if self._startable is None:
            remedy += " Where such nodes start when pods wait for them, set node_autoscaling: true."
            return Finding(code, ERROR, self._where(model, field), expected, found, remedy)
        if not self._startable.takes(key, item.pods.role):
            why = self._startable.why_not(key, item.pods.role)
            remedy += f" None can be expected from {self._starter}: {why} (instance_types adds machines)."
            return Finding(code, ERROR, self._where(model, field), expected, found, remedy)
        machines = ", ".join(self._startable.machines_of(key)) or "a node"
        remedy = f"Expect {self._starter} to start {machines}, if it may start such nodes; the pods wait until then."
        return Finding(code, WARNING, self._where(model, field), expected, found, remedy)

    def _wanted(self, item: SetPlan) -> str:
        """GPUs and product, or what else the pods need."""
        needs = item.pods.hardest
        device = device_of(needs)
        if device is None:
            return " and ".join(text(name, count) for name, count in needs.requests if name != PODS)
        if device != self._gpu["resource"]:
            return text(device, needs.asks(device))
        return f"{needs.asks(device)} x {self._product(needs) or 'GPU of any product'}"

    def _product(self, needs: Needs) -> str | None:
        return dict(needs.selector).get(self._gpu["product_label"])

    def _what_there_is(self, item: SetPlan) -> str:
        """The GPU nodes that our pods may use, and what keeps the pods off nodes that have the GPUs."""
        needs = item.pods.hardest
        device = device_of(needs)
        product = self._product(needs)
        kinds, in_the_way = set(), []
        for obstacle in item.obstacles:
            nodes = [self._nodes[name] for name in obstacle.nodes]
            right = [
                node
                for node in nodes
                if device is None
                or (
                    node.total.get(device, 0) >= needs.asks(device)
                    and product in (None, node.labels.get(self._gpu["product_label"]))
                )
            ]
            if right:
                in_the_way.append(Obstacle(obstacle.reason, tuple(node.name for node in right), True))
            kinds |= {self._kind(node) for node in nodes if self._has_usable_gpus(node, needs)}
        there = f"nodes with {or_list(sorted(kinds))}" if kinds else "no node with GPUs that pods of models may use"
        return "; ".join([there, *map(_told, in_the_way)])

    def _has_usable_gpus(self, node: Node, needs: Needs) -> bool:
        return (
            node.problem is None
            and bool(node.total.get(self._gpu["resource"]))
            and all(tolerates(needs.tolerations, taint) for taint in node.taints)
        )

    def _kind(self, node: Node) -> str:
        product = node.labels.get(self._gpu["product_label"])
        return f"{node.total[self._gpu['resource']]} x {product or 'GPU without product label'}"


def _first(findings: list[Finding]) -> list[Finding]:
    """The first findings, and one that counts the rest: on a small cluster a thousand say the same."""
    if len(findings) <= _TOLD:
        return findings
    rest = Finding(
        NOT_ENOUGH_FREE,
        WARNING,
        "models",
        "free room for all pods",
        f"{len(findings) - _TOLD} more like the {_TOLD} before",
        "Add nodes, or list fewer models.",
    )
    return [*findings[:_TOLD], rest]


def _told(obstacle: Obstacle) -> str:
    holders = f"; held by {_listed(obstacle.holders)}" if obstacle.holders else ""
    return f"{obstacle.reason} ({_listed(obstacle.nodes)}{holders})"


def _listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _named(model: ModelSummary, field: str) -> str:
    return f"models {model.namespace}/{model.name} {field}"
