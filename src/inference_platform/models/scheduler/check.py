"""Check an EndpointPickerConfig, whoever wrote it, for the program that will read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from inference_platform.findings import show
from inference_platform.models.scheduler import rules_plugins, rules_profiles, rules_sections
from inference_platform.models.scheduler.catalogue import load
from inference_platform.models.scheduler.config import Config, Rule
from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.schema import KeyPath

CONFIG_RULES: tuple[Rule, ...] = (
    rules_sections.shape_is_right,
    rules_sections.sections_are_known,
    rules_plugins.plugins_exist,
    rules_plugins.plugin_names_are_unique,
    rules_plugins.plugin_types_are_current,
    rules_plugins.parameters_fit,
    rules_profiles.profile_names_are_unique,
    rules_profiles.profiles_use_declared_plugins,
    rules_profiles.profiles_use_plugins_that_act,
    rules_profiles.weights_are_sane,
    rules_profiles.profiles_have_one_picker,
    rules_profiles.there_is_one_profile_handler,
    rules_plugins.references_resolve,
    rules_sections.gates_exist,
    rules_sections.gates_are_on,
    rules_profiles.disaggregation_fits,
    rules_sections.data_sources_resolve,
    rules_sections.flow_control_fits,
    rules_plugins.helpers_are_there,
)


def check_config(
    config: Mapping[str, Any], program: str, path: KeyPath = (), *, prefill: bool = False
) -> list[Mistake]:
    """All mistakes of an EndpointPickerConfig for a program (``serving["endpoint_picker"]``).

    ``path`` is where the configuration is in the model entry and comes before each path;
    ``prefill`` says whether the model has prefill workers.
    """
    catalogue = load()
    subject = Config(config, catalogue.programs[program], catalogue, prefill)
    found = [mistake for rule in CONFIG_RULES for mistake in rule(subject)]
    return [replace(mistake, path=(*path, *mistake.path)) for mistake in found]


def check_flags(args: Sequence[Any], program: str, path: KeyPath = ()) -> Iterator[Mistake]:
    """IP-SCH-037: arguments of the scheduler container with which the program does not start."""
    removed = load().programs[program].removed_flags
    for index, word in enumerate(args):
        flag = re.sub(r"^-(?=[a-z])", "--", str(word).split("=")[0])
        if flag in removed:
            yield Mistake(
                "IP-SCH-037",
                (*path, index),
                "flags that the scheduler has",
                f"{show(flag)}, with which it does not start",
                f"Remove {flag}; give metrics by a plugin of type model-server-protocol-metrics with engineConfigs.",
            )
