"""Random values that follow a JSON Schema, for tests of what the schema lets through.

Knows the keywords that our schemas use. ``draw_value`` takes optional keys sparingly, so that values stay small.
Where a schema says only "object", the value comes from ``FREE_FORM``: such parts are in the terms of an API, whose
server judges them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as some

from tests.support.pattern_samples import samples

Draw = Callable[[some.SearchStrategy[Any]], Any]

_MOST_OPTIONAL_KEYS = 3
_MOST_ITEMS = 2
_LONGEST_TEXT = 12
_LARGEST = 2**31 - 1

_ALPHABET = some.characters(codec="ascii", exclude_categories=("Cc",))
# What means something to shells, templates, JSON or YAML, and letters beyond ASCII.
_TEXTS = ["x", "a b", "{{ x }}", '{"a": "b"}', "$(X)", "${X}", "it's", "-1", "yes", "ü", "a\nb", "世"]

# What parts without a schema may hold, by the last key of their path.
FREE_FORM: Mapping[str, list[Any]] = {
    "affinity": [{"nodeAffinity": {}}],
    "nodeAffinity": [{}],
    "podAffinity": [{}],
    "podAntiAffinity": [{"preferredDuringSchedulingIgnoredDuringExecution": []}],
    "topology_spread[]": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    "behavior": [{"scaleDown": {"stabilizationWindowSeconds": 60}}],
    "fallback": [{"failureThreshold": 1, "replicas": 1}],
}


def draw_value(draw: Draw, schema: Mapping[str, Any], name: str = "") -> Any:
    """A value that follows ``schema``; ``name`` is the key it is for, with [] for items."""
    if "enum" in schema:
        return draw(some.sampled_from(schema["enum"]))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = draw(some.sampled_from([kind for kind in kinds if kind != "null"]))
    if kind == "object" and "then" in schema:
        schema = _joined(schema, draw(some.sampled_from(_branches(schema["then"]))))
    return _DRAWERS[kind](draw, schema, name)


def _object(draw: Draw, schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    properties = schema.get("properties", {})
    if not properties and not isinstance(schema.get("additionalProperties"), Mapping):
        return dict(draw(some.sampled_from(FREE_FORM.get(name, [{}]))))
    if not properties:
        keys = draw(
            some.lists(_keys(schema), max_size=_MOST_ITEMS, min_size=schema.get("minProperties", 0), unique=True)
        )
        return {key: draw_value(draw, schema["additionalProperties"], f"{name}[]") for key in keys}
    if "oneOf" in schema:
        branch = draw(some.sampled_from(schema["oneOf"]))
        others = {key for one in schema["oneOf"] for key in one["required"]} - set(branch["required"])
        properties = {key: rule for key, rule in properties.items() if key not in others or key == "port"}
        schema = {**schema, "required": branch["required"]}
    required = list(schema.get("required", []))
    optional = [key for key in properties if key not in required]
    least = max(schema.get("minProperties", 0) - len(required), 0)
    chosen = (
        draw(some.lists(some.sampled_from(optional), unique=True, min_size=least, max_size=_MOST_OPTIONAL_KEYS))
        if optional
        else []
    )
    return {key: draw_value(draw, properties[key], key) for key in [*required, *chosen]}


def _array(draw: Draw, schema: Mapping[str, Any], name: str) -> list[Any]:
    least = schema.get("minItems", 0)
    count = draw(some.integers(least, min(max(_MOST_ITEMS, least), schema.get("maxItems", _MOST_ITEMS))))
    items = [draw_value(draw, schema["items"], f"{name}[]") for _ in range(count)]
    if not schema.get("uniqueItems"):
        return items
    return [item for index, item in enumerate(items) if item not in items[:index]]


def _string(draw: Draw, schema: Mapping[str, Any], _: str) -> str:
    least, most = schema.get("minLength", 0), schema.get("maxLength", _LONGEST_TEXT)
    if "pattern" in schema:
        return str(draw(some.sampled_from(samples(schema["pattern"], most if "maxLength" in schema else 253))))
    return str(draw(_text(least, max(least, min(most, _LONGEST_TEXT)))))


def _integer(draw: Draw, schema: Mapping[str, Any], _: str) -> int:
    least = schema.get("minimum", schema.get("exclusiveMinimum", -_LARGEST - 1))
    most = schema.get("maximum", _LARGEST)
    return int(draw(some.integers(least, most) | some.integers(least, min(most, least + 16))))


def _number(draw: Draw, schema: Mapping[str, Any], _: str) -> float:
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    bounds: dict[str, Any] = {"exclude_min": low is not None, "exclude_max": high is not None}
    least = low if low is not None else schema.get("minimum", -1000)
    return float(draw(some.floats(least, high if high is not None else schema.get("maximum", 1000), **bounds)))


_DRAWERS: Mapping[str, Callable[[Draw, Mapping[str, Any], str], Any]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda draw, _, __: draw(some.booleans()),
}


def _keys(schema: Mapping[str, Any]) -> some.SearchStrategy[str]:
    pattern = schema.get("propertyNames", {}).get("pattern")
    return some.sampled_from(samples(pattern) if pattern else ("a", "b", "example.com/c"))


@cache
def _text(least: int, most: int) -> some.SearchStrategy[str]:
    known = [text for text in _TEXTS if least <= len(text) <= most]
    made = some.text(_ALPHABET, min_size=least, max_size=most)
    return some.sampled_from(known) | made if known else made


def _branches(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(rule.get("oneOf", [rule]))


def _joined(schema: Mapping[str, Any], branch: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    wanted = branch.get("required", [])
    return {**schema, "required": wanted, "properties": {key: properties[key] for key in wanted}}


def is_described(schema: Mapping[str, Any], path: tuple[Any, ...]) -> bool:
    """Whether ``schema`` says what may be at ``path``, and does not leave it to somebody else."""
    for part in path:
        inside = schema.get("properties", {}).get(part) or schema.get("additionalProperties")
        schema = schema.get("items") if isinstance(part, int) else inside  # type: ignore[assignment]
        if not isinstance(schema, Mapping):
            return False
    return True
