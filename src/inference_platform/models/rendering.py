"""Turn merged models into Kubernetes objects with the templates beside this file."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Characters that JSON leaves alone in a text but YAML does not accept or would fold.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def as_yaml(value: Any) -> str:
    """``value`` on one line, as YAML that reads back as exactly the same value."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def as_spec(value: Any) -> str:
    """Like ``as_yaml``, for a place where the KServe controller evaluates double braces.

    The controller renders the whole merged spec as a Go template (models.md 2.3), so an
    opening pair is written as an action that prints it. A closing pair needs no care.
    """
    return as_yaml(_literal(value))


def _literal(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("{{", "{{`{{`}}")
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value


def server_args(model: Mapping[str, Any], serving: Mapping[str, Any]) -> list[str]:
    """The arguments of the vLLM container.

    Single-node presets ignore the parallelism of the API (models.md 2.4), so the tensor
    parallel size is given here. Where the preset evaluates arguments in a shell, each is
    quoted, so that vLLM sees what was written.
    """
    count = model["gpu"]["count"]
    args = ["--tensor-parallel-size", str(count)] if count > 1 else []
    args += model.get("args", [])
    return [shlex.quote(word) for word in args] if serving["args_pass_through_shell"] else args


def namespace_object(namespace: str) -> dict[str, Any]:
    """The Namespace of models."""
    return _render("namespace", namespace=namespace)


def service_object(model: Mapping[str, Any], serving: Mapping[str, Any]) -> dict[str, Any]:
    """The LLMInferenceService of one merged, valid model."""
    return _render("llminferenceservice", model=model, serving=serving, args=server_args(model, serving))


def _render(template: str, **values: Any) -> dict[str, Any]:
    text = _environment().get_template(f"{template}.yml.j2").render(values)
    return dict(yaml.load(text, Loader=Loader))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("inference_platform.models", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["yaml"] = as_yaml
    environment.filters["spec"] = as_spec
    return environment
