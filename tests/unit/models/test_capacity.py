"""GPUs of a cluster against models."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.models import ModelSummary
from inference_platform.models.capacity import GpuNode, check, gpu_nodes, place, pod_gpus

GPU = {
    "resource": "nvidia.com/gpu",
    "product_label": "nvidia.com/gpu.product",
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}
TAINT = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}


def node(name: str, gpus: int, product: str | None = "L4", **changes: Any) -> dict[str, Any]:
    labels = {"nvidia.com/gpu.product": product} if product else {}
    allocatable = {"cpu": "8", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [TAINT], **changes.get("spec", {})},
        "status": {
            "allocatable": allocatable,
            "conditions": [{"type": "Ready", "status": changes.get("ready", "True")}],
        },
    }


def pod(where: str | None, gpus: int, phase: str = "Running", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "team", "labels": labels},
        "spec": {
            **({"nodeName": where} if where else {}),
            "containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}],
        },
        "status": {"phase": phase},
    }


def model(name: str = "m", count: int = 1, replicas: int = 1, product: str | None = "L4") -> ModelSummary:
    return ModelSummary(name, "team", "hf://a/b", name, replicas, product, count, f"/team/{name}")


def codes(*models: ModelSummary, nodes: list[Any], pods: list[Any] | None = None) -> list[str]:
    return [finding.code for finding in check(models, nodes, pods or [], GPU).findings]


def test_a_model_that_fits_has_no_finding():
    assert codes(model(replicas=2), nodes=[node("a", 1), node("b", 1)]) == []


@pytest.mark.parametrize(
    ("wanted", "nodes"),
    [
        (model(count=2), [node("a", 1), node("b", 1)]),
        (model(product="H100"), [node("a", 1)]),
        (model(), []),
        (model(), [node("cpu", 0)]),
        (model(), [node("a", 1, product=None)]),
        (model(), [node("a", 1, spec={"unschedulable": True})]),
        (model(), [node("a", 1, ready="False")]),
        (model(), [node("a", 1, spec={"taints": [{"key": "other", "effect": "NoExecute"}]})]),
    ],
)
def test_a_pod_that_no_node_can_ever_take_is_an_error(wanted, nodes):
    assert codes(wanted, nodes=nodes) == ["IP-CAP-001"]


def test_the_error_says_what_the_nodes_have():
    (finding,) = check([model(count=4)], [node("a", 1), node("b", 2), node("c", 2)], [], GPU).findings
    assert finding.severity == "error"
    assert finding.where == "models team/m gpu"
    assert finding.expected == "a node with 4 x L4"
    assert finding.found == "nodes with 1 x L4 or 2 x L4"


def test_any_product_takes_any_node():
    assert codes(model(product=None), nodes=[node("a", 1, product=None)]) == []


def test_a_taint_that_only_prefers_does_not_matter():
    taints = [{"key": "other", "effect": "PreferNoSchedule"}]
    assert codes(model(), nodes=[node("a", 1, spec={"taints": taints})]) == []


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Equal", "value": "true"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Equal", "value": "no"}, False),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_tolerations_are_judged_as_the_scheduler_does(toleration, fits):
    gpu = {**GPU, "tolerations": [toleration]}
    assert bool(gpu_nodes([node("a", 1)], [], [], gpu)) is fits


def test_gpus_in_use_are_a_warning():
    capacity = check([model()], [node("a", 1)], [pod("a", 1)], GPU)
    (finding,) = capacity.findings
    assert (finding.code, finding.severity) == ("IP-CAP-002", "warning")
    assert finding.found == "room for 0: a has 0 of 1 free"
    assert capacity.placements[0].missing == 1


@pytest.mark.parametrize(
    "other",
    [
        pod("a", 1, phase="Succeeded"),
        pod("a", 1, phase="Failed"),
        pod(None, 1, phase="Pending"),
        pod("elsewhere", 1),
        pod("a", 1, **{"app.kubernetes.io/part-of": "llminferenceservice", "app.kubernetes.io/name": "m"}),
    ],
)
def test_pods_that_hold_no_gpu_of_others_do_not_count(other):
    assert codes(model(), nodes=[node("a", 1)], pods=[other]) == []


def test_pods_of_another_model_count():
    labels = {"app.kubernetes.io/part-of": "llminferenceservice", "app.kubernetes.io/name": "old"}
    assert codes(model(), nodes=[node("a", 1)], pods=[pod("a", 1, **labels)]) == ["IP-CAP-002"]


def test_gpus_on_two_nodes_do_not_make_up_for_one_node():
    nodes = [node("a", 2), node("b", 2)]
    pods = [pod("a", 1), pod("b", 1)]
    assert codes(model(count=2), nodes=nodes, pods=pods) == ["IP-CAP-002"]


def test_models_share_what_is_free():
    nodes = [node("a", 2)]
    assert codes(model("x"), model("y"), nodes=nodes) == []
    assert codes(model("x"), model("y", replicas=2), nodes=nodes) == ["IP-CAP-002"]


def test_big_pods_are_placed_before_small_ones():
    nodes = [GpuNode("a", "L4", 4, 4), GpuNode("b", "L4", 1, 1)]
    small, big = place([model("small"), model("big", count=4)], nodes)
    assert (small.nodes, big.nodes) == (["b"], ["a"])


def test_models_that_need_a_product_are_placed_before_those_that_do_not():
    nodes = [GpuNode("a", "L4", 1, 1), GpuNode("b", "A10G", 1, 1)]
    any_product, picky = place([model("any", product=None), model("picky")], nodes)
    assert (any_product.nodes, picky.nodes) == (["b"], ["a"])


def test_placing_leaves_the_nodes_alone():
    nodes = [GpuNode("a", "L4", 1, 1)]
    place([model()], nodes)
    assert nodes == [GpuNode("a", "L4", 1, 1)]


def test_stopped_models_need_nothing():
    assert codes(model(replicas=0), nodes=[node("a", 1)], pods=[pod("a", 1)]) == []


def test_a_pod_holds_what_its_containers_ask_for_together_or_one_init_container_if_more():
    def asking(count: int) -> dict[str, Any]:
        return {"resources": {"requests": {"nvidia.com/gpu": str(count)}}}

    assert pod_gpus({"spec": {"containers": [asking(1), asking(2)]}}, "nvidia.com/gpu") == 3
    both = {"spec": {"containers": [asking(1)], "initContainers": [asking(4), asking(2)]}}
    assert pod_gpus(both, "nvidia.com/gpu") == 4
    assert pod_gpus({"spec": {"containers": [{"name": "x"}]}}, "nvidia.com/gpu") == 0
