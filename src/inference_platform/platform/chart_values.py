"""Values of an inventory for the charts of this project, held against the schemas of the charts.

Helm holds them against the schemas too, but only when the layer of a chart is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import yaml

from inference_platform import schema
from inference_platform.findings import Finding, show
from inference_platform.paths import CHARTS
from inference_platform.problems import Reporter
from inference_platform.schema import KeyPath, SchemaMistake


def check(
    chart: str,
    content: Mapping[str, Any],
    place: KeyPath,
    told: Collection[KeyPath],
    where: Callable[[KeyPath], str],
) -> Iterator[Finding]:
    """A finding for each mistake in the values ``content`` for a chart of this project.

    ``place`` is the path of ``content``; ``told`` are paths in it that have a finding. ``where`` says file and line of
    a path. Values that the inventory leaves out are those of the chart; null takes one of the chart away, as in Helm.
    """
    rule = schema.load_schema("values", CHARTS / chart)
    for mistake in schema.mistakes(_merged(_defaults(chart), content), schema.validator(rule)):
        path = mistake.path
        if not _is_in(content, path) or any(path[: len(known)] == known for known in told):
            continue
        meaning = _meaning(rule, path)
        found = _finding(mistake, place, where)
        yield replace(
            found,
            expected=f"{found.expected} ({meaning})" if meaning else found.expected,
            remedy=_remedy(mistake, chart) or found.remedy,
        )


def check_part(
    chart: str, path: KeyPath, content: Any, place: KeyPath, where: Callable[[KeyPath], str]
) -> Iterator[Finding]:
    """A finding for each mistake in the setting ``content`` at ``place``, which becomes the value at ``path``."""
    rule = _rule(schema.load_schema("values", CHARTS / chart), path)
    for mistake in schema.mistakes(content, schema.validator(rule)):
        yield _finding(mistake, place, where)


def _finding(mistake: SchemaMistake, place: KeyPath, where: Callable[[KeyPath], str]) -> Finding:
    """The finding for a mistake whose path begins at ``place``."""
    path = (*place, *mistake.path)
    (found,) = Reporter(None).of_schema([replace(mistake, path=path)])
    return replace(found, where=where(path))


def _remedy(mistake: SchemaMistake, chart: str) -> str:
    """What to do about a mistake where the words for any schema do not tell; else empty."""
    name, values = mistake.path[-1], f"charts/{chart}/README.md has all values"
    in_list = any(isinstance(key, int) for key in mistake.path)
    if mistake.hint or mistake.suggestions or (mistake.kind == schema.MISSING_KEY and in_list):
        return ""
    if mistake.found == show(None):
        return f"Remove {name}, or give it a value: null is none."
    if mistake.kind == schema.UNKNOWN_KEY:
        return f"Remove {name}, or correct its name; {values}."
    # Of a pattern the schema says no more than that it is a text.
    return f"Correct {name}; {values}." if mistake.kind == schema.NOT_ALLOWED and mistake.expected == "a text" else ""


@cache
def _defaults(chart: str) -> dict[str, Any]:
    """What is in values.yaml of a chart."""
    values: dict[str, Any] = yaml.safe_load((CHARTS / chart / "values.yaml").read_text(encoding="utf-8"))
    return values


def _merged(defaults: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm merges: key by key, lists are replaced, and null takes away what is among the defaults."""
    merged = dict(defaults)
    for key, value in content.items():
        default = defaults.get(key)
        if value is None and key in defaults:
            del merged[key]
        elif isinstance(value, Mapping) and isinstance(default, Mapping):
            merged[key] = _merged(default, value)
        else:
            merged[key] = value
    return merged


def _is_in(content: Any, path: KeyPath) -> bool:
    """Whether ``content`` has what is at ``path``, or the list that it is in; what it has not, a role may complete."""
    for key in path:
        if isinstance(content, list):
            return True
        if not isinstance(content, Mapping) or key not in content:
            return False
        content = content[key]
    return True


def _meaning(rule: Mapping[str, Any], path: KeyPath) -> str:
    """What the schema says of the value at ``path``, without the full stop."""
    return str(_rule(rule, path).get("description", "")).removesuffix(".")


def _rule(rule: Mapping[str, Any], path: KeyPath) -> Mapping[str, Any]:
    """The part of a schema for the value at ``path``; empty for one that it does not know."""
    for key in path:
        if isinstance(key, int):
            rule = rule.get("items", {})
        else:
            beyond = rule.get("additionalProperties")
            rule = rule.get("properties", {}).get(key, beyond if isinstance(beyond, Mapping) else {})
    return rule
