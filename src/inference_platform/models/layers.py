"""Defaults and profiles of an inventory, and entries laid over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from inference_platform import schema
from inference_platform.models.merge import Defaults, defaults_of, fill, has, layered, merge
from inference_platform.schema import KeyPath

DEFAULTS = "model_defaults"
PROFILES = "model_profiles"

#: What only an entry itself can say.
OF_AN_ENTRY = ("name", "profiles")


@cache
def schema_defaults() -> Defaults:
    """The defaults of the schema of a model."""
    return defaults_of(schema.inlined_schema("model"))


class Layers:
    """Defaults and named profiles, from which entries take what they leave out."""

    def __init__(self, defaults: Mapping[str, Any], profiles: Mapping[str, Any]) -> None:
        self.defaults = defaults
        self.profiles = profiles
        self._below: dict[tuple[str, ...], dict[str, Any]] = {}

    def names(self, entry: Mapping[str, Any]) -> list[str]:
        """Names of the profiles of an entry that are there."""
        named = entry.get("profiles", self.defaults.get("profiles", []))
        if not isinstance(named, (list, tuple)):
            return []
        return [name for name in named if isinstance(name, str) and isinstance(self.profiles.get(name), Mapping)]

    def merged(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """The entry over its profiles over the defaults over those of the schema."""
        names = tuple(self.names(entry))
        below = self._below.get(names)
        if below is None:
            layers = [_without(self.defaults, ("name",)), *(_without(self.profiles[name]) for name in names)]
            below = self._below[names] = layered(layers)
        return fill(merge(below, entry), schema_defaults())

    def place(self, entry: Any, path: KeyPath) -> KeyPath | None:
        """Where below ``entry`` its value at ``path`` comes from; None when it is the entry's own."""
        if not path or not isinstance(entry, Mapping) or has(entry, path):
            return None
        for name in reversed(self.names(entry)):
            if has(self.profiles[name], path):
                return (PROFILES, name)
        return (DEFAULTS,) if has(self.defaults, path) else None


def _without(layer: Mapping[str, Any], keys: Sequence[str] = OF_AN_ENTRY) -> dict[str, Any]:
    return {key: value for key, value in layer.items() if key not in keys}
