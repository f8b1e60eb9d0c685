"""The state of nodes and models.

Labels and object names follow the facts: models.md 1.7 and 3.1 (what KServe
makes for a model), observed-gateway.md 3 and 4 (status of routes and pools).
Pure: lists of objects in, observation types out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_platform.models.addresses import public_url
from inference_platform.report.context import Objects
from inference_platform.report.objects import (
    Object,
    at,
    condition_from,
    condition_status,
    is_current,
    labels_of,
    name_of,
    namespace_of,
    status_in,
)
from inference_platform.report.observation import (
    ROLE_OTHER,
    ROLE_PREFILL,
    ROLE_SCHEDULER,
    ROLE_SERVING,
    ROLE_WORKER,
    STOPPED,
    Condition,
    Count,
    Model,
    Node,
    Pod,
)

INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
MODEL_LABEL = "inference-platform.io/model"
NAME_LABEL = "app.kubernetes.io/name"
PART_OF_LABEL = "app.kubernetes.io/part-of"
COMPONENT_LABEL = "app.kubernetes.io/component"
MODEL_PART_OF = "llminferenceservice"
STOP_ANNOTATION = "serving.kserve.io/stop"

# app.kubernetes.io/component of a model's pods -> what the pod does (models.md 1.7).
ROLES = {
    "llminferenceservice-workload": ROLE_SERVING,
    "llminferenceservice-workload-leader": ROLE_SERVING,
    "llminferenceservice-workload-worker": ROLE_WORKER,
    "llminferenceservice-workload-prefill": ROLE_PREFILL,
    "llminferenceservice-workload-leader-prefill": ROLE_PREFILL,
    "llminferenceservice-workload-worker-prefill": ROLE_WORKER,
    "llminferenceservice-router-scheduler": ROLE_SCHEDULER,
}
ROLE_ORDER = (ROLE_SERVING, ROLE_PREFILL, ROLE_WORKER, ROLE_SCHEDULER, ROLE_OTHER)
CONDITION_ORDER = ("Ready", "WorkloadsReady", "RouterReady")
"""Conditions shown first; the others follow by name."""


@dataclass(frozen=True)
class GpuNames:
    """The resource that pods ask for, and the node label that names the product."""

    resource: str
    product_label: str

    @classmethod
    def of(cls, platform: Mapping[str, Any]) -> GpuNames:
        """What the plan says for its provider."""
        gpu = platform["serving"]["gpu"]
        return cls(gpu["resource"], gpu["product_label"])


def nodes(items: Sequence[Object], pods: Sequence[Object], gpu: GpuNames) -> tuple[Node, ...]:
    """All nodes by name, with the GPUs that the pods bound to them hold."""
    used: dict[str, int] = {}
    for pod in pods:
        if at(pod, "status", "phase") in ("Succeeded", "Failed"):
            continue
        node = at(pod, "spec", "nodeName") or ""
        used[node] = used.get(node, 0) + pod_gpus(pod, gpu)
    return tuple(_node(item, used.get(name_of(item), 0), gpu) for item in sorted(items, key=name_of))


def _node(item: Object, gpus_used: int, gpu: GpuNames) -> Node:
    labels = labels_of(item)
    capacity = at(item, "status", "allocatable") or at(item, "status", "capacity") or {}
    return Node(
        name=name_of(item),
        ready=condition_status(item, "Ready") == "True",
        instance_type=labels.get(INSTANCE_TYPE_LABEL, ""),
        gpu_product=labels.get(gpu.product_label, ""),
        gpus=int(capacity.get(gpu.resource) or 0),
        gpus_used=gpus_used,
        cpu=str(capacity.get("cpu") or ""),
        memory=str(capacity.get("memory") or ""),
    )


def pod_gpus(pod: Object, gpu: GpuNames) -> int:
    """GPUs that the containers of a pod ask for."""
    return sum(
        int((at(container, "resources", "limits") or {}).get(gpu.resource) or 0)
        for container in at(pod, "spec", "containers") or ()
    )


def models(objects: Objects, hosts: Sequence[Node], gpu: GpuNames) -> tuple[Model, ...]:
    """The models this installer applied, by namespace and name. ``hosts`` are the nodes of the cluster."""
    products = {node.name: node.gpu_product for node in hosts}
    mine = [item for item in objects.models if MODEL_LABEL in labels_of(item)]
    models = [_model(item, objects, products, gpu) for item in mine]
    return tuple(sorted(models, key=lambda model: (model.namespace, model.name)))


def _model(item: Object, objects: Objects, products: Mapping[str, str], gpu: GpuNames) -> Model:
    namespace, name = namespace_of(item), name_of(item)
    pods = _model_pods(namespace, name, objects.pods, gpu)
    serving = [pod for pod in pods if pod.role == ROLE_SERVING]
    wanted = 0 if _shall_stop(item) else at(item, "spec", "replicas")
    route = _owned_by_model(objects.routes, namespace, name)
    pool = _owned_by_model(objects.pools, namespace, name)
    return Model(
        namespace=namespace,
        name=name,
        served_name=at(item, "spec", "model", "name") or name,
        uri=at(item, "spec", "model", "uri") or "",
        url=public_url(item),
        ready=is_current(item) and (condition_status(item, "Ready") == "True" or _is_stopped(item)),
        serving=Count(sum(pod.ready for pod in serving), 1 if wanted is None else int(wanted)),
        gpus=sum(pod.gpus for pod in pods),
        gpu_product=", ".join(sorted({products.get(pod.node, "") for pod in pods if pod.gpus} - {""})),
        route=name_of(route) if route else "",
        route_accepted=bool(route) and _accepted_by_parents(route),
        pool=name_of(pool) if pool else "",
        pool_accepted=bool(pool) and _accepted_by_parents(pool),
        conditions=_conditions(item),
        pods=pods,
    )


def _shall_stop(item: Object) -> bool:
    return bool((at(item, "metadata", "annotations") or {}).get(STOP_ANNOTATION) == "true")


def _is_stopped(item: Object) -> bool:
    """Whether it is stopped as it shall be: kept without pods and route (observed-gateway.md 5.5)."""
    return _shall_stop(item) and any(
        entry.get("type") == "Ready" and entry.get("reason") == STOPPED
        for entry in at(item, "status", "conditions") or ()
    )


def _model_pods(namespace: str, name: str, items: Sequence[Object], gpu: GpuNames) -> tuple[Pod, ...]:
    pods = [_pod(item, gpu) for item in items if namespace_of(item) == namespace and _is_part_of(item, name)]
    return tuple(sorted(pods, key=lambda pod: (ROLE_ORDER.index(pod.role), pod.name)))


def _is_part_of(item: Object, model: str) -> bool:
    labels = labels_of(item)
    return labels.get(NAME_LABEL) == model and labels.get(PART_OF_LABEL) == MODEL_PART_OF


def _pod(item: Object, gpu: GpuNames) -> Pod:
    statuses = at(item, "status", "containerStatuses") or ()
    return Pod(
        name=name_of(item),
        role=ROLES.get(labels_of(item).get(COMPONENT_LABEL, ""), ROLE_OTHER),
        node=at(item, "spec", "nodeName") or "",
        phase=_pod_phase(item, statuses),
        ready=condition_status(item, "Ready") == "True",
        restarts=sum(int(status.get("restartCount") or 0) for status in statuses),
        gpus=pod_gpus(item, gpu),
    )


def _pod_phase(item: Object, statuses: Iterable[Object]) -> str:
    """The reason a container waits (CrashLoopBackOff), else the pod's phase."""
    for status in statuses:
        reason = at(status, "state", "waiting", "reason")
        if reason:
            return str(reason)
    return str(at(item, "status", "phase") or "Unknown")


def _owned_by_model(items: Sequence[Object], namespace: str, model: str) -> Object | None:
    for item in items:
        owners = at(item, "metadata", "ownerReferences") or ()
        owned = any(o.get("kind") == "LLMInferenceService" and o.get("name") == model for o in owners)
        if namespace_of(item) == namespace and owned:
            return item
    return None


def _accepted_by_parents(item: Object | None) -> bool:
    """Every parent of a route or pool accepted it, and its references resolved.

    HTTPRoute and InferencePool v1 write ``status.parents`` (observed-gateway.md 3, 4).
    """
    parents = at(item or {}, "status", "parents") or ()
    wanted = ("Accepted", "ResolvedRefs")
    return bool(parents) and all(
        status_in(parent.get("conditions") or (), kind) == "True" for parent in parents for kind in wanted
    )


def _conditions(item: Object) -> tuple[Condition, ...]:
    found = [condition_from(entry) for entry in at(item, "status", "conditions") or ()]
    first = {kind: index for index, kind in enumerate(CONDITION_ORDER)}
    return tuple(sorted(found, key=lambda entry: (first.get(entry.type, len(first)), entry.type)))
