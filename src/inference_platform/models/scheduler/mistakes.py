"""What the scheduler rules object to, before the caller knows model, file and line."""

from __future__ import annotations

from dataclasses import dataclass

from inference_platform.findings import ERROR
from inference_platform.schema import KeyPath


@dataclass(frozen=True)
class Mistake:
    """One objection: stable code (IP-SCH-nnn), path of the value in the model entry, and the texts.

    ``severity`` is "error" or "warning"; ``remedy`` is one imperative sentence.
    """

    code: str
    path: KeyPath
    expected: str
    found: str
    remedy: str
    severity: str = ERROR
