"""Traffic groups and routes: what is refused between models, and the HTTPRoutes made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from inference_platform.findings import errors
from inference_platform.models import render
from inference_platform.models.rules import RULES
from inference_platform.models.rules.engine import INVENTORY
from tests.unit.models.cases import model


def member(name: str, weight: int | None = None, **changes: Any) -> dict[str, Any]:
    """A model of the group "chat"."""
    traffic = {"group": "chat", **({} if weight is None else {"weight": weight})}
    return model(name=name, served_name="chat", traffic=traffic, **changes)


def in_group(name: str, of: str, **changes: Any) -> dict[str, Any]:
    """A model of any group."""
    return model(name=name, served_name="chat", traffic={"group": of}, **changes)


CANARY = {"group": "chat", "headers": [{"name": "x-canary", "value": "yes"}]}
ALONE = model(name="alone")


@dataclass(frozen=True)
class Traffic:
    """Models, groups and routes of an inventory."""

    models: list[dict[str, Any]] = field(default_factory=lambda: [member("a", 90), member("b", 10)])
    groups: list[dict[str, Any]] = field(default_factory=list)
    routes: list[dict[str, Any]] = field(default_factory=list)

    def render(self, platform: dict[str, Any]) -> Any:
        return render(self.models, {}, platform, groups=self.groups, routes=self.routes)


def group(**settings: Any) -> dict[str, Any]:
    return {"name": "chat", "namespace": "team-a", **settings}


def route(*rules: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"name": "mine", "namespace": "team-a", "rules": list(rules), **settings}


HEADER = {"name": "x-team", "value": "a"}
TO_ALONE = {"backends": [{"model": "alone"}]}

# code -> (what is wrong, where, the neighbour that is fine)
CASES: list[tuple[str, Traffic, str, Traffic]] = [
    (
        "IP-MOD-001",
        Traffic([ALONE, ALONE]),
        "models[1].name (alone)",
        Traffic([ALONE, {**ALONE, "namespace": "team-b"}]),
    ),
    (
        "IP-MOD-129",
        Traffic([member("a"), {**member("b"), "served_name": "other"}]),
        "models[1].served_name (b)",
        Traffic(),
    ),
    (
        "IP-MOD-129",
        Traffic([member("a"), {key: value for key, value in member("b").items() if key != "served_name"}]),
        "models[1].name (b)",
        Traffic(),
    ),
    (
        "IP-MOD-141",
        Traffic(groups=[group(split="pool")]),
        "traffic_groups[0].split",
        Traffic(groups=[group(split="service")]),
    ),
    (
        "IP-MOD-141",
        Traffic([ALONE, model(name="b")], routes=[route({"backends": [{"model": "alone"}, {"model": "b"}]})]),
        "model_routes[0].rules[0].backends",
        Traffic(
            [ALONE, model(name="b")],
            routes=[route({"backends": [{"model": "alone"}, {"model": "b", "weight": 0}, {"pool": "x", "weight": 0}]})],
        ),
    ),
    ("IP-MOD-301", Traffic([ALONE], groups=[group()]), "traffic_groups[0].name", Traffic(groups=[group()])),
    ("IP-MOD-301", Traffic(groups=[group(), group()]), "traffic_groups[1].name", Traffic(groups=[group()])),
    (
        "IP-MOD-306",
        Traffic([member("a", 0), member("b", 0)]),
        "models[0].traffic.weight (a)",
        Traffic([member("a", 0), member("b", 1)]),
    ),
    (
        "IP-MOD-307",
        Traffic([member("a"), member("b", 10)], [group(split="header")]),
        "models[1].traffic.weight (b)",
        Traffic([member("a"), {**member("b"), "traffic": CANARY}], [group(split="header")]),
    ),
    (
        "IP-MOD-307",
        Traffic([member("a"), {**member("b"), "traffic": CANARY}]),
        "models[1].traffic.headers (b)",
        Traffic(),
    ),
    (
        "IP-MOD-307",
        Traffic([member("a"), member("b")], [group(split="header")]),
        "models[1].traffic.headers (b)",
        Traffic([{**member("a"), "traffic": CANARY}, member("b")], [group(split="header")]),
    ),
    (
        "IP-MOD-308",
        Traffic([member("a"), member("b", scheduler={"enabled": False})], [group(split="pool")]),
        "models[1].scheduler.enabled (b)",
        Traffic([member("a"), member("b", scheduler={"enabled": False})]),
    ),
    (
        "IP-MOD-309",
        Traffic([member("chat"), member("b")]),
        "models[1].traffic.group (b)",
        Traffic([member("chat"), member("b")], [group(path="/chat")]),
    ),
    (
        "IP-MOD-310",
        Traffic([ALONE], routes=[route(TO_ALONE, name="alone-kserve-route")]),
        "model_routes[0].name",
        Traffic([ALONE], routes=[route(TO_ALONE)]),
    ),
    (
        "IP-MOD-311",
        Traffic([ALONE], routes=[route({"backends": [{"model": "b"}]})]),
        "model_routes[0].rules[0].backends[0].model",
        Traffic([ALONE], routes=[route(TO_ALONE)]),
    ),
    (
        "IP-MOD-311",
        Traffic(
            [model(name="alone", scheduler={"enabled": False})],
            routes=[route({"backends": [{"model": "alone", "through": "scheduler"}]})],
        ),
        "model_routes[0].rules[0].backends[0].through",
        Traffic([model(name="alone", scheduler={"enabled": False})], routes=[route(TO_ALONE)]),
    ),
    (
        "IP-MOD-312",
        Traffic([ALONE], routes=[route({**TO_ALONE, "redirect": {"scheme": "https"}})]),
        "model_routes[0].rules[0].redirect",
        Traffic([ALONE], routes=[route({"redirect": {"scheme": "https"}})]),
    ),
    (
        "IP-MOD-312",
        Traffic([ALONE], routes=[route({**TO_ALONE, "rewrite": {"prefix": "/"}})]),
        "model_routes[0].rules[0].rewrite.prefix",
        Traffic([ALONE], routes=[route({**TO_ALONE, "matches": [{"path": "/a"}], "rewrite": {"prefix": "/"}})]),
    ),
    (
        "IP-MOD-312",
        Traffic([ALONE], routes=[route({"redirect": {"prefix": "/", "path": "/"}, "matches": [{"path": "/a"}]})]),
        "model_routes[0].rules[0].redirect.prefix",
        Traffic([ALONE], routes=[route({"redirect": {"path": "/"}, "matches": [{"path": "/a"}]})]),
    ),
    (
        "IP-MOD-313",
        Traffic([ALONE], routes=[route({**TO_ALONE, "matches": [{"path": "/a//b"}]})]),
        "model_routes[0].rules[0].matches[0].path",
        Traffic(
            [ALONE], routes=[route({**TO_ALONE, "matches": [{"path": "/a//b", "path_type": "RegularExpression"}]})]
        ),
    ),
    (
        "IP-MOD-313",
        Traffic([model(name="alone", router={"headers": [{"name": "X", "value": "1"}, {"name": "x", "value": "2"}]})]),
        "models[0].router.headers (alone)",
        Traffic([model(name="alone", router={"headers": [{"name": "X", "value": "1"}]})]),
    ),
    (
        "IP-MOD-313",
        Traffic([ALONE], routes=[route(*[{**TO_ALONE, "matches": [{"path": "/a"}] * 44}] * 3)]),
        "model_routes[0].rules",
        Traffic([ALONE], routes=[route(*[{**TO_ALONE, "matches": [{"path": "/a"}] * 42}] * 3)]),
    ),
    (
        "IP-MOD-313",
        Traffic([ALONE], routes=[route({**TO_ALONE, "request_headers": {"set": [HEADER, HEADER]}})]),
        "model_routes[0].rules[0].request_headers.set",
        Traffic([ALONE], routes=[route({**TO_ALONE, "request_headers": {"set": [HEADER], "add": [HEADER]}})]),
    ),
    (
        "IP-MOD-314",
        Traffic(groups=[group(timeouts={"request": "1s", "backend_request": "2s"})]),
        "traffic_groups[0].timeouts.backend_request",
        Traffic(groups=[group(timeouts={"request": "2s", "backend_request": "2s"})]),
    ),
    (
        "IP-MOD-315",
        Traffic([member("a"), *({**member(f"b-{i}"), "traffic": CANARY} for i in range(4))], [group(split="header")]),
        "traffic_groups[0].split",
        Traffic([member("a"), *({**member(f"b-{i}"), "traffic": CANARY} for i in range(3))], [group(split="header")]),
    ),
    (
        "IP-MOD-316",
        Traffic([member("a", 90), member("b", 10, state="stopped")]),
        "models[1].state (b)",
        Traffic([member("a", 90), member("b", 0, state="stopped")]),
    ),
    (
        "IP-MOD-317",
        Traffic(groups=[group(path="/chat/")]),
        "traffic_groups[0].path",
        Traffic(groups=[group(path="/chat")]),
    ),
    (
        "IP-MOD-318",
        Traffic([member("a"), member("b"), in_group("c", "chatt")]),
        "models[2].traffic.group (c)",
        Traffic([member("a"), member("b"), in_group("c", "chatt")], groups=[group(name="chatt")]),
    ),
    (
        "IP-MOD-318",
        Traffic([in_group("c", "cat-s"), in_group("a", "cats-2"), in_group("b", "cots")], groups=[group(name="cots")]),
        "models[0].traffic.group (c)",
        Traffic([in_group("a", "cats-1"), in_group("b", "cats-2"), in_group("c", "one"), in_group("d", "ons")]),
    ),
    (
        "IP-MOD-318",
        Traffic([in_group("a", "chat"), in_group("b", "hcat"), in_group("c", "shat")]),
        "models[2].traffic.group (c)",
        Traffic([in_group("a", "chat"), in_group("b", "chatt", namespace="team-b"), in_group("c", "embed")]),
    ),
]


@pytest.mark.parametrize(("code", "wrong", "where"), [case[:3] for case in CASES], ids=lambda case: str(case)[:60])
def test_what_is_wrong_is_found_where_it_is(aws, code, wrong, where):
    assert (code, where) in {(finding.code, finding.where) for finding in wrong.render(aws).findings}


@pytest.mark.parametrize(("code", "fine"), [(case[0], case[3]) for case in CASES], ids=lambda case: str(case)[:60])
def test_the_neighbour_is_fine(aws, code, fine):
    found = fine.render(aws).findings
    assert code not in {finding.code for finding in found}
    assert errors(found) == []


def test_every_rule_between_models_is_provoked_here():
    assert {rule.code for rule in RULES.of(INVENTORY)} == {case[0] for case in CASES}


# what becomes of them ------------------------------------------------------------------


def routes_of(result: Any) -> list[dict[str, Any]]:
    assert errors(result.findings) == []
    return [item for item in result.objects if item["kind"] == "HTTPRoute"]


def backends(rule: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(item["kind"], item["name"], item["weight"]) for item in rule["backendRefs"]]


def test_a_split_by_service_is_one_rule_with_the_weights_of_the_models(aws):
    (made,) = routes_of(Traffic().render(aws))
    assert made["metadata"] == {
        "name": "chat",
        "namespace": "team-a",
        "labels": {
            "app.kubernetes.io/managed-by": "inference-platform",
            "app.kubernetes.io/part-of": "inference-platform",
            "inference-platform.io/layer": "models",
            "inference-platform.io/traffic-group": "chat",
        },
    }
    (rule,) = made["spec"]["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/team-a/chat"}}]
    assert rule["filters"] == [
        {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
    ]
    assert backends(rule) == [
        ("Service", "a-kserve-workload-svc", 90),
        ("Service", "b-kserve-workload-svc", 10),
    ]
    assert made["spec"]["parentRefs"] == [
        {
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": "inference-gateway",
            "namespace": "redhat-ods-applications",
        }
    ]


def test_a_split_by_pool_sends_api_paths_to_pools_and_the_rest_to_services(aws):
    (made,) = routes_of(Traffic(groups=[group(split="pool", path="/chat", hostnames=["chat.example.com"])]).render(aws))
    paths = [rule["matches"][0]["path"]["value"] for rule in made["spec"]["rules"]]
    assert paths == ["/chat/v1/completions", "/chat/v1/chat/completions", "/chat/v1/responses", "/chat"]
    assert backends(made["spec"]["rules"][0]) == [
        ("InferencePool", "a-inference-pool", 90),
        ("InferencePool", "b-inference-pool", 10),
    ]
    assert made["spec"]["rules"][0]["backendRefs"][0]["group"] == "inference.networking.k8s.io"
    assert backends(made["spec"]["rules"][3])[0][0] == "Service"
    assert made["spec"]["hostnames"] == ["chat.example.com"]


def test_a_split_by_header_gives_each_model_its_own_rules(aws):
    models = [member("a"), {**member("b"), "traffic": CANARY}]
    (made,) = routes_of(Traffic(models, [group(split="header")]).render(aws))
    to_b, to_a = made["spec"]["rules"][:4], made["spec"]["rules"][4:]
    assert {backends(rule)[0][1] for rule in to_b} == {"b-inference-pool", "b-kserve-workload-svc"}
    assert all(
        rule["matches"][0]["headers"] == [{"name": "x-canary", "value": "yes", "type": "Exact"}] for rule in to_b
    )
    assert {backends(rule)[0][1] for rule in to_a} == {"a-inference-pool", "a-kserve-workload-svc"}
    assert not any("headers" in rule["matches"][0] for rule in to_a)
    assert all(len(rule["backendRefs"]) == 1 for rule in made["spec"]["rules"])


def test_groups_of_one_name_in_two_namespaces_are_two(aws):
    models = [member("a"), {**member("b"), "namespace": "team-b"}]
    made = routes_of(Traffic(models).render(aws))
    assert [(item["metadata"]["namespace"], len(item["spec"]["rules"][0]["backendRefs"])) for item in made] == [
        ("team-a", 1),
        ("team-b", 1),
    ]


def test_a_group_with_a_wrong_model_is_not_rendered_and_others_are(aws):
    broken = {**member("b"), "replicas": 1, "scaling": {"max_replicas": 2, "hpa": {}}}
    result = Traffic([member("a"), broken, ALONE], routes=[route(TO_ALONE)]).render(aws)
    assert [item["metadata"]["name"] for item in result.objects if item["kind"] == "HTTPRoute"] == ["mine"]


def test_a_model_of_a_route_that_is_not_there_is_told_with_the_one_that_is_meant(aws):
    (finding,) = Traffic([ALONE], routes=[route({"backends": [{"model": "alnoe"}]})]).render(aws).findings
    assert finding.remedy == "Did you mean alone? Correct the name, or name a service or pool."


def test_a_route_names_models_services_pools_and_anything_else(aws):
    rule = {
        "name": "all",
        "matches": [
            {
                "path": "/a",
                "path_type": "Exact",
                "method": "POST",
                "headers": [{"name": "x-team", "value": "a"}],
                "query_params": [{"name": "q", "value": "1", "type": "RegularExpression"}],
            }
        ],
        "backends": [
            {"model": "alone", "weight": 5},
            {"model": "alone", "through": "service", "weight": 0},
            {"service": "legacy", "port": 8080},
            {"kind": "ServiceImport", "group": "multicluster.x-k8s.io", "name": "far", "port": 80},
        ],
        "rewrite": {"path": "/v1", "hostname": "inside.example.com"},
        "request_headers": {"set": [{"name": "x-a", "value": "1"}], "remove": ["x-b"]},
        "mirror": {"service": "shadow", "port": 80},
        "timeouts": {"request": "300s"},
    }
    (made,) = routes_of(
        Traffic([ALONE], routes=[route(rule, gateways=[{"name": "g", "section_name": "http"}])]).render(aws)
    )
    (rendered,) = made["spec"]["rules"]
    assert rendered["matches"] == [
        {
            "path": {"type": "Exact", "value": "/a"},
            "headers": [{"name": "x-team", "value": "a", "type": "Exact"}],
            "queryParams": [{"name": "q", "value": "1", "type": "RegularExpression"}],
            "method": "POST",
        }
    ]
    assert backends(rendered) == [
        ("InferencePool", "alone-inference-pool", 5),
        ("Service", "alone-kserve-workload-svc", 0),
        ("Service", "legacy", 1),
        ("ServiceImport", "far", 1),
    ]
    assert [item["type"] for item in rendered["filters"]] == ["RequestHeaderModifier", "URLRewrite", "RequestMirror"]
    assert rendered["timeouts"] == {"request": "300s"}
    assert made["spec"]["parentRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g", "sectionName": "http"}
    ]


def test_a_backend_in_another_namespace_is_granted_there(aws):
    rules = {"backends": [{"service": "far", "port": 80, "namespace": "team-b"}, {"pool": "p", "namespace": "team-b"}]}
    result = Traffic([ALONE], routes=[route(rules)]).render(aws)
    grant, made = result.objects[-2:]
    assert (grant["kind"], grant["metadata"]["namespace"]) == ("ReferenceGrant", "team-b")
    assert grant["spec"] == {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "team-a"}],
        "to": [
            {"group": "", "kind": "Service", "name": "far"},
            {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "p"},
        ],
    }
    assert [item.get("namespace") for item in made["spec"]["rules"][0]["backendRefs"]] == ["team-b", "team-b"]


def test_the_namespace_of_a_route_is_made_too(aws):
    result = Traffic(
        [ALONE], routes=[route({"redirect": {"scheme": "https", "status": 301}}, namespace="edge")]
    ).render(aws)
    assert [item["metadata"]["name"] for item in result.objects if item["kind"] == "Namespace"] == ["edge", "team-a"]


# the managed route of a model -----------------------------------------------------------


def managed(aws: dict[str, Any], **router: Any) -> Any:
    result = render([model(router=router)], {}, aws)
    assert errors(result.findings) == []
    return result.objects[-1]["spec"]["router"]


def test_a_plain_model_leaves_its_route_to_the_preset(aws):
    assert managed(aws)["route"] == {}


def test_host_names_alone_leave_the_rules_to_the_preset(aws):
    assert managed(aws, hostnames=["a.example.com"])["route"] == {"http": {"spec": {"hostnames": ["a.example.com"]}}}


def test_timeouts_give_the_complete_rules(aws):
    spec = managed(aws, timeouts={"request": "30s"})["route"]["http"]["spec"]
    assert [rule["matches"][0]["path"]["value"] for rule in spec["rules"]] == [
        "/team-a/qwen/v1/completions",
        "/team-a/qwen/v1/chat/completions",
        "/team-a/qwen/v1/responses",
        "/team-a/qwen",
    ]
    assert {rule["timeouts"]["request"] for rule in spec["rules"]} == {"30s"}
    assert [backends(rule)[0][:2] for rule in spec["rules"]] == [
        *[("InferencePool", "qwen-inference-pool")] * 3,
        ("Service", "qwen-kserve-workload-svc"),
    ]
    assert "parentRefs" not in spec


def test_a_pool_of_ones_own_is_named_with_the_group_that_the_gateway_knows(aws):
    """KServe moves only the rules of pools that it makes to that group."""
    rules = managed(aws, pool="mine")["route"]["http"]["spec"]["rules"]
    pools = [item for rule in rules for item in rule["backendRefs"] if item["kind"] == "InferencePool"]
    assert {(item["group"], item["name"]) for item in pools} == {("inference.networking.k8s.io", "mine")}
    assert backends(rules[-1]) == [("Service", "qwen-kserve-workload-svc", 1)]


def test_groups_and_routes_lead_to_the_pool_of_ones_own_of_a_model(aws):
    members = [member("a", router={"pool": "mine"}), member("b")]
    to_a = route({"backends": [{"model": "a", "through": "scheduler"}]})
    made = routes_of(Traffic(members, [group(split="pool")], [to_a]).render(aws))
    first = {one["metadata"]["name"]: one["spec"]["rules"][0]["backendRefs"] for one in made}
    assert [item["name"] for item in first["chat"]] == ["mine", "b-inference-pool"]
    assert [item["name"] for item in first["mine"]] == ["mine"]


def test_the_catch_all_rule_can_be_narrowed(aws):
    spec = managed(aws, api_paths=["/v1/chat/completions"], other_paths=["/v1/models", "/health"])["route"]["http"][
        "spec"
    ]
    assert [rule["matches"][0]["path"]["value"] for rule in spec["rules"]] == [
        "/team-a/qwen/v1/chat/completions",
        "/team-a/qwen/v1/models",
        "/team-a/qwen/health",
    ]
    rewritten = [rule["filters"][0]["urlRewrite"]["path"]["replacePrefixMatch"] for rule in spec["rules"]]
    assert rewritten == ["/v1/chat/completions", "/v1/models", "/health"]


def test_the_catch_all_rule_can_be_left_out(aws):
    assert len(managed(aws, other_paths="none")["route"]["http"]["spec"]["rules"]) == 3


def test_headers_are_asked_for_on_every_rule(aws):
    spec = managed(aws, headers=[{"name": "x-team", "value": "a"}])["route"]["http"]["spec"]
    assert all(rule["matches"][0]["headers"][0]["name"] == "x-team" for rule in spec["rules"])


def test_without_a_scheduler_all_rules_lead_to_the_service(aws):
    entry = model(router={"timeouts": {"request": "30s"}}, scheduler={"enabled": False})
    spec = render([entry], {}, aws).objects[-1]["spec"]["router"]
    assert "scheduler" not in spec
    assert {backends(rule)[0][0] for rule in spec["route"]["http"]["spec"]["rules"]} == {"Service"}


def test_own_routes_and_gateways_are_referred_to(aws):
    router = managed(aws, route="own", routes=["mine"], gateways=[{"name": "g", "namespace": "n"}])
    assert router["route"] == {"http": {"refs": [{"name": "mine"}]}}
    assert router["gateway"] == {"refs": [{"name": "g", "namespace": "n"}]}


def test_own_routes_come_without_a_managed_gateway_where_none_is_needed(plan_for):
    generic = plan_for("generic").to_dict()
    router = render([model(router={"route": "own", "routes": ["mine"]})], {}, generic).objects[-1]["spec"]["router"]
    assert "gateway" not in router


def test_a_model_without_a_route_has_no_router_at_all(aws):
    spec = render([model(router={"route": "none"})], {}, aws).objects[-1]["spec"]
    assert "router" not in spec


def test_an_external_pool_takes_the_place_of_the_scheduler(aws):
    router = managed(aws, pool="mine")
    assert router["scheduler"] == {"pool": {"ref": {"name": "mine"}}}


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        ({"backends": [{"kind": "*", "group": "a.b", "name": "c"}]}, "backends[0].kind"),
        ({"backends": [{"kind": "A", "group": "*", "name": "c"}]}, "backends[0].group"),
        ({**TO_ALONE, "matches": [{"headers": [{"name": "a/b", "value": "c"}]}]}, "matches[0].headers[0].name"),
        ({**TO_ALONE, "response_headers": {"add": [{"name": "a:", "value": "c"}]}}, "response_headers.add[0].name"),
        ({**TO_ALONE, "request_headers": {"remove": ["a", "a"]}}, "request_headers.remove"),
        ({**TO_ALONE, "rewrite": {"hostname": "*.example.com"}}, "rewrite.hostname"),
        ({"redirect": {"hostname": "Example.com"}}, "redirect.hostname"),
        ({"redirect": {"hostname": "10.0.0.1"}}, "redirect.hostname"),
        ({"redirect": {"status": 308}}, "redirect.status"),
    ],
    ids=str,
)
def test_names_in_routes_are_of_the_form_that_the_gateway_api_takes(aws, rule, where):
    found = Traffic([ALONE], routes=[route(rule)]).render(aws).findings
    assert [(one.code, one.where) for one in found] == [("IP-INV-004", f"model_routes[0].rules[0].{where}")]


def test_a_model_that_goes_counts_for_no_group_and_no_route(aws):
    """Its share of the requests, and a route to it alone, would lead nowhere."""
    gone = {"state": "absent"}
    all_of_it = Traffic([member("a", 100, **gone), member("b", 0)])
    assert "IP-MOD-306" in {finding.code for finding in all_of_it.render(aws).findings}
    led = Traffic([{**ALONE, **gone}, model(name="other")], routes=[route(TO_ALONE)])
    assert "IP-MOD-311" in {finding.code for finding in led.render(aws).findings}
    renamed = Traffic([member("a", **gone), {**member("b"), "served_name": "new"}])
    assert errors(renamed.render(aws).findings) == []


def test_a_group_whose_models_all_go_goes_with_them(aws):
    found = Traffic([member("a", state="absent")], groups=[group()]).render(aws)
    assert errors(found.findings) == []
