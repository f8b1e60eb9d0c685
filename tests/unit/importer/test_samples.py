"""Published samples: what becomes of each, and that the comparison overlooks nothing in them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from inference_platform.importer.meaning import differences, names_of, route_meaning, service_meaning
from inference_platform.models import render
from tests.support.crd_schema import CrdIndex, upstream_crds, upstream_files
from tests.support.import_samples import COMMAND, PAGE, Sample, folder, page, samples

GROUPS = ("serving.kserve.io", "gateway.networking.k8s.io", "inference.networking")
LEAST = 40


@pytest.fixture(scope="module")
def published() -> list[Sample]:
    root = folder()
    if root is None:
        pytest.skip("no published samples: expected in ../shared/upstream/samples")
    return samples(root)


@pytest.fixture(scope="module")
def crds() -> CrdIndex:
    root = upstream_crds()
    if root is None:
        pytest.skip("no real CRDs: expected in ../shared/upstream/crds")
    files = upstream_files(root)
    return CrdIndex.from_files(path for name, path in files.items() if any(group in name for group in GROUPS))


def test_the_page_is_what_the_importer_makes_of_them(published):
    assert PAGE.read_text(encoding="utf-8") == page(published), f"run: {COMMAND}"


def test_enough_valid_samples_can_be_said(published):
    said = [sample.path for sample in published if sample.is_valid and not any(one.refused for one in sample.outcomes)]
    assert len(said) >= LEAST


def test_every_difference_that_is_left_has_an_explanation(published):
    left = [one for sample in published for outcome in sample.outcomes for one in outcome.differences]
    assert left
    assert all(one.why for one in left)


def test_samples_that_are_wrong_on_purpose_are_refused(published):
    wrong = [(sample.path, one) for sample in published if sample.intent == "invalid" for one in sample.outcomes]
    assert len(wrong) >= 18
    assert [path for path, outcome in wrong if not outcome.refused] == []


def test_valid_samples_that_are_refused_are_known(published):
    refused = {one.kind for sample in published if sample.is_valid for one in sample.outcomes if one.refused}
    services = [
        sample.path
        for sample in published
        if sample.is_valid and any(one.refused and one.kind != "InferencePool" for one in sample.outcomes)
    ]
    assert refused == {"InferencePool", "LLMInferenceService"}
    # Its scheduler names a plugin that it does not declare (models.md 8).
    assert [path for path in services if "qwen2-7b-gpu-kv-cache-routing" not in path] == []


def test_what_entries_render_to_is_accepted_by_the_real_crds(published, crds, platform):
    checked = 0
    for sample in published:
        for outcome in sample.outcomes:
            if outcome.key not in ("models", "model_routes"):
                continue
            entries = {"models": [outcome.entry]} if outcome.key == "models" else {"routes": [outcome.entry]}
            objects = render(entries.pop("models", []), {}, platform, **entries).objects
            known = [obj for obj in objects if crds.knows(obj)]
            checked += len(known)
            assert [str(one) for obj in known for one in crds.violations(obj)] == [], sample.path
    assert checked > LEAST


def test_routes_are_also_the_same_with_the_defaults_of_the_real_crds(published, crds, platform):
    """The same comparison, with defaults that the API itself says in place of ours."""
    checked = 0
    for sample in published:
        by_name = {one.name: one for one in sample.outcomes if one.key == "model_routes"}
        for _, obj in sample.objects:
            if obj["kind"] != "HTTPRoute" or obj["metadata"]["name"] not in by_name:
                continue
            entry = by_name[obj["metadata"]["name"]].entry
            if entry["namespace"] != obj["metadata"].get("namespace", "default"):
                continue
            made = next(one for one in render([], {}, platform, routes=[entry]).objects if one["kind"] == "HTTPRoute")
            wanted = crds.defaulted({**obj, "apiVersion": "gateway.networking.k8s.io/v1"})
            assert (
                differences(*(route_meaning(one, entry["namespace"]) for one in (wanted, crds.defaulted(made)))) == {}
            )
            checked += 1
    assert checked > LEAST


def test_no_value_of_a_sample_is_overlooked(published, serving):
    """Changing any one value changes the meaning."""
    changed = 0
    for sample in published:
        for _, obj in sample.objects:
            if obj["kind"] not in ("LLMInferenceService", "HTTPRoute"):
                continue
            before = _meaning(obj, serving)
            for path in _leaves(obj["spec"]):
                after = _meaning(_with_another_value(obj, path), serving)
                assert after != before, f"{sample.path}: {path}"
                changed += 1
    assert changed > 1000


def _meaning(obj: Mapping[str, Any], serving: Mapping[str, Any]) -> Any:
    if obj["kind"] == "HTTPRoute":
        return route_meaning(obj, "default")
    return service_meaning(obj, serving, names_of(obj, "default"))


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    elif value is not None:
        yield path


def _with_another_value(obj: Mapping[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    changed: Any = copy.deepcopy(dict(obj))
    place = changed["spec"]
    for part in path[:-1]:
        place = place[part]
    value = place[path[-1]]
    place[path[-1]] = not value if isinstance(value, bool) else value + ("x" if isinstance(value, str) else 1)
    return dict(changed)
