"""Fixtures of the rendered-object tests: helm, and each case's objects."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.rendered.charts import Case, Helm, all_cases


def _find_helm() -> str | None:
    configured = os.environ.get("INFERENCE_PLATFORM_HELM")
    if configured:
        return configured
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = cache / "inference-platform" / "tools" / "current" / "bin" / "helm"
    return shutil.which("helm") or (str(built) if built.is_file() else None)


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Helm from $INFERENCE_PLATFORM_HELM, PATH, or the tools of the embedded cluster."""
    program = _find_helm()
    if program is None:
        pytest.fail(
            "expected helm v3 to render the charts, found none; set INFERENCE_PLATFORM_HELM, put helm on PATH, "
            "or build it with `make tools`",
            pytrace=False,
        )
    return Helm(program)


@pytest.fixture(params=all_cases(), ids=str)
def any_case(request: pytest.FixtureRequest) -> Case:
    """Every case in turn."""
    chosen: Case = request.param
    return chosen


@pytest.fixture
def objects(helm: Helm, any_case: Case) -> list[dict[str, Any]]:
    """The rendered objects of every case in turn."""
    return helm.objects(any_case)
