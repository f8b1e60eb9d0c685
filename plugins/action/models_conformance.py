"""Action inference.platform.models_conformance: runs profiles. Documented in plugins/modules/models_conformance.py."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.inference.platform.plugins.plugin_utils import handover
from ansible_collections.inference.platform.plugins.plugin_utils.live import Waiting
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    quantity,
)


class ActionModule(PlatformAction):
    """Sends the requests of conformance profiles, and reads what the pods counted. In check mode it sends none."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "rendered": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "profiles": {"type": "list", "elements": "str", "default": []},
        "only": {"type": "list", "elements": "str", "default": []},
        "required": {"type": "bool", "default": False},
        "patience_seconds": {"type": "float", "default": 10.0},
        "note": {"type": "str", "default": ""},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import conformance, front, model_subjects, models
        from inference_platform.cluster.conformance_cases import Cases
        from inference_platform.cluster.readiness import Surroundings

        chosen = profiles_of(conformance.profiles(), arguments["profiles"])
        if self.check:
            return {"changed": False, "msg": "skipped in check mode"}
        platform = arguments["platform"]
        choice = models.Choice(only=frozenset(arguments["only"]))
        around = Surroundings(
            platform["namespaces"]["applications"], bool(platform["serving"]["gateway"]["address_required"])
        )
        objects = handover.take(arguments["rendered"]).objects
        wanted = [item for item in objects if (model := models.model_of(item)) is None or choice.covers(model)]
        cluster = self.connect(arguments)
        cases = Cases(wanted, model_subjects.subjects_of(cluster, wanted, around))
        line, began = Waiting(Display()), time.monotonic()
        results = conformance.conform(
            cluster,
            chosen,
            cases,
            tls=bool(platform["serving"]["tls"]),
            patience=arguments["patience_seconds"],
            on_progress=lambda what: line.count(time.monotonic() - began, "testing", what),
            front=front.front_of(cluster, platform["gateway"]),
        )
        return told(results, conformance, arguments)


def profiles_of(known: Any, names: list[str]) -> list[Any]:
    """The profiles to run: those that are named, or all."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise AnsibleActionFail(f"profiles: expected some of {', '.join(known)}, found {', '.join(unknown)}.")
    return [known[name] for name in names or known]


def told(results: list[Any], conformance: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The result: a failure when a check failed, or something could not be reached although that was required."""
    unreached = sum(item.result.count(conformance.UNREACHABLE) for item in results)
    tried = sum(1 for item in results if item.result.models)
    bad = [item.profile.name for item in results if item.failed]
    verdict = f"failed: {', '.join(bad)}" if bad else "none failed"
    answer: dict[str, Any] = {
        "changed": False,
        "msg": f"{quantity(tried, 'profile')} tried, {verdict}\n{conformance.report(results, arguments['note'])}",
        "failed_profiles": bad,
    }
    return {**answer, "failed": True} if bad or (arguments["required"] and unreached) else answer
