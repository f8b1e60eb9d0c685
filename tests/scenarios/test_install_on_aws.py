"""A fresh installation with inventories/local: what a user then finds on the cluster."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tests.scenarios.conftest import Installation
from tests.support.clusters import Object
from tests.support.playbook import REPOSITORY

pytestmark = pytest.mark.cluster

NAMESPACES = frozenset(
    {
        "cert-manager",
        "cert-manager-operator",
        "istio-system",
        "openshift-lws-operator",
        "redhat-ods-applications",
        "redhat-ods-operator",
        "rhai-cloudmanager-system",
    }
)

#: Namespace/name of each Deployment of the platform, and its replicas.
DEPLOYMENTS = {
    "cert-manager/cert-manager": 1,
    "cert-manager/cert-manager-cainjector": 1,
    "cert-manager/cert-manager-webhook": 1,
    "cert-manager-operator/cert-manager-operator-controller-manager": 1,
    "istio-system/istiod": 1,
    "istio-system/servicemesh-operator3": 1,
    "openshift-lws-operator/lws-controller-manager": 2,
    "openshift-lws-operator/openshift-lws-operator": 1,
    "redhat-ods-applications/llmisvc-controller-manager": 1,
    "redhat-ods-applications/inference-gateway-istio": 1,
    "redhat-ods-operator/rhai-operator": 3,
    "rhai-cloudmanager-system/aws-cloud-manager-operator": 1,
}

#: Namespace/name of each Service of the platform, its type, and ports it has at the least.
SERVICES: dict[str, tuple[str, set[int]]] = {
    "cert-manager/cert-manager": ("ClusterIP", {9402}),
    "cert-manager/cert-manager-cainjector": ("ClusterIP", {9402}),
    "cert-manager/cert-manager-webhook": ("ClusterIP", {443}),
    "cert-manager-operator/cert-manager-operator-controller-manager-metrics-service": ("ClusterIP", {8443}),
    "istio-system/istiod": ("ClusterIP", {15010, 15012, 443}),
    "istio-system/servicemesh-operator3-metrics-service": ("ClusterIP", {8443}),
    "openshift-lws-operator/lws-controller-manager-metrics-service": ("ClusterIP", {8443}),
    "openshift-lws-operator/lws-webhook-service": ("ClusterIP", {443}),
    "redhat-ods-applications/inference-gateway-istio": ("LoadBalancer", {8080}),
    "redhat-ods-applications/llmisvc-controller-manager-service": ("ClusterIP", {8443}),
    "redhat-ods-applications/llmisvc-webhook-server-service": ("ClusterIP", {443}),
    "redhat-ods-operator/rhai-operator-controller-manager-metrics-service": ("ClusterIP", {8443}),
    "redhat-ods-operator/rhai-operator-webhook-service": ("ClusterIP", {443}),
}

CRDS = frozenset(
    {
        "backendtlspolicies.gateway.networking.k8s.io",
        "gatewayclasses.gateway.networking.k8s.io",
        "gateways.gateway.networking.k8s.io",
        "grpcroutes.gateway.networking.k8s.io",
        "httproutes.gateway.networking.k8s.io",
        "referencegrants.gateway.networking.k8s.io",
        "gateways.networking.istio.io",
        "leaderworkersetoperators.operator.openshift.io",
        "leaderworkersets.leaderworkerset.x-k8s.io",
        "kserves.components.platform.opendatahub.io",
        "llminferenceserviceconfigs.serving.kserve.io",
        "llminferenceservices.serving.kserve.io",
        "inferencemodelrewrites.inference.networking.x-k8s.io",
        "inferenceobjectives.inference.networking.x-k8s.io",
        "inferencepoolimports.inference.networking.x-k8s.io",
        "inferencepools.inference.networking.k8s.io",
        "inferencepools.inference.networking.x-k8s.io",
    }
)

MODEL_NAMESPACE = "models"


def test_the_run_succeeds_and_its_recap_counts_no_failure(aws: Installation) -> None:
    assert aws.run.exit_code == 0, aws.run
    assert aws.run.recap["failed"] == 0
    assert aws.run.recap["unreachable"] == 0
    assert aws.run.recap["changed"] > 0


def test_the_seven_namespaces_are_active(aws: Installation) -> None:
    found = {item["metadata"]["name"]: item["status"]["phase"] for item in aws.cluster.objects("namespaces")}
    assert {name: found.get(name) for name in NAMESPACES} == dict.fromkeys(NAMESPACES, "Active")


def test_every_namespace_has_the_pull_secret(aws: Installation) -> None:
    secrets = aws.cluster.objects("secrets", "--field-selector", "metadata.name=rhai-pull-secret")
    assert {item["metadata"]["namespace"] for item in secrets} == NAMESPACES | {MODEL_NAMESPACE}
    assert {item["type"] for item in secrets} == {"kubernetes.io/dockerconfigjson"}


def test_exactly_the_twelve_deployments_run_in_them_and_are_fully_ready(aws: Installation) -> None:
    assert deployments(aws) == {name: (count, count) for name, count in DEPLOYMENTS.items()}


def test_exactly_the_thirteen_services_are_there_with_their_ports(aws: Installation) -> None:
    services = {place(item): item["spec"] for item in platform_objects(aws, "services")}
    assert set(services) == set(SERVICES)
    for name, (kind, ports) in SERVICES.items():
        assert services[name]["type"] == kind, name
        assert ports <= {port["port"] for port in services[name]["ports"]}, name


def test_the_seventeen_crds_are_established(aws: Installation) -> None:
    found = {item["metadata"]["name"]: item for item in aws.cluster.objects("customresourcedefinitions")}
    assert len(CRDS) == 17
    assert {name: condition(found.get(name, {}), "Established") for name in CRDS} == dict.fromkeys(CRDS, "True")


def test_the_gateway_is_programmed_and_has_an_address(aws: Installation) -> None:
    gateway = aws.cluster.get("gateways.gateway.networking.k8s.io", "inference-gateway", "redhat-ods-applications")
    assert gateway["spec"]["gatewayClassName"] == "istio"
    assert condition(gateway, "Programmed") == "True"
    assert [address["value"] for address in gateway["status"]["addresses"]] != []


def test_the_model_is_ready(aws: Installation) -> None:
    assert condition(model(aws), "Ready") == "True"


def test_the_model_has_two_serving_pods_on_nodes_with_its_gpu_and_one_scheduler(aws: Installation) -> None:
    pods = {pod["metadata"]["name"]: pod for pod in in_namespace(aws, "pods", MODEL_NAMESPACE)}
    schedulers = {name for name in pods if name.startswith("qwen-basic-kserve-router-scheduler-")}
    serving = {name for name in pods if name.startswith("qwen-basic-kserve-")} - schedulers
    assert (len(serving), len(schedulers), len(pods)) == (2, 1, 3), sorted(pods)
    assert {condition(pod, "Ready") for pod in pods.values()} == {"True"}
    nodes = {node["metadata"]["name"]: node["metadata"]["labels"] for node in aws.cluster.objects("nodes")}
    products = [nodes[pods[name]["spec"]["nodeName"]]["nvidia.com/gpu.product"] for name in serving]
    assert products == ["NVIDIA-L4", "NVIDIA-L4"]


@pytest.mark.parametrize("kind", ["inferencepools.inference.networking.k8s.io", "httproutes"])
def test_the_model_owns_its_pool_and_its_route(aws: Installation, kind: str) -> None:
    owners = [
        owner for item in in_namespace(aws, kind, MODEL_NAMESPACE) for owner in item["metadata"]["ownerReferences"]
    ]
    wanted = model(aws)
    assert [(owner["kind"], owner["uid"]) for owner in owners] == [("LLMInferenceService", wanted["metadata"]["uid"])]


def test_the_route_of_the_model_is_accepted_by_the_inference_gateway(aws: Installation) -> None:
    (route,) = in_namespace(aws, "httproutes", MODEL_NAMESPACE)
    (parent,) = route["status"]["parents"]
    assert parent["parentRef"]["name"] == "inference-gateway"
    assert {item["type"]: item["status"] for item in parent["conditions"]}["Accepted"] == "True"


def test_the_json_report_fits_its_schema_and_finds_no_problem(aws: Installation) -> None:
    report = json.loads((aws.report_folder / "report.json").read_text(encoding="utf-8"))
    schema = json.loads((REPOSITORY / "schemas" / "report.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(report)
    assert report["problems"] == []
    assert [entry["name"] for entry in report["models"] if entry["ready"]] == ["qwen-basic"]
    assert report["totals"]["deployments"] == {"ready": 12, "wanted": 12}
    assert report["totals"]["namespaces"] == {"ready": 7, "wanted": 7}


def test_the_page_stands_alone(aws: Installation) -> None:
    page = (aws.report_folder / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    for name in ("qwen-basic", "inference-gateway", "llmisvc-controller-manager"):
        assert name in page
    for reference in ('src="http', "<link", "@import"):
        assert reference not in page


def test_the_run_ends_with_the_report_and_three_commands_to_try(aws: Installation) -> None:
    end = aws.run.output.partition("PLAY RECAP")[2]
    report = json.loads((aws.report_folder / "report.json").read_text(encoding="utf-8"))
    assert len(report["commands"]) == 3
    for entry in report["commands"]:
        assert entry["command"] in end
    for word in ("qwen-basic", "inference-gateway", "12/12", "2/2"):
        assert word in end


# ---- reading objects --------------------------------------------------------------------------------------


def place(item: Object) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def platform_objects(installation: Installation, kind: str) -> list[Object]:
    """Objects of a kind in the namespaces of the platform."""
    return [item for item in installation.cluster.objects(kind) if item["metadata"]["namespace"] in NAMESPACES]


def in_namespace(installation: Installation, kind: str, namespace: str) -> list[Object]:
    return [item for item in installation.cluster.objects(kind) if item["metadata"]["namespace"] == namespace]


def deployments(installation: Installation) -> dict[str, tuple[int, int]]:
    """Replicas wanted and available of each Deployment whose newest version is rolled out; 0 available otherwise."""
    return {place(item): readiness(item) for item in platform_objects(installation, "deployments")}


def readiness(deployment: Object) -> tuple[int, int]:
    status, wanted = deployment["status"], deployment["spec"]["replicas"]
    current = status.get("observedGeneration") == deployment["metadata"]["generation"]
    rolled_out = current and status.get("updatedReplicas") == status.get("replicas")
    return wanted, status.get("availableReplicas", 0) if rolled_out else 0


def condition(item: Object, kind: str) -> str | None:
    """Status of a condition, None when it is not reported."""
    conditions: list[dict[str, Any]] = (item.get("status") or {}).get("conditions", [])
    return next((entry["status"] for entry in conditions if entry["type"] == kind), None)


def model(installation: Installation) -> Object:
    return installation.cluster.get("llminferenceservices.serving.kserve.io", "qwen-basic", MODEL_NAMESPACE)
