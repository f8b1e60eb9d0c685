"""Charts that others publish: fetched by helm, compared with the lock, kept in a cache.

A chart of the lock is a repository (``oci://host/path`` or ``https://host/path``), a name, a version, and the sha256
of its archive.  In an OCI registry that is the digest of the chart's layer, in a repository of files the ``digest``
of index.yaml; so one kind of pin serves both.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from inference_platform.catalog.load import Loader
from inference_platform.cluster import redact
from inference_platform.cluster.helm import ReleaseError, find
from inference_platform.cluster.objects import Object

_SECONDS = 120
_LOOPBACK = re.compile(r"^oci://(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?/")
HOW_TO_PIN = (
    "Pin it where there is internet: `python -m inference_platform.catalog lock`, then commit catalog/charts.yml; or "
    "say it in the inventory, under chart_sha256."
)


def locate(chart: Mapping[str, Any], helm: str, *, mirror: str | None = None, cache: str | Path | None = None) -> Path:
    """The folder of a chart of the lock, with what its archive has; arguments as for `fetch`.  Raises ReleaseError."""
    archive = fetch(chart, helm, mirror=mirror, cache=cache)
    folder = archive.with_suffix("")
    _unpack(archive, folder)
    return folder / str(chart["name"])


def fetch(chart: Mapping[str, Any], helm: str, *, mirror: str | None = None, cache: str | Path | None = None) -> Path:
    """The archive of a chart of the lock; pulled when the cache does not have it.  Raises ReleaseError.

    chart   entry of the plan: {name, repository, version, sha256}, or {..., unpinned} when nobody knows the sha256 yet
    helm    path of the helm program
    mirror  `oci://host/path` or `https://host/path` that has the charts by their names, instead of the repository
    cache   folder for archives by sha256; default `$XDG_CACHE_HOME/inference-platform/charts`
    """
    sha256 = chart.get("sha256")
    if not sha256:
        raise ReleaseError(
            f"Chart {chart['name']} {chart['version']} of {chart['repository']}: expected its sha256 in the lock, "
            f"found none ({chart.get('unpinned') or 'no reason given'}). {HOW_TO_PIN}"
        )
    archive = (Path(cache) if cache else _default_cache()) / f"{sha256}.tgz"
    if not (archive.is_file() and _sha256(archive) == sha256):
        with tempfile.TemporaryDirectory() as place:
            pulled = pull(mirror or chart["repository"], chart["name"], chart["version"], helm, Path(place))
            _compare(chart, mirror, sha256, _sha256(pulled))
            _keep(pulled, archive)
    return archive


def pull(repository: str, name: str, version: str, helm: str, folder: Path) -> Path:
    """The archive of a published chart, as helm puts it into ``folder``.  Raises ReleaseError."""
    source = [f"{repository.rstrip('/')}/{name}"] if repository.startswith("oci://") else [name, "--repo", repository]
    plain = ["--plain-http"] if _LOOPBACK.match(repository) else []
    command = [helm, "pull", *source, "--version", version, "--destination", str(folder), *plain]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ReleaseError(_failure(repository, name, version, f"nothing within {_SECONDS} s")) from None
    found = sorted(folder.glob("*.tgz"))
    if done.returncode != 0 or len(found) != 1:
        said = redact.text(" ".join(done.stderr.split()))[-600:] or f"{len(found)} archives"
        raise ReleaseError(_failure(repository, name, version, said))
    return found[0]


def crds_in(folder: Path) -> list[Object]:
    """The CRDs in the folder ``crds`` of an unpacked chart; none where it has no such folder."""
    files = sorted(path for path in (folder / "crds").rglob("*") if path.suffix in (".yaml", ".yml", ".json"))
    return [obj for path in files for obj in yaml.load_all(path.read_bytes(), Loader=Loader) if obj]


def sha256_of(repository: str, name: str, version: str) -> str:
    """The sha256 of the archive that is published; pulled with the helm on PATH.  Raises ReleaseError."""
    with tempfile.TemporaryDirectory() as place:
        return _sha256(pull(repository, name, version, find(), Path(place)))


def _failure(repository: str, name: str, version: str, found: str) -> str:
    return (
        f"Chart {name} {version}: expected it at {repository}, found: {found}. Check the network, and the login of "
        "helm where the registry asks for one (`helm registry login`); without internet set platform_chart_mirror."
    )


def _compare(chart: Mapping[str, Any], mirror: str | None, wanted: str, found: str) -> None:
    if found != wanted:
        raise ReleaseError(
            f"Chart {chart['name']} {chart['version']} from {mirror or chart['repository']}: expected an archive with "
            f"sha256 {wanted}, found {found}. It is not the chart that was locked, so nothing of it was installed. "
            + ("Copy the right one into the mirror." if mirror else "Find out why upstream replaced it before locking.")
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _keep(pulled: Path, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=archive.parent)
    os.close(handle)
    shutil.copyfile(pulled, temporary)
    os.replace(temporary, archive)


def _unpack(archive: Path, folder: Path) -> None:
    """All files at once: another run sees the whole chart or none. A folder that differs is replaced."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        unpacked = Path(place) / "chart"
        with tarfile.open(archive) as content:
            content.extractall(unpacked, filter="data")
        if _contents(folder) == _contents(unpacked):
            return
        if folder.exists():
            folder.rename(Path(place) / "other")
        with contextlib.suppress(OSError):  # another run was faster
            unpacked.rename(folder)


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _default_cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "inference-platform" / "charts"
