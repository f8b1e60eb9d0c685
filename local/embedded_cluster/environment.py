"""Environment, command and args of a container, resolved as a kubelet does. No I/O.

Lookups of Secrets and ConfigMaps are functions from (namespace, name) to the object or None.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from embedded_cluster.kube import Object

Lookup = Callable[[str, str], Object | None]

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_.-][\w.-]*)\)")
_SUFFIXES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_SUFFIXES |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60}


class ConfigError(Exception):
    """A container cannot be configured; the text is the kubelet's CreateContainerConfigError message."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; unknown names stay, $$ is an escaped dollar sign."""

    def replace(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        return values.get(match.group(1), match.group(0))

    return _REFERENCE.sub(replace, text)


def resolve_env(container: Mapping[str, Any], pod: Object, secrets: Lookup, config_maps: Lookup) -> dict[str, str]:
    """All environment variables of a container, in order of definition; raises ConfigError."""
    namespace = pod["metadata"]["namespace"]
    values: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix") or ""
        for kind, lookup in (("secretRef", secrets), ("configMapRef", config_maps)):
            if reference := source.get(kind):
                values |= {f"{prefix}{key}": value for key, value in _whole(kind, reference, namespace, lookup).items()}
    for entry in container.get("env") or []:
        if (value := _value(entry, container, pod, values, secrets, config_maps)) is not None:
            values[entry["name"]] = value
    return values


def _value(
    entry: Mapping[str, Any],
    container: Mapping[str, Any],
    pod: Object,
    known: Mapping[str, str],
    secrets: Lookup,
    config_maps: Lookup,
) -> str | None:
    """Value of one env entry, None for an optional reference to something absent."""
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value") or "", known)
    namespace = pod["metadata"]["namespace"]
    if reference := source.get("fieldRef"):
        return field_value(pod, reference["fieldPath"])
    if reference := source.get("resourceFieldRef"):
        return resource_value(container, reference)
    if reference := source.get("secretKeyRef"):
        return _key("secret", reference, namespace, secrets)
    if reference := source.get("configMapKeyRef"):
        return _key("configmap", reference, namespace, config_maps)
    raise ConfigError(f"env {entry['name']}: valueFrom has no known source: {', '.join(source)}")


def field_value(pod: Object, path: str) -> str:
    """A downward API field of a pod, for example metadata.name or metadata.labels['app']."""
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((pod["metadata"].get(match.group(1)) or {}).get(match.group(2), ""))
    if match := re.fullmatch(r"metadata\.(labels|annotations)", path):
        entries = pod["metadata"].get(match.group(1)) or {}
        return "\n".join(f'{key}="{_quoted(value)}"' for key, value in sorted(entries.items()))
    if path == "status.podIPs":
        return ",".join(item["ip"] for item in (pod.get("status") or {}).get("podIPs") or [])
    if path == "status.hostIPs":
        return str((pod.get("status") or {}).get("hostIP", ""))
    found: Any = pod
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return "" if found is None else str(found)


def resource_value(container: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    """A resourceFieldRef such as limits.cpu, divided by its divisor and rounded up."""
    kind, _, name = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    quantity = (resources.get(kind) or {}).get(name) or (resources.get("limits") or {}).get(name) or "0"
    divisor = parse_quantity(str(reference.get("divisor") or "1")) or 1.0
    return str(math.ceil(round(parse_quantity(str(quantity)) / divisor, 9)))


def parse_quantity(text: str) -> float:
    """A Kubernetes quantity as a number: "100m" is 0.1, "1Gi" is 1073741824."""
    match = re.fullmatch(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)([numkMGTPE]|[KMGTPE]i)?", text)
    if not match:
        raise ConfigError(f"quantity: expected a number with an optional suffix, found {text!r}")
    return float(match.group(1)) * _SUFFIXES[match.group(2) or ""]


def secret_data(secret: Object) -> dict[str, bytes]:
    """Decoded contents of a Secret."""
    return {key: base64.b64decode(value or "") for key, value in (secret.get("data") or {}).items()}


def config_map_data(config_map: Object) -> dict[str, bytes]:
    """Contents of a ConfigMap, text and binary."""
    data = {key: value.encode() for key, value in (config_map.get("data") or {}).items()}
    return data | {key: base64.b64decode(value) for key, value in (config_map.get("binaryData") or {}).items()}


def _whole(kind: str, reference: Mapping[str, Any], namespace: str, lookup: Lookup) -> dict[str, str]:
    noun = "secret" if kind == "secretRef" else "configmap"
    found = lookup(namespace, reference["name"])
    if found is None:
        if reference.get("optional"):
            return {}
        raise ConfigError(f'{noun} "{reference["name"]}" not found')
    data = secret_data(found) if noun == "secret" else config_map_data(found)
    return {key: value.decode(errors="replace") for key, value in data.items()}


def _key(noun: str, reference: Mapping[str, Any], namespace: str, lookup: Lookup) -> str | None:
    found = lookup(namespace, reference["name"])
    if found is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{noun} "{reference["name"]}" not found')
    data = secret_data(found) if noun == "secret" else config_map_data(found)
    if reference["key"] not in data:
        if reference.get("optional"):
            return None
        title = "Secret" if noun == "secret" else "ConfigMap"
        raise ConfigError(f"couldn't find key {reference['key']} in {title} {namespace}/{reference['name']}")
    return data[reference["key"]].decode(errors="replace")


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
