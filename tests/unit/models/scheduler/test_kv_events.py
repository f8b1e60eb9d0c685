"""Cache events: scheduler and servers get the same values, and contradictions are found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference_platform.findings import ERROR, WARNING
from inference_platform.models.scheduler import Wiring, wiring_for

SERVING = {"endpoint_picker": "llm-d-0.7.1"}
SCORER = "precise-prefix-cache-scorer"


def model(**keys: Any) -> dict[str, Any]:
    """A merged model entry with the strategy precise_prefix_cache."""
    scheduler = {"strategy": "precise_prefix_cache", **keys.pop("scheduler", {})}
    return {"name": "qwen", "namespace": "team-a", "served_name": "Qwen/Q", "scheduler": scheduler, **keys}


def scorer(wiring: Wiring) -> dict[str, Any]:
    """Parameters of the scorer."""
    assert wiring.epp_config is not None
    return next(p["parameters"] for p in wiring.epp_config["plugins"] if p["type"] == SCORER)


def flags(wiring: Wiring) -> dict[str, str]:
    """The arguments of the servers by flag."""
    return dict(zip(wiring.vllm_args[::2], wiring.vllm_args[1::2], strict=True))


def events(wiring: Wiring) -> dict[str, Any]:
    """What the servers are told about events."""
    found: dict[str, Any] = json.loads(flags(wiring)["--kv-events-config"])
    return found


def env(wiring: Wiring) -> dict[str, Any]:
    """The environment of the servers."""
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in wiring.vllm_env}


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"scheduler": {"kv_events": {"block_size": 64, "hash_seed": "7"}}},
        {"vllm": {"block_size": 32}},
        {"prefill": {"replicas": 1}, "scheduler": {"kv_events": {"block_size": 64}}},
        {"scheduler": {"kv_events": {"mode": "pods", "port": 6001}}},
    ],
)
def test_both_sides_agree(keys: dict[str, Any]) -> None:
    wiring = wiring_for(model(**keys), SERVING)
    assert wiring.findings == []
    tokens = scorer(wiring)["tokenProcessorConfig"]
    listener = scorer(wiring)["kvEventsConfig"]
    assert flags(wiring)["--block-size"] == str(tokens["blockSize"])
    assert flags(wiring)["--prefix-caching-hash-algo"] == "sha256_cbor"
    assert env(wiring)["PYTHONHASHSEED"] == tokens["hashSeed"]
    assert isinstance(tokens["hashSeed"], str)
    assert env(wiring)["POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert events(wiring)["topic"] == "kv@$(POD_IP):8000@Qwen/Q"
    assert events(wiring)["topic"].startswith(listener["topicFilter"])
    assert events(wiring)["topic"].count("@") == 2
    assert events(wiring)["enable_kv_cache_events"] is True


def test_by_default_the_servers_connect_to_the_schedulers_service() -> None:
    wiring = wiring_for(model(), SERVING)
    assert events(wiring)["endpoint"] == "tcp://qwen-epp-service:5557"
    listener = scorer(wiring)["kvEventsConfig"]
    assert listener["zmqEndpoint"] == "tcp://*:5557"
    assert listener["discoverPods"] is False
    assert wiring.pod_ports == []


def test_the_scheduler_can_connect_to_the_pods_instead() -> None:
    wiring = wiring_for(model(scheduler={"kv_events": {"mode": "pods", "port": 6001}}), SERVING)
    assert events(wiring)["endpoint"] == "tcp://*:6001"
    listener = scorer(wiring)["kvEventsConfig"]
    assert "zmqEndpoint" not in listener
    assert listener["podDiscoveryConfig"] == {
        "podLabelSelector": "app.kubernetes.io/name=qwen,kserve.io/component=workload",
        "podNamespace": "team-a",
        "socketPort": 6001,
    }
    assert wiring.pod_ports == [{"name": "kv-events", "containerPort": 6001, "protocol": "TCP"}]


def test_without_a_served_name_the_topic_has_the_name_of_the_model() -> None:
    entry = model()
    del entry["served_name"]
    assert events(wiring_for(entry, SERVING))["topic"] == "kv@$(POD_IP):8000@qwen"


def test_the_index_can_be_sized() -> None:
    given = {"index_size": 5, "pods_per_block": 20, "metrics": True, "speculative": True}
    parameters = scorer(wiring_for(model(scheduler={"kv_events": given}), SERVING))
    index = parameters["indexerConfig"]["kvBlockIndexConfig"]
    assert index == {"enableMetrics": True, "inMemoryConfig": {"size": 5, "podCacheSize": 20}}
    assert parameters["speculativeIndexing"] is True


def test_the_tokenizer_is_the_one_of_the_platform() -> None:
    pool = scorer(wiring_for(model(), SERVING))["indexerConfig"]["tokenizersPoolConfig"]
    assert pool == {"modelName": "base", "uds": {"socketFile": "/tmp/tokenizer/tokenizer-uds.socket"}}


def test_other_strategies_ask_nothing_of_the_servers() -> None:
    wiring = wiring_for(model(scheduler={"strategy": "prefix_cache"}), SERVING)
    assert (wiring.vllm_args, wiring.vllm_env, wiring.pod_ports) == ([], [], [])


EVENTS = '{"topic":"kv@${POD_IP}:8000@Qwen/Q","endpoint":"tcp://qwen-epp-service:5557","publisher":"zmq","enable_kv_cache_events":true}'


@pytest.mark.parametrize(
    "keys",
    [
        {"args": ["--block-size=16", "--kv-events-config", EVENTS]},
        {"args": ["--block_size", "16", "--kv_events_config", EVENTS]},
        {"env": {"VLLM_ADDITIONAL_ARGS": f"--block-size 16 --kv-events-config '{EVENTS}'"}},
    ],
)
def test_what_the_user_writes_and_agrees_is_not_said_twice(keys: dict[str, Any]) -> None:
    wiring = wiring_for(model(**keys), SERVING)
    assert wiring.findings == []
    assert list(flags(wiring)) == ["--prefix-caching-hash-algo"]


def test_variables_that_the_user_sets_and_agree_are_not_set_twice() -> None:
    given = {"PYTHONHASHSEED": "42", "POD_IP": {"field": "status.podIP"}}
    wiring = wiring_for(model(env=given), SERVING)
    assert (wiring.findings, wiring.vllm_env) == ([], [])


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"vllm": {"block_size": 32}, "scheduler": {"kv_events": {"block_size": 64}}}, ("vllm", "block_size")),
        ({"vllm": {"prefix_caching_hash_algo": "sha256"}}, ("vllm", "prefix_caching_hash_algo")),
        ({"vllm": {"enable_prefix_caching": False}}, ("vllm", "enable_prefix_caching")),
        ({"args": ["--no-enable-prefix-caching"]}, ("args", 0)),
        ({"args": ["--max-num-seqs", "4", "--block-size", "64"]}, ("args", 2)),
        ({"args": [f"--kv-events-config={EVENTS.replace(':8000', '')}"]}, ("args", 0)),
        ({"args": ["--kv-events-config", "{not json"]}, ("args", 0)),
        ({"env": {"VLLM_ADDITIONAL_ARGS": "--prefix-caching-hash-algo sha256"}}, ("env", "VLLM_ADDITIONAL_ARGS")),
        ({"env": {"PYTHONHASHSEED": "0"}}, ("env", "PYTHONHASHSEED")),
        ({"env": {"POD_IP": "10.0.0.1"}}, ("env", "POD_IP")),
        ({"prefill": {"vllm": {"block_size": 8}}}, ("prefill", "vllm", "block_size")),
        ({"prefill": {"args": ["--block-size=8"]}}, ("prefill", "args", 0)),
    ],
)
def test_contradictions_are_found(keys: dict[str, Any], path: tuple[Any, ...]) -> None:
    found = wiring_for(model(**keys), SERVING).findings
    assert [(m.code, m.severity, m.path) for m in found] == [("IP-SCH-014", ERROR, path)]
    assert "no pod would ever have a matching prefix" in found[0].found


@pytest.mark.parametrize(
    ("keys", "code", "severity", "path"),
    [
        ({"parallelism": {"data": 8, "data_local": 4}}, "IP-SCH-012", ERROR, ("parallelism", "data")),
        (
            {"prefill": {"parallelism": {"data": 2, "data_local": 1}}},
            "IP-SCH-012",
            ERROR,
            ("prefill", "parallelism", "data"),
        ),
        ({"served_name": "org@v2"}, "IP-SCH-013", ERROR, ("served_name",)),
        ({"scheduler": {"kv_events": {"port": 6000}}}, "IP-SCH-016", ERROR, ("scheduler", "kv_events", "port")),
        ({"command": ["/app/simulator"]}, "IP-SCH-041", WARNING, ("command",)),
    ],
)
def test_models_whose_events_would_not_arrive_are_named(
    keys: dict[str, Any], code: str, severity: str, path: tuple[Any, ...]
) -> None:
    found = wiring_for(model(**keys), SERVING).findings
    assert [(m.code, m.severity, m.path) for m in found] == [(code, severity, path)]


def test_one_rank_is_enough_for_events() -> None:
    assert wiring_for(model(parallelism={"data": 1, "data_local": 1}), SERVING).findings == []


def test_a_server_of_ones_own_is_left_alone() -> None:
    wiring = wiring_for(model(command=["/app/simulator"]), SERVING)
    assert (wiring.vllm_args, wiring.vllm_env, wiring.pod_ports) == ([], [], [])
    assert scorer(wiring)["tokenProcessorConfig"]["blockSize"] == 16


def own_config(**parameters: Any) -> dict[str, Any]:
    """A configuration of the user with the exact scorer."""
    return {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": [{"type": SCORER, "parameters": parameters}],
        "schedulingProfiles": [{"name": "default", "plugins": [{"pluginRef": SCORER}]}],
    }


@pytest.mark.parametrize(
    ("parameters", "endpoint"),
    [
        ({"kvEventsConfig": {"zmqEndpoint": "tcp://*:5557"}}, "tcp://qwen-epp-service:5557"),
        ({"kvEventsConfig": {"podDiscoveryConfig": {"socketPort": 6001}}}, "tcp://*:6001"),
        ({}, "tcp://*:5557"),
    ],
)
def test_a_configuration_of_ones_own_sets_up_the_servers_too(parameters: dict[str, Any], endpoint: str) -> None:
    tokens = {"blockSize": 64, "hashSeed": "7"}
    config = own_config(tokenProcessorConfig=tokens, **parameters)
    wiring = wiring_for({**model(), "scheduler": {"config": config}}, SERVING)
    assert wiring.findings == []
    assert flags(wiring)["--block-size"] == "64"
    assert env(wiring)["PYTHONHASHSEED"] == "7"
    assert events(wiring)["endpoint"] == endpoint


def test_a_configuration_of_ones_own_without_the_exact_scorer_asks_nothing_of_the_servers() -> None:
    config = {**own_config(), "plugins": [{"type": "queue-scorer", "name": SCORER}]}
    wiring = wiring_for({**model(), "scheduler": {"config": config}}, SERVING)
    assert (wiring.findings, wiring.vllm_args) == ([], [])
