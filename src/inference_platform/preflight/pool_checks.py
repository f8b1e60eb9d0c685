"""The checks of the groups of nodes that an inventory describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inference_platform.findings import WARNING
from inference_platform.models.layers import NODE_POOL_LABEL
from inference_platform.platform.pools import NODE_POOL
from inference_platform.preflight.registry import Objection, Scene, check
from inference_platform.preflight.snapshot import dig, labels_of

_CRD = "nodepools.karpenter.sh"
_AUTOSCALER = "cluster-autoscaler"


@check("IP-PRE-080", "Karpenter is there for NodePools", reads=["crds"])
def karpenter(scene: Scene) -> Iterator[Objection]:
    names = [item["metadata"]["name"] for item in scene.plan["capacity"] if item["kind"] == NODE_POOL[1]]
    if names and not _has_karpenter(scene):
        yield Objection(
            f"node_pools ({', '.join(names)})",
            f"CRD {_CRD}, as Karpenter brings it",
            "no such CRD",
            "Install Karpenter, or remove karpenter from these pools.",
        )


@check("IP-PRE-081", "There are nodes for every pool, or something that makes them", reads=["nodes"], severity=WARNING)
def pools(scene: Scene) -> Iterator[Objection]:
    """A group of nodes that is scaled to zero is no mistake where an autoscaler runs."""
    if _scales(scene):
        return
    for name, profile in sorted(scene.plan["pools"].items()):
        wanted: Mapping[str, str] = profile.get("node_selector", {})
        if NODE_POOL_LABEL in wanted:
            continue  # its NodePool makes the nodes; Karpenter itself is the check before
        if wanted and not any(wanted.items() <= labels_of(node).items() for node in scene.seen.of("nodes")):
            labels = ", ".join(f"{key}={value}" for key, value in sorted(wanted.items()))
            yield Objection(
                f"node_pools ({name})",
                f"a node with {labels}, or an autoscaler",
                "neither Karpenter nor cluster-autoscaler, and no such node",
                "Add nodes with these labels, correct the pool, or set node_autoscaling if nodes start on demand.",
            )


def _scales(scene: Scene) -> bool:
    names = [str(dig(item, "metadata", "name", default="")) for item in scene.seen.of("deployments")]
    return scene.scales or _has_karpenter(scene) or any(_AUTOSCALER in name for name in names)


def _has_karpenter(scene: Scene) -> bool:
    found: list[Any] = scene.seen.of("crds")
    return any(item["metadata"]["name"] == _CRD for item in found)
