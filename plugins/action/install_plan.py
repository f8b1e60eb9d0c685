"""Action inference.platform.install_plan: approves a version. Documented in plugins/modules/install_plan.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
)


class ActionModule(PlatformAction):
    """Approves the InstallPlan of the wanted version, and no other."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "subscription": {"type": "str", "required": True},
        "namespace": {"type": "str", "required": True},
        "csv": {"type": "str", "required": True},
        "timeout_seconds": {"type": "int", "default": 300},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import install_plan

        wanted = install_plan.Wanted(arguments["subscription"], arguments["namespace"], arguments["csv"])
        outcome = install_plan.approve(
            self.connect(arguments), wanted, timeout=arguments["timeout_seconds"], check=self.check
        )
        if not outcome.changed:
            return {"changed": False, "msg": f"{wanted.csv} is installed or approved"}
        plan = f"InstallPlan {outcome.plan}" if outcome.plan else "the InstallPlan to come"
        return {"changed": True, "msg": f"{plan} approved for {wanted.csv}"}
