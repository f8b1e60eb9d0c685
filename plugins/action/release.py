"""Action inference.platform.release: installs Helm releases. Documented in plugins/modules/release.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible.utils.display import Display
from ansible_collections.inference.platform.plugins.plugin_utils.live import Waiting
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
        "let_go": {"type": "list", "elements": "str", "default": []},
        "charts": {"type": "path"},
        "chart_mirror": {"type": "str"},
        "chart_cache": {"type": "path"},
        "values_directory": {"type": "path"},
        "planned": {"type": "list", "elements": "str"},
        "helm": {"type": "path"},
    }

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        from inference_platform.cluster import values_file

        cluster = self.connect(arguments)
        folder = Path(arguments["values_directory"]) if arguments["values_directory"] and not self.check else None
        outcomes, parts, warnings = [], [], list[str]()
        for entry in arguments["releases"]:
            wanted, told = self.wanted(cluster, entry, arguments)
            warnings += told
            if folder:
                values_file.write(folder, wanted)
            applied, outcome = self.install(cluster, wanted, arguments)
            outcomes.append((entry["name"], outcome))
            parts += [(applied.changed, applied.diff()), (outcome.changed, outcome.diff)]
        if folder and arguments["planned"]:
            values_file.remove_others(folder, arguments["planned"])
        return {
            "changed": any(changed for changed, _ in parts),
            "msg": "; ".join(f"{name} {in_words(outcome)}" for name, outcome in outcomes),
            "notes": [note for _, outcome in outcomes for note in outcome.notes],
            "diff": {"prepared": "\n".join(diff for _, diff in parts if diff)},
            "warnings": warnings,
        }

    def wanted(self, cluster: Any, entry: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[Any, list[str]]:
        """A release with its chart, which is fetched if others publish it, and its values; and what to tell of them."""
        from inference_platform import paths
        from inference_platform.cluster import charts, helm, release

        values, told = values_of(entry, arguments), list[str]()
        for source in arguments["certificates"]:
            if source["release"] == entry["name"]:
                found = bundle(cluster, source, entry["namespace"], check=self.check)
                values[source["value"]] = found.text
                told += filter(None, [found.note])
        published = entry.get("published")
        if not published:
            own = Path(arguments["charts"] or paths.CHARTS) / entry["chart"]
            return release.Release(entry["name"], entry["namespace"], own, values), told
        mirror, cache = arguments["chart_mirror"] or None, arguments["chart_cache"] or None
        folder = charts.locate(published, helm.find(arguments["helm"] or None), mirror=mirror, cache=cache)
        return release.Release(entry["name"], entry["namespace"], folder, values, published["layer"]), told

    def install(self, cluster: Any, wanted: Any, arguments: Mapping[str, Any]) -> tuple[Any, Any]:
        """What changed of the CRDs in the folder ``crds`` of a chart, and of its release.

        Helm itself would install those CRDs once, and never upgrade them. Only charts of others have any.
        """
        from inference_platform.cluster import charts, crds, release

        labels = {"inference-platform.io/layer": wanted.layer}
        applied = crds.apply_crds(cluster, charts.crds_in(wanted.chart), check=self.check, labels=labels)
        applied.raise_errors()
        outcome = release.install(
            cluster,
            wanted,
            helm=arguments["helm"] or None,
            check=self.check,
            adopt=wanted.name in arguments["adopted"],
            let_go=arguments["let_go"],
            on_wait=Waiting(Display()).say,
        )
        return applied, outcome


def in_words(outcome: Any) -> str:
    """What was done to a release and, for one that was there before, why: "upgrade: ConfigMap a/b is missing"."""
    if outcome.action not in ("upgrade", "repair"):
        return str(outcome.action)
    more = f" (and {len(outcome.reasons) - 1} more)" if len(outcome.reasons) > 1 else ""
    return f"{outcome.action}: {outcome.reasons[0]}{more}"


def values_of(entry: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The values of one release: common to all, then the layer's, then the user's; mappings are merged.

    Charts of others do not know the common ones; the catalogue has values for them.
    """
    release_name, merged = entry["name"], dict[str, Any]()
    for source in (
        entry["values"] if entry.get("published") else arguments["common_values"],
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


def bundle(cluster: Any, source: Mapping[str, str], namespace: str, *, check: bool) -> Any:
    """The bundle (``trust.Bundle``) for an entry of ``certificates``; ``namespace`` is that of the release."""
    from inference_platform.cluster import trust

    in_use = (namespace, source["config_map"]) if source.get("config_map") else None
    return trust.bundle(
        cluster, trust.Source(source["namespace"], source["secret"], source["key"], in_use), check=check
    )
