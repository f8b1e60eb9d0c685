"""Checks the inputs of all roles against their argument specs before anything starts.

Ansible checks the inputs of a role when the role starts, which for the last layer is
after the first ones were laid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

WRONG_INPUT = "IP-INV-020"
TYPE_WORDS = {
    "bool": "true or false",
    "dict": "a mapping",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "a text",
}


def argument_specs(roles: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(input, its spec) of the entry point main of every role in the folder."""
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        yield from specs["main"].get("options", {}).items()


def check_role_inputs(roles: Path, given: Mapping[str, Any], where: Callable[[tuple[str]], str]) -> Iterator[Any]:
    """A finding for each input in ``given`` (name: value) of the wrong type or value."""
    from inference_platform.findings import ERROR, Finding, show

    for name, spec in argument_specs(roles):
        if name not in given:
            continue
        problems = ArgumentSpecValidator({name: spec}).validate({name: given[name]}).error_messages
        if problems:
            yield Finding(
                WRONG_INPUT,
                ERROR,
                where((name,)),
                f"{TYPE_WORDS[spec['type']]} ({' '.join(spec['description'])})",
                show(given[name]),
                f"Correct {name}, or remove it to take the default ({show(spec['default'])}).",
            )
