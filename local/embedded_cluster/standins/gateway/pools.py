"""InferencePools of inference.networking.k8s.io/v1: status and shadow Service (section 4)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embedded_cluster.standins.gateway.classes import UNMANAGED, controller_of
from embedded_cluster.standins.gateway.conditions import Verdict, good, merged
from embedded_cluster.standins.gateway.snapshot import API_VERSIONS, POOL_GROUP, Key, Object, Snapshot, generation_of

FIELD_MANAGER = "istio.io/inference-pool-controller"
PARENT_GROUP = "networking.istio.io"  # sic: the group in a pool's parentRef is not that of Gateway
FIRST_PORT = 54321
NAME_LIMIT = 63
HASH_LENGTH = 8


@dataclass(frozen=True)
class PickerCheck:
    """Whether a pool's endpoint picker existed when the pool or a route to it last changed.

    istiod does not watch the picker's Service for the status, so the answer goes stale both ways.
    """

    inputs: tuple[str, ...]  # resource versions of the pool and of the routes that refer to it
    verdict: Verdict


def shadow_service_name(pool: str) -> str:
    """`<pool>-ip-<hash>`, the pool's part cut so that the whole fits into a Service name."""
    suffix = f"-ip-{hashlib.sha256(pool.encode()).hexdigest()[:HASH_LENGTH]}"
    return pool[: NAME_LIMIT - len(suffix)] + suffix


def pools_of(route: Object) -> set[Key]:
    """The pools that backendRefs of the route name, of whatever weight, with or without a grant."""
    return {
        (ref.get("namespace", route["metadata"]["namespace"]), ref["name"])
        for rule in route["spec"].get("rules") or []
        for ref in rule.get("backendRefs") or []
        if ref.get("group") == POOL_GROUP and ref.get("kind") == "InferencePool"
    }


def referring_routes(snapshot: Snapshot) -> dict[Key, list[Object]]:
    """The HTTPRoutes that refer to each pool, whether the pool exists or not."""
    found: dict[Key, list[Object]] = {}
    for route in snapshot.all("HTTPRoute"):
        for key in pools_of(route):
            found.setdefault(key, []).append(route)
    return found


def gateway_verdicts(routes: list[Object], controller: str) -> dict[Key, Verdict]:
    """Accepted per Gateway that a referring route has a status entry of istiod's for; the first route decides."""
    verdicts: dict[Key, Verdict] = {}
    for route in routes:
        namespace, name = route["metadata"]["namespace"], route["metadata"]["name"]
        for parent in (route.get("status") or {}).get("parents") or []:
            if parent["controllerName"] not in (controller, UNMANAGED):
                continue
            key = parent["parentRef"].get("namespace", namespace), parent["parentRef"]["name"]
            accepted = next((c for c in parent.get("conditions") or [] if c["type"] == "Accepted"), None)
            if accepted is None:
                continue
            if accepted["status"] == "True":
                verdict = good("Accepted", "Accepted", "Referenced by an HTTPRoute accepted by the parentRef Gateway")
            else:
                text = f"Referenced HTTPRoute {namespace}/{name} not accepted by Gateway {key[0]}/{key[1]}"
                verdict = Verdict("Accepted", "False", "HTTPRouteNotAccepted", f"{text}: {accepted['message']}")
            verdicts.setdefault(key, verdict)
    return verdicts


def check_picker(pool: Object, routes: list[Object], snapshot: Snapshot, last: PickerCheck | None) -> PickerCheck:
    """ResolvedRefs of the pool, looked up again only when the pool or a referring route changed."""
    inputs = tuple(obj["metadata"].get("resourceVersion", "") for obj in (pool, *routes))
    if last is not None and last.inputs == inputs:
        return last
    return PickerCheck(inputs, _picker_verdict(pool, snapshot))


def _picker_verdict(pool: Object, snapshot: Snapshot) -> Verdict:
    picker = pool["spec"].get("endpointPickerRef") or {}
    kind, name = picker.get("kind", "Service"), picker.get("name", "")
    if kind != "Service":
        return Verdict("ResolvedRefs", "False", "InvalidExtensionRef", f"Unsupported ExtensionRef kind {kind}")
    if not name:
        return Verdict("ResolvedRefs", "False", "InvalidExtensionRef", "ExtensionRef not defined")
    if snapshot.get("Service", pool["metadata"]["namespace"], name) is None:
        return Verdict("ResolvedRefs", "False", "InvalidExtensionRef", f"Referenced ExtensionRef not found {name}")
    return good("ResolvedRefs", "ResolvedRefs", "Referenced ExtensionRef resolved successfully")


def pool_status(
    pool: Object, accepted: Mapping[Key, Verdict], picker: Verdict, snapshot: Snapshot, now: str
) -> dict[str, Any]:
    """The pool's status: one parent per Gateway, `{}` when no route refers to it.

    A parent of a Gateway that istiod does not (or no longer) know is somebody else's and stays.
    """
    existing = (pool.get("status") or {}).get("parents") or []
    parents = [entry for entry in existing if not _is_ours(entry, pool, accepted, snapshot)]
    for namespace, name in sorted(accepted):
        reference = {"group": PARENT_GROUP, "kind": "Gateway", "name": name, "namespace": namespace}
        before: Mapping[str, Any] = next((p for p in existing if _gateway_of(p, pool) == (namespace, name)), {})
        verdicts = [accepted[namespace, name], picker]
        conditions = merged(before.get("conditions") or [], verdicts, generation_of(pool), now)
        parents.append({"parentRef": reference, "conditions": conditions})
    return {"parents": parents} if parents else {}


def _gateway_of(parent: Mapping[str, Any], pool: Object) -> Key:
    reference = parent["parentRef"]
    return reference.get("namespace") or pool["metadata"]["namespace"], reference["name"]


def _is_ours(parent: Mapping[str, Any], pool: Object, accepted: Mapping[Key, Verdict], snapshot: Snapshot) -> bool:
    reference = parent["parentRef"]
    if (reference.get("kind"), reference["name"]) == ("Status", "default"):
        return True  # the default of some CRD versions, which istiod replaces
    key = _gateway_of(parent, pool)
    gateway = snapshot.get("Gateway", *key)
    ours = snapshot.controller, UNMANAGED
    return key in accepted or (gateway is not None and controller_of(gateway, snapshot) in ours)


def shadow_service(pool: Object) -> dict[str, Any] | None:
    """The headless Service that stands for the pool in istiod; None for a pool without a picker port."""
    metadata, spec = pool["metadata"], pool["spec"]
    picker = spec.get("endpointPickerRef") or {}
    if not picker.get("port"):
        return None
    ports = [
        {"name": f"http-{i}", "protocol": "TCP", "port": FIRST_PORT + i, "targetPort": target["number"]}
        for i, target in enumerate(spec.get("targetPorts") or [])
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": shadow_service_name(metadata["name"]),
            "namespace": metadata["namespace"],
            "labels": {
                "istio.io/inferencepool-name": metadata["name"],
                "istio.io/inferencepool-extension-service": picker["name"],
                "istio.io/inferencepool-extension-port": str(picker["port"]["number"]),
                "istio.io/inferencepool-extension-failure-mode": picker.get("failureMode", "FailClose"),
                "internal.istio.io/service-semantics": "inferencepool",
            },
            "ownerReferences": [
                {
                    "apiVersion": API_VERSIONS["InferencePool"],
                    "kind": "InferencePool",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                }
            ],
        },
        "spec": {
            "clusterIP": "None",
            "type": "ClusterIP",
            "selector": dict((spec.get("selector") or {}).get("matchLabels") or {}),
            "ports": ports,
        },
    }
