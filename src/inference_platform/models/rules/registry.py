"""The list that all rules join."""

from __future__ import annotations

from inference_platform.models.rules.engine import Rules

RULES = Rules()
rule = RULES.rule
