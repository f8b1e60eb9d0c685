"""What roles apply directly and what models become is accepted unchanged by the real CRDs of the reference release.

(Objects of charts: tests/rendered/test_custom_resources.py. CEL rules: only a real API server can judge them,
tests/api.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.models import render
from tests.support.crd_schema import REPOSITORY, UPSTREAM_VARIABLE, CrdIndex, upstream_crds, upstream_files

CUSTOM_KINDS_OF_ROLES = {"CertManager"}
FULL_MODEL = {
    "name": "everything",
    "namespace": "models",
    "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
    "served_name": "Qwen/Qwen2.5",
    "replicas": 3,
    "gpu": {"product": "NVIDIA-L4", "count": 4},
    "resources": {"cpu": 4, "memory": "32Gi"},
    "args": ["--max-model-len=8192"],
    "env": {"A": "1"},
}


@pytest.fixture(scope="module")
def real_crds() -> CrdIndex:
    folder = upstream_crds()
    if folder is None:
        pytest.skip(f"no real CRDs to check against: expected in ../shared/upstream/crds or ${UPSTREAM_VARIABLE}")
    return CrdIndex.from_files(upstream_files(folder).values())


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Complete Kubernetes objects anywhere in variables."""
    if isinstance(value, dict):
        if {"apiVersion", "kind", "metadata"} <= value.keys():
            yield value
        for item in value.values():
            yield from objects_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects_in(item)


def role_objects() -> list[dict[str, Any]]:
    files = sorted((REPOSITORY / "roles").glob("*/vars/*.yml"))
    return [obj for file in files for obj in objects_in(yaml.safe_load(file.read_text(encoding="utf-8")))]


def sample_models() -> list[Path]:
    return sorted((REPOSITORY / "inventories").glob("*/group_vars/all/30-models.yml"))


def test_objects_that_roles_apply(real_crds: CrdIndex) -> None:
    custom = [obj for obj in role_objects() if "." in obj["apiVersion"].partition("/")[0]]
    assert {obj["kind"] for obj in custom} >= CUSTOM_KINDS_OF_ROLES
    assert [str(violation) for obj in custom for violation in real_crds.violations(obj)] == []


@pytest.mark.parametrize("path", sample_models(), ids=lambda p: p.parents[2].name)
def test_models_of_the_sample_inventories(real_crds: CrdIndex, aws: dict[str, Any], path: Path) -> None:
    variables = yaml.safe_load(path.read_text(encoding="utf-8"))
    result = render(variables["models"], variables.get("model_defaults"), aws)
    assert [finding for finding in result.findings if finding.severity == "error"] == []
    check_models(real_crds, result.objects)


@pytest.mark.parametrize("provider", ["aws", "azure", "coreweave"])
def test_a_model_that_uses_every_key(real_crds: CrdIndex, plan_for: Any, provider: str) -> None:
    result = render([FULL_MODEL], {}, plan_for(provider).to_dict())
    assert result.ok
    check_models(real_crds, result.objects)


def test_the_full_model_uses_every_key_there_is() -> None:
    schema = json.loads((REPOSITORY / "schemas" / "model.schema.json").read_text(encoding="utf-8"))
    assert FULL_MODEL.keys() == schema["properties"].keys()


def check_models(crds: CrdIndex, objects: list[dict[str, Any]]) -> None:
    services = [obj for obj in objects if obj["kind"] == "LLMInferenceService"]
    assert services
    assert [str(violation) for obj in services for violation in crds.violations(obj)] == []


def test_a_misspelt_field_of_a_model_would_be_seen(real_crds: CrdIndex, aws: dict[str, Any]) -> None:
    service = render([FULL_MODEL], {}, aws).objects[-1]
    service["spec"]["replica"] = service["spec"].pop("replicas")
    assert [v.path for v in real_crds.violations(service)] == ["spec"]
