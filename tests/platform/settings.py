"""What the checks are told by the environment: which cluster to look at, and the plan that must hold there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inference_platform.findings import InventoryError
from inference_platform.platform import resolve
from tests.platform.expectations import PARTS, Expectations, expectations

SEE = "See tests/platform/README.md."
#: Variables that say the settings of an inventory, where no plan is given, and what they are named there.
SETTINGS = {
    "PLATFORM_RELEASE": "platform_release",
    "PLATFORM_DISTRIBUTION": "distribution",
    "PLATFORM_PROVIDER": "provider",
}


class SettingsError(Exception):
    """The environment does not say what to check; the text says what is missing."""


@dataclass(frozen=True)
class Settings:
    """Which cluster to look at and what must be there. ``models`` None: those on the cluster."""

    kubeconfig: str
    context: str | None
    expected: Expectations
    models: tuple[tuple[str, str], ...] | None
    report: str | None


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Reads the PLATFORM_ variables. Raises SettingsError with the name of what is missing or wrong."""
    plan = _given_plan(environment) if environment.get("PLATFORM_PLAN") else _resolved_plan(environment)
    return Settings(
        kubeconfig=_required(environment, "PLATFORM_KUBECONFIG", "the kubeconfig of the cluster to check"),
        context=environment.get("PLATFORM_CONTEXT") or None,
        expected=expectations(plan),
        models=_models(environment.get("PLATFORM_MODELS", "")),
        report=environment.get("PLATFORM_REPORT") or None,
    )


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name}: expected {meaning}, found nothing. {SEE}")
    return value


def _given_plan(environment: Mapping[str, str]) -> dict[str, Any]:
    """The plan, or what the checks need of it, that playbooks/verify.yml gives as JSON."""
    try:
        plan = json.loads(environment["PLATFORM_PLAN"])
    except ValueError as error:
        raise SettingsError(f"PLATFORM_PLAN: expected a plan as JSON, found something else: {error}. {SEE}") from error
    missing = [name for name in PARTS if not (isinstance(plan, dict) and name in plan)]
    if missing:
        raise SettingsError(f"PLATFORM_PLAN: expected {', '.join(PARTS)}, found no {', '.join(missing)}. {SEE}")
    return dict(plan)


def _resolved_plan(environment: Mapping[str, str]) -> dict[str, Any]:
    """The plan for the settings that the environment says, and those of the files that it names."""
    settings: dict[str, Any] = {}
    for name in filter(None, environment.get("PLATFORM_SETTINGS", "").split(",")):
        settings |= _settings_file(Path(name.strip()).expanduser())
    settings |= {key: environment[name] for name, key in SETTINGS.items() if environment.get(name)}
    for name in ("PLATFORM_RELEASE", "PLATFORM_PROVIDER"):
        if not settings.get(SETTINGS[name]):
            _required({}, name, f"the {SETTINGS[name]} of the inventory")
    try:
        return resolve(settings).to_dict()
    except InventoryError as error:
        raise SettingsError(f"PLATFORM_RELEASE, PLATFORM_PROVIDER, PLATFORM_SETTINGS: {error}") from error


def _settings_file(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"PLATFORM_SETTINGS: expected a YAML file with settings, found {path}: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"PLATFORM_SETTINGS: expected settings by name in {path}, found something else.")
    return found


def _models(text: str) -> tuple[tuple[str, str], ...] | None:
    models = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        namespace, slash, name = entry.partition("/")
        if not (namespace and slash and name):
            raise SettingsError(f'PLATFORM_MODELS: expected namespace/name, found "{entry}".')
        models.append((namespace, name))
    return tuple(models) or None
