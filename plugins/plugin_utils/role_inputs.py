"""Checks the inputs of all roles against their argument specs before anything starts.

Ansible checks the inputs of a role when the role starts, which for the last layer is
after the first ones were laid.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator, Mapping
from operator import getitem
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

WRONG_INPUT, LOST_VALUE = "IP-INV-020", "IP-INV-021"
#: Values of a Subscription that the plan decides: what is approved and waited for follows from them.
OF_THE_PLAN = {
    "package": "the operator of the layer",
    "channel": "that of olm_operators, or of the release",
    "startingCSV": "that of olm_operators, or of the release",
    "approval": "Manual",
}
#: The input of a role that becomes a value of a chart, the value, and the chart of each route.
ANNOTATIONS, ANNOTATIONS_VALUE = "inference_gateway_service_annotations", ("service", "annotations")
ANNOTATED = {"helm": "inference-gateway", "olm": "openshift-gateway"}
#: In ``decided`` of layers.yml: no setting changes the value.
OF_NO_SETTING = "platform"
TYPE_WORDS = {
    "bool": "true or false",
    "dict": "a mapping",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "a text",
}


def argument_specs(roles: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(input, its spec) of the entry point main of every role in the folder."""
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        yield from specs["main"].get("options", {}).items()


def check_role_inputs(roles: Path, given: Mapping[str, Any], where: Callable[[tuple[str, ...]], str]) -> Iterator[Any]:
    """A finding for each input in ``given`` (name: value) of the wrong type or value."""
    from inference_platform.findings import ERROR, Finding, show
    from inference_platform.schema import load_schema

    for name, spec in argument_specs(roles):
        if name not in given:
            continue
        problems = ArgumentSpecValidator({name: spec}).validate({name: given[name]}).error_messages
        if problems:
            # Of two names that are alike the other may be meant: models_profiles, model_profiles.
            twin = difflib.get_close_matches(name, load_schema("inventory")["properties"], n=1, cutoff=0.9)
            meant = f" Or did you mean {twin[0]}?" if twin else ""
            yield Finding(
                WRONG_INPUT,
                ERROR,
                where((name,)),
                f"{TYPE_WORDS[spec['type']]} ({' '.join(spec['description'])})",
                show(given[name]),
                f"Correct {name}, or remove it to take the default ({show(spec['default'])}).{meant}",
            )


def check_chart_values(
    catalog: Any, given: Mapping[str, Any], where: Callable[[tuple[str, ...]], str]
) -> Iterator[Any]:
    """A finding for each entry of a layer's values that is no mapping, or that no release of the layer would get, for
    each value that the plan decides, and for each that the schema of one of our charts refuses, also of an input that
    becomes a value.

    ``catalog`` is that of the package; ``given`` as for `check_role_inputs`.
    """
    from inference_platform.findings import ERROR, Finding, show
    from inference_platform.platform import chart_values
    from inference_platform.platform.plan import SUBSCRIPTION_CHART
    from inference_platform.platform.resolve import route_of, setting
    from inference_platform.schema import or_list

    distribution = setting(given, "distribution")
    if isinstance(annotations := given.get(ANNOTATIONS), Mapping):
        chart = ANNOTATED[route_of(catalog, str(setting(given, "provider")))]
        yield from chart_values.check_part(chart, ANNOTATIONS_VALUE, annotations, (ANNOTATIONS,), where)
    operators = [release.get("olm", {}).get("operators", {}) for release in catalog.releases.values()]
    for layer in catalog.layers:
        name = f"{layer['name']}_values"
        values = given.get(name)
        if not isinstance(values, Mapping):
            continue
        packages = {entry["package"] for known in operators for key, entry in known.items() if key == layer["name"]}
        releases = [
            release
            for release in layer.get("releases", [])
            if distribution in release.get("when", {}).get("distribution", [distribution])
        ]
        decided = {release["name"]: release.get("decided", {}) for release in releases}
        charts = {release["name"]: release["chart"] for release in releases if "chart" in release}
        charts |= dict.fromkeys(packages, SUBSCRIPTION_CHART)
        for release in sorted(values.keys() - {*decided, *packages}, key=str):
            known = or_list(list(dict.fromkeys([*decided, *sorted(packages)]))) or "none, the layer has no release"
            yield Finding(
                LOST_VALUE, ERROR, where((name, release)), f"a release of the layer: {known}", show(release),
                f"Correct the name, or remove it from {name}.",
            )  # fmt: skip
        for release, content in values.items():
            if not isinstance(content, Mapping | None):
                yield Finding(
                    WRONG_INPUT, ERROR, where((name, release)), "a mapping of chart values", show(content),
                    f"Write the values of {release} below it, as in the values.yaml of its chart.",
                )  # fmt: skip
        for package in sorted(packages & values.keys()):
            content = values[package] if isinstance(values[package], Mapping) else {}
            for key in sorted(OF_THE_PLAN.keys() & content.keys()):
                yield Finding(
                    LOST_VALUE, ERROR, where((name, package, key)), OF_THE_PLAN[key], show(values[package][key]),
                    f"Remove {key}; olm_operators takes channel and version of cert_manager and lws.",
                )  # fmt: skip
        for release in sorted(decided.keys() & values.keys()):
            yield from _decided_values(decided[release], values[release], (name, release), where)
        for release in sorted(charts.keys() & values.keys()):
            content = values[release]
            if isinstance(content, Mapping):
                refused = [*OF_THE_PLAN] if release in packages else [*decided[release]]
                told = [place for value in refused if (place := _written(content, value.split(".")))]
                yield from chart_values.check(charts[release], content, (name, release), told, where)


def _decided_values(
    decided: Mapping[str, str], content: Any, place: tuple[str, ...], where: Callable[[tuple[str, ...]], str]
) -> Iterator[Any]:
    """A finding for each value that the plan decides among the ``content`` given for a release at ``place``.

    ``decided``: the setting that each of them (dotted path) follows, or `OF_NO_SETTING`.
    """
    from inference_platform.findings import ERROR, Finding, show

    given = {_written(content, value.split(".")): followed for value, followed in decided.items()}
    for keys, followed in given.items():
        if not keys:
            continue
        expected, instead = f"what the setting {followed} says", f" Set {followed} instead."
        if followed == OF_NO_SETTING:
            expected, instead = "that of the platform", ""
        yield Finding(
            LOST_VALUE, ERROR, where((*place, *keys)), expected, show(functools.reduce(getitem, keys, content)),
            f"Remove {'.'.join(keys)}: gates, checks and other charts go by the plan.{instead}",
        )  # fmt: skip


def _written(content: Any, keys: list[str]) -> tuple[str, ...]:
    """The place of a value in ``content``, or of what is there instead of a mapping with it; empty without either."""
    for depth, key in enumerate(keys):
        if not isinstance(content, Mapping):
            return tuple(keys[:depth])
        if key not in content:
            return ()
        content = content[key]
    return tuple(keys)
