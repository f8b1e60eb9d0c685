"""Action inference.platform.resources: applies objects. Documented in plugins/modules/resources.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    quantity,
    result_of,
)


class ActionModule(PlatformAction):
    """Applies a list of objects with server-side apply, in one batch."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "objects": {"type": "list", "elements": "dict", "required": True},
        "force": {"type": "bool", "default": False},
        "prune": {"type": "dict"},
        "gateway": {"type": "dict"},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import admission, apply
        from inference_platform.cluster.objects import Ref

        cluster, objects, prune = self.connect(arguments), arguments["objects"], arguments["prune"]
        if arguments["gateway"]:
            objects = admission.still_admitted(cluster, arguments["gateway"], objects)
        outcomes = [apply.apply(cluster, objects, check=self.check, force=arguments["force"])]
        if prune:
            kinds = [(kind["api_version"], kind["kind"]) for kind in prune["kinds"]]
            served = [kind for kind in kinds if cluster.discovery().find(*kind)]
            outcomes.append(apply.prune(cluster, served, prune["selector"], map(Ref.of, objects), check=self.check))
        return result_of(outcomes, unchanged=f"{quantity(len(objects), 'object')} as wanted")
