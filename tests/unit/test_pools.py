"""Groups of nodes and quotas: what models get of them, what is made, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from inference_platform.inventory import examine
from inference_platform.paths import ROLES
from inference_platform.platform import resolve
from inference_platform.platform.pools import LAYER, NODE_POOL
from inference_platform.platform.resolve import check_settings

MODEL = {"name": "m", "namespace": "team", "uri": "hf://a/b", "gpu": {"count": 1}}


def settings(provider: str = "aws", **more: Any) -> dict[str, Any]:
    base = {"platform_release": "3.4", "distribution": "redhat", "provider": provider}
    return {**base, "pull_secret_from": {"namespace": "a", "name": "b"}, **more}


def pods_of(provider: str, pool: dict[str, Any], **entry: Any) -> dict[str, Any]:
    """The pod template of a model that asks for a pool."""
    given = settings(provider, node_pools=[pool], models=[{**MODEL, "profiles": [pool["name"]], **entry}])
    found = examine(given, environ={})
    assert [item for item in found.findings if item.severity == "error"] == []
    assert found.models is not None
    (service,) = [item for item in found.models.objects if item["kind"] == "LLMInferenceService"]
    return dict(service["spec"]["template"])


@pytest.mark.parametrize(
    ("provider", "pool", "selector"),
    [
        pytest.param("aws", {"capacity": "spot"}, {"eks.amazonaws.com/capacityType": "SPOT"}, id="spot on EKS"),
        pytest.param("aws", {"capacity": "on_demand"}, {"eks.amazonaws.com/capacityType": "ON_DEMAND"}, id="on demand"),
        pytest.param("gcp", {"capacity": "spot"}, {"cloud.google.com/gke-provisioning": "spot"}, id="spot on GKE"),
        pytest.param(
            "aws", {"capacity": "spot", "nodes_by": "karpenter"}, {"karpenter.sh/capacity-type": "spot"}, id="Karpenter"
        ),
        pytest.param(
            "aws",
            {"capacity": "spot", "karpenter": {}},
            {"karpenter.sh/capacity-type": "spot", "karpenter.sh/nodepool": "burst"},
            id="its own NodePool",
        ),
        pytest.param(
            "generic", {"node_selector": {"pool": "cheap"}}, {"pool": "cheap"}, id="labels of one's own alone"
        ),
        pytest.param(
            "gcp",
            {"capacity": "spot", "node_selector": {"zone": "a"}},
            {"cloud.google.com/gke-provisioning": "spot", "zone": "a"},
            id="both",
        ),
    ],
)
def test_models_of_a_pool_go_to_its_nodes(provider: str, pool: dict[str, Any], selector: dict[str, str]) -> None:
    assert pods_of(provider, {"name": "burst", **pool})["nodeSelector"] == selector


def test_the_taint_of_spot_nodes_is_tolerated_beside_that_of_gpus() -> None:
    keys = [item["key"] for item in pods_of("azure", {"name": "burst", "capacity": "spot"})["tolerations"]]
    assert sorted(keys) == ["kubernetes.azure.com/scalesetpriority", "nvidia.com/gpu"]


def test_an_entry_goes_over_its_pool() -> None:
    found = pods_of("aws", {"name": "burst", "priority": 5}, priority_class="mine")
    assert found["priorityClassName"] == "mine"


def test_a_priority_becomes_a_class_that_the_pods_name() -> None:
    pool = {"name": "burst", "priority": -10, "preempts": False}
    (made,) = resolve(settings(node_pools=[pool])).capacity
    assert (made["kind"], made["value"], made["preemptionPolicy"]) == ("PriorityClass", -10, "Never")
    assert pods_of("aws", pool)["priorityClassName"] == made["metadata"]["name"] == "inference-burst"


def test_autoscalers_are_asked_to_leave_pods_that_shall_keep_running() -> None:
    given = settings(node_pools=[{"name": "calm", "keep_running": True}], models=[{**MODEL, "profiles": ["calm"]}])
    found = examine(given, environ={}).models
    assert found is not None
    text = yaml.safe_dump(found.objects)
    assert "cluster-autoscaler.kubernetes.io/safe-to-evict: 'false'" in text
    assert "karpenter.sh/do-not-disrupt: 'true'" in text


def test_a_quota_comes_with_its_namespace_which_is_the_one_that_models_make() -> None:
    given = settings(namespace_quotas=[{"namespace": "team", "hard": {"requests.nvidia.com/gpu": 4, "pods": "20"}}])
    space, quota = resolve(given).capacity
    rendered = examine({**given, "models": [MODEL]}, environ={}).models
    assert rendered is not None
    assert space == next(item for item in rendered.objects if item["kind"] == "Namespace")
    assert quota["metadata"]["namespace"] == "team"
    assert quota["spec"] == {"hard": {"pods": "20", "requests.nvidia.com/gpu": "4"}}


@pytest.mark.parametrize(
    ("hard", "entry", "needed"),
    [
        pytest.param({"requests.nvidia.com/gpu": 3}, {"replicas": 2, "gpu": {"count": 2}}, "4", id="GPUs"),
        pytest.param({"pods": "2"}, {"replicas": 3}, "3", id="pods"),
    ],
)
def test_a_quota_with_less_room_than_its_models_need_is_told_before_the_cluster_is_asked(
    hard: dict[str, Any], entry: dict[str, Any], needed: str
) -> None:
    given = settings(namespace_quotas=[{"namespace": "team", "hard": hard}], models=[{**MODEL, **entry}])
    (found,) = [item for item in examine(given, environ={}).findings if item.code == "IP-PLT-027"]
    assert (found.severity, found.where) == ("warning", f"namespace_quotas[0].hard.{next(iter(hard))}")
    assert found.expected == f"room for the models of team, which need {needed}"


def test_a_quota_with_room_for_its_models_is_not_told() -> None:
    hard = {"requests.nvidia.com/gpu": 2, "pods": 2, "requests.cpu": "100m"}
    stopped = {**MODEL, "name": "s", "replicas": 9, "state": "stopped"}
    given = settings(
        namespace_quotas=[{"namespace": "team", "hard": hard}, {"namespace": "empty", "hard": {"pods": 0}}],
        models=[{**MODEL, "replicas": 2}, stopped, {**MODEL, "namespace": "other", "replicas": 9}],
    )
    assert "IP-PLT-027" not in [item.code for item in examine(given, environ={}).findings]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("nvidia.com/gpu", "Write requests.nvidia.com/gpu."),
        ("limits.nvidia.com/gpu", "Write requests.nvidia.com/gpu."),
        ("request.nvidia.com/gpu", "Write requests.nvidia.com/gpu."),
        ("amd.com/gpu", "Write requests.amd.com/gpu."),
        ("gpu", "Write requests.nvidia.com/gpu."),
        ("gpus", "Write requests.nvidia.com/gpu."),
        ("requests.gpu", "Write requests.nvidia.com/gpu."),
        ("limit.cpu", "Write limits.cpu."),
        ("Pods", "Write pods."),
        ("counts/pods", "Write count/pods."),
        ("requests.nvidia.com/", "Write requests.DOMAIN/NAME for devices, count/KIND.GROUP for objects."),
        ("limits.hugepages-2Mi", "Write requests.hugepages-2Mi."),
    ],
)
def test_a_name_that_no_quota_counts_is_refused_with_the_one_that_was_meant(name: str, meant: str) -> None:
    (found,) = check_settings(settings(namespace_quotas=[{"namespace": "team", "hard": {name: 4}}]))
    assert (found.code, found.severity, found.found) == ("IP-PLT-035", "error", f'"{name}"')
    assert found.where == f"namespace_quotas[0].hard.{name}"
    assert found.remedy == meant


@pytest.mark.parametrize(
    "name",
    [
        *("cpu", "memory", "ephemeral-storage", "requests.cpu", "limits.memory", "requests.ephemeral-storage"),
        *("requests.storage", "pods", "services", "services.loadbalancers", "services.nodeports", "secrets"),
        *("configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas"),
        *("hugepages-2Mi", "requests.hugepages-1Gi", "count/pods", "count/deployments.apps"),
        *("requests.nvidia.com/gpu", "requests.nvidia.com/mig-1g.5gb", "requests.smarter-devices/fuse"),
        "gold.storageclass.storage.k8s.io/requests.storage",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims",
        "gpu.example.com.deviceclass.resource.k8s.io/devices",
    ],
)
def test_names_that_kubernetes_counts_are_taken(name: str) -> None:
    assert check_settings(settings(namespace_quotas=[{"namespace": "team", "hard": {name: 4}}])) == []


def uses(hard: dict[str, Any], *models: dict[str, Any], namespace: str = "team") -> list[tuple[str, str, str]]:
    """Codes, severities and remedies of what is told about a quota that nothing comes under."""
    given = settings(namespace_quotas=[{"namespace": namespace, "hard": hard}], models=list(models))
    found = examine(given, environ={}).findings
    return [(i.code, i.severity, i.remedy) for i in found if i.code in ("IP-PLT-036", "IP-PLT-037")]


def test_a_quota_on_a_device_that_no_model_asks_for_is_told() -> None:
    (told,) = uses({"requests.nvidia.com/gpus": 4}, MODEL)
    assert told == ("IP-PLT-036", "warning", "Write requests.nvidia.com/gpu.")
    mig = {**MODEL, "gpu": {"count": 1, "resource": "nvidia.com/mig-1g.5gb"}, "state": "stopped"}
    assert uses({"requests.nvidia.com/gpu": 4, "requests.nvidia.com/mig-1g.5gb": 1}, mig) == []
    assert uses({"requests.amd.com/gpu": 0}, MODEL) == [], "which forbids it"
    assert uses({"requests.nvidia.com/gpus": 4}) == [], "no models to go by"


def test_a_quota_for_a_namespace_without_models_is_told() -> None:
    remedy = "Correct the name, or leave it if models of another inventory are there."
    assert uses({"pods": 4}, MODEL, namespace="taem") == [("IP-PLT-037", "warning", remedy)]
    assert uses({"pods": 4}, MODEL) == []
    assert uses({"pods": 4}, namespace="taem") == [], "no models to go by"
    wrong = {**MODEL, "replicas": -1}
    assert uses({"pods": 4}, wrong, namespace="taem") == [], "what the model is to be is not known"


def test_limits_of_devices_promise_no_room() -> None:
    """Kubernetes counts only their requests, so no such quota keeps a pod from being created."""
    given = settings(namespace_quotas=[{"namespace": "team", "hard": {"limits.nvidia.com/gpu": 0}}], models=[MODEL])
    assert [item.code for item in examine(given, environ={}).findings if "hard" in item.where] == ["IP-PLT-035"]


def test_a_node_pool_is_what_the_user_wrote() -> None:
    spec = {"limits": {"nvidia.com/gpu": 8}, "template": {"spec": {"nodeClassRef": {"name": "gpu"}}}}
    (made,) = resolve(settings(node_pools=[{"name": "burst", "karpenter": spec}])).capacity
    assert (made["apiVersion"], made["kind"]) == NODE_POOL
    assert (made["metadata"]["name"], made["spec"]) == ("burst", spec)


def test_everything_that_is_made_is_found_by_what_the_role_removes() -> None:
    pools = [{"name": "burst", "priority": 1, "karpenter": {}}]
    made = resolve(settings(node_pools=pools, namespace_quotas=[{"namespace": "team", "hard": {"pods": 1}}])).capacity
    wanted = yaml.safe_load((ROLES / "models" / "vars" / "main.yml").read_text())["_models_capacity"]
    ((name, value),) = LAYER.items()
    assert wanted["selector"] == f"{name}={value}"
    labelled = {(item["apiVersion"], item["kind"]) for item in made if item["metadata"]["labels"].get(name) == value}
    assert labelled == {(kind["api_version"], kind["kind"]) for kind in wanted["kinds"]}
    assert {item["kind"] for item in made} - {kind for _, kind in labelled} == {"Namespace"}, "never removed"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        pytest.param({"node_pools": [{"name": "a"}, {"name": "a"}]}, "IP-PLT-020", id="a pool twice"),
        pytest.param(
            {"namespace_quotas": [{"namespace": "a", "hard": {"pods": 1}}, {"namespace": "a", "hard": {"pods": 2}}]},
            "IP-PLT-021",
            id="a quota twice",
        ),
        pytest.param(
            {"node_pools": [{"name": "a"}], "model_profiles": {"a": {}}}, "IP-PLT-022", id="a profile of that name"
        ),
        pytest.param(
            {"provider": "coreweave", "node_pools": [{"name": "a", "capacity": "spot"}]}, "IP-PLT-023", id="no label"
        ),
        pytest.param({"node_pools": [{"name": "a", "preempts": False}]}, "IP-PLT-024", id="no priority"),
        pytest.param(
            {"namespace_quotas": [{"namespace": "redhat-ods-applications", "hard": {"pods": "1"}}]},
            "IP-PLT-025",
            id="a namespace of the platform",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(given: dict[str, Any], code: str) -> None:
    assert [item.code for item in check_settings(settings(**given))] == [code]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"node_pools": [{"capacity": "spot"}]}, id="no name"),
        pytest.param({"node_pools": [{"name": "a", "capacity": "cheap"}]}, id="no kind of capacity"),
        pytest.param({"node_pools": [{"name": "a", "tolerations": [{"keys": "b"}]}]}, id="no field of a toleration"),
        pytest.param({"namespace_quotas": [{"namespace": "a", "hard": {}}]}, id="nothing limited"),
        pytest.param({"namespace_quotas": [{"namespace": "a", "hard": {"pods": "many"}}]}, id="no quantity"),
    ],
)
def test_what_the_schema_does_not_know_is_refused(given: dict[str, Any]) -> None:
    (name,) = given
    found = [item for item in examine(settings(**given), environ={}).findings if name in item.where]
    assert len(found) == 1, [str(item) for item in found]
