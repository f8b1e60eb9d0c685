"""The models: what the KServe controller made of each, and where it runs."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.cluster.client import Cluster
from tests.platform.conftest import MODEL_KIND, Object, condition

Key = tuple[str, str]


@pytest.fixture
def model(objects: Any, model_key: Key) -> Object:
    """The LLMInferenceService under test."""
    found = objects(*MODEL_KIND).get(model_key)
    assert found is not None, f"LLMInferenceService {'/'.join(model_key)} does not exist"
    return dict(found)


@pytest.fixture
def pods(cluster: Cluster, model_key: Key) -> list[Object]:
    """All pods of the model, by the labels that the controller gives them."""
    namespace, name = model_key
    selector = f"app.kubernetes.io/name={name},app.kubernetes.io/part-of=llminferenceservice"
    return cluster.list("v1", "Pod", namespace, label_selector=selector)


def with_component(pods: list[Object], component: str) -> list[Object]:
    label = "app.kubernetes.io/component"
    return [pod for pod in pods if pod["metadata"]["labels"].get(label) == f"llminferenceservice-{component}"]


def owned(objects: Any, kind: tuple[str, str], key: Key) -> list[Object]:
    """Objects of a kind that belong to the model."""
    namespace, name = key
    return [
        item
        for (home, _), item in objects(*kind).items()
        if home == namespace
        and any(
            owner["kind"] == "LLMInferenceService" and owner["name"] == name
            for owner in item["metadata"].get("ownerReferences") or []
        )
    ]


def parent_conditions(item: Object, kind: str) -> list[str]:
    """The condition of each parent that a gateway controller reported."""
    return [condition({"status": parent}, kind) for parent in item.get("status", {}).get("parents") or []]


def test_model_is_ready(model: Object) -> None:
    assert model["status"]["observedGeneration"] >= model["metadata"]["generation"]
    assert condition(model, "Ready") == "True"


def test_model_has_a_url_through_the_gateway(model: Object, model_key: Key) -> None:
    namespace, name = model_key
    assert model["status"].get("url", "").endswith(f"/{namespace}/{name}")


def test_model_has_its_serving_pods(model: Object, pods: list[Object]) -> None:
    if model["spec"].get("worker"):
        serving = with_component(pods, "workload-leader")
    else:
        serving = with_component(pods, "workload")
    assert len(serving) == model["spec"].get("replicas", 1)
    assert [condition(pod, "Ready") for pod in serving] == ["True"] * len(serving)
    name = model["metadata"]["name"]
    assert all(pod["metadata"]["name"].startswith(f"{name}-kserve-") for pod in serving)


def test_model_has_one_scheduler(model: Object, pods: list[Object]) -> None:
    schedulers = with_component(pods, "router-scheduler")
    assert len(schedulers) == 1
    assert condition(schedulers[0], "Ready") == "True"
    prefix = f"{model['metadata']['name']}-kserve-router-scheduler-"
    assert schedulers[0]["metadata"]["name"].startswith(prefix)


def test_pods_with_gpus_run_where_the_gpus_are(objects: Any, pods: list[Object]) -> None:
    nodes = objects("v1", "Node")
    for pod in pods:
        limits = [c.get("resources", {}).get("limits", {}) for c in pod["spec"]["containers"]]
        gpus = sum(int(limit.get("nvidia.com/gpu", 0)) for limit in limits)
        node = nodes[("", pod["spec"]["nodeName"])]
        assert int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) >= gpus


def test_model_has_an_accepted_pool(objects: Any, model_key: Key) -> None:
    pools = owned(objects, ("inference.networking.k8s.io/v1", "InferencePool"), model_key)
    assert [pool["metadata"]["name"] for pool in pools] == [f"{model_key[1]}-inference-pool"]
    assert parent_conditions(pools[0], "Accepted") == ["True"]


def test_model_has_a_route_that_resolves(objects: Any, model_key: Key) -> None:
    routes = owned(objects, ("gateway.networking.k8s.io/v1", "HTTPRoute"), model_key)
    assert [route["metadata"]["name"] for route in routes] == [f"{model_key[1]}-kserve-route"]
    for kind in ("Accepted", "ResolvedRefs"):
        assert set(parent_conditions(routes[0], kind)) == {"True"}
