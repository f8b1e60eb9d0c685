"""Objects from Jinja templates whose values never pass through template text or YAML.

A template is given a ``Block``: a mapping of values, further blocks and lists of blocks.
It may ask which keys are there and walk over lists of blocks, and it may print values
where YAML expects one; it cannot look into them. So its text depends only on the shape
of the block. It is rendered with a mark in place of each value and parsed once per
shape; after that an object is the parsed tree with the values put in. Nothing needs
quoting, and a thousand models of one shape cost one rendering.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Fill = Callable[[list[Any]], Any]

# Private-use characters: nothing else in a template contains them.
_OPEN, _CLOSE = "\ue000", "\ue001"
_SPEC = "spec"
_MOST_SHAPES = 5000


class Block(dict[str, Any]):
    """A mapping whose keys a template may ask for. Other mappings are values as a whole."""


class TemplateError(Exception):
    """A template prints a value in a place where it cannot be put in: a mistake of this project."""


def render(template: str, block: Block, *, literal_spec: bool = False) -> dict[str, Any]:
    """The object that ``templates/<template>.yml.j2`` makes of ``block``, made of fresh dicts and lists.

    ``literal_spec``: texts below ``spec`` are written so that KServe, which evaluates the
    merged spec as a Go template (models.md 2.3), reads them as they are.
    """
    values: list[Any] = []
    shape = _shape(block, values)
    fill = _FILLS.get((template, literal_spec, shape))
    if fill is None:
        if len(_FILLS) >= _MOST_SHAPES:
            _FILLS.clear()
        fill = _FILLS[template, literal_spec, shape] = _prepare(template, block, literal_spec)
    return dict(fill(values))


_FILLS: dict[tuple[str, bool, Any], Fill] = {}


def literal(value: Any) -> Any:
    """A copy of ``value`` in which KServe reads each text as it is.

    An opening pair of braces becomes an action that prints it; a closing pair needs no care.
    """
    kind = type(value)
    if kind is str:
        return value.replace("{{", "{{`{{`}}") if "{{" in value else value
    if kind is dict or isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [literal(item) for item in value]
    return value


def copied(value: Any) -> Any:
    """A copy of ``value`` made of fresh dicts and lists, so that no two objects share a part."""
    kind = type(value)
    if kind is str or kind is int:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [copied(item) for item in value]
    return value


def _shape(block: Block, values: list[Any]) -> tuple[Any, ...]:
    """Which keys there are, all the way down; appends the values in the same order."""
    parts: list[Any] = []
    for key, value in block.items():
        if isinstance(value, Block):
            parts.append((key, _shape(value, values)))
        elif _is_block_list(value):
            parts.append((key, tuple(_shape(item, values) for item in value)))
        else:
            parts.append(key)
            values.append(value)
    return tuple(parts)


def _is_block_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Block)


def _prepare(template: str, block: Block, literal_spec: bool) -> Fill:
    marks: dict[str, int] = {}
    text = _environment().get_template(f"{template}.yml.j2").render(_marked(block, marks))
    tree = yaml.load(text, Loader=Loader)
    fills = {
        key: _filler(value, marks, literal if literal_spec and key == _SPEC else copied) for key, value in tree.items()
    }
    return lambda values: {key: fill(values) for key, fill in fills.items()}


def _marked(block: Block, marks: dict[str, int]) -> dict[str, Any]:
    """The block with a mark in place of each value, numbered as ``_shape`` orders them."""
    result: dict[str, Any] = {}
    for key, value in block.items():
        if isinstance(value, Block):
            result[key] = _marked(value, marks)
        elif _is_block_list(value):
            result[key] = [_marked(item, marks) for item in value]
        else:
            mark = f"{_OPEN}{len(marks)}{_CLOSE}"
            marks[mark] = len(marks)
            result[key] = mark
    return result


def _filler(node: Any, marks: Mapping[str, int], put: Callable[[Any], Any]) -> Fill:
    if isinstance(node, dict):
        pairs = [(_filler(key, marks, put), _filler(value, marks, put)) for key, value in node.items()]
        if any(key in marks for key in node):
            return lambda values: {key(values): value(values) for key, value in pairs}
        named = [(key, fill) for key, (_, fill) in zip(node, pairs, strict=True)]
        return lambda values: {key: fill(values) for key, fill in named}
    if isinstance(node, list):
        items = [_filler(item, marks, put) for item in node]
        return lambda values: [item(values) for item in items]
    if node in marks:
        position = marks[node]
        return lambda values: put(values[position])
    if isinstance(node, str) and _OPEN in node:
        raise TemplateError(f"a value stands inside a text: {node!r}; give the whole text as one value")
    return lambda _: node


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("inference_platform.models", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
