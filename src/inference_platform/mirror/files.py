"""Downloads into folders: CRD files, for a web server or file:// as platform_crd_mirror, and charts of others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from inference_platform.cluster import charts, crds
from inference_platform.mirror.needs import Chart, File


def download(files: Iterable[File], folder: Path, *, mirror: str | None = None, cache: str | None = None) -> int:
    """Write each file to ``folder``/<host>/<path of the URL>, verified by its checksum; how many were not there.

    ``mirror`` and ``cache`` as in ``cluster.crds.locate``. Raises CrdFileError for a file that cannot be had.
    """
    written = 0
    for file in files:
        (found,) = crds.locate(
            "", [{"name": file.crds[0], "url": file.url, "sha256": file.sha256}], mirror=mirror, cache=cache
        )
        place, content = folder / file.path, found.read()
        if not place.is_file() or place.read_bytes() != content:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            written += 1
    return written


def download_charts(
    wanted: Iterable[Chart], folder: Path, helm: str, *, mirror: str | None = None, cache: str | None = None
) -> list[Path]:
    """Puts the archive of each chart that others publish into ``folder``, verified by its sha256; their paths.

    Charts whose sha256 nobody knows are left out. ``mirror`` and ``cache`` as in ``cluster.charts.fetch``. Raises
    ReleaseError for a chart that cannot be had, or is another one.
    """
    found = []
    for chart in wanted:
        if chart.repository and chart.sha256:
            pin = {"name": chart.name, "repository": chart.repository, "version": chart.version, "sha256": chart.sha256}
            archive = charts.fetch(pin, helm, mirror=mirror, cache=cache)
            folder.mkdir(parents=True, exist_ok=True)
            found.append(folder / f"{chart.name}-{chart.version}.tgz")
            found[-1].write_bytes(archive.read_bytes())
    return found
