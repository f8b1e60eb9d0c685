"""Command line and environment of the model server.

Named settings carry the flag or variable they stand for in the schema (``x-flag``,
``x-env``); what follows from topology, KV transfer and adapters is added here.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from inference_platform.models.scheduler import Wiring
from inference_platform.models.topology import DECODE, PREFILL, Workload
from inference_platform.schema import inlined_schema

ADAPTERS_FOLDER = "/mnt/adapters"
EXTRA_ARGS = "VLLM_ADDITIONAL_ARGS"
NO_CONNECTOR = "none"

_DEFAULT_CONNECTOR = "NixlConnector"
_DEFAULT_KV_ROLE = "kv_both"
_POD_IP = {"field": "status.podIP"}
_REFERENCE = re.compile(r"\$\([A-Za-z_][A-Za-z0-9_]*\)")


@cache
def flags() -> dict[str, str]:
    """The flag of each named setting of vLLM, in the order of the schema."""
    return _annotated("x-flag")


@cache
def variables() -> dict[str, str]:
    """The environment variable of each named setting of vLLM that has one."""
    return _annotated("x-env")


def arguments(workload: Workload, model: Mapping[str, Any], wiring: Wiring, serving: Mapping[str, Any]) -> list[str]:
    """The arguments of the server container as they are written into its pod.

    Where the preset evaluates arguments in a shell, each is quoted, so that vLLM sees
    what was written; with a command of one's own there is no preset in between.
    """
    own = workload.settings.get("args", [])
    words = [*derived_arguments(workload, model, serving, wiring.vllm_args), *wiring.vllm_args, *own]
    through_shell = serving["args_pass_through_shell"] and "command" not in workload.settings
    return [shlex.quote(word) for word in words] if through_shell else words


def derived_arguments(
    workload: Workload, model: Mapping[str, Any], serving: Mapping[str, Any], given: Sequence[str] = ()
) -> list[str]:
    """The arguments that follow from the settings, without the free ones and without flags that are ``given``.

    Presets for one node leave parallelism out (models.md 2.4), so it is given here; those
    for several nodes give it themselves.
    """
    words: list[str] = []
    if not workload.multi_node:
        if workload.tensor > 1:
            words += ["--tensor-parallel-size", str(workload.tensor)]
        if workload.data_local > 1:
            words += ["--data-parallel-size", str(workload.data_local)]
        if workload.settings.get("parallelism", {}).get("expert"):
            words.append("--enable-expert-parallel")
    settings = workload.settings.get("vllm", {})
    for name, flag in flags().items():
        if name in settings and flag not in given:
            words += _words(flag, settings[name])
    transfer = kv_transfer(workload, model)
    if transfer is not None:
        words += ["--kv-transfer-config", compact_json(transfer)]
    if serving["lora"] == "arguments":
        words += _adapter_arguments(model.get("lora"))
    return words


def environment(workload: Workload, model: Mapping[str, Any], wiring: Wiring) -> list[dict[str, Any]]:
    """The environment of the server container, by name.

    Kubernetes replaces ``$(NAME)`` by variables further up only, so those that refer to
    others come last.
    """
    wanted = {**dict(_derived_environment(workload, model)), **workload.settings.get("env", {})}
    given = [variable for variable in wiring.vllm_env if variable["name"] not in wanted]
    all_of_them = [*given, *(_variable(name, value) for name, value in wanted.items())]
    return sorted(all_of_them, key=lambda variable: (_refers(variable), variable["name"]))


def kv_transfer(workload: Workload, model: Mapping[str, Any]) -> dict[str, Any] | None:
    """The KV transfer configuration of vLLM: given, or needed because prefill and decode are apart."""
    given = model.get("kv_transfer")
    if given is None and workload.role not in (DECODE, PREFILL):
        return None
    settings = given or {}
    connector = settings.get("connector", _DEFAULT_CONNECTOR)
    if connector == NO_CONNECTOR:
        return None
    config = {"kv_connector": connector, "kv_role": settings.get("role", _DEFAULT_KV_ROLE)}
    return {**config, "kv_connector_extra_config": settings["config"]} if "config" in settings else config


def adapter_volumes(model: Mapping[str, Any], serving: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Volumes and their mounts for the adapters that lie on claims."""
    claims: dict[str, str] = {}
    mounts = []
    if serving["lora"] != "arguments":
        return [], []
    for adapter in _adapters(model):
        if adapter["uri"].startswith("pvc://"):
            claim, _, path = adapter["uri"].removeprefix("pvc://").partition("/")
            volume = claims.setdefault(claim, f"adapters-{len(claims)}")
            mount = {"name": volume, "mountPath": adapter_path(adapter), "readOnly": True}
            mounts.append({**mount, "subPath": path} if path else mount)
    volumes = [
        {"name": volume, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        for claim, volume in claims.items()
    ]
    return volumes, mounts


def adapter_path(adapter: Mapping[str, Any]) -> str:
    """What vLLM loads an adapter from: a repository of the model hub, or the folder it is mounted at."""
    scheme, _, rest = adapter["uri"].partition("://")
    return rest if scheme == "hf" else f"{ADAPTERS_FOLDER}/{adapter['name']}"


def shell_words(text: str) -> list[str] | None:
    """The words a shell makes of ``text``; None when a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError:
        return None


def compact_json(value: Any) -> str:
    """JSON on one line without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _annotated(annotation: str) -> dict[str, str]:
    rules = inlined_schema("model")["properties"]["vllm"]["properties"]
    return {name: rule[annotation] for name, rule in rules.items() if annotation in rule}


def _words(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    if isinstance(value, Mapping):
        return [flag, compact_json(value)]
    return [flag, str(value)]


def _adapter_arguments(lora: Mapping[str, Any] | None) -> Iterator[str]:
    if lora is None:
        return
    adapters = lora["adapters"]
    yield "--enable-lora"
    yield "--lora-modules"
    yield from (f"{adapter['name']}={adapter_path(adapter)}" for adapter in adapters)
    yield from ("--max-loras", str(lora.get("max_adapters", len(adapters))))
    if "max_rank" in lora:
        yield from ("--max-lora-rank", str(lora["max_rank"]))
    if "max_cpu_adapters" in lora:
        yield from ("--max-cpu-loras", str(lora["max_cpu_adapters"]))


def _derived_environment(workload: Workload, model: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    settings = workload.settings
    named = settings.get("vllm", {})
    for name, variable in variables().items():
        if name in named:
            yield variable, str(named[name])
    if model.get("offline"):
        yield from (("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1"))
    rdma = settings.get("rdma", {})
    if "roce" in rdma:
        yield "KSERVE_INFER_ROCE", "true" if rdma["roce"] else "false"
    if "ucx_tls" in rdma:
        yield "UCX_TLS", rdma["ucx_tls"]
    if "credentials_secret" in model and any(adapter["uri"].startswith("hf://") for adapter in _adapters(model)):
        yield "HF_TOKEN", {"secret": model["credentials_secret"], "key": "HF_TOKEN"}
    if kv_transfer(workload, model) is not None:
        yield "VLLM_NIXL_SIDE_CHANNEL_HOST", _POD_IP


def _adapters(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(model.get("lora", {}).get("adapters", []))


def _refers(variable: Mapping[str, Any]) -> bool:
    return _REFERENCE.search(variable.get("value", "")) is not None


def _variable(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"name": name, "value": value}
    if "field" in value:
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": value["field"]}}}
    source, kind = ("secretKeyRef", "secret") if "secret" in value else ("configMapKeyRef", "config_map")
    return {"name": name, "valueFrom": {source: {"name": value[kind], "key": value["key"]}}}
