"""An EndpointPickerConfig as rules look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inference_platform.models.scheduler.catalogue import Catalogue, Plugin, Program
from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.schema import KeyPath


@dataclass(frozen=True)
class Declared:
    """One entry of ``plugins``; ``plugin`` is None when the program does not know its type."""

    index: int
    name: str
    plugin: Plugin | None
    parameters: Mapping[str, Any]

    @property
    def path(self) -> KeyPath:
        """Where it is in the configuration."""
        return ("plugins", self.index)

    def is_a(self, kind: str) -> bool:
        """Whether it is known to be of the kind."""
        return self.plugin is not None and kind in self.plugin.kinds


@dataclass(frozen=True)
class Use:
    """One line of a profile: where it is, what it says, and the declared plugin it names, if there is one."""

    path: KeyPath
    data: Mapping[str, Any]
    name: str
    entry: Declared | None


@dataclass(frozen=True)
class Config:
    """A configuration for a program. ``prefill``: the model has prefill workers.

    Nothing is taken for granted about the shape of ``data`` but that it is a mapping.
    """

    data: Mapping[str, Any]
    program: Program
    catalogue: Catalogue
    prefill: bool

    @cached_property
    def entries(self) -> list[Declared]:
        """The declared plugins that have a type."""
        found = []
        for index, entry in enumerate(items(self.data.get("plugins"))):
            kind = mapping(entry).get("type")
            if isinstance(kind, str):
                plugin = self.catalogue.plugins.get(kind)
                known = plugin if plugin and self.program.name in plugin.programs else None
                found.append(Declared(index, str(entry.get("name") or kind), known, mapping(entry.get("parameters"))))
        return found

    @cached_property
    def by_name(self) -> dict[str, Declared]:
        """The first plugin of each name."""
        return {entry.name: entry for entry in reversed(self.entries)}

    @cached_property
    def types(self) -> set[str]:
        """The types of the plugins that the program knows."""
        return {entry.plugin.type for entry in self.entries if entry.plugin}

    @cached_property
    def profiles(self) -> list[tuple[KeyPath, Mapping[str, Any]]]:
        """Path and content of each profile."""
        profiles = enumerate(items(self.data.get("schedulingProfiles")))
        return [(("schedulingProfiles", index), mapping(profile)) for index, profile in profiles]

    @cached_property
    def gates(self) -> list[Any]:
        """The feature gates that are switched on."""
        return items(self.data.get("featureGates"))

    def of_kind(self, kind: str) -> list[Declared]:
        """The plugins of a kind."""
        return [entry for entry in self.entries if entry.is_a(kind)]

    def uses(self, path: KeyPath, profile: Mapping[str, Any]) -> Iterator[Use]:
        """The lines of a profile that name a plugin."""
        for index, use in enumerate(items(profile.get("plugins"))):
            name = mapping(use).get("pluginRef")
            if isinstance(name, str) and name:
                yield Use((*path, "plugins", index), use, name, self.by_name.get(name))


Rule = Callable[[Config], Iterator[Mistake]]


def items(value: Any) -> list[Any]:
    """``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def words(kind: str) -> str:
    """A kind of plugin as it is written in a message."""
    return kind.replace("_", " ")
