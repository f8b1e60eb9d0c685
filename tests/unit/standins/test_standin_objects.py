"""Comparing and merging objects."""

from __future__ import annotations

from typing import Any

import pytest
from embedded_cluster.standins.objects import Ref, contains, deployment_is_ready, merged, with_transition_times


@pytest.mark.parametrize(
    ("live", "desired", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"b": 1}, False),
        ({}, {"emptyDir": {}}, True),
        ({"a": None}, {"a": None}, True),
        ([1, 2], [1, 2], True),
        ([2, 1], [1, 2], False),
        ([{"name": "a", "x": 1}, {"name": "b"}], [{"name": "b"}], True),
        ([{"name": "a"}], [{"name": "b"}], False),
        ([{"name": "a", "image": "1"}], [{"name": "a", "image": "2"}], False),
        ([{"verbs": ["get"]}], [{"verbs": ["get"]}, {"verbs": ["list"]}], False),
        (None, [{"name": "a"}], False),
    ],
)
def test_contains_looks_only_at_what_is_desired(live: Any, desired: Any, expected: bool) -> None:
    assert contains(live, desired) is expected


def test_mounts_of_one_volume_are_matched_by_their_path() -> None:
    desired = [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]
    assert contains([*desired, {"name": "w", "mountPath": "/c"}], desired)
    assert not contains([desired[0]], desired)


def test_merging_keeps_what_others_added_and_the_order() -> None:
    live = {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}], "kept": 1}
    desired = {"containers": [{"name": "a", "image": "i", "env": [{"name": "Y", "value": "2"}]}]}
    assert merged(live, desired) == {
        "containers": [
            {"name": "a", "image": "i", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
            {"name": "b"},
        ],
        "kept": 1,
    }


def test_merging_replaces_lists_that_have_no_key() -> None:
    assert merged({"args": ["a", "b"]}, {"args": ["c"]}) == {"args": ["c"]}


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    previous = [{"type": "A", "status": "True", "lastTransitionTime": "old"}, {"type": "B", "status": "False"}]
    now = [{"type": "A", "status": "True", "message": "new"}, {"type": "B", "status": "True"}]
    times = [entry["lastTransitionTime"] for entry in with_transition_times(now, previous, "now")]
    assert times == ["old", "now"]


@pytest.mark.parametrize(
    ("replicas", "ready", "expected"), [(2, 2, True), (2, 1, False), (0, 0, False), (None, 1, True), (1, None, False)]
)
def test_a_deployment_is_ready_with_all_wanted_replicas(replicas: Any, ready: Any, expected: bool) -> None:
    deployment = {"spec": {"replicas": replicas}, "status": {"readyReplicas": ready}}
    assert deployment_is_ready(deployment) is expected


def test_no_deployment_is_not_ready() -> None:
    assert deployment_is_ready(None) is False


def test_an_identity_reads_as_kind_and_path() -> None:
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "b"}}
    assert str(Ref.of(obj)) == "Service b/a"
    assert str(Ref("v1", "Namespace", "b")) == "Namespace b"
