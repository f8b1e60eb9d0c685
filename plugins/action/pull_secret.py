"""Action inference.platform.pull_secret: copies the pull secret. Documented in plugins/modules/pull_secret.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    credentials,
    quantity,
    result_of,
)


class ActionModule(PlatformAction):
    """Reads the credentials itself: they are in no argument, fact, diff or message."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "name": {"type": "str", "required": True},
        "namespaces": {"type": "list", "elements": "str", "required": True},
        "file": {"type": "path"},
        "from_secret": {"type": "dict"},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import secrets

        namespaces = arguments["namespaces"]
        cluster = self.connect(arguments)
        content = secrets.read_credentials(cluster, credentials(arguments["file"], arguments["from_secret"]))
        outcome = secrets.apply_pull_secret(cluster, arguments["name"], namespaces, content, check=self.check)
        return result_of([outcome], unchanged=f"pull secret as wanted in {quantity(len(namespaces), 'namespace')}")
