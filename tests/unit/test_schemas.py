"""Our own JSON Schemas: well-formed, described, and checked the same way fast and slowly."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from inference_platform.paths import SCHEMAS
from inference_platform.schema import EntryChecker, inlined_schema, mistakes, validator

NAMES = sorted(path.name.removesuffix(".schema.json") for path in SCHEMAS.glob("*.schema.json"))
WRITTEN_BY_USERS = ("inventory", "model", "override", "scheduler", "traffic")


def properties(rule: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, inside in rule.get("properties", {}).items():
        yield f"{path}{name}", inside
        yield from properties(inside, f"{path}{name}.")
    if isinstance(rule.get("items"), dict):
        yield f"{path}[]", rule["items"]
        yield from properties(rule["items"], f"{path}[].")


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one(name):
    Draft202012Validator.check_schema(json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", WRITTEN_BY_USERS)
def test_every_key_is_described_and_has_a_type(name):
    for path, rule in properties(inlined_schema(name)):
        assert rule.get("description"), path
        assert {"type", "enum", "const"} & set(rule), path


@pytest.mark.parametrize("name", WRITTEN_BY_USERS)
def test_an_object_with_known_keys_refuses_others(name):
    for path, rule in properties(inlined_schema(name)):
        if "properties" in rule:
            assert rule.get("additionalProperties") is False, path


def patterns(rule: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(rule, dict):
        if isinstance(rule.get("pattern"), str):
            yield path, rule
        for name, inside in rule.items():
            yield from patterns(inside, f"{path}.{name}")
    elif isinstance(rule, list):
        for index, inside in enumerate(rule):
            yield from patterns(inside, f"{path}[{index}]")


@pytest.mark.parametrize("name", WRITTEN_BY_USERS)
def test_a_pattern_says_in_words_what_it_wants(name):
    assert [path for path, rule in patterns(inlined_schema(name)) if "x-expects" not in rule] == []


ENTRY = {"name": "a", "namespace": "n", "uri": "hf://a/b", "gpu": {"count": 1}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "A"},
        {"nmae": "a"},
        {"gpu": None},
        {"gpu": {"count": "1", "cuont": 1}, "replicas": -1},
        {"env": {"A": 1, "B": {"secret": "x"}}},
        {"vllm": {"gpu_memory_utilization": float("nan")}},
        {"name": "a\n"},
    ],
    ids=str,
)
def test_checking_key_by_key_finds_the_same_mistakes(changes):
    schema = inlined_schema("model")
    value = {key: item for key, item in {**ENTRY, **changes}.items() if item is not None}
    checker = EntryChecker(schema)
    slow = mistakes(value, validator(schema))
    assert checker.mistakes(value) == slow
    assert checker.mistakes(copy.deepcopy(value)) == slow  # and again, from memory
    assert bool(slow) is bool(changes)


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_checking_key_by_key_takes_what_is_no_mapping(value):
    schema = inlined_schema("model")
    assert EntryChecker(schema).mistakes(value) == mistakes(value, validator(schema))


def test_key_by_key_is_only_possible_for_plain_object_schemas():
    with pytest.raises(ValueError, match="allOf"):
        EntryChecker({"properties": {}, "additionalProperties": False, "required": [], "allOf": []})


def test_what_stands_beside_a_reference_wins():
    assert inlined_schema("model")["properties"]["override"]["description"].startswith("A partial")
    assert inlined_schema("model")["properties"]["labels"]["description"] == "Labels of the LLMInferenceService."
