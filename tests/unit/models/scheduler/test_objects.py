"""InferenceObjective and InferenceModelRewrite objects."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.findings import ERROR, WARNING
from inference_platform.models.scheduler import object_mistakes, objective_objects, rewrite_objects, shared_names

SERVING = {"endpoint_picker": "llm-d-0.7.1"}
POOL = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "qwen-inference-pool"}


def model(name: str = "qwen", **keys: Any) -> dict[str, Any]:
    """A merged model entry; objectives, model_rewrites and enabled go into its block ``scheduler``."""
    scheduler = {key: keys.pop(key) for key in ("objectives", "model_rewrites", "enabled") if key in keys}
    return {"name": name, "namespace": "team-a", "scheduler": scheduler, **keys}


def test_an_objective_belongs_to_the_pool_of_its_model() -> None:
    [premium] = objective_objects(model(objectives=[{"name": "premium", "priority": 100}]), SERVING)
    assert premium["apiVersion"] == "inference.networking.x-k8s.io/v1alpha2"
    assert premium["kind"] == "InferenceObjective"
    assert premium["metadata"]["name"] == "premium"
    assert premium["metadata"]["namespace"] == "team-a"
    assert premium["metadata"]["labels"]["inference-platform.io/model"] == "qwen"
    assert premium["spec"] == {"priority": 100, "poolRef": POOL}


def test_the_default_objectives_carry_the_name_of_the_model() -> None:
    found = objective_objects(model(objectives="default"), SERVING)
    assert {item["metadata"]["name"]: item["spec"]["priority"] for item in found} == {
        "qwen-premium": 100,
        "qwen-normal": 0,
        "qwen-batch": -10,
    }


def test_a_pool_of_ones_own_is_named() -> None:
    entry = model(
        router={"pool": "mine"},
        objectives=[{"name": "a", "priority": 1}, {"name": "b", "priority": 2, "pool": "other"}],
    )
    assert [item["spec"]["poolRef"]["name"] for item in objective_objects(entry, SERVING)] == ["mine", "other"]


def test_no_objectives_no_objects() -> None:
    assert objective_objects(model(), SERVING) == []
    assert rewrite_objects(model(), SERVING) == []


def test_all_rewrites_of_a_model_are_one_object_in_their_order() -> None:
    entry = model(
        lora={"adapters": [{"name": "sql", "uri": "hf://org/sql"}]},
        model_rewrites=[
            {"models": ["chat", "gpt"], "targets": [{"model": "qwen", "weight": 90}, {"model": "sql", "weight": 10}]},
            {"targets": [{"model": "qwen"}]},
        ],
    )
    assert list(object_mistakes(entry)) == []
    [rewrite] = rewrite_objects(entry, SERVING)
    assert (rewrite["kind"], rewrite["metadata"]["name"]) == ("InferenceModelRewrite", "qwen")
    assert rewrite["spec"] == {
        "poolRef": POOL,
        "rules": [
            {
                "matches": [
                    {"model": {"type": "Exact", "value": "chat"}},
                    {"model": {"type": "Exact", "value": "gpt"}},
                ],
                "targets": [{"modelRewrite": "qwen", "weight": 90}, {"modelRewrite": "sql", "weight": 10}],
            },
            {"targets": [{"modelRewrite": "qwen"}]},
        ],
    }


RULE = {"targets": [{"model": "qwen"}]}


@pytest.mark.parametrize(
    ("keys", "code", "severity", "path"),
    [
        ({"objectives": "default", "enabled": False}, "IP-SCH-051", ERROR, ("objectives",)),
        ({"model_rewrites": [RULE], "enabled": False}, "IP-SCH-051", ERROR, ("model_rewrites",)),
        ({"objectives": [{"name": "a", "priority": 2**31}]}, "IP-SCH-052", ERROR, ("objectives", 0, "priority")),
        (
            {"model_rewrites": [{"targets": [{"model": "qwen", "weight": 1}, {"model": "qwen"}]}]},
            "IP-SCH-053",
            ERROR,
            ("model_rewrites", 0, "targets"),
        ),
        (
            {"model_rewrites": [{"targets": [{"model": "qwen"}, {"model": "sql"}]}]},
            "IP-SCH-054",
            ERROR,
            ("model_rewrites", 0, "targets", 1, "model"),
        ),
        ({"model_rewrites": [RULE, RULE]}, "IP-SCH-055", WARNING, ("model_rewrites", 1)),
        (
            {"model_rewrites": [{"models": ["a", "b"], **RULE}, {"models": ["b", "c"], **RULE}]},
            "IP-SCH-055",
            WARNING,
            ("model_rewrites", 1),
        ),
    ],
)
def test_what_would_do_nothing_is_named(keys: dict[str, Any], code: str, severity: str, path: tuple[Any, ...]) -> None:
    found = list(object_mistakes(model(**keys)))
    assert [(m.code, m.severity, m.path) for m in found] == [(code, severity, ("scheduler", *path))]


def test_a_served_name_is_a_target() -> None:
    entry = model(served_name="Qwen/Q", model_rewrites=[{"models": ["x"], "targets": [{"model": "Qwen/Q"}]}, RULE])
    assert [m.path for m in object_mistakes(entry)] == [("scheduler", "model_rewrites", 1, "targets", 0, "model")]


def test_two_models_of_a_namespace_cannot_share_an_objective() -> None:
    premium = [{"name": "premium", "priority": 100}]
    entries = [
        model("a", objectives=premium),
        {**model("b", objectives=premium), "namespace": "team-b"},
        model("c", objectives=[{"name": "normal", "priority": 0}, *premium]),
    ]
    [(index, mistake)] = list(shared_names(entries))
    assert (index, mistake.code, mistake.path) == (2, "IP-SCH-050", ("scheduler", "objectives", 1, "name"))
    assert "c-premium" in mistake.remedy


def test_default_objectives_never_clash() -> None:
    assert list(shared_names([model("a", objectives="default"), model("b", objectives="default")])) == []
