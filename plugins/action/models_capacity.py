"""Action inference.platform.models_capacity: room for the models. Documented in plugins/modules/models_capacity.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils import handover
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    quantity,
)


class ActionModule(PlatformAction):
    """Says how much memory models need, where their pods would go, and which machines would take them."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "rendered": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "instance_types": {"type": "list", "elements": "dict", "default": []},
        "live": {"type": "bool", "default": True},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.models.capacity import overview

        rendered = handover.take(arguments["rendered"])
        seen = None
        if arguments["live"]:
            cluster = self.connect(arguments)
            running = "status.phase!=Succeeded,status.phase!=Failed"
            seen = cluster.list("v1", "Node"), cluster.list("v1", "Pod", field_selector=running)
        own = arguments["instance_types"]
        text = overview.as_text(rendered.entries, rendered.objects, arguments["platform"], seen, own)
        return {"changed": False, "msg": f"{quantity(len(rendered.entries), 'model')}\n{text}"}
