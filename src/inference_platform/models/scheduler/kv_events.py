"""KV cache events: one set of values for both sides (models.md 4.8).

The model servers publish which blocks they cache, the scorer precise-prefix-cache-scorer
listens. Block size, hash seed, hash algorithm, port and model name must be the same on both
sides, else every score is 0 and nothing tells. They are read once, from the block
``kv_events`` or from the plugin in a configuration of the user, and both sides are made of them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from inference_platform.findings import WARNING, show
from inference_platform.models.scheduler.config import items, mapping
from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.schema import KeyPath

PLUGIN = "precise-prefix-cache-scorer"

SERVICE_PORT = 5557  # port "zmq" of the scheduler's Service and container, fixed by the presets
_POOL_PORT = 8000  # port under which the scheduler knows a pod: that of the InferencePool
_TOKENIZER_MODEL = "base"  # folder of the tokenizer files, fixed by the presets
_TOKENIZER_SOCKET = "/tmp/tokenizer/tokenizer-uds.socket"  # shared by scheduler and tokenizer container
_HASH_ALGORITHM = "sha256_cbor"
_BLOCK_SIZE = 16
_HASH_SEED = "42"
_TOPIC = "kv@"
_CONCURRENCY = 4
_EXTRA_ARGS_VARIABLE = "VLLM_ADDITIONAL_ARGS"
_PORT_OF = re.compile(r":([0-9]+)$")


@dataclass(frozen=True)
class KvEvents:
    """The values that both sides share. ``mode`` says who listens: the scheduler's Service, or the pods."""

    model: str
    namespace: str
    served_name: str
    mode: str
    block_size: int
    hash_seed: str
    port: int
    index: Mapping[str, int]
    speculative: bool
    metrics: bool

    def parameters(self) -> dict[str, Any]:
        """Parameters of the scorer."""
        index: dict[str, Any] = {"enableMetrics": self.metrics}
        if self.index:
            index["inMemoryConfig"] = dict(self.index)
        parameters: dict[str, Any] = {
            "tokenProcessorConfig": {"blockSize": self.block_size, "hashSeed": self.hash_seed},
            "indexerConfig": {
                "kvBlockIndexConfig": index,
                "tokenizersPoolConfig": {"modelName": _TOKENIZER_MODEL, "uds": {"socketFile": _TOKENIZER_SOCKET}},
            },
            "kvEventsConfig": {"topicFilter": _TOPIC, "concurrency": _CONCURRENCY, **self._listener()},
        }
        if self.speculative:
            parameters["speculativeIndexing"] = True
        return parameters

    def _listener(self) -> dict[str, Any]:
        if self.mode == "service":
            return {"zmqEndpoint": f"tcp://*:{self.port}", "discoverPods": False}
        selector = f"app.kubernetes.io/name={self.model},kserve.io/component=workload"
        return {
            "discoverPods": True,
            "podDiscoveryConfig": {
                "podLabelSelector": selector,
                "podNamespace": self.namespace,
                "socketPort": self.port,
            },
        }

    @cached_property
    def server_flags(self) -> dict[str, str]:
        """Flags of vLLM and their values; the topic names the pod as the InferencePool does."""
        endpoint = f"tcp://{self.model}-epp-service:{self.port}" if self.mode == "service" else f"tcp://*:{self.port}"
        events = {
            "enable_kv_cache_events": True,
            "publisher": "zmq",
            "endpoint": endpoint,
            "topic": f"{_TOPIC}$(POD_IP):{_POOL_PORT}@{self.served_name}",
        }
        return {
            "--block-size": str(self.block_size),
            "--prefix-caching-hash-algo": _HASH_ALGORITHM,
            "--kv-events-config": json.dumps(events, separators=(",", ":")),
        }

    def server_env(self) -> list[dict[str, Any]]:
        """Environment of vLLM: the address of the pod for the topic, and the seed."""
        return [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "PYTHONHASHSEED", "value": self.hash_seed},
        ]

    def server_ports(self) -> list[dict[str, Any]]:
        """Ports of the servers that the events need."""
        if self.mode == "service":
            return []
        return [{"name": "kv-events", "containerPort": self.port, "protocol": "TCP"}]


def from_entry(entry: Mapping[str, Any], *, speculative: bool) -> KvEvents:
    """The values of ``scheduler.kv_events``. ``speculative``: needed whatever it says there."""
    given = mapping(mapping(entry.get("scheduler")).get("kv_events"))
    index = {"size": given.get("index_size"), "podCacheSize": given.get("pods_per_block")}
    return KvEvents(
        **_identity(entry),
        mode=given.get("mode", "service"),
        block_size=given.get("block_size") or mapping(entry.get("vllm")).get("block_size") or _BLOCK_SIZE,
        hash_seed=given.get("hash_seed", _HASH_SEED),
        port=given.get("port", SERVICE_PORT),
        index={key: value for key, value in index.items() if value is not None},
        speculative=speculative or bool(given.get("speculative")),
        metrics=bool(given.get("metrics")),
    )


def from_config(entry: Mapping[str, Any], config: Mapping[str, Any]) -> KvEvents | None:
    """The values of the scorer in a configuration of the user; None when it does not use the scorer."""
    for plugin in items(config.get("plugins")):
        if mapping(plugin).get("type") == PLUGIN:
            return _from_parameters(entry, mapping(plugin.get("parameters")))
    return None


def _from_parameters(entry: Mapping[str, Any], parameters: Mapping[str, Any]) -> KvEvents:
    old_place = mapping(mapping(parameters.get("indexerConfig")).get("tokenProcessorConfig"))
    tokens = mapping(parameters.get("tokenProcessorConfig")) or old_place
    events = mapping(parameters.get("kvEventsConfig"))
    listens = _PORT_OF.search(str(events.get("zmqEndpoint") or ""))
    discovery = mapping(events.get("podDiscoveryConfig")).get("socketPort", SERVICE_PORT)
    return KvEvents(
        **_identity(entry),
        mode="service" if listens else "pods",
        block_size=tokens.get("blockSize", _BLOCK_SIZE),
        hash_seed=str(tokens.get("hashSeed", "")),
        port=int(listens[1]) if listens else discovery,
        index={},
        speculative=bool(parameters.get("speculativeIndexing")),
        metrics=False,
    )


def _identity(entry: Mapping[str, Any]) -> dict[str, str]:
    name = entry["name"]
    return {"model": name, "namespace": entry["namespace"], "served_name": entry.get("served_name", name)}


@dataclass(frozen=True)
class Written:
    """What the user says about a setting of the servers: where, and its value."""

    path: KeyPath
    value: str


def written_flags(block: Mapping[str, Any]) -> dict[str, Written]:
    """The flags in ``args`` and VLLM_ADDITIONAL_ARGS of a model or of its prefill, the last of each name."""
    words: list[tuple[KeyPath, str]] = [
        (("args", position), str(word)) for position, word in enumerate(items(block.get("args")))
    ]
    extra = mapping(block.get("env")).get(_EXTRA_ARGS_VARIABLE)
    if isinstance(extra, str):
        words += [(("env", _EXTRA_ARGS_VARIABLE), word) for word in _split(extra)]
    flags: dict[str, Written] = {}
    for (path, word), (_, following) in pairwise([*words, ((), "")]):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            given = value if equals else ("" if following.startswith("--") else following)
            flags[name.replace("_", "-")] = Written(path, given)
    return flags


def flags_of_all_servers(entry: Mapping[str, Any]) -> set[str]:
    """The flags that every server of a model gets by ``args`` or VLLM_ADDITIONAL_ARGS, with prefill those too."""
    flags = set(written_flags(entry))
    return flags & set(written_flags(entry["prefill"])) if entry.get("prefill") else flags


def contradictions(entry: Mapping[str, Any], events: KvEvents) -> Iterator[Mistake]:
    """IP-SCH-014: settings of the servers that the model writes itself are those the scheduler expects."""
    blocks: list[tuple[KeyPath, Mapping[str, Any]]] = [((), entry)]
    if entry.get("prefill"):
        blocks.append((("prefill",), entry["prefill"]))
    for prefix, block in blocks:
        for path, expected, found in [*_settings(block, events), *_flags(block, events), *_variables(block, events)]:
            yield Mistake(
                "IP-SCH-014",
                (*prefix, *path),
                f"{expected}, as the scheduler has it",
                f"{found}, with which no pod would ever have a matching prefix",
                "Leave the setting out: it is made of scheduler.kv_events.",
            )


_Difference = tuple[KeyPath, str, str]


def _settings(block: Mapping[str, Any], events: KvEvents) -> Iterator[_Difference]:
    vllm = mapping(block.get("vllm"))
    expected = events.server_flags
    if vllm.get("enable_prefix_caching") is False:
        yield ("vllm", "enable_prefix_caching"), "true", "false"
    for key, flag in (("block_size", "--block-size"), ("prefix_caching_hash_algo", "--prefix-caching-hash-algo")):
        if key in vllm and str(vllm[key]) != expected[flag]:
            yield ("vllm", key), expected[flag], show(vllm[key])


def _flags(block: Mapping[str, Any], events: KvEvents) -> Iterator[_Difference]:
    written = written_flags(block)
    if "--no-enable-prefix-caching" in written:
        yield written["--no-enable-prefix-caching"].path, "prefix caching", "switched off"
    for flag, expected in events.server_flags.items():
        if flag in written and not _agrees(flag, written[flag].value, expected):
            yield written[flag].path, f"{flag} {expected}", show(written[flag].value)


def _variables(block: Mapping[str, Any], events: KvEvents) -> Iterator[_Difference]:
    env = mapping(block.get("env"))
    seed = env.get("PYTHONHASHSEED")
    if seed is not None and str(seed) != events.hash_seed:
        yield ("env", "PYTHONHASHSEED"), show(events.hash_seed), show(seed)
    address = env.get("POD_IP")
    if address is not None and mapping(address).get("field") != "status.podIP":
        yield ("env", "POD_IP"), "{field: status.podIP}", show(address)


def _agrees(flag: str, value: str, expected: str) -> bool:
    if flag != "--kv-events-config":
        return value == expected
    try:
        return bool(json.loads(_with_variables(value)) == json.loads(expected))
    except ValueError:
        return False


def _with_variables(value: str) -> str:
    """``${POD_IP}``, which the shell of the preset expands, in the way of the kubelet."""
    return value.replace("${POD_IP}", "$(POD_IP)")


def unsupported(entry: Mapping[str, Any], events: KvEvents) -> Iterator[Mistake]:
    """IP-SCH-012, 013, 016, 041: models and values with which events do not arrive."""
    prefill: KeyPath = ("prefill",)
    for path, block in (((), entry), (prefill, mapping(entry.get("prefill")))):
        ranks = mapping(block.get("parallelism")).get("data", 1)
        if ranks > 1:
            yield Mistake(
                "IP-SCH-012",
                (*path, "parallelism", "data"),
                "one data-parallel rank per pod with precise_prefix_cache",
                f"{ranks} ranks, which publish on ports of their own that the scheduler does not know",
                "Use the strategy prefix_cache.",
            )
            break
    if "@" in events.served_name:
        yield Mistake(
            "IP-SCH-013",
            ("served_name",),
            "a served name without @, which separates the parts of the topic",
            show(events.served_name),
            "Choose another served name, or the strategy prefix_cache.",
        )
    if events.mode == "service" and events.port != SERVICE_PORT:
        yield Mistake(
            "IP-SCH-016",
            ("scheduler", "kv_events", "port"),
            f"{SERVICE_PORT}, the port of the scheduler's Service",
            show(events.port),
            "Leave the port out, or use mode pods.",
        )
    if entry.get("command"):
        yield Mistake(
            "IP-SCH-041",
            ("command",),
            "the server of the platform, which gets the settings for its cache events",
            "a command of your own, which does not get them",
            "Set block size, hash seed, hash algorithm and event endpoint in its arguments.",
            WARNING,
        )


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []
