"""A realistic cluster as the API server would list it, for the report tests.

The platform of release 3.4 on aws with one model of two replicas on two L4
nodes: names and states from the facts (platform.md 7, models.md 3.1,
observed-gateway.md 2 to 5). Everything is a function, so a test changes what
it needs and nothing leaks into the next.
"""

from __future__ import annotations

from typing import Any

from inference_platform.report.context import Context, Objects, Timing
from inference_platform.report.observation import ClusterIdentity, Observation
from inference_platform.report.observe import observe

NOW = "2026-03-14T09:26:53Z"
ADDRESS = "k8s-redhatod-inferenc-4f1d0a2c7b.elb.us-east-1.amazonaws.com"

Object = dict[str, Any]

DEPLOYMENTS = [
    ("cert-manager", "cert-manager", 1),
    ("cert-manager", "cert-manager-cainjector", 1),
    ("cert-manager", "cert-manager-webhook", 1),
    ("cert-manager-operator", "cert-manager-operator-controller-manager", 1),
    ("istio-system", "istiod", 1),
    ("istio-system", "servicemesh-operator3", 1),
    ("openshift-lws-operator", "lws-controller-manager", 2),
    ("openshift-lws-operator", "openshift-lws-operator", 1),
    ("redhat-ods-applications", "inference-gateway-istio", 1),
    ("redhat-ods-applications", "llmisvc-controller-manager", 1),
    ("redhat-ods-operator", "rhai-operator", 3),
    ("rhai-cloudmanager-system", "aws-cloud-manager-operator", 1),
]

SERVICES: list[tuple[str, str, list[int]]] = [
    ("cert-manager", "cert-manager", [9402]),
    ("cert-manager", "cert-manager-cainjector", [9402]),
    ("cert-manager", "cert-manager-webhook", [443, 9402]),
    ("cert-manager-operator", "cert-manager-operator-controller-manager-metrics-service", [8443]),
    ("istio-system", "istiod", [15010, 15012, 443, 15014]),
    ("istio-system", "servicemesh-operator3-metrics-service", [8443]),
    ("openshift-lws-operator", "lws-controller-manager-metrics-service", [8443]),
    ("openshift-lws-operator", "lws-webhook-service", [443]),
    ("redhat-ods-applications", "inference-gateway-istio", [15021, 80]),
    ("redhat-ods-applications", "llmisvc-controller-manager-service", [8443]),
    ("redhat-ods-applications", "llmisvc-webhook-server-service", [443]),
    ("redhat-ods-operator", "rhai-operator-controller-manager-metrics-service", [8443]),
    ("redhat-ods-operator", "rhai-operator-webhook-service", [443]),
]

CRDS = {
    "gateway-api": (
        "v1.4.0",
        [
            f"{kind}.gateway.networking.k8s.io"
            for kind in (
                "backendtlspolicies",
                "gatewayclasses",
                "gateways",
                "grpcroutes",
                "httproutes",
                "referencegrants",
            )
        ],
    ),
    "cert-manager": (
        "v1.18.4",
        [
            "certificaterequests.cert-manager.io",
            "certificates.cert-manager.io",
            "challenges.acme.cert-manager.io",
            "clusterissuers.cert-manager.io",
            "issuers.cert-manager.io",
            "orders.acme.cert-manager.io",
        ],
    ),
    "cert-manager-operator": (
        "v1.18.0",
        ["certmanagers.operator.openshift.io", "istiocsrs.operator.openshift.io"],
    ),
    "istio": (
        "v1.27.5",
        [
            *(
                f"{kind}.networking.istio.io"
                for kind in (
                    "destinationrules",
                    "envoyfilters",
                    "gateways",
                    "proxyconfigs",
                    "serviceentries",
                    "sidecars",
                    "virtualservices",
                    "workloadentries",
                    "workloadgroups",
                )
            ),
            "authorizationpolicies.security.istio.io",
            "peerauthentications.security.istio.io",
            "requestauthentications.security.istio.io",
            "telemetries.telemetry.istio.io",
            "wasmplugins.extensions.istio.io",
        ],
    ),
    "sail-operator": (
        "3.2.2",
        [
            f"{kind}.sailoperator.io"
            for kind in ("istiocnis", "istiorevisions", "istiorevisiontags", "istios", "ztunnels")
        ],
    ),
    "lws-operator": ("1.0.1", ["leaderworkersetoperators.operator.openshift.io"]),
    "inference-extension": (
        "v1.3.1",
        [
            "inferencemodelrewrites.inference.networking.x-k8s.io",
            "inferenceobjectives.inference.networking.x-k8s.io",
            "inferencepoolimports.inference.networking.x-k8s.io",
            "inferencepools.inference.networking.k8s.io",
            "inferencepools.inference.networking.x-k8s.io",
        ],
    ),
    "kserve-llmisvc": (
        "3.4.4",
        ["llminferenceserviceconfigs.serving.kserve.io", "llminferenceservices.serving.kserve.io"],
    ),
    "cloud-manager": ("3.5.0", ["awskubernetesengines.infrastructure.opendatahub.io"]),
    "rhai-operator": ("3.4.4", ["kserves.components.platform.opendatahub.io"]),
}

# name, title, ownership, needs, releases (name, namespace), CRD sets, seconds
LAYERS: list[tuple[str, str, str, list[str], list[tuple[str, str]], list[str], float]] = [
    ("namespaces", "Namespaces and pull secrets", "managed", [], [], [], 0.41),
    ("gateway_api", "Gateway API", "managed", [], [], ["gateway-api"], 0.92),
    (
        "cert_manager",
        "cert-manager",
        "managed",
        ["namespaces"],
        [("cert-manager-operator", "cert-manager-operator")],
        ["cert-manager", "cert-manager-operator"],
        6.84,
    ),
    ("inference_extension", "Inference extension", "managed", [], [], ["inference-extension"], 0.63),
    (
        "kserve",
        "KServe",
        "managed",
        ["namespaces"],
        [("kserve", "redhat-ods-applications")],
        ["kserve-llmisvc"],
        1.27,
    ),
    (
        "cloud_manager",
        "Cloud manager",
        "managed",
        ["namespaces", "gateway_api", "cert_manager"],
        [
            ("cloud-manager", "rhai-cloudmanager-system"),
            ("kubernetes-engine", "rhai-cloudmanager-system"),
        ],
        ["cloud-manager"],
        5.18,
    ),
    (
        "sail",
        "Sail and Istio",
        "delegated",
        ["namespaces", "gateway_api", "cloud_manager"],
        [],
        ["istio", "sail-operator"],
        4.46,
    ),
    (
        "lws",
        "LeaderWorkerSet",
        "delegated",
        ["namespaces", "cert_manager", "cloud_manager"],
        [],
        ["lws-operator"],
        3.05,
    ),
    ("pki", "PKI", "managed", ["cert_manager", "cloud_manager"], [], [], 0.74),
    (
        "platform_operator",
        "Platform operator",
        "managed",
        ["pki"],
        [("rhai-operator", "redhat-ods-operator")],
        ["rhai-operator"],
        3.62,
    ),
    (
        "kserve_instance",
        "Kserve instance",
        "managed",
        ["platform_operator", "sail", "lws", "kserve", "inference_extension"],
        [("kserve-instance", "redhat-ods-applications")],
        [],
        7.39,
    ),
    (
        "inference_gateway",
        "Inference gateway",
        "managed",
        ["sail", "pki", "kserve_instance"],
        [("inference-gateway", "redhat-ods-applications")],
        [],
        2.11,
    ),
]


def platform() -> Object:
    """A plan as a dict, with the parts the report reads."""
    return {
        "release": "3.4",
        "version": "3.4.4",
        "distribution": "redhat",
        "provider": "aws",
        "engine_line": "3.5",
        "namespaces": {
            "cert_manager": "cert-manager",
            "cert_manager_operator": "cert-manager-operator",
            "istio": "istio-system",
            "lws": "openshift-lws-operator",
            "applications": "redhat-ods-applications",
            "operator": "redhat-ods-operator",
            "cloud_manager": "rhai-cloudmanager-system",
        },
        "ownership": {
            "gateway_api": "managed",
            "cert_manager": "managed",
            "sail": "delegated",
            "lws": "delegated",
        },
        "layers": [
            {
                "name": name,
                "title": title,
                "ownership": ownership,
                "needs": needs,
                "releases": [{"name": r, "chart": r, "namespace": ns} for r, ns in releases],
                "crds": crds,
            }
            for name, title, ownership, needs, releases, crds, _ in LAYERS
        ],
        "crds": {
            name: {"version": version, "files": [{"name": crd} for crd in crds]}
            for name, (version, crds) in CRDS.items()
        },
        "gates": {name: _gate(name) for name, *_ in LAYERS},
        "serving": {
            "gateway": {
                "name": "inference-gateway",
                "namespace": "redhat-ods-applications",
                "address_required": True,
            },
            "gpu": {"resource": "nvidia.com/gpu", "product_label": "nvidia.com/gpu.product"},
        },
    }


def _gate(layer: str) -> list[Object]:
    """The Deployments of a layer, and for some layers one of each other kind of check."""
    checks = [deployment_check(home, name) for home, name, owner in DEPLOYMENT_LAYERS if owner == layer]
    return checks + OTHER_CHECKS.get(layer, [])


def deployment_check(namespace: str, name: str) -> Object:
    return {"check": "deployment", "namespace": namespace, "name": name}


DEPLOYMENT_LAYERS = [
    ("cert-manager", "cert-manager", "cert_manager"),
    ("cert-manager", "cert-manager-cainjector", "cert_manager"),
    ("cert-manager", "cert-manager-webhook", "cert_manager"),
    ("cert-manager-operator", "cert-manager-operator-controller-manager", "cert_manager"),
    ("istio-system", "istiod", "sail"),
    ("istio-system", "servicemesh-operator3", "sail"),
    ("openshift-lws-operator", "lws-controller-manager", "lws"),
    ("openshift-lws-operator", "openshift-lws-operator", "lws"),
    ("redhat-ods-applications", "inference-gateway-istio", "inference_gateway"),
    ("redhat-ods-applications", "llmisvc-controller-manager", "kserve_instance"),
    ("redhat-ods-operator", "rhai-operator", "platform_operator"),
    ("rhai-cloudmanager-system", "aws-cloud-manager-operator", "cloud_manager"),
]

OTHER_CHECKS: dict[str, list[Object]] = {
    "namespaces": [
        {
            "check": "exists",
            "api_version": "v1",
            "kind": "Secret",
            "name": "rhai-pull-secret",
            "namespace": "istio-system",
        }
    ],
    "gateway_api": [{"check": "crds", "names": CRDS["gateway-api"][1]}],
    "cert_manager": [
        {
            "check": "dry_run",
            "object": {
                "apiVersion": "cert-manager.io/v1",
                "kind": "ClusterIssuer",
                "metadata": {"name": "gate"},
                "spec": {"selfSigned": {}},
            },
        }
    ],
    "inference_gateway": [
        {
            "check": "condition",
            "api_version": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "name": "inference-gateway",
            "namespace": "redhat-ods-applications",
            "type": "Programmed",
            "status": "True",
            "generation": "current",
        }
    ],
}


def objects() -> Objects:
    """The lists of a finished installation with one model."""
    return Objects(
        namespaces=[namespace(name) for name in sorted({home for home, _, _ in DEPLOYMENTS} | {"llm"})],
        deployments=[deployment(*entry) for entry in DEPLOYMENTS],
        services=[service(*entry) for entry in SERVICES],
        pods=pods(),
        nodes=nodes(),
        established_crds=frozenset(name for _, names in CRDS.values() for name in names),
        gateways=[gateway()],
        gateway_classes=[{"metadata": {"name": "istio"}, "status": {"conditions": [is_true("Accepted")]}}],
        models=[model()],
        routes=[accepted_by_gateway("qwen-basic-kserve-route")],
        pools=[accepted_by_gateway("qwen-basic-inference-pool")],
    )


def context(**changes: Any) -> Context:
    """Everything measured and checked, nothing wrong."""
    values: dict[str, Any] = {
        "generated_at": NOW,
        "inventory": "eks",
        "cluster": ClusterIdentity("inference-demo", "v1.34.4"),
        "timings": {
            **{name: Timing(seconds, True) for name, *_, seconds in LAYERS},
            "models": Timing(4.2, True),
        },
        "layer_problems": {name: () for name, *_ in LAYERS},
    }
    return Context(**(values | changes))


def observation(**changes: Any) -> Observation:
    """The observation of :func:`objects` for :func:`platform`."""
    return observe(objects(), platform(), context(**changes))


def namespace(name: str) -> Object:
    return {"metadata": {"name": name}, "status": {"phase": "Active"}}


def deployment(home: str, name: str, replicas: int, ready: int | None = None) -> Object:
    ready = replicas if ready is None else ready
    return {
        "metadata": {"namespace": home, "name": name, "generation": 1},
        "spec": {"replicas": replicas},
        "status": {
            "observedGeneration": 1,
            "replicas": replicas,
            "readyReplicas": ready,
            "updatedReplicas": replicas,
            "availableReplicas": ready,
        },
    }


def service(home: str, name: str, ports: list[int]) -> Object:
    external = name == "inference-gateway-istio"
    return {
        "metadata": {"namespace": home, "name": name},
        "spec": {
            "type": "LoadBalancer" if external else "ClusterIP",
            "clusterIP": "10.100.31.7",
            "ports": [{"port": port, "protocol": "TCP"} for port in ports],
        },
        "status": {"loadBalancer": {"ingress": [{"hostname": ADDRESS}]} if external else {}},
    }


def gateway() -> Object:
    return {
        "metadata": {"namespace": "redhat-ods-applications", "name": "inference-gateway", "generation": 1},
        "spec": {
            "gatewayClassName": "istio",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
        "status": {
            "addresses": [{"type": "Hostname", "value": ADDRESS}],
            "conditions": [is_true("Accepted"), is_true("Programmed")],
            "listeners": [{"name": "http", "attachedRoutes": 1}],
        },
    }


def model(name: str = "qwen-basic") -> Object:
    return {
        "metadata": {
            "namespace": "llm",
            "name": name,
            "generation": 1,
            "labels": {"inference-platform.io/model": name},
        },
        "spec": {
            "replicas": 2,
            "model": {"uri": "hf://Qwen/Qwen2.5-0.5B-Instruct", "name": "Qwen/Qwen2.5-0.5B-Instruct"},
        },
        "status": {
            "observedGeneration": 1,
            "url": f"http://{ADDRESS}/llm/{name}",
            "conditions": [
                is_true(kind)
                for kind in (
                    "HTTPRoutesReady",
                    "InferencePoolReady",
                    "MainWorkloadReady",
                    "PresetsCombined",
                    "Ready",
                    "RouterReady",
                    "SchedulerWorkloadReady",
                    "WorkloadsReady",
                )
            ],
        },
    }


def is_true(kind: str) -> Object:
    return {"type": kind, "status": "True", "observedGeneration": 1}


def accepted_by_gateway(name: str, owner: str = "qwen-basic") -> Object:
    """A route or pool of a model, accepted with its references resolved."""
    return {
        "metadata": {
            "namespace": "llm",
            "name": name,
            "ownerReferences": [{"kind": "LLMInferenceService", "name": owner}],
        },
        "status": {"parents": [{"conditions": [is_true("Accepted"), is_true("ResolvedRefs")]}]},
    }


def pods() -> list[Object]:
    return [
        pod("qwen-basic-kserve-6d9f7c5b84-4xkzq", "workload", "ip-10-0-1-21.ec2.internal", gpus=1),
        pod("qwen-basic-kserve-6d9f7c5b84-tm8wd", "workload", "ip-10-0-2-37.ec2.internal", gpus=1),
        pod("qwen-basic-kserve-router-scheduler-7c6d8f9b5-l2vnp", "router-scheduler", "ip-10-0-1-5.ec2.internal"),
    ]


def pod(name: str, component: str, node: str, gpus: int = 0, owner: str = "qwen-basic") -> Object:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {"cpu": "500m"}
    return {
        "metadata": {
            "namespace": "llm",
            "name": name,
            "labels": {
                "app.kubernetes.io/name": owner,
                "app.kubernetes.io/part-of": "llminferenceservice",
                "app.kubernetes.io/component": f"llminferenceservice-{component}",
            },
        },
        "spec": {"nodeName": node, "containers": [{"name": "main", "resources": {"limits": limits}}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"restartCount": 0, "state": {"running": {}}}],
        },
    }


def nodes() -> list[Object]:
    return [
        node("ip-10-0-1-5.ec2.internal", "m6i.xlarge", "4", "16Gi"),
        node("ip-10-0-1-21.ec2.internal", "g6.2xlarge", "8", "32Gi", gpus=1),
        node("ip-10-0-2-18.ec2.internal", "m6i.xlarge", "4", "16Gi"),
        node("ip-10-0-2-37.ec2.internal", "g6.2xlarge", "8", "32Gi", gpus=1),
    ]


def node(name: str, instance_type: str, cpu: str, memory: str, gpus: int = 0) -> Object:
    labels = {"node.kubernetes.io/instance-type": instance_type}
    capacity = {"cpu": cpu, "memory": memory}
    if gpus:
        labels["nvidia.com/gpu.product"] = "NVIDIA-L4"
        capacity["nvidia.com/gpu"] = str(gpus)
    return {
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": capacity, "conditions": [{"type": "Ready", "status": "True"}]},
    }
