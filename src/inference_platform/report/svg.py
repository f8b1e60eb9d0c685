"""SVG elements as text. All text and attribute values are escaped here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

# Average advance of a character, as a part of the font size. Generous, so that text
# measured with it fits with any of the fonts that the page asks for.
SANS_ADVANCE = 0.56
MONO_ADVANCE = 0.62

Point = tuple[float, float]


def element(tag: str, *children: str, **attributes: str | float) -> str:
    """``<tag attributes>children</tag>``; children are markup made by this module.

    Attribute names are written with ``_`` for ``-``; ``class_`` is ``class``.
    """
    names = {"class_": "class"}
    pairs = "".join(
        f' {names.get(name, name.replace("_", "-"))}="{escape(number(value))}"' for name, value in attributes.items()
    )
    body = "".join(children)
    return f"<{tag}{pairs}>{body}</{tag}>" if body else f"<{tag}{pairs}/>"


def text(x: float, y: float, content: str, css: str = "", **attributes: str | float) -> str:
    """A line of text with its baseline at ``y``."""
    classes = {"class_": css} if css else {}
    return element("text", escape(content), x=x, y=y, **classes, **attributes)


def title(content: str) -> str:
    """The name of the enclosing element: a tooltip, and what a screen reader says."""
    return element("title", escape(content))


def picture(width: float, height: float, name: str, description: str, *children: str) -> str:
    """A picture that scales with the page; ``name`` and ``description`` are its text alternative."""
    return element(
        "svg",
        title(name),
        element("desc", escape(description)),
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label=f"{name}. {description}",
        style=f"min-width: {number(round(width * 0.72))}px",
    )


def fit(content: str, width: float, size: float, advance: float = SANS_ADVANCE) -> str:
    """``content`` cut in the middle so that it fits ``width`` at font size ``size``.

    Names of pods and load balancers differ at both ends, so the middle goes.
    """
    room = max(3, int(width / (size * advance)))
    if len(content) <= room:
        return content
    head = (room - 1) * 3 // 5
    tail = room - 1 - head
    return f"{content[:head]}\u2026{content[len(content) - tail :]}"


def route_path(points: Sequence[Point], radius: float = 12) -> str:
    """Path data through ``points`` with rounded corners."""
    parts = [f"M{_point(points[0])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        cut = min(radius, _distance(before, corner) / 2, _distance(corner, after) / 2)
        parts.append(f"L{_point(_towards(corner, before, cut))}")
        parts.append(f"Q{_point(corner)} {_point(_towards(corner, after, cut))}")
    parts.append(f"L{_point(points[-1])}")
    return " ".join(parts)


def elbow(start: Point, end: Point, at: float) -> list[Point]:
    """Right-angled way from ``start`` to ``end`` that changes rows at ``x = at``."""
    if start[1] == end[1]:
        return [start, end]
    return [start, (at, start[1]), (at, end[1]), end]


def _towards(start: Point, end: Point, length: float) -> Point:
    whole = _distance(start, end) or 1.0
    return (
        start[0] + (end[0] - start[0]) * length / whole,
        start[1] + (end[1] - start[1]) * length / whole,
    )


def _distance(a: Point, b: Point) -> float:
    return float(((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5)


def _point(point: Point) -> str:
    return f"{number(point[0])},{number(point[1])}"


def number(value: str | float) -> str:
    """A coordinate with at most one decimal; text unchanged."""
    if isinstance(value, str):
        return value
    return f"{value:.1f}".rstrip("0").rstrip(".")
