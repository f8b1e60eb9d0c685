"""Inputs that roles declare, and that an inventory may therefore set."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from inference_platform.paths import ROLES


@cache
def role_inputs(folder: Path = ROLES) -> frozenset[str]:
    """Names of all options in ``<folder>/*/meta/argument_specs.yml``.

    Ansible itself checks their types when the role starts.
    """
    names: set[str] = set()
    for path in sorted(folder.glob("*/meta/argument_specs.yml")):
        specs = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("argument_specs", {})
        for entry in specs.values():
            names |= set(entry.get("options", {}))
    return frozenset(names)
