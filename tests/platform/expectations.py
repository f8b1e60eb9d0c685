"""What must run, by the plan of an inventory.

The gates of the plan name the Deployments and CRDs of its layers, whoever brings them; a part of another owner has
none there, so nothing is expected of it. The Services beside the Deployments are those of ``catalog/expected.yml``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inference_platform.catalog.load import holds
from inference_platform.platform.gateway import EXTERNAL
from inference_platform.platform.resolve import HELM, PROGRAMMED

SERVICES = Path(__file__).parents[2] / "catalog" / "expected.yml"
#: What the checks need to know of a plan.
PARTS = (
    *("release", "distribution", "route", "namespaces", "made_namespaces"),
    *("pull_secret", "ownership", "gateway", "gates"),
)

Plan = Mapping[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class Service:
    """A Service, its type, the ports that it must offer; ``of_gateway``: those of the listeners of the gateway, too."""

    namespace: str
    name: str
    type: str
    ports: tuple[int, ...]
    of_gateway: bool = False


@dataclass(frozen=True)
class Gateway:
    """The gateway of the models, of whomever it is, and the condition that proves it.

    ``ports`` are those that the inventory wants listeners for; none where listeners are the user's or the provider's.
    """

    namespace: str
    name: str
    condition: str
    ports: tuple[int, ...] = ()

    @property
    def needs_address(self) -> bool:
        """Whether clients outside must find an address."""
        return self.condition == PROGRAMMED


@dataclass(frozen=True)
class Expectations:
    """What must be there; Deployments by (namespace, name).

    namespaces      all namespaces of the platform
    homes           those of them that the installer makes: every Deployment there counts
    pull_secret     its name, and the namespaces that have it; None where none is made
    pulling         the Deployments whose images need it
    gateway_classes classes that must be accepted
    """

    namespaces: tuple[str, ...]
    homes: tuple[str, ...]
    pull_secret: str | None
    with_secret: tuple[str, ...]
    deployments: tuple[Key, ...]
    pulling: tuple[Key, ...]
    services: tuple[Service, ...]
    crds: tuple[str, ...]
    gateway: Gateway
    gateway_classes: tuple[str, ...]


def expectations(plan: Plan) -> Expectations:
    """What must run where a plan (``Plan.to_dict()``, at least its PARTS) is carried out."""
    waited = [(layer, check) for layer, checks in plan["gates"].items() for check in checks]
    deployments = sorted({_key(check) for _, check in waited if check["check"] == "deployment"})
    proxies = {_key(check) for layer, check in waited if _is_proxy(layer, check)}
    return Expectations(
        namespaces=tuple(sorted(set(plan["namespaces"].values()))),
        homes=tuple(plan["made_namespaces"]),
        pull_secret=plan["pull_secret"]["name"],
        with_secret=tuple(plan["pull_secret"]["namespaces"]),
        deployments=tuple(deployments),
        # A proxy pulls what the control plane that makes it says.
        pulling=tuple(key for key in deployments if key not in proxies or plan["ownership"]["sail"] != EXTERNAL),
        services=tuple(_services(plan, deployments, proxies)),
        crds=tuple(sorted({name for _, check in waited for name in _crds(check)})),
        gateway=_gateway(plan),
        gateway_classes=tuple(sorted({check["name"] for _, check in waited if check.get("kind") == "GatewayClass"})),
    )


def _gateway(plan: Plan) -> Gateway:
    wanted = plan["gateway"]
    ours = wanted["ownership"] != EXTERNAL and plan["route"] == HELM
    listeners = [wanted[name] for name in ("http", "https")] if ours else []
    ports = tuple(listener["port"] for listener in listeners if listener["enabled"])
    return Gateway(wanted["namespace"], wanted["name"], wanted["condition"], ports)


def _key(check: Mapping[str, Any]) -> Key:
    return check["namespace"], check["name"]


def _is_proxy(layer: str, check: Mapping[str, Any]) -> bool:
    return layer == "inference_gateway" and check["check"] == "deployment"


def _crds(check: Mapping[str, Any]) -> list[str]:
    if check["check"] == "crds":
        return list(check["names"])
    return [check["name"]] if check.get("kind") == "CustomResourceDefinition" else []


def _services(plan: Plan, deployments: list[Key], proxies: set[Key]) -> Iterator[Service]:
    known = yaml.safe_load(SERVICES.read_text(encoding="utf-8"))
    facts = {name: plan[name] for name in ("release", "distribution", "route")}
    for namespace, name in deployments:
        if (namespace, name) in proxies:
            # istiod gives the Service of a Gateway the name of its Deployment.
            yield Service(namespace, name, "LoadBalancer", tuple(known["gateway_ports"]), of_gateway=True)
        for entry in known["services"]:
            if entry["deployment"] == name and holds(entry.get("when"), facts):
                yield Service(namespace, entry["name"], "ClusterIP", tuple(entry["ports"]))
