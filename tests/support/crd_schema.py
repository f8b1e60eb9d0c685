"""Checks objects against CustomResourceDefinition files without an API server.

The API server does three things to a custom resource: it fills in defaults, drops (or, for server-side apply,
refuses) unknown fields, and validates. `CrdIndex.violations` answers what it would find: unknown fields, types,
required fields, enums, patterns, lengths, ranges and the anyOf/oneOf/allOf/not of a structural schema.

Left to a real API server (tests/api): CEL rules (`x-kubernetes-validations`), uniqueness of list-map keys,
`format`, the rules for ObjectMeta, and admission webhooks.
"""

from __future__ import annotations

import copy
import csv
import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
UPSTREAM_VARIABLE = "INFERENCE_PLATFORM_UPSTREAM_CRDS"

_KEPT_KEYWORDS = (
    "enum", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "required",
)  # fmt: skip
_OBJECT_HEADER = ("apiVersion", "kind", "metadata")


@dataclass(frozen=True)
class Violation:
    """One reason why the API server would not store an object as given."""

    object: str  # "Kind namespace/name" or "Kind name"
    path: str  # field path, such as spec.listeners[0].port
    message: str  # what was expected and what was found

    def __str__(self) -> str:
        return f"{self.object}: {self.path or '(root)'}: {self.message}"


@dataclass(frozen=True)
class CrdVersion:
    """One version of a CRD: its schema and whether it is served and stored."""

    crd: str
    group: str
    kind: str
    version: str
    scope: str
    served: bool
    storage: bool
    schema: Mapping[str, Any]


@dataclass
class CrdIndex:
    """CRD versions by (group, version, kind)."""

    versions: dict[tuple[str, str, str], CrdVersion] = field(default_factory=dict)
    _validators: dict[tuple[str, str, str], Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_files(cls, files: Iterable[Path]) -> CrdIndex:
        """Reads YAML or JSON files that hold CRDs; a CRD seen twice is an error, for the answer would be chance."""
        index = cls()
        for path in files:
            for crd in read_crds(path):
                index.add(crd, path)
        return index

    def add(self, crd: Mapping[str, Any], source: Path) -> None:
        spec = crd["spec"]
        for version in spec["versions"]:
            key = (spec["group"], version["name"], spec["names"]["kind"])
            if key in self.versions:
                raise ValueError(f"{source}: {'/'.join(key)} is defined twice; pass one version of each CRD")
            self.versions[key] = CrdVersion(
                crd=crd["metadata"]["name"],
                group=spec["group"],
                kind=spec["names"]["kind"],
                version=version["name"],
                scope=spec["scope"],
                served=version["served"],
                storage=version["storage"],
                schema=version["schema"]["openAPIV3Schema"],
            )

    def knows(self, obj: Mapping[str, Any]) -> bool:
        """True when some version of the object's group and kind is in the index (any version: a wrong one is a
        violation, not an unknown kind)."""
        group, _, kind = _key(obj)
        return any(g == group and k == kind for g, _, k in self.versions)

    def defaulted(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the object with the schema's defaults filled in, as the API server does first."""
        result = copy.deepcopy(dict(obj))
        _fill_defaults(self.versions[_key(obj)].schema, result)
        return result

    def violations(self, obj: Mapping[str, Any]) -> list[Violation]:
        """Why the object would be refused or changed (beyond defaults); empty when it would be stored as it is."""
        name = object_name(obj)
        version = self.versions.get(_key(obj))
        if version is None:
            return [Violation(name, "apiVersion", f"no CRD serves {obj.get('apiVersion')} {obj.get('kind')}")]
        found = []
        if not version.served:
            found.append(Violation(name, "apiVersion", f"{version.version} of {version.crd} is not served"))
        namespaced = bool(obj.get("metadata", {}).get("namespace"))
        if version.scope == "Cluster" and namespaced:
            found.append(Violation(name, "metadata.namespace", f"{version.crd} is cluster-scoped, expected none"))
        if version.scope == "Namespaced" and not namespaced:
            found.append(Violation(name, "metadata.namespace", f"{version.crd} is namespaced, found none"))
        errors = self._validator(version).iter_errors(self.defaulted(obj))
        found += [Violation(name, _field_path(e.absolute_path), e.message[:400]) for e in errors]
        return sorted(found, key=lambda v: (v.path, v.message))

    def _validator(self, version: CrdVersion) -> Any:
        key = (version.group, version.version, version.kind)
        if key not in self._validators:
            self._validators[key] = jsonschema.Draft202012Validator(_json_schema(version.schema, root=True))
        return self._validators[key]


def upstream_crds() -> Path | None:
    """Folder with the real CRDs, one file each: $INFERENCE_PLATFORM_UPSTREAM_CRDS, else ../shared/upstream/crds
    beside the repository; None when there is none."""
    configured = os.environ.get(UPSTREAM_VARIABLE)
    folder = Path(configured) if configured else REPOSITORY.parent / "shared" / "upstream" / "crds"
    return folder if folder.is_dir() else None


def read_crds(path: Path) -> list[dict[str, Any]]:
    """The CRDs in a YAML or JSON file (several documents allowed)."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = yaml.load_all(path.read_text(encoding="utf-8"), Loader=loader)
    return [d for d in documents if isinstance(d, dict) and d.get("kind") == "CustomResourceDefinition"]


def object_name(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata", {})
    namespace = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{obj.get('kind')} {namespace}{metadata.get('name')}"


def _key(obj: Mapping[str, Any]) -> tuple[str, str, str]:
    group, _, version = str(obj.get("apiVersion", "")).rpartition("/")
    return group, version, str(obj.get("kind", ""))


def _field_path(parts: Iterable[str | int]) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def _fill_defaults(schema: Mapping[str, Any], value: Any) -> None:
    if isinstance(value, dict):
        for name, child in schema.get("properties", {}).items():
            if name not in value and "default" in child:
                value[name] = copy.deepcopy(child["default"])
            if name in value:
                _fill_defaults(child, value[name])
        extra = schema.get("additionalProperties")
        if isinstance(extra, Mapping):
            for child_value in value.values():
                _fill_defaults(extra, child_value)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for item in value:
            _fill_defaults(schema["items"], item)


def _json_schema(schema: Mapping[str, Any], *, root: bool = False, strict: bool = True) -> dict[str, Any]:
    """Plain JSON Schema with the same meaning as a structural schema.

    `strict` forbids unknown fields; it is off inside anyOf, oneOf, allOf and not, whose branches only add
    validations to the fields that the structure around them names.
    """
    result: dict[str, Any] = {k: schema[k] for k in _KEPT_KEYWORDS if k in schema}
    if schema.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    elif "type" in schema:
        result["type"] = schema["type"]
    if schema.get("nullable"):
        result = {"anyOf": [{"type": "null"}, result]} if result else {}
    if "properties" in schema:
        result["properties"] = {k: _json_schema(v, strict=strict) for k, v in schema["properties"].items()}
    if isinstance(schema.get("items"), Mapping):
        result["items"] = _json_schema(schema["items"], strict=strict)
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            branches = [_json_schema(branch, strict=False) for branch in schema[keyword]]
            result.setdefault("allOf", []).append({keyword: branches})
    if "not" in schema:
        result["not"] = _json_schema(schema["not"], strict=False)
    _limit_fields(result, schema, root=root, strict=strict)
    return result


def _limit_fields(result: dict[str, Any], schema: Mapping[str, Any], *, root: bool, strict: bool) -> None:
    """Adds the rule about unknown fields of an object."""
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping):
        result["additionalProperties"] = _json_schema(extra, strict=strict)
        return
    if extra is True or not strict or schema.get("type") != "object":
        return
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if root or schema.get("x-kubernetes-embedded-resource"):
        properties = result.setdefault("properties", {})
        for name in _OBJECT_HEADER:
            properties[name] = {}  # ObjectMeta is the API server's own affair
    result["additionalProperties"] = False


def upstream_files(folder: Path, sets: tuple[str, ...] = ("primary", "extra")) -> dict[str, Path]:
    """The real CRD files of the reference release by CRD name.

    CRDS.tsv beside the folder says which file of which set belongs together: *primary* is the reference release,
    *extra* can be installed beside it, *alternate* is another version of the same CRD and is left out.
    """
    lines = (folder.parent / "CRDS.tsv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=False)) for line in lines[1:]]
    return {row["crd"]: folder.parent / row["local path"] for row in rows if row["set"] in sets}


def locked_file(folder: Path, crd: str, url: str) -> Path | None:
    """The real file of a CRD that a lock names by URL, or None when it is not among those beside us.

    SOURCES.tsv beside the folder says where each file was taken from.
    """
    return _taken_from(folder).get((crd, url))


@functools.cache
def _taken_from(folder: Path) -> dict[tuple[str, str], Path]:
    with (folder.parent / "SOURCES.tsv").open(encoding="utf-8") as index:
        rows = list(csv.DictReader(index, delimiter="\t"))
    found = {}
    for row in rows:
        path = folder.parent / row["local path"]
        commit = row["tag-or-commit"].rpartition("@")[2]
        url = f"https://raw.githubusercontent.com/{row['repo']}/{commit}/{row['path in repo']}"
        if path.is_relative_to(folder) and path.is_file():
            found[path.stem, url] = path
    return found
