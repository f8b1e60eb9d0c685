"""The way of a request as a line map: clients, gateway, models with pool and scheduler, pods on nodes.

One coloured line per model. What is ready has a solid line; what is not has a
dashed one, so that the picture does not depend on colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference_platform.report import svg, wording
from inference_platform.report.observation import (
    ROLE_PREFILL,
    ROLE_SCHEDULER,
    ROLE_SERVING,
    Gateway,
    Model,
    Node,
    Observation,
    Pod,
)

CARRIES_REQUESTS = (ROLE_SERVING, ROLE_PREFILL)
"""Roles at the end of a thick line; the scheduler and the workers of a group get a thin one."""

WIDTH = 1080
MODELS_SHOWN = 12
LINE_COLOURS = 5
"""The style sheet has line-0 to line-4; the sixth model takes the first colour again."""

CLIENT_X = 46
GATEWAY_X, GATEWAY_WIDTH, GATEWAY_HEIGHT = 150, 216, 104
MODEL_X, MODEL_WIDTH, MODEL_HEIGHT, MODEL_GAP = 440, 232, 118, 24
NODE_X = 760
NODE_WIDTH = WIDTH - NODE_X - 8
NODE_HEAD, POD_HEIGHT, NODE_FOOT, NODE_GAP = 40, 30, 8, 16
TOP = 44
ASK_OFFSET = 24
"""How far from a model's middle its thin lines start, on the side of their pod."""


@dataclass(frozen=True)
class _Stop:
    """A pod in the picture: its model's index and where its dot is."""

    model: int
    pod: Pod
    x: float
    y: float


def render(observation: Observation) -> str:
    """The picture as one ``<svg>`` element."""
    shown = observation.models[:MODELS_SHOWN]
    nodes = _hosts(observation.nodes, shown)
    boxes, stops, right_height = _nodes(nodes, shown)
    left_height = max(1, len(shown)) * (MODEL_HEIGHT + MODEL_GAP) - MODEL_GAP
    body = max(left_height, right_height, GATEWAY_HEIGHT)
    first = TOP + (body - left_height) / 2
    model_ys = [first + index * (MODEL_HEIGHT + MODEL_GAP) + MODEL_HEIGHT / 2 for index in range(len(shown))]
    lift = TOP + (body - right_height) / 2
    stops = [_Stop(s.model, s.pod, s.x, s.y + lift) for s in stops]
    gateway_y = sum(model_ys) / len(model_ys) if model_ys else TOP + body / 2
    footnotes = _footnotes(observation, shown, nodes)
    height = TOP + body + 20 + 20 * len(footnotes)
    return svg.picture(
        WIDTH,
        height,
        "How a request reaches a model",
        _description(observation),
        *_headings(),
        *_trunk(observation.gateway, gateway_y),
        *_lines_to_models(shown, model_ys, gateway_y, observation.gateway),
        svg.element("g", *boxes, transform=f"translate(0 {svg.number(lift)})") if boxes else "",
        *_lines_to_pods(shown, model_ys, stops),
        *_clients(gateway_y),
        _gateway(observation.gateway, gateway_y),
        *(_model(model, index, y) for index, (model, y) in enumerate(zip(shown, model_ys, strict=True))),
        *(_stop(stop, shown[stop.model]) for stop in stops),
        *(svg.text(NODE_X, TOP + body + 24 + 20 * index, note, "small muted") for index, note in enumerate(footnotes)),
    )


def _headings() -> list[str]:
    columns = ((GATEWAY_X, "Gateway"), (MODEL_X, "Models"), (NODE_X, "Pods on nodes"))
    return [svg.text(x, 22, label, "column") for x, label in columns]


def _trunk(gateway: Gateway | None, y: float) -> list[str]:
    state = "" if gateway and gateway.programmed else " broken"
    points = [(CLIENT_X + 24, y), (GATEWAY_X, y)]
    return [svg.element("path", d=svg.route_path(points), class_=f"line trunk{state}")]


def _clients(y: float) -> list[str]:
    people = [
        svg.element(
            "g",
            svg.element("circle", cx=0, cy=-9, r=5.5),
            svg.element("path", d="M-10 8 a10 9.5 0 0 1 20 0 z"),
            transform=f"translate({svg.number(CLIENT_X - 6 + offset)} {svg.number(y + lift)})",
            class_="client",
        )
        for offset, lift in ((-15, -7), (15, -7), (0, 3))
    ]
    return [*people, svg.text(CLIENT_X - 6, y + 34, "Clients", "small muted", text_anchor="middle")]


def _gateway(gateway: Gateway | None, y: float) -> str:
    top = y - GATEWAY_HEIGHT / 2
    if gateway is None:
        return svg.element(
            "g",
            _card(GATEWAY_X, top, GATEWAY_WIDTH, GATEWAY_HEIGHT, good=False),
            svg.text(GATEWAY_X + 16, y + 4, "No gateway yet", "name"),
        )
    inner = GATEWAY_WIDTH - 32
    state = "Programmed" if gateway.programmed else f"Not Programmed: {gateway.reason or 'no reason given'}"
    ports = ", ".join(f"{listener.protocol.lower()} {listener.port}" for listener in gateway.listeners)
    address = gateway.address or "no address yet"
    return svg.element(
        "g",
        svg.title(f"Gateway {gateway.namespace}/{gateway.name}, {state}, address {address}"),
        _card(GATEWAY_X, top, GATEWAY_WIDTH, GATEWAY_HEIGHT, good=gateway.programmed),
        svg.text(GATEWAY_X + 16, top + 28, svg.fit(gateway.name, inner, 15), "name"),
        svg.text(GATEWAY_X + 16, top + 48, f"class {gateway.gateway_class}, {ports}", "small muted"),
        svg.text(GATEWAY_X + 16, top + 66, svg.fit(address, inner, 11, svg.MONO_ADVANCE), "mono"),
        _state(GATEWAY_X + 16, top + 88, state, gateway.programmed),
    )


def _model(model: Model, index: int, y: float) -> str:
    top = y - MODEL_HEIGHT / 2
    inner = MODEL_WIDTH - 32
    scheduler = next((pod for pod in model.pods if pod.role == ROLE_SCHEDULER), None)
    if scheduler is None:
        picks = "no scheduler"
    else:
        picks = "scheduler picks the pod" if scheduler.ready else "scheduler is not ready"
    path = f"/{model.namespace}/{model.name}"
    return svg.element(
        "g",
        svg.title(f"Model {model.namespace}/{model.name}, {wording.model_state(model)}, {model.uri}"),
        _card(MODEL_X, top, MODEL_WIDTH, MODEL_HEIGHT, good=model.ready),
        svg.element(
            "rect",
            x=MODEL_X,
            y=top + 12,
            width=5,
            height=MODEL_HEIGHT - 24,
            rx=2.5,
            class_=f"fill-{_colour(index)}",
        ),
        svg.text(MODEL_X + 18, top + 28, svg.fit(model.name, inner, 15), "name"),
        svg.text(MODEL_X + 18, top + 48, svg.fit(path, inner, 11, svg.MONO_ADVANCE), "mono"),
        svg.text(MODEL_X + 18, top + 66, svg.fit(model.pool or "no pool", inner, 12), "small muted"),
        svg.text(MODEL_X + 18, top + 83, picks, "small muted"),
        _state(
            MODEL_X + 18,
            top + 103,
            f"{wording.model_state(model) if model.ready else 'Not ready'}, {model.serving} serving",
            model.ready,
        ),
    )


def _card(x: float, y: float, width: float, height: float, *, good: bool) -> str:
    css = "card" if good else "card card-bad"
    return svg.element("rect", x=x, y=y, width=width, height=height, rx=8, class_=css)


def _state(x: float, y: float, label: str, good: bool) -> str:
    css, sign = ("ok", "\u2713") if good else ("bad", "\u2717")
    return svg.text(x, y, f"{sign} {label}", f"small strong {css}")


def _lines_to_models(
    models: Sequence[Model], ys: Sequence[float], gateway_y: float, gateway: Gateway | None
) -> list[str]:
    """One line per model out of the gateway, each turning at its own x so that none hides another."""
    start = GATEWAY_X + GATEWAY_WIDTH
    lines = []
    for index, (model, y) in enumerate(zip(models, ys, strict=True)):
        leave = gateway_y + _fan(index, len(models))
        turn = start + 24 + _lane(ys, index, gateway_y) * 8
        good = bool(gateway and gateway.programmed and model.route_accepted)
        lines.append(_line(svg.elbow((start, leave), (MODEL_X, y), turn), index, good))
    return lines


def _fan(index: int, count: int) -> float:
    """Where line ``index`` of ``count`` leaves the gateway, relative to its middle."""
    step = min(9.0, (GATEWAY_HEIGHT - 20) / max(1, count))
    return (index - (count - 1) / 2) * step


def _lane(ys: Sequence[float], index: int, middle: float) -> int:
    """Lines to far models turn first: they pass outside those to near models."""
    side = [i for i, y in enumerate(ys) if (y < middle) == (ys[index] < middle)]
    ranked = sorted(side, key=lambda i: -abs(ys[i] - middle))
    return ranked.index(index)


def _lines_to_pods(models: Sequence[Model], ys: Sequence[float], stops: Sequence[_Stop]) -> list[str]:
    """The lines right of the models, thin ones first, so that thick ones lie on top where they cross."""
    thin, thick = [], []
    start = MODEL_X + MODEL_WIDTH
    for stop in stops:
        model, y = models[stop.model], ys[stop.model]
        turn = start + 34 + (stop.model % 6) * 8
        if stop.pod.role in CARRIES_REQUESTS:
            way = svg.elbow((start, y), (stop.x, stop.y), turn)
            thick.append(_line(way, stop.model, stop.pod.ready and model.pool_accepted))
        else:
            leave = y + (ASK_OFFSET if stop.y > y else -ASK_OFFSET)
            way = svg.elbow((start, leave), (stop.x, stop.y), turn - 16)
            thin.append(_line(way, stop.model, stop.pod.ready, "ask"))
    return thin + thick


def _line(points: Sequence[svg.Point], index: int, good: bool, kind: str = "line") -> str:
    state = "" if good else " broken"
    return svg.element("path", d=svg.route_path(points), class_=f"{kind} line-{_colour(index)}{state}")


def _colour(index: int) -> int:
    return index % LINE_COLOURS


def _hosts(nodes: Sequence[Node], models: Sequence[Model]) -> list[Node]:
    """The nodes that the models run on, those of the first model first."""
    order: dict[str, int] = {}
    for model in models:
        for pod in model.pods:
            if pod.node and (pod.role != ROLE_SCHEDULER or pod.node in order):
                order.setdefault(pod.node, len(order))
    for model in models:
        for pod in model.pods:
            if pod.node:
                order.setdefault(pod.node, len(order))
    known = {node.name: node for node in nodes}
    return [known[name] for name in order if name in known]


def _nodes(nodes: Sequence[Node], models: Sequence[Model]) -> tuple[list[str], list[_Stop], float]:
    """Boxes of the nodes and the stops of their pods, from y = 0, with the height of it all."""
    boxes: list[str] = []
    stops: list[_Stop] = []
    y = 0.0
    for node in nodes:
        here = [(index, pod) for index, m in enumerate(models) for pod in m.pods if pod.node == node.name]
        height = NODE_HEAD + len(here) * POD_HEIGHT + NODE_FOOT
        boxes.append(_node(node, y, height))
        for row, (index, pod) in enumerate(here):
            stops.append(_Stop(index, pod, NODE_X + 18, y + NODE_HEAD + row * POD_HEIGHT + POD_HEIGHT / 2 - 2))
        y += height + NODE_GAP
    return boxes, stops, max(0.0, y - NODE_GAP)


def _node(node: Node, y: float, height: float) -> str:
    kind = node.instance_type or "node"
    about = f"{kind}, {wording.gpu_amount(node.gpus, node.gpu_product)}" if node.gpus else kind
    chips = [
        svg.element(
            "rect",
            x=NODE_X + NODE_WIDTH - 14 - (node.gpus - slot) * 13,
            y=y + 12,
            width=10,
            height=10,
            rx=2,
            class_="gpu gpu-used" if slot < node.gpus_used else "gpu",
        )
        for slot in range(min(node.gpus, 8))
    ]
    room = NODE_WIDTH - 40 - 13 * len(chips)
    return svg.element(
        "g",
        svg.title(f"Node {node.name}, {about}, {node.gpus_used} of {node.gpus} GPUs in use"),
        svg.element(
            "rect",
            x=NODE_X,
            y=y,
            width=NODE_WIDTH,
            height=height,
            rx=8,
            class_="node" if node.ready else "node card-bad",
        ),
        svg.text(NODE_X + 14, y + 18, svg.fit(node.name, room, 12), "small strong"),
        svg.text(NODE_X + 14, y + 33, about if node.ready else f"{about}, not ready", "tiny muted"),
        *chips,
    )


def _stop(stop: _Stop, model: Model) -> str:
    pod = stop.pod
    state = pod.phase if pod.ready else f"{pod.phase}, not ready"
    label = pod.name.removeprefix(f"{model.name}-kserve-")
    scheduler = pod.role == ROLE_SCHEDULER
    css = f"stop stop-{_colour(stop.model)}" + ("" if pod.ready else " stop-bad")
    mark = (
        svg.element("rect", x=stop.x - 6, y=stop.y - 6, width=12, height=12, rx=3, class_=css)
        if scheduler
        else svg.element("circle", cx=stop.x, cy=stop.y, r=7, class_=css)
    )
    shown = label if pod.ready else f"{label}  {pod.phase}"
    room = NODE_WIDTH - 44
    return svg.element(
        "g",
        svg.title(f"Pod {pod.name}, {pod.role}, {state}"),
        mark,
        svg.text(stop.x + 16, stop.y + 4, svg.fit(shown, room, 11, svg.MONO_ADVANCE), "mono"),
    )


def _footnotes(observation: Observation, shown: Sequence[Model], nodes: Sequence[Node]) -> list[str]:
    notes = []
    idle = len(observation.nodes) - len(nodes)
    if idle:
        notes.append(f"and {wording.plural(idle, 'node')} without a model pod")
    more = len(observation.models) - len(shown)
    if more:
        notes.append(f"and {wording.plural(more, 'more model')} (all are listed below)")
    unplaced = sum(not pod.node for model in shown for pod in model.pods)
    if unplaced:
        notes.append(f"{wording.plural(unplaced, 'pod')} without a node yet")
    return notes


def _description(observation: Observation) -> str:
    gateway = observation.gateway
    entry = (
        f"Clients send requests to gateway {gateway.name} at {gateway.address or 'no address yet'}."
        if gateway
        else "There is no gateway yet."
    )
    models = " ".join(
        f"Model {model.name} ({wording.model_state(model)}) has {model.serving} serving pods on "
        f"{', '.join(sorted({pod.node for pod in model.pods if pod.gpus and pod.node})) or 'no GPU node'}."
        for model in observation.models
    )
    return f"{entry} {models}".strip()
