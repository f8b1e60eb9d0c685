"""Shared by the unit tests: a catalogue to change, and plans."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from inference_platform.catalog import Catalog, load
from inference_platform.platform import Plan, resolve


@pytest.fixture
def catalog() -> Catalog:
    """A copy of the catalogue that a test may change."""
    return Catalog(**copy.deepcopy(asdict(load())))


@pytest.fixture(scope="session")
def plan_for() -> Callable[..., Plan]:
    """The plan of release 3.4 for a provider and further settings."""

    def make(provider: str, **settings: Any) -> Plan:
        return resolve({"platform_release": "3.4", "provider": provider, **settings})

    return make


@pytest.fixture(scope="session")
def aws(plan_for: Callable[..., Plan]) -> dict[str, Any]:
    """The plan for aws as plain data."""
    return plan_for("aws").to_dict()
