"""Live nodes and what runs on them, seen as the scheduler of Kubernetes sees them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from inference_platform.models.capacity.demand import PREFILL, SCHEDULER, SERVING, Key, Needs
from inference_platform.models.capacity.resources import BASIC, Amounts, add, amounts, pod_requests, text

_FINISHED = ("Succeeded", "Failed")
_GROUP_INDEX = "leaderworkerset.sigs.k8s.io/group-index"

CORDONED = "cordoned"
NAME_FIELD = "metadata.name"

Taint = tuple[str, str, str]


@dataclass(frozen=True)
class Node:
    """A node: labels, taints that keep pods away (key, value, effect), allocatable amounts.

    ``problem`` says why no new pod is sent there at all, if so.
    """

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    total: Amounts
    problem: str | None = None

    def has(self, resource: str) -> int | None:
        """Allocatable amount; None when the node does not say how much of a basic resource it has."""
        count = self.total.get(resource)
        return 0 if count is None and resource not in BASIC else count

    def label(self, key: str) -> str | None:
        """A label, or the name of the node under ``metadata.name``."""
        return self.name if key == NAME_FIELD else self.labels.get(key)


@dataclass(frozen=True)
class RunningPod:
    """A pod that holds resources of a node. ``model`` is None unless KServe made it for a model.

    ``group`` is the number of its group when the model spans several nodes.
    """

    name: str
    namespace: str
    node: str
    requests: Amounts
    model: Key | None = None
    role: str = SERVING
    group: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """Nodes by name, in order, and the pods on them."""

    nodes: tuple[Node, ...]
    pods: tuple[RunningPod, ...] = field(default=())


def snapshot(nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]) -> Snapshot:
    """Kubernetes objects as a snapshot. Pods that have no node, have finished or are being deleted do not count."""
    found = sorted((read_node(node) for node in nodes), key=lambda node: node.name)
    running = sorted(
        (read_pod(pod) for pod in pods if _holds(pod)), key=lambda pod: (pod.node, pod.namespace, pod.name)
    )
    return Snapshot(tuple(found), tuple(running))


def read_node(node: Mapping[str, Any]) -> Node:
    """A Node object."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    taints = tuple(
        (str(taint.get("key", "")), str(taint.get("value", "")), str(taint.get("effect", "")))
        for taint in spec.get("taints") or []
        if taint.get("effect") != "PreferNoSchedule"
    )
    return Node(
        name=node["metadata"]["name"],
        labels=node["metadata"].get("labels") or {},
        taints=taints,
        total=amounts(status.get("allocatable")),
        problem=_problem(spec, status),
    )


def read_pod(pod: Mapping[str, Any]) -> RunningPod:
    """A Pod object that has a node."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    namespace = metadata.get("namespace", "")
    model = None
    if labels.get("app.kubernetes.io/part-of") == "llminferenceservice":
        model = (namespace, labels.get("app.kubernetes.io/name", ""))
    return RunningPod(
        name=metadata.get("name", ""),
        namespace=namespace,
        node=pod["spec"]["nodeName"],
        requests=pod_requests(pod["spec"]),
        model=model,
        role=_role(labels.get("app.kubernetes.io/component", "")),
        group=labels.get(_GROUP_INDEX),
    )


def refusal(node: Node, needs: Needs) -> str | None:
    """Why a pod can never go to this node, however empty it is; None if it can."""
    if node.problem is not None:
        return node.problem
    for taint in node.taints:
        if not tolerates(needs.tolerations, taint):
            return f"taint {taint_text(taint)} is not tolerated"
    for key, value in needs.selector:
        if node.labels.get(key) != value:
            found = node.labels.get(key)
            return f"{key} is {found}, not {value}" if found is not None else f"no label {key}={value}"
    if needs.affinity and not _matches(node, needs.affinity):
        return "required node affinity does not match"
    for resource, count in needs.requests:
        total = node.has(resource)
        if total is not None and total < count:
            return f"has {text(resource, total)}, a pod needs {text(resource, count)}"
    return None


def stays(node: Node, needs: Needs) -> bool:
    """Whether a pod that runs on this node may stay: taints and cordons that only keep new pods away do not matter."""
    evicting = tuple(taint for taint in node.taints if taint[2] == "NoExecute")
    problem = None if node.problem == CORDONED else node.problem
    return refusal(replace(node, taints=evicting, problem=problem), needs) is None


def shortage(free: Mapping[str, int | None], needs: Needs) -> str | None:
    """What is missing for one more pod on a node with this much left; None if nothing is."""
    for resource, count in needs.requests:
        left = free.get(resource)
        if left is not None and left < count:
            return f"{text(resource, max(left, 0))} free, a pod needs {text(resource, count)}"
    return None


@lru_cache(maxsize=4096)
def tolerates(tolerations: str, taint: Taint) -> bool:
    """Whether one of the tolerations (a JSON list) covers a taint."""
    return any(_covers(toleration, taint) for toleration in json.loads(tolerations))


def taint_text(taint: Taint) -> str:
    """A taint as kubectl writes it."""
    key, value, effect = taint
    return f"{key}={value}:{effect}" if value else f"{key}:{effect}"


def _covers(toleration: Mapping[str, Any], taint: Taint) -> bool:
    key, value, effect = taint
    if toleration.get("key") not in (None, "", key) or toleration.get("effect") not in (None, "", effect):
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == value


def _problem(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str | None:
    if spec.get("unschedulable"):
        return CORDONED
    conditions = status.get("conditions") or []
    ready = next((item.get("status") for item in conditions if item.get("type") == "Ready"), "True")
    return None if ready == "True" else "not ready"


def _holds(pod: Mapping[str, Any]) -> bool:
    return bool(
        (pod.get("spec") or {}).get("nodeName")
        and (pod.get("status") or {}).get("phase") not in _FINISHED
        and not pod["metadata"].get("deletionTimestamp")
    )


def _role(component: str) -> str:
    if component.endswith("router-scheduler"):
        return SCHEDULER
    return PREFILL if component.endswith("-prefill") else SERVING


@lru_cache(maxsize=1024)
def _terms(affinity: str) -> tuple[Mapping[str, Any], ...]:
    return tuple(json.loads(affinity).get("nodeSelectorTerms") or [])


def label_keys(needs: Needs) -> set[str]:
    """What of a node's labels (and name) decides whether it suits a pod."""
    rules = [rule for term in _terms(needs.affinity) for rule in _rules(term)] if needs.affinity else []
    return {key for key, _ in needs.selector} | {rule["key"] for rule in rules}


def _matches(node: Node, affinity: str) -> bool:
    """Whether one term holds; a term holds if all it says does, and an empty one never."""
    return any(_rules(term) and all(_agrees(rule, node) for rule in _rules(term)) for term in _terms(affinity))


def _rules(term: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(term.get("matchExpressions") or []), *(term.get("matchFields") or [])]


def _agrees(rule: Mapping[str, Any], node: Node) -> bool:
    value, values = node.label(rule["key"]), rule.get("values") or []
    operator = rule["operator"]
    if operator in ("Gt", "Lt"):
        try:
            found, limit = int(value or ""), int(values[0])
        except (ValueError, IndexError):
            return False
        return found > limit if operator == "Gt" else found < limit
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[operator]


def used_by(pods: Iterable[RunningPod]) -> dict[str, Amounts]:
    """What pods hold, by node."""
    used: dict[str, Amounts] = {}
    for pod in pods:
        add(used.setdefault(pod.node, {}), pod.requests)
    return used
