"""What follows from the counters of servers, and the page that shows it."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from typing import Any

import pytest

from inference_platform.load import page
from inference_platform.load.exposition import Samples
from inference_platform.load.summary import Moment, Server, summary

ONE, TWO = Server("a", "a-1"), Server("b", "b-1")


def samples(requests: float, waiting: float = 0, hits: float = 0) -> Samples:
    values = {
        "vllm:request_success_total": requests,
        "vllm:generation_tokens_total": requests * 10,
        "vllm:num_requests_waiting": waiting,
        "vllm:prefix_cache_queries_total": requests * 100,
        "vllm:prefix_cache_hits_total": hits,
    }
    return Samples(values, {"vllm:time_to_first_token_seconds": {0.1: requests / 2, 0.2: requests, math.inf: requests}})


@pytest.fixture
def found() -> dict[str, Any]:
    return summary(
        [
            Moment(100.0, {ONE: samples(10), TWO: samples(0)}),
            Moment(105.0, {ONE: samples(20, waiting=3), TWO: samples(2, waiting=7)}),
            Moment(110.0, {ONE: samples(40, hits=1000), TWO: samples(10)}),
        ]
    )


def test_only_what_happened_in_between_counts(found: dict[str, Any]) -> None:
    assert (found["seconds"], found["requests"], found["requests_per_second"]) == (10.0, 40.0, 4.0)
    assert found["output_tokens_per_second"] == 40.0
    assert found["time_to_first_token_seconds"]["p50"] == pytest.approx(0.1)
    assert found["inter_token_latency_seconds"] == {}


def test_queue_cache_and_shares(found: dict[str, Any]) -> None:
    assert found["longest_queue"] == 7
    assert found["prefix_cache_hit_rate"] == 0.25
    assert found["share_per_pod"] == {"a-1": 0.75, "b-1": 0.25}
    assert found["share_per_version"] == {"a": 0.75, "b": 0.25}
    assert found["series"]["waiting"] == {
        "a-1": [(0.0, 0), (5.0, 3), (10.0, 0)],
        "b-1": [(0.0, 0), (5.0, 7), (10.0, 0)],
    }


def test_the_time_before_the_first_request_and_after_the_last_does_not_count() -> None:
    counts = {0.0: 5, 60.0: 5, 70.0: 25, 80.0: 45, 90.0: 45}
    found = summary([Moment(at, {ONE: samples(count)}) for at, count in counts.items()])
    assert (found["seconds"], found["requests_per_second"]) == (20.0, 2.0)


def test_without_requests_nothing_is_divided_by_zero() -> None:
    idle = summary([Moment(0.0, {ONE: samples(5)}), Moment(0.0, {ONE: samples(5)})])
    assert (idle["requests"], idle["prefix_cache_hit_rate"], idle["share_per_pod"]) == (0.0, None, {"a-1": 0.0})


class _Page(HTMLParser):
    """Collects what a page would load, and checks that its elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.paths = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        self.paths += tag == "path"
        if tag not in ("meta", "path", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("path", "line"):
            return
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_has_a_line_for_each_pod(found: dict[str, Any]) -> None:
    result = {
        "model": "team/<b>",
        "url": "http://x",
        "load": {"kind": "constant", "rate": 5.0, "processor": ""},
        "guidellm_version": "0.3.1",
        "servers": found,
        "guidellm": [{"requests": {"successful": 9}, "requests_per_second": 4.5}],
    }
    text = page.render(result)
    seen = _Page()
    seen.feed(text)
    assert (seen.open, seen.loads) == ([], [])
    assert seen.paths == 3 * 2
    assert "team/&lt;b&gt;" in text
    assert "75.0%" in text
    assert "successful 9.00" in text
