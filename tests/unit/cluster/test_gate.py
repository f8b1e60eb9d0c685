"""Gates: what each check means, and what a waiting gate tells."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.cluster import errors, gate
from inference_platform.cluster.client import Cluster
from tests.unit.cluster.fake_api import FakeApi


def deployment(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "generation": 2},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "d"}}},
        "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, **status},
    }


def widget(*conditions: dict[str, Any], generation: int = 3, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.org/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": "n", "generation": generation},
        "status": {"conditions": list(conditions), **status},
    }


DEPLOYMENT = {"check": "deployment", "namespace": "n", "name": "d", "next": "kubectl describe", "explain": "Because."}
WIDGET = {"api_version": "example.org/v1", "kind": "Widget", "name": "w", "namespace": "n"}
READY = {"check": "condition", **WIDGET, "type": "Ready", "status": "True", "generation": "current"}


def why(cluster: Cluster, check: dict[str, Any]) -> str | None:
    """Why the check does not hold, or None."""
    waiting = gate.evaluate(cluster, [check]).waiting
    return waiting[0].why if waiting else None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, None),
        ({"observedGeneration": 1}, "its controller has not seen the newest version yet"),
        ({"updatedReplicas": 1}, "1 of 2 replicas updated, 2 available"),
        ({"availableReplicas": 0}, "0 of 2 replicas available"),
        ({"replicas": 3}, "1 old replicas still running"),
    ],
)
def test_a_deployment_must_be_rolled_out_and_available(
    api: FakeApi, cluster: Cluster, status: dict[str, Any], expected: str | None
) -> None:
    api.put(deployment(**status))
    assert why(cluster, DEPLOYMENT) == expected


def test_a_deployment_scaled_to_nothing_is_not_ready(api: FakeApi, cluster: Cluster) -> None:
    obj = deployment()
    obj["spec"]["replicas"] = 0
    api.put(obj)
    assert why(cluster, DEPLOYMENT) == "it is scaled to 0 replicas"


def test_what_is_not_there_is_waited_for(api: FakeApi, cluster: Cluster) -> None:
    assert why(cluster, DEPLOYMENT) == "does not exist yet"
    api.kinds = [kind for kind in api.kinds if kind[1] != "Widget"]
    cluster.discovery(max_age=-1.0)
    assert why(cluster, READY) == "its kind is not served yet"


@pytest.mark.parametrize(
    ("condition", "status", "expected"),
    [
        ({"status": "True", "observedGeneration": 3}, {}, None),
        ({"status": "True"}, {"observedGeneration": 3}, None),
        (
            {"status": "True", "observedGeneration": 2},
            {"observedGeneration": 3},
            "for generation 2, the object is at 3",
        ),
        ({"status": "True"}, {"observedGeneration": 2}, "for generation 2, the object is at 3"),
        ({"status": "True"}, {}, "no observedGeneration tells"),
        (
            {"status": "False", "reason": "X", "message": "no"},
            {"observedGeneration": 3},
            "Ready=False X: no, wanted True",
        ),
    ],
)
def test_a_condition_counts_only_at_the_current_generation(
    api: FakeApi, cluster: Cluster, condition: dict[str, Any], status: dict[str, Any], expected: str | None
) -> None:
    api.put(widget({"type": "Ready", **condition}, **status))
    found = why(cluster, READY)
    assert (found is None) if expected is None else (expected in str(found))


def test_generation_any_takes_the_condition_as_it_is(api: FakeApi, cluster: Cluster) -> None:
    api.put(widget({"type": "Ready", "status": "True"}))
    assert why(cluster, {**READY, "generation": "any"}) is None


def test_a_condition_may_have_to_be_false_and_unquoted(api: FakeApi, cluster: Cluster) -> None:
    api.put(widget({"type": "Degraded", "status": "False"}, observedGeneration=3))
    assert why(cluster, {**READY, "type": "Degraded", "status": False}) is None
    assert why(cluster, {**READY, "type": "Other"}) == "condition Other is not reported yet"


def test_keys_with_dots_must_be_there_and_not_empty(api: FakeApi, cluster: Cluster) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}}
    check = {"check": "exists", "api_version": "v1", "kind": "Secret", "name": "s", "namespace": "n"}
    api.put({**secret, "data": {"ca.crt": "eA==", "tls.crt": ""}})
    assert why(cluster, check) is None
    assert why(cluster, {**check, "keys": ["data.ca.crt"]}) is None
    assert why(cluster, {**check, "keys": ["data.ca.crt", "data.tls.crt", "data.no"]}) == "has no data.tls.crt, data.no"


@pytest.mark.parametrize(
    ("path", "matches", "holds"),
    [
        ("status.url", "^https?://", True),
        ("status.url", "^ftp://", False),
        ("status.addresses.0.value", ".+", True),
        ("status.addresses.1.value", ".+", False),
        (["metadata", "annotations", "example.org/version"], "^3$", True),
        ("metadata.annotations.example.org/version", "^3$", True),
        ("status.none", ".*", False),
    ],
)
def test_a_field_must_match(api: FakeApi, cluster: Cluster, path: Any, matches: str, holds: bool) -> None:
    obj = widget(url="http://x", addresses=[{"value": "10.0.0.1"}])
    obj["metadata"]["annotations"] = {"example.org/version": "3"}
    api.put(obj)
    assert (why(cluster, {"check": "field", **WIDGET, "path": path, "matches": matches}) is None) is holds


def test_a_field_of_a_secret_is_not_shown(api: FakeApi, cluster: Cluster) -> None:
    api.put(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "data": {"a": "c2VjcmV0"}}
    )
    check = {"check": "field", "api_version": "v1", "kind": "Secret", "name": "s", "namespace": "n"}
    assert why(cluster, {**check, "path": "data.a", "matches": "^x$"}) == "found another value, wanted a match of ^x$"


def test_crds_are_proven_by_discovery(api: FakeApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_DISCOVERY_AGE", -1.0)
    check = {"check": "crds", "names": ["widgets.example.org", "gadgets.example.org"]}
    assert why(cluster, check) == "gadgets.example.org not served (gadgets.example.org is not there yet)"
    api.kinds.append(("example.org/v1", "Gadget", "gadgets", True))
    assert why(cluster, check) is None


def test_a_dry_run_must_be_admitted_and_stores_nothing(api: FakeApi, cluster: Cluster) -> None:
    obj = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "probe", "namespace": "n"}}
    check = {"check": "dry_run", "object": obj}
    api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    api.fail("PATCH", "/probe$", 500, 'failed calling webhook "v": connection refused')
    assert why(cluster, check) == 'failed calling webhook "v": connection refused'
    api.fail("PATCH", "/probe$", 403, 'admission webhook "v" denied the request: bad')
    assert why(cluster, check) == 'admission webhook "v" denied the request: bad'
    assert why(cluster, check) is None
    assert api.writes() == []


def test_an_expired_login_ends_the_wait(api: FakeApi, cluster: Cluster) -> None:
    api.fail("GET", "/deployments/d$", 401, "Unauthorized")
    with pytest.raises(errors.CredentialsRejected):
        gate.wait(cluster, [DEPLOYMENT], timeout=5)


class Clock:
    """Time that passes only by sleeping; things may happen meanwhile."""

    def __init__(self) -> None:
        self.now, self.pauses, self.events = 0.0, [0.0], {}  # type: ignore[var-annotated]

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)
        for moment in [m for m in self.events if m <= self.now]:
            self.events.pop(moment)()


def test_waiting_ends_when_everything_holds_at_once(api: FakeApi, cluster: Cluster) -> None:
    clock = Clock()
    seen: list[gate.GateProgress] = []
    api.put(deployment(availableReplicas=0))
    clock.events[1.0] = lambda: api.put(widget({"type": "Ready", "status": "True"}, observedGeneration=3))
    clock.events[3.0] = lambda: api.put(deployment())
    result = gate.wait(
        cluster, [DEPLOYMENT, READY], timeout=60, on_progress=seen.append, sleep=clock.sleep, clock=clock.time
    )
    assert result.ok
    assert 3.0 <= result.elapsed < 5.0
    assert (seen[0].done, seen[0].total, len(seen[0].waiting)) == (0, 2, 2)
    assert str(seen[0].waiting[0]) == "Deployment n/d: 0 of 2 replicas available"
    assert seen[-1].done == 1
    assert clock.pauses[1] == pytest.approx(0.1)
    assert max(clock.pauses) <= 1.0


def test_a_check_that_falls_back_is_noticed(api: FakeApi, cluster: Cluster) -> None:
    clock = Clock()
    api.put(deployment())

    def later() -> None:
        api.put(widget({"type": "Ready", "status": "True"}, observedGeneration=3))
        api.put(deployment(availableReplicas=0))

    clock.events[0.5] = later
    with pytest.raises(gate.GateTimeout) as caught:
        gate.wait(cluster, [DEPLOYMENT, READY], timeout=2, sleep=clock.sleep, clock=clock.time)
    assert [w.what for w in caught.value.result.waiting] == ["Deployment n/d"]


def test_a_timeout_explains_itself(api: FakeApi, cluster: Cluster) -> None:
    clock = Clock()
    obj = deployment(availableReplicas=0)
    obj["status"]["conditions"] = [
        {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
        {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "not enough"},
    ]
    api.put(obj)
    api.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "d-1", "namespace": "n", "labels": {"app": "d"}},
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {
                        "name": "main",
                        "ready": False,
                        "restartCount": 4,
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                        "lastState": {
                            "terminated": {
                                "exitCode": 1,
                                "reason": "Error",
                                "message": "one\ntoken=abc123456\npanic: no flag",
                            }
                        },
                    }
                ],
            },
        }
    )
    api.put(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "e", "namespace": "n"},
            "involvedObject": {"kind": "Pod", "name": "d-1"},
            "type": "Warning",
            "reason": "FailedMount",
            "message": 'secret "s" not found',
            "count": 5,
            "lastTimestamp": "2026-01-01T00:00:00Z",
        }
    )
    with pytest.raises(gate.GateTimeout) as caught:
        gate.wait(cluster, [DEPLOYMENT], timeout=5, title="layer x", sleep=clock.sleep, clock=clock.time)
    assert str(caught.value).splitlines() == [
        "Gate of layer x: 1 of 1 checks still fail after 5 s (limit 5 s).",
        "1. Deployment n/d: 0 of 2 replicas available",
        "   condition Available=False MinimumReplicasUnavailable: not enough",
        "   condition Progressing=True ReplicaSetUpdated",
        "   pod d-1 Running: container main waiting, CrashLoopBackOff: back-off 40s, 4 restarts",
        "   pod d-1 Running: container main before that, exit code 1 Error: one | token=<hidden> | panic: no flag",
        '   event FailedMount (5 times) on Pod d-1: secret "s" not found',
        "   why it matters: Because.",
        "   next: kubectl describe",
    ]


def test_a_server_that_is_away_for_a_moment_is_waited_for(api: FakeApi, cluster: Cluster, pauses: list[float]) -> None:
    clock = Clock()
    api.put(deployment())
    api.fail("GET", "/deployments/d$", 503, "starting", times=8)
    assert gate.wait(cluster, [DEPLOYMENT], timeout=30, sleep=clock.sleep, clock=clock.time).ok
    assert len(pauses) == 7


def test_many_objects_of_a_kind_take_one_list_a_look(api: FakeApi, cluster: Cluster) -> None:
    cluster.discovery()
    api.requests.clear()
    gate.evaluate(cluster, [{**READY, "name": f"w{n}"} for n in range(30)])
    assert [r.path for r in api.requests] == ["/apis/example.org/v1/namespaces/n/widgets"]


def test_an_empty_gate_is_open(cluster: Cluster) -> None:
    assert gate.wait(cluster, [], timeout=1).ok
