"""Rules about an EndpointPickerConfig: each passes on what is right and objects to what is wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_platform.findings import ERROR, WARNING
from inference_platform.models.scheduler import check_config, check_flags

RELEASE = "llm-d-0.7.1"
OLDER = "gie-1.3.1"

API = "inference.networking.x-k8s.io/v1alpha1"


def single() -> dict[str, Any]:
    """A configuration for one kind of pods that every program takes."""
    return {
        "apiVersion": API,
        "kind": "EndpointPickerConfig",
        "plugins": [
            {"type": "single-profile-handler"},
            {"type": "queue-scorer"},
            {"name": "prefix", "type": "prefix-cache-scorer", "parameters": {"lruCapacityPerServer": 1000}},
            {"type": "max-score-picker"},
        ],
        "schedulingProfiles": [
            {
                "name": "default",
                "plugins": [
                    {"pluginRef": "queue-scorer", "weight": 2},
                    {"pluginRef": "prefix", "weight": 3},
                    {"pluginRef": "max-score-picker"},
                ],
            }
        ],
    }


def disaggregated() -> dict[str, Any]:
    """A configuration for prefill and decode pods."""
    return {
        "apiVersion": API,
        "kind": "EndpointPickerConfig",
        "plugins": [
            {"type": "disagg-headers-handler"},
            {"type": "prefill-filter"},
            {"type": "decode-filter"},
            {"type": "queue-scorer"},
            {"type": "max-score-picker"},
            {"type": "always-disagg-pd-decider"},
            {"type": "disagg-profile-handler", "parameters": {"deciders": {"prefill": "always-disagg-pd-decider"}}},
        ],
        "schedulingProfiles": [
            {
                "name": role,
                "plugins": [
                    {"pluginRef": f"{role}-filter"},
                    {"pluginRef": "queue-scorer"},
                    {"pluginRef": "max-score-picker"},
                ],
            }
            for role in ("prefill", "decode")
        ],
    }


def changed(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The configuration with keys replaced; None takes a key out."""
    merged = {**config, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def with_plugin(config: dict[str, Any], *plugins: dict[str, Any]) -> dict[str, Any]:
    """The configuration with further plugins at the end."""
    return changed(config, plugins=[*config["plugins"], *plugins])


def with_parameters(config: dict[str, Any], kind: str, **parameters: Any) -> dict[str, Any]:
    """The configuration with other parameters for the plugins of a type."""
    plugins = [
        {**plugin, "parameters": parameters} if plugin["type"] == kind else plugin for plugin in config["plugins"]
    ]
    return changed(config, plugins=plugins)


def with_profile(config: dict[str, Any], *uses: dict[str, Any], name: str = "default") -> dict[str, Any]:
    """The configuration with one profile of these lines."""
    return changed(config, schedulingProfiles=[{"name": name, "plugins": list(uses)}])


def without(config: dict[str, Any], kind: str) -> dict[str, Any]:
    """The configuration without the plugins of a type, also in its profiles."""
    return changed(
        config,
        plugins=[plugin for plugin in config["plugins"] if plugin["type"] != kind],
        schedulingProfiles=[
            {**profile, "plugins": [use for use in profile["plugins"] if use["pluginRef"] != kind]}
            for profile in config["schedulingProfiles"]
        ],
    )


QUEUE = {"pluginRef": "queue-scorer"}
PICKER = {"pluginRef": "max-score-picker"}


@pytest.mark.parametrize(
    ("config", "program", "prefill"),
    [
        (single(), RELEASE, False),
        (single(), "gie-1.4.0", False),
        (single(), OLDER, False),
        (disaggregated(), RELEASE, True),
        (changed(single(), schedulingProfiles=None), RELEASE, False),
        (with_profile(single(), {"pluginRef": "queue-scorer", "weight": 0.5}, PICKER), RELEASE, False),
        (with_parameters(single(), "prefix-cache-scorer", blockSize=32), OLDER, False),
        (with_parameters(single(), "prefix-cache-scorer", blockSizeTokens=32), RELEASE, False),
        (
            changed(single(), saturationDetector={"queueDepthThreshold": 9, "metricsStalenessThreshold": "1m30s"}),
            RELEASE,
            False,
        ),
        (
            changed(single(), featureGates=["flowControl"], flowControl={"maxBytes": 0, "priorityBands": []}),
            RELEASE,
            False,
        ),
        (
            changed(
                with_plugin(single(), {"type": "metrics-data-source"}, {"type": "model-server-protocol-metrics"}),
                featureGates=["dataLayer"],
                data={
                    "sources": [
                        {
                            "pluginRef": "metrics-data-source",
                            "extractors": [{"pluginRef": "model-server-protocol-metrics"}],
                        }
                    ]
                },
            ),
            RELEASE,
            False,
        ),
        (
            changed(
                with_plugin(disaggregated(), {"type": "round-robin-fairness-policy"}),
                featureGates=["flowControl"],
                flowControl={
                    "priorityBands": [
                        {"priority": 100, "fairnessPolicyRef": "round-robin-fairness-policy"},
                        {"priority": -10},
                    ]
                },
            ),
            RELEASE,
            True,
        ),
    ],
)
def test_what_is_right_passes(config: dict[str, Any], program: str, prefill: bool) -> None:
    assert check_config(config, program, prefill=prefill) == []


WRONG: list[tuple[str, str, dict[str, Any], tuple[Any, ...], str]] = [
    # code, severity, configuration, path, words that the message must have
    ("IP-SCH-020", ERROR, changed(single(), apiVersion="llm-d.ai/v1alpha1"), ("apiVersion",), API),
    ("IP-SCH-020", ERROR, changed(single(), kind=None), ("kind",), "EndpointPickerConfig"),
    ("IP-SCH-020", ERROR, changed(single(), pluginz=[]), ("pluginz",), "Did you mean plugins?"),
    ("IP-SCH-020", ERROR, changed(single(), plugins=[]), ("plugins",), "plugins"),
    ("IP-SCH-020", ERROR, changed(single(), plugins=[{"name": "x"}]), ("plugins", 0, "type"), "Add type"),
    (
        "IP-SCH-020",
        ERROR,
        with_profile(single(), {"weight": 1}),
        ("schedulingProfiles", 0, "plugins", 0, "pluginRef"),
        "Add pluginRef",
    ),
    (
        "IP-SCH-020",
        ERROR,
        with_profile(single(), QUEUE, name=""),
        ("schedulingProfiles", 0, "name"),
        "a text that is not empty",
    ),
    (
        "IP-SCH-020",
        ERROR,
        changed(single(), saturationDetector={"kvCacheUtilThreshold": 1}),
        ("saturationDetector", "kvCacheUtilThreshold"),
        "between 0 and 1",
    ),
    (
        "IP-SCH-020",
        ERROR,
        changed(single(), saturationDetector={"queueDepthThreshold": 0}),
        ("saturationDetector", "queueDepthThreshold"),
        "at least 1",
    ),
    (
        "IP-SCH-021",
        ERROR,
        with_plugin(single(), {"type": "que-scorer"}),
        ("plugins", 4, "type"),
        "Did you mean queue-scorer",
    ),
    ("IP-SCH-022", ERROR, with_plugin(single(), {"name": "prefix", "type": "random-picker"}), ("plugins", 4), "prefix"),
    (
        "IP-SCH-023",
        WARNING,
        with_plugin(disaggregated(), {"type": "prefill-header-handler"}),
        ("plugins", 7, "type"),
        "Write disagg-headers-handler",
    ),
    (
        "IP-SCH-024",
        ERROR,
        with_parameters(single(), "prefix-cache-scorer", lruCapacity=5),
        ("plugins", 2, "parameters", "lruCapacity"),
        "lruCapacityPerServer",
    ),
    (
        "IP-SCH-024",
        ERROR,
        with_parameters(single(), "queue-scorer", threshold=5),
        ("plugins", 1, "parameters", "threshold"),
        "no parameters",
    ),
    (
        "IP-SCH-025",
        ERROR,
        with_parameters(single(), "prefix-cache-scorer", blockSize=64),
        ("plugins", 2, "parameters", "blockSize"),
        "does not start",
    ),
    (
        "IP-SCH-025",
        WARNING,
        with_parameters(single(), "prefix-cache-scorer", blockSize=64, blockSizeTokens=16),
        ("plugins", 2, "parameters", "blockSize"),
        "Write blockSizeTokens",
    ),
    (
        "IP-SCH-025",
        WARNING,
        with_parameters(single(), "prefix-cache-scorer", hashBlockSize=64),
        ("plugins", 2, "parameters", "hashBlockSize"),
        "Write blockSizeTokens",
    ),
    (
        "IP-SCH-025",
        WARNING,
        with_parameters(disaggregated(), "disagg-profile-handler", deciderPluginName="always-disagg-pd-decider"),
        ("plugins", 6, "parameters", "deciderPluginName"),
        "deciders.prefill",
    ),
    (
        "IP-SCH-026",
        ERROR,
        with_parameters(single(), "prefix-cache-scorer", autoTune="yes"),
        ("plugins", 2, "parameters", "autoTune"),
        "true or false",
    ),
    (
        "IP-SCH-026",
        ERROR,
        with_parameters(single(), "max-score-picker", maxNumOfEndpoints=0),
        ("plugins", 3, "parameters", "maxNumOfEndpoints"),
        "at least 1",
    ),
    (
        "IP-SCH-026",
        ERROR,
        with_plugin(single(), {"type": "active-request-scorer", "parameters": {"requestTimeout": "soon"}}),
        ("plugins", 4, "parameters", "requestTimeout"),
        "2s",
    ),
    (
        "IP-SCH-026",
        ERROR,
        with_plugin(single(), {"type": "active-request-scorer", "parameters": {"maxBusyScore": 2}}),
        ("plugins", 4, "parameters", "maxBusyScore"),
        "at most 1",
    ),
    (
        "IP-SCH-026",
        ERROR,
        with_plugin(single(), {"type": "by-label", "parameters": {"validValues": ["a"]}}),
        ("plugins", 4, "parameters", "label"),
        "needs",
    ),
    (
        "IP-SCH-026",
        ERROR,
        with_plugin(
            single(), {"type": "precise-prefix-cache-scorer", "parameters": {"tokenProcessorConfig": {"hashSeed": 42}}}
        ),
        ("plugins", 4, "parameters", "tokenProcessorConfig", "hashSeed"),
        "put numbers in quotes",
    ),
    (
        "IP-SCH-027",
        ERROR,
        changed(single(), schedulingProfiles=single()["schedulingProfiles"] * 2),
        ("schedulingProfiles", 1, "name"),
        "default",
    ),
    (
        "IP-SCH-028",
        ERROR,
        with_profile(single(), {"pluginRef": "prefix-cache-scorer", "weight": 2}, PICKER),
        ("schedulingProfiles", 0, "plugins", 0, "pluginRef"),
        "declared under plugins",
    ),
    (
        "IP-SCH-029",
        WARNING,
        with_profile(single(), QUEUE, PICKER, {"pluginRef": "single-profile-handler"}),
        ("schedulingProfiles", 0, "plugins", 2, "pluginRef"),
        "Remove the line",
    ),
    (
        "IP-SCH-030",
        ERROR,
        with_profile(single(), {"pluginRef": "queue-scorer", "weight": -1}, PICKER),
        ("schedulingProfiles", 0, "plugins", 0, "weight"),
        "at least 0",
    ),
    (
        "IP-SCH-030",
        ERROR,
        with_profile(single(), {"pluginRef": "queue-scorer", "weight": 0}, PICKER),
        ("schedulingProfiles", 0, "plugins"),
        "weights of 0 only",
    ),
    (
        "IP-SCH-030",
        WARNING,
        with_profile(single(), QUEUE, {"pluginRef": "max-score-picker", "weight": 1}),
        ("schedulingProfiles", 0, "plugins", 1, "weight"),
        "not a scorer",
    ),
    (
        "IP-SCH-031",
        ERROR,
        with_profile(with_plugin(single(), {"type": "random-picker"}), QUEUE, PICKER, {"pluginRef": "random-picker"}),
        ("schedulingProfiles", 0, "plugins"),
        "Keep one",
    ),
    (
        "IP-SCH-031",
        WARNING,
        with_profile(with_plugin(single(), {"type": "random-picker"}), QUEUE),
        ("schedulingProfiles", 0, "plugins"),
        "Name the one",
    ),
    (
        "IP-SCH-032",
        ERROR,
        with_plugin(single(), {"name": "second", "type": "single-profile-handler"}),
        ("plugins", 4),
        "single-profile-handler and second",
    ),
    (
        "IP-SCH-032",
        ERROR,
        changed(
            without(single(), "single-profile-handler"),
            schedulingProfiles=[{"name": name, "plugins": [QUEUE, PICKER]} for name in "ab"],
        ),
        ("plugins",),
        "2 profiles",
    ),
    (
        "IP-SCH-032",
        ERROR,
        changed(single(), schedulingProfiles=[{"name": name, "plugins": [QUEUE, PICKER]} for name in "ab"]),
        ("schedulingProfiles",),
        "2 profiles",
    ),
    (
        "IP-SCH-033",
        ERROR,
        with_parameters(disaggregated(), "disagg-profile-handler", deciders={"prefill": "decider"}),
        ("plugins", 6, "parameters", "deciders", "prefill"),
        "not declared",
    ),
    (
        "IP-SCH-033",
        ERROR,
        with_parameters(disaggregated(), "disagg-profile-handler", deciders={"prefill": "queue-scorer"}),
        ("plugins", 6, "parameters", "deciders", "prefill"),
        "a scorer",
    ),
    (
        "IP-SCH-033",
        ERROR,
        changed(disaggregated(), plugins=disaggregated()["plugins"][::-1]),
        ("plugins", 0, "parameters", "deciders", "prefill"),
        "after it",
    ),
    (
        "IP-SCH-034",
        ERROR,
        changed(single(), featureGates=["flowcontrol"]),
        ("featureGates", 0),
        "Did you mean flowControl?",
    ),
    (
        "IP-SCH-035",
        ERROR,
        changed(single(), flowControl={"maxBytes": 5}),
        ("flowControl",),
        "Add flowControl to featureGates",
    ),
    ("IP-SCH-035", ERROR, changed(single(), featureGates=["dataLayer"]), ("data",), "does not start"),
    ("IP-SCH-035", ERROR, with_plugin(single(), {"type": "edf-ordering-policy"}), ("plugins", 4), "flowControl"),
    ("IP-SCH-036", WARNING, disaggregated(), ("plugins",), "the model has none"),
    (
        "IP-SCH-039",
        ERROR,
        changed(single(), featureGates=["dataLayer"], data={"sources": [{"pluginRef": "queue-scorer"}]}),
        ("data", "sources", 0, "pluginRef"),
        "data source",
    ),
    (
        "IP-SCH-040",
        ERROR,
        changed(
            single(), featureGates=["flowControl"], flowControl={"priorityBands": [{"priority": 1}, {"priority": 1}]}
        ),
        ("flowControl", "priorityBands", 1, "priority"),
        "no other band",
    ),
    (
        "IP-SCH-040",
        ERROR,
        changed(
            single(),
            featureGates=["flowControl"],
            flowControl={"defaultPriorityBand": {"fairnessPolicyRef": "round-robin-fairness-policy"}},
        ),
        ("flowControl", "defaultPriorityBand", "fairnessPolicyRef"),
        "declared fairness policy",
    ),
    (
        "IP-SCH-042",
        WARNING,
        with_plugin(single(), {"type": "predicted-latency-scorer"}),
        ("plugins", 4),
        "latency predictor",
    ),
]


@pytest.mark.parametrize(
    ("code", "severity", "config", "path", "words"),
    WRONG,
    ids=[f"{case[0]}-{index}" for index, case in enumerate(WRONG)],
)
def test_what_is_wrong_is_named(
    code: str, severity: str, config: dict[str, Any], path: tuple[Any, ...], words: str
) -> None:
    before = copy.deepcopy(config)
    found = check_config(config, RELEASE, ("scheduler", "config"))
    assert config == before
    mistake = next(m for m in found if m.code == code and m.path == ("scheduler", "config", *path))
    assert mistake.severity == severity
    assert words in " ".join((mistake.expected, mistake.found, mistake.remedy))


@pytest.mark.parametrize(
    ("config", "path", "words"),
    [
        (single(), ("plugins",), "disagg-profile-handler"),
        (without(disaggregated(), "disagg-headers-handler"), ("plugins",), "disagg-headers-handler"),
        (without(disaggregated(), "decode-filter"), ("schedulingProfiles", 1, "plugins"), "decode-filter"),
        (
            with_parameters(disaggregated(), "disagg-profile-handler"),
            ("plugins", 6, "parameters", "deciders"),
            "never runs",
        ),
        (
            with_profile(disaggregated(), {"pluginRef": "decode-filter"}, QUEUE, PICKER, name="decode"),
            ("schedulingProfiles",),
            "profile prefill",
        ),
        (
            with_parameters(
                disaggregated(),
                "disagg-profile-handler",
                deciders={"prefill": "always-disagg-pd-decider"},
                profiles={"prefill": "first"},
            ),
            ("schedulingProfiles",),
            "profile first",
        ),
    ],
)
def test_a_model_with_prefill_workers_needs_more(config: dict[str, Any], path: tuple[Any, ...], words: str) -> None:
    found = [m for m in check_config(config, RELEASE, prefill=True) if m.code == "IP-SCH-036"]
    assert [(m.path, m.severity) for m in found] == [(path, ERROR)]
    assert words in found[0].expected + found[0].found


def test_prefill_pods_may_be_chosen_by_a_label_of_their_own() -> None:
    config = without(disaggregated(), "prefill-filter")
    config = with_plugin(config, {"type": "by-label", "parameters": {"label": "part", "validValues": ["prefill"]}})
    config["schedulingProfiles"][0]["plugins"].insert(0, {"pluginRef": "by-label"})
    assert check_config(config, RELEASE, prefill=True) == []


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        (
            with_plugin(single(), {"type": "session-affinity-scorer"}),
            "IP-SCH-021",
            "only the llm-d inference scheduler v0.7.1 or llm-d router's endpoint picker v0.9.0 has",
        ),
        (with_profile(single(), {"pluginRef": "queue-scorer", "weight": 1.5}, PICKER), "IP-SCH-030", "a whole number"),
        (changed(single(), featureGates=["flowControl"], flowControl={}), "IP-SCH-020", "does not know it"),
        (with_parameters(single(), "prefix-cache-scorer", blockSizeTokens=16), "IP-SCH-024", "blockSize"),
    ],
)
def test_what_only_later_programs_know_is_refused_for_earlier_ones(
    config: dict[str, Any], code: str, words: str
) -> None:
    assert check_config(config, RELEASE) == [] or code == "IP-SCH-024"
    found = [m for m in check_config(config, OLDER) if m.code == code]
    assert len(found) == 1
    assert words in " ".join((found[0].expected, found[0].found, found[0].remedy))


@pytest.mark.parametrize(
    "nonsense",
    [
        {"plugins": 5},
        {"plugins": ["x", None, {"type": []}]},
        {"schedulingProfiles": [3, {"plugins": [None]}]},
        {"data": {"sources": [None]}, "flowControl": []},
    ],
)
def test_any_shape_is_answered_with_findings(nonsense: dict[str, Any]) -> None:
    assert any(m.code == "IP-SCH-020" for m in check_config(changed(single(), **nonsense), RELEASE))


@pytest.mark.parametrize("word", ["--lora-info-metric=x", "-lora-info-metric", "--cache-info-metric"])
def test_flags_that_are_gone_are_refused(word: str) -> None:
    args = ["--v=5", word, "--grpc-port", "9002"]
    found = list(check_flags(args, RELEASE, ("override",)))
    assert [(m.code, m.path, m.severity) for m in found] == [("IP-SCH-037", ("override", 1), ERROR)]
    assert "engineConfigs" in found[0].remedy
    assert list(check_flags(args, OLDER)) == []


def test_flags_that_exist_pass() -> None:
    assert list(check_flags(["--v", "5", "--config-text", "--lora"], RELEASE)) == []
