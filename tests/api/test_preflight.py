"""Preflight on a real API server: what a cluster has is found as it really shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object
from inference_platform.findings import Finding
from inference_platform.models import render
from inference_platform.platform import resolve
from inference_platform.preflight import examine, outcome
from tests.support.clusters import EmbeddedCluster, running_cluster, wait_for

pytestmark = pytest.mark.cluster

ADMISSION = "admissionregistration.k8s.io/v1"
ROUTES = "httproutes.gateway.networking.k8s.io"
NOWHERE = {"service": {"name": "gone", "namespace": "preflight-test", "path": "/"}}
#: Selects nothing, so that pods can be made.
NOBODY = {"matchLabels": {"preflight-test": "nobody"}}
CLAIM = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}
SAMPLE = "object.metadata.name != 'inference-platform-preflight'"


@pytest.fixture(scope="module")
def own(tools_folder: Path) -> Iterator[EmbeddedCluster]:
    """A cluster of its own: what is put there would be in the way of other tests."""
    with running_cluster(f"test-preflight-{os.getpid()}", tools_folder) as cluster:
        yield cluster


def policy(*namespaces: str) -> list[Object]:
    """A policy that admits no Deployment with the name of the sample; in these namespaces, or in all."""
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": SAMPLE, "message": "images must come from registry.example.org"}],
    }
    binding: Object = {"policyName": "preflight-test", "validationActions": ["Deny"]}
    if namespaces:
        chosen = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(namespaces)}
        binding["matchResources"] = {"namespaceSelector": {"matchExpressions": [chosen]}}
    return [
        obj(ADMISSION, "ValidatingAdmissionPolicy", "preflight-test", spec=spec),
        obj(ADMISSION, "ValidatingAdmissionPolicyBinding", "preflight-test", spec=binding),
    ]


def obj(api_version: str, kind: str, name: str, namespace: str = "", **more: Any) -> Object:
    metadata: Object = {"name": name, **more.pop("metadata", {}), **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def webhook() -> Object:
    """A webhook that was left behind, without what it pointed to."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    entry = {
        "name": "gone.example.org",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": NOWHERE,
        "rules": [rule],
        "objectSelector": NOBODY,
    }
    return obj(ADMISSION, "ValidatingWebhookConfiguration", "preflight-test", webhooks=[entry])


def crd(version: str) -> Object:
    """A CRD of the Gateway API, in a version of its own making."""
    plural, _, group = ROUTES.partition(".")
    marks = {
        "gateway.networking.k8s.io/bundle-version": version,
        "gateway.networking.k8s.io/channel": "standard",
        "api-approved.kubernetes.io": "https://example.org",
    }
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    spec = {
        "group": group,
        "scope": "Namespaced",
        "names": {"plural": plural, "kind": "HTTPRoute"},
        "versions": [{"name": "v1beta7", "served": True, "storage": True, "schema": schema}],
    }
    found = obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", ROUTES, spec=spec)
    return {**found, "metadata": {"name": ROUTES, "annotations": marks}}


def spoil(cluster: Cluster) -> None:
    """All of it at once."""
    restricted = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    for thing in (
        *policy(),
        webhook(),
        crd("v9.9.9"),
        obj("v1", "Namespace", "istio-system"),
        obj("v1", "Namespace", "preflight-models", metadata=restricted),
        obj("v1", "PersistentVolumeClaim", "claim", "preflight-models", spec=CLAIM),
        obj("v1", "ResourceQuota", "preflight-test", "istio-system", spec={"hard": {"limits.cpu": "1"}}),
    ):
        cluster.apply(thing, manager="somebody")


def look(cluster: Cluster, own: EmbeddedCluster) -> outcome.Outcome:
    """A preflight for a cluster without cloud manager, with one model."""
    settings = {"platform_release": "3.4", "provider": "generic"}
    model = {"name": "m", "namespace": "preflight-models", "uri": "pvc://claim/m", "credentials_secret": "hf"}
    rendered = render([{**model, "replicas": 0, "gpu": {"count": 1}}], {}, resolve(settings).to_dict())
    assert rendered.ok
    helm, source = str(own.tools / "bin" / "helm"), examine.CrdSource(own.tools / "crds")
    return examine.examine(cluster, settings, rendered, helm=helm, crd_source=source).outcome


def test_a_policy_for_a_namespace_in_which_the_platform_never_writes_stops_nothing(own: EmbeddedCluster) -> None:
    cluster = Cluster.connect(str(own.paths.kubeconfig))

    def refusal_in(namespace: str) -> Finding | None:
        """The API server takes a moment to act by a new policy."""
        found = [item for item in look(cluster, own).findings if item.code == "IP-PRE-030"]
        return next((item for item in found if namespace in item.where), None)

    def forbid(*namespaces: str) -> None:
        for thing in policy(*namespaces):
            cluster.apply(thing, manager="somebody", force=True)

    forbid("default")
    hint: Any = wait_for("a policy for default", lambda: refusal_in("default"), 60)
    assert hint.severity == "warning"
    assert "those of the platform are not there yet" in hint.where
    assert "istio-system" in hint.remedy
    cluster.apply(obj("v1", "Namespace", "istio-system"), manager="somebody")
    assert [item.code for item in look(cluster, own).findings if item.code == "IP-PRE-030"] == []
    forbid("default", "istio-system")
    finding: Any = wait_for("a policy for istio-system", lambda: refusal_in("istio-system"), 60)
    assert (finding.severity, finding.where) == ("error", "Deployment of the platform in namespace istio-system")
    for thing in reversed(policy()):
        cluster.delete(thing)
    wait_for("no policy", lambda: refusal_in("istio-system") is None, 60)


def test_what_stands_in_the_way_is_found(own: EmbeddedCluster) -> None:
    cluster = Cluster.connect(str(own.paths.kubeconfig))
    assert [(finding.code, finding.found) for finding in look(cluster, own).findings] == [
        ("IP-MOD-128", '"hf", which does not exist'),
        ("IP-MOD-128", '"claim", which does not exist'),
    ]
    spoil(cluster)

    def found() -> dict[str, str] | None:
        """The API server takes a moment to act by a new policy."""
        seen = {finding.code: finding.found for finding in look(cluster, own).findings}
        return seen if {"IP-PRE-030", "IP-PRE-040"} <= seen.keys() else None

    findings: Any = wait_for("policy and stored version", found, 60)
    assert "images must come from registry.example.org" in findings.pop("IP-PRE-030")
    assert findings == {
        "IP-MOD-128": '"hf", which does not exist',
        "IP-PRE-020": "none named, and none is the default",
        "IP-PRE-031": "no such Service",
        "IP-PRE-033": "restricted",
        "IP-PRE-034": "a quota on limits.cpu",
        "IP-PRE-040": "v1beta7 missing there",
        "IP-PRE-041": "v9.9.9 by field manager somebody",
        "IP-PRE-050": f"v9.9.9 by field manager somebody (CRD {ROUTES})",
    }
    (claim,) = [finding for finding in look(cluster, own).findings if finding.code == "IP-PRE-020"]
    assert claim.expected.endswith(": gp2"), "the class that EKS makes, and that is not the default"
