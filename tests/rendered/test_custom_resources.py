"""The resources that make operators act: their content, and that the real CRDs accept them.

Sources: operators.md 1.6, 2.4 and 3.4; platform.md 1.7, 2.3 and 4; observed-operators.md 2.3; observed-gateway.md 2.1.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import yaml

from tests.rendered.charts import Helm, case, named
from tests.support.crd_schema import CrdIndex, upstream_crds, upstream_files

BUILT_IN = {
    "v1",
    "apps/v1",
    "rbac.authorization.k8s.io/v1",
    "admissionregistration.k8s.io/v1",
}


#: OpenShift's own API group, of which there is no CRD to lock.
OLM = "operators.coreos.com"


@functools.cache
def _real_crds() -> CrdIndex | None:
    folder = upstream_crds()
    return CrdIndex.from_files(upstream_files(folder).values()) if folder else None


def test_the_real_crds_accept_every_custom_resource(objects: list[dict[str, Any]]) -> None:
    index = _real_crds()
    if index is None:
        pytest.skip("the real CRDs are not here: set INFERENCE_PLATFORM_UPSTREAM_CRDS to a folder that has them")
    custom = [obj for obj in objects if obj["apiVersion"] not in BUILT_IN and OLM not in obj["apiVersion"]]
    assert [str(violation) for obj in custom for violation in index.violations(obj)] == []


def test_istio_is_what_the_gateway_and_the_pools_need(helm: Helm) -> None:
    (istio,) = helm.objects(case("istio"))
    assert istio["metadata"]["name"] == "default"
    spec = istio["spec"]
    assert (spec["namespace"], spec["version"]) == ("istio-system", "v1.27-latest")
    assert spec["values"]["global"]["imagePullSecrets"] == ["rhai-pull-secret"]
    assert spec["values"]["pilot"] == {
        "env": dict.fromkeys(
            [
                "PILOT_ENABLE_GATEWAY_API",
                "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER",
                "PILOT_ENABLE_GATEWAY_API_STATUS",
                "ENABLE_GATEWAY_API_INFERENCE_EXTENSION",
            ],
            "true",
        )
    }
    assert spec["values"]["meshConfig"] == {
        "accessLogFile": "/dev/stdout",
        "defaultConfig": {"proxyMetadata": {"ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true"}},
    }


def test_lws_is_managed_under_the_only_name_its_operator_reads(helm: Helm) -> None:
    (operator,) = helm.objects(case("lws"))
    assert operator["metadata"]["name"] == "cluster"
    assert operator["spec"] == {"managementState": "Managed", "logLevel": "Normal", "operatorLogLevel": "Normal"}


def test_kserve_is_requested_with_the_products_defaults(helm: Helm) -> None:
    (kserve,) = helm.objects(case("kserve-instance"))
    assert (kserve["metadata"]["name"], kserve["spec"]) == ("default-kserve", {})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (None, "AzureKubernetesEngine"),
        ("coreweave-3.4", "CoreWeaveKubernetesEngine"),
        ("aws-3.5", "AWSKubernetesEngine"),
    ],
)
def test_the_engine_has_its_kinds_only_name_and_every_dependency(helm: Helm, values: str | None, kind: str) -> None:
    chosen = case("kubernetes-engine", values)
    (engine,) = helm.objects(chosen)
    assert (engine["kind"], engine["metadata"]["name"]) == (kind, f"default-{kind.lower()}")
    assert engine["spec"]["dependencies"] == chosen.values()["dependencies"]
    assert engine["spec"]["dependencies"].keys() == {"certManager", "gatewayAPI", "lws", "sailOperator"}


def test_the_pki_is_the_one_a_cloud_manager_makes(helm: Helm) -> None:
    objects = helm.objects(case("pki"))
    issuer = {"group": "cert-manager.io", "kind": "ClusterIssuer"}
    host = "rhai-operator-webhook-service.redhat-ods-operator.svc"
    assert named(objects, "ClusterIssuer", "opendatahub-selfsigned-issuer")["spec"] == {"selfSigned": {}}
    assert named(objects, "ClusterIssuer", "rhai-ca-issuer")["spec"] == {"ca": {"secretName": "rhai-ca"}}
    assert named(objects, "Certificate", "rhai-ca", "cert-manager")["spec"] == {
        "isCA": True,
        "commonName": "rhai-ca",
        "secretName": "rhai-ca",
        "duration": "876000h",
        "privateKey": {"rotationPolicy": "Always"},
        "usages": ["cert sign"],
        "issuerRef": issuer | {"name": "opendatahub-selfsigned-issuer"},
    }
    assert named(objects, "Certificate", "rhai-operator-webhook-cert", "redhat-ods-operator")["spec"] == {
        "secretName": "rhai-operator-controller-webhook-cert",
        "dnsNames": [host, f"{host}.cluster.local"],
        "issuerRef": issuer | {"name": "rhai-ca-issuer"},
    }
    assert len(objects) == 4


def test_the_names_of_the_authority_are_the_same_in_every_chart() -> None:
    names = [
        {key: value for key, value in case(chart).values()["ca"].items() if key in ("secretName", "issuerName")}
        for chart in ("pki", "cloud-manager", "rhai-operator")
    ]
    assert names == [{"secretName": "rhai-ca", "issuerName": "rhai-ca-issuer"}] * 3


def test_the_gateway_takes_plain_http_from_labelled_namespaces(helm: Helm) -> None:
    gateway = named(helm.objects(case("inference-gateway", "http")), "Gateway", "inference-gateway")
    assert gateway["spec"]["gatewayClassName"] == "istio"
    assert gateway["spec"]["listeners"] == [
        {
            "name": "http",
            "protocol": "HTTP",
            "port": 80,
            "allowedRoutes": {
                "namespaces": {
                    "from": "Selector",
                    "selector": {"matchLabels": {"inference-platform.io/gateway-access": "true"}},
                }
            },
        }
    ]
    infrastructure = gateway["spec"]["infrastructure"]
    assert infrastructure["labels"] == {"serving.kserve.io/gateway": "kserve-ingress-gateway"}
    assert infrastructure["annotations"], "without any, istiod copies Helm's annotations to what it makes"
    assert infrastructure["parametersRef"] == {"group": "", "kind": "ConfigMap", "name": "inference-gateway-config"}


def test_the_gateway_ends_tls_with_a_certificate_of_the_platform(helm: Helm) -> None:
    objects = helm.objects(case("inference-gateway", "https"))
    (listener,) = named(objects, "Gateway", "inference-gateway")["spec"]["listeners"]
    assert listener["port"] == 443
    assert listener["tls"] == {
        "mode": "Terminate",
        "certificateRefs": [{"group": "", "kind": "Secret", "name": "inference-gateway-cert-secret"}],
    }
    assert listener["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    certificate = named(objects, "Certificate", "inference-gateway-cert")["spec"]
    assert certificate["secretName"] == "inference-gateway-cert-secret"
    assert certificate["dnsNames"] == [
        "*.redhat-ods-applications.svc",
        "*.redhat-ods-applications.svc.cluster.local",
        "models.example.com",
    ]


OPENSHIFT_TLS = "service.beta.openshift.io/serving-cert-secret-name"


def test_the_gateway_of_openshift_ends_tls_with_a_certificate_of_the_service_ca(helm: Helm) -> None:
    (gateway,) = helm.objects(case("openshift-gateway"))
    (listener,) = gateway["spec"]["listeners"]
    assert (listener["name"], listener["port"], listener.get("hostname")) == ("https", 443, None)
    (certificate,) = listener["tls"]["certificateRefs"]
    assert gateway["spec"]["infrastructure"]["annotations"][OPENSHIFT_TLS] == certificate["name"]
    assert listener["allowedRoutes"]["namespaces"]["selector"] == {
        "matchLabels": {"inference-platform.io/gateway-access": "true"}
    }


def test_the_gateway_of_openshift_takes_a_host_name_and_a_certificate_of_ones_own(helm: Helm) -> None:
    (gateway,) = helm.objects(case("openshift-gateway", "own-certificate"))
    (listener,) = gateway["spec"]["listeners"]
    assert listener["hostname"] == "models.example.com"
    assert listener["tls"]["certificateRefs"] == [{"group": "", "kind": "Secret", "name": "models-example-com"}]
    annotations = gateway["spec"]["infrastructure"]["annotations"]
    assert OPENSHIFT_TLS not in annotations, "the service CA would overwrite the Secret"
    assert annotations["service.beta.kubernetes.io/aws-load-balancer-internal"] == "true"


def test_the_gateway_of_openshift_may_be_plain_http_for_its_own_namespace(helm: Helm) -> None:
    (gateway,) = helm.objects(case("openshift-gateway", "http"))
    assert gateway["spec"]["listeners"] == [
        {"name": "http", "protocol": "HTTP", "port": 8080, "allowedRoutes": {"namespaces": {"from": "Same"}}}
    ]
    assert OPENSHIFT_TLS not in gateway["spec"]["infrastructure"]["annotations"]


def test_components_beside_kserve_are_asked_for_as_given(helm: Helm) -> None:
    objects = helm.objects(case("data-science-cluster", "components"))
    assert named(objects, "DataScienceCluster", "default-dsc")["spec"]["components"] == {
        "kserve": {
            "managementState": "Managed",
            "rawDeploymentServiceConfig": "Headed",
            "nim": {"managementState": "Removed"},
        },
        "dashboard": {"managementState": "Managed"},
        "kueue": {"managementState": "Unmanaged"},
    }
    initialization = named(objects, "DSCInitialization", "default-dsci")["spec"]
    assert "BEGIN CERTIFICATE" in initialization["trustedCABundle"]["customCABundle"]


def test_without_a_platform_operator_there_is_no_certificate_for_it(helm: Helm) -> None:
    objects = helm.objects(case("pki", "no-operator"))
    assert [obj["metadata"]["name"] for obj in objects if obj["kind"] == "Certificate"] == ["rhai-ca"]


def test_every_host_name_has_a_listener_and_plain_http_only_leads_there(helm: Helm) -> None:
    objects = helm.objects(case("inference-gateway", "redirect"))
    http, *https = named(objects, "Gateway", "inference-gateway")["spec"]["listeners"]
    assert http["allowedRoutes"] == {"namespaces": {"from": "Same"}}, "only the redirect may attach"
    assert [(item["name"], item["hostname"]) for item in https] == [
        ("https", "models.example.com"),
        ("https-2", "*.models.example.com"),
    ]
    assert {item["allowedRoutes"]["namespaces"]["from"] for item in https} == {"Selector"}
    redirect = named(objects, "HTTPRoute", "inference-gateway-redirect")
    assert redirect["metadata"]["namespace"] == "redhat-ods-applications"
    assert [parent["sectionName"] for parent in redirect["spec"]["parentRefs"]] == ["http"]
    (rule,) = redirect["spec"]["rules"]
    assert rule["filters"][0]["requestRedirect"] == {"scheme": "https", "port": 443, "statusCode": 301}


def test_an_issuer_outside_the_cluster_is_asked_for_the_host_names_alone(helm: Helm) -> None:
    certificate = named(helm.objects(case("inference-gateway", "redirect")), "Certificate", "inference-gateway-cert")[
        "spec"
    ]
    assert certificate["dnsNames"] == ["models.example.com", "*.models.example.com"]
    assert certificate["issuerRef"]["name"] == "letsencrypt"


def test_bundle_and_configuration_are_installed_before_the_gateway_that_needs_them(helm: Helm) -> None:
    kinds = [obj["kind"] for obj in helm.objects(case("inference-gateway", "redirect"))]
    assert kinds.count("ConfigMap") == 2
    assert max(index for index, kind in enumerate(kinds) if kind == "ConfigMap") < kinds.index("Gateway")


def test_a_new_bundle_rolls_the_proxies(helm: Helm) -> None:
    def rolled(*arguments: str) -> Any:
        objects = helm.objects(case("inference-gateway", "http"), *arguments)
        config = named(objects, "ConfigMap", "inference-gateway-config")["data"]["deployment"]
        return yaml.safe_load(config)["spec"]["template"]["metadata"]["annotations"]

    other = rolled("--set", "caBundle=-----BEGIN CERTIFICATE----- another")
    assert rolled().keys() == other.keys()
    assert rolled() != other


def test_requests_may_finish_while_their_proxy_is_replaced(helm: Helm) -> None:
    """pilot-agent ends 5 seconds after SIGTERM otherwise (terminationDrainDuration)."""
    objects = helm.objects(case("inference-gateway", "http"), "--set", "drainSeconds=900")
    config = named(objects, "ConfigMap", "inference-gateway-config")["data"]["deployment"]
    pod = yaml.safe_load(config)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 900
    assert pod["containers"][0]["env"] == [{"name": "EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "value": "true"}]


def test_the_authority_may_be_below_an_issuer_of_ones_own(helm: Helm) -> None:
    objects = helm.objects(case("pki", "issuer"))
    authority = named(objects, "Certificate", "rhai-ca", "cert-manager")["spec"]
    assert authority["isCA"] is True
    assert authority["issuerRef"] == {"group": "cert-manager.io", "kind": "Issuer", "name": "corporate"}


def test_the_gateways_pods_find_the_ca_where_kserve_looks_for_it(helm: Helm) -> None:
    objects = helm.objects(case("inference-gateway", "http"))
    config = named(objects, "ConfigMap", "inference-gateway-config")["data"]
    assert config.keys() == {"deployment"}
    pod = yaml.safe_load(config["deployment"])["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "rhai-ca-bundle", "configMap": {"name": "rhai-ca-bundle"}}]
    (container,) = pod["containers"]
    assert container["name"] == "istio-proxy"
    (mount,) = container["volumeMounts"]
    assert mount == {"name": "rhai-ca-bundle", "mountPath": "/var/run/secrets/rhai", "readOnly": True}
    bundle = named(objects, "ConfigMap", "rhai-ca-bundle")["data"]
    assert bundle["ca.crt"].strip() == case("inference-gateway", "http").values()["caBundle"].strip()
    operator = named(helm.objects(case("rhai-operator")), "Deployment", "rhai-operator")
    env = operator["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "RHAI_ISTIO_CA_CERTIFICATE_PATH", "value": f"{mount['mountPath']}/ca.crt"} in env


def test_annotations_reach_the_gateways_service_those_of_ports_once_for_each(helm: Helm) -> None:
    config = named(helm.objects(case("inference-gateway", "azure")), "ConfigMap", "inference-gateway-config")["data"]
    azure = "service.beta.kubernetes.io"
    assert yaml.safe_load(config["service"])["metadata"]["annotations"] == {
        f"{azure}/azure-load-balancer-internal": "true",
        f"{azure}/port_80_health-probe_protocol": "tcp",
        f"{azure}/port_443_health-probe_protocol": "tcp",
    }


def test_the_annotation_of_a_port_follows_the_port_and_yields_to_a_given_one(helm: Helm) -> None:
    azure = "service.beta.kubernetes.io/port_8080_health-probe_protocol"
    given = azure.replace(".", "\\.")
    settings = ("http.port=8080", "https.enabled=false", f"service.annotations.{given}=http")
    arguments = [word for setting in settings for word in ("--set", setting)]
    objects = helm.objects(case("inference-gateway", "azure"), *arguments)
    config = named(objects, "ConfigMap", "inference-gateway-config")["data"]
    annotations = yaml.safe_load(config["service"])["metadata"]["annotations"]
    assert {name: value for name, value in annotations.items() if "/port_" in name} == {azure: "http"}
