"""Label selectors, host name matching and ReferenceGrants: who may refer to whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embedded_cluster.standins.gateway.snapshot import GATEWAY_GROUP, Object, Snapshot

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """True when a LabelSelector (matchLabels, matchExpressions) matches the labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression_holds(expression, labels) for expression in selector.get("matchExpressions") or [])


def _expression_holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise ValueError(f"label selector: unknown operator {expression['operator']!r} for key {key}")


def hosts_overlap(first: str, second: str) -> bool:
    """True when two host names, each possibly with a leading wildcard, have a name in common."""
    if first.startswith("*") and second.startswith("*"):
        return first[1:].endswith(second[1:]) or second[1:].endswith(first[1:])
    if first.startswith("*"):
        return second.endswith(first[1:])
    if second.startswith("*"):
        return first.endswith(second[1:])
    return first == second


def namespace_allowed(listener: Object, gateway_namespace: str, namespace: str, snapshot: Snapshot) -> bool:
    """True when routes of `namespace` may attach to the listener (allowedRoutes.namespaces, default Same)."""
    allowed = (listener.get("allowedRoutes") or {}).get("namespaces") or {}
    match allowed.get("from", "Same"):
        case "All":
            return True
        case "Selector":
            found = snapshot.get("Namespace", "", namespace)
            labels = {NAMESPACE_NAME_LABEL: namespace, **((found or {"metadata": {}})["metadata"].get("labels") or {})}
            return found is not None and selects(allowed.get("selector") or {}, labels)
    return namespace == gateway_namespace


def reference_granted(
    snapshot: Snapshot, *, kind: str, namespace: str, to_group: str, to_kind: str, to_namespace: str, to_name: str
) -> bool:
    """True when a ReferenceGrant in `to_namespace` lets Gateway API objects of `kind` in `namespace` refer to it."""
    source = {"group": GATEWAY_GROUP, "kind": kind, "namespace": namespace}
    for grant in snapshot.all("ReferenceGrant"):
        if grant["metadata"]["namespace"] != to_namespace:
            continue
        given = any(all(entry.get(k) == v for k, v in source.items()) for entry in grant["spec"].get("from", []))
        if given and any(
            entry.get("group", "") == to_group
            and entry.get("kind") == to_kind
            and entry.get("name", to_name) == to_name
            for entry in grant["spec"].get("to", [])
        ):
            return True
    return False
