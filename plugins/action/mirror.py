"""Action inference.platform.mirror: lists and copies artifacts. Documented in plugins/modules/mirror.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible_collections.inference.platform.plugins.plugin_utils import handover
from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import PlatformAction


class ActionModule(PlatformAction):
    """Writes the lists, and copies when asked to. Looks at no cluster."""

    ARGUMENTS: ClassVar = {
        "rendered": {"type": "path", "required": True},
        "platform": {"type": "dict", "required": True},
        "directory": {"type": "path", "required": True},
        "registry": {"type": "str", "default": ""},
        "copy": {"type": "bool", "default": False},
        "auth_file": {"type": "path"},
        "crd_directory": {"type": "path"},
        "crd_mirror": {"type": "str", "default": ""},
        "crd_cache": {"type": "path"},
        "helm": {"type": "path"},
        "chart_mirror": {"type": "str", "default": ""},
        "chart_cache": {"type": "path"},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.mirror import copying, files, lists
        from inference_platform.mirror.needs import list_needs

        need_registry(arguments["registry"])
        plan, rendered = arguments["platform"], handover.take(arguments["rendered"])
        registry = (arguments["registry"] or plan["image_registry"]).rstrip("/")
        needs = list_needs(
            plan,
            rendered.objects,
            entries=rendered.entries,
            sources=rendered.mirrored,
            registry=registry,
            own_crds=bool(arguments["crd_directory"]),
        )
        folder = Path(arguments["directory"])
        changed = lists.write(needs, folder, check=self.check)
        lines = [lists.as_text(needs), f"Lists: {folder}"]
        if arguments["copy"] and not registry:
            raise copying.CopyError(
                "Copying images: expected a mirror to copy to, found none. Give -e mirror_registry=HOST/PATH, or set "
                "platform_image_registry."
            )
        if arguments["copy"] and not self.check:
            program = copying.find_program()
            fetched = files.download(
                needs.files,
                folder / "files",
                mirror=arguments["crd_mirror"] or None,
                cache=arguments["crd_cache"] or None,
            )
            # Before the images, which take long.
            lines += self.charts(needs, folder / "charts", arguments)
            copied = copying.copy(needs.images, program, arguments["auth_file"])
            changed = True
            lines.append(f"Copied {len(copied)} images to {registry} with {program.name}; {fetched} new CRD files.")
        return {"changed": changed, "msg": "\n".join(lines), "needs": needs.to_dict(), "directory": str(folder)}

    def charts(self, needs: Any, folder: Path, arguments: dict[str, Any]) -> list[str]:
        """Fetches the charts that others publish; a line about them, where there are any."""
        from inference_platform.cluster import helm
        from inference_platform.mirror import files

        others = [chart for chart in needs.charts if chart.repository]
        if not others:
            return []
        fetched = files.download_charts(
            others,
            folder,
            helm.find(arguments["helm"] or None),
            mirror=arguments["chart_mirror"] or None,
            cache=arguments["chart_cache"] or None,
        )
        left = len(others) - len(fetched)
        return [f"Fetched {len(fetched)} charts of others into {folder}; {left} without a sha256 were left out."]


def need_registry(name: str) -> None:
    """Fails unless the name of a registry is written as `platform_image_registry` is."""
    from inference_platform.schema import load_schema

    wanted = load_schema("inventory")["properties"]["platform_image_registry"]
    if not re.fullmatch(wanted["pattern"], name):
        raise AnsibleActionFail(f"mirror_registry: expected {wanted['x-expects']}, found {name!r}.")
