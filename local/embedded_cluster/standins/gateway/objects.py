"""The objects istiod makes for a Gateway that it manages (section 2.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml
from embedded_cluster.standins.gateway.settings import ProxyValues, Settings
from embedded_cluster.standins.gateway.snapshot import API_VERSIONS, GATEWAY_GROUP, Object, Snapshot
from embedded_cluster.standins.gateway.strategic_merge import PatchError, merge

FIELD_MANAGER = "istio.io/gateway-controller"
GATEWAY_NAME_LABEL = f"{GATEWAY_GROUP}/gateway-name"
MANAGED_LABEL = "gateway.istio.io/managed"
MANAGED_VALUE = "istio.io-gateway-controller"
SERVICE_TYPE_ANNOTATION = "networking.istio.io/service-type"
LAST_APPLIED_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
PATCHABLE = {
    "serviceAccount": "ServiceAccount",
    "deployment": "Deployment",
    "service": "Service",
    "horizontalPodAutoscaler": "HorizontalPodAutoscaler",
    "podDisruptionBudget": "PodDisruptionBudget",
}
STATUS_PORT = 15021
PROXY_USER = 1337


class TemplateError(Exception):
    """Nothing can be made for this Gateway; istiod only logs it (section 2.4)."""


def is_managed(gateway: Object) -> bool:
    """True when istiod makes the proxy: no address asked for, or a single IP address."""
    addresses = gateway["spec"].get("addresses") or []
    if len(addresses) == 1:
        return bool(addresses[0].get("type", "IPAddress") == "IPAddress")
    return not addresses


def child_name(gateway: Object) -> str:
    """`<gateway>-<class>`, the name of everything made for it."""
    return f"{gateway['metadata']['name']}-{gateway['spec']['gatewayClassName']}"


def inherited(gateway: Object, field: str, settings: Settings) -> dict[str, str]:
    """Labels or annotations (`field`) that the Gateway passes on to its children and pods.

    spec.infrastructure decides when it names the field, for labels and annotations separately; otherwise the
    Gateway's own are copied.
    """
    infrastructure = gateway["spec"].get("infrastructure") or {}
    if infrastructure.get(field) is not None:
        given = infrastructure[field]
        return {key: value for key, value in given.items() if not key.startswith(f"{GATEWAY_GROUP}/")}
    if not settings.copies_metadata:
        return {}
    own = gateway["metadata"].get(field) or {}
    return {key: value for key, value in own.items() if key != LAST_APPLIED_ANNOTATION}


def children(gateway: Object, snapshot: Snapshot, settings: Settings, values: ProxyValues) -> list[dict[str, Any]]:
    """ServiceAccount, Deployment, Service and, when asked for, autoscaler and disruption budget, in apply order.

    Raises TemplateError when parametersRef names a ConfigMap that is missing or holds no valid patch.
    """
    patches = _patches(gateway, snapshot)
    made = [_service_account(gateway), _deployment(gateway, settings, values), _service(gateway)]
    if "HorizontalPodAutoscaler" in patches:
        made.append(_autoscaler(gateway))
    if "PodDisruptionBudget" in patches:
        made.append(_disruption_budget(gateway))
    return [_patched(_owned(obj, gateway, settings), patches.get(obj["kind"])) for obj in made]


def _patches(gateway: Object, snapshot: Snapshot) -> dict[str, Mapping[str, Any]]:
    """Patches by kind from the ConfigMap of spec.infrastructure.parametersRef."""
    reference = (gateway["spec"].get("infrastructure") or {}).get("parametersRef")
    if not reference or (reference["group"], reference["kind"]) != ("", "ConfigMap"):
        return {}
    namespace, name = gateway["metadata"]["namespace"], reference["name"]
    config_map = snapshot.get("ConfigMap", namespace, name)
    if config_map is None:
        raise TemplateError(f'parametersRef targeting configmap "{namespace}/{name}", but configmap does not exist')
    found = {}
    for key, text in (config_map.get("data") or {}).items():
        if key not in PATCHABLE:
            continue
        try:
            patch = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise TemplateError(f'configmap "{namespace}/{name}" key {key}: no valid YAML: {error}') from error
        if patch is not None and not isinstance(patch, Mapping):
            raise TemplateError(f'configmap "{namespace}/{name}" key {key}: expected an object, found {patch!r}')
        found[PATCHABLE[key]] = patch or {}
    return found


def _patched(obj: dict[str, Any], patch: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        return merge(obj, patch) if patch else obj
    except PatchError as error:
        raise TemplateError(f"{obj['kind']} {obj['metadata']['name']}: {error}") from error


def _owned(obj: dict[str, Any], gateway: Object, settings: Settings) -> dict[str, Any]:
    """The object with the labels, annotations and owner of every child."""
    obj["metadata"] |= {
        "labels": {
            **inherited(gateway, "labels", settings),
            GATEWAY_NAME_LABEL: gateway["metadata"]["name"],
            MANAGED_LABEL: MANAGED_VALUE,
        },
        "annotations": inherited(gateway, "annotations", settings),
        "ownerReferences": [
            {
                "apiVersion": API_VERSIONS["Gateway"],
                "kind": "Gateway",
                "name": gateway["metadata"]["name"],
                "uid": gateway["metadata"]["uid"],
            }
        ],
    }
    return obj


def _child(gateway: Object, kind: str, **body: Any) -> dict[str, Any]:
    metadata = {"name": child_name(gateway), "namespace": gateway["metadata"]["namespace"]}
    return {"apiVersion": API_VERSIONS[kind], "kind": kind, "metadata": metadata, **body}


def _selector(gateway: Object) -> dict[str, str]:
    return {GATEWAY_NAME_LABEL: gateway["metadata"]["name"]}


def _service_account(gateway: Object) -> dict[str, Any]:
    return _child(gateway, "ServiceAccount")


def _service(gateway: Object) -> dict[str, Any]:
    annotations = gateway["metadata"].get("annotations") or {}
    spec: dict[str, Any] = {
        "type": annotations.get(SERVICE_TYPE_ANNOTATION, "LoadBalancer"),
        "ipFamilyPolicy": "PreferDualStack",
        "selector": _selector(gateway),
        "ports": [
            {"name": "status-port", "port": STATUS_PORT, "protocol": "TCP", "targetPort": STATUS_PORT}
            | {"appProtocol": "tcp"},
            *_listener_ports(gateway),
        ],
    }
    if spec["type"] in ("LoadBalancer", "NodePort"):
        spec["externalTrafficPolicy"] = "Cluster"
    addresses = gateway["spec"].get("addresses") or []
    if spec["type"] == "LoadBalancer" and addresses:
        spec["loadBalancerIP"] = addresses[0]["value"]
    return _child(gateway, "Service", spec=spec)


def _listener_ports(gateway: Object) -> list[dict[str, Any]]:
    """One Service port per port of the listeners, named after the first listener of that port."""
    ports: dict[int, dict[str, Any]] = {}
    for listener in gateway["spec"]["listeners"]:
        number = listener["port"]
        protocol = "UDP" if listener["protocol"] == "UDP" else "TCP"
        port = {"name": listener["name"], "port": number, "protocol": protocol, "targetPort": number}
        ports.setdefault(number, port | {"appProtocol": listener["protocol"].lower()})
    return list(ports.values())


def _autoscaler(gateway: Object) -> dict[str, Any]:
    target = {"apiVersion": API_VERSIONS["Deployment"], "kind": "Deployment", "name": child_name(gateway)}
    return _child(gateway, "HorizontalPodAutoscaler", spec={"scaleTargetRef": target, "maxReplicas": 1})


def _disruption_budget(gateway: Object) -> dict[str, Any]:
    return _child(gateway, "PodDisruptionBudget", spec={"selector": {"matchLabels": _selector(gateway)}})


def _deployment(gateway: Object, settings: Settings, values: ProxyValues) -> dict[str, Any]:
    labels = {
        **inherited(gateway, "labels", settings),
        **_selector(gateway),
        MANAGED_LABEL: MANAGED_VALUE,
        "service.istio.io/canonical-name": child_name(gateway),
        "service.istio.io/canonical-revision": "latest",
        "sidecar.istio.io/inject": "false",
    }
    annotations = {
        **inherited(gateway, "annotations", settings),
        "istio.io/rev": settings.revision,
        "prometheus.io/path": "/stats/prometheus",
        "prometheus.io/port": "15020",
        "prometheus.io/scrape": "true",
    }
    pod: dict[str, Any] = {
        "serviceAccountName": child_name(gateway),
        "securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]},
        "containers": [_proxy(gateway, settings, values)],
        "volumes": _volumes(),
    }
    if values.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in values.pull_secrets]
    rolling = {"maxSurge": "25%", "maxUnavailable": "25%"}
    spec = {
        "selector": {"matchLabels": _selector(gateway)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
    }
    return _child(gateway, "Deployment", spec=spec)


def _proxy(gateway: Object, settings: Settings, values: ProxyValues) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/healthz/ready", "port": STATUS_PORT}, "timeoutSeconds": 1, "successThreshold": 1}
    return {
        "name": "istio-proxy",
        "image": values.image,
        "imagePullPolicy": values.pull_policy,
        "args": [
            "proxy", "router",
            "--domain", f"$(POD_NAMESPACE).svc.{settings.domain}",
            "--proxyLogLevel", values.log_level,
            "--proxyComponentLogLevel", values.component_log_level,
            "--log_output_level", values.output_level,
        ],
        "ports": [
            {"name": "metrics", "containerPort": 15020, "protocol": "TCP"},
            {"name": "status-port", "containerPort": STATUS_PORT, "protocol": "TCP"},
            {"name": "http-envoy-prom", "containerPort": 15090, "protocol": "TCP"},
        ],
        "startupProbe": {**probe, "initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 30},
        "readinessProbe": {**probe, "initialDelaySeconds": 0, "periodSeconds": 15, "failureThreshold": 4},
        "resources": dict(values.resources),
        "securityContext": {
            "runAsUser": PROXY_USER,
            "runAsGroup": PROXY_USER,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "env": _environment(gateway, settings, values),
        "volumeMounts": [
            {"name": "workload-socket", "mountPath": "/var/run/secrets/workload-spiffe-uds"},
            {"name": "credential-socket", "mountPath": "/var/run/secrets/credential-uds"},
            {"name": "workload-certs", "mountPath": "/var/run/secrets/workload-spiffe-credentials"},
            {"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio"},
            {"name": "istio-data", "mountPath": "/var/lib/istio/data"},
            {"name": "istio-envoy", "mountPath": "/etc/istio/proxy"},
            {"name": "istio-token", "mountPath": "/var/run/secrets/tokens"},
            {"name": "istio-podinfo", "mountPath": "/etc/istio/pod"},
        ],
    }  # fmt: skip


def _environment(gateway: Object, settings: Settings, values: ProxyValues) -> list[dict[str, Any]]:
    namespace, name = gateway["metadata"]["namespace"], child_name(gateway)
    pod_fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "INSTANCE_IP": "status.podIP",
        "SERVICE_ACCOUNT": "spec.serviceAccountName",
        "HOST_IP": "status.hostIP",
        "ISTIO_META_NODE_NAME": "spec.nodeName",
    }
    limits = {
        "ISTIO_CPU_LIMIT": "limits.cpu",
        "GOMEMLIMIT": "limits.memory",
        "GOMAXPROCS": "limits.cpu",
    }
    fixed = {
        "PILOT_CERT_PROVIDER": "istiod",
        "CA_ADDR": f"istiod{settings.suffix}.{settings.namespace}.svc:15012",
        "PROXY_CONFIG": json.dumps({"proxyMetadata": dict(values.proxy_metadata)} if values.proxy_metadata else {}),
        "ISTIO_META_POD_PORTS": "[]",
        "ISTIO_META_APP_CONTAINERS": "",
        "ISTIO_META_CLUSTER_ID": settings.cluster_id,
        "ISTIO_META_INTERCEPTION_MODE": "REDIRECT",
        "ISTIO_META_WORKLOAD_NAME": name,
        "ISTIO_META_OWNER": f"kubernetes://apis/apps/v1/namespaces/{namespace}/deployments/{name}",
        "ISTIO_META_MESH_ID": values.mesh_id,
        "TRUST_DOMAIN": values.trust_domain,
        **values.proxy_metadata,
    }
    return [
        *({"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in pod_fields.items()),
        *({"name": key, "valueFrom": {"resourceFieldRef": {"resource": path}}} for key, path in limits.items()),
        *({"name": key, "value": value} for key, value in fixed.items()),
    ]


def _volumes() -> list[dict[str, Any]]:
    token = {"serviceAccountToken": {"path": "istio-token", "expirationSeconds": 43200, "audience": "istio-ca"}}
    podinfo = [{"path": field, "fieldRef": {"fieldPath": f"metadata.{field}"}} for field in ("labels", "annotations")]
    return [
        {"name": "workload-socket", "emptyDir": {}},
        {"name": "credential-socket", "emptyDir": {}},
        {"name": "workload-certs", "emptyDir": {}},
        {"name": "istio-envoy", "emptyDir": {"medium": "Memory"}},
        {"name": "istio-data", "emptyDir": {}},
        {"name": "istio-podinfo", "downwardAPI": {"items": podinfo}},
        {"name": "istio-token", "projected": {"sources": [token]}},
        {"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}},
    ]
