"""Kubernetes conditions: what a controller found out, laid over what an object already says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """One condition as judged now."""

    type: str
    status: str  # "True" or "False"
    reason: str
    message: str


def good(kind: str, reason: str, message: str, status: str = "True") -> Verdict:
    """A condition without complaint; `status` is False for conditions that name a fault (Conflicted)."""
    return Verdict(kind, status, reason, message)


def merged(
    existing: Iterable[Mapping[str, Any]], verdicts: Iterable[Verdict], generation: int, now: str
) -> list[dict[str, Any]]:
    """The conditions with the verdicts put in.

    Existing ones keep their place and others are left alone; new ones follow in the order of their types.
    lastTransitionTime (RFC 3339, `now`) changes with the status only; observedGeneration is always current.
    """
    result = {condition["type"]: dict(condition) for condition in existing}
    for verdict in sorted(verdicts, key=lambda v: v.type):
        before = result.get(verdict.type, {})
        result[verdict.type] = {
            "type": verdict.type,
            "status": verdict.status,
            "reason": verdict.reason,
            "message": verdict.message,
            "observedGeneration": generation,
            "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == verdict.status else now,
        }
    return list(result.values())
