"""The table of all models: states, pods, GPUs, shares and priorities."""

from __future__ import annotations

from typing import Any

from inference_platform.models import render
from inference_platform.models.overview import Row, Seen, as_text, rows, totals

GPU = {"resource": "nvidia.com/gpu", "product_label": "nvidia.com/gpu.product"}


def wanted(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team"}
    return {"kind": "LLMInferenceService", "metadata": metadata, "spec": {"replicas": 2, **spec}}


def live(name: str, reason: str = "", **status: Any) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "False" if reason else "True", "reason": reason}
    return {**wanted(name), "status": {"url": f"http://g/team/{name}", "conditions": [ready], **status}}


def pod(model: str, number: int, ready: bool = True, component: str = "workload", node: str = "n1") -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/part-of": "llminferenceservice",
        "app.kubernetes.io/name": model,
        "app.kubernetes.io/component": f"llminferenceservice-{component}",
    }
    return {
        "metadata": {"name": f"{model}-{number}", "namespace": "team", "labels": labels},
        "spec": {"nodeName": node, "containers": [{"resources": {"limits": {"nvidia.com/gpu": "2"}}}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


NODE = {"metadata": {"name": "n1", "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}}}


def table(names: list[dict[str, Any]], **seen: Any) -> dict[str, Row]:
    return {row.model.partition("/")[2]: row for row in rows(names, Seen(nodes=[NODE], **seen), GPU)}


def test_every_state_is_told_apart() -> None:
    found = table(
        [wanted(name) for name in ("ready", "starting", "stopped", "new")],
        models=[live("ready"), live("starting", "Progressing"), live("stopped", "Stopped"), live("old")],
        reasons={"team/starting": "0 of 2 pods", "team/stopped": "it is stopped"},
    )
    assert {name: row.state for name, row in found.items()} == {
        "ready": "ready",
        "starting": "not ready",
        "stopped": "stopped",
        "new": "not applied",
        "old": "not in the inventory",
    }
    assert found["starting"].why == "0 of 2 pods"
    assert found["stopped"].url == ""


def test_serving_pods_count_and_the_scheduler_does_not() -> None:
    pods = [pod("a", 1), pod("a", 2, ready=False), pod("a", 3, component="router-scheduler"), pod("b", 1)]
    row = table([wanted("a")], models=[live("a")], pods=pods)["a"]
    assert (row.ready_pods, row.pods, row.gpus, row.gpu_product) == (1, 2, 4, "NVIDIA-L4")


def test_a_pod_that_waits_for_a_node_holds_no_gpu() -> None:
    row = table([wanted("a")], models=[live("a")], pods=[pod("a", 1, ready=False, node="")])["a"]
    assert (row.ready_pods, row.pods, row.gpus) == (0, 2, 0)


def test_wanted_pods_are_those_of_all_nodes_of_all_replicas_and_of_prefill() -> None:
    wide = {"replicas": 2, "parallelism": {"data": 16, "dataLocal": 8}, "worker": {}}
    deep = {"replicas": 1, "parallelism": {"pipeline": 3, "tensor": 8}, "worker": {}}
    found = table(
        [
            wanted("apart", replicas=1, prefill={"replicas": 3}),
            wanted("wide", **wide, prefill=deep),
            wanted("scaled", replicas=None, scaling={"minReplicas": 2}),
            wanted("local", replicas=1, parallelism={"data": 8, "dataLocal": 8}),
        ]
    )
    assert {name: row.pods for name, row in found.items()} == {"apart": 4, "wide": 7, "scaled": 2, "local": 1}


def test_the_pods_that_the_table_wants_are_those_of_the_rendered_models(aws: dict[str, Any]) -> None:
    common = {"namespace": "team", "uri": "hf://a/b", "gpu": {"count": 8}}
    entries = [
        {"name": "wide", **common, "replicas": 2, "parallelism": {"data": 16, "data_local": 8}, "prefill": {}},
        {"name": "plain", **common, "replicas": 3},
    ]
    rendered = render(entries, {}, aws)
    assert rendered.ok, rendered.findings
    assert {row.model.partition("/")[2]: row.pods for row in rows(rendered.objects, Seen(), GPU)} == {
        model.name: model.pods for model in rendered.models
    }


def test_headers_tell_the_models_of_a_group_apart(aws: dict[str, Any]) -> None:
    entries: list[dict[str, Any]] = [
        {
            "name": name,
            "namespace": "team",
            "uri": "hf://a/b",
            "gpu": {"count": 1},
            "served_name": "chat",
            "traffic": part,
        }
        for name, part in (
            ("a", {"group": "chat"}),
            ("b", {"group": "chat", "headers": [{"name": "x-tier", "value": "gold"}]}),
        )
    ]
    rendered = render(entries, {}, aws, groups=[{"name": "chat", "namespace": "team", "split": "header"}])
    assert rendered.ok, rendered.findings
    routes = [obj for obj in rendered.objects if obj["kind"] == "HTTPRoute"]
    found = table(rendered.objects, routes=routes)
    assert found["a"].traffic == ("rest of chat",)
    assert found["b"].traffic == ("chat with x-tier=gold",)


def route(*backends: tuple[str, int]) -> dict[str, Any]:
    refs = [{"name": name, "weight": weight} for name, weight in backends]
    labels = {"inference-platform.io/traffic-group": "chat"}
    return {
        "metadata": {"name": "chat", "namespace": "team", "labels": labels},
        "spec": {"rules": [{"backendRefs": refs}]},
    }


def test_shares_come_from_the_weights_of_traffic_groups() -> None:
    shares = route(("a-kserve-workload-svc", 9), ("b-inference-pool", 1))
    own = {**route(("a-inference-pool", 1)), "metadata": {"name": "a", "namespace": "team"}}
    found = table([wanted("a"), wanted("b")], routes=[shares, own])
    assert found["a"].traffic == ("90% of chat",)
    assert found["b"].traffic == ("10% of chat",)


def test_priorities_are_those_of_the_pool() -> None:
    def objective(name: str, priority: int) -> dict[str, Any]:
        spec = {"priority": priority, "poolRef": {"name": "a-inference-pool"}}
        return {"metadata": {"name": name, "namespace": "team"}, "spec": spec}

    found = table([wanted("a")], objectives=[objective("batch", -10), objective("premium", 100)])
    assert found["a"].priorities == ("premium 100", "batch -10")


def test_the_table_leaves_out_columns_that_say_nothing() -> None:
    found = rows([wanted("a")], Seen(models=[live("a")], pods=[pod("a", 1), pod("a", 2)], nodes=[NODE]), GPU)
    head, line = as_text(found).splitlines()
    assert head.split() == ["model", "state", "pods", "GPUs", "url"]
    assert line.split() == ["team/a", "ready", "2/2", "4", "NVIDIA-L4", "http://g/team/a"]
    assert totals(found) == "1 model: 1 ready; 4 GPUs in use"


def test_the_reason_of_a_model_that_is_not_ready_stands_below_it() -> None:
    seen = Seen(models=[live("a", "x")], reasons={"team/a": "no node has room"})
    assert as_text(rows([wanted("a")], seen, GPU)).splitlines()[2] == "    no node has room"


def test_without_models_there_is_no_table() -> None:
    assert (totals([]), as_text([])) == ("no models", "")
