"""Stand-in for the Sail operator of OpenShift Service Mesh (facts: operators.md 2)."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from embedded_cluster.standins import objects, rules, templates
from embedded_cluster.standins.engine import Controller, StepError, run_together
from embedded_cluster.standins.objects import Ref, dig
from embedded_cluster.standins.program import LeaderElection, check, program
from embedded_cluster.standins.rules import Rules

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

_IMAGE = re.compile(r"images\.v(\d+)_(\d+)_(\d+)\.([\w-]+)")


class IstioController(Controller):
    """Istio/default: resolves version and images and writes the IstioRevision of the same name."""

    async def resolve(self, source: Mapping[str, Any]) -> None:
        """Work out the version behind an alias and the images of that version (operators.md 2.1, 2.4)."""
        wanted = dig(source, "spec", "version", default="")
        version = resolve_version(wanted, self.values["known_versions"])
        if version is None:
            raise StepError(f"version {wanted!r} not supported")
        images = self.values["images"].get(version) or {
            component: templates.render_text(image, {"tag": version.removeprefix("v")})
            for component, image in self.values["compiled_in"].items()
        }
        self.values["resolved"] = {
            "version": version,
            "values": with_images(source["spec"], images, source["metadata"]["name"]),
        }

    def revision(self) -> dict[str, Any] | None:
        """The IstioRevision as last seen."""
        own = self.rules.source
        return self.seen.get(Ref(own["apiVersion"], "IstioRevision", own["name"]))

    def observations(self, source: Mapping[str, Any]) -> dict[str, Any]:
        revision = self.revision()
        healthy = revision is not None and objects.condition(revision, "Ready").get("status") == "True"
        return {**super().observations(source), "healthy": healthy}

    def status_fields(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Adds how many revisions there are, which is one."""
        ready = int(facts["healthy"])
        return {**super().status_fields(facts), "revisions": {"total": 1, "ready": ready, "inUse": 1}}


class RevisionController(Controller):
    """IstioRevision/default: writes istiod and what belongs to it."""

    def operands(self, source: Mapping[str, Any]) -> list[dict[str, Any]]:
        values = source["spec"]["values"]
        self.values["pull_secrets"] = [{"name": name} for name in dig(values, "global", "imagePullSecrets", default=[])]
        self.values["mesh"] = {
            "rootNamespace": source["spec"]["namespace"],
            "trustDomain": "cluster.local",
            **values.get("meshConfig", {}),
        }
        return super().operands(source)

    def observations(self, source: Mapping[str, Any]) -> dict[str, Any]:
        counts = super().observations(source)
        healthy = counts["ready"] == counts["wanted"] == 1
        return {**counts, "healthy": healthy, "in_use": bool(source["metadata"].get("ownerReferences"))}

    async def finalize(self, source: dict[str, Any]) -> float | None:
        """Uninstall: delete the operands, then let the revision go."""
        for document in reversed(self.operands(source)):
            ref = Ref.of(document)
            await self.remove(ref)
        await self.remove_finalizers(source)
        return None


def resolve_version(wanted: str, known: Iterable[str]) -> str | None:
    """`v1.27-latest` is the newest known 1.27; a full version must be known. None if there is none."""
    match = re.fullmatch(r"(v\d+\.\d+)-latest", wanted)
    if match:
        found = [version for version in known if version.startswith(f"{match[1]}.")]
        return max(found, key=lambda version: [int(part) for part in version[1:].split(".")], default=None)
    return wanted if wanted in known else None


def images_by_version(annotations: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Images per Istio version and component from pod annotations `images.v1_27_8.istiod`."""
    found: dict[str, dict[str, str]] = {}
    for key, image in annotations.items():
        if match := _IMAGE.fullmatch(key):
            found.setdefault(f"v{match[1]}.{match[2]}.{match[3]}", {})[match[4]] = image
    return found


def with_images(spec: Mapping[str, Any], images: Mapping[str, str], name: str = "default") -> dict[str, Any]:
    """The values of the IstioRevision `name`: the user's, with namespace and images where the user gave none."""
    values = copy.deepcopy(dict(spec.get("values") or {}))
    values.setdefault("pilot", {}).setdefault("image", images.get("istiod", ""))
    shared = values.setdefault("global", {})
    shared["istioNamespace"] = spec["namespace"]
    shared.setdefault("proxy", {}).setdefault("image", images.get("proxy", ""))
    values.pop("defaultRevision", None)  # operators.md 2.4: the operator clears a user's value
    if name != "default":
        values["revision"] = name
    return values


def operator_values(pod: PodEnvironment, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What rules refer to; images are known only if the pod mounts its annotations (operators.md 2.2)."""
    mounted = settings["config_mount"] in pod.mounts
    if not mounted:
        pod.log.warning("no volume at %s: images compiled into the operator are used", settings["config_mount"])
    annotations = pod.pod["metadata"].get("annotations", {}) if mounted else {}
    known = settings["known_versions"]
    instance = instance_of(pod, settings)
    return {
        **settings,
        "instance": instance["name"],
        "istio_namespace": instance["namespace"],
        "known_versions": known.get(pod.image.rpartition("@sha256:")[2], known["default"]),
        "images": images_by_version(annotations),
        "resolved": {},
    }


def instance_of(pod: PodEnvironment, settings: Mapping[str, Any]) -> dict[str, str]:
    """Name and namespace of the Istio object that an operator in this pod's namespace is asked for."""
    instances = settings["instances"]
    return dict(instances.get(pod.namespace, instances["default"]))


def named(ruleset: Rules, name: str) -> Rules:
    """The rules for an object of another name."""
    return replace(ruleset, source={**ruleset.source, "name": name})


@program
async def main(pod: PodEnvironment) -> None:
    """Run the operator in this pod."""
    file = rules.load("sail_operator")
    check(pod, file.program)
    values = operator_values(pod, file.settings)
    pod.ready()
    async with LeaderElection(pod, file.lease).leading():
        await run_together(
            IstioController(pod, named(file.rules["istio"], values["instance"]), values).run(),
            RevisionController(pod, named(file.rules["revision"], values["instance"]), values).run(),
        )
