"""`vllm serve` as a command line: its flags, and what of them the simulation follows.

Flag names are those of vLLM 0.18. A flag that vLLM does not know ends the process as it does there, so a mistake in a
model's arguments is seen on the embedded cluster too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from embedded_cluster.model_server import shell
from embedded_cluster.model_server.kv_events import EventSettings

DEFAULT_PORT = 8000
DEFAULT_BLOCK_SIZE = 16
DEFAULT_SEQUENCES = 256
DEFAULT_CONTEXT = 32768
USAGE_EXIT = 2

#: Flags that are understood and change nothing here: with a value, and switches.
VALUES = (
    "--all2all-backend", "--allowed-origins", "--api-server-count", "--attention-backend", "--chat-template",
    "--compilation-config", "--config-format", "--cpu-offload-gb", "--data-parallel-address",
    "--data-parallel-backend", "--data-parallel-rank", "--data-parallel-rpc-port", "--data-parallel-size",
    "--data-parallel-size-local", "--data-parallel-start-rank", "--distributed-executor-backend", "--download-dir",
    "--dtype", "--expert-placement-strategy", "--generation-config", "--gpu-memory-utilization", "--hf-overrides",
    "--host", "--kv-cache-dtype", "--kv-transfer-config", "--limit-mm-per-prompt",
    "--load-format", "--long-prefill-token-threshold", "--max-cpu-loras", "--max-lora-rank",
    "--max-num-batched-tokens", "--max-num-partial-prefills", "--mm-processor-kwargs", "--model-impl", "--nnodes",
    "--node-rank", "--master-addr", "--master-port", "--override-generation-config", "--pipeline-parallel-size",
    "--prefix-caching-hash-algo", "--quantization", "--reasoning-parser", "--revision", "--root-path", "--runner",
    "--scheduling-policy", "--seed", "--speculative-config", "--ssl-ca-certs", "--ssl-cert-reqs", "--swap-space",
    "--task", "--tensor-parallel-size", "--tokenizer", "--tokenizer-mode", "--tool-call-parser", "--tool-parser-plugin",
    "--uvicorn-log-level", "--eplb-config", "--api-key",
)  # fmt: skip
SWITCHES = (
    "--async-scheduling", "--disable-access-log-for-endpoints", "--disable-custom-all-reduce",
    "--disable-frontend-multiprocessing", "--disable-log-requests", "--disable-log-stats",
    "--disable-uvicorn-access-log", "--enable-auto-tool-choice", "--enable-chunked-prefill", "--enable-dbo",
    "--enable-eplb", "--enable-expert-parallel", "--enable-force-include-usage", "--enable-log-requests",
    "--enable-prompt-tokens-details", "--enable-server-load-tracking", "--enable-sleep-mode", "--enable-ssl-refresh",
    "--enforce-eager", "--no-enable-chunked-prefill", "--no-enable-log-requests", "--trust-remote-code",
    "--data-parallel-hybrid-lb", "--data-parallel-external-lb", "--language-model-only",
)  # fmt: skip


class UsageError(Exception):
    """The process would end at once; the text is what it would print."""


@dataclass(frozen=True)
class ServerSettings:
    """What a pod's command line asks of its server."""

    model: str
    served_names: tuple[str, ...]
    port: int = DEFAULT_PORT
    certificate: str = ""
    key: str = ""
    headless: bool = False
    block_size: int = DEFAULT_BLOCK_SIZE
    blocks: int | None = None
    max_sequences: int = DEFAULT_SEQUENCES
    max_context: int = DEFAULT_CONTEXT
    prefix_caching: bool = True
    loras: Mapping[str, str] = field(default_factory=dict)  # name to path
    max_loras: int = 1
    hash_seed: str = ""  # PYTHONHASHSEED: servers with the same one give the same blocks the same hashes
    events: EventSettings = field(default_factory=EventSettings)

    def inside(self, root: str) -> ServerSettings:
        """The same with model paths as the container sees them; `root` stands for its file system."""
        loras = {name: path.removeprefix(root) for name, path in self.loras.items()}
        return replace(self, model=self.model.removeprefix(root), loras=loras)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"vllm serve: error: {message}")


def parse(command: Sequence[str], args: Sequence[str], env: Mapping[str, str]) -> ServerSettings:
    """Settings of a container whose command ends in `vllm serve`; raises UsageError."""
    try:
        argv = shell.words(command, args, env)
    except shell.ShellError as error:
        raise UsageError(str(error)) from None
    if [argv[0].rpartition("/")[2], *argv[1:2]] != ["vllm", "serve"]:
        raise UsageError(f"expected `vllm serve`, found `{' '.join(argv[:2])}`")
    settings = _settings(_parser().parse_args([_dashes(word) for word in argv[2:]]))
    return replace(settings, hash_seed=env.get("PYTHONHASHSEED", ""))


def _dashes(word: str) -> str:
    """vLLM takes flags with underscores as well."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else word


def _parser() -> _Parser:
    parser = _Parser(prog="vllm serve", add_help=False, allow_abbrev=False)
    parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--model")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--ssl-certfile", default="")
    parser.add_argument("--ssl-keyfile", default="")
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--block-size", type=int, default=DEFAULT_BLOCK_SIZE)
    parser.add_argument("--num-gpu-blocks-override", type=int)
    parser.add_argument("--max-num-seqs", type=int, default=DEFAULT_SEQUENCES)
    parser.add_argument("--max-model-len", default=str(DEFAULT_CONTEXT))
    parser.add_argument("--enable-prefix-caching", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--enable-lora", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--lora-modules", nargs="+", default=[])
    parser.add_argument("--max-loras", type=int, default=1)
    parser.add_argument("--kv-events-config", default="{}")
    for flag in VALUES:
        parser.add_argument(flag)
    for flag in SWITCHES:
        parser.add_argument(flag, action="store_true")
    return parser


def _settings(parsed: argparse.Namespace) -> ServerSettings:
    model = parsed.model or parsed.model_tag
    if not model:
        raise UsageError("vllm serve: error: the following arguments are required: model_tag")
    if parsed.lora_modules and not parsed.enable_lora:
        raise UsageError("vllm serve: error: --lora-modules needs --enable-lora")
    if bool(parsed.ssl_certfile) != bool(parsed.ssl_keyfile):
        raise UsageError("vllm serve: error: --ssl-certfile and --ssl-keyfile must be given together")
    for flag in ("kv_events_config", "kv_transfer_config"):
        _check_json(f"--{flag.replace('_', '-')}", getattr(parsed, flag))
    return ServerSettings(
        model=model,
        served_names=tuple(parsed.served_model_name or [model]),
        port=parsed.port,
        certificate=parsed.ssl_certfile,
        key=parsed.ssl_keyfile,
        headless=parsed.headless,
        block_size=parsed.block_size,
        blocks=parsed.num_gpu_blocks_override,
        max_sequences=parsed.max_num_seqs,
        max_context=_length(parsed.max_model_len),
        prefix_caching=parsed.enable_prefix_caching,
        loras=dict(_lora(item) for item in parsed.lora_modules),
        max_loras=parsed.max_loras,
        events=_events(parsed.kv_events_config),
    )


def _events(text: str) -> EventSettings:
    try:
        return EventSettings.of(text)
    except ValueError as error:
        raise UsageError(f"vllm serve: error: argument --kv-events-config: {error}") from None


def _check_json(flag: str, value: str | None) -> None:
    try:
        if value is not None:
            json.loads(value)
    except ValueError:
        text = f"vllm serve: error: argument {flag}: Value {value} cannot be converted to <function loads>"
        raise UsageError(f"{text} (expected JSON; a shell takes its quotes away unless it is quoted)") from None


def _length(text: str) -> int:
    """A context length such as 8192, 32k or auto."""
    if text in ("auto", "-1"):
        return DEFAULT_CONTEXT
    factors = {"k": 1000, "m": 1000**2, "K": 1024, "M": 1024**2}
    factor = factors.get(text[-1:], 1)
    try:
        return int(float(text[:-1] if text[-1:] in factors else text) * factor)
    except ValueError:
        raise UsageError(f"vllm serve: error: argument --max-model-len: invalid value: {text!r}") from None


def _lora(text: str) -> tuple[str, str]:
    """A module as name=path or as a JSON object."""
    if text.startswith("{"):
        _check_json("--lora-modules", text)
        module = json.loads(text)
        return module["name"], module["path"]
    name, equals, path = text.partition("=")
    if not equals:
        raise UsageError(f"vllm serve: error: argument --lora-modules: expected name=path or JSON, found {text!r}")
    return name, path
