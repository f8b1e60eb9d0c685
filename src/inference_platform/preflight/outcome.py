"""All results of a preflight: as a table, as findings, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference_platform.findings import Finding
from inference_platform.preflight import checks as _checks  # noqa: F401 - the checks join the list
from inference_platform.preflight import gateway_checks as _gateway_checks  # noqa: F401 - these too
from inference_platform.preflight import pool_checks as _pool_checks  # noqa: F401 - and these
from inference_platform.preflight import quota_checks as _quota_checks  # noqa: F401 - and these
from inference_platform.preflight.ownership import Decision
from inference_platform.preflight.registry import CHECKS, OK, Result, Scene


@dataclass(frozen=True)
class Outcome:
    """Results in the order of their codes, and the decisions about ownership.

    ``others`` are findings of checks with codes of their own (capacity of the models).
    """

    cluster: str
    version: str
    decisions: Sequence[Decision]
    results: Sequence[Result]
    others: list[Finding] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """Every finding."""
        return [finding for result in self.results for finding in result.findings] + self.others

    def to_json(self) -> str:
        """The file preflight.json."""
        content: dict[str, Any] = {
            "cluster": self.cluster,
            "kubernetes": self.version,
            "ownership": [decision.to_dict() for decision in self.decisions],
            "checks": [result.to_dict() for result in self.results],
            "others": [finding.to_dict() for finding in self.others],
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def ownership_table(self) -> str:
        """Found and decided, one line per dependency."""
        rows = [(item.title, item.wanted or "default", item.found_in_words, _becomes(item)) for item in self.decisions]
        return table(("dependency", "wanted", "found", "decision"), rows)

    def check_table(self, *, every: bool) -> str:
        """One line per check; without ``every`` those that are not ok, below a count."""
        shown = [result for result in self.results if every or result.status != OK]
        good = sum(result.status == OK for result in self.results)
        rows = [(result.check.code, result.status, result.note or result.check.title) for result in shown]
        return "\n".join(filter(None, (f"{good} of {len(self.results)} checks ok", table((), rows))))


def run(scene: Scene, version: str, others: list[Finding], accepted: Iterable[str] = ()) -> Outcome:
    """Runs every check.  Findings of those in ``accepted`` stop nothing, if the catalogue lets them be accepted."""
    known_better = {*accepted} & {*scene.data["acceptable"]}
    results = [check.run(scene) for check in sorted(CHECKS, key=lambda check: check.code)]
    results = [result.accepted() if result.check.code in known_better else result for result in results]
    return Outcome(scene.seen.server, version, scene.decisions, results, others)


def _becomes(decision: Decision) -> str:
    return f"{decision.resolved}: {decision.reason}" if decision.reason else decision.resolved


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest text, the last one without end."""
    lines = [tuple(head), *map(tuple, rows)] if head else list(map(tuple, rows))
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
