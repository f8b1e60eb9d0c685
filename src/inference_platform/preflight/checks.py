"""The checks of a cluster, each with its code.  All are pure: they look at a ``Scene``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from inference_platform.cluster import crds as crd_files
from inference_platform.cluster import rights, run_lock
from inference_platform.cluster.objects import Object
from inference_platform.findings import ERROR, WARNING
from inference_platform.label_selector import selects
from inference_platform.models.capacity.resources import amount
from inference_platform.platform.resolve import OPERATORS_OF_CHOICE
from inference_platform.preflight import data, detection, node_supply, ownership
from inference_platform.preflight.detection import OUR_LABEL
from inference_platform.preflight.registry import CHECKS, Objection, Scene, check, listed, not_asked, published_charts
from inference_platform.preflight.snapshot import ENGINES, OWN_RELEASES, annotations_of, dig, labels_of, place
from inference_platform.schema import or_list

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
#: Helm's records show that charts of others are of this installer; they are read only where those are installed.
_READS_OF_OWNERSHIP = ("deployments", "crds", OWN_RELEASES)


# ---- versions and rights ----------------------------------------------------------------------------------


@check("IP-PRE-001", "Kubernetes is new enough for every component")
def kubernetes_version(scene: Scene) -> Iterator[Objection]:
    numbers, shown = _kubernetes(scene)
    if numbers is None:
        remedy = "Check by hand that the server is new enough."
        yield Objection(scene.seen.server, "a version of Kubernetes", shown, remedy, WARNING)
        return
    for rule in _rules_of(scene):
        if data.is_older(numbers, rule["minimum"]):
            yield Objection(
                scene.seen.server,
                f"Kubernetes {rule['minimum']} or newer for {rule['component']}",
                shown,
                "Upgrade the cluster.",
            )


@check("IP-PRE-002", "Kubernetes is of a version that was tested", severity=WARNING)
def kubernetes_tested(scene: Scene) -> Iterator[Objection]:
    numbers, shown = _kubernetes(scene)
    for rule in _rules_of(scene):
        tested = rule.get("tested")
        if numbers and tested and data.is_older(numbers, tested) and not data.is_older(numbers, rule["minimum"]):
            yield Objection(
                scene.seen.server,
                f"Kubernetes {tested} or newer (tested)",
                shown,
                "Go on if you must; plan an upgrade of the cluster.",
            )
        if numbers and "newest" in rule and data.is_newer(numbers, rule["newest"]):
            yield Objection(
                scene.seen.server,
                f"Kubernetes up to {rule['newest']} (tested)",
                shown,
                "Go on if you must; look here first when something is odd. No run on a newer one stands behind it.",
            )


def _kubernetes(scene: Scene) -> tuple[data.Version | None, str]:
    """(major, minor) and the version as shown; providers write the minor as "33+"."""
    version = scene.seen.version
    major, minor = (re.match(r"\d+", str(version.get(key) or "")) for key in ("major", "minor"))
    shown = str(version.get("gitVersion") or "nothing")
    return ((int(major[0]), int(minor[0])) if major and minor else None), shown


def _rules_of(scene: Scene) -> Iterator[Mapping[str, Any]]:
    for rule in scene.data["kubernetes"]:
        of_distribution = rule.get("distribution", scene.plan["distribution"]) == scene.plan["distribution"]
        if of_distribution and ("layer" not in rule or scene.brings(rule["layer"])):
            yield rule


@check("IP-PRE-003", "OpenShift is of a version that has what the platform needs")
def openshift_version(scene: Scene) -> Iterator[Objection]:
    minimum, supported = scene.data["openshift"]["minimum"], scene.data["openshift"]["supported"]
    for item in scene.seen.of("cluster_versions"):
        shown = dig(item, "status", "desired", "version", default="")
        numbers = data.version_of(shown)
        if numbers and data.is_older(numbers, minimum):
            expected = f"OpenShift {minimum} or newer, whose Gateway API and Istio know InferencePools"
            yield Objection(place(item), expected, shown, "Upgrade the cluster.")
        if numbers and data.is_newer(numbers, supported):
            remedy = (
                "Go on if you must; look here first when something is odd. No run on any OpenShift stands behind it."
            )
            expected = f"OpenShift up to {supported}, which release {scene.plan['release']} supports"
            yield Objection(place(item), expected, shown, remedy, WARNING)


@check("IP-PRE-007", "The cluster is OpenShift where the inventory says so", reads=["cluster_versions"])
def is_openshift(scene: Scene) -> Iterator[Objection]:
    if scene.plan["route"] == "olm" and not scene.seen.of("cluster_versions"):
        yield Objection(
            scene.seen.server,
            "OpenShift (ClusterVersion version)",
            "a cluster without it",
            "Set provider to that of the cluster: auto finds it by the nodes.",
        )


@check(
    "IP-PRE-008",
    "OLM has no other Subscription and no other version of our operators",
    reads=["subscriptions", "operator_groups"],
)
def subscriptions(scene: Scene) -> Iterator[Objection]:
    """OLM installs an operator once, never goes back, and takes one OperatorGroup per namespace (operators.md 5)."""
    names = [layer["operator"] for layer in scene.plan["layers"] if layer.get("operator")]
    for operator in ({"name": name, **scene.plan["operators"][name]} for name in names):
        for item in scene.seen.of("subscriptions"):
            if dig(item, "spec", "name") == operator["package"]:
                yield from _subscription(item, operator)
        for item in scene.seen.of("operator_groups"):
            if item["metadata"]["namespace"] == operator["namespace"] and OUR_LABEL not in labels_of(item):
                yield Objection(
                    place({"kind": "OperatorGroup", **item}),
                    f"no OperatorGroup in {operator['namespace']} but that of this installer",
                    "another one, with which OLM would install nothing there",
                    "Delete it, or use what is installed there with ownership external.",
                )


def _subscription(item: Object, operator: Mapping[str, Any]) -> Iterator[Objection]:
    where = place({"kind": "Subscription", **item})
    installed = str(dig(item, "status", "installedCSV", default=""))
    if OUR_LABEL not in labels_of(item):
        yield Objection(
            where,
            f"no Subscription to {operator['package']} but that of this installer",
            f"one of somebody else ({installed or 'nothing installed yet'})",
            "Set ownership of the layer to external to use it, where that is possible, or delete Subscription and "
            "ClusterServiceVersion.",
        )
    elif installed not in ("", operator["csv"]):
        yield from _update(item, operator, where, installed)


def _update(item: Object, operator: Mapping[str, Any], where: str, installed: str) -> Iterator[Objection]:
    """OLM goes forward only, one offer after the other; what another channel offers shows after the change to it."""
    wanted, offered = operator["csv"], str(dig(item, "status", "currentCSV", default=""))
    expected = f"{wanted}, the version of the plan"
    if not data.may_become(installed, wanted):
        found = f"{installed} installed, from which OLM has no way back"
        anew = "delete Subscription and ClusterServiceVersion to have it installed anew"
        yield Objection(where, expected, found, f"{_keep(operator, installed)}, or {anew}.")
    elif offered == wanted or dig(item, "spec", "channel") != operator["channel"]:
        return
    elif offered in ("", installed):
        found = f"{installed} installed, and nothing newer in channel {operator['channel']}"
        remedy = "Have the catalogue brought up to date, or name the channel that has this version."
        yield Objection(where, expected, found, remedy)
    else:
        found = f"{installed} installed, and {offered} offered in channel {operator['channel']}"
        first = "Approve its InstallPlan by hand and run again once it is installed, if OLM then offers the other"
        yield Objection(where, expected, found, f"{_keep(operator, offered)}. {first}.")


def _keep(operator: Mapping[str, Any], csv: str) -> str:
    """How the plan comes to have a version."""
    if operator["name"] in OPERATORS_OF_CHOICE:
        return f"Set olm_operators.{operator['name']}.csv to {csv}"
    return "Take a release of the platform with that version"


RIGHTS, LEASE, ADMISSION = "IP-PRE-004", "IP-PRE-009", "IP-PRE-030"


@check(RIGHTS, "The user may make everything that the plan makes")
def missing_rights(scene: Scene) -> Iterator[Objection]:
    """Whoever holds all rights of a role himself may make it without escalate and bind; only the server can tell."""
    denied = scene.seen.denied
    found = f"no right to {_in_words(denied)}"
    if any(verb not in _GIVING for _, _, verb in denied):
        yield Objection(
            scene.seen.access,
            "the right to install (cluster-admin)",
            found,
            "Use a context with cluster-admin, or have it granted: `kubectl create clusterrolebinding NAME "
            "--clusterrole cluster-admin --user USER`.",
        )
    elif denied:
        yield Objection(
            scene.seen.access,
            "the right to make roles with rights of others",
            found,
            "Go on if you hold all rights that the roles of operators have: the API server refuses a role with others.",
            WARNING,
        )


_GIVING = ("escalate", "bind")


def _in_words(denied: Mapping[tuple[str, str, str], Sequence[str]]) -> str:
    """ "get/create deployments.apps in istio-system, create namespaces"."""
    verbs: dict[tuple[str, Sequence[str]], list[str]] = {}
    for (group, resource, verb), spaces in denied.items():
        verbs.setdefault((f"{resource}{f'.{group}' if group else ''}", spaces), []).append(verb)
    return ", ".join(
        f"{'/'.join(names)} {resource}{f' in {listed(spaces)}' if spaces else ''}"
        for (resource, spaces), names in verbs.items()
    )


@check(LEASE, "Two runs cannot change the cluster at the same time", severity=WARNING)
def lease(scene: Scene) -> Iterator[Objection]:
    if scene.seen.denied_lease:
        yield Objection(
            scene.seen.access,
            f"the right to {'/'.join(run_lock.VERBS)} leases.coordination.k8s.io in {run_lock.NAMESPACE}",
            f"no right to {'/'.join(scene.seen.denied_lease)}",
            f"Have it granted by a Role in {run_lock.NAMESPACE}. Without it, see to it that nobody runs meanwhile.",
        )


@check("IP-PRE-005", "Helm is installed and new enough")
def helm(scene: Scene) -> Iterator[Objection]:
    if scene.seen.helm:
        found, remedy = scene.seen.helm
        yield Objection("this machine", "helm 3.17 or newer", found, remedy)


@check("IP-PRE-006", "The user may read what the other checks look at", severity=WARNING)
def readable(scene: Scene) -> Iterator[Objection]:
    """Without those of the checks that guard what others have, a run that lays layers must not go on."""
    guarded = {part for item in CHECKS if item.guards for part in item.reads} if scene.laid else set()
    unseen = scene.seen.unseen.keys()
    if unseen & guarded:
        yield _unreadable(
            scene,
            unseen & guarded,
            "Without it nobody can tell what somebody else has installed, and would lose.",
            ERROR,
        )
    if unseen - guarded:
        remedy = "Checks that are marked unknown are done then; what they would find shows later otherwise."
        yield _unreadable(scene, unseen - guarded, remedy, WARNING)


def _unreadable(scene: Scene, parts: Iterable[str], why: str, severity: str) -> Objection:
    resources = sorted({name for part in parts for name in scene.seen.unlisted.get(part, {part})})
    return Objection(
        scene.seen.access,
        "the right to list what is checked",
        f"no right to list {', '.join(resources)}",
        f"Have it granted: `kubectl create clusterrole NAME --verb=list --resource={','.join(resources)}` and `kubectl "
        f"create clusterrolebinding NAME --clusterrole=NAME --user=USER`. {why}",
        severity,
    )


# ---- nodes ------------------------------------------------------------------------------------------------


@check("IP-PRE-010", "A ready node takes the pods of operators", reads=["nodes"])
def usable_node(scene: Scene) -> Iterator[Objection]:
    nodes = scene.seen.of("nodes")
    if any(_takes_operators(scene, node) for node in nodes):
        return
    architectures = or_list(scene.data["architectures"])
    starter = node_supply.starter(scene)
    remedy = (
        f"Expect {starter} to start one, if it may start such nodes; the pods wait until then."
        if starter
        else "Add such a node, or take the taint off one: what a run installs tolerates no taints (charts of operators "
        "that you install by hand have a value for that). Where such nodes start when pods wait for them, set "
        "node_autoscaling: true."
    )
    yield Objection(
        "nodes",
        f"a ready Linux node ({architectures}) without taints that keep pods away",
        listed([f"{node['metadata']['name']}: {_why_not(scene, node)}" for node in nodes]) or "no node",
        remedy,
        WARNING if starter else "",
    )


def _takes_operators(scene: Scene, node: Object) -> bool:
    return not _why_not(scene, node)


def _why_not(scene: Scene, node: Object) -> str:
    """What keeps the pods of operators off a node, "" when nothing does."""
    if not _is_ready(node):
        return "not ready"
    if dig(node, "spec", "unschedulable"):
        return "cordoned"
    taints = [t["key"] for t in dig(node, "spec", "taints", default=[]) if t.get("effect") != "PreferNoSchedule"]
    if taints:
        return f"taint {', '.join(taints)}"
    system = dig(node, "status", "nodeInfo", "operatingSystem") or labels_of(node).get("kubernetes.io/os", "linux")
    if system != "linux":
        return str(system)
    architecture = dig(node, "status", "nodeInfo", "architecture") or labels_of(node).get("kubernetes.io/arch", "amd64")
    return "" if architecture in scene.data["architectures"] else str(architecture)


def _is_ready(node: Object) -> bool:
    conditions = dig(node, "status", "conditions", default=[])
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


@check("IP-PRE-011", "All nodes are ready", reads=["nodes"], severity=WARNING)
def nodes_ready(scene: Scene) -> Iterator[Objection]:
    names = [node["metadata"]["name"] for node in scene.seen.of("nodes") if not _is_ready(node)]
    if names:
        yield Objection("nodes", "every node ready", f"not ready: {listed(names)}", "Look at `kubectl describe node`.")


@check("IP-PRE-012", "Nodes with GPUs offer them to pods", reads=["nodes"])
def device_plugin(scene: Scene) -> Iterator[Objection]:
    """The driver's labels without the resource mean a device plugin that does not run, or finds no driver.

    The kubelet goes on to report a resource whose plugin is gone, as 0. GPUs may also be offered in parts, under other
    names, and then as 0 under their own.
    """
    gpu = scene.plan["serving"]["gpu"]
    silent = [
        node["metadata"]["name"]
        for node in scene.seen.of("nodes")
        if _is_ready(node)
        and _has_gpus(node, gpu)
        and not _offered(node, gpu["resource"])
        and not _offered_in_parts(node, gpu["resource"])
    ]
    if silent:
        offered = any(_offered(node, gpu["resource"]) for node in scene.seen.of("nodes"))
        yield Objection(
            "nodes",
            f"{gpu['resource']} among what nodes with the label {gpu['product_label']} allocate",
            f"none of it on {listed(silent)}",
            "Install or repair driver and device plugin (the NVIDIA GPU operator brings both).",
            WARNING if offered or not scene.models else "",
        )


def _offered(node: Object, resource: str) -> int:
    """How much of a resource a node offers to pods."""
    return amount(resource, dig(node, "status", "allocatable", resource, default="0"))


def _offered_in_parts(node: Object, resource: str) -> bool:
    """Whether GPUs are cut up (nvidia.com/mig-1g.5gb: strategy mixed) or shared (nvidia.com/gpu.shared)."""
    parts, shared = f"{resource.partition('/')[0]}/mig-", f"{resource}.shared"
    names = dig(node, "status", "allocatable", default={})
    return any(_offered(node, name) for name in names if name == shared or name.startswith(parts))


def _has_gpus(node: Object, gpu: Mapping[str, Any]) -> bool:
    return gpu["product_label"] in labels_of(node) or gpu["resource"] in dig(node, "status", "capacity", default={})


# ---- storage, load balancer, images -----------------------------------------------------------------------


@check("IP-PRE-020", "Claims that models read get a volume", reads=["claims", "storage_classes"], severity=WARNING)
def claims(scene: Scene) -> Iterator[Objection]:
    """Claims that are not there at all are found with the other references of models (IP-MOD-128)."""
    classes = {item["metadata"]["name"] for item in scene.seen.of("storage_classes")}
    default = any(annotations_of(item).get(_DEFAULT_CLASS) == "true" for item in scene.seen.of("storage_classes"))
    waiting = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item
        for item in scene.seen.of("claims")
        if dig(item, "status", "phase") == "Pending" and not dig(item, "spec", "volumeName")
    }
    for model in _services(scene):
        uri = str(dig(model, "spec", "model", "uri", default=""))
        key = (model["metadata"]["namespace"], uri.removeprefix("pvc://").partition("/")[0])
        claim = waiting.get(key) if uri.startswith("pvc://") else None
        if claim is None:
            continue
        name = dig(claim, "spec", "storageClassName")
        if name == "":
            yield Objection(
                place(model),
                f"a PersistentVolume for the claim {'/'.join(key)}, which names no StorageClass on purpose",
                "none bound yet",
                "Make a PersistentVolume with its size, access modes and labels; pods wait until the claim is bound.",
            )
        elif (not default) if name is None else name not in classes:
            yield Objection(
                place(model),
                f"a StorageClass for the claim {'/'.join(key)}: {or_list(sorted(classes)) or 'none exists'}",
                "none named, and none is the default" if name is None else str(name),
                "Make the StorageClass, or make the claim anew with one that exists.",
            )


@check("IP-PRE-021", "Something answers Services of type LoadBalancer", reads=["load_balancers"], severity=WARNING)
def load_balancer(scene: Scene) -> Iterator[Objection]:
    """A hint only: a Service that waits for its address, and none that has one."""
    if not scene.plan["serving"]["gateway"]["address_required"]:
        return
    services = scene.seen.of("load_balancers")
    waiting = [place(item) for item in services if not dig(item, "status", "loadBalancer", "ingress")]
    if waiting and len(waiting) == len(services):
        yield Objection(
            "services",
            "an address on Services of type LoadBalancer",
            f"none on {listed(waiting)}",
            "Look at the events of the Service: the gateway will wait for its address in the same way.",
        )


not_asked("IP-PRE-022", "Nodes can pull the images (only a pod can tell; gates name images that cannot be pulled)")


@check("IP-PRE-023", "The Secret that the pull secret is copied from can be used")
def pull_secret(scene: Scene) -> Iterator[Objection]:
    if scene.seen.pull_secret:
        expected = "a Secret of type kubernetes.io/dockerconfigjson with credentials"
        yield Objection("pull_secret_from", expected, scene.seen.pull_secret, "Make it, or correct its name.")
    if scene.seen.pull_secret_for_mirror:
        yield Objection(
            "pull_secret_from",
            f"credentials for {scene.plan['image_registry']}, from which the nodes pull",
            scene.seen.pull_secret_for_mirror,
            "Leave it as it is if the mirror lets everyone pull.",
            severity=WARNING,
        )


# ---- admission --------------------------------------------------------------------------------------------


@check(ADMISSION, "Admission lets our objects pass (dry run)")
def admission(scene: Scene) -> Iterator[Objection]:
    """What was tried elsewhere, since the platform's namespaces are not there yet, is a hint only."""
    for refusal in scene.seen.refusals:
        spaces = ", ".join(refusal.instead_of)
        if not spaces:
            remedy = "Make an exception in the policy named here, then re-run."
            yield Objection(refusal.subject, "to be admitted", refusal.words, remedy)
            continue
        yield Objection(
            f"{refusal.subject}, because those of the platform are not there yet",
            "to be admitted",
            refusal.words,
            f"See whether the policy named here is for the namespaces of the platform, too ({spaces}), and make an "
            "exception for them if it is.",
            WARNING,
        )


@check("IP-PRE-031", "Webhooks lead to Services with pods", reads=["validating_webhooks", "mutating_webhooks"])
def webhooks(scene: Scene) -> Iterator[Objection]:
    """Those of layers that the run or the cloud manager brings are repaired by that, so they are left to the gates."""
    dead = list(_dead_webhooks(scene))
    kinds = _made_in_a_run(scene) if dead else set()
    for configuration, webhook, service, wrong in dead:
        if _asks_about(webhook, kinds):
            yield Objection(
                f"{configuration['kind']} {configuration['metadata']['name']}",
                f"Service {service['namespace']}/{service['name']} with ready pods",
                wrong,
                f"Repair what is behind it, or delete the configuration if {webhook['name']} is a leftover: until "
                "then the API server refuses what it is asked about.",
                WARNING if _may_leave_ours_out(webhook, scene) else "",
            )


def _dead_webhooks(scene: Scene) -> Iterator[tuple[Object, Mapping[str, Any], Mapping[str, str], str]]:
    """(configuration, webhook, its Service, what is wrong with that) of those that fail closed."""
    repaired = scene.repaired_namespaces
    for configuration in (*scene.seen.of("validating_webhooks"), *scene.seen.of("mutating_webhooks")):
        for webhook in configuration.get("webhooks") or []:
            service = dig(webhook, "clientConfig", "service")
            if webhook.get("failurePolicy") == "Ignore" or not service or service["namespace"] in repaired:
                continue
            wrong = scene.seen.backends.get((service["namespace"], service["name"]), "")
            if wrong:
                yield configuration, webhook, service, wrong


def _made_in_a_run(scene: Scene) -> set[tuple[str, str]]:
    """(group, resource) of what a run writes, and of what operators make of that."""
    asked = rights.needed(scene.plan, scene.models, scene.data["rights"])
    written = {(group, resource) for group, resource, verb in asked if verb in ("create", "update", "patch")}
    rules = (rule for rule in scene.data["made_by_operators"] if "layer" not in rule or scene.brings(rule["layer"]))
    return written | {
        (rule["api_version"].rpartition("/")[0], rights.resource_of(kind)) for rule in rules for kind in rule["kinds"]
    }


#: Nothing that a run needs is deleted or connected to.
_OPERATIONS = {"CREATE", "UPDATE", "*"}


def _asks_about(webhook: Mapping[str, Any], kinds: Iterable[tuple[str, str]]) -> bool:
    """Whether a webhook is asked when one of these is made or changed."""
    rules = [rule for rule in webhook.get("rules") or [] if _OPERATIONS & set(rule.get("operations") or ())]
    return any(
        {group, "*"} & set(rule.get("apiGroups", [])) and {resource, "*", "*/*"} & set(rule.get("resources", []))
        for rule in rules
        for group, resource in kinds
    )


def _may_leave_ours_out(webhook: Mapping[str, Any], scene: Scene) -> bool:
    """Whether its selectors may pass over all that a run makes."""
    if webhook.get("objectSelector") or webhook.get("matchConditions"):
        return True
    wanted = webhook.get("namespaceSelector") or {}
    return not any(selects(wanted, scene.labels_of(name)) for name in (*scene.namespaces, *scene.model_namespaces))


@check("IP-PRE-032", "No admission policy forbids a layer", reads=["admission_policies"])
def policies(scene: Scene) -> Iterator[Objection]:
    there = {item["metadata"]["name"] for item in scene.seen.of("admission_policies")}
    laid = {item.name for item in scene.decisions if item.is_laid}
    for rule in scene.data["policies"]:
        if rule["name"] in there and scene.brings(rule["layer"]) and rule["layer"] not in laid:
            yield Objection(
                f"ValidatingAdmissionPolicy {rule['name']}", "no such policy", f"it refuses {rule['refuses']}",
                rule["remedy"],
            )  # fmt: skip


_LEVELS = ("privileged", "baseline", "restricted")
_ENFORCE = "pod-security.kubernetes.io/enforce"


@check("IP-PRE-033", "Pod Security of the namespaces admits our pods", reads=["namespaces"])
def pod_security(scene: Scene) -> Iterator[Objection]:
    allowed = dict.fromkeys(scene.namespaces, scene.data["pod_security"]["platform"])
    for model in _services(scene):
        level = scene.data["pod_security"]["data_parallel" if _is_data_parallel(model) else "models"]
        space = model["metadata"]["namespace"]
        allowed[space] = min(allowed.get(space, level), level, key=_LEVELS.index)
    for name, level in sorted(allowed.items()):
        enforced = labels_of(scene.seen.namespace(name) or {}).get(_ENFORCE, "privileged")
        if enforced in _LEVELS and _LEVELS.index(enforced) > _LEVELS.index(level):
            yield Objection(
                f"Namespace {name}",
                f"{_ENFORCE} {level} at most",
                enforced,
                f"Run `kubectl label namespace {name} --overwrite {_ENFORCE}={level}`, or use another namespace.",
            )


def _is_data_parallel(model: Mapping[str, Any]) -> bool:
    workloads = (dig(model, "spec", default={}), dig(model, "spec", "prefill", default={}))
    return any(dig(item, "parallelism", "data") for item in workloads)


def _services(scene: Scene) -> list[Mapping[str, Any]]:
    return [item for item in scene.models if item["kind"] == "LLMInferenceService"]


# ---- CRDs and namespaces ----------------------------------------------------------------------------------


@check("IP-PRE-040", "No CRD loses a version in which objects are stored", reads=["crds"], guards=True)
def stored_versions(scene: Scene) -> Iterator[Objection]:
    for name, versions in sorted(scene.seen.dropped.items()):
        shown = ", ".join(versions)
        yield Objection(
            f"CRD {name}",
            "every version of status.storedVersions in the CRD of this release",
            f"{shown} missing there",
            f"{crd_files.way_to_forget(name, shown, scene.seen.still_stored.get(name, ()))} Then re-run.",
        )


@check("IP-PRE-043", "No CRD of a dependency takes fields from somebody else", reads=["crds"], guards=True)
def contested_crds(scene: Scene) -> Iterator[Objection]:
    for name, managers in sorted(scene.seen.conflicts.items()):
        yield Objection(
            f"CRD {name}",
            "no field of somebody else with another value than that of this release",
            f"fields of {', '.join(managers)}",
            "If nobody uses it any more, name its dependency in ownership_adopt; else let its owner keep it with "
            "ownership auto or external.",
        )


@check("IP-PRE-044", "The sha256 of every chart that others publish is known")
def charts_pinned(scene: Scene) -> Iterator[Objection]:
    for chart in published_charts(scene.plan) if scene.installs else ():
        if not chart["sha256"]:
            yield Objection(
                f"chart {chart['name']} {chart['version']}",
                "its sha256, in catalog/charts.yml or in the inventory",
                chart["unpinned"],
                f"Say it in the inventory, chart_sha256: {{{chart['name']}: ...}}, after a look at what you pulled; or "
                "run `python -m inference_platform.catalog lock` where there is internet. A chart that nobody "
                "pinned is not installed.",
            )


@check("IP-PRE-045", "Every chart that others publish can be had, and is the one that was pinned")
def charts_fetched(scene: Scene) -> Iterator[Objection]:
    for chart in published_charts(scene.plan):
        if chart["name"] in scene.seen.charts:
            found, remedy = scene.seen.charts[chart["name"]]
            yield Objection(
                f"chart {chart['name']} {chart['version']}",
                f"an archive with sha256 {chart['sha256']}",
                found,
                remedy,
            )


@check("IP-PRE-042", "Nothing that we need is being deleted", reads=["namespaces", "crds"])
def terminating(scene: Scene) -> Iterator[Objection]:
    wanted = {*scene.namespaces, *scene.model_namespaces}
    names = {file["name"] for item in scene.plan["layers"] for name in item["crds"] for file in _files(scene, name)}
    for part, ours in (("namespaces", wanted), ("crds", names)):
        for item in scene.seen.of(part):
            if item["metadata"]["name"] in ours and item["metadata"].get("deletionTimestamp"):
                finalizers = dig(item, "metadata", "finalizers") or dig(item, "spec", "finalizers", default=[])
                yield Objection(
                    place(item),
                    "not being deleted",
                    f"deletion since {item['metadata']['deletionTimestamp']}, waiting for {', '.join(finalizers)}",
                    "Wait for its end; `kubectl get` shows in status.conditions what it waits for.",
                )


def _files(scene: Scene, crd_set: str) -> Sequence[Mapping[str, Any]]:
    files: Sequence[Mapping[str, Any]] = scene.plan["crds"].get(crd_set, {}).get("files", [])
    return files


# ---- ownership --------------------------------------------------------------------------------------------


def _report(code: str, title: str, severity: str = ERROR) -> None:
    """A check that reports what the decisions about ownership found under its code."""

    @check(code, title, reads=_READS_OF_OWNERSHIP, severity=severity, guards=True)
    def look(scene: Scene) -> Iterator[Objection]:
        for decision in scene.decisions:
            for item in decision.verdicts:
                if item.code == code:
                    where = f"ownership.{decision.name} ({decision.wanted or 'default'})"
                    yield Objection(where, item.expected, item.found, item.remedy, item.severity)


_report(ownership.DOWNGRADE, "Gateway API is never downgraded")
_report(ownership.NOT_OURS, "What we manage, nobody else has installed")
_report(ownership.NOT_THERE, "What is external is there")
_report(ownership.OUTSIDE_WINDOW, "What is external is of a version that will do")
_report(ownership.UNTESTED_VERSION, "What is external is of a version that was tested", WARNING)
_report(ownership.INCOMPLETE, "What is external has what the platform needs")
_report(ownership.TWO, "Each dependency is installed once")
_report(ownership.TAKEN_BY_FORCE, "Nothing is taken over by who brings a delegated part")
_report(ownership.OPERATOR_CRD, "CRDs that an operator must bring are its own")


# ---- upgrades ---------------------------------------------------------------------------------------------


@check("IP-PRE-090", "The platform is not taken back to an older release", reads=["deployments"], guards=True)
def no_downgrade(scene: Scene) -> Iterator[Objection]:
    """Nothing takes 3.5 back to 3.4: two operators would reconcile one Kserve, and stored objects lose fields
    (platform.md 1.11 and 9)."""
    name, namespace = _OPERATOR, scene.plan["namespaces"].get("operator")
    for item in scene.seen.of("deployments"):
        if item["metadata"]["name"] != name or item["metadata"].get("namespace") != namespace:
            continue
        shown = labels_of(item).get("app.kubernetes.io/version", "")
        numbers = data.version_of(shown)
        if numbers and data.is_newer(numbers, scene.plan["release"]):
            installed = ".".join(map(str, numbers[:2]))
            yield Objection(
                f"platform_release ({scene.plan['release']})",
                f"{installed}, which is installed, or newer",
                f"{scene.plan['release']}, and {place(item)} of {shown}",
                f'Set platform_release: "{installed}". An older release would leave two operators at odds over KServe, '
                "and objects without the fields that the newer one stored; it needs a cluster of its own.",
            )


_OPERATOR = "rhai-operator"


@check("IP-PRE-091", "The software of no other distribution is installed", reads=["deployments"], guards=True)
def other_distribution(scene: Scene) -> Iterator[Objection]:
    """Both bring a controller of KServe, and much else, for the same CRDs."""
    installed = {(item["metadata"].get("namespace"), item["metadata"]["name"]) for item in scene.seen.of("deployments")}
    wanted = scene.plan["distribution"]
    for mark in scene.data["distributions"]:
        if mark["distribution"] != wanted and (mark["namespace"], mark["name"]) in installed:
            yield Objection(
                f"distribution ({wanted})",
                f"{mark['distribution']}, which is installed",
                f"{wanted}, and Deployment {mark['namespace']}/{mark['name']}",
                f"Set distribution: {mark['distribution']}. Two controllers would fight over every model; another "
                "distribution needs a cluster of its own, or one from which this one was removed.",
            )


@check(
    "IP-PRE-092", "The KServe that is there is that of this installer", reads=["deployments", OWN_RELEASES], guards=True
)
def foreign_kserve(scene: Scene) -> Iterator[Objection]:
    """Helm would take over a release of the same name, and a second controller would fight over every model.

    Only where charts of others are installed: charts of this installer mark what they make, and OLM's
    Subscriptions have a check of their own.
    """
    names = {mark["name"] for mark in scene.data["distributions"] if mark["distribution"] == scene.plan["distribution"]}
    for item in scene.seen.of("deployments") if published_charts(scene.plan) else ():
        owner = detection.owner_in(item, scene.seen)
        if item["metadata"]["name"] in names and owner.kind != detection.OURS:
            yield Objection(
                f"distribution ({scene.plan['distribution']})",
                "no controller of KServe, or that of this installer",
                f"{place(item)} by {owner.words}",
                "Use another cluster, or remove that KServe; with its CRDs go all models.",
            )


# ---- what the cloud manager would do ----------------------------------------------------------------------


@check("IP-PRE-061", "The cloud manager is told to give up nothing that it manages", reads=[ENGINES], guards=True)
def given_up(scene: Scene) -> Iterator[Objection]:
    """Unmanaged on an installed dependency means uninstall (platform.md 2.5, observed-operators.md 2.6)."""
    for engine, dependency, layer in _policies_that_end(scene):
        if layer not in scene.let_go:
            yield Objection(
                f"{place(engine)} dependencies.{dependency}",
                "Managed, as it is now",
                "Unmanaged in the plan",
                f"The cloud manager deletes {layer}, operator and control plane, when it is told so. Leave "
                f"ownership.{layer} delegated; to have it deleted on purpose, set ownership_let_go: [{layer}].",
            )


@check("IP-PRE-066", "Nothing is laid that the cloud manager has yet to give up", reads=[ENGINES], guards=True)
def given_up_first(scene: Scene) -> Iterator[Objection]:
    """What it deletes then is everything with its owner reference, ours included (observed-operators.md 2.6)."""
    for engine, dependency, layer in _policies_that_end(scene):
        if layer in scene.let_go and layer in scene.laid:
            yield Objection(
                f"{place(engine)} dependencies.{dependency}",
                f"Unmanaged, before this installer lays {layer}",
                "Managed",
                "Run `--tags cloud_manager` with this inventory first, and look that the cloud manager has deleted "
                f"{layer}. Laid before, it would be deleted too.",
            )


@check("IP-PRE-062", "No cloud manager works against the plan", reads=[ENGINES], guards=True)
def other_engines(scene: Scene) -> Iterator[Objection]:
    """An engine that the plan does not have goes on applying by force, 3.5 also when Unmanaged (observed 2.5)."""
    kind = dig(scene.plan, "engine", "kind", default="")
    for engine in scene.seen.of(ENGINES):
        if engine["kind"] == kind:
            continue
        managed = [name for name, policy in _engine_policies(engine).items() if policy == "Managed"]
        yield Objection(
            place(engine),
            f"no other engine than {kind}" if kind else "no engine, since cloud_manager is none",
            f"one that manages {', '.join(managed) or 'nothing'}, and takes over what it finds",
            f"Keep it (cloud_manager: auto, provider as before), or delete it while its cloud manager runs. That "
            f"deletes {', '.join(managed) or 'nothing'} and its issuers and certificates with it; Secrets stay.",
        )


@check(
    "IP-PRE-063", "No LeaderWorkerSet of a user would be deleted", reads=[ENGINES, "leader_worker_sets"], guards=True
)
def leader_worker_sets(scene: Scene) -> Iterator[Objection]:
    """LeaderWorkerSetOperator/cluster owns the CRD, so its end is that of all objects (operators.md 3.5)."""
    sets = [place(item) for item in scene.seen.of("leader_worker_sets")]
    for engine, _, layer in _policies_that_end(scene):
        if layer == "lws" and sets:
            yield Objection(
                place(engine),
                "no LeaderWorkerSet while LeaderWorkerSetOperator/cluster is deleted",
                listed(sets),
                "Delete or move these workloads first, models among them; there is no switch for this one.",
            )


def _policies_that_end(scene: Scene) -> Iterator[tuple[Object, str, str]]:
    """(engine, its dependency, our layer) where Managed in the cluster becomes Unmanaged by the plan."""
    planned = dig(scene.plan, "engine", default={})
    wanted = dig(planned, "spec", "dependencies", default={})
    for engine in scene.seen.of(ENGINES):
        if engine["kind"] != planned.get("kind"):
            continue
        for name, policy in _engine_policies(engine).items():
            if policy == "Managed" and dig(wanted, name, "managementPolicy") == "Unmanaged":
                yield engine, name, _LAYER_OF[name]


_LAYER_OF = {"certManager": "cert_manager", "gatewayAPI": "gateway_api", "lws": "lws", "sailOperator": "sail"}


def _engine_policies(engine: Object) -> dict[str, str]:
    """Policies as the cloud manager reads them: left out means Managed (platform.md 2.3)."""
    written = dig(engine, "spec", "dependencies", default={})
    return {name: dig(written, name, "managementPolicy", default="Managed") for name in _LAYER_OF}
