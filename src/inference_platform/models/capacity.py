"""GPUs of a live cluster against the models of an inventory. Pure: objects in, findings out.

A replica is one pod that takes all its GPUs from one node. Pods of rollouts that start
before old ones stop (surge) are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference_platform.findings import ERROR, WARNING, Finding
from inference_platform.models.pipeline import ModelSummary
from inference_platform.schema import or_list

NO_NODE = "IP-CAP-001"
NOT_ENOUGH_FREE = "IP-CAP-002"

_FINISHED = ("Succeeded", "Failed")

Where = Callable[[ModelSummary, str], str]


@dataclass
class GpuNode:
    """A node that can run GPU pods: its product label, GPUs in total and not in use."""

    name: str
    product: str | None
    total: int
    free: int


@dataclass(frozen=True)
class Placement:
    """Where the replicas of a model would go: one node name per replica that fits."""

    model: ModelSummary
    nodes: list[str] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Replicas that fit on no node now."""
        return self.model.replicas - len(self.nodes)


@dataclass(frozen=True)
class Capacity:
    """Result of a check: the GPU nodes (free as before placing), placements, findings."""

    nodes: list[GpuNode]
    placements: list[Placement]
    findings: list[Finding]


def check(
    models: Sequence[ModelSummary],
    nodes: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    gpu: Mapping[str, Any],
    where: Where | None = None,
) -> Capacity:
    """Judge whether each model can run on the cluster.

    ``nodes`` and ``pods`` are Kubernetes objects as dicts; ``gpu`` is ``serving.gpu`` of
    the plan (resource, product_label, tolerations). IP-CAP-001 (error): no node has as
    many GPUs of the product as one pod needs. IP-CAP-002 (warning): they exist, but not
    all replicas fit beside what runs now. ``where`` gives the place of a model's field in
    the inventory; without it the model is named.
    """
    place_of = where or _named
    found = gpu_nodes(nodes, pods, models, gpu)
    findings = [_no_node(model, found, place_of) for model in models if not _candidates(model, found)]
    possible = [model for model in models if _candidates(model, found)]
    placements = place(possible, found)
    findings += [_not_enough(placement, found, place_of) for placement in placements if placement.missing]
    return Capacity(found, placements, findings)


def gpu_nodes(
    nodes: Iterable[Mapping[str, Any]],
    pods: Iterable[Mapping[str, Any]],
    models: Sequence[ModelSummary],
    gpu: Mapping[str, Any],
) -> list[GpuNode]:
    """Nodes with GPUs that our pods may use, by name. Pods of ``models`` themselves do not count as use."""
    own = {(model.namespace, model.name) for model in models}
    used: dict[str, int] = {}
    for pod in pods:
        node = pod.get("spec", {}).get("nodeName")
        if node and pod.get("status", {}).get("phase") not in _FINISHED and _model_of(pod) not in own:
            used[node] = used.get(node, 0) + pod_gpus(pod, gpu["resource"])
    found = []
    for node in nodes:
        name = node["metadata"]["name"]
        total = int(node.get("status", {}).get("allocatable", {}).get(gpu["resource"], 0))
        if total and _usable(node, gpu["tolerations"]):
            product = node["metadata"].get("labels", {}).get(gpu["product_label"])
            found.append(GpuNode(name, product, total, max(0, total - used.get(name, 0))))
    return sorted(found, key=lambda item: item.name)


def pod_gpus(pod: Mapping[str, Any], resource: str) -> int:
    """GPUs a pod holds: what its containers ask for together, or one init container if that is more."""

    def asked(container: Mapping[str, Any]) -> int:
        resources = container.get("resources", {})
        value = resources.get("requests", {}).get(resource, resources.get("limits", {}).get(resource, 0))
        return int(value)

    spec = pod.get("spec", {})
    running = sum(asked(container) for container in spec.get("containers", []))
    starting = max((asked(container) for container in spec.get("initContainers", [])), default=0)
    return max(running, starting)


def place(models: Sequence[ModelSummary], nodes: Sequence[GpuNode]) -> list[Placement]:
    """Put replicas on nodes: big pods and picky models first, each on the node it fills best.

    Leaves ``nodes`` as they are.
    """
    free = {node.name: node.free for node in nodes}
    by_difficulty = sorted(
        models, key=lambda model: (-model.gpu_count, model.gpu_product is None, model.namespace, model.name)
    )
    placed: dict[tuple[str, str], Placement] = {}
    for model in by_difficulty:
        placement = Placement(model)
        candidates = _candidates(model, nodes)
        for _ in range(model.replicas):
            fitting = [node for node in candidates if free[node.name] >= model.gpu_count]
            if not fitting:
                break
            best = min(fitting, key=lambda node: (free[node.name], node.name))
            free[best.name] -= model.gpu_count
            placement.nodes.append(best.name)
        placed[(model.namespace, model.name)] = placement
    return [placed[(model.namespace, model.name)] for model in models]


def _candidates(model: ModelSummary, nodes: Sequence[GpuNode]) -> list[GpuNode]:
    return [node for node in nodes if node.total >= model.gpu_count and model.gpu_product in (None, node.product)]


def _named(model: ModelSummary, field: str) -> str:
    return f"models {model.namespace}/{model.name} {field}"


def _no_node(model: ModelSummary, nodes: Sequence[GpuNode], where: Where) -> Finding:
    return Finding(
        NO_NODE,
        ERROR,
        where(model, "gpu"),
        f"a node with {model.gpu_count} x {model.gpu_product or 'GPU of any product'}",
        _inventory_of(nodes),
        "Lower gpu.count, choose a gpu.product that the nodes have, or add such a node.",
    )


def _not_enough(placement: Placement, nodes: Sequence[GpuNode], where: Where) -> Finding:
    model = placement.model
    candidates = _candidates(model, nodes)
    return Finding(
        NOT_ENOUGH_FREE,
        WARNING,
        where(model, "replicas"),
        f"free GPUs for {model.replicas} pods with {model.gpu_count} x {model.gpu_product or 'GPU'} each",
        f"room for {len(placement.nodes)}: "
        + ", ".join(f"{node.name} has {node.free} of {node.total} free" for node in candidates),
        "Expect pending pods: lower replicas, stop another model, or add nodes.",
    )


def _inventory_of(nodes: Sequence[GpuNode]) -> str:
    if not nodes:
        return "no node with GPUs that pods of models may use"
    kinds = sorted({f"{node.total} x {node.product or 'GPU without product label'}" for node in nodes})
    return f"nodes with {or_list(kinds)}"


def _model_of(pod: Mapping[str, Any]) -> tuple[str, str] | None:
    metadata = pod.get("metadata", {})
    labels = metadata.get("labels", {})
    if labels.get("app.kubernetes.io/part-of") != "llminferenceservice":
        return None
    return metadata.get("namespace", ""), labels.get("app.kubernetes.io/name", "")


def _usable(node: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    spec = node.get("spec", {})
    if spec.get("unschedulable"):
        return False
    conditions = node.get("status", {}).get("conditions", [])
    ready = next((item["status"] for item in conditions if item.get("type") == "Ready"), "True")
    blocking = [taint for taint in spec.get("taints", []) if taint.get("effect") != "PreferNoSchedule"]
    return ready == "True" and all(
        any(_tolerates(toleration, taint) for toleration in tolerations) for taint in blocking
    )


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    key = toleration.get("key")
    effect = toleration.get("effect")
    if key not in (None, taint.get("key")) or effect not in (None, "", taint.get("effect")):
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
