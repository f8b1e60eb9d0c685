"""What models refer to, read from a cluster: no more than is needed, and never the content of a Secret."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.cluster import model_facts
from inference_platform.cluster.client import Cluster
from inference_platform.models import render
from inference_platform.models.rules.cluster import BROUGHT_CRDS, ClusterFacts, check_cluster
from inference_platform.preflight.snapshot import Snapshot
from tests.unit.cluster.fake_api import FakeApi
from tests.unit.models.cases import model

GATEWAY_API = "gateway.networking.k8s.io/v1"
SERVING = "serving.kserve.io/v1alpha2"
SYSTEM = "redhat-ods-applications"
KINDS = (
    (GATEWAY_API, "Gateway", "gateways", True),
    (GATEWAY_API, "GatewayClass", "gatewayclasses", False),
    (GATEWAY_API, "HTTPRoute", "httproutes", True),
    (SERVING, "LLMInferenceServiceConfig", "llminferenceserviceconfigs", True),
    ("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", False),
    ("v1", "Service", "services", True),
    ("v1", "ServiceAccount", "serviceaccounts", True),
    ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", True),
)


@pytest.fixture(autouse=True)
def served(api: FakeApi) -> None:
    """The kinds that a cluster with the platform serves."""
    api.kinds += KINDS


def seen_of(**parts: Any) -> Snapshot:
    """What was seen before: the parts that are lists of every preflight."""
    return Snapshot(parts={"namespaces": [], "crds": [], "claims": [], "nodes": [], **parts})


def read(
    cluster: Cluster, plan: dict[str, Any], *entries: Any, seen: Snapshot | None = None, installs: bool = False
) -> ClusterFacts:
    rendered = render(list(entries), {}, plan)
    assert rendered.ok
    return model_facts.read(cluster, seen or seen_of(), plan, rendered.entries, rendered.objects, installs=installs)


def lists(api: FakeApi) -> list[str]:
    return [request.path.rpartition("/")[2] for request in api.requests if request.path not in ("/api", "/apis")]


def put(api: FakeApi, api_version: str, kind: str, name: str, namespace: str = "", **more: Any) -> None:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    api.put({"apiVersion": api_version, "kind": kind, "metadata": metadata, **more})


def test_what_no_model_names_is_not_asked_for(api: FakeApi, cluster: Cluster, aws: dict[str, Any]) -> None:
    facts = read(cluster, aws, model(), installs=True)
    assert sorted(lists(api)) == ["gatewayclasses", "gateways", "llminferenceserviceconfigs"]
    assert api.writes() == []
    assert (facts.secrets, facts.priority_classes) == ({("team-a", aws["pull_secret"]["name"])}, set())


def test_of_secrets_only_names_are_read(api: FakeApi, cluster: Cluster, aws: dict[str, Any]) -> None:
    put(api, "v1", "Secret", "hf", "team-a", data={"HF_TOKEN": "c2VjcmV0"})
    facts = read(cluster, aws, model(credentials_secret="hf"))
    (request,) = [request for request in api.requests if request.path.endswith("/secrets")]
    assert "PartialObjectMetadataList" in request.headers["Accept"]
    assert facts.secrets is not None
    assert ("team-a", "hf") in facts.secrets


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ({"credentials_secret": "s"}, "secrets"),
        ({"env": {"A": {"secret": "s", "key": "k"}}}, "secrets"),
        ({"service_account": "s"}, "serviceaccounts"),
        ({"priority_class": "s"}, "priorityclasses"),
        ({"router": {"route": "own", "routes": ["s"]}}, "httproutes"),
    ],
)
def test_what_a_model_names_is_read(
    api: FakeApi, cluster: Cluster, aws: dict[str, Any], entry: dict[str, Any], part: str
) -> None:
    read(cluster, aws, model(**entry))
    assert part in lists(api)


def test_what_may_not_be_read_is_not_known(api: FakeApi, cluster: Cluster, aws: dict[str, Any]) -> None:
    api.fail("GET", "/secrets$", 403, "secrets is forbidden")
    seen = seen_of()
    assert read(cluster, aws, model(credentials_secret="hf"), seen=seen).secrets is None
    assert seen.unseen == {"secrets": "secrets is forbidden"}


def test_what_the_run_brings_itself_counts_as_there(cluster: Cluster, aws: dict[str, Any]) -> None:
    entry = model()
    facts = read(cluster, aws, entry, installs=True)
    assert facts.crds == set(BROUGHT_CRDS)
    assert (facts.webhook_ready, facts.configs) == (None, None)
    assert check_cluster(render([entry], {}, aws).entries, aws, facts) == []


@pytest.mark.parametrize(("there", "known"), [("v3-4-2-kserve-config-llm-template", False), ("of the release", True)])
def test_presets_of_another_release_say_nothing_about_those_that_the_run_brings(
    api: FakeApi, cluster: Cluster, aws: dict[str, Any], there: str, known: bool
) -> None:
    name = f"{aws['serving']['presets']['prefix']}config-llm-template" if known else there
    put(api, SERVING, "LLMInferenceServiceConfig", name, SYSTEM)
    facts = read(cluster, aws, model(), installs=True)
    assert facts.configs == ({(SYSTEM, name)} if known else None)
    assert check_cluster(render([model()], {}, aws).entries, aws, facts) == []


def test_priorities_that_the_run_makes_count_as_there(cluster: Cluster, aws: dict[str, Any]) -> None:
    plan = {**aws, "capacity": [{"kind": "PriorityClass", "metadata": {"name": "inference-burst"}}]}
    assert read(cluster, plan, model(priority_class="inference-burst")).priority_classes == {"inference-burst"}


def test_listeners_that_the_run_will_change_are_not_judged_and_those_of_the_user_are(
    api: FakeApi, cluster: Cluster, aws: dict[str, Any]
) -> None:
    selector = {"matchLabels": {"before": "yes"}}
    listener = {"name": "http", "allowedRoutes": {"namespaces": {"from": "Selector", "selector": selector}}}
    put(api, GATEWAY_API, "Gateway", "inference-gateway", SYSTEM, spec={"listeners": [listener]})
    key = (SYSTEM, "inference-gateway")
    own = read(cluster, aws, model(), installs=True).gateways
    theirs = {**aws, "gateway": {**aws["gateway"], "ownership": "external"}}
    external = read(cluster, theirs, model(), installs=True).gateways
    assert own is not None
    assert external is not None
    assert own[key] is None
    assert external[key]["spec"] == {"listeners": [listener]}


SERVICE = {"clientConfig": {"service": {"namespace": SYSTEM, "name": "llmisvc-webhook-server-service"}}}


def test_without_installing_the_platform_has_to_be_there(cluster: Cluster, aws: dict[str, Any]) -> None:
    entry = model()
    found = check_cluster(render([entry], {}, aws).entries, aws, read(cluster, aws, entry))
    assert {finding.code for finding in found} == {"IP-MOD-111", "IP-MOD-134", "IP-MOD-135"}


def test_a_webhook_that_is_asked_must_answer(cluster: Cluster, aws: dict[str, Any]) -> None:
    seen = seen_of(validating_webhooks=[{"webhooks": [SERVICE]}])
    assert read(cluster, aws, model(), seen=seen).webhook_ready is False
    assert read(cluster, aws, model(), seen=seen, installs=True).webhook_ready is None


def test_nothing_is_wrong_with_a_model_on_a_platform(api: FakeApi, cluster: Cluster, aws: dict[str, Any]) -> None:
    everyone = [{"name": "http", "allowedRoutes": {"namespaces": {"from": "All"}}}]
    gateway = {"gatewayClassName": "istio", "listeners": everyone}
    put(api, GATEWAY_API, "Gateway", "inference-gateway", SYSTEM, spec=gateway)
    put(api, GATEWAY_API, "GatewayClass", "istio", spec={"controllerName": "istio.io/gateway-controller"})
    preset = f"{aws['serving']['presets']['prefix']}config-llm-template"
    put(api, SERVING, "LLMInferenceServiceConfig", preset, SYSTEM)
    put(api, "v1", "Service", "llmisvc-webhook-server-service", SYSTEM)
    slices = {"endpoints": [{"conditions": {"ready": True}}]}
    labels = {"kubernetes.io/service-name": "llmisvc-webhook-server-service"}
    metadata = {"name": "webhook-1", "namespace": SYSTEM, "labels": labels}
    api.put({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, **slices})
    seen = seen_of(
        crds=[{"metadata": {"name": name}} for name in BROUGHT_CRDS], validating_webhooks=[{"webhooks": [SERVICE]}]
    )
    entry = model()
    assert check_cluster(render([entry], {}, aws).entries, aws, read(cluster, aws, entry, seen=seen)) == []


@pytest.mark.parametrize(
    ("allocatable", "known"),
    [
        ({"nvidia.com/gpu": "1", "rdma/ib": "1", "cpu": "8"}, {"nvidia.com/gpu", "rdma/ib"}),
        # The machines with GPUs, and whatever else they have, may be scaled to zero.
        ({"cpu": "8"}, None),
    ],
)
def test_devices_are_known_when_there_are_nodes_with_gpus(
    cluster: Cluster, aws: dict[str, Any], allocatable: dict[str, str], known: set[str] | None
) -> None:
    seen = seen_of(nodes=[{"metadata": {"name": "n"}, "status": {"allocatable": allocatable}}])
    assert read(cluster, aws, model(), seen=seen).resources == known
