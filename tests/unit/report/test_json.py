"""The JSON report and its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from inference_platform.report import render_json
from inference_platform.report.context import Objects
from inference_platform.report.observation import Observation
from inference_platform.report.observe import observe
from tests.unit.report import example

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "schemas" / "report.schema.json").read_text(encoding="utf-8")
)


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "observation",
    [
        pytest.param(example.observation(), id="finished"),
        pytest.param(example.observation(timings={}, layer_problems={}), id="without a run"),
        pytest.param(observe(Objects(), example.platform(), example.context()), id="empty cluster"),
        pytest.param(replace(example.observation(), problems=("x",)), id="with a problem"),
    ],
)
def test_reports_have_the_documented_shape(observation: Observation) -> None:
    report = json.loads(render_json(observation))
    errors = Draft202012Validator(SCHEMA).iter_errors(report)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def objects_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object schema inside a schema."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for part in schema.values():
            yield from objects_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects_of(part)


def test_the_schema_promises_every_key() -> None:
    for schema in objects_of(SCHEMA):
        assert sorted(schema["required"]) == sorted(schema["properties"])
        assert schema["additionalProperties"] is False


def test_ready_means_no_problems() -> None:
    assert json.loads(render_json(example.observation()))["ready"] is True
    assert json.loads(render_json(replace(example.observation(), problems=("x",))))["ready"] is False
