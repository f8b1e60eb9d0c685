"""What the gateway controller knows of the cluster at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
Key = tuple[str, str]  # (namespace, name); the namespace is "" for cluster-scoped objects

GATEWAY_GROUP = "gateway.networking.k8s.io"
POOL_GROUP = "inference.networking.k8s.io"

#: The kinds istiod lists, with the API version it lists them in (section 1.2: v1beta1 for the Gateway API).
API_VERSIONS = {
    "Gateway": f"{GATEWAY_GROUP}/v1beta1",
    "GatewayClass": f"{GATEWAY_GROUP}/v1beta1",
    "HTTPRoute": f"{GATEWAY_GROUP}/v1beta1",
    "ReferenceGrant": f"{GATEWAY_GROUP}/v1beta1",
    "InferencePool": f"{POOL_GROUP}/v1",
    "DestinationRule": "networking.istio.io/v1",
    "Namespace": "v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "Pod": "v1",
    "Deployment": "apps/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
}


#: The controller of istiod's own classes; an installation may serve classes of another name.
CONTROLLER = "istio.io/gateway-controller"


def key_of(obj: Object) -> Key:
    """(namespace, name) of an object."""
    metadata = obj["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def generation_of(obj: Object) -> int:
    """metadata.generation, 0 when the API server keeps none for this kind."""
    return int(obj["metadata"].get("generation", 0))


@dataclass(frozen=True)
class Snapshot:
    """Objects by kind and (namespace, name), and the name under which istiod serves GatewayClasses."""

    objects: Mapping[str, Mapping[Key, Object]]
    controller: str = CONTROLLER

    @classmethod
    def of(cls, objects: Iterable[Object]) -> Snapshot:
        """A snapshot of the given objects, each with kind and metadata."""
        found: dict[str, dict[Key, Object]] = {}
        for obj in objects:
            found.setdefault(obj["kind"], {})[key_of(obj)] = obj
        return cls(found)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object, or None."""
        return self.objects.get(kind, {}).get((namespace, name))

    def all(self, kind: str) -> list[Object]:
        """All objects of a kind, in the order of their keys, so that every result is stable."""
        found = self.objects.get(kind, {})
        return [found[key] for key in sorted(found)]
