"""What a load did to the servers, from what they counted before, during and after it.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_platform.load.exposition import Samples, quantile, since, together

_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_REQUESTS, _TOKENS = "vllm:request_success_total", "vllm:generation_tokens_total"
_LATENCIES = {
    "time_to_first_token_seconds": "vllm:time_to_first_token_seconds",
    "inter_token_latency_seconds": "vllm:inter_token_latency_seconds",
    "request_seconds": "vllm:e2e_request_latency_seconds",
    "queue_seconds": "vllm:request_queue_time_seconds",
}
_GAUGES = {
    "waiting": "vllm:num_requests_waiting",
    "running": "vllm:num_requests_running",
    "kv_cache": "vllm:kv_cache_usage_perc",
}


@dataclass(frozen=True, order=True)
class Server:
    """One pod, and the model that is a version of what was asked."""

    model: str
    pod: str


@dataclass(frozen=True)
class Moment:
    """What the servers said at one time, in seconds since the load began."""

    at: float
    samples: Mapping[Server, Samples]


def summary(moments: Sequence[Moment]) -> dict[str, Any]:
    """Throughput, latency quantiles, longest queue, cache hits, shares, and series for plots, as plain data.

    moments  at least two, in order; the first is before the load and the last after it. Times in which no request was
             counted, at the start and at the end, do not count: the program that sends them takes its time
    """
    moments = _busy(moments)
    first, last = moments[0], moments[-1]
    seconds = max(last.at - first.at, 1e-9)
    grown = {server: since(first.samples.get(server, Samples()), seen) for server, seen in last.samples.items()}
    total = together(list(grown.values()))
    queries = total.value("vllm:prefix_cache_queries_total")
    return {
        "seconds": round(seconds, 3),
        "requests": total.value(_REQUESTS),
        "requests_per_second": round(total.value(_REQUESTS) / seconds, 3),
        "output_tokens_per_second": round(total.value(_TOKENS) / seconds, 3),
        **{name: _quantiles(total, metric) for name, metric in _LATENCIES.items()},
        "longest_queue": max(
            (value for series in _series(moments, "waiting").values() for _, value in series), default=0
        ),
        "prefix_cache_hit_rate": round(total.value("vllm:prefix_cache_hits_total") / queries, 4) if queries else None,
        "share_per_pod": _share({server.pod: samples.value(_REQUESTS) for server, samples in sorted(grown.items())}),
        "share_per_version": _share(_by_model(grown)),
        "series": {name: _series(moments, name) for name in _GAUGES},
    }


def _busy(moments: Sequence[Moment]) -> Sequence[Moment]:
    """From the last moment before a request was counted to the first at which all were."""
    totals = [sum(seen.value(_REQUESTS) for seen in moment.samples.values()) for moment in moments]
    if totals[0] == totals[-1]:
        return moments
    begin = max(index for index, total in enumerate(totals) if total == totals[0])
    return moments[begin : totals.index(totals[-1]) + 1]


def _quantiles(total: Samples, metric: str) -> dict[str, float]:
    buckets = total.histograms.get(metric, {})
    found = {name: quantile(buckets, share) for name, share in _SHARES.items()}
    return {name: round(value, 6) for name, value in found.items() if value is not None}


def _by_model(grown: Mapping[Server, Samples]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for server, samples in sorted(grown.items()):
        counts[server.model] = counts.get(server.model, 0.0) + samples.value(_REQUESTS)
    return counts


def _share(counts: Mapping[str, float]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: round(count / total, 4) if total else 0.0 for name, count in counts.items()}


def _series(moments: Sequence[Moment], gauge: str) -> dict[str, list[tuple[float, float]]]:
    """A gauge over time by pod: (seconds since the start, value)."""
    found: dict[str, list[tuple[float, float]]] = {}
    for moment in moments:
        for server, samples in sorted(moment.samples.items()):
            point = round(moment.at - moments[0].at, 2), samples.value(_GAUGES[gauge])
            found.setdefault(server.pod, []).append(point)
    return found
