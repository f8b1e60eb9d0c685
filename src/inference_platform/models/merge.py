"""Merge what is said about a model in several places into one entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inference_platform.schema import KeyPath

# In here nothing (null) is a value: it removes what the platform would render.
_WITH_NOTHING = ("override",)

# Each of these says how many pods there are; a stronger layer that gives one puts out the other.
ALTERNATIVES = {"replicas": "scaling", "scaling": "replicas"}


def merge(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """``entry`` over ``defaults``: mappings key by key, everything else replaced. Inputs stay as they are.

    Nothing (null) replaces like any value; ``without_nothing`` then takes it away.
    """
    merged = {key: plain(value) for key, value in defaults.items()}
    for key, value in entry.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = plain(value)
        other = ALTERNATIVES.get(key)
        if value is not None and other in merged and other not in entry:
            del merged[other]
    return merged


def without_nothing(value: Any, schema: Mapping[str, Any]) -> Any:
    """``value`` without the keys that say nothing (null), as deep as the schema knows or describes the keys."""
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    described = others if isinstance(others, Mapping) else {}
    if not isinstance(value, dict) or not (known or described):
        return value
    return {
        key: item if key in _WITH_NOTHING else without_nothing(item, known.get(key, described))
        for key, item in value.items()
        if item is not None
    }


def with_schema_defaults(entry: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """``entry`` with the ``default`` of each property it leaves out, also inside mappings it has."""
    return fill(entry, defaults_of(schema))


Defaults = Mapping[str, tuple[bool, Any, "Defaults"]]


def defaults_of(schema: Mapping[str, Any]) -> Defaults:
    """Of each property that has a default or properties with one: whether it has one, which, and those inside."""
    found: dict[str, tuple[bool, Any, Defaults]] = {}
    for name, rule in schema.get("properties", {}).items():
        inside = defaults_of(rule)
        if "default" in rule or inside:
            found[name] = ("default" in rule, rule.get("default"), inside)
    return found


def fill(entry: Mapping[str, Any], defaults: Defaults) -> dict[str, Any]:
    """``entry`` with ``defaults`` where it says nothing; a mapping that is not there is not made up."""
    filled = dict(entry)
    for name, (has_default, value, inside) in defaults.items():
        if filled.get(name) is None:
            if has_default:
                filled[name] = value
        elif inside and isinstance(filled[name], dict):
            filled[name] = fill(filled[name], inside)
    return filled


def plain(value: Any) -> Any:
    """A deep copy made of dict, list and scalars only (Ansible hands over its own kinds)."""
    if type(value) in (str, int, bool, float) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def has(value: Any, path: KeyPath) -> bool:
    """Whether ``value`` itself says something at ``path``."""
    for part in path:
        inside = range(len(value)) if isinstance(value, (list, tuple)) else value
        if not isinstance(inside, (Mapping, range)) or part not in inside:
            return False
        value = value[part]
    return True


def layered(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Layers merged, the weakest first."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = merge(merged, layer)
    return merged
