"""GPU memory of a model: weights, KV cache and overhead on one GPU. Formula and sources: docs/capacity.md.

    estimate(size, split, server, gpu_memory)    # pure arithmetic
    of_workload(workload, entry, gpus)           # the same for pods of an inventory entry

All amounts are bytes on one GPU. What is not known is None, and ``unknown`` says what to give.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inference_platform.catalog.instance_types import Gpu
from inference_platform.models.model_size import ModelSize, from_entry
from inference_platform.models.pods import bytes_of
from inference_platform.models.server import EXTRA_ARGS
from inference_platform.models.topology import Workload

GIB = 2**30

AUTO = "auto"

# Bytes of one parameter (models.md 7.2); four-bit formats with their scales.
_FOUR_BIT = 0.55
BYTES: Mapping[str, float] = {
    "float32": 4,
    "float": 4,
    "bfloat16": 2,
    "float16": 2,
    "half": 2,
    "fp8": 1,
    "float8_e4m3fn": 1,
    "modelopt": 1,
    "int8": 1,
    "awq": _FOUR_BIT,
    "awq_marlin": _FOUR_BIT,
    "gptq": _FOUR_BIT,
    "gptq_marlin": _FOUR_BIT,
    "bitsandbytes": _FOUR_BIT,
    "int4": _FOUR_BIT,
    "mxfp4": _FOUR_BIT,
    "fp4": _FOUR_BIT,
    "modelopt_fp4": _FOUR_BIT,
}
_PLAIN_BYTES = 2
_QUANTIZED = tuple(name for name, size in BYTES.items() if size < _PLAIN_BYTES)
_FP8 = ("fp8", "float8_e4m3fn", "modelopt")

# What a server takes beside weights and KV cache: CUDA context, graphs, communication
# buffers. The least and the usual amount seen in public logs of vLLM (docs/capacity.md).
LEAST_OVERHEAD = GIB // 2
_USUAL_OVERHEAD = 2 * GIB
# Activations for one token of a step, in bytes per unit of the hidden size: three times the
# width of a feed-forward block (3.5 x hidden) and of the hidden state, in 16 bits.
_ACTIVATION_BYTES = round((3 * 3.5 + 3) * _PLAIN_BYTES)
_UNKNOWN_ACTIVATIONS = GIB

# Defaults of vLLM.
_UTILIZATION = 0.9
_BATCHED_TOKENS = 8192
_BLOCK = 16

_LENGTH = re.compile(r"(\d+(?:\.\d+)?)([kKmMgG]?)")
_LENGTH_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class Split:
    """Ranks over which one replica is spread."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1


@dataclass(frozen=True)
class Server:
    """Settings of the model server that decide about memory.

    ``max_model_len``: tokens; None: not given, AUTO: the server takes what fits.
    ``weights_bytes``: of the whole model, when known. ``offload``: bytes per GPU that are
    kept on the host. ``concurrency``: requests of full length that shall run at once.
    """

    max_model_len: int | str | None = None
    dtype: str = AUTO
    quantization: str | None = None
    kv_cache_dtype: str = AUTO
    utilization: float = _UTILIZATION
    batched_tokens: int = _BATCHED_TOKENS
    weights_bytes: int | None = None
    offload: int = 0
    concurrency: int | None = None


@dataclass(frozen=True)
class Estimate:
    """Memory of one GPU of a model. ``format`` is the number format of the weights in memory.

    ``budget`` is what the server may use of ``gpu_memory``; ``usual_overhead`` contains
    activations. ``context`` is the asked length in tokens.
    """

    size: ModelSize
    split: Split
    server: Server
    format: str
    gpu_memory: int | None
    weights: int | None
    usual_overhead: int
    context: int | None
    unknown: tuple[str, ...] = ()

    @property
    def budget(self) -> int | None:
        """Memory that the server may use."""
        return None if self.gpu_memory is None else int(self.gpu_memory * self.server.utilization)

    def room(self, overhead: int) -> int | None:
        """What is left for the KV cache with this overhead; negative when the rest does not fit."""
        if self.budget is None or self.weights is None:
            return None
        return self.budget - self.weights - overhead

    @property
    def kv_room(self) -> int | None:
        """What is left for the KV cache with the usual overhead."""
        return self.room(self.usual_overhead)

    def kv_bytes(self, tokens: int) -> float | None:
        """KV cache of one request of this length."""
        layer = self._layer_bytes()
        if layer is None or not self.size.layers:
            return None
        windowed = min(tokens, self.size.sliding_window or tokens)
        sliding = self.size.sliding_layers or 0
        return layer * ((self.size.layers - sliding) * tokens + sliding * windowed)

    def tokens_in(self, room: int | None) -> int | None:
        """Longest request whose KV cache fits into so much memory, in whole blocks; None when not known."""
        layer = self._layer_bytes()
        if room is None or layer is None or not self.size.layers:
            return None
        tokens = max(room, 0) / (layer * self.size.layers)
        window, sliding = self.size.sliding_window, self.size.sliding_layers
        if window and sliding and tokens > window:
            full = self.size.layers - sliding
            if full == 0:
                return None
            tokens = (room / layer - sliding * window) / full
        return int(tokens) // _BLOCK * _BLOCK

    @property
    def longest(self) -> int | None:
        """Longest request that surely fits."""
        return self.tokens_in(self.kv_room)

    @property
    def longest_possible(self) -> int | None:
        """Longest request that fits at best, with the least overhead."""
        return self.tokens_in(self.room(LEAST_OVERHEAD))

    @property
    def requests(self) -> float | None:
        """Requests of the asked length that run at once."""
        if self.context is None or self.kv_room is None:
            return None
        one = self.kv_bytes(self.context)
        return None if one is None else max(self.kv_room, 0) / one

    def _layer_bytes(self) -> float | None:
        """KV cache of one token in one layer, as one GPU holds it on average over its layers."""
        size, layers = self.size, self.size.layers
        if not layers:
            return None
        share = math.ceil(layers / self.split.pipeline) / layers
        if size.kv_latent:
            # The compressed cache has no heads to share: every tensor rank holds all of it.
            return share * size.kv_latent * self._kv_number()
        if not size.kv_heads or not size.head_dim:
            return None
        heads = math.ceil(size.kv_heads / self.split.tensor)
        return share * 2 * heads * size.head_dim * self._kv_number()

    def _kv_number(self) -> int:
        if self.server.kv_cache_dtype.startswith("fp8"):
            return 1
        return 4 if self.server.kv_cache_dtype == AUTO and self.format in ("float32", "float") else 2


def estimate(size: ModelSize, split: Split, server: Server, gpu_memory: int | None) -> Estimate:
    """The memory of one GPU. ``gpu_memory`` is None when the GPU is not known."""
    form = _format(size, server)
    weights, reasons = _weights(size, split, server, form)
    if gpu_memory is None:
        reasons.append("memory of the GPU: give a gpu.product of the catalogue")
    if not size.layers or not (size.kv_latent or (size.kv_heads and size.head_dim)):
        reasons.append("KV cache: give size.layers, size.kv_heads and size.head_dim")
    activations = server.batched_tokens * size.hidden * _ACTIVATION_BYTES if size.hidden else _UNKNOWN_ACTIVATIONS
    given = server.max_model_len
    context = given if isinstance(given, int) else (size.context if given is None else None)
    return Estimate(
        size, split, server, form, gpu_memory, weights, _USUAL_OVERHEAD + activations, context, tuple(reasons)
    )


def of_workload(workload: Workload, entry: Mapping[str, Any], gpus: Mapping[str, Gpu]) -> Estimate:
    """The estimate for pods of a completed entry (``size``, ``weights_size``) on their product.

    Raises ValueError, KeyError or TypeError when ``size`` cannot be read.
    """
    product = workload.settings["gpu"].get("product")
    known = gpus.get(product)
    size = from_entry(entry.get("size", {}))
    split = Split(workload.tensor, workload.pipeline, workload.data)
    return estimate(size, split, server_of(workload.settings, entry), known.memory if known else None)


def server_of(settings: Mapping[str, Any], entry: Mapping[str, Any]) -> Server:
    """The settings of an entry: named ones, and flags among the free arguments, which win."""
    named = {name: value for name, value in settings.get("vllm", {}).items() if name in _SETTINGS}
    given = {**named, **dict(_flags(_words(settings)))}
    server = Server(
        **{_SETTINGS[name][0]: _SETTINGS[name][1](value) for name, value in given.items()},
        concurrency=entry.get("expected_concurrency"),
    )
    if "weights_size" in entry:
        server = replace(server, weights_bytes=round(bytes_of(entry["weights_size"])))
    return server


def computes_in_fp8(estimate: Estimate) -> bool:
    """Whether the weights are FP8 numbers."""
    return estimate.format in _FP8


def in_words(found: Estimate) -> list[str]:
    """The estimate in lines for people, what is not known included."""
    lines = []
    if found.weights is not None:
        lines.append(f"weights {gib(found.weights)} GiB per GPU ({found.format})")
    if found.weights is not None and found.budget is not None and found.gpu_memory is not None:
        lines.append(
            f"{gib(found.budget)} of {gib(found.gpu_memory)} GiB may be used, "
            f"{gib(found.usual_overhead)} GiB of it for activations and overhead"
        )
        lines.append(f"{gib(max(found.kv_room or 0, 0))} GiB left for the KV cache")
    if found.longest is not None:
        lines.append(f"longest request: {found.longest} tokens")
    if found.requests is not None:
        lines.append(f"{found.requests:.1f} requests of {found.context} tokens at once")
    return [*lines, *(f"not known: {reason}" for reason in found.unknown)]


def gib(count: float) -> str:
    """Bytes in GiB with one decimal."""
    return f"{count / GIB:.1f}"


def _format(size: ModelSize, server: Server) -> str:
    """Number format of the weights in memory: a quantization of a known width, what is stored, or 16 bits."""
    if server.quantization is not None and server.quantization in BYTES:
        return server.quantization
    if size.weights is not None and (size.weights in _QUANTIZED or server.dtype == AUTO):
        return size.weights
    return server.dtype if server.dtype != AUTO else "bfloat16"


def _weights(size: ModelSize, split: Split, server: Server, form: str) -> tuple[int | None, list[str]]:
    """Bytes of the weights on one GPU, and what is missing to know them."""
    experts = size.expert_parameters or 0
    if split.data > 1 and size.expert_parameters is None:
        return None, ["weights under data parallelism: give size.expert_parameters (0 without experts)"]
    if server.weights_bytes is not None:
        part = experts / size.parameters if size.parameters else 0
        return _per_gpu(server.weights_bytes * (1 - part), server.weights_bytes * part, split, server), []
    if form not in BYTES:
        return None, [f"bytes of a parameter in {form}: give weights_size"]
    if size.parameters is None:
        return None, ["weights: give size.parameters or weights_size"]
    number = BYTES[form]
    if form not in _QUANTIZED:
        return _per_gpu((size.parameters - experts) * number, experts * number, split, server), []
    # Not known what stays in 16 bits: the four-bit factor of the rule of thumb stands for all.
    plain = size.plain_parameters or 0
    rest = (size.parameters - experts - plain) * number + plain * _PLAIN_BYTES
    return _per_gpu(rest, experts * number, split, server), []


def _per_gpu(common: float, experts: float, split: Split, server: Server) -> int:
    """Experts are shared by all ranks; everything else is repeated in each data parallel rank."""
    shared = split.tensor * split.pipeline
    return max(round(common / shared + experts / (shared * split.data)) - server.offload, 0)


def _length(value: Any) -> int | str:
    """A context length: a number, ``auto``, or vLLM's short form such as 32k."""
    text = str(value)
    if text in (AUTO, "-1"):
        return AUTO
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise ValueError(f"not a length in tokens: {text!r}")
    return int(float(match[1]) * _LENGTH_FACTORS[match[2]])


# Setting of the language, and flag with dashes -> field of Server, and how its value is read.
_SETTINGS: Mapping[str, tuple[str, Any]] = {
    "max_model_len": ("max_model_len", _length),
    "dtype": ("dtype", str),
    "quantization": ("quantization", str),
    "kv_cache_dtype": ("kv_cache_dtype", str),
    "gpu_memory_utilization": ("utilization", float),
    "max_num_batched_tokens": ("batched_tokens", int),
    "cpu_offload_gb": ("offload", lambda value: round(float(value) * GIB)),
}
_SHORT = {"-q": "quantization"}


def _words(settings: Mapping[str, Any]) -> list[str]:
    """Free arguments in the order in which the server sees them."""
    extra = settings.get("env", {}).get(EXTRA_ARGS)
    try:
        words = shlex.split(extra) if isinstance(extra, str) else []
    except ValueError:
        words = []
    return [*words, *settings.get("args", [])]


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Settings given as ``--flag value`` or ``--flag=value``."""
    for position, word in enumerate(words):
        flag, given, value = word.partition("=")
        name = _SHORT.get(flag, flag.removeprefix("--").replace("-", "_"))
        if name in _SETTINGS and flag.startswith("-"):
            if given:
                yield name, value
            elif position + 1 < len(words):
                yield name, words[position + 1]
