"""What tells the nodes of the mirror, for images whose references stay as they are.

Each file sends the pulls of all registries, or repositories, that the needs name to their copies; where the mirror has
nothing, the container runtime asks the registry itself, as before.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from inference_platform.mirror.needs import Image, Needs
from inference_platform.platform.resolve import OLM

REGISTRIES_CONF = "registries.conf"
HOSTS_TOML = "certs.d/{registry}/hosts.toml"
MIRROR_SET = "mirror-set.yaml"
#: What the two objects of a mirror set are called.
NAME = "inference-platform"


def files(needs: Needs) -> dict[str, str]:
    """Name -> content, for the runtimes that the nodes of the route can have; nothing without a mirror."""
    if not needs.registry:
        return {}
    if needs.route == OLM:
        text = _mirror_set(needs)
        return {MIRROR_SET: text} if text else {}
    registries = sorted({image.source.partition("/")[0] for image in _elsewhere(needs)})
    hosts = {HOSTS_TOML.format(registry=name): _hosts(needs.registry) for name in registries}
    return {REGISTRIES_CONF: _registries(registries, needs.registry), **hosts}


def _elsewhere(needs: Needs) -> Iterator[Image]:
    """Images that are not published in the mirror itself."""
    return (image for image in needs.images if image.source != image.target)


def _registries(registries: list[str], mirror: str) -> str:
    """A drop-in for /etc/containers/registries.conf.d, which CRI-O reads (containers-registries.conf.d(5))."""
    return "\n".join(
        f'[[registry]]\nlocation = "{name}"\n\n[[registry.mirror]]\nlocation = "{mirror}"\n' for name in registries
    )


def _hosts(mirror: str) -> str:
    """The hosts.toml of a registry for containerd (docs/hosts.md of containerd).

    Of a mirror below a path the address has to be whole, with the /v2 of the API, since containerd would look there at
    the root of the host.
    """
    host, slash, path = mirror.partition("/")
    address = f"https://{host}/v2/{path}" if slash else f"https://{host}"
    whole = "  override_path = true\n" if slash else ""
    return f'[host."{address}"]\n  capabilities = ["pull", "resolve"]\n{whole}'


def _mirror_set(needs: Needs) -> str:
    """ImageDigestMirrorSet and ImageTagMirrorSet of OpenShift, by repository; empty without images of models."""
    by_digest: dict[str, str] = {}
    by_tag: dict[str, str] = {}
    for image in _elsewhere(needs):
        pairs = by_digest if "@" in image.source else by_tag
        pairs[_repository(image.source)] = _repository(image.target)
    objects = [
        {
            "apiVersion": "config.openshift.io/v1",
            "kind": kind,
            "metadata": {"name": NAME},
            "spec": {field: [{"source": source, "mirrors": [target]} for source, target in sorted(pairs.items())]},
        }
        for kind, field, pairs in (
            ("ImageDigestMirrorSet", "imageDigestMirrors", by_digest),
            ("ImageTagMirrorSet", "imageTagMirrors", by_tag),
        )
        if pairs
    ]
    return yaml.safe_dump_all(objects, sort_keys=False) if objects else ""


def _repository(reference: str) -> str:
    """The reference without tag and digest."""
    path, slash, name = reference.partition("@")[0].rpartition("/")
    return f"{path}{slash}{name.partition(':')[0]}"
