"""Reads what the table of all models needs: a handful of lists at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from inference_platform.cluster import errors
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.immutable import KIND
from inference_platform.cluster.models import SELECTOR
from inference_platform.cluster.objects import Object
from inference_platform.cluster.readiness import SERVING, Surroundings, judge

_PODS = "app.kubernetes.io/part-of=llminferenceservice"
_OBJECTIVE = "InferenceObjective"
#: API groups of objectives: up to 3.4, and from 3.5 on. After an upgrade there are both.
_GROUPS = ("inference.networking.x-k8s.io", "llm-d.ai")


def read(cluster: Cluster, platform: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``models.overview.Seen``: models, pods, nodes, routes, objectives, and reasons."""
    discovery = cluster.discovery()
    objectives = [version for group in _GROUPS for version in discovery.versions(_OBJECTIVE, group)[-1:]]
    lists = {
        "models": (platform["serving"]["api_version"], KIND, SELECTOR),
        "pods": ("v1", "Pod", _PODS),
        "nodes": ("v1", "Node", ""),
        "routes": ("gateway.networking.k8s.io/v1", "HTTPRoute", SELECTOR),
        **{version: (version, _OBJECTIVE, SELECTOR) for version in objectives},
    }
    with ThreadPoolExecutor(max_workers=len(lists)) as pool:
        found = dict(zip(lists, pool.map(lambda what: _list(cluster, *what), lists.values()), strict=True))
    found["objectives"] = [obj for version in objectives for obj in found.pop(version)]
    around = Surroundings(
        platform["namespaces"]["applications"], bool(platform["serving"]["gateway"]["address_required"])
    )
    return {**found, "reasons": {_id(obj): why for obj in found["models"] if (why := judge(obj, around, SERVING).why)}}


def _list(cluster: Cluster, api_version: str, kind: str, selector: str) -> Sequence[Object]:
    try:
        return cluster.list(api_version, kind, label_selector=selector)
    except errors.UnknownKind:
        return ()


def _id(obj: Object) -> str:
    return f"{obj['metadata'].get('namespace')}/{obj['metadata']['name']}"
