"""What pods ask for and what nodes have, as whole numbers: CPU in millicores, memory in bytes, devices in pieces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

CPU = "cpu"
MEMORY = "memory"
STORAGE = "ephemeral-storage"
PODS = "pods"

#: Resources that every node has, whether it says how much or not; of others it has none unless it says so.
BASIC = (CPU, MEMORY, STORAGE, PODS)

Amounts = dict[str, int]

_SUFFIXES = {
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)},
    "m": Decimal(1) / 10**3,
    "u": Decimal(1) / 10**6,
    "n": Decimal(1) / 10**9,
}


@lru_cache(maxsize=16384)
def amount(resource: str, quantity: str | int | float) -> int:
    """A Kubernetes quantity as a whole number; parts of one are rounded up, as the scheduler does."""
    value = _number(str(quantity))
    return math.ceil(value * 1000 if resource == CPU else value)


def amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    """All quantities of a mapping such as ``requests`` or ``allocatable``."""
    return {resource: amount(resource, quantity) for resource, quantity in (quantities or {}).items()}


def pod_requests(spec: Mapping[str, Any]) -> Amounts:
    """What a pod holds on its node, as the scheduler counts it, without zeros; ``pods`` is 1.

    Containers together, or the init container with the highest demand if that is more;
    init containers that keep running (restartPolicy Always) count with both.
    """
    running: Amounts = {}
    for container in spec.get("containers") or []:
        add(running, _asked(container))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or []:
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            add(sidecars, asked)
            raise_to(peak, sidecars)
        else:
            raise_to(peak, add(dict(sidecars), asked))
    total = raise_to(add(running, sidecars), peak)
    add(total, amounts(spec.get("overhead")))
    return {**{resource: count for resource, count in total.items() if count}, PODS: 1}


def add(total: Amounts, more: Mapping[str, int]) -> Amounts:
    """``total`` with ``more`` added to it in place."""
    for resource, count in more.items():
        total[resource] = total.get(resource, 0) + count
    return total


def raise_to(total: Amounts, least: Mapping[str, int]) -> Amounts:
    """``total`` raised in place to at least ``least``."""
    for resource, count in least.items():
        total[resource] = max(total.get(resource, 0), count)
    return total


def text(resource: str, count: int) -> str:
    """An amount for people: "2 GPUs", "1.5 CPUs", "15.3 GiB memory", "1 x rdma/ib"."""
    if resource == CPU:
        return f"{count / 1000:g} CPUs"
    if resource in (MEMORY, STORAGE):
        return f"{gib(count)} GiB {'memory' if resource == MEMORY else 'local disk'}"
    if resource.endswith("/gpu"):
        return f"{count} GPU" if count == 1 else f"{count} GPUs"
    return f"{count} {resource}" if resource == PODS else f"{count} x {resource}"


def gib(count: float) -> str:
    """Bytes in GiB with at most one decimal: "15.3", "32"."""
    return f"{count / 2**30:.1f}".removesuffix(".0")


def _asked(container: Mapping[str, Any]) -> Amounts:
    """Requests of a container; the API server takes a limit for a request that is not given."""
    resources = container.get("resources") or {}
    return amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _number(text: str) -> Decimal:
    for length in (2, 1):
        factor = _SUFFIXES.get(text[-length:])
        if factor is not None:
            return Decimal(text[:-length]) * factor
    return Decimal(text)
