"""Resolves the templates in variables, and says of each text that cannot be resolved or decrypted where it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.vault import EncryptedString
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import plain

UNRESOLVED = "IP-INV-007"
UNDECRYPTED = "IP-INV-009"

Path = tuple[str | int, ...]
Resolve = Callable[[Any], Any]


@dataclass(frozen=True)
class Unresolved:
    """A text that Ansible cannot resolve: where it is, the text, and what Ansible says; of an encrypted one no text."""

    path: Path
    text: str
    problem: str
    encrypted: bool = False


def resolved(resolve: Resolve, name: str, value: Any) -> tuple[Any, list[Unresolved]]:
    """A variable in plain types with templates resolved, and the texts that ``resolve`` failed at, which stay.

    ``resolve`` raises AnsibleError. It is asked for the whole value first: single texts are looked at only where that
    fails.
    """
    try:
        return plain(resolve(value)), []
    except AnsibleError:
        wrong: list[Unresolved] = []
        return _piece_by_piece(resolve, (name,), value, wrong), wrong


def _piece_by_piece(resolve: Resolve, path: Path, value: Any, wrong: list[Unresolved]) -> Any:
    if isinstance(value, Mapping):
        return {plain(key): _piece_by_piece(resolve, (*path, key), item, wrong) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_piece_by_piece(resolve, (*path, index), item, wrong) for index, item in enumerate(value)]
    try:
        return plain(resolve(value))
    except AnsibleError as error:
        encrypted = isinstance(value, EncryptedString)
        text = "" if encrypted else plain(value)
        wrong.append(Unresolved(path, text, _in_short(error), encrypted))
        return text


def told_first(wrong: list[Unresolved], findings: list[Any], where: Callable[[Path], str]) -> list[Any]:
    """A finding for each unresolved text, then the others without those that come of it; ``where`` places a path."""
    found = {where(one.path): _finding(one, where(one.path)) for one in wrong}
    return [*found.values(), *(one for one in findings if one.where.partition(" (")[0] not in found)]


def _finding(one: Unresolved, place: str) -> Any:
    from inference_platform.findings import ERROR, Finding, show

    if one.encrypted:
        return Finding(
            UNDECRYPTED,
            ERROR,
            place,
            "a value that Ansible can decrypt",
            f"an encrypted value: {one.problem}",
            "Give the password with --ask-vault-pass or --vault-password-file, or write the value in plain.",
        )
    file = ", or put the model into models/NAME.yml, where braces are text" if one.path[0] == "models" else ""
    return Finding(
        UNRESOLVED,
        ERROR,
        place,
        "a template that Ansible can resolve, or a text that is none",
        f"{show(one.text)}: {one.problem}",
        f"Define what it names. If the braces are not for Ansible, write !unsafe before the text{file}.",
    )


def _in_short(error: AnsibleError) -> str:
    """What Ansible says, on one line."""
    return " ".join(str(error).split())
