"""Stand-in for the platform operator of lines 3.4 and 3.5 (facts: observed-operators.md 3, platform.md 1 and 3)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from embedded_cluster.standins import rules
from embedded_cluster.standins.engine import Controller, Desired, StepError, ca_annotations, run_together
from embedded_cluster.standins.objects import Ref, condition, dig, is_owned_by
from embedded_cluster.standins.program import LeaderElection, ProgramError, check, program
from embedded_cluster.standins.settings import from_env

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

PRESET = "LLMInferenceServiceConfig"
UNMANAGED = "opendatahub.io/managed"
VERSION = "platform.opendatahub.io/version"
GENERATION = "platform.opendatahub.io/instance.generation"
KSERVE = Ref("components.platform.opendatahub.io/v1alpha1", "Kserve", "default-kserve")


class PlatformOperator(Controller):
    """What both lines have in common."""

    async def check_manifests(self, _: Mapping[str, Any]) -> None:
        """Without the init container the folder of manifests is empty (observed-operators.md 3.1)."""
        if not dig(self.pod.pod, "spec", "initContainers"):
            raise StepError("must build at directory: not a valid directory: " + self.pod.env["DEFAULT_MANIFESTS_PATH"])


class RhaiOperator(PlatformOperator):
    """Line 3.4: the sync of Kserve/default-kserve."""

    async def settle(self, desired: Desired) -> None:
        """Leave alone what is marked as not managed, after dropping its owner reference (3.6)."""
        live = self.seen.get(desired.ref)
        if live is None or dig(live, "metadata", "annotations", UNMANAGED) != "false":
            await super().settle(desired)
            return
        if live["metadata"].get("ownerReferences"):
            ref = desired.ref
            patch = {"metadata": {"ownerReferences": None}}
            address = (ref.api_version, ref.kind, ref.name)
            await self.client.patch(*address, patch, ref.namespace, manager=self.rules.manager)

    def concerns_status(self, ref: Ref, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> bool:
        """Also notice the mark above."""
        left_alone = dig(now, "metadata", "annotations", UNMANAGED) == "false"
        still_owned = left_alone and bool(dig(now, "metadata", "ownerReferences"))
        return still_owned or super().concerns_status(ref, before, now)

    async def collect(self, source: dict[str, Any]) -> None:
        """Delete owned objects of another version or generation that are not rendered; presets stay (3.6)."""
        wanted = {item.ref for item in self.wanted(source)}
        uid, generation = source["metadata"]["uid"], str(source["metadata"]["generation"])
        for ref, live in list(self.seen.items()):
            marks = dig(live, "metadata", "annotations", default={})
            current = marks.get(VERSION) == self.values["version"] and marks.get(GENERATION) == generation
            if ref not in wanted and ref.kind != PRESET and not current and is_owned_by(live, uid):
                self.log.info("deleting %s", ref)
                await self.remove(ref)

    def wanted(self, source: Mapping[str, Any]) -> list[Desired]:
        """Everything but CRDs that the rules render for this resource."""
        return [
            self.prepared(document, step, source)
            for step in self.rules.steps
            for document in rules.select(self.operands(source), step.objects)
        ]


class ModuleInstaller(PlatformOperator):
    """Line 3.5: the sync of Platform/default, which installs the module of KServe."""

    async def provision(self, source: dict[str, Any]) -> None:
        """Without Managed the module goes, and Kserve/default-kserve with it (observed-operators.md 3.7)."""
        if dig(source, "spec", "modules", "kserve", "managementState") == "Managed":
            await super().provision(source)
            return
        await self.remove(KSERVE)
        for ref in [ref for ref, live in self.seen.items() if is_owned_by(live, source["metadata"]["uid"])]:
            await self.remove(ref)

    async def publish(self, source: dict[str, Any], error: str) -> None:
        """The status of Platform stays empty in every state (observed-operators.md 3.7)."""


class Initialization(PlatformOperator):
    """OpenShift: the sync of DSCInitialization/default-dsci."""

    async def check_namespace(self, source: Mapping[str, Any]) -> None:
        """The stand-in knows one namespace of applications."""
        found, known = dig(source, "spec", "applicationsNamespace"), self.values["applications"]
        if found != known:
            raise StepError(f"applicationsNamespace: expected {known}, found {found}")


class DataScienceCluster(PlatformOperator):
    """OpenShift: the sync of DataScienceCluster/default-dsc, as far as KServe goes."""

    async def provision(self, source: dict[str, Any]) -> None:
        """Without Managed the component goes, and what it made with it."""
        if is_wanted(source):
            await super().provision(source)
        else:
            await self.remove(KSERVE)

    async def check_initialization(self, _: Mapping[str, Any]) -> None:
        """Components wait for DSCInitialization."""
        if not any(ref.kind == "DSCInitialization" for ref in self.seen):
            raise StepError("failed to find DSCInitialization")

    def observations(self, source: Mapping[str, Any]) -> dict[str, Any]:
        ready = condition(self.seen.get(KSERVE, {}), "Ready")
        return {
            **super().observations(source),
            "wanted": is_wanted(source),
            "ready": ready.get("status") == "True",
            "why": ready.get("message") or "Kserve default-kserve has no status yet",
        }


def is_wanted(source: Mapping[str, Any]) -> bool:
    """Whether a DataScienceCluster asks for KServe."""
    return str(dig(source, "spec", "components", "kserve", "managementState")) == "Managed"


def is_openshift(pod: PodEnvironment, settings: Mapping[str, Any]) -> bool:
    """Whether the operator takes the cluster for OpenShift (platform.md 1.8); that of 3.5 is not known there."""
    known = settings.get("openshift", {}).get("platform_types", [])
    return pod.env.get("ODH_PLATFORM_TYPE") in known


def version_of(pod: PodEnvironment) -> str:
    """The version of the platform: told, or that of the ClusterServiceVersion that OLM names to its operators."""
    return pod.env.get("RHAI_VERSION") or pod.env.get("OPERATOR_CONDITION_NAME", "").partition(".")[2]


def check_environment(pod: PodEnvironment, settings: Mapping[str, Any]) -> tuple[Path, Path]:
    """The serving certificate and key, after checking what the process needs (platform.md 1.2, observed 3.1).

    Raises ProgramError with what the real process would exit with.
    """
    env = pod.env
    if not is_openshift(pod, settings):
        check_environment_of_kubernetes(env)
    mounts = dig(pod.pod, "spec", "containers", default=[{}])[0].get("volumeMounts", [])
    inside = {str(path): mount_path for mount_path, path in pod.mounts.items()}
    manifests = inside.get(env["DEFAULT_MANIFESTS_PATH"], env["DEFAULT_MANIFESTS_PATH"])
    if not any(mount["mountPath"] == manifests and not mount.get("readOnly") for mount in mounts):
        raise ProgramError(f"open {manifests}/kserve/overlays/odh/params.env: read-only file system")
    folder = pod.mounts.get(settings["serving_certificates"], Path("/nonexistent"))
    for name in ("tls.crt", "tls.key"):
        if not (folder / name).exists():
            path = f"{settings['serving_certificates']}/{name}"
            raise ProgramError(f"problem running manager: open {path}: no such file or directory")
    return folder / "tls.crt", folder / "tls.key"


def check_environment_of_kubernetes(env: Mapping[str, str]) -> None:
    """What the process needs on plain Kubernetes only (platform.md 1.2)."""
    if env.get("ODH_PLATFORM_TYPE") != "XKS":
        raise ProgramError(f"ODH_PLATFORM_TYPE must be XKS on plain Kubernetes, found {env.get('ODH_PLATFORM_TYPE')!r}")
    if not env.get("RHAI_VERSION"):
        raise ProgramError("RHAI_VERSION must be set when ODH_PLATFORM_TYPE is XKS")
    without_dsci = env.get("RHAI_DISABLE_DSCI_RESOURCE") == "true"
    if without_dsci != bool(env.get("RHAI_APPLICATIONS_NAMESPACE")):
        need = "must be set when DSCI is disabled" if without_dsci else "must not be set when DSCI is enabled"
        raise ProgramError(f"RHAI_APPLICATIONS_NAMESPACE {need}")


def operator_values(pod: PodEnvironment, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What rules and operands refer to: namespaces, images, names of the PKI and the prefix of preset names."""
    images = from_env(pod.env, settings["images"])
    openshift = is_openshift(pod, settings)
    there = settings["openshift"]
    applications = there["applications"] if openshift else pod.env["RHAI_APPLICATIONS_NAMESPACE"]
    values = {"openshift": openshift, "applications": applications}
    return {
        **settings,
        **values,
        "gateway": there["gateway"] if openshift else f"{applications}/{settings['gateway']}",
        "platform_type": pod.env["ODH_PLATFORM_TYPE"],
        "version": version_of(pod),
        "ca_annotations": ca_annotations("<< applications >>/llmisvc-webhook-server", values),
        "namespace": applications,
        "version_prefix": "v" + version_of(pod).replace(".", "-"),
        "images": images,
        "parameters": {entry["parameter"]: images[name] for name, entry in settings["images"].items()},
        "pki": from_env(pod.env, settings["pki"]),
    }


async def allow(request: web.Request) -> web.Response:
    """Answer an admission review: allowed, nothing changed."""
    review = await request.json()
    answer = {"uid": review["request"]["uid"], "allowed": True}
    return web.json_response({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer})


DEFAULT_MODULE_IMAGE = "quay.io/opendatahub/odh-kserve-module-operator:odh-stable"
"""What the manifests hold where the environment names no image."""


def installer_values(pod: PodEnvironment, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What rules and operands of line 3.5 refer to: namespaces, the module's image, environment and settings."""
    applications = pod.env["RHAI_APPLICATIONS_NAMESPACE"]
    related = {name: value for name, value in sorted(pod.env.items()) if name.startswith("RELATED_IMAGE_")}
    namespace = {
        "name": "POD_NAMESPACE",
        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
    }
    return {
        **settings,
        "namespace": applications,
        "applications": applications,
        "module_image": related.get(settings["module_image"], DEFAULT_MODULE_IMAGE),
        "module_environment": [namespace, *({"name": name, "value": value} for name, value in related.items())],
        "settings_of_module": {**from_env(pod.env, settings["pki"]), "platformVersion": pod.env["RHAI_VERSION"]},
    }


@program
async def main(pod: PodEnvironment) -> None:
    """Run the operator in this pod; replicas that do not lead answer webhooks only."""
    newer = pod.image.rpartition("@sha256:")[2] in rules.load("rhai_operator").settings["line_3_5_images"]
    file = rules.load("rhai_operator_3_5" if newer else "rhai_operator")
    check(pod, file.program)
    certificate = check_environment(pod, file.settings)
    application = web.Application()
    application.add_routes([web.post(path, allow) for path in file.settings["webhook_paths"]])
    await pod.serve(file.settings["webhook_port"], application, tls=certificate)
    pod.ready()
    controllers: list[Controller]
    if newer:
        controllers = [ModuleInstaller(pod, file.rules["platform"], installer_values(pod, file.settings))]
    else:
        values = operator_values(pod, file.settings)
        controllers = [RhaiOperator(pod, file.rules["kserve"], values)]
        if values["openshift"]:
            controllers.append(Initialization(pod, file.rules["initialization"], values))
            controllers.append(DataScienceCluster(pod, file.rules["cluster"], values))
    async with LeaderElection(pod, file.lease).leading():
        await run_together(*(controller.run() for controller in controllers))
