"""Explaining pods and events."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.cluster import diagnose
from inference_platform.cluster.client import Cluster
from tests.unit.cluster.fake_api import FakeApi


def pod(**status: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "status": status}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/4 nodes"}]},
            "pod p Pending: not scheduled: 0/4 nodes",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff"}}}],
            },
            "pod p Pending: container c waiting, ImagePullBackOff",
        ),
        (
            {"phase": "Running", "containerStatuses": [{"name": "c", "ready": False, "state": {"running": {}}}]},
            "pod p Running: container c runs but is not ready (readiness probe)",
        ),
        (
            {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 2}}}]},
            "pod p Failed: container c ended, exit code 2",
        ),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "pod p Failed: Evicted low on memory"),
        ({"phase": "Pending"}, "pod p Pending: no container has started yet"),
    ],
)
def test_a_pod_says_why_it_is_not_ready(status: dict[str, Any], expected: str) -> None:
    assert diagnose.pod_lines(pod(**status)) == [expected]


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("one\n\ntwo\n", "one | two"),
        (
            '{"level":"info","msg":"Loaded raw configuration","config":"' + "x" * 900 + '"}\n'
            '{"level":"error","msg":"Failed to parse","error":"type x is not registered","stacktrace":"a\\nb"}\n'
            "goodbye",
            "Failed to parse: type x is not registered",
        ),
        ('{"level":"info","msg":"start"}\n{"level":"info","msg":"stop"}', "start | stop"),
        ('cut short"}\n[1]\n{"a": 1}', 'cut short"} | [1] | {"a": 1}'),
        ("\n".join(str(number) for number in range(9)), "4 | 5 | 6 | 7 | 8"),
    ],
)
def test_the_last_words_of_a_container_are_its_errors_if_it_tells_them_apart(log: str, said: str) -> None:
    ended = {"name": "c", "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": log}}}
    found = diagnose.pod_lines(pod(phase="Running", containerStatuses=[ended]))
    assert found == [f"pod p Running: container c ended, exit code 1 Error: {said}"]


def test_only_the_newest_events_are_shown_newest_first() -> None:
    events = [
        {"metadata": {}, "reason": f"R{n}", "message": "m", "lastTimestamp": f"2026-01-0{n}T00:00:00Z"}
        for n in range(1, 6)
    ]
    assert [line.split()[1] for line in diagnose.event_lines(events)] == ["R5", "R4", "R3"]


def test_ready_pods_are_not_mentioned_and_many_are_counted(api: FakeApi, cluster: Cluster) -> None:
    for number in range(6):
        obj = pod(phase="Pending")
        obj["metadata"] = {"name": f"p{number}", "namespace": "n", "labels": {"app": "x"}}
        if number == 0:
            obj["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        api.put(obj)
    owner = {"kind": "Widget", "metadata": {"name": "w", "namespace": "n"}}
    lines = diagnose.details(cluster, owner, "app=x")
    assert [line.split()[1] for line in lines[:3]] == ["p1", "p2", "p3"]
    assert lines[3] == "and 2 more pods that are not ready"


def test_what_may_not_be_read_is_left_out(api: FakeApi, cluster: Cluster) -> None:
    api.fail("GET", "/pods$", 403, "no")
    api.fail("GET", "/events$", 403, "no", times=3)
    owner = {"kind": "Widget", "metadata": {"name": "w", "namespace": "n"}, "status": {"conditions": []}}
    assert diagnose.details(cluster, owner, "app=x") == []
