"""Whether a node may pull a pod's images: private registries want a pull secret. No I/O."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from embedded_cluster.environment import Lookup
from embedded_cluster.kube import Object

DOCKER_CONFIG_TYPE = "kubernetes.io/dockerconfigjson"
DOCKER_CONFIG_KEY = ".dockerconfigjson"


class ImagePullError(Exception):
    """An image cannot be pulled; `image` is its reference, the text the kubelet's message."""

    def __init__(self, image: str, message: str) -> None:
        super().__init__(message)
        self.image = image


def check_images(pod: Object, secrets: Lookup, private_registries: Sequence[str]) -> None:
    """Raise ImagePullError for the first image that no pull secret of the pod covers.

    The API server has already copied the ServiceAccount's imagePullSecrets into the pod when it
    had none of its own, so the pod is all that counts.
    """
    for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
        image = container.get("image") or ""
        registry = registry_of(image)
        if registry in private_registries:
            _check_registry(pod, image, registry, secrets)


def registry_of(image: str) -> str:
    """Host of an image reference, docker.io when it names none."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def _check_registry(pod: Object, image: str, registry: str, secrets: Lookup) -> None:
    namespace = pod["metadata"]["namespace"]
    names = [item["name"] for item in pod["spec"].get("imagePullSecrets") or [] if item.get("name")]
    reasons = []
    for name in names:
        reason = _refusal(secrets(namespace, name), registry)
        if reason is None:
            return
        reasons.append(f"pull secret {namespace}/{name} {reason}")
    because = "; ".join(reasons) if reasons else "the pod has no imagePullSecrets"
    raise ImagePullError(
        image,
        f'Failed to pull image "{image}": unauthorized: authentication required by {registry} ({because})',
    )


def _refusal(secret: Object | None, registry: str) -> str | None:
    """Why a Secret gives no access to a registry, None when it does."""
    if secret is None:
        return "not found"
    if secret.get("type") != DOCKER_CONFIG_TYPE:
        return f"has type {secret.get('type')}, expected {DOCKER_CONFIG_TYPE}"
    try:
        config: Any = json.loads(base64.b64decode((secret.get("data") or {})[DOCKER_CONFIG_KEY]))
        entry = (config.get("auths") or {}).get(registry)
    except (KeyError, ValueError, AttributeError):
        return f"has no readable {DOCKER_CONFIG_KEY}"
    if not entry or not (entry.get("auth") or entry.get("password")):
        return f"has no credentials for {registry}"
    return None
