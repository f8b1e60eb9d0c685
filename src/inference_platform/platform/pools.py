"""Groups of nodes that models may ask for, and quotas of model namespaces: profiles and objects from an inventory.

The labels by which providers know spot nodes are data (catalog/providers.yml). The cloud manager has no part in any of
this: it installs dependencies and makes certificates, no nodes, quotas or priorities (platform.md 2.4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from inference_platform.findings import Finding, show
from inference_platform.models.labels import MANAGED_BY
from inference_platform.models.layers import NODE_POOL_LABEL
from inference_platform.platform import quotas as quota_rules
from inference_platform.problems import Reporter

Object = dict[str, Any]

LAYER = {"inference-platform.io/layer": "capacity"}
QUOTA_NAME = "inference-platform"
#: The PriorityClass of a pool is this and the pool's name.
CLASS_PREFIX = "inference-"
NODE_POOL = ("karpenter.sh/v1", "NodePool")
#: What keeps autoscalers from moving a pod: cluster-autoscaler, then Karpenter.
_KEEP = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}

_BY_PROVIDER, _BY_KARPENTER = "provider", "karpenter"


def check(
    settings: Mapping[str, Any], provider: Mapping[str, Any], platform: Collection[str], report: Reporter
) -> Iterator[Finding]:
    """What is wrong with ``node_pools`` and ``namespace_quotas``.

    ``provider`` is an entry of the catalogue; ``platform`` are the namespaces of the platform.
    """
    pools: Sequence[Mapping[str, Any]] = settings.get("node_pools") or []
    yield from _twice("IP-PLT-020", "node_pools", [str(pool["name"]) for pool in pools], "name", report)
    quotas = settings.get("namespace_quotas") or []
    yield from _twice(
        "IP-PLT-021", "namespace_quotas", [str(item["namespace"]) for item in quotas], "namespace", report
    )
    for index, item in enumerate(quotas):
        if item["namespace"] in platform:
            yield report.error(
                "IP-PLT-025",
                ("namespace_quotas", index, "namespace"),
                "a namespace for models",
                f"{show(item['namespace'])}, a namespace of the platform",
                "Take it out: quotas are for the namespaces of models.",
            )
    yield from quota_rules.check_names(settings, provider["gpu"]["resource"], report)
    profiles = settings.get("model_profiles") or {}
    for index, pool in enumerate(pools):
        path = ("node_pools", index)
        if pool["name"] in profiles:
            yield report.error(
                "IP-PLT-022",
                (*path, "name"),
                "a name that no profile has",
                f"{show(pool['name'])}, a profile too",
                "Rename one of them: a pool is a profile of its name.",
            )
        known = _kinds_of(pool, provider)
        if "capacity" in pool and known is None:
            instead = _BY_KARPENTER in provider.get("pools", {})
            yield report.error(
                "IP-PLT-023",
                (*path, "capacity"),
                "a provider whose spot nodes are known by a label",
                f"{show(pool['capacity'])} on {provider['title']}, nodes by {_maker_of(pool)}",
                "Write node_selector and tolerations instead of capacity"
                + (", or set nodes_by to karpenter if that makes the nodes." if instead else "."),
            )
        if "preempts" in pool and "priority" not in pool:
            yield report.error(
                "IP-PLT-024",
                (*path, "preempts"),
                "a priority beside preempts",
                "none",
                "Add priority, or remove preempts.",
            )


def _twice(code: str, setting: str, names: Sequence[str], key: str, report: Reporter) -> Iterator[Finding]:
    counts = Counter(names)
    for index, name in enumerate(names):
        if counts[name] > 1 and name in names[:index]:
            yield report.error(code, (setting, index, key), f"each {key} once", show(name), "Join the entries.")


def profiles_of(settings: Mapping[str, Any], provider: Mapping[str, Any]) -> dict[str, Object]:
    """The profile of each pool: a part of an entry of ``models``."""
    return {str(pool["name"]): _profile(pool, provider) for pool in settings.get("node_pools") or []}


def _profile(pool: Mapping[str, Any], provider: Mapping[str, Any]) -> Object:
    kinds = _kinds_of(pool, provider) or {}
    base = kinds.get(pool.get("capacity", ""), {})
    made = {
        "node_selector": {
            **base.get("node_selector", {}),
            **({NODE_POOL_LABEL: pool["name"]} if "karpenter" in pool else {}),
            **pool.get("node_selector", {}),
        },
        "tolerations": [*base.get("tolerations", []), *pool.get("tolerations", [])],
        "priority_class": _class_name(pool) if "priority" in pool else None,
        "pod_annotations": dict(_KEEP) if pool.get("keep_running") else {},
    }
    return {key: value for key, value in made.items() if value}


def _kinds_of(pool: Mapping[str, Any], provider: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = provider.get("pools", {}).get(_maker_of(pool))
    return found


def _maker_of(pool: Mapping[str, Any]) -> str:
    """Who makes the nodes: as written, else Karpenter for a pool with a NodePool."""
    return str(pool.get("nodes_by", _BY_KARPENTER if "karpenter" in pool else _BY_PROVIDER))


def _class_name(pool: Mapping[str, Any]) -> str:
    return f"{CLASS_PREFIX}{pool['name']}"


def objects_of(settings: Mapping[str, Any], namespace_labels: Mapping[str, str]) -> list[Object]:
    """Namespaces with quotas, the quotas, priorities and NodePools.

    ``namespace_labels`` are those of model namespaces.
    """
    pools: Sequence[Mapping[str, Any]] = settings.get("node_pools") or []
    quotas: Sequence[Mapping[str, Any]] = settings.get("namespace_quotas") or []
    return [
        *(_namespace(item["namespace"], namespace_labels) for item in quotas),
        *(_quota(item) for item in quotas),
        *(_priority(pool) for pool in pools if "priority" in pool),
        *(_node_pool(pool) for pool in pools if "karpenter" in pool),
    ]


def _namespace(name: str, labels: Mapping[str, str]) -> Object:
    """As the models make it, since it must be there before the quota; nothing is removed with the quota."""
    marks = {**labels, **MANAGED_BY, "inference-platform.io/layer": "models"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(sorted(marks.items()))}}


def _quota(item: Mapping[str, Any]) -> Object:
    hard = {name: str(value) for name, value in sorted(item["hard"].items())}
    metadata = {"name": QUOTA_NAME, "namespace": item["namespace"], "labels": {**MANAGED_BY, **LAYER}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}


def _priority(pool: Mapping[str, Any]) -> Object:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": _class_name(pool), "labels": {**MANAGED_BY, **LAYER}},
        "value": pool["priority"],
        "preemptionPolicy": "PreemptLowerPriority" if pool.get("preempts", True) else "Never",
        "description": f"Models of the node pool {pool['name']}.",
    }


def _node_pool(pool: Mapping[str, Any]) -> Object:
    api_version, kind = NODE_POOL
    metadata = {"name": pool["name"], "labels": {**MANAGED_BY, **LAYER}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": pool["karpenter"]}
