"""Draws docs/models-speed.svg from what `make bench` measured: time against the number of models, both logarithmic.

Usage: python -m benchmarks.plot
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

from inference_platform.report import svg

REPOSITORY = Path(__file__).resolve().parent.parent
MEASURED = REPOSITORY / "build" / "bench-models.json"
PICTURE = REPOSITORY / "docs" / "models-speed.svg"

WIDTH, HEIGHT = 720.0, 400.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 24.0, 48.0, 56.0
COLOURS = ("#1f5fbf", "#b4561c", "#2e7d4f")
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}"
    ".grid{stroke:#ddd;stroke-width:1}.line{fill:none;stroke-width:2}.heading{font-weight:600;font-size:15px}"
)

Series = Mapping[str, Mapping[str, float]]


def draw(series: Series) -> str:
    """The picture for `{name: {number of models: seconds}}`."""
    numbers = [int(number) for points in series.values() for number in points]
    seconds = [value for points in series.values() for value in points.values()]
    across = _Axis(min(numbers), max(numbers), LEFT, WIDTH - RIGHT)
    up = _Axis(_power_below(min(seconds)), _power_above(max(seconds)), HEIGHT - BOTTOM, TOP)
    parts = [svg.element("style", STYLE), svg.element("rect", width=WIDTH, height=HEIGHT, fill="#fff")]
    parts.append(svg.text(LEFT, 26, "Seconds by number of models", "heading"))
    for value in up.powers():
        parts.append(svg.element("path", d=f"M{LEFT},{up.at(value):.1f}H{WIDTH - RIGHT}", class_="grid"))
        parts.append(svg.text(LEFT - 8, up.at(value) + 4, f"{value:g} s", text_anchor="end"))
    for value in across.powers():
        parts.append(svg.element("path", d=f"M{across.at(value):.1f},{TOP}V{HEIGHT - BOTTOM}", class_="grid"))
        parts.append(svg.text(across.at(value), HEIGHT - BOTTOM + 20, f"{value:,.0f}", text_anchor="middle"))
    parts.append(svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "models in the inventory", text_anchor="middle"))
    for place, (name, points) in enumerate(series.items()):
        parts += _line(name, points, COLOURS[place % len(COLOURS)], across, up, place)
    return svg.element(
        "svg",
        svg.title("Seconds by number of models"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
    )


def _line(name: str, points: Mapping[str, float], colour: str, across: _Axis, up: _Axis, place: int) -> list[str]:
    found = [(across.at(int(number)), up.at(value), value) for number, value in points.items()]
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y, _ in found)
    parts = [svg.element("path", d=path, class_="line", stroke=colour)]
    for x, y, value in found:
        parts.append(svg.element("circle", svg.title(f"{name}: {value:.1f} s"), cx=x, cy=y, r=4, fill=colour))
    beside = TOP + 18 + 20 * place
    parts.append(svg.element("path", d=f"M{LEFT + 14},{beside}h22", class_="line", stroke=colour))
    parts.append(svg.text(LEFT + 44, beside + 4, name))
    return parts


class _Axis:
    """Maps values to places, by their logarithm."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._high, self._start, self._end = low, high, start, end

    def at(self, value: float) -> float:
        share = math.log(value / self._low) / math.log(self._high / self._low)
        return self._start + share * (self._end - self._start)

    def powers(self) -> list[float]:
        first, last = math.ceil(math.log10(self._low) - 1e-9), math.floor(math.log10(self._high) + 1e-9)
        return [10.0**power for power in range(first, last + 1)]


def _power_below(value: float) -> float:
    return 10.0 ** math.floor(math.log10(value))


def _power_above(value: float) -> float:
    return 10.0 ** math.ceil(math.log10(value))


def main() -> int:
    if not MEASURED.exists():
        print(f"{MEASURED.relative_to(REPOSITORY)} is missing: run `make bench` first.", file=sys.stderr)
        return 1
    PICTURE.write_text(draw(json.loads(MEASURED.read_text())) + "\n", encoding="utf-8")
    print(f"Written to {PICTURE.relative_to(REPOSITORY)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
