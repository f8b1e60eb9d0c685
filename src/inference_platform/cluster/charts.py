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
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from inference_platform.catalog.load import Loader
from inference_platform.cluster import redact
from inference_platform.cluster.helm import ReleaseError, environment, find
from inference_platform.cluster.objects import Object
from inference_platform.paths import expanded

_SECONDS = 120
_LOOPBACK = re.compile(r"^oci://(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?/")
HOW_TO_PIN = (
    "Pin it where there is internet: `python -m inference_platform.catalog lock`, then commit catalog/charts.yml; or "
    "say it in the inventory, under chart_sha256."
)


class ChartError(ReleaseError):
    """A chart that is not where it is expected, or not the one that is pinned.

    found   what there is instead
    remedy  what to do about it
    """

    def __init__(self, expected: str, found: str, remedy: str) -> None:
        self.found, self.remedy = redact.text(found), remedy
        super().__init__(redact.text(f"{expected}, found {found}. {remedy}"))


def locate(chart: Mapping[str, Any], helm: str, *, mirror: str | None = None, cache: str | Path | None = None) -> Path:
    """The folder of a chart of the lock, with what its archive has; arguments as for `fetch`.  Raises ReleaseError."""
    archive = fetch(chart, helm, mirror=mirror, cache=cache)
    folder = archive.with_suffix("")
    try:
        _unpack(archive, folder)
    except (tarfile.TarError, EOFError, zlib.error):
        raise ChartError(
            f"Chart {chart['name']} {chart['version']}: expected an archive (.tgz)",
            f"a file with the sha256 {chart['sha256']} that is none",
            "Correct the sha256, in catalog/charts.yml or chart_sha256, after a look at what you pulled.",
        ) from None
    return folder / str(chart["name"])


def fetch(chart: Mapping[str, Any], helm: str, *, mirror: str | None = None, cache: str | Path | None = None) -> Path:
    """The archive of a chart of the lock; pulled when the cache does not have it.  Raises ReleaseError.

    chart   entry of the plan: {name, repository, version, sha256}, or {..., unpinned} when nobody knows the sha256 yet
    helm    path of the helm program
    mirror  `oci://host/path` or `https://host/path` that has the charts by their names, instead of the repository;
            without credentials, which would be in arguments and messages
    cache   folder for archives by sha256; default `$XDG_CACHE_HOME/inference-platform/charts`; may begin with ~
    """
    sha256 = chart.get("sha256")
    if not sha256:
        raise ReleaseError(
            f"Chart {chart['name']} {chart['version']} of {chart['repository']}: expected its sha256 in the lock, "
            f"found none ({chart.get('unpinned') or 'no reason given'}). {HOW_TO_PIN}"
        )
    if mirror and "@" in urlsplit(mirror).netloc:
        raise ChartError(
            "platform_chart_mirror: expected a URL without credentials",
            f"{urlsplit(mirror).scheme}://USER:PASSWORD@...",
            "Take them out; use an OCI registry, and log in to it with `helm registry login`.",
        )
    archive = (expanded(cache) if cache else _default_cache()) / f"{sha256}.tgz"
    if not (archive.is_file() and _sha256(archive) == sha256):
        with tempfile.TemporaryDirectory() as place:
            source, is_mirror = mirror or chart["repository"], bool(mirror)
            pulled = pull(source, chart["name"], chart["version"], helm, Path(place), is_mirror=is_mirror)
            _compare(chart, mirror, sha256, _sha256(pulled))
            _keep(pulled, archive)
    return archive


def pull(repository: str, name: str, version: str, helm: str, folder: Path, *, is_mirror: bool = False) -> Path:
    """The archive of a published chart, as helm puts it into ``folder``.  Raises ReleaseError."""
    source = [f"{repository.rstrip('/')}/{name}"] if repository.startswith("oci://") else [name, "--repo", repository]
    plain = ["--plain-http"] if _LOOPBACK.match(repository) else []
    command = [helm, "pull", *source, "--version", version, "--destination", str(folder), *plain]
    expected = f"Chart {name} {version}: expected it at {repository}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, env=environment())
    except subprocess.TimeoutExpired:
        raise ChartError(expected, f"nothing within {_SECONDS} s", _how_to_reach(is_mirror)) from None
    found = sorted(folder.glob("*.tgz"))
    if done.returncode != 0 or len(found) != 1:
        said = redact.text(" ".join(done.stderr.split()))[-600:].rstrip(".") or f"{len(found)} archives"
        raise ChartError(expected, said, _how_to_reach(is_mirror))
    return found[0]


def crds_in(folder: Path) -> list[Object]:
    """The CRDs in the folder ``crds`` of an unpacked chart; none where it has no such folder."""
    files = sorted(path for path in (folder / "crds").rglob("*") if path.suffix in (".yaml", ".yml", ".json"))
    return [obj for path in files for obj in yaml.load_all(path.read_bytes(), Loader=Loader) if obj]


def sha256_of(repository: str, name: str, version: str) -> str:
    """The sha256 of the archive that is published; pulled with the helm on PATH.  Raises ReleaseError."""
    with tempfile.TemporaryDirectory() as place:
        return _sha256(pull(repository, name, version, find(), Path(place)))


def _how_to_reach(is_mirror: bool) -> str:
    return "Check the network, and the login of helm where the registry asks for one (`helm registry login`); " + (
        "put the chart into the mirror if it is not there."
        if is_mirror
        else "without internet set platform_chart_mirror."
    )


def _compare(chart: Mapping[str, Any], mirror: str | None, wanted: str, found: str) -> None:
    if found != wanted:
        raise ChartError(
            f"Chart {chart['name']} {chart['version']} from {mirror or chart['repository']}: expected an archive with "
            f"sha256 {wanted}",
            f"{found}, which is not the chart that was locked",
            "Copy the right one into the mirror, or correct chart_sha256."
            if mirror
            else "Find out why it was replaced there, then correct its sha256 in catalog/charts.yml or chart_sha256.",
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
