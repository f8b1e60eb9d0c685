"""Named strategies become complete configurations; what contradicts them is said at what the user wrote."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.findings import ERROR, WARNING
from inference_platform.models.scheduler import check_config, config_for, wiring_for
from inference_platform.models.scheduler.catalogue import load
from inference_platform.schema import load_schema, mistakes, validator

SERVING = {"endpoint_picker": "llm-d-0.7.1"}
STRATEGIES = [name for name, strategy in load().strategies.items() if not strategy.instead]

OWN = {
    "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
    "kind": "EndpointPickerConfig",
    "plugins": [{"type": "queue-scorer"}],
    "schedulingProfiles": [{"name": "default", "plugins": [{"pluginRef": "queue-scorer"}]}],
}


def model(*, prefill: bool = False, lora: bool = False, **scheduler: Any) -> dict[str, Any]:
    """A merged model entry with this block ``scheduler``."""
    entry: dict[str, Any] = {"name": "qwen", "namespace": "team-a", "scheduler": scheduler}
    if prefill:
        entry["prefill"] = {"replicas": 1}
    if lora:
        entry["lora"] = {"adapters": [{"name": "sql", "uri": "hf://org/sql"}]}
    return entry


def plugins(config: dict[str, Any] | None) -> dict[str, Any]:
    """Parameters of the plugins by type."""
    assert config is not None
    return {plugin["type"]: plugin.get("parameters") for plugin in config["plugins"]}


def weights(config: dict[str, Any] | None, profile: int = 0) -> dict[str, Any]:
    """Weights of the scorers of a profile."""
    assert config is not None
    uses = config["schedulingProfiles"][profile]["plugins"]
    return {use["pluginRef"]: use["weight"] for use in uses if "weight" in use}


def test_the_default_is_that_of_the_platform() -> None:
    config, found = config_for({"name": "qwen", "namespace": "team-a"}, SERVING)
    assert found == []
    assert config == {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": [
            {"type": "single-profile-handler"},
            {"type": "queue-scorer"},
            {"type": "prefix-cache-scorer"},
            {"type": "max-score-picker"},
        ],
        "schedulingProfiles": [
            {
                "name": "default",
                "plugins": [
                    {"pluginRef": "queue-scorer", "weight": 2},
                    {"pluginRef": "prefix-cache-scorer", "weight": 3},
                    {"pluginRef": "max-score-picker"},
                ],
            }
        ],
    }


def test_the_default_with_prefill_workers_is_that_of_the_platform() -> None:
    config, found = config_for(model(prefill=True), SERVING)
    assert found == []
    assert config is not None
    assert [plugin["type"] for plugin in config["plugins"]] == [
        "disagg-headers-handler",
        "prefill-filter",
        "decode-filter",
        "queue-scorer",
        "prefix-cache-scorer",
        "max-score-picker",
        "always-disagg-pd-decider",
        "disagg-profile-handler",
    ]
    assert plugins(config)["disagg-profile-handler"] == {"deciders": {"prefill": "always-disagg-pd-decider"}}
    assert [profile["name"] for profile in config["schedulingProfiles"]] == ["prefill", "decode"]
    assert config["schedulingProfiles"][0]["plugins"][0] == {"pluginRef": "prefill-filter"}
    assert weights(config, 0) == weights(config, 1) == {"queue-scorer": 2, "prefix-cache-scorer": 3}


@pytest.mark.parametrize(
    ("strategy", "prefill"),
    [(name, prefill) for name in STRATEGIES for prefill in (False, True) if prefill or name != "pd"],
)
def test_every_strategy_is_a_configuration_that_starts(strategy: str, prefill: bool) -> None:
    config, found = config_for(model(prefill=prefill, lora=True, strategy=strategy), SERVING)
    assert found == []
    assert config is not None
    assert check_config(config, SERVING["endpoint_picker"], prefill=prefill) == []
    assert weights(config) == dict(load().strategies[strategy].scorers)


@pytest.mark.parametrize(
    ("scheduler", "prefill"),
    [
        ({"weights": {"lora-affinity-scorer": 1, "queue-scorer": 0}}, False),
        (
            {"picker": "weighted-random-picker", "parameters": {"weighted-random-picker": {"maxNumOfEndpoints": 2}}},
            False,
        ),
        ({"prefill_threshold": 256}, True),
        ({"strategy": "precise_prefix_cache", "prefill_threshold": 256}, True),
        ({"strategy": "precise_prefix_cache", "kv_events": {"mode": "pods", "port": 6000, "index_size": 5}}, False),
        ({"flow_control": {}, "saturation": {"queue_depth": 3}}, False),
        (
            {
                "flow_control": {
                    "max_bytes": 10,
                    "default_request_ttl": "30s",
                    "default_band": {"max_bytes": 5, "fairness": "round-robin-fairness-policy"},
                    "bands": [{"priority": 100, "ordering": "edf-ordering-policy"}, {"priority": 0}],
                }
            },
            True,
        ),
    ],
)
def test_settings_lead_to_configurations_that_start(scheduler: dict[str, Any], prefill: bool) -> None:
    assert mistakes(scheduler, validator(load_schema("scheduler"))) == []
    config, found = config_for(model(prefill=prefill, **scheduler), SERVING)
    assert found == []
    assert config is not None
    assert check_config(config, SERVING["endpoint_picker"], prefill=prefill) == []


def test_weights_go_over_those_of_the_strategy() -> None:
    given = {"queue-scorer": 0, "prefix-cache-scorer": 1.5, "lora-affinity-scorer": 4}
    config, _ = config_for(model(weights=given), SERVING)
    assert weights(config) == {"prefix-cache-scorer": 1.5, "lora-affinity-scorer": 4}
    assert "queue-scorer" not in plugins(config)


def test_parameters_reach_their_plugin() -> None:
    given = {"prefix-cache-scorer": {"autoTune": False, "blockSizeTokens": 32}}
    config, _ = config_for(model(parameters=given), SERVING)
    assert plugins(config)["prefix-cache-scorer"] == given["prefix-cache-scorer"]


def test_a_threshold_decides_about_prefill() -> None:
    config, _ = config_for(model(prefill=True, prefill_threshold=512), SERVING)
    assert config is not None
    assert config["featureGates"] == ["prepareDataPlugins"]
    assert plugins(config)["prefix-based-pd-decider"] == {"nonCachedTokens": 512}
    assert "always-disagg-pd-decider" not in plugins(config)


def test_a_threshold_makes_the_exact_scorer_tell_what_it_knows() -> None:
    config, _ = config_for(model(prefill=True, strategy="precise_prefix_cache", prefill_threshold=512), SERVING)
    assert plugins(config)["precise-prefix-cache-scorer"]["speculativeIndexing"] is True


def test_saturation_and_flow_control_are_rendered_in_the_terms_of_the_scheduler() -> None:
    config, _ = config_for(
        model(
            saturation={"queue_depth": 3, "kv_cache_utilization": 0.7, "metrics_staleness": "1s"},
            flow_control={
                "max_bytes": 10,
                "default_request_ttl": "30s",
                "default_band": {"fairness": "round-robin-fairness-policy"},
                "bands": [{"priority": 100, "max_bytes": 7, "ordering": "edf-ordering-policy"}],
            },
        ),
        SERVING,
    )
    assert config is not None
    assert config["featureGates"] == ["flowControl"]
    assert config["saturationDetector"] == {
        "queueDepthThreshold": 3,
        "kvCacheUtilThreshold": 0.7,
        "metricsStalenessThreshold": "1s",
    }
    assert config["flowControl"] == {
        "maxBytes": 10,
        "defaultRequestTTL": "30s",
        "defaultPriorityBand": {"fairnessPolicyRef": "round-robin-fairness-policy"},
        "priorityBands": [{"priority": 100, "maxBytes": 7, "orderingPolicyRef": "edf-ordering-policy"}],
    }
    assert {"edf-ordering-policy", "round-robin-fairness-policy"} <= set(plugins(config))


def test_flow_control_that_is_off_leaves_no_trace() -> None:
    config, _ = config_for(model(flow_control={"enabled": False, "max_bytes": 5}), SERVING)
    assert config == config_for(model(), SERVING)[0]


def test_a_model_may_have_no_scheduler() -> None:
    wiring = wiring_for(model(enabled=False, strategy="precise_prefix_cache"), SERVING)
    assert (wiring.epp_config, wiring.vllm_args, wiring.vllm_env, wiring.findings) == (None, [], [], [])


def test_a_pool_of_ones_own_has_its_own_scheduler() -> None:
    wiring = wiring_for({"name": "qwen", "namespace": "team-a", "router": {"pool": "mine"}}, SERVING)
    assert (wiring.epp_config, wiring.vllm_args, wiring.findings) == (None, [], [])


def test_a_configuration_of_ones_own_is_rendered_as_written() -> None:
    for scheduler in ({"config": OWN}, {"strategy": "custom", "config": OWN}):
        config, found = config_for(model(**scheduler), SERVING)
        assert (config, found) == (OWN, [])
        assert config is not OWN


def test_a_configuration_of_ones_own_is_checked() -> None:
    _, found = config_for(model(config={**OWN, "featureGates": ["x"]}), SERVING)
    assert [(m.code, m.path) for m in found] == [("IP-SCH-034", ("scheduler", "config", "featureGates", 0))]


OBJECTIONS: list[tuple[str, str, dict[str, Any], tuple[Any, ...], str]] = [
    # code, severity, model, path, words that the message must have
    ("IP-SCH-002", ERROR, model(strategy="round_robin"), ("scheduler", "strategy"), "no endpoint picker has a plugin"),
    ("IP-SCH-004", ERROR, model(strategy="pd"), ("scheduler", "strategy"), "prefill"),
    ("IP-SCH-005", ERROR, model(strategy="custom"), ("scheduler", "config"), "Add config"),
    ("IP-SCH-005", ERROR, model(strategy="random", config=OWN), ("scheduler", "strategy"), "Remove strategy or config"),
    (
        "IP-SCH-006",
        WARNING,
        model(config=OWN, weights={"queue-scorer": 1}),
        ("scheduler", "weights"),
        "put it into config",
    ),
    ("IP-SCH-006", WARNING, model(kv_events={"mode": "pods"}), ("scheduler", "kv_events"), "precise_prefix_cache"),
    ("IP-SCH-006", WARNING, model(prefill_threshold=5), ("scheduler", "prefill_threshold"), "no prefill"),
    (
        "IP-SCH-007",
        ERROR,
        model(weights={"queu-scorer": 1}),
        ("scheduler", "weights", "queu-scorer"),
        "Did you mean queue-scorer",
    ),
    (
        "IP-SCH-007",
        ERROR,
        model(weights={"max-score-picker": 1}),
        ("scheduler", "weights", "max-score-picker"),
        "a picker",
    ),
    (
        "IP-SCH-007",
        ERROR,
        model(weights={"precise-prefix-cache-scorer": 1}),
        ("scheduler", "weights", "precise-prefix-cache-scorer"),
        "precise_prefix_cache",
    ),
    (
        "IP-SCH-008",
        ERROR,
        model(parameters={"load-aware-scorer": {}}),
        ("scheduler", "parameters", "load-aware-scorer"),
        "give the scorer a weight",
    ),
    (
        "IP-SCH-009",
        ERROR,
        model(weights={"queue-scorer": 0, "prefix-cache-scorer": 0}),
        ("scheduler", "weights"),
        "chance decides",
    ),
    (
        "IP-SCH-011",
        ERROR,
        model(strategy="precise_prefix_cache", parameters={"precise-prefix-cache-scorer": {"kvEventsConfig": {}}}),
        ("scheduler", "parameters", "precise-prefix-cache-scorer", "kvEventsConfig"),
        "use kv_events",
    ),
    (
        "IP-SCH-011",
        ERROR,
        model(prefill=True, parameters={"disagg-profile-handler": {"deciders": {}}}),
        ("scheduler", "parameters", "disagg-profile-handler", "deciders"),
        "prefill_threshold",
    ),
    ("IP-SCH-015", WARNING, model(strategy="lora_aware"), ("scheduler", "strategy"), "no lora"),
    (
        "IP-SCH-019",
        ERROR,
        model(flow_control={"bands": [{"priority": 1}, {"priority": 1}]}),
        ("scheduler", "flow_control", "bands", 1, "priority"),
        "Merge the two bands",
    ),
    (
        "IP-SCH-024",
        ERROR,
        model(parameters={"prefix-cache-scorer": {"autotune": True}}),
        ("scheduler", "parameters", "prefix-cache-scorer", "autotune"),
        "Did you mean autoTune?",
    ),
    (
        "IP-SCH-025",
        ERROR,
        model(parameters={"prefix-cache-scorer": {"blockSize": 64}}),
        ("scheduler", "parameters", "prefix-cache-scorer", "blockSize"),
        "blockSizeTokens",
    ),
    (
        "IP-SCH-026",
        ERROR,
        model(parameters={"prefix-cache-scorer": {"autoTune": 1}}),
        ("scheduler", "parameters", "prefix-cache-scorer", "autoTune"),
        "true or false",
    ),
    (
        "IP-SCH-043",
        ERROR,
        model(prefill=True, strategy="load_aware", prefill_threshold=5),
        ("scheduler", "prefill_threshold"),
        "what is cached",
    ),
]


@pytest.mark.parametrize(
    ("code", "severity", "entry", "path", "words"),
    OBJECTIONS,
    ids=[f"{case[0]}-{index}" for index, case in enumerate(OBJECTIONS)],
)
def test_what_is_wrong_is_said_where_it_is_written(
    code: str, severity: str, entry: dict[str, Any], path: tuple[Any, ...], words: str
) -> None:
    _, found = config_for(entry, SERVING)
    assert [(m.code, m.severity, m.path) for m in found] == [(code, severity, path)]
    assert words in " ".join((found[0].expected, found[0].found, found[0].remedy))


OLDER = {"endpoint_picker": "gie-1.3.1"}


def test_a_strategy_without_its_plugins_is_refused() -> None:
    _, found = config_for(model(strategy="session_affinity"), OLDER)
    assert [(m.code, m.path) for m in found] == [("IP-SCH-003", ("scheduler", "strategy"))]
    assert "session-affinity-scorer" in found[0].found
    assert "prefix_cache, load_aware, lora_aware or random" in found[0].remedy


def test_prefill_workers_need_a_program_with_their_plugins() -> None:
    _, found = config_for(model(prefill=True), OLDER)
    assert [(m.code, m.path) for m in found] == [("IP-SCH-003", ("scheduler", "strategy"))]
    assert "disagg-profile-handler" in found[0].found


def test_broken_weights_need_a_program_that_takes_them() -> None:
    assert config_for(model(weights={"queue-scorer": 1.5}), SERVING)[1] == []
    _, found = config_for(model(weights={"queue-scorer": 1.5}), OLDER)
    assert [(m.code, m.path) for m in found] == [("IP-SCH-010", ("scheduler", "weights", "queue-scorer"))]


def test_bands_need_a_program_that_has_them() -> None:
    assert config_for(model(flow_control={}), OLDER)[1] == []
    _, found = config_for(model(flow_control={"max_bytes": 5}), OLDER)
    assert [(m.code, m.path) for m in found] == [("IP-SCH-018", ("scheduler", "flow_control"))]


def test_saturation_is_refused_for_a_program_that_has_it_in_another_form() -> None:
    _, found = config_for(model(saturation={"queue_depth": 1}), {"endpoint_picker": "llm-d-0.9.0"})
    assert [(m.code, m.path) for m in found] == [("IP-SCH-018", ("scheduler", "saturation"))]


def test_what_is_written_for_the_router_is_in_its_own_version() -> None:
    config, found = config_for(model(), {"endpoint_picker": "llm-d-0.9.0"})
    assert found == []
    assert config is not None
    assert config["apiVersion"] == "llm-d.ai/v1alpha1"
    older = {**config, "apiVersion": "inference.networking.x-k8s.io/v1alpha1"}
    (mistake,) = check_config(older, "llm-d-0.9.0")
    assert (mistake.code, mistake.path) == ("IP-SCH-020", ("apiVersion",))
    assert "In an upgrade name the model in models_move as well" in mistake.remedy
    (mistake,) = check_config({**config, "apiVersion": "llm-d.ai/v1alpha1"}, "llm-d-0.7.1")
    assert mistake.remedy == "Set apiVersion to inference.networking.x-k8s.io/v1alpha1."


def test_the_schema_knows_every_strategy() -> None:
    choices = load_schema("scheduler")["properties"]["strategy"]["enum"]
    assert sorted(choices) == sorted([*load().strategies, "custom"])


def test_the_schema_names_pickers_and_policies_that_exist() -> None:
    schema = load_schema("scheduler")["properties"]
    bands = schema["flow_control"]["properties"]
    for rule in (bands["default_band"], bands["bands"]["items"]):
        for key, kind in (("fairness", "fairness_policy"), ("ordering", "ordering_policy")):
            assert all(kind in load().plugins[name].kinds for name in rule["properties"][key]["enum"])
    assert all("picker" in load().plugins[name].kinds for name in schema["picker"]["enum"])
