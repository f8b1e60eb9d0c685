"""What the importer makes of published sample objects, and the page that lists it.

The samples are not part of this repository: they are looked for in ../shared/upstream/samples
beside it, or where INFERENCE_PLATFORM_UPSTREAM_CRDS says the CRDs beside them are.
``python -m tests.support.import_samples`` writes docs/reference/import-samples.md.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_platform.importer import KINDS, Outcome, import_objects
from inference_platform.importer.__main__ import read
from inference_platform.importer.explained import EXPLANATIONS
from inference_platform.platform import resolve
from tests.support.crd_schema import REPOSITORY, upstream_crds

PAGE = REPOSITORY / "docs" / "reference" / "import-samples.md"
COMMAND = ".venv/bin/python -m tests.support.import_samples"
RELEASE, PROVIDER = "3.4", "generic"

_NOTE = f"<!-- Made by `{COMMAND}`; change the source, not this page. -->"
_INTRODUCTION = f"""\
Published samples of {", ".join(KINDS[:-1])} and {KINDS[-1]}, and what
`python -m inference_platform.importer` makes of each for release {RELEASE}. Every entry was rendered again and compared
with its sample (`inference_platform.importer.meaning` says what counts as the same); "equal" means that nothing else
came out. Differences that are meant to be are named and explained below; a sample with any other difference is refused.

"API" is what the API server of the release said about the sample itself: accepted, rejected, or partial when that
depends on the object. Samples marked "later"
were written for a later release, those marked "wrong" are wrong on purpose."""
_HEAD = re.compile(r"^(models|model_routes)\[0\]\.|^model_profiles\.[^.]+\.")
_MOST_PLACES = 2
_INTENTS = {"valid": "", "newer": ", later", "invalid": ", wrong"}


@dataclass(frozen=True)
class Sample:
    """One file: its path below the samples, what it is meant to be, what the API server said, what became of it."""

    path: str
    intent: str
    answer: str
    objects: list[tuple[str, Mapping[str, Any]]]
    outcomes: list[Outcome]

    @property
    def is_valid(self) -> bool:
        """Whether it is meant for the release, and its API takes it."""
        return (self.intent, self.answer) == ("valid", "accepted")


def folder() -> Path | None:
    """The folder of the samples; None when there is none."""
    crds = upstream_crds()
    samples = crds.parent / "samples" if crds else None
    return samples if samples and samples.is_dir() else None


def plan() -> dict[str, Any]:
    """The plan that samples are imported for."""
    return resolve({"platform_release": RELEASE, "provider": PROVIDER}).to_dict()


def samples(root: Path) -> list[Sample]:
    """All samples with an object of a kind that the importer knows, by path."""
    platform = plan()
    with (root.parent / "VALIDATION.tsv").open(encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table, delimiter="\t") if set(row["kinds"].split(",")) & set(KINDS)]
    found = []
    for row in sorted(rows, key=lambda row: row["local path"]):
        path = Path(row["local path"]).relative_to("samples").as_posix()
        objects = [(path, obj) for _, obj in read(str(root / path)) if obj["kind"] in KINDS]
        outcomes = import_objects(objects, platform).outcomes
        found.append(Sample(path, row["upstream intent"], row["result"], objects, outcomes))
    return found


def page(found: Iterable[Sample]) -> str:
    """The page as Markdown. It names samples and says nothing of what is in them."""
    found = list(found)
    rows = [(sample, outcome) for sample in found for outcome in sample.outcomes]
    parts = [_NOTE, "# Samples and what they become", "", _INTRODUCTION, "", _totals(rows), ""]
    parts += ["## Differences", "", *_table(("name", "why"), [(item.name, item.text) for item in EXPLANATIONS]), ""]
    for kind in KINDS:
        lines = [
            (f"`{sample.path}`", f"{sample.answer}{_INTENTS[sample.intent]}", _becomes(outcome), _result(outcome))
            for sample, outcome in rows
            if outcome.kind == kind
        ]
        parts += [f"## {kind}", "", *_table(("sample", "API", "becomes", "result"), lines), ""]
    return "\n".join(parts).rstrip() + "\n"


def _totals(rows: Iterable[tuple[Sample, Outcome]]) -> str:
    valid = Counter(_verdict(outcome) for sample, outcome in rows if sample.is_valid)
    counts = (
        f"{valid['equal']} are equal, {valid['explained']} have explained differences, {valid['refused']} are refused"
    )
    return f"Of {sum(valid.values())} valid ones, {counts}. Objectives of one pool count once."


def _verdict(outcome: Outcome) -> str:
    if outcome.refused:
        return "refused"
    return "explained" if outcome.differences else "equal"


def _becomes(outcome: Outcome) -> str:
    if outcome.refused:
        return ""
    beyond = " with override" if "override" in (outcome.entry or {}) else ""
    return f"`{outcome.key}`{beyond}"


def _result(outcome: Outcome) -> str:
    if outcome.refused:
        return f"refused: {_objections(outcome.refused.codes) or outcome.refused.text}"
    names = dict.fromkeys(str(difference.why) for difference in outcome.differences)
    return f"equal but for: {', '.join(names)}" if names else "equal"


def _objections(codes: Iterable[str]) -> str:
    """The rules that object, each with its first places in the entry."""
    places: dict[str, list[str]] = {}
    for code in codes:
        name, _, place = code.partition(" at ")
        inside = _HEAD.sub("", place)
        if inside not in places.setdefault(name, []):
            places[name].append(inside)
    return "; ".join(
        f"`{name}` at {', '.join(f'`{place}`' for place in found[:_MOST_PLACES])}"
        + (f" and {len(found) - _MOST_PLACES} more" if len(found) > _MOST_PLACES else "")
        for name, found in places.items()
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


if __name__ == "__main__":
    here = folder()
    if here is None:
        raise SystemExit("expected samples in ../shared/upstream/samples")
    PAGE.write_text(page(samples(here)), encoding="utf-8")
