"""The stand-in for istiod on a real API server, with istiod's own ServiceAccount and rights.

The statuses row by row: tests/unit/standins/gateway. Here: what only a server shows - late CRDs, order, field
managers, drift, garbage collection, and that nothing is written at rest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from embedded_cluster.standins import templates

from tests.support.audit import AuditMark
from tests.support.clusters import EmbeddedCluster, running_cluster, wait_for

pytestmark = pytest.mark.cluster

ISTIO = "istio-system"
PLATFORM = "redhat-ods-applications"
GATEWAY = "inference-gateway"
CHILD = "inference-gateway-istio"
ISTIOD = "system:serviceaccount:istio-system:istiod"
PILOT_IMAGE = "registry.redhat.io/openshift-service-mesh/istio-pilot-rhel9@sha256:" + "0" * 64
PROXY_IMAGE = "registry.redhat.io/openshift-service-mesh/istio-proxyv2-rhel9@sha256:" + "0" * 64
ROUTE = "httproutes.gateway.networking.k8s.io"
POOL = "inferencepools.inference.networking.k8s.io"
SHADOW = "qwen-inference-pool-ip-4cd103db"

Object = dict[str, Any]


def apply(cluster: EmbeddedCluster, *objects: Object) -> None:
    cluster.do("apply", "--server-side", "--filename", "-", stdin=yaml.safe_dump_all(objects))


def condition(obj: Object, kind: str) -> str:
    """status/reason of a condition."""
    found = [c for c in obj.get("status", {}).get("conditions") or [] if c["type"] == kind]
    return f"{found[0]['status']}/{found[0]['reason']}" if found else "absent"


def exists(cluster: EmbeddedCluster, kind: str, name: str, *place: str) -> bool:
    return cluster.kubectl("get", kind, name, *place).returncode == 0


def istiod_objects() -> list[Object]:
    """What the Sail operator's stand-in makes for istiod."""
    values = {
        "global": {
            "istioNamespace": ISTIO,
            "imagePullSecrets": ["rhai-pull-secret"],
            "proxy": {"image": PROXY_IMAGE},
        },
        "pilot": {"image": PILOT_IMAGE, "env": {"ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true"}},
    }
    source = {"metadata": {"name": "default"}, "spec": {"namespace": ISTIO, "values": values}}
    pull_secrets = [{"name": "rhai-pull-secret"}]
    context = {"source": source, "pull_secrets": pull_secrets, "mesh": {"trustDomain": "cluster.local"}}
    return templates.render_documents("operands/istiod.yml.j2", context)


@pytest.fixture(scope="module")
def istiod(tools_folder: Path) -> Iterator[EmbeddedCluster]:
    """A cluster where istiod runs and no Gateway API is known yet."""
    with running_cluster(f"gateway-{os.getpid()}", tools_folder) as cluster:
        secret = {".dockerconfigjson": cluster.paths.pull_secret.read_text()}
        for name in (ISTIO, PLATFORM, "llm"):
            apply(cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            apply(
                cluster,
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "rhai-pull-secret", "namespace": name},
                    "type": "kubernetes.io/dockerconfigjson",
                    "stringData": secret,
                },
            )
        cluster.do("apply", "--server-side", "--filename", str(cluster.tools / "crds" / "istio"))
        apply(cluster, *istiod_objects())
        cluster.do("rollout", "status", "deployment/istiod", "--namespace", ISTIO, "--timeout=60s")
        yield cluster


@pytest.fixture(scope="module")
def gateway_api(istiod: EmbeddedCluster) -> EmbeddedCluster:
    """The same once the Gateway API and the inference extension came, with their classes."""
    for crd_set in ("gateway-api", "inference-extension"):
        istiod.do("apply", "--server-side", "--filename", str(istiod.tools / "crds" / crd_set))
    kinds = f"gateways.gateway.networking.k8s.io,{ROUTE},{POOL}"
    wait_for("the kinds to be served", lambda: istiod.kubectl("get", kinds).returncode == 0)
    return istiod


@pytest.fixture(scope="module")
def platform(gateway_api: EmbeddedCluster) -> EmbeddedCluster:
    """The same with the platform's Gateway, programmed."""
    listener = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": GATEWAY, "namespace": PLATFORM},
        "spec": {"gatewayClassName": "istio", "listeners": [listener]},
    }
    apply(gateway_api, gateway)
    wait_for("Programmed", lambda: programmed(gateway_api) == "True/Programmed")
    return gateway_api


def programmed(cluster: EmbeddedCluster) -> str:
    return condition(cluster.get("gateway", GATEWAY, PLATFORM), "Programmed")


def test_istiod_is_ready_without_the_gateway_api(istiod: EmbeddedCluster) -> None:
    (pod,) = istiod.objects("pod", "--selector", "app=istiod")

    def holders() -> list[str | None]:
        leases = [lease for lease in istiod.objects("lease") if lease["metadata"]["name"].startswith("istio-")]
        return [lease["spec"].get("holderIdentity") for lease in leases]

    wait_for("its leases", lambda: holders() == [pod["metadata"]["name"]] * 2)


def test_every_namespace_has_the_root_certificate(istiod: EmbeddedCluster) -> None:
    apply(istiod, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "made-later"}})
    wait_for("its list", lambda: exists(istiod, "configmap", "istio-ca-crl", "-n", "made-later"))
    wait_for("its certificate", lambda: exists(istiod, "configmap", "istio-ca-root-cert", "-n", "made-later"))
    found = istiod.objects("configmap", "--selector", "istio.io/config=true")
    assert len({cm["data"]["root-cert.pem"] for cm in found if "root-cert.pem" in cm["data"]}) == 1
    assert len(found) == 2 * len(istiod.objects("namespace"))


def test_the_validator_becomes_mandatory_and_refuses(istiod: EmbeddedCluster) -> None:
    name = f"istio-validator-{ISTIO}"
    wait_for(
        "failurePolicy Fail",
        lambda: istiod.get("validatingwebhookconfiguration", name)["webhooks"][0]["failurePolicy"] == "Fail",
    )
    bad = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "bad", "namespace": "llm", "labels": {"istio.io/rev": "default"}},
        "spec": {},
    }
    refused = istiod.kubectl("apply", "--server-side", "--filename", "-", stdin=json.dumps(bad))
    assert "gateway must have at least one server" in refused.stderr


def accepted_class(cluster: EmbeddedCluster, name: str) -> bool:
    return condition(cluster.get("gatewayclass", name), "Accepted") == "True/Accepted"


def test_classes_appear_when_the_gateway_api_arrives(gateway_api: EmbeddedCluster) -> None:
    for name in ("istio", "istio-remote"):
        wait_for(f"class {name}", lambda name=name: exists(gateway_api, "gatewayclass", name))
        wait_for(f"{name} to be accepted", lambda name=name: accepted_class(gateway_api, name))


def test_the_gateways_children(platform: EmbeddedCluster) -> None:
    for kind in ("serviceaccount", "deployment", "service"):
        where = ("--namespace", PLATFORM, "--output", "json", "--show-managed-fields")
        metadata = json.loads(platform.do("get", kind, CHILD, *where))["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Gateway", GATEWAY)
        assert "controller" not in owner
        managers = {(entry["manager"], entry["operation"]) for entry in metadata["managedFields"]}
        assert ("istio.io/gateway-controller", "Apply") in managers
    pod = platform.get("deployment", CHILD, PLATFORM)["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "rhai-pull-secret"}]
    assert pod["containers"][0]["image"] == PROXY_IMAGE


def test_a_changed_service_is_set_back(platform: EmbeddedCluster) -> None:
    platform.do("patch", "service", CHILD, "-n", PLATFORM, "-p", '{"spec":{"type":"ClusterIP"}}')
    wait_for("the type", lambda: platform.get("service", CHILD, PLATFORM)["spec"]["type"] == "LoadBalancer")
    wait_for("Programmed", lambda: programmed(platform) == "True/Programmed")


def test_a_deleted_service_comes_back(platform: EmbeddedCluster) -> None:
    uid = platform.get("service", CHILD, PLATFORM)["metadata"]["uid"]
    platform.do("delete", "service", CHILD, "-n", PLATFORM)
    wait_for("a new Service", lambda: exists(platform, "service", CHILD, "-n", PLATFORM))
    assert platform.get("service", CHILD, PLATFORM)["metadata"]["uid"] != uid
    wait_for("Programmed", lambda: programmed(platform) == "True/Programmed")


def test_a_deleted_class_comes_back(platform: EmbeddedCluster) -> None:
    platform.do("delete", "gatewayclass", "istio")
    wait_for("the class", lambda: exists(platform, "gatewayclass", "istio"))
    assert programmed(platform) == "True/Programmed"


def backend(group: str) -> Object:
    return {"group": group, "kind": "InferencePool", "name": "qwen-inference-pool", "port": 8000}


def model(group: str) -> list[Object]:
    """Service of the picker, pool and route as KServe makes them."""
    picker = {"name": "qwen-epp-service", "port": {"number": 9002}, "failureMode": "FailOpen"}
    pool = {
        "targetPorts": [{"number": 8000}],
        "selector": {"matchLabels": {"app": "qwen"}},
        "endpointPickerRef": picker,
    }
    parents = [{"name": GATEWAY, "namespace": PLATFORM}]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "qwen-epp-service", "namespace": "llm"},
            "spec": {"selector": {"app": "epp"}, "ports": [{"port": 9002}]},
        },
        {
            "apiVersion": "inference.networking.k8s.io/v1",
            "kind": "InferencePool",
            "metadata": {"name": "qwen-inference-pool", "namespace": "llm"},
            "spec": pool,
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "qwen", "namespace": "llm"},
            "spec": {"parentRefs": parents, "rules": [{"backendRefs": [backend(group)]}]},
        },
    ]


def resolved(cluster: EmbeddedCluster) -> str:
    parents = cluster.get(ROUTE, "qwen", "llm").get("status", {}).get("parents") or []
    return condition({"status": parents[0]}, "ResolvedRefs") if parents else "absent"


def test_a_model_moves_from_one_pool_group_to_the_other(platform: EmbeddedCluster) -> None:
    apply(platform, *model("inference.networking.x-k8s.io"))
    wait_for("the refusal", lambda: resolved(platform) == "False/InvalidKind")
    apply(platform, *model("inference.networking.k8s.io"))
    wait_for("the route", lambda: resolved(platform) == "True/ResolvedRefs")
    wait_for("the shadow Service", lambda: exists(platform, "service", SHADOW, "--namespace", "llm"))
    assert platform.get("service", SHADOW, "llm")["spec"]["clusterIP"] == "None"
    wait_for("the pool", lambda: accepted(platform) == ["True/Accepted"])
    wait_for("the count of routes", lambda: attached(platform) == [1])


def accepted(cluster: EmbeddedCluster) -> list[str]:
    """What each parent of the model's pool says."""
    parents = cluster.get(POOL, "qwen-inference-pool", "llm").get("status", {}).get("parents") or []
    return [condition({"status": parent}, "Accepted") for parent in parents]


def attached(cluster: EmbeddedCluster) -> list[int]:
    """Routes at each listener of the gateway."""
    return [item["attachedRoutes"] for item in cluster.get("gateway", GATEWAY, PLATFORM)["status"]["listeners"]]


def writes(mark: AuditMark) -> list[str]:
    """What istiod wrote since, its leases apart."""
    return [str(r) for r in mark.requests() if r.user == ISTIOD and r.is_write and "/leases/" not in r.uri]


def test_at_rest_nothing_is_written(platform: EmbeddedCluster) -> None:
    wait_for("three seconds without a write", lambda: writes(mark_after(platform, seconds=3)) == [])


def mark_after(cluster: EmbeddedCluster, *, seconds: float) -> AuditMark:
    """The audit log as it was some seconds ago."""
    mark = AuditMark.now(cluster.paths.audit_log)
    time.sleep(seconds)
    return mark


def test_a_restart_changes_no_object(platform: EmbeddedCluster) -> None:
    before = versions(platform)
    (pod,) = platform.objects("pod", "--selector", "app=istiod")
    platform.do("delete", "pod", pod["metadata"]["name"], "-n", ISTIO)
    wait_for("the new leader", lambda: leader(platform) not in ("", pod["metadata"]["name"]), seconds=60)
    wait_for("quiet", lambda: writes(mark_after(platform, seconds=1)) == [])
    assert versions(platform) == before


def leader(cluster: EmbeddedCluster) -> str:
    holder: str = cluster.get("lease", "istio-gateway-status-leader-default", ISTIO)["spec"]["holderIdentity"]
    return holder


def versions(cluster: EmbeddedCluster) -> dict[str, str]:
    """Resource versions of everything istiod writes for the platform and the model."""
    kinds = f"gateways.gateway.networking.k8s.io,{ROUTE},{POOL},services,serviceaccounts"
    found = [obj for obj in cluster.objects(kinds) if obj["metadata"]["namespace"] in (PLATFORM, "llm")]
    return {f"{obj['kind']} {obj['metadata']['name']}": obj["metadata"]["resourceVersion"] for obj in found}


def test_a_missing_right_shows_in_the_log_and_heals(platform: EmbeddedCluster) -> None:
    role = platform.get("clusterrole", f"istiod-gateway-controller-{ISTIO}")
    role["metadata"] = {"name": role["metadata"]["name"]}
    without = {**role, "rules": [rule for rule in role["rules"] if "services" not in rule["resources"]]}
    platform.do("replace", "--filename", "-", stdin=json.dumps(without))
    platform.do("delete", "service", CHILD, "-n", PLATFORM)
    log = ("logs", "deployment/istiod", "-n", ISTIO)
    wait_for("the complaint", lambda: f'"{CHILD}" is forbidden' in platform.do(*log))
    platform.do("replace", "--filename", "-", stdin=json.dumps(role))
    wait_for("Programmed", lambda: programmed(platform) == "True/Programmed", seconds=60)


def test_a_deleted_gateway_takes_its_children_and_leaves_the_pool_accepted(platform: EmbeddedCluster) -> None:
    platform.do("delete", "gateway", GATEWAY, "-n", PLATFORM)
    wait_for("its Service to go", lambda: not exists(platform, "service", CHILD, "-n", PLATFORM))
    wait_for("the route", lambda: platform.get(ROUTE, "qwen", "llm")["status"] == {"parents": []})
    (parent,) = platform.get(POOL, "qwen-inference-pool", "llm")["status"]["parents"]
    assert condition({"status": parent}, "Accepted") == "True/Accepted"
