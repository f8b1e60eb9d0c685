"""Reads from a cluster what preflight looks at: a few lists, asked at the same time.  Read-only.

(The question "may I create X?" is asked by creating a SelfSubjectAccessReview, and "would you admit X?" by a dry run;
the API server answers both and stores nothing.)
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_platform.cluster import charts as published
from inference_platform.cluster import crds, errors, run_lock, secrets
from inference_platform.cluster import helm as helm_program
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object, differences, stamp_of
from inference_platform.cluster.rights import Right, qualified
from inference_platform.preflight.snapshot import ENGINES, OWN_RELEASES, Refusal, Snapshot, dig

_SERVICE = "LLMInferenceService"

# Fields of a model whose change replaces its serving pods (models.md 3.8).
_OF_PODS = re.compile(r"spec\.(prefill\.)?(model|template|worker|labels|annotations|parallelism)\b")


@dataclass(frozen=True)
class Read:
    """One list: the part of the snapshot it fills, and of what; without a namespace of all."""

    part: str
    api_version: str
    kind: str
    metadata_only: bool = False
    label_selector: str = ""
    field_selector: str = ""
    namespace: str | None = None


_ADMISSION = "admissionregistration.k8s.io/v1"
_NOT_OF_MODELS = "app.kubernetes.io/part-of!=llminferenceservice"
_ENGINES = "infrastructure.opendatahub.io/v1alpha1"

#: What is listed.  Kinds that the cluster does not serve have no objects.
READS: tuple[Read, ...] = (
    Read("nodes", "v1", "Node"),
    Read("pods", "v1", "Pod", field_selector="status.phase!=Succeeded,status.phase!=Failed"),
    Read("namespaces", "v1", "Namespace"),
    Read("deployments", "apps/v1", "Deployment", label_selector=_NOT_OF_MODELS),
    Read("crds", crds.API_VERSION, crds.KIND, metadata_only=True),
    Read("validating_webhooks", _ADMISSION, "ValidatingWebhookConfiguration"),
    Read("mutating_webhooks", _ADMISSION, "MutatingWebhookConfiguration"),
    Read("admission_policies", _ADMISSION, "ValidatingAdmissionPolicy", metadata_only=True),
    Read("quotas", "v1", "ResourceQuota"),
    Read("limit_ranges", "v1", "LimitRange"),
    Read("load_balancers", "v1", "Service", field_selector="spec.type=LoadBalancer"),
    Read(
        "autoscaler_status",
        "v1",
        "ConfigMap",
        metadata_only=True,
        field_selector="metadata.name=cluster-autoscaler-status",
        namespace="kube-system",
    ),
    Read("storage_classes", "storage.k8s.io/v1", "StorageClass", metadata_only=True),
    Read("claims", "v1", "PersistentVolumeClaim"),
    Read("subscriptions", "operators.coreos.com/v1alpha1", "Subscription"),
    Read("operator_groups", "operators.coreos.com/v1", "OperatorGroup", metadata_only=True),
    Read("cluster_versions", "config.openshift.io/v1", "ClusterVersion"),
    Read("services", "serving.kserve.io/v1alpha2", "LLMInferenceService"),
    Read("leader_worker_sets", "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", metadata_only=True),
    Read(ENGINES, _ENGINES, "AWSKubernetesEngine"),
    Read(ENGINES, _ENGINES, "AzureKubernetesEngine"),
    Read(ENGINES, _ENGINES, "CoreWeaveKubernetesEngine"),
)


#: What is listed besides, for inventories that name something of it.
READS_ON_REQUEST: tuple[Read, ...] = (
    Read("gateways", "gateway.networking.k8s.io/v1", "Gateway"),
    Read("issuers", "cert-manager.io/v1", "ClusterIssuer"),
    Read("issuers", "cert-manager.io/v1", "Issuer"),
    Read("priority_classes", "scheduling.k8s.io/v1", "PriorityClass"),
    Read("authorities", "cert-manager.io/v1", "Certificate", field_selector="metadata.name=rhai-ca"),
    Read(
        OWN_RELEASES,
        "v1",
        "Secret",
        metadata_only=True,
        label_selector=f"owner=helm,{helm_program.LAYER_LABEL}",
    ),
)


def look(
    cluster: Cluster, *, helm: str | None = None, reads: Iterable[Read] = READS, besides: Container[str] = ()
) -> Snapshot:
    """Everything that is listed, and the helm program.

    helm     path of the helm program, as for `release.install`
    besides  parts of `READS_ON_REQUEST` that are wanted
    """
    seen = Snapshot(
        server=cluster.access.server,
        access=f"context {cluster.access.context} of {cluster.access.source}",
        version=cluster.version,
        helm=_helm(helm),
    )
    read_parts(cluster, seen, [*reads, *(read for read in READS_ON_REQUEST if read.part in besides)])
    return seen


def read_parts(cluster: Cluster, seen: Snapshot, reads: Iterable[Read]) -> None:
    """Adds the answers of these lists to what was seen; those the user may not have are noted."""
    cluster.discovery()  # once, before the workers ask for it
    wanted = [read for read in reads if cluster.discovery().find(read.api_version, read.kind)]
    with ThreadPoolExecutor(max_workers=cluster.workers) as pool:
        for read, answer in zip(wanted, pool.map(lambda read: _list(cluster, read), wanted), strict=True):
            if isinstance(answer, errors.Forbidden):
                seen.unseen[read.part] = answer.message
                seen.unlisted.setdefault(read.part, set()).add(qualified(read.api_version, read.kind))
            else:
                seen.parts.setdefault(read.part, []).extend(answer)


def _list(cluster: Cluster, read: Read) -> list[Object] | errors.Forbidden:
    try:
        return cluster.list(
            read.api_version,
            read.kind,
            read.namespace,
            label_selector=read.label_selector,
            field_selector=read.field_selector,
            metadata_only=read.metadata_only,
        )
    except errors.Forbidden as error:
        return error


def _helm(explicit: str | None) -> tuple[str, str] | None:
    try:
        found = helm_program.find(explicit)
    except helm_program.ReleaseError as error:
        return "none", str(error)
    version = helm_program.version(found)
    if version is not None and version < helm_program.OLDEST:
        return f"{found}: {'.'.join(map(str, version))}", "Install a newer Helm, then re-run."
    return None


def look_at_pull_secret(
    cluster: Cluster, seen: Snapshot, source: Mapping[str, str], registry: str, mirror: str = ""
) -> None:
    """Whether the Secret (namespace, name) has credentials for the registry, or for the mirror where there is one.

    What is in it goes nowhere.
    """
    place = (source["namespace"], source["name"])
    try:
        content = secrets.read_credentials(
            cluster, secrets.Credentials(secret=place), registry="" if mirror else registry
        )
    except errors.ClusterError as error:
        seen.pull_secret = str(error)
        return
    try:
        secrets.checked(content, f"Secret {'/'.join(place)}", mirror)
    except secrets.PullSecretError as error:
        seen.pull_secret_for_mirror = str(error)


# ---- models -----------------------------------------------------------------------------------------------


def changing_models(
    objects: Iterable[Object], services: Iterable[Object], pods: Iterable[Object]
) -> set[tuple[str, str]]:
    """Namespace and name of models whose running pods are replaced when the objects are applied.

    objects   rendered ones, LLMInferenceServices among them
    services  LLMInferenceServices as `look` found them
    pods      as `look` found them
    """
    wanted = {_key(item): item for item in objects if item["kind"] == _SERVICE}
    running = wanted.keys() & {_model_of(pod) for pod in pods}
    live = {_key(item): item for item in services}
    return {
        key
        for key in running & live.keys()
        if any(_OF_PODS.match(difference.path) for difference in differences(wanted[key], live[key]))
    }


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _model_of(pod: Object) -> tuple[str, str] | None:
    labels = pod["metadata"].get("labels") or {}
    if labels.get("app.kubernetes.io/part-of") != "llminferenceservice":
        return None
    return pod["metadata"].get("namespace", ""), labels.get("app.kubernetes.io/name", "")


# ---- rights -----------------------------------------------------------------------------------------------


def ask_for_rights(
    cluster: Cluster, seen: Snapshot, rights: Iterable[Right], homes: Mapping[tuple[str, str], Iterable[str]] = {}
) -> None:
    """Notes which rights the user lacks, and whether that to the Lease; one question when he is a cluster-admin.

    homes  (group, resource) -> the namespaces in which a right will do; what is listed is listed everywhere
    """
    wanted = list(rights)
    if not wanted or _may(cluster, ("*", "*", "*")):
        return
    with ThreadPoolExecutor(max_workers=cluster.workers) as pool:
        allowed = pool.map(lambda right: _may(cluster, right), wanted)
        lacking = [right for right, yes in zip(wanted, allowed, strict=True) if not yes]
        seen.denied |= dict.fromkeys(lacking, ())
        places = [(r, space) for r in lacking if r[2] != "list" for space in sorted(homes.get(r[:2], ()))]
        there = list(zip(places, pool.map(lambda place: _may(cluster, *place), places), strict=True))
        for right in {right for right, _ in places}:
            no = tuple(space for (asked, space), yes in there if asked == right and not yes)
            if no:
                seen.denied[right] = no
            else:
                del seen.denied[right]
        group = run_lock.API.partition("/")[0]
        of_lease = pool.map(lambda verb: _may(cluster, (group, "leases", verb), run_lock.NAMESPACE), run_lock.VERBS)
        seen.denied_lease += [verb for verb, yes in zip(run_lock.VERBS, of_lease, strict=True) if not yes]


def _may(cluster: Cluster, right: Right, namespace: str = "") -> bool:
    """Whether the user has a right in a namespace, or everywhere."""
    group, resource, verb = right
    where = {"namespace": namespace} if namespace else {}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"group": group, "resource": resource, "verb": verb, **where}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = cluster.request("POST", path, body=review, subject="ask for the rights of this user")
    return bool((answer.get("status") or {}).get("allowed"))


# ---- admission --------------------------------------------------------------------------------------------


#: Where pods are tried as long as no namespace of the platform is there.
SOMEWHERE = "default"


def try_admission(cluster: Cluster, seen: Snapshot, objects: Iterable[Object], instead_of: Iterable[str] = ()) -> None:
    """Notes which of the objects something refuses; dry runs only.

    Missing rights are no refusal (they have a check of their own), and neither is a webhook that cannot answer dry
    runs.

    instead_of  namespaces of the platform for which those in namespace ``default`` stand
    """
    absent = tuple(instead_of)
    with ThreadPoolExecutor(max_workers=cluster.workers) as pool:
        seen.refusals += filter(None, pool.map(lambda obj: _refusal(cluster, obj, absent), objects))


def _refusal(cluster: Cluster, obj: Object, absent: tuple[str, ...]) -> Refusal | None:
    try:
        cluster.apply(obj, dry_run=True, attempts=2)
    except errors.ApiError as error:
        words = error.message
        if not ("denied" in words or "failed calling webhook" in words or "violates PodSecurity" in words):
            return None
        space = obj["metadata"].get("namespace", "")
        where = f" in namespace {space}" if space else ""
        return Refusal(f"{obj['kind']} of the platform{where}", words, absent if space == SOMEWHERE else ())
    return None


def _pull_secrets(name: str | None) -> Object:
    """The part of a pod that names the pull secret, if there is one."""
    return {"imagePullSecrets": [{"name": name}]} if name else {}


def samples(
    image: str, pull_secret: str | None, namespace: str, spaces: Iterable[str], bindings: Iterable[tuple[str, str]] = ()
) -> list[Object]:
    """Objects like those of the platform, for dry runs.

    namespace  one of the platform, which need not be there
    spaces     namespaces that are there, for pods
    bindings   (namespace, Role) of RoleBindings that the platform has elsewhere
    """
    rbac = "rbac.authorization.k8s.io"
    bound = [
        _sample(f"{rbac}/v1", "RoleBinding", space, roleRef={"apiGroup": rbac, "kind": "Role", "name": role})
        for space, role in bindings
    ]
    return [
        _sample("v1", "Namespace", name=namespace),
        _sample(f"{rbac}/v1", "ClusterRole", rules=[]),
        *bound,
        *(obj for space in spaces for obj in _workload(image, pull_secret, space)),
    ]


def _workload(image: str, pull_secret: str | None, namespace: str) -> list[Object]:
    """A Deployment and a pod as the operators of the platform have them."""
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {
        "name": "preflight",
        "image": image,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, **security},
    }
    pod = {"containers": [container], "securityContext": security, **_pull_secrets(pull_secret)}
    labels = {"app": _SAMPLE, **_SAMPLE_LABELS}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"selector": {"matchLabels": {"app": _SAMPLE}}, "template": template}
    return [_sample("apps/v1", "Deployment", namespace, spec=spec), _sample("v1", "Pod", namespace, spec=pod)]


_SAMPLE = "inference-platform-preflight"
_SAMPLE_LABELS = {
    "app.kubernetes.io/part-of": "inference-platform",
    "app.kubernetes.io/managed-by": "inference-platform",
}


def _sample(api_version: str, kind: str, namespace: str = "", *, name: str = _SAMPLE, **more: Any) -> Object:
    place = {"namespace": namespace} if namespace else {}
    metadata = {"name": name, **place, "labels": _SAMPLE_LABELS}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def look_behind_webhooks(cluster: Cluster, seen: Snapshot, without: Iterable[str]) -> None:
    """Notes which Services of failing-closed webhooks have no ready pod, except those in namespaces ``without``."""
    ours = set(without)
    services = {
        (service["namespace"], service["name"])
        for part in ("validating_webhooks", "mutating_webhooks")
        for configuration in seen.of(part)
        for webhook in configuration.get("webhooks") or []
        if webhook.get("failurePolicy") != "Ignore" and (service := dig(webhook, "clientConfig", "service"))
    }
    wanted = sorted(key for key in services if key[0] not in ours)
    with ThreadPoolExecutor(max_workers=cluster.workers) as pool:
        seen.backends.update(zip(wanted, pool.map(lambda key: backend(cluster, *key), wanted), strict=True))


def backend(cluster: Cluster, namespace: str, name: str) -> str:
    """What is wrong with a Service, "" when nothing is (or it may not be seen)."""
    try:
        if cluster.get("v1", "Service", name, namespace) is None:
            return "no such Service"
        selector = f"kubernetes.io/service-name={name}"
        slices = cluster.list("discovery.k8s.io/v1", "EndpointSlice", namespace, label_selector=selector)
    except (errors.Forbidden, errors.UnknownKind):
        return ""
    endpoints = [endpoint for item in slices for endpoint in item.get("endpoints") or []]
    ready = any(dig(endpoint, "conditions", "ready", default=True) for endpoint in endpoints)
    return "" if ready else "no ready pod behind the Service"


# ---- charts of others -------------------------------------------------------------------------------------


def look_at_charts(
    seen: Snapshot,
    charts: Iterable[Mapping[str, Any]],
    *,
    helm: str | None = None,
    mirror: str | None = None,
    cache: str | Path | None = None,
) -> None:
    """Fetches the published charts of a plan, as `charts.locate` does, and notes those that cannot be had."""
    program = helm_program.find(helm)
    for chart in charts:
        try:
            published.locate(chart, program, mirror=mirror, cache=cache)
        except published.ChartError as error:
            seen.charts[chart["name"]] = (error.found, error.remedy)


# ---- CRDs -------------------------------------------------------------------------------------------------


def look_at_crds(
    cluster: Cluster,
    seen: Snapshot,
    sets: Mapping[str, Mapping[str, Any]],
    *,
    contested: Iterable[str] = (),
    directory: str | Path | None = None,
    mirror: str | None = None,
    cache: str | Path | None = None,
) -> None:
    """Notes CRDs that would lose a version in which objects are stored, or whose fields belong to somebody else.

    Only CRDs that would change are read, and tried as dry runs.

    sets       CRD sets of the plan that this installer applies; directory, mirror and cache as for `crds.locate`
    contested  sets whose fields are not to be taken from others
    """
    live = {item["metadata"]["name"]: stamp_of(item) for item in seen.of("crds")}
    not_ours, due = frozenset(contested), []
    for name, lock in sets.items():
        if any(entry["name"] in live for entry in lock["files"]):
            files = crds.locate(name, lock["files"], directory=directory, mirror=mirror, cache=cache)
            changed = (f for f in files if f.name in live and live[f.name] != f.sha256 and not f.only_if_absent)
            due += [(file, name in not_ours) for file in changed]
    with ThreadPoolExecutor(max_workers=cluster.workers) as pool:
        found = pool.map(lambda item: _look_at_crd(cluster, *item), due)
        for (file, _), (dropped, still, managers) in zip(due, found, strict=True):
            if dropped:
                seen.dropped[file.name], seen.still_stored[file.name] = dropped, still
            if managers:
                seen.conflicts[file.name] = managers


def _look_at_crd(cluster: Cluster, file: crds.CrdFile, contested: bool) -> tuple[list[str], list[str], list[str]]:
    """(stored versions that go, those that stay, managers that have fields with other values)."""
    live = cluster.get(crds.API_VERSION, crds.KIND, file.name)
    if live is None:
        return [], [], []
    wanted = crds.parse(file)
    dropped = crds.dropped_versions(wanted, live)
    if dropped or not contested:
        return dropped, crds.still_stored(wanted, live), []
    try:
        cluster.apply(crds.prepare(wanted, file.sha256, None), dry_run=True)
    except errors.Conflict as error:
        return [], [], sorted({field.manager for field in error.fields()})
    except errors.ApiError:
        return [], [], []  # the apply itself will say it
    return [], [], []
