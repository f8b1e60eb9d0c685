"""The platform itself: what catalog/expected.yml says must run."""

from __future__ import annotations

import json
from typing import Any

import pytest
import testinfra.host

from inference_platform.cluster.client import Cluster
from tests.platform.conftest import condition

testinfra_hosts = ["local://"]

PUBLIC = "anybody may pull the images of this distribution"


def test_namespace_is_active(objects: Any, namespace: str) -> None:
    found = objects("v1", "Namespace").get(("", namespace))
    assert found is not None, f"namespace {namespace} does not exist"
    assert found["status"]["phase"] == "Active"


def test_namespace_has_the_pull_secret(cluster: Cluster, expected: dict[str, Any], namespace: str) -> None:
    if expected["pull_secret"] is None:
        pytest.skip(PUBLIC)
    # Metadata only: the content never leaves the API server.
    found = cluster.list(
        "v1", "Secret", namespace, field_selector=f"metadata.name={expected['pull_secret']}", metadata_only=True
    )
    assert len(found) == 1, f"Secret {expected['pull_secret']} is missing in namespace {namespace}"


def test_deployment_is_ready(objects: Any, deployment: dict[str, Any]) -> None:
    found = objects("apps/v1", "Deployment").get((deployment["namespace"], deployment["name"]))
    assert found is not None, "the Deployment does not exist"
    replicas, status = found["spec"]["replicas"], found["status"]
    assert replicas >= deployment["replicas"]
    assert status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    counts = {key: status.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "availableReplicas")}
    assert counts == dict.fromkeys(counts, replicas), condition(found, "Available")


def test_no_deployment_of_the_platform_lacks_a_pod(objects: Any, expected: dict[str, Any]) -> None:
    homes = {entry["name"] for entry in expected["namespaces"]}
    short = [
        f"{namespace}/{name}"
        for (namespace, name), item in objects("apps/v1", "Deployment").items()
        if namespace in homes and item["status"].get("readyReplicas", 0) < item["spec"]["replicas"]
    ]
    assert short == []


def test_service_offers_its_ports(objects: Any, service: dict[str, Any]) -> None:
    found = objects("v1", "Service").get((service["namespace"], service["name"]))
    assert found is not None, "the Service does not exist"
    assert found["spec"]["type"] == service["type"]
    wanted = {*service["ports"], *listener_ports(objects, service)}
    assert {port["port"] for port in found["spec"]["ports"]} >= wanted


def listener_ports(objects: Any, service: dict[str, Any]) -> list[int]:
    """The ports that the Gateway behind a Service listens on; none for other Services."""
    if "gateway" not in service:
        return []
    gateway = objects("gateway.networking.k8s.io/v1", "Gateway")[service["namespace"], service["gateway"]]
    return [listener["port"] for listener in gateway["spec"]["listeners"]]


def test_crd_is_established(objects: Any, crd: str) -> None:
    found = objects("apiextensions.k8s.io/v1", "CustomResourceDefinition").get(("", crd))
    assert found is not None, "the CRD does not exist"
    assert condition(found, "Established") == "True"


def test_gateway_class_is_accepted(objects: Any, expected: dict[str, Any]) -> None:
    found = objects("gateway.networking.k8s.io/v1", "GatewayClass").get(("", expected["gateway"]["class"]))
    assert found is not None, "the GatewayClass does not exist: istiod makes it once it serves the Gateway API"
    assert condition(found, "Accepted") == "True"


def test_gateway_is_programmed_with_an_address(objects: Any, expected: dict[str, Any]) -> None:
    wanted = expected["gateway"]
    found = objects("gateway.networking.k8s.io/v1", "Gateway").get((wanted["namespace"], wanted["name"]))
    assert found is not None, "the Gateway does not exist"
    assert found["spec"]["gatewayClassName"] == wanted["class"]
    assert condition(found, "Programmed") == "True"
    assert [entry["value"] for entry in found["status"]["addresses"] if entry.get("value")]


def test_the_report_agrees_with_the_cluster(
    host: testinfra.host.Host, report_folder: str, expected: dict[str, Any]
) -> None:
    page, data = host.file(f"{report_folder}/report.html"), host.file(f"{report_folder}/report.json")
    assert page.is_file, f"{report_folder}/report.html was not written"
    assert data.is_file, f"{report_folder}/report.json was not written"
    report = json.loads(data.content_string)
    assert report["problems"] == []
    shown = {(entry["namespace"], entry["name"]) for entry in report["deployments"]}
    assert shown >= {(entry["namespace"], entry["name"]) for entry in expected["deployments"]}


def test_every_deployment_of_the_platform_can_pull(objects: Any, expected: dict[str, Any]) -> None:
    """The pull secret is on the pod template, or on its ServiceAccount."""
    if expected["pull_secret"] is None:
        pytest.skip(PUBLIC)
    homes = {entry["name"] for entry in expected["namespaces"]}
    accounts = objects("v1", "ServiceAccount")
    without = []
    for (namespace, name), item in objects("apps/v1", "Deployment").items():
        if namespace not in homes:
            continue
        pod = item["spec"]["template"]["spec"]
        account = accounts.get((namespace, pod.get("serviceAccountName", "default")), {})
        secrets = [*(pod.get("imagePullSecrets") or []), *(account.get("imagePullSecrets") or [])]
        if expected["pull_secret"] not in {secret["name"] for secret in secrets}:
            without.append(f"{namespace}/{name}")
    assert without == []
