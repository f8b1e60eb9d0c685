"""Waiting for all models at once: by a watch that survives what happens to watches, with the slowest and why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from inference_platform.cluster import errors, model_wait
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.model_wait import ModelsNotReady, Target, WaitProgress, look, wait
from inference_platform.cluster.readiness import STOPPED, Surroundings
from inference_platform.cluster.watching import Watching, Wish
from tests.unit.cluster.fake_api import FakeApi

SERVING = "serving.kserve.io/v1alpha2"
AROUND = Surroundings("redhat-ods-applications")


@pytest.fixture(autouse=True)
def kinds(api: FakeApi) -> None:
    api.kinds.append((SERVING, "LLMInferenceService", "llminferenceservices", True))


@pytest.fixture
def patient(cluster: Cluster) -> Cluster:
    """A client that really sleeps between its tries."""
    cluster._sleep = time.sleep
    return cluster


def model(name: str, ready: bool = True, **changes: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True"}]
    if not ready:
        reason = {"status": "False", "reason": "MinimumReplicasUnavailable", "message": "0 of 1 available"}
        conditions = [{"type": "Ready", **reason}, {"type": "MainWorkloadReady", **reason}]
    return {
        "apiVersion": SERVING,
        "kind": "LLMInferenceService",
        "metadata": {"name": name, "namespace": "team", "labels": {"inference-platform.io/layer": "models"}},
        "spec": {"router": {"route": {}}},
        "status": {"observedGeneration": 1, "url": "http://10.0.0.1/x", "conditions": conditions, **changes},
    }


def targets(*names: str) -> list[Target]:
    return [Target("team", name) for name in names]


def later(seconds: float, *steps: Callable[[], object]) -> None:
    """Does the steps in another thread, with a pause before each."""

    def run() -> None:
        for step in steps:
            time.sleep(seconds)
            step()

    threading.Thread(target=run, daemon=True).start()


def test_models_that_are_ready_are_not_waited_for(
    api: FakeApi, patient: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_wait, "SETTLE_SECONDS", 60)
    for name in "abc":
        api.put(model(name))
    began = time.monotonic()
    result = wait(patient, SERVING, targets("a", "b", "c"), AROUND, timeout=50)
    assert time.monotonic() - began < 30
    assert set(result.seconds) == {"team/a", "team/b", "team/c"}


def test_no_models_need_no_request(api: FakeApi, patient: Cluster) -> None:
    wait(patient, SERVING, [], AROUND, timeout=1)
    assert api.requests == []


def test_models_become_ready_by_one_list_and_one_watch(api: FakeApi, patient: Cluster) -> None:
    for name in "abc":
        api.put(model(name, ready=False))
    later(0.6, lambda: api.put(model("a")), lambda: api.put(model("c")), lambda: api.put(model("b")))
    result = wait(patient, SERVING, targets("a", "b", "c"), AROUND, timeout=10)
    assert result.slowest == "team/b"
    assert result.seconds["team/a"] < result.seconds["team/c"] < result.seconds["team/b"]
    asked = [r.query.get("watch", "list") for r in api.requests if r.path.endswith("llminferenceservices")]
    assert asked == ["list", "1"]


def test_a_model_that_flaps_is_waited_for_until_it_stays_ready(api: FakeApi, patient: Cluster) -> None:
    api.put(model("a", ready=False))
    steps = (lambda: api.put(model("a")), lambda: api.put(model("a", ready=False)), lambda: api.put(model("a")))
    later(0.6, *steps)
    result = wait(patient, SERVING, targets("a"), AROUND, timeout=10)
    assert result.seconds["team/a"] >= 1.5
    assert result.elapsed >= result.seconds["team/a"] + 1.0


def test_progress_names_the_slowest_and_what_its_pods_say(api: FakeApi, patient: Cluster) -> None:
    api.put(model("a"))
    api.put(model("b", ready=False))
    labels = {"app.kubernetes.io/name": "b", "app.kubernetes.io/part-of": "llminferenceservice"}
    unscheduled = {"type": "PodScheduled", "status": "False", "message": "0/2 nodes: Insufficient nvidia.com/gpu"}
    api.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "b-1", "namespace": "team", "labels": labels},
            "status": {"phase": "Pending", "conditions": [unscheduled]},
        }
    )
    told: list[WaitProgress] = []
    later(1.5, lambda: api.put(model("b")))
    wait(patient, SERVING, targets("a", "b"), AROUND, timeout=10, on_progress=told.append)
    assert (told[0].ready, told[0].total) == (1, 2)
    assert "team/b: MainWorkloadReady=False" in str(told[0].slowest)
    assert "Insufficient nvidia.com/gpu" in told[0].slowest.details[0]


def test_the_time_limit_explains_each_model(api: FakeApi, patient: Cluster) -> None:
    api.put(model("a"))
    api.put(model("b", ready=False))
    with pytest.raises(ModelsNotReady) as caught:
        wait(patient, SERVING, targets("a", "b", "gone"), AROUND, timeout=0.3)
    text = str(caught.value)
    assert text.startswith("2 of 3 models are not ready after")
    assert "1. team/b: MainWorkloadReady=False MinimumReplicasUnavailable: 0 of 1 available" in text
    assert "what it means: pods start" in text
    assert "2. team/gone: it does not exist" in text
    assert "models_wait_seconds" in text


def refused(name: str) -> dict[str, Any]:
    """A model whose route the gateway does not let in."""
    message = '[team/x-kserve-route: "False" (reason "NotAllowedByListeners", message "not allowed")]'
    reason = {"status": "False", "reason": "HTTPRoutesNotReady", "message": message}
    return model(name, conditions=[{"type": kind, **reason} for kind in ("Ready", "HTTPRoutesReady")])


def test_models_that_somebody_must_correct_are_not_waited_for_to_the_end(api: FakeApi, patient: Cluster) -> None:
    api.put(model("a"))
    api.put(refused("b"))
    with pytest.raises(ModelsNotReady) as caught:
        wait(patient, SERVING, targets("a", "b"), AROUND, timeout=60, patience=0.3)
    text = str(caught.value)
    assert "waiting longer would not help" in text
    assert "NotAllowedByListeners" in text
    assert "give namespace team the label" in text


def test_while_others_start_nobody_gives_up(api: FakeApi, patient: Cluster) -> None:
    api.put(refused("a"))
    api.put(model("b", ready=False))
    with pytest.raises(ModelsNotReady) as caught:
        wait(patient, SERVING, targets("a", "b"), AROUND, timeout=1.0, patience=0.1)
    assert caught.value.result.elapsed >= 1.0


def test_many_models_are_not_all_explained_at_length(api: FakeApi, patient: Cluster) -> None:
    names = [f"m{number:02}" for number in range(30)]
    for name in names:
        api.put(model(name, ready=False))
    with pytest.raises(ModelsNotReady) as caught:
        wait(patient, SERVING, targets(*names), AROUND, timeout=0.1)
    text = str(caught.value)
    assert text.count("what it means") == 10
    assert text.count("MinimumReplicasUnavailable: 0 of 1 available") == 30


def test_a_stopped_model_is_waited_for_until_it_has_stopped(api: FakeApi, patient: Cluster) -> None:
    api.put(model("a"))
    stopped = [{"type": "Ready", "status": "False", "reason": "Stopped"}]
    later(0.2, lambda: api.put(model("a", conditions=stopped)))
    assert wait(patient, SERVING, [Target("team", "a", STOPPED)], AROUND, timeout=5).waiting == ()


@pytest.mark.parametrize("status", [0, 410, 500])
def test_a_watch_that_ends_is_taken_up_again(api: FakeApi, patient: Cluster, status: int) -> None:
    api.put(model("a", ready=False))
    api.fail("WATCH", "llminferenceservices", status, "ended")
    later(0.5, lambda: api.put(model("a")))
    assert wait(patient, SERVING, targets("a"), AROUND, timeout=10).elapsed < 5
    lists = [r for r in api.requests if r.path.endswith("llminferenceservices") and "watch" not in r.query]
    assert len(lists) == (2 if status == 410 else 1)


def test_a_watch_without_the_right_to_watch_is_an_error(api: FakeApi, patient: Cluster) -> None:
    api.put(model("a", ready=False))
    api.fail("WATCH", "llminferenceservices", 403, "may not watch")
    with pytest.raises(errors.Forbidden, match="may not watch"):
        wait(patient, SERVING, targets("a"), AROUND, timeout=10)


def test_a_removed_object_leaves_the_copy(api: FakeApi, patient: Cluster) -> None:
    api.put(model("a"))
    wish = Wish(SERVING, "LLMInferenceService")
    with Watching(patient, [wish, Wish("no.such/v1", "Kind")]) as watching:
        assert watching.wait(15)
        assert [ref.name for ref in watching.objects(wish)] == ["a"]
        api.remove("LLMInferenceService", "a", "team")
        assert watching.wait(15)
        assert watching.objects(wish) == {}
        assert not watching.wait(0.05)


def deployment(updated: int, available: int = 1) -> dict[str, Any]:
    labels = {"app.kubernetes.io/part-of": "llminferenceservice", "app.kubernetes.io/name": "a"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a-kserve", "namespace": "team", "labels": labels},
        "spec": {"replicas": 1},
        "status": {"replicas": 2 - updated, "updatedReplicas": updated, "availableReplicas": available},
    }


def test_a_rollout_is_waited_for_although_the_model_stays_ready(api: FakeApi, patient: Cluster) -> None:
    api.put(model("a"))
    api.put(deployment(updated=0))
    assert "0 of 1 replicas updated" in look(patient, SERVING, targets("a"), AROUND).waiting[0].verdict.why
    later(0.5, lambda: api.put(deployment(updated=1)))
    assert wait(patient, SERVING, targets("a"), AROUND, timeout=10).seconds["team/a"] >= 0.3


def test_one_look_says_what_is_missing(api: FakeApi, patient: Cluster) -> None:
    api.put(model("a"))
    api.put(model("b", ready=False))
    found = look(patient, SERVING, targets("a", "b"), AROUND)
    assert list(found.seconds) == ["team/a"]
    assert [item.model for item in found.waiting] == ["team/b"]
