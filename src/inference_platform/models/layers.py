"""Defaults, profiles and node pools of an inventory, and entries laid over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from inference_platform import schema
from inference_platform.models.merge import Defaults, defaults_of, fill, has, layered, merge
from inference_platform.schema import KeyPath

DEFAULTS = "model_defaults"
PROFILES = "model_profiles"
POOLS = "node_pools"
NODE_POOL_LABEL = "karpenter.sh/nodepool"

#: What only an entry itself can say.
OF_AN_ENTRY = ("name", "profiles")
#: What of a node pool gives a setting that the pool does not write under the same name; the others are its capacity.
_GIVEN_BY = {"priority_class": "priority", "pod_annotations": "keep_running", NODE_POOL_LABEL: "karpenter"}


@cache
def schema_defaults() -> Defaults:
    """The defaults of the schema of a model."""
    return defaults_of(schema.inlined_schema("model"))


class Layers:
    """Defaults and named profiles, from which entries take what they leave out.

    ``pools`` are the node pools as written: each is a profile of its name, made from it.
    """

    def __init__(
        self, defaults: Mapping[str, Any], profiles: Mapping[str, Any], pools: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.defaults = defaults
        self.profiles = profiles
        self._pools: dict[str, tuple[int, Mapping[str, Any]]] = {
            pool["name"]: (index, pool) for index, pool in enumerate(pools) if "name" in pool
        }
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
        """Where below ``entry`` its value at ``path`` was written; None when it is the entry's own, or nobody's."""
        if not path or not isinstance(entry, Mapping) or has(entry, path):
            return None
        for name in reversed(self.names(entry)):
            if has(self.profiles[name], path):
                return self.in_profile(name, path)
        return (DEFAULTS, *path) if has(self.defaults, path) else None

    def pool_at(self, index: int) -> str:
        """The name of the node pool at this place of the list."""
        return next(name for name, (place, _) in self._pools.items() if place == index)

    def in_profile(self, name: str, path: KeyPath) -> KeyPath:
        """Where the value at ``path`` of a profile was written, which may be a node pool."""
        if name not in self._pools:
            return (PROFILES, name, *path)
        index, pool = self._pools[name]
        if not path or has(pool, path):
            return (POOLS, index, *path)
        given_by = next((_GIVEN_BY[str(key)] for key in (path[0], path[-1]) if key in _GIVEN_BY), "capacity")
        return (POOLS, index, given_by)


def _without(layer: Mapping[str, Any], keys: Sequence[str] = OF_AN_ENTRY) -> dict[str, Any]:
    return {key: value for key, value in layer.items() if key not in keys}
