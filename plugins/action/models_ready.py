"""Action inference.platform.models_ready: waits for models. Documented in plugins/modules/models_ready.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.inference.platform.plugins.plugin_utils import handover, run_lock
from ansible_collections.inference.platform.plugins.plugin_utils.live import Waiting
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    quantity,
)


class ActionModule(PlatformAction):
    """Waits for all models at once by a watch. In check mode it looks once and never fails."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "rendered": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "only": {"type": "list", "elements": "str", "default": []},
        "without": {"type": "list", "elements": "str", "default": []},
        "timeout_seconds": {"type": "int", "default": 1800},
        "patience_seconds": {"type": "float", "default": 30.0},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import model_wait, models
        from inference_platform.cluster.readiness import Surroundings

        platform, left_out = arguments["platform"], frozenset(arguments["without"])
        choice = models.Choice(only=frozenset(arguments["only"]))
        targets = [
            target
            for target in model_wait.targets_of(handover.take(arguments["rendered"]).objects)
            if choice.covers(target.model) and target.model not in left_out
        ]
        around = Surroundings(
            platform["namespaces"]["applications"], bool(platform["serving"]["gateway"]["address_required"])
        )
        cluster, api_version = self.connect(arguments), platform["serving"]["api_version"]
        if self.check:
            return look(model_wait.look(cluster, api_version, targets, around), len(targets))
        line, stay = Waiting(Display()), run_lock.while_waiting(cluster)

        def on_progress(progress: Any) -> None:
            stay()
            line.say(progress.elapsed, in_one_line(progress))

        result = model_wait.wait(
            cluster,
            api_version,
            targets,
            around,
            timeout=arguments["timeout_seconds"],
            patience=arguments["patience_seconds"],
            on_progress=on_progress,
        )
        return {"changed": False, "msg": ready(result, len(targets)), "seconds": dict(result.seconds), "waiting": []}


def look(result: Any, total: int) -> dict[str, Any]:
    """The result in check mode: says what a run would wait for."""
    waiting = [str(item) for item in result.waiting]
    told = {"changed": False, "seconds": dict(result.seconds), "waiting": waiting}
    if not waiting:
        return {**told, "msg": ready(result, total)}
    return {**told, "msg": f"skipped in check mode; {len(waiting)} of {total} are not ready yet, first {waiting[0]}"}


def ready(result: Any, total: int) -> str:
    """Says that all are ready, and which took longest if it took long."""
    text = f"{quantity(total, 'model')} ready"
    slowest = result.slowest
    if slowest and total > 1 and result.seconds[slowest] >= 1:
        text += f", slowest {slowest} after {result.seconds[slowest]:.0f} s"
    return text


def in_one_line(progress: Any) -> str:
    """How many are ready, which one is not, and why: what the state means, where that is known, not its message."""
    others = progress.total - progress.ready - 1
    more = f" (and {others} more)" if others > 0 else ""
    slowest = progress.slowest
    why = slowest.verdict.why.partition(": ")[0] if slowest.verdict.meaning else slowest.verdict.why
    detail = f"; {slowest.details[0]}" if slowest.details else ""
    known = f"; {slowest.verdict.meaning}" if slowest.verdict.meaning and not detail else ""
    return f"{progress.ready} of {progress.total} ready; {slowest.model}: {why}{more}{detail}{known}"
