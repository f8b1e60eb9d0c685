"""Stand-in for the Operator Lifecycle Manager: Subscription -> InstallPlan -> ClusterServiceVersion -> operator.

Facts: operators.md 5; catalogue and texts are data in rules/olm.yml. An operator's Deployment and rights come from this
project's own chart of it, rendered with `helm template`; its CRDs from the tools' folder. One pass looks at everything
and does what is due; passes follow each other as long as something changes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml
from embedded_cluster.kube import ApiError
from embedded_cluster.standins import objects, templates
from embedded_cluster.standins.gateway.mesh_ca import Authority
from embedded_cluster.standins.objects import CLUSTER_SCOPED, dig, marked
from embedded_cluster.standins.program import program
from embedded_cluster.standins.wake_loop import WakeLoop, retried

if TYPE_CHECKING:
    from embedded_cluster.pod import PodEnvironment

API, GROUP_API = "operators.coreos.com/v1alpha1", "operators.coreos.com/v1"
MANAGER = "olm"
OWNER_LABEL = "olm.owner"
CONDITION_NAME = "OPERATOR_CONDITION_NAME"
"""Variable with the name of the version, which OLM sets for every operator."""
WATCHED = (
    (API, "Subscription", None),
    (API, "InstallPlan", None),
    (API, "ClusterServiceVersion", None),
    (GROUP_API, "OperatorGroup", None),
    ("apps/v1", "Deployment", OWNER_LABEL),
)

Object = dict[str, Any]


@functools.cache
def load_rules() -> dict[str, Any]:
    """rules/olm.yml."""
    rules: dict[str, Any] = yaml.load((templates.FOLDER / "rules" / "olm.yml").read_text(), templates.LOADER)
    return rules


@dataclass(frozen=True)
class Offer:
    """The version that a Subscription would install next."""

    subscription: Object
    csv: str

    @property
    def manual(self) -> bool:
        return dig(self.subscription, "spec", "installPlanApproval", default="Automatic") == "Manual"


def next_version(subscription: Mapping[str, Any], packages: Mapping[str, Any]) -> str | None:
    """The version to install next, "" when the newest is installed, None when the catalogue lacks the package."""
    spec = subscription["spec"]
    versions = packages.get(spec["name"], {}).get(spec.get("channel"))
    if not versions:
        return None
    installed = dig(subscription, "status", "installedCSV", default="")
    if not installed:
        starting = spec.get("startingCSV") or versions[-1]
        return starting if starting in versions else None
    newer = versions[versions.index(installed) + 1 :] if installed in versions else []
    return newer[-1] if newer else ""


class Lifecycle:
    """All of OLM for one cluster."""

    def __init__(self, pod: PodEnvironment) -> None:
        self.pod = pod
        self.client = pod.client
        self.log = pod.log
        self.rules = load_rules()
        self.seen: dict[str, dict[tuple[str, str], Object]] = {kind: {} for _, kind, _ in WATCHED}
        self.loop = WakeLoop()
        self._synced: set[str] = set()
        self._rendered: dict[str, list[Object]] = {}
        self._installed: set[str] = set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for api_version, kind, label in WATCHED:
                tasks.create_task(self._follow(api_version, kind, label), name=f"watch {kind}")
            tasks.create_task(self.loop.run(retried(self._look_once_synced, self.log)), name="passes")

    async def _follow(self, api_version: str, kind: str, label: str | None) -> None:
        def synced() -> None:
            self._synced.add(kind)
            self.loop.wake()

        async for event, obj in self.client.watch(api_version, kind, label_selector=label, on_synced=synced):
            key = obj["metadata"]["namespace"], obj["metadata"]["name"]
            if event == "DELETED":
                self.seen[kind].pop(key, None)
            else:
                self.seen[kind][key] = {**obj, "apiVersion": api_version, "kind": kind}
            self.loop.wake()

    async def _look_once_synced(self) -> None:
        """Nothing before everything was listed once: what is not seen yet would be made anew."""
        if len(self._synced) == len(WATCHED):
            await self.look()

    def of(self, kind: str, namespace: str | None = None) -> Iterator[Object]:
        """The objects of a kind, in order."""
        for key in sorted(self.seen[kind]):
            if namespace in (None, key[0]):
                yield self.seen[kind][key]

    async def look(self) -> None:
        """One pass."""
        for namespace in sorted({key[0] for key in self.seen["Subscription"]}):
            await self._resolve(namespace)
        for plan in list(self.of("InstallPlan")):
            await self._install(plan)
        for csv in list(self.of("ClusterServiceVersion")):
            await self._run_operator(csv)

    # Subscriptions -----------------------------------------------------------------------

    async def _resolve(self, namespace: str) -> None:
        """Offer what the Subscriptions of a namespace ask for, all in one InstallPlan (operators.md 5)."""
        groups = len(list(self.of("OperatorGroup", namespace)))
        offers = []
        for subscription in list(self.of("Subscription", namespace)):
            csv = next_version(subscription, self.rules["packages"])
            problem = self._problem(subscription, csv, groups)
            status: Object = {"conditions": self._failed(subscription, problem)}
            if not problem:
                status |= self._status(subscription, csv or "")
            await self._set_status(subscription, status)
            if csv and not problem and not self._plan_with(namespace, csv):
                offers.append(Offer(subscription, csv))
        if offers:
            await self._create_plan(namespace, offers)

    def _problem(self, subscription: Mapping[str, Any], csv: str | None, groups: int) -> str:
        metadata, spec = subscription["metadata"], subscription["spec"]
        values = {"package": spec["name"], "name": metadata["name"], "namespace": metadata["namespace"]}
        source = spec["source"], spec["sourceNamespace"]
        if csv is None or source != ("redhat-operators", "openshift-marketplace"):
            return templates.render_text(self.rules["conditions"]["no_package"], values)
        if groups != 1:
            return templates.render_text(self.rules["conditions"]["no_group"], {**values, "count": groups})
        return ""

    def _failed(self, subscription: Mapping[str, Any], problem: str) -> list[Object]:
        if not problem:
            return []
        entry = {"type": "ResolutionFailed", "status": "True", "reason": "ConstraintsNotSatisfiable"}
        previous = dig(subscription, "status", "conditions", default=[])
        return objects.with_transition_times([{**entry, "message": problem}], previous, _now())

    def _status(self, subscription: Mapping[str, Any], csv: str) -> Object:
        """installedCSV once the version exists; the state says whether another one is offered."""
        namespace = subscription["metadata"]["namespace"]
        installed = dig(subscription, "status", "installedCSV", default="")
        if csv and (namespace, csv) in self.seen["ClusterServiceVersion"]:
            return {"installedCSV": csv, "currentCSV": csv, "state": "AtLatestKnown"}
        if not csv:
            return {"installedCSV": installed, "currentCSV": installed, "state": "AtLatestKnown"}
        plan = self._plan_with(namespace, csv)
        reference = {"installPlanRef": {"name": plan["metadata"]["name"], "namespace": namespace}} if plan else {}
        return {"currentCSV": csv, "state": "UpgradePending", **reference}

    def _plan_with(self, namespace: str, csv: str) -> Object | None:
        plans = self.of("InstallPlan", namespace)
        return next((plan for plan in plans if csv in plan["spec"]["clusterServiceVersionNames"]), None)

    async def _create_plan(self, namespace: str, offers: list[Offer]) -> None:
        manual = any(offer.manual for offer in offers)
        names = [offer.csv for offer in offers]
        plan = await self.client.create(
            {
                "apiVersion": API,
                "kind": "InstallPlan",
                "metadata": {"generateName": "install-", "namespace": namespace},
                "spec": {
                    "approval": "Manual" if manual else "Automatic",
                    "approved": not manual,
                    "clusterServiceVersionNames": names,
                    "generation": 1,
                },
            },
            manager=MANAGER,
        )
        self.log.info("%s offers %s", plan["metadata"]["name"], ", ".join(names))
        plan = {**plan, "apiVersion": API, "kind": "InstallPlan"}
        self.seen["InstallPlan"][namespace, plan["metadata"]["name"]] = plan
        await self._set_status(plan, {"phase": "RequiresApproval" if manual else "Installing"})

    # InstallPlans ------------------------------------------------------------------------

    async def _install(self, plan: Object) -> None:
        """Carry out an approved plan: CRDs first, then the versions (operators.md 5)."""
        if not plan["spec"]["approved"] or dig(plan, "status", "phase") in ("Complete", "Failed"):
            return
        await self._set_status(plan, {"phase": "Installing"})
        names = plan["spec"]["clusterServiceVersionNames"]
        unknown = [name for name in names if name not in self.rules["csvs"]]
        if unknown:
            condition = {"type": "Installed", "status": "False", "message": f"no bundle for {', '.join(unknown)}"}
            await self._set_status(plan, {"phase": "Failed", "conditions": [condition]})
            return
        for name in names:
            for crd_set in self.rules["csvs"][name].get("crds", []):
                await self._apply_crds(crd_set, name)
            await self._create_csv(plan["metadata"]["namespace"], name, self._replaced_by(plan, name))
        await self._set_status(plan, {"phase": "Complete"})

    async def _apply_crds(self, crd_set: str, csv: str) -> None:
        """A bundle's CRDs; one that the cluster has of its own (ServiceMonitor) is left alone."""
        for file in sorted((self.pod.crds_dir / crd_set).glob("*.json")):
            crd = marked(json.loads(file.read_text()), labels={f"operators.coreos.com/{csv[:50]}": ""})
            with contextlib.suppress(_ExistsError):
                await self._create(crd)

    def _replaced_by(self, plan: Mapping[str, Any], name: str) -> str:
        """The version that a Subscription has now and this one replaces, "" when it is the first."""
        for subscription in self.of("Subscription", plan["metadata"]["namespace"]):
            if dig(subscription, "status", "currentCSV") == name:
                installed = str(dig(subscription, "status", "installedCSV", default=""))
                return "" if installed == name else installed
        return ""

    async def _create_csv(self, namespace: str, name: str, replaces: str) -> None:
        own = bool(self.rules["csvs"][name].get("own_namespace"))
        modes = {"OwnNamespace": own, "SingleNamespace": False, "MultiNamespace": False, "AllNamespaces": not own}
        csv = {
            "apiVersion": API,
            "kind": "ClusterServiceVersion",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "displayName": name.partition(".")[0],
                "version": name.partition(".")[2].removeprefix("v"),
                "install": {"strategy": "deployment"},
                "installModes": [{"type": mode, "supported": supported} for mode, supported in modes.items()],
                **({"replaces": replaces} if replaces else {}),
            },
        }
        with contextlib.suppress(_ExistsError):
            await self._create(csv)

    async def _create(self, obj: Object) -> None:
        try:
            await self.client.create(obj, manager=MANAGER)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                raise _ExistsError from error
            raise

    # ClusterServiceVersions --------------------------------------------------------------

    async def _run_operator(self, csv: Object) -> None:
        """Bring the operator of a version, and say in its phase how far it is."""
        metadata = csv["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        bundle = self.rules["csvs"].get(name)
        if bundle is None or metadata.get("deletionTimestamp"):
            return
        if (successor := self._successor(namespace, name)) is not None:
            if dig(successor, "status", "phase") == "Succeeded":
                await self.client.delete(API, "ClusterServiceVersion", name, namespace)
                self.seen["ClusterServiceVersion"].pop((namespace, name), None)
            else:
                text = f"being replaced by csv: {successor['metadata']['name']}"
                await self._set_phase(csv, "Replacing", "BeingReplaced", text)
            return
        problem = self._unsupported(namespace, bool(bundle.get("own_namespace")))
        if problem:
            await self._set_phase(csv, "Failed", "UnsupportedOperatorGroup", problem)
            return
        wanted = await self._operator_objects(csv, bundle)
        deployments = [obj for obj in wanted if obj["kind"] == "Deployment"]
        live = [self.seen["Deployment"].get((namespace, obj["metadata"]["name"])) for obj in deployments]
        if name not in self._installed or None in live:
            await self._set_phase(
                csv, "Installing", "InstallSucceeded", "waiting for install components to report healthy"
            )
            for obj in wanted:
                await self.client.apply(copy.deepcopy(obj), MANAGER)
            self._installed.add(name)
        if live and all(objects.deployment_is_ready(obj) for obj in live):
            await self._set_phase(csv, "Succeeded", "InstallSucceeded", "install strategy completed with no errors")
        else:
            names = ", ".join(obj["metadata"]["name"] for obj in deployments)
            await self._set_phase(
                csv, "Installing", "InstallWaiting", f"waiting for deployment {names} to become ready"
            )

    def _successor(self, namespace: str, name: str) -> Object | None:
        """The version that is replacing this one; the operator is that one's from then on."""
        versions = self.of("ClusterServiceVersion", namespace)
        return next((item for item in versions if dig(item, "spec", "replaces") == name), None)

    def _unsupported(self, namespace: str, own: bool) -> str:
        """Why the OperatorGroup does not fit the version's install modes, "" when it does."""
        targets = [dig(group, "spec", "targetNamespaces", default=[]) for group in self.of("OperatorGroup", namespace)]
        if targets == ([[namespace]] if own else [[]]):
            return ""
        mode = "AllNamespaces" if own else "OwnNamespace"
        return f"{mode} InstallModeType not supported, cannot configure to watch {'all namespaces' if own else targets}"

    async def _operator_objects(self, csv: Mapping[str, Any], bundle: Mapping[str, Any]) -> list[Object]:
        """The operator as its bundle has it: our chart's objects without what only plain Kubernetes needs."""
        name, namespace = csv["metadata"]["name"], csv["metadata"]["namespace"]
        if name not in self._rendered:
            documents = await self._template(bundle["chart"], namespace)
            certificate = await self._certificate(namespace, bundle.get("certificate"))
            self._rendered[name] = list(
                bundle_objects(documents, bundle, namespace, self._environment(csv), certificate)
            )
        owner = {OWNER_LABEL: name, "olm.owner.namespace": namespace}
        return [
            marked(obj, labels=owner, owner=csv if obj["kind"] == "Deployment" else None)
            for obj in self._rendered[name]
        ]

    def _environment(self, csv: Mapping[str, Any]) -> dict[str, str]:
        """What the Subscription of a version sets in the operator's environment, and what OLM itself adds."""
        name, namespace = csv["metadata"]["name"], csv["metadata"]["namespace"]
        for subscription in self.of("Subscription", namespace):
            channels = self.rules["packages"].get(subscription["spec"]["name"], {})
            if any(name in versions for versions in channels.values()):
                entries = dig(subscription, "spec", "config", "env", default=[])
                return {entry["name"]: entry.get("value", "") for entry in entries} | {CONDITION_NAME: name}
        return {CONDITION_NAME: name}

    async def _template(self, chart: str, namespace: str) -> list[Object]:
        process = await asyncio.create_subprocess_exec(
            str(self.pod.helm), "template", chart, str(self.pod.charts_dir / chart), "--namespace", namespace,
            "--set-json", "global.imagePullSecrets=[]",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, problems = await process.communicate()
        if process.returncode:
            raise OSError(f"unable to unpack the bundle of {chart}: {problems.decode().strip()}")
        return [document for document in yaml.load_all(output.decode(), templates.LOADER) if document]

    async def _certificate(self, namespace: str, wanted: Mapping[str, str] | None) -> str:
        """Make the certificate of the operator's webhooks and return its authority (base64), "" when none is wanted."""
        if not wanted:
            return ""
        authority = Authority.create()
        certificate, key = authority.serving_pair([f"{wanted['service']}.{namespace}.svc"])
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": wanted["secret"], "namespace": namespace},
            "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": certificate, "tls.key": key},
        }
        await self.client.apply(secret, MANAGER)
        return base64.b64encode(authority.root_certificate.encode()).decode()

    # Statuses ----------------------------------------------------------------------------

    async def _set_phase(self, csv: Object, phase: str, reason: str, message: str) -> None:
        await self._set_status(csv, {"phase": phase, "reason": reason, "message": message})

    async def _set_status(self, obj: Object, status: Mapping[str, Any]) -> None:
        """Write what differs; the copy at hand is the new one from then on."""
        key = obj["metadata"]["namespace"], obj["metadata"]["name"]
        current = self.seen[obj["kind"]].get(key, obj).get("status") or {}
        if all(current.get(name) == value or not (current.get(name) or value) for name, value in status.items()):
            return
        stored = await self.client.patch_status(obj["apiVersion"], obj["kind"], key[1], status, key[0], manager=MANAGER)
        self.seen[obj["kind"]][key] = {**stored, "apiVersion": obj["apiVersion"], "kind": obj["kind"]}


class _ExistsError(Exception):
    """The object exists."""


def bundle_objects(
    documents: list[Object],
    bundle: Mapping[str, Any],
    namespace: str,
    environment: Mapping[str, str],
    authority: str,
) -> Iterator[Object]:
    """The objects of a chart as the bundle of the same operator has them."""
    deployments = [document for document in documents if document["kind"] == "Deployment"]
    accounts = {(namespace, dig(item, "spec", "template", "spec", "serviceAccountName")) for item in deployments}
    for document in documents:
        metadata = {key: value for key, value in document["metadata"].items() if key != "annotations"}
        if document["kind"] not in CLUSTER_SCOPED:
            metadata.setdefault("namespace", namespace)
        if document["kind"] == "ServiceAccount" and (metadata["namespace"], metadata["name"]) not in accounts:
            continue  # operators make those of their operands
        metadata["name"] = bundle.get("rename", {}).get(metadata["name"], metadata["name"])
        labels = {key: value for key, value in metadata.get("labels", {}).items() if "inference-platform" not in key}
        for key in ("app.kubernetes.io/managed-by", "app.kubernetes.io/part-of"):
            labels.pop(key, None)
        result = {**document, "metadata": {**metadata, "labels": labels}}
        if result["kind"] == "Deployment":
            result = _with_environment(result, bundle.get("env", {}), environment)
        if authority and result["kind"].endswith("WebhookConfiguration"):
            result = copy.deepcopy(result)
            for webhook in result["webhooks"]:
                webhook["clientConfig"]["caBundle"] = authority
        yield result


def _with_environment(deployment: Object, changes: Mapping[str, Any], more: Mapping[str, str]) -> Object:
    deployment = copy.deepcopy(deployment)
    deployment["spec"]["template"]["metadata"].get("labels", {}).pop("inference-platform.io/layer", None)
    wanted = {**changes.get("set", {}), **more}
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        kept = [
            entry
            for entry in container.get("env", [])
            if entry["name"] not in wanted
            and not any(re.search(pattern, entry["name"]) for pattern in changes.get("drop", []))
        ]
        container["env"] = [*kept, *({"name": name, "value": value} for name, value in wanted.items())]
    return deployment


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@program
async def main(pod: PodEnvironment) -> None:
    """Run OLM in this pod."""
    pod.ready()
    await Lifecycle(pod).run()
