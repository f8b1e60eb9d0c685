"""Findings: what is wrong with the input, said so that a person can act on it.

A finding is plain data with a stable code. Every check of the package reports
findings; nothing prints, nothing exits. One run reports all findings at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inference_platform.credentials import HIDDEN, are_credentials

ERROR = "error"
WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, where it is, and what to do about it.

    ``where`` is "file:line path" when the file is known, else the path alone.
    ``remedy`` is one imperative sentence.
    """

    code: str
    severity: str
    where: str
    expected: str
    found: str
    remedy: str

    def to_dict(self) -> dict[str, str]:
        """Plain data with the same six keys, all strings."""
        return {
            "code": self.code,
            "severity": self.severity,
            "where": self.where,
            "expected": self.expected,
            "found": self.found,
            "remedy": self.remedy,
        }

    def __str__(self) -> str:
        return (
            f"{self.code} {self.severity} at {self.where}: expected {self.expected}, found {self.found}. {self.remedy}"
        )


class InventoryError(Exception):
    """The input cannot be used. Carries every finding, errors and warnings."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings: list[Finding] = list(findings)
        count = len(errors(self.findings))
        noun = "mistake" if count == 1 else "mistakes"
        lines = "\n".join(f"  {finding}" for finding in self.findings)
        super().__init__(f"{count} {noun} in the inventory:\n{lines}")


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that must stop a run."""
    return [finding for finding in findings if finding.severity == ERROR]


def show(value: Any, limit: int = 80) -> str:
    """A value as it is quoted in a message: short, on one line, strings in quotes, registry credentials never."""
    if isinstance(value, Mapping):
        text = "a mapping with the keys " + (", ".join(map(str, value)) or "(none)")
    elif isinstance(value, (list, tuple)):
        text = f"a list of {len(value)}"
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif value is None:
        text = "nothing"
    elif isinstance(value, str):
        text = HIDDEN if are_credentials(value) else f'"{value}"'
    else:
        text = str(value)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
