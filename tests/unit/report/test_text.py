"""The terminal report."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest

from inference_platform.report import render_text, wants_colour
from inference_platform.report.observation import Observation
from tests.unit.report import example

GOLDEN = """
  Inference platform 3.4.4
  Ready. 1 model with 2 serving pods on 2 GPUs.
  release 3.4 (redhat on aws, cloud manager 3.5), inventory eks
  cluster inference-demo, Kubernetes v1.34.4, 2026-03-14 09:26 UTC

  Layers                                                        2/2 ready  0.9 s
  ✓ Namespaces and pull secrets  managed       0.4 s  █████████████▍   changed
  ✓ Gateway API                  managed       0.5 s  ███████████████  unchanged

  Deployments                     1/1 ready  1/1 namespaces  6/6 CRDs  1 Service
  ✓ istio-system  1/1  istiod

  Gateway
  ✓ redhat-ods-applications/inference-gateway  class istio  Programmed
    address  gateway.example
    http 80  1 route

  Models                                                               1/1 ready
  ✓ llm/qwen-basic  Ready  2/2 serving  2 × NVIDIA-L4
    url   http://gateway.example/llm/qwen-basic
    from  hf://Qwen/Qwen2.5-0.5B-Instruct
    ✓ serving  qwen-basic-kserve-a  node-1  1 GPU
    ✓ serving  qwen-basic-kserve-b  node-1  1 GPU

  Nodes                                                          2/4 GPUs in use
  ✓ node-1  g6.12xlarge  48 CPU  192 GiB  2/4 NVIDIA-L4 in use

  Not verified
    Nothing was asked of the model.

  Try next
    # Look
    kubectl get pods
"""


def small() -> Observation:
    """A platform of two layers and one node, enough to see every part of the report."""
    whole = example.observation()
    assert whole.gateway is not None
    layers = (
        replace(whole.layers[0], seconds=0.41),
        replace(whole.layers[1], seconds=0.46, changed=False),
    )
    (model,) = whole.models
    pods = tuple(
        replace(pod, name=f"qwen-basic-kserve-{letter}", node="node-1")
        for pod, letter in zip(model.pods[:2], "ab", strict=True)
    )
    node = replace(
        whole.nodes[0], name="node-1", instance_type="g6.12xlarge", cpu="48", memory="192Gi", gpus=4, gpus_used=2
    )
    return replace(
        whole,
        layers=layers,
        namespaces=whole.namespaces[:1],
        deployments=tuple(d for d in whole.deployments if d.name == "istiod"),
        services=whole.services[:1],
        crds=tuple(entry for entry in whole.crds if entry.name == "gateway-api"),
        gateway=replace(whole.gateway, address="gateway.example"),
        models=(replace(model, url="http://gateway.example/llm/qwen-basic", pods=pods),),
        nodes=(node,),
        total_seconds=0.87,
        models_seconds=None,
        unverified=("Nothing was asked of the model.",),
        commands=(replace(whole.commands[0], purpose="Look", command="kubectl get pods"),),
    )


def test_the_small_example_reads_like_this() -> None:
    # If the change is wanted: replace GOLDEN by what render_text(small(), width=80) returns.
    assert render_text(small(), width=80) == GOLDEN


@pytest.mark.parametrize("width", [40, 80, 100, 400])
def test_only_names_urls_and_commands_may_be_wider_than_asked(width: int) -> None:
    limit = min(max(width, 80), 100)
    text = render_text(example.observation(), width=width)
    allowed = ("kubectl", "curl", "http", "qwen-basic-kserve", "k8s-", "GPUs")
    wide = [line for line in text.splitlines() if len(line) > limit]
    assert all(any(part in line for part in allowed) for line in wide)


def test_lines_have_no_trailing_spaces() -> None:
    text = render_text(example.observation())
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_without_colour_there_is_no_escape_code() -> None:
    assert "\x1b" not in render_text(example.observation(), colour=False)


def test_colour_changes_nothing_but_colour() -> None:
    coloured = render_text(example.observation(), colour=True)
    stripped = "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).split("\n"))
    assert coloured != stripped
    assert stripped == render_text(example.observation())


def test_problems_come_before_everything_else() -> None:
    text = render_text(replace(example.observation(), problems=("Namespace x does not exist.",)))
    assert "Not ready: 1 problem." in text
    assert text.index("✗ Namespace x does not exist.") < text.index("Layers")


def test_a_model_that_waits_shows_its_conditions_and_reason() -> None:
    observation = example.observation()
    (model,) = observation.models
    condition = replace(model.conditions[0], status="False", reason="RefsInvalid", message="no gateway")
    waiting = replace(model, ready=False, url="", conditions=(condition, *model.conditions[1:]))
    text = render_text(replace(observation, models=(waiting,)))
    assert "✗ llm/qwen-basic  Not ready (RefsInvalid)" in text
    assert "Ready False RefsInvalid no gateway" in text
    assert "url   none yet" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "asked", "expected"),
    [
        pytest.param(Terminal(), {}, None, True, id="terminal"),
        pytest.param(io.StringIO(), {}, None, False, id="file"),
        pytest.param(Terminal(), {"NO_COLOR": "1"}, None, False, id="NO_COLOR"),
        pytest.param(Terminal(), {"NO_COLOR": ""}, None, True, id="empty NO_COLOR means nothing"),
        pytest.param(Terminal(), {"TERM": "dumb"}, None, False, id="dumb terminal"),
        pytest.param(io.StringIO(), {"NO_COLOR": "1"}, True, True, id="asked for wins"),
        pytest.param(Terminal(), {}, False, False, id="asked against wins"),
    ],
)
def test_colour_needs_a_terminal_or_a_wish(
    stream: Any, environment: dict[str, str], asked: bool | None, expected: bool
) -> None:
    assert wants_colour(stream, environment, asked) is expected


def test_of_many_models_those_that_wait_are_shown_and_the_rest_is_counted() -> None:
    (ready,) = example.observation().models
    models = tuple(replace(ready, name=f"m{number:03}", ready=number != 77) for number in range(100))
    text = render_text(replace(example.observation(), models=models))
    assert text.index("llm/m077") < text.index("llm/m000")
    assert "and 80 more models, which report.html shows" in text
    assert "llm/m050" not in text
