"""Routes of models stay attached while the labels change by which the gateway selects namespaces.

Three writes in this order: the namespaces get the new labels beside the old ones (`open_up`), the gateway selects by
the new ones, the namespaces lose the old ones.  Whoever writes namespaces of models, at whatever time, asks
`still_admitted`, so a run of the models alone does not take labels away that the gateway still selects by.

Only a label that keeps its name and gets another value cannot be there twice: then routes are detached for as long as
the upgrade of the gateway's release takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inference_platform.cluster import errors
from inference_platform.cluster.apply import ApplyResult, apply
from inference_platform.cluster.client import FIELD_MANAGER, Cluster
from inference_platform.cluster.objects import Object, is_managed_by

OF_MODELS = "inference-platform.io/layer=models"
_GATEWAY = "gateway.networking.k8s.io/v1"
_SELECTOR = "Selector"


def still_admitted(cluster: Cluster, gateway: Mapping[str, Any], objects: Sequence[Object]) -> list[Object]:
    """The objects; Namespaces among them also with the labels that the gateway selects by as it is now.

    gateway  that of the plan; nothing is added for one of the user's
    """
    if not any(obj["kind"] == "Namespace" for obj in objects):
        return list(objects)
    labels = _selected_labels(_live(cluster, gateway))
    return [_labelled(obj, labels) if obj["kind"] == "Namespace" else obj for obj in objects]


def open_up(cluster: Cluster, gateway: Mapping[str, Any], *, check: bool = False) -> ApplyResult:
    """Gives namespaces with models the labels of the plan, when the gateway there does not select by them yet."""
    live, wanted = _live(cluster, gateway), dict(gateway["namespace_labels"])
    if live is None or _selected_labels(live) == wanted or gateway["allowed_from"] != _SELECTOR:
        return ApplyResult()
    spaces = cluster.list("v1", "Namespace", label_selector=OF_MODELS)
    ours = [space for space in spaces if is_managed_by(space, FIELD_MANAGER)]
    closed = [space for space in ours if not wanted.items() <= _labels(space).items()]
    return apply(cluster, [_as_applied(space, wanted) for space in closed], check=check)


def _live(cluster: Cluster, gateway: Mapping[str, Any]) -> Object | None:
    if gateway["ownership"] != "managed":
        return None
    try:
        return cluster.get(_GATEWAY, "Gateway", gateway["name"], gateway["namespace"])
    except errors.UnknownKind:
        return None


def _selected_labels(gateway: Object | None) -> dict[str, str]:
    """The labels that the listeners of a Gateway select namespaces by."""
    found: dict[str, str] = {}
    for listener in ((gateway or {}).get("spec") or {}).get("listeners") or []:
        admits = (listener.get("allowedRoutes") or {}).get("namespaces") or {}
        if admits.get("from") == _SELECTOR:
            found.update((admits.get("selector") or {}).get("matchLabels") or {})
    return found


def _as_applied(space: Object, more: Mapping[str, str]) -> Object:
    """A Namespace as an earlier run applied it, with more labels."""
    fields: Iterable[Mapping[str, Any]] = (
        entry.get("fieldsV1") or {}
        for entry in space["metadata"].get("managedFields") or []
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
    )
    ours = {name for entry in fields for name in (entry.get("f:metadata") or {}).get("f:labels") or {}}
    kept = {name: value for name, value in _labels(space).items() if f"f:{name}" in ours}
    bare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space["metadata"]["name"], "labels": kept}}
    return _labelled(bare, more)


def _labelled(obj: Object, more: Mapping[str, str]) -> Object:
    metadata = obj["metadata"]
    return {**obj, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **more}}}


def _labels(obj: Object) -> Mapping[str, str]:
    found: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return found
