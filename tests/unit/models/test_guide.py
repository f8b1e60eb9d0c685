"""Every example of docs/models.md is an inventory without a finding."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from inference_platform.models.pipeline import render_inventory
from tests.support.crd_schema import REPOSITORY

GUIDE = (REPOSITORY / "docs" / "models.md").read_text(encoding="utf-8")
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)]


@pytest.mark.parametrize("variables", EXAMPLES, ids=[found["models"][0]["name"] for found in EXAMPLES])
def test_an_example_renders_without_a_finding(variables: dict[str, Any], aws: dict[str, Any]) -> None:
    result = render_inventory(variables, aws)
    assert [str(finding) for finding in result.findings] == []
    made = [item["metadata"]["name"] for item in result.objects if item["kind"] == "LLMInferenceService"]
    assert sorted(made) == sorted(entry["name"] for entry in variables["models"])


@pytest.mark.parametrize("playbook", sorted(set(re.findall(r"playbooks/[a-z]+\.yml", GUIDE))))
def test_a_playbook_it_names_is_there(playbook: str) -> None:
    assert (REPOSITORY / playbook).is_file()
