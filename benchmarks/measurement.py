"""What a benchmark reports: a time beside the time of what it is compared with, taken in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Measurement:
    """One row of the table.

    seconds, reference_seconds: medians in seconds; ratio = seconds / reference_seconds; target: the largest
    ratio that is good enough; ok: ratio <= target.
    """

    name: str
    seconds: float
    reference: str
    reference_seconds: float
    ratio: float
    target: float
    ok: bool


def compare(
    name: str, seconds: list[float], reference: str, reference_seconds: list[float], target: float
) -> Measurement:
    """Measurement from the samples of both sides, by their medians."""
    ours, theirs = median(seconds), median(reference_seconds)
    ratio = ours / theirs
    return Measurement(name, round(ours, 2), reference, round(theirs, 2), round(ratio, 3), target, ratio <= target)


def table(measurements: list[Measurement]) -> str:
    """The measurements as aligned text, one row each."""
    header = ("what", "seconds", "compared with", "seconds", "ratio", "target", "")
    rows = [
        (
            m.name,
            f"{m.seconds:.2f}",
            m.reference,
            f"{m.reference_seconds:.2f}",
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
