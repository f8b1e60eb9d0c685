"""Our stand-in CRDs on a real API server, and our objects on a server with the real CRDs.

What the offline comparison leaves to the server is judged here: CEL rules, defaults, structural schemas.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from embedded_cluster.standins.objects import contains

from inference_platform.models import render
from inference_platform.platform import resolve
from tests.rendered.charts import Helm, all_cases
from tests.support.clusters import EmbeddedCluster, running_cluster, wait_for, wait_for_crds
from tests.support.crd_schema import REPOSITORY, UPSTREAM_VARIABLE, CrdIndex, upstream_crds, upstream_files
from tests.support.rendered_models import rendered_objects

pytestmark = pytest.mark.cluster

STANDIN_CRDS = REPOSITORY / "local" / "embedded_cluster" / "standins" / "crds"
MODEL = {
    "name": "everything",
    "namespace": "models",
    "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
    "served_name": "Qwen/Qwen2.5",
    "replicas": 3,
    "gpu": {"product": "NVIDIA-L4", "count": 4},
    "resources": {"cpu": 4, "memory": "32Gi"},
    "args": ["--max-model-len=8192"],
    "env": {"A": "1"},
}


@pytest.fixture(scope="module")
def server(embedded_cluster: EmbeddedCluster) -> EmbeddedCluster:
    """The session's cluster with our own CRDs."""
    embedded_cluster.do("apply", "--server-side", "--force-conflicts", "--recursive", "--filename", str(STANDIN_CRDS))
    wait_until_established(embedded_cluster, {path.stem for path in STANDIN_CRDS.glob("*/*.yaml")})
    return embedded_cluster


def wait_until_established(cluster: EmbeddedCluster, names: set[str]) -> None:
    """Wait until these CRDs are established and served."""
    wait_for_crds(cluster, *sorted(names))
    wait_for("their kinds to be served", lambda: cluster.kubectl("get", ",".join(names)).returncode == 0, seconds=180)


def custom(api_version: str, kind: str, name: str, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}
    return found if spec is None else found | {"spec": spec}


def engine(kind: str, name: str, **dependencies: Any) -> dict[str, Any]:
    spec = {"dependencies": dependencies}
    return custom("infrastructure.opendatahub.io/v1alpha1", kind, name, spec)


def istio(**spec: Any) -> dict[str, Any]:
    return custom("sailoperator.io/v1", "Istio", "default", {"namespace": "istio-system", "version": "v1.27.8"} | spec)


def dry_run(cluster: EmbeddedCluster, *objects: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """(objects as the API server would store them, its complaints)"""
    command = ["apply", "--server-side", "--dry-run=server", "--output", "json", "--filename", "-"]
    done = cluster.kubectl(*command, stdin="---\n".join(json.dumps(obj) + "\n" for obj in objects))
    printed = json.loads(done.stdout) if done.stdout.strip() else {"items": []}
    return printed.get("items", [printed]), done.stderr


def test_every_schema_of_ours_is_structural(server: EmbeddedCluster) -> None:
    for path in STANDIN_CRDS.glob("*/*.yaml"):
        conditions = server.get("crd", path.stem)["status"]["conditions"]
        assert [c for c in conditions if c["type"] == "NonStructuralSchema"] == []


@pytest.mark.parametrize(
    ("obj", "complaint"),
    [
        pytest.param(
            engine("AWSKubernetesEngine", "other"),
            "AWSKubernetesEngine name must be default-awskubernetesengine",
            id="aws engine's name",
        ),
        pytest.param(
            engine("AzureKubernetesEngine", "other"),
            "AzureKubernetesEngine name must be default-azurekubernetesengine",
            id="azure engine's name",
        ),
        pytest.param(
            engine("AWSKubernetesEngine", "default-awskubernetesengine", lws={"managementPolicy": "managed"}),
            'Unsupported value: "managed"',
            id="policy",
        ),
        pytest.param(
            custom("components.platform.opendatahub.io/v1alpha1", "Kserve", "other", {}),
            "Kserve name must be default-kserve",
            id="Kserve's name",
        ),
        pytest.param(istio(version="v1.99.0"), 'Unsupported value: "v1.99.0"', id="Istio version"),
        pytest.param(
            istio(values={"global": {"istioNamespace": "elsewhere"}}),
            "spec.values.global.istioNamespace must match spec.namespace",
            id="Istio namespaces disagree",
        ),
        pytest.param(istio(values={"pilot": {"env": {"A": True}}}), "expected string", id="env is text"),
        pytest.param(istio(values={"pilott": {}}), "field not declared in schema", id="misspelt value"),
        pytest.param(
            custom("operator.openshift.io/v1", "LeaderWorkerSetOperator", "cluster", {"managementState": "On"}),
            "should match",
            id="LWS management state",
        ),
        pytest.param(
            custom("operator.openshift.io/v1alpha1", "CertManager", "cluster"), "spec: Required value", id="no spec"
        ),
    ],
)
def test_what_our_schemas_refuse(server: EmbeddedCluster, obj: dict[str, Any], complaint: str) -> None:
    stored, complaints = dry_run(server, obj)
    assert complaint in complaints
    assert stored == []


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(
            engine("AWSKubernetesEngine", "default-awskubernetesengine", lws={}, certManager={}),
            {
                "dependencies": {
                    "lws": {
                        "managementPolicy": "Managed",
                        "configuration": {"namespace": "openshift-lws-operator"},
                    },
                    "certManager": {"managementPolicy": "Managed"},
                }
            },
            id="an omitted policy means Managed",
        ),
        pytest.param(
            custom("sailoperator.io/v1", "Istio", "default"),
            {"namespace": "istio-system", "version": "v1.27.8", "updateStrategy": {"type": "InPlace"}},
            id="Istio",
        ),
        pytest.param(
            custom("components.platform.opendatahub.io/v1alpha1", "Kserve", "default-kserve", {}),
            {"rawDeploymentServiceConfig": "Headless"},
            id="Kserve",
        ),
    ],
)
def test_what_our_schemas_fill_in(server: EmbeddedCluster, obj: dict[str, Any], expected: dict[str, Any]) -> None:
    (stored,), complaints = dry_run(server, obj)
    assert complaints == ""
    assert stored["spec"] == expected


def test_the_engine_of_the_3_4_line_drops_a_namespace(server: EmbeddedCluster) -> None:
    lws = {"managementPolicy": "Unmanaged", "configuration": {"namespace": "elsewhere"}}
    (stored,), _ = dry_run(server, engine("AzureKubernetesEngine", "default-azurekubernetesengine", lws=lws))
    assert stored["spec"]["dependencies"]["lws"] == {"managementPolicy": "Unmanaged", "configuration": {}}


def test_the_istio_namespace_cannot_change(server: EmbeddedCluster) -> None:
    server.do("apply", "--server-side", "--filename", "-", stdin=json.dumps(istio()))
    try:
        _, complaints = dry_run(server, istio(namespace="elsewhere"))
        assert "Value is immutable" in complaints
    finally:
        server.do("delete", "istios.sailoperator.io", "default")


@pytest.fixture(scope="module")
def our_objects(tools_folder: Path) -> list[dict[str, Any]]:
    """Every custom resource that charts, roles and models make."""
    helm = Helm(str(tools_folder / "bin" / "helm"))
    found = [obj for case in all_cases() for obj in helm.objects(case)]
    for path in (REPOSITORY / "roles").glob("*/vars/main.yml"):
        variables = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        lists = [value for value in variables.values() if isinstance(value, list)]
        found += [item for items in lists for item in items if isinstance(item, dict) and "apiVersion" in item]
    for provider in ("aws", "azure"):
        plan = resolve({"platform_release": "3.4", "provider": provider}).to_dict()
        found += [*render([MODEL], {}, plan).objects, *rendered_objects(plan)]
    return found


@pytest.fixture(scope="module")
def real_server(tools_folder: Path, our_objects: list[dict[str, Any]]) -> Iterator[tuple[EmbeddedCluster, CrdIndex]]:
    """A cluster with the real CRDs of the kinds we make, and which kinds those are."""
    folder = upstream_crds()
    if folder is None:
        pytest.skip(f"no real CRDs to install: expected in ../shared/upstream/crds or ${UPSTREAM_VARIABLE}")
    files = upstream_files(folder)
    index = CrdIndex.from_files(files.values())
    made = {(obj["apiVersion"].partition("/")[0], obj["kind"]) for obj in our_objects}
    needed = {version.crd for version in index.versions.values() if (version.group, version.kind) in made}
    with running_cluster(f"real-crds-{os.getpid()}", tools_folder) as cluster:
        for name in sorted(needed):
            cluster.do("apply", "--server-side", "--filename", str(files[name]))
        wait_until_established(cluster, needed)
        for namespace in {obj["metadata"].get("namespace", "default") for obj in our_objects} - {"default"}:
            cluster.kubectl("create", "namespace", namespace)
        yield cluster, index


def test_the_real_crds_accept_our_objects_unchanged(
    real_server: tuple[EmbeddedCluster, CrdIndex], our_objects: list[dict[str, Any]]
) -> None:
    cluster, index = real_server
    custom_objects = [obj for obj in our_objects if index.knows(obj)]
    kinds = {obj["kind"] for obj in custom_objects}
    assert kinds >= {
        "Istio",
        "LeaderWorkerSetOperator",
        "CertManager",
        "Kserve",
        "Gateway",
        "LLMInferenceService",
        "InferenceObjective",
    }
    stored, complaints = dry_run(cluster, *custom_objects)
    assert complaints == ""
    for mine, theirs in zip(custom_objects, stored, strict=True):
        assert contains(theirs, mine), f"{mine['kind']} {mine['metadata']['name']} was changed: {theirs}"
