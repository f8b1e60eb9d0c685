"""The reference page of the checks, made from their list and the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from inference_platform.preflight import data
from inference_platform.preflight import outcome as _outcome  # noqa: F401 - the checks join the list
from inference_platform.preflight.registry import CHECKS, Check

Table = Callable[[tuple[str, ...], Sequence[tuple[str, ...]]], str]

TITLE = "Checks of a cluster"
INTRODUCTION = (
    "What `playbooks/preflight.yml`, and every run before its first write, looks at. The checks read lists, ask the "
    "API server what the user may do, and try a few objects as dry runs; nothing is stored. Results are in "
    "`build/<inventory>/preflight.json`. An error stops the run before any write; some checks warn where the case is "
    "not certain. A check that may not read what it needs says so. Where it guards what others have installed, that "
    "stops a run that lays layers (IP-PRE-006); elsewhere it is a warning. A check marked `not asked` was left out: "
    "rights and admission in a run that lays no layer, admission also when all that the plan lays is there in its "
    "version; `playbooks/preflight.yml` always asks. An inventory may accept checks about the surroundings "
    "(`preflight_accept`, marked in the table): their findings are warnings then, marked `accepted`. Findings about "
    "GPUs for models (IP-CAP) come with these; see "
    "[capacity](../capacity.md)."
)


def body(table: Table) -> str:
    """The tables of the page."""
    entries = data.load()
    windows = [row for name, entry in entries["dependencies"].items() for row in _windows(name, entry)]
    return "\n\n".join(
        (
            table(
                ("code", "severity", "can be accepted", "what holds when it is ok"),
                [_row(check, entries["acceptable"]) for check in _sorted()],
            ),
            "## Kubernetes",
            table(
                ("component", "oldest", "oldest tested", "newest tested"),
                [
                    (rule["component"], rule["minimum"], rule.get("tested", ""), rule.get("newest", ""))
                    for rule in entries["kubernetes"]
                ],
            ),
            f"OpenShift: {entries['openshift']['minimum']} or newer; the release supports versions up to "
            f"{entries['openshift']['supported']}. This installer was tried on stand-ins of it, not on a real one.",
            "## What somebody else installed",
            "Versions with which an external dependency will do. A newer one than tested is a warning.",
            table(("dependency", "name", "window", "tested up to"), windows),
        )
    )


def _windows(name: str, entry: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row, and one more for each distribution with a window of its own."""
    rows: list[tuple[str, ...]] = []
    for distribution in ("", *entry["window"].get("of_distribution", ())):
        window = data.window_of(entry, distribution)
        title = f"{entry['title']}, distribution {distribution}" if distribution else entry["title"]
        rows.append((title, f"`{name}`", data.in_words(window), window["tested"]))
    return rows


def _sorted() -> list[Check]:
    return sorted(CHECKS, key=lambda check: check.code)


def _row(check: Check, acceptable: Collection[str]) -> tuple[str, str, str, str]:
    can_be = "yes" if check.code in acceptable else ""
    return f"`{check.code}`", check.severity or "not asked", can_be, check.title
