"""The models: what the KServe controller made of each, by its own spec, and where it runs."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.cluster.client import Cluster
from inference_platform.cluster.readiness import STOP_ANNOTATION, has_external_address
from inference_platform.models.addresses import public_url
from tests.platform.conftest import MODEL_KIND, Object, condition
from tests.platform.expectations import Expectations

Key = tuple[str, str]
POOL_KINDS = (
    ("inference.networking.k8s.io/v1", "InferencePool"),
    ("inference.networking.x-k8s.io/v1alpha2", "InferencePool"),
)


@pytest.fixture
def model(objects: Any, model_key: Key) -> Object:
    """The LLMInferenceService under test."""
    found = objects(*MODEL_KIND).get(model_key)
    assert found is not None, f"LLMInferenceService {'/'.join(model_key)} does not exist"
    return dict(found)


@pytest.fixture
def serving(model: Object) -> Object:
    """The model under test, if it is to serve."""
    if is_stopped(model):
        pytest.skip("the model is stopped")
    return model


@pytest.fixture
def pods(cluster: Cluster, model_key: Key) -> list[Object]:
    """The pods of the model that are to stay, by the labels that the controller gives them."""
    namespace, name = model_key
    selector = f"app.kubernetes.io/name={name},app.kubernetes.io/part-of=llminferenceservice"
    found = cluster.list("v1", "Pod", namespace, label_selector=selector)
    return [
        pod
        for pod in found
        if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") not in ("Succeeded", "Failed")
    ]


def is_stopped(model: Object) -> bool:
    return (model["metadata"].get("annotations") or {}).get(STOP_ANNOTATION) == "true"


def with_component(pods: list[Object], *components: str) -> list[Object]:
    label, wanted = "app.kubernetes.io/component", {f"llminferenceservice-{name}" for name in components}
    return [pod for pod in pods if pod["metadata"]["labels"].get(label) in wanted]


def ready(pods: list[Object]) -> list[Object]:
    return [pod for pod in pods if condition(pod, "Ready") == "True"]


def part_of(model: Object, *path: str) -> Any:
    """What the spec says at a path: an empty part is one, None is none."""
    found: Any = model["spec"]
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def owned(objects: Any, kind: tuple[str, str], key: Key) -> dict[str, Object]:
    """Objects of a kind that belong to the model, by name."""
    namespace, name = key
    return {
        item["metadata"]["name"]: item
        for (home, _), item in objects(*kind).items()
        if home == namespace
        and any(
            owner["kind"] == "LLMInferenceService" and owner["name"] == name
            for owner in item["metadata"].get("ownerReferences") or []
        )
    }


def parent_conditions(item: Object, kind: str) -> set[str]:
    """The condition of the parents, as gateway controllers reported it."""
    return {condition({"status": parent}, kind) for parent in item.get("status", {}).get("parents") or []}


def test_model_is_ready_or_stopped_as_it_is_to_be(model: Object) -> None:
    assert model["status"]["observedGeneration"] >= model["metadata"]["generation"]
    if is_stopped(model):
        assert condition(model, "Ready").startswith("False (Stopped: ")
    else:
        assert condition(model, "Ready") == "True"


def test_model_has_a_url_through_the_gateway(serving: Object, model_key: Key, expected: Expectations) -> None:
    if part_of(serving, "router", "route") is None:
        pytest.skip("the model has no route")
    if not expected.gateway.needs_address:
        pytest.skip("the gateway has no address from outside")
    assert has_external_address(serving)
    if not part_of(serving, "router", "route", "http", "refs"):
        namespace, name = model_key
        assert public_url(serving).endswith(f"/{namespace}/{name}")


def test_model_has_its_serving_pods(model: Object, pods: list[Object]) -> None:
    found = with_component(pods, "workload", "workload-leader")
    fewest, most = pod_bounds(model)
    assert len(ready(found)) >= fewest, [condition(pod, "Ready") for pod in found]
    assert most is None or len(found) <= most
    name = model["metadata"]["name"]
    assert all(pod["metadata"]["name"].startswith(f"{name}-kserve-") for pod in found)


def pod_bounds(model: Object) -> tuple[int, int | None]:
    """The fewest pods that must be ready, and the most there may be; None when somebody else decides that.

    A model over several nodes counts the leaders of its groups.
    """
    scaling, replicas = part_of(model, "scaling"), part_of(model, "replicas")
    if is_stopped(model):
        return 0, 0
    if scaling is not None:
        idle = part_of(model, "scaling", "wva", "keda", "idleReplicaCount")
        return idle or scaling.get("minReplicas", 1), scaling["maxReplicas"]
    return (1, None) if replicas is None else (replicas, replicas)


def test_model_has_its_schedulers(serving: Object, pods: list[Object]) -> None:
    scheduler = part_of(serving, "router", "scheduler")
    if scheduler is None or scheduler.get("pool", {}).get("ref"):
        pytest.skip("the model has no scheduler of its own")
    found = with_component(pods, "router-scheduler")
    assert len(found) == scheduler.get("replicas", 1)
    assert ready(found), "of several the leader is ready, the others wait"
    prefix = f"{serving['metadata']['name']}-kserve-router-scheduler-"
    assert all(pod["metadata"]["name"].startswith(prefix) for pod in found)


def test_pods_with_gpus_run_where_the_gpus_are(objects: Any, pods: list[Object]) -> None:
    nodes = objects("v1", "Node")
    for pod in (pod for pod in pods if "nodeName" in pod["spec"]):
        limits = [c.get("resources", {}).get("limits", {}) for c in pod["spec"]["containers"]]
        gpus = sum(int(limit.get("nvidia.com/gpu", 0)) for limit in limits)
        node = nodes[("", pod["spec"]["nodeName"])]
        assert int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) >= gpus


def test_model_has_an_accepted_pool(objects: Any, serving: Object, model_key: Key) -> None:
    """One of the two kinds that there are: KServe makes both, and each gateway knows one."""
    if part_of(serving, "router", "scheduler") is None:
        pytest.skip("the model has no pool")
    named = part_of(serving, "router", "scheduler", "pool", "ref", "name")
    namespace, name = model_key
    found = []
    for kind in POOL_KINDS:
        own = owned(objects, kind, model_key).get(f"{name}-inference-pool")
        found.append(objects(*kind).get((namespace, named)) if named else own)
    assert {"True"} in [parent_conditions(pool, "Accepted") for pool in found if pool]


def test_model_has_routes_that_resolve(objects: Any, serving: Object, model_key: Key) -> None:
    if part_of(serving, "router", "route") is None:
        pytest.skip("the model has no route")
    kind, (namespace, name) = ("gateway.networking.k8s.io/v1", "HTTPRoute"), model_key
    own = part_of(serving, "router", "route", "http", "refs")
    if own:
        routes = {entry["name"]: objects(*kind).get((namespace, entry["name"])) for entry in own}
    else:
        routes = owned(objects, kind, model_key)
        assert list(routes) == [f"{name}-kserve-route"]
    for route in routes.values():
        assert route is not None, f"routes {', '.join(routes)} are named, and one does not exist"
        for reason in ("Accepted", "ResolvedRefs"):
            assert parent_conditions(route, reason) == {"True"}
