"""Says why an object is not ready: conditions, pods, containers, restarts, warning events.

Reads only, and never fails: what may not be read is left out of the explanation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from inference_platform.cluster import errors, redact
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object

_MOST_PODS, _MOST_EVENTS, _MOST_LINES = 3, 3, 5
_ERROR_LEVELS = frozenset({"error", "dpanic", "panic", "fatal"})
_GOOD_POD_PHASES = frozenset({"Succeeded"})


def details(cluster: Cluster, obj: Object, pods: str | None = None) -> list[str]:
    """Lines that explain an object's state: its conditions, troubled pods, last warning events.

    pods  label selector of the pods that belong to it; of a Deployment they are found by its own selector
    """
    lines = [f"condition {text}" for text in conditions(obj)]
    namespace = obj["metadata"].get("namespace") or ""
    selector = pods or _own_selector(obj)
    troubled = _troubled_pods(cluster, namespace, selector) if selector and namespace else []
    for pod in troubled[:_MOST_PODS]:
        lines += pod_lines(pod)
    if len(troubled) > _MOST_PODS:
        lines.append(f"and {len(troubled) - _MOST_PODS} more pods that are not ready")
    names = [obj["metadata"]["name"], *(pod["metadata"]["name"] for pod in troubled[:_MOST_PODS])]
    lines += event_lines(_warnings(cluster, namespace or "default", names))
    return [redact.text(line) for line in lines]


def conditions(obj: Object) -> list[str]:
    """An object's conditions as text, those that are not "True" first."""
    found = (obj.get("status") or {}).get("conditions") or []
    return [condition_text(c) for c in sorted(found, key=lambda c: (c.get("status") == "True", str(c.get("type"))))]


def condition_text(condition: Mapping[str, Any]) -> str:
    """ "Ready=False DeploymentsNotReady: 0/1 deployments ready"."""
    text = f"{condition.get('type')}={condition.get('status')}"
    if condition.get("reason"):
        text += f" {condition['reason']}"
    if condition.get("message"):
        text += f": {_one_line(condition['message'], 300)}"
    return redact.text(text)


def pod_lines(pod: Object) -> list[str]:
    """Why a pod is not ready: not scheduled, containers waiting, crashed or not passing their probe."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    head = f"pod {name} {status.get('phase', 'Unknown')}"
    lines = [
        f"{head}: not scheduled: {_one_line(condition.get('message', ''), 300)}"
        for condition in status.get("conditions") or []
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False"
    ]
    statuses = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    for container in statuses:
        lines += [f"{head}: {text}" for text in _container_texts(container)]
    if status.get("reason") or status.get("message"):
        lines.append(f"{head}: {status.get('reason', '')} {_one_line(status.get('message', ''), 300)}".rstrip())
    return lines or [f"{head}: no container has started yet"]


def _container_texts(container: Mapping[str, Any]) -> Iterable[str]:
    name, restarts = container.get("name"), container.get("restartCount") or 0
    suffix = f", {restarts} restarts" if restarts else ""
    state = container.get("state") or {}
    waiting, terminated = state.get("waiting"), state.get("terminated")
    if waiting:
        said = f": {_one_line(waiting['message'], 300)}" if waiting.get("message") else ""
        yield f"container {name} waiting, {waiting.get('reason', 'unknown reason')}{said}{suffix}"
    elif terminated and terminated.get("exitCode"):
        yield f"container {name} ended, {_ended(terminated)}{suffix}"
    elif "running" in state and not container.get("ready"):
        yield f"container {name} runs but is not ready (readiness probe){suffix}"
    last = (container.get("lastState") or {}).get("terminated")
    if last and not container.get("ready"):
        yield f"container {name} before that, {_ended(last)}"


def _ended(terminated: Mapping[str, Any]) -> str:
    text = f"exit code {terminated.get('exitCode')} {terminated.get('reason', '')}".rstrip()
    said = " | ".join(_last_words(str(terminated.get("message") or "")))
    return f"{text}: {said}" if said else text


def _last_words(log: str) -> list[str]:
    """The last lines of a log, each of a readable length; of lines in JSON (zap) the errors, if there are any."""
    entries = [_log_entry(line) for line in log.splitlines() if line.strip()]
    errors = [text for is_error, text in entries if is_error]
    return [_one_line(text, 300) for text in (errors or [text for _, text in entries])[-_MOST_LINES:]]


def _log_entry(line: str) -> tuple[bool, str]:
    """Whether a line is an error, and what it says."""
    try:
        entry = json.loads(line)
    except ValueError:
        return False, line
    if not isinstance(entry, Mapping) or "msg" not in entry:
        return False, line
    text = ": ".join(str(entry[key]) for key in ("msg", "error") if entry.get(key))
    return entry.get("level") in _ERROR_LEVELS, text


def event_lines(events: Iterable[Object]) -> list[str]:
    """The newest warning events, newest first."""
    newest = sorted(events, key=_event_time, reverse=True)[:_MOST_EVENTS]
    lines = []
    for event in newest:
        about = event.get("involvedObject") or {}
        count = event.get("count") or (event.get("series") or {}).get("count") or 1
        times = f" ({count} times)" if count > 1 else ""
        place = f"{about.get('kind')} {about.get('name')}"
        lines.append(f"event {event.get('reason')}{times} on {place}: {_one_line(event.get('message', ''), 300)}")
    return lines


def _event_time(event: Object) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return str(next((value for value in times if value), event["metadata"].get("creationTimestamp") or ""))


def _own_selector(obj: Object) -> str:
    if obj.get("kind") not in ("Deployment", "StatefulSet", "ReplicaSet"):
        return ""
    labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _troubled_pods(cluster: Cluster, namespace: str, selector: str) -> list[Object]:
    try:
        pods = cluster.list("v1", "Pod", namespace, label_selector=selector)
    except errors.ClusterError:
        return []
    return [pod for pod in pods if not _is_ready(pod)]


def _is_ready(pod: Object) -> bool:
    status = pod.get("status") or {}
    if status.get("phase") in _GOOD_POD_PHASES:
        return True
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or [])


def _warnings(cluster: Cluster, namespace: str, names: Iterable[str]) -> list[Object]:
    found: list[Object] = []
    for name in names:
        selector = f"involvedObject.name={name},type=Warning"
        try:
            found += cluster.list("v1", "Event", namespace, field_selector=selector)
        except errors.ClusterError:
            continue
    return found


def _one_line(text: Any, limit: int) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
