"""Removes secret values before anything is printed or saved.

Pure functions.  `obj` for Kubernetes objects (a copy comes back), `pair` for two states of one object
(so that a diff still shows *that* a secret changed), `text` for messages of other programs.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

HIDDEN = "<hidden>"
HIDDEN_BEFORE = "<hidden, old value>"
HIDDEN_AFTER = "<hidden, new value>"

# Names of keys and environment variables whose string value is a credential.  The last word decides:
# `secretName` and `tokenPath` are references, `token` and `hfToken` are values.
_SENSITIVE_WORD = re.compile(
    r"(pass(word|wd|phrase)|token|credentials?|authorization|api[-_]?key|access[-_]?key(?:[-_]?id)?"
    r"|secret[-_]?(access[-_]?)?key|private[-_]?key|client[-_]?secret|dockercfg|dockerconfigjson)$",
    re.IGNORECASE,
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_CA_BUNDLES = frozenset({"caBundle", "ca-bundle", "certificate-authority-data"})

_CREDENTIAL_NAMES = (
    r"password|passwd|token|api[-_]?key|secret[-_]?key|client[-_]?secret|private[-_]?key"
    r"|access[-_]?key(?:[-_]?id)?|\bauth|dockerconfigjson"
)
_TEXT_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.S), HIDDEN),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), HIDDEN),  # a JWT
    (re.compile(r"\b(bearer|basic)(\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    (re.compile(r"(\w+://)[^\s/@:]+:[^\s/@]+@"), rf"\1{HIDDEN}@"),
    # name = value, "name": "value", and password: value are always hidden; token: value only when the value
    # has a digit, because programs write "getting token: context deadline exceeded".
    (
        re.compile(
            r"(?P<key>[\w.-]*(?:" + _CREDENTIAL_NAMES + r")(?:\s*=\s*|[\"']\s*[:=]\s*|:\s*(?=[\"'])))"
            r"(?:\"[^\"]*\"|'[^']*'|[^\s,;}\"']+)",
            re.IGNORECASE,
        ),
        rf"\g<key>{HIDDEN}",
    ),
    (re.compile(r"(?P<key>password:\s+)(?!<hidden)\S+", re.IGNORECASE), rf"\g<key>{HIDDEN}"),
    (
        re.compile(r"(?P<key>(?:" + _CREDENTIAL_NAMES + r"):\s+)(?=\S*\d)[^\s,;<]{8,}", re.IGNORECASE),
        rf"\g<key>{HIDDEN}",
    ),
)


def text(message: str) -> str:
    """A message with private keys, tokens, passwords and credentials in URLs replaced by a mark."""
    for pattern, replacement in _TEXT_RULES:
        message = pattern.sub(replacement, message)
    return message


def is_sensitive(name: str) -> bool:
    """Whether a key or environment variable of this name holds a credential (not a reference to one)."""
    return bool(_SENSITIVE_WORD.search(name))


def obj(value: Any) -> Any:
    """A copy of a Kubernetes object (or any part of one) without secret values."""
    clean = copy.deepcopy(value)
    for holder, key in _hidden_places(clean):
        holder[key] = _mark(key, holder[key], HIDDEN)
    return clean


def pair(before: Any, after: Any) -> tuple[Any, Any]:
    """Two states of one object without secret values; a value that differs is marked as old and new."""
    old, new = copy.deepcopy(before), copy.deepcopy(after)
    old_places = {_identity(path): (holder, key) for path, holder, key in _walk(old)}
    new_places = {_identity(path): (holder, key) for path, holder, key in _walk(new)}
    for place in old_places.keys() | new_places.keys():
        values = [holder[key] for holder, key in (p[place] for p in (old_places, new_places) if place in p)]
        same = len(values) == 2 and values[0] == values[1]
        if place in old_places:
            holder, key = old_places[place]
            holder[key] = _mark(key, holder[key], HIDDEN if same else HIDDEN_BEFORE)
        if place in new_places:
            holder, key = new_places[place]
            holder[key] = _mark(key, holder[key], HIDDEN if same else HIDDEN_AFTER)
    return old, new


def _mark(key: Any, value: Any, mark: str) -> str:
    if key in _CA_BUNDLES and isinstance(value, str):
        return f"<CA bundle, {len(value)} characters{mark[len('<hidden') : -1]}>"
    return mark


def _identity(path: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(str(step) for step in path)


def _hidden_places(value: Any) -> list[tuple[Any, Any]]:
    return [(holder, key) for _, holder, key in _walk(value)]


def _walk(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """(path, holder, key) of each value to hide, collected before anything is changed."""
    if isinstance(value, dict):
        secret = value.get("kind") == "Secret" and value.get("apiVersion") == "v1"
        environment = isinstance(value.get("name"), str) and is_sensitive(value["name"])
        for key, item in list(value.items()):
            here = (*path, key)
            if secret and key in ("data", "stringData") and isinstance(item, dict):
                yield from (((*here, name), item, name) for name in list(item))
            elif (
                key == _LAST_APPLIED
                or (key in _CA_BUNDLES and isinstance(item, str))
                or (isinstance(item, str) and item and is_sensitive(str(key)))
                or (environment and key == "value" and isinstance(item, str))
                or (isinstance(item, str) and text(item) != item and "PRIVATE KEY" in item)
            ):
                yield here, value, key
            else:
                yield from _walk(item, here)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, str) and text(item) != item:
                yield (*path, index), value, index
            else:
                yield from _walk(item, (*path, index))
