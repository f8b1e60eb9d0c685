"""Defaults under an entry."""

from __future__ import annotations

import pytest

from inference_platform.models.merge import has, merge, plain, with_schema_defaults
from inference_platform.schema import inlined_schema


@pytest.mark.parametrize(
    ("defaults", "entry", "merged"),
    [
        ({"replicas": 1}, {}, {"replicas": 1}),
        ({"replicas": 1}, {"replicas": 3}, {"replicas": 3}),
        ({"gpu": {"product": "A"}}, {"gpu": {"count": 2}}, {"gpu": {"product": "A", "count": 2}}),
        ({"args": ["--a"]}, {"args": ["--b"]}, {"args": ["--b"]}),
        ({"env": {"A": "1", "B": "1"}}, {"env": {"B": "2"}}, {"env": {"A": "1", "B": "2"}}),
        ({"gpu": {"count": 1}}, {"gpu": "none"}, {"gpu": "none"}),
    ],
)
def test_mappings_are_merged_and_the_rest_is_replaced(defaults, entry, merged):
    assert merge(defaults, entry) == merged


def test_merging_leaves_its_inputs_alone():
    defaults, entry = {"gpu": {"product": "A"}, "args": ["--a"]}, {"gpu": {"count": 2}}
    merged = merge(defaults, entry)
    merged["gpu"]["count"] = 9
    merged["args"].append("--b")
    assert (defaults, entry) == ({"gpu": {"product": "A"}, "args": ["--a"]}, {"gpu": {"count": 2}})


def test_defaults_of_the_schema_reach_into_mappings_that_are_there():
    filled = with_schema_defaults({"router": {"hostnames": ["a"]}}, inlined_schema("model"))
    assert filled["router"] == {"hostnames": ["a"], "route": "managed"}
    assert filled["state"] == "present"


def test_a_mapping_that_is_not_there_is_not_made_up():
    assert "router" not in with_schema_defaults({}, inlined_schema("model"))


def test_of_replicas_and_scaling_the_stronger_layer_counts():
    assert merge({"replicas": 2}, {"scaling": {"max_replicas": 4}}) == {"scaling": {"max_replicas": 4}}
    assert merge({"scaling": {"max_replicas": 4}}, {"replicas": 2}) == {"replicas": 2}


def test_replicas_and_scaling_in_one_layer_both_stay_for_the_rules_to_see():
    both = {"replicas": 2, "scaling": {"max_replicas": 4}}
    assert merge({}, both) == both


def test_special_kinds_of_values_become_plain_ones():
    class Tagged(str):
        pass

    value = plain({Tagged("a"): (Tagged("b"), True, 1.5, None)})
    assert value == {"a": ["b", True, 1.5, None]}
    assert type(value["a"][0]) is str


@pytest.mark.parametrize(
    ("path", "answer"),
    [((), True), (("gpu", "count"), True), (("args", 0), True), (("args", 1), False), (("gpu", "x"), False),
     (("name", "x"), False)],
)  # fmt: skip
def test_it_is_known_what_an_entry_itself_says(path, answer):
    assert has({"name": "a", "gpu": {"count": 1}, "args": ["--a"]}, path) is answer
