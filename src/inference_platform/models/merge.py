"""Merge the defaults of all models into one entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_platform.schema import KeyPath


def merge(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """``entry`` over ``defaults``: mappings key by key, everything else replaced. Inputs stay as they are."""
    merged = {key: plain(value) for key, value in defaults.items()}
    for key, value in entry.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        else:
            merged[key] = plain(value)
    return merged


def with_schema_defaults(entry: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """``entry`` with the ``default`` of each property it leaves out, also inside mappings it has."""
    filled = dict(entry)
    for name, rule in schema.get("properties", {}).items():
        if name not in filled and "default" in rule:
            filled[name] = rule["default"]
        elif isinstance(filled.get(name), dict):
            filled[name] = with_schema_defaults(filled[name], rule)
    return filled


def plain(value: Any) -> Any:
    """A deep copy made of dict, list and scalars only (Ansible hands over its own kinds)."""
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
