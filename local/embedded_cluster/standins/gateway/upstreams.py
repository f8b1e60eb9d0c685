"""Where a proxy sends requests: clusters of a gateway's Envoy, their endpoints and their TLS.

The clusters have istiod's names, `outbound|PORT||HOST`. Endpoints are ready pods, as no EndpointSlice knows the address
that a pod has on this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embedded_cluster.pod_status import is_simulated
from embedded_cluster.standins.gateway.pools import FIRST_PORT, shadow_service_name
from embedded_cluster.standins.gateway.routes import TableRule
from embedded_cluster.standins.gateway.settings import Settings
from embedded_cluster.standins.gateway.snapshot import Object, Snapshot, key_of

Locate = Callable[[str, int], tuple[str, int]]
"""(pod address, port) to where that is on this machine."""

MODEL_KIND = "LLMInferenceService"
ENDPOINT_KEY = "x-gateway-destination-endpoint"
TYPES = "type.googleapis.com/envoy"
CONNECT_TIMEOUT = "10s"
#: Of the three DestinationRules that the product's KServe makes for a model, the one of the workload Service names
#: the authority's file in the gateway's pod; the others verify nothing (facts/models.md section 3.5).
MODEL_AUTHORITY = "/var/run/secrets/rhai/ca.crt"


@dataclass(frozen=True)
class Tls:
    """TLS towards an upstream. `authority` is a file in the proxy's pod; "" verifies nothing."""

    authority: str = ""
    server_name: str = ""


@dataclass(frozen=True)
class Upstream:
    """One cluster of the proxy. `endpoints` are (host, port) on this machine."""

    name: str
    endpoints: tuple[tuple[str, int], ...]
    tls: Tls | None = None
    picks_endpoint: bool = False  # follows the endpoint picker's choice
    grpc: bool = False


def cluster_name(host: str, port: int | None) -> str:
    """istiod's name of the cluster for a Service's port."""
    return f"outbound|{port or 0}||{host}"


class Upstreams:
    """Builds the upstreams of table rules from one snapshot."""

    def __init__(self, snapshot: Snapshot, settings: Settings, locate: Locate) -> None:
        self._snapshot = snapshot
        self._domain = f".svc.{settings.domain}"
        self._locate = locate
        self._pods: dict[str, list[Object]] = {}
        for pod in snapshot.all("Pod"):
            if _serves(pod):
                self._pods.setdefault(pod["metadata"]["namespace"], []).append(pod)
        self._tls_rules = [rule for rule in snapshot.all("DestinationRule") if "host" in rule["spec"]]
        self._shadows = {
            (namespace, shadow_service_name(name)): pool
            for (namespace, name), pool in snapshot.objects.get("InferencePool", {}).items()
        }
        self._named_by_models = _named_by_models(snapshot)

    def of(self, rules: Iterable[TableRule]) -> dict[str, Upstream]:
        """Every upstream that the rules name, by cluster name."""
        found: dict[str, Upstream] = {}
        for rule in rules:
            for destination in rule.destinations:
                if destination.host:
                    upstream = self._backend(destination.host, destination.port)
                    found.setdefault(upstream.name, upstream)
            if rule.endpoint_picker:
                upstream = self._service(*rule.endpoint_picker, grpc=True)
                found.setdefault(upstream.name, upstream)
        return found

    def _backend(self, host: str, port: int | None) -> Upstream:
        name, namespace = self._key(host)
        pool = self._shadows.get((namespace, name))
        if pool is None:
            return self._service(host, port)
        spec = pool["spec"]
        labels = (spec.get("selector") or {}).get("matchLabels") or {}
        ports = [target["number"] for target in spec.get("targetPorts") or []]
        endpoints = [
            self._locate(pod["status"]["podIP"], number)
            for pod in self._selected(namespace, labels)
            for number in ports
        ]
        tls = self._tls(host, "InferencePool", pool, Tls())
        return Upstream(cluster_name(host, FIRST_PORT), tuple(endpoints), tls, picks_endpoint=True)

    def _service(self, host: str, port: int | None, *, grpc: bool = False) -> Upstream:
        name, namespace = self._key(host)
        service = self._snapshot.get("Service", namespace, name)
        endpoints = []
        for pod in self._selected(namespace, _selector(service)) if service else []:
            if target := _target_port(service, port, pod):
                endpoints.append(self._locate(pod["status"]["podIP"], target))
        implied = Tls() if grpc else Tls(MODEL_AUTHORITY)
        tls = self._tls(host, "Service", service, implied) if service else None
        return Upstream(cluster_name(host, port), tuple(endpoints), tls, grpc=grpc)

    def _key(self, host: str) -> tuple[str, str]:
        """(name, namespace) of a Service's host name."""
        name, _, namespace = host.removesuffix(self._domain).partition(".")
        return name, namespace

    def _selected(self, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        if not labels:
            return []
        pods = self._pods.get(namespace, [])
        return [pod for pod in pods if labels.items() <= (pod["metadata"].get("labels") or {}).items()]

    def _tls(self, host: str, kind: str, target: Object, implied: Tls) -> Tls | None:
        """TLS as a DestinationRule says; without one, as the product's KServe would say for its models.

        The KServe that runs here makes no DestinationRules.
        """
        for rule in self._tls_rules:
            if rule["spec"]["host"] == host:
                tls = (rule["spec"].get("trafficPolicy") or {}).get("tls") or {}
                if tls.get("mode", "DISABLE") == "DISABLE":
                    return None
                authority = "" if tls.get("insecureSkipVerify") else tls.get("caCertificates", "")
                return Tls(authority, tls.get("sni", ""))
        named = (kind, *key_of(target)) in self._named_by_models
        return implied if named or _is_of_a_model(target) else None


def _is_of_a_model(obj: Object) -> bool:
    return any(owner["kind"] == MODEL_KIND for owner in obj["metadata"].get("ownerReferences") or [])


def _named_by_models(snapshot: Snapshot) -> set[tuple[str, str, str]]:
    """(kind, namespace, name) of pools of users to which routes of models lead, and of the Services of their pickers.

    A model names such a pool in router.scheduler.pool.ref; the product's KServe makes DestinationRules for it too.
    """
    found = set()
    for route in filter(_is_of_a_model, snapshot.all("HTTPRoute")):
        namespace = route["metadata"]["namespace"]
        for rule in route["spec"].get("rules") or []:
            for backend in rule.get("backendRefs") or []:
                pool = snapshot.get("InferencePool", namespace, backend["name"])
                if backend.get("kind") == "InferencePool" and pool:
                    picker = pool["spec"].get("endpointPickerRef") or {}
                    found |= {("InferencePool", namespace, backend["name"])}
                    found |= {("Service", namespace, picker["name"])} if picker else set()
    return found


def _serves(pod: Object) -> bool:
    """Ready, with an address, not on its way out, and run by a program.

    Nobody listens on the address of a simulated pod. Offered to Envoy as an endpoint picker, it would fail some of the
    requests of a model that fails open: those whose body was sent before the connection was refused.
    """
    status = pod.get("status") or {}
    if not status.get("podIP") or pod["metadata"].get("deletionTimestamp") or is_simulated(pod):
        return False
    return any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or [])


def _selector(service: Object) -> Mapping[str, str]:
    return service["spec"].get("selector") or {}


def _target_port(service: Object, port: int | None, pod: Object) -> int | None:
    """The pod's port behind a Service's port: the same, another number, or a named port of its containers."""
    entry = next((item for item in service["spec"].get("ports") or [] if item["port"] == port), None)
    if entry is None:
        return None
    target = entry.get("targetPort", port)
    if isinstance(target, int):
        return target
    containers = pod["spec"].get("containers") or []
    named = (item for container in containers for item in container.get("ports") or [] if item.get("name") == target)
    return next((int(item["containerPort"]) for item in named), None)


def cluster(upstream: Upstream, folder: str) -> dict[str, Any]:
    """Envoy's cluster; `folder` is the proxy's configuration folder, inside the folder of its pod.

    The endpoints are part of it: for a file of their own Envoy would take one inotify instance for each cluster, of
    which a user has 128 on most machines.
    """
    result: dict[str, Any] = {
        "@type": f"{TYPES}.config.cluster.v3.Cluster",
        "name": upstream.name,
        "alt_stat_name": upstream.name.replace(".", "_"),  # dots would part the name in statistics
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "load_assignment": _assignment(upstream),
    }
    if upstream.picks_endpoint:
        result["load_balancing_policy"] = _picked_else_round_robin()
    if upstream.grpc:
        options = {
            "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        result["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}
    if upstream.tls:
        result["transport_socket"] = _tls_socket(upstream.tls, folder, grpc=upstream.grpc)
    return result


def _assignment(upstream: Upstream) -> dict[str, Any]:
    """Envoy's list of the cluster's endpoints."""
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}}}
        for host, port in upstream.endpoints
    ]
    return {"cluster_name": upstream.name, "endpoints": [{"lb_endpoints": hosts}] if hosts else []}


def _picked_else_round_robin() -> dict[str, Any]:
    """The endpoint in the request's metadata, where the picker's answer puts it; without one, round robin."""
    kinds = f"{TYPES}.extensions.load_balancing_policies"
    round_robin = {
        "name": "envoy.load_balancing_policies.round_robin",
        "typed_config": {"@type": f"{kinds}.round_robin.v3.RoundRobin"},
    }
    override = {
        "name": "envoy.load_balancing_policies.override_host",
        "typed_config": {
            "@type": f"{kinds}.override_host.v3.OverrideHost",
            "override_host_sources": [{"metadata": {"key": "envoy.lb", "path": [{"key": ENDPOINT_KEY}]}}],
            "fallback_policy": {"policies": [{"typed_extension_config": round_robin}]},
        },
    }
    return {"policies": [{"typed_extension_config": override}]}


def _tls_socket(tls: Tls, folder: str, *, grpc: bool) -> dict[str, Any]:
    """TLS to an upstream.

    A named authority must be there, but what it did not sign is accepted: the KServe that runs here signs the
    certificates of models itself, the product's has the platform's authority sign them.
    """
    common: dict[str, Any] = {"alpn_protocols": ["h2"]} if grpc else {}
    if tls.authority:
        common["validation_context"] = {
            "trusted_ca": {"filename": f"{folder.rpartition('/')[0]}{tls.authority}"},
            "trust_chain_verification": "ACCEPT_UNTRUSTED",
        }
    context: dict[str, Any] = {
        "@type": f"{TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    }
    if tls.server_name:
        context["sni"] = tls.server_name
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}
