"""Stand-in for the Red Hat cert-manager operator (facts: operators.md 1)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from embedded_cluster.standins import rules
from embedded_cluster.standins.engine import ApiError, Controller
from embedded_cluster.standins.objects import Ref, deployment_is_ready
from embedded_cluster.standins.program import LeaderElection, ProgramError, check, program

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment


class CertManagerOperator(Controller):
    """The sync of CertManager/cluster."""

    async def absent(self) -> float | None:
        """Create the default resource; if that fails, try again at the next look (operators.md 1.4)."""
        await super().absent()
        body = {
            "apiVersion": self.rules.source["apiVersion"],
            "kind": self.rules.source["kind"],
            "metadata": {"name": self.rules.source["name"]},
            "spec": {"managementState": "Managed"},
        }
        with contextlib.suppress(ApiError):
            await self.client.create(body, manager=self.rules.manager)
            self.log.info("created CertManager %s", self.rules.source["name"])
        return float(self.values["default_seconds"])

    async def finalize(self, source: dict[str, Any]) -> float | None:
        """Delete the three Deployments, then let the resource go; everything else stays (operators.md 1.7)."""
        for document in self.operands(source):
            if document["kind"] == "Deployment":
                await self.remove(Ref.of(document))
        await self.remove_finalizers(source)
        return None

    def observations(self, source: Mapping[str, Any]) -> dict[str, Any]:
        refs = [ref for ref in self.desired if ref.kind == "Deployment"]
        available = [ref.name for ref in refs if deployment_is_ready(self.seen.get(ref))]
        return {**super().observations(source), "available": available}


def operator_values(env: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What rules and operands refer to; an image is the RELATED_IMAGE variable's, else upstream's of that version."""
    version = env["OPERAND_IMAGE_VERSION"]
    images = {
        name: env.get(entry["env"]) or f"{entry['default']}:v{version}" for name, entry in settings["images"].items()
    }
    return {**settings, "images": images, "version": version}


@program
async def main(pod: PodEnvironment) -> None:
    """Run the operator in this pod."""
    file = rules.load("cert_manager_operator")
    check(pod, file.program)
    if pod.namespace != file.settings["operator_namespace"]:
        raise ProgramError(
            f"the operator looks for itself in namespace {file.settings['operator_namespace']}, "
            f"but its pod is in {pod.namespace}"
        )
    pod.ready()
    async with LeaderElection(pod, file.lease).leading():
        await CertManagerOperator(pod, file.rules["cluster"], operator_values(pod.env, file.settings)).run()
