"""Comparing objects: what a server does to them is no difference, what a person did is."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_platform.cluster import objects
from inference_platform.cluster.objects import Ref, differences

MANAGED = [
    {
        "manager": "inference-platform",
        "operation": "Apply",
        "apiVersion": "apps/v1",
        "fieldsV1": {
            "f:spec": {
                "f:template": {
                    "f:spec": {
                        "f:containers": {
                            'k:{"name":"main"}': {
                                ".": {},
                                "f:name": {},
                                "f:image": {},
                                "f:args": {},
                                "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {"f:containerPort": {}}},
                                "f:resources": {"f:limits": {"f:cpu": {}, "f:memory": {}}},
                            }
                        }
                    }
                }
            },
            "f:metadata": {"f:finalizers": {'v:"example.org/a"': {}}},
        },
    }
]


def deployment(**container: Any) -> dict[str, Any]:
    """A wanted Deployment with one container."""
    main = {
        "name": "main",
        "image": "i:1",
        "args": ["--a", "--b"],
        "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}},
        **container,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "finalizers": ["example.org/a"]},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [main]}}},
    }


def live() -> dict[str, Any]:
    """The same as the server gives it back: defaults added, quantities rewritten, a sidecar injected first."""
    obj = copy.deepcopy(deployment())
    main = obj["spec"]["template"]["spec"]["containers"][0]
    main["ports"] = [{"containerPort": 80, "protocol": "TCP"}]
    main["resources"] = {"limits": {"cpu": "1", "memory": "1Gi"}}
    main["imagePullPolicy"] = "IfNotPresent"
    obj["spec"]["template"]["spec"]["containers"] = [{"name": "sidecar", "image": "s"}, main]
    obj["spec"]["strategy"] = {"type": "RollingUpdate"}
    obj["metadata"]["finalizers"] = ["other.org/b", "example.org/a"]
    obj["metadata"]["managedFields"] = MANAGED
    return obj


def test_what_the_server_adds_and_rewrites_is_no_difference() -> None:
    assert differences(deployment(), live()) == []


@pytest.mark.parametrize(
    ("container", "path"),
    [
        ({"image": "i:2"}, "spec.template.spec.containers[name=main].image"),
        ({"args": ["--a"]}, "spec.template.spec.containers[name=main].args"),
        ({"args": ["--b", "--a"]}, "spec.template.spec.containers[name=main].args[0]"),
        ({"ports": [{"containerPort": 81}]}, "spec.template.spec.containers[name=main].ports[containerPort=81]"),
        ({"resources": {"limits": {"cpu": "2"}}}, "spec.template.spec.containers[name=main].resources.limits.cpu"),
        ({"name": "other"}, "spec.template.spec.containers[name=other]"),
        ({"tty": True}, "spec.template.spec.containers[name=main].tty"),
    ],
)
def test_a_difference_is_found_and_named(container: dict[str, Any], path: str) -> None:
    assert path in [d.path for d in differences(deployment(**container), live())]


def test_a_missing_member_of_a_set_is_a_difference() -> None:
    wanted = deployment()
    wanted["metadata"]["finalizers"] = ["example.org/c"]
    assert [d.path for d in differences(wanted, live())] == ["metadata.finalizers"]


def test_the_number_one_is_not_the_boolean_true() -> None:
    wanted = {"apiVersion": "example.org/v1", "kind": "W", "metadata": {"name": "w"}, "spec": {"a": True}}
    other = {**wanted, "spec": {"a": 1}}
    assert [d.path for d in differences(wanted, other)] == ["spec.a"]


def test_strings_that_look_like_quantities_differ_outside_of_resources() -> None:
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1000m"}}
    other = {**wanted, "data": {"a": "1"}}
    assert [d.path for d in differences(wanted, other)] == ["data.a"]


@pytest.mark.parametrize(
    ("api_version", "value", "differs"),
    [
        ("v1", {}, False),
        ("v1", [], False),
        ("v1", None, False),
        ("example.org/v1", {}, True),
        ("example.org/v1", None, False),
        ("v1", "", True),
    ],
)
def test_empty_maps_mean_something_only_in_custom_resources(api_version: str, value: Any, differs: bool) -> None:
    wanted = {"apiVersion": api_version, "kind": "K", "metadata": {"name": "k"}, "spec": {"a": value}}
    other = {"apiVersion": api_version, "kind": "K", "metadata": {"name": "k"}, "spec": {}}
    assert bool(differences(wanted, other)) is differs


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", 1, True),
        ("1000m", "1", True),
        ("0.5", "500m", True),
        ("1Gi", "1024Mi", True),
        ("1G", "1Gi", False),
        ("1e3", "1k", True),
        ("100u", "0.1m", True),
    ],
)
def test_quantities_are_compared_by_value(one: Any, other: Any, same: bool) -> None:
    assert (objects.quantity(one) == objects.quantity(other)) is same


@pytest.mark.parametrize("value", ["one", "", "1 Gi", None, "1.2.3"])
def test_other_strings_are_no_quantities(value: Any) -> None:
    assert objects.quantity(value) is None


def test_the_stamp_changes_with_the_object_and_not_with_the_order_of_its_keys() -> None:
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}}
    other = {"data": {"b": "2", "a": "1"}, "metadata": {"name": "c"}, "kind": "ConfigMap", "apiVersion": "v1"}
    assert objects.fingerprint(one) == objects.fingerprint(other)
    assert objects.fingerprint(one) != objects.fingerprint({**one, "data": {"a": "1"}})
    assert objects.stamp_of(objects.prepare(one)) == objects.fingerprint(one)
    assert objects.fingerprint(objects.prepare(one)) == objects.fingerprint(one)


def test_the_stamp_of_a_secret_tells_nothing_of_its_values() -> None:
    one = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "eA=="}}
    assert objects.fingerprint(one) == objects.fingerprint({**one, "data": {"a": "eQ=="}})
    assert objects.fingerprint(one) != objects.fingerprint({**one, "data": {"b": "eA=="}})


def test_preparing_drops_what_servers_set_and_encodes_string_data() -> None:
    wanted = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "creationTimestamp": None, "uid": "u"},
        "stringData": {"a": "x"},
        "status": {},
    }
    ready = objects.prepare(wanted)
    assert set(ready["metadata"]) == {"name", "annotations"}
    assert ready["data"] == {"a": "eA=="}
    assert "stringData" not in ready
    assert "status" not in ready
    assert "stringData" in wanted


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"kind": "Pod", "metadata": {"name": "p"}}, "Pod p: expected apiVersion"),
        ({"apiVersion": "v1", "metadata": {"name": "p"}}, "object p: expected kind"),
        ({"apiVersion": "v1", "kind": "Pod"}, "Pod without a name: expected metadata.name"),
    ],
)
def test_an_incomplete_object_is_named(obj: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ref.of(obj)


def test_a_field_taken_by_another_applier_is_recognised() -> None:
    obj = live()
    taken: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    obj["metadata"]["managedFields"] = [
        *MANAGED,
        {"manager": "engine", "operation": "Apply", "fieldsV1": taken},
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}},
    ]
    wanted = deployment()
    wanted["spec"] |= {"replicas": 3, "paused": True}
    found = {d.path: objects.applied_by_other(obj, d, ["helm"]) for d in differences(wanted, obj)}
    assert found == {"spec.replicas": "engine", "spec.paused": None}


def test_a_field_we_still_own_is_not_taken() -> None:
    obj = live()
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    obj["metadata"]["managedFields"] = [
        {"manager": "engine", "operation": "Apply", "fieldsV1": fields},
        {"manager": "helm", "operation": "Update", "fieldsV1": fields},
    ]
    difference = objects.Difference("spec.replicas", 3, 2, ("f:spec", "f:replicas"))
    assert objects.applied_by_other(obj, difference, ["helm"]) is None


def test_bookkeeping_is_no_content() -> None:
    one = {"metadata": {"name": "a", "resourceVersion": "1", "generation": 1}, "status": {"x": 1}, "spec": {}}
    other = {"metadata": {"name": "a", "resourceVersion": "2", "generation": 2}, "status": {"x": 2}, "spec": {}}
    assert objects.same_content(one, other)
    assert not objects.same_content(one, {**other, "spec": {"a": 1}})


def test_a_diff_is_yaml_without_bookkeeping_and_without_secrets() -> None:
    before = objects.prepare(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "stringData": {"a": "old"}}
    )
    after = objects.prepare({**before, "data": {"a": "bmV3"}})
    before["metadata"]["resourceVersion"] = "7"
    text = objects.diff(Ref.of(after), before, after)
    assert "--- Secret n/s (live)" in text
    assert "-  a: <hidden, old value>" in text
    assert "+  a: <hidden, new value>" in text
    for absent in ("bmV3", "b2xk", objects.STAMP, "resourceVersion"):
        assert absent not in text


def test_a_new_object_is_all_plus() -> None:
    obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    lines = objects.diff(Ref.of(obj), None, obj).splitlines()
    assert lines[:2] == ["--- (absent)", "+++ Namespace n (wanted)"]
    assert all(line.startswith(("+", "@@")) for line in lines[1:] if not line.startswith("---"))
