"""Downloads the CRD files of the lock into a folder that a web server, or file://, can offer as platform_crd_mirror."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from inference_platform.cluster import crds
from inference_platform.mirror.needs import File


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
