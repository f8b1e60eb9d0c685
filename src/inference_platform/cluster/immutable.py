"""What cannot be changed on a model that exists, found before anything is written.

KServe refuses another group size (models.md 1.5 rule 14): the number of pods that make one replica.  The arithmetic
is the controller's (models.md 6.1), so other changes of parallelism, tensor for one, pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KIND = "LLMInferenceService"
CODE = "IP-MOD-108"
_BLOCKS: tuple[tuple[str, ...], ...] = (("spec",), ("spec", "prefill"))


@dataclass(frozen=True)
class FixedField:
    """One field that an update must leave as it is: its path, and the value before and after."""

    path: str
    live: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.live} as it is in the cluster, found {self.wanted}"


def fixed_fields(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[FixedField]:
    """The changes from ``live`` to ``wanted`` that the API server will refuse; empty when it may be updated."""
    if wanted.get("kind") != KIND:
        return []
    return list(_group_sizes(wanted, live))


def group_size(parallelism: Mapping[str, Any] | None) -> int:
    """Pods of one replica, as KServe counts them from ``parallelism`` of the API (1 when it says nothing)."""
    given = parallelism or {}
    data, local, pipeline = given.get("data") or 0, given.get("dataLocal") or 0, given.get("pipeline") or 0
    if data > 0 or local > 0:
        return max(max(data, 1) // max(local, 1), 1)
    return pipeline if pipeline > 0 else 1


def _group_sizes(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[FixedField]:
    for block in _BLOCKS:
        new, old = _at(wanted, block), _at(live, block)
        if new is None or old is None:
            continue  # a prefill block may come and go
        sizes = group_size(old.get("parallelism")), group_size(new.get("parallelism"))
        if sizes[0] != sizes[1]:
            path = ".".join((*block, "parallelism"))
            yield FixedField(path, f"a replica of {_pods(sizes[0])}", f"a replica of {_pods(sizes[1])}")


def _at(obj: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any] | None:
    found: Any = obj
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _pods(count: int) -> str:
    return f"{count} pod" if count == 1 else f"{count} pods"
