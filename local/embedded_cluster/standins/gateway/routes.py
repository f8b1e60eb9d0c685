"""HTTPRoutes: which listeners they attach to, whether their references resolve, and their status (section 3).

`route_table` holds the same judgement as plain data for a proxy: what each listener serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from embedded_cluster.standins.gateway.classes import controller_of
from embedded_cluster.standins.gateway.conditions import Verdict, good, merged
from embedded_cluster.standins.gateway.pools import shadow_service_name
from embedded_cluster.standins.gateway.selectors import hosts_overlap, namespace_allowed, reference_granted
from embedded_cluster.standins.gateway.settings import Settings
from embedded_cluster.standins.gateway.snapshot import GATEWAY_GROUP, POOL_GROUP, Key, Object, Snapshot, generation_of

HTTP_KINDS = ("HTTPRoute", "GRPCRoute")
LISTENER_KINDS = {"HTTP": HTTP_KINDS, "HTTPS": HTTP_KINDS, "TCP": ("TCPRoute",), "TLS": ("TCPRoute",)}
RULE_FILTERS = frozenset(
    {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "RequestMirror", "URLRewrite", "CORS"}
)
BACKEND_FILTERS = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier"})

#: Reasons a listener can refuse a route for, nearest to success first: of several listeners only the nearest report.
DENIAL_RANK = ("NotAllowedByListeners", "NoMatchingListenerHostname", "NoMatchingParent")


@dataclass(frozen=True)
class Problem:
    """Why a reference, an attachment or a part of a Gateway is refused: reason and message of a condition."""

    reason: str
    message: str


@dataclass(frozen=True)
class Destination:
    """Where requests of a backendRef go; `host` is empty for a backend that does not resolve."""

    host: str
    port: int | None
    weight: int
    endpoint_picker: tuple[str, int] | None = None  # (host, port) of the pool's picker
    fail_open: bool = False
    is_pool: bool = False


@dataclass(frozen=True)
class Attachment:
    """One parentRef of a route against the listeners of its Gateway."""

    reference: Mapping[str, Any]
    gateway: Key
    listeners: tuple[str, ...]  # names of the listeners that take the route
    denial: Problem | None  # set when no listener does


@dataclass(frozen=True)
class TableRule:
    """One rule of a route as a proxy serves it, on one listener."""

    route: Key
    hostnames: tuple[str, ...]
    matches: tuple[Mapping[str, Any], ...]
    filters: tuple[Mapping[str, Any], ...]
    timeouts: Mapping[str, str]
    destinations: tuple[Destination, ...]
    endpoint_picker: tuple[str, int] | None
    fail_open: bool


def listener_kinds(listener: Object) -> tuple[list[dict[str, str]], bool]:
    """(kinds of routes the listener takes, False when it asks for a kind that it cannot take)."""
    able = LISTENER_KINDS.get(listener["protocol"], ())
    if listener["protocol"] == "TLS" and (listener.get("tls") or {}).get("mode") == "Passthrough":
        able = ("TLSRoute",)
    supported = [{"group": GATEWAY_GROUP, "kind": kind} for kind in able]
    wanted = (listener.get("allowedRoutes") or {}).get("kinds") or []
    if not wanted:
        return supported, True
    asked = [{"group": kind.get("group", GATEWAY_GROUP), "kind": kind["kind"]} for kind in wanted]
    common = [kind for kind in supported if kind in asked]
    return common, len(common) == len(wanted)


def attachments(route: Object, snapshot: Snapshot) -> list[Attachment]:
    """How each parentRef that names an existing Gateway of istiod's class fares; others are left out."""
    found = []
    namespace = route["metadata"]["namespace"]
    for reference in route["spec"].get("parentRefs") or []:
        if (reference.get("group", GATEWAY_GROUP), reference.get("kind", "Gateway")) != (GATEWAY_GROUP, "Gateway"):
            continue
        key = reference.get("namespace", namespace), reference["name"]
        gateway = snapshot.get("Gateway", *key)
        if gateway is None or controller_of(gateway, snapshot) != snapshot.controller:
            continue
        denials = {
            listener["name"]: _denial(route, reference, gateway, listener, snapshot)
            for listener in gateway["spec"]["listeners"]
        }
        accepted = tuple(name for name, denial in denials.items() if denial is None)
        refused = [denial for denial in denials.values() if denial is not None]
        found.append(Attachment(reference, key, accepted, None if accepted else _nearest(refused)))
    return found


def _denial(
    route: Object, reference: Mapping[str, Any], gateway: Object, listener: Object, snapshot: Snapshot
) -> Problem | None:
    """Why the listener does not take the route; None when it does."""
    if reference.get("port") and reference["port"] != listener["port"]:
        return Problem("NoMatchingParent", f"port {reference['port']} not found")
    if reference.get("sectionName") and reference["sectionName"] != listener["name"]:
        return Problem("NoMatchingParent", f'sectionName "{reference["sectionName"]}" not found')
    parent = listener.get("hostname", "")
    if not any(hosts_overlap(parent or "*", name) for name in route["spec"].get("hostnames") or ["*"]):
        return Problem("NoMatchingListenerHostname", f'no hostnames matched parent hostname "{parent}"')
    namespace = route["metadata"]["namespace"]
    if not namespace_allowed(listener, gateway["metadata"]["namespace"], namespace, snapshot):
        return Problem(
            "NotAllowedByListeners",
            f'hostnames matched parent hostname "{parent}", but namespace "{namespace}" is not allowed by the parent',
        )
    if {"group": GATEWAY_GROUP, "kind": "HTTPRoute"} not in listener_kinds(listener)[0]:
        return Problem("NotAllowedByListeners", f"kind {GATEWAY_GROUP}/v1beta1/HTTPRoute is not allowed")
    return None


def _nearest(denials: list[Problem]) -> Problem:
    """The denials nearest to success, their messages joined (sorted: the real order changes between writes)."""
    reason = min((denial.reason for denial in denials), key=DENIAL_RANK.index)
    messages = [denial.message for denial in denials if denial.reason == reason]
    return Problem(reason, "; ".join(sorted(messages)))


def backends(rule: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """backendRefs that count: those of weight 0 are not even validated."""
    return (ref for ref in rule.get("backendRefs") or [] if ref.get("weight", 1) != 0)


def reference_problem(route: Object, snapshot: Snapshot, settings: Settings) -> Problem | None:
    """The first reference of the route that does not resolve, in the order of its rules."""
    for rule in route["spec"].get("rules") or []:
        for kind in (found["type"] for found in rule.get("filters") or []):
            if kind not in RULE_FILTERS:
                return Problem("InvalidFilter", f'unsupported filter type "{kind}"')
        mirrors = (f["requestMirror"]["backendRef"] for f in rule.get("filters") or [] if f["type"] == "RequestMirror")
        for reference in (*backends(rule), *mirrors):
            for kind in (found["type"] for found in reference.get("filters") or []):
                if kind not in BACKEND_FILTERS:
                    return Problem("InvalidFilter", f'unsupported filter type "{kind}"')
            found = destination(reference, route["metadata"]["namespace"], snapshot, settings)
            if isinstance(found, Problem):
                return found
    return None


def destination(
    reference: Mapping[str, Any], route_namespace: str, snapshot: Snapshot, settings: Settings
) -> Destination | Problem:
    """Where a backendRef leads, or why it leads nowhere."""
    group, kind, name = reference.get("group", ""), reference.get("kind", "Service"), reference["name"]
    namespace = reference.get("namespace", route_namespace)
    if namespace != route_namespace and not reference_granted(
        snapshot,
        kind="HTTPRoute",
        namespace=route_namespace,
        to_group=group,
        to_kind=kind,
        to_namespace=namespace,
        to_name=name,
    ):
        return Problem(
            "RefNotPermitted",
            f"backendRef {name}/{namespace} not accessible to a HTTPRoute in namespace "
            f'"{route_namespace}" (missing a ReferenceGrant?)',
        )
    if (group, kind) == ("", "Service"):
        return _service(reference, namespace, snapshot, settings)
    if kind == "InferencePool" and not settings.inference_extension:
        return Problem(
            "InvalidKind",
            "InferencePool is not enabled. To enable, set ENABLE_GATEWAY_API_INFERENCE_EXTENSION to true in istiod",
        )
    if (group, kind) == (POOL_GROUP, "InferencePool"):
        return _pool(reference, namespace, snapshot, settings)
    return Problem("InvalidKind", f'referencing unsupported backendRef: group "{group}" kind "{kind}"')


def _service(
    reference: Mapping[str, Any], namespace: str, snapshot: Snapshot, settings: Settings
) -> Destination | Problem:
    """A Service must exist; whether it has the port is not checked."""
    host = f"{reference['name']}.{namespace}.svc.{settings.domain}"
    if snapshot.get("Service", namespace, reference["name"]) is None:
        return Problem("BackendNotFound", f"backend({host}) not found")
    return Destination(host, reference.get("port"), reference.get("weight", 1))


def _pool(
    reference: Mapping[str, Any], namespace: str, snapshot: Snapshot, settings: Settings
) -> Destination | Problem:
    """A pool resolves once its shadow Service is known; the reference's port is ignored."""
    pool = snapshot.get("InferencePool", namespace, reference["name"])
    if pool is None:
        return Problem("BackendNotFound", f"backend({reference['name']}) not found")
    shadow = shadow_service_name(reference["name"])
    host = f"{shadow}.{namespace}.svc.{settings.domain}"
    if snapshot.get("Service", namespace, shadow) is None:
        return Problem("BackendNotFound", f"backend({host}) not found")
    picker = pool["spec"].get("endpointPickerRef") or {}
    return Destination(
        host,
        None,
        reference.get("weight", 1),
        (f"{picker['name']}.{namespace}.svc.{settings.domain}", picker["port"]["number"])
        if picker.get("port")
        else None,
        picker.get("failureMode") == "FailOpen",
        is_pool=True,
    )


def route_status(route: Object, snapshot: Snapshot, settings: Settings, now: str) -> dict[str, Any] | None:
    """The route's status with one entry per parent of ours; None while there is nothing to say."""
    existing = (route.get("status") or {}).get("parents") or []
    problem = reference_problem(route, snapshot, settings)
    parents = [entry for entry in existing if entry["controllerName"] != snapshot.controller]
    for attachment in attachments(route, snapshot):
        reference = {"group": GATEWAY_GROUP, "kind": "Gateway", **attachment.reference}
        before: Mapping[str, Any] = next(
            (p for p in existing if p["controllerName"] == snapshot.controller and p["parentRef"] == reference), {}
        )
        parents.append(
            {
                "parentRef": reference,
                "controllerName": snapshot.controller,
                "conditions": merged(
                    before.get("conditions") or [], _verdicts(attachment, problem), generation_of(route), now
                ),
            }
        )
    if not parents and not existing:
        return None
    return {"parents": sorted(parents, key=_reference_text, reverse=True)}


def _verdicts(attachment: Attachment, problem: Problem | None) -> list[Verdict]:
    count = len(attachment.listeners)
    valid = "Route was valid" if count < 2 else f"Route was valid, bound to {count} parents"
    return [
        _judged("Accepted", attachment.denial, "Accepted", valid),
        _judged("ResolvedRefs", problem, "ResolvedRefs", "All references resolved"),
    ]


def _judged(kind: str, problem: Problem | None, reason: str, message: str) -> Verdict:
    return Verdict(kind, "False", problem.reason, problem.message) if problem else good(kind, reason, message)


def _reference_text(parent: Mapping[str, Any]) -> str:
    """The text by which istiod orders parents."""
    ref = parent["parentRef"]
    section, port, namespace = ref.get("sectionName", ""), ref.get("port", 0), ref.get("namespace", "")
    return f"{ref.get('group', '')}/{ref.get('kind', '')}/{ref['name']}/{section}/{port}.{namespace}"


def attached_counts(snapshot: Snapshot) -> dict[tuple[Key, str], int]:
    """Routes per (Gateway, listener) that the listener takes, resolved or not (section 2.3)."""
    counts: dict[tuple[Key, str], int] = {}
    for route in snapshot.all("HTTPRoute"):
        for attachment in attachments(route, snapshot):
            for listener in attachment.listeners:
                counts[attachment.gateway, listener] = counts.get((attachment.gateway, listener), 0) + 1
    return counts


def route_table(snapshot: Snapshot, settings: Settings) -> dict[tuple[Key, str], list[TableRule]]:
    """What each listener, (Gateway, name), serves. Oldest route first, as ties are decided (section 7)."""
    table: dict[tuple[Key, str], list[TableRule]] = {}
    routes = sorted(snapshot.all("HTTPRoute"), key=lambda r: r["metadata"].get("creationTimestamp", ""))
    for route in routes:
        rules = [_table_rule(route, rule, snapshot, settings) for rule in route["spec"].get("rules") or []]
        for attachment in attachments(route, snapshot):
            for listener in attachment.listeners:
                table.setdefault((attachment.gateway, listener), []).extend(rules)
    return table


def _table_rule(route: Object, rule: Mapping[str, Any], snapshot: Snapshot, settings: Settings) -> TableRule:
    """A backend that does not resolve keeps its weight and answers nothing; only the last backend's picker is asked."""
    namespace = route["metadata"]["namespace"]
    destinations = []
    for reference in backends(rule):
        found = destination(reference, namespace, snapshot, settings)
        lost = Destination("", None, reference.get("weight", 1))
        destinations.append(lost if isinstance(found, Problem) else found)
    last = destinations[-1] if destinations else Destination("", None, 0)
    return TableRule(
        route=(namespace, route["metadata"]["name"]),
        hostnames=tuple(route["spec"].get("hostnames") or ["*"]),
        matches=tuple(rule.get("matches") or [{"path": {"type": "PathPrefix", "value": "/"}}]),
        filters=tuple(rule.get("filters") or []),
        timeouts=rule.get("timeouts") or {},
        destinations=tuple(destinations),
        endpoint_picker=last.endpoint_picker,
        fail_open=last.fail_open,
    )
