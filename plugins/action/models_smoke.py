"""Action inference.platform.models_smoke: asks models for answers. Documented in plugins/modules/models_smoke.py."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.inference.platform.plugins.plugin_utils import handover
from ansible_collections.inference.platform.plugins.plugin_utils.live import Waiting
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
)


class ActionModule(PlatformAction):
    """Sends requests from this machine to the models that can be reached from it. In check mode it sends none."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "rendered": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "only": {"type": "list", "elements": "str", "default": []},
        "limit": {"type": "list", "elements": "str"},
        "required": {"type": "bool", "default": False},
        "patience_seconds": {"type": "float", "default": 10.0},
        "note": {"type": "str", "default": ""},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import front, model_subjects, models, smoke
        from inference_platform.cluster.readiness import Surroundings

        if self.check:
            return {"changed": False, "msg": "skipped in check mode", "summary": "", "answered": []}
        platform, limit = arguments["platform"], arguments["limit"]
        choice = models.Choice(only=frozenset(arguments["only"]))
        around = Surroundings(
            platform["namespaces"]["applications"], bool(platform["serving"]["gateway"]["address_required"])
        )
        wanted = [
            item
            for item in handover.take(arguments["rendered"]).objects
            if (model := models.model_of(item)) and choice.covers(model) and (limit is None or model in limit)
        ]
        cluster = self.connect(arguments)
        subjects = model_subjects.subjects_of(cluster, wanted, around)
        line, began = Waiting(Display()), time.monotonic()
        result = smoke.smoke(
            subjects,
            patience=arguments["patience_seconds"],
            on_progress=lambda done, total: line.count(
                time.monotonic() - began, "testing", f"{done} of {total} models"
            ),
            front=front.front_of(cluster, platform["gateway"]) if subjects else None,
        )
        return told(result, smoke, arguments)


def told(result: Any, smoke: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The result: a failure when a model answered wrongly, or could not be reached although that was required."""
    unreached = result.count(smoke.UNREACHABLE)
    failed = bool(result.count(smoke.FAILED) or (arguments["required"] and unreached))
    text = result.summary
    if result.models and (failed or unreached or len(result.models) <= 20):
        text = f"{text}\n{smoke.table(result, arguments['note'])}"
    answer: dict[str, Any] = {"changed": False, "msg": text, "summary": result.summary}
    answer["answered"] = [item.model for item in result.models if item.state == smoke.PASSED]
    return {**answer, "failed": True} if failed else answer
