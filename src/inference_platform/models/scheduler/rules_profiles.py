"""Rules about the profiles of an EndpointPickerConfig (models.md 4.6, 2.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inference_platform.findings import WARNING, show
from inference_platform.models.scheduler.catalogue import Program
from inference_platform.models.scheduler.config import Config, Declared, Use, mapping, words
from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.schema import KeyPath, close_names, or_list

_DISAGGREGATION = "disagg-profile-handler"
_DISAGGREGATION_HANDLERS = (_DISAGGREGATION, "pd-profile-handler")
_HEADERS_HANDLERS = {"disagg-headers-handler", "prefill-header-handler"}
_ROLE_FILTERS = {"prefill": "prefill-filter", "decode": "decode-filter"}
_LABEL_FILTERS = {"by-label", "by-label-selector"}


def profile_names_are_unique(config: Config) -> Iterator[Mistake]:
    """IP-SCH-027: two profiles with one name stop the program."""
    seen: set[Any] = set()
    for path, profile in config.profiles:
        name = profile.get("name")
        if isinstance(name, str):
            if name in seen:
                expected = "a name that no other profile has"
                yield Mistake("IP-SCH-027", (*path, "name"), expected, show(name), "Rename one of them.")
            seen.add(name)


def profiles_use_declared_plugins(config: Config) -> Iterator[Mistake]:
    """IP-SCH-028: a profile names plugins by the name under which they are declared."""
    for path, profile in config.profiles:
        for use in config.uses(path, profile):
            if use.entry is None:
                close = close_names(use.name, list(config.by_name))
                yield Mistake(
                    "IP-SCH-028",
                    (*use.path, "pluginRef"),
                    "the name of a plugin that is declared under plugins",
                    show(use.name),
                    f"Did you mean {or_list(close)}?" if close else f"Declare {use.name} under plugins.",
                )


def profiles_use_plugins_that_act(config: Config) -> Iterator[Mistake]:
    """IP-SCH-029: only filters, scorers and pickers do something in a profile."""
    for path, profile in config.profiles:
        for use in config.uses(path, profile):
            plugin = use.entry.plugin if use.entry else None
            if plugin and not plugin.acts_in_profile():
                yield Mistake(
                    "IP-SCH-029",
                    (*use.path, "pluginRef"),
                    "a filter, scorer or picker",
                    f"{show(use.name)}, a {words(plugin.kinds[0])}, which works without being named here",
                    "Remove the line.",
                    WARNING,
                )


def weights_are_sane(config: Config) -> Iterator[Mistake]:
    """IP-SCH-030: weights are at least 0, whole if the program wants that, on scorers, and not all 0."""
    for path, profile in config.profiles:
        uses = list(config.uses(path, profile))
        for use in uses:
            yield from _weight(use, config.program)
        scorers = [use for use in uses if use.entry and use.entry.is_a("scorer")]
        if scorers and all(use.data.get("weight") == 0 for use in scorers):
            yield Mistake(
                "IP-SCH-030",
                (*path, "plugins"),
                "at least one scorer with a weight above 0",
                "weights of 0 only",
                "Give the scorers weights, or leave them out and use random-picker.",
            )


def _weight(use: Use, program: Program) -> Iterator[Mistake]:
    weight = use.data.get("weight")
    path: KeyPath = (*use.path, "weight")
    number = "a whole number" if program.whole_weights else "a number"
    if weight is None:
        return
    if not is_weight(weight, program):
        remedy = "Correct the weight; what counts is its proportion to the others."
        yield Mistake("IP-SCH-030", path, f"{number} of at least 0", show(weight), remedy)
    elif use.entry and use.entry.plugin and not use.entry.is_a("scorer"):
        expected = f"no weight for {use.name}, which is not a scorer"
        yield Mistake("IP-SCH-030", path, expected, show(weight), "Remove the weight.", WARNING)


def is_weight(value: Any, program: Program) -> bool:
    """Whether the program takes the value as a weight."""
    kinds: Any = int if program.whole_weights else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and 0 <= value < float("inf")


def profiles_have_one_picker(config: Config) -> Iterator[Mistake]:
    """IP-SCH-031: a profile has one picker; without, the program takes any of those declared."""
    declared = [entry.name for entry in config.of_kind("picker")]
    for path, profile in config.profiles:
        own = [use.name for use in config.uses(path, profile) if use.entry and use.entry.is_a("picker")]
        place: KeyPath = (*path, "plugins")
        if len(own) > 1:
            yield Mistake("IP-SCH-031", place, "one picker", " and ".join(own), "Keep one of them.")
        elif not own and len(declared) > 1:
            yield Mistake("IP-SCH-031", place, or_list(declared), "no picker", "Name the one that is meant.", WARNING)


def there_is_one_profile_handler(config: Config) -> Iterator[Mistake]:
    """IP-SCH-032: one profile handler, that can run as many profiles as there are."""
    handlers = config.of_kind("profile_handler")
    count = len(config.profiles)
    if len(handlers) > 1:
        names = " and ".join(handler.name for handler in handlers)
        yield Mistake("IP-SCH-032", handlers[1].path, "one profile handler", names, "Keep one of them.")
    elif not handlers and count > 1 and all(entry.plugin for entry in config.entries):
        expected = f"a profile handler for {count} profiles"
        yield Mistake("IP-SCH-032", ("plugins",), expected, "none", f"Declare {_DISAGGREGATION}, or keep one profile.")
    elif handlers and _type(handlers[0]) == "single-profile-handler" and count > 1:
        yield Mistake(
            "IP-SCH-032",
            ("schedulingProfiles",),
            "one profile with single-profile-handler",
            f"{count} profiles",
            f"Keep one profile, or use {_DISAGGREGATION}.",
        )


def disaggregation_fits(config: Config) -> Iterator[Mistake]:
    """IP-SCH-036: prefill workers need plugins and profiles of their own; without them these are out of place."""
    if config.prefill:
        yield from _disaggregated(config)
    elif config.types & {"prefill-filter", "always-disagg-pd-decider", "prefix-based-pd-decider"}:
        yield Mistake(
            "IP-SCH-036",
            ("plugins",),
            "no plugins for prefill workers, as the model has none",
            "a configuration for prefill and decode",
            "Add prefill to the model, or take another configuration.",
            WARNING,
        )


def _disaggregated(config: Config) -> Iterator[Mistake]:
    handler = next((entry for entry in config.entries if _type(entry) in _DISAGGREGATION_HANDLERS), None)
    if handler is None:
        yield _missing(("plugins",), _DISAGGREGATION, "no plugin that runs prefill")
        return
    if not config.types & _HEADERS_HANDLERS:
        found = "nothing that tells decode pods which prefill pod to use"
        yield _missing(("plugins",), "disagg-headers-handler", found)
    if _type(handler) == _DISAGGREGATION and not _decider(handler.parameters):
        path: KeyPath = (*handler.path, "parameters", "deciders")
        yield _missing(path, "deciders.prefill", "no decider, so that prefill never runs")
    profiles = {profile.get("name"): (path, profile) for path, profile in config.profiles}
    for role, wanted in _ROLE_FILTERS.items():
        name = _profile_name(handler.parameters, role)
        if name not in profiles:
            found = or_list([str(key) for key in profiles]) if profiles else "no profile"
            yield _missing(("schedulingProfiles",), f"the profile {name}", found)
            continue
        path, profile = profiles[name]
        filters = {_type(use.entry) for use in config.uses(path, profile)}
        if not filters & {wanted, *_LABEL_FILTERS}:
            yield _missing((*path, "plugins"), wanted, f"the profile {name} without a filter for {role} pods")


def _profile_name(parameters: Mapping[str, Any], role: str) -> Any:
    return mapping(parameters.get("profiles")).get(role) or parameters.get(f"{role}Profile") or role


def _decider(parameters: Mapping[str, Any]) -> Any:
    nested = mapping(parameters.get("deciders")).get("prefill")
    return nested or parameters.get("prefillDeciderPluginName") or parameters.get("deciderPluginName")


def _missing(path: KeyPath, what: str, found: str) -> Mistake:
    expected = f"{what}, for a model with prefill workers"
    return Mistake("IP-SCH-036", path, expected, found, f"Add {what}, or use a named strategy.")


def _type(entry: Declared | None) -> str | None:
    return entry.plugin.type if entry and entry.plugin else None
