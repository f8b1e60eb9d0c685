"""Machines for a cluster without nodes."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.catalog.instance_types import Gpu, Hardware, InstanceType, load_hardware
from inference_platform.models.capacity.empty_cluster import EmptyClusterPlan, as_text, plan_for_empty_cluster
from inference_platform.models.capacity.resources import CPU, MEMORY, PODS

GPU = {"resource": "nvidia.com/gpu", "product_label": "nvidia.com/gpu.product", "tolerations": []}


def machine(name: str, product: str, gpus: int, vcpu: int = 16, memory: int = 64, **more: Any) -> InstanceType:
    return InstanceType("cloud", name, product, gpus, vcpu, memory, "vendor", **more)


HARDWARE = Hardware(
    gpus={name: Gpu(name, 2**34, (9, 0), "vendor") for name in ("L4", "H100")},
    instance_types={
        "cloud": (
            machine("l4-small", "L4", 1, 4, 16),
            machine("l4", "L4", 1, 16, 64),
            machine("l4-four", "L4", 4, 48, 192),
            machine("h100-eight", "H100", 8, 192, 2048),
            machine("h100-eight-ib", "H100", 8, 208, 2048, rdma="infiniband"),
        )
    },
)


def template(
    gpus: int, product: str | None = "L4", selector: dict[str, str] | None = None, **requests: str
) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    labels = {"nvidia.com/gpu.product": product} if product else {}
    return {
        "nodeSelector": {**labels, **(selector or {})},
        "containers": [{"name": "main", "resources": {"limits": limits, "requests": requests}}],
    }


def service(
    name: str,
    gpus: int,
    replicas: int = 1,
    product: str | None = "L4",
    spec: dict[str, Any] | None = None,
    **requests: str,
) -> dict[str, Any]:
    return {
        "kind": "LLMInferenceService",
        "metadata": {"name": name, "namespace": "t"},
        "spec": {"replicas": replicas, "template": template(gpus, product, **requests), **(spec or {})},
    }


def planned(*services: dict[str, Any]) -> EmptyClusterPlan:
    return plan_for_empty_cluster(services, "cloud", GPU, HARDWARE)


@pytest.mark.parametrize(
    ("services", "nodes"),
    [
        ([], {}),
        ([service("a", 1)], {"l4-small": 1}),
        ([service("a", 1, 3)], {"l4-small": 3}),
        ([service("a", 1, cpu="2")], {"l4-small": 1}),
        ([service("a", 1, cpu="4")], {"l4": 1}),
        ([service("a", 1, memory="15Gi")], {"l4": 1}),
        ([service("a", 1, memory="14Gi")], {"l4-small": 1}),
        ([service("a", 2)], {"l4-four": 1}),
        ([service("a", 2), service("b", 1, 2)], {"l4-four": 1}),
        ([service("b", 1, 2), service("a", 2)], {"l4-four": 1}),
        ([service("a", 8, 2, "H100")], {"h100-eight": 2}),
        ([service("a", 3, 3, "H100")], {"h100-eight": 2}),
        ([service("a", 1, product=None)], {"l4-small": 1}),
        ([service("a", 8, product=None)], {"h100-eight": 1}),
        ([service("a", 8, product="H100", **{"rdma/ib": "1"})], {"h100-eight-ib": 1}),
        (
            [service("a", 1, spec={"template": template(1, selector={"node.kubernetes.io/instance-type": "l4"})})],
            {"l4": 1},
        ),
    ],
)
def test_the_smallest_machines_that_take_the_pods_are_chosen(services, nodes):
    found = planned(*services)
    assert (found.nodes, found.unplaced) == (nodes, ())


def test_each_pod_of_a_group_gets_its_place():
    group = {"worker": template(8, "H100"), "parallelism": {"data": 16, "dataLocal": 8}}
    assert planned(service("big", 8, 2, "H100", group)).nodes == {"h100-eight": 4}


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (service("a", 1, product="B200"), "no machine with B200 is known for cloud"),
        (service("a", 8), "a pod needs 8 GPUs; the largest machine, l4-four, has 4 GPUs"),
        (service("a", 1, **{"rdma/ib": "1"}), "no machine with L4 and RDMA is known for cloud"),
    ],
)
def test_pods_without_a_machine_are_told_with_the_reason(wanted, reason):
    found = planned(wanted)
    assert [(item.model, item.role, item.reason) for item in found.unplaced] == [(("t", "a"), "serving", reason)]
    assert found.nodes == {}


def test_pods_without_gpus_are_summed_up_for_other_nodes():
    found = planned(service("a", 1, spec={"router": {"scheduler": {"replicas": 2}}}))
    assert found.elsewhere == {CPU: 1024, MEMORY: 2000 * 2**20, PODS: 2}


def test_what_cannot_be_looked_at_is_told():
    selector = {"pool": "mine"}
    found = planned(service("a", 1, spec={"template": template(1, None, selector, **{"vendor.com/thing": "1"})}))
    assert found.assumed == (
        "nodes for t/a get the labels pool",
        "any GPU will do for t/a, which names no product: the smallest machine is taken",
        "nodes for t/a offer vendor.com/thing",
    )


def test_of_a_provider_whose_machines_are_not_known_only_those_of_the_inventory_count():
    found = plan_for_empty_cluster([service("a", 1)], "nowhere", GPU, HARDWARE)
    assert (found.machines, found.takes(("t", "a"), "serving")) == ((), False)
    assert found.why_not(("t", "a"), "serving") == "no machine with L4 is known for nowhere"
    own = {"name": "rack", "product": "L4", "gpus": 4, "vcpu": 32, "memory_gib": 128}
    found = plan_for_empty_cluster([service("a", 1)], "nowhere", GPU, HARDWARE, own=[own])
    assert (found.machines_of(("t", "a")), found.why_not(("t", "a"), "serving")) == (["1 x rack"], "")


def test_the_plan_as_text():
    found = planned(service("a", 1, 2, spec={"router": {"scheduler": {}}}), service("b", 8))
    assert as_text(found).splitlines() == [
        "2 x l4-small (1 x L4) for t/a",
        "nodes without GPUs: 0.512 CPUs and 1 GiB memory for 1 pods",
        "no machine for t/b serving: a pod needs 8 GPUs; the largest machine, l4-four, has 4 GPUs",
        "figures of instance types are the vendor's, unconfirmed",
    ]


@pytest.mark.parametrize("provider", load_hardware().instance_types)
def test_no_machine_is_given_more_than_it_has(provider):
    products = {item.product for item in load_hardware().instance_types[provider]}
    services = [
        service(f"{product.lower()}-{gpus}", gpus, replicas, product, cpu="3", memory="12Gi")
        for product in sorted(products)
        for gpus, replicas in ((1, 5), (2, 3), (4, 2))
    ]
    found = plan_for_empty_cluster(services, provider, GPU)
    for item in found.machines:
        assert all(count >= 0 for count in item.left.values()), item
        used = item.type.gpus - item.left["nvidia.com/gpu"]
        assert used == sum(int(name.rsplit("-", 1)[1]) for (_, name), _ in item.pods)
    placed = sum(len(item.pods) for item in found.machines)
    missing = {item.model for item in found.unplaced}
    assert placed == sum(one["spec"]["replicas"] for one in services if ("t", one["metadata"]["name"]) not in missing)
