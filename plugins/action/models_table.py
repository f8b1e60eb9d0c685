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
        from inference_platform.cluster import model_overview
        from inference_platform.models import overview

        platform = arguments["platform"]
        seen = overview.Seen(**model_overview.read(self.connect(arguments), platform))
        rendered = handover.take(arguments["rendered"])
        every = overview.rows(rendered.objects, seen, platform["serving"]["gpu"])
        rows = named(every, arguments["only"], rendered.ids)
        return {
            "changed": False,
            "msg": "\n".join(filter(None, (overview.totals(rows), overview.as_text(rows)))),
            "models": [row.to_dict() for row in rows],
        }


def named(rows: list[Any], only: list[str], listed: list[str]) -> list[Any]:
    """The rows of the named models, all without names; fails for one neither among ``listed`` ids nor in a row."""
    from inference_platform.models.choice import means, unknown

    wrong = unknown(only, {*listed, *(row.model for row in rows)})
    if wrong:
        raise AnsibleActionFail(f"only: expected models of the inventory or of this installer in the cluster, {wrong}")
    return [row for row in rows if not only or means(only, row.model)]
