"""The checks of the groups of nodes that an inventory describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inference_platform.findings import WARNING
from inference_platform.platform.pools import CLASS_PREFIX
from inference_platform.preflight import node_supply
from inference_platform.preflight.registry import Objection, Scene, check
from inference_platform.preflight.snapshot import labels_of


@check("IP-PRE-080", "Karpenter is there for NodePools", reads=["crds"])
def karpenter(scene: Scene) -> Iterator[Objection]:
    names = node_supply.planned_node_pools(scene)
    if names and not node_supply.has_karpenter(scene):
        yield Objection(
            f"node_pools ({', '.join(names)})",
            f"CRD {node_supply.KARPENTER_CRD}, as Karpenter brings it",
            "no such CRD",
            "Install Karpenter, or remove karpenter from these pools.",
        )


@check("IP-PRE-081", "There are nodes for every pool, or something that makes them", reads=["nodes"], severity=WARNING)
def pools(scene: Scene) -> Iterator[Objection]:
    """A group of nodes that is scaled to zero is no mistake where an autoscaler runs."""
    if node_supply.starter(scene):
        return
    for name, profile in sorted(scene.plan["pools"].items()):
        wanted: Mapping[str, str] = profile.get("node_selector", {})
        if wanted and not any(wanted.items() <= labels_of(node).items() for node in scene.seen.of("nodes")):
            labels = ", ".join(f"{key}={value}" for key, value in sorted(wanted.items()))
            yield Objection(
                f"node_pools ({name})",
                f"a node with {labels}, or an autoscaler",
                "neither Karpenter nor cluster-autoscaler, and no such node",
                "Add nodes with these labels, correct the pool, or set node_autoscaling: true if such nodes start when "
                "pods wait for them.",
            )


@check("IP-PRE-082", "Priorities that are there have the values of their pools", reads=["priority_classes"])
def priorities(scene: Scene) -> Iterator[Objection]:
    """Kubernetes changes neither field of a PriorityClass; refused late, a run would have changed all layers before."""
    live = {item["metadata"]["name"]: item for item in scene.seen.of("priority_classes")}
    for wanted in _planned_priorities(scene.plan):
        name = wanted["metadata"]["name"]
        if name in live and _fixed(live[name]) != _fixed(wanted):
            yield Objection(
                f"node_pools ({name.removeprefix(CLASS_PREFIX)})",
                f"PriorityClass {name} with {_in_words(wanted)}",
                _in_words(live[name]),
                f"Kubernetes changes neither. Run `kubectl delete priorityclass {name}` right before the next run "
                "(pods that are there keep theirs, new ones are refused meanwhile), or set priority and preempts back.",
            )


def parts_for(plan: Mapping[str, Any]) -> set[str]:
    """The parts of the snapshot that are wanted besides."""
    return {"priority_classes"} if _planned_priorities(plan) else set()


def _planned_priorities(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [item for item in plan["capacity"] if item["kind"] == "PriorityClass"]


def _fixed(priority: Mapping[str, Any]) -> tuple[int, str]:
    """What cannot be changed; a policy that is left out is the default of Kubernetes."""
    return int(priority["value"]), str(priority.get("preemptionPolicy") or "PreemptLowerPriority")


def _in_words(priority: Mapping[str, Any]) -> str:
    value, policy = _fixed(priority)
    return f"value {value} and preemptionPolicy {policy}"
