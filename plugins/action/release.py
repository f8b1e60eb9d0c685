"""Action inference.platform.release: installs Helm releases. Documented in plugins/modules/release.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.inference.platform.plugins.plugin_utils.platform_action import (
    CONNECTION,
    PlatformAction,
)


class ActionModule(PlatformAction):
    """Installs or upgrades the releases in the order given; does nothing to those that are as wanted."""

    ARGUMENTS: ClassVar = {
        **CONNECTION,
        "releases": {"type": "list", "elements": "dict", "required": True},
        "values": {"type": "dict", "default": {}},
        "common_values": {"type": "dict", "default": {}},
        "extra_values": {"type": "dict", "default": {}},
        "certificates": {"type": "list", "elements": "dict", "default": []},
        "adopted": {"type": "list", "elements": "str", "default": []},
        "charts": {"type": "path"},
        "values_directory": {"type": "path"},
        "planned": {"type": "list", "elements": "str"},
        "helm": {"type": "path"},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform import paths
        from inference_platform.cluster import release, values_file

        cluster = self.connect(arguments)
        charts = Path(arguments["charts"] or paths.CHARTS)
        outcomes = []
        folder = Path(arguments["values_directory"]) if arguments["values_directory"] and not self.check else None
        for entry in arguments["releases"]:
            values = values_of(entry["name"], arguments)
            for source in arguments["certificates"]:
                if source["release"] == entry["name"]:
                    values[source["value"]] = bundle(cluster, source, entry["namespace"], check=self.check)
            wanted = release.Release(entry["name"], entry["namespace"], charts / entry["chart"], values)
            if folder:
                values_file.write(folder, wanted)
            outcome = release.install(
                cluster,
                wanted,
                helm=arguments["helm"] or None,
                check=self.check,
                adopt=entry["name"] in arguments["adopted"],
            )
            outcomes.append((entry["name"], outcome))
        if folder and arguments["planned"]:
            values_file.remove_others(folder, arguments["planned"])
        return {
            "changed": any(outcome.changed for _, outcome in outcomes),
            "msg": "; ".join(f"{name} {in_words(outcome)}" for name, outcome in outcomes),
            "notes": [note for _, outcome in outcomes for note in outcome.notes],
            "diff": {"prepared": "\n".join(filter(None, (outcome.diff for _, outcome in outcomes)))},
        }


def in_words(outcome: Any) -> str:
    """What was done to a release and, for one that was there before, why: "upgrade: ConfigMap a/b is missing"."""
    if outcome.action not in ("upgrade", "repair"):
        return str(outcome.action)
    more = f" (and {len(outcome.reasons) - 1} more)" if len(outcome.reasons) > 1 else ""
    return f"{outcome.action}: {outcome.reasons[0]}{more}"


def values_of(release_name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The values of one release: common to all, then the layer's, then the user's; mappings are merged."""
    merged: dict[str, Any] = {}
    for source in (
        arguments["common_values"],
        arguments["values"].get(release_name) or {},
        arguments["extra_values"].get(release_name) or {},
    ):
        merged = merge(merged, source)
    return merged


def merge(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``other`` over it, key by key; lists are replaced."""
    merged = dict(base)
    for key, value in other.items():
        both_mappings = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both_mappings else value
    return merged


def bundle(cluster: Any, source: Mapping[str, str], namespace: str, *, check: bool) -> str:
    """The certificates (PEM) of an entry of ``certificates``; ``namespace`` is that of the release."""
    from inference_platform.cluster import trust

    in_use = (namespace, source["config_map"]) if source.get("config_map") else None
    return trust.bundle(
        cluster, trust.Source(source["namespace"], source["secret"], source["key"], in_use), check=check
    )
