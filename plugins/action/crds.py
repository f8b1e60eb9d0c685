"""Action inference.platform.crds: applies CRD sets. Documented in plugins/modules/crds.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.inference.platform.plugins.action.gate import in_one_line
from ansible_collections.inference.platform.plugins.plugin_utils.live import Waiting
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    quantity,
    result_of,
)


class ActionModule(PlatformAction):
    """Finds the files of each set, applies them all in one batch, and waits until the new ones are served.

    Without the wait, the releases that follow can meet an API server that does not know their kinds yet.
    """

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "layer": {"type": "str", "required": True},
        "sets": {"type": "dict", "required": True},
        "directory": {"type": "path"},
        "mirror": {"type": "str"},
        "cache": {"type": "path"},
        "adopted": {"type": "list", "elements": "str", "default": []},
        "wait": {"type": "bool", "default": True},
        "timeout_seconds": {"type": "int", "default": 300},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import crds, gate

        files = [
            file
            for name, lock in arguments["sets"].items()
            for file in crds.locate(
                name,
                lock["files"],
                directory=arguments["directory"] or None,
                mirror=arguments["mirror"] or None,
                cache=arguments["cache"] or None,
                shared_with=lock.get("shared_with", ""),
            )
        ]
        # One label only: operators that adopt a CRD overwrite the usual ones.
        labels = {"inference-platform.io/layer": arguments["layer"]}
        cluster = self.connect(arguments)
        force = arguments["layer"] in arguments["adopted"]
        outcome = crds.apply_crds(cluster, files, check=self.check, labels=labels, force=force)
        if arguments["wait"] and outcome.changes and not outcome.errors and not self.check:
            line = Waiting(Display())
            gate.wait(
                cluster,
                [{"check": "crds", "names": sorted(change.ref.name for change in outcome.changes)}],
                timeout=arguments["timeout_seconds"],
                title=f"the CRDs of {arguments['layer']}",
                on_progress=lambda progress: line.say(progress.elapsed, in_one_line(progress)),
            )
        return result_of([outcome], unchanged=f"{quantity(len(files), 'CRD')} as wanted")
