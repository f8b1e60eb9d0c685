"""Which provider a cluster runs on, told by its nodes (``nodes`` in catalog/providers.yml).

    found = detect(nodes, catalog.providers)
    found.provider, found.evidence        # "gcp", "gce://... is the providerID of node a"

A provider is recognised by the beginning of spec.providerID or by a label; a cluster with
neither is taken for ``generic``. OpenShift runs on any provider's machines, so its own label
decides first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

AUTO = "auto"
GENERIC = "generic"
OPENSHIFT = "openshift"

# Label that OpenShift puts on every node.
_OPENSHIFT_LABEL = "node.openshift.io/os_id"


@dataclass(frozen=True)
class Detection:
    """The provider, and what of which node says so (a phrase for people)."""

    provider: str
    evidence: str


class MixedNodesError(Exception):
    """Nodes of several providers; the message names one node of each."""


def detect(nodes: Iterable[Mapping[str, Any]], providers: Mapping[str, Mapping[str, Any]]) -> Detection:
    """The provider of Node objects. Raises MixedNodesError when they do not agree.

    Nodes that say nothing (a virtual kubelet, a machine added by hand) follow the others.
    """
    found: dict[str, str] = {}
    for node in nodes:
        seen = _of_node(node, providers)
        if seen is not None:
            found.setdefault(seen.provider, seen.evidence)
    if OPENSHIFT in found:
        return Detection(OPENSHIFT, found[OPENSHIFT])
    if len(found) > 1:
        raise MixedNodesError("; ".join(f"{name}: {evidence}" for name, evidence in sorted(found.items())))
    for name, evidence in found.items():
        return Detection(name, evidence)
    return Detection(GENERIC, "no node has a providerID or a label of a known provider")


def _of_node(node: Mapping[str, Any], providers: Mapping[str, Mapping[str, Any]]) -> Detection | None:
    name = node["metadata"]["name"]
    labels = node["metadata"].get("labels") or {}
    provider_id = str((node.get("spec") or {}).get("providerID") or "")
    if _OPENSHIFT_LABEL in labels:
        return Detection(OPENSHIFT, f"node {name} has the label {_OPENSHIFT_LABEL}")
    for provider, entry in providers.items():
        marks = entry.get("nodes", {})
        for label in marks.get("labels", []):
            if label in labels:
                return Detection(provider, f"node {name} has the label {label}")
        if "provider_id" in marks and provider_id.startswith(marks["provider_id"]):
            return Detection(provider, f"node {name} has the providerID {provider_id}")
    return None
