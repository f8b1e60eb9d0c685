"""Whether models fit on a cluster, and where their pods would go. Pure: objects in, answers out.

plan(objects, nodes, pods)              # a CapacityPlan: the answer and the places for every model
as_text(plan)                           # the same for the terminal
check(models, nodes, pods, gpu, where)  # the same as findings IP-CAP-001 to 004
plan_for_empty_cluster(objects, provider, gpu)  # the machines to start, where no node has GPUs
"""

from inference_platform.models.capacity.check import Capacity, Placement, check
from inference_platform.models.capacity.empty_cluster import EmptyClusterPlan, plan_for_empty_cluster
from inference_platform.models.capacity.planning import (
    AFTER_STOPPING,
    DOES_NOT_FIT,
    FITS,
    CapacityPlan,
    ModelPlan,
    Obstacle,
    SetPlan,
    plan,
)
from inference_platform.models.capacity.table import as_text

__all__ = [
    "AFTER_STOPPING",
    "DOES_NOT_FIT",
    "FITS",
    "Capacity",
    "CapacityPlan",
    "EmptyClusterPlan",
    "ModelPlan",
    "Obstacle",
    "Placement",
    "SetPlan",
    "as_text",
    "check",
    "plan",
    "plan_for_empty_cluster",
]
