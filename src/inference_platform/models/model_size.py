"""How large a model is, from its config.json or from the inventory. What is not known stays None."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMBT]?)")
_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


@dataclass(frozen=True)
class ModelSize:
    """Numbers of a model that decide about memory. None: not known.

    ``parameters`` counts all; ``expert_parameters`` those of them in routed experts;
    ``plain_parameters`` those that stay in 16 bits when the weights are quantized.
    ``weights`` is the number format they are stored in (bfloat16, fp8, mxfp4, ...).
    ``kv_latent`` is the width of the compressed cache of models with latent attention,
    which takes the place of ``kv_heads`` and ``head_dim``. ``sliding_layers`` of the
    layers keep only the last ``sliding_window`` tokens. ``context`` is the longest
    context of the model in tokens.
    """

    parameters: int | None = None
    expert_parameters: int | None = None
    plain_parameters: int | None = None
    weights: str | None = None
    layers: int | None = None
    hidden: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    kv_latent: int | None = None
    sliding_window: int | None = None
    sliding_layers: int | None = None
    context: int | None = None

    def with_known(self, other: ModelSize) -> ModelSize:
        """This size, with what ``other`` knows in its place."""
        given = {item.name: getattr(other, item.name) for item in fields(other)}
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def from_entry(size: Mapping[str, Any]) -> ModelSize:
    """The ``size`` block of an inventory entry. What it says wins over its ``config``."""
    given = {name: value for name, value in size.items() if name != "config"}
    for name in ("parameters", "expert_parameters", "plain_parameters"):
        if name in given:
            given[name] = count(given[name])
    stated = ModelSize(**given)
    return from_config(size["config"]).with_known(stated) if "config" in size else stated


def count(text: int | str) -> int:
    """A number of parameters such as 7.6B. Raises ValueError for anything else."""
    match = _COUNT.fullmatch(str(text))
    if match is None:
        raise ValueError(f"not a number of parameters: {text!r}")
    return round(float(match[1]) * _FACTORS[match[2]])


def from_config(config: Mapping[str, Any]) -> ModelSize:
    """The content of a model's config.json, as Hugging Face writes it.

    Parameters are counted for the families in ``FAMILIES``; for others, and for models
    that also see or hear, they stay unknown, and the rest is read. Raises ValueError,
    KeyError or TypeError when it holds something else than numbers.
    """
    text = config.get("text_config") or config
    hidden = _first(text, "hidden_size", "n_embd", "d_model")
    heads = _first(text, "num_attention_heads", "n_head")
    head_dim = text.get("head_dim") or (hidden // heads if hidden and heads else None)
    latent = text["kv_lora_rank"] + text["qk_rope_head_dim"] if text.get("kv_lora_rank") else None
    window = text.get("sliding_window") if text.get("use_sliding_window", True) else None
    layers = _first(text, "num_hidden_layers", "n_layer")
    weights = _weights(config, text)
    counted = _counted(text, weights) if text is config else ModelSize()
    read = replace(
        counted,
        weights=weights,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=1 if latent else _first(text, "num_key_value_heads") or heads,
        head_dim=head_dim,
        kv_latent=latent,
        sliding_window=window,
        sliding_layers=_sliding_layers(text, layers) if window else 0,
        context=_first(text, "max_position_embeddings", "n_positions"),
    )
    for item in fields(read):
        value = getattr(read, item.name)
        if item.name != "weights" and value is not None and (not isinstance(value, int) or value < 0):
            raise ValueError(f"config: {item.name} is no whole number: {value!r}")
    return read


@dataclass(frozen=True)
class Family:
    """What the models of one ``model_type`` have beside the common parts.

    ``qkv_bias``, ``output_bias``: of the attention. ``head_norms``: of queries and keys.
    ``norms``: per layer. ``sinks``: one number per head. ``expert_bias``: of the matrices
    of a routed expert. ``router_bias``: one number per expert. ``whole`` counts a family
    that is built differently.
    """

    qkv_bias: bool = False
    output_bias: bool = False
    head_norms: bool = False
    norms: int = 2
    sinks: bool = False
    expert_bias: bool = False
    router_bias: bool = False
    whole: Callable[[Mapping[str, Any]], int] | None = None


def _opt(config: Mapping[str, Any]) -> int:
    """OPT: learned positions, biases everywhere, two matrices per feed-forward block, shared embedding."""
    hidden, inner = config["hidden_size"], config["ffn_dim"]
    attention = 4 * (hidden * hidden + hidden)
    feed_forward = 2 * hidden * inner + inner + hidden
    layer = attention + feed_forward + 4 * hidden
    embedding = config["vocab_size"] * hidden + (config["max_position_embeddings"] + 2) * hidden
    return int(embedding + config["num_hidden_layers"] * layer + 2 * hidden)


#: model_type of config.json -> what is particular about it. Everything else is the common transformer decoder.
FAMILIES: Mapping[str, Family] = {
    "deepseek_v2": Family(),
    "deepseek_v3": Family(router_bias=True),
    "gemma2": Family(norms=4),
    "gemma3_text": Family(norms=4, head_norms=True),
    "gpt_oss": Family(qkv_bias=True, output_bias=True, sinks=True, expert_bias=True, router_bias=True),
    "granite": Family(),
    "llama": Family(),
    "mistral": Family(),
    "mixtral": Family(),
    "opt": Family(whole=_opt),
    "phi3": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen2_moe": Family(qkv_bias=True),
    "qwen3": Family(head_norms=True),
    "qwen3_moe": Family(head_norms=True),
}

# Families whose config.json does not say that input and output embeddings are one: they are.
_TIED = ("gemma2", "gemma3_text")


# Quantized in the experts alone.
_EXPERTS_ONLY = ("mxfp4",)


def _counted(config: Mapping[str, Any], weights: str | None) -> ModelSize:
    """The numbers of parameters, or none of them."""
    family = FAMILIES.get(config.get("model_type", ""))
    if family is None:
        return ModelSize()
    try:
        parameters = family.whole(config) if family.whole else _decoder(config, family)
        experts = _sparse_layers(config) * _routed(config) if _experts(config) else 0
        plain = parameters - experts if weights in _EXPERTS_ONLY else _embeddings(config)
    except KeyError:
        return ModelSize()  # a number is missing
    return ModelSize(parameters=parameters, expert_parameters=experts, plain_parameters=plain)


def _embeddings(config: Mapping[str, Any]) -> int:
    tied = config.get("tie_word_embeddings", config["model_type"] in _TIED)
    return int(config["vocab_size"] * config["hidden_size"] * (1 if tied else 2))


def _decoder(config: Mapping[str, Any], family: Family) -> int:
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    attention = _latent_attention(config) if config.get("kv_lora_rank") else _attention(config, family)
    sparse = _sparse_layers(config)
    dense = (layers - sparse) * 3 * hidden * config["intermediate_size"] if layers > sparse else 0
    experts = sparse * (_routed(config) + _beside_routed(config)) if sparse else 0
    return int(_embeddings(config) + layers * (attention + family.norms * hidden) + dense + experts + hidden)


def _attention(config: Mapping[str, Any], family: Family) -> int:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    width = config.get("head_dim") or hidden // heads
    total = 2 * hidden * heads * width + 2 * hidden * kv_heads * width
    if family.qkv_bias or config.get("attention_bias"):
        total += (heads + 2 * kv_heads) * width
    if family.output_bias:
        total += hidden
    if family.head_norms:
        total += 2 * width
    return int(total + (heads if family.sinks else 0))


def _latent_attention(config: Mapping[str, Any]) -> int:
    """Multi-head latent attention of DeepSeek: keys and values through a narrow layer."""
    hidden, heads, latent = config["hidden_size"], config["num_attention_heads"], config["kv_lora_rank"]
    plain, rotary, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
    rank = config.get("q_lora_rank")
    wide = heads * (plain + rotary)
    queries = hidden * rank + rank + rank * wide if rank else hidden * wide
    keys = hidden * (latent + rotary) + latent + latent * heads * (plain + value)
    return int(queries + keys + heads * value * hidden)


def _sparse_layers(config: Mapping[str, Any]) -> int:
    """Layers with routed experts."""
    if not _experts(config):
        return 0
    layers = range(config["num_hidden_layers"])
    first, step = config.get("first_k_dense_replace", 0), config.get("decoder_sparse_step", 1)
    dense = config.get("mlp_only_layers") or []
    return sum(layer >= first and (layer + 1) % step == 0 and layer not in dense for layer in layers)


def _experts(config: Mapping[str, Any]) -> int:
    return int(_first(config, "n_routed_experts", "num_local_experts", "num_experts") or 0)


def _expert_width(config: Mapping[str, Any]) -> int:
    return int(config.get("moe_intermediate_size") or config["intermediate_size"])


def _routed(config: Mapping[str, Any]) -> int:
    """Parameters of the routed experts of one layer."""
    hidden, width = config["hidden_size"], _expert_width(config)
    biases = 2 * width + hidden if FAMILIES[config["model_type"]].expert_bias else 0
    return int(_experts(config) * (3 * hidden * width + biases))


def _beside_routed(config: Mapping[str, Any]) -> int:
    """Router and shared experts of one layer."""
    hidden, experts = config["hidden_size"], _experts(config)
    router = hidden * experts + (experts if FAMILIES[config["model_type"]].router_bias else 0)
    shared = 3 * hidden * (config.get("n_shared_experts") or 0) * _expert_width(config)
    if config.get("shared_expert_intermediate_size"):
        shared += 3 * hidden * config["shared_expert_intermediate_size"] + hidden
    return int(router + shared)


def _sliding_layers(config: Mapping[str, Any], layers: int | None) -> int:
    """Layers that keep a window only: as listed, every n-th one but the last of each n, or all."""
    kinds = config.get("layer_types")
    if kinds:
        return sum(kind == "sliding_attention" for kind in kinds)
    pattern = config.get("sliding_window_pattern") or (2 if config.get("model_type") == "gemma2" else None)
    if layers is None:
        return 0
    return layers - layers // pattern if pattern else layers


def _weights(config: Mapping[str, Any], text: Mapping[str, Any]) -> str | None:
    """Number format of the stored weights: that of the quantization, else of the plain numbers."""
    quantized = config.get("quantization_config") or text.get("quantization_config")
    if quantized:
        found = _NUMBERS.get(_number(quantized)) or quantized.get("quant_method")
    else:
        found = _first(text, "torch_dtype", "dtype") or _first(config, "torch_dtype", "dtype")
    return None if found is None else str(found)


# (type, bits) of quantized numbers -> their format
_NUMBERS: Mapping[tuple[str, int | None], str] = {
    ("int", 4): "int4",
    ("int", 8): "int8",
    ("float", 4): "fp4",
    ("float", 8): "fp8",
}


def _number(quantized: Mapping[str, Any]) -> tuple[str, int | None]:
    """Type and bits as awq, gptq and compressed-tensors write them; others say it by their method."""
    groups = [group.get("weights") or {} for group in (quantized.get("config_groups") or {}).values()]
    first = next((group for group in groups if group.get("num_bits")), {})
    return first.get("type", "int"), first.get("num_bits") or quantized.get("bits")


def _first(config: Mapping[str, Any], *names: str) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), None)
