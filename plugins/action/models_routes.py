"""Action inference.platform.models_routes: looks at routes. Documented in plugins/modules/models_routes.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.inference.platform.plugins.plugin_utils import handover
from ansible_collections.inference.platform.plugins.plugin_utils.live import Waiting
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    quantity,
)


class ActionModule(PlatformAction):
    """Waits until the routes of the inventory lead somewhere. In check mode it looks once and never fails."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "rendered": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "limit": {"type": "list", "elements": "str"},
        "patience_seconds": {"type": "float", "default": 30.0},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import route_wait

        limit = arguments["limit"]
        every = route_wait.routes_of(handover.take(arguments["rendered"]).objects)
        wanted = [route for route in every if limit is None or route.place in limit]
        cluster, pool_group = self.connect(arguments), arguments["platform"]["serving"]["pool_group"]
        if self.check:
            return told(route_wait.look(cluster, wanted, pool_group))
        line = Waiting(Display())
        result = route_wait.wait(
            cluster,
            wanted,
            pool_group,
            patience=arguments["patience_seconds"],
            on_progress=lambda elapsed, seen: line.say(elapsed, str(seen.problems[0])),
        )
        return told(result)


def told(result: Any) -> dict[str, Any]:
    """Says that all routes lead to models, or in check mode what does not yet."""
    problems = [str(problem) for problem in result.problems]
    text = f"{quantity(result.total, 'route')} in place" if result.total else "no routes beside those of the models"
    if problems:
        text = f"skipped in check mode; {quantity(len(problems), 'problem')}, first {problems[0]}"
    return {"changed": False, "msg": text, "problems": problems}
