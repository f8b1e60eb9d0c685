"""Rules of HTTPRoutes as Envoy's routes, in the order of precedence that the Gateway API defines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embedded_cluster.standins.gateway.pools import FIRST_PORT
from embedded_cluster.standins.gateway.routes import Destination, TableRule
from embedded_cluster.standins.gateway.upstreams import TYPES, cluster_name

UNRESOLVED = "unresolved-backend"
"""A cluster that never exists: a backend that does not resolve keeps its share of requests and answers 500."""
EXT_PROC = "envoy.filters.http.ext_proc"
PICKER_TIMEOUT = "1000s"
#: istiod's default for every HTTP route.
RETRIES = {
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled",
    "num_retries": 2,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": f"{TYPES}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
    "host_selection_retry_max_attempts": "5",
}
DUPLEX = {
    "request_header_mode": "SEND",
    "response_header_mode": "SEND",
    "request_body_mode": "FULL_DUPLEX_STREAMED",
    "response_body_mode": "FULL_DUPLEX_STREAMED",
    "request_trailer_mode": "SEND",
    "response_trailer_mode": "SEND",
}
SKIPPED = {
    "request_header_mode": "SKIP",
    "response_header_mode": "SKIP",
    "request_body_mode": "NONE",
    "response_body_mode": "NONE",
    "request_trailer_mode": "SKIP",
    "response_trailer_mode": "SKIP",
}


@dataclass(frozen=True)
class Candidate:
    """One match of one rule, with what decides its place."""

    rule: TableRule
    index: int  # of the match in its rule
    match: Mapping[str, Any]
    place: int  # of the rule in the table, oldest route first

    @property
    def rank(self) -> tuple[Any, ...]:
        """Smaller comes first: exact path, expression, longest prefix; method; more headers; more parameters."""
        path = self.match.get("path") or {}
        kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
        kinds = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}
        return (
            kinds[kind],
            -len(value.rstrip("/")),
            "method" not in self.match,
            -len(self.match.get("headers") or []),
            -len(self.match.get("queryParams") or []),
            self.place,
            self.index,
        )


def virtual_hosts(rules: Sequence[tuple[str, TableRule]]) -> list[dict[str, Any]]:
    """Virtual hosts of (hostname of the listener or "*", rule) pairs, most specific name first."""
    by_domain: dict[str, list[Candidate]] = {}
    for place, (listener_host, rule) in enumerate(rules):
        for domain in sorted({found for name in rule.hostnames if (found := _common(listener_host, name))}):
            for index, match in enumerate(rule.matches):
                by_domain.setdefault(domain, []).append(Candidate(rule, index, match, place))
    hosts = []
    for domain in sorted(by_domain, key=lambda name: (name.startswith("*"), -len(name), name)):
        ordered = sorted(by_domain[domain], key=lambda candidate: candidate.rank)
        hosts.append({"name": domain, "domains": [domain], "routes": [_route(candidate) for candidate in ordered]})
    return hosts


def _common(first: str, second: str) -> str:
    """The narrower of two host names that may begin with a wildcard, "" when they have no name in common."""
    for narrow, wide in ((first, second), (second, first)):
        if wide == "*" or narrow == wide or (wide.startswith("*.") and narrow.lstrip("*").endswith(wide[1:])):
            return narrow
    return ""


def _route(candidate: Candidate) -> dict[str, Any]:
    rule = candidate.rule
    route: dict[str, Any] = {
        "name": f"{'.'.join(rule.route)}.{candidate.place}.{candidate.index}",
        "match": _match(candidate.match),
    }
    filters = {found["type"]: found for found in rule.filters}
    if redirect := filters.get("RequestRedirect"):
        route["redirect"] = _redirect(redirect["requestRedirect"], candidate.match)
    elif not rule.destinations:
        route["direct_response"] = {"status": 500}
    else:
        route["route"] = _action(rule, filters, candidate.match)
    for kind, side in (("RequestHeaderModifier", "request"), ("ResponseHeaderModifier", "response")):
        if found := filters.get(kind):
            route |= _header_changes(found[f"{side}HeaderModifier"], side)
    if rule.endpoint_picker and "route" in route:
        route["typed_per_filter_config"] = {EXT_PROC: _picker(rule)}
    return route


def _match(match: Mapping[str, Any]) -> dict[str, Any]:
    path = match.get("path") or {}
    kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
    if kind == "Exact":
        result: dict[str, Any] = {"path": value}
    elif kind == "RegularExpression":
        result = {"safe_regex": {"regex": value}}
    elif value.rstrip("/"):
        result = {"path_separated_prefix": value.rstrip("/")}
    else:
        result = {"prefix": "/"}
    headers = [_condition(header, "string_match") for header in match.get("headers") or []]
    if method := match.get("method"):
        headers.append({"name": ":method", "string_match": {"exact": method}})
    if headers:
        result["headers"] = headers
    if parameters := match.get("queryParams"):
        result["query_parameters"] = [_condition(parameter, "string_match") for parameter in parameters]
    return result


def _condition(item: Mapping[str, Any], field: str) -> dict[str, Any]:
    exact = item.get("type", "Exact") == "Exact"
    return {
        "name": item["name"],
        field: {"exact": item["value"]} if exact else {"safe_regex": {"regex": item["value"]}},
    }


def _action(rule: TableRule, filters: Mapping[str, Any], match: Mapping[str, Any]) -> dict[str, Any]:
    timeout = rule.timeouts.get("request") or rule.timeouts.get("backendRequest") or "0s"
    action: dict[str, Any] = {
        **_target(rule.destinations),
        "timeout": _seconds(timeout),
        "retry_policy": dict(RETRIES),
        "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
    }
    if rewrite := (filters.get("URLRewrite") or {}).get("urlRewrite"):
        action |= _rewrite(rewrite, match)
    if mirrors := [found["requestMirror"] for found in rule.filters if found["type"] == "RequestMirror"]:
        namespace = rule.route[0]
        action["request_mirror_policies"] = [{"cluster": _mirror(found["backendRef"], namespace)} for found in mirrors]
    return action


def _mirror(reference: Mapping[str, Any], namespace: str) -> str:
    host = f"{reference['name']}.{reference.get('namespace', namespace)}.svc.cluster.local"
    return cluster_name(host, reference.get("port"))


def destination_cluster(destination: Destination) -> str:
    """The cluster of a backend; pools are reached through the first port of their shadow Service."""
    if not destination.host:
        return UNRESOLVED
    port = FIRST_PORT if destination.is_pool else destination.port
    return cluster_name(destination.host, port)


def _target(destinations: Iterable[Destination]) -> dict[str, Any]:
    shares = [{"name": destination_cluster(item), "weight": item.weight} for item in destinations]
    if len(shares) == 1:
        return {"cluster": shares[0]["name"]}
    return {"weighted_clusters": {"clusters": shares}}


def _rewrite(rewrite: Mapping[str, Any], match: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if hostname := rewrite.get("hostname"):
        result["host_rewrite_literal"] = hostname
    path = rewrite.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        result["regex_rewrite"] = {"pattern": {"regex": "^/.*$"}, "substitution": path["replaceFullPath"]}
    elif path.get("type") == "ReplacePrefixMatch":
        prefix = (match.get("path") or {}).get("value", "/").rstrip("/")
        to = path["replacePrefixMatch"].rstrip("/")
        # The rest of the path, with its slash. Replacing by nothing must leave one slash.
        pattern, substitution = (
            (rf"^{re.escape(prefix)}(/.*)?$", rf"{to}\1") if to else (rf"^{re.escape(prefix)}/*", "/")
        )
        result["regex_rewrite"] = {"pattern": {"regex": pattern}, "substitution": substitution}
    return result


def _redirect(redirect: Mapping[str, Any], match: Mapping[str, Any]) -> dict[str, Any]:
    codes = {
        301: "MOVED_PERMANENTLY",
        302: "FOUND",
        303: "SEE_OTHER",
        307: "TEMPORARY_REDIRECT",
        308: "PERMANENT_REDIRECT",
    }
    result: dict[str, Any] = {"response_code": codes[redirect.get("statusCode", 302)]}
    for ours, theirs in (("scheme", "scheme_redirect"), ("hostname", "host_redirect"), ("port", "port_redirect")):
        if ours in redirect:
            result[theirs] = redirect[ours]
    path = redirect.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        result["path_redirect"] = path["replaceFullPath"]
    elif path.get("type") == "ReplacePrefixMatch":
        result |= _rewrite({"path": path}, match)
    return result


def _header_changes(changes: Mapping[str, Any], side: str) -> dict[str, Any]:
    """`set`, `add` and `remove` of a header modifier; `side` is request or response."""
    appended = [
        {"header": {"key": item["name"], "value": item["value"]}, "append_action": action}
        for key, action in (("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD"))
        for item in changes.get(key) or []
    ]
    result: dict[str, Any] = {f"{side}_headers_to_add": appended} if appended else {}
    if removed := changes.get("remove"):
        result[f"{side}_headers_to_remove"] = list(removed)
    return result


def _picker(rule: TableRule) -> dict[str, Any]:
    """The endpoint picker of a rule: one only, that of the last backend with a weight (section 7)."""
    assert rule.endpoint_picker is not None
    return {
        "@type": f"{TYPES}.extensions.filters.http.ext_proc.v3.ExtProcPerRoute",
        "overrides": {
            "grpc_service": {"envoy_grpc": {"cluster_name": cluster_name(*rule.endpoint_picker)}},
            "failure_mode_allow": rule.fail_open,
            "processing_mode": DUPLEX,
        },
    }


def picker_filter() -> dict[str, Any]:
    """The filter on every listener: nothing is sent anywhere unless a route says so."""
    return {
        "name": EXT_PROC,
        "typed_config": {
            "@type": f"{TYPES}.extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": UNRESOLVED}},
            "processing_mode": SKIPPED,
            "message_timeout": PICKER_TIMEOUT,
            "mutation_rules": {"allow_all_routing": True, "allow_envoy": True},
            "metadata_options": {
                "forwarding_namespaces": {"untyped": ["envoy.lb"]},
                "receiving_namespaces": {"untyped": ["envoy.lb"]},
            },
        },
    }


def _seconds(duration: str) -> str:
    """A Gateway API duration such as 1m30s or 500ms as Envoy takes it."""
    factors = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    total = sum(int(number) * factors[unit] for number, unit in re.findall(r"(\d+)(ms|h|m|s)", duration))
    return f"{total:g}s"
