"""GuideLLM: the command line of each of its generations, the prompts it sends, and what its report says.  Pure.

Its command changed twice (models.md 9): up to 0.3 `benchmark run --rate-type`, up to 0.6 `benchmark --profile`, from
0.7 `run --profile kind=...`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERSION = re.compile(r"(\d+)\.(\d+)(?:\.\d+)?")
#: What GuideLLM calls a load that needs no rate.
WITHOUT_RATE = ("synchronous", "throughput")
_WORDS = ("how", "many", "small", "boats", "cross", "the", "wide", "river", "at", "night", "when", "wind", "is", "calm")
_QUANTITIES = ("request_latency", "time_to_first_token_ms", "inter_token_latency_ms", "output_tokens_per_second")
_SHOWN = ("p50", "p90", "p95", "p99")


@dataclass(frozen=True)
class Load:
    """What is sent: how (GuideLLM's name of the load), at which rate, for how long, and how large.

    rate           requests a second, or requests at once with `concurrent`; 0 for loads without one
    seconds        length of the run
    prompt_tokens  tokens of each prompt, about; output_tokens of each answer
    processor      tokenizer: a folder or a name at the model hub; "" where the generation needs none
    """

    kind: str = "constant"
    rate: float = 5.0
    seconds: int = 30
    prompt_tokens: int = 256
    output_tokens: int = 64
    processor: str = ""


def version_of(text: str) -> tuple[int, int]:
    """Major and minor version in what `guidellm --version` prints.  Raises ValueError."""
    found = VERSION.search(text)
    if not found:
        raise ValueError(f"expected a version of GuideLLM, found {text.strip()!r}")
    return int(found[1]), int(found[2])


def arguments(version: tuple[int, int], load: Load, *, url: str, model: str, prompts: Path, output: Path) -> list[str]:
    """The arguments after `guidellm`; `prompts` is a file made by `prompt_lines`, `output` becomes its report."""
    if version < (0, 4):
        return [
            *("benchmark", "run", "--target", url, "--model", model, "--rate-type", load.kind),
            *(() if load.kind in WITHOUT_RATE else ("--rate", f"{load.rate:g}")),
            *("--max-seconds", str(load.seconds), "--data", str(prompts)),
            *("--data-args", json.dumps({"prompt_column": "prompt", "output_tokens_count_column": "output_tokens"})),
            *(("--processor", load.processor) if load.processor else ()),
            *("--output-path", str(output), "--disable-progress", "--disable-console-outputs"),
        ]
    size = f"prompt_tokens={load.prompt_tokens},output_tokens={load.output_tokens}"
    if version < (0, 7):
        return [
            *("benchmark", "--target", url, "--model", model, "--profile", load.kind),
            *(() if load.kind in WITHOUT_RATE else ("--rate", f"{load.rate:g}")),
            *("--max-seconds", str(load.seconds), "--data", size),
            *(("--processor", load.processor) if load.processor else ()),
            *("--output-path", str(output)),
        ]
    rate = "" if load.kind in WITHOUT_RATE else f",rate={load.rate:g}"
    return [
        *("run", "--backend", f"kind=openai_http,target={url},model={model}", "--profile", f"kind={load.kind}{rate}"),
        *("--constraint", f"kind=max_duration,seconds={load.seconds}", "--data", f"kind=synthetic_text,{size}"),
        *(("--processor", load.processor) if load.processor else ()),
        *("--output-path", str(output)),
    ]


def prompt_lines(load: Load, seed: int) -> Iterator[str]:
    """Lines of a file of prompts, all different, about a word a token: as many as the load can need."""
    words = random.Random(seed)
    for number in range(max(1000, int(load.rate * load.seconds) * 2)):
        text = " ".join(words.choice(_WORDS) for _ in range(max(load.prompt_tokens - 2, 1)))
        yield json.dumps({"prompt": f"{number} {text}", "output_tokens": load.output_tokens})


def results(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The benchmarks of a report: requests by outcome, requests a second, and quantiles as GuideLLM measured them.

    Latencies are in the units that its names say; what a generation does not report is left out.
    """
    found = []
    for benchmark in report.get("benchmarks") or []:
        metrics = benchmark.get("metrics") or {}
        totals = (benchmark.get("run_stats") or {}).get("requests_made") or metrics.get("request_totals") or {}
        entry: dict[str, Any] = {"requests": {key: totals[key] for key in sorted(totals)}}
        rate = ((metrics.get("requests_per_second") or {}).get("successful") or {}).get("mean")
        if rate is not None:
            entry["requests_per_second"] = rate
        for name in _QUANTITIES:
            spread = ((metrics.get(name) or {}).get("successful") or {}).get("percentiles") or {}
            if spread:
                entry[name] = {key: spread[key] for key in _SHOWN if key in spread}
        found.append(entry)
    return found
