"""Small Kubernetes objects for the gateway tests: a platform Gateway, a model's route, pool and Services."""

from __future__ import annotations

from typing import Any

from embedded_cluster.standins.gateway.settings import Settings
from embedded_cluster.standins.gateway.snapshot import Snapshot

Object = dict[str, Any]
NOW = "2026-01-01T00:00:00Z"
PLATFORM = "redhat-ods-applications"
GATEWAY = "inference-gateway"
CHILD = "inference-gateway-istio"
HOST = f"{CHILD}.{PLATFORM}.svc.cluster.local"
V1 = "inference.networking.k8s.io"
X = "inference.networking.x-k8s.io"
SETTINGS = Settings(inference_extension=True)


def meta(name: str, namespace: str = "", **extra: Any) -> Object:
    found = {"name": name, "uid": f"uid-{name}", "generation": 1, "resourceVersion": "1"}
    return found | ({"namespace": namespace} if namespace else {}) | extra


def http(name: str = "http", port: int = 80, **extra: Any) -> Object:
    return {"name": name, "port": port, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}} | extra


def gateway(*listeners: Object, name: str = GATEWAY, **extra: Any) -> Object:
    spec = {"gatewayClassName": "istio", "listeners": list(listeners) or [http()]} | extra.pop("spec", {})
    return {"kind": "Gateway", "metadata": meta(name, PLATFORM), "spec": spec} | extra


def route(*backends: Object, name: str = "qwen", namespace: str = "llm", **spec: Any) -> Object:
    rules = spec.pop("rules", [{"backendRefs": list(backends)}] if backends else [{}])
    parents = spec.pop("parentRefs", [{"name": GATEWAY, "namespace": PLATFORM}])
    status = {"status": spec.pop("status")} if "status" in spec else {}
    body = {"parentRefs": parents, "rules": rules} | spec
    return {"kind": "HTTPRoute", "metadata": meta(name, namespace), "spec": body} | status


def to_service(name: str = "web", **extra: Any) -> Object:
    return {"group": "", "kind": "Service", "name": name, "port": 80} | extra


def to_pool(name: str = "qwen-inference-pool", group: str = V1, **extra: Any) -> Object:
    return {"group": group, "kind": "InferencePool", "name": name, "port": 8000} | extra


def service(name: str = "web", namespace: str = "llm", **extra: Any) -> Object:
    spec = {"type": "ClusterIP", "selector": {"app": name}, "ports": [{"port": 80}]} | extra.pop("spec", {})
    return {"kind": "Service", "metadata": meta(name, namespace), "spec": spec} | extra


def gateway_service(*ingress: Object, ports: tuple[int, ...] = (80,), kind: str = "LoadBalancer") -> Object:
    offered = [{"port": port, "targetPort": port} for port in (15021, *ports)]
    selector = {"gateway.networking.k8s.io/gateway-name": GATEWAY}
    spec = {"type": kind, "selector": selector, "ports": offered}
    status = {"loadBalancer": {"ingress": list(ingress)} if ingress else {}}
    return {"kind": "Service", "metadata": meta(CHILD, PLATFORM), "spec": spec, "status": status}


def gateway_pod(ip: str | None = "10.0.0.9", phase: str = "Running") -> Object:
    labels = {"gateway.networking.k8s.io/gateway-name": GATEWAY}
    status = {"phase": phase} | ({"podIP": ip} if ip else {})
    return {"kind": "Pod", "metadata": meta(f"{CHILD}-0", PLATFORM, labels=labels), "spec": {}, "status": status}


def pool(name: str = "qwen-inference-pool", namespace: str = "llm", **spec: Any) -> Object:
    picker = {"group": "", "kind": "Service", "name": "qwen-epp-service", "port": {"number": 9002}}
    body = {
        "selector": {"matchLabels": {"app": "qwen"}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {**picker, "failureMode": "FailOpen"},
    } | spec
    return {"kind": "InferencePool", "metadata": meta(name, namespace), "spec": body}


def namespace(name: str, **labels: str) -> Object:
    return {"kind": "Namespace", "metadata": meta(name, labels=labels)}


def grant(to_group: str, to_kind: str, *, source: str = "llm", target: str = "shared", name: str = "") -> Object:
    to = {"group": to_group, "kind": to_kind} | ({"name": name} if name else {})
    given = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": source}
    return {"kind": "ReferenceGrant", "metadata": meta("grant", target), "spec": {"from": [given], "to": [to]}}


def snapshot(*objects: Object) -> Snapshot:
    return Snapshot.of(objects)


def conditions(status: Object) -> dict[str, tuple[str, str, str]]:
    """type -> (status, reason, message)"""
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}
