"""Namespaces of models keep the labels by which the gateway admits their routes, until it selects by others."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.cluster import admission
from inference_platform.cluster.apply import apply
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.models import apply_models
from tests.unit.cluster.fake_api import FakeApi

OLD, NEW = {"access": "old"}, {"entry": "new"}
MARKS = {"inference-platform.io/layer": "models"}
API = "gateway.networking.k8s.io/v1"


@pytest.fixture(autouse=True)
def kinds(api: FakeApi) -> None:
    api.kinds.append((API, "Gateway", "gateways", True))


def plan(**changes: Any) -> dict[str, Any]:
    """The gateway of a plan that selects by the new label."""
    named = {"ownership": "managed", "namespace": "apps", "name": "front", "allowed_from": "Selector"}
    return {**named, "namespace_labels": NEW, **changes}


def gateway(labels: dict[str, str]) -> dict[str, Any]:
    namespaces = {"from": "Selector", "selector": {"matchLabels": labels}}
    listeners = [{"name": "http", "allowedRoutes": {"namespaces": namespaces}}]
    metadata = {"name": "front", "namespace": "apps"}
    return {"apiVersion": API, "kind": "Gateway", "metadata": metadata, "spec": {"listeners": listeners}}


def space(labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {**MARKS, **labels}}}


def exist(cluster: Cluster, *objects: dict[str, Any]) -> None:
    apps = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "apps"}}
    assert apply(cluster, [apps, *objects]).errors == []


def applied_labels(api: FakeApi) -> list[dict[str, str]]:
    """The labels of each Namespace that was written, in order."""
    return [request.body["metadata"]["labels"] for request in api.writes() if "/namespaces/team" in request.path]


def test_namespaces_get_the_new_labels_beside_the_old_before_the_gateway_changes(
    api: FakeApi, cluster: Cluster
) -> None:
    exist(cluster, space(OLD), gateway(OLD))
    api.requests.clear()
    assert admission.open_up(cluster, plan()).changed
    assert applied_labels(api) == [{**MARKS, **OLD, **NEW}]


def test_labels_that_somebody_else_gave_are_not_made_ours(api: FakeApi, cluster: Cluster) -> None:
    exist(cluster, space(OLD), gateway(OLD))
    api.objects[("v1", "Namespace", "", "team")]["metadata"]["labels"]["of"] = "somebody"
    api.requests.clear()
    admission.open_up(cluster, plan())
    assert applied_labels(api) == [{**MARKS, **OLD, **NEW}]


def test_check_mode_tells_and_writes_nothing(api: FakeApi, cluster: Cluster) -> None:
    exist(cluster, space(OLD), gateway(OLD))
    api.requests.clear()
    assert admission.open_up(cluster, plan(), check=True).changed
    assert api.writes() == []


@pytest.mark.parametrize(
    ("live", "changes"),
    [
        (NEW, {}),  # selects by them already
        (OLD, {"allowed_from": "All"}),  # will admit everybody
        (OLD, {"ownership": "external"}),  # not ours to change
        (OLD, {"name": "other"}),  # not there yet
    ],
)
def test_one_request_is_all_when_no_route_could_be_detached(
    api: FakeApi, cluster: Cluster, live: dict[str, str], changes: dict[str, Any]
) -> None:
    exist(cluster, space(OLD), gateway(live))
    cluster.discovery()
    api.requests.clear()
    assert not admission.open_up(cluster, plan(**changes)).changed
    assert len(api.requests) <= 1


def test_the_old_label_goes_with_the_models_once_the_gateway_has_changed(api: FakeApi, cluster: Cluster) -> None:
    exist(cluster, space({**OLD, **NEW}), gateway(NEW))
    api.requests.clear()
    assert apply_models(cluster, [space(NEW)], gateway=plan()).changed
    assert applied_labels(api) == [{**MARKS, **NEW}]


def test_the_models_alone_keep_the_old_label_while_the_gateway_selects_by_it(api: FakeApi, cluster: Cluster) -> None:
    exist(cluster, space(OLD), gateway(OLD))
    api.requests.clear()
    apply_models(cluster, [space(NEW)], gateway=plan())
    assert applied_labels(api) == [{**MARKS, **OLD, **NEW}]
    api.requests.clear()
    assert not apply_models(cluster, [space(NEW)], gateway=plan()).changed


def test_the_gateway_is_not_read_when_no_namespace_changes(api: FakeApi, cluster: Cluster) -> None:
    exist(cluster, space(NEW), gateway(NEW))
    api.requests.clear()
    apply_models(cluster, [space(NEW)], gateway=plan())
    assert [request.path for request in api.requests if "gateways" in request.path] == []


def test_a_cluster_without_the_gateway_api_has_nothing_to_keep(api: FakeApi, cluster: Cluster) -> None:
    api.kinds.remove((API, "Gateway", "gateways", True))
    assert admission.still_admitted(cluster, plan(), [space(NEW)]) == [space(NEW)]
    assert not admission.open_up(cluster, plan()).changed
