"""Findings about models, each with the place where its value was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from inference_platform import schema
from inference_platform.catalog.load import load
from inference_platform.findings import ERROR, Finding, show
from inference_platform.models.layers import DEFAULTS, OF_AN_ENTRY, PROFILES, Layers
from inference_platform.models.merge import without_nothing
from inference_platform.models.rules import Problem
from inference_platform.problems import Reporter
from inference_platform.schema import EntryChecker, KeyPath
from inference_platform.sources import Sources

DEFAULTS_WITH_NAME = "IP-MOD-007"
UNKNOWN_PROFILE = "IP-MOD-012"
PROFILE_WITH_NAME = "IP-MOD-013"

MODELS = "models"


@cache
def _layer_checker() -> EntryChecker:
    """For a part of an entry: nothing is required in it."""
    return EntryChecker({**schema.inlined_schema("model"), "required": []})


class PlacedFindings:
    """Collects findings and gives each the place where its value was written.

    A value that an entry takes from a profile or the defaults is reported there, once.
    """

    def __init__(self, entries: Sequence[Any], layers: Layers, sources: Sources | None) -> None:
        renamed = [entry for entry in load().renamed if entry["in"] == "model"]
        self._report = Reporter(sources, renamed)
        self._entries = entries
        self._layers = layers
        self._found: dict[Finding, None] = {}

    @property
    def findings(self) -> list[Finding]:
        """All findings, each once, in the order in which they were added."""
        return list(self._found)

    def add_mistakes_of_layers(self) -> None:
        """What is wrong with defaults and profiles whoever uses them."""
        if "name" in self._layers.defaults:
            self._add_error(
                DEFAULTS_WITH_NAME,
                (DEFAULTS, "name"),
                "no name: each model has its own",
                self._layers.defaults["name"],
            )
        for name, profile in self._layers.profiles.items():
            path = self._layers.in_profile(name, ())
            wrong = _layer_checker().mistakes(without_nothing(profile, schema.inlined_schema("model")))
            self.add_located(path, wrong)
            for key in OF_AN_ENTRY:
                if isinstance(profile, Mapping) and key in profile:
                    self._add_error(PROFILE_WITH_NAME, (*path, key), f"no {key}: only a model has it", profile[key])

    def add_unknown_profiles(self, index: int) -> bool:
        """Profiles that an entry names and that are not there; whether there are any."""
        entry = self._entries[index]
        lost = False
        named = entry.get("profiles", self._layers.defaults.get("profiles", []))
        for position, name in enumerate(named if isinstance(named, (list, tuple)) else []):
            if isinstance(name, str) and name not in self._layers.profiles:
                lost = True
                close = schema.close_names(name, self._layers.profiles)
                expected = schema.or_list(list(self._layers.profiles)) or f"a profile of {PROFILES}, which has none"
                remedy = f"Did you mean {schema.or_list(close)}?" if close else f"Add it to {PROFILES}, or remove it."
                place = self._place(index, ("profiles", position))
                finding = self._report.error(UNKNOWN_PROFILE, place, expected, show(name), remedy)
                self._add(finding, index if place[0] == MODELS else None)
        return lost

    def add_mistakes(self, index: int, mistakes: Sequence[schema.SchemaMistake]) -> None:
        """Mistakes of the schema in an entry; where the value is a profile's or a default, they are told there."""
        for mistake in mistakes:
            place = self._place(index, mistake.path)
            located = replace(mistake, path=place)
            for finding in self._report.of_schema([located], base=max(len(place) - len(mistake.path), 0)):
                self._add(finding, index if place[0] == MODELS else None)

    def add_located(self, place: KeyPath, mistakes: Sequence[schema.SchemaMistake]) -> None:
        """Mistakes in what is at ``place`` of the inventory, such as a profile or a group."""
        located = [replace(mistake, path=(*place, *mistake.path)) for mistake in mistakes]
        for finding in self._report.of_schema(located, base=len(place)):
            self._add(finding, None)

    def add_problems(self, problems: Sequence[Problem]) -> None:
        """What rules object to."""
        for problem in problems:
            path = problem.path if problem.model is None else self._place(problem.model, problem.path)
            make = self._report.error if problem.severity == ERROR else self._report.warning
            self._add(make(problem.code, path, problem.expected, problem.found, problem.remedy), problem.model)

    def _place(self, index: int, path: KeyPath) -> KeyPath:
        return self._layers.place(self._entries[index], path) or (MODELS, index, *path)

    def _add_error(self, code: str, path: KeyPath, expected: str, found: Any) -> None:
        remedy = f"Remove {path[-1]} from {'.'.join(map(str, path[:-1]))}."
        self._add(self._report.error(code, path, expected, show(found), remedy), None)

    def _add(self, finding: Finding, index: int | None) -> None:
        if index is not None:
            entry = self._entries[index]
            name = entry.get("name") if isinstance(entry, Mapping) else None
            if isinstance(name, str):
                finding = replace(finding, where=f"{finding.where} ({name})")
        self._found.setdefault(finding)
