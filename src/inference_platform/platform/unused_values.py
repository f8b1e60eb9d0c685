"""Values of an inventory for releases that its plan does not install: they are without effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inference_platform.catalog.load import Catalog
from inference_platform.findings import Finding, InventoryError, show
from inference_platform.platform.plan import Layer, Plan
from inference_platform.platform.resolve import AUTO, DELEGATED, MANAGED, NO_ENGINE, resolve, setting
from inference_platform.problems import Reporter
from inference_platform.schema import or_list

WITHOUT_EFFECT = "IP-PLT-034"


def check(
    settings: Mapping[str, Any], given: Mapping[str, Any], plan: Plan, catalog: Catalog, report: Reporter
) -> Iterator[Finding]:
    """A warning for each release with values in ``given`` (variables by name) that ``plan`` does not install.

    ``plan`` is that of ``settings``. It is only a warning, as several inventories may share a file. Nothing is said
    of a layer whose ownership is auto: preflight decides on it when it has seen the cluster.
    """
    ownership = setting(settings, "ownership") or {}
    layers = {layer.name: layer for layer in plan.layers}
    for name in (layer["name"] for layer in catalog.layers):
        values = given.get(f"{name}_values")
        if not isinstance(values, Mapping) or ownership.get(name) == AUTO:
            continue
        installed = _installed(plan, layers.get(name))
        for release in sorted(key for key, content in values.items() if content and key not in installed):
            place = (f"{name}_values", release)
            yield report.warning(
                WITHOUT_EFFECT,
                place,
                f"values for what is installed in the layer {name}: {or_list(installed) or 'nothing'}",
                f"{show(release)}; {_why(plan, layers.get(name))}",
                f"Remove {'.'.join(place)}: the values are without effect.{_how(settings, name, release, catalog)}",
            )


def _installed(plan: Plan, layer: Layer | None) -> list[str]:
    """Releases of a layer, and of its operator's Subscription the package, by which values of it go."""
    if layer is None:
        return []
    operator = [str(plan.operators[layer.operator]["package"])] if layer.operator else []
    return operator + [release.name for release in layer.releases]


def _why(plan: Plan, layer: Layer | None) -> str:
    """Why a release of the layer is not installed."""
    if layer is not None and layer.ownership == DELEGATED:
        return f"{'the cloud manager' if plan.engine_line else 'OpenShift'} installs the layer"
    if layer is not None and layer.ownership != MANAGED:
        return "somebody else has installed the layer"
    return f"release {plan.release} on {plan.provider} is without it"


def _how(settings: Mapping[str, Any], layer: str, release: str, catalog: Catalog) -> str:
    """The setting with which the release would be installed; empty where none does that alone."""
    ownership = {**(setting(settings, "ownership") or {}), layer: MANAGED}
    changes: dict[str, dict[str, Any]] = {
        f"ownership.{layer}: {MANAGED}": {"ownership": ownership},
        f"cloud_manager: {NO_ENGINE}": {"cloud_manager": NO_ENGINE},
    }
    for written, change in changes.items():
        try:
            other = resolve({**settings, **change}, catalog)
        except InventoryError:
            continue
        if any(release in _installed(other, entry) for entry in other.layers if entry.name == layer):
            return f" They would have one with {written}."
    return ""
