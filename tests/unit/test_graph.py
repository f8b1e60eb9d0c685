"""Order of layers."""

from __future__ import annotations

import itertools

import pytest

from inference_platform.platform.graph import GraphError, order


def test_a_layer_comes_after_everything_it_needs():
    assert order(["gateway", "istio", "crds"], {"gateway": ["istio"], "istio": ["crds"]}) == [
        "crds",
        "istio",
        "gateway",
    ]


def test_layers_that_could_go_either_way_keep_the_order_of_the_catalogue():
    assert order(["b", "a", "c"], {"c": ["a"]}) == ["b", "a", "c"]


def test_the_order_of_needs_within_a_layer_does_not_matter():
    for needs in itertools.permutations(["a", "b", "c"]):
        assert order(["d", "c", "b", "a"], {"d": needs}) == ["c", "b", "a", "d"]


def test_a_need_that_the_plan_does_not_have_is_left_out():
    assert order(["pki"], {"pki": ["cloud_manager"]}) == ["pki"]


def test_layers_that_need_each_other_are_refused_by_name():
    with pytest.raises(GraphError, match="a, b"):
        order(["a", "b", "c"], {"a": ["b"], "b": ["a"]})
