"""Kubernetes objects as plain data: naming, comparing, showing.  Pure functions.

How a wanted object is compared with the live one:

*Stamp.*  What we apply carries the annotation `inference-platform.io/sha256`, a hash of the wanted object.  If the
live object has the same stamp and an Apply entry of our field manager, nothing was added to or removed from the
wanted object since we last applied it.
*Drift.*  Then only a value that somebody changed can differ: `differences` lists the wanted fields that the live
object does not have, allowing for what API servers do to objects (defaults, quantities, lists merged by key as the
live object's managedFields show them).
What still differs may be the server's doing (a mutating webhook, a pruned field): the caller settles it with a
server-side dry run and `same_content`.
"""

from __future__ import annotations

import base64
import copy
import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import yaml

from inference_platform.cluster import redact

Object = dict[str, Any]

STAMP = "inference-platform.io/sha256"
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_SERVER_METADATA = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
# Groups compiled into the API server: it drops empty maps there, while in a custom resource `{}` has a meaning.
_BUILT_IN_GROUPS = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "coordination.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)
# Keys below which every number-like string is a quantity that the server writes in its own canonical form.
_QUANTITY_PARENTS = frozenset({"limits", "requests", "capacity", "hard", "sizeLimit", "storage", "divisor"})
_QUANTITY = re.compile(r"^([+-]?[0-9.]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$")
_SUFFIX = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
    "P": Decimal("1e15"),
    "E": Decimal("1e18"),
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


@dataclass(frozen=True, order=True)
class Ref:
    """Which object: API version, kind, namespace ("" for cluster-scoped), name."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> Ref:
        """The reference of an object.  Raises ValueError naming the missing field."""
        metadata = obj.get("metadata") or {}
        for value, field in (
            (obj.get("apiVersion"), "apiVersion"),
            (obj.get("kind"), "kind"),
            (metadata.get("name"), "metadata.name"),
        ):
            if not value:
                kind, name = obj.get("kind", "object"), metadata.get("name", "without a name")
                raise ValueError(f"{kind} {name}: expected {field}, found nothing")
        return cls(obj["apiVersion"], obj["kind"], metadata.get("namespace") or "", metadata["name"])

    @property
    def place(self) -> str:
        """ "namespace/name", or the name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.place}"


@dataclass(frozen=True)
class Difference:
    """One wanted field that the live object does not have in this form.

    path    for people: "spec.template.spec.containers[name=main].image"
    steps   the same in terms of managedFields: ("f:spec", "f:template", ..., 'k:{"name":"main"}', "f:image")
    """

    path: str
    wanted: Any
    live: Any
    steps: tuple[str, ...] = ()


# ---- preparing what we apply ------------------------------------------------------------------------------


def prepare(obj: Object) -> Object:
    """A copy ready to be applied: no server-set fields, `stringData` encoded into `data`, and stamped.

    What is not changed is shared with `obj`.
    """
    ready = without_write_only(obj)
    ready.pop("status", None)
    metadata = {key: value for key, value in (ready.get("metadata") or {}).items() if key not in _SERVER_METADATA}
    ready["metadata"] = metadata
    metadata["annotations"] = {**(metadata.get("annotations") or {}), STAMP: fingerprint(ready)}
    return ready


def without_write_only(obj: Object) -> Object:
    """A copy in the form in which the server gives it back: a Secret's `stringData` encoded into `data`."""
    readable = dict(obj)
    if readable.get("kind") == "Secret" and "stringData" in readable:
        encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in readable.pop("stringData").items()}
        readable["data"] = {**(readable.get("data") or {}), **encoded}
    return readable


def fingerprint(obj: Object) -> str:
    """Hash of a wanted object.  Of a Secret only the key names count, so that the hash tells nothing of values."""
    counted = dict(obj)
    annotations = counted["metadata"].get("annotations") or {}
    if STAMP in annotations:
        kept = {key: value for key, value in annotations.items() if key != STAMP}
        counted["metadata"] = {key: value for key, value in counted["metadata"].items() if key != "annotations"}
        if kept:
            counted["metadata"]["annotations"] = kept
    if counted.get("kind") == "Secret":
        counted["data"] = sorted(counted.get("data") or {})
    return hashlib.sha256(json.dumps(counted, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def stamp_of(obj: Mapping[str, Any]) -> str | None:
    """The stamp a live object carries."""
    stamp = ((obj.get("metadata") or {}).get("annotations") or {}).get(STAMP)
    return str(stamp) if stamp is not None else None


# ---- comparing --------------------------------------------------------------------------------------------


def is_managed_by(live: Mapping[str, Any], manager: str) -> bool:
    """Whether this field manager applied the object (server-side apply, not a subresource)."""
    return any(
        entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")
        for entry in (live.get("metadata") or {}).get("managedFields") or []
    )


def other_managers(live: Mapping[str, Any], manager: str) -> list[str]:
    """Names of all other field managers of the object, sorted."""
    entries = (live.get("metadata") or {}).get("managedFields") or []
    return sorted({str(entry.get("manager")) for entry in entries} - {manager})


def differences(wanted: Object, live: Object) -> list[Difference]:
    """Wanted fields that the live object lacks or has otherwise; empty when the live one has them all."""
    if _has_all(wanted, live):
        return []
    shape: Object = {}
    for entry in (live.get("metadata") or {}).get("managedFields") or []:
        _merge_shape(shape, entry.get("fieldsV1") or {})
    built_in = is_built_in(str(wanted.get("apiVersion", "")))
    return list(_compare(wanted, live, _Place("", (), shape, built_in)))


def _has_all(wanted: Any, live: Any) -> bool:
    """Whether every wanted value is in the same place of the live object, and lists are as long.

    The quick answer for the usual case; False only says that it takes a closer look.
    """
    if type(wanted) is not type(live):
        return False
    if isinstance(wanted, dict):
        return all(key in live and _has_all(value, live[key]) for key, value in wanted.items())
    if isinstance(wanted, list):
        return len(wanted) == len(live) and all(map(_has_all, wanted, live))
    return bool(wanted == live)


def is_built_in(api_version: str) -> bool:
    """Whether the kinds of this API version are compiled into the API server (no CRD)."""
    return api_version.rpartition("/")[0] in _BUILT_IN_GROUPS


def applied_by_other(live: Mapping[str, Any], difference: Difference, own: Iterable[str]) -> str | None:
    """The manager that took this field by server-side apply, if none of our `own` managers still has it."""
    owners = {
        (str(entry.get("manager")), str(entry.get("operation")))
        for entry in (live.get("metadata") or {}).get("managedFields") or []
        if _contains(entry.get("fieldsV1") or {}, difference.steps)
    }
    mine = set(own)
    if not owners or any(manager in mine for manager, _ in owners):
        return None
    return next((manager for manager, operation in sorted(owners) if operation == "Apply"), None)


def _contains(fields: Mapping[str, Any], steps: tuple[str, ...]) -> bool:
    for step in steps:
        if step not in fields:
            return False
        fields = fields[step]
    return bool(steps)


def _merge_shape(shape: Object, fields: Mapping[str, Any]) -> None:
    for key, inner in fields.items():
        _merge_shape(shape.setdefault(key, {}), inner)


@dataclass(frozen=True)
class _Place:
    """Where in an object the comparison is, and what managedFields say about what lies below."""

    path: str
    steps: tuple[str, ...]
    shape: Mapping[str, Any]
    built_in: bool

    def field(self, key: str) -> _Place:
        path = f"{self.path}.{key}" if self.path else key
        return _Place(path, (*self.steps, f"f:{key}"), self.shape.get(f"f:{key}") or {}, self.built_in)

    def item(self, label: str, step: str, shape: Mapping[str, Any]) -> _Place:
        return _Place(f"{self.path}[{label}]", (*self.steps, step) if step else self.steps, shape, self.built_in)


def _compare(wanted: Any, live: Any, place: _Place) -> Iterable[Difference]:
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        for key, value in wanted.items():
            here = place.field(str(key))
            if key in live:
                yield from _compare(value, live[key], here)
            elif not _means_absent(value, place.built_in):
                yield Difference(here.path, value, None, here.steps)
    elif isinstance(wanted, list) and isinstance(live, list):
        yield from _compare_lists(wanted, live, place)
    elif not _same_scalar(wanted, live, place.path):
        yield Difference(place.path, wanted, live, place.steps)


def _compare_lists(wanted: list[Any], live: list[Any], place: _Place) -> Iterable[Difference]:
    keys = _merge_keys(place.shape)
    if keys:
        for item in wanted:
            match = next((other for other in live if _same_keys(item, other, keys)), None)
            step, shape = _item_shape(place.shape, match or item, keys)
            here = place.item(",".join(f"{k}={item[k]}" for k in keys if k in item), step, shape)
            if match is None:
                yield Difference(here.path, item, None, here.steps)
            else:
                yield from _compare(item, match, here)
    elif any(key.startswith("v:") for key in place.shape):
        missing = [item for item in wanted if item not in live]
        if missing:
            yield Difference(place.path, missing, None, place.steps)
    elif len(wanted) != len(live):
        yield Difference(place.path, wanted, live, place.steps)
    else:
        for index, (item, other) in enumerate(zip(wanted, live, strict=True)):
            yield from _compare(item, other, place.item(str(index), "", {}))


def _merge_keys(shape: Mapping[str, Any]) -> list[str]:
    """Names of the keys by which the items of a list are told apart, from fieldsV1 entries `k:{"name":"x"}`."""
    for key in shape:
        if key.startswith("k:"):
            return list(json.loads(key[2:]))
    return []


def _same_keys(wanted: Mapping[str, Any], live: Mapping[str, Any], keys: list[str]) -> bool:
    """Same item of a keyed list; a key that is not given (a port's protocol) is the server's default."""
    return all(key not in wanted or wanted[key] == live.get(key) for key in keys)


def _item_shape(shape: Mapping[str, Any], item: Mapping[str, Any], keys: list[str]) -> tuple[str, Mapping[str, Any]]:
    for key, inner in shape.items():
        if key.startswith("k:") and all(item.get(k) == v for k, v in json.loads(key[2:]).items()):
            return key, inner if isinstance(inner, Mapping) else {}
    return "k:" + json.dumps({k: item.get(k) for k in keys}, separators=(",", ":")), {}


def _means_absent(value: Any, built_in: bool) -> bool:
    return value is None or value == [] or (built_in and isinstance(value, Mapping) and not value)


def _same_scalar(wanted: Any, live: Any, path: str) -> bool:
    if isinstance(wanted, bool) or isinstance(live, bool):
        return wanted is live
    if wanted == live or (_means_absent(wanted, True) and _means_absent(live, True)):
        return True
    if _QUANTITY_PARENTS & set(re.split(r"[.\[\]]", path)):
        left, right = quantity(wanted), quantity(live)
        return left is not None and left == right
    return False


def quantity(value: Any) -> Decimal | None:
    """The number a Kubernetes quantity stands for ("500m", "1Gi", 2), or None when it is not one."""
    match = _QUANTITY.match(str(value)) if isinstance(value, (str, int, float)) else None
    if not match:
        return None
    number, suffix = match.groups()
    try:
        if suffix in _SUFFIX:
            return Decimal(number) * _SUFFIX[suffix]
        return Decimal(number + (suffix or ""))
    except InvalidOperation:
        return None


def content(obj: Object) -> Object:
    """An object without what the server keeps about it: managedFields, versions, times, status."""
    metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if k not in _SERVER_METADATA}
    return {**{k: v for k, v in obj.items() if k != "status"}, "metadata": metadata}


def same_content(one: Object, other: Object) -> bool:
    """Whether two answers of the server are the same object in the same state, bookkeeping aside."""
    return content(one) == content(other)


# ---- showing ----------------------------------------------------------------------------------------------


def diff(ref: Ref, before: Object | None, after: Object | None) -> str:
    """Unified diff of two states as YAML, without secret values; None means the object is not there."""
    old, new = redact.pair(_shown(before) if before else None, _shown(after) if after else None)
    lines = difflib.unified_diff(
        _lines(old),
        _lines(new),
        fromfile=f"{ref} (live)" if before else "(absent)",
        tofile=f"{ref} (wanted)" if after else "(absent)",
        lineterm="",
    )
    return "\n".join(lines)


def _shown(obj: Object) -> Object:
    """The content without our own stamp (a CRD's is kept: it says from which file the CRD is)."""
    shown = copy.deepcopy(content(obj))
    annotations = shown["metadata"].get("annotations") or {}
    if shown.get("kind") != "CustomResourceDefinition" and annotations.pop(STAMP, None) and not annotations:
        del shown["metadata"]["annotations"]
    return shown


def _lines(obj: Object | None) -> list[str]:
    if obj is None:
        return []
    text = yaml.dump(obj, Dumper=_DUMPER, sort_keys=True, default_flow_style=False, width=200, allow_unicode=True)
    return str(text).splitlines()
