"""Action inference.platform.models_explain: origins of values. Documented in plugins/modules/models_explain.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible_collections.inference.platform.plugins.plugin_utils import handover
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import PlatformAction, plain

LAYERS = ("models", "model_defaults", "model_profiles", "node_pools", "traffic_groups", "model_routes")


class ActionModule(PlatformAction):
    """Shows the merged entry of one model and its objects, with the origin of each value. Needs no cluster."""

    ARGUMENTS: ClassVar = {
        "model": {"type": "str", "required": True},
        "rendered": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "move": {"type": "list", "elements": "str", "default": []},
        "inventories": {"type": "list", "elements": "path"},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform import catalog
        from inference_platform.inventory import Sources
        from inference_platform.models import explain, kept

        known = self.task_vars
        variables = {name: plain(self._templar.template(known[name])) for name in LAYERS if name in known}
        try:
            explanation = explain.explain(
                arguments["model"],
                handover.take(arguments["rendered"]),
                variables,
                arguments["platform"],
                Sources.load(arguments["inventories"] or known["ansible_inventory_sources"]),
            )
        except explain.UnknownModelError as error:
            # Without its cause, which Ansible would print once more.
            raise AnsibleActionFail(f"model: {error}") from None
        release, releases = arguments["platform"]["release"], catalog.load().releases
        aside = kept.unknown_here(release, releases, [explanation.model], arguments["move"])
        return {"changed": False, "msg": "\n\n".join(filter(None, (explain.as_text(explanation), aside)))}
