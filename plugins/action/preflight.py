"""Action inference.platform.preflight: looks at the cluster. Documented in plugins/modules/preflight.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible_collections.inference.platform.plugins.plugin_utils import handover, plan_table
from ansible_collections.inference.platform.plugins.plugin_utils.findings import as_table
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
)


class ActionModule(PlatformAction):
    """Checks the cluster, decides who owns what, and fails with everything that stands in the way."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "settings": {"type": "dict", "required": True},
        "rendered": {"type": "path", "required": True},
        "directory": {"type": "path", "required": True},
        "helm": {"type": "path"},
        "crd_mirror": {"type": "str"},
        "crd_cache": {"type": "path"},
        "chart_mirror": {"type": "str"},
        "chart_cache": {"type": "path"},
        "inventories": {"type": "list", "elements": "path"},
        "every_check": {"type": "bool", "default": False},
        "installs": {"type": "bool", "default": True},
        "layers": {"type": "list", "elements": "str"},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.findings import errors
        from inference_platform.preflight import examine

        cluster = self.connect(arguments)
        rendered = handover.take(arguments["rendered"])
        settings = arguments["settings"]
        sources = reader(arguments["inventories"] or self.task_vars["ansible_inventory_sources"])
        found = examine.examine(
            cluster,
            settings,
            rendered,
            helm=arguments["helm"] or None,
            crd_source=examine.CrdSource(
                settings.get("crd_directory") or None,
                arguments["crd_mirror"] or None,
                arguments["crd_cache"] or None,
            ),
            chart_source=examine.ChartSource(arguments["chart_mirror"] or None, arguments["chart_cache"] or None),
            where=places(sources),
            sources=sources,
            installs=arguments["installs"],
            layers=arguments["layers"],
            asks_all=arguments["every_check"],
        )
        plan, outcome = found.plan, found.outcome
        if not self.check:
            folder = Path(arguments["directory"])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "preflight.json").write_text(outcome.to_json(), encoding="utf-8")
        tables = "\n\n".join((outcome.ownership_table(), outcome.check_table(every=arguments["every_check"])))
        if errors(outcome.findings):
            raise AnsibleActionFail(
                "The cluster cannot take this inventory; nothing was written.\n"
                f"{as_table(outcome.findings)}\n\n{tables}"
            )
        name = f"{cluster.access.server} (context {cluster.access.context}, Kubernetes {outcome.version})"
        return {
            "changed": False,
            "platform": plan,
            "rendered": arguments["rendered"] if found.rendered is rendered else handover.put(found.rendered),
            "warnings": [str(finding) for finding in outcome.findings],
            "msg": f"{plan_table.as_text(plan, name, found.rendered.models, found.kept)}\n\n{tables}",
        }


def reader(inventories: Iterable[str]) -> Callable[[], Any]:
    """Reads the inventory when that is asked for the first time."""

    @cache
    def sources() -> Any:
        from inference_platform.inventory import Sources

        return Sources.load(inventories)

    return sources


def places(sources: Callable[[], Any]) -> Callable[[str, str, Sequence[Any]], str]:
    """Says where a field of a model is written."""

    def where(namespace: str, name: str, field: Sequence[Any]) -> str:
        path = sources().path_of_model(namespace, name) or ("models",)
        return f"{sources().where((*path, *field))} ({name})"

    return where
