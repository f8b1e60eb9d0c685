"""Models that stay as an earlier release of the platform made them.

KServe notes in the status of a service which presets it began with, and keeps to them when
the platform is upgraded (platform.md 1.11). The presets decide the images of server and
scheduler, and with these how the service must be written: a scheduler of 3.4 does not read a
configuration of 3.5. So such a model is rendered for its own release until somebody moves it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from inference_platform.models.choice import means
from inference_platform.schema import or_list

#: Notes in status.annotations that say most about how a service must be written, the first that is there.
_DECISIVE = ("serving.kserve.io/config-llm-scheduler", "serving.kserve.io/config-llm-template")
#: What all notes begin with.
NOTE_PREFIX = "serving.kserve.io/config-llm-"


def releases_of_models(
    services: Iterable[Mapping[str, Any]], release: str, releases: Collection[str]
) -> dict[str, str]:
    """Id (namespace/name) and release of every service that is not of ``release``.

    services  live LLMInferenceServices
    releases  those of the catalogue; a service of none of them is taken for one of ``release``
    """
    own = {
        f"{item['metadata']['namespace']}/{item['metadata']['name']}": release_of(item, releases) for item in services
    }
    return {model: found for model, found in own.items() if found not in (None, release)}


def release_of(service: Mapping[str, Any], releases: Collection[str]) -> str | None:
    """The release of the presets that a service keeps to; None before KServe has chosen them."""
    notes = notes_of(service)
    # Of a model that was half moved the scheduler decides; one without scheduler has notes of other presets alone.
    preset = next((notes[note] for note in (*_DECISIVE, *notes) if note in notes), "")
    return next((name for name in releases if preset.startswith(_prefix(name))), None)


def unknown_here(release: str, releases: Iterable[str], models: Iterable[str], moved: Collection[str]) -> str:
    """A sentence for what is written or shown without a cluster, which alone knows the release of a model.

    release   of the inventory
    releases  those of the catalogue
    models    ids; those that ``moved`` (names or ids) means are of the release whatever made them

    Empty where no model can be of an earlier release.
    """
    earlier = sorted((name for name in releases if _number(name) < _number(release)), key=_number)
    if not earlier or all(means(moved, model) for model in models):
        return ""
    return (
        f"This is for release {release}; no cluster was asked. On a cluster a model that release {or_list(earlier)} "
        "made stays as that wrote it until models_move names it (docs/upgrade.md)."
    )


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def _prefix(release: str) -> str:
    return f"v{release.replace('.', '-')}-"


def notes_of(service: Mapping[str, Any]) -> dict[str, str]:
    """The presets that a service keeps to, by the name of the note."""
    notes = (service.get("status") or {}).get("annotations") or {}
    return {name: value for name, value in notes.items() if name.startswith(NOTE_PREFIX)}
