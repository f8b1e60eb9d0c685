"""The checks of the groups of nodes that an inventory describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from inference_platform.findings import WARNING
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
