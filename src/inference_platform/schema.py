"""JSON Schema checks turned into mistakes a person can read.

A schema may say in plain words what it wants with the annotation ``x-expects``
(needed where the rule is a pattern); everything else is derived from the keywords.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from inference_platform.findings import show
from inference_platform.paths import SCHEMAS

UNKNOWN_KEY = "unknown key"
WRONG_TYPE = "wrong type"
MISSING_KEY = "missing key"
NOT_ALLOWED = "value not allowed"

_TYPE_WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a mapping",
    "string": "a text",
}

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class SchemaMistake:
    """One violation: its kind, the path of the value, and the texts for a message.

    ``suggestions`` names close known keys for an unknown key.
    """

    kind: str
    path: KeyPath
    expected: str
    found: str
    suggestions: tuple[str, ...] = ()


@cache
def load_schema(name: str, folder: Path = SCHEMAS) -> dict[str, Any]:
    """The schema ``<folder>/<name>.schema.json``."""
    schema: dict[str, Any] = json.loads((folder / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return schema


def validator(schema: Mapping[str, Any], definition: str | None = None) -> Draft202012Validator:
    """A reusable validator for the schema, or for one of its ``$defs``."""
    if definition is None:
        return Draft202012Validator(schema)
    return Draft202012Validator({"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]})


def mistakes(value: Any, checker: Draft202012Validator, prefix: KeyPath = ()) -> list[SchemaMistake]:
    """Every violation in ``value``, ordered by path; ``prefix`` is put before each path."""
    found = [mistake for error in checker.iter_errors(value) for mistake in _explain(error, prefix)]
    return sorted(found, key=lambda mistake: ([str(part) for part in mistake.path], mistake.kind))


def close_names(name: str, known: Mapping[str, Any] | list[str]) -> tuple[str, ...]:
    """Known names that look like ``name``, best first."""
    return tuple(difflib.get_close_matches(name, list(known), n=2, cutoff=0.6))


def or_list(names: Mapping[str, Any] | list[str] | tuple[str, ...]) -> str:
    """Names as text: "a, b or c"."""
    words = [str(name) for name in names]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _explain(error: ValidationError, prefix: KeyPath) -> Iterator[SchemaMistake]:
    path = prefix + tuple(error.absolute_path)
    rule = cast("Mapping[str, Any]", error.schema)
    if error.validator == "additionalProperties":
        yield from _unknown_keys(cast("Mapping[str, Any]", error.instance), rule, path)
    elif error.validator == "required":
        # One error per missing key; the message is the only place that tells which.
        missing = next(key for key in rule["required"] if error.message.startswith(repr(key)))
        wanted = rule.get("properties", {}).get(missing, {})
        yield SchemaMistake(MISSING_KEY, (*path, missing), _expected(wanted), "nothing")
    elif error.validator == "type":
        yield SchemaMistake(WRONG_TYPE, path, _expected(rule), _typed(error.instance))
    else:
        yield SchemaMistake(NOT_ALLOWED, path, _expected(rule), show(error.instance))


def _unknown_keys(value: Mapping[str, Any], rule: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaMistake]:
    known = sorted(rule.get("properties", {}))
    for key in value:
        if key not in known:
            yield SchemaMistake(
                UNKNOWN_KEY,
                (*path, key),
                f"one of the keys {or_list(known)}",
                show(str(key)),
                close_names(str(key), known),
            )


def _expected(schema: Mapping[str, Any]) -> str:
    if "x-expects" in schema:
        return str(schema["x-expects"])
    if "enum" in schema:
        return or_list([str(choice) for choice in schema["enum"]])
    if "const" in schema:
        return show(schema["const"])
    types = schema.get("type", "object")
    words = or_list([_TYPE_WORDS[name] for name in ([types] if isinstance(types, str) else types)])
    return words + _range(schema)


def _range(schema: Mapping[str, Any]) -> str:
    limits = [
        f"{word} {schema[key]}"
        for key, word in (
            ("minimum", "of at least"),
            ("maximum", "of at most"),
            ("minLength", "with a length of at least"),
            ("maxLength", "with a length of at most"),
            ("minItems", "with at least this many items:"),
            ("minProperties", "with at least this many keys:"),
        )
        if key in schema
    ]
    if schema.get("uniqueItems"):
        limits.append("without duplicates")
    return "".join(f" {limit}" for limit in limits)


def _typed(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    name = next((names[kind] for kind in names if isinstance(value, kind)), None)
    return show(value) if name in (None, "null") else f"{show(value)} ({_TYPE_WORDS[str(name)]})"
