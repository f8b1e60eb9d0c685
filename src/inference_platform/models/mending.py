"""What is left of a value that the schema refuses, so that the rules can judge the rest of it in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_platform import schema
from inference_platform.models.merge import has
from inference_platform.schema import KeyPath, SchemaMistake

_MOST_ROUNDS = 20

Find = Callable[[Any], Sequence[SchemaMistake]]


@dataclass(frozen=True)
class Mended:
    """A value that follows its schema, and the places where it may not be what the user meant.

    Of these places nothing should be said but what the schema says. ``lost`` are the keys at the top of which something
    is missing now.
    """

    value: dict[str, Any]
    unsure: tuple[KeyPath, ...]
    lost: frozenset[str | int]

    def is_sure(self, path: KeyPath) -> bool:
        """Whether the value at ``path``, above and below it, is the user's own."""
        return not any(are_related(path, place) for place in self.unsure)


def are_related(one: KeyPath, other: KeyPath) -> bool:
    """Whether two paths are the same, or one leads to the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def mend(
    value: Any, rule: Mapping[str, Any], find: Find, stand_ins: Mapping[str, Any], wrong: Sequence[SchemaMistake]
) -> Mended | None:
    """``value`` without what is ``wrong`` in it; None when too little is left.

    ``rule`` is the schema, inlined, and ``find`` tells what is wrong with a value; ``stand_ins`` are for keys
    that are needed at the top. An unknown key that looks like a known one is taken for it.
    """
    unsure: dict[KeyPath, None] = {}
    lost: set[str | int] = set()
    for _ in range(_MOST_ROUNDS):
        if not wrong:
            return Mended(value, tuple(unsure), frozenset(lost))
        if not isinstance(value, dict):
            return None
        for mistake in sorted(wrong, key=_is_no_name):
            kept = _without_mistake(value, mistake, stand_ins)
            if kept is None:
                return None
            unsure |= dict.fromkeys(_touched(mistake, rule))
            is_name = mistake.kind == schema.UNKNOWN_KEY and (mistake.suggestions or len(mistake.path) == 1)
            if kept is not value and not is_name:
                lost.add(mistake.path[0])
            value = kept
        wrong = find(value)
    return None


def _is_no_name(mistake: SchemaMistake) -> bool:
    """Misspelled keys come first, since with their right names they are not missing."""
    return mistake.kind != schema.UNKNOWN_KEY


def _without_mistake(value: Any, mistake: SchemaMistake, stand_ins: Mapping[str, Any]) -> Any:
    if not mistake.path:
        return None
    *above, last = mistake.path
    parent = tuple(above)
    if mistake.kind == schema.MISSING_KEY:
        if has(value, mistake.path):
            return value
        if parent:
            return _removed(value, parent)
        return {**value, last: stand_ins[str(last)]} if last in stand_ins else None
    if mistake.kind == schema.UNKNOWN_KEY and mistake.suggestions:
        meant = mistake.suggestions[0]
        if not has(value, (*parent, meant)):
            return _changed(value, parent, lambda item: {meant if key == last else key: item[key] for key in item})
    return _removed(value, mistake.path)


def _removed(value: Any, path: KeyPath) -> Any:
    """``value`` without the key at ``path``; of a list that has it nothing is kept, since places in it would change."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    if not path:
        return None
    *parent, last = path
    return _changed(value, tuple(parent), lambda item: {key: item[key] for key in item if key != last})


def _changed(value: Any, path: KeyPath, change: Callable[[Any], Any]) -> Any:
    """A copy of ``value`` with another item at ``path``; as it is when nothing is there."""
    if not has(value, path):
        return value
    if not path:
        return change(value)
    inside = _changed(value[path[0]], path[1:], change)
    if isinstance(value, list):
        return [inside if place == path[0] else item for place, item in enumerate(value)]
    return {**value, path[0]: inside}


def _touched(mistake: SchemaMistake, rule: Mapping[str, Any]) -> list[KeyPath]:
    """Places that a mistake makes unsure: its own, the one that was meant, and those it is read together with."""
    parent = mistake.path[:-1]
    if parent and _has_names(rule, parent):
        return [parent]
    return [mistake.path, *((*parent, meant) for meant in mistake.suggestions[:1])]


def _has_names(rule: Mapping[str, Any], path: KeyPath) -> bool:
    """Whether the schema says which keys the mapping at ``path`` may have."""
    for part in path:
        inside = rule.get("items") if isinstance(part, int) else rule.get("properties", {}).get(part)
        rule = inside if isinstance(inside, Mapping) else {}
    return "properties" in rule
