"""The pull secret: read from where the user keeps it, checked, and applied to every namespace that needs it.

The content goes from there to the API server and nowhere else: it is in no fact, diff, message or log.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_platform.cluster import errors
from inference_platform.cluster.apply import ApplyResult, apply
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object
from inference_platform.credentials import is_content
from inference_platform.inventory.pull_secret import has_credentials, knows, unreadable
from inference_platform.paths import expanded

KEY = ".dockerconfigjson"
#: Variable of the environment that may hold the content, as in CI systems.
VARIABLE = "DOCKER_AUTH_CONFIG"


class PullSecretError(errors.ClusterError):
    """The pull secret's file is missing or holds no registry credentials."""


@dataclass(frozen=True)
class Credentials:
    """Where the content of the pull secret is: a file, a Secret (namespace, name), or neither: the environment."""

    file: Path | None = None
    secret: tuple[str, str] | None = None


def read_credentials(
    cluster: Cluster, source: Credentials, environ: Mapping[str, str] | None = None, *, registry: str = ""
) -> bytes:
    """The content of the pull secret, checked.  Raises PullSecretError, never with content.

    registry  that it must have credentials for, as host[:port][/path]; "": for any
    environ   the environment (default: that of the process), whose variable VARIABLE holds the content when `source`
              names no place
    """
    if source.secret:
        return _from_secret(cluster, *source.secret, registry)
    if source.file:
        return read_pull_secret(source.file, registry)
    content = (os.environ if environ is None else environ).get(VARIABLE, "")
    return checked(content.encode(), f"in ${VARIABLE}", registry)


def _from_secret(cluster: Cluster, namespace: str, name: str, registry: str) -> bytes:
    found = cluster.get("v1", "Secret", name, namespace)
    if found is None:
        raise PullSecretError(
            f"Pull secret: expected Secret {namespace}/{name}, found none. Make it with `kubectl -n {namespace} create "
            f"secret docker-registry {name} --from-file={KEY}=FILE`, or correct `pull_secret_from`."
        )
    try:
        content = base64.b64decode(found["data"][KEY])
    except (KeyError, TypeError, binascii.Error):
        raise PullSecretError(
            f"Pull secret: expected key {KEY} in Secret {namespace}/{name}, found a Secret of type {found.get('type')} "
            f"without it. Make one of type kubernetes.io/dockerconfigjson."
        ) from None
    return checked(content, f"Secret {namespace}/{name}", registry)


def read_pull_secret(path: str | Path, registry: str = "") -> bytes:
    """The content of a container auth file (podman's auth.json, docker's config.json), checked.

    registry  as for `read_credentials`
    Raises PullSecretError with the path and what is wrong; never with content.
    """
    if is_content(str(path)):
        raise PullSecretError(
            "Pull secret: expected the path of a file, found the content of a file instead of its path. Put it into a "
            f"file, or into the environment variable {VARIABLE}."
        )
    place = expanded(path)
    try:
        content = place.read_bytes()
    except OSError as error:
        raise PullSecretError(
            f"Pull secret: expected a readable file, found {unreadable(place, error)}. Log in with "
            "`podman login --authfile FILE registry.redhat.io` and set `pull_secret_file` (or $REGISTRY_AUTH_FILE) "
            "to that file."
        ) from None
    return checked(content, str(place), registry)


def checked(content: bytes, place: str, registry: str = "") -> bytes:
    """The content itself, when it is a container auth file with credentials; entries without any do no harm.

    place  where it is from, for messages
    Raises PullSecretError; never with content.
    """
    try:
        body = json.loads(content)
    except ValueError:
        raise PullSecretError(
            f"Pull secret {place}: expected JSON with `auths`, found something else. Write it with "
            "`podman login --authfile FILE registry.redhat.io`."
        ) from None
    auths = body.get("auths") if isinstance(body, dict) else None
    if not isinstance(auths, dict) or not auths:
        helper = " (it names a credential helper, which a cluster cannot use)" if _names_helper(body) else ""
        raise PullSecretError(
            f"Pull secret {place}: expected `auths` with at least one registry, found none{helper}. Write it with "
            "`podman login --authfile FILE registry.redhat.io`."
        )
    usable = sorted(host for host, entry in auths.items() if has_credentials(entry))
    if not usable:
        host = registry or min(auths)
        raise PullSecretError(
            f"Pull secret {place}: expected auths.{host}.auth (base64 of user:password), found none. Log in again "
            f"with `podman login --authfile FILE {host}`."
        )
    if registry and not knows(auths, registry):
        raise PullSecretError(
            f"Pull secret {place}: expected credentials for {registry}, found those for {', '.join(usable)}. Add "
            f"them with `podman login --authfile FILE {registry}`."
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
    content: bytes,
    *,
    check: bool = False,
    labels: Mapping[str, str] | None = None,
    workers: int = 8,
) -> ApplyResult:
    """Applies the pull secret to all namespaces; another content (rotated credentials) is a change.

    content  as `read_credentials` gave it
    What the user gave is the truth: a Secret of this name that somebody made or changed by hand is taken over.
    """
    wanted = [pull_secret(name, space, content, labels) for space in namespaces]
    return apply(cluster, wanted, check=check, force=True, workers=workers)


def _names_helper(body: Any) -> bool:
    return isinstance(body, dict) and bool(body.get("credsStore") or body.get("credHelpers"))
