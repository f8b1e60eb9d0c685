"""GPUs and the machines of cloud providers: ``catalog/instance_types.yml``, read when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from inference_platform import schema
from inference_platform.catalog.load import CatalogError, Loader
from inference_platform.paths import CATALOG

_FILE = "instance_types.yml"
_MIB = 2**20

# Lowest compute capability with bfloat16, and with FP8 arithmetic; FP8 weights alone can be
# read from that of bfloat16 on (models.md 7.2).
_BFLOAT16 = (8, 0)
_FP8 = (8, 9)


@dataclass(frozen=True)
class Gpu:
    """A GPU product: memory of one in bytes, compute capability such as (8, 9), source of the figures."""

    product: str
    memory: int
    compute_capability: tuple[int, int]
    source: str

    @property
    def computes_fp8(self) -> bool:
        """Whether it multiplies FP8 numbers (Ada, Hopper and newer)."""
        return self.compute_capability >= _FP8

    @property
    def computes_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 numbers (Ampere and newer)."""
        return self.compute_capability >= _BFLOAT16


@dataclass(frozen=True)
class InstanceType:
    """A machine of a provider. ``memory_gib`` is the machine's; ``rdma`` is None if there is none, or not known."""

    provider: str
    name: str
    product: str
    gpus: int
    vcpu: int
    memory_gib: int
    source: str
    rdma: str | None = None
    listed: bool = False


@dataclass(frozen=True)
class Hardware:
    """GPUs by product, and instance types by provider in the order of the file."""

    gpus: Mapping[str, Gpu]
    instance_types: Mapping[str, tuple[InstanceType, ...]]


@cache
def load_hardware(folder: Path = CATALOG) -> Hardware:
    """The file in ``folder``, checked. Raises CatalogError naming each mistake."""
    data = yaml.load((folder / _FILE).read_text(encoding="utf-8"), Loader=Loader)
    wrong = schema.mistakes(data, schema.validator(schema.load_schema("instance_types")))
    found = [
        f"{'.'.join(map(str, mistake.path))}: expected {mistake.expected}, found {mistake.found}" for mistake in wrong
    ]
    if not found:
        found = list(_mistakes(data))
    if found:
        raise CatalogError(f"{_FILE} is wrong:\n" + "\n".join(f"  {line}" for line in found))
    gpus = {
        product: Gpu(product, entry["memory_mib"] * _MIB, _version(entry["compute_capability"]), entry["source"])
        for product, entry in data["gpus"].items()
    }
    types = {
        provider: tuple(InstanceType(provider, **entry) for entry in entries)
        for provider, entries in data["instance_types"].items()
    }
    return Hardware(gpus, types)


def _mistakes(data: Mapping[str, Mapping[str, list[Mapping[str, object]]]]) -> Iterator[str]:
    """What a schema cannot see: known GPUs, each name once."""
    for provider, entries in data["instance_types"].items():
        names = [entry["name"] for entry in entries]
        for number, entry in enumerate(entries):
            if entry["product"] not in data["gpus"]:
                yield f"instance_types.{provider}.{entry['name']}: {entry['product']} is none of gpus"
            if entry["name"] in names[:number]:
                yield f"instance_types.{provider}: {entry['name']} is listed twice"


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)
