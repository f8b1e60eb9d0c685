"""Read the catalogue files and check their shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from inference_platform import schema
from inference_platform.paths import CATALOG

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


#: In images.yml, in place of a digest: the tag whose digest is still to be looked up.
UNPINNED_TAG = "tag:"


class CatalogError(Exception):
    """The catalogue itself is wrong: a mistake of this project, not of its user."""


@dataclass(frozen=True)
class Catalog:
    """The catalogue as plain data, one attribute per file.

    ``releases`` is keyed by release ("3.4"), everything else as in its file.
    """

    layers: list[dict[str, Any]]
    gates: dict[str, list[dict[str, Any]]]
    releases: dict[str, dict[str, Any]]
    distributions: dict[str, dict[str, Any]]
    providers: dict[str, dict[str, Any]]
    images: dict[str, dict[str, Any]]
    crds: dict[str, dict[str, list[dict[str, Any]]]]
    charts: dict[str, dict[str, Any]]
    renamed: list[dict[str, str]]
    gated: list[dict[str, str]]


@cache
def load(folder: Path = CATALOG) -> Catalog:
    """The catalogue in ``folder``. Raises CatalogError naming file and path of each mistake."""
    releases = [_read(path, "release") for path in sorted((folder / "releases").glob("*.yml"))]
    return Catalog(
        layers=_read(folder / "layers.yml", "layers")["layers"],
        gates=_read(folder / "gates.yml", "gates")["gates"],
        releases={release["release"]: release for release in releases},
        distributions=_read(folder / "distributions.yml", "distributions")["distributions"],
        providers=_read(folder / "providers.yml", "providers")["providers"],
        images=_read(folder / "images.yml", "images")["images"],
        crds=_read(folder / "crds.yml", "crds")["sets"],
        charts=_read(folder / "charts.yml", "charts")["charts"],
        renamed=_read(folder / "renamed.yml", "renamed")["renamed"],
        gated=_read(folder / "gated_models.yml", "gated_models")["gated"],
    )


def _read(path: Path, definition: str) -> dict[str, Any]:
    data = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    checker = schema.validator(schema.load_schema("catalog"), definition)
    wrong = schema.mistakes(data, checker)
    if wrong:
        lines = "\n".join(
            f"  {path.name} {'.'.join(map(str, mistake.path))}: {mistake.kind}: "
            f"expected {mistake.expected}, found {mistake.found}"
            for mistake in wrong
        )
        raise CatalogError(f"the catalogue does not follow its schema:\n{lines}")
    return dict(data)


#: Keys of a release that a distribution adds to; it replaces the others.
_PUT_OVER = ("serving", "refusals")


def of_distribution(release: Mapping[str, Any], distribution: str) -> dict[str, Any]:
    """A release as a distribution has it; the release itself where the distribution differs in nothing."""
    own = release.get("of_distribution", {}).get(distribution, {})
    over = {key: {**release[key], **own[key]} for key in _PUT_OVER if key in own}
    return {**release, **own, **over}


def holds(when: Mapping[str, list[str]] | None, facts: Mapping[str, str]) -> bool:
    """Whether every fact named by ``when`` has one of the listed values; no ``when`` holds."""
    return all(facts.get(name) in values for name, values in (when or {}).items())
