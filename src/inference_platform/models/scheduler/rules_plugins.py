"""Rules about the plugins of an EndpointPickerConfig and their parameters (models.md 4.6, 4.7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from inference_platform.findings import WARNING, show
from inference_platform.models.scheduler.catalogue import Catalogue, Parameter, Plugin, Program
from inference_platform.models.scheduler.config import Config, Declared, words
from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.schema import KeyPath, close_names, or_list

_DURATION = re.compile(r"([0-9]+(\.[0-9]*)?(ns|us|ms|s|m|h))+")

_VALUES = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "text": "a text (put numbers in quotes)",
    "duration": "a length of time such as 2s",
    "mapping": "a mapping",
    "list": "a list",
}


def plugins_exist(config: Config) -> Iterator[Mistake]:
    """IP-SCH-021: the program knows the type of every plugin."""
    for entry in config.entries:
        if entry.plugin is None:
            kind = str(config.data["plugins"][entry.index]["type"])
            yield unknown_plugin("IP-SCH-021", (*entry.path, "type"), kind, config.program, config.catalogue)


def unknown_plugin(code: str, path: KeyPath, kind: str, program: Program, catalogue: Catalogue) -> Mistake:
    """The objection to a plugin type that the program does not have."""
    expected = f"a plugin of the {program.title}"
    elsewhere = catalogue.plugins.get(kind)
    if elsewhere:
        titles = or_list([catalogue.programs[name].title for name in elsewhere.programs])
        return Mistake(code, path, expected, f"{show(kind)}, which only the {titles} has", "Take another plugin.")
    close = close_names(kind, list(catalogue.plugins_of(program.name)))
    hint = f"Did you mean {or_list(close)}?" if close else "Take a plugin of the page scheduler-strategies."
    return Mistake(code, path, expected, show(kind), hint)


def plugin_names_are_unique(config: Config) -> Iterator[Mistake]:
    """IP-SCH-022: two plugins with one name stop the program."""
    for entry in config.entries:
        if entry is not config.by_name[entry.name]:
            yield Mistake(
                "IP-SCH-022",
                entry.path,
                "a name that no other plugin has",
                show(entry.name),
                "Give one of them another name, and use it in the profiles.",
            )


def plugin_types_are_current(config: Config) -> Iterator[Mistake]:
    """IP-SCH-023: old names of plugins still work, and will go away."""
    for entry in config.entries:
        if entry.plugin and entry.plugin.replaced_by:
            yield Mistake(
                "IP-SCH-023",
                (*entry.path, "type"),
                show(entry.plugin.replaced_by),
                f"{show(entry.plugin.type)}, an old name",
                f"Write {entry.plugin.replaced_by}, here and in every pluginRef.",
                WARNING,
            )


def parameters_fit(config: Config) -> Iterator[Mistake]:
    """IP-SCH-024 to 026, for every plugin."""
    for entry in config.entries:
        if entry.plugin:
            yield from check_parameters(entry.plugin, entry.parameters, config.program, (*entry.path, "parameters"))


def check_parameters(plugin: Plugin, values: Mapping[str, Any], program: Program, path: KeyPath) -> Iterator[Mistake]:
    """The parameters of one plugin.

    IP-SCH-024: the plugin does not read a parameter. IP-SCH-025: a parameter has another name
    now. IP-SCH-026: the plugin does not take the value, or needs one.
    """
    yield from _check(plugin.type, plugin.parameters, values, program.name, path)


def _check(
    plugin: str, known: Mapping[str, Parameter], values: Mapping[str, Any], program: str, path: KeyPath
) -> Iterator[Mistake]:
    for name, value in values.items():
        rule = known.get(name)
        place: KeyPath = (*path, name)
        if rule is None or not rule.known_to(program):
            yield _unknown_parameter(plugin, name, known, program, place)
            continue
        if rule.old_in(program):
            yield _old_parameter(plugin, name, rule, values, program, place)
        wanted = _wanted(rule, value)
        if wanted:
            yield Mistake("IP-SCH-026", place, wanted, show(value), f"Set {name} to {wanted}.")
        elif rule.keys is not None:
            yield from _check(plugin, rule.keys, value, program, place)
    for name, rule in known.items():
        if rule.required and name not in values:
            expected = f"{name}, which {plugin} needs"
            yield Mistake("IP-SCH-026", (*path, name), expected, "nothing", f"Add {name}.")


def _unknown_parameter(plugin: str, name: str, known: Mapping[str, Parameter], program: str, place: KeyPath) -> Mistake:
    current = [key for key, rule in known.items() if rule.known_to(program) and not rule.old_in(program)]
    close = close_names(str(name), current)
    return Mistake(
        "IP-SCH-024",
        place,
        f"one of the parameters of {plugin}: {or_list(current)}" if current else f"no parameters for {plugin}",
        f"{show(str(name))}, which would do nothing",
        f"Did you mean {or_list(close)}?" if close else f"Remove {name}.",
    )


def _old_parameter(
    plugin: str, name: str, rule: Parameter, values: Mapping[str, Any], program: str, place: KeyPath
) -> Mistake:
    expected = f"{rule.replaced_by}, for {plugin}"
    if program in rule.breaks and rule.replaced_by not in values:
        found = f"{show(name)}, an old name with which the scheduler does not start"
        return Mistake("IP-SCH-025", place, expected, found, f"Write {rule.replaced_by}.")
    return Mistake("IP-SCH-025", place, expected, f"{show(name)}, an old name", f"Write {rule.replaced_by}.", WARNING)


def _wanted(rule: Parameter, value: Any) -> str | None:
    """What the value should be, if it is not."""
    text = _VALUES[rule.type]
    if rule.minimum is not None:
        text += f" of at least {rule.minimum:g}"
    if rule.maximum is not None:
        text += f" {'and' if rule.minimum is not None else 'of'} at most {rule.maximum:g}"
    return None if _has_type(rule.type, value) and _in_range(rule, value) else text


def _has_type(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "duration":
        return isinstance(value, str) and _DURATION.fullmatch(value) is not None
    kinds: dict[str, Any] = {"integer": int, "number": (int, float), "text": str, "mapping": Mapping, "list": list}
    return name in kinds and isinstance(value, kinds[name])


def _in_range(rule: Parameter, value: Any) -> bool:
    return (rule.minimum is None or value >= rule.minimum) and (rule.maximum is None or value <= rule.maximum)


def references_resolve(config: Config) -> Iterator[Mistake]:
    """IP-SCH-033: a plugin finds the plugins that its parameters name: declared before it, of the right kind."""
    for entry in config.entries:
        known = entry.plugin.parameters if entry.plugin else {}
        for path, name, kind in _references(known, entry.parameters, (*entry.path, "parameters")):
            problem = _unresolved(config.by_name.get(name), kind, entry)
            if problem:
                expected = f"the name of a {words(kind)} that is declared before"
                yield Mistake("IP-SCH-033", path, expected, f"{show(name)}, {problem[0]}", problem[1])


def _references(
    known: Mapping[str, Parameter], values: Mapping[str, Any], path: KeyPath
) -> Iterator[tuple[KeyPath, str, str]]:
    for name, rule in known.items():
        value = values.get(name)
        if rule.refers_to and isinstance(value, str) and value:
            yield (*path, name), value, rule.refers_to
        elif rule.keys and isinstance(value, Mapping):
            yield from _references(rule.keys, value, (*path, name))


def _unresolved(target: Declared | None, kind: str, entry: Declared) -> tuple[str, str] | None:
    if target is None:
        return "which is not declared", f"Declare the {words(kind)} under plugins, before {entry.name}."
    if target.plugin and not target.is_a(kind):
        return f"a {words(target.plugin.kinds[0])}", f"Name a {words(kind)}."
    if target.index > entry.index:
        return "which is declared after it", f"Move it before {entry.name}; plugins are made in this order."
    return None


def helpers_are_there(config: Config) -> Iterator[Mistake]:
    """IP-SCH-042: some plugins need a program beside the scheduler that the platform does not bring."""
    for entry in config.entries:
        if entry.plugin and entry.plugin.runs_beside:
            yield Mistake(
                "IP-SCH-042",
                entry.path,
                "plugins that work with what the platform brings",
                f"{show(entry.name)}, which needs {entry.plugin.runs_beside} beside the scheduler",
                f"Add {entry.plugin.runs_beside} to the scheduler pods by override, or take another scorer.",
                WARNING,
            )
