"""Random model entries, routes and groups that follow the schemas."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hypothesis import strategies as some

from inference_platform.schema import inlined_schema
from tests.support.schema_values import draw_value, is_described

Draw = Callable[[some.SearchStrategy[Any]], Any]

NAMES = ("qwen", "llama")
NAMESPACES = ("team-a", "team-b")
_MOST_NEW_KEYS = 3
# Keys by which objects find each other; made up, they would only be unknown.
_NAMES = ("name", "namespace", "profiles", "traffic")
_GROUP = "chat"


@some.composite
def entries(draw: Draw, known: list[Mapping[str, Any]]) -> dict[str, Any]:
    """One of the ``known`` entries with some keys that follow the schema in their place or beside them."""
    properties = inlined_schema("model")["properties"]
    keys = some.sampled_from(sorted(set(properties) - set(_NAMES)))
    chosen = draw(some.lists(keys, unique=True, max_size=_MOST_NEW_KEYS))
    entry = copy.deepcopy(dict(draw(some.sampled_from(known))))
    entry |= {key: draw_value(draw, properties[key], key) for key in chosen}
    if draw(some.integers(0, 7)) == 0:
        entry["traffic"] = {**draw_value(draw, properties["traffic"], "traffic"), "group": _GROUP}
    return entry


@some.composite
def routes(draw: Draw) -> dict[str, Any]:
    """An entry of ``model_routes`` whose backends are in namespaces that there are, and often models that there are."""
    route = draw_value(draw, inlined_schema("traffic")["properties"]["model_routes"]["items"], "route")
    route |= {"name": draw(some.sampled_from(NAMES)), "namespace": draw(some.sampled_from(NAMESPACES))}
    for rule in route["rules"]:
        for backend in [*rule.get("backends", []), *([rule["mirror"]] if "mirror" in rule else [])]:
            if "namespace" in backend:
                backend["namespace"] = draw(some.sampled_from(NAMESPACES))
            if "model" in backend:
                backend["model"] = draw(some.sampled_from(NAMES))
    return dict(route)


@some.composite
def groups(draw: Draw) -> dict[str, Any]:
    """An entry of ``traffic_groups`` for the group that models name."""
    group = draw_value(draw, inlined_schema("traffic")["properties"]["traffic_groups"]["items"], "group")
    return {**group, "name": _GROUP, "namespace": NAMESPACES[0]}


def places(entry: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The paths of all parts of an entry that the schema describes."""
    return [path for path in _paths(entry) if is_described(inlined_schema("model"), path)]


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """A copy of ``value`` with ``other`` at ``path``."""
    changed = copy.deepcopy(value)
    place = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = other
    return changed


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*path, key)
        yield from _paths(item, (*path, key))
