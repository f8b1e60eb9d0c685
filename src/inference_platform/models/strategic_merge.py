"""Merge a partial LLMInferenceService spec into another by the rules of its API.

KServe merges specs as a strategic merge patch over the Go types (models.md 2.2): mappings
key by key, lists of a pod by the key of their items, all other lists as a whole. A null
removes. The free-form scheduler configuration is replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference_platform.models.shapes import copied

#: Lists inside a pod that merge by a key of their items (patchMergeKey in k8s.io/api core/v1).
MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_PODS = ("template", "worker")
#: Mappings without a schema, replaced as a whole.
FREE_FORM = ("inline",)


def strategic_merge(base: Mapping[str, Any], patch: Mapping[str, Any], *, in_pod: bool = False) -> dict[str, Any]:
    """``patch`` over ``base``; both stay as they are. ``in_pod``: both are part of a pod template."""
    merged = dict(base)
    for key, value in patch.items():
        below = merged.get(key)
        inside = in_pod or key in _PODS
        if value is None:
            merged.pop(key, None)
        elif key in FREE_FORM:
            merged[key] = copied(value)
        elif isinstance(value, Mapping):
            merged[key] = strategic_merge(below if isinstance(below, Mapping) else {}, value, in_pod=inside)
        elif in_pod and key in MERGE_KEYS and isinstance(value, Sequence) and not isinstance(value, str):
            merged[key] = _merged_items(below if isinstance(below, list) else [], value, MERGE_KEYS[key])
        else:
            merged[key] = copied(value)
    return merged


def _merged_items(base: Sequence[Any], patch: Sequence[Any], key: str) -> list[Any]:
    """Items of ``patch`` merged into those of ``base`` with the same key; new ones come last."""
    merged = list(base)
    positions = {item[key]: index for index, item in enumerate(base) if isinstance(item, Mapping) and key in item}
    for item in patch:
        name = item.get(key) if isinstance(item, Mapping) else None
        if name is not None and name in positions:
            index = positions[name]
            merged[index] = strategic_merge(merged[index], item, in_pod=True)
        else:
            if name is not None:
                positions[name] = len(merged)
            merged.append(copied(item))
    return merged
