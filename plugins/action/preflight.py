"""Action inference.platform.preflight: looks at the cluster. Documented in plugins/modules/preflight.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible_collections.inference.platform.plugins.plugin_utils import handover, plan_table
from ansible_collections.inference.platform.plugins.plugin_utils.findings import as_table
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
)


class ActionModule(PlatformAction):
    """Reads the cluster's version, rights, nodes and pods; fails with everything that stands in the way."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "platform": {"type": "dict", "required": True},
        "rendered": {"type": "path", "required": True},
        "helm": {"type": "path"},
        "inventories": {"type": "list", "elements": "path"},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import preflight
        from inference_platform.findings import errors
        from inference_platform.models import capacity

        platform = arguments["platform"]
        cluster = self.connect(arguments)
        writes = () if is_installed(cluster, platform) else preflight.MAIN_WRITES
        seen = preflight.examine(cluster, writes=writes, helm=arguments["helm"] or None)
        rendered = handover.take(arguments["rendered"])
        findings = list(seen.findings)
        if seen.sees_nodes:
            findings += capacity.check(
                rendered.models,
                seen.nodes,
                seen.pods,
                platform["serving"]["gpu"],
                places(arguments["inventories"] or self.task_vars["ansible_inventory_sources"]),
                objects=rendered.objects,
                changing=preflight.changing_models(cluster, rendered.objects, seen.pods),
            ).findings
        if errors(findings):
            raise AnsibleActionFail(
                f"The cluster cannot take this inventory; nothing was written.\n{as_table(findings)}"
            )
        name = f"{cluster.access.server} (context {cluster.access.context}, Kubernetes {seen.version})"
        return {
            "changed": False,
            "warnings": [str(finding) for finding in findings],
            "msg": plan_table.as_text(platform, name, rendered.models),
        }


def places(inventories: Iterable[str]) -> Callable[[Any, str], str]:
    """Says where a field of a model is written; the inventory is read when that is asked for the first time."""

    @cache
    def sources() -> Any:
        from inference_platform.inventory import Sources

        return Sources.load(inventories)

    def where(model: Any, field: str) -> str:
        path = sources().path_of_model(model.name) or ("models",)
        return f"{sources().where((*path, field))} ({model.name})"

    return where


def is_installed(cluster: Any, platform: Mapping[str, Any]) -> bool:
    """Whether an earlier run began to install: then its objects prove the rights of this user.

    Asking for rights creates review requests; a run that changes nothing sends none. A user who may
    not even look is asked about, to hear of all missing rights at once.
    """
    from inference_platform.cluster.errors import Forbidden

    try:
        return cluster.get("v1", "Namespace", platform["namespaces"]["applications"]) is not None
    except Forbidden:
        return False
