"""Configurations of strategies in the real endpoint picker (v1.3.1), and its refusals beside our rules.

Strategies with plugins of llm-d alone cannot start here: the program that has them is not built
from any package registry. They are checked against the catalogue in tests/unit/models/scheduler.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from inference_platform.catalog import load as load_releases
from inference_platform.findings import ERROR
from inference_platform.models.scheduler import (
    check_config,
    config_for,
    objective_objects,
    rewrite_objects,
)
from inference_platform.models.scheduler.catalogue import load
from inference_platform.models.scheduler.strategies import plugins_needed
from tests.epp.conftest import MODEL, Start
from tests.support.clusters import EmbeddedCluster, wait_for

pytestmark = pytest.mark.cluster

HERE = next(program.name for program in load().programs.values() if program.runs_locally)
SERVING = {"endpoint_picker": HERE}
RELEASE = {"endpoint_picker": load_releases().releases["3.4"]["serving"]["endpoint_picker"]}
PLUGINS = load().plugins_of(HERE)
STRATEGIES = [
    name
    for name, strategy in load().strategies.items()
    if not strategy.instead and plugins_needed(strategy) <= set(PLUGINS)
]


def configuration(serving: Mapping[str, str] = SERVING, **scheduler: Any) -> dict[str, Any]:
    """The configuration of a model with this block ``scheduler``, which must be right."""
    config, found = config_for({**MODEL, "lora": {"adapters": [{"name": "sql"}]}, "scheduler": scheduler}, serving)
    assert found == []
    assert config is not None
    return config


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_starts(strategy: str, start: Start) -> None:
    config = configuration(strategy=strategy)
    assert config == configuration(RELEASE, strategy=strategy), "what starts here is what the release gets"
    with start(config) as picker:
        picker.wait_until_serving()
        loaded = [message for message in picker.messages() if "loaded configuration" in message]
        assert loaded, "it has taken our configuration, not one of its own"
        assert picker.health("liveness") == picker.health("readiness") == "SERVING"


def test_the_strategies_that_start_are_these() -> None:
    assert STRATEGIES == ["prefix_cache", "load_aware", "lora_aware", "random"]


@pytest.mark.parametrize(
    "scheduler",
    [
        {"weights": {"queue-scorer": 7, "lora-affinity-scorer": 1}, "picker": "weighted-random-picker"},
        {"parameters": {"prefix-cache-scorer": {"autoTune": False, "blockSize": 32, "lruCapacityPerServer": 10}}},
        {"saturation": {"queue_depth": 9, "kv_cache_utilization": 0.5, "metrics_staleness": "1s"}},
        {"flow_control": {}},
    ],
)
def test_settings_of_a_strategy_start(scheduler: dict[str, Any], start: Start) -> None:
    with start(configuration(**scheduler)) as picker:
        picker.wait_until_serving()


def test_flow_control_is_on_when_asked_for(start: Start) -> None:
    with start(configuration(flow_control={})) as picker:
        picker.wait_until_serving()
        assert any("Flow Control layer" in message and "Initializing" in message for message in picker.messages())


def test_saturation_reaches_the_scheduler(start: Start) -> None:
    with start(configuration(saturation={"queue_depth": 9})) as picker:
        picker.wait_until_serving()
        assert "SaturationDetector: {QueueDepthThreshold: 9}" in picker.log.read_text()


def test_of_several_schedulers_one_leads(start: Start) -> None:
    config = configuration()
    with start(config, "--ha-enable-leader-election") as first:
        first.wait_until_serving()
        with start(config, "--ha-enable-leader-election") as second:
            wait_for("the second to live", lambda: second.health("liveness") == "SERVING", 60)
            assert second.health("readiness") == "NOT_SERVING"


@pytest.mark.parametrize("kind", sorted(kind for kind, plugin in PLUGINS.items() if not plugin.runs_beside))
def test_every_plugin_of_the_catalogue_is_known_with_its_parameters(kind: str, start: Start) -> None:
    defaults = {
        name: rule.default
        for name, rule in PLUGINS[kind].parameters.items()
        if rule.default is not None and rule.known_to(HERE)
    }
    config = configuration()
    others = [plugin for plugin in config["plugins"] if plugin["type"] != kind]
    config["plugins"] = [*others, {"type": kind, "parameters": defaults}]
    with start(config) as picker:
        picker.wait_until_serving()


PLUGIN = {"type": "queue-scorer"}
USE = {"pluginRef": "queue-scorer"}


def _changed(**changes: Any) -> dict[str, Any]:
    return {**configuration(), **changes}


def _with(*plugins: dict[str, Any]) -> dict[str, Any]:
    return _changed(plugins=[*configuration()["plugins"], *plugins])


def _profiles(*profiles: dict[str, Any]) -> dict[str, Any]:
    return _changed(schedulingProfiles=list(profiles))


def _refused() -> list[tuple[str, dict[str, Any], str]]:
    """Code of our rule, configuration, words of the program."""
    profile = {"name": "default", "plugins": [USE]}
    without_handler = [plugin for plugin in configuration()["plugins"] if plugin["type"] != "single-profile-handler"]
    return [
        ("IP-SCH-020", _changed(apiVersion="llm-d.ai/v1alpha1"), "decode"),
        ("IP-SCH-020", _changed(pluginz=[]), "unknown field"),
        ("IP-SCH-020", _changed(featureGates=["flowControl"], flowControl={}), "unknown field"),
        ("IP-SCH-020", _profiles({"name": "", "plugins": [USE]}), "missing a name"),
        ("IP-SCH-021", _with({"type": "session-affinity-scorer"}), "is not registered"),
        ("IP-SCH-022", _with(PLUGIN), "duplicate plugin name"),
        (
            "IP-SCH-026",
            _with({"name": "second", "type": "prefix-cache-scorer", "parameters": {"autoTune": "yes"}}),
            "parse",
        ),
        ("IP-SCH-027", _profiles(profile, profile), "duplicate name"),
        ("IP-SCH-028", _profiles({"name": "default", "plugins": [{"pluginRef": "queue"}]}), "undefined plugin"),
        ("IP-SCH-030", _profiles({"name": "default", "plugins": [{**USE, "weight": 1.5}]}), "decode"),
        (
            "IP-SCH-031",
            {
                **_with({"type": "random-picker"}),
                **{
                    "schedulingProfiles": [
                        {
                            "name": "default",
                            "plugins": [USE, {"pluginRef": "max-score-picker"}, {"pluginRef": "random-picker"}],
                        }
                    ]
                },
            },
            "already have a registered picker",
        ),
        ("IP-SCH-032", _with({"name": "second", "type": "single-profile-handler"}), "multiple profile handlers"),
        ("IP-SCH-032", _profiles(profile, {"name": "other", "plugins": [USE]}), "cannot support multiple"),
        (
            "IP-SCH-032",
            _changed(plugins=without_handler, schedulingProfiles=[profile, {"name": "other", "plugins": [USE]}]),
            "no profile handler",
        ),
        ("IP-SCH-034", _changed(featureGates=["flowcontrol"]), "unknown or unregistered"),
        ("IP-SCH-035", _changed(featureGates=["dataLayer"]), "Data section"),
        (
            "IP-SCH-039",
            _changed(data={"sources": [{"pluginRef": "queue-scorer", "extractors": []}]}, featureGates=["dataLayer"]),
            "is not a datalayer.Source",
        ),
    ]


@pytest.mark.parametrize(
    ("code", "config", "words"), _refused(), ids=[f"{case[0]}-{i}" for i, case in enumerate(_refused())]
)
def test_what_the_program_refuses_our_rules_refuse_before(
    code: str, config: dict[str, Any], words: str, start: Start
) -> None:
    assert code in {mistake.code for mistake in check_config(config, HERE) if mistake.severity == ERROR}
    with start(config) as picker:
        assert picker.wait_until_ended() != 0
        assert words in "\n".join(picker.messages())


def test_objects_of_the_scheduler_are_accepted_unchanged(pool_cluster: EmbeddedCluster) -> None:
    rewrites = [
        {"models": ["chat"], "targets": [{"model": "qwen", "weight": 90}, {"model": "sql", "weight": 10}]},
        {"targets": [{"model": "qwen"}]},
    ]
    entry = {**MODEL, "scheduler": {"objectives": "default", "model_rewrites": rewrites}}
    for item in [*objective_objects(entry, SERVING), *rewrite_objects(entry, SERVING)]:
        text = json.dumps(item)
        pool_cluster.do("apply", "--server-side", "--validate=strict", "--filename", "-", stdin=text)
        stored = pool_cluster.get(item["kind"].lower(), item["metadata"]["name"], MODEL["namespace"])
        assert stored["spec"] == item["spec"]
