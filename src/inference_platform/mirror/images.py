"""Images in the objects of a model: found, and pointed at a mirror."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# What the container runtime takes for a reference that names no registry.
DEFAULT_REGISTRY = "docker.io"
OFFICIAL = "library"

OCI = "oci://"

Change = Callable[[str], str]


def with_registry(reference: str) -> str:
    """The reference with the registry that the container runtime would ask.

    "vllm/vllm-openai:v1" is "docker.io/vllm/vllm-openai:v1", "python:3" is "docker.io/library/python:3".
    """
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return reference
    return f"{DEFAULT_REGISTRY}/{reference}" if slash else f"{DEFAULT_REGISTRY}/{OFFICIAL}/{reference}"


def mirrored(reference: str, registry: str) -> str:
    """The reference in ``registry`` (host[:port][/path]); one that lies there already stays as it is."""
    place = registry.rstrip("/")
    if not place or reference.startswith(f"{place}/"):
        return reference
    return f"{place}/{with_registry(reference).partition('/')[2]}"


@dataclass
class Rewriting:
    """Points objects at ``registry`` and remembers in ``sources`` where each new reference came from."""

    registry: str
    sources: dict[str, str] = field(default_factory=dict)

    def of(self, service: dict[str, Any]) -> dict[str, Any]:
        """The object with all of its images in the mirror; the same object without a registry."""
        if not self.registry:
            return service
        return {**service, "spec": _changed(service["spec"], self._moved)}

    def _moved(self, reference: str) -> str:
        target = mirrored(reference, self.registry)
        if target != reference:
            self.sources[target] = reference
        return target


def images_in(service: Mapping[str, Any]) -> Iterator[str]:
    """Every image that an LLMInferenceService names itself, as it is written there.

    These are ``image`` of containers, ``image.reference`` of volumes, and models and
    adapters whose uri is oci://.
    """
    found: list[str] = []

    def note(reference: str) -> str:
        found.append(reference)
        return reference

    _changed(service.get("spec", {}), note)
    yield from found


def _changed(value: Any, change: Change) -> Any:
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _field(key, item, change) for key, item in value.items()}
    return value


def _field(key: str, value: Any, change: Change) -> Any:
    if key == "image" and isinstance(value, str):
        return change(value)
    if key == "image" and isinstance(value, dict) and isinstance(value.get("reference"), str):
        return {**value, "reference": change(value["reference"])}
    if key == "uri" and isinstance(value, str) and value.startswith(OCI):
        return OCI + change(value.removeprefix(OCI))
    return _changed(value, change)
