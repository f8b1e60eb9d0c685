"""The platform itself: what must run by the plan of the inventory."""

from __future__ import annotations

import json
from typing import Any

import pytest
import testinfra.host

from inference_platform.cluster.client import Cluster
from tests.platform.conftest import Object, condition
from tests.platform.expectations import Expectations, Key, Service

testinfra_hosts = ["local://"]

PUBLIC = "no pull secret is made: nodes pull the images without"


def test_namespace_is_active(objects: Any, namespace: str) -> None:
    found = objects("v1", "Namespace").get(("", namespace))
    assert found is not None, f"namespace {namespace} does not exist"
    assert found["status"]["phase"] == "Active"


def test_namespace_has_the_pull_secret(cluster: Cluster, expected: Expectations, secret_namespace: str) -> None:
    # Metadata only: the content never leaves the API server.
    found = cluster.list(
        "v1", "Secret", secret_namespace, field_selector=f"metadata.name={expected.pull_secret}", metadata_only=True
    )
    assert len(found) == 1, f"Secret {expected.pull_secret} is missing in namespace {secret_namespace}"


def test_deployment_is_ready(objects: Any, deployment: Key) -> None:
    found = objects("apps/v1", "Deployment").get(deployment)
    assert found is not None, "the Deployment does not exist"
    replicas, status = found["spec"]["replicas"], found["status"]
    assert replicas >= 1, "the Deployment is scaled to nothing"
    assert status.get("observedGeneration", 0) >= found["metadata"]["generation"]
    counts = {key: status.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "availableReplicas")}
    assert counts == dict.fromkeys(counts, replicas), condition(found, "Available")


def test_no_deployment_of_the_platform_lacks_a_pod(objects: Any, expected: Expectations) -> None:
    short = [
        f"{namespace}/{name}"
        for (namespace, name), item in objects("apps/v1", "Deployment").items()
        if namespace in expected.homes and item["status"].get("readyReplicas", 0) < item["spec"]["replicas"]
    ]
    assert short == []


def test_service_offers_its_ports(objects: Any, expected: Expectations, service: Service) -> None:
    found = objects("v1", "Service").get((service.namespace, service.name))
    assert found is not None, "the Service does not exist"
    assert found["spec"]["type"] == service.type
    wanted = {*service.ports, *(listener_ports(objects, expected) if service.of_gateway else ())}
    assert {port["port"] for port in found["spec"]["ports"]} >= wanted


def listener_ports(objects: Any, expected: Expectations) -> list[int]:
    """The ports that the gateway of the models listens on."""
    return [listener["port"] for listener in gateway(objects, expected)["spec"]["listeners"]]


def gateway(objects: Any, expected: Expectations) -> Object:
    """The gateway of the models."""
    wanted = expected.gateway
    found = objects("gateway.networking.k8s.io/v1", "Gateway").get((wanted.namespace, wanted.name))
    assert found is not None, f"Gateway {wanted.namespace}/{wanted.name} does not exist"
    return dict(found)


def test_crd_is_established(objects: Any, crd: str) -> None:
    found = objects("apiextensions.k8s.io/v1", "CustomResourceDefinition").get(("", crd))
    assert found is not None, "the CRD does not exist"
    assert condition(found, "Established") == "True"


def test_gateway_class_is_accepted(objects: Any, gateway_class: str) -> None:
    found = objects("gateway.networking.k8s.io/v1", "GatewayClass").get(("", gateway_class))
    assert found is not None, "the GatewayClass does not exist: istiod makes it once it serves the Gateway API"
    assert condition(found, "Accepted") == "True"


def test_gateway_is_as_ready_as_the_provider_lets_it_be(objects: Any, expected: Expectations) -> None:
    """Without load balancers it is accepted, and has no address."""
    found = gateway(objects, expected)
    assert set(expected.gateway.ports) <= set(listener_ports(objects, expected))
    assert condition(found, expected.gateway.condition) == "True"
    if expected.gateway.needs_address:
        assert [entry["value"] for entry in found["status"].get("addresses") or [] if entry.get("value")]


def test_the_report_agrees_with_the_cluster(
    host: testinfra.host.Host, report_folder: str, expected: Expectations
) -> None:
    page, data = host.file(f"{report_folder}/report.html"), host.file(f"{report_folder}/report.json")
    assert page.is_file, f"{report_folder}/report.html was not written"
    assert data.is_file, f"{report_folder}/report.json was not written"
    report = json.loads(data.content_string)
    assert report["problems"] == []
    assert {(entry["namespace"], entry["name"]) for entry in report["deployments"]} >= set(expected.deployments)


def test_every_deployment_of_the_platform_can_pull(objects: Any, expected: Expectations) -> None:
    """The pull secret is on the pod template, or on its ServiceAccount."""
    if expected.pull_secret is None:
        pytest.skip(PUBLIC)
    accounts, deployments = objects("v1", "ServiceAccount"), objects("apps/v1", "Deployment")
    without = []
    for namespace, name in expected.pulling:
        pod = deployments.get((namespace, name), {}).get("spec", {}).get("template", {}).get("spec", {})
        account = accounts.get((namespace, pod.get("serviceAccountName", "default")), {})
        secrets = [*(pod.get("imagePullSecrets") or []), *(account.get("imagePullSecrets") or [])]
        if expected.pull_secret not in {secret["name"] for secret in secrets}:
            without.append(f"{namespace}/{name}")
    assert without == []
