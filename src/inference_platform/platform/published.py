"""Charts that others publish, as releases of a plan."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inference_platform.findings import Finding
from inference_platform.mirror.images import mirrored
from inference_platform.platform.gates import fill
from inference_platform.platform.plan import Release
from inference_platform.problems import Reporter
from inference_platform.schema import close_names, or_list

_IMAGE = re.compile(r"\$\(images\.([a-z0-9_]+)\.")


@dataclass(frozen=True)
class Chart:
    """A chart of charts.yml: its name, the version that is chosen, its entry there, and the layer that takes it."""

    name: str
    version: str
    entry: Mapping[str, Any]
    layer: str

    @property
    def locked(self) -> Mapping[str, Any]:
        """What is known of the version: sha256 or unpinned, and images."""
        found: Mapping[str, Any] = self.entry["versions"][self.version]
        return found


def release(
    name: str, namespace: str, chart: Chart, facts: Mapping[str, str], *, registry: str = "", sha256: str | None = None
) -> Release:
    """The release of a published chart.

    facts     values of $(tokens) in the chart's values, beside those of its images
    registry  mirror of images that the values name instead of where they are published
    sha256    of the inventory; takes the place of the lock's
    """
    images = dict(chart.locked["images"])
    pinned = sha256 or chart.locked.get("sha256")
    return Release(
        name,
        chart.name,
        namespace,
        published={
            "name": chart.name,
            "repository": chart.entry["repository"],
            "version": chart.version,
            "sha256": pinned,
            **({} if pinned else {"unpinned": chart.locked["unpinned"]}),
            "layer": chart.layer,
            "images": images,
            "fixed": sorted(images.keys() - set(_IMAGE.findall(str(chart.entry["values"])))),
        },
        values=fill(chart.entry["values"], {**facts, **_image_facts(images, registry)}),
    )


def check(settings: Mapping[str, Any], charts: Mapping[str, str], report: Reporter) -> Iterator[Finding]:
    """Findings about ``chart_sha256``: names of charts that release and distribution do not have."""
    for name in settings.get("chart_sha256") or {}:
        if name not in charts:
            close = close_names(name, charts)
            hint = f" Did you mean {or_list(close)}?" if close else ""
            yield report.error(
                "IP-PLT-026",
                ("chart_sha256", name),
                f"a published chart of this release and distribution: {or_list(charts) if charts else 'there is none'}",
                name,
                f"Take it out; only published charts, which distribution community installs, have a sha256.{hint}",
            )


def _image_facts(images: Mapping[str, str], registry: str) -> dict[str, str]:
    facts: dict[str, str] = {}
    for name, reference in images.items():
        repository, _, tag = mirrored(reference, registry).rpartition(":")
        facts |= {
            f"images.{name}.repository": repository,
            f"images.{name}.folder": repository.rpartition("/")[0],
            f"images.{name}.tag": tag,
        }
    return facts
