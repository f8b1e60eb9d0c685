"""Stand-in for the module of KServe of the 3.5 line (facts: platform.md 1.8; the module itself was not observed)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from embedded_cluster.standins import rules
from embedded_cluster.standins.engine import Controller, ca_annotations
from embedded_cluster.standins.program import LeaderElection, check, program
from embedded_cluster.standins.settings import from_env

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

CONFIGURATION_RETRY_SECONDS = 1.0


class KserveModule(Controller):
    """The sync of Kserve/default-kserve."""

    def status_fields(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """As the rules say, with the platform's version among the releases."""
        fields = super().status_fields(facts)
        for entry in (releases := [dict(entry) for entry in fields["releases"]]):
            entry.setdefault("version", self.values["platform_version"])
        return {**fields, "releases": releases}


def module_values(pod: PodEnvironment, settings: Mapping[str, Any], configuration: Mapping[str, str]) -> dict[str, Any]:
    """What rules and operands refer to; ``configuration`` is the data of the ConfigMap from the platform operator."""
    images = from_env(pod.env, settings["images"])
    version = configuration["platformVersion"]
    applications = pod.env["POD_NAMESPACE"]
    values = {"openshift": False, "applications": applications}
    return {
        **settings,
        **values,
        "namespace": applications,
        "gateway": f"{applications}/{settings['gateway']}",
        "ca_annotations": ca_annotations("<< applications >>/llmisvc-webhook-server", values),
        "platform_version": version,
        "version_prefix": "v" + version.replace(".", "-"),
        "images": images,
        "parameters": {entry["parameter"]: images[name] for name, entry in settings["images"].items()},
        "pki": {name: value for name, value in configuration.items() if name != "platformVersion"},
    }


async def configuration_of(pod: PodEnvironment, name: str) -> Mapping[str, str]:
    """The data of the ConfigMap that the platform operator writes for the module; waits until it is there."""
    while True:
        found = await pod.client.get("v1", "ConfigMap", name, pod.env["POD_NAMESPACE"])
        if found is not None:
            data: Mapping[str, str] = found["data"]
            return data
        await asyncio.sleep(CONFIGURATION_RETRY_SECONDS)


@program
async def main(pod: PodEnvironment) -> None:
    """Run the module in this pod."""
    file = rules.load("kserve_module")
    check(pod, file.program)
    pod.ready()
    async with LeaderElection(pod, file.lease).leading():
        configuration = await configuration_of(pod, file.settings["configuration"])
        await KserveModule(pod, file.rules["kserve"], module_values(pod, file.settings, configuration)).run()
