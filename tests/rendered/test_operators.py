"""The operators' Deployments, Services and settings, as their sources list them.

Sources: operators.md 1.2, 2.2 and 3.2; platform.md 1.1, 1.2, 1.6 and 2.1.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rendered.charts import IMAGE, Case, Helm, case, named

HEALTH = {
    "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8081}, "initialDelaySeconds": 15, "periodSeconds": 20},
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8081}, "initialDelaySeconds": 5, "periodSeconds": 10},
}
MANAGER_ARGS = ["--health-probe-bind-address=:8081", "--metrics-bind-address=0.0.0.0:8080", "--leader-elect"]

# What each container must be started with; "name" is the container's, the key the Deployment's.
CONTAINERS: dict[str, tuple[Case, dict[str, Any]]] = {
    "cert-manager-operator-controller-manager": (
        case("cert-manager-operator"),
        {
            "name": "cert-manager-operator",
            "command": ["/usr/bin/cert-manager-operator"],
            "args": [
                "start",
                "--v=$(OPERATOR_LOG_LEVEL)",
                "--trusted-ca-configmap=$(TRUSTED_CA_CONFIGMAP_NAME)",
                "--cloud-credentials-secret=$(CLOUD_CREDENTIALS_SECRET_NAME)",
                "--unsupported-addon-features=$(UNSUPPORTED_ADDON_FEATURES)",
            ],
            "imagePullPolicy": "IfNotPresent",
            "ports": [{"name": "https", "containerPort": 8443, "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            "livenessProbe": None,
            "readinessProbe": None,
        },
    ),
    "servicemesh-operator3": (
        case("sail-operator"),
        {
            "name": "sail-operator",
            "command": ["/usr/local/bin/sail-operator"],
            "args": ["--health-probe-bind-address=:8081", "--metrics-bind-address=:8443", "--zap-log-level=info"],
            "env": None,
            "ports": None,
            "resources": {
                "requests": {"cpu": "10m", "memory": "64Mi"},
                "limits": {"cpu": "500m", "memory": "1Gi"},
            },
            **HEALTH,
        },
    ),
    "openshift-lws-operator": (
        case("lws-operator"),
        {
            "command": ["lws-operator"],
            "args": ["operator"],
            "imagePullPolicy": "Always",
            "ports": [{"name": "metrics", "containerPort": 8443, "protocol": "TCP"}],
            "resources": None,
            "livenessProbe": None,
            "readinessProbe": None,
        },
    ),
    "rhai-operator": (
        case("rhai-operator"),
        {
            "name": "rhai-operator",
            "command": ["/manager"],
            "args": MANAGER_ARGS,
            "imagePullPolicy": "Always",
            "ports": [
                {"name": "webhook-server", "containerPort": 9443, "protocol": "TCP"},
                {"name": "http", "containerPort": 8080, "protocol": "TCP"},
            ],
            "resources": {
                "requests": {"cpu": "500m", "memory": "256Mi"},
                "limits": {"cpu": "500m", "memory": "4Gi"},
            },
            **HEALTH,
        },
    ),
    "azure-cloud-manager-operator": (
        case("cloud-manager"),
        {
            "command": ["/cloudmanager"],
            "args": ["azure", *MANAGER_ARGS],
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "resources": {
                "requests": {"cpu": "100m", "memory": "780Mi"},
                "limits": {"cpu": "1000m", "memory": "4Gi"},
            },
            **HEALTH,
        },
    ),
    "aws-cloud-manager-operator": (
        case("cloud-manager", "aws-3.5"),
        {
            "command": ["/cloudmanager"],
            "args": ["aws", *MANAGER_ARGS],
            "resources": {
                "requests": {"cpu": "100m", "memory": "512Mi"},
                "limits": {"cpu": "500m", "memory": "1Gi"},
            },
            **HEALTH,
        },
    ),
}

# Replicas, ServiceAccount and selector of each Deployment. A selector can never be changed.
DEPLOYMENTS: dict[str, tuple[int, str, dict[str, str]]] = {
    "cert-manager-operator-controller-manager": (
        1,
        "cert-manager-operator-controller-manager",
        {"name": "cert-manager-operator"},
    ),
    "servicemesh-operator3": (
        1,
        "servicemesh-operator3",
        {
            "app.kubernetes.io/created-by": "servicemeshoperator3",
            "app.kubernetes.io/part-of": "servicemeshoperator3",
            "control-plane": "servicemesh-operator3",
        },
    ),
    "openshift-lws-operator": (1, "openshift-lws-operator", {"name": "openshift-lws-operator"}),
    "rhai-operator": (3, "rhai-operator-controller-manager", {"name": "rhai-operator"}),
    "azure-cloud-manager-operator": (
        1,
        "azure-cloud-manager-operator",
        {"name": "azure-cloud-manager-operator", "control-plane": "controller-manager"},
    ),
    "aws-cloud-manager-operator": (
        1,
        "aws-cloud-manager-operator",
        {"name": "aws-cloud-manager-operator", "control-plane": "controller-manager"},
    ),
}

# Environment with fixed values; images and versions of the operands are checked with the catalogue.
CA_ENV = {
    "RHAI_CA_SECRET_NAME": "rhai-ca",
    "RHAI_CA_SECRET_NAMESPACE": "cert-manager",
    "RHAI_ISSUER_REF_NAME": "rhai-ca-issuer",
}
COMPONENTS_OFF = [
    "DASHBOARD", "DATASCIENCEPIPELINES", "FEASTOPERATOR", "KUEUE", "LLAMASTACKOPERATOR", "MLFLOWOPERATOR",
    "MODELCONTROLLER", "MODELREGISTRY", "MODELSASSERVICE", "RAY", "SPARKOPERATOR", "TRAINER", "TRAININGOPERATOR",
    "TRUSTYAI", "WORKBENCHES",
]  # fmt: skip
SERVICES_OFF = ["AUTH", "CERTCONFIGMAPGENERATOR", "GATEWAY", "MONITORING", "SETUPCONTROLLER"]
OFF = [
    "DISABLE_DSC_CONFIG",
    "RHAI_DISABLE_DSC_RESOURCE",
    "RHAI_DISABLE_DSCI_RESOURCE",
    *(f"RHAI_DISABLE_{name}_COMPONENT" for name in COMPONENTS_OFF),
    *(f"RHAI_DISABLE_{name}_SERVICE" for name in SERVICES_OFF),
]
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "cert-manager-operator-controller-manager": {
        "WATCH_NAMESPACE": "",
        "POD_NAME": "metadata.name",
        "OPERATOR_NAME": "cert-manager-operator",
        "OPERATOR_LOG_LEVEL": "2",
        "OPERAND_IMAGE_VERSION": "1.18.4",
        "ISTIOCSR_OPERAND_IMAGE_VERSION": "0.14.2",
        "OPERATOR_IMAGE_VERSION": "1.18.1",
        "TRUSTED_CA_CONFIGMAP_NAME": "",
        "CLOUD_CREDENTIALS_SECRET_NAME": "",
        "UNSUPPORTED_ADDON_FEATURES": "",
    },
    "openshift-lws-operator": {"OPERATOR_NAME": "openshift-lws-operator"},
    "rhai-operator": {
        "ODH_PLATFORM_TYPE": "XKS",
        "RHAI_VERSION": "3.4.4",
        "RHAI_APPLICATIONS_NAMESPACE": "redhat-ods-applications",
        "OPERATOR_NAME": "rhai-operator",
        "OPERATOR_NAMESPACE": "metadata.namespace",
        "DEFAULT_MANIFESTS_PATH": "/opt/manifests",
        "RHAI_ISTIO_CA_CERTIFICATE_PATH": "/var/run/secrets/rhai/ca.crt",
        **CA_ENV,
        **dict.fromkeys(OFF, "true"),
    },
    "azure-cloud-manager-operator": {
        "RHAI_OPERATOR_NAMESPACE": "redhat-ods-operator",
        "RHAI_WEBHOOK_CERT_SECRET_NAME": "rhai-operator-controller-webhook-cert",
        "RHAI_WEBHOOK_SERVICE_NAME": "rhai-operator-webhook-service",
        "RHAI_WEBHOOK_CERT_NAME": "rhai-operator-webhook-cert",
        "OPERATOR_NAMESPACE": "metadata.namespace",
        "DEFAULT_CHARTS_PATH": "/opt/charts",
        **CA_ENV,
    },
}
ENVIRONMENTS["aws-cloud-manager-operator"] = ENVIRONMENTS["azure-cloud-manager-operator"]

SERVICES: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("cert-manager-operator", "cert-manager-operator-controller-manager-metrics-service"): [
        {"name": "https", "port": 8443, "targetPort": "https", "protocol": "TCP"}
    ],
    ("sail-operator", "servicemesh-operator3-metrics-service"): [
        {"name": "https", "port": 8443, "targetPort": 8443, "protocol": "TCP"}
    ],
    ("rhai-operator", "rhai-operator-controller-manager-metrics-service"): [
        {"name": "http", "port": 8443, "targetPort": "http", "protocol": "TCP"}
    ],
    ("rhai-operator", "rhai-operator-webhook-service"): [
        {"name": "webhook-server", "port": 443, "targetPort": 9443, "protocol": "TCP"}
    ],
}


def _pod(helm: Helm, deployment: str) -> dict[str, Any]:
    objects = helm.objects(CONTAINERS[deployment][0])
    pod: dict[str, Any] = named(objects, "Deployment", deployment)["spec"]["template"]["spec"]
    return pod


def _environment(container: dict[str, Any]) -> dict[str, str]:
    """The container's variables; one that comes from the pod's fields has the field's path as its value."""
    return {
        env["name"]: env["value"] if "value" in env else env["valueFrom"]["fieldRef"]["fieldPath"]
        for env in container.get("env", [])
    }


@pytest.mark.parametrize("deployment", CONTAINERS)
def test_a_container_is_started_as_its_source_says(helm: Helm, deployment: str) -> None:
    (container,) = _pod(helm, deployment)["containers"]
    expected = CONTAINERS[deployment][1]
    assert {key: container.get(key) for key in expected} == expected


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_a_deployment_has_the_replicas_account_and_selector_of_its_source(helm: Helm, deployment: str) -> None:
    spec = named(helm.objects(CONTAINERS[deployment][0]), "Deployment", deployment)["spec"]
    account = spec["template"]["spec"]["serviceAccountName"]
    assert (spec["replicas"], account, spec["selector"]["matchLabels"]) == DEPLOYMENTS[deployment]


@pytest.mark.parametrize("deployment", ENVIRONMENTS)
def test_the_environment_is_the_one_of_the_source_and_nothing_else(helm: Helm, deployment: str) -> None:
    (container,) = _pod(helm, deployment)["containers"]
    environment = _environment(container)
    settings = {name: value for name, value in environment.items() if not name.startswith("RELATED_IMAGE_")}
    assert settings == ENVIRONMENTS[deployment]
    assert len(environment) == len(container["env"]), "a variable is given twice"


@pytest.mark.parametrize(("chart", "service"), SERVICES)
def test_a_service_has_the_ports_of_its_source(helm: Helm, chart: str, service: str) -> None:
    assert named(helm.objects(case(chart)), "Service", service)["spec"]["ports"] == SERVICES[chart, service]


def test_there_are_no_other_services(helm: Helm) -> None:
    charts = {chosen.chart for chosen, _ in CONTAINERS.values()}
    found = {
        (chart, obj["metadata"]["name"])
        for chart in charts
        for obj in helm.objects(case(chart))
        if obj["kind"] == "Service"
    }
    assert found == SERVICES.keys()


def test_the_cert_manager_operator_gets_the_image_of_every_operand(helm: Helm) -> None:
    (container,) = _pod(helm, "cert-manager-operator-controller-manager")["containers"]
    environment = _environment(container)
    images = CONTAINERS["cert-manager-operator-controller-manager"][0].values()["images"]
    assert {name: value for name, value in environment.items() if name.startswith("RELATED_IMAGE_")} == {
        "RELATED_IMAGE_CERT_MANAGER_CONTROLLER": images["cert_manager"],
        "RELATED_IMAGE_CERT_MANAGER_WEBHOOK": images["cert_manager"],
        "RELATED_IMAGE_CERT_MANAGER_CA_INJECTOR": images["cert_manager"],
        "RELATED_IMAGE_CERT_MANAGER_ACMESOLVER": images["cert_manager_acmesolver"],
        "RELATED_IMAGE_CERT_MANAGER_ISTIOCSR": images["cert_manager_istio_csr"],
    }


def test_the_lws_operator_gets_the_image_of_its_operand(helm: Helm) -> None:
    (container,) = _pod(helm, "openshift-lws-operator")["containers"]
    assert _environment(container)["RELATED_IMAGE_OPERAND_IMAGE"] == case("lws-operator").values()["images"]["lws"]


def test_the_sail_operator_reads_istios_images_from_a_file_made_of_its_annotations(helm: Helm) -> None:
    chosen = case("sail-operator", "bundle-3.3.3")
    template = named(helm.objects(chosen), "Deployment", "servicemesh-operator3")["spec"]["template"]
    annotations = {k: v for k, v in template["metadata"]["annotations"].items() if k.startswith("images.")}
    assert annotations.keys() == {
        "images.v1_27_8.istiod", "images.v1_27_8.proxy",
        "images.v1_27_9.istiod", "images.v1_27_9.proxy", "images.v1_27_9.cni",
    }  # fmt: skip
    assert all(IMAGE.fullmatch(ref) for ref in annotations.values())
    (container,) = template["spec"]["containers"]
    assert container["volumeMounts"] == [
        {"name": "operator-config", "mountPath": "/etc/sail-operator", "readOnly": True}
    ]
    items = [{"path": "config.properties", "fieldRef": {"fieldPath": "metadata.annotations"}}]
    assert template["spec"]["volumes"] == [
        {"name": "operator-config", "downwardAPI": {"defaultMode": 420, "items": items}}
    ]


def test_the_platform_operator_copies_its_manifests_first_and_waits_for_its_certificate(helm: Helm) -> None:
    pod = _pod(helm, "rhai-operator")
    (init,) = pod["initContainers"]
    (container,) = pod["containers"]
    assert init["name"] == "copy-manifests"
    assert init["image"] == container["image"]
    assert init["command"] == ["cp", "-r", "/opt/manifests-template/.", "/opt/manifests/"]
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
        "cert": "/tmp/k8s-webhook-server/serving-certs",
        "manifests": "/opt/manifests",
        "tmp": "/tmp",
    }
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["cert"]["secret"] == {"secretName": "rhai-operator-controller-webhook-cert", "defaultMode": 420}
    assert volumes["manifests"]["emptyDir"] == {"sizeLimit": "256Mi"}
    assert volumes["tmp"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "10Mi"}


def test_the_platform_operators_webhooks_are_those_of_the_release(helm: Helm) -> None:
    objects = helm.objects(case("rhai-operator"))
    config = named(objects, "MutatingWebhookConfiguration", "rhai-operator-mutating-webhook-configuration")
    assert config["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": "redhat-ods-operator/rhai-operator-webhook-cert"
    }
    seen = {
        hook["name"]: (
            hook["clientConfig"]["service"]["path"],
            hook["failurePolicy"],
            hook["sideEffects"],
            hook["rules"][0]["apiVersions"],
            hook["rules"][0]["operations"],
            hook["rules"][0]["resources"],
        )
        for hook in config["webhooks"]
    }
    every = ("Fail", "NoneOnDryRun")
    writes = ["CREATE", "UPDATE"]
    assert seen == {
        "connection-isvc.opendatahub.io": (
            "/platform-connection-isvc", *every, ["v1beta1"], writes, ["inferenceservices"],
        ),
        "connection-llmisvc.opendatahub.io": (
            "/platform-connection-llmisvc", *every, ["v1alpha1", "v1alpha2"], writes, ["llminferenceservices"],
        ),
    }  # fmt: skip


def test_a_later_patch_of_the_platform_reaches_the_operator_and_the_labels(helm: Helm) -> None:
    deployment = named(helm.objects(case("rhai-operator", "patched")), "Deployment", "rhai-operator")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert _environment(container)["RHAI_VERSION"] == "3.4.5"
    assert deployment["metadata"]["labels"]["app.kubernetes.io/version"] == "3.4.5"


def test_the_lws_operator_may_read_how_the_cluster_authenticates(helm: Helm) -> None:
    binding = named(
        helm.objects(case("lws-operator")), "RoleBinding", "openshift-lws-operator-auth-reader", "kube-system"
    )
    assert binding["roleRef"]["name"] == "extension-apiserver-authentication-reader"
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "openshift-lws-operator", "namespace": "openshift-lws-operator"}
    ]


def test_placement_reaches_the_pods(helm: Helm) -> None:
    objects = helm.objects(case("cert-manager-operator", "placed"))
    pod = named(objects, "Deployment", "cert-manager-operator-controller-manager")["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"node-role.kubernetes.io/infra": ""}
    assert pod["tolerations"] == [
        {"key": "node-role.kubernetes.io/infra", "operator": "Exists", "effect": "NoSchedule"}
    ]
