"""GuideLLM: how each generation is called, what it is given to send, and what is read from its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inference_platform.load.guidellm import Load, arguments, prompt_lines, results, version_of

URL = "http://10.0.0.1/team/m"


def command(version: tuple[int, int], load: Load) -> str:
    place = {"prompts": Path("/p.jsonl"), "output": Path("/out.json")}
    return " ".join(arguments(version, load, url=URL, model="served", **place))


def test_the_version_is_found_in_what_the_program_prints() -> None:
    assert version_of("guidellm version: 0.3.1\n") == (0, 3)
    assert version_of("guidellm, version 0.8.1") == (0, 8)
    with pytest.raises(ValueError, match="expected a version of GuideLLM, found 'hello'"):
        version_of("hello")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ((0, 3), ["benchmark run --target http", "--rate-type constant --rate 2.5", "--max-seconds 9 --data /p.jsonl"]),
        (
            (0, 6),
            ["benchmark --target http", "--profile constant --rate 2.5", "--data prompt_tokens=8,output_tokens=4"],
        ),
        (
            (0, 7),
            [
                f"run --backend kind=openai_http,target={URL},model=served",
                "--profile kind=constant,rate=2.5",
                "--constraint kind=max_duration,seconds=9",
                "--data kind=synthetic_text,prompt_tokens=8,output_tokens=4",
            ],
        ),
    ],
)
def test_each_generation_is_called_in_its_own_way(version: tuple[int, int], words: list[str]) -> None:
    text = command(version, Load(rate=2.5, seconds=9, prompt_tokens=8, output_tokens=4, processor="a/b"))
    assert [word for word in [*words, "--processor a/b", "--output-path /out.json"] if word not in text] == []


@pytest.mark.parametrize("version", [(0, 3), (0, 6), (0, 7)])
def test_loads_without_a_rate_get_none_and_no_tokenizer_is_named_when_there_is_none(version: tuple[int, int]) -> None:
    text = command(version, Load(kind="throughput"))
    assert "rate=" not in text
    assert "--rate " not in text
    assert "--processor" not in text


def test_there_are_enough_prompts_of_the_right_size_and_all_differ() -> None:
    load = Load(rate=100, seconds=20, prompt_tokens=40, output_tokens=7)
    entries = [json.loads(line) for line in prompt_lines(load, seed=1)]
    assert len(entries) == 4000
    assert len({entry["prompt"] for entry in entries}) == len(entries)
    assert all(35 <= len(entry["prompt"].split()) <= 45 and entry["output_tokens"] == 7 for entry in entries)


def test_the_report_is_reduced_to_counts_rates_and_quantiles() -> None:
    spread = {"successful": {"mean": 4.5, "percentiles": {"p01": 1, "p50": 2, "p99": 3}}}
    benchmark = {
        "run_stats": {"requests_made": {"successful": 9, "errored": 1}},
        "metrics": {"requests_per_second": spread, "time_to_first_token_ms": spread},
    }
    assert results({"benchmarks": [benchmark]}) == [
        {
            "requests": {"errored": 1, "successful": 9},
            "requests_per_second": 4.5,
            "time_to_first_token_ms": {"p50": 2, "p99": 3},
        }
    ]
    assert results({}) == []
