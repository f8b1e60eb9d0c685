"""Models that stay as an earlier release made them: which these are, and how they are rendered."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform import platform
from inference_platform.models import kept
from inference_platform.models.pipeline import render_inventory
from inference_platform.platform.resolve import serving_of

RELEASES = ("3.4", "3.5")
ENTRY = {"name": "m", "namespace": "team", "uri": "hf://a/b", "gpu": {"count": 1}}


def service(**notes: str) -> dict[str, Any]:
    annotations = {f"serving.kserve.io/config-llm-{name}": preset for name, preset in notes.items()}
    return {"metadata": {"name": "m", "namespace": "team"}, "status": {"annotations": annotations}}


@pytest.mark.parametrize(
    ("notes", "release"),
    [
        ({}, None),
        ({"scheduler": "v3-4-4-kserve-config-llm-scheduler"}, "3.4"),
        ({"scheduler": "v3-4-2-kserve-config-llm-scheduler"}, "3.4"),
        ({"template": "v3-5-0-kserve-config-llm-template"}, "3.5"),
        ({"template": "v3-4-4-kserve-config-llm-template", "scheduler": "v3-5-0-kserve-config-llm-scheduler"}, "3.5"),
        ({"template": "kserve-config-llm-template"}, None),
        ({"worker-data-parallel": "v3-4-4-kserve-config-llm-worker-data-parallel"}, "3.4"),
        ({"decode-template": "v3-4-4-kserve-config-llm-decode-template"}, "3.4"),
    ],
)
def test_presets_tell_the_release_that_made_a_model(notes: dict[str, str], release: str | None) -> None:
    live = service(**notes)
    assert kept.release_of(live, RELEASES) == release
    assert kept.releases_of_models([live], "3.5", RELEASES) == ({"team/m": "3.4"} if release == "3.4" else {})


@pytest.mark.parametrize(
    ("release", "models", "moved", "told"),
    [
        ("3.5", ["team/m"], [], "stays as that wrote it"),
        ("3.5", ["team/m", "team/n"], ["m"], "stays as that wrote it"),
        ("3.5", ["team/m"], ["m"], ""),
        ("3.5", ["team/m"], ["team/m"], ""),
        ("3.5", [], [], ""),
        ("3.4", ["team/m"], [], ""),
    ],
)
def test_without_a_cluster_it_is_said_that_models_may_be_of_an_earlier_release(
    release: str, models: list[str], moved: list[str], told: str
) -> None:
    text = kept.unknown_here(release, ["3.10", *RELEASES], models, moved)
    assert told in text
    assert bool(text) is bool(told)
    assert "3.4 made" in text or not text


def test_a_model_that_is_kept_is_written_as_its_release_wrote_it_and_others_are_not() -> None:
    old = {"platform_release": "3.4", "provider": "generic", "models": [ENTRY, {**ENTRY, "name": "n"}]}
    new = {**old, "platform_release": "3.5"}
    before = services(render_inventory(old, platform.resolve(old).to_dict()))
    plan = platform.resolve(new).to_dict()
    after = services(render_inventory(new, plan))
    assert before["m"] != after["m"], "the releases write models differently"
    mixed = services(render_inventory(new, plan, kept={"team/m": serving_of(new, "3.4")}))
    assert mixed == {"m": before["m"], "n": after["n"]}


def test_what_the_old_release_lacks_is_an_error_for_a_model_that_is_kept() -> None:
    settings = {"platform_release": "3.5", "provider": "generic", "models": [{**ENTRY, "tracing": {}}]}
    plan = platform.resolve(settings).to_dict()
    fine = render_inventory(settings, plan)
    assert fine.ok, fine.findings
    refused = render_inventory(fine.written, plan, kept={"team/m": serving_of(settings, "3.4")})
    assert [finding.severity for finding in refused.findings] == ["error"]
    assert refused.models == []


def services(rendered: Any) -> dict[str, Any]:
    assert rendered.findings == []
    return {item["metadata"]["name"]: item for item in rendered.objects if item["kind"] == "LLMInferenceService"}
