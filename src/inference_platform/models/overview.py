"""All models at a glance: one row each, of what the inventory wants and what the cluster has.  Pure.

Shares of traffic are those of weighted rules in HTTPRoutes that this installer made; priorities are those of the
InferenceObjectives of a model's pool.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inference_platform.models.addresses import public_url
from inference_platform.models.labels import GROUP, MODEL
from inference_platform.models.routes import model_behind, pool_name

Object = Mapping[str, Any]
KIND = "LLMInferenceService"
READY, NOT_READY, STOPPED = "ready", "not ready", "stopped"
NOT_APPLIED, NOT_LISTED = "not applied", "not in the inventory"
_PART_OF = "llminferenceservice"
_SCHEDULER = "llminferenceservice-router-scheduler"


@dataclass(frozen=True)
class Row:
    """One model.

    state       READY, NOT_READY, STOPPED, NOT_APPLIED (only in the inventory) or NOT_LISTED (only in the cluster)
    pods        serving pods that are ready, of those that exist or are wanted
    gpus        GPUs that its pods hold
    traffic     shares of routes over several models: "90 % of chat"
    priorities  classes that clients can ask for: "premium 100"
    why         for a model that is not ready, the reason
    """

    model: str
    state: str
    ready_pods: int
    pods: int
    gpus: int
    gpu_product: str
    url: str
    traffic: tuple[str, ...] = ()
    priorities: tuple[str, ...] = ()
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the same keys."""
        return asdict(self)


@dataclass(frozen=True)
class Seen:
    """What the cluster has; `reasons` says of each model that is not ready (by its id) why."""

    models: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    nodes: Sequence[Object] = ()
    routes: Sequence[Object] = ()
    objectives: Sequence[Object] = ()
    reasons: Mapping[str, str] | None = None


def rows(wanted: Iterable[Object], seen: Seen, gpu: Mapping[str, Any]) -> list[Row]:
    """A row for each model of the inventory's objects and of the cluster, by namespace and name.

    ``gpu`` is ``serving.gpu`` of the plan (resource, product_label).
    """
    listed = {_id(obj): obj for obj in wanted if obj["kind"] == KIND}
    live = {_id(obj): obj for obj in seen.models}
    pods = _pods_of(seen.pods)
    products = {
        node["metadata"]["name"]: (node["metadata"].get("labels") or {}).get(gpu["product_label"], "")
        for node in seen.nodes
    }
    shares, classes = _shares(seen.routes), _classes(seen.objectives)
    return [
        _row(model, listed.get(model), live.get(model), pods.get(model, []), products, gpu, shares, classes, seen)
        for model in sorted({*listed, *live})
    ]


def as_text(found: Sequence[Row]) -> str:
    """The rows as an aligned table; the reason of a model that is not ready stands below it.  Empty without rows."""
    if not found:
        return ""
    head = ("model", "state", "pods", "GPUs", "traffic", "priorities", "url")
    lines = [head, *(_cells(row) for row in found)]
    shown = [column for column in range(len(head)) if column < 4 or any(line[column] for line in lines[1:])]
    widths = {column: max(len(line[column]) for line in lines) for column in shown}
    texts = []
    for line, row in zip(lines, [None, *found], strict=True):
        texts.append("  ".join(line[column].ljust(widths[column]) for column in shown).rstrip())
        if row is not None and row.why:
            texts.append(f"    {row.why}")
    return "\n".join(texts)


def totals(found: Sequence[Row]) -> str:
    """How many models are in which state, and how many GPUs they hold."""
    order = (READY, NOT_READY, STOPPED, NOT_APPLIED, NOT_LISTED)
    counts = {state: sum(1 for row in found if row.state == state) for state in order}
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    if not found:
        return "no models"
    return f"{_quantity(len(found), 'model')}: {states}; {_quantity(sum(row.gpus for row in found), 'GPU')} in use"


def _row(
    model: str,
    wanted: Object | None,
    live: Object | None,
    pods: Sequence[Object],
    products: Mapping[str, str],
    gpu: Mapping[str, Any],
    shares: Mapping[str, list[str]],
    classes: Mapping[str, list[str]],
    seen: Seen,
) -> Row:
    serving = [pod for pod in pods if _label(pod, "app.kubernetes.io/component") != _SCHEDULER]
    held = {pod["metadata"]["name"]: _gpus(pod, gpu["resource"]) for pod in serving}
    found = {products.get((pod.get("spec") or {}).get("nodeName", ""), "") for pod in serving} - {""}
    spec = (live or wanted or {}).get("spec") or {}
    status = (live or {}).get("status") or {}
    state = _state(wanted, live, status, (seen.reasons or {}).get(model, ""))
    return Row(
        model=model,
        state=state,
        ready_pods=sum(_is_ready(pod) for pod in serving),
        pods=max(len(serving), _wanted_pods(spec) if state != STOPPED else 0),
        gpus=sum(held.values()),
        gpu_product=", ".join(sorted(found)),
        url=public_url(live or {}) if state != STOPPED else "",
        traffic=tuple(shares.get(model, ())),
        priorities=tuple(classes.get(model, ())),
        why=(seen.reasons or {}).get(model, "") if state == NOT_READY else "",
    )


def _wanted_pods(spec: Mapping[str, Any]) -> int:
    """Serving pods of a spec: replicas, each of as many pods as its nodes, of the model and of its prefill.

    The nodes of a replica are those of models.md 6.2; of an autoscaled model the fewest replicas count.
    """
    total = 0
    for part in (spec, spec.get("prefill") or {}):
        parallelism = part.get("parallelism") or {}
        local = parallelism.get("dataLocal") or 1
        nodes = max(parallelism.get("pipeline") or 1, math.ceil((parallelism.get("data") or local) / local))
        size = nodes if "worker" in part else 1
        replicas = part.get("replicas")
        fewest = (part.get("scaling") or {}).get("minReplicas")
        total += size * int((fewest if replicas is None else replicas) or 0)
    return total


def _state(wanted: Object | None, live: Object | None, status: Mapping[str, Any], why: str) -> str:
    if live is None:
        return NOT_APPLIED
    if wanted is None:
        return NOT_LISTED
    if any(item.get("type") == "Ready" and item.get("reason") == "Stopped" for item in status.get("conditions") or []):
        return STOPPED
    return NOT_READY if why else READY


def _cells(row: Row) -> tuple[str, ...]:
    gpus = f"{row.gpus} {row.gpu_product}".strip() if row.gpus else "-"
    pods = f"{row.ready_pods}/{row.pods}"
    return (row.model, row.state, pods, gpus, ", ".join(row.traffic), ", ".join(row.priorities), row.url)


def _pods_of(pods: Iterable[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in pods:
        phase = (pod.get("status") or {}).get("phase")
        if _label(pod, "app.kubernetes.io/part-of") == _PART_OF and phase not in ("Succeeded", "Failed"):
            model = f"{pod['metadata'].get('namespace')}/{_label(pod, 'app.kubernetes.io/name')}"
            found.setdefault(model, []).append(pod)
    return found


def _shares(routes: Iterable[Object]) -> dict[str, list[str]]:
    """Id of a model -> its shares: of each route of a traffic group, the largest share of any of its rules.

    Where the rules of a route differ in their headers, the headers tell which requests are meant.
    """
    found: dict[str, list[str]] = {}
    for route in routes:
        group = _label(route, GROUP)
        rules = (route.get("spec") or {}).get("rules") or [] if group else []
        by_header = len({_headers(rule) for rule in rules}) > 1
        best: dict[tuple[str, str], float] = {}
        for rule in rules:
            backends = rule.get("backendRefs") or []
            total = sum(backend.get("weight", 1) for backend in backends)
            for backend in backends:
                key = model_behind(backend), _headers(rule)
                if key[0] and total:
                    best[key] = max(best.get(key, 0.0), backend.get("weight", 1) / total)
        for (name, headers), share in best.items():
            part = f"{share:.0%} of "
            if by_header:
                part = ("" if headers else "rest of ") if share == 1 else part
            text = f"{part}{group}{f' with {headers}' if by_header and headers else ''}"
            found.setdefault(f"{route['metadata']['namespace']}/{name}", []).append(text)
    return found


def _headers(rule: Mapping[str, Any]) -> str:
    """The headers that requests need for a rule, as text: "x-tier=gold"."""
    signs = {"RegularExpression": "~"}
    return ", ".join(
        dict.fromkeys(
            f"{header['name']}{signs.get(header.get('type', ''), '=')}{header['value']}"
            for match in rule.get("matches") or []
            for header in match.get("headers") or []
        )
    )


def _classes(objectives: Iterable[Object]) -> dict[str, list[str]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for obj in objectives:
        spec = obj.get("spec") or {}
        model = _label(obj, MODEL) or str((spec.get("poolRef") or {}).get("name", "")).removesuffix(pool_name(""))
        priority = int(spec.get("priority") or 0)
        found.setdefault(f"{obj['metadata'].get('namespace')}/{model}", []).append((priority, obj["metadata"]["name"]))
    return {
        model: [f"{name} {number}" for number, name in sorted(items, reverse=True)] for model, items in found.items()
    }


def _gpus(pod: Object, resource: str) -> int:
    """GPUs that a pod holds; one that waits for a node holds none."""
    if not (pod.get("spec") or {}).get("nodeName"):
        return 0
    limits = [(c.get("resources") or {}).get("limits") or {} for c in pod["spec"].get("containers") or []]
    return sum(int(limit.get(resource) or 0) for limit in limits)


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def _quantity(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _label(obj: Object, name: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(name, ""))


def _id(obj: Object) -> str:
    return f"{obj['metadata'].get('namespace')}/{obj['metadata']['name']}"
