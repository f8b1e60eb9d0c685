"""Words and numbers of the reports."""

from __future__ import annotations

import pytest

from inference_platform.report import wording


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.04, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (59.4, "59 s"), (245.2, "4 min 05 s")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(("quantity", "text"), [("8", "8"), ("7910m", "7.9"), ("2000m", "2"), ("", "")])
def test_cpu_is_in_cores(quantity: str, text: str) -> None:
    assert wording.cpu(quantity) == text


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        ("32Gi", "32 GiB"),
        ("31893712Ki", "30 GiB"),
        ("65536Mi", "64 GiB"),
        ("34359738368", "32 GiB"),
        ("1.5Ti", "1.5Ti"),
        ("", ""),
    ],
)
def test_memory_is_in_whole_gib(quantity: str, text: str) -> None:
    assert wording.memory(quantity) == text


@pytest.mark.parametrize(
    ("timestamp", "text"), [("2026-03-14T09:26:53Z", "2026-03-14 09:26 UTC"), ("yesterday", "yesterday")]
)
def test_moments_are_in_minutes(timestamp: str, text: str) -> None:
    assert wording.moment(timestamp) == text


@pytest.mark.parametrize(
    ("count", "product", "text"), [(0, "NVIDIA-L4", ""), (2, "NVIDIA-L4", "2 \u00d7 NVIDIA-L4"), (1, "", "1 GPU")]
)
def test_gpus_are_named_by_product_where_known(count: int, product: str, text: str) -> None:
    assert wording.gpu_amount(count, product) == text
