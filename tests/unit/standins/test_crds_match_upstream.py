"""Our stand-in CRD schemas promise nothing that the real CRDs would not keep.

Group, names, scope and versions are equal; every field of ours exists in the real schema with the same type, default
and required list; enum values are a subset; every CEL rule of ours is one of theirs, word for word. So an object that
the embedded cluster accepts is, for these kinds, accepted unchanged by a real cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.crd_schema import REPOSITORY, UPSTREAM_VARIABLE, read_crds, upstream_crds, upstream_files

STANDIN_CRDS = REPOSITORY / "local" / "embedded_cluster" / "standins" / "crds"
FILES = sorted(STANDIN_CRDS.glob("*/*.yaml"))
LIMITS = (
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "format",
    "anyOf",
    "oneOf",
)
EXPECTED = {
    "cert-manager-operator": {"certmanagers.operator.openshift.io", "istiocsrs.operator.openshift.io"},
    "cloud-manager": {
        "awskubernetesengines.infrastructure.opendatahub.io",
        "azurekubernetesengines.infrastructure.opendatahub.io",
        "coreweavekubernetesengines.infrastructure.opendatahub.io",
    },
    "lws-operator": {
        "leaderworkersetoperators.operator.openshift.io",
        "servicemonitors.monitoring.coreos.com",
    },
    "inference-extension": {"inferencemodelrewrites.llm-d.ai", "inferenceobjectives.llm-d.ai"},
    "olm": {
        f"{kind}.operators.coreos.com"
        for kind in ("catalogsources", "clusterserviceversions", "installplans", "operatorgroups", "subscriptions")
    },
    "openshift": {
        "clusterversions.config.openshift.io",
        "infrastructures.config.openshift.io",
        "securitycontextconstraints.security.openshift.io",
        "servicemonitors.monitoring.coreos.com",
    },
    "openshift-ai": {
        "datascienceclusters.datasciencecluster.opendatahub.io",
        "dscinitializations.dscinitialization.opendatahub.io",
    },
    "rhai-operator": {"kserves.components.platform.opendatahub.io", "platforms.config.opendatahub.io"},
    "sail-operator": {
        "istios.sailoperator.io",
        "istiorevisions.sailoperator.io",
        "istiorevisiontags.sailoperator.io",
        "istiocnis.sailoperator.io",
        "ztunnels.sailoperator.io",
    },
}


#: Sets of the next release: our one schema serves both releases, so it may have values of either.
NEWER = (Path("sail-operator") / "3.3.3",)


def with_values_of(schema: Any, newer: Any) -> Any:
    """A schema whose enums also have the values of a newer one at the same place."""
    if isinstance(schema, dict) and isinstance(newer, dict):
        merged = {key: with_values_of(value, newer[key]) if key in newer else value for key, value in schema.items()}
        if "enum" in schema:
            merged["enum"] = [
                *schema["enum"],
                *(value for value in newer.get("enum", []) if value not in schema["enum"]),
            ]
        return merged
    if isinstance(schema, list) and isinstance(newer, list) and len(schema) == len(newer):
        return [with_values_of(one, other) for one, other in zip(schema, newer, strict=True)]
    return schema


@pytest.fixture(params=FILES, ids=lambda p: p.stem)
def pair(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """(our CRD, the real CRD)"""
    folder = upstream_crds()
    if folder is None:
        pytest.skip(f"the real CRDs are not here: put them in ../shared/upstream/crds or set {UPSTREAM_VARIABLE}")
    (ours,) = read_crds(request.param)
    file = upstream_files(folder).get(ours["metadata"]["name"])
    if file is None:
        pytest.skip(f"{ours['metadata']['name']} is not among the real CRDs that are here")
    (real,) = read_crds(file)
    for newer in NEWER:
        if (folder / newer / file.name).is_file():
            real = with_values_of(real, read_crds(folder / newer / file.name)[0])
    return ours, real


def versions(crd: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {v["name"]: v for v in crd["spec"]["versions"]}


def rules(schema: Mapping[str, Any]) -> set[str]:
    return {" ".join(r["rule"].split()) for r in schema.get("x-kubernetes-validations", [])}


def excess(ours: Mapping[str, Any], real: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What our schema accepts, fills in or asks for that the real one does not; one sentence each."""
    for keyword in ("type", "default", "nullable", "x-kubernetes-int-or-string", "x-kubernetes-list-type"):
        if ours.get(keyword) != real.get(keyword):
            yield f"{path}: {keyword} is {ours.get(keyword)!r}, the real CRD has {real.get(keyword)!r}"
    if set(ours.get("required", [])) != set(real.get("required", [])):
        yield f"{path}: required is {ours.get('required')}, the real CRD has {real.get('required')}"
    if "enum" in real and not set(ours.get("enum", [None])) <= set(real["enum"]):
        yield f"{path}: enum is {ours.get('enum')}, the real CRD has {real['enum']}"
    for keyword in LIMITS:
        if keyword in real and "enum" not in ours and ours.get(keyword) != real[keyword]:
            yield f"{path}: {keyword} is {ours.get(keyword)!r}, the real CRD has {real[keyword]!r}"
    if ours.get("x-kubernetes-preserve-unknown-fields") and not real.get("x-kubernetes-preserve-unknown-fields"):
        yield f"{path}: free form, the real CRD lists its fields"
    if not rules(ours) <= rules(real):
        yield f"{path}: CEL rules {rules(ours) - rules(real)} are not in the real CRD"
    for name, child in ours.get("properties", {}).items():
        if name not in real.get("properties", {}):
            yield f"{path}.{name}: not a field of the real CRD"
        else:
            yield from excess(child, real["properties"][name], f"{path}.{name}")
    for keyword, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(ours.get(keyword), Mapping):
            yield from excess(ours[keyword], real.get(keyword) or {}, path + suffix)


def test_each_set_has_the_crds_that_no_registry_carries() -> None:
    found = {folder: {f.stem for f in FILES if f.parent.name == folder} for folder in EXPECTED}
    assert found == EXPECTED


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_the_file_is_named_after_its_crd(path: Path) -> None:
    (crd,) = read_crds(path)
    assert crd["metadata"]["name"] == path.stem


def test_group_names_and_scope_are_equal(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, real = pair
    for key in ("group", "scope", "names"):
        assert ours["spec"][key] == real["spec"][key]


def test_versions_are_served_and_stored_alike(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, real = (
        {
            n: (v["served"], v["storage"], v.get("deprecated", False), v.get("subresources"))
            for n, v in versions(c).items()
        }
        for c in pair
    )
    assert ours == real


def test_nothing_is_accepted_that_the_real_crd_refuses(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, real = (versions(crd) for crd in pair)
    found = [
        f"{name}{problem}"
        for name, version in ours.items()
        for problem in excess(version["schema"]["openAPIV3Schema"], real[name]["schema"]["openAPIV3Schema"])
    ]
    assert found == []


def test_a_singleton_stays_a_singleton(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ours, real = (versions(crd) for crd in pair)
    for name, version in ours.items():
        assert rules(version["schema"]["openAPIV3Schema"]) == rules(real[name]["schema"]["openAPIV3Schema"])


def test_the_comparison_sees_a_schema_that_accepts_too_much() -> None:
    real = {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}}
    assert list(excess({"type": "object", "properties": {"b": {"type": "string"}}}, real)) != []
    assert list(excess({"type": "object", "properties": {"a": {"type": "string", "enum": ["x", "y"]}}}, real)) != []
    assert list(excess({"type": "object", "properties": {"a": {"type": "string"}}}, real)) != []
    assert list(excess({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, real)) != []
