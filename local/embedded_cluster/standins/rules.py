"""The rules of one stand-in operator, read from rules/<operator>.yml.

A rule file says what the program demands of its pod, which custom resource it acts on, what it needs first, what it
writes in which order with which marks, and how its status follows. Every part names the fact it imitates.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml
from embedded_cluster.standins import templates
from embedded_cluster.standins.objects import CLUSTER_SCOPED, Ref


@dataclass(frozen=True)
class Program:
    """What the real program accepts on its command line and demands in its environment."""

    commands: tuple[str, ...]
    flags: frozenset[str]
    subcommands: tuple[str, ...] = ()
    required_env: tuple[str, ...] = ()
    unknown_flag: str = "flag provided but not defined: {flag}"


@dataclass(frozen=True)
class Lease:
    """Leader election of the real program; times in seconds."""

    name: str
    duration: float
    renew: float
    retry: float
    released: bool


@dataclass(frozen=True)
class Watch:
    """One kind to watch. `metadata` fetches only metadata (for big objects such as CRDs)."""

    api_version: str
    kind: str
    namespace: str | None = None
    labels: str | None = None
    metadata: bool = False


@dataclass(frozen=True)
class Requirement:
    """A CRD that must exist, and the word the operator's messages use for it."""

    crd: str
    display: str


@dataclass(frozen=True)
class Step:
    """One step of the sync order; exactly one of objects, crds, wait_for and call is set."""

    objects: tuple[str, ...] = ()
    crds: Mapping[str, Any] | None = None
    wait_for: Mapping[str, Any] | None = None
    call: str = ""
    write: str = ""
    manager: str = ""
    owner: bool | None = None
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One line of a condition's table: the first whose `when` holds gives the condition."""

    when: str = "true"
    status: str = "True"
    reason: str = ""
    message: str = ""
    absent: bool = False
    keep: bool = False


@dataclass(frozen=True)
class Rules:
    """Everything a stand-in operator does for one kind of custom resource."""

    operator: str
    fact: str
    source: Mapping[str, str]
    manager: str
    operands: tuple[str, ...] = ()
    write: str = "apply"
    owner: bool = True
    controller: bool = True
    on_error: str = "stop"
    error_text: str = "<< reason >>"
    event: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    requires: tuple[Requirement, ...] = ()
    watches: tuple[Watch, ...] = ()
    steps: tuple[Step, ...] = ()
    conditions: Mapping[str, tuple[Case, ...]] = field(default_factory=dict)
    status: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RuleFile:
    """One rules/<operator>.yml: the program, its leader election, and one set of rules per custom resource."""

    program: Program
    lease: Lease
    rules: Mapping[str, Rules]
    settings: Mapping[str, Any]


@cache
def load(operator: str) -> RuleFile:
    """Read rules/<operator>.yml. Raises TypeError for a key the schema above does not know."""
    data = yaml.load((templates.FOLDER / "rules" / f"{operator}.yml").read_text(), templates.LOADER)
    program = dict(data["program"])
    return RuleFile(
        program=Program(
            commands=tuple(program.pop("commands")),
            flags=frozenset(program.pop("flags")),
            subcommands=tuple(program.pop("subcommands", ())),
            required_env=tuple(program.pop("required_env", ())),
            **program,
        ),
        lease=Lease(**data["lease"]),
        rules={name: _rules(operator, body) for name, body in data["rules"].items()},
        settings=data.get("settings", {}),
    )


def _rules(operator: str, body: Mapping[str, Any]) -> Rules:
    known = dict(body)
    for name, build in (("requires", Requirement), ("watches", Watch)):
        known[name] = tuple(build(**entry) for entry in known.get(name, ()))
    known["steps"] = tuple(_step(entry) for entry in known.get("steps", ()))
    known["conditions"] = {
        kind: tuple(Case(**case) for case in cases) for kind, cases in known.get("conditions", {}).items()
    }
    for name in ("operands", "finalizers"):
        known[name] = tuple(known.get(name, ()))
    return Rules(operator=operator, **known)


def _step(entry: Mapping[str, Any]) -> Step:
    known = {key: value for key, value in entry.items() if key != "fact"}
    for name in ("objects", "keep"):
        known[name] = tuple(known.get(name, ()))
    return Step(**known)


def select(documents: Iterable[Mapping[str, Any]], patterns: Sequence[str]) -> list[Mapping[str, Any]]:
    """The operands a step names, in the order of its patterns (`Kind` or `Kind/name-glob`), then of the file."""
    documents = list(documents)
    chosen: list[Mapping[str, Any]] = []
    for pattern in patterns:
        kind, _, name = pattern.partition("/")
        for document in documents:
            matches = document["kind"] == kind and fnmatch.fnmatch(document["metadata"]["name"], name or "*")
            if matches and document not in chosen:
                chosen.append(document)
    return chosen


def placed(document: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """The document with a namespace, if its kind has one and it names none."""
    if document["kind"] in CLUSTER_SCOPED or document["metadata"].get("namespace"):
        return dict(document)
    return {**document, "metadata": {**document["metadata"], "namespace": namespace}}


def source_ref(rules: Rules) -> Ref:
    """Identity of the one custom resource the rules act on."""
    return Ref(rules.source["apiVersion"], rules.source["kind"], rules.source["name"])
