"""Action inference.platform.models_export: writes files. Documented in plugins/modules/models_export.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils import handover
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import PlatformAction, quantity

MOST_NAMED = 10


class ActionModule(PlatformAction):
    """Writes what inference.platform.models would apply, without looking at a cluster."""

    ARGUMENTS: ClassVar = {
        "rendered": {"type": "path", "required": True},
        "directory": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "only": {"type": "list", "elements": "str", "default": []},
        "move": {"type": "list", "elements": "str", "default": []},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform import catalog
        from inference_platform.cluster import models
        from inference_platform.cluster.objects import Ref, prepare
        from inference_platform.models import export, kept

        choice = models.Choice(only=frozenset(arguments["only"]))
        folder = Path(arguments["directory"])
        earlier = export.read(folder) if choice.only else {}
        beside = [path for path, item in earlier.items() if not choice.covers(models.model_of(item))]
        rendered = handover.take(arguments["rendered"])
        selection = choice.of(rendered.objects, filter(None, earlier.values()))
        # Quotas, priorities and node pools too; a namespace that models need is written as they make it.
        every = {Ref.of(obj): obj for obj in (*arguments["platform"]["capacity"], *selection.objects)}
        files = export.files(map(prepare, every.values()), beside)
        written = export.write(folder, files, beside=frozenset(beside), check=self.check)
        others = len(set(beside) - files.keys())
        ids = {f"{model.namespace}/{model.name}" for model in rendered.models}
        release, releases = arguments["platform"]["release"], catalog.load().releases
        aside = kept.unknown_here(release, releases, filter(choice.covers, ids), arguments["move"])
        return {
            "changed": bool(written),
            "msg": "\n".join(filter(None, (told(written, folder, others), aside))),
            "warnings": list(selection.notes),
            "directory": str(folder),
        }


def told(written: Any, folder: Path, others: int) -> str:
    """How many files were made, changed and removed, with the names of a few, and how many ``others`` were kept."""
    kept = f"; {quantity(others, 'file')} of other models kept" if others else ""
    return f"{_done(written, folder)}{kept}"


def _done(written: Any, folder: Path) -> str:
    parts = ("created", "changed", "removed")
    counts = [f"{len(getattr(written, part))} {part}" for part in parts if getattr(written, part)]
    if not counts:
        return f"{quantity(written.unchanged, 'file')} as wanted in {folder}"
    names = [*written.changed, *written.removed]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    shown = f" ({', '.join(names[:MOST_NAMED])}{more})" if names else ""
    return f"{', '.join(counts)}{shown} in {folder}"
