"""One run at a time changes a cluster: a Lease that the first write of a run takes and its end gives back.

A run that changes nothing takes no Lease.  A killed run cannot give its Lease back: among the same processes (same
machine, not started anew, same container) the next run sees that its process is gone and takes it; from elsewhere it
can be taken after `SECONDS` without a write, or on purpose.  Who has no right to Leases in `NAMESPACE` works without.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_platform.cluster import errors
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object

API = "coordination.k8s.io/v1"
NAMESPACE, NAME = "kube-system", "inference-platform"
#: What a run does with it.
VERBS = ("get", "create", "update", "delete")
#: A Lease that was not renewed for so long is nobody's: more than a layer may take by default without a write.
SECONDS = 900
#: A Lease of one's own that is older is renewed with the next write.
RENEWED_AFTER = 60
#: Says where the process of the holder can be looked for (`process_space`).
SPACE = "inference-platform.io/process-space"

_HOLDER = re.compile(r"(.*)@(\S*) (\d+) (\w+)")

Now = Callable[[], datetime.datetime]


class RunInProgress(errors.ClusterError):
    """Another run is changing the cluster."""


@dataclass(frozen=True)
class Holder:
    """A run: who started it, on which machine, as which process.

    run    a name that no other run has; processes of two containers may have one number
    space  where the number of the process means something (`process_space`), "" when that is not known
    """

    user: str
    host: str
    process: int
    run: str
    space: str = ""

    def __str__(self) -> str:
        return f"{self.user}@{self.host} {self.process} {self.run}"

    @classmethod
    def parse(cls, text: str, space: str) -> Holder | None:
        """The holder in a Lease; None when somebody else's program wrote it."""
        match = _HOLDER.fullmatch(text)
        return cls(match[1], match[2], int(match[3]), match[4], space) if match else None

    def is_gone(self, seen_from: Holder) -> bool:
        """Whether the run has ended, as far as another run can see: only among the same processes."""
        if not self.space or (self.host, self.space) != (seen_from.host, seen_from.space):
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def process_space(proc: Path = Path("/proc")) -> str:
    """Names the start of the machine and the namespace of processes in it; "" where Linux does not say."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink(proc / 'self/ns/pid')}"
    except OSError:
        return ""


def utc() -> datetime.datetime:
    """This moment."""
    return datetime.datetime.now(datetime.UTC)


def take(cluster: Cluster, holder: Holder, *, force: bool = False, now: Now = utc) -> bool:
    """Takes or renews the Lease; whether this run has one.  Raises RunInProgress when another run has it.

    force  take it whoever has it
    """
    try:
        return _take(cluster, holder, now, force=force)
    except errors.Forbidden:
        return False
    except errors.ApiError as error:
        if error.status != 409:
            raise
    # Somebody was faster; or this run itself, whose answer was lost on the way.
    return _take(cluster, holder, now, force=False)


def _take(cluster: Cluster, holder: Holder, now: Now, *, force: bool) -> bool:
    lease = cluster.get(API, "Lease", NAME, NAMESPACE)
    if lease is None:
        _write(cluster, "POST", _lease(holder, now()))
        return True
    other = _holder(lease)
    if other == str(holder) and _age(lease, now()) < RENEWED_AFTER:
        return True
    if other not in ("", str(holder)) and not force and _is_held(lease, holder, now()):
        raise RunInProgress(_refusal(lease, other))
    since = _spec(lease, "acquireTime") if other == str(holder) else ""
    renewed = _lease(holder, now(), since)
    annotations = {**_annotations(lease), **_annotations(renewed)}
    renewed["metadata"] = {**lease["metadata"], "annotations": annotations}
    _write(cluster, "PUT", renewed)
    return True


def give_back(cluster: Cluster, holder: Holder) -> None:
    """Deletes the Lease if this run has it."""
    lease = cluster.get(API, "Lease", NAME, NAMESPACE)
    if lease is not None and _holder(lease) == str(holder):
        cluster.delete({"apiVersion": API, "kind": "Lease", "metadata": lease["metadata"]})


def _is_held(lease: Object, holder: Holder, now: datetime.datetime) -> bool:
    other = Holder.parse(_holder(lease), _annotations(lease).get(SPACE, ""))
    return _age(lease, now) < SECONDS and not (other is not None and other.is_gone(holder))


def _refusal(lease: Object, other: str) -> str:
    return (
        f"Lease {NAMESPACE}/{NAME}: expected no other run that changes this cluster, found that of {other}, since "
        f"{_spec(lease, 'acquireTime')}, last seen {_spec(lease, 'renewTime')}. Nothing more is written. Wait for its "
        f"end and run again. If it was killed: the Lease is free {SECONDS // 60} minutes after it was last seen; "
        "-e platform_take_over=true takes it at once."
    )


def _lease(holder: Holder, now: datetime.datetime, since: str = "") -> Object:
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec: dict[str, Any] = {
        "holderIdentity": str(holder),
        "leaseDurationSeconds": SECONDS,
        "acquireTime": since or moment,
        "renewTime": moment,
    }
    labels = {"app.kubernetes.io/managed-by": "inference-platform", "app.kubernetes.io/part-of": "inference-platform"}
    metadata = {"name": NAME, "namespace": NAMESPACE, "labels": labels, "annotations": {SPACE: holder.space}}
    return {"apiVersion": API, "kind": "Lease", "metadata": metadata, "spec": spec}


def _write(cluster: Cluster, method: str, lease: Object) -> None:
    path = cluster.resource(API, "Lease").path(NAMESPACE, NAME if method == "PUT" else None)
    cluster.request(method, path, body=lease, subject=f"{'renew' if method == 'PUT' else 'take'} Lease {NAME}")


def _holder(lease: Object) -> str:
    return _spec(lease, "holderIdentity")


def _annotations(lease: Object) -> dict[str, str]:
    return lease["metadata"].get("annotations") or {}


def _spec(lease: Object, key: str) -> str:
    return str((lease.get("spec") or {}).get(key) or "")


def _age(lease: Object, now: datetime.datetime) -> float:
    """Seconds since it was renewed; without end when it does not say."""
    try:
        moment = datetime.datetime.fromisoformat(_spec(lease, "renewTime"))
    except ValueError:
        return float("inf")
    return (now - moment).total_seconds()
