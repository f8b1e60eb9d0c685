"""Why a model is not ready, in words; what only looks ready, and what only looks broken."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.cluster.readiness import KNOWN, STOPPED, Surroundings, judge, rollout_gap

AROUND = Surroundings("redhat-ods-applications")
URL = "http://10.0.0.1/team/m"


def model(*conditions: tuple[str, str, str, str], **changes: Any) -> dict[str, Any]:
    """A model whose status has these conditions: (type, status, reason, message)."""
    status = {
        "observedGeneration": 1,
        "url": URL,
        "conditions": [
            {"type": kind, "status": status, "reason": reason, "message": message}
            for kind, status, reason, message in conditions
        ],
    }
    return {
        "metadata": {"name": "m", "namespace": "team", "generation": 1, **changes.pop("metadata", {})},
        "spec": {"router": {"gateway": {}, "route": {}, "scheduler": {}}, **changes.pop("spec", {})},
        "status": {**status, **changes},
    }


def failing(kind: str, reason: str = "Why", message: str = "") -> dict[str, Any]:
    return model(("Ready", "False", reason, message), (kind, "False", reason, message))


READY = ("Ready", "True", "", "")


def test_ready_with_an_address_is_ready() -> None:
    assert judge(model(READY), AROUND).ready


def test_ready_without_an_address_is_not_reachable() -> None:
    internal = [{"name": "gateway-internal", "url": "http://svc.cluster.local/team/m"}]
    verdict = judge(model(READY, url="", addresses=internal), AROUND)
    assert not verdict.ready
    assert verdict.why == "it is Ready, but has no address from outside"
    assert "before the gateway has an address" in verdict.meaning
    external = [*internal, {"name": "gateway-external", "url": URL}]
    assert judge(model(READY, url="", addresses=external), AROUND).ready


def test_no_address_is_needed_without_route_or_where_the_provider_gives_none() -> None:
    assert judge(model(READY, url="", spec={"router": {}}), AROUND).ready
    assert judge(model(READY, url=""), Surroundings("x", address_required=False)).ready


def test_an_old_status_says_nothing() -> None:
    verdict = judge(model(READY, metadata={"generation": 4}), AROUND)
    assert verdict.why == "KServe has not seen its newest version yet (generation 4, seen 1)"
    assert "-n redhat-ods-applications get deployment llmisvc-controller-manager" in verdict.remedy


def test_a_model_nobody_looked_at_points_at_the_controller() -> None:
    verdict = judge(model(conditions=[], observedGeneration=None), AROUND)
    assert verdict.why == "KServe has not looked at it yet"
    assert "llmisvc-controller-manager" in verdict.remedy


def test_absent_and_dying_models_are_not_ready() -> None:
    assert judge(None, AROUND).why == "it does not exist"
    assert judge(model(READY, metadata={"deletionTimestamp": "now"}), AROUND).why == "it is being deleted"


def test_a_stopped_model_is_as_wanted_when_it_shall_be_stopped() -> None:
    stopped = model(("Ready", "False", "Stopped", "Service is stopped"))
    assert judge(stopped, AROUND, STOPPED).ready
    assert judge(stopped, AROUND).why == "it has not started again yet"
    assert judge(model(READY), AROUND, STOPPED).why == "it has not stopped yet"
    marked = {"annotations": {"serving.kserve.io/stop": "true"}}
    assert judge({**stopped, "metadata": {**stopped["metadata"], **marked}}, AROUND).why == "it is stopped"


def test_the_first_condition_in_the_order_of_causes_is_the_reason() -> None:
    verdict = judge(
        model(
            ("HTTPRoutesReady", "False", "HTTPRoutesNotReady", "x"),
            ("MainWorkloadReady", "False", "MinimumReplicasUnavailable", "0 of 2"),
            ("PresetsCombined", "True", "", ""),
            ("Ready", "False", "HTTPRoutesNotReady", "x"),
        ),
        AROUND,
    )
    assert verdict.why == "MainWorkloadReady=False MinimumReplicasUnavailable: 0 of 2"
    assert "-n team get pods -l app.kubernetes.io/name=m" in verdict.remedy


@pytest.mark.parametrize(
    ("kind", "reason", "message", "meaning"),
    [
        ("InferencePoolReady", "WaitingForGateway", "exists but", "no gateway has accepted the pool yet"),
        ("HTTPRoutesReady", "HTTPRoutesNotReady", "ResolvedRefs InvalidKind", "moves the route to the kind of pool"),
        ("HTTPRoutesReady", "HTTPRoutesNotReady", "BackendNotFound", "has not seen the new pool"),
        ("SchedulerWorkloadReady", "MinimumReplicasUnavailable", "", "scheduler restarts whenever the addresses"),
        ("SchedulerWorkloadReady", "SchedulerReconcileError", "no matches for kind x", "CRDs of the inference"),
        ("GatewaysReady", "RefsInvalid", "Gateway a/b does not exist", "a gateway that does not exist"),
        ("GatewaysReady", "GatewaysNotReady", "", "has no address yet"),
        ("PresetsCombined", "CombineBaseError", "failed to get", "cannot put the model together"),
        ("HTTPRoutesReady", "HTTPRouteReconcileError", "x: the object has been modified; y", "at the same moment"),
        ("WorkerWorkloadReady", "Progressing", "LWS is progressing", "when its leader and all its workers are"),
        ("PrefillWorkerWorkloadReady", "Progressing", "", "when its leader and all its workers are"),
        ("WorkerWorkloadReady", "X", 'no matches for kind "LeaderWorkerSet" in version', "need LeaderWorkerSet"),
        ("PrefillWorkloadReady", "Progressing", "Deployment rollout in progress", "load the model or wait for a node"),
        ("MainWorkloadReady", "ScalingCRDNotFound", "", "autoscaling needs CRDs"),
        ("MainWorkloadReady", "ProgressDeadlineExceeded", "", "within the deadline"),
    ],
)
def test_what_looks_broken_is_explained(kind: str, reason: str, message: str, meaning: str) -> None:
    verdict = judge(failing(kind, reason, message), AROUND)
    assert meaning in verdict.meaning
    assert verdict.remedy
    assert "{" not in verdict.remedy


def test_every_explanation_can_be_reached() -> None:
    for item in KNOWN:
        made = failing(item.condition or "MainWorkloadReady", item.reason or "Any", item.contains)
        assert judge(made, AROUND).meaning == item.meaning


def workload(wanted: int = 2, **status: int) -> dict[str, Any]:
    return {"metadata": {"name": "w", "generation": 3}, "spec": {"replicas": wanted}, "status": status}


@pytest.mark.parametrize(
    ("obj", "gap"),
    [
        (workload(observedGeneration=3, replicas=2, updatedReplicas=2, availableReplicas=2), None),
        (workload(observedGeneration=2, replicas=2, updatedReplicas=2, availableReplicas=2), "not seen the newest"),
        (workload(observedGeneration=3, replicas=3, updatedReplicas=1, availableReplicas=2), "1 of 2 replicas updated"),
        (workload(observedGeneration=3, replicas=3, updatedReplicas=2, availableReplicas=2), "1 old replicas"),
        (workload(0, observedGeneration=3), None),
        (workload(replicas=2, updatedReplicas=2, readyReplicas=2), None),  # a LeaderWorkerSet
        (workload(replicas=2, updatedReplicas=2, readyReplicas=1), "2 of 2 replicas updated, 1 available"),
    ],
)
def test_a_rollout_is_over_when_all_pods_are_new_and_available(obj: dict[str, Any], gap: str | None) -> None:
    found = rollout_gap(obj)
    assert (found is None) if gap is None else gap in str(found)
    assert judge(model(READY), AROUND, workloads=[obj]).ready is (gap is None)
