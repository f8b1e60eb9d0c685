"""What a check is, and the list that all checks join."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from inference_platform.findings import ERROR, WARNING, Finding
from inference_platform.preflight.ownership import Decision
from inference_platform.preflight.snapshot import Snapshot, labels_of

OK, UNKNOWN, NOT_ASKED, ACCEPTED = "ok", "unknown", "not asked", "accepted"

_LISTED = 5


@dataclass(frozen=True)
class Objection:
    """What a check says about one thing.  ``severity`` only where it differs from the check's own."""

    where: str
    expected: str
    found: str
    remedy: str
    severity: str = ""


@dataclass(frozen=True)
class Scene:
    """What checks look at.

    seen       the cluster
    plan       the plan as plain data, resolved with the decisions
    data       catalog/preflight.yml
    decisions  one per dependency
    let_go     dependencies that the cloud manager may remove
    models     rendered objects of the models
    scales     whether the inventory says that nodes are started when pods wait for them
    installs   whether the run brings the platform too, or finds it there
    layers     names of the layers that the run lays; None: all of the plan
    """

    seen: Snapshot
    plan: Mapping[str, Any]
    data: Mapping[str, Any]
    decisions: Sequence[Decision] = ()
    let_go: frozenset[str] = frozenset()
    models: Sequence[Mapping[str, Any]] = ()
    scales: bool = False
    installs: bool = True
    layers: frozenset[str] | None = None

    def brings(self, layer: str) -> bool:
        """Whether this installer or the cloud manager brings a layer of the plan."""
        return any(item["name"] == layer and item["ownership"] != "external" for item in self.plan["layers"])

    @property
    def laid(self) -> set[str]:
        """The layers of the plan that the run lays itself."""
        names = {item["name"] for item in self.plan["layers"] if item["ownership"] == "managed"}
        return names if self.layers is None else names & self.layers

    @property
    def namespaces(self) -> list[str]:
        """The namespaces of the platform."""
        return sorted(self.plan["namespaces"].values())

    @property
    def repaired_namespaces(self) -> set[str]:
        """Those of the platform but the ones of dependencies that somebody else brings."""
        external = (entry for name, entry in self.data["dependencies"].items() if not self.brings(name))
        others = {self.plan["namespaces"].get(key) for entry in external for key in entry.get("namespaces", ())}
        return {*self.namespaces} - others

    @property
    def model_namespaces(self) -> list[str]:
        """The namespaces of the models."""
        return sorted({item["metadata"]["namespace"] for item in self.models if item["metadata"].get("namespace")})

    def labels_of(self, namespace: str) -> dict[str, str]:
        """The labels that a namespace has when a run made or changed it."""
        of_models = self.plan["gateway"]["namespace_labels"] if namespace in self.model_namespaces else {}
        return {
            **labels_of(self.seen.namespace(namespace) or {}),
            **of_models,
            **self.plan["namespace_labels"].get(namespace, {}),
            "kubernetes.io/metadata.name": namespace,
        }


def published_charts(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The charts of others that this installer brings, of a plan as plain data."""
    return [
        release["published"]
        for layer in plan["layers"]
        if layer["ownership"] == "managed"
        for release in layer["releases"]
        if release["published"]
    ]


Look = Callable[[Scene], Iterable[Objection]]


@dataclass(frozen=True)
class Check:
    """One check.

    reads   the parts of the snapshot without which it knows nothing
    guards  whether it keeps a run from taking or deleting what others have: unknown is no answer then
    """

    code: str
    title: str
    severity: str
    reads: tuple[str, ...]
    look: Look | None
    guards: bool = False

    def run(self, scene: Scene) -> Result:
        """Its result; a check that cannot look says why."""
        if self.look is None:
            return Result(self, NOT_ASKED)
        if self.code in scene.seen.unasked:
            return Result(self, NOT_ASKED, note=scene.seen.unasked[self.code])
        unseen = [part for part in self.reads if part in scene.seen.unseen]
        if unseen:
            return Result(self, UNKNOWN, note="; ".join(scene.seen.unseen[part] for part in unseen))
        findings = [
            Finding(self.code, item.severity or self.severity, item.where, item.expected, item.found, item.remedy)
            for item in self.look(scene)
        ]
        worst = OK
        for finding in findings:
            worst = finding.severity if worst != ERROR else worst
        return Result(self, worst, findings)


@dataclass(frozen=True)
class Result:
    """What a check found.  ``status`` is ok, warning, error, accepted, unknown or not asked."""

    check: Check
    status: str
    findings: list[Finding] = field(default_factory=list)
    note: str = ""

    def accepted(self) -> Result:
        """The same, with nothing that stops a run."""
        if not self.findings:
            return self
        told = [replace(item, severity=WARNING) for item in self.findings]
        return replace(self, status=ACCEPTED, findings=told, note="; ".join(item.found for item in told))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "code": self.check.code,
            "title": self.check.title,
            "status": self.status,
            **({"note": self.note} if self.note else {}),
            "findings": [finding.to_dict() for finding in self.findings],
        }


CHECKS: list[Check] = []


def check(
    code: str, title: str, *, reads: Sequence[str] = (), severity: str = ERROR, guards: bool = False
) -> Callable[[Look], Look]:
    """Adds a function to the list.  ``title`` says what holds when there is no finding."""

    def add(look: Look) -> Look:
        CHECKS.append(Check(code, title, severity, tuple(reads), look, guards))
        return look

    return add


def not_asked(code: str, title: str) -> None:
    """Adds something that a cluster cannot be asked, so that it is said and not forgotten."""
    CHECKS.append(Check(code, title, "", (), None))


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:_LISTED])
    more = len(names) - _LISTED
    return f"{shown} and {more} more" if more > 0 else shown
