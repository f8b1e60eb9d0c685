"""Collecting from a cluster: which requests are made, and what a missing kind means."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from inference_platform.cluster.client import Cluster
from inference_platform.cluster.errors import UnknownKind
from inference_platform.report import collect
from tests.unit.report import example

Items = list[dict[str, Any]]
NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
TIMINGS = {name: {"seconds": seconds, "changed": True} for name, *_, seconds in example.LAYERS}

KINDS = {
    "Namespace": "namespaces",
    "Deployment": "deployments",
    "Service": "services",
    "Pod": "pods",
    "Node": "nodes",
    "Gateway": "gateways",
    "GatewayClass": "gateway_classes",
    "HTTPRoute": "routes",
    "LLMInferenceService": "models",
    "InferencePool": "pools",
}


@dataclass
class FakeCluster:
    """Answers list and get from the example; anything else that writes does not exist here."""

    unserved: frozenset[str] = frozenset()
    workers: int = 4
    version: dict[str, str] = field(default_factory=lambda: {"gitVersion": "v1.34.4"})
    access: Any = field(default_factory=lambda: SimpleNamespace(context="inference-demo"))
    asked: list[tuple[str, str]] = field(default_factory=list)

    def list(self, api_version: str, kind: str, namespace: str | None = None, **_: Any) -> Items:
        self.asked.append(("list", kind))
        if kind in self.unserved:
            raise UnknownKind(api_version, kind, ())
        items = [{**item, "apiVersion": api_version, "kind": kind} for item in self._items(kind)]
        return [i for i in items if namespace in (None, i["metadata"].get("namespace"))]

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        self.asked.append(("get", kind))
        if kind in self.unserved:
            raise UnknownKind(api_version, kind, ())
        place = (namespace, name)
        found = (i for i in self._items(kind) if (i["metadata"].get("namespace"), i["metadata"]["name"]) == place)
        return next(({**i, "apiVersion": api_version, "kind": kind} for i in found), None)

    def discovery(self, **_: Any) -> Any:
        established = example.objects().established_crds if not self.unserved else frozenset()
        return SimpleNamespace(serves=lambda name: name in established)

    def _items(self, kind: str) -> Items:
        return [*getattr(example.objects(), KINDS[kind])] if kind in KINDS else []


def as_cluster(fake: FakeCluster) -> Cluster:
    return cast(Cluster, fake)


def test_a_finished_cluster_gives_the_example() -> None:
    observation = collect(
        as_cluster(FakeCluster()),
        example.platform(),
        TIMINGS | {"models": {"seconds": 4.2, "changed": True}},
        inventory="eks",
        now=NOW,
    )
    assert observation == example.observation()


def test_no_secret_is_asked_for_and_nothing_is_sent() -> None:
    fake = FakeCluster()
    collect(as_cluster(fake), example.platform(), now=NOW)
    assert "Secret" not in {kind for _, kind in fake.asked}
    assert "ClusterIssuer" not in {kind for _, kind in fake.asked}


def test_an_empty_cluster_is_reported_as_one() -> None:
    kinds = ("Gateway", "GatewayClass", "HTTPRoute", "LLMInferenceService", "InferencePool")
    observation = collect(as_cluster(FakeCluster(unserved=frozenset(kinds))), example.platform(), now=NOW)
    assert observation.gateway is None
    assert observation.models == ()
    states = {layer.name: layer.state for layer in observation.layers}
    assert (states["gateway_api"], states["inference_gateway"]) == ("not ready", "not ready")
    assert any("not served" in problem for problem in observation.problems)


def test_a_crd_directory_is_named_as_unverified() -> None:
    observation = collect(
        as_cluster(FakeCluster()), example.platform(), now=NOW, crd_directory="crds", unverified=["More."]
    )
    assert observation.unverified[:2] == (
        "The CRDs came from the directory crds and were not compared with the checksums of the lock.",
        "More.",
    )


def test_a_crd_directory_from_which_no_layer_takes_any_is_not_named() -> None:
    """As on OpenShift, whose operators bring their CRDs."""
    platform = example.platform()
    platform["layers"] = [{**layer, "crds": []} for layer in platform["layers"]]
    observation = collect(as_cluster(FakeCluster()), platform, now=NOW, crd_directory="crds")
    assert not [line for line in observation.unverified if "directory crds" in line]


def test_the_kubeconfig_is_quoted_for_the_shell() -> None:
    observation = collect(as_cluster(FakeCluster()), example.platform(), now=NOW, kubeconfig="my files/config")
    assert observation.environment == "export KUBECONFIG='my files/config'"


@pytest.mark.parametrize("entry", [3.2, {"seconds": "soon", "changed": True}, {"seconds": 1.0}])
def test_timings_of_another_shape_are_refused_with_their_layer(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"timings\.sail: expected \{seconds: number, changed"):
        collect(as_cluster(FakeCluster()), example.platform(), {"sail": entry}, now=NOW)
