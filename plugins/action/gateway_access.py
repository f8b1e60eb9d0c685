"""Action inference.platform.gateway_access: labels namespaces. Documented in plugins/modules/gateway_access.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    result_of,
)


class ActionModule(PlatformAction):
    """Gives namespaces with models the labels by which the gateway is about to select them."""

    ARGUMENTS: ClassVar = {**CONNECTION, "gateway": {"type": "dict", "required": True}}

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import admission

        outcome = admission.open_up(self.connect(arguments), arguments["gateway"], check=self.check)
        return result_of([outcome], unchanged="the gateway admits the namespaces of models")
