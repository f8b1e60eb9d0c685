"""Tells registry credentials from other texts, so that no message shows them where something else belongs."""

from __future__ import annotations

import base64
import binascii
import json
import re

HIDDEN = "registry credentials, which are not shown"
#: Shorter texts say too little to be taken for base64.
_LEAST = 16
_ENTRY = re.compile(r"""["']?\bauths?\b["']?\s*:\s*["'{]""")


def are_credentials(text: str) -> bool:
    """Whether a text is what a Docker config.json holds: as it is, or as base64 (of the file, or of user:password)."""
    return bool(_ENTRY.search(text)) or ":" in _decoded(text)


def is_content(text: str) -> bool:
    """Whether a text that should be a path is the content of a file: credentials, JSON, or more than one line."""
    return "{" in text or not text.isprintable() or are_credentials(text) or _is_json(text)


def _decoded(text: str) -> str:
    """The printable text that is written as base64; empty for anything else."""
    packed = "".join(text.split())
    if len(packed) < _LEAST:
        return ""
    try:
        plain = base64.b64decode(packed, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return ""
    return plain if all(letter.isprintable() or letter.isspace() for letter in plain) else ""


def _is_json(text: str) -> bool:
    """A number is JSON too, and a name that a file may have."""
    try:
        return isinstance(json.loads(text), (dict, list, str))
    except ValueError:
        return False
