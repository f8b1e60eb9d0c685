"""What the tests of the importer share."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.import_samples import plan


@pytest.fixture(scope="session")
def platform() -> dict[str, Any]:
    """The plan that objects are imported for."""
    return plan()


@pytest.fixture(scope="session")
def serving(platform: dict[str, Any]) -> dict[str, Any]:
    """How models are written for its release."""
    return dict(platform["serving"])
