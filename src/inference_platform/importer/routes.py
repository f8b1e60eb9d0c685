"""The entry of ``model_routes`` for an HTTPRoute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_platform.importer.refusal import Refused
from inference_platform.importer.service import renamed

_PARENT = {"name": "name", "namespace": "namespace", "section_name": "sectionName", "port": "port"}
_CONDITION = {"name": "name", "value": "value", "type": "type"}
_BACKEND = {"namespace": "namespace", "port": "port", "weight": "weight"}
_REDIRECT = {"scheme": "scheme", "hostname": "hostname", "port": "port", "status": "statusCode"}
_FILTERS = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "URLRewrite": "urlRewrite",
    "RequestRedirect": "requestRedirect",
    "RequestMirror": "requestMirror",
}
_TIMEOUTS = {"request": "request", "backend_request": "backendRequest"}


def route_entry(
    metadata: Mapping[str, Any], spec: Mapping[str, Any], namespace: str, serving: Mapping[str, Any]
) -> dict[str, Any]:
    """The entry; raises ``Refused`` for what has no field."""
    entry: dict[str, Any] = {"name": metadata["name"], "namespace": namespace}
    for key in ("labels", "annotations"):
        if metadata.get(key):
            entry[key] = dict(metadata[key])
    entry["gateways"] = [_parent(item) for item in spec.get("parentRefs", [])]
    if "hostnames" in spec:
        entry["hostnames"] = list(spec["hostnames"])
    entry["rules"] = [_rule(rule, serving) for rule in spec.get("rules") or [{}]]
    return entry


def _parent(item: Mapping[str, Any]) -> dict[str, Any]:
    parent = renamed(item, _PARENT)
    if item.get("kind", "Gateway") != "Gateway":
        parent |= {"kind": item["kind"], "group": item.get("group", "")}
    return parent


def _rule(rule: Mapping[str, Any], serving: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = renamed(rule, {"name": "name"})
    if rule.get("matches"):
        result["matches"] = [_match(match) for match in rule["matches"]]
    if rule.get("backendRefs"):
        result["backends"] = [_backend(backend, serving) for backend in rule["backendRefs"]]
    for item in rule.get("filters", []):
        given = _filter(item, serving)
        if given.keys() & result.keys():
            raise Refused(f"two filters of type {item['type']} in one rule; the language has one of each")
        result |= given
    if rule.get("timeouts"):
        result["timeouts"] = renamed(rule["timeouts"], _TIMEOUTS)
    return result


def _match(match: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    path = match.get("path") or {}
    if path:
        result["path"] = path.get("value", "/")
        if path.get("type", "PathPrefix") != "PathPrefix":
            result["path_type"] = path["type"]
    for field, name in (("headers", "headers"), ("queryParams", "query_params")):
        if match.get(field):
            result[name] = [renamed(item, _CONDITION) for item in match[field]]
    if "method" in match:
        result["method"] = match["method"]
    return result or {"path": "/"}


def _backend(backend: Mapping[str, Any], serving: Mapping[str, Any]) -> dict[str, Any]:
    if backend.get("filters"):
        raise Refused("filters of a single backend have no field; give them to the rule")
    kind, group = backend.get("kind", "Service"), backend.get("group", "")
    rest = renamed(backend, _BACKEND)
    if (kind, group) == ("Service", ""):
        return {"service": backend["name"], **rest}
    if (kind, group) == ("InferencePool", serving["pool_group"]):
        return {"pool": backend["name"], **rest}
    return {"kind": kind, "group": group, "name": backend["name"], **rest}


def _filter(item: Mapping[str, Any], serving: Mapping[str, Any]) -> dict[str, Any]:
    kind = item["type"]
    if kind not in _FILTERS:
        raise Refused(f"a filter of type {kind} has no field")
    if _FILTERS[kind] not in item:
        raise Refused(f"a filter of type {kind} without {_FILTERS[kind]}")
    if kind == "RequestHeaderModifier":
        return {"request_headers": dict(item["requestHeaderModifier"])}
    if kind == "ResponseHeaderModifier":
        return {"response_headers": dict(item["responseHeaderModifier"])}
    if kind == "URLRewrite":
        rewrite = item["urlRewrite"]
        return {"rewrite": {**renamed(rewrite, {"hostname": "hostname"}), **_replaced(rewrite)}}
    if kind == "RequestRedirect":
        redirect = item["requestRedirect"]
        return {"redirect": {**renamed(redirect, _REDIRECT), **_replaced(redirect)}}
    return {"mirror": _backend(item["requestMirror"]["backendRef"], serving)}


def _replaced(change: Mapping[str, Any]) -> dict[str, Any]:
    names = {"prefix": "replacePrefixMatch", "path": "replaceFullPath"}
    return renamed(change.get("path") or {}, names)
