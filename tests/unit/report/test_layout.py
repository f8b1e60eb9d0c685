"""The layered layout: order, spacing, and lines that keep clear of boxes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from inference_platform.report.layout import arrange
from tests.unit.report import example

AWS = {name: needs for name, _, _, needs, *_ in example.LAYERS}
AZURE = AWS | {"sail": ["namespaces", "gateway_api"], "lws": ["namespaces", "cert_manager"]}
DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
GRAPHS = pytest.mark.parametrize("graph", [AWS, AZURE, DIAMOND, {"only": []}])


@GRAPHS
def test_every_node_is_right_of_what_it_needs(graph: dict[str, list[str]]) -> None:
    spots = arrange(graph).spots
    assert list(spots) == list(graph)
    for node, needs in graph.items():
        assert all(spots[need].column < spots[node].column for need in needs)


@GRAPHS
def test_boxes_and_way_points_of_a_column_are_a_row_apart(graph: dict[str, list[str]]) -> None:
    layout = arrange(graph)
    boxes = {(spot.column, spot.row) for spot in layout.spots.values()}
    ways = [(spot.column, spot.row) for edge in layout.edges for spot in edge.path[1:-1]]
    assert len(boxes) == len(layout.spots)
    for column in range(layout.columns):
        rows = sorted(row for index, row in [*boxes, *ways] if index == column)
        assert all(lower - upper >= 1 for upper, lower in pairwise(rows))


def test_edges_that_follow_from_others_are_not_drawn() -> None:
    layout = arrange({"a": [], "b": ["a"], "c": ["a", "b"]})
    assert [(edge.start, edge.end) for edge in layout.edges] == [("a", "b"), ("b", "c")]


def test_an_edge_over_columns_passes_each_of_them() -> None:
    layout = arrange({"a": [], "b": ["a"], "c": ["b"], "side": [], "d": ["c", "side"]})
    (edge,) = [edge for edge in layout.edges if edge.start == "side"]
    assert [spot.column for spot in edge.path] == [0, 1, 2, 3]


def test_needs_outside_the_graph_are_ignored() -> None:
    assert arrange({"a": ["elsewhere"]}).edges == ()


def test_an_empty_graph_is_fine() -> None:
    layout = arrange({})
    assert (layout.spots, layout.columns, layout.rows) == ({}, 0, 0)
