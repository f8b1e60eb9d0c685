"""Rules about a live cluster: what is refused, what is fine, and that nothing is said about what is not known."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from inference_platform.models import render
from inference_platform.models.rules import RULES
from inference_platform.models.rules.cluster import ClusterFacts, check_cluster
from inference_platform.models.rules.engine import CLUSTER
from tests.unit.models.cases import TWO_NODES, model

KEY = ("team-a", "qwen")
GATEWAY = ("redhat-ods-applications", "inference-gateway")
POOLS = {"inferencepools.inference.networking.k8s.io", "inferencepools.inference.networking.x-k8s.io"}
CRDS = {*POOLS, "httproutes.gateway.networking.k8s.io"}
PREFIX = "v3-4-4-kserve-"


def gateway(namespaces: dict[str, Any] | None = None, gateway_class: str = "istio") -> dict[str, Any]:
    listener = {"name": "http", "allowedRoutes": {"namespaces": namespaces or {"from": "All"}}}
    return {"spec": {"gatewayClassName": gateway_class, "listeners": [listener]}}


def classes(controller: str) -> dict[str, Any]:
    return {"istio": {"spec": {"controllerName": controller}}}


def claim(*modes: str) -> dict[str, Any]:
    return {("team-a", "weights"): {"spec": {"accessModes": list(modes)}}}


OWN = {"router": {"gateways": [{"name": "g", "namespace": "edge"}]}}
SCALED = {"scaling": {"max_replicas": 2, "keda": {}}}
LABEL = "inference-platform.io/gateway-access"

# code, changes of the entry, facts that are wrong, where, facts that are fine
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str, dict[str, Any]]] = [
    ("IP-MOD-111", {}, {"gateways": {}}, "router", {"gateways": {GATEWAY: gateway()}}),
    ("IP-MOD-111", OWN, {"gateways": {}}, "router.gateways.0", {"gateways": {("edge", "g"): gateway()}}),
    (
        "IP-MOD-112",
        {},
        {"gateways": {GATEWAY: gateway({"from": "Same"})}},
        "router",
        {"gateways": {GATEWAY: gateway()}},
    ),
    (
        "IP-MOD-112",
        {},
        {"gateways": {GATEWAY: gateway({"from": "Selector", "selector": {"matchLabels": {"team": "x"}}})}},
        "router",
        {"gateways": {GATEWAY: gateway({"from": "Selector", "selector": {"matchLabels": {LABEL: "true"}}})}},
    ),
    (
        "IP-MOD-112",
        {},
        {
            "gateways": {
                GATEWAY: gateway(
                    {"from": "Selector", "selector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}}
                )
            }
        },
        "router",
        {
            "namespaces": {"team-a": {"team": "a"}},
            "gateways": {
                GATEWAY: gateway(
                    {
                        "from": "Selector",
                        "selector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]},
                    }
                )
            },
        },
    ),
    (
        "IP-MOD-128",
        {"credentials_secret": "hf"},
        {"secrets": set()},
        "credentials_secret",
        {"secrets": {("team-a", "hf")}},
    ),
    ("IP-MOD-128", {"pull_secrets": ["p"]}, {"secrets": set()}, "pull_secrets.0", {"secrets": {("team-a", "p")}}),
    (
        "IP-MOD-128",
        {"env": {"A": {"secret": "s", "key": "k"}}},
        {"secrets": {("team-b", "s")}},
        "env.A",
        {"secrets": {("team-a", "s")}},
    ),
    (
        "IP-MOD-128",
        {"service_account": "hfsa"},
        {"service_accounts": {}},
        "service_account",
        {"service_accounts": {("team-a", "hfsa"): {}}},
    ),
    ("IP-MOD-128", {"uri": "pvc://weights"}, {"claims": {}}, "uri", {"claims": claim("ReadWriteOnce")}),
    (
        "IP-MOD-143",
        {"uri": "pvc://weights/x", "replicas": 2},
        {"claims": claim("ReadWriteOnce")},
        "uri",
        {"claims": claim("ReadOnlyMany")},
    ),
    (
        "IP-MOD-130",
        {},
        {"chat_templates": {model()["uri"]: False}},
        "uri",
        {"chat_templates": {model()["uri"]: True}},
    ),
    ("IP-MOD-134", {}, {"crds": CRDS - POOLS}, "scheduler", {"crds": CRDS}),
    ("IP-MOD-134", {}, {"crds": POOLS}, "router", {"crds": CRDS}),
    (
        "IP-MOD-134",
        TWO_NODES,
        {"crds": CRDS},
        "parallelism",
        {"crds": CRDS | {"leaderworkersets.leaderworkerset.x-k8s.io"}},
    ),
    (
        "IP-MOD-134",
        SCALED,
        {"crds": CRDS | {"variantautoscalings.llmd.ai"}},
        "scaling",
        {"crds": CRDS | {"variantautoscalings.llmd.ai", "scaledobjects.keda.sh"}},
    ),
    (
        "IP-MOD-142",
        {"monitoring": "pod_monitor"},
        {"crds": CRDS},
        "monitoring",
        {"crds": CRDS | {"podmonitors.monitoring.coreos.com"}},
    ),
    (
        "IP-MOD-135",
        {"base_refs": ["mine"]},
        {"configs": {("redhat-ods-applications", f"{PREFIX}config-llm-template")}},
        "base_refs.0",
        {"configs": {("redhat-ods-applications", f"{PREFIX}config-llm-template"), ("team-a", "mine")}},
    ),
    (
        "IP-MOD-135",
        {},
        {"configs": set()},
        "name",
        {"configs": {("redhat-ods-applications", f"{PREFIX}config-llm-template")}},
    ),
    (
        "IP-MOD-136",
        {},
        {"gateways": {GATEWAY: gateway()}, "gateway_classes": classes("example.com/plain")},
        "router",
        {"gateways": {GATEWAY: gateway()}, "gateway_classes": classes("istio.io/gateway-controller")},
    ),
    (
        "IP-MOD-138",
        {"rdma": {"resource": "rdma/ib"}},
        {"resources": {"nvidia.com/gpu"}},
        "rdma.resource",
        {"resources": {"nvidia.com/gpu", "rdma/ib"}},
    ),
    (
        "IP-MOD-138",
        {"resources": {"devices": {"a.io/b": 1}}},
        {"resources": set()},
        "resources.devices.a.io/b",
        {"resources": {"a.io/b"}},
    ),
    (
        "IP-MOD-138",
        {"networks": "roce-p2, infra/other@net1"},
        {"networks": {("team-a", "roce-p2")}},
        "networks",
        {"networks": {("team-a", "roce-p2"), ("infra", "other")}},
    ),
    ("IP-MOD-140", {}, {"webhook_ready": False}, "name", {"webhook_ready": True}),
    (
        "IP-MOD-145",
        {"priority_class": "high"},
        {"priority_classes": set()},
        "priority_class",
        {"priority_classes": {"high"}},
    ),
    (
        "IP-MOD-146",
        {"router": {"route": "own", "routes": ["mine"]}},
        {"routes": set()},
        "router.routes.0",
        {"routes": {("team-a", "mine")}},
    ),
]

# Facts hold sets, which have no order: no good for names of tests.
IDS = [f"{case[0]}-{case[3]}-{index}" for index, case in enumerate(CASES)]


def found(aws: dict[str, Any], changes: dict[str, Any], facts: dict[str, Any]) -> set[tuple[str, str]]:
    result = render([model(**changes)], {}, aws)
    assert result.entries
    return {(item.code, item.where) for item in check_cluster(result.entries, aws, ClusterFacts(**facts))}


@pytest.mark.parametrize(("code", "changes", "facts", "where"), [case[:4] for case in CASES], ids=IDS)
def test_what_is_wrong_is_found_where_it_is(aws, code, changes, facts, where):
    assert (code, f"models team-a/qwen {where}") in found(aws, changes, facts)


@pytest.mark.parametrize(("code", "changes", "facts"), [(case[0], case[1], case[4]) for case in CASES], ids=IDS)
def test_the_neighbour_is_fine(aws, code, changes, facts):
    assert code not in {one for one, _ in found(aws, changes, facts)}


@pytest.mark.parametrize("changes", [case[1] for case in CASES], ids=IDS)
def test_what_is_not_known_is_not_objected_to(aws, changes):
    assert found(aws, changes, {}) == set()
    assert all(getattr(ClusterFacts(), field.name) is None for field in fields(ClusterFacts))


def test_every_rule_about_the_cluster_is_provoked_here():
    assert {rule.code for rule in RULES.of(CLUSTER)} == {case[0] for case in CASES}


def test_the_caller_may_say_where_an_entry_is(aws):
    entries, facts = render([model()], {}, aws).entries, ClusterFacts(webhook_ready=False)
    (finding,) = check_cluster(entries, aws, facts, lambda entry, path: f"{entry['name']} {path[0]}")
    assert finding.where == "qwen name"
