"""Kubernetes objects as YAML text: readable, the same text for the same object, and quick.

The text is what the API server is sent and what an export holds, byte for byte.  Keys keep their order; texts stand
unquoted only where every YAML version reads them as texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# A letter first: what begins with a digit, a sign or a dot may be a number or a date.
_PLAIN = re.compile(r"[A-Za-z_/](?:[A-Za-z0-9_./@%+=-]|:(?=[A-Za-z0-9_./@%+=-]))*\Z")
# Words that YAML 1.1 reads as something else, in any capitals.
_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
# Characters that JSON leaves alone in a text but YAML does not accept or would fold.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")


def to_yaml(obj: Mapping[str, Any]) -> str:
    """The object as one YAML document, ending with a line feed."""
    lines: list[str] = []
    _mapping(obj, "", lines)
    return "\n".join(lines) + "\n"


def _mapping(value: Mapping[str, Any], indent: str, lines: list[str], first: str | None = None) -> None:
    """Appends the entries; ``first`` is what stands before the first of them instead of the indent."""
    lead = indent if first is None else first
    for key, item in value.items():
        _entry(f"{lead}{_text(str(key))}:", item, indent, lines)
        lead = indent


def _entry(head: str, item: Any, indent: str, lines: list[str]) -> None:
    if isinstance(item, Mapping) and item:
        lines.append(head)
        _mapping(item, f"{indent}  ", lines)
    elif isinstance(item, (list, tuple)) and item:
        lines.append(head)
        _sequence(item, indent, lines)
    elif isinstance(item, str) and "\n" in item and _fits_block(item):
        _block(head, item, indent, lines)
    else:
        lines.append(f"{head} {scalar(item)}")


def _sequence(value: list[Any] | tuple[Any, ...], indent: str, lines: list[str]) -> None:
    for item in value:
        if isinstance(item, Mapping) and item:
            _mapping(item, f"{indent}  ", lines, f"{indent}- ")
        elif isinstance(item, (list, tuple)) and item:
            lines.append(f"{indent}-")
            _sequence(item, f"{indent}  ", lines)
        else:
            _entry(f"{indent}-", item, indent, lines)


def _fits_block(text: str) -> bool:
    """Whether a text of several lines reads back from a block: nothing invisible in it, none at the ends of lines."""
    body = text[:-1] if text.endswith("\n") else text
    lines = body.split("\n")
    if not lines[0] or lines[0].startswith(" ") or not lines[-1]:
        return False
    return not (_CONTROL.search(text) or _UNPRINTABLE.search(text)) and all(line == line.rstrip() for line in lines)


def _block(head: str, text: str, indent: str, lines: list[str]) -> None:
    ends = text.endswith("\n")
    lines.append(f"{head} {'|' if ends else '|-'}")
    body = text[:-1] if ends else text
    lines += [f"{indent}  {line}" if line else "" for line in body.split("\n")]


def scalar(value: Any) -> str:
    """A text, number, truth value or nothing, on one line."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not isinstance(value, bool):
        text = repr(value)
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    return json.dumps(value)


def _text(value: str) -> str:
    if _PLAIN.match(value) and value.lower() not in _RESERVED:
        return value
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
