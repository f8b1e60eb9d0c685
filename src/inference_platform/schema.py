"""JSON Schema checks turned into mistakes a person can read.

A schema may say in plain words what it wants with the annotation ``x-expects``
(needed where the rule is a pattern); everything else is derived from the keywords.
``x-code`` gives the mistakes at its place a code of their own.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator, TypeChecker, validators
from jsonschema.exceptions import ValidationError

from inference_platform.findings import show
from inference_platform.paths import SCHEMAS

UNKNOWN_KEY = "unknown key"
WRONG_TYPE = "wrong type"
MISSING_KEY = "missing key"
NOT_ALLOWED = "value not allowed"

_ANNOTATIONS = {"$schema", "$id", "title", "description"}

_TYPE_WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a mapping",
    "string": "a text",
}
_MOST_KEYS = 4
#: Parts of an entry that say anew what the entry says: no place for what was written too far out.
_REPEATED = ("prefill", "override")
#: Limits that go without saying.
_SAID_BY_ITSELF = (("minItems", 1), ("minLength", 1), ("minProperties", 1), ("maximum", 2**31 - 1))
#: Of more keys than these none are listed.
_MOST_LISTED = 20

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class SchemaMistake:
    """One violation: its kind, the path of the value, and the texts for a message.

    ``suggestions`` names close known keys for an unknown key; ``code`` is that of the
    schema, if it has one for this place; ``hint`` says what to do, where the kind of
    mistake is not enough to say it.
    """

    kind: str
    path: KeyPath
    expected: str
    found: str
    suggestions: tuple[str, ...] = ()
    code: str | None = None
    hint: str = ""


@cache
def load_schema(name: str, folder: Path = SCHEMAS) -> dict[str, Any]:
    """The schema ``<folder>/<name>.schema.json``."""
    schema: dict[str, Any] = json.loads((folder / f"{name}.schema.json").read_text(encoding="utf-8"))
    return schema


@cache
def inlined_schema(name: str) -> dict[str, Any]:
    """The schema ``name`` with what its references point to in their place, and without ``$defs``.

    References are to ``#/$defs/...``, another schema file or its ``$defs``; never circular.
    Keywords beside a reference win over those it brings.
    """
    whole = load_schema(name)
    return {key: value for key, value in _inlined(whole, whole).items() if key != "$defs"}


def _inlined(part: Any, whole: Mapping[str, Any]) -> Any:
    if isinstance(part, list):
        return [_inlined(item, whole) for item in part]
    if not isinstance(part, dict):
        return part
    own = {key: _inlined(value, whole) for key, value in part.items() if key != "$ref"}
    return {**_referred(str(part["$ref"]), whole), **own} if "$ref" in part else own


def _referred(reference: str, whole: Mapping[str, Any]) -> dict[str, Any]:
    file, _, definition = reference.partition("#/$defs/")
    if not definition:
        other = inlined_schema(file.removesuffix(".schema.json"))
        return {key: value for key, value in other.items() if key not in ("$schema", "$id", "title")}
    source = load_schema(file.removesuffix(".schema.json")) if file else whole
    return dict(_inlined(source["$defs"][definition], source))


def _pattern(_: Any, pattern: str, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """As in JSON Schema, where ``$`` is the end of the text; Python's also comes before a last newline."""
    del schema
    whole = pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern
    if isinstance(instance, str) and not re.search(whole, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _is_number(_: TypeChecker, value: Any) -> bool:
    """JSON has no infinity and no NaN; YAML has."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_Validator: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {"pattern": _pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", _is_number),
)


def validator(schema: Mapping[str, Any], definition: str | None = None) -> Draft202012Validator:
    """A reusable validator for the schema, or for one of its ``$defs``."""
    if definition is None:
        return cast("Draft202012Validator", _Validator(schema))
    return cast("Draft202012Validator", _Validator({"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}))


class EntryChecker:
    """Checks many mappings of one kind quickly: what a key may hold is looked at once per value.

    ``schema`` must be an object schema with ``required`` and without unknown keys.
    """

    _LIMIT = 50_000

    def __init__(self, schema: Mapping[str, Any]) -> None:
        beyond = set(schema) - {"type", "properties", "required", "additionalProperties"} - _ANNOTATIONS
        if beyond or schema.get("additionalProperties") is not False:
            raise ValueError(f"only properties and required are checked key by key, found {sorted(beyond)}")
        self._whole = validator(schema)
        self._keys = {key: validator(rule) for key, rule in schema["properties"].items()}
        self._required = schema["required"]
        self._known: dict[tuple[str, str], list[SchemaMistake]] = {}

    def mistakes(self, value: Any) -> list[SchemaMistake]:
        """The same as ``mistakes(value, validator(schema))``."""
        if not isinstance(value, Mapping) or not self._has_the_right_keys(value):
            return mistakes(value, self._whole)
        found = [mistake for key in value for mistake in self._of_key(key, value[key])]
        return sorted(found, key=_place) if len(found) > 1 else found

    def _has_the_right_keys(self, value: Mapping[str, Any]) -> bool:
        return all(key in value for key in self._required) and all(key in self._keys for key in value)

    def _of_key(self, key: str, value: Any) -> list[SchemaMistake]:
        seen = (key, repr(value))
        if seen not in self._known:
            if len(self._known) >= self._LIMIT:
                self._known.clear()
            self._known[seen] = mistakes(value, self._keys[key], (key,))
        return self._known[seen]


def mistakes(value: Any, checker: Draft202012Validator, prefix: KeyPath = ()) -> list[SchemaMistake]:
    """Every violation in ``value``, ordered by path; ``prefix`` is put before each path."""
    found = [mistake for error in checker.iter_errors(value) for mistake in _explain(error, prefix)]
    return sorted(found, key=_place)


def _place(mistake: SchemaMistake) -> tuple[list[str], str]:
    return [str(part) for part in mistake.path], mistake.kind


def close_names(name: str, known: Mapping[str, Any] | list[str]) -> tuple[str, ...]:
    """Known names that ``name`` begins with, or that begin with it, and those that look like it; best first."""
    beginnings = [other for other in known if _is_beginning(name, other)]
    close = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return tuple(dict.fromkeys([*beginnings, *close]))[:2]


def _is_beginning(one: str, other: str) -> bool:
    """Whether one of two names is the first words of the other: min of min_replicas, tensor of tensor_parallel."""
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) > 2 and longer.startswith((f"{shorter}_", f"{shorter}-"))


def or_list(names: Mapping[str, Any] | list[str] | tuple[str, ...]) -> str:
    """Names as text: "a, b or c"; empty for none."""
    words = [str(name) for name in names]
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _explain(error: ValidationError, prefix: KeyPath) -> Iterator[SchemaMistake]:
    code = cast("Mapping[str, Any]", error.schema).get("x-code")
    for mistake in _described(error, prefix):
        yield mistake if mistake.kind in (UNKNOWN_KEY, MISSING_KEY) else replace(mistake, code=code)


def _described(error: ValidationError, prefix: KeyPath) -> Iterator[SchemaMistake]:
    path = prefix + tuple(error.absolute_path)
    rule = cast("Mapping[str, Any]", error.schema)
    if "propertyNames" in error.absolute_schema_path:
        key = str(error.instance)
        yield SchemaMistake(NOT_ALLOWED, (*path, key), _expected(rule), show(key), hint=f"Rename the key {key}.")
    elif error.validator == "additionalProperties":
        yield from _unknown_keys(cast("Mapping[str, Any]", error.instance), rule, path)
    elif error.validator == "required":
        # One error per missing key; the message is the only place that tells which.
        missing = next(key for key in rule["required"] if error.message.startswith(repr(key)))
        wanted = rule.get("properties", {}).get(missing, {})
        yield SchemaMistake(MISSING_KEY, (*path, missing), _expected(wanted), "nothing")
    elif error.validator == "type":
        hint = _about_quotes(error.instance, rule) or _about_a_list(error.instance, rule, path)
        yield SchemaMistake(WRONG_TYPE, path, _expected(rule), _typed(error.instance), hint=hint)
    else:
        hint = _about_choices(error.instance, rule)
        found = _repeated(error.instance) if error.validator == "uniqueItems" else show(error.instance)
        yield SchemaMistake(NOT_ALLOWED, path, _expected(rule, every_limit=True), found, hint=hint)


def _repeated(items: Any) -> str:
    """What a list has more than once."""
    twice = [item for place, item in enumerate(items) if items.index(item) == place and items.count(item) > 1]
    return f"{', '.join(map(show, twice))} more than once"


def _about_quotes(value: Any, rule: Mapping[str, Any]) -> str:
    """What to do with the quotes of a value that has the wrong type because of them; empty where they matter not."""
    types = _types(rule)
    if isinstance(value, str):
        kinds = {"integer": r"-?[0-9]+", "number": r"-?[0-9]+(\.[0-9]+)?", "boolean": "true|false"}
        plain = any(name in types and re.fullmatch(form, value) for name, form in kinds.items())
        return f"Write {value} without quotes." if plain else ""
    if "string" not in types or isinstance(value, (Mapping, list, tuple, type(None))):
        return ""
    # What was written is not known: 1.10 is 1.1 here, 0777 is 511, yes is true.
    fits = re.search(str(rule.get("pattern", "")), str(value).lower())
    return "Put the value in quotes." if fits else ""


def _about_a_list(value: Any, rule: Mapping[str, Any], path: KeyPath) -> str:
    """How a text would be a list."""
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    if _types(rule) != {"array"} or not isinstance(value, str) or not name or path[-1] != name:
        return ""
    return f"Write {name} as a list, each item behind a dash or in brackets, as in {name}: [ITEM, ITEM]."


def _about_choices(value: Any, rule: Mapping[str, Any]) -> str:
    """The choice that was meant, if one looks like the value."""
    choices = {_folded(choice): choice for choice in rule.get("enum", []) if isinstance(choice, str)}
    close = close_names(_folded(value), list(choices)) if isinstance(value, str) else ()
    return f"Did you mean {choices[close[0]]}?" if close else ""


def _folded(text: str) -> str:
    return text.lower().replace("-", "_")


def _types(rule: Mapping[str, Any]) -> set[str]:
    types = rule.get("type", ())
    return {types} if isinstance(types, str) else set(types)


def _unknown_keys(value: Mapping[str, Any], rule: Mapping[str, Any], path: KeyPath) -> Iterator[SchemaMistake]:
    properties = rule.get("properties", {})
    known = sorted(properties)
    listed = f"one of the keys {or_list(known)}" if len(known) <= _MOST_LISTED else f"one of {len(known)} keys"
    for key in value:
        if key in properties:
            continue
        if inside := _further_in(str(key), properties):
            hint = f"Move it into {inside.rpartition('.')[0]}."
            yield SchemaMistake(UNKNOWN_KEY, (*path, key), inside, show(str(key)), hint=hint)
            continue
        close = close_names(str(key), known)
        expected = f"the key {or_list(close)}" if close else listed
        yield SchemaMistake(UNKNOWN_KEY, (*path, key), expected, show(str(key)), close)


def _further_in(key: str, properties: Mapping[str, Any]) -> str:
    """Where a key belongs that was written one or two levels too far out, as "vllm.max_model_len"; empty if nowhere."""
    level: list[tuple[tuple[str, ...], Any]] = [((name,), rule) for name, rule in properties.items()]
    for _ in range(2):
        level = [((*path, name), inside) for path, rule in level for name, inside in rule.get("properties", {}).items()]
        found = [".".join(path) for path, _ in level if path[-1] == key and path[0] not in _REPEATED]
        if len(found) == 1:
            return found[0]
    return ""


def _expected(schema: Mapping[str, Any], *, every_limit: bool = False) -> str:
    """What a schema wants; with ``every_limit`` also what goes without saying while nobody is beyond it."""
    if "x-expects" in schema:
        return str(schema["x-expects"])
    if "enum" in schema:
        return or_list([str(choice) for choice in schema["enum"]])
    if "const" in schema:
        return show(schema["const"])
    if "type" not in schema:
        return f"a value{_unwanted(schema)}"
    types = schema["type"]
    words = or_list([_TYPE_WORDS[name] for name in ([types] if isinstance(types, str) else types)])
    return words + _keys(schema) + _range(schema, () if every_limit else _SAID_BY_ITSELF) + _unwanted(schema)


def _unwanted(schema: Mapping[str, Any]) -> str:
    """The values that a schema takes out."""
    values = [str(value) for value in schema.get("not", {}).get("enum", ())]
    return f" other than {or_list(values)}" if values else ""


def _keys(schema: Mapping[str, Any]) -> str:
    """The keys of a mapping, those that it must have first; of many the first few."""
    known = [*dict.fromkeys([*schema.get("required", ()), *schema.get("properties", ())])]
    if not known:
        return ""
    return f" with {'the keys' if len(known) <= _MOST_KEYS else 'keys such as'} {', '.join(known[:_MOST_KEYS])}"


def _range(schema: Mapping[str, Any], unsaid: Collection[tuple[str, int]]) -> str:
    limits = [
        f"{word} {schema[key]}"
        for key, word in (
            ("minimum", "of at least"),
            ("maximum", "of at most"),
            ("minLength", "with a length of at least"),
            ("maxLength", "with a length of at most"),
            ("minItems", "with at least this many items:"),
            ("minProperties", "with at least this many keys:"),
            ("maxProperties", "with at most this many keys:"),
        )
        if key in schema and (key, schema[key]) not in unsaid
    ]
    if schema.get("uniqueItems"):
        limits.append("without duplicates")
    return f" {' and '.join(limits)}" if limits else ""


def _typed(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    name = next((names[kind] for kind in names if isinstance(value, kind)), None)
    return show(value) if name in (None, "null") else f"{show(value)} ({_TYPE_WORDS[str(name)]})"
