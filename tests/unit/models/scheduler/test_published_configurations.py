"""Configurations in the published samples of the upstream projects, as the rules see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from inference_platform.findings import ERROR
from inference_platform.models.scheduler import check_config
from inference_platform.paths import ROOT

SAMPLES = ROOT.parent / "shared" / "upstream" / "samples"

# File below the samples, and the mistakes that the scheduler of release 3.4 would make of it.
EXPECTED: dict[str, list[str]] = {
    "gateway-api-inference-extension-v1.3.1/conformance--resources--base.yaml": [],
    "gateway-api-inference-extension-v1.3.1/test--testdata--inferencepool-e2e.yaml": [],
    "gateway-api-inference-extension-v1.3.1/test--testdata--inferencepool-leader-election-e2e.yaml": [],
    "kserve-odh-v3.4/e2e-gpt-oss--llmisvc_config_prefix_cache.yaml": [],
    "kserve-odh-v3.4/precise-prefix-kv-cache-routing--"
    "llm-inference-service-opt-125m-cpu-kv-cache-routing-simulator.yaml": [],
    # The profile names a plugin that the sample does not declare: the scheduler would not start.
    "kserve-odh-v3.4/precise-prefix-kv-cache-routing--llm-inference-service-qwen2-7b-gpu-kv-cache-routing.yaml": [
        "IP-SCH-028"
    ],
    # Written for the API group and the plugins of a later scheduler.
    "kserve-v0.20.0/latency-predictor--llm-inference-service-latency-predictor.yaml": ["IP-SCH-020", "IP-SCH-021"],
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_published_configuration_is_judged_as_the_scheduler_would(name: str) -> None:
    if not (SAMPLES / name).is_file():
        pytest.skip("the upstream samples are not here: they are expected in ../shared/upstream/samples")
    documents = yaml.safe_load_all((SAMPLES / name).read_text(encoding="utf-8"))
    configs = [config for document in documents for config in _configurations(document)]
    assert configs
    found = {m.code for config in configs for m in check_config(config, "llm-d-0.7.1") if m.severity == ERROR}
    assert sorted(found) == EXPECTED[name]


def _configurations(value: Any) -> Iterator[dict[str, Any]]:
    """Every EndpointPickerConfig in a document, also inside texts of ConfigMaps."""
    if isinstance(value, str) and "kind: EndpointPickerConfig" in value:
        yield from _configurations(yaml.safe_load(value))
    elif isinstance(value, dict):
        if value.get("kind") == "EndpointPickerConfig":
            yield value
        for item in value.values():
            yield from _configurations(item)
    elif isinstance(value, list):
        for item in value:
            yield from _configurations(item)
