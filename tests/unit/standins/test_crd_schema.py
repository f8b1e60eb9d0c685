"""The offline CRD validator finds what the API server would refuse or drop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.crd_schema import CrdIndex

CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "boats.example.org"},
    "spec": {
        "group": "example.org",
        "scope": "Namespaced",
        "names": {"kind": "Boat", "plural": "boats"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["sail"],
                                "properties": {
                                    "sail": {"type": "string", "enum": ["main", "jib"], "default": "main"},
                                    "crew": {"type": "integer", "minimum": 1},
                                    "port": {"x-kubernetes-int-or-string": True},
                                    "note": {"type": "string", "nullable": True},
                                    "cargo": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    "flags": {"type": "object", "additionalProperties": {"type": "string"}},
                                    "masts": {
                                        "type": "array",
                                        "maxItems": 2,
                                        "items": {
                                            "type": "object",
                                            "properties": {"height": {"type": "number"}},
                                        },
                                    },
                                    "engine": {
                                        "type": "object",
                                        "properties": {
                                            "diesel": {"type": "object"},
                                            "electric": {"type": "object"},
                                        },
                                        "oneOf": [{"required": ["diesel"]}, {"required": ["electric"]}],
                                    },
                                },
                            }
                        },
                    }
                },
            },
            {
                "name": "v1old",
                "served": False,
                "storage": False,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            },
        ],
    },
}


def boat(spec: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    found = {
        "apiVersion": "example.org/v1",
        "kind": "Boat",
        "metadata": {"name": "ann", "namespace": "bay"},
        "spec": spec or {},
    }
    return found | changes


@pytest.fixture
def index() -> CrdIndex:
    found = CrdIndex()
    found.add(CRD, Path("boats.yaml"))
    return found


@pytest.mark.parametrize(
    "obj",
    [
        boat(),
        boat({"sail": "jib", "crew": 2, "port": "http", "note": None}),
        boat({"port": 80, "cargo": {"anything": {"goes": 1}}, "flags": {"a": "b"}}),
        boat({"masts": [{"height": 1.5}, {}], "engine": {"diesel": {}}}),
    ],
)
def test_an_object_that_fits_has_no_violation(index: CrdIndex, obj: dict[str, Any]) -> None:
    assert index.violations(obj) == []


@pytest.mark.parametrize(
    ("obj", "path", "message"),
    [
        (boat({"rudder": 1}), "spec", "'rudder' was unexpected"),
        (boat({"masts": [{"hight": 1}]}), "spec.masts[0]", "'hight' was unexpected"),
        (boat(spec={}, extra=1), "", "'extra' was unexpected"),
        (boat({"sail": "kite"}), "spec.sail", "not one of"),
        (boat({"crew": "two"}), "spec.crew", "not of type 'integer'"),
        (boat({"crew": True}), "spec.crew", "not of type 'integer'"),
        (boat({"crew": 0}), "spec.crew", "less than the minimum"),
        (boat({"crew": None}), "spec.crew", "not of type 'integer'"),
        (boat({"flags": {"a": 1}}), "spec.flags.a", "not of type 'string'"),
        (boat({"port": 1.5}), "spec.port", "not of type"),
        (boat({"masts": [{}, {}, {}]}), "spec.masts", "too long"),
        (boat({"engine": {"diesel": {}, "electric": {}}}), "spec.engine", "valid under each of"),
        (boat(apiVersion="example.org/v2"), "apiVersion", "no CRD serves example.org/v2 Boat"),
        (boat(apiVersion="example.org/v1old"), "apiVersion", "is not served"),
        (boat(metadata={"name": "ann"}), "metadata.namespace", "namespaced, found none"),
    ],
)
def test_each_violation_names_its_field(index: CrdIndex, obj: dict[str, Any], path: str, message: str) -> None:
    found = index.violations(obj)
    assert any(v.path == path and message in v.message for v in found), found


def test_a_required_field_with_a_default_need_not_be_given(index: CrdIndex) -> None:
    assert index.defaulted(boat())["spec"] == {"sail": "main"}


def test_defaults_do_not_touch_the_given_object(index: CrdIndex) -> None:
    given = boat()
    index.defaulted(given)
    assert given["spec"] == {}


def test_a_kind_in_another_version_is_known(index: CrdIndex) -> None:
    assert index.knows(boat(apiVersion="example.org/v9"))
    assert not index.knows(boat(kind="Ship"))


def test_two_copies_of_one_crd_are_refused(index: CrdIndex) -> None:
    with pytest.raises(ValueError, match=r"example\.org/v1/Boat is defined twice"):
        index.add(CRD, Path("again.yaml"))
