"""The report for a terminal: plain text, sensible widths, colour only when asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from textwrap import wrap
from typing import TextIO

from inference_platform.report import wording
from inference_platform.report.observation import (
    READY,
    UNCHECKED,
    Count,
    Gateway,
    Model,
    Node,
    Observation,
    Pod,
)

NARROW, WIDE = 80, 100
"""The report is never narrower or wider than this, whatever the terminal says."""

MODELS_SHOWN, PROBLEMS_SHOWN = 20, 20
"""More of them are counted; the page and report.json have all."""

SHORTEST_BAR, LONGEST_BAR = 4, 16
GOOD, BAD, OPEN = "\u2713", "\u2717", "\u00b7"
BAR_FULL, BAR_PARTS = "\u2588", " \u258f\u258e\u258d\u258c\u258b\u258a\u2589"

STYLES = {"bold": "1", "dim": "2", "green": "32", "red": "31", "yellow": "33", "cyan": "36"}


def wants_colour(stream: TextIO, environment: Mapping[str, str], asked: bool | None = None) -> bool:
    """Whether to colour text for ``stream``.

    ``asked`` (a command line option) decides when given. Otherwise colour needs a
    terminal, and a non-empty NO_COLOR (no-color.org) or TERM=dumb turns it off.
    """
    if asked is not None:
        return asked
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    return stream.isatty()


def render_text(observation: Observation, *, width: int = WIDE, colour: bool = False) -> str:
    """The whole report as lines of at most ``width`` columns, final newline included.

    URLs and commands are never broken, so that they can be copied.
    """
    pen = _Pen(min(max(width, NARROW), WIDE), colour)
    parts = (
        _head(observation, pen),
        _problems(observation, pen),
        _layers(observation, pen),
        _deployments(observation, pen),
        _gateway(observation.gateway, pen),
        _models(observation, pen),
        _nodes(observation.nodes, pen),
        _unverified(observation, pen),
        _commands(observation, pen),
    )
    blocks = ["\n".join(line.rstrip() for line in part) for part in parts]
    return "\n" + "\n\n".join(block for block in blocks if block) + "\n"


class _Pen:
    """Width and colour of one report."""

    def __init__(self, width: int, colour: bool) -> None:
        self.width = width
        self._colour = colour

    def paint(self, text: str, *styles: str) -> str:
        if not self._colour or not text:
            return text
        codes = ";".join(STYLES[style] for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def title(self, text: str, right: str = "") -> str:
        space = " " * max(2, self.width - 2 - len(text) - len(right))
        return f"  {self.paint(text, 'bold')}{space}{self.paint(right, 'dim')}".rstrip()

    def mark(self, good: bool | None) -> str:
        if good is None:
            return self.paint(OPEN, "dim")
        return self.paint(GOOD, "green") if good else self.paint(BAD, "red")

    def wrapped(self, text: str, indent: str) -> list[str]:
        lines = wrap(text, self.width, initial_indent=indent, subsequent_indent=" " * len(indent))
        return lines or [indent.rstrip()]


def _head(observation: Observation, pen: _Pen) -> Iterator[str]:
    headline = wording.headline(observation)
    yield f"  {pen.paint('Inference platform ' + observation.platform.version, 'bold')}"
    yield f"  {pen.paint(headline, 'bold', 'green' if observation.ready else 'red')}"
    for text in (wording.origin(observation), wording.whereabouts(observation)):
        yield from (pen.paint(line, "dim") for line in pen.wrapped(text, "  "))


def _problems(observation: Observation, pen: _Pen) -> Iterator[str]:
    if not observation.problems:
        return
    yield pen.title("What is wrong")
    for problem in observation.problems[:PROBLEMS_SHOWN]:
        lines = pen.wrapped(problem, "    ")
        yield f"  {pen.mark(False)}{lines[0][3:]}"
        yield from lines[1:]
    yield from _more(len(observation.problems) - PROBLEMS_SHOWN, "problem")


def _layers(observation: Observation, pen: _Pen) -> Iterator[str]:
    totals = observation.totals
    yield pen.title("Layers", f"{totals['layers']} ready  {wording.duration(observation.total_seconds)}".rstrip())
    rows = [
        (layer.title, layer.ownership, layer.seconds, layer.changed, _layer_mark(layer.state))
        for layer in observation.layers
    ]
    if observation.models_seconds is not None:
        models_good = all(model.ready for model in observation.models)
        rows.append(("Models", "", observation.models_seconds, observation.models_changed, models_good))
    longest = max((seconds or 0.0 for _, _, seconds, _, _ in rows), default=0.0)
    title_width = _widest(row[0] for row in rows)
    owner_width = _widest(row[1] for row in rows)
    room = pen.width - (title_width + owner_width + len("  x   " + f"  {'':>10}  " + "  unchanged"))
    bar_width = min(max(room, SHORTEST_BAR), LONGEST_BAR)
    for title, owner, seconds, changed, good in rows:
        line = f"  {pen.mark(good)} {title:<{title_width}}  {pen.paint(f'{owner:<{owner_width}}', 'dim')}"
        if seconds is not None:
            bar = _bar(seconds, longest, bar_width)
            line += f"  {wording.duration(seconds):>10}  {pen.paint(f'{bar:<{bar_width}}', 'cyan')}"
        yield f"{line}  {pen.paint(wording.outcome(changed), 'dim')}"


def _layer_mark(state: str) -> bool | None:
    return None if state == UNCHECKED else state == READY


def _bar(value: float, longest: float, width: int) -> str:
    """A bar of at most ``width`` columns, in eighths of a column, as long as ``value`` is of ``longest``."""
    eighths = max(1, round(8 * width * value / longest)) if longest else 0
    return (BAR_FULL * (eighths // 8) + BAR_PARTS[eighths % 8]).rstrip()


def _deployments(observation: Observation, pen: _Pen) -> Iterator[str]:
    totals = observation.totals
    yield pen.title(
        "Deployments",
        f"{totals['deployments']} ready  {totals['namespaces']} namespaces  "
        f"{totals['crds']} CRDs  {wording.plural(len(observation.services), 'Service')}",
    )
    name_width = _widest(entry.namespace for entry in observation.deployments)
    for namespace, group in groupby(observation.deployments, key=lambda entry: entry.namespace):
        shown = namespace
        for entry in group:
            count = pen.paint(str(entry.replicas), *_count_style(entry.replicas))
            yield f"  {pen.mark(entry.replicas.complete)} {shown:<{name_width}}  {count}  {entry.name}"
            shown = ""


def _count_style(count: Count) -> tuple[str, ...]:
    return ("dim",) if count.complete else ("red", "bold")


def _gateway(gateway: Gateway | None, pen: _Pen) -> Iterator[str]:
    yield pen.title("Gateway")
    if gateway is None:
        yield f"  {pen.mark(False)} none"
        return
    state = "Programmed" if gateway.programmed else f"not Programmed ({gateway.reason or 'no reason given'})"
    yield (
        f"  {pen.mark(gateway.programmed)} {gateway.namespace}/{gateway.name}  class {gateway.gateway_class}  {state}"
    )
    yield f"    address  {gateway.address or 'none yet'}"
    for listener in gateway.listeners:
        routes = wording.plural(listener.routes, "route")
        yield f"    {listener.protocol.lower()} {listener.port}  {routes}"


def _models(observation: Observation, pen: _Pen) -> Iterator[str]:
    yield pen.title("Models", f"{observation.totals['models']} ready")
    if not observation.models:
        yield "    none yet: add an entry to `models` in the inventory and run the playbook again"
    many = len(observation.models) > MODELS_SHOWN
    models = sorted(observation.models, key=lambda model: model.ready) if many else observation.models
    for model in models[:MODELS_SHOWN]:
        yield from _model(model, pen)
    yield from _more(len(observation.models) - MODELS_SHOWN, "model")


def _more(count: int, noun: str) -> Iterator[str]:
    if count > 0:
        yield f"    and {wording.plural(count, f'more {noun}')}, which report.html shows"


def _model(model: Model, pen: _Pen) -> Iterator[str]:
    gpus = wording.gpu_amount(model.gpus, model.gpu_product)
    facts = "  ".join(part for part in (wording.model_state(model), f"{model.serving} serving", gpus) if part)
    yield f"  {pen.mark(model.ready)} {pen.paint(f'{model.namespace}/{model.name}', 'bold')}  {facts}"
    yield f"    url   {pen.paint(model.url or 'none yet', 'cyan')}"
    yield f"    from  {model.uri}"
    yield from _pods(model.pods, pen)
    for condition in model.conditions:
        if condition.status != "True" and not model.stopped:
            text = f"{condition.type} {condition.status} {condition.reason} {condition.message}"
            yield from pen.wrapped(" ".join(text.split()), "    ")


def _pods(pods: Sequence[Pod], pen: _Pen) -> Iterator[str]:
    widths = [_widest(column) for column in zip(*map(_pod_cells, pods), strict=True)]
    for pod in pods:
        cells = [f"{cell:<{size}}" for cell, size in zip(_pod_cells(pod), widths, strict=True)]
        yield f"    {pen.mark(pod.ready)} {'  '.join(cells)}"


def _pod_cells(pod: Pod) -> tuple[str, ...]:
    restarts = f"{wording.plural(pod.restarts, 'restart')}" if pod.restarts else ""
    state = "" if pod.ready and pod.phase == "Running" else pod.phase
    gpus = wording.plural(pod.gpus, "GPU") if pod.gpus else ""
    return (pod.role, pod.name, pod.node or "no node yet", gpus, f"{state} {restarts}".strip())


def _nodes(nodes: Sequence[Node], pen: _Pen) -> Iterator[str]:
    used, total = sum(n.gpus_used for n in nodes), sum(n.gpus for n in nodes)
    yield pen.title("Nodes", f"{used}/{total} GPUs in use")
    widths = [_widest(column) for column in zip(*map(_node_cells, nodes), strict=True)]
    for node in nodes:
        cells = [f"{cell:<{size}}" for cell, size in zip(_node_cells(node), widths, strict=True)]
        yield f"  {pen.mark(node.ready)} {'  '.join(cells)}"


def _node_cells(node: Node) -> tuple[str, ...]:
    gpus = f"{node.gpus_used}/{node.gpus} {node.gpu_product or 'GPUs'} in use" if node.gpus else ""
    return (node.name, node.instance_type, f"{wording.cpu(node.cpu)} CPU", wording.memory(node.memory), gpus)


def _unverified(observation: Observation, pen: _Pen) -> Iterator[str]:
    if not observation.unverified:
        return
    yield pen.title("Not verified")
    for note in observation.unverified:
        yield from pen.wrapped(note, "    ")


def _commands(observation: Observation, pen: _Pen) -> Iterator[str]:
    yield pen.title("Try next")
    if observation.environment:
        yield f"    {observation.environment}"
    for command in observation.commands:
        yield f"    {pen.paint('# ' + command.purpose, 'dim')}"
        yield f"    {command.command}"


def _widest(texts: Iterable[str]) -> int:
    return max((len(text) for text in texts), default=0)
