"""What a rule is, and how all of them are applied.

A rule is one small function with a code, a title and a severity. It looks at one model,
at the rendered spec of one model, or at the whole inventory, and yields objections. Rules
about a live cluster take given facts; nothing here talks to a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_platform.findings import ERROR
from inference_platform.models.subjects import Inventory as Inventory
from inference_platform.models.subjects import Subject as Subject
from inference_platform.schema import KeyPath

MODEL = "model"
SPEC = "spec"
INVENTORY = "inventory"
CLUSTER = "cluster"
SCHEMA = "schema"


@dataclass(frozen=True)
class Objection:
    """What a rule says about one place.

    ``path`` is inside the entry of a model. Rules about the inventory name the model, or
    give the path from the top with ``model`` None.
    """

    path: KeyPath
    expected: str
    found: str
    remedy: str
    model: int | None = None


@dataclass(frozen=True)
class Problem:
    """An objection with the code and severity of its rule."""

    code: str
    path: KeyPath
    expected: str
    found: str
    remedy: str
    severity: str = ERROR
    model: int | None = None


@dataclass(frozen=True)
class Rule:
    """One rule. ``catches`` names what it is about: "mistake 1" of models.md 10, "admission 10" of models.md 1.5."""

    code: str
    title: str
    scope: str
    severity: str
    catches: tuple[str, ...]
    check: Callable[..., Iterable[Objection]] | None

    def problem(self, objection: Objection, model: int | None = None) -> Problem:
        """The objection as a problem of ``model``."""
        return Problem(
            self.code,
            objection.path,
            objection.expected,
            objection.found,
            objection.remedy,
            self.severity,
            objection.model if model is None else model,
        )


class Rules:
    """A list of rules that functions join with a decorator."""

    def __init__(self) -> None:
        self.all: list[Rule] = []

    def rule(
        self, code: str, title: str, scope: str = MODEL, severity: str = ERROR, catches: Sequence[str] = ()
    ) -> Callable[[Callable[..., Iterator[Objection]]], Callable[..., Iterator[Objection]]]:
        """Adds the decorated function as a rule."""

        def add(check: Callable[..., Iterator[Objection]]) -> Callable[..., Iterator[Objection]]:
            self.all.append(Rule(code, title, scope, severity, tuple(catches), check))
            return check

        return add

    def of(self, scope: str) -> list[Rule]:
        """The rules of one scope, by code."""
        return sorted((rule for rule in self.all if rule.scope == scope), key=lambda rule: rule.code)


def check_model(rules: Iterable[Rule], subject: Subject) -> list[Problem]:
    """The problems of one model."""
    return [rule.problem(objection, subject.index) for rule in rules if rule.check for objection in rule.check(subject)]


def check_spec(rules: Iterable[Rule], subject: Subject, spec: Mapping[str, Any]) -> list[Problem]:
    """The problems of the rendered spec of one model."""
    return [
        rule.problem(objection, subject.index)
        for rule in rules
        if rule.check
        for objection in rule.check(subject, spec)
    ]


def check_inventory(rules: Iterable[Rule], inventory: Inventory) -> list[Problem]:
    """The problems between models."""
    return [rule.problem(objection) for rule in rules if rule.check for objection in rule.check(inventory)]
