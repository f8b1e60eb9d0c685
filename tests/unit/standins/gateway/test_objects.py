"""What is made for a Gateway: names, labels, Service, Deployment, patches."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from embedded_cluster.standins.gateway.objects import TemplateError, children
from embedded_cluster.standins.gateway.settings import ProxyValues, Settings
from embedded_cluster.standins.gateway.strategic_merge import PatchError, merge

from tests.unit.standins.gateway.world import CHILD, GATEWAY, PLATFORM, SETTINGS, Object, gateway, http, meta, snapshot

NAME_LABEL = "gateway.networking.k8s.io/gateway-name"
MANAGED = {NAME_LABEL: GATEWAY, "gateway.istio.io/managed": "istio.io-gateway-controller"}
VALUES = ProxyValues(image="registry.example/proxy@sha256:1", pull_secrets=("pull",))


def made(
    subject: Object, *world: Object, settings: Settings = SETTINGS, values: ProxyValues = VALUES
) -> dict[str, dict[str, Any]]:
    return {obj["kind"]: obj for obj in children(subject, snapshot(subject, *world), settings, values)}


def test_three_objects_in_order_and_no_more() -> None:
    assert list(made(gateway())) == ["ServiceAccount", "Deployment", "Service"]


def test_every_child_has_name_label_and_owner() -> None:
    for obj in made(gateway()).values():
        assert obj["metadata"]["name"] == CHILD
        assert obj["metadata"]["namespace"] == PLATFORM
        assert obj["metadata"]["labels"] == MANAGED
        assert obj["metadata"]["ownerReferences"] == [
            {
                "apiVersion": "gateway.networking.k8s.io/v1beta1",
                "kind": "Gateway",
                "name": GATEWAY,
                "uid": f"uid-{GATEWAY}",
            }
        ]


OWN = {"labels": {"own": "l"}, "annotations": {"own": "a", "kubectl.kubernetes.io/last-applied-configuration": "{}"}}
INFRA_LABELS = {"infra": "l", "gateway.networking.k8s.io/dropped": "x"}


@pytest.mark.parametrize(
    ("infrastructure", "copies", "labels", "annotations"),
    [
        pytest.param(None, True, {"own": "l"}, {"own": "a"}, id="no infrastructure: the Gateway's own"),
        pytest.param({"labels": INFRA_LABELS}, True, {"infra": "l"}, {"own": "a"}, id="labels given"),
        pytest.param({"annotations": {"infra": "a"}}, True, {"own": "l"}, {"infra": "a"}, id="annotations given"),
        pytest.param({"labels": {}}, True, {}, {"own": "a"}, id="empty labels given"),
        pytest.param(None, False, {}, {}, id="copying switched off"),
    ],
)
def test_where_labels_and_annotations_come_from(
    infrastructure: Object | None, copies: bool, labels: dict[str, str], annotations: dict[str, str]
) -> None:
    subject = gateway(spec={"infrastructure": infrastructure} if infrastructure else {})
    subject["metadata"] |= OWN
    found = made(subject, settings=Settings(copies_metadata=copies))
    for kind in ("ServiceAccount", "Service", "Deployment"):
        assert found[kind]["metadata"]["labels"] == {**labels, **MANAGED}
        assert found[kind]["metadata"]["annotations"] == annotations
    pod = found["Deployment"]["spec"]["template"]["metadata"]
    assert labels.items() <= pod["labels"].items()
    assert annotations.items() <= pod["annotations"].items()


def test_the_service() -> None:
    spec = made(gateway(http(), http("https", 443, protocol="HTTPS")))["Service"]["spec"]
    assert spec == {
        "type": "LoadBalancer",
        "ipFamilyPolicy": "PreferDualStack",
        "externalTrafficPolicy": "Cluster",
        "selector": {NAME_LABEL: GATEWAY},
        "ports": [
            {"name": "status-port", "port": 15021, "protocol": "TCP", "targetPort": 15021, "appProtocol": "tcp"},
            {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80, "appProtocol": "http"},
            {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443, "appProtocol": "https"},
        ],
    }


def test_the_service_type_can_be_asked_for() -> None:
    subject = gateway()
    subject["metadata"]["annotations"] = {"networking.istio.io/service-type": "ClusterIP"}
    spec = made(subject)["Service"]["spec"]
    assert spec["type"] == "ClusterIP"
    assert "externalTrafficPolicy" not in spec  # the API server refuses it there


def test_two_listeners_of_one_port_share_a_service_port() -> None:
    spec = made(gateway(http("a", hostname="a.io"), http("b", hostname="b.io")))["Service"]["spec"]
    assert [port["name"] for port in spec["ports"]] == ["status-port", "a"]


def test_the_deployment() -> None:
    spec = made(gateway())["Deployment"]["spec"]
    assert "replicas" not in spec
    assert spec["selector"] == {"matchLabels": {NAME_LABEL: GATEWAY}}
    template = spec["template"]
    assert template["metadata"]["labels"] == {
        **MANAGED,
        "service.istio.io/canonical-name": CHILD,
        "service.istio.io/canonical-revision": "latest",
        "sidecar.istio.io/inject": "false",
    }
    assert template["metadata"]["annotations"]["istio.io/rev"] == "default"
    pod = template["spec"]
    assert pod["serviceAccountName"] == CHILD
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    (container,) = pod["containers"]
    assert container["name"] == "istio-proxy"
    assert container["image"] == VALUES.image
    assert container["args"][:4] == ["proxy", "router", "--domain", "$(POD_NAMESPACE).svc.cluster.local"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert env["CA_ADDR"] == "istiod.istio-system.svc:15012"
    assert env["ISTIO_META_OWNER"] == f"kubernetes://apis/apps/v1/namespaces/{PLATFORM}/deployments/{CHILD}"
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_every_mount_env_and_port_of_the_pod_is_unique() -> None:
    (container,) = made(gateway())["Deployment"]["spec"]["template"]["spec"]["containers"]
    for field, key in (("env", "name"), ("volumeMounts", "mountPath"), ("ports", "containerPort")):
        values = [item[key] for item in container[field]]
        assert len(values) == len(set(values))


def test_the_revision_is_part_of_the_address() -> None:
    (container,) = made(gateway(), settings=Settings(revision="canary"))["Deployment"]["spec"]["template"]["spec"][
        "containers"
    ]
    assert {"name": "CA_ADDR", "value": "istiod-canary.istio-system.svc:15012"} in container["env"]


def test_proxy_metadata_becomes_environment() -> None:
    values = ProxyValues(proxy_metadata={"ENABLE_GATEWAY_API_INFERENCE_EXTENSION": "true"})
    (container,) = made(gateway(), values=values)["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "ENABLE_GATEWAY_API_INFERENCE_EXTENSION", "value": "true"} in container["env"]


PARAMETERS = {"infrastructure": {"parametersRef": {"group": "", "kind": "ConfigMap", "name": "config"}}}
CA_PATCH = """
spec:
  template:
    spec:
      containers:
        - name: istio-proxy
          volumeMounts: [{name: rhai-ca-bundle, mountPath: /var/run/secrets/rhai, readOnly: true}]
      volumes: [{name: rhai-ca-bundle, configMap: {name: rhai-ca-bundle}}]
"""


def parameters(**data: str) -> Object:
    return {"kind": "ConfigMap", "metadata": meta("config", PLATFORM), "data": data}


def test_a_patch_puts_its_volume_first_and_changes_nothing_else() -> None:
    plain = made(gateway())["Deployment"]["spec"]["template"]["spec"]
    patched = made(gateway(spec=PARAMETERS), parameters(deployment=CA_PATCH))["Deployment"]["spec"]["template"]["spec"]
    assert [v["name"] for v in patched["volumes"]] == ["rhai-ca-bundle", *(v["name"] for v in plain["volumes"])]
    mounts = patched["containers"][0].pop("volumeMounts")
    assert mounts == [
        {"name": "rhai-ca-bundle", "mountPath": "/var/run/secrets/rhai", "readOnly": True},
        *plain["containers"][0].pop("volumeMounts"),
    ]
    assert patched["containers"] == plain["containers"]


def test_a_service_patch() -> None:
    patch = "metadata: {annotations: {service.beta.kubernetes.io/port_80_health-probe_protocol: tcp}}"
    found = made(gateway(spec=PARAMETERS), parameters(service=patch))
    assert found["Service"]["metadata"]["annotations"] == {
        "service.beta.kubernetes.io/port_80_health-probe_protocol": "tcp"
    }
    assert found["Deployment"]["metadata"]["annotations"] == {}


def test_autoscaler_and_disruption_budget_only_when_asked_for() -> None:
    found = made(
        gateway(spec=PARAMETERS),
        parameters(horizontalPodAutoscaler="spec: {maxReplicas: 4}", podDisruptionBudget="spec: {minAvailable: 1}"),
    )
    assert found["HorizontalPodAutoscaler"]["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": CHILD},
        "maxReplicas": 4,
    }
    assert found["PodDisruptionBudget"]["spec"] == {
        "selector": {"matchLabels": {NAME_LABEL: GATEWAY}},
        "minAvailable": 1,
    }
    assert found["PodDisruptionBudget"]["metadata"]["labels"] == MANAGED


@pytest.mark.parametrize(
    ("world", "message"),
    [
        ([], f'parametersRef targeting configmap "{PLATFORM}/config", but configmap does not exist'),
        ([parameters(deployment="{")], "no valid YAML"),
        ([parameters(deployment="words")], "expected an object, found 'words'"),
        ([parameters(deployment="spec: {template: {spec: {volumes: [words]}}}")], "expected items with name"),
    ],
)
def test_bad_parameters_make_nothing(world: list[Object], message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        made(gateway(spec=PARAMETERS), *world)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        pytest.param({"a": 1, "b": {"c": 2}}, {"b": {"d": 3}}, {"a": 1, "b": {"c": 2, "d": 3}}, id="maps merge"),
        pytest.param({"a": 1, "b": 2}, {"a": None}, {"b": 2}, id="null removes"),
        pytest.param({"args": ["a", "b"]}, {"args": ["c"]}, {"args": ["c"]}, id="plain lists are replaced"),
        pytest.param(
            {"env": [{"name": "a", "value": "1"}, {"name": "b"}]},
            {"env": [{"name": "c"}, {"name": "a", "value": "2"}]},
            {"env": [{"name": "c"}, {"name": "a", "value": "2"}, {"name": "b"}]},
            id="known items in place, new ones first",
        ),
        pytest.param(
            {"env": [{"name": "a"}, {"name": "b"}]},
            {"env": [{"name": "a", "$patch": "delete"}]},
            {"env": [{"name": "b"}]},
            id="an item is deleted",
        ),
        pytest.param(
            {"r": {"a": 1, "b": 2}}, {"r": {"$patch": "replace", "c": 3}}, {"r": {"c": 3}}, id="a map is replaced"
        ),
        pytest.param(
            {"ports": [{"port": 80, "name": "http"}]},
            {"ports": [{"port": 80, "nodePort": 30080}]},
            {"ports": [{"port": 80, "name": "http", "nodePort": 30080}]},
            id="Service ports by number",
        ),
        pytest.param(
            {"ports": [{"containerPort": 80}]},
            {"ports": [{"containerPort": 81}]},
            {"ports": [{"containerPort": 81}, {"containerPort": 80}]},
            id="container ports by number",
        ),
    ],
)
def test_strategic_merge(target: Object, patch: Object, expected: Object) -> None:
    before = json.dumps([target, patch])
    assert merge(target, patch) == expected
    assert json.dumps([target, patch]) == before


def test_a_patch_of_the_wrong_shape_names_the_field() -> None:
    with pytest.raises(PatchError, match=r"spec\.type: expected str, found an object"):
        merge({"spec": {"type": "LoadBalancer"}}, {"spec": {"type": {"a": 1}}})


def values_world(**values: Any) -> Object:
    return {
        "kind": "ConfigMap",
        "metadata": meta("istio-sidecar-injector", "istio-system"),
        "data": {"values": json.dumps({"global": values})},
    }


def mesh_world(config: Object) -> Object:
    return {"kind": "ConfigMap", "metadata": meta("istio", "istio-system"), "data": {"mesh": yaml.safe_dump(config)}}


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({"proxy": {"image": "registry.example/p@sha256:2"}}, "registry.example/p@sha256:2"),
        (
            {"proxy": {"image": "proxyv2"}, "hub": "example.org/istio", "tag": "1.27.8"},
            "example.org/istio/proxyv2:1.27.8",
        ),
        ({}, "docker.io/istio/proxyv2:latest"),
    ],
)
def test_the_proxy_image(values: Object, image: str) -> None:
    assert ProxyValues.of(snapshot(values_world(**values)), SETTINGS).image == image


def test_pull_secrets_and_metadata_come_from_the_chart_values() -> None:
    metadata = {"defaultConfig": {"proxyMetadata": {"A": "b"}}, "trustDomain": "td.example"}
    world = snapshot(values_world(imagePullSecrets=["rhai-pull-secret"]), mesh_world(metadata))
    found = ProxyValues.of(world, SETTINGS)
    assert found.pull_secrets == ("rhai-pull-secret",)
    assert found.proxy_metadata == {"A": "b"}
    assert found.trust_domain == "td.example"
