"""What several tests of models share: the real CRDs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.support.crd_schema import UPSTREAM_VARIABLE, CrdIndex, upstream_crds, upstream_files

GROUPS = ("serving.kserve.io", "gateway.networking.k8s.io", "inference.networking")


@pytest.fixture(scope="session")
def published_crds() -> CrdIndex:
    """The real CRDs of the kinds that models become."""
    folder = upstream_crds()
    if folder is None:
        pytest.skip(f"no real CRDs to check against: expected in ../shared/upstream/crds or ${UPSTREAM_VARIABLE}")
    files = upstream_files(folder)
    return CrdIndex.from_files(path for name, path in files.items() if any(group in name for group in GROUPS))


@pytest.fixture
def refusals(published_crds: CrdIndex) -> Callable[[Iterable[dict[str, Any]]], list[str]]:
    """What the API server would object to in objects of known kinds."""

    def of(objects: Iterable[dict[str, Any]]) -> list[str]:
        known = [obj for obj in objects if published_crds.knows(obj)]
        return [str(violation) for obj in known for violation in published_crds.violations(obj)]

    return of
