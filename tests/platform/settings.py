"""What the checks are told by the environment, and what they must find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

EXPECTED = Path(__file__).parents[2] / "catalog" / "expected.yml"


class SettingsError(Exception):
    """The environment does not say what to check; the text says what is missing."""


@dataclass(frozen=True)
class Settings:
    """Which cluster to look at and what must be there. ``models`` None: those on the cluster."""

    kubeconfig: str
    context: str | None
    release: str
    provider: str
    models: tuple[tuple[str, str], ...] | None
    report: str | None


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Reads the PLATFORM_ variables. Raises SettingsError with the name of what is missing or wrong."""
    return Settings(
        kubeconfig=_required(environment, "PLATFORM_KUBECONFIG", "the kubeconfig of the cluster to check"),
        context=environment.get("PLATFORM_CONTEXT") or None,
        release=_required(environment, "PLATFORM_RELEASE", "the platform_release of the inventory"),
        provider=_required(environment, "PLATFORM_PROVIDER", "the provider of the inventory"),
        models=_models(environment.get("PLATFORM_MODELS", "")),
        report=environment.get("PLATFORM_REPORT") or None,
    )


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name}: expected {meaning}, found nothing. See tests/platform/README.md.")
    return value


def _models(text: str) -> tuple[tuple[str, str], ...] | None:
    models = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        namespace, slash, name = entry.partition("/")
        if not (namespace and slash and name):
            raise SettingsError(f'PLATFORM_MODELS: expected namespace/name, found "{entry}".')
        models.append((namespace, name))
    return tuple(models) or None


def expectations(release: str, provider: str) -> dict[str, Any]:
    """The part of catalog/expected.yml for a release on a provider, with its placeholders filled in."""
    releases: dict[str, dict[str, Any]] = yaml.safe_load(EXPECTED.read_text(encoding="utf-8"))["releases"]
    if release not in releases:
        known = ", ".join(releases)
        raise SettingsError(f'PLATFORM_RELEASE: expected one of {known}, found "{release}".')
    found = releases[release]
    if provider not in found["providers"]:
        known = ", ".join(found["providers"])
        raise SettingsError(f'PLATFORM_PROVIDER: expected one of {known}, found "{provider}".')
    lists = ("namespaces", "deployments", "services")
    return found | {name: _for_provider(found[name], provider) for name in lists}


def _for_provider(entries: list[dict[str, Any]], provider: str) -> list[dict[str, Any]]:
    return [
        entry | {"name": entry["name"].replace("{provider}", provider)}
        for entry in entries
        if provider in entry.get("only", [provider])
    ]
