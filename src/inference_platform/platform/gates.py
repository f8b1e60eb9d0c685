"""Gate checks of the catalogue made concrete: variants chosen, names filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from inference_platform.catalog.load import Catalog, CatalogError, holds

_TOKEN = re.compile(r"\$\(([a-z_.]+)\)")

Facts = Mapping[str, Any]


def resolve_gate(
    layer: str, catalog: Catalog, choices: Mapping[str, str], facts: Facts, crd_names: Mapping[str, list[str]]
) -> list[dict[str, Any]]:
    """The checks of ``layer``: groups whose ``when`` holds for ``choices``, in order.

    ``facts`` are the values of $(tokens), flat, keyed by dotted name; ``crd_names`` the
    CRDs of each set. Raises CatalogError for a layer without a gate and a token that is no fact.
    """
    if layer not in catalog.gates:
        raise CatalogError(f"gates.yml: expected a gate for the layer {layer}, found none: add its checks")
    checks: list[dict[str, Any]] = []
    for group in catalog.gates[layer]:
        if holds(group.get("when"), choices):
            for check in group["checks"]:
                checks += _repeat(check, facts, crd_names)
    return checks


def _repeat(check: Mapping[str, Any], facts: Facts, crd_names: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    body = {key: value for key, value in check.items() if key not in ("each", "sets")}
    if "sets" in check:
        names = [name for chosen in check["sets"] for name in crd_names[chosen]]
        body["names"] = sorted({*names, *check.get("names", [])})
    values = fill(check["each"], facts) if "each" in check else [None]
    return [_filled(body, {**facts, "each": value}) for value in values]


def _filled(body: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    patterns = {name: re.escape(value) for name, value in facts.items() if isinstance(value, str)}
    return {key: fill(value, patterns if key == "matches" else facts) for key, value in body.items()}


def fill(value: Any, facts: Facts) -> Any:
    """``value`` with every $(token) replaced. A text that is one token takes the fact's own type."""
    if isinstance(value, str):
        whole = _TOKEN.fullmatch(value)
        if whole:
            return _fact(whole[1], facts)
        return _TOKEN.sub(lambda match: str(_fact(match[1], facts)), value)
    if isinstance(value, Mapping):
        return {key: fill(item, facts) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, facts) for item in value]
    return value


def _fact(name: str, facts: Facts) -> Any:
    if name not in facts:
        raise CatalogError(f"the catalogue uses $({name}), which is no fact of the plan")
    return facts[name]
