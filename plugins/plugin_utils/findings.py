"""Findings as a person reads them: all at once, each with where, expected, found, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_ROWS = (("expected", "expected"), ("found", "found"), ("remedy", "what to do"))


#: Of places with one and the same finding, those beyond are counted.
_PLACES = 4


def as_table(findings: Iterable[Any]) -> str:
    """A block of four lines for each finding: file, line and path, then the three texts.

    Long texts stay on one line, so that a message can be found by searching for it. What is
    wrong at many places in the same way is told once.
    """
    places: dict[tuple[str, ...], list[str]] = {}
    for finding in findings:
        texts = (getattr(finding, name) for name, _ in _ROWS)
        places.setdefault((finding.severity, finding.code, *texts), []).append(finding.where)
    return "\n".join(_block(*said, where=where) for said, where in places.items())


def _block(severity: str, code: str, *texts: str, where: list[str]) -> str:
    rows = [f"  {label:<10}  {text}" for (_, label), text in zip(_ROWS, texts, strict=True)]
    if len(where) > 1:
        more = len(where) - _PLACES
        also = where[1:_PLACES] + ([f"and {more} more"] if more > 0 else [])
        rows += [f"  {'also at':<10}  {place}" for place in also]
    return "\n".join([f"{where[0]}  ({severity} {code})", *rows])
