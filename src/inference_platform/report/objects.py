"""Reading Kubernetes objects as the API server returns them. Pure look-ups, no defaults guessed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inference_platform.report.observation import Condition

Object = Mapping[str, Any]


def condition(item: Object, kind: str) -> Condition:
    """The condition ``kind`` of an object; status "Unknown" when it is absent."""
    for entry in at(item, "status", "conditions") or ():
        if entry.get("type") == kind:
            return condition_from(entry)
    return Condition(kind, "Unknown", "", "")


def condition_status(item: Object, kind: str) -> str:
    """``True``, ``False`` or ``Unknown``."""
    return condition(item, kind).status


def condition_from(entry: Object) -> Condition:
    """A condition entry with its text on one line; absent parts are ""."""
    return Condition(
        type=str(entry.get("type") or ""),
        status=str(entry.get("status") or "Unknown"),
        reason=str(entry.get("reason") or ""),
        message=" ".join(str(entry.get("message") or "").split()),
    )


def status_in(conditions: Iterable[Object], kind: str) -> str:
    """The status of condition ``kind`` in a list of entries, "Unknown" when absent."""
    return next((str(entry.get("status")) for entry in conditions if entry.get("type") == kind), "Unknown")


def is_current(item: Object) -> bool:
    """True when the controller has seen the latest generation of the object."""
    observed = at(item, "status", "observedGeneration") or 0
    return observed >= (at(item, "metadata", "generation") or 0)


def at(item: Mapping[str, Any], *path: str) -> Any:
    """The value under a path of keys, None when a part of the path is missing."""
    value: Any = item
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def name_of(item: Object) -> str:
    """metadata.name, "" when absent."""
    return str(at(item, "metadata", "name") or "")


def namespace_of(item: Object) -> str:
    """metadata.namespace, "" for cluster-scoped objects."""
    return str(at(item, "metadata", "namespace") or "")


def labels_of(item: Object) -> Mapping[str, str]:
    """metadata.labels, empty when absent."""
    return at(item, "metadata", "labels") or {}
