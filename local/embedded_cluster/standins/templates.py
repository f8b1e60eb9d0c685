"""Jinja over our YAML. `<< name >>` is a value and `<% if %>` a block, so that `{{ }}` stays as it is."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

FOLDER = Path(__file__).parent

#: libyaml where PyYAML was built with it (ten times faster), else the Python loader.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(FOLDER),
    variable_start_string="<<",
    variable_end_string=">>",
    block_start_string="<%",
    block_end_string="%>",
    comment_start_string="<#",
    comment_end_string="#>",
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
    autoescape=False,
)
ENVIRONMENT.filters["json"] = functools.partial(json.dumps, sort_keys=True)


def render_documents(name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a template file below this folder, in file order.

    Raises jinja2.UndefinedError for a value that is missing, yaml.YAMLError for broken YAML.
    """
    text = ENVIRONMENT.get_template(name).render(values)
    return [dict(document) for document in _parse(text)]


@functools.lru_cache(maxsize=64)
def _parse(text: str) -> tuple[dict[str, Any], ...]:
    return tuple(document for document in yaml.load_all(text, LOADER) if document)


def render_text(template: str, values: Mapping[str, Any]) -> str:
    """One short text with `<< >>` values filled in."""
    return _template(template).render(values) if "<<" in template or "<%" in template else template


@functools.lru_cache(maxsize=512)
def _template(text: str) -> jinja2.Template:
    return ENVIRONMENT.from_string(text)


def holds(expression: str, values: Mapping[str, Any]) -> bool:
    """The truth of a Jinja expression such as `error and not missing`."""
    return bool(_expression(expression)(**values))


@functools.lru_cache(maxsize=512)
def _expression(text: str) -> Callable[..., Any]:
    return ENVIRONMENT.compile_expression(text, undefined_to_none=False)
