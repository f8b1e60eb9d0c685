"""A mirror with the CRD files of the embedded cluster, and a project whose lock has just these files.

The embedded cluster's CRDs are another build of those that the lock names, so the lock of the repository would refuse
them. Everything else is the way of a site without internet: URLs of the lock, a mirror laid out by them, checksums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference_platform.mirror.needs import list_needs
from inference_platform.platform import resolve
from tests.support.playbook import Project

LOCK = "catalog/crds.yml"


def fill(project: Project, settings: Mapping[str, Any], crds: Path, folder: Path) -> dict[str, object]:
    """Puts the files that an inventory with these settings needs into ``folder`` and their checksums into the lock.

    crds  folder with the files of the embedded cluster, as <set>/<name>.json
    Returns what the inventory then has to say: the mirror, no folder of CRDs, and a cache that is empty.
    """
    plan = resolve(settings).to_dict()
    sets = {file["name"]: name for layer in plan["layers"] for name in layer["crds"] for file in _files(plan, name)}
    lock = project.root / LOCK
    text = lock.read_text(encoding="utf-8")
    files = list_needs(plan, []).files
    for file in files:
        (name,) = file.crds
        content = (crds / sets[name] / f"{name}.json").read_bytes()
        place = folder / "files" / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        assert file.sha256 in text, f"{LOCK} lacks the checksum of {file.url}"
        text = text.replace(file.sha256, hashlib.sha256(content).hexdigest())
    assert len(files) > 20
    lock.write_text(text, encoding="utf-8")
    return {
        "platform_crd_mirror": (folder / "files").as_uri(),
        "platform_crd_cache": str(folder / "cache"),
        "crd_directory": "",
    }


def _files(plan: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = plan["crds"][name]["files"]
    return files
