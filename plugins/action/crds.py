"""Action inference.platform.crds: applies CRD sets. Documented in plugins/modules/crds.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    quantity,
    result_of,
)


class ActionModule(PlatformAction):
    """Finds the files of each set, then applies them all in one batch."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "layer": {"type": "str", "required": True},
        "sets": {"type": "dict", "required": True},
        "directory": {"type": "path"},
        "mirror": {"type": "str"},
        "cache": {"type": "path"},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import crds

        files = [
            file
            for name, lock in arguments["sets"].items()
            for file in crds.locate(
                name,
                lock["files"],
                directory=arguments["directory"] or None,
                mirror=arguments["mirror"] or None,
                cache=arguments["cache"] or None,
            )
        ]
        # One label only: operators that adopt a CRD overwrite the usual ones.
        labels = {"inference-platform.io/layer": arguments["layer"]}
        outcome = crds.apply_crds(self.connect(arguments), files, check=self.check, labels=labels)
        return result_of([outcome], unchanged=f"{quantity(len(files), 'CRD')} as wanted")
