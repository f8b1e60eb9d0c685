"""Which GatewayClass belongs to istiod, and what it says about it (section 1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embedded_cluster.standins.gateway.conditions import good, merged
from embedded_cluster.standins.gateway.snapshot import API_VERSIONS, CONTROLLER, Object, Snapshot, generation_of

MANAGED = CONTROLLER
UNMANAGED = "istio.io/unmanaged-gateway"


@dataclass(frozen=True)
class BuiltinClass:
    """A class that istiod creates when it is missing."""

    name: str
    controller: str
    description: str


BUILTIN = (
    BuiltinClass("istio", MANAGED, "The default Istio GatewayClass"),
    BuiltinClass("istio-remote", UNMANAGED, "Remote to this cluster. Does not deploy or affect configuration."),
)


def missing_classes(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The built-in classes that do not exist."""
    return [
        {
            "apiVersion": API_VERSIONS["GatewayClass"],
            "kind": "GatewayClass",
            "metadata": {"name": builtin.name},
            "spec": {"controllerName": builtin.controller, "description": builtin.description},
        }
        for builtin in BUILTIN
        if snapshot.get("GatewayClass", "", builtin.name) is None
    ]


def controller_of(gateway: Object, snapshot: Snapshot) -> str | None:
    """The controller of the Gateway's class, or None for a class that does not exist.

    A built-in class counts while it is being re-created, so Gateways are not disturbed by its deletion.
    """
    name = gateway["spec"]["gatewayClassName"]
    found = snapshot.get("GatewayClass", "", name)
    if found is not None:
        return str(found["spec"]["controllerName"])
    return next((builtin.controller for builtin in BUILTIN if builtin.name == name), None)


def class_status(gateway_class: Object, snapshot: Snapshot, now: str) -> dict[str, Any] | None:
    """The class's status with Accepted, or None for a class of somebody else."""
    if gateway_class["spec"]["controllerName"] not in (snapshot.controller, UNMANAGED):
        return None
    status = dict(gateway_class.get("status") or {})
    verdict = good("Accepted", "Accepted", "Handled by Istio controller")
    status["conditions"] = merged(status.get("conditions") or [], [verdict], generation_of(gateway_class), now)
    return status
