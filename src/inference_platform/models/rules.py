"""Rules that a schema cannot say: one small function each, with a code and a message.

A rule looks at one model, or at all models at once, and yields problems; where they
are in the inventory is added by the pipeline.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_platform.findings import ERROR, WARNING, show
from inference_platform.schema import KeyPath

# What presets and platform set themselves (facts: models.md 7.1), with the way to say it.
_RESERVED_ARGS = {
    "--api-server-count": "the platform sets it",
    "--data-parallel-": "the platform sets it",
    "--headless": "the platform sets it",
    "--host": "the platform sets it",
    "--port": "the platform sets it",
    "--served-model-name": "use served_name",
    "--ssl-": "the platform sets it",
    "--tensor-parallel-size": "use gpu.count",
    "-tp": "use gpu.count",
}
_EXTRA_ARGS_VARIABLE = "VLLM_ADDITIONAL_ARGS"

# scheme -> (pattern of what follows, what it should be); models.md 3.7
_URI_FORMS = {
    "hf": (
        r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)?(:[A-Za-z0-9._/-]+)?",
        "hf://organisation/model or hf://organisation/model:revision",
    ),
    "oci": (r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+((:[\w.-]+)|(@sha256:[0-9a-f]{64}))?", "oci://registry/image"),
    "pvc": (r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/.*)?", "pvc://claim or pvc://claim/folder"),
    "s3": (r"[a-z0-9][a-z0-9.-]+(/.*)?", "s3://bucket/folder"),
}


@dataclass(frozen=True)
class Problem:
    """One thing a rule objects to: index of the model, path in its entry, and the texts."""

    code: str
    model: int
    path: KeyPath
    expected: str
    found: str
    remedy: str
    severity: str = ERROR


@dataclass(frozen=True)
class Context:
    """What rules may look at: merged entries by their index in the inventory, and the plan."""

    models: Mapping[int, Mapping[str, Any]]
    platform: Mapping[str, Any]


Rule = Callable[[Context], Iterator[Problem]]


def names_are_unique(context: Context) -> Iterator[Problem]:
    """IP-MOD-001: two entries with the same namespace and name are one object."""
    first: dict[tuple[str, str], int] = {}
    for index, model in context.models.items():
        key = (model["namespace"], model["name"])
        if key in first:
            yield Problem(
                "IP-MOD-001",
                index,
                ("name",),
                f"a name that is used once in namespace {key[0]}",
                f"{show(key[1])}, also the name of models[{first[key]}]",
                "Rename one of the two, or move it to another namespace.",
            )
        first.setdefault(key, index)


def namespaces_belong_to_users(context: Context) -> Iterator[Problem]:
    """IP-MOD-002: the namespaces of platform and cluster are not for models."""
    reserved = set(context.platform["namespaces"].values())
    for index, model in context.models.items():
        namespace = model["namespace"]
        if namespace in reserved or namespace.startswith(("kube-", "openshift-")):
            yield Problem(
                "IP-MOD-002",
                index,
                ("namespace",),
                "a namespace for models",
                f"{show(namespace)}, which belongs to the platform or the cluster",
                "Choose a namespace of your own.",
            )


def uris_are_complete(context: Context) -> Iterator[Problem]:
    """IP-MOD-003: what follows the scheme must be what the storage initializer can read."""
    for index, model in context.models.items():
        scheme, _, rest = model["uri"].partition("://")
        pattern, form = _URI_FORMS[scheme]
        if not re.fullmatch(pattern, rest):
            yield Problem("IP-MOD-003", index, ("uri",), form, show(model["uri"]), f"Write the URI as {form}.")


def args_leave_the_platform_alone(context: Context) -> Iterator[Problem]:
    """IP-MOD-004: arguments that the presets or the platform set must not be given again."""
    for index, model in context.models.items():
        for path, words in _given_args(model):
            for word in words:
                hint = _reserved(word)
                if hint:
                    yield Problem(
                        "IP-MOD-004",
                        index,
                        path,
                        "arguments that the platform does not set itself",
                        f"{show(word)} ({hint})",
                        f"Remove {word.split('=')[0]}; {hint}.",
                    )


def shared_claims_need_shared_access(context: Context) -> Iterator[Problem]:
    """IP-MOD-005: several pods on several nodes mount one claim (models.md 3.7)."""
    for index, model in context.models.items():
        if model["uri"].startswith("pvc://") and model["replicas"] > 1:
            claim = model["uri"].removeprefix("pvc://").split("/")[0]
            yield Problem(
                "IP-MOD-005",
                index,
                ("uri",),
                "a claim that several nodes may mount (ReadWriteMany or ReadOnlyMany)",
                f"claim {show(claim)} with {model['replicas']} replicas",
                "Check the access modes of the claim.",
                WARNING,
            )


def extra_args_can_be_read(context: Context) -> Iterator[Problem]:
    """IP-MOD-006: the serving preset evaluates VLLM_ADDITIONAL_ARGS in a shell."""
    for index, model in context.models.items():
        text = model.get("env", {}).get(_EXTRA_ARGS_VARIABLE)
        if text is not None and _split(text) is None:
            yield Problem(
                "IP-MOD-006",
                index,
                ("env", _EXTRA_ARGS_VARIABLE),
                "arguments quoted as for a shell",
                "a quote that is not closed",
                "Close the quote, or give the arguments as a list under args.",
            )


RULES: tuple[Rule, ...] = (
    names_are_unique,
    namespaces_belong_to_users,
    uris_are_complete,
    args_leave_the_platform_alone,
    shared_claims_need_shared_access,
    extra_args_can_be_read,
)


def apply_rules(context: Context, rules: Sequence[Rule] = RULES) -> list[Problem]:
    """The problems of all rules, ordered by model."""
    found = [problem for rule in rules for problem in rule(context)]
    return sorted(found, key=lambda problem: (problem.model, problem.code))


def _given_args(model: Mapping[str, Any]) -> Iterator[tuple[KeyPath, list[str]]]:
    for position, word in enumerate(model.get("args", [])):
        yield ("args", position), [word]
    extra = model.get("env", {}).get(_EXTRA_ARGS_VARIABLE)
    if extra is not None:
        yield ("env", _EXTRA_ARGS_VARIABLE), _split(extra) or []


def _reserved(word: str) -> str | None:
    flag = word.split("=")[0].replace("_", "-")
    for name, hint in _RESERVED_ARGS.items():
        if flag == name or (name.endswith("-") and flag.startswith(name)):
            return hint
    return None


def _split(text: str) -> list[str] | None:
    try:
        return shlex.split(text)
    except ValueError:
        return None
