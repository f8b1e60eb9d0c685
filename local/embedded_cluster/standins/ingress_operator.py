"""Stand-in for OpenShift's ingress operator: Service Mesh and a control plane for GatewayClasses (operators.md 5)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import yaml
from embedded_cluster.standins import templates
from embedded_cluster.standins.engine import CRD, CRD_API, MetadataClient
from embedded_cluster.standins.objects import contains
from embedded_cluster.standins.program import program
from embedded_cluster.standins.wake_loop import WakeLoop, retried

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

MANAGER = "ingress-operator"
OLM = "operators.coreos.com/v1alpha1"
GATEWAY_API = "gateway.networking.k8s.io/v1"
SAIL = "sailoperator.io/v1"
ISTIO_CRD = "istios.sailoperator.io"

Object = dict[str, Any]


@functools.cache
def load_rules() -> dict[str, Any]:
    """rules/ingress_operator.yml."""
    path = templates.FOLDER / "rules" / "ingress_operator.yml"
    rules: dict[str, Any] = yaml.load(path.read_text(), templates.LOADER)
    return rules


def subscription_object(rules: Mapping[str, Any]) -> Object:
    """The Subscription to Service Mesh: manual, so that the version stays that of the OpenShift release."""
    wanted = rules["subscription"]
    return {
        "apiVersion": OLM,
        "kind": "Subscription",
        "metadata": {
            "name": wanted["name"],
            "namespace": wanted["namespace"],
            "annotations": {rules["owned"]: "true"},
        },
        "spec": {
            "name": wanted["name"],
            "channel": wanted["channel"],
            "source": "redhat-operators",
            "sourceNamespace": "openshift-marketplace",
            "installPlanApproval": "Manual",
            "startingCSV": wanted["csv"],
        },
    }


def istio_object(rules: Mapping[str, Any], crds: Collection[str]) -> Object:
    """The Istio object, with the inference extension as soon as one of its CRDs exists."""
    wanted, inference = rules["istio"], rules["inference"]
    env = {**wanted["env"], **(inference["env"] if set(inference["crds"]) & set(crds) else {})}
    return {
        "apiVersion": SAIL,
        "kind": "Istio",
        "metadata": {"name": wanted["name"], "annotations": {rules["owned"]: "true"}},
        "spec": {
            "namespace": wanted["namespace"],
            "version": wanted["version"],
            "updateStrategy": {"type": "InPlace"},
            "values": {
                "meshConfig": {"accessLogFile": "/dev/stdout"},
                "pilot": {"env": env},
            },
        },
    }


class IngressOperator:
    """Looks at GatewayClasses, InstallPlans and CRDs, and does what is due."""

    def __init__(self, pod: PodEnvironment) -> None:
        self.pod = pod
        self.client = pod.client
        self.rules = load_rules()
        self.classes: dict[str, Object] = {}
        self.plans: dict[str, Object] = {}
        self.crds: set[str] = set()
        self.written: dict[str, Object] = {}
        self.loop = WakeLoop()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(GATEWAY_API, "GatewayClass", self.classes))
            tasks.create_task(self._follow(OLM, "InstallPlan", self.plans, self.rules["subscription"]["namespace"]))
            tasks.create_task(self._follow_crds())
            tasks.create_task(self.loop.run(retried(self.look, self.pod.log)))

    async def _follow(self, api_version: str, kind: str, seen: dict[str, Object], namespace: str | None = None) -> None:
        async for event, obj in self.client.watch(api_version, kind, namespace):
            if event == "DELETED":
                seen.pop(obj["metadata"]["name"], None)
            else:
                seen[obj["metadata"]["name"]] = obj
            self.loop.wake()

    async def _follow_crds(self) -> None:
        client = MetadataClient(self.client)
        try:
            async for event, obj in client.watch(CRD_API, CRD):
                name = obj["metadata"]["name"]
                known = name in self.crds
                (self.crds.discard if event == "DELETED" else self.crds.add)(name)
                if known != (name in self.crds):
                    self.loop.wake()
        finally:
            await client.close()

    async def look(self) -> None:
        """One pass; nothing without a GatewayClass of this controller."""
        if not any(item["spec"]["controllerName"] == self.rules["controller"] for item in self.classes.values()):
            return
        await self._write(subscription_object(self.rules))
        for plan in self.plans.values():
            spec = plan["spec"]
            if not spec["approved"] and spec["clusterServiceVersionNames"] == [self.rules["subscription"]["csv"]]:
                await self._approve(plan)
        if ISTIO_CRD in self.crds:
            await self._write(istio_object(self.rules, self.crds))

    async def _approve(self, plan: Object) -> None:
        metadata = plan["metadata"]
        patch = {"spec": {"approved": True}}
        await self.client.patch(OLM, "InstallPlan", metadata["name"], patch, metadata["namespace"], manager=MANAGER)

    async def _write(self, obj: Object) -> None:
        """Apply an object that was not written like this before."""
        if contains(self.written.get(obj["kind"]), obj):
            return
        self.written[obj["kind"]] = await self.client.apply(obj, MANAGER)


@program
async def main(pod: PodEnvironment) -> None:
    """Run the operator in this pod."""
    pod.ready()
    await IngressOperator(pod).run()
