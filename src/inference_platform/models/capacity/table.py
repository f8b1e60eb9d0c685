"""A plan as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inference_platform.models.capacity.packing import Place, device_of
from inference_platform.models.capacity.planning import FITS, CapacityPlan, ModelPlan, Obstacle, SetPlan
from inference_platform.models.capacity.resources import BASIC, text

_HEADER = ("model", "pods", "each", "answer", "where")
_LISTED = 4


def as_text(plan: CapacityPlan) -> str:
    """One line per model and role with the places of its pods; what stands in the way; nodes with what is left."""
    lines = _columns([_HEADER, *(row for model in plan.models for row in _rows(model))])
    for model in plan.models:
        lines += _reasons(model)
    lines += ["", *_columns([("node", "left", "problem"), *_nodes(plan)])]
    return "\n".join(lines)


def _rows(model: ModelPlan) -> Iterable[tuple[str, ...]]:
    name = "/".join(model.model)
    if not model.sets:
        yield name, "0", "", model.answer, ""
    for number, item in enumerate(model.sets):
        pods = item.pods
        size = f"{pods.replicas} x {len(pods.pods)}" if len(pods.pods) > 1 else str(pods.replicas)
        answer = model.answer
        if model.stop:
            answer += " " + ", ".join("/".join(key) for key in model.stop)
        yield (
            f"{name} {pods.role}",
            size,
            _each(item),
            answer if number == 0 else "",
            _where(item),
        )


def _each(item: SetPlan) -> str:
    needs = item.pods.hardest
    device = device_of(needs)
    return text(device, needs.asks(device)) if device else "no GPU"


def _where(item: SetPlan) -> str:
    """Nodes with the number of pods on each; those that run there already are marked."""
    counts: dict[str, list[Place]] = {}
    for place in item.places:
        counts.setdefault(place.node, []).append(place)
    words = []
    for node, places in sorted(counts.items()):
        running = sum(place.running for place in places)
        times = f" x{len(places)}" if len(places) > 1 else ""
        words.append(f"{node}{times}" + (f" ({running} running)" if running else ""))
    if item.missing:
        words.append(f"{item.missing} without a place")
    return ", ".join(words)


def _reasons(model: ModelPlan) -> list[str]:
    lines = []
    for item in model.sets:
        if item.missing:
            lines += [
                "",
                f"{'/'.join(model.model)} {item.pods.role}: {item.missing} of {item.pods.replicas} do not fit",
            ]
            lines += [f"  {_told(obstacle)}" for obstacle in item.obstacles]
    if model.not_judged and model.answer == FITS:
        lines += ["", f"{'/'.join(model.model)}: not judged: {', '.join(model.not_judged)}"]
    return lines


def _told(obstacle: Obstacle) -> str:
    held = f"; held by {_listed(obstacle.holders)}" if obstacle.holders else ""
    return f"{_listed(obstacle.nodes)}: {obstacle.reason}{held}"


def _nodes(plan: CapacityPlan) -> Iterable[tuple[str, ...]]:
    for node in plan.nodes:
        devices = [
            f"{plan.left[node.name][resource]} of {text(resource, count)}"
            for resource, count in sorted(node.total.items())
            if resource not in BASIC and count
        ]
        if devices:
            yield node.name, ", ".join(devices), node.problem or ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
