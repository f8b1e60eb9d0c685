"""Settings that a program takes from its environment."""

from __future__ import annotations

from collections.abc import Mapping


def from_env(env: Mapping[str, str], table: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Values of a settings table: the environment variable, else the default."""
    return {name: env.get(entry["env"]) or entry["default"] for name, entry in table.items()}
