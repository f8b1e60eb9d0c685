"""Pure helpers over Kubernetes objects as plain dicts: identity, comparison, merging, conditions."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embedded_cluster.kube import owner_reference

#: Keys by which lists of maps are matched item by item, as the API server does for its map lists.
MERGE_KEYS = ("name", "mountPath", "containerPort", "port", "uid", "type", "key")

#: Kinds without a namespace among everything the stand-ins write or read.
CLUSTER_SCOPED = frozenset(
    {
        "APIService",
        "CertManager",
        "ClusterIssuer",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "AWSKubernetesEngine",
        "AzureKubernetesEngine",
        "CoreWeaveKubernetesEngine",
        "DSCInitialization",
        "DataScienceCluster",
        "GatewayClass",
        "Istio",
        "IstioRevision",
        "Kserve",
        "LeaderWorkerSetOperator",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "SecurityContextConstraints",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    }
)


@dataclass(frozen=True, order=True)
class Ref:
    """Identity of one object."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Ref:
        """Identity of an object dict that carries apiVersion, kind and metadata."""
        metadata = obj["metadata"]
        return cls(obj["apiVersion"], obj["kind"], metadata["name"], metadata.get("namespace"))

    @property
    def path(self) -> str:
        """`namespace/name`, or `name` for cluster-scoped objects."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


def contains(live: Any, desired: Any) -> bool:
    """True if every field of `desired` is in `live` with the same value; what `live` has besides is ignored."""
    if desired is None:
        return True
    if isinstance(desired, Mapping):
        if not isinstance(live, Mapping):
            return not desired and live is None
        return all(contains(live.get(key), value) for key, value in desired.items())
    if isinstance(desired, list):
        return _list_contains(live if isinstance(live, list) else [], desired)
    return bool(live == desired)


def _list_contains(live: list[Any], desired: list[Any]) -> bool:
    key = merge_key(desired)
    if key is None:
        return len(live) == len(desired) and all(map(contains, live, desired))
    by_key = {item.get(key): item for item in live if isinstance(item, Mapping)}
    return all(contains(by_key.get(item[key]), item) and item[key] in by_key for item in desired)


def merge_key(items: Iterable[Any]) -> str | None:
    """The key that identifies the maps of a list, or None if it must be compared as a whole."""
    entries = list(items)
    for key in MERGE_KEYS:
        if entries and all(isinstance(entry, Mapping) and key in entry for entry in entries):
            values = [entry[key] for entry in entries]
            if len(set(values)) == len(values):
                return key
    return None


def merged(live: Any, desired: Any) -> Any:
    """`live` with every field of `desired` laid over it, as a plain Update by an operator does it."""
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        return {**live, **{key: merged(live.get(key), value) for key, value in desired.items()}}
    if isinstance(desired, list) and isinstance(live, list):
        key = merge_key(desired)
        if key and merge_key(live) == key:
            wanted = {item[key]: item for item in desired}
            kept = [merged(item, wanted.pop(item[key], None) or item) for item in live]
            return kept + list(wanted.values())
    return copy.deepcopy(desired)


def dig(obj: Any, *path: str, default: Any = None) -> Any:
    """The value at a path of map keys, or `default` when a part of the path is absent."""
    for key in path:
        if not isinstance(obj, Mapping) or obj.get(key) is None:
            return default
        obj = obj[key]
    return obj


def is_owned_by(obj: Mapping[str, Any], uid: str) -> bool:
    """True if one of the owner references of `obj` has this uid."""
    return any(owner.get("uid") == uid for owner in dig(obj, "metadata", "ownerReferences", default=[]))


def marked(
    obj: Mapping[str, Any],
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    owner: Mapping[str, Any] | None = None,
    controller: bool = True,
) -> dict[str, Any]:
    """A copy of `obj` with labels, annotations and a (controller) owner reference added to its metadata."""
    metadata = dict(obj["metadata"])
    if labels:
        metadata["labels"] = {**metadata.get("labels", {}), **labels}
    if annotations:
        metadata["annotations"] = {**metadata.get("annotations", {}), **annotations}
    if owner:
        metadata["ownerReferences"] = [owner_reference(owner, controller=controller)]
    return {**obj, "metadata": metadata}


def intent(obj: Mapping[str, Any]) -> dict[str, Any]:
    """What a person can change on an object: everything but status and the server's bookkeeping."""
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in ("managedFields", "resourceVersion", "generation")
    }
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}


def condition(obj: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The condition of this type in the object's status, or an empty dict."""
    conditions = dig(obj, "status", "conditions", default=[])
    return next((entry for entry in conditions if entry.get("type") == kind), {})


def with_transition_times(
    conditions: Iterable[Mapping[str, Any]], previous: Iterable[Mapping[str, Any]], now: str
) -> list[dict[str, Any]]:
    """The conditions with lastTransitionTime, kept from `previous` where the status is the same."""
    old = {entry["type"]: entry for entry in previous}
    result = []
    for entry in conditions:
        before = old.get(entry["type"], {})
        unchanged = before.get("status") == entry["status"]
        result.append({**entry, "lastTransitionTime": before.get("lastTransitionTime", now) if unchanged else now})
    return result


def deployment_is_ready(deployment: Mapping[str, Any] | None) -> bool:
    """True if all wanted replicas are ready, of whatever generation: operators do not look at that.

    So they stay Ready while a new version rolls out (observed-operators.md 1, point 7).
    """
    wanted = dig(deployment, "spec", "replicas", default=1)
    return bool(dig(deployment, "status", "readyReplicas", default=0) >= wanted > 0)
