"""Which objects a run acts on when models are named, above all routes that lead to several models."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_platform.cluster.objects import prepare
from inference_platform.cluster.selection import Choice
from inference_platform.models import render
from inference_platform.models.routes import models_behind
from inference_platform.platform import resolve

GROUPED: list[dict[str, Any]] = [
    {
        "name": name,
        "namespace": "team",
        "uri": f"hf://a/{name}",
        "gpu": {"count": 1},
        "served_name": "chat",
        "traffic": {"group": "chat", "weight": weight},
    }
    for name, weight in (("v1", 90), ("v2", 10))
]
LONE = {"name": "lone", "namespace": "other", "uri": "hf://a/lone", "gpu": {"count": 1}}
OWN = [
    {
        "name": "front",
        "namespace": "team",
        "rules": [{"backends": [{"model": "v1"}, {"model": "lone", "namespace": "other", "through": "service"}]}],
    }
]


@pytest.fixture(scope="module")
def platform() -> dict[str, Any]:
    """A plan."""
    return resolve({"platform_release": "3.4", "distribution": "redhat", "provider": "aws"}).to_dict()


def made(platform: dict[str, Any], *entries: dict[str, Any], routes: Any = None) -> list[dict[str, Any]]:
    rendered = render(list(entries), {}, platform, routes=routes)
    assert rendered.ok, rendered.findings
    return rendered.objects


def places(objects: list[dict[str, Any]]) -> list[str]:
    return [f"{obj['kind']} {obj['metadata']['name']}" for obj in objects]


def test_without_names_everything_is_acted_on(platform: dict[str, Any]) -> None:
    objects = made(platform, *GROUPED, LONE)
    assert Choice().of(objects).objects == objects


def test_a_model_comes_with_its_namespace_and_nothing_of_others(platform: dict[str, Any]) -> None:
    selection = Choice(only=frozenset({"lone"})).of(made(platform, *GROUPED, LONE))
    assert places(selection.objects) == ["Namespace other", "LLMInferenceService lone"]
    assert selection.notes == ()


def test_new_weights_are_applied_when_all_models_of_the_group_are_named_or_there(platform: dict[str, Any]) -> None:
    there = list(map(prepare, made(platform, *GROUPED)))
    moved = copy.deepcopy(GROUPED)
    moved[0]["traffic"]["weight"] = 50
    objects = made(platform, *moved)
    for only, present in (({"v1", "v2"}, []), ({"v1"}, there)):
        selection = Choice(only=frozenset(only)).of(objects, present)
        assert "HTTPRoute chat" in places(selection.objects)
        assert selection.notes == ()


def test_a_route_waits_for_models_that_are_not_there_and_says_so(platform: dict[str, Any]) -> None:
    before = list(map(prepare, made(platform, GROUPED[0])))
    selection = Choice(only=frozenset({"v1"})).of(made(platform, *GROUPED), before)
    assert places(selection.objects) == ["Namespace team", "LLMInferenceService v1"]
    assert selection.notes == (
        "HTTPRoute team/chat is left as it is, because it would also lead to team/v2, not yet there. "
        "Name these in only as well, or run without it.",
    )


def test_a_route_that_is_as_wanted_is_not_spoken_of(platform: dict[str, Any]) -> None:
    objects = made(platform, *GROUPED)
    route = next(obj for obj in objects if obj["kind"] == "HTTPRoute")
    assert Choice(only=frozenset({"v1"})).of(objects, [prepare(route)]).notes == ()


def test_a_model_that_goes_takes_its_share_along(platform: dict[str, Any]) -> None:
    there = list(map(prepare, made(platform, *GROUPED)))
    selection = Choice(only=frozenset({"v2"})).of(made(platform, GROUPED[0]), there)
    assert places(selection.objects) == ["Namespace team", "HTTPRoute chat"]
    assert models_behind(selection.objects[1]) == {"team/v1"}


def test_a_route_that_the_inventory_lost_stays_and_is_named(platform: dict[str, Any]) -> None:
    there = list(map(prepare, made(platform, *GROUPED)))
    selection = Choice(only=frozenset({"v1", "v2"})).of(made(platform, LONE), there)
    assert selection.notes == (
        "HTTPRoute team/chat leads to team/v1, team/v2 and is no longer in the inventory. "
        "A run without only removes it.",
    )


def test_a_route_of_ones_own_comes_with_its_grants(platform: dict[str, Any]) -> None:
    objects = made(platform, *GROUPED, LONE, routes=OWN)
    there = [prepare(obj) for obj in objects if obj["kind"] == "LLMInferenceService"]
    selection = Choice(only=frozenset({"lone"})).of(objects, there)
    assert {"HTTPRoute front", "ReferenceGrant team-front"} <= set(places(selection.objects))
    assert "HTTPRoute chat" not in places(selection.objects)
