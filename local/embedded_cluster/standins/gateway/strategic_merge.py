"""Strategic merge patch, as far as patches of a Deployment, Service or ServiceAccount need it.

Maps merge key by key and null removes a key. Lists whose items have an identity merge item by item: known items in
place, new ones in front (section 2.1: the CA bundle's volume and mount came first); other lists are replaced.
`$patch: delete` removes an item or map, `$patch: replace` replaces one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

#: Key that identifies an item, by the name of the list's field.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "secrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "ownerReferences": "uid",
}


class PatchError(ValueError):
    """A patch that cannot be merged; the text names the field."""


def merge(target: Mapping[str, Any], patch: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """A copy of `target` with `patch` merged in; raises PatchError."""
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    result = copy.deepcopy(dict(target))
    for key, value in patch.items():
        field = f"{path}.{key}".lstrip(".")
        if value is None or (isinstance(value, Mapping) and value.get("$patch") == "delete"):
            result.pop(key, None)
        elif isinstance(value, Mapping):
            before = result.get(key) or {}
            if not isinstance(before, Mapping):
                raise PatchError(f"{field}: expected {type(before).__name__}, found an object")
            result[key] = merge(before, value, field)
        elif isinstance(value, list) and _merge_key(key, value):
            result[key] = _merge_items(result.get(key) or [], value, _merge_key(key, value), field)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _merge_key(name: str, items: list[Any]) -> str:
    """The identifying key of a list's items, empty when the list is replaced as a whole."""
    if name == "ports":
        in_pod = any(isinstance(item, Mapping) and "containerPort" in item for item in items)
        return "containerPort" if in_pod else "port"
    return MERGE_KEYS.get(name, "")


def _merge_items(target: list[Any], patch: list[Any], key: str, path: str) -> list[Any]:
    changes: dict[Any, Mapping[str, Any]] = {}
    for item in patch:
        if not isinstance(item, Mapping) or key not in item:
            raise PatchError(f"{path}: expected items with {key}, found {item!r}")
        changes[item[key]] = item
    kept = []
    for item in target:
        change = changes.pop(item.get(key), {})
        if change.get("$patch") != "delete":
            kept.append(merge(item, change, f"{path}[{item.get(key)}]"))
    added = [merge({}, item, path) for item in changes.values() if item.get("$patch") != "delete"]
    return added + kept
