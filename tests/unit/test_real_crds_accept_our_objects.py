"""What roles apply directly and the sample inventories' models are accepted unchanged by the real CRDs.

(Objects of charts: tests/rendered/test_custom_resources.py; the model language and gates: test_published_crds.py.
CEL rules: only a real API server can judge them, tests/api.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.models import render
from tests.support.crd_schema import REPOSITORY, UPSTREAM_VARIABLE, CrdIndex, upstream_crds, upstream_files

CUSTOM_KINDS_OF_ROLES = {"CertManager"}


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
    files = sorted((REPOSITORY / "inventories").glob("*/group_vars/all/30-models.yml"))
    return [path for path in files if yaml.safe_load(path.read_text(encoding="utf-8"))["models"]]


def test_objects_that_roles_apply(real_crds: CrdIndex) -> None:
    custom = [obj for obj in role_objects() if "." in obj["apiVersion"].partition("/")[0]]
    assert {obj["kind"] for obj in custom} >= CUSTOM_KINDS_OF_ROLES
    assert [str(violation) for obj in custom for violation in real_crds.violations(obj)] == []


@pytest.mark.parametrize("path", sample_models(), ids=lambda p: p.parents[2].name)
def test_models_of_the_sample_inventories(real_crds: CrdIndex, aws: dict[str, Any], path: Path) -> None:
    variables = yaml.safe_load(path.read_text(encoding="utf-8"))
    result = render(variables["models"], variables.get("model_defaults"), aws)
    assert [finding for finding in result.findings if finding.severity == "error"] == []
    services = [obj for obj in result.objects if obj["kind"] == "LLMInferenceService"]
    assert services
    assert [str(violation) for obj in services for violation in real_crds.violations(obj)] == []
