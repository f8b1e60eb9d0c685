"""Which layers run, and which step of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.inference.platform.plugins.filter.layers import (
    FilterModule,
    laid_layers,
    layer_step,
    namespace_object,
    selected_layers,
    sets_of,
)

LAYERS = [{"name": name, "ownership": "managed"} for name in ("namespaces", "sail", "lws")]


@pytest.mark.parametrize(
    ("run", "skip", "names"),
    [
        (["all"], [], ["namespaces", "sail", "lws"]),
        (["layers"], [], ["namespaces", "sail", "lws"]),
        (["verify"], [], ["namespaces", "sail", "lws"]),
        (["sail"], [], ["sail"]),
        (["lws", "sail"], [], ["sail", "lws"]),
        (["models"], [], []),
        (["validate"], [], []),
        (["all"], ["sail"], ["namespaces", "lws"]),
        (["all"], ["layers"], []),
    ],
)
def test_tags_select_layers_in_the_order_of_the_plan(run: list[str], skip: list[str], names: list[str]) -> None:
    assert [layer["name"] for layer in selected_layers(LAYERS, run, skip)] == names


@pytest.mark.parametrize(
    ("run", "skip", "names"),
    [
        (["all"], [], ["sail", "lws"]),
        (["validate"], [], ["sail", "lws"]),
        (["validate"], ["lws"], ["sail"]),
        (["verify"], [], []),
        (["models"], [], []),
        (["lws", "models"], [], ["lws"]),
    ],
)
def test_gates_alone_lay_nothing_and_validate_stands_for_a_whole_run(
    run: list[str], skip: list[str], names: list[str]
) -> None:
    assert laid_layers(LAYERS[1:], run, skip) == names


@pytest.mark.parametrize(
    ("ownership", "tags", "step"),
    [
        ("managed", ["all"], "install"),
        ("managed", ["verify"], "verify"),
        ("managed", ["verify", "layers"], "install"),
        ("delegated", ["all"], "verify"),
        ("external", ["all"], "verify"),
    ],
)
def test_a_layer_of_others_only_runs_its_gate(ownership: str, tags: list[str], step: str) -> None:
    assert layer_step({"name": "sail", "ownership": ownership}, tags) == step


@pytest.mark.parametrize(("tags", "step"), [(["all"], "external"), (["verify"], "verify")])
def test_a_gateway_of_the_users_is_supplied(tags: list[str], step: str) -> None:
    assert layer_step({"name": "inference_gateway", "ownership": "external"}, tags) == step


def test_namespaces_carry_the_labels_of_the_platform() -> None:
    labels = namespace_object("istio-system", "namespaces")["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "inference-platform"
    assert labels["inference-platform.io/layer"] == "namespaces"


def test_sets_keep_the_order_of_their_names() -> None:
    lock = {"b": {"files": []}, "a": {"files": []}, "c": {"files": []}}
    assert list(sets_of(lock, ["c", "a"])) == ["c", "a"]


def test_every_filter_is_documented() -> None:
    folder = Path(__file__).resolve().parents[3] / "plugins" / "filter"
    assert sorted(path.stem for path in folder.glob("*.yml")) == sorted(FilterModule().filters())
