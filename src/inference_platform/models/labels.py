"""Labels of the objects that this installer makes for models."""

from __future__ import annotations

MANAGED_BY = {
    "app.kubernetes.io/managed-by": "inference-platform",
    "app.kubernetes.io/part-of": "inference-platform",
}
LAYER = {"inference-platform.io/layer": "models"}

MODEL = "inference-platform.io/model"
GROUP = "inference-platform.io/traffic-group"
ROUTE = "inference-platform.io/route"


def managed(labels: dict[str, str]) -> dict[str, str]:
    """``labels`` with those that every object for models carries, sorted."""
    return dict(sorted({**labels, **MANAGED_BY, **LAYER}.items()))


def of_model(name: str, own: dict[str, str] | None = None) -> dict[str, str]:
    """Labels of an object of one model; ``own`` are those the user wants beside."""
    return managed({**(own or {}), MODEL: name})
