"""Action inference.platform.gate: waits for checks to hold. Documented in plugins/modules/gate.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.inference.platform.plugins.plugin_utils.live import Waiting
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    quantity,
)


class ActionModule(PlatformAction):
    """Waits, showing what for. In check mode it looks once and never fails."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "title": {"type": "str", "default": ""},
        "checks": {"type": "list", "elements": "dict", "required": True},
        "timeout_seconds": {"type": "int", "default": 300},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import gate

        cluster, checks = self.connect(arguments), arguments["checks"]
        if self.check:
            return look(gate.evaluate(cluster, checks))
        line = Waiting(Display())
        result = gate.wait(
            cluster,
            checks,
            timeout=arguments["timeout_seconds"],
            title=arguments["title"],
            on_progress=lambda progress: line.say(progress.elapsed, in_one_line(progress)),
        )
        return {"changed": False, "msg": holds(result.total), "waiting": []}


def look(result: Any) -> dict[str, Any]:
    """The result of a gate in check mode: says what a run would wait for."""
    waiting = [str(item) for item in result.waiting]
    if not waiting:
        return {"changed": False, "msg": holds(result.total), "waiting": []}
    head = f"skipped in check mode; {len(waiting)} of {result.total} checks do not hold yet"
    return {"changed": False, "msg": f"{head}, first {waiting[0]}", "waiting": waiting}


def in_one_line(progress: Any) -> str:
    """What a gate waits for: the first check with what is known about it, and how many more."""
    first = progress.waiting[0]
    more = f" (and {len(progress.waiting) - 1} more)" if len(progress.waiting) > 1 else ""
    detail = f"; {first.details[0]}" if first.details else ""
    return f"{progress.done} of {progress.total} hold; {first}{more}{detail}"


def holds(total: int) -> str:
    """Says that all checks hold."""
    return f"{quantity(total, 'check')} {'holds' if total == 1 else 'hold'}"
