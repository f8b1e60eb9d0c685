"""Metrics of servers: what is read from a page, what happened between two, and quantiles of histograms."""

from __future__ import annotations

import math

import pytest
from embedded_cluster.model_server import metrics
from embedded_cluster.model_server.engine import Engine, Pace

from inference_platform.load.exposition import Samples, parse, quantile, since, together

PAGE = """
# TYPE vllm:request_success counter
vllm:request_success_total{finished_reason="length",model_name="a,b"} 3.0
vllm:request_success_total{finished_reason="stop",model_name="a,b"} 4
vllm:kv_cache_usage_perc{engine="0"} 0.25
plain 1e3 1700000000
broken{le="1"
broken_value{x="y"} soon
vllm:ttft_seconds_bucket{le="0.1",model_name="m"} 2
vllm:ttft_seconds_bucket{model_name="m",le="+Inf"} 5
vllm:ttft_seconds_sum{model_name="m"} 0.7
"""


def test_values_are_summed_over_labels_and_buckets_kept_by_bound() -> None:
    samples = parse(PAGE)
    assert samples.value("vllm:request_success_total") == 7
    assert samples.value("vllm:kv_cache_usage_perc") == 0.25
    assert samples.value("plain") == 1000
    assert samples.value("vllm:ttft_seconds_sum") == 0.7
    assert samples.histograms == {"vllm:ttft_seconds": {0.1: 2, math.inf: 5}}


def test_what_is_no_metric_is_passed_over_and_what_is_missing_is_zero() -> None:
    assert "broken_value" not in parse(PAGE).values
    assert parse("").value("vllm:anything") == 0


def test_the_pages_of_the_simulated_servers_are_understood() -> None:
    engine = Engine(block_size=16, blocks=100, max_sequences=4, keeps_prefixes=True, pace=Pace())
    engine.counters.first_token.observe(0.03, 7)
    samples = parse(metrics.render(engine, "m"))
    assert samples.histograms["vllm:time_to_first_token_seconds"][math.inf] == 7
    assert "vllm:num_requests_waiting" in samples.values


def test_between_two_pages_counters_grow_and_a_new_start_counts_from_zero() -> None:
    before = Samples({"a": 5, "b": 9}, {"h": {1.0: 2, math.inf: 3}})
    after = Samples({"a": 7, "b": 2, "c": 1}, {"h": {1.0: 2, math.inf: 7}})
    assert since(before, after) == Samples({"a": 2, "b": 2, "c": 1}, {"h": {1.0: 0, math.inf: 4}})


def test_several_servers_count_together() -> None:
    one = Samples({"a": 1}, {"h": {1.0: 1, math.inf: 2}})
    assert together([one, one, Samples({"b": 1})]) == Samples({"a": 2, "b": 1}, {"h": {1.0: 2, math.inf: 4}})


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 0.0), (0.25, 0.05), (0.5, 0.1), (0.75, 0.433), (0.9, 0.5), (1.0, 0.5)],
)
def test_quantiles_lie_between_the_bounds(share: float, expected: float) -> None:
    assert quantile({0.1: 50, 0.5: 80, math.inf: 100}, share) == pytest.approx(expected, abs=0.001)


def test_without_observations_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({1.0: 0, math.inf: 0}, 0.5) is None
