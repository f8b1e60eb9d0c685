"""The objects of the models as files for GitOps: what is applied, byte for byte, with kustomize around it.

Each object is a file of its own, in a folder by the order of applying.  The files hold nothing for Argo CD: the
sync wave of a folder is added by its kustomization, so that the files stay what the installer itself applies.
The pull secret is not among them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from inference_platform.manifest import to_yaml

KUSTOMIZATION = "kustomization.yaml"
SYNC_WAVE = "argocd.argoproj.io/sync-wave"
NAMESPACES = "0-namespaces"
#: A namespace stays when its last model goes, as it does without Argo CD.
_KEPT = {"argocd.argoproj.io/sync-options": "Prune=false"}

#: Folder -> kinds in it, in the order of their waves; other kinds go to the last.
WAVES: dict[str, tuple[str, ...]] = {
    NAMESPACES: ("Namespace",),
    "1-before-models": ("ConfigMap", "NodePool", "PriorityClass", "ReferenceGrant", "ResourceQuota", "ServiceAccount"),
    "2-models": ("LLMInferenceService",),
    "3-after-models": (),
}

_HEAD = """# Made by playbooks/export.yml of the inference platform; export again instead of editing.
#
#   kubectl apply --server-side --field-manager=inference-platform -k .
#
# Argo CD takes this folder as a kustomize application; the folders are its sync waves.
# Not in here: the pull secret. Every namespace of 0-namespaces needs it.
"""
_NOTE = "# Made by playbooks/export.yml of the inference platform; export again instead of editing.\n"


@dataclass
class Written:
    """Files that were (or, in check mode, would be) made, changed or removed, as paths below the folder."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0

    def __bool__(self) -> bool:
        return bool(self.created or self.changed or self.removed)


def files(objects: Iterable[Mapping[str, Any]], beside: Iterable[str] = ()) -> dict[str, str]:
    """Path below the folder -> content, for objects as they are applied (``cluster.objects.prepare``).

    ``beside`` are paths of files that are there already and stay: the kustomizations list them too.
    """
    result = {_path(obj): to_yaml(obj) for obj in objects}
    listed: dict[str, list[str]] = {folder: [] for folder in WAVES}
    for path in {*result, *beside}:
        folder, _, name = path.partition("/")
        listed[folder].append(name)
    used = [folder for folder, names in listed.items() if names]
    for folder in used:
        wave = folder.partition("-")[0]
        annotations = {SYNC_WAVE: wave, **(_KEPT if folder == NAMESPACES else {})}
        result[f"{folder}/{KUSTOMIZATION}"] = _NOTE + to_yaml(
            {**_kustomization(sorted(listed[folder])), "commonAnnotations": annotations}
        )
    result[KUSTOMIZATION] = _HEAD + to_yaml(_kustomization(used))
    return dict(sorted(result.items()))


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Path below the folder -> object, for what an earlier export left there; empty where a file holds no object."""
    paths = [path for path in _of_earlier_export(folder) if path.name != KUSTOMIZATION]
    return {path.relative_to(folder).as_posix(): _object(path.read_text(encoding="utf-8")) for path in paths}


def write(folder: Path, wanted: Mapping[str, str], *, beside: Collection[str] = (), check: bool = False) -> Written:
    """Makes the folder hold these files.

    Of other files only those of an earlier export are removed, as far as they are not ``beside``.
    """
    done, earlier = Written(), _of_earlier_export(folder)
    for path, text in wanted.items():
        place, content = folder / path, text.encode()
        found = place.read_bytes() if place.is_file() else None
        if found == content:
            done.unchanged += 1
            continue
        (done.created if found is None else done.changed).append(path)
        if not check:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    for place in earlier:
        path = place.relative_to(folder).as_posix()
        if path not in wanted and path not in beside:
            done.removed.append(path)
            if not check:
                place.unlink()
    return done


def _of_earlier_export(folder: Path) -> list[Path]:
    """Files below the folders of an export, if the folder holds one."""
    mark = folder / KUSTOMIZATION
    if not mark.is_file() or not mark.read_text(encoding="utf-8").startswith(_NOTE):
        return []
    return sorted(path for name in WAVES for path in (folder / name).rglob("*.yaml"))


def _object(text: str) -> dict[str, Any]:
    try:
        found = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) and {"apiVersion", "kind", "metadata"} <= found.keys() else {}


def _path(obj: Mapping[str, Any]) -> str:
    folder = next((name for name, kinds in WAVES.items() if obj["kind"] in kinds), list(WAVES)[-1])
    metadata = obj["metadata"]
    name = f"{obj['kind'].lower()}-{metadata['name']}.yaml"
    if obj["kind"] == "Namespace":
        name = f"{metadata['name']}.yaml"
    return "/".join(filter(None, (folder, metadata.get("namespace"), name)))


def _kustomization(resources: list[str]) -> dict[str, Any]:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources}
