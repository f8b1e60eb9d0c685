"""The pull secret: read from a file, checked, and applied to every namespace that needs it.

The content goes from the file to the API server and nowhere else: it is in no fact, diff, message or log.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from inference_platform.cluster import errors
from inference_platform.cluster.apply import ApplyResult, apply
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object

KEY = ".dockerconfigjson"


class PullSecretError(errors.ClusterError):
    """The pull secret's file is missing or holds no registry credentials."""


def read_pull_secret(path: str | Path, registries: Iterable[str] = ()) -> bytes:
    """The content of a container auth file (podman's auth.json, docker's config.json), checked.

    registries  hosts that it must have credentials for, e.g. "registry.redhat.io"
    Raises PullSecretError with the path and what is wrong; never with content.
    """
    place = Path(path).expanduser()
    try:
        content = place.read_bytes()
    except OSError as error:
        raise PullSecretError(
            f"Pull secret {place}: expected a readable file, found none ({error.strerror}). Log in with "
            "`podman login --authfile FILE registry.redhat.io` and set `pull_secret_file` (or $REGISTRY_AUTH_FILE) "
            "to that file."
        ) from None
    try:
        body = json.loads(content)
    except ValueError:
        raise PullSecretError(
            f"Pull secret {place}: expected JSON with `auths`, found something else. Write it with "
            f"`podman login --authfile {place} registry.redhat.io`."
        ) from None
    auths = body.get("auths") if isinstance(body, dict) else None
    if not isinstance(auths, dict) or not auths:
        helper = " (it names a credential helper, which a cluster cannot use)" if _names_helper(body) else ""
        raise PullSecretError(
            f"Pull secret {place}: expected `auths` with at least one registry, found none{helper}. Write it with "
            f"`podman login --authfile {place} registry.redhat.io`."
        )
    for host in registries:
        if host not in auths:
            raise PullSecretError(
                f"Pull secret {place}: expected credentials for {host}, found {', '.join(sorted(auths))}. Add "
                f"them with `podman login --authfile {place} {host}`."
            )
    for host, entry in auths.items():
        if not _has_credentials(entry):
            raise PullSecretError(
                f"Pull secret {place}: expected auths.{host}.auth (base64 of user:password), found none. Log in again "
                f"with `podman login --authfile {place} {host}`."
            )
    return content


def pull_secret(name: str, namespace: str, content: bytes, labels: Mapping[str, str] | None = None) -> Object:
    """The Secret object of type kubernetes.io/dockerconfigjson."""
    metadata: Object = {"name": name, "namespace": namespace}
    if labels:
        metadata["labels"] = dict(labels)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "kubernetes.io/dockerconfigjson",
        "data": {KEY: base64.b64encode(content).decode()},
    }


def apply_pull_secret(
    cluster: Cluster,
    name: str,
    namespaces: Iterable[str],
    path: str | Path,
    *,
    check: bool = False,
    labels: Mapping[str, str] | None = None,
    registries: Iterable[str] = (),
) -> ApplyResult:
    """Applies the pull secret to all namespaces; another content (rotated credentials) is a change."""
    content = read_pull_secret(path, registries)
    return apply_pull_secret_content(cluster, name, namespaces, content, check=check, labels=labels)


def apply_pull_secret_content(
    cluster: Cluster,
    name: str,
    namespaces: Iterable[str],
    content: bytes,
    *,
    check: bool = False,
    labels: Mapping[str, str] | None = None,
    workers: int = 8,
) -> ApplyResult:
    """As `apply_pull_secret`, with the content that `read_pull_secret` gave.

    The user's file is the truth: a Secret of this name that somebody made or changed by hand is taken over.
    """
    wanted = [pull_secret(name, space, content, labels) for space in namespaces]
    return apply(cluster, wanted, check=check, force=True, workers=workers)


def _names_helper(body: Any) -> bool:
    return isinstance(body, dict) and bool(body.get("credsStore") or body.get("credHelpers"))


def _has_credentials(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    if entry.get("identitytoken") or (entry.get("username") and entry.get("password")):
        return True
    try:
        return b":" in base64.b64decode(str(entry.get("auth") or ""), validate=True)
    except binascii.Error:
        return False
