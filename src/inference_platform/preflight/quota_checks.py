"""The check of quotas: what pods must say there, and the room that is left for those of models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from typing import Any

from inference_platform.cluster.objects import Object
from inference_platform.findings import WARNING
from inference_platform.models.capacity.demand import PREFILL, SCHEDULER, SERVING, Key, of_objects, of_service
from inference_platform.models.capacity.resources import PODS, add, amount, pod_requests, text
from inference_platform.preflight.detection import OUR_LABEL
from inference_platform.preflight.registry import Objection, Scene, check, listed
from inference_platform.preflight.snapshot import dig, labels_of, place

_QUOTA = "ResourceQuota"
_SERVICE = "LLMInferenceService"

#: requests or limits, and of what.
Said = tuple[str, str]

#: What every container must say where a quota has one of these names (the others ask for nothing).
_MUST_SAY: dict[str, Said] = {
    "cpu": ("requests", "cpu"),
    "memory": ("requests", "memory"),
    **{f"{kind}.{resource}": (kind, resource) for kind in ("requests", "limits") for resource in ("cpu", "memory")},
}
#: The preset of the scheduler brings these for its containers (models.md 2.5); presets of serving pods bring none.
_OF_SCHEDULER: Set[Said] = {("requests", "cpu"), ("requests", "memory")}


@check("IP-PRE-034", "Quotas leave room for our pods", reads=["quotas", "limit_ranges"], severity=WARNING)
def quotas(scene: Scene) -> Iterator[Objection]:
    """Quotas of the inventory count as the run sets them; IP-PLT-027 has told what room those lack."""
    planned = [item for item in scene.plan["capacity"] if item["kind"] == _QUOTA]
    anew = {place(item) for item in planned}
    found = [item for item in scene.seen.of("quotas") if place(item) not in anew and _is_of_all_pods(item)]
    for quota in (*found, *planned):
        yield from _unsaid(scene, quota)
    for quota in found:
        yield from _full(scene, quota)


def _is_of_all_pods(quota: Object) -> bool:
    return not (dig(quota, "spec", "scopes") or dig(quota, "spec", "scopeSelector"))


# ---- what pods must say -----------------------------------------------------------------------------------


def _unsaid(scene: Scene, quota: Object) -> Iterator[Objection]:
    """Pods that are refused since they do not say what a quota is about."""
    space = quota["metadata"]["namespace"]
    defaults = _defaults(scene, space)
    asked = [name for name in sorted(_hard(quota)) if name in _MUST_SAY and _MUST_SAY[name] not in defaults]
    limits = [name for name in asked if name.startswith("limits.")]
    if space in scene.namespaces and limits:
        yield Objection(
            place(quota),
            "no quota on limits, or a LimitRange with defaults",
            f"a quota on {', '.join(limits)}",
            "Add a LimitRange with default limits: pods of the platform without limits are refused otherwise.",
        )
    pods = [pod for model in _models(scene, space) for pod in _pods(model)]
    silent = {name: [words for words, said in pods if _MUST_SAY[name] not in said] for name in asked}
    if any(silent.values()):
        told = [f"{name} by {listed(words)}" for name, words in silent.items() if words]
        yield Objection(
            place(quota),
            "containers that say what the quota is about, or a LimitRange with defaults",
            f"not said: {'; '.join(told)}",
            "Add a LimitRange with default and defaultRequest for type Container to the namespace, or say it in "
            "resources of the models (a scheduler has no such field): these pods are refused otherwise.",
        )


def _defaults(scene: Scene, space: str) -> set[Said]:
    """What the API server fills in for containers that do not say it."""
    found: set[Said] = set()
    for item in scene.seen.of("limit_ranges"):
        for limit in dig(item, "spec", "limits", default=[]) if item["metadata"]["namespace"] == space else ():
            if limit.get("type") == "Container":
                found |= _said({"limits": limit.get("default"), "requests": limit.get("defaultRequest")})
    return found


def _pods(model: Mapping[str, Any]) -> Iterator[tuple[str, Set[Said]]]:
    """The kinds of pods of a model in words, and what all their containers say.

    Of a model that is built on configurations of somebody's own nothing is known.
    """
    spec, name = model["spec"], model["metadata"]["name"]
    roles = set() if spec.get("baseRefs") else {item.role for item in of_service(model).sets}
    for role, block in ((SERVING, spec), (PREFILL, dig(spec, "prefill", default={}))):
        for part in ("template", "worker"):
            if role in roles and part in block:
                yield f"{name} ({role})", _said_by_all(block[part])
    if SCHEDULER in roles:
        template = dig(spec, "router", "scheduler", "template", default={})
        yield f"{name} ({SCHEDULER})", _OF_SCHEDULER | _said_by_all(template)


def _said_by_all(pod: Mapping[str, Any]) -> set[Said]:
    """What each container of a pod says; the container main comes with the preset if it is not there."""
    containers = [*(pod.get("containers") or []), *(pod.get("initContainers") or [])]
    if not any(item["name"] == "main" for item in containers):
        return set()
    return set.intersection(*(_said(item.get("resources") or {}) for item in containers))


def _said(resources: Mapping[str, Any]) -> set[Said]:
    """The API server takes a limit for a request that is not given."""
    limits, requests = (resources.get(kind) or {} for kind in ("limits", "requests"))
    return {("limits", name) for name in limits} | {("requests", name) for name in {*limits, *requests}}


# ---- room -------------------------------------------------------------------------------------------------


def _full(scene: Scene, quota: Object) -> Iterator[Objection]:
    """What the models of this inventory ask for at least, and what the quota leaves them."""
    space = quota["metadata"]["namespace"]
    wanted = _wanted(scene, space)
    taken = _taken(scene, space)
    for name, hard in sorted(_hard(quota).items()):
        resource = _resource(name)
        needed, others = wanted[resource], taken[resource]
        if needed and needed > amount(resource, hard) - others:
            of_others = f", of which others hold {text(resource, others)}" if others else ""
            yield Objection(
                place(quota),
                f"room for {text(resource, needed)}",
                f"{name}: {hard}{of_others}",
                "Raise the quota, or lower replicas; the pods beyond it are not created.",
            )


def _wanted(scene: Scene, space: str) -> Counter[str]:
    """What pods of models ask for in a namespace, without the pods that a rollout starts beside the old ones."""
    wanted: Counter[str] = Counter()
    for item in (item for demand in of_objects(_models(scene, space)) for item in demand.sets):
        for needs in item.pods:
            # How much a scheduler asks for differs by release.
            requests = {PODS: 1} if item.role == SCHEDULER else dict(needs.requests)
            add(wanted, {resource: count * item.replicas for resource, count in requests.items()})
    return wanted


def _taken(scene: Scene, space: str) -> Counter[str]:
    """What the pods of others hold there.

    Those of every model of this installer are left out: the run replaces or removes them. What is being deleted will be
    free.
    """
    ours = {_key(item) for item in scene.models} | {
        _key(item) for item in scene.seen.of("services") if OUR_LABEL in labels_of(item)
    }
    taken: Counter[str] = Counter()
    for pod in scene.seen.of("pods"):
        metadata = pod["metadata"]
        if metadata["namespace"] == space and not metadata.get("deletionTimestamp") and _model_of(pod) not in ours:
            add(taken, pod_requests(pod["spec"]))
    return taken


def _resource(name: str) -> str:
    """What pods ask for under a name of a quota; no pod asks for what has another name."""
    if "/" in name and not name.startswith("requests."):
        return PODS if name == f"count/{PODS}" else ""  # of devices, the requests alone are counted
    return name.removeprefix("requests.")


def _hard(quota: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = dig(quota, "spec", "hard", default={})
    return found


def _models(scene: Scene, space: str) -> list[Mapping[str, Any]]:
    return [item for item in scene.models if item["kind"] == _SERVICE and item["metadata"]["namespace"] == space]


def _model_of(pod: Object) -> Key | None:
    """The model that KServe made a pod for."""
    labels = labels_of(pod)
    if labels.get("app.kubernetes.io/part-of") != "llminferenceservice":
        return None
    return pod["metadata"]["namespace"], labels.get("app.kubernetes.io/name", "")


def _key(item: Mapping[str, Any]) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
