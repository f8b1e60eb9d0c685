"""Volumes of a pod: what they contain (pure), and the folder that stands for the pod's file system."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedded_cluster.environment import (
    Lookup,
    config_map_data,
    field_value,
    resource_value,
    secret_data,
)
from embedded_cluster.kube import Object
from embedded_cluster.private_files import write_private

TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
Tokens = Callable[[str | None, int], str | None]
"""(audience, expiration in seconds) to a token that was requested before, or None."""


class MountError(Exception):
    """A volume cannot be mounted yet; the text is the kubelet's FailedMount message."""


@dataclass(frozen=True)
class Sources:
    """Where volume contents come from."""

    secrets: Lookup
    config_maps: Lookup
    tokens: Tokens


def volume_content(volume: Mapping[str, Any], pod: Object, sources: Sources) -> dict[str, bytes] | None:
    """Files of a volume (path to content), None for a volume that is an empty folder at first.

    Raises MountError when a Secret, ConfigMap or key that is not optional is missing.
    """
    name = volume["name"]
    if "secret" in volume:
        spec = volume["secret"]
        return _selected(name, "secret", {**spec, "name": spec["secretName"]}, pod, sources)
    if "configMap" in volume:
        return _selected(name, "configmap", volume["configMap"], pod, sources)
    if "downwardAPI" in volume:
        return _downward(volume["downwardAPI"], pod)
    if "projected" in volume:
        content: dict[str, bytes] = {}
        for source in volume["projected"].get("sources") or []:
            content |= _projected(name, source, pod, sources)
        return content
    return None


def token_requests(pod: Object) -> list[tuple[str | None, int]]:
    """The (audience, expiration) pairs of all projected ServiceAccount tokens of a pod."""
    requests = []
    for volume in pod["spec"].get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            if token := source.get("serviceAccountToken"):
                requests.append((token.get("audience"), int(token.get("expirationSeconds") or 3600)))
    return requests


def referenced_objects(pod: Object) -> set[tuple[str, str]]:
    """("Secret" | "ConfigMap", name) of everything that the pod's volumes and env refer to."""
    found: set[tuple[str, str]] = set()
    for volume in pod["spec"].get("volumes") or []:
        for source in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            if secret := source.get("secret"):
                found.add(("Secret", secret.get("secretName") or secret.get("name")))
            if config_map := source.get("configMap"):
                found.add(("ConfigMap", config_map["name"]))
    for container in pod["spec"]["containers"]:
        for entry in container.get("env") or []:
            source = entry.get("valueFrom") or {}
            if reference := source.get("secretKeyRef"):
                found.add(("Secret", reference["name"]))
            if reference := source.get("configMapKeyRef"):
                found.add(("ConfigMap", reference["name"]))
        for entry in container.get("envFrom") or []:
            if reference := entry.get("secretRef"):
                found.add(("Secret", reference["name"]))
            if reference := entry.get("configMapRef"):
                found.add(("ConfigMap", reference["name"]))
    return found


@dataclass
class PodFiles:
    """The folder that stands for a pod's file system.

    Volumes live in `volumes/<name>`; each mountPath of the container is a link to its volume
    below the folder, so /etc/x is `<root>/etc/x`. TMPDIR is `<root>/tmp`.
    """

    root: Path
    pod: Object
    sources: Sources
    mounts: dict[str, Path] = field(default_factory=dict)

    def check(self) -> None:
        """Raise MountError unless every volume's content is there."""
        for volume in self.pod["spec"].get("volumes") or []:
            volume_content(volume, self.pod, self.sources)

    def write(self, container: Mapping[str, Any]) -> None:
        """Write all volumes and link the container's mounts to them."""
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        self.refresh()
        for mount in sorted(container.get("volumeMounts") or [], key=lambda item: len(item["mountPath"])):
            mount_path = "/" + mount["mountPath"].strip("/")
            place = self.root / mount_path.lstrip("/")
            source = self._volume_folder(mount["name"]) / (mount.get("subPath") or "")
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_symlink():
                place.unlink()
            elif place.is_dir():
                shutil.rmtree(place)
            place.symlink_to(source)
            self.mounts[mount_path] = place

    def refresh(self) -> bool:
        """Write the present contents of all volumes; True when something changed.

        Content that is missing by now stays as it was, as in a running pod.
        """
        changed = False
        for volume in self.pod["spec"].get("volumes") or []:
            folder = self._volume_folder(volume["name"])
            folder.mkdir(parents=True, exist_ok=True)
            try:
                content = volume_content(volume, self.pod, self.sources)
            except MountError:
                continue
            if content is not None:
                changed |= _synchronise(folder, content)
        return changed

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _volume_folder(self, name: str) -> Path:
        return self.root / "volumes" / name


def _selected(volume: str, noun: str, reference: Mapping[str, Any], pod: Object, sources: Sources) -> dict[str, bytes]:
    """Keys of a Secret or ConfigMap, all or those listed in `items`."""
    namespace, name = pod["metadata"]["namespace"], reference["name"]
    lookup = sources.secrets if noun == "secret" else sources.config_maps
    found = lookup(namespace, name)
    optional = bool(reference.get("optional"))
    if found is None:
        if optional:
            return {}
        raise MountError(f'MountVolume.SetUp failed for volume "{volume}" : {noun} "{name}" not found')
    data = secret_data(found) if noun == "secret" else config_map_data(found)
    items = reference.get("items")
    if not items:
        return data
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not optional:
        raise MountError(
            f'MountVolume.SetUp failed for volume "{volume}" : references non-existent {noun} key: {missing[0]}'
        )
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data}


def _downward(spec: Mapping[str, Any], pod: Object) -> dict[str, bytes]:
    content = {}
    containers = {item["name"]: item for item in pod["spec"]["containers"]}
    for item in spec.get("items") or []:
        if reference := item.get("fieldRef"):
            value = field_value(pod, reference["fieldPath"])
        else:
            reference = item["resourceFieldRef"]
            value = resource_value(containers[reference["containerName"]], reference)
        content[item["path"]] = value.encode()
    return content


def _projected(volume: str, source: Mapping[str, Any], pod: Object, sources: Sources) -> dict[str, bytes]:
    if "secret" in source:
        return _selected(volume, "secret", source["secret"], pod, sources)
    if "configMap" in source:
        return _selected(volume, "configmap", source["configMap"], pod, sources)
    if "downwardAPI" in source:
        return _downward(source["downwardAPI"], pod)
    if "serviceAccountToken" in source:
        token = source["serviceAccountToken"]
        content = sources.tokens(token.get("audience"), int(token.get("expirationSeconds") or 3600))
        return {} if content is None else {token["path"]: content.encode()}
    return {}


def _synchronise(folder: Path, content: Mapping[str, bytes]) -> bool:
    """Make a folder hold exactly these files; True when something changed."""
    changed = False
    for name, data in content.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(path, data)
            changed = True
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if str(path.relative_to(folder)) not in content and not path.is_symlink():
                path.unlink()
                changed = True
    return changed
