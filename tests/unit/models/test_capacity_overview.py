"""Everything about room for models in one text."""

from __future__ import annotations

from typing import Any

from inference_platform.models import render
from inference_platform.models.capacity import overview
from tests.unit.models.cases import model

NODE = {
    "metadata": {"name": "gpu-1", "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
    "spec": {},
    "status": {
        "allocatable": {"nvidia.com/gpu": "1", "cpu": "8", "memory": "30Gi"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def text(aws: dict[str, Any], seen: Any, **changes: Any) -> str:
    gpu = {"product": "NVIDIA-L4", "count": 1}
    found = render([model(gpu=gpu, replicas=1, **changes)], {}, aws)
    assert found.ok, found.findings
    return overview.as_text(found.entries, found.objects, aws, seen)


def test_memory_of_a_known_size_is_told(aws: dict[str, Any]) -> None:
    size = {"parameters": "1B", "layers": 16, "kv_heads": 8, "head_dim": 64}
    assert "team-a/qwen serving, 1 x NVIDIA-L4\n  weights 1.9 GiB per GPU (bfloat16)" in text(aws, None, size=size)


def test_what_is_not_known_is_said(aws: dict[str, Any]) -> None:
    assert "  not known: weights: give size.parameters" in text(aws, None)


def test_machines_need_no_cluster(aws: dict[str, Any]) -> None:
    found = text(aws, None)
    assert "Places on the nodes" not in found
    assert "Machines on aws, if no node had GPUs yet\n1 x g6" in found


def test_places_are_those_on_the_nodes(aws: dict[str, Any]) -> None:
    assert "team-a/qwen serving    1     1 GPU   fits    gpu-1" in text(aws, ([NODE], []))
