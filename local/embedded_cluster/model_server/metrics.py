"""The server's state in Prometheus' text format, under vLLM's names (facts/models.md section 9)."""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedded_cluster.model_server.engine import Engine

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0)


class Histogram:
    """Counts of observed seconds in buckets."""

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0
        self.number = 0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count `seconds` that many times."""
        self.counts[bisect.bisect_left(SECONDS, seconds)] += times
        self.total += seconds * times
        self.number += times


@dataclass
class Counters:
    """What a server counted since its start."""

    prompt_tokens: int = 0
    generation_tokens: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    succeeded: int = 0
    first_token: Histogram = field(default_factory=Histogram)
    between_tokens: Histogram = field(default_factory=Histogram)
    per_output_token: Histogram = field(default_factory=Histogram)
    whole: Histogram = field(default_factory=Histogram)
    queue_time: Histogram = field(default_factory=Histogram)

    def paced(self, tokens: int, seconds: float) -> None:
        """A request's tokens after the first took this long together."""
        if tokens > 1:
            self.between_tokens.observe(seconds / (tokens - 1), tokens - 1)
            self.per_output_token.observe(seconds / (tokens - 1))

    def finished(self, prompt_tokens: int, tokens: int, seconds: float) -> None:
        """A request was answered."""
        self.prompt_tokens += prompt_tokens
        self.generation_tokens += tokens
        self.succeeded += 1
        self.whole.observe(seconds)


def render(engine: Engine, model: str) -> str:
    """The page at /metrics."""
    counters, labels = engine.counters, f'engine="0",model_name="{model}"'
    gauges = {
        "num_requests_running": len(engine.running),
        "num_requests_waiting": len(engine.waiting),
        "kv_cache_usage_perc": engine.cache.usage,
    }
    totals = {
        "num_preemptions": 0,
        "prompt_tokens": counters.prompt_tokens,
        "generation_tokens": counters.generation_tokens,
        "prefix_cache_queries": counters.prefix_queries,
        "prefix_cache_hits": counters.prefix_hits,
    }
    histograms = {
        "time_to_first_token_seconds": counters.first_token,
        "inter_token_latency_seconds": counters.between_tokens,
        "request_time_per_output_token_seconds": counters.per_output_token,
        "e2e_request_latency_seconds": counters.whole,
        "request_queue_time_seconds": counters.queue_time,
    }
    lines: list[str] = []
    for name, value in gauges.items():
        lines += [f"# TYPE vllm:{name} gauge", f"vllm:{name}{{{labels}}} {float(value)}"]
    for name, value in totals.items():
        lines += [f"# TYPE vllm:{name} counter", f"vllm:{name}_total{{{labels}}} {float(value)}"]
    cache = f'block_size="{engine.block_size}",num_gpu_blocks="{engine.cache.total}"'
    lines += [
        "# TYPE vllm:request_success counter",
        f'vllm:request_success_total{{{labels},finished_reason="length"}} {float(counters.succeeded)}',
        "# TYPE vllm:cache_config_info gauge",
        f"vllm:cache_config_info{{{labels},{cache}}} 1.0",
    ]
    if engine.max_loras:
        lines += _loras(engine)
    for name, histogram in histograms.items():
        lines += _histogram(f"vllm:{name}", labels, histogram)
    return "\n".join(lines) + "\n"


def _loras(engine: Engine) -> Iterable[str]:
    running = ",".join(sorted({job.lora for job in engine.running if job.lora}))
    waiting = ",".join(sorted({job.lora for job in engine.waiting if job.lora}))
    labels = f'max_lora="{engine.max_loras}",running_lora_adapters="{running}",waiting_lora_adapters="{waiting}"'
    return "# TYPE vllm:lora_requests_info gauge", f"vllm:lora_requests_info{{{labels}}} {time.time()}"


def _histogram(name: str, labels: str, histogram: Histogram) -> Iterable[str]:
    yield f"# TYPE {name} histogram"
    below = 0
    for bound, count in zip(SECONDS, histogram.counts, strict=False):
        below += count
        yield f'{name}_bucket{{{labels},le="{bound}"}} {float(below)}'
    yield f'{name}_bucket{{{labels},le="+Inf"}} {float(histogram.number)}'
    yield f"{name}_count{{{labels}}} {float(histogram.number)}"
    yield f"{name}_sum{{{labels}}} {histogram.total}"
