"""Stand-in for the cloud manager of lines 3.4 and 3.5 (facts: observed-operators.md 2, platform.md 2).

Managed dependencies are rendered from this project's own charts with `helm template` and applied by force under the
pod's own ServiceAccount, so names and rights of the dependency charts are put to the test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import yaml
from embedded_cluster.standins import objects, rules, templates
from embedded_cluster.standins.engine import Controller, Desired, StepError
from embedded_cluster.standins.objects import Ref, dig, is_owned_by, marked
from embedded_cluster.standins.program import LeaderElection, ProgramError, check, program
from embedded_cluster.standins.rules import Rules, Step

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

POLICIES = "spec", "dependencies"
DELETED_FIRST = (
    Ref("sailoperator.io/v1", "Istio", "default"),
    Ref("operator.openshift.io/v1alpha1", "CertManager", "cluster"),
)
"""What would hang without its operator, deleted before the engine goes (platform.md 2.5)."""


@dataclass(frozen=True)
class Dependency:
    """One dependency of the engine and what Managed means for it (rules/cloud_manager.yml, settings.dependencies)."""

    name: str
    condition: str
    release: str
    namespaces: Sequence[str] = ()
    crds: Sequence[str] = ()
    crds_if_absent: Sequence[str] = ()
    operator: str = ""
    instance: str = ""
    resource: Mapping[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> Ref | None:
        """The operator's own custom resource, if the dependency has one that takes part in uninstalling."""
        return Ref(self.resource["apiVersion"], self.resource["kind"], self.resource["name"]) if self.resource else None


class CloudManager(Controller):
    """The sync of one provider's engine resource."""

    def __init__(self, pod: PodEnvironment, ruleset: Rules, values: Mapping[str, Any]) -> None:
        super().__init__(pod, ruleset, values)
        self.dependencies = [Dependency(name=name, **entry) for name, entry in self.values["dependencies"].items()]
        self.deployments: dict[str, list[Ref]] = {}
        self._charts: dict[tuple[str, str], list[dict[str, Any]]] = {}

    # Sync --------------------------------------------------------------------------------

    async def provision(self, source: dict[str, Any]) -> None:
        """PKI first, then every dependency by its policy, then collect what is no longer wanted."""
        wanted: list[Desired] = []
        failures: list[StepError] = []
        if not {"Certificate", "ClusterIssuer"} & {entry.display for entry in self.missing()}:
            wanted += self.pki(source)
        failures += await self.write_all(wanted)
        for dependency in self.dependencies:
            objects_of = await self.dependency_objects(dependency, source)
            self.deployments[dependency.name] = [item.ref for item in objects_of if item.ref.kind == "Deployment"]
            failures += await self.write_all(objects_of)
            wanted += objects_of
        await self.annotate_webhooks()
        self.raise_failures(failures)
        await self.collect(source, {item.ref for item in wanted})

    def pki(self, source: dict[str, Any]) -> list[Desired]:
        """Issuers and Certificates in the order of this line (observed-operators.md 2.2, 2.3)."""
        documents = rules.select(self.operands(source), self.values["pki_order"])
        return [self.prepared(document, Step(), source) for document in documents]

    def policy(self, dependency: Dependency, source: Mapping[str, Any]) -> str:
        """Managed or Unmanaged; left out means Managed (platform.md 2.3)."""
        return str(dig(source, *POLICIES, dependency.name, "managementPolicy", default="Managed"))

    async def dependency_objects(self, dependency: Dependency, source: dict[str, Any]) -> list[Desired]:
        """What is to be applied for one dependency.

        Unmanaged in line 3.5 still means the operator's chart while the operator's own resource exists, whoever made
        it; one that this engine made is deleted first (observed-operators.md 2.5).
        """
        managed = self.policy(dependency, source) == "Managed"
        if not managed:
            resource = self.seen.get(dependency.ref) if dependency.ref and self.values["takes_over"] else None
            if resource is None:
                return []
            if is_owned_by(resource, source["metadata"]["uid"]) and not resource["metadata"].get("deletionTimestamp"):
                await self.remove(Ref.of(resource), propagation="Foreground")
        default = dependency.namespaces[0] if dependency.namespaces else ""
        namespace = dig(source, *POLICIES, dependency.name, "configuration", "namespace", default=default)
        found = [self.namespace(name, source) for name in dependency.namespaces]
        found += self.dependency_crds(dependency, source)
        charts = [dependency.operator, dependency.instance] if managed else [dependency.operator]
        for chart in filter(None, charts):
            for document in map(self.as_in_the_image, await self.rendered(chart, namespace)):
                found.append(self.prepared(rules.placed(document, namespace), Step(), source))
        return found

    def as_in_the_image(self, document: dict[str, Any]) -> dict[str, Any]:
        """An object under the name that it has in the charts of this line's image, if ours has another one."""
        name = self.values["renamed"].get(f"{document['kind']} {document['metadata']['name']}")
        return {**document, "metadata": {**document["metadata"], "name": name}} if name else document

    def namespace(self, name: str, source: Mapping[str, Any]) -> Desired:
        """A Namespace: labelled and annotated, without owner (observed-operators.md 2.5)."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        labels, annotations = self._rendered(self.rules.labels, source), self._rendered(self.rules.annotations, source)
        return Desired(marked(body, labels=labels, annotations=annotations), self.rules.manager)

    def dependency_crds(self, dependency: Dependency, source: Mapping[str, Any]) -> list[Desired]:
        """CRDs of the dependency's sets, by force, without owner; some only if nobody else has them."""
        label = next(iter(self.values["crd_labels"]))
        foreign = {
            name
            for name in dependency.crds_if_absent
            if name in self.crds and label not in dig(self.crds[name], "metadata", "labels", default={})
        }
        marks = {"manager": self.values["crd_manager"], "labels": self.values["crd_labels"]}
        found = [crd for name in dependency.crds for crd in self.crd_objects({"set": name, **marks}, source)]
        return [crd for crd in found if crd.ref.name not in foreign]

    async def rendered(self, chart: str, namespace: str) -> list[dict[str, Any]]:
        """The objects of one of our charts with the values of this line, in the order Helm would install them."""
        if (chart, namespace) not in self._charts:
            values = json.dumps(self.values["chart_values"].get(chart, {}))
            process = await asyncio.create_subprocess_exec(
                str(self.pod.helm), "template", chart, str(self.pod.charts_dir / chart), "--namespace", namespace,
                "--values", "-",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            output, errors = await process.communicate(values.encode())
            if process.returncode:
                raise StepError(f"unable to render chart {chart}: {errors.decode().strip()}")
            documents = [document for document in yaml.load_all(output.decode(), templates.LOADER) if document]
            self._charts[chart, namespace] = documents
        return self._charts[chart, namespace]

    async def annotate_webhooks(self) -> None:
        """Tell the Sail operator to leave Istio's webhook configurations alone (platform.md 2.5)."""
        if not self.deployments.get("sailOperator"):
            return
        hook = self.values["annotated_webhooks"]
        for entry in hook["objects"]:
            ref = Ref("admissionregistration.k8s.io/v1", entry["kind"], entry["name"])
            live = self.seen.get(ref)
            if live and not objects.contains(dig(live, "metadata", "annotations", default={}), hook["annotations"]):
                patch = {"metadata": {"annotations": hook["annotations"]}}
                await self.client.patch(ref.api_version, ref.kind, ref.name, patch, manager=self.rules.manager)

    async def collect(self, source: Mapping[str, Any], wanted: set[Ref]) -> None:
        """Delete what this engine owns and no longer wants (observed-operators.md 2.5, 2.6)."""
        order = self.values["collect_order"]
        uid = source["metadata"]["uid"]
        owned = [ref for ref, obj in self.seen.items() if ref.kind in order and is_owned_by(obj, uid)]
        stale = [ref for ref in owned if ref not in wanted]
        for ref in sorted(stale, key=lambda ref: (order.index(ref.kind), ref)):
            self.log.info("deleting %s", ref)
            await self.remove(ref, propagation="Foreground")
        for ref in set(self.desired) - wanted:
            self.desired.pop(ref)
            self.settled.pop(ref, None)

    async def finalize(self, source: dict[str, Any]) -> float | None:
        """Delete what would hang without its operator, if it is ours, then let the resource go (observed 2.7)."""
        uid = source["metadata"]["uid"]
        waiting = False
        for ref in DELETED_FIRST:
            live = await self.client.get(ref.api_version, ref.kind, ref.name)
            if live and is_owned_by(live, uid):
                waiting = True
                await self.remove(ref, propagation="Foreground")
        if waiting:
            return float(self.values["finalize_seconds"])
        await self.remove_finalizers(source)
        return None

    def with_defaults(self, source: dict[str, Any]) -> dict[str, Any]:
        """The update that adds the finalizer also writes defaults, so the generation becomes 2 (observed 2.2)."""
        dependencies = dig(source, *POLICIES, default={})
        full = {
            entry.name: {"managementPolicy": "Managed", "configuration": {}, **dependencies.get(entry.name, {})}
            for entry in self.dependencies
        }
        return {**source, "spec": {**source.get("spec", {}), "dependencies": {**dependencies, **full}}}

    # Status ------------------------------------------------------------------------------

    def observations(self, source: Mapping[str, Any]) -> dict[str, Any]:
        labelled = [obj for ref, obj in self.seen.items() if ref.kind == "Deployment"]
        states = {entry.condition: self.dependency_state(entry, source) for entry in self.dependencies}
        releases = {entry.condition: entry.release for entry in self.dependencies}
        return {
            **super().observations(source),
            "ready": sum(map(objects.deployment_is_ready, labelled)),
            "wanted": len(labelled),
            "each": {kind: {"dependency": state} for kind, state in states.items()},
            "waiting": [releases[kind] for kind, state in states.items() if state["problem"]],
        }

    def dependency_state(self, dependency: Dependency, source: Mapping[str, Any]) -> dict[str, str]:
        """policy, problem (empty if fine) and reason of one dependency (platform.md 2.3)."""
        policy = self.policy(dependency, source)
        if policy != "Managed":
            return {"policy": policy, "problem": "", "reason": ""}
        refs = self.deployments.get(dependency.name, [])
        ready = sum(objects.deployment_is_ready(self.seen.get(ref)) for ref in refs)
        if ready < len(refs):
            problem = f"{ready}/{len(refs)} deployments ready"
            return {"policy": policy, "problem": problem, "reason": "DeploymentsNotReady"}
        problem = degraded(self.seen.get(dependency.ref)) if dependency.ref else ""
        return {"policy": policy, "problem": problem, "reason": "DependencyDegraded" if problem else ""}

    def concerns_status(self, ref: Ref, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> bool:
        """A new operator resource is not noticed by itself; its status is, if it is managed (observed 2.5)."""
        dependency = next((entry for entry in self.dependencies if entry.ref == ref), None)
        if dependency is None:
            return ref.kind.endswith("WebhookConfiguration") or super().concerns_status(ref, before, now)
        if now is None or self.source is None:
            return now is None
        return self.policy(dependency, self.source) == "Managed" and super().concerns_status(ref, before, now)


def degraded(resource: Mapping[str, Any] | None) -> str:
    """What is wrong with an operator's own resource by its conditions, empty if nothing is."""
    if resource is None:
        return ""
    for kind, bad in (("Degraded", "True"), ("Available", "False"), ("Ready", "False")):
        entry = objects.condition(resource, kind)
        if entry.get("status") == bad:
            return f"{resource['kind']} {kind}={bad}: {entry.get('message', '')}".strip()
    return ""


def line_of(image: str, env: Mapping[str, str], images: Mapping[str, str]) -> str:
    """3.4 or 3.5: by the digest of the image, else by the variable that only 3.5 needs (platform.md 2.1)."""
    known = images.get(image.rpartition("@sha256:")[2])
    return known or ("3.5" if env.get("DEFAULT_CHARTS_PATH") else "3.4")


def names_from(env: Mapping[str, str], table: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Names of PKI objects from the environment, else the program's own defaults."""
    return {name: env.get(entry["env"]) or entry["default"] for name, entry in table.items()}


def rules_for(file: rules.RuleFile, line: str, provider: str) -> tuple[Rules, dict[str, Any]]:
    """The rules of a line with the provider's kind filled in, and the values that go with them."""
    kind = file.settings["kinds"][provider]
    source = {**file.rules[line].source, "kind": kind, "name": f"default-{kind.lower()}"}
    return replace(file.rules[line], source=source, manager=kind.lower()), {**file.settings, "kind": kind}


def required(allowed: Iterable[str], provider: str, line: str) -> None:
    """Raise ProgramError if this line does not have the provider."""
    if provider not in allowed:
        raise ProgramError(f'unknown command "{provider}" for "cloudmanager" (line {line} has {", ".join(allowed)})')


@program
async def main(pod: PodEnvironment) -> None:
    """Run the cloud manager in this pod."""
    file = rules.load("cloud_manager")
    provider = check(pod, file.program)["command"]
    line = line_of(pod.image, pod.env, file.settings["images"])
    required(file.settings["lines"][line]["providers"], provider, line)
    for name in file.settings["lines"][line]["env"]:
        if not pod.env.get(name):
            raise ProgramError(f"environment variable {name} must be set")
    ruleset, values = rules_for(file, line, provider)
    names = names_from(pod.env, file.settings["names"])
    pod.ready()
    pod.log.info("cloud manager %s of line %s", provider, line)
    lease = replace(file.lease, name=f"{provider}.{file.lease.name}")
    async with LeaderElection(pod, lease).leading():
        await CloudManager(pod, ruleset, {**values, **names}).run()
