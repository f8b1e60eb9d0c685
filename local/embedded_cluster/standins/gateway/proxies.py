"""Everything that the Envoy of a gateway's pod is told, as files below the folder of that pod."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from embedded_cluster.standins.gateway import envoy_routes, upstreams
from embedded_cluster.standins.gateway.gateways import tls_problem
from embedded_cluster.standins.gateway.objects import GATEWAY_NAME_LABEL, STATUS_PORT, child_name
from embedded_cluster.standins.gateway.routes import TableRule, route_table
from embedded_cluster.standins.gateway.settings import Settings, mesh_config
from embedded_cluster.standins.gateway.snapshot import Key, Object, Snapshot, key_of
from embedded_cluster.standins.gateway.upstreams import TYPES, Locate

STATS_PORT = 15090
ADMIN_PORT = 15000
SERVED = ("HTTP", "HTTPS")


@dataclass(frozen=True)
class ProxyConfig:
    """Configuration of one proxy pod: Envoy resources by file, relative to the pod's folder."""

    folder: str
    clusters: Mapping[str, Any]  # by name
    routes: Mapping[str, Any]  # by file
    listeners: tuple[Any, ...]


@dataclass(frozen=True)
class Machine:
    """What the configuration depends on beside the cluster.

    `locate` finds a pod's port on this machine, `port` says which port stands for one that a listener asks for, and
    `folder` is where the configuration of a pod lies, by the pod's uid.
    """

    locate: Locate
    port: Callable[[int], int]
    folder: Callable[[str], str]


def proxy_configs(snapshot: Snapshot, settings: Settings, machine: Machine) -> list[ProxyConfig]:
    """The configuration of every gateway pod that has an address."""
    gateways = {key_of(gateway): gateway for gateway in snapshot.all("Gateway")}
    pods = [(pod, gateways[gateway]) for pod in snapshot.all("Pod") if (gateway := _gateway_of(pod)) in gateways]
    if not pods:
        return []
    table = route_table(snapshot, settings)
    builder = upstreams.Upstreams(snapshot, settings, machine.locate)
    access_log = str(mesh_config(snapshot, settings).get("accessLogFile") or "")
    return [_config(pod, gateway, table, builder, snapshot, machine, access_log) for pod, gateway in pods]


def _gateway_of(pod: Object) -> Key | None:
    metadata = pod["metadata"]
    name = (metadata.get("labels") or {}).get(GATEWAY_NAME_LABEL)
    running = (pod.get("status") or {}).get("podIP") and not metadata.get("deletionTimestamp")
    return (metadata["namespace"], name) if name and running else None


def _config(
    pod: Object,
    gateway: Object,
    table: Mapping[tuple[Key, str], list[TableRule]],
    builder: upstreams.Upstreams,
    snapshot: Snapshot,
    machine: Machine,
    access_log: str,
) -> ProxyConfig:
    folder = machine.folder(pod["metadata"]["uid"])
    by_port: dict[int, list[Object]] = {}
    for listener in gateway["spec"]["listeners"]:
        if listener["protocol"] in SERVED and tls_problem(gateway, listener, snapshot) is None:
            by_port.setdefault(listener["port"], []).append(listener)
    rules = {port: _rules(gateway, listeners, table) for port, listeners in by_port.items()}
    found = builder.of(rule for pairs in rules.values() for _, rule in pairs)
    addresses = [machine.locate(pod["status"]["podIP"], 0)[0], *_load_balancer(gateway, snapshot)]
    listeners = [_health(addresses[0]), _stats(addresses[0])]
    for port, entries in by_port.items():
        chains = [_chain(gateway, entry, port, folder, snapshot, access_log) for entry in _one_per_chain(entries)]
        listeners.append(_listener(f"gateway-{port}", addresses, machine.port(port), chains))
    return ProxyConfig(
        folder=folder,
        clusters={name: upstreams.cluster(upstream, folder) for name, upstream in found.items()} | _admin(addresses[0]),
        routes={routes_file(port): _routes(port, pairs) for port, pairs in rules.items()},
        listeners=tuple(listeners),
    )


def routes_file(port: int) -> str:
    """Where the routes of a port stand, below the pod's folder."""
    return f"rds/{port}.json"


def _rules(
    gateway: Object, listeners: list[Object], table: Mapping[tuple[Key, str], list[TableRule]]
) -> list[tuple[str, TableRule]]:
    """(host name of the listener, rule) of everything attached to listeners of one port."""
    return [
        (listener.get("hostname") or "*", rule)
        for listener in listeners
        for rule in table.get((key_of(gateway), listener["name"]), [])
    ]


def _routes(port: int, rules: list[tuple[str, TableRule]]) -> dict[str, Any]:
    return {
        "@type": f"{TYPES}.config.route.v3.RouteConfiguration",
        "name": str(port),
        "ignore_port_in_host_matching": True,
        "virtual_hosts": envoy_routes.virtual_hosts(rules),
    }


def _load_balancer(gateway: Object, snapshot: Snapshot) -> list[str]:
    """Loopback addresses that the Gateway's Service got from the embedded cluster's load balancer."""
    service = snapshot.get("Service", gateway["metadata"]["namespace"], child_name(gateway))
    ingress = (((service or {}).get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [entry["ip"] for entry in ingress if (entry.get("ip") or "").startswith("127.")]


def _one_per_chain(listeners: list[Object]) -> list[Object]:
    """Plain listeners of a port share one filter chain; TLS listeners have one each, told apart by name."""
    plain = [listener for listener in listeners if listener["protocol"] == "HTTP"]
    return plain[:1] + [listener for listener in listeners if listener["protocol"] == "HTTPS"]


def _chain(
    gateway: Object, listener: Object, port: int, folder: str, snapshot: Snapshot, access_log: str
) -> dict[str, Any]:
    manager: dict[str, Any] = {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"gateway-{port}",
        "use_remote_address": True,
        "normalize_path": True,
        "rds": {
            "route_config_name": str(port),
            "config_source": {
                "path_config_source": {"path": f"{folder}/{routes_file(port)}"},
                "resource_api_version": "V3",
            },
        },
        "http_filters": [envoy_routes.picker_filter(), _router()],
    }
    if access_log:
        log = {"@type": f"{TYPES}.extensions.access_loggers.file.v3.FileAccessLog", "path": access_log}
        manager["access_log"] = [{"name": "envoy.access_loggers.file", "typed_config": log}]
    chain: dict[str, Any] = {"filters": [_manager_filter(manager)]}
    if listener["protocol"] == "HTTPS":
        if hostname := listener.get("hostname"):
            chain["filter_chain_match"] = {"server_names": [hostname]}
        chain["transport_socket"] = _serving_tls(gateway, listener, snapshot)
    return chain


def _serving_tls(gateway: Object, listener: Object, snapshot: Snapshot) -> dict[str, Any]:
    reference = listener["tls"]["certificateRefs"][0]
    namespace = reference.get("namespace", gateway["metadata"]["namespace"])
    secret = snapshot.get("Secret", namespace, reference["name"])
    assert secret is not None  # checked by tls_problem
    texts = {key: base64.b64decode(secret["data"][key]).decode() for key in ("tls.crt", "tls.key")}
    certificate = {
        "certificate_chain": {"inline_string": texts["tls.crt"]},
        "private_key": {"inline_string": texts["tls.key"]},
    }
    context = {
        "@type": f"{TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [certificate]},
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _listener(name: str, addresses: list[str], port: int, chains: list[Any]) -> dict[str, Any]:
    """A listener on the pod's address and the load balancer's; several pods of a gateway share the latter."""
    sockets = [{"socket_address": {"address": address, "port_value": port}} for address in addresses]
    result: dict[str, Any] = {
        "@type": f"{TYPES}.config.listener.v3.Listener",
        "name": name,
        "address": sockets[0],
        "additional_addresses": [{"address": socket} for socket in sockets[1:]],
        "filter_chains": chains,
    }
    if any("transport_socket" in chain for chain in chains):
        inspector = {"@type": f"{TYPES}.extensions.filters.listener.tls_inspector.v3.TlsInspector"}
        result["listener_filters"] = [{"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}]
    return result


def _health(address: str) -> dict[str, Any]:
    """/healthz/ready: answers as soon as there is a configuration, as the proxy's agent does."""
    ready = {"match": {"path": "/healthz/ready"}, "direct_response": {"status": 200}}
    return _fixed("health", address, STATUS_PORT, ready)


def _stats(address: str) -> dict[str, Any]:
    """/stats/prometheus, from Envoy's own administration."""
    stats = {"match": {"path": "/stats/prometheus"}, "route": {"cluster": "admin"}}
    return _fixed("stats", address, STATS_PORT, stats)


def _fixed(name: str, address: str, port: int, route: dict[str, Any]) -> dict[str, Any]:
    manager = {
        "@type": f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
        "http_filters": [_router()],
    }
    return _listener(name, [address], port, [{"filters": [_manager_filter(manager)]}])


def _manager_filter(manager: dict[str, Any]) -> dict[str, Any]:
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _router() -> dict[str, Any]:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{TYPES}.extensions.filters.http.router.v3.Router"},
    }


def _admin(address: str) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"socket_address": {"address": address, "port_value": ADMIN_PORT}}}}
    return {
        "admin": {
            "@type": f"{TYPES}.config.cluster.v3.Cluster",
            "name": "admin",
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": "admin", "endpoints": [{"lb_endpoints": [endpoint]}]},
        }
    }
