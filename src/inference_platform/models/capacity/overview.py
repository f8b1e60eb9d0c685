"""Everything about room for models in one text: memory of their GPUs, places on the nodes, machines to start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from inference_platform.catalog.instance_types import load_hardware
from inference_platform.models.capacity import empty_cluster, planning, table
from inference_platform.models.memory import in_words, of_workload
from inference_platform.models.topology import workloads

# What reading a size of the wrong kind raises; the rules have told it before.
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)


def as_text(
    entries: Sequence[Mapping[str, Any]],
    objects: Sequence[Mapping[str, Any]],
    platform: Mapping[str, Any],
    seen: tuple[Iterable[Mapping[str, Any]], Iterable[Mapping[str, Any]]] | None,
    own: Iterable[Mapping[str, Any]] = (),
) -> str:
    """The whole text for completed entries and their rendered objects.

    ``platform`` is the plan as plain data; ``seen`` are the nodes and pods of the cluster, None when it was not asked;
    ``own`` are the ``instance_types`` of the inventory.
    """
    gpu, provider = platform["serving"]["gpu"], platform["provider"]
    parts = ["Memory of one GPU", *_memory(entries)]
    if seen is not None:
        parts += ["", "Places on the nodes of the cluster", table.as_text(planning.plan(objects, *seen))]
    machines = empty_cluster.plan_for_empty_cluster(objects, provider, gpu, own=own)
    parts += ["", f"Machines on {provider}, if no node had GPUs yet", empty_cluster.as_text(machines)]
    return "\n".join(parts)


def _memory(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    gpus = load_hardware().gpus
    for entry in entries:
        for pod in filter(lambda pod: pod.gpus, workloads(entry)):
            product = pod.settings["gpu"].get("product", "a GPU of any product")
            yield f"{entry['namespace']}/{entry['name']} {pod.role}, {pod.gpus} x {product}"
            try:
                lines = in_words(of_workload(pod, entry, gpus))
            except _UNREADABLE:
                lines = ["not known: size cannot be read"]
            yield from (f"  {line}" for line in lines)
