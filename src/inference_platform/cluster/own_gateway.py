"""What the pods of a user's Gateway need in its namespace: the bundle of authorities, and the pull secret.

Only objects that this installer made are changed.  Those that somebody else put there stay as they are; where they
lack something, the result says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inference_platform.cluster import errors, trust
from inference_platform.cluster.apply import UPDATE, ApplyResult, apply
from inference_platform.cluster.client import FIELD_MANAGER, Cluster
from inference_platform.cluster.objects import Object, is_managed_by
from inference_platform.cluster.secrets import KEY, pull_secret
from inference_platform.models.labels import MANAGED_BY

BUNDLE = "rhai-ca-bundle"
_CERTIFICATE = "ca.crt"
_LABELS = {**MANAGED_BY, "inference-platform.io/layer": "inference_gateway"}
#: The GatewayClass of the platform's Istio, whose proxies need the pull secret (chart inference-gateway).
_ISTIO = "istio"


@dataclass
class Supplied:
    """What changed, and what its owner should know (whole sentences)."""

    outcome: ApplyResult = field(default_factory=ApplyResult)
    notes: list[str] = field(default_factory=list)


def supply(
    cluster: Cluster,
    gateway: Mapping[str, Any],
    authority: tuple[str, str],
    secret: tuple[str, Callable[[], bytes]] | None,
    *,
    check: bool = False,
) -> Supplied:
    """Brings bundle and pull secret into the namespace of the Gateway, and keeps them as they should be.

    gateway    that of the plan (namespace, name); without it in the cluster nothing is done
    authority  namespace and name of the Secret with the platform's authority
    secret     name of the pull secret and what reads its content; None: images need none
    Raises TrustError, PullSecretError.
    """
    namespace, name = gateway["namespace"], gateway["name"]
    live = _live(cluster, namespace, name)
    if live is None:
        return Supplied()
    found = Supplied()
    source = trust.Source(*authority, _CERTIFICATE, (namespace, BUNDLE))
    bundle = trust.bundle(cluster, source, check=check)
    wanted = [_bundle(namespace, bundle.text)]
    if secret and live["spec"]["gatewayClassName"] == _ISTIO:
        wanted.append(pull_secret(secret[0], namespace, secret[1](), _LABELS))
    ours = [item for item in wanted if _may_change(cluster, item, found.notes)]
    if bundle.note and wanted[0] in ours:
        found.notes.append(bundle.note)
    found.outcome = apply(cluster, ours, check=check, force=True)
    if any(change.action == UPDATE and change.ref.name == BUNDLE for change in found.outcome.changes):
        found.notes.append(
            f"ConfigMap {namespace}/{BUNDLE} changed. Restart the pods of Gateway {namespace}/{name}: proxies read the "
            "authorities when they start."
        )
    return found


def _live(cluster: Cluster, namespace: str, name: str) -> Object | None:
    try:
        return cluster.get("gateway.networking.k8s.io/v1", "Gateway", name, namespace)
    except errors.UnknownKind:
        return None


def _bundle(namespace: str, certificates: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": BUNDLE, "namespace": namespace, "labels": dict(_LABELS)},
        "data": {_CERTIFICATE: f"{certificates}\n"},
    }


def _may_change(cluster: Cluster, wanted: Object, notes: list[str]) -> bool:
    """Whether an object is ours or not there; of another's that lacks something ``notes`` tell."""
    kind, meta = wanted["kind"], wanted["metadata"]
    live = cluster.get("v1", kind, meta["name"], meta["namespace"])
    if live is None or is_managed_by(live, FIELD_MANAGER):
        return True
    key = KEY if kind == "Secret" else _CERTIFICATE
    there = (live.get("data") or {}).get(key, "")
    needed = wanted["data"][key]
    good = there == needed if kind == "Secret" else trust.includes(there, needed)
    if not good:
        what = "other credentials" if kind == "Secret" else "not the platform's authority"
        notes.append(
            f"{kind} {meta['namespace']}/{meta['name']}: expected what the run would write, found {what} in an object "
            "of somebody else, which stays as it is. Correct it, or delete it: the next run makes it."
        )
    return False
