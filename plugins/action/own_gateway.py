"""Action inference.platform.own_gateway: supplies a user's Gateway. Documented in plugins/modules/own_gateway.py."""

from __future__ import annotations

from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
    credentials,
    result_of,
)


class ActionModule(PlatformAction):
    """Reads the credentials itself: they are in no argument, fact, diff or message."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "gateway": {"type": "dict", "required": True},
        "authority": {"type": "dict", "required": True},
        "pull_secret": {"type": "str"},
        "file": {"type": "path"},
        "from_secret": {"type": "dict"},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import own_gateway, secrets

        cluster, authority = self.connect(arguments), arguments["authority"]
        source = credentials(arguments["file"], arguments["from_secret"])

        def content() -> bytes:
            return secrets.read_credentials(cluster, source)

        found = own_gateway.supply(
            cluster,
            arguments["gateway"],
            (authority["namespace"], authority["secret"]),
            (arguments["pull_secret"], content) if arguments["pull_secret"] else None,
            check=self.check,
        )
        result = result_of([found.outcome], unchanged="the namespace of the Gateway has what its pods need")
        return {**result, "warnings": found.notes}
