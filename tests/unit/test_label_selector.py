"""Selectors as the API server reads them."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.label_selector import selects

LABELS = {"tier": "models", "team": "a"}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": [*values]} if values else {})}]}


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ({}, True),
        ({"matchLabels": {"tier": "models", "team": "a"}}, True),
        ({"matchLabels": {"tier": "models", "team": "b"}}, False),
        (expression("tier", "In", "models", "system"), True),
        (expression("tier", "In", "system"), False),
        (expression("missing", "In", "system"), False),
        (expression("tier", "NotIn", "models"), False),
        (expression("missing", "NotIn", "system"), True),
        (expression("tier", "Exists"), True),
        (expression("missing", "Exists"), False),
        (expression("tier", "DoesNotExist"), False),
        (expression("missing", "DoesNotExist"), True),
        ({"matchLabels": {"tier": "models"}, **expression("team", "NotIn", "a")}, False),
    ],
)
def test_labels_and_expressions_must_all_hold(selector: dict[str, Any], found: bool) -> None:
    assert selects(selector, LABELS) is found
