"""GPUs and instance types of the catalogue."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.catalog import CatalogError, load
from inference_platform.catalog.instance_types import load_hardware
from inference_platform.paths import CATALOG

DATA = yaml.safe_load((CATALOG / "instance_types.yml").read_text(encoding="utf-8"))


def test_every_provider_with_machines_of_its_own_has_some():
    of_a_cloud = {name for name, provider in load().providers.items() if "engine" in provider}
    assert {*of_a_cloud, "gcp"} == set(load_hardware().instance_types)


def test_every_entry_tells_its_source_and_none_claims_to_be_confirmed():
    hardware = load_hardware()
    entries = [*hardware.gpus.values(), *(item for types in hardware.instance_types.values() for item in types)]
    assert {item.source for item in entries} == {"driver", "vendor"}


def test_the_types_that_the_platform_names_are_marked():
    listed = {item.name for types in load_hardware().instance_types.values() for item in types if item.listed}
    assert listed == {
        "Standard_NC24ads_A100_v4",
        "Standard_ND96asr_v4",
        "Standard_ND96amsr_A100_v4",
        "Standard_ND96isr_H100_v5",
        "Standard_ND96isr_H200_v5",
        "b200-8x",
        "gd-8xa100-i128",
        "gd-8xh100ib-i128",
        "gd-8xh200ib-i128",
    }


@pytest.mark.parametrize(
    ("product", "fp8", "bfloat16"),
    [
        ("Tesla-T4", False, False),
        ("NVIDIA-A10G", False, True),
        ("NVIDIA-A100-SXM4-80GB", False, True),
        ("NVIDIA-L4", True, True),
        ("NVIDIA-H100-80GB-HBM3", True, True),
        ("NVIDIA-B200", True, True),
    ],
)
def test_number_formats_follow_from_the_compute_capability(product, fp8, bfloat16):
    gpu = load_hardware().gpus[product]
    assert (gpu.computes_fp8, gpu.computes_bfloat16) == (fp8, bfloat16)


def test_machines_of_a_provider_are_listed_from_small_to_large():
    for types in load_hardware().instance_types.values():
        sizes = [(item.gpus, item.vcpu, item.memory_gib, item.name) for item in types]
        assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["gpus"]["NVIDIA-L4"].update(memory_mib="23034"), "gpus.NVIDIA-L4.memory_mib"),
        (lambda data: data["gpus"]["NVIDIA-L4"].pop("source"), "gpus.NVIDIA-L4.source"),
        (lambda data: data["instance_types"]["aws"][0].update(color="red"), "instance_types.aws.0.color"),
        (lambda data: data["instance_types"]["aws"][0].update(product="L40"), "g5.xlarge: L40 is none of gpus"),
        (lambda data: data["instance_types"]["aws"][1].update(name="g5.xlarge"), "g5.xlarge is listed twice"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, change: Callable[[Any], None], message: str):
    data = copy.deepcopy(DATA)
    change(data)
    (tmp_path / "instance_types.yml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    with pytest.raises(CatalogError, match=message):
        load_hardware(tmp_path)
