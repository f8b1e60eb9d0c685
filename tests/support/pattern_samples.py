"""Texts that match a regular expression, the same ones every time and quickly."""

from __future__ import annotations

import random
import re
from functools import cache
from re import _constants as ops  # type: ignore[attr-defined]  # CPython keeps no public name for it
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_LETTERS = [chr(code) for code in range(32, 127)]
_MOST_REPEATS = 3
_TRIES = 400
_CATEGORIES = {ops.CATEGORY_DIGIT: r"\d", ops.CATEGORY_NOT_DIGIT: r"\D", ops.CATEGORY_WORD: r"\w"}
_CATEGORIES |= {ops.CATEGORY_NOT_WORD: r"\W", ops.CATEGORY_SPACE: r"\s", ops.CATEGORY_NOT_SPACE: r"\S"}


@cache
def samples(pattern: str, longest: int = 253, count: int = 40) -> tuple[str, ...]:
    """Up to ``count`` different texts of at most ``longest`` characters that ``pattern`` matches."""
    chance = random.Random(pattern)
    whole = re.compile(pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern)
    tree = parser.parse(pattern)
    found: dict[str, None] = {}
    for _ in range(_TRIES):
        text = _text(tree, chance)
        if len(text) <= longest and whole.search(text):
            found[text] = None
        if len(found) == count:
            break
    if not found:
        raise ValueError(f"found no text of at most {longest} characters for {pattern!r}")
    return tuple(found)


def _text(tree: Any, chance: random.Random) -> str:
    return "".join(_part(op, given, chance) for op, given in tree)


def _part(op: Any, given: Any, chance: random.Random) -> str:
    if op is ops.LITERAL:
        return chr(given)
    if op is ops.NOT_LITERAL:
        return chance.choice([letter for letter in _LETTERS if letter != chr(given)])
    if op is ops.ANY:
        return chance.choice(_LETTERS)
    if op is ops.IN:
        return chance.choice([letter for letter in _LETTERS if _is_in(letter, given)])
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT):
        least, most, inside = given
        return "".join(_text(inside, chance) for _ in range(chance.randint(least, min(most, least + _MOST_REPEATS))))
    if op is ops.SUBPATTERN:
        return _text(given[3], chance)
    if op is ops.BRANCH:
        return _text(chance.choice(given[1]), chance)
    if op in (ops.AT, ops.ASSERT, ops.ASSERT_NOT):
        return ""
    raise ValueError(f"no samples for {op}")


def _is_in(letter: str, given: Any) -> bool:
    negated = given[0][0] is ops.NEGATE
    return negated != any(_matches(letter, op, value) for op, value in given if op is not ops.NEGATE)


def _matches(letter: str, op: Any, value: Any) -> bool:
    if op is ops.LITERAL:
        return ord(letter) == value
    if op is ops.RANGE:
        return bool(value[0] <= ord(letter) <= value[1])
    return re.match(_CATEGORIES[value], letter) is not None
