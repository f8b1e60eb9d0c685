"""What a benchmark reports: a figure beside that of what it is compared with, taken in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Measurement:
    """One row of the table.

    seconds, reference_seconds: medians; in `unit` where that says something else; ratio = seconds /
    reference_seconds; target: the largest ratio that is good enough; ok: ratio <= target.
    """

    name: str
    seconds: float
    reference: str
    reference_seconds: float
    ratio: float
    target: float
    ok: bool
    unit: str = "s"


def compare(
    name: str, values: list[float], reference: str, reference_values: list[float], target: float, unit: str = "s"
) -> Measurement:
    """Measurement from the samples of both sides, by their medians."""
    ours, theirs = median(values), median(reference_values)
    ratio = ours / theirs
    return Measurement(
        name, round(ours, 2), reference, round(theirs, 2), round(ratio, 3), target, ratio <= target, unit
    )


def table(measurements: list[Measurement]) -> str:
    """The measurements as aligned text, one row each."""
    header = ("what", "figure", "compared with", "figure", "ratio", "target", "")
    rows = [
        (
            m.name,
            f"{m.seconds:.2f} {m.unit}",
            m.reference,
            f"{m.reference_seconds:.2f} {m.unit}",
            f"{m.ratio:.2f}",
            f"<= {m.target:.2f}",
            "ok" if m.ok else "MISSED",
        )
        for m in measurements
    ]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)
