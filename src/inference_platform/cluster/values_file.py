"""The values of a release as a file for the helm program, so that somebody can go on without this installer.

The charts take no secrets, and the file is readable by its owner alone all the same: values of the user's own may be
anything.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Collection
from pathlib import Path

import yaml

from inference_platform.cluster.helm import Release

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def write(folder: Path, release: Release) -> Path:
    """Writes `<folder>/<release>.yaml` with the values of a release; the path of the file.

    `helm upgrade` with this file, by the command in its first line, changes nothing on a cluster on which the
    release was just installed with these values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{release.name}.yaml"
    descriptor, draft = tempfile.mkstemp(prefix=f".{release.name}-", dir=folder)  # mode 0600
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content(path, release))
    Path(draft).replace(path)
    return path


def remove_others(folder: Path, releases: Collection[str]) -> None:
    """Removes the files of releases that are no longer among these: they were of another plan."""
    for path in folder.glob("*.yaml"):
        if path.stem not in releases:
            path.unlink()


def content(path: Path, release: Release) -> str:
    """What the file at `path` says: the command that takes it, then the values, sorted."""
    words = (
        "helm",
        "upgrade",
        release.name,
        str(release.chart),
        "--namespace",
        release.namespace,
        "--values",
        str(path),
    )
    command = shlex.join(words)
    values = yaml.dump(dict(release.values), Dumper=_DUMPER, sort_keys=True, default_flow_style=False, width=120)
    return f"# {command}\n{values}"
