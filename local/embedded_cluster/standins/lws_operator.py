"""Stand-in for the Red Hat LeaderWorkerSet operator (facts: observed-operators.md 4, operators.md 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from embedded_cluster.standins import rules
from embedded_cluster.standins.engine import CRD, CRD_API, Controller, StepError
from embedded_cluster.standins.objects import Ref, dig
from embedded_cluster.standins.program import LeaderElection, check, program

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

LWS_CRD = "leaderworkersets.leaderworkerset.x-k8s.io"
SERVICE_MONITOR_CRD = "servicemonitors.monitoring.coreos.com"


class UnmanagedError(Exception):
    """The custom resource asks to be left alone; the sync ends early without an error."""


class LwsOperator(Controller):
    """The sync of LeaderWorkerSetOperator/cluster."""

    async def provision(self, source: dict[str, Any]) -> None:
        try:
            await super().provision(source)
        except UnmanagedError:
            self.log.info("%s is Unmanaged", Ref.of(source))

    async def check_managed(self, source: Mapping[str, Any]) -> None:
        """managementState Unmanaged: return early (observed-operators.md 4.4)."""
        if dig(source, "spec", "managementState") == "Unmanaged":
            raise UnmanagedError

    async def check_cert_manager(self, _: Mapping[str, Any]) -> None:
        """Without cert-manager's Issuer CRD nothing is created; looked at again after 15 s (4.1)."""
        if self.missing():
            raise StepError(self.values["missing_dependency"], self.values["dependency_retry"])

    async def check_existing_crd(self, _: Mapping[str, Any]) -> None:
        """The operator reads spec.conversion.webhook of an existing CRD and panics if it has none (4.4)."""
        if LWS_CRD not in self.crds or Ref(CRD_API, CRD, LWS_CRD) in self.settled:
            return
        live = await self.client.get(CRD_API, CRD, LWS_CRD)
        if live is not None and dig(live, "spec", "conversion", "webhook") is None:
            raise StepError(self.values["crd_panic"])

    async def check_service_monitor(self, _: Mapping[str, Any]) -> None:
        """The ServiceMonitor comes before the Deployment: without its CRD the Deployment never appears (4.1)."""
        if SERVICE_MONITOR_CRD not in self.crds:
            raise StepError("the server could not find the requested resource")

    async def read_versions(self, _: Mapping[str, Any]) -> None:
        """The pod template carries the versions of both Secrets and the ConfigMap, so a new certificate rolls it."""
        names = {
            "serving": ("Secret", "webhook-server-cert"),
            "metrics": ("Secret", "metrics-server-cert"),
            "config": ("ConfigMap", "lws-manager-config"),
        }
        versions = {}
        for key, (kind, name) in names.items():
            live = await self.client.get("v1", kind, name, self.pod.namespace)
            versions[key] = dig(live, "metadata", "resourceVersion", default="")
        self.values["versions"] = versions

    def concerns_status(self, ref: Ref, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> bool:
        """Contents of the Secrets and the ConfigMap are in the pod template; the status ignores pods altogether."""
        watched = ref.kind in ("Secret", "ConfigMap") and before is not None
        return watched and dig(before, "data") != dig(now, "data")

    def observations(self, source: Mapping[str, Any]) -> dict[str, Any]:
        deployment = next((ref for ref in self.desired if ref.kind == "Deployment"), None)
        live = self.seen.get(deployment) if deployment else None
        return {
            **super().observations(source),
            "unmanaged": dig(source, "spec", "managementState") == "Unmanaged",
            "deployed": deployment is not None,
            "deployment": live,
        }

    def status_fields(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """generations[] names the Deployment's generation; readyReplicas stays 0 (4.3)."""
        fields = super().status_fields(facts)
        for ref, generation in self.settled.items():
            if ref.kind == "Deployment":
                fields["generations"] = [
                    {
                        "group": "apps",
                        "resource": "deployments",
                        "namespace": ref.namespace,
                        "name": ref.name,
                        "lastGeneration": generation,
                        "hash": "",
                    }
                ]
        return fields


@program
async def main(pod: PodEnvironment) -> None:
    """Run the operator in this pod."""
    file = rules.load("lws_operator")
    check(pod, file.program)
    pod.ready()
    async with LeaderElection(pod, file.lease).leading():
        await LwsOperator(
            pod, file.rules["cluster"], {"versions": dict.fromkeys(("serving", "metrics", "config"), "")}
        ).run()
