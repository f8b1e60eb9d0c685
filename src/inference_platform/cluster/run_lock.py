"""One run at a time changes a cluster: a Lease that the first write of a run takes and its end gives back.

A run that changes nothing takes no Lease.  A killed run cannot give its Lease back: on the same machine the next run
sees that its process is gone and takes it; from another machine it can be taken after `SECONDS` without a write, or
on purpose.  Who has no right to Leases in `NAMESPACE` works without.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inference_platform.cluster import errors
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object

API = "coordination.k8s.io/v1"
NAMESPACE, NAME = "kube-system", "inference-platform"
#: A Lease that was not renewed for so long is nobody's: more than a layer may take by default without a write.
SECONDS = 900
#: A Lease of one's own that is older is renewed with the next write.
RENEWED_AFTER = 60

Now = Callable[[], datetime.datetime]


class RunInProgress(errors.ClusterError):
    """Another run is changing the cluster."""


@dataclass(frozen=True)
class Holder:
    """A run: who started it, on which machine, as which process."""

    user: str
    host: str
    process: int

    def __str__(self) -> str:
        return f"{self.user}@{self.host} {self.process}"

    @classmethod
    def parse(cls, text: str) -> Holder | None:
        """The holder in a Lease; None when somebody else's program wrote it."""
        name, _, process = text.rpartition(" ")
        user, at, host = name.rpartition("@")
        return cls(user, host, int(process)) if at and process.isdigit() else None

    def is_gone(self, seen_from: Holder) -> bool:
        """Whether the run has ended, as far as one can see from another run: only on the same machine."""
        if self.host != seen_from.host:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


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
    _write(cluster, "PUT", {**_lease(holder, now(), since), "metadata": lease["metadata"]})
    return True


def give_back(cluster: Cluster, holder: Holder) -> None:
    """Deletes the Lease if this run has it."""
    lease = cluster.get(API, "Lease", NAME, NAMESPACE)
    if lease is not None and _holder(lease) == str(holder):
        cluster.delete({"apiVersion": API, "kind": "Lease", "metadata": lease["metadata"]})


def _is_held(lease: Object, holder: Holder, now: datetime.datetime) -> bool:
    other = Holder.parse(_holder(lease))
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
    metadata = {"name": NAME, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": API, "kind": "Lease", "metadata": metadata, "spec": spec}


def _write(cluster: Cluster, method: str, lease: Object) -> None:
    path = cluster.resource(API, "Lease").path(NAMESPACE, NAME if method == "PUT" else None)
    cluster.request(method, path, body=lease, subject=f"{'renew' if method == 'PUT' else 'take'} Lease {NAME}")


def _holder(lease: Object) -> str:
    return _spec(lease, "holderIdentity")


def _spec(lease: Object, key: str) -> str:
    return str((lease.get("spec") or {}).get(key) or "")


def _age(lease: Object, now: datetime.datetime) -> float:
    """Seconds since it was renewed; without end when it does not say."""
    try:
        moment = datetime.datetime.fromisoformat(_spec(lease, "renewTime"))
    except ValueError:
        return float("inf")
    return (now - moment).total_seconds()
