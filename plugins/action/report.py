"""Action inference.platform.report: shows what runs. Documented in plugins/modules/report.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils import live
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
)
from ansible_collections.inference.platform.plugins.plugin_utils.timeline import SECTIONS


class ActionModule(PlatformAction):
    """Looks at the cluster once, writes report.json and report.html, and returns the text for the terminal."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "platform": {"type": "dict", "required": True},
        "inventory": {"type": "str", "required": True},
        "directory": {"type": "path", "required": True},
        "crd_directory": {"type": "path"},
        "answered": {"type": "list", "elements": "str", "default": []},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform import report

        observation = report.collect(
            self.connect(arguments),
            arguments["platform"],
            timings_of(arguments["platform"]),
            inventory=arguments["inventory"],
            kubeconfig=arguments["kubeconfig"] or "",
            crd_directory=arguments["crd_directory"] or "",
            answered=arguments["answered"],
        )
        folder = Path(arguments["directory"])
        if not self.check:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "report.json").write_text(report.render_json(observation), encoding="utf-8")
            (folder / "report.html").write_text(report.render_html(observation), encoding="utf-8")
        return {
            "changed": False,
            "msg": "not written in check mode" if self.check else f"written to {folder}/report.html and report.json",
            "report": report.render_text(observation, width=live.COLUMNS, colour=live.TERMINAL),
        }


def timings_of(platform: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What this run measured, for the layers of the plan and for the models."""
    wanted = [*(layer["name"] for layer in platform["layers"]), "models"]
    return {
        name: {"seconds": SECTIONS[name].seconds, "changed": SECTIONS[name].changed}
        for name in wanted
        if name in SECTIONS
    }
