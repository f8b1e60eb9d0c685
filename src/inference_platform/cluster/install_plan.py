"""Approval of one version of an operator with the Operator Lifecycle Manager (OLM).

A Subscription with manual approval installs nothing by itself: OLM writes an InstallPlan with the
ClusterServiceVersions (CSVs) that it would install, and waits for ``spec.approved``. It puts the CSVs of all
Subscriptions of a namespace into one plan, so a plan can hold more than was asked for (operators.md 5).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_platform.cluster import errors
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object
from inference_platform.preflight.data import may_become

API = "operators.coreos.com/v1alpha1"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0


class ApprovalError(errors.ClusterError):
    """The wanted version cannot be approved; the message says what is there and what to do."""


@dataclass(frozen=True)
class Wanted:
    """The version wanted of one Subscription."""

    subscription: str
    namespace: str
    csv: str

    def __str__(self) -> str:
        return f"Subscription {self.namespace}/{self.subscription}"

    @property
    def look(self) -> str:
        """The command that shows more."""
        return f"kubectl -n {self.namespace} describe subscriptions.operators.coreos.com,installplans"


@dataclass(frozen=True)
class Approval:
    """What was done: ``plan`` is the InstallPlan that was approved, "" when none had to be."""

    changed: bool
    plan: str = ""


def approve(
    cluster: Cluster,
    wanted: Wanted,
    *,
    timeout: float,
    check: bool = False,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Approval:
    """Approves the InstallPlan of the wanted version and no other; nothing when that version is installed.

    Waits ``timeout`` seconds for OLM to write the plan. In check mode (``check``) it looks once, says whether
    something would be approved, and writes nothing. Raises ApprovalError.
    """
    began, pause = clock(), _FIRST_PAUSE
    while True:
        subscription = _get(cluster, wanted)
        if installed_csv(subscription) == wanted.csv:
            return Approval(changed=False)
        if check:
            return Approval(changed=True)
        plan = plan_of(_plans(cluster, wanted.namespace), wanted)
        if plan is not None:
            return _approved(cluster, plan)
        _stop_if_hopeless(subscription, wanted)
        if clock() - began >= timeout:
            raise ApprovalError(
                f"{wanted}: expected OLM to write an InstallPlan with {wanted.csv} within {timeout:.0f} s, found none"
                f"{_offered(subscription)}{_conditions(subscription)}. Does its channel have that version? See: "
                f"{wanted.look}"
            )
        sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def installed_csv(subscription: Mapping[str, Any] | None) -> str:
    """The version that a Subscription has installed, "" when it has none."""
    return str(((subscription or {}).get("status") or {}).get("installedCSV") or "")


def _offered(subscription: Mapping[str, Any] | None) -> str:
    """What OLM offers instead, as an appendix to a sentence."""
    status = (subscription or {}).get("status") or {}
    installed, offered = status.get("installedCSV"), status.get("currentCSV")
    return f"; {installed} is installed, {offered} is what it offers" if installed else ""


def plan_of(plans: Sequence[Object], wanted: Wanted) -> Object | None:
    """The newest InstallPlan with the wanted version that is not carried out yet, None when there is none (yet).

    OLM keeps plans that it carried out; one of those is left from an earlier installation of this version.
    Raises ApprovalError for one that failed and for one that would install something else, too.
    """
    with_it = [plan for plan in plans if wanted.csv in _names(plan) and _phase(plan) != "Complete"]
    if not with_it:
        return None
    plan = max(with_it, key=lambda item: str(item["metadata"].get("creationTimestamp", "")))
    where = f"InstallPlan {wanted.namespace}/{plan['metadata']['name']}"
    if _phase(plan) == "Failed":
        raise ApprovalError(
            f"{where}: expected it to install {wanted.csv}, found phase Failed{_conditions(plan)}. Correct the "
            f"cause and delete the InstallPlan; OLM writes a new one. See: {wanted.look}"
        )
    others = sorted(set(_names(plan)) - {wanted.csv})
    if others and not plan["spec"].get("approved"):
        raise ApprovalError(
            f"{where}: expected nothing but {wanted.csv}, found {', '.join(others)} with it; not approved. Approve "
            "it by hand if these may be installed or updated, or move their Subscriptions to a namespace of "
            "their own."
        )
    return plan


def _names(plan: Mapping[str, Any]) -> list[str]:
    found: list[str] = (plan.get("spec") or {}).get("clusterServiceVersionNames") or []
    return found


def _phase(plan: Mapping[str, Any]) -> str:
    return str((plan.get("status") or {}).get("phase") or "")


def _stop_if_hopeless(subscription: Object | None, wanted: Wanted) -> None:
    """A version is installed that is not older than the wanted one: OLM never goes back.

    An older one may be updated; OLM needs a moment to look into another channel.
    """
    installed = installed_csv(subscription)
    if installed and not may_become(installed, wanted.csv):
        raise ApprovalError(
            f"{wanted}: expected {wanted.csv}, found {installed} installed, from which OLM has no way there. Set "
            f"ownership of the layer to external to use what is installed, or delete the Subscription and the "
            f"ClusterServiceVersion {installed} and run again. See: {wanted.look}"
        )


def _approved(cluster: Cluster, plan: Object) -> Approval:
    metadata = plan["metadata"]
    if plan["spec"].get("approved"):
        return Approval(changed=False)
    name = {"name": metadata["name"], "namespace": metadata["namespace"]}
    cluster.merge_patch({"apiVersion": API, "kind": "InstallPlan", "metadata": name, "spec": {"approved": True}})
    return Approval(changed=True, plan=metadata["name"])


def _get(cluster: Cluster, wanted: Wanted) -> Object | None:
    try:
        return cluster.get(API, "Subscription", wanted.subscription, wanted.namespace)
    except errors.UnknownKind as error:
        raise ApprovalError(
            f"{wanted}: expected a cluster with OLM, found none ({error}). Provider openshift needs OpenShift."
        ) from error


def _plans(cluster: Cluster, namespace: str) -> list[Object]:
    return cluster.list(API, "InstallPlan", namespace)


def _conditions(obj: Mapping[str, Any] | None) -> str:
    """The conditions that say something, as an appendix to a sentence."""
    conditions = ((obj or {}).get("status") or {}).get("conditions") or []
    texts = [f"{item['type']}={item['status']} {item.get('message', '')}".strip() for item in conditions]
    return f" ({'; '.join(texts)})" if texts else ""
