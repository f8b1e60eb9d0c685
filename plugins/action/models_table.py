"""Action inference.platform.models_table: all models at a glance. Documented in plugins/modules/models_table.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible_collections.inference.platform.plugins.plugin_utils import handover
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import CONNECTION, PlatformAction


class ActionModule(PlatformAction):
    """Reads the models of inventory and cluster, and shows one row for each."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "rendered": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "only": {"type": "list", "elements": "str", "default": []},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import model_overview, models
        from inference_platform.models import overview
        from inference_platform.models.choice import unknown

        platform, choice = arguments["platform"], models.Choice(only=frozenset(arguments["only"]))
        seen = overview.Seen(**model_overview.read(self.connect(arguments), platform))
        rendered = handover.take(arguments["rendered"])
        rows = overview.rows(rendered.objects, seen, platform["serving"]["gpu"])
        wrong = unknown(arguments["only"], [*rendered.ids, *(row.model for row in rows)])
        if wrong:
            raise AnsibleActionFail(
                f"only: expected models of the inventory or of this installer in the cluster, {wrong}"
            )
        rows = [row for row in rows if choice.covers(row.model)]
        return {
            "changed": False,
            "msg": "\n".join(filter(None, (overview.totals(rows), overview.as_text(rows)))),
            "models": [row.to_dict() for row in rows],
        }
