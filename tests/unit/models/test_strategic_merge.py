"""The merge rules of the API, as facts describe them (models.md 2.2)."""

from __future__ import annotations

import copy

import pytest

from inference_platform.models.strategic_merge import strategic_merge

BASE = {
    "replicas": 1,
    "template": {
        "containers": [
            {
                "name": "main",
                "args": ["--a"],
                "env": [{"name": "A", "value": "1"}],
                "resources": {"limits": {"gpu": "1"}},
            }
        ],
        "tolerations": [{"key": "a"}],
        "imagePullSecrets": [{"name": "x"}],
        "volumes": [{"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}],
    },
}


def merged(patch: dict) -> dict:
    before = copy.deepcopy((BASE, patch))
    result = strategic_merge(BASE, patch)
    assert (BASE, patch) == before
    return result


def main(spec: dict) -> dict:
    return next(item for item in spec["template"]["containers"] if item["name"] == "main")


def test_mappings_merge_key_by_key():
    limits = main(merged({"template": {"containers": [{"name": "main", "resources": {"limits": {"cpu": "2"}}}]}}))
    assert limits["resources"] == {"limits": {"gpu": "1", "cpu": "2"}}


@pytest.mark.parametrize("field", ["args", "command"])
def test_lists_without_a_key_are_replaced(field):
    assert main(merged({"template": {"containers": [{"name": "main", field: ["--b"]}]}}))[field] == ["--b"]


def test_tolerations_are_replaced():
    assert merged({"template": {"tolerations": [{"key": "b"}]}})["template"]["tolerations"] == [{"key": "b"}]


def test_lists_of_a_pod_merge_by_the_key_of_their_items():
    result = merged(
        {
            "template": {
                "imagePullSecrets": [{"name": "y"}],
                "volumes": [{"name": "dshm", "emptyDir": {"sizeLimit": "8Gi"}}],
                "containers": [{"name": "main", "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]}],
            }
        }
    )
    assert result["template"]["imagePullSecrets"] == [{"name": "x"}, {"name": "y"}]
    assert result["template"]["volumes"] == [{"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}]
    assert main(result)["env"] == [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]


def test_a_container_of_another_name_is_added():
    result = merged({"template": {"containers": [{"name": "extra", "image": "i"}]}})
    assert [item["name"] for item in result["template"]["containers"]] == ["main", "extra"]


def test_items_given_twice_in_a_patch_are_merged_too():
    twice = [{"name": "extra", "image": "i"}, {"name": "extra", "args": ["a"]}]
    containers = merged({"template": {"containers": twice}})["template"]["containers"]
    assert containers[1:] == [{"name": "extra", "image": "i", "args": ["a"]}]


def test_null_removes():
    assert "tolerations" not in merged({"template": {"tolerations": None}})["template"]
    assert merged({"nothing": None}) == BASE


def test_outside_a_pod_lists_are_replaced_whatever_their_name():
    base = {"router": {"route": {"http": {"spec": {"volumes": [{"name": "a"}]}}}}}
    patch = {"router": {"route": {"http": {"spec": {"volumes": [{"name": "b"}]}}}}}
    assert strategic_merge(base, patch) == patch


def test_the_configuration_of_the_scheduler_is_replaced_as_a_whole():
    base = {"router": {"scheduler": {"config": {"inline": {"kind": "A", "plugins": [1]}}}}}
    patch = {"router": {"scheduler": {"config": {"inline": {"kind": "B"}}}}}
    assert strategic_merge(base, patch) == patch


def test_a_mapping_takes_the_place_of_something_else():
    assert strategic_merge({"a": 1}, {"a": {"b": 1}}) == {"a": {"b": 1}}


def test_the_result_shares_no_part_with_the_patch():
    patch = {"template": {"tolerations": [{"key": "b"}]}}
    merged_spec = strategic_merge(BASE, patch)
    merged_spec["template"]["tolerations"][0]["key"] = "c"
    assert patch["template"]["tolerations"] == [{"key": "b"}]
