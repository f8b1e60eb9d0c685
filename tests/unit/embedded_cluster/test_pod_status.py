"""Pod status as a kubelet writes it."""

from embedded_cluster import pod_status
from embedded_cluster.pod_status import ContainerView

NOW = "2026-01-01T00:00:10Z"
POD = {
    "metadata": {"namespace": "ns", "name": "p"},
    "spec": {
        "containers": [{"name": "c", "image": "i"}],
        "initContainers": [{"name": "copy", "image": "i"}, {"name": "side", "image": "i", "restartPolicy": "Always"}],
    },
    "status": {
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"},
        ]
    },
}


def conditions(status):
    return {item["type"]: item for item in status["conditions"]}


def status_of(view):
    return pod_status.running_status(POD, view, host_ip="10.64.0.10", pod_ip="10.64.8.1", now=NOW)


def test_a_ready_program_makes_a_ready_pod():
    status = status_of(ContainerView(state={"running": {"startedAt": NOW}}, ready=True, started=True))
    assert status["phase"] == "Running"
    assert conditions(status)["Ready"]["status"] == "True"
    assert status["podIPs"] == [{"ip": "10.64.8.1"}]


def test_unchanged_conditions_keep_their_time_and_foreign_ones_stay():
    ready = ContainerView(state={"running": {"startedAt": NOW}}, ready=True)
    assert conditions(status_of(ready))["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:05Z"
    unready = conditions(status_of(ContainerView(state={"running": {"startedAt": NOW}})))
    assert unready["Ready"]["lastTransitionTime"] == NOW
    assert unready["Ready"]["reason"] == "ContainersNotReady"
    assert unready["PodScheduled"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


def test_a_crash_loop_shows_the_last_lines_and_stays_running():
    view = ContainerView(
        state=pod_status.waiting("CrashLoopBackOff", "back-off 2s"),
        last_state=pod_status.terminated(1, NOW, NOW, "error: unknown flag: --x"),
        restarts=2,
    )
    status = status_of(view)
    container = status["containerStatuses"][0]
    assert status["phase"] == "Running"
    assert container["restartCount"] == 2
    assert container["lastState"]["terminated"]["message"] == "error: unknown flag: --x"


def test_a_blocked_pod_is_pending_without_address():
    state = pod_status.waiting("ImagePullBackOff", "no")
    status = pod_status.blocked_status(POD, state, host_ip="10.64.0.10", now=NOW)
    assert status["phase"] == "Pending"
    assert "podIP" not in status
    assert status["initContainerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_init_containers_are_done_and_sidecars_run():
    first, second = status_of(ContainerView(state={"running": {"startedAt": NOW}}))["initContainerStatuses"]
    assert first["state"]["terminated"]["exitCode"] == 0
    assert "running" in second["state"]


def test_a_simulated_pod_is_marked_for_kwok():
    status = pod_status.simulated_status(POD, host_ip="10.64.0.10", pod_ip="10.64.8.1", now=NOW)
    assert pod_status.is_simulated({**POD, "status": status})
    assert not pod_status.is_simulated(POD)
    assert "phase" not in status


def test_a_pod_beyond_its_programs_limit_says_so():
    because = pod_status.beyond_limit("endpoint-picker", 24)
    status = pod_status.simulated_status(POD, host_ip="10.64.0.10", pod_ip="10.64.8.1", now=NOW, because=because)
    condition = next(item for item in status["conditions"] if item["type"] == pod_status.SIMULATED)
    assert (condition["status"], condition["reason"]) == ("True", "TooManyProcesses")
    assert condition["message"].startswith("24 pods run endpoint-picker already")
