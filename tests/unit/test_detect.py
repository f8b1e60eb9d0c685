"""Which provider the nodes of a cluster give away."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from embedded_cluster.network import Network
from embedded_cluster.nodes import FLAVOURS, Flavour, node_objects

from inference_platform.catalog import load
from inference_platform.platform import MixedNodesError, detect

PROVIDERS = load().providers


def node(name: str = "a", provider_id: str = "", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"providerID": provider_id} if provider_id else {}}


@pytest.mark.parametrize("flavour", sorted(path.stem for path in FLAVOURS.glob("*.yml")))
def test_the_nodes_of_every_flavour_are_those_of_the_provider_of_its_name(flavour: str) -> None:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    nodes = node_objects(Flavour.load(flavour), Network(64), now)
    assert detect(nodes, PROVIDERS).provider == flavour


@pytest.mark.parametrize(
    ("provider", "provider_id"),
    [
        ("aws", "aws:///eu-west-1a/i-0123456789abcdef0"),
        ("azure", "azure:///subscriptions/1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v"),
        ("gcp", "gce://project/zone/name"),
        ("generic", "kind://docker/kind/node"),
        ("generic", ""),
    ],
)
def test_the_provider_id_says_it(provider: str, provider_id: str) -> None:
    assert detect([node(provider_id=provider_id)], PROVIDERS).provider == provider


def test_a_label_says_it_and_the_evidence_names_node_and_label() -> None:
    found = detect([node("b", **{"cks.coreweave.com/cluster": "x"})], PROVIDERS)
    assert found.provider == "coreweave"
    assert found.evidence == "node b has the label cks.coreweave.com/cluster"


def test_nodes_that_say_nothing_follow_the_others() -> None:
    assert detect([node("a"), node("b", "gce://p/z/b"), node("c")], PROVIDERS).provider == "gcp"


def test_openshift_decides_before_the_machines_it_runs_on() -> None:
    nodes = [node("a", "aws:///z/a", **{"node.openshift.io/os_id": "rhel"})]
    assert detect(nodes, PROVIDERS).provider == "openshift"


def test_nodes_of_several_providers_are_refused_with_one_of_each() -> None:
    with pytest.raises(MixedNodesError, match=r"aws: node a .*; gcp: node b "):
        detect([node("a", "aws:///z/a"), node("b", "gce://p/z/b")], PROVIDERS)


def test_a_cluster_without_nodes_is_taken_for_generic() -> None:
    assert detect([], PROVIDERS).provider == "generic"
