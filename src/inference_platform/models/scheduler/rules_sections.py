"""Rules about the sections and feature gates of an EndpointPickerConfig (models.md 4.6)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from inference_platform import schema
from inference_platform.findings import show
from inference_platform.models.scheduler.config import Config, items, mapping, words
from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.schema import KeyPath, close_names, or_list

_FIXED = ("apiVersion", "kind", "plugins", "schedulingProfiles")
_POLICIES = {"fairnessPolicyRef": "fairness_policy", "orderingPolicyRef": "ordering_policy"}


@cache
def _shape() -> Draft202012Validator:
    return schema.validator(schema.load_schema("endpoint_picker"), "configuration")


def shape_is_right(config: Config) -> Iterator[Mistake]:
    """IP-SCH-020: keys and values are such that the program can read the configuration."""
    for wrong in schema.mistakes(config.data, _shape()):
        name = wrong.path[-1] if wrong.path else "it"
        remedy = f"Set {name} to {wrong.expected}."
        if wrong.kind == schema.UNKNOWN_KEY:
            remedy = f"Did you mean {or_list(wrong.suggestions)}?" if wrong.suggestions else f"Remove {name}."
        elif wrong.kind == schema.MISSING_KEY:
            remedy = f"Add {name}."
        yield Mistake("IP-SCH-020", wrong.path, wrong.expected, wrong.found, remedy)
        if wrong.path[:1] == ("apiVersion",):
            return
    wanted, written = config.program.api_version, config.data.get("apiVersion", config.program.api_version)
    if isinstance(written, str) and written != wanted:
        remedy = f"Set apiVersion to {wanted}."
        names = list(config.catalogue.programs)
        older = names[: names.index(config.program.name)]
        if any(written == config.catalogue.programs[name].api_version for name in older):
            remedy += " In an upgrade name the model in models_move as well, so that its scheduler changes too."
        yield Mistake("IP-SCH-020", ("apiVersion",), f"{wanted} for {config.program.title}", show(written), remedy)


def sections_are_known(config: Config) -> Iterator[Mistake]:
    """IP-SCH-020: the program does not start with a section of a later version."""
    known = [*_FIXED, *config.program.sections]
    sections = {section for program in config.catalogue.programs.values() for section in program.sections}
    for key in config.data:
        if key in sections and key not in known:
            yield Mistake(
                "IP-SCH-020",
                (key,),
                f"one of the keys {or_list(known)}",
                show(key),
                f"Remove {key}: {config.program.title} does not know it.",
            )


def gates_exist(config: Config) -> Iterator[Mistake]:
    """IP-SCH-034: the program does not start with a feature gate that it does not know."""
    for index, gate in enumerate(config.gates):
        if gate not in config.program.gates:
            close = close_names(str(gate), list(config.program.gates))
            yield Mistake(
                "IP-SCH-034",
                ("featureGates", index),
                f"one of the gates {or_list(config.program.gates)}",
                show(gate),
                f"Did you mean {or_list(close)}?" if close else "Remove the gate.",
            )


def gates_are_on(config: Config) -> Iterator[Mistake]:
    """IP-SCH-035: sections and plugins that do nothing without their gate have it, and dataLayer has sources."""
    for section, gate in config.catalogue.gate_of_section.items():
        if section in config.data and section in config.program.sections and gate not in config.gates:
            yield _gate_missing((section,), f"the section {section}", gate)
    for entry in config.entries:
        needed = entry.plugin.gate if entry.plugin else None
        if needed and needed in config.program.gates and needed not in config.gates:
            yield _gate_missing(entry.path, show(entry.name), needed)
    if "dataLayer" in config.gates and not mapping(config.data.get("data")).get("sources"):
        expected = "data.sources, without which the scheduler does not start with the gate dataLayer"
        yield Mistake("IP-SCH-035", ("data",), expected, "nothing", "Add data.sources, or remove the gate.")


def _gate_missing(path: KeyPath, what: str, gate: str) -> Mistake:
    found = f"{what}, which does nothing without it"
    return Mistake("IP-SCH-035", path, f"the feature gate {gate}", found, f"Add {gate} to featureGates.")


def data_sources_resolve(config: Config) -> Iterator[Mistake]:
    """IP-SCH-039: the data layer names declared sources and extractors."""
    for index, source in enumerate(items(mapping(config.data.get("data")).get("sources"))):
        path: KeyPath = ("data", "sources", index)
        yield from _named(config, source, "pluginRef", "data_source", path, "IP-SCH-039")
        for position, extractor in enumerate(items(mapping(source).get("extractors"))):
            place: KeyPath = (*path, "extractors", position)
            yield from _named(config, extractor, "pluginRef", "extractor", place, "IP-SCH-039")


def flow_control_fits(config: Config) -> Iterator[Mistake]:
    """IP-SCH-040: there is one band per priority, and bands name declared policies."""
    section = mapping(config.data.get("flowControl"))
    bands: list[tuple[KeyPath, Any]] = [
        (("flowControl", "priorityBands", index), band)
        for index, band in enumerate(items(section.get("priorityBands")))
    ]
    seen: set[Any] = set()
    for path, band in bands:
        priority = mapping(band).get("priority")
        if isinstance(priority, int):
            if priority in seen:
                expected = "a priority that no other band has"
                yield Mistake("IP-SCH-040", (*path, "priority"), expected, show(priority), "Merge the two bands.")
            seen.add(priority)
    for path, band in [*bands, (("flowControl", "defaultPriorityBand"), section.get("defaultPriorityBand"))]:
        for key, kind in _POLICIES.items():
            yield from _named(config, band, key, kind, path, "IP-SCH-040")


def _named(config: Config, use: Any, key: str, kind: str, path: KeyPath, code: str) -> Iterator[Mistake]:
    name = mapping(use).get(key)
    if not isinstance(name, str) or not name:
        return
    entry = config.by_name.get(name)
    if entry is None or (entry.plugin and not entry.is_a(kind)):
        expected = f"the name of a declared {words(kind)}"
        yield Mistake(code, (*path, key), expected, show(name), f"Declare a {words(kind)} under plugins and name it.")
