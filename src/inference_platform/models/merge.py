"""Merge what is said about a model in several places into one entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inference_platform.schema import KeyPath

# Each of these says how many pods there are; a stronger layer that gives one puts out the other.
ALTERNATIVES = {"replicas": "scaling", "scaling": "replicas"}


def merge(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """``entry`` over ``defaults``: mappings key by key, everything else replaced. Inputs stay as they are."""
    merged = {key: plain(value) for key, value in defaults.items()}
    for key, value in entry.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = plain(value)
        other = ALTERNATIVES.get(key)
        if other in merged and other not in entry:
            del merged[other]
    return merged


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
    """``entry`` with ``defaults``; a mapping that is not there is not made up."""
    filled = dict(entry)
    for name, (has_default, value, inside) in defaults.items():
        if name not in filled:
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
