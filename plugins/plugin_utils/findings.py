"""Findings as a person reads them: all at once, each with where, expected, found, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_ROWS = (("expected", "expected"), ("found", "found"), ("remedy", "what to do"))


def as_table(findings: Iterable[Any]) -> str:
    """A block of four lines for each finding: file, line and path, then the three texts.

    Long texts stay on one line, so that a message can be found by searching for it.
    """
    return "\n".join(_block(finding) for finding in findings)


def _block(finding: Any) -> str:
    rows = [f"  {label:<10}  {getattr(finding, name)}" for name, label in _ROWS]
    return "\n".join([f"{finding.where}  ({finding.severity} {finding.code})", *rows])
