"""The layers of the platform and what each of them needs, as a graph that reads from left to right."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from inference_platform.report import svg, wording
from inference_platform.report.layout import Edge, Spot, arrange
from inference_platform.report.observation import READY, UNCHECKED, Layer, Observation

WIDTH = 1080
ROW = 88
BOX_HEIGHT = 70
GUTTER = 34
"""Space between columns, where the lines change rows."""

TITLE_SIZE = 12
MARGIN = 4


def render(observation: Observation) -> str:
    """The picture as one ``<svg>`` element."""
    layers = observation.layers
    layout = arrange({layer.name: layer.needs for layer in layers})
    columns = max(1, layout.columns)
    box = (WIDTH - 4 - GUTTER * (columns - 1)) / columns
    longest = max((layer.seconds or 0.0 for layer in layers), default=0.0)
    state = {layer.name: layer.state for layer in layers}
    edges = [(edge, _way(edge, box)) for edge in layout.edges]
    top, bottom = _extent(layout.spots.values(), [way for _, way in edges])
    return svg.picture(
        WIDTH,
        bottom - top,
        "Layers of the platform",
        _description(layers),
        svg.element(
            "g",
            *(_edge(way, state[edge.start] == READY) for edge, way in edges),
            *(_layer(layer, layout.spots[layer.name], box, longest) for layer in layers),
            transform=f"translate(0 {svg.number(-top)})",
        ),
    )


def _extent(spots: Iterable[Spot], ways: Iterable[Sequence[svg.Point]]) -> tuple[float, float]:
    """Upper and lower end of everything that is drawn, with a margin."""
    tops = [spot.row * ROW for spot in spots]
    lines = [y for way in ways for _, y in way]
    top = min([*tops, *lines], default=0.0)
    bottom = max([*(y + BOX_HEIGHT for y in tops), *lines], default=0.0)
    return top - MARGIN, bottom + MARGIN


def _left(spot: Spot, box: float) -> float:
    return 2 + spot.column * (box + GUTTER)


def _middle(spot: Spot) -> float:
    return spot.row * ROW + BOX_HEIGHT / 2


def _way(edge: Edge, box: float) -> list[svg.Point]:
    """The corners of an edge: it changes rows in the gutters and passes boxes in the lanes between."""
    points: list[svg.Point] = []
    last = len(edge.path) - 1
    for index, spot in enumerate(edge.path):
        left, y = _left(spot, box), _middle(spot)
        if index > 0:
            points += [(left - GUTTER / 2, points[-1][1]), (left - GUTTER / 2, y), (left, y)]
        if index < last:
            points.append((left + box, y))
    return _straightened(points)


def _edge(way: Sequence[svg.Point], good: bool) -> str:
    state = "" if good else " broken"
    return svg.element("path", d=svg.route_path(way, 14), class_=f"edge{state}")


def _straightened(points: Sequence[svg.Point]) -> list[svg.Point]:
    """The same way without points that repeat or lie on a straight stretch."""
    kept: list[svg.Point] = []
    for point in points:
        if kept and kept[-1] == point:
            continue
        if len(kept) > 1 and kept[-2][1] == kept[-1][1] == point[1]:
            kept.pop()
        kept.append(point)
    return kept


def _layer(layer: Layer, spot: Spot, box: float, longest: float) -> str:
    x, y = _left(spot, box), spot.row * ROW
    css, sign = _look(layer.state)
    time = wording.duration(layer.seconds)
    inner = box - 20
    card = "card card-bad" if css == "bad" else "card"
    titles = enumerate(_title_lines(layer.title, inner))
    return svg.element(
        "g",
        svg.title(", ".join(part for part in (layer.title, layer.state, layer.ownership, time) if part)),
        svg.element("rect", x=x, y=y, width=box, height=BOX_HEIGHT, rx=8, class_=card),
        *(svg.text(x + 10, y + 19 + 15 * line, svg.fit(words, inner, TITLE_SIZE), "layer") for line, words in titles),
        svg.text(x + 10, y + 52, f"{sign} {time or layer.state}", f"tiny {css}"),
        # Beside the time there is room for the owner, beside the state there is not.
        svg.text(x + box - 10, y + 52, layer.ownership, "tiny muted", text_anchor="end") if time else "",
        *_share(x + 10, y + 60, inner, (layer.seconds or 0.0) / longest if longest else 0.0),
    )


def _share(x: float, y: float, width: float, share: float) -> list[str]:
    """A bar for the part of the time, nothing when no time was measured."""
    if not share:
        return []
    return [
        svg.element("rect", x=x, y=y, width=length, height=3, rx=1.5, class_=css)
        for length, css in ((width, "track"), (max(3, width * share), "share"))
    ]


def _title_lines(title: str, width: float) -> list[str]:
    """The title on one line or two; what does not fit two lines stays on the second, to be cut."""
    lines = textwrap.wrap(title, int(width / (TITLE_SIZE * svg.SANS_ADVANCE)), break_long_words=False)
    return [lines[0], " ".join(lines[1:])] if len(lines) > 1 else lines


def _look(state: str) -> tuple[str, str]:
    """CSS class and sign of a state: never colour alone."""
    if state == UNCHECKED:
        return "muted", "\u00b7"
    return ("ok", "\u2713") if state == READY else ("bad", "\u2717")


def _description(layers: Sequence[Layer]) -> str:
    titles = {layer.name: layer.title for layer in layers}
    return " ".join(
        f"{layer.title} is {layer.state}"
        + (f" and needs {', '.join(titles[n] for n in layer.needs if n in titles)}." if layer.needs else ".")
        for layer in layers
    )
