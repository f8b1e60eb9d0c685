"""Looks at a cluster before the first write: version, rights, helm, nodes.  Read-only.

(The question "may I create X?" is asked by creating a SelfSubjectAccessReview, which the API server answers and does
not store.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from inference_platform.cluster import errors
from inference_platform.cluster import helm as helm_program
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object, differences
from inference_platform.findings import ERROR, WARNING, Finding

OLDEST, OLDEST_TESTED = (1, 30), (1, 33)

_SERVICE = "LLMInferenceService"

# Fields of a model whose change replaces its serving pods (models.md 3.8).
_OF_PODS = re.compile(r"spec\.(prefill\.)?(model|template|worker|labels|annotations|parallelism)\b")

# (group, resource, verb) of the writes that an installation makes at the least; namespaced ones are asked for
# all namespaces.
MAIN_WRITES: tuple[tuple[str, str, str], ...] = (
    ("", "namespaces", "create"),
    ("", "secrets", "patch"),
    ("", "secrets", "create"),
    ("", "serviceaccounts", "create"),
    ("apps", "deployments", "create"),
    ("rbac.authorization.k8s.io", "clusterroles", "create"),
    ("rbac.authorization.k8s.io", "clusterroles", "escalate"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "create"),
    ("apiextensions.k8s.io", "customresourcedefinitions", "patch"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "create"),
    ("serving.kserve.io", "llminferenceservices", "patch"),
)


@dataclass
class Preflight:
    """What was found: server version ("1.34"), nodes and pods as the server gives them, and findings.

    sees_nodes  whether nodes and pods were asked for and may be seen
    """

    version: str = ""
    sees_nodes: bool = False
    nodes: list[Object] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def examine(
    cluster: Cluster,
    *,
    writes: Iterable[tuple[str, str, str]] = MAIN_WRITES,
    helm: str | None = None,
    capacity: bool = True,
) -> Preflight:
    """Examines the cluster that `Cluster.connect` reached.  Problems come as findings, all at once.

    helm      path of the helm program, as for `release.install`
    capacity  also read nodes and pods that run or wait (for the GPU capacity check)
    """
    found = Preflight(version=version_text(cluster.version))
    found.findings += check_version(cluster.version, cluster.access.server)
    found.findings += _check_helm(helm)
    found.findings += _check_rights(cluster, writes)
    if capacity:
        try:
            found.nodes = cluster.list("v1", "Node")
            found.pods = cluster.list("v1", "Pod", field_selector="status.phase!=Succeeded,status.phase!=Failed")
            found.sees_nodes = True
        except errors.Forbidden as error:
            found.findings.append(
                Finding(
                    "cluster-capacity-unknown",
                    WARNING,
                    cluster.access.server,
                    "the right to list nodes and pods",
                    error.message,
                    "Grant it to have GPU capacity checked before models are applied.",
                )
            )
    return found


def changing_models(cluster: Cluster, objects: Iterable[Object], pods: Iterable[Object]) -> set[tuple[str, str]]:
    """Namespace and name of models whose running pods are replaced when the objects are applied.

    objects  rendered ones, LLMInferenceServices among them
    pods     as `examine` found them; when none belongs to a model, nothing is asked of the cluster
    """
    wanted = {_key(item): item for item in objects if item["kind"] == _SERVICE}
    running = wanted.keys() & {_model_of(pod) for pod in pods}
    if not running:
        return set()
    api_version = next(iter(wanted.values()))["apiVersion"]
    live = {_key(item): item for item in cluster.list(api_version, _SERVICE)}
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


def version_text(version: Mapping[str, Any]) -> str:
    """ "1.34" from the answer of /version, "" when it does not say."""
    numbers = _numbers(version)
    return f"{numbers[0]}.{numbers[1]}" if numbers else ""


def check_version(version: Mapping[str, Any], server: str) -> list[Finding]:
    """Findings about the server's version: too old is an error, older than what was tested a warning."""
    numbers, shown = _numbers(version), str(version.get("gitVersion") or "nothing")
    oldest, tested = (".".join(map(str, pair)) for pair in (OLDEST, OLDEST_TESTED))
    if numbers is None:
        remedy = "Check by hand that the server is new enough."
        return [Finding("cluster-version-unknown", WARNING, server, f"Kubernetes {oldest} or newer", shown, remedy)]
    if numbers < OLDEST:
        remedy = "Upgrade the cluster."
        return [Finding("cluster-version-old", ERROR, server, f"Kubernetes {oldest} or newer", shown, remedy)]
    if numbers < OLDEST_TESTED:
        remedy = "Go on if you must; plan an upgrade of the cluster."
        return [
            Finding(
                "cluster-version-untested", WARNING, server, f"Kubernetes {tested} or newer (tested)", shown, remedy
            )
        ]
    return []


def _numbers(version: Mapping[str, Any]) -> tuple[int, int] | None:
    """(major, minor): providers write the minor as "33+"."""
    major, minor = (re.match(r"\d+", str(version.get(key) or "")) for key in ("major", "minor"))
    return (int(major[0]), int(minor[0])) if major and minor else None


def _check_helm(explicit: str | None) -> list[Finding]:
    oldest = ".".join(map(str, helm_program.OLDEST))
    try:
        found = helm_program.find(explicit)
    except helm_program.ReleaseError as error:
        return [Finding("helm-missing", ERROR, "this machine", f"helm {oldest} or newer", "none", str(error))]
    version = helm_program.version(found)
    if version is not None and version < helm_program.OLDEST:
        shown = ".".join(map(str, version))
        return [
            Finding("helm-old", ERROR, found, f"helm {oldest} or newer", shown, "Install a newer Helm, then re-run.")
        ]
    return []


def _check_rights(cluster: Cluster, writes: Iterable[tuple[str, str, str]]) -> list[Finding]:
    wanted = list(writes)
    with ThreadPoolExecutor(max_workers=cluster.workers) as pool:
        allowed = list(pool.map(lambda write: _may(cluster, *write), wanted))
    denied = [write for write, yes in zip(wanted, allowed, strict=True) if not yes]
    if not denied:
        return []
    texts = [f"{verb} {resource}{f'.{group}' if group else ''}" for group, resource, verb in denied]
    return [
        Finding(
            "cluster-rights",
            ERROR,
            f"context {cluster.access.context} of {cluster.access.source}",
            "the right to install (cluster-admin)",
            f"no right to {', '.join(texts)}",
            "Use a context with cluster-admin, or have it granted: `kubectl create clusterrolebinding NAME "
            "--clusterrole cluster-admin --user USER`.",
        )
    ]


def _may(cluster: Cluster, group: str, resource: str, verb: str) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"group": group, "resource": resource, "verb": verb}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = cluster.request("POST", path, body=review, subject="ask for the rights of this user")
    return bool((answer.get("status") or {}).get("allowed"))
