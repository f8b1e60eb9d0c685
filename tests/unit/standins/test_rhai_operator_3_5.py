"""Line 3.5: the platform operator installs a module, which installs KServe (observed-operators.md 3.7)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from embedded_cluster.standins import rules
from embedded_cluster.standins.kserve_module import KserveModule, module_values
from embedded_cluster.standins.objects import Ref
from embedded_cluster.standins.rhai_operator import ModuleInstaller, installer_values

from tests.unit.standins.fake_api import Bench, FakeApi, conditions, crd_folder, pod
from tests.unit.standins.test_rhai_operator import NAMESPACE, SERVED, environment
from tests.unit.standins.test_rules import CONFIGURATION

EXTENSION = (
    "inferencemodelrewrites.llm-d.ai",
    "inferenceobjectives.llm-d.ai",
    "inferencepools.inference.networking.k8s.io",
    "inferencepools.inference.networking.x-k8s.io",
)
KSERVES = "kserves.components.platform.opendatahub.io"
MODULE_IMAGE = "registry.example/module@sha256:3"
KSERVE = {
    "apiVersion": "components.platform.opendatahub.io/v1alpha1",
    "kind": "Kserve",
    "metadata": {"name": "default-kserve"},
    "spec": {},
}


def platform(state: str) -> dict[str, Any]:
    return {
        "apiVersion": "config.opendatahub.io/v1alpha1",
        "kind": "Platform",
        "metadata": {"name": "default"},
        "spec": {"modules": {"kserve": {"managementState": state}}},
    }


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.crd(*(entry.crd for entry in rules.load("kserve_module").rules["kserve"].requires))
    return api


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sets = {"inference-extension": EXTENSION, "kserve-llmisvc": SERVED, "rhai-operator": (KSERVES,)}
    return crd_folder(tmp_path / "crds", sets)


@pytest.fixture
def installer(api: FakeApi, folder: Path) -> Bench:
    env = environment(RHAI_VERSION="3.5.0", RELATED_IMAGE_ODH_KSERVE_MODULE_OPERATOR_IMAGE=MODULE_IMAGE)
    spec = {"initContainers": [{"name": "copy-manifests"}]}
    made = pod(api, "redhat-ods-operator", env=env, crds_dir=folder, spec=spec)
    file = rules.load("rhai_operator_3_5")
    return Bench(api, ModuleInstaller(made, file.rules["platform"], installer_values(made, file.settings)))


@pytest.fixture
def module(api: FakeApi, folder: Path) -> Bench:
    made = pod(api, NAMESPACE, env={"POD_NAMESPACE": NAMESPACE}, crds_dir=folder)
    file = rules.load("kserve_module")
    return Bench(api, KserveModule(made, file.rules["kserve"], module_values(made, file.settings, CONFIGURATION)))


def test_the_module_is_installed_in_the_observed_order(api: FakeApi, installer: Bench) -> None:
    api.put(platform("Managed"))
    asyncio.run(installer.run())
    assert api.writes() == [
        f"CustomResourceDefinition {KSERVES}",
        f"ServiceAccount {NAMESPACE}/kserve-module-controller-manager",
        f"Role {NAMESPACE}/kserve-module-leader-election-role",
        "ClusterRole kserve-module-manager-role",
        f"RoleBinding {NAMESPACE}/kserve-module-leader-election-rolebinding",
        "ClusterRoleBinding kserve-module-manager-rolebinding",
        f"ConfigMap {NAMESPACE}/odh-kserve-config",
        f"Deployment {NAMESPACE}/kserve-module-controller-manager",
        "ValidatingAdmissionPolicy connectionapi-check-s3-bucket",
        "ValidatingAdmissionPolicyBinding connectionapi-check-s3-bucket-binding",
    ]


def test_the_status_of_platform_stays_empty(api: FakeApi, installer: Bench) -> None:
    api.put(platform("Managed"))
    asyncio.run(installer.run())
    assert api.find("Platform").get("status", {}) == {}


def test_the_module_gets_its_image_the_related_images_and_the_version(api: FakeApi, installer: Bench) -> None:
    api.put(platform("Managed"))
    asyncio.run(installer.run())
    deployment = api.find("Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == MODULE_IMAGE
    assert {entry["name"] for entry in container["env"]} >= {"POD_NAMESPACE", "RELATED_IMAGE_RHAII_VLLM_CUDA_IMAGE"}
    assert deployment["metadata"]["annotations"]["platform.opendatahub.io/version"] == "3.5.0"
    assert api.find("ConfigMap")["data"] == CONFIGURATION


def test_removing_the_module_removes_kserve_too(api: FakeApi, installer: Bench) -> None:
    api.put(platform("Managed"))
    asyncio.run(installer.run())
    api.put(KSERVE)
    api.put(platform("Removed"))
    asyncio.run(installer.run())
    assert not {"Kserve", "Deployment", "ServiceAccount"} & {ref.kind for ref in api.objects}
    assert Ref("apiextensions.k8s.io/v1", "CustomResourceDefinition", KSERVES) in api.objects


def test_the_module_installs_kserve_with_presets_of_the_platforms_version(api: FakeApi, module: Bench) -> None:
    api.put(KSERVE)
    asyncio.run(module.run())
    writes = api.writes()
    assert [name for name in writes if name.startswith("CustomResourceDefinition")] == [
        f"CustomResourceDefinition {name}" for name in (*EXTENSION, *SERVED)
    ]
    assert f"LLMInferenceServiceConfig {NAMESPACE}/v3-5-0-kserve-config-llm-template" in writes
    assert not any(name.startswith("ValidatingAdmissionPolicy") for name in writes)


def test_kserve_is_ready_when_its_controller_is(api: FakeApi, module: Bench) -> None:
    api.put(KSERVE)
    asyncio.run(module.run())
    assert conditions(api.find("Kserve"))["Ready"][0] == "False"
    api.ready()
    asyncio.run(module.run())
    kserve = api.find("Kserve")
    assert conditions(kserve)["Ready"][0] == "True"
    assert {"name": "platform", "version": "3.5.0"} in kserve["status"]["releases"]
    assert kserve["metadata"]["finalizers"] == ["kserve-module.opendatahub.io/finalizer"]


def test_the_scheduler_of_this_line_has_no_tokenizer_beside_it(api: FakeApi, module: Bench) -> None:
    api.put(KSERVE)
    asyncio.run(module.run())
    name = "v3-5-0-kserve-config-llm-scheduler"
    preset = api.objects[Ref("serving.kserve.io/v1alpha2", "LLMInferenceServiceConfig", name, NAMESPACE)]
    template = preset["spec"]["router"]["scheduler"]["template"]
    assert [container["name"] for container in template["containers"]] == ["main"]
    assert "odh-llm-d" not in template["containers"][0]["image"]
