"""The result of a benchmark as one HTML page that needs nothing else: no script, no font, no request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from inference_platform.report import svg

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 680.0, 210.0, 48.0, 26.0, 12.0
_COLOURS = 5
_PLOTS = {
    "waiting": "Requests that wait, by pod",
    "running": "Requests that are worked on, by pod",
    "kv_cache": "Part of the KV cache in use, by pod",
}
_QUANTILES = {
    "time_to_first_token_seconds": "time to first token",
    "inter_token_latency_seconds": "between tokens",
    "request_seconds": "whole request",
    "queue_seconds": "in the queue",
}
_STYLE = """
.plot { width: 100%; height: auto; } .plot text { font: 11px var(--sans); fill: var(--muted); }
.axis { stroke: var(--rule); } .series { fill: none; stroke-width: 2; }
"""


def render(result: Mapping[str, Any]) -> str:
    """The page of what `benchmark.json` holds: target, load, servers (a summary) and guidellm (a list)."""
    servers = result["servers"]
    style = (files("inference_platform.report") / "page.css").read_text(encoding="utf-8") + _STYLE
    facts = {
        "requests": f"{servers['requests']:.0f} in {servers['seconds']:.0f} s",
        "requests a second": f"{servers['requests_per_second']:.2f}",
        "output tokens a second": f"{servers['output_tokens_per_second']:.1f}",
        "longest queue at a pod": f"{servers['longest_queue']:.0f}",
        "prefix cache hits": _percent(servers["prefix_cache_hit_rate"]),
    }
    parts = [
        _section("What came out", _table(("", ""), facts.items())),
        _section("Latency, in milliseconds", _latencies(servers)),
        _section("Shares of the requests", _shares(servers)),
        *(_section(title, _plot(title, servers["series"][name])) for name, title in _PLOTS.items()),
        _section("What GuideLLM measured at the client", _client(result["guidellm"])),
    ]
    title = f"Benchmark of {result['model']}"
    load = ", ".join(f"{name} {value}" for name, value in result["load"].items() if value != "")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head><body>'
        f'<header class="sign"><div><div><h1>{escape(title)}</h1><p class="said">{escape(result["url"])}</p>'
        f'<p class="whence">{escape(load)}; GuideLLM {escape(result["guidellm_version"])}</p></div></div></header>'
        f"<main>{''.join(parts)}</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f'<section><h2>{escape(title)}</h2><div class="sheet scroll">{content}</div></section>'


def _table(head: Sequence[str], rows: Any) -> str:
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{body}</table>"


def _latencies(servers: Mapping[str, Any]) -> str:
    names = ("p50", "p90", "p95", "p99")
    rows = [
        (title, *(f"{servers[key][name] * 1000:.1f}" if name in servers[key] else "-" for name in names))
        for key, title in _QUANTILES.items()
    ]
    return _table(("as the servers counted", *names), rows)


def _shares(servers: Mapping[str, Any]) -> str:
    rows = [
        *((f"version {name}", _percent(share)) for name, share in servers["share_per_version"].items()),
        *((f"pod {name}", _percent(share)) for name, share in servers["share_per_pod"].items()),
    ]
    return _table(("", "share"), rows)


def _client(benchmarks: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for number, benchmark in enumerate(benchmarks, start=1):
        for name, value in benchmark.items():
            spread = value.items() if isinstance(value, Mapping) else [("", value)]
            text = ", ".join(f"{key} {item:.2f}".strip() for key, item in spread)
            rows.append((str(number), name.replace("_", " "), text))
    return _table(("run", "", ""), rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _plot(title: str, series: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Lines over time, one for each pod."""
    points = [point for line in series.values() for point in line]
    longest = max((x for x, _ in points), default=0.0) or 1.0
    highest = max((y for _, y in points), default=0.0) or 1.0
    wide, high = _WIDTH - _LEFT - 8, _HEIGHT - _BOTTOM - _TOP

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + x / longest * wide, _TOP + high - y / highest * high

    parts = [
        svg.element("line", x1=_LEFT, y1=_TOP + high, x2=_LEFT + wide, y2=_TOP + high, class_="axis"),
        svg.text(4, _TOP + 9, f"{highest:.4g}"),
        svg.text(4, _TOP + high, "0"),
        svg.text(_LEFT, _HEIGHT - 8, "0 s"),
        svg.text(_LEFT + wide, _HEIGHT - 8, f"{longest:.0f} s", text_anchor="end"),
    ]
    for number, (name, line) in enumerate(series.items()):
        corners = [place(x, y) for x, y in line]
        path = "M" + " L".join(f"{svg.number(x)},{svg.number(y)}" for x, y in corners)
        style = f"stroke: var(--line-{number % _COLOURS})"
        parts.append(svg.element("path", svg.title(name), d=path, class_="series", style=style))
    described = f"{len(series)} pods over {longest:.0f} seconds; the highest value is {highest:.4g}"
    picture = svg.picture(_WIDTH, _HEIGHT, title, described, *parts)
    return picture.replace("<svg ", '<svg class="plot" ', 1)
