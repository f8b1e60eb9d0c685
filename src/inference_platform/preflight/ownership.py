"""Who shall own each dependency, given who owns it now.

Nothing is taken over and nothing is given up silently: whatever the real cloud managers
do by force (observed-operators.md 2.4 to 2.7, platform.md 2.5) is refused unless the
inventory names the dependency in ``ownership_adopt`` or ``ownership_let_go``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inference_platform.findings import ERROR, WARNING
from inference_platform.preflight import data
from inference_platform.preflight.detection import (
    CLOUD_MANAGER,
    OURS,
    SOMEBODY,
    Found,
    Installation,
    containers,
    owner_of,
)
from inference_platform.preflight.snapshot import Snapshot, dig, place

AUTO, MANAGED, DELEGATED, EXTERNAL = "auto", "managed", "delegated", "external"

NOT_OURS = "IP-PRE-050"
NOT_THERE = "IP-PRE-051"
OUTSIDE_WINDOW = "IP-PRE-052"
UNTESTED_VERSION = "IP-PRE-053"
INCOMPLETE = "IP-PRE-054"
TWO = "IP-PRE-055"
TAKEN_BY_FORCE = "IP-PRE-060"
DOWNGRADE = "IP-PRE-041"
OPERATOR_CRD = "IP-PRE-065"

_ISSUER_NAMESPACE_FLAG = "--cluster-resource-namespace="
_INFERENCE_FLAG = "ENABLE_GATEWAY_API_INFERENCE_EXTENSION"


@dataclass(frozen=True)
class Verdict:
    """Something that does not fit, with the code of the check that reports it."""

    code: str
    expected: str
    found: str
    remedy: str
    severity: str = ERROR


@dataclass(frozen=True)
class Decision:
    """What becomes of one dependency.

    wanted    what the inventory says, "" when it says nothing
    resolved  managed, delegated or external
    found     what the cluster has
    reason    why ``auto`` became what it is, or what the choice means here; one clause
    """

    name: str
    title: str
    wanted: str
    resolved: str
    found: Found
    reason: str = ""
    verdicts: tuple[Verdict, ...] = ()

    @property
    def is_laid(self) -> bool:
        """Whether all of it that is there is of this installer or its cloud manager."""
        found = self.found.installations
        return bool(found) and not any(item.owner.kind == SOMEBODY for item in found)

    @property
    def found_in_words(self) -> str:
        """One line for a table."""
        if not self.found.known:
            return "not known"
        if self.found.installations:
            return "; ".join(f"{item.version} by {item.owner.words}".strip() for item in self.found.installations)
        return f"{len(self.found.crds)} CRDs without controllers" if self.found.crds else "nothing"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "dependency": self.name,
            "title": self.title,
            "wanted": self.wanted or "default",
            "resolved": self.resolved,
            "reason": self.reason,
            "found": [
                {
                    "owner": item.owner.kind,
                    "by": item.owner.words,
                    "version": item.version,
                    "namespace": item.namespace,
                    "evidence": item.evidence,
                }
                for item in self.found.installations
            ],
            "crds": {name: owner.words for name, owner in sorted(self.found.crds.items())},
        }


@dataclass(frozen=True)
class Question:
    """All that a decision about one dependency needs.

    entry     the dependency in catalog/preflight.yml
    possible  ownerships that release and cloud manager allow, the default first
    brings    the version that this installer (or the cloud manager) would install, "" if unknown
    on_openshift  whether OpenShift itself, not a cloud manager, brings what is delegated
    """

    name: str
    entry: Mapping[str, Any]
    wanted: str
    possible: Sequence[str]
    found: Found
    seen: Snapshot
    brings: str = ""
    distribution: str = "redhat"
    adopted: bool = False
    on_openshift: bool = False
    namespaces: Collection[str] = ()

    @property
    def title(self) -> str:
        return str(self.entry["title"])

    @property
    def window(self) -> Mapping[str, str]:
        """The versions that will do for the distribution of the plan."""
        return data.window_of(self.entry, self.distribution)


def decide(question: Question) -> Decision:
    """The decision about one dependency, with everything that stands against it."""
    if question.wanted == AUTO:
        resolved, reason = _automatic(question)
    else:
        resolved, reason = question.wanted or question.possible[0], ""
    verdicts = tuple(verdict for rule in _RULES[resolved] for verdict in rule(question))
    return Decision(
        question.name,
        question.title,
        question.wanted,
        resolved,
        question.found,
        reason or _meaning(question, resolved),
        verdicts,
    )


def _automatic(question: Question) -> tuple[str, str]:
    found, possible = question.found, question.possible
    if not found.known:
        return possible[0], "what is there may not be listed"
    stays_delegated = found.by(CLOUD_MANAGER) and DELEGATED in possible
    if EXTERNAL in possible and any((_no_downgrade_of_others if stays_delegated else _no_downgrade)(question)):
        return EXTERNAL, "what is there is newer or has more, and is kept"
    if found.by(OURS) and MANAGED in possible:
        return MANAGED, "this installer brought it"
    if stays_delegated:
        return DELEGATED, "the cloud manager brought it"
    if found.foreign and EXTERNAL in possible:
        return EXTERNAL, f"it is there ({found.foreign.evidence})"
    return possible[0], "it is not there" if not found.installations else f"the only choice here: {possible[0]}"


def _meaning(question: Question, resolved: str) -> str:
    if resolved == EXTERNAL and not question.found.foreign and question.found.by(OURS):
        return "left as this installer made it: no longer upgraded, not removed"
    if question.adopted and question.found.foreign and resolved != EXTERNAL:
        return "taken over from " + question.found.foreign.owner.words
    return ""


def _version(item: Installation) -> str:
    return item.version or "unknown version"


# ---- managed and delegated --------------------------------------------------------------------------------


def _nobody_elses(question: Question) -> Iterator[Verdict]:
    """Managed: what somebody else installed is neither overwritten nor doubled."""
    foreign = question.found.foreign
    if foreign is None or question.found.by(OURS):
        return
    if question.adopted and _can_adopt(question, foreign):
        return
    adopt = ""
    if _can_adopt(question, foreign):
        adopt = f" To take it over on purpose, set ownership_adopt: [{question.name}]."
    elif question.adopted:
        adopt = " It cannot be adopted: it is not the operator that this installer brings, in its namespace."
    yield Verdict(
        NOT_OURS,
        f"no {question.title}, or that of this installer",
        f"{_version(foreign)} by {foreign.owner.words} ({foreign.evidence})",
        f"Set ownership.{question.name} to auto or external to use it, or remove it first.{adopt}",
    )


def _can_adopt(question: Question, foreign: Installation) -> bool:
    """CRDs, and the very operator that our chart would apply, where it would apply it."""
    operators = {rule["name"] for rule in question.entry.get("controllers", []) if rule.get("operator")}
    if not operators:
        return True
    namespace, _, name = foreign.evidence.removeprefix("Deployment ").partition("/")
    return name in operators and namespace in question.namespaces


def _only_one(question: Question) -> Iterator[Verdict]:
    """Two installations fight over the same CRDs and webhooks."""
    foreign, own = question.found.foreign, question.found.by(OURS) or question.found.by(CLOUD_MANAGER)
    if foreign and own and question.entry.get("controllers"):
        yield Verdict(
            TWO,
            f"one {question.title}",
            f"two: {own.evidence} by {own.owner.words}, {foreign.evidence} by {foreign.owner.words}",
            f"Remove one of them. To keep theirs, remove ours and set ownership.{question.name} to external.",
        )


def _no_takeover(question: Question) -> Iterator[Verdict]:
    """Delegated: the cloud manager does not look, it applies by force (platform.md 2.5).

    OpenShift subscribes to Service Mesh itself, and nobody shall a second time (operators.md 5).
    """
    there = question.found.foreign or question.found.by(OURS)
    if there is None or question.adopted or question.found.by(CLOUD_MANAGER):
        return
    found = f"{_version(there)} by {there.owner.words} ({there.evidence})"
    if question.on_openshift:
        yield Verdict(
            TAKEN_BY_FORCE,
            f"no {question.title} but that of OpenShift's ingress operator",
            found,
            "The ingress operator subscribes to it itself once the GatewayClass exists; there should be no second "
            "Subscription. Remove yours; its control planes can stay with the operator that OpenShift brings. To leave "
            f"it for OpenShift to use, set ownership_adopt: [{question.name}].",
        )
        return
    yield Verdict(
        TAKEN_BY_FORCE,
        f"no {question.title} before the cloud manager brings its own",
        found,
        f"The cloud manager would take it over by force and later delete it. Remove it, or choose another owner for "
        f"{question.name}; to have it taken over on purpose, set ownership_adopt: [{question.name}].",
    )


def _no_downgrade(question: Question) -> Iterator[Verdict]:
    """Gateway API goes upward only, and standard CRDs never replace experimental ones (operators.md 4.1)."""
    if not question.entry.get("never_downgrade"):
        return
    wanted = data.version_of(question.brings)
    for item in question.found.installations:
        if wanted and item.numbers and item.numbers > wanted:
            yield Verdict(
                DOWNGRADE,
                f"{question.title} {question.brings} or older",
                f"{item.version} by {item.owner.words}",
                f"Set ownership.{question.name} to auto or external; the newer one is kept and used.",
            )
    if question.found.channel not in ("", "standard"):
        yield Verdict(
            DOWNGRADE,
            f"the standard channel of {question.title}",
            f"the {question.found.channel} channel",
            f"Set ownership.{question.name} to auto or external; its CRDs have fields that standard ones would drop.",
        )


def _no_downgrade_of_others(question: Question) -> Iterator[Verdict]:
    """What the cloud manager itself brought it does not replace, whichever version the lock has for it."""
    others = tuple(item for item in question.found.installations if item.owner.kind != CLOUD_MANAGER)
    yield from _no_downgrade(replace(question, found=replace(question.found, installations=others)))


def _operator_brings_its_crds(question: Question) -> Iterator[Verdict]:
    """An operator that reads a field of its operand's CRD panics when somebody else made it (observed 4.4)."""
    rule = question.entry.get("operator_crds", {})
    if rule.get("distribution") != question.distribution or question.found.foreign:
        return
    for crd in question.seen.of("crds"):
        name = crd["metadata"]["name"]
        if name in rule["crds"] and not dig(crd, "metadata", "ownerReferences"):
            yield Verdict(
                OPERATOR_CRD,
                f"no CRD {name} but the operator's own",
                owner_of(crd).words,
                f"{rule['consequence']} When no object of it is needed, delete the CRD (which deletes them all), else "
                f"set ownership.{question.name} to external.",
            )


# ---- external ---------------------------------------------------------------------------------------------


def _is_there(question: Question) -> Iterator[Verdict]:
    if question.found.installations:
        return
    left = f"{len(question.found.crds)} CRDs without controllers" if question.found.crds else "nothing"
    yield Verdict(
        NOT_THERE,
        f"a {question.title} that somebody else brings",
        left,
        f"Install it ({data.in_words(question.window)}), or set ownership.{question.name} to auto or "
        f"{question.possible[0]}.",
    )


def _fits_the_window(question: Question) -> Iterator[Verdict]:
    window, foreign = question.window, question.found.foreign
    if foreign is None:
        return
    who = f"by {foreign.owner.words} ({foreign.evidence})"
    if foreign.numbers is None:
        yield Verdict(
            UNTESTED_VERSION,
            f"{question.title} {data.in_words(window)}",
            f"an installation without a version {who}",
            "Make sure of the version by hand.",
            WARNING,
        )
        return
    problem = data.outside(window, foreign.numbers)
    if problem:
        yield Verdict(
            OUTSIDE_WINDOW,
            f"{question.title} {data.in_words(window)}",
            f"{foreign.version}, {problem}, {who}",
            _way_into_the_window(question, problem),
        )
    elif data.is_newer(foreign.numbers, window["tested"]):
        yield Verdict(
            UNTESTED_VERSION,
            f"{question.title} up to {window['tested']}, with which this release was tested",
            f"{foreign.version} {who}",
            "Go on if you must; look here first when something is odd.",
            WARNING,
        )


def _way_into_the_window(question: Question, problem: str) -> str:
    change = "Upgrade" if problem == "too old" else "Go back with"
    ours = f", or remove it and set ownership.{question.name} to managed" if MANAGED in question.possible else ""
    return f"{change} {question.title} to {data.in_words(question.window)}{ours}."


def _is_complete(question: Question) -> Iterator[Verdict]:
    """An external installation has every CRD that the platform uses."""
    missing = [name for name in question.entry["crds"] if name not in question.found.crds]
    if question.found.installations and missing:
        yield Verdict(
            INCOMPLETE,
            f"all CRDs of {question.title} that the platform uses",
            f"no {', '.join(missing)}",
            f"Complete the installation, or set ownership.{question.name} to {question.possible[0]} after removing it.",
        )


def _issues_from_our_namespace(question: Question) -> Iterator[Verdict]:
    """cert-manager reads the CA of a ClusterIssuer from one namespace; ours is cert-manager (operators.md 1.6)."""
    foreign, wanted = question.found.foreign, "cert-manager"
    if question.name != "cert_manager" or foreign is None or foreign.object is None:
        return
    arguments = [arg for item in containers(foreign.object) for arg in item.get("args") or []]
    flag = next((arg for arg in arguments if arg.startswith(_ISSUER_NAMESPACE_FLAG)), "")
    namespace = flag.removeprefix(_ISSUER_NAMESPACE_FLAG)
    found = foreign.namespace if namespace in ("", "$(POD_NAMESPACE)") else namespace
    if found != wanted:
        yield Verdict(
            INCOMPLETE,
            f"cert-manager that reads Secrets of ClusterIssuers in namespace {wanted}",
            f"namespace {found} ({foreign.evidence})",
            f"Start its controller with {_ISSUER_NAMESPACE_FLAG}{wanted}; the platform's authority lies there.",
        )


def _knows_inference_pools(question: Question) -> Iterator[Verdict]:
    """istiod routes to InferencePools only when it is told to (operators.md 2.4)."""
    foreign = question.found.foreign
    if question.name != "sail" or foreign is None or foreign.object is None:
        return
    variables = {
        entry["name"]: entry.get("value") for item in containers(foreign.object) for entry in item.get("env", [])
    }
    if str(variables.get(_INFERENCE_FLAG)).lower() != "true":
        yield Verdict(
            INCOMPLETE,
            f"istiod with {_INFERENCE_FLAG}=true",
            f"{_INFERENCE_FLAG}={variables.get(_INFERENCE_FLAG, '')} ({place(foreign.object)})",
            "Set it: without it, requests to models with a scheduler are not routed.",
            WARNING,
        )


def _upstream_is_new_enough(question: Question) -> Iterator[Verdict]:
    """The project's own build may learn later what that of the distribution can (observed-gateway.md 0)."""
    foreign, rule = question.found.foreign, question.entry.get("upstream")
    if rule is None or foreign is None or foreign.object is None or foreign.numbers is None:
        return
    images = {str(item.get("image", "")).rpartition("/")[2].partition("@")[0] for item in containers(foreign.object)}
    is_upstream = rule["image"] in {image.partition(":")[0] for image in images}
    if (
        is_upstream
        and data.is_older(foreign.numbers, rule["minimum"])
        and not data.outside(question.window, foreign.numbers)
    ):
        yield Verdict(
            INCOMPLETE,
            f"{question.title} {rule['minimum']} or newer where it is the project's own build",
            f"{foreign.version} ({foreign.evidence})",
            f"Upgrade it. {rule['consequence']}",
            WARNING,
        )


Rule = Callable[[Question], Iterator[Verdict]]
_RULES: Mapping[str, Sequence[Rule]] = {
    MANAGED: (_nobody_elses, _only_one, _no_downgrade, _operator_brings_its_crds),
    DELEGATED: (_no_takeover, _only_one, _no_downgrade_of_others, _operator_brings_its_crds),
    EXTERNAL: (
        _is_there,
        _fits_the_window,
        _is_complete,
        _issues_from_our_namespace,
        _knows_inference_pools,
        _upstream_is_new_enough,
    ),
}
