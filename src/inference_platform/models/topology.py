"""What a model's entry means in pods: completed settings, workloads, GPUs, groups.

Numbers that must agree (GPUs, tensor, data, data_local, leader and worker, prefill and
decode) are worked out here once; rules and rendering read them from here. The arithmetic
is that of models.md 6.1 and 6.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference_platform.models.merge import ALTERNATIVES, merge, without_nothing
from inference_platform.schema import KeyPath, inlined_schema

SERVING = "serving"
DECODE = "decode"
PREFILL = "prefill"

#: Where the server listens; with prefill pods a sidecar takes the port of the decode server (models.md 3.2).
SERVER_PORT = 8000
DECODE_PORT = 8001


@dataclass(frozen=True)
class Workload:
    """Pods of one kind: all of a model, or its decode or prefill pods.

    ``settings`` are the completed settings, ``path`` is where an entry has them.
    ``replicas`` is None while an autoscaler decides; ``size`` is the number of pods of
    one replica, on as many nodes; ``gpus`` are those of one pod.
    """

    role: str
    path: KeyPath
    settings: Mapping[str, Any]
    replicas: int | None
    size: int
    gpus: int
    tensor: int
    data: int
    data_local: int
    pipeline: int

    @property
    def multi_node(self) -> bool:
        """Whether a replica is a group of pods (LeaderWorkerSet)."""
        return self.size > 1

    @property
    def port(self) -> int:
        """Port of the model server itself."""
        return DECODE_PORT if self.role == DECODE else SERVER_PORT

    @property
    def preset(self) -> str:
        """The preset that KServe takes for these pods, without the prefix of the release (models.md 2.1)."""
        role = "" if self.role == SERVING else f"{self.role}-"
        if not self.multi_node:
            return f"config-llm-{role}template"
        kind = "pipeline" if self.pipeline > 1 else "data"
        return f"config-llm-{role}worker-{kind}-parallel"


def complete(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A merged entry with what follows from the rest of it: replicas, prefill in full.

    In ``prefill`` nothing (null) takes back what the rest says.
    """
    model = dict(entry)
    if "scaling" not in model:
        model.setdefault("replicas", 1)
    if "prefill" in model:
        inherited = {key: model[key] for key in _inherited() if key in model}
        prefill = without_nothing(merge(inherited, model["prefill"]), inlined_schema("model")["properties"]["prefill"])
        if "scaling" not in prefill:
            prefill.setdefault("replicas", 1)
        prefill.setdefault("gpu", {})
        model["prefill"] = prefill
    return model


def workloads(model: Mapping[str, Any]) -> tuple[Workload, ...]:
    """The workloads of a completed entry: one, or decode and prefill."""
    if "prefill" not in model:
        return (_workload(SERVING, (), model),)
    return _workload(DECODE, (), model), _workload(PREFILL, (PREFILL,), model["prefill"])


def _inherited() -> list[str]:
    return [key for key in inlined_schema("model")["properties"]["prefill"]["properties"] if key not in ALTERNATIVES]


def _workload(role: str, path: KeyPath, settings: Mapping[str, Any]) -> Workload:
    parallelism = settings.get("parallelism", {})
    local = parallelism.get("data_local", 1)
    data = parallelism.get("data", local)
    pipeline = parallelism.get("pipeline", 1)
    count = settings["gpu"].get("count")
    if count is None:
        count = parallelism.get("tensor", 1) * local
    return Workload(
        role=role,
        path=path,
        settings=settings,
        replicas=settings.get("replicas"),
        size=pipeline if pipeline > 1 else max(math.ceil(data / local), 1),
        gpus=count,
        tensor=parallelism.get("tensor", max(count // local, 1)),
        data=data,
        data_local=local,
        pipeline=pipeline,
    )
