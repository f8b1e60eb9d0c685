"""Whether something starts nodes when pods wait for them: one answer for all checks."""

from __future__ import annotations

from typing import Any

from inference_platform.platform.pools import NODE_POOL
from inference_platform.preflight.registry import Scene

#: The CRD that Karpenter brings (karpenter.sh/v1 NodePool), also where a provider runs it out of sight.
KARPENTER_CRD = "nodepools.karpenter.sh"

_AUTOSCALER = "cluster-autoscaler"
#: OpenShift has this one always; it makes a cluster-autoscaler only for a ClusterAutoscaler.
_NO_AUTOSCALER = "cluster-autoscaler-operator"


def starter(scene: Scene) -> str:
    """What starts nodes, as it stands in a sentence; "" when nothing is known to.

    The inventory may say it (``node_autoscaling``) or make a NodePool of Karpenter. The cluster shows it by Karpenter's
    CRD, by a Deployment of cluster-autoscaler, or by the ConfigMap cluster-autoscaler-status, which is there too where
    the provider runs cluster-autoscaler out of sight (AKS, GKE). Whether what was found may start nodes with GPUs is
    not known.
    """
    if has_karpenter(scene) or planned_node_pools(scene):
        return "Karpenter"
    if _has_autoscaler(scene):
        return "cluster-autoscaler"
    return "the autoscaler" if scene.scales else ""


def planned_node_pools(scene: Scene) -> list[str]:
    """Names of the NodePools that the inventory makes."""
    return [item["metadata"]["name"] for item in scene.plan["capacity"] if item["kind"] == NODE_POOL[1]]


def has_karpenter(scene: Scene) -> bool:
    """Whether the cluster knows NodePools."""
    return KARPENTER_CRD in _names(scene.seen.of("crds"))


def _has_autoscaler(scene: Scene) -> bool:
    deployed = (name for name in _names(scene.seen.of("deployments")) if name != _NO_AUTOSCALER)
    return bool(scene.seen.of("autoscaler_status")) or any(_AUTOSCALER in name for name in deployed)


def _names(objects: list[Any]) -> set[str]:
    return {item["metadata"]["name"] for item in objects}
