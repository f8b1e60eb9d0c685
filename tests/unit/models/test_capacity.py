"""Pods of models on the nodes of a cluster."""

from __future__ import annotations

import copy
import random
import time
from dataclasses import replace
from typing import Any

import pytest

from inference_platform.catalog.instance_types import Hardware, InstanceType
from inference_platform.models import ModelSummary
from inference_platform.models.capacity import (
    AFTER_STOPPING,
    DOES_NOT_FIT,
    FITS,
    CapacityPlan,
    EmptyClusterPlan,
    ModelPlan,
    as_text,
    check,
    plan,
    plan_for_empty_cluster,
)
from inference_platform.models.capacity.demand import group_size, needs_of, of_service
from inference_platform.models.capacity.nodes import read_node, refusal
from inference_platform.models.capacity.packing import Place
from inference_platform.models.capacity.resources import amount, pod_requests
from inference_platform.paths import ROOT

GPU = {
    "resource": "nvidia.com/gpu",
    "product_label": "nvidia.com/gpu.product",
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}
TAINT = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
OURS = {"app.kubernetes.io/part-of": "llminferenceservice"}


def node(name: str, gpus: int, product: str | None = "L4", **changes: Any) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name, **({"nvidia.com/gpu.product": product} if product else {})}
    allocatable = {"cpu": "8", **({"nvidia.com/gpu": str(gpus)} if gpus else {}), **changes.get("allocatable", {})}
    return {
        "metadata": {"name": name, "labels": {**labels, **changes.get("labels", {})}},
        "spec": {"taints": [TAINT] if gpus else [], **changes.get("spec", {})},
        "status": {
            "allocatable": allocatable,
            "conditions": [{"type": "Ready", "status": changes.get("ready", "True")}],
        },
    }


def container(gpus: int = 0, **requests: str) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {"name": "main", "resources": {"limits": limits, "requests": requests}}


def pod(where: str | None, gpus: int, phase: str = "Running", name: str = "p", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "team", "labels": labels},
        "spec": {**({"nodeName": where} if where else {}), "containers": [container(gpus)]},
        "status": {"phase": phase},
    }


def pod_of(model: str, where: str, gpus: int = 1, name: str = "p", **labels: str) -> dict[str, Any]:
    return pod(where, gpus, name=name, **OURS, **{"app.kubernetes.io/name": model, **labels})


def model(name: str = "m", count: int = 1, replicas: int = 1, product: str | None = "L4") -> ModelSummary:
    return ModelSummary(
        name, "team", "hf://a/b", name, replicas, product, count, f"/team/{name}", replicas, replicas * count
    )


def template(gpus: int = 1, product: str | None = "L4", **changes: Any) -> dict[str, Any]:
    return {
        "nodeSelector": {"nvidia.com/gpu.product": product} if product else {},
        "tolerations": GPU["tolerations"],
        "containers": [container(gpus, **changes.pop("requests", {}))],
        **changes,
    }


def service(
    name: str = "m", gpus: int = 1, replicas: int = 1, product: str | None = "L4", **spec: Any
) -> dict[str, Any]:
    annotations = spec.pop("annotations", {})
    return {
        "kind": "LLMInferenceService",
        "metadata": {"name": name, "namespace": "team", "annotations": annotations},
        "spec": {
            "model": {"uri": "pvc://weights"},
            "replicas": replicas,
            "template": template(gpus, product, **spec.pop("template", {})),
            **spec,
        },
    }


def group(name: str = "big", pods: int = 2, gpus: int = 8, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    parallelism = {"data": pods * gpus, "dataLocal": gpus}
    return service(name, gpus, replicas, worker=template(gpus), parallelism=parallelism, **spec)


def codes(*models: ModelSummary, nodes: list[Any], pods: list[Any] | None = None) -> list[str]:
    return [finding.code for finding in check(models, nodes, pods or [], GPU).findings]


def answers(found: CapacityPlan) -> dict[str, str]:
    return {item.model[1]: item.answer for item in found.models}


def places(found: CapacityPlan, name: str) -> list[str]:
    return [place.node for item in found.models if item.model[1] == name for place in item.places]


# Findings


def test_a_model_that_fits_has_no_finding():
    assert codes(model(replicas=2), nodes=[node("a", 1), node("b", 1)]) == []


@pytest.mark.parametrize(
    ("wanted", "nodes", "found"),
    [
        (model(count=2), [node("a", 1), node("b", 1)], "nodes with 1 x L4"),
        (model(product="H100"), [node("a", 1)], "nodes with 1 x L4"),
        (model(), [], "no node with GPUs that pods of models may use"),
        (model(), [node("cpu", 0)], "no node with GPUs that pods of models may use"),
        (model(), [node("a", 1, product=None)], "nodes with 1 x GPU without product label"),
        (
            model(),
            [node("a", 1, spec={"unschedulable": True})],
            "no node with GPUs that pods of models may use; cordoned (a)",
        ),
        (model(), [node("a", 1, ready="False")], "no node with GPUs that pods of models may use; not ready (a)"),
        (
            model(),
            [node("a", 1, spec={"taints": [{"key": "other", "effect": "NoExecute"}]})],
            "no node with GPUs that pods of models may use; taint other:NoExecute is not tolerated (a)",
        ),
    ],
)
def test_a_pod_that_no_node_can_ever_take_is_an_error(wanted, nodes, found):
    (finding,) = check([wanted], nodes, [], GPU).findings
    assert (finding.code, finding.severity, finding.found) == ("IP-CAP-001", "error", found)


def test_the_error_says_what_the_nodes_have():
    (finding,) = check([model(count=4)], [node("a", 1), node("b", 2), node("c", 2)], [], GPU).findings
    assert finding.where == "models team/m gpu"
    assert finding.expected == "a node with 4 x L4"
    assert finding.found == "nodes with 1 x L4 or 2 x L4"


def test_any_product_takes_any_node():
    assert codes(model(product=None), nodes=[node("a", 1, product=None)]) == []


def test_a_taint_that_only_prefers_does_not_matter():
    taints = [{"key": "other", "effect": "PreferNoSchedule"}]
    assert codes(model(), nodes=[node("a", 1, spec={"taints": taints})]) == []


def test_gpus_in_use_are_a_warning_that_names_who_has_them():
    capacity = check([model()], [node("a", 1)], [pod("a", 1)], GPU)
    (finding,) = capacity.findings
    assert (finding.code, finding.severity) == ("IP-CAP-002", "warning")
    assert finding.found == "room for 0: 0 GPUs free, a pod needs 1 GPU (a; held by pod team/p)"
    assert finding.remedy == "Expect pending pods: lower replicas, stop another model, or add nodes."
    assert capacity.placements[0].missing == 1


def test_a_warning_names_the_model_whose_stop_makes_room():
    (finding,) = check([model("x"), model("y")], [node("a", 1)], [], GPU).findings
    assert finding.where == "models team/y replicas"
    assert finding.remedy == "It fits when team/x is stopped; or lower replicas, or add nodes."


@pytest.mark.parametrize(
    "other",
    [
        pod("a", 1, phase="Succeeded"),
        pod("a", 1, phase="Failed"),
        pod(None, 1, phase="Pending"),
        pod("elsewhere", 1),
        pod_of("m", "a"),
    ],
)
def test_pods_that_hold_no_gpu_of_others_do_not_count(other):
    assert codes(model(), nodes=[node("a", 1)], pods=[other]) == []


def test_a_pod_that_is_being_deleted_does_not_count():
    leaving = pod("a", 1)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert codes(model(), nodes=[node("a", 1)], pods=[leaving]) == []


def test_pods_of_another_model_count():
    assert codes(model(), nodes=[node("a", 1)], pods=[pod_of("old", "a")]) == ["IP-CAP-002"]


def test_gpus_on_two_nodes_do_not_make_up_for_one_node():
    pods = [pod("a", 1, name="p"), pod("b", 1, name="q")]
    assert codes(model(count=2), nodes=[node("a", 2), node("b", 2)], pods=pods) == ["IP-CAP-002"]


def test_models_share_what_is_free():
    nodes = [node("a", 2)]
    assert codes(model("x"), model("y"), nodes=nodes) == []
    assert codes(model("x"), model("y", replicas=2), nodes=nodes) == ["IP-CAP-002"]


@pytest.mark.parametrize("stopped", [model(replicas=0), replace(model(), state="stopped")])
def test_stopped_models_need_nothing(stopped):
    assert codes(stopped, nodes=[node("a", 1)], pods=[pod("a", 1)]) == []


def test_of_many_models_without_room_the_first_are_told_and_the_rest_counted():
    found = check([model(f"m{number:03}") for number in range(100)], [node("a", 1)], [], GPU).findings
    assert [finding.code for finding in found] == ["IP-CAP-002"] * 21
    assert (found[-1].where, found[-1].found) == ("models", "79 more like the 20 before")


@pytest.mark.parametrize(
    ("running", "gpus", "remedy"),
    [(1, 1, "waits until a place is free"), (4, 4, "slows down"), (1, 2, None)],
)
def test_a_change_needs_spare_room_for_its_rollout(running, gpus, remedy):
    pods = [pod_of("m", "a", name=f"p{number}") for number in range(running)]
    changing = {("team", "m")}
    found = check([model(replicas=running)], [node("a", gpus)], pods, GPU, changing=changing).findings
    assert [finding.code for finding in found] == (["IP-CAP-003"] if remedy else [])
    assert all(remedy in finding.remedy for finding in found if remedy)


@pytest.mark.parametrize(("replicas", "surge"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_a_rollout_starts_a_quarter_of_the_pods_first(replicas, surge):
    (pods,) = of_service(service(replicas=replicas)).sets
    assert pods.surge_pods == surge


def test_a_new_model_needs_no_room_for_a_rollout():
    assert check([model()], [node("a", 1)], [], GPU, changing={("team", "m")}).findings == []


def test_a_group_that_no_nodes_can_take_is_an_error():
    nodes = [node("a", 8), node("b", 4)]
    (finding,) = check([model("big")], nodes, [], GPU, objects=[group()]).findings
    assert (finding.code, finding.severity) == ("IP-CAP-004", "error")
    assert finding.expected == "nodes for a group of 2 pods with 8 x L4 each"
    assert finding.found == "too few that suit: a"


def test_findings_point_at_prefill_when_its_pods_do_not_fit():
    wanted = service(prefill={"replicas": 1, "template": template(8)})
    (finding,) = check([model()], [node("a", 1)], [], GPU, objects=[wanted]).findings
    assert (finding.code, finding.where) == ("IP-CAP-001", "models team/m prefill")


# What a service asks for


def startable(product: str, gpus: int, *models: dict[str, Any]) -> EmptyClusterPlan:
    """What an autoscaler could start of one type of machine."""
    kind = InstanceType("cloud", "big", product, gpus, vcpu=96, memory_gib=512, source="test")
    return plan_for_empty_cluster(models, "cloud", GPU, Hardware({}, {"cloud": (kind,)}))


def test_what_nodes_can_be_started_for_is_a_warning_with_the_machines() -> None:
    wanted = service(gpus=8, replicas=2)
    machines = startable("L4", 8, wanted)
    (finding,) = check([model(count=8, replicas=2)], [], [], GPU, objects=[wanted], startable=machines).findings
    assert (finding.code, finding.severity) == ("IP-CAP-001", "warning")
    assert finding.remedy == (
        "Expect the autoscaler to start 2 x big, if it may start such nodes; the pods wait until then."
    )


def test_pods_without_room_may_wait_for_nodes_to_be_started() -> None:
    wanted = service(gpus=8, replicas=2)
    known = {"objects": [wanted], "startable": startable("L4", 8, wanted), "starter": "Karpenter"}
    (finding,) = check([model(count=8, replicas=2)], [node("a", 8)], [], GPU, **known).findings
    assert (finding.code, finding.severity) == ("IP-CAP-002", "warning")
    assert finding.remedy.endswith("Or wait for Karpenter to start nodes, if it may start such nodes.")


def test_where_nothing_starts_nodes_the_remedy_names_the_setting_that_says_otherwise() -> None:
    (finding,) = check([model(count=8)], [], [], GPU, objects=[service(gpus=8)]).findings
    assert (finding.code, finding.severity) == ("IP-CAP-001", "error")
    assert finding.remedy.endswith("Where such nodes start when pods wait for them, set node_autoscaling: true.")


def test_what_no_machine_takes_stays_an_error() -> None:
    wanted = service(gpus=8)
    machines = startable("L4", 4, wanted)
    (finding,) = check([model(count=8)], [], [], GPU, objects=[wanted], startable=machines).findings
    assert (finding.code, finding.severity) == ("IP-CAP-001", "error")
    assert finding.remedy.endswith(
        "None can be expected from the autoscaler: a pod needs 8 GPUs; the largest machine, big, has 4 GPUs "
        "(instance_types adds machines)."
    )


def test_where_no_machines_are_known_an_autoscaler_makes_nothing_possible() -> None:
    wanted = service(gpus=8)
    machines = plan_for_empty_cluster([wanted], "generic", GPU)
    (finding,) = check([model(count=8)], [], [], GPU, objects=[wanted], startable=machines).findings
    assert (finding.code, finding.severity) == ("IP-CAP-001", "error")
    assert "no machine with L4 is known for generic (instance_types adds machines)" in finding.remedy


@pytest.mark.parametrize(
    ("spec", "sets"),
    [
        ({}, [("serving", 1, 1)]),
        ({"replicas": 3}, [("serving", 3, 1)]),
        ({"replicas": 0}, []),
        ({"scaling": {"minReplicas": 2, "maxReplicas": 9}}, [("serving", 2, 1)]),
        ({"scaling": {"maxReplicas": 9}}, [("serving", 1, 1)]),
        ({"router": {"scheduler": {}}}, [("serving", 1, 1), ("scheduler", 1, 1)]),
        ({"router": {"scheduler": {"pool": {"ref": {"name": "mine"}}}}}, [("serving", 1, 1)]),
        ({"prefill": {"replicas": 4, "template": template()}}, [("serving", 1, 1), ("prefill", 4, 1)]),
        ({"worker": template(), "parallelism": {"data": 32, "dataLocal": 8}}, [("serving", 1, 4)]),
        ({"worker": template(), "parallelism": {"pipeline": 3}}, [("serving", 1, 3)]),
    ],
)
def test_pods_follow_from_the_service(spec, sets):
    wanted = service()
    wanted["spec"].update(spec)
    found = of_service(wanted).sets
    assert [(item.role, item.replicas, len(item.pods)) for item in found] == sets


def test_a_stopped_service_has_no_pods():
    assert of_service(service(annotations={"serving.kserve.io/stop": "true"})).sets == ()


@pytest.mark.parametrize(
    ("parallelism", "size"),
    [({}, 1), ({"data": 16, "dataLocal": 8}, 2), ({"data": 10, "dataLocal": 4}, 2), ({"dataLocal": 8}, 1)],
)
def test_groups_are_counted_as_kserve_does(parallelism, size):
    assert group_size(parallelism) == size


def test_the_scheduler_pod_asks_for_what_its_preset_says():
    _, scheduler = of_service(service(router={"scheduler": {}})).sets
    assert dict(scheduler.pods[0].requests) == {"cpu": 512, "memory": 1000 * 2**20, "pods": 1}


@pytest.mark.parametrize(
    ("resource", "quantity", "expected"),
    [
        ("cpu", "1500m", 1500),
        ("cpu", 2, 2000),
        ("cpu", "0.5", 500),
        ("memory", "1Gi", 2**30),
        ("memory", "1.5G", 1_500_000_000),
        ("memory", "1e3", 1000),
        ("memory", "1500m", 2),
        ("nvidia.com/gpu", "8", 8),
    ],
)
def test_quantities_are_whole_numbers(resource, quantity, expected):
    assert amount(resource, quantity) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": [container(1), container(2)]}, 3),
        ({"containers": [container(1)], "initContainers": [container(4), container(2)]}, 4),
        ({"containers": [container(1)], "initContainers": [{**container(2), "restartPolicy": "Always"}]}, 3),
        (
            {"containers": [], "initContainers": [{**container(2), "restartPolicy": "Always"}, container(3)]},
            5,
        ),
        ({"containers": [container()]}, 0),
    ],
)
def test_a_pod_holds_what_the_scheduler_counts(spec, expected):
    assert pod_requests(spec).get("nvidia.com/gpu", 0) == expected


def test_a_limit_stands_for_a_request_that_is_not_given():
    spec = {"containers": [{"resources": {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}}]}
    assert pod_requests(spec) == {"cpu": 1000, "memory": 2**30, "pods": 1}


# Which nodes take a pod


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Equal", "value": "true"}, True),
        ({"key": "nvidia.com/gpu", "value": "true"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Equal", "value": "no"}, False),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations_are_judged_as_the_scheduler_does(toleration, fits):
    wanted = service(template={"tolerations": [toleration]})
    assert answers(plan([wanted], [node("a", 1)], [])) == {"m": FITS if fits else DOES_NOT_FIT}


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"key": "zone", "operator": "In", "values": ["a", "b"]}, True),
        ({"key": "zone", "operator": "In", "values": ["c"]}, False),
        ({"key": "zone", "operator": "NotIn", "values": ["c"]}, True),
        ({"key": "rack", "operator": "NotIn", "values": ["c"]}, True),
        ({"key": "zone", "operator": "Exists"}, True),
        ({"key": "rack", "operator": "Exists"}, False),
        ({"key": "rack", "operator": "DoesNotExist"}, True),
        ({"key": "generation", "operator": "Gt", "values": ["4"]}, True),
        ({"key": "generation", "operator": "Lt", "values": ["4"]}, False),
        ({"key": "rack", "operator": "Gt", "values": ["4"]}, False),
    ],
)
def test_required_node_affinity_is_judged_as_the_scheduler_does(rule, fits):
    there = read_node(node("x", 1, labels={"zone": "a", "generation": "5"}))
    assert (refusal(there, needs_of(template(affinity=_required({"matchExpressions": [rule]})))) is None) is fits


@pytest.mark.parametrize(
    ("terms", "fits"),
    [
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["x"]}]}], True),
        ([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["y"]}]}], False),
        (
            [
                {"matchExpressions": [{"key": "no", "operator": "Exists"}]},
                {"matchExpressions": [{"key": "zone", "operator": "Exists"}]},
            ],
            True,
        ),
        ([{}], False),
    ],
)
def test_one_term_of_an_affinity_is_enough_and_an_empty_one_never_holds(terms, fits):
    there = read_node(node("x", 1, labels={"zone": "a"}))
    assert (refusal(there, needs_of(template(affinity=_required(*terms)))) is None) is fits


def _required(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


@pytest.mark.parametrize(
    ("requests", "allocatable", "others", "answer"),
    [
        ({"cpu": "8"}, {}, [], FITS),
        ({"cpu": "9"}, {}, [], DOES_NOT_FIT),
        ({"memory": "16Gi"}, {"memory": "16Gi"}, [], FITS),
        ({"memory": "17Gi"}, {"memory": "16Gi"}, [], DOES_NOT_FIT),
        ({"memory": "17Gi"}, {}, [], FITS),
        ({"rdma/ib": "1"}, {}, [], DOES_NOT_FIT),
        ({"rdma/ib": "1"}, {"rdma/ib": "4"}, [], FITS),
        ({}, {"pods": "1"}, [pod("a", 0)], DOES_NOT_FIT),
        ({}, {"pods": "2"}, [pod("a", 0)], FITS),
    ],
)
def test_every_resource_counts_and_an_unknown_basic_one_does_not(requests, allocatable, others, answer):
    wanted = service(template={"requests": requests})
    assert answers(plan([wanted], [node("a", 2, allocatable=allocatable)], others)) == {"m": answer}


# Places


def test_big_pods_are_placed_before_small_ones():
    found = plan([service("small"), service("big", 4)], [node("a", 4), node("b", 1)], [])
    assert (places(found, "small"), places(found, "big")) == (["b"], ["a"])


def test_models_that_need_a_product_are_placed_before_those_that_do_not():
    found = plan([service("any", product=None), service("picky")], [node("a", 1), node("b", 1, "A10G")], [])
    assert (places(found, "any"), places(found, "picky")) == (["b"], ["a"])


def test_a_model_that_fits_is_not_crowded_out_by_one_that_never_would():
    found = plan([service("a-many", replicas=9), service("b-one")], [node("a", 4)], [])
    assert answers(found) == {"a-many": DOES_NOT_FIT, "b-one": FITS}
    assert len(places(found, "a-many")) == 3


def test_scheduler_pods_keep_off_gpu_nodes():
    tolerating = {"tolerations": [{"operator": "Exists"}]}
    wanted = service(router={"scheduler": {"template": tolerating}})
    assert places(plan([wanted], [node("a", 1), node("z", 0)], []), "m") == ["a", "z"]


def test_running_pods_stay_where_they_are():
    nodes = [node("a", 2), node("b", 2)]
    found = plan(
        [service("old", replicas=2), service("new", 2)],
        nodes,
        [pod_of("old", "a", name="1"), pod_of("old", "b", name="2")],
    )
    assert sorted(places(found, "old")) == ["a", "b"]
    assert answers(found) == {"old": FITS, "new": AFTER_STOPPING}
    assert all(place.running for place in found.models[0].places)


@pytest.mark.parametrize(
    "change",
    [{"unschedulable": True}, {"taints": [TAINT, {"key": "maintenance", "effect": "NoSchedule"}]}],
)
def test_running_pods_stay_on_nodes_that_take_no_new_ones(change):
    found = plan([service()], [node("a", 1, spec=change)], [pod_of("m", "a")])
    assert places(found, "m") == ["a"]


def test_pods_that_changed_are_placed_anew_in_place_of_the_old_ones():
    found = plan([service("m", 2)], [node("a", 2)], [pod_of("m", "a", gpus=1)])
    assert (answers(found), places(found, "m")) == ({"m": FITS}, ["a"])
    assert not found.models[0].places[0].running


def test_pods_above_the_wanted_replicas_do_not_count():
    running = [pod_of("m", "a", name="1"), pod_of("m", "a", name="2")]
    assert answers(plan([service(), service("other")], [node("a", 2)], running)) == {"m": FITS, "other": FITS}


def test_the_running_scheduler_is_no_serving_pod():
    scheduler = pod_of("m", "a", gpus=0, **{"app.kubernetes.io/component": "llminferenceservice-router-scheduler"})
    found = plan([service()], [node("a", 1)], [scheduler])
    assert [place.running for place in found.models[0].places] == [False]


# Groups


def test_a_group_is_placed_as_a_whole_or_not_at_all():
    nodes = [node("a", 8), node("b", 8), node("c", 8)]
    found = plan([group(replicas=2)], nodes, [])
    assert places(found, "big") == ["a", "b"]
    assert found.models[0].missing == 1
    assert found.left["c"]["nvidia.com/gpu"] == 8


def test_pods_of_a_group_may_share_a_node():
    assert places(plan([group(gpus=4)], [node("a", 8)], []), "big") == ["a", "a"]


def test_a_running_group_stays_and_a_torn_one_does_not():
    nodes = [node("a", 8), node("b", 8)]
    index = {"leaderworkerset.sigs.k8s.io/group-index": "0"}
    both = [pod_of("big", "a", 8, "big-0", **index), pod_of("big", "b", 8, "big-0-1", **index)]
    assert [place.running for place in plan([group()], nodes, both).models[0].places] == [True, True]
    assert [place.running for place in plan([group()], nodes, both[:1]).models[0].places] == [False, False]


RACKS = [
    node("a", 8, labels={"rack": "1"}),
    node("b", 8, labels={"rack": "2"}),
    node("c", 8, labels={"rack": "2"}),
    node("d", 8, labels={"rack": "2"}),
]
EXCLUSIVE = {"leaderworkerset.sigs.k8s.io/exclusive-topology": "rack"}


def test_an_exclusive_group_takes_one_topology_domain_for_itself():
    found = plan([group(annotations=EXCLUSIVE)], RACKS, [])
    assert places(found, "big") == ["b", "c"]
    two = plan(
        [group(gpus=4, replicas=2, annotations=EXCLUSIVE)], [node("a", 8, labels={"rack": "1"}), RACKS[1], RACKS[2]], []
    )
    assert sorted({*places(two, "big")}) == ["a", "b"]


def test_a_second_exclusive_group_needs_a_second_domain():
    found = plan([group(gpus=4, replicas=2, annotations=EXCLUSIVE)], RACKS[1:], [])
    assert found.models[0].missing == 1


# Which models to stop


def test_the_smallest_model_that_makes_room_is_to_stop():
    nodes = [node("a", 4), node("b", 2)]
    found = plan([service("four", 4), service("two", 2), service("new", 1)], nodes, [])
    assert found.models[2].stop == (("team", "two"),)


def test_a_model_that_is_no_longer_listed_is_stopped_rather_than_a_listed_one():
    nodes = [node("a", 2), node("b", 1)]
    running = [pod_of("left-over", "a", 2), pod_of("listed", "b", 1)]
    found = plan([service("listed"), service("new")], nodes, running)
    assert found.models[1].stop == (("team", "left-over"),)


def test_two_are_stopped_when_one_is_not_enough():
    running = [pod_of("x", "a", name="1"), pod_of("y", "a", name="2"), pod_of("z", "b", name="3")]
    found = plan([service("x"), service("y"), service("z"), service("new", 2)], [node("a", 2), node("b", 1)], running)
    assert set(found.models[3].stop) == {("team", "x"), ("team", "y")}


def test_none_of_many_to_stop_can_be_left_out():
    names = ["v", "w", "x", "y", "z"]
    running = [pod_of(name, "a" if name != "z" else "b", name=name) for name in names]
    found = plan([*map(service, names), service("new", 4)], [node("a", 4), node("b", 1)], running)
    assert set(found.models[5].stop) == {("team", name) for name in "vwxy"}


def test_pods_that_belong_to_no_model_are_not_offered_for_stopping():
    found = plan([service()], [node("a", 1)], [pod("a", 1)])
    assert (found.models[0].answer, found.models[0].stop) == (DOES_NOT_FIT, ())


def test_a_model_larger_than_the_cluster_does_not_fit_whatever_stops():
    found = plan([service("x"), service("many", replicas=3)], [node("a", 2)], [])
    assert answers(found)["many"] == DOES_NOT_FIT


def test_an_answer_for_one_model_is_not_taken_over_by_another_that_asks_for_more():
    def wanting(name: str, cpu: str) -> dict[str, Any]:
        return service(name, 2, template={"requests": {"cpu": cpu}})

    nodes = [node("a", 2, allocatable={"cpu": "4"}), node("b", 2, allocatable={"cpu": "16"})]
    running = [pod_of("x", "a", 2, "x"), pod_of("y", "b", 2, "y")]
    found = plan([service("y", 2), service("x", 2), wanting("little", "2"), wanting("much", "8")], nodes, running)
    assert [item.stop for item in found.models[2:]] == [(("team", "x"),), (("team", "y"),)]


# Text


def test_the_table_tells_answer_places_and_reasons():
    wanted = [service("x", replicas=2), service("y", router={"scheduler": {}}), service("stopped", replicas=0)]
    text = as_text(plan(wanted, [node("a", 1), node("b", 1), node("cpu", 0, None)], [pod_of("y", "b")]))
    assert text.splitlines() == [
        "model             pods  each    answer                      where",
        "team/x serving    2     1 GPU   fits after stopping team/y  a, 1 without a place",
        "team/y serving    1     1 GPU   fits                        b (1 running)",
        "team/y scheduler  1     no GPU                              cpu",
        "team/stopped      0             fits",
        "",
        "team/x serving: 1 of 2 do not fit",
        "  cpu: no label nvidia.com/gpu.product=L4",
        "  a, b: 0 GPUs free, a pod needs 1 GPU; held by team/x, team/y",
        "",
        "node  left        problem",
        "a     0 of 1 GPU",
        "b     0 of 1 GPU",
    ]


def test_rules_about_other_pods_are_named_as_not_judged():
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    spread = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
    found = plan([service(template={"affinity": affinity, "topologySpreadConstraints": spread})], [node("a", 1)], [])
    assert found.models[0].not_judged == ("required podAntiAffinity", "topology spread with DoNotSchedule")
    assert "not judged: required podAntiAffinity" in as_text(found)


# Properties


def _random_case(seed: int) -> tuple[list[Any], list[Any], list[Any]]:
    choose = random.Random(seed)
    products = ["L4", "H100"]
    nodes = [
        node(
            f"n{number}",
            choose.choice([1, 2, 4, 8]),
            choose.choice(products),
            allocatable={"memory": f"{choose.choice([32, 64, 128])}Gi", "pods": str(choose.choice([2, 5, 110]))},
            labels={"rack": str(number % 3)},
        )
        for number in range(choose.randint(1, 8))
    ]
    wanted: list[Any] = []
    for number in range(choose.randint(1, 10)):
        name, gpus, replicas = f"m{number}", choose.choice([1, 1, 2, 4, 8]), choose.randint(0, 4)
        if choose.random() < 0.2:
            annotations = EXCLUSIVE if choose.random() < 0.5 else {}
            wanted.append(group(name, choose.randint(1, 3), gpus, replicas, annotations=annotations))
        else:
            requests = {"cpu": str(choose.choice([1, 2, 4])), "memory": f"{choose.choice([4, 16])}Gi"}
            wanted.append(service(name, gpus, replicas, choose.choice(products), template={"requests": requests}))
    running = [
        pod_of(
            f"m{choose.randrange(12)}", choose.choice(nodes)["metadata"]["name"], choose.choice([1, 2]), f"p{number}"
        )
        for number in range(choose.randint(0, 4))
    ]
    return wanted, nodes, running


def _used(found: CapacityPlan) -> dict[str, dict[str, int]]:
    used: dict[str, dict[str, int]] = {}
    for item in found.models:
        for place in item.places:
            for resource, count in place.needs.requests:
                on_node = used.setdefault(place.node, {})
                on_node[resource] = on_node.get(resource, 0) + count
    return used


@pytest.mark.parametrize("seed", range(150))
def test_whatever_the_cluster_a_plan_holds_what_it_promises(seed):
    wanted, nodes, running = _random_case(seed)
    found = plan(wanted, nodes, running)
    seen = {item["metadata"]["name"]: read_node(item) for item in nodes}
    listed = {item["metadata"]["name"] for item in wanted}
    others = [item for item in running if item["metadata"]["labels"]["app.kubernetes.io/name"] not in listed]
    for name, used in _used(found).items():
        for item in others:
            if item["spec"]["nodeName"] == name:
                used["nvidia.com/gpu"] = used.get("nvidia.com/gpu", 0) + pod_requests(item["spec"])["nvidia.com/gpu"]
        for resource, count in used.items():
            total = seen[name].has(resource)
            assert total is None or count <= total, f"{name} is given {count} of {total} {resource}"
    for item in found.models:
        for place in item.places:
            assert place.running or refusal(seen[place.node], place.needs) is None
        for part in item.sets:
            assert len(part.places) + part.missing * len(part.pods.pods) == part.pods.replicas * len(part.pods.pods)
            replicas = [place.replica for place in part.places]
            assert all(replicas.count(replica) == len(part.pods.pods) for replica in replicas)
        assert (item.answer == FITS) == (item.missing == 0)
        assert bool(item.stop) == (item.answer == AFTER_STOPPING)


@pytest.mark.parametrize("seed", range(40))
def test_the_order_in_which_things_are_listed_changes_nothing(seed):
    wanted, nodes, running = _random_case(seed)
    found = plan(wanted, nodes, running)
    other = plan(wanted, nodes[::-1], running[::-1])
    assert found == other
    turned = plan(wanted[::-1], nodes, running)
    assert {item.model: item.places for item in found.models} == {item.model: item.places for item in turned.models}


@pytest.mark.parametrize("seed", range(60))
def test_stopping_what_the_plan_names_makes_the_model_fit(seed):
    wanted, nodes, running = _random_case(seed)
    found = plan(wanted, nodes, running)
    for item in found.models:
        assert not item.stop or _fits_without(found, item, item.stop, wanted, nodes, running)


def _exclusive(item: ModelPlan, wanted: list[Any]) -> bool:
    """Which domains a model has already is lost when its pods are turned into pods of others."""
    return any(one["metadata"]["annotations"] for one in wanted if one["metadata"]["name"] == item.model[1])


def _fits_without(
    found: CapacityPlan, item: ModelPlan, stopped: Any, wanted: list[Any], nodes: list[Any], running: list[Any]
) -> bool:
    """Whether what a model misses fits when some others stop and all else stays where the plan has it."""
    by_name = {one["metadata"]["name"]: one for one in wanted}
    gone = {name for _, name in stopped}
    beside = [one for one in running if one["metadata"]["labels"]["app.kubernetes.io/name"] not in {*gone, *by_name}]
    beside += [_taken(place) for other in found.models if other.model[1] not in gone for place in other.places]
    rest = copy.deepcopy(by_name[item.model[1]])
    rest["spec"]["replicas"] = item.missing
    return answers(plan([rest], nodes, beside)) == {item.model[1]: FITS}


def _taken(place: Place) -> dict[str, Any]:
    """A pod that holds what a placed pod would."""
    units = {"cpu": "m"}
    requests = {name: f"{count}{units.get(name, '')}" for name, count in place.needs.requests if name != "pods"}
    return {
        "metadata": {"name": "taken", "namespace": "other", "labels": {}},
        "spec": {"nodeName": place.node, "containers": [{"resources": {"requests": requests}}]},
        "status": {"phase": "Running"},
    }


@pytest.mark.parametrize("seed", range(60))
def test_no_single_model_would_do_where_several_are_named(seed):
    wanted, nodes, running = _random_case(seed)
    found = plan(wanted, nodes, running)
    for item in found.models:
        if len(item.stop) > 1 and not _exclusive(item, wanted):
            for other in found.models:
                assert other.model == item.model or not _fits_without(
                    found, item, [other.model], wanted, nodes, running
                )


@pytest.mark.parametrize("seed", range(60))
def test_none_of_the_named_models_can_be_left_out(seed):
    wanted, nodes, running = _random_case(seed)
    found = plan(wanted, nodes, running)
    for item in found.models:
        for left_out in () if _exclusive(item, wanted) else item.stop:
            stopped = [model for model in item.stop if model != left_out]
            assert not _fits_without(found, item, stopped, wanted, nodes, running)


@pytest.mark.parametrize("seed", range(40))
def test_an_empty_node_more_never_makes_a_fitting_inventory_unfit(seed):
    wanted, nodes, running = _random_case(seed)
    if plan(wanted, nodes, running).fits:
        assert plan(wanted, [*nodes, node("zz", 8, "L4"), node("zzz", 8, "H100")], running).fits


def test_a_thousand_models_on_five_hundred_nodes_take_seconds():
    choose = random.Random(7)
    products = ["L4", "A10G", "H100", "H200"]
    nodes = [
        node(f"n{number:03}", 8, products[number % 4], allocatable={"cpu": "96", "memory": "768Gi"})
        for number in range(480)
    ]
    nodes += [node(f"cpu{number:02}", 0, allocatable={"cpu": "64"}) for number in range(20)]
    wanted = [
        service(
            f"m{number:04}",
            choose.choice([1, 1, 2, 4, 8]),
            choose.randint(1, 2),
            choose.choice(products),
            router={"scheduler": {}},
            template={"requests": {"cpu": str(choose.choice([2, 4, 8])), "memory": "32Gi"}},
        )
        for number in range(1000)
    ]
    started = time.process_time()
    found = plan(wanted, nodes, [])
    assert time.process_time() - started < 5
    assert {item.answer for item in found.models} == {FITS, AFTER_STOPPING}


# The document


def test_the_example_of_the_document_is_what_the_code_computes():
    nodes = [*(node(f"l4-{number}", 1) for number in range(3)), node("cpu-0", 0, None)]
    nodes += [node(f"h100-{number}", 8, "H100") for number in range(3)]
    wanted = [
        service("chat", replicas=2),
        service("search", replicas=2),
        service("deepseek", 8, 1, "H100", worker=template(8, "H100"), parallelism={"data": 16, "dataLocal": 8}),
        service("draft", 8, 2, "H100"),
    ]
    running = [pod_of("chat", "l4-0", name="0"), pod_of("chat", "l4-1", name="1"), pod("h100-2", 2, name="training-0")]
    text = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8").split("## Where pods would go")[1]
    assert text.split("```text\n")[1].split("```")[0] == as_text(plan(wanted, nodes, running)) + "\n"
