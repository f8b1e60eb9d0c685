"""Who has installed the dependencies, as far as a cluster shows it.

Looked at are Deployments (whose marks say who applied them), CRDs (labels, managedFields),
Helm releases and OLM Subscriptions.  A dependency without controllers, such as the Gateway
API, is installed when its CRDs are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from inference_platform.cluster.client import FIELD_MANAGER
from inference_platform.cluster.objects import Object
from inference_platform.preflight.data import Version, version_of
from inference_platform.preflight.snapshot import OWN_RELEASES, Snapshot, annotations_of, dig, labels_of, place

OURS = "installer"
CLOUD_MANAGER = "cloud manager"
SOMEBODY = "somebody else"

OUR_LABEL = "inference-platform.io/layer"
CLOUD_MANAGER_LABEL = "infrastructure.opendatahub.io/part-of"
_CLOUD_MANAGER_GROUP = "infrastructure.opendatahub.io/"
_RELEASE, _RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
_VERSION_LABEL = "app.kubernetes.io/version"
_OLM_LABEL = "olm.owner"
#: On the Subscription to Service Mesh that OpenShift's ingress operator makes (operators.md 5).
_INGRESS_ANNOTATION = "ingress.operator.openshift.io/owned"
_OPERATOR_KINDS = frozenset({"IstioRevision", "LeaderWorkerSetOperator", "CertManager"})


@dataclass(frozen=True)
class Owner:
    """Who made something: ``kind`` is one of OURS, CLOUD_MANAGER, SOMEBODY; ``words`` names it.

    On OpenShift CLOUD_MANAGER is the cluster's own ingress operator, to which Istio is delegated.
    """

    kind: str
    words: str


#: What it installs without OLM has the marks of a Helm release.
INGRESS_OPERATOR = Owner(CLOUD_MANAGER, "OpenShift's ingress operator")


@dataclass(frozen=True)
class Installation:
    """One installation of a dependency.

    ``evidence`` names the object that shows it.  ``namespace``, ``version`` ("" when nothing
    says it) and ``object`` are those of the Deployment with the controllers, if one was seen.
    """

    owner: Owner
    evidence: str
    namespace: str = ""
    version: str = ""
    object: Object | None = None

    @property
    def numbers(self) -> Version | None:
        """The version as numbers, if it is known."""
        return version_of(self.version)


@dataclass(frozen=True)
class Found:
    """What a cluster has of one dependency.

    ``crds`` are the CRDs of the catalogue that exist, with who made them; they may be left
    over without any installation.  ``channel`` is that of the Gateway API.  ``known`` is false when what shows an
    installation may not be listed.
    """

    installations: tuple[Installation, ...] = ()
    crds: Mapping[str, Owner] = field(default_factory=dict)
    channel: str = ""
    known: bool = True

    @property
    def foreign(self) -> Installation | None:
        """The first installation of somebody else."""
        return next((item for item in self.installations if item.owner.kind == SOMEBODY), None)

    def by(self, kind: str) -> Installation | None:
        """The first installation of this kind of owner."""
        return next((item for item in self.installations if item.owner.kind == kind), None)


def detect(entry: Mapping[str, Any], seen: Snapshot) -> Found:
    """What there is of a dependency; ``entry`` is that of catalog/preflight.yml."""
    crds = [item for item in seen.of("crds") if item["metadata"]["name"] in entry["crds"]]
    installations = list(_controllers(entry, seen, crds))
    installations += _subscriptions(entry, seen, installations)
    if not entry.get("controllers") and crds:
        installations = [_of_crds(entry, crds)]
    if not installations:
        installations = list(_from_outside(entry, seen))
    key = entry.get("channel", "")
    return Found(
        tuple(installations),
        {item["metadata"]["name"]: owner_of(item) for item in crds},
        next((annotations_of(item)[key] for item in crds if annotations_of(item).get(key)), ""),
        not seen.unseen.keys() & {"deployments", "crds"},
    )


def owner_of(obj: Object) -> Owner:
    """Who made an object, by its labels, owners, annotations and field managers."""
    for owner in _marks(obj):
        return owner
    managers = dict.fromkeys(
        str(entry.get("manager"))
        for entry in dig(obj, "metadata", "managedFields", default=[])
        if not entry.get("subresource")
    )
    words = f"field manager {', '.join(managers)}" if managers else "somebody unknown"
    return Owner(OURS, "this installer") if FIELD_MANAGER in managers else Owner(SOMEBODY, words)


def owner_in(obj: Object, seen: Snapshot) -> Owner:
    """Who made a Deployment; what OLM installed belongs to whoever subscribed to it.

    Charts of others put no label of ours on what they make; then our mark is on Helm's record of the release.
    """
    if _release_of(obj) in {_recorded(item) for item in seen.of(OWN_RELEASES)}:
        return Owner(OURS, "this installer")
    csv = labels_of(obj).get(_OLM_LABEL)
    subscriptions = seen.of("subscriptions") if csv else []
    wanted = [item for item in subscriptions if dig(item, "status", "installedCSV") == csv]
    return _subscriber(wanted[0], f"OLM, {csv}") if wanted else owner_of(obj)


def _release_of(obj: Object) -> tuple[str, str]:
    """(namespace, name) of the Helm release that an object is of."""
    annotations = annotations_of(obj)
    return str(annotations.get(_RELEASE_NAMESPACE, "")), str(annotations.get(_RELEASE, ""))


def _recorded(secret: Object) -> tuple[str, str]:
    """(namespace, name) of the release that a Secret of Helm records."""
    return _namespace(secret), str(labels_of(secret).get("name", ""))


def _subscriber(subscription: Object, words: str) -> Owner:
    if OUR_LABEL in labels_of(subscription):
        return Owner(OURS, f"{words}, for this installer")
    if _INGRESS_ANNOTATION in annotations_of(subscription):
        return Owner(CLOUD_MANAGER, f"{words}, for OpenShift's gateways")
    return Owner(SOMEBODY, words)


def _marks(obj: Object) -> Iterator[Owner]:
    owners = dig(obj, "metadata", "ownerReferences", default=[])
    engines = [o["kind"] for o in owners if str(o.get("apiVersion")).startswith(_CLOUD_MANAGER_GROUP)]
    if engines:
        yield Owner(CLOUD_MANAGER, f"the cloud manager ({engines[0]})")
    # The cloud manager labels what it took over, and leaves the label on what it gives back.
    if OUR_LABEL in labels_of(obj):
        yield Owner(OURS, "this installer")
    if CLOUD_MANAGER_LABEL in labels_of(obj):
        yield Owner(CLOUD_MANAGER, f"the cloud manager ({labels_of(obj)[CLOUD_MANAGER_LABEL]})")
    if _OLM_LABEL in labels_of(obj):
        yield Owner(SOMEBODY, f"OLM, {labels_of(obj)[_OLM_LABEL]}")
    release = annotations_of(obj).get(_RELEASE)
    if release:
        yield Owner(SOMEBODY, f"Helm release {annotations_of(obj).get(_RELEASE_NAMESPACE, '?')}/{release}")


def _controllers(entry: Mapping[str, Any], seen: Snapshot, crds: list[Object]) -> Iterator[Installation]:
    """Installations by their Deployments; what an operator brings counts as the operator's own."""
    rules = entry.get("controllers", [])
    matches = [
        (rule, deployment) for deployment in seen.of("deployments") for rule in rules if _matches(rule, deployment)
    ]
    operands = [deployment for rule, deployment in matches if not rule.get("operator")]
    brought: set[str] = set()
    for rule, operator in matches:
        if not rule.get("operator"):
            continue
        home = rule.get("operands_in") or _namespace(operator)
        children = [item for item in operands if _namespace(item) == home and _is_brought_by(item, operator)]
        if _OLM_LABEL in labels_of(operator):  # it looks after all namespaces
            children += [item for item in operands if item not in children and _belongs_to_operator(item)]
        brought |= {place(item) for item in children}
        version = next(filter(None, (_version(entry, item, crds) for item in children)), "")
        main = next(iter(children), operator)
        yield Installation(owner_in(operator, seen), place(operator), _namespace(main), version, main)
    for item in operands:
        if place(item) not in brought:
            owner = INGRESS_OPERATOR if _is_at(item, entry.get("openshift")) else owner_in(item, seen)
            yield Installation(owner, place(item), _namespace(item), _version(entry, item, crds), item)


def _is_at(obj: Object, where: Mapping[str, str] | None) -> bool:
    """Whether an object is the one of a namespace and name."""
    return where is not None and (_namespace(obj), obj["metadata"]["name"]) == (where["namespace"], where["name"])


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


def _is_brought_by(operand: Object, operator: Object) -> bool:
    """Whether an operator installed this: an object of its own is the owner, or nobody else's marks are on it.

    The Sail operator installs istiod as a Helm release, with an IstioRevision as owner.
    """
    if _belongs_to_operator(operand):
        return True
    marked = next(_marks(operand), None)
    return marked is None or marked == owner_of(operator)


def _belongs_to_operator(operand: Object) -> bool:
    """Whether an object of an operator of ours owns this."""
    owners = dig(operand, "metadata", "ownerReferences", default=[])
    return any(owner.get("kind") in _OPERATOR_KINDS for owner in owners)


def _matches(rule: Mapping[str, Any], deployment: Object) -> bool:
    if "name" in rule and deployment["metadata"]["name"] != rule["name"]:
        return False
    if not rule.get("labels", {}).items() <= labels_of(deployment).items():
        return False
    return "container" not in rule or rule["container"] in {item["name"] for item in containers(deployment)}


def containers(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The containers of a Deployment's pods."""
    found: list[dict[str, Any]] = dig(deployment, "spec", "template", "spec", "containers", default=[])
    return found


def _version(entry: Mapping[str, Any], deployment: Object, crds: Iterable[Object]) -> str:
    """The version of the controllers: their label, the tag of an image, or what the CRDs say."""
    tags = [str(item.get("image", "")).partition("@")[0].rpartition(":")[2] for item in containers(deployment)]
    written = [labels_of(deployment).get(_VERSION_LABEL, ""), *tags, _version_of_crds(entry, crds)]
    return next((text for text in written if version_of(text)), "")


def _version_of_crds(entry: Mapping[str, Any], crds: Iterable[Object]) -> str:
    rule = entry.get("version", {})
    for crd in crds:
        for text in (annotations_of(crd).get(rule.get("annotation", "")), labels_of(crd).get(rule.get("label", ""))):
            if version_of(text):
                return str(text)
    return ""


def _of_crds(entry: Mapping[str, Any], crds: list[Object]) -> Installation:
    """A dependency that is nothing but CRDs: somebody else's as soon as one of them is."""
    owners = [(item, owner_of(item)) for item in crds]
    first, owner = next(((i, o) for i, o in owners if o.kind == SOMEBODY), owners[0])
    return Installation(owner, f"CRD {first['metadata']['name']}", "", _version_of_crds(entry, [first]))


def _from_outside(entry: Mapping[str, Any], seen: Snapshot) -> Iterator[Installation]:
    """Installations whose controllers the provider runs: all that is seen is a webhook that calls a URL."""
    labels = entry.get("webhooks", {})
    for item in seen.of("mutating_webhooks") if labels else ():
        urls = [dig(webhook, "clientConfig", "url") for webhook in item.get("webhooks") or []]
        if labels.items() <= labels_of(item).items() and any(urls):
            yield Installation(owner_of(item), place(item))


def _subscriptions(entry: Mapping[str, Any], seen: Snapshot, known: Iterable[Installation]) -> Iterator[Installation]:
    """OLM packages that are subscribed to and have not (yet) brought a Deployment."""
    if any(item.owner.words.startswith("OLM") for item in known):
        return
    for item in seen.of("subscriptions"):
        package = dig(item, "spec", "name", default="")
        if package in entry.get("packages", []):
            csv = dig(item, "status", "installedCSV", default="nothing installed yet")
            version = "v" + csv.partition(".v")[2] if ".v" in csv else ""
            yield Installation(
                _subscriber(item, f"OLM, {csv}"), place(item), item["metadata"].get("namespace", ""), version
            )
