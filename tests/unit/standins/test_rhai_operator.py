"""The platform operator of line 3.4: order, marks, conditions, drift, version change (observed-operators.md 3)."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from embedded_cluster.kube import ApiError
from embedded_cluster.standins import rhai_operator, rules
from embedded_cluster.standins.rhai_operator import RhaiOperator, operator_values

from tests.unit.standins.fake_api import Bench, FakeApi, conditions, crd_folder, pod

NAMESPACE = "redhat-ods-applications"
EXTENSION = (
    "inferencemodelrewrites.inference.networking.x-k8s.io",
    "inferenceobjectives.inference.networking.x-k8s.io",
    "inferencepoolimports.inference.networking.x-k8s.io",
    "inferencepools.inference.networking.k8s.io",
    "inferencepools.inference.networking.x-k8s.io",
)
SERVED = ("llminferenceserviceconfigs.serving.kserve.io", "llminferenceservices.serving.kserve.io")
REQUIRED = [entry.crd for entry in rules.load("rhai_operator").rules["kserve"].requires]
PRESETS = [
    "decode-template",
    "decode-worker-data-parallel",
    "prefill-template",
    "prefill-worker-data-parallel",
    "router-route",
    "scheduler",
    "template",
    "template-amd-rocm",
    "template-ibm-spyre-ppc64le",
    "template-ibm-spyre-s390x",
    "template-ibm-spyre-x86",
    "template-intel-gaudi",
    "template-nvidia-cuda",
    "worker-data-parallel",
]
WEBHOOK = 'failed calling webhook "llminferenceserviceconfig.kserve-webhook-server.v1alpha2.validator"'


def environment(**changes: str | None) -> dict[str, str]:
    env: dict[str, str | None] = {
        "ODH_PLATFORM_TYPE": "XKS",
        "RHAI_VERSION": "3.4.4",
        "RHAI_APPLICATIONS_NAMESPACE": NAMESPACE,
        "RHAI_DISABLE_DSCI_RESOURCE": "true",
        "OPERATOR_NAMESPACE": "redhat-ods-operator",
        "DEFAULT_MANIFESTS_PATH": "/opt/manifests",
        "RHAI_CA_SECRET_NAME": "rhai-ca",
        "RHAI_CA_SECRET_NAMESPACE": "cert-manager",
        "RHAI_ISSUER_REF_NAME": "rhai-ca-issuer",
        "RHAI_ISTIO_CA_CERTIFICATE_PATH": "/var/run/secrets/rhai/ca.crt",
        "RELATED_IMAGE_ODH_KSERVE_LLMISVC_CONTROLLER_IMAGE": "registry.example/llmisvc@sha256:1",
        "RELATED_IMAGE_RHAII_VLLM_CUDA_IMAGE": "registry.example/vllm@sha256:2",
        **changes,
    }
    return {name: value for name, value in env.items() if value is not None}


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.crd(*REQUIRED)
    api.put({"apiVersion": "components.platform.opendatahub.io/v1alpha1", "kind": "Kserve", **NAMED, "spec": {}})
    return api


NAMED: dict[str, Any] = {"metadata": {"name": "default-kserve"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return crd_folder(tmp_path / "crds", {"inference-extension": EXTENSION, "kserve-llmisvc": SERVED})


def bench_of(api: FakeApi, folder: Path, spec: dict[str, Any] | None = None, **env: str) -> Bench:
    made = pod(
        api,
        "redhat-ods-operator",
        env=environment(**env),
        crds_dir=folder,
        spec={"initContainers": [{"name": "copy-manifests"}]} if spec is None else spec,
    )
    file = rules.load("rhai_operator")
    return Bench(api, RhaiOperator(made, file.rules["kserve"], operator_values(made, file.settings)))


@pytest.fixture
def bench(api: FakeApi, folder: Path) -> Bench:
    return bench_of(api, folder)


def installed(api: FakeApi, bench: Bench) -> None:
    asyncio.run(bench.run())
    api.ready()
    asyncio.run(bench.run())
    api.forget()


def state(api: FakeApi) -> dict[str, tuple[str, ...]]:
    return conditions(api.find("Kserve"))


def test_everything_is_written_in_the_observed_order(api: FakeApi, bench: Bench) -> None:
    asyncio.run(bench.run())
    assert api.writes() == [
        *(f"CustomResourceDefinition {name}" for name in (*EXTENSION, *SERVED)),
        f"ServiceAccount {NAMESPACE}/llmisvc-controller-manager",
        f"Role {NAMESPACE}/llmisvc-leader-election-role",
        "ClusterRole kserve-admin",
        "ClusterRole kserve-edit",
        "ClusterRole kserve-llmisvc-distro-role",
        "ClusterRole kserve-llmisvc-manager-role",
        "ClusterRole kserve-metrics-reader-cluster-role",
        "ClusterRole kserve-view",
        f"RoleBinding {NAMESPACE}/llmisvc-leader-election-rolebinding",
        "ClusterRoleBinding kserve-llmisvc-distro-rolebinding",
        "ClusterRoleBinding llmisvc-manager-rolebinding",
        f"ConfigMap {NAMESPACE}/inferenceservice-config",
        f"ConfigMap {NAMESPACE}/kserve-parameters",
        f"ConfigMap {NAMESPACE}/odh-xks-kserve-parameters",
        f"Service {NAMESPACE}/llmisvc-controller-manager-service",
        f"Service {NAMESPACE}/llmisvc-webhook-server-service",
        f"Deployment {NAMESPACE}/llmisvc-controller-manager",
        "ValidatingAdmissionPolicy connectionapi-check-s3-bucket",
        "ValidatingAdmissionPolicyBinding connectionapi-check-s3-bucket-binding",
        f"Certificate {NAMESPACE}/llmisvc-webhook-server",
        "ValidatingWebhookConfiguration llminferenceservice.serving.kserve.io",
        "ValidatingWebhookConfiguration llminferenceserviceconfig.serving.kserve.io",
        *(f"LLMInferenceServiceConfig {NAMESPACE}/v3-4-4-kserve-config-llm-{name}" for name in PRESETS),
    ]


def test_marks_are_on_all_but_crds_and_the_certificate_has_no_owner(api: FakeApi, bench: Bench) -> None:
    asyncio.run(bench.run())
    service = api.find("Service", "llmisvc-webhook-server-service")["metadata"]
    assert service["ownerReferences"][0]["name"] == "default-kserve"
    assert service["annotations"]["platform.opendatahub.io/version"] == "3.4.4"
    assert service["annotations"]["platform.opendatahub.io/type"] == "XKS"
    assert service["labels"]["platform.opendatahub.io/part-of"] == "kserve"
    certificate = api.find("Certificate")["metadata"]
    assert "ownerReferences" not in certificate
    assert certificate["annotations"]["platform.opendatahub.io/version"] == "3.4.4"
    for crd in api.all("CustomResourceDefinition"):
        if crd["metadata"]["name"] in (*EXTENSION, *SERVED):
            assert crd["metadata"]["labels"] == {"platform.opendatahub.io/part-of": "platform"}
            assert "ownerReferences" not in crd["metadata"]
    managers = {ref.kind: manager for ref, manager in api.managers.items()}
    assert managers.pop("CustomResourceDefinition") == "platform.opendatahub.io"
    assert set(managers.values()) == {"kserve"}


def test_both_llm_crds_convert_through_the_webhook_service(api: FakeApi, bench: Bench) -> None:
    asyncio.run(bench.run())
    for name in SERVED:
        crd = api.find("CustomResourceDefinition", name)
        assert crd["spec"]["conversion"]["webhook"]["clientConfig"]["service"] == {
            "name": "llmisvc-webhook-server-service",
            "namespace": NAMESPACE,
            "path": "/convert",
        }
        annotation = crd["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
        assert annotation == f"{NAMESPACE}/llmisvc-webhook-server"
    assert "conversion" not in api.find("CustomResourceDefinition", EXTENSION[0])["spec"]


def test_pre_applied_crds_keep_what_was_there(api: FakeApi, bench: Bench) -> None:
    name = SERVED[1]
    api.crd(name, group="serving.kserve.io", names="llminferenceservices", theirs="kept")
    asyncio.run(bench.run())
    crd = api.find("CustomResourceDefinition", name)
    assert crd["spec"]["theirs"] == "kept"
    assert crd["metadata"]["generation"] == 2


def test_a_ca_bundle_set_by_another_survives(api: FakeApi, bench: Bench) -> None:
    installed(api, bench)
    crd = api.find("CustomResourceDefinition", SERVED[0])
    webhook = crd["spec"]["conversion"]["webhook"]["clientConfig"]
    api.put({**crd, "spec": {**crd["spec"], "conversion": {**crd["spec"]["conversion"]}}})
    crd = api.find("CustomResourceDefinition", SERVED[0])
    crd["spec"]["conversion"]["webhook"]["clientConfig"] = {**webhook, "caBundle": "Q0E="}
    crd["metadata"]["generation"] += 1
    asyncio.run(bench.run())
    assert api.find("CustomResourceDefinition", SERVED[0])["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"]
    assert api.writes() == []


def test_a_deleted_crd_is_back(api: FakeApi, bench: Bench) -> None:
    installed(api, bench)
    api.drop("CustomResourceDefinition", EXTENSION[0])
    asyncio.run(bench.run())
    assert api.writes() == [f"CustomResourceDefinition {EXTENSION[0]}"]


def test_the_deployment_runs_the_given_image_with_the_prefix_of_this_version(api: FakeApi, bench: Bench) -> None:
    asyncio.run(bench.run())
    container = api.find("Deployment")["spec"]["template"]["spec"]["containers"][0]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert container["image"] == "registry.example/llmisvc@sha256:1"
    assert env["LLM_INFERENCE_SERVICE_CONFIG_PREFIX"] == "v3-4-4-kserve-"
    assert env["SERVICE_CA_SIGNING_SECRET_NAME"] == "rhai-ca"
    assert env["ISTIO_CA_CERTIFICATE_PATH"] == "/var/run/secrets/rhai/ca.crt"


def test_all_good_is_ready_at_this_generation(api: FakeApi, bench: Bench) -> None:
    installed(api, bench)
    assert state(api) == {
        "ProvisioningSucceeded": ("True",),
        "DeploymentsAvailable": ("True",),
        "DependenciesAvailable": ("True",),
        "Ready": ("True",),
    }
    status = api.find("Kserve")["status"]
    assert (status["phase"], status["observedGeneration"]) == ("Ready", 1)
    assert status["releases"][0]["version"] == "v0.17.0"


def test_a_pending_controller_shows_as_deployments_not_ready(api: FakeApi, bench: Bench) -> None:
    asyncio.run(bench.run())
    expected = ("False", "DeploymentsNotReady", "0/1 deployments ready")
    assert state(api)["Ready"] == state(api)["DeploymentsAvailable"] == expected
    assert state(api)["ProvisioningSucceeded"] == ("True",)


def test_presets_refused_by_the_webhook_are_what_ready_reports_first(api: FakeApi, bench: Bench) -> None:
    api.refuse["LLMInferenceServiceConfig"] = ApiError(500, "InternalError", WEBHOOK)
    api.drop("CustomResourceDefinition", "leaderworkersets.leaderworkerset.x-k8s.io")
    asyncio.run(bench.step())
    text = (
        f"failure deploying resource {NAMESPACE}/v3-4-4-kserve-config-llm-decode-template: apply failed "
        f"serving.kserve.io/v1alpha2, Kind=LLMInferenceServiceConfig: {WEBHOOK}"
    )
    assert state(api) == {
        "ProvisioningSucceeded": ("False", "Error", text),
        "DependenciesAvailable": (
            "False",
            "DependencyDegraded",
            "Dependencies degraded: LeaderWorkerSet: CRD not found",
        ),
        "Ready": ("False", "Error", text),
    }
    assert api.writes()[-1].endswith("v3-4-4-kserve-config-llm-decode-template")


def test_the_controller_becoming_ready_leads_to_the_presets_at_once(api: FakeApi, bench: Bench) -> None:
    api.refuse["LLMInferenceServiceConfig"] = ApiError(500, "InternalError", WEBHOOK)
    asyncio.run(bench.step())
    api.refuse.clear()
    api.ready()
    bench.show()
    assert bench.awake
    asyncio.run(bench.run())
    assert len(api.all("LLMInferenceServiceConfig")) == 14


def test_touching_the_resource_ends_the_waiting(api: FakeApi, bench: Bench) -> None:
    api.refuse["LLMInferenceServiceConfig"] = ApiError(500, "InternalError", WEBHOOK)
    asyncio.run(bench.step())
    asyncio.run(bench.step())
    assert not bench.awake
    api.find("Kserve")["metadata"]["annotations"] = {"touched": "1"}
    bench.show()
    assert bench.awake


def test_missing_crds_do_not_stop_the_apply_but_ready(api: FakeApi, bench: Bench) -> None:
    api.drop("CustomResourceDefinition", "leaderworkersets.leaderworkerset.x-k8s.io")
    installed(api, bench)
    expected = ("False", "DependencyDegraded", "Dependencies degraded: LeaderWorkerSet: CRD not found")
    assert state(api)["Ready"] == state(api)["DependenciesAvailable"] == expected
    assert state(api)["ProvisioningSucceeded"] == ("True",)
    assert len(api.all("LLMInferenceServiceConfig")) == 14
    api.crd("leaderworkersets.leaderworkerset.x-k8s.io")
    asyncio.run(bench.run())
    assert state(api)["Ready"] == ("True",)


def test_the_missing_list_has_the_observed_words_and_order(api: FakeApi, bench: Bench) -> None:
    for name in REQUIRED:
        if not name.endswith("cert-manager.io"):
            api.drop("CustomResourceDefinition", name)
    asyncio.run(bench.step())
    words = re.findall(r"(\w+): CRD not found", state(api)["DependenciesAvailable"][2])
    assert words == [
        *("DestinationRule", "EnvoyFilter", "Gateway", "ProxyConfig", "ServiceEntry", "Sidecar", "WorkloadEntry"),
        *("WorkloadGroup", "AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication", "Telemetry"),
        *("WasmPlugin", "LeaderWorkerSet"),
    ]


def test_replicas_and_resources_are_kept_and_the_image_is_not(api: FakeApi, bench: Bench) -> None:
    installed(api, bench)
    deployment = api.find("Deployment")
    deployment["spec"]["replicas"] = 3
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"memory": "1Gi"}}
    container["image"] = "other"
    asyncio.run(bench.run())
    deployment = api.find("Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert deployment["spec"]["replicas"] == 3
    assert container["resources"] == {"limits": {"memory": "1Gi"}}
    assert container["image"] == "registry.example/llmisvc@sha256:1"


def test_scaling_alone_causes_no_write(api: FakeApi, bench: Bench) -> None:
    installed(api, bench)
    api.find("Deployment")["spec"]["replicas"] = 3
    asyncio.run(bench.run())
    assert api.writes() == []


def test_an_added_env_variable_and_annotation_are_kept(api: FakeApi, bench: Bench) -> None:
    installed(api, bench)
    deployment = api.find("Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "FOO", "value": "bar"})
    deployment["metadata"]["annotations"]["foo"] = "bar"
    asyncio.run(bench.run())
    assert api.writes() == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Service", "llmisvc-webhook-server-service"),
        ("Certificate", "llmisvc-webhook-server"),
        ("ValidatingAdmissionPolicy", "connectionapi-check-s3-bucket"),
        ("LLMInferenceServiceConfig", "v3-4-4-kserve-config-llm-template"),
    ],
)
def test_a_deleted_object_is_back(api: FakeApi, bench: Bench, kind: str, name: str) -> None:
    installed(api, bench)
    api.drop(kind, name)
    asyncio.run(bench.run())
    assert api.find(kind, name)


def test_an_object_marked_unmanaged_loses_its_owner_and_survives_the_resource(api: FakeApi, bench: Bench) -> None:
    installed(api, bench)
    name = "llmisvc-controller-manager-service"
    api.find("Service", name)["metadata"]["annotations"]["opendatahub.io/managed"] = "false"
    asyncio.run(bench.run())
    assert not api.find("Service", name)["metadata"].get("ownerReferences")
    api.drop("Kserve", "default-kserve")
    api.collect_garbage()
    assert api.find("Service", name)
    assert api.find("Certificate", "llmisvc-webhook-server")
    assert not api.all("LLMInferenceServiceConfig")
    assert not api.all("Deployment")


def test_a_new_version_adds_its_presets_beside_the_old_and_stays_ready(
    api: FakeApi, bench: Bench, folder: Path
) -> None:
    installed(api, bench)
    asyncio.run(bench_of(api, folder, RHAI_VERSION="3.4.5").run())
    names = {obj["metadata"]["name"] for obj in api.all("LLMInferenceServiceConfig")}
    assert len(names) == 28
    old = api.find("LLMInferenceServiceConfig", "v3-4-4-kserve-config-llm-template")
    assert old["metadata"]["annotations"]["platform.opendatahub.io/version"] == "3.4.4"
    assert api.find("Deployment")["metadata"]["annotations"]["platform.opendatahub.io/version"] == "3.4.5"
    assert state(api)["Ready"][0] == "True"
    assert api.find("Kserve")["status"]["observedGeneration"] == 1


def test_a_copy_of_its_marks_is_deleted_at_a_version_change_only(api: FakeApi, bench: Bench, folder: Path) -> None:
    installed(api, bench)
    model = api.find("ConfigMap", "kserve-parameters")
    api.put({**model, "metadata": {**model["metadata"], "name": "ours"}})
    asyncio.run(bench.run())
    assert api.find("ConfigMap", "ours")
    asyncio.run(bench_of(api, folder, RHAI_VERSION="3.4.5").run())
    assert not api.all("ConfigMap", "ours")


def test_without_the_init_container_there_are_no_manifests(api: FakeApi, folder: Path) -> None:
    asyncio.run(bench_of(api, folder, spec={}).step())
    assert state(api)["ProvisioningSucceeded"][1] == "Error"
    assert state(api)["ProvisioningSucceeded"][2].startswith("must build at directory: not a valid directory")
    assert api.writes() == []


def test_idle_it_sends_nothing(api: FakeApi, bench: Bench) -> None:
    installed(api, bench)
    asyncio.run(bench.step())
    assert api.requests == []


# Presets -----------------------------------------------------------------------------------


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_template_actions_of_presets_survive_being_json(api: FakeApi, bench: Bench) -> None:
    """KServe runs the template over JSON text, where a double quote or backslash inside an action breaks it."""
    asyncio.run(bench.run())
    actions = [
        action
        for preset in api.all("LLMInferenceServiceConfig")
        for text in strings(preset["spec"])
        for action in re.findall(r"{{.*?}}", text)
    ]
    assert actions
    assert [action for action in actions if '"' in action or "\\" in action or "\n" in action] == []


def test_presets_set_no_resources_for_the_model_server(api: FakeApi, bench: Bench) -> None:
    asyncio.run(bench.run())
    for name in ("template", "decode-template", "worker-data-parallel"):
        spec = api.find("LLMInferenceServiceConfig", f"v3-4-4-kserve-config-llm-{name}")["spec"]
        main = next(entry for entry in spec["template"]["containers"] if entry["name"] == "main")
        assert "resources" not in main
        assert main["image"] == "registry.example/vllm@sha256:2"


def test_decode_serves_behind_the_routing_sidecar(api: FakeApi, bench: Bench) -> None:
    asyncio.run(bench.run())
    for name in ("decode-template", "decode-worker-data-parallel"):
        template = api.find("LLMInferenceServiceConfig", f"v3-4-4-kserve-config-llm-{name}")["spec"]["template"]
        assert template["containers"][0]["ports"][0]["containerPort"] == 8001
        assert template["initContainers"][0]["name"] == "llm-d-routing-sidecar"
        assert template["initContainers"][0]["restartPolicy"] == "Always"


def test_the_route_preset_sends_three_paths_to_the_pool_and_the_rest_to_the_service(api: FakeApi, bench: Bench) -> None:
    asyncio.run(bench.run())
    spec = api.find("LLMInferenceServiceConfig", "v3-4-4-kserve-config-llm-router-route")["spec"]
    backends = [rule["backendRefs"][0]["kind"] for rule in spec["router"]["route"]["http"]["spec"]["rules"]]
    assert backends == ["InferencePool"] * 3 + ["Service"]


# Start -------------------------------------------------------------------------------------


def start(api: FakeApi, tmp_path: Path, *, certificate: bool = True, writable: bool = True, **env: str | None) -> Any:
    for name in ("tls.crt", "tls.key"):
        if certificate:
            (tmp_path / name).write_text("x")
    mounts = [{"name": "manifests", "mountPath": "/opt/manifests"}] if writable else []
    return pod(
        api,
        "redhat-ods-operator",
        command=["/manager"],
        args=["--leader-elect"],
        env=environment(**env),
        spec={"containers": [{"volumeMounts": mounts}]},
        mounts={"/tmp/k8s-webhook-server/serving-certs": tmp_path},
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"certificate": False}, "serving-certs/tls.crt: no such file or directory"),
        ({"writable": False}, "/opt/manifests/kserve/overlays/odh/params.env: read-only file system"),
        ({"RHAI_VERSION": None}, "RHAI_VERSION must be set"),
        ({"ODH_PLATFORM_TYPE": None}, "ODH_PLATFORM_TYPE must be XKS"),
        ({"RHAI_APPLICATIONS_NAMESPACE": None}, "RHAI_APPLICATIONS_NAMESPACE must be set when DSCI is disabled"),
        ({"RHAI_DISABLE_DSCI_RESOURCE": None}, "RHAI_APPLICATIONS_NAMESPACE must not be set when DSCI is enabled"),
        ({"OPERATOR_NAMESPACE": None}, "OPERATOR_NAMESPACE must be set"),
    ],
)
def test_it_exits_without_what_it_needs(api: FakeApi, tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    environment = start(api, tmp_path, **changes)
    with pytest.raises(SystemExit, match=text):
        asyncio.run(rhai_operator.main(environment))
    assert environment.is_ready == []
