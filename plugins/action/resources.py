"""Action inference.platform.resources: applies objects. Documented in plugins/modules/resources.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    quantity,
    result_of,
)


class ActionModule(PlatformAction):
    """Applies a list of objects with server-side apply, in one batch."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "objects": {"type": "list", "elements": "dict", "required": True},
        "force": {"type": "bool", "default": False},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import apply

        objects = arguments["objects"]
        outcome = apply.apply(self.connect(arguments), objects, check=self.check, force=arguments["force"])
        return result_of([outcome], unchanged=f"{quantity(len(objects), 'object')} as wanted")
