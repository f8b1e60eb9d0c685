"""Whether a model serves, and if not, why: one LLMInferenceService in, a sentence out.  Pure.

Conditions and reasons are those of models.md 1.6; what is normal for a moment and what lasts is known from watching
the controllers (observed-gateway.md 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inference_platform.cluster import diagnose
from inference_platform.cluster.objects import Object
from inference_platform.models.addresses import EXTERNAL_ADDRESS

SERVING, STOPPED = "serving", "stopped"
STOP_ANNOTATION = "serving.kserve.io/stop"

#: Conditions in the order in which one waits for the other: the first that is not True is the reason.
_ORDER = (
    *("PresetsCombined", "MainWorkloadReady", "WorkerWorkloadReady", "PrefillWorkloadReady"),
    *("PrefillWorkerWorkloadReady", "WorkloadsReady", "GatewaysReady", "SchedulerWorkloadReady"),
    *("HTTPRoutesReady", "InferencePoolReady", "RouterReady", "Ready"),
)


@dataclass(frozen=True)
class Verdict:
    """Whether the model is as wanted; else why not, what that means, and what to do when it lasts.

    hopeless  waiting alone will not help: somebody has to change something
    """

    ready: bool
    why: str = ""
    meaning: str = ""
    remedy: str = ""
    hopeless: bool = False


@dataclass(frozen=True)
class Known:
    """What a condition's reason (or a text in its message) means; empty fields fit all.

    hopeless  when it lasts, it does not go away by itself
    """

    condition: str
    reason: str
    contains: str
    meaning: str
    remedy: str
    hopeless: bool = False

    def fits(self, condition: Mapping[str, Any]) -> bool:
        """Whether this is about that condition."""
        return (
            self.condition in ("", condition.get("type"))
            and self.reason in ("", condition.get("reason"))
            and self.contains in str(condition.get("message") or "")
        )


@dataclass(frozen=True)
class Surroundings:
    """What the platform is like: where KServe runs, and whether its gateway is to have an address from outside."""

    system_namespace: str
    address_required: bool = True


KNOWN = (
    Known(
        "HTTPRoutesReady",
        "",
        "InvalidKind",
        "KServe moves the route to the kind of pool that this gateway knows, as it does for every new route; "
        "normal for a second or two",
        "If it stays, compare the route's status with its annotation serving.kserve.io/inference-pool-migrated: "
        "deleting the HTTPRoute lets KServe begin anew.",
    ),
    Known(
        "HTTPRoutesReady",
        "",
        "BackendNotFound",
        "the gateway has not seen the new pool yet; normal for a moment",
        "If it stays, make what the message names, or correct the name in a route of your own.",
        hopeless=True,
    ),
    Known(
        "HTTPRoutesReady",
        "",
        "NotAllowedByListeners",
        "the gateway lets no route of this namespace in; requests would be answered with 404",
        "Change allowedRoutes of the Gateway's listener, give namespace {namespace} the label that it asks for, or "
        "name another gateway in router.gateways.",
        hopeless=True,
    ),
    Known(
        "HTTPRoutesReady",
        "",
        "NoMatching",
        "the gateway has no listener with the name, port or host name that the route asks for",
        "Correct section_name in router.gateways or router.hostnames, or add the listener.",
        hopeless=True,
    ),
    Known(
        "HTTPRoutesReady",
        "",
        "RefNotPermitted",
        "the route leads to another namespace, which has not granted that",
        "Add a ReferenceGrant in the namespace of the backend. Routes in model_routes get theirs from this installer.",
        hopeless=True,
    ),
    Known(
        "",
        "RefsInvalid",
        "HTTPRoute",
        "the model names a route, or its route a gateway, that does not exist",
        "Correct router.routes or router.gateways; no restart is needed.",
        hopeless=True,
    ),
    Known(
        "HTTPRoutesReady",
        "HTTPRouteReconcileError",
        "the object has been modified",
        "KServe and the gateway wrote to the route at the same moment; KServe repeats it at once",
        "If it stays, look who else writes to the HTTPRoute: its metadata.managedFields name them.",
    ),
    Known(
        "",
        "RefsInvalid",
        "",
        "the model names a gateway that does not exist",
        "Correct router.gateways, or install the inference gateway with site.yml; no restart is needed.",
        hopeless=True,
    ),
    Known(
        "InferencePoolReady",
        "",
        "HTTPRouteNotAccepted",
        "a route that leads to the model's pool is not let in by its gateway; KServe counts the model as not ready "
        "then, even when its own route is good",
        "Correct or remove the route that the message names.",
        hopeless=True,
    ),
    Known(
        "InferencePoolReady",
        "InferencePoolFetchError",
        "not found",
        "the model brings no pool of its own and names one that does not exist",
        "Correct router.pool, or make the InferencePool.",
        hopeless=True,
    ),
    Known(
        "",
        "GatewaysNotReady",
        "",
        "the gateway is not Programmed: it has no address yet",
        "Look at the LoadBalancer Service beside the Gateway and at the events of the cloud's load balancer.",
    ),
    Known(
        "InferencePoolReady",
        "WaitingForGateway",
        "",
        "no gateway has accepted the pool yet; normal for some seconds",
        "If it stays: a scheduler needs a route, and the gateway's implementation must support InferencePool "
        "(istiod with ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true).",
    ),
    Known(
        "SchedulerWorkloadReady",
        "SchedulerReconcileError",
        "no matches for kind",
        "the CRDs of the inference extension were missing when KServe started",
        "Install them with site.yml; KServe tries again by itself.",
    ),
    Known(
        "SchedulerWorkloadReady",
        "",
        "",
        "the scheduler restarts whenever the addresses of the model's pods change, also right after creation, and "
        "its readiness is asked for after 30 seconds only; normal for that long",
        "If it stays, read the log of its pod: `kubectl -n {namespace} logs deploy/{name}-kserve-router-scheduler`.",
    ),
    Known(
        "PresetsCombined",
        "",
        "",
        "KServe cannot put the model together from its presets, and makes nothing until it can",
        "Check that the presets of the release are there: `kubectl -n {system} get llminferenceserviceconfigs`.",
    ),
    Known(
        "",
        "",
        'no matches for kind "LeaderWorkerSet"',
        "models over several nodes need LeaderWorkerSet, which is not installed",
        "Install it with site.yml (layer lws); KServe tries again by itself.",
    ),
    Known(
        "",
        "ScalingCRDNotFound",
        "",
        "autoscaling needs CRDs that the cluster does not have",
        "Install the workload variant autoscaler (and KEDA, if the model uses it), or give `replicas` instead.",
    ),
    Known(
        "",
        "ProgressDeadlineExceeded",
        "",
        "pods did not become ready within the deadline of their Deployment; KServe goes on waiting",
        "Look at the pods: `kubectl -n {namespace} get pods -l app.kubernetes.io/name={name}`.",
    ),
    Known(
        "",
        "MinimumReplicasUnavailable",
        "",
        "pods start, load the model or wait for a node",
        "Look at the pods: `kubectl -n {namespace} get pods -l app.kubernetes.io/name={name}`.",
    ),
    *(
        Known(
            condition,
            "",
            "",
            "a replica is a group of pods on several nodes, which is ready when its leader and all its workers are; "
            "they load the model or wait for nodes",
            "Look at the groups: `kubectl -n {namespace} get leaderworkersets,pods -l app.kubernetes.io/name={name}`.",
        )
        for condition in ("WorkerWorkloadReady", "PrefillWorkerWorkloadReady")
    ),
    Known(
        "",
        "Progressing",
        "",
        "pods start, load the model or wait for a node",
        "Look at the pods: `kubectl -n {namespace} get pods -l app.kubernetes.io/name={name}`.",
    ),
)


def judge(
    model: Object | None, around: Surroundings, wanted: str = SERVING, workloads: Iterable[Object] = ()
) -> Verdict:
    """Whether a model (None: it is not there) is as wanted: SERVING, or STOPPED (kept, without pods and route).

    workloads  the Deployments and LeaderWorkerSets of its serving pods
    """
    if model is None:
        return Verdict(False, "it does not exist", "", "Somebody deleted it: run again.")
    if model["metadata"].get("deletionTimestamp"):
        return Verdict(False, "it is being deleted")
    conditions = {c.get("type"): c for c in (model.get("status") or {}).get("conditions") or []}
    stale = _stale(model, around)
    if stale is not None:
        return stale
    ready = conditions.get("Ready", {})
    if wanted == STOPPED:
        stopped = ready.get("reason") == "Stopped"
        return Verdict(stopped, "" if stopped else "it has not stopped yet")
    if ready.get("status") == "True":
        return _rolled_out(model, workloads) or _reachable(model, around)
    if ready.get("reason") == "Stopped":
        mark = (model["metadata"].get("annotations") or {}).get(STOP_ANNOTATION)
        return Verdict(False, "it is stopped" if mark else "it has not started again yet")
    return _explained(model, conditions, around)


def has_external_address(model: Object) -> bool:
    """Whether the model has an address from outside the cluster.

    With `gateway: {}` a model is Ready although its gateway has none (observed-gateway.md 5.4); `status.url` is
    empty then.
    """
    status = model.get("status") or {}
    return bool(status.get("url")) or any(a.get("name") == EXTERNAL_ADDRESS for a in status.get("addresses") or [])


def _stale(model: Object, around: Surroundings) -> Verdict | None:
    """The verdict when the status is not about the present generation."""
    status = model.get("status") or {}
    generation, observed = model["metadata"].get("generation", 0), status.get("observedGeneration")
    remedy = (
        f"Look at the controller: `kubectl -n {around.system_namespace} get deployment llmisvc-controller-manager`."
    )
    if not status.get("conditions"):
        return Verdict(False, "KServe has not looked at it yet", "", remedy)
    if observed is not None and observed < generation:
        text = f"KServe has not seen its newest version yet (generation {generation}, seen {observed})"
        return Verdict(False, text, "", remedy)
    return None


def _rolled_out(model: Object, workloads: Iterable[Object]) -> Verdict | None:
    """The verdict while pods of an earlier version still run: Ready stays True through a rollout (5.5)."""
    gap = next(
        (
            f"{obj.get('kind', 'Deployment')} {obj['metadata']['name']}: {gap}"
            for obj in workloads
            if (gap := rollout_gap(obj))
        ),
        None,
    )
    if gap is None:
        return None
    metadata = model["metadata"]
    return Verdict(
        False,
        f"its pods are not all of the newest version: {gap}",
        "KServe calls a model Ready while its old pods serve; a new pod starts beside an old one and needs a GPU of "
        "its own",
        f"Look at the pods: `kubectl -n {metadata.get('namespace')} get pods -l "
        f"app.kubernetes.io/name={metadata['name']}`.",
    )


def rollout_gap(workload: Object) -> str | None:
    """What a Deployment or LeaderWorkerSet lacks to run as many new pods (or groups) as it shall, and no old ones."""
    status, wanted = workload.get("status") or {}, (workload.get("spec") or {}).get("replicas", 1)
    observed = status.get("observedGeneration")  # a LeaderWorkerSet has none
    if observed is not None and observed < workload["metadata"].get("generation", 0):
        return "its controller has not seen the newest version yet"
    if wanted == 0:
        return None
    updated = status.get("updatedReplicas") or 0
    ready = status.get("availableReplicas", status.get("readyReplicas")) or 0
    if updated < wanted or ready < wanted:
        return f"{updated} of {wanted} replicas updated, {ready} available"
    surplus = (status.get("replicas") or 0) - updated
    return f"{surplus} old replicas still running" if surplus > 0 else None


def _reachable(model: Object, around: Surroundings) -> Verdict:
    routed = "route" in ((model.get("spec") or {}).get("router") or {})
    if not (around.address_required and routed) or has_external_address(model):
        return Verdict(True)
    return Verdict(
        False,
        "it is Ready, but has no address from outside",
        "KServe counts a model with the default gateway as Ready before the gateway has an address",
        "Look at the LoadBalancer Service beside the Gateway and at the events of the cloud's load balancer.",
    )


def _explained(model: Object, conditions: Mapping[Any, Mapping[str, Any]], around: Surroundings) -> Verdict:
    failing = [conditions[kind] for kind in _ORDER if conditions.get(kind, {}).get("status", "True") != "True"]
    telling = next((c for c in failing if c.get("reason") or c.get("message")), None) or next(iter(failing), None)
    if telling is None:
        return Verdict(False, "KServe has not reported the condition Ready yet")
    known = next((item for item in KNOWN if item.fits(telling)), None)
    metadata = model["metadata"]
    place = {
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "system": around.system_namespace,
    }
    return Verdict(
        False,
        diagnose.condition_text(telling),
        known.meaning if known else "",
        known.remedy.format(**place) if known else "",
        known.hopeless if known else False,
    )
