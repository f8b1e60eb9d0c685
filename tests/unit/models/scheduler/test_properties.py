"""What schema and rules accept is a configuration that starts; whatever is given, the rules answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from inference_platform.findings import ERROR
from inference_platform.models.scheduler import Mistake, check_config, wiring_for
from inference_platform.models.scheduler.catalogue import load
from inference_platform.schema import load_schema, mistakes, validator

PROGRAMS = sorted(load().programs)
SCORERS = sorted(name for name, plugin in load().plugins.items() if "scorer" in plugin.kinds and not plugin.parameters)
CHECKER = validator(load_schema("scheduler"))

# How fast the machine is does not matter here, and nothing is kept between runs.
unhurried = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

durations = some.sampled_from(["100ms", "2s", "1m30s"])
policies = {
    "fairness": some.sampled_from(["global-strict-fairness-policy", "round-robin-fairness-policy"]),
    "ordering": some.sampled_from(["fcfs-ordering-policy", "edf-ordering-policy"]),
    "max_bytes": some.integers(1, 10**9),
}
bands = some.lists(
    some.fixed_dictionaries({"priority": some.integers(-100, 100)}, optional=policies),
    unique_by=lambda b: b["priority"],
)
schedulers = some.fixed_dictionaries(
    {},
    optional={
        "strategy": some.sampled_from(sorted(load().strategies)),
        "replicas": some.integers(1, 3),
        "weights": some.dictionaries(some.sampled_from(SCORERS), some.integers(0, 9) | some.floats(0, 9), max_size=3),
        "picker": some.sampled_from(["max-score-picker", "random-picker", "weighted-random-picker"]),
        "prefill_threshold": some.integers(0, 4096),
        "kv_events": some.fixed_dictionaries(
            {},
            optional={
                "mode": some.sampled_from(["service", "pods"]),
                "block_size": some.sampled_from([16, 32, 64]),
                "hash_seed": some.integers(0, 10**9).map(str),
                "index_size": some.integers(1, 10**9),
                "speculative": some.booleans(),
            },
        ),
        "saturation": some.fixed_dictionaries(
            {},
            optional={
                "queue_depth": some.integers(1, 100),
                "kv_cache_utilization": some.floats(0.01, 0.99),
                "metrics_staleness": durations,
            },
        ),
        "flow_control": some.fixed_dictionaries(
            {},
            optional={
                "enabled": some.booleans(),
                "max_bytes": some.integers(0, 10**12),
                "default_request_ttl": durations,
                "default_band": some.fixed_dictionaries({}, optional=policies),
                "bands": bands,
            },
        ),
    },
)
anything = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@unhurried
@given(scheduler=schedulers, prefill=some.booleans(), program=some.sampled_from(PROGRAMS))
def test_what_is_accepted_starts(scheduler: dict[str, Any], prefill: bool, program: str) -> None:
    assert mistakes(scheduler, CHECKER) == []
    entry: dict[str, Any] = {"name": "qwen", "namespace": "team-a", "scheduler": scheduler}
    if prefill:
        entry["prefill"] = {}
    wiring = wiring_for(entry, {"endpoint_picker": program})
    if any(mistake.severity == ERROR for mistake in wiring.findings):
        return
    assert wiring.epp_config is not None
    assert check_config(wiring.epp_config, program, prefill=prefill) == []
    assert json.loads(json.dumps(wiring.epp_config)) == wiring.epp_config
    assert all(isinstance(word, str) for word in wiring.vllm_args)
    assert all(isinstance(variable.get("value", ""), str) for variable in wiring.vllm_env)


@unhurried
@given(
    config=some.dictionaries(
        some.sampled_from(
            ["plugins", "schedulingProfiles", "featureGates", "saturationDetector", "data", "flowControl", "kind", "x"]
        ),
        anything
        | some.lists(
            some.fixed_dictionaries(
                {},
                optional={
                    "type": some.sampled_from(sorted(load().plugins)) | anything,
                    "name": anything,
                    "parameters": anything,
                    "plugins": some.lists(
                        some.fixed_dictionaries({}, optional={"pluginRef": anything, "weight": anything})
                    ),
                },
            ),
            max_size=4,
        ),
    ),
    prefill=some.booleans(),
)
def test_every_configuration_gets_an_answer(config: dict[str, Any], prefill: bool) -> None:
    found = check_config(config, "llm-d-0.7.1", ("config",), prefill=prefill)
    assert found, "without apiVersion no configuration is right"
    assert all(isinstance(mistake, Mistake) and mistake.path[0] == "config" for mistake in found)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_default_suits_every_program(program: str) -> None:
    assert wiring_for({"name": "qwen", "namespace": "team-a"}, {"endpoint_picker": program}).findings == []
