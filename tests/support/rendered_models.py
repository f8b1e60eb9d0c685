"""Everything that the tests and the sample inventories say about models, as objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from inference_platform.findings import errors
from inference_platform.models import RenderResult, render
from inference_platform.models.scheduler.catalogue import load
from tests.support.playbook import REPOSITORY
from tests.unit.models.cases import MODEL_CASES, model
from tests.unit.models.test_rules import SHAPES
from tests.unit.models.test_traffic import CASES as TRAFFIC_CASES

Object = dict[str, Any]


def rendered_objects(platform: Object) -> list[Object]:
    """The objects of all samples, each once; a name may be in it with several contents."""
    found: list[Object] = []
    for result in rendered_samples(platform):
        found += [obj for obj in result.objects if obj not in found]
    return found


def rendered_samples(platform: Object) -> Iterator[RenderResult]:
    """What each sample becomes; none has an error."""
    for result in _results(platform):
        assert errors(result.findings) == []
        yield result


def _results(platform: Object) -> Iterator[RenderResult]:
    for path in sorted((REPOSITORY / "inventories").glob("*/group_vars/all/30-models.yml")):
        variables = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield render(variables["models"], variables.get("model_defaults"), platform)
    for changes in [*SHAPES, *_neighbours(), *_strategies()]:
        yield render([model(**changes)], {}, platform)
    for _, _, _, traffic in TRAFFIC_CASES:
        yield traffic.render(platform)
    far = {"backends": [{"model": "far", "namespace": "team-b"}]}
    own = {"name": "mine", "namespace": "team-a", "rules": [far]}
    yield render([model(name="far", namespace="team-b")], {}, platform, routes=[own])


def _neighbours() -> list[Object]:
    """What is right beside each mistake."""
    return [dict(case.good) for cases in MODEL_CASES.values() for case in cases if case.good]


def _strategies() -> Iterator[Object]:
    """Each strategy of the scheduler, with and without prefill pods, and everything else that it may be told."""
    adapters = {"adapters": [{"name": "sql", "uri": "pvc://adapters/sql"}]}
    for name, strategy in load().strategies.items():
        if not strategy.instead:
            yield {"scheduler": {"strategy": name}, "lora": adapters, "prefill": {}}
            if "prefill" not in strategy.needs:
                yield {"scheduler": {"strategy": name}, "lora": adapters}
    yield {
        "scheduler": {
            "replicas": 2,
            "pod_labels": {"team": "a"},
            "pod_annotations": {"note": "b"},
            "weights": {"queue-scorer": 1.5},
            "saturation": {"queue_depth": 3},
            "flow_control": {"bands": [{"priority": 100, "max_bytes": 1000}]},
            "objectives": "default",
            "model_rewrites": [{"models": ["public"], "targets": [{"model": "qwen", "weight": 1}]}],
        }
    }
