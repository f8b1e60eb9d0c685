"""Plugins, programs and strategies of the scheduler, read from the catalogue.

The data is ``catalog/endpoint_picker_plugins.yml`` and ``catalog/scheduler_strategies.yml``;
their comments say what each key means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from inference_platform import schema
from inference_platform.catalog import CatalogError
from inference_platform.paths import CATALOG

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

PROFILE_KINDS = ("filter", "scorer", "picker")


@dataclass(frozen=True)
class Program:
    """An endpoint picker program of a certain version."""

    name: str
    title: str
    api_version: str
    objectives: str
    pool_group: str
    sections: tuple[str, ...]
    gates: tuple[str, ...]
    whole_weights: bool
    removed_flags: tuple[str, ...]
    runs_locally: bool


@dataclass(frozen=True)
class Parameter:
    """A parameter of a plugin. ``programs`` is None when every program with the plugin reads it."""

    type: str
    does: str = ""
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    required: bool = False
    keys: Mapping[str, Parameter] | None = None
    refers_to: str | None = None
    programs: tuple[str, ...] | None = None
    replaced_by: str | None = None
    breaks: tuple[str, ...] = ()

    def known_to(self, program: str) -> bool:
        """Whether the program reads it."""
        return self.programs is None or program in self.programs

    def old_in(self, program: str) -> bool:
        """Whether the program wants another name in its place."""
        return self.replaced_by is not None and (not self.breaks or program in self.breaks)


@dataclass(frozen=True)
class Plugin:
    """A plugin type."""

    type: str
    kinds: tuple[str, ...]
    does: str
    programs: tuple[str, ...]
    gate: str | None = None
    replaced_by: str | None = None
    runs_beside: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def acts_in_profile(self) -> bool:
        """Whether it does something when a profile names it."""
        return any(kind in PROFILE_KINDS for kind in self.kinds)


@dataclass(frozen=True)
class Strategy:
    """A named strategy. ``instead`` is set when there is none: its reason, and what to write."""

    name: str
    title: str
    does: str
    scorers: Mapping[str, float]
    picker: str
    kv_events: bool
    needs: tuple[str, ...]
    instead: Mapping[str, str] | None


@dataclass(frozen=True)
class Catalogue:
    """Everything, by name. ``objectives`` are those for ``objectives: default``."""

    programs: Mapping[str, Program]
    gate_of_section: Mapping[str, str]
    plugins: Mapping[str, Plugin]
    strategies: Mapping[str, Strategy]
    objectives: tuple[Mapping[str, Any], ...]

    def plugins_of(self, program: str) -> Mapping[str, Plugin]:
        """The plugins that a program has."""
        return self._by_program[program]

    @cached_property
    def _by_program(self) -> dict[str, dict[str, Plugin]]:
        return {
            program: {name: plugin for name, plugin in self.plugins.items() if program in plugin.programs}
            for program in self.programs
        }


@cache
def load() -> Catalogue:
    """The catalogue. Raises CatalogError when a file does not follow its schema."""
    data = _read(CATALOG / "endpoint_picker_plugins.yml")
    choices = _read(CATALOG / "scheduler_strategies.yml")
    return Catalogue(
        programs={name: _program(name, value) for name, value in data["programs"].items()},
        gate_of_section=data["gate_of_section"],
        plugins={name: _plugin(name, value) for name, value in data["plugins"].items()},
        strategies={name: _strategy(name, value) for name, value in choices["strategies"].items()},
        objectives=tuple(choices["objectives"]),
    )


def _read(path: Path) -> dict[str, Any]:
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    checker = schema.validator(schema.load_schema("endpoint_picker"), path.stem)
    wrong = schema.mistakes(data, checker)
    if wrong:
        lines = "\n".join(f"  {'.'.join(map(str, mistake.path))}: {mistake.kind}" for mistake in wrong)
        raise CatalogError(f"{path.name} does not follow its schema:\n{lines}")
    return dict(data)


def _program(name: str, data: Mapping[str, Any]) -> Program:
    lists = {key: tuple(data[key]) for key in ("sections", "gates", "removed_flags")}
    return Program(name=name, **{**data, **lists})


def _plugin(name: str, data: Mapping[str, Any]) -> Plugin:
    return Plugin(
        type=name,
        kinds=tuple(data["kinds"]),
        does=data["does"],
        programs=tuple(data["in"]),
        gate=data.get("gate"),
        replaced_by=data.get("replaced_by"),
        runs_beside=data.get("runs_beside"),
        parameters=_parameters(data.get("parameters", {})),
    )


def _parameters(data: Mapping[str, Any]) -> dict[str, Parameter]:
    return {name: _parameter(value) for name, value in data.items()}


def _parameter(data: Mapping[str, Any]) -> Parameter:
    plain = {key: value for key, value in data.items() if key not in ("in", "keys", "breaks")}
    return Parameter(
        **plain,
        keys=_parameters(data["keys"]) if "keys" in data else None,
        programs=tuple(data["in"]) if "in" in data else None,
        breaks=tuple(data.get("breaks", ())),
    )


def _strategy(name: str, data: Mapping[str, Any]) -> Strategy:
    return Strategy(
        name=name,
        title=data["title"],
        does=data["does"],
        scorers=data.get("scorers", {}),
        picker=data.get("picker", ""),
        kv_events=data.get("kv_events", False),
        needs=tuple(data.get("needs", ())),
        instead=data.get("instead"),
    )
