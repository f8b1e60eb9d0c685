"""HTTPRoutes: the managed route of a model, traffic groups, and routes of one's own.

KServe's managed route has one rule per API path, rewritten and sent to the InferencePool,
and one for everything else, sent to the Service (models.md 3.4). Rules given here replace
the whole list, so they are always complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inference_platform.models import labels
from inference_platform.models.shapes import Block, render
from inference_platform.models.topology import SERVER_PORT

API_PATHS = ("/v1/completions", "/v1/chat/completions", "/v1/responses")

_GATEWAY_GROUP = "gateway.networking.k8s.io"
_NO_LIMIT = {"request": "0s", "backendRequest": "0s"}
# KServe puts the name of a pool of one's own into the preset's rules, but never moves them to the new group of pools.
_OTHER_THAN_PRESET = ("headers", "query_params", "timeouts", "api_paths", "other_paths", "pool")


def pool_name(model: str) -> str:
    """The InferencePool that KServe makes for a model (models.md 3.1)."""
    return f"{model}-inference-pool"


def pool_of(model: Mapping[str, Any]) -> str:
    """The InferencePool of a model: one of the user's, or the one that KServe makes."""
    return str(model.get("router", {}).get("pool") or pool_name(model["name"]))


def service_name(model: str) -> str:
    """The Service of a model's pods (models.md 3.1)."""
    return f"{model}-kserve-workload-svc"


def model_behind(backend: Mapping[str, Any]) -> str:
    """The model whose pool or Service a backend of a route is, by its name; empty when it is neither."""
    for suffix in (pool_name(""), service_name("")):
        if str(backend.get("name", "")).endswith(suffix):
            return str(backend["name"]).removesuffix(suffix)
    return ""


def models_behind(route: Mapping[str, Any]) -> set[str]:
    """Ids of the models to which an HTTPRoute leads, as far as names tell; mirrored requests count."""
    found = set()
    for rule in (route.get("spec") or {}).get("rules") or []:
        mirrors = [item["requestMirror"]["backendRef"] for item in rule.get("filters") or [] if "requestMirror" in item]
        for backend in [*(rule.get("backendRefs") or []), *mirrors]:
            name = model_behind(backend)
            if name:
                found.add(f"{backend.get('namespace') or route['metadata'].get('namespace')}/{name}")
    return found


def model_path(namespace: str, name: str) -> str:
    """The path of a model below the address of the gateway."""
    return f"/{namespace}/{name}"


def model_route_spec(model: Mapping[str, Any], with_pool: bool, serving: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the managed route of a model says beyond the preset; None when nothing.

    Its gateways are left out: KServe takes those of the model.
    """
    router = model.get("router", {})
    spec: dict[str, Any] = {}
    if "hostnames" in router:
        spec["hostnames"] = list(router["hostnames"])
    if any(key in router for key in _OTHER_THAN_PRESET):
        name = model["name"]
        to_service = [service_backend(name)]
        to_pods = [pool_backend(pool_of(model), serving)] if with_pool else to_service
        spec["rules"] = _path_rules(
            model_path(model["namespace"], name),
            router.get("api_paths", API_PATHS),
            router.get("other_paths", "all"),
            to_pods,
            to_service,
            router,
        )
    return spec or None


def group_route(
    group: Mapping[str, Any], members: Sequence[Mapping[str, Any]], serving: Mapping[str, Any]
) -> dict[str, Any]:
    """The HTTPRoute of a traffic group over its members, which are completed models."""
    path = group_path(group)
    api_paths = group.get("api_paths", API_PATHS)
    rules: list[dict[str, Any]] = []
    if split_of(group) == "header":
        # Rules with more conditions win, whatever the order; the rest follows for the reader.
        for member in sorted(members, key=lambda item: ("headers" not in item["traffic"], item["name"])):
            backends = [pool_backend(pool_of(member), serving)], [service_backend(member["name"])]
            matched = {**group, "headers": member["traffic"].get("headers", [])}
            rules += _path_rules(path, api_paths, "all", *backends, matched)
    else:
        services = [service_backend(member["name"], weight_of(member)) for member in members]
        pools = [pool_backend(pool_of(member), serving, weight_of(member)) for member in members]
        paths = api_paths if split_of(group) == "pool" else ()
        rules = _path_rules(path, paths, "all", pools, services, group)
    spec = {"parentRefs": _parents(group, serving), **_hostnames(group), "rules": rules}
    return _route_object(group["name"], group["namespace"], spec, {labels.GROUP: group["name"]})


def own_route(
    route: Mapping[str, Any], models: Mapping[tuple[str, str], Mapping[str, Any]], serving: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The HTTPRoute of one entry of ``model_routes``, after the grants it needs.

    ``models`` are the completed models by namespace and name, for backends that name one.
    """
    rules = [_own_rule(rule, route["namespace"], models, serving) for rule in route["rules"]]
    spec: dict[str, Any] = {**_hostnames(route), "rules": rules}
    parents = _parents(route, serving)
    if parents:
        spec = {"parentRefs": parents, **spec}
    named = {**route.get("labels", {}), labels.ROUTE: route["name"]}
    return [
        *_grants(route, rules),
        _route_object(route["name"], route["namespace"], spec, named, route.get("annotations")),
    ]


def split_of(group: Mapping[str, Any]) -> str:
    """How a group splits its traffic."""
    return str(group.get("split", "service"))


def group_path(group: Mapping[str, Any]) -> str:
    """The path of a group below the address of the gateway."""
    return str(group.get("path", model_path(group["namespace"], group["name"])))


def weight_of(member: Mapping[str, Any]) -> int:
    """The weight of a model in its group."""
    return int(member["traffic"].get("weight", 1))


def service_backend(model: str, weight: int = 1) -> dict[str, Any]:
    """A backend that is the Service of a model."""
    return {"kind": "Service", "name": service_name(model), "port": SERVER_PORT, "weight": weight}


def pool_backend(pool: str, serving: Mapping[str, Any], weight: int = 1) -> dict[str, Any]:
    """A backend that is an InferencePool, in the group that the gateway of the release knows."""
    reference = {"group": serving["pool_group"], "kind": "InferencePool", "name": pool}
    return {**reference, "port": SERVER_PORT, "weight": weight}


def _path_rules(
    base: str,
    api_paths: Iterable[str],
    other_paths: str | Sequence[str],
    to_pods: list[dict[str, Any]],
    to_service: list[dict[str, Any]],
    conditions: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """One rule per path, because a prefix can only be replaced in a rule with one match (models.md 5.1)."""
    others: Iterable[str] = {"all": [""], "none": []}.get(str(other_paths), other_paths)
    wanted = [*((path, to_pods) for path in api_paths), *((path, to_service) for path in others)]
    return [
        {
            "matches": [{"path": {"type": "PathPrefix", "value": base + path}, **_conditions(conditions)}],
            "filters": [_url_rewrite({"prefix": path or "/"})],
            "backendRefs": backends,
            "timeouts": _timeouts(conditions.get("timeouts", {})) or _NO_LIMIT,
        }
        for path, backends in wanted
    ]


def _conditions(match: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, field in (("headers", "headers"), ("query_params", "queryParams")):
        if match.get(key):
            found[field] = [
                {"name": item["name"], "value": item["value"], "type": item.get("type", "Exact")} for item in match[key]
            ]
    return found


def _timeouts(timeouts: Mapping[str, Any]) -> dict[str, str]:
    names = {"request": "request", "backend_request": "backendRequest"}
    return {names[name]: value for name, value in timeouts.items()}


def _hostnames(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"hostnames": list(entry["hostnames"])} if "hostnames" in entry else {}


def _parents(entry: Mapping[str, Any], serving: Mapping[str, Any]) -> list[dict[str, Any]]:
    platform = {"name": serving["gateway"]["name"], "namespace": serving["gateway"]["namespace"]}
    return [_parent(item) for item in entry.get("gateways", [platform])]


def _parent(item: Mapping[str, Any]) -> dict[str, Any]:
    parent = {"group": item.get("group", _GATEWAY_GROUP), "kind": item.get("kind", "Gateway"), "name": item["name"]}
    optional = {"namespace": "namespace", "section_name": "sectionName", "port": "port"}
    return parent | {field: item[key] for key, field in optional.items() if key in item}


def _own_rule(
    rule: Mapping[str, Any],
    namespace: str,
    models: Mapping[tuple[str, str], Mapping[str, Any]],
    serving: Mapping[str, Any],
) -> dict[str, Any]:
    filters = _filters(rule)
    if "mirror" in rule:
        mirrored = _backend(rule["mirror"], namespace, models, serving)
        filters.append({"type": "RequestMirror", "requestMirror": {"backendRef": mirrored}})
    parts = {
        "name": rule.get("name"),
        "matches": [_own_match(match) for match in rule.get("matches", [])],
        "filters": filters,
        "backendRefs": [
            {**_backend(backend, namespace, models, serving), "weight": backend.get("weight", 1)}
            for backend in rule.get("backends", [])
        ],
        "timeouts": _timeouts(rule.get("timeouts", {})),
    }
    return {key: value for key, value in parts.items() if value}


def _own_match(match: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if "path" in match:
        result["path"] = {"type": match.get("path_type", "PathPrefix"), "value": match["path"]}
    result |= _conditions(match)
    if "method" in match:
        result["method"] = match["method"]
    return result


def _filters(rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    filters: list[dict[str, Any]] = []
    for key, kind, field in (
        ("request_headers", "RequestHeaderModifier", "requestHeaderModifier"),
        ("response_headers", "ResponseHeaderModifier", "responseHeaderModifier"),
    ):
        if key in rule:
            filters.append({"type": kind, field: dict(rule[key])})
    if "rewrite" in rule:
        filters.append(_url_rewrite(rule["rewrite"]))
    if "redirect" in rule:
        redirect = rule["redirect"]
        parts = {key: redirect[key] for key in ("scheme", "hostname", "port") if key in redirect}
        parts |= _replaced_path(redirect)
        if "status" in redirect:
            parts["statusCode"] = redirect["status"]
        filters.append({"type": "RequestRedirect", "requestRedirect": parts})
    return filters


def _url_rewrite(rewrite: Mapping[str, Any]) -> dict[str, Any]:
    hostname = {"hostname": rewrite["hostname"]} if "hostname" in rewrite else {}
    return {"type": "URLRewrite", "urlRewrite": {**hostname, **_replaced_path(rewrite)}}


def _replaced_path(change: Mapping[str, Any]) -> dict[str, Any]:
    if "prefix" in change:
        return {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": change["prefix"]}}
    if "path" in change:
        return {"path": {"type": "ReplaceFullPath", "replaceFullPath": change["path"]}}
    return {}


def _backend(
    backend: Mapping[str, Any],
    namespace: str,
    models: Mapping[tuple[str, str], Mapping[str, Any]],
    serving: Mapping[str, Any],
) -> dict[str, Any]:
    """The reference of a backend, without its weight."""
    elsewhere = {"namespace": backend["namespace"]} if backend.get("namespace", namespace) != namespace else {}
    if "model" in backend:
        model = models[backend.get("namespace", namespace), backend["model"]]
        reference = _model_backend(model, backend.get("through"), serving)
    elif "pool" in backend:
        reference = {"group": serving["pool_group"], "kind": "InferencePool", "name": backend["pool"]}
    elif "service" in backend:
        reference = {"kind": "Service", "name": backend["service"]}
    else:
        reference = {"group": backend["group"], "kind": backend["kind"], "name": backend["name"]}
    port = {"port": backend["port"]} if "port" in backend else {}
    return {**reference, **elsewhere, **port}


def _model_backend(model: Mapping[str, Any], through: str | None, serving: Mapping[str, Any]) -> dict[str, Any]:
    if through == "service" or not has_scheduler(model):
        reference = service_backend(model["name"])
    else:
        reference = pool_backend(pool_of(model), serving)
    return {key: value for key, value in reference.items() if key != "weight"}


def has_scheduler(model: Mapping[str, Any]) -> bool:
    """Whether requests for a model can go through a scheduler."""
    router = model.get("router", {})
    wanted = model.get("scheduler", {}).get("enabled", True) or "pool" in router
    return bool(wanted) and router.get("route", "managed") != "none"


def _grants(route: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Leave to use backends in other namespaces, one grant per namespace (models.md 5.2)."""
    wanted: dict[str, list[dict[str, Any]]] = {}
    for rule in rules:
        mirrors = [item["requestMirror"]["backendRef"] for item in rule.get("filters", []) if "requestMirror" in item]
        for backend in [*rule.get("backendRefs", []), *mirrors]:
            if "namespace" in backend:
                target = {"group": backend.get("group", ""), "kind": backend["kind"], "name": backend["name"]}
                targets = wanted.setdefault(backend["namespace"], [])
                if target not in targets:
                    targets.append(target)
    source = {"group": _GATEWAY_GROUP, "kind": "HTTPRoute", "namespace": route["namespace"]}
    return [
        render(
            "referencegrant",
            Block(
                name=f"{route['namespace']}-{route['name']}",
                namespace=namespace,
                labels=labels.managed({labels.ROUTE: route["name"]}),
                sources=[source],
                targets=targets,
            ),
        )
        for namespace, targets in sorted(wanted.items())
    ]


def _route_object(
    name: str,
    namespace: str,
    spec: Mapping[str, Any],
    named: dict[str, str],
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    block = Block(name=name, namespace=namespace, labels=labels.managed(named), spec=spec)
    if annotations:
        block["annotations"] = annotations
    return render("httproute", block)
