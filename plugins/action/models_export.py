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
        "only": {"type": "list", "elements": "str", "default": []},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import models
        from inference_platform.cluster.objects import prepare
        from inference_platform.models import export

        choice = models.Choice(only=frozenset(arguments["only"]))
        objects = [prepare(item) for item in choice.of(handover.take(arguments["rendered"]).objects)]
        folder = Path(arguments["directory"])
        written = export.write(folder, export.files(objects), check=self.check)
        return {"changed": bool(written), "msg": told(written, folder), "directory": str(folder)}


def told(written: Any, folder: Path) -> str:
    """How many files were made, changed and removed, with the names of a few."""
    parts = ("created", "changed", "removed")
    counts = [f"{len(getattr(written, part))} {part}" for part in parts if getattr(written, part)]
    if not counts:
        return f"{quantity(written.unchanged, 'file')} as wanted in {folder}"
    names = [*written.changed, *written.removed]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    shown = f" ({', '.join(names[:MOST_NAMED])}{more})" if names else ""
    return f"{', '.join(counts)}{shown} in {folder}"
