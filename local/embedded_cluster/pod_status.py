"""Pod status as a kubelet writes it. No I/O; the time is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedded_cluster.kube import Object

SIMULATED = "embedded-cluster/Simulated"
ONLY_A_STATUS = "the containers only exist in this status"
OWN_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")


@dataclass
class ContainerView:
    """What is known about the pod's program. Times are RFC 3339 texts."""

    state: dict[str, Any] = field(default_factory=lambda: waiting("ContainerCreating"))
    last_state: dict[str, Any] = field(default_factory=dict)
    ready: bool = False
    started: bool = False
    restarts: int = 0


def waiting(reason: str, message: str | None = None) -> dict[str, Any]:
    """A waiting container state."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def terminated(
    exit_code: int, started_at: str, finished_at: str, message: str, signal: int | None = None
) -> dict[str, Any]:
    """A terminated container state with the last log lines as its message."""
    state: dict[str, Any] = {
        "exitCode": exit_code,
        "reason": "Completed" if exit_code == 0 else "Error",
        "startedAt": started_at,
        "finishedAt": finished_at,
    }
    if message:
        state["message"] = message
    if signal:
        state["signal"] = signal
    return {"terminated": state}


def running_status(pod: Object, view: ContainerView, *, host_ip: str, pod_ip: str | None, now: str) -> Object:
    """Status of a pod that a program runs. All containers share the first one's fate."""
    waits = "waiting" in view.state and view.restarts == 0 and not view.last_state
    has_network = pod_ip is not None
    ready = view.ready
    unready = {"reason": "ContainersNotReady", "message": f"containers with unready status: {_names(pod)}"}
    conditions = [
        _condition("PodReadyToStartContainers", has_network),
        _condition("Initialized", has_network),
        _condition("ContainersReady", ready, unready),
        _condition("Ready", ready, unready),
    ]
    before = pod.get("status") or {}
    status: Object = {
        "phase": "Pending" if waits else "Running",
        "conditions": merge_conditions(before.get("conditions") or [], conditions, now),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": before.get("startTime") or now,
        "containerStatuses": [_container_status(item, view) for item in pod["spec"]["containers"]],
        "initContainerStatuses": [_init_status(item, now, done=has_network) for item in _init_containers(pod)],
    }
    if pod_ip:
        status |= {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}
    return status


def blocked_status(pod: Object, state: Mapping[str, Any], *, host_ip: str, now: str) -> Object:
    """Status of a pod whose containers cannot start yet; `state` is their waiting state."""
    view = ContainerView(state=dict(state))
    return running_status(pod, view, host_ip=host_ip, pod_ip=None, now=now)


NO_PROGRAM = {"reason": "NoProgramForImage", "message": f"no program is known for this image: {ONLY_A_STATUS}"}


def beyond_limit(program: str, limit: int) -> dict[str, str]:
    """Why a pod is simulated although its program is known: reason and message of the condition."""
    return {"reason": "TooManyProcesses", "message": f"{limit} pods run {program} already: {ONLY_A_STATUS}"}


def simulated_status(
    pod: Object, *, host_ip: str, pod_ip: str, now: str, because: Mapping[str, str] = NO_PROGRAM
) -> Object:
    """What hands a pod over to kwok: an address and the condition embedded-cluster/Simulated."""
    conditions = [
        _condition("PodReadyToStartContainers", True),
        _condition(SIMULATED, True, always=because),
    ]
    before = pod.get("status") or {}
    return {
        "conditions": merge_conditions(before.get("conditions") or [], conditions, now),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "startTime": before.get("startTime") or now,
    }


def is_simulated(pod: Object) -> bool:
    """True once a pod was handed over to kwok."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(item["type"] == SIMULATED and item["status"] == "True" for item in conditions)


def merge_conditions(before: list[Object], after: list[Object], now: str) -> list[Object]:
    """New conditions over old ones: foreign types stay, an unchanged status keeps its time."""
    old = {item["type"]: item for item in before}
    new = {item["type"] for item in after}
    merged = [item for item in before if item["type"] not in new]
    for item in after:
        previous = old.get(item["type"])
        same = previous is not None and previous["status"] == item["status"]
        merged.append({**item, "lastTransitionTime": previous["lastTransitionTime"] if same and previous else now})
    return merged


def _condition(
    kind: str, value: bool, otherwise: Mapping[str, str] | None = None, always: Mapping[str, str] | None = None
) -> Object:
    """A condition; `otherwise` is added when it is False, `always` in any case."""
    extra = dict(always or {}) | (dict(otherwise or {}) if not value else {})
    return {"type": kind, "status": "True" if value else "False", **extra}


def _container_status(container: Mapping[str, Any], view: ContainerView) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": container["image"] if "running" in view.state else "",
        "ready": view.ready,
        "started": view.started,
        "restartCount": view.restarts,
        "state": view.state,
        "lastState": view.last_state,
    }


def _init_containers(pod: Object) -> list[Mapping[str, Any]]:
    return pod["spec"].get("initContainers") or []


def _init_status(container: Mapping[str, Any], now: str, *, done: bool) -> Object:
    """Init containers of known images count as done; sidecars as running."""
    sidecar = container.get("restartPolicy") == "Always"
    if not done:
        state = waiting("PodInitializing")
    elif sidecar:
        state = {"running": {"startedAt": now}}
    else:
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": container["image"] if done else "",
        "ready": done,
        "started": done and sidecar,
        "restartCount": 0,
        "state": state,
    }


def _names(pod: Object) -> str:
    return "[" + " ".join(item["name"] for item in pod["spec"]["containers"]) + "]"
