"""Each trap twice: a stand-in that behaves as the real program does harm, and preflight refuses to go there.

The same objects are shown to both (observed-operators.md 1 to 4, platform.md 2.5, operators.md 3.5 and 4.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from embedded_cluster.standins import rules
from embedded_cluster.standins.cloud_manager import names_from, rules_for
from embedded_cluster.standins.lws_operator import LWS_CRD, SERVICE_MONITOR_CRD

from inference_platform import platform
from inference_platform.findings import InventoryError
from inference_platform.preflight import protected
from tests.unit.preflight.world import World, gateway_api
from tests.unit.standins import test_cloud_manager as cloud
from tests.unit.standins import test_lws_operator as lws
from tests.unit.standins import test_rhai_operator as kserve
from tests.unit.standins.fake_api import Bench, FakeApi, crd_folder, pod

#: Kind in the API server -> part of a snapshot.
PARTS = {
    "Deployment": "deployments",
    "CustomResourceDefinition": "crds",
    "LeaderWorkerSet": "leader_worker_sets",
    "AWSKubernetesEngine": "engines",
    "AzureKubernetesEngine": "engines",
}
OF_THE_COMMUNITY = {"meta.helm.sh/release-name": "istio", "meta.helm.sh/release-namespace": "istio-system"}


@pytest.fixture
def api() -> FakeApi:
    """An API server with the CRDs that the stand-ins ask for."""
    api = FakeApi()
    api.crd(*cloud.CERT_MANAGER, SERVICE_MONITOR_CRD)
    return api


def cloud_manager(api: FakeApi, line: str, folder: Path) -> Bench:
    """The cloud manager of a line."""
    file = rules.load("cloud_manager")
    ruleset, values = rules_for(file, line, "aws" if line == "3.5" else "azure")
    environment = pod(api, "rhai-cloudmanager-system", env=cloud.ENV, crds_dir=crd_folder(folder, cloud.CRDS))
    names = names_from(cloud.ENV, file.settings["names"])
    return Bench(api, cloud.Manager(environment, ruleset, {**values, **names}))


def codes(api: FakeApi, **settings: Any) -> set[str]:
    """What preflight says to an inventory on a cluster with these objects."""
    world = World(settings={"platform_release": "3.4", **settings})
    for ref, obj in api.objects.items():
        if ref.kind in PARTS:
            world.add(PARTS[ref.kind], obj)
    return {finding.code for finding in world.findings()}


def placed(name: str, namespace: str, annotations: Mapping[str, str] | None = None) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "annotations": dict(annotations or {})}
    return {**cloud.deployment(name), "metadata": metadata}


def test_managed_takes_over_by_force(api: FakeApi, tmp_path: Path) -> None:
    api.put(placed("servicemesh-operator3", "istio-system", OF_THE_COMMUNITY))
    assert codes(api, provider="aws") == {"IP-PRE-060"}

    cloud.engine(api, "3.5", sailOperator="Managed")
    asyncio.run(cloud_manager(api, "3.5", tmp_path).run())
    taken = api.find("Deployment", "servicemesh-operator3")["metadata"]
    assert taken["ownerReferences"][0]["kind"] == "AWSKubernetesEngine", "the harm"


def test_managed_takes_over_by_force_only_what_the_inventory_names(api: FakeApi) -> None:
    api.put(placed("servicemesh-operator3", "istio-system", OF_THE_COMMUNITY))
    assert codes(api, provider="aws", ownership_adopt=["lws"]) == {"IP-PRE-060"}
    assert codes(api, provider="aws", ownership_adopt=["sail"]) == set()


@pytest.mark.parametrize(("line", "provider"), [("3.4", "azure"), ("3.5", "aws")])
def test_unmanaged_uninstalls(api: FakeApi, tmp_path: Path, line: str, provider: str) -> None:
    cloud.engine(api, line, certManager="Managed")
    assert codes(api, provider=provider) == {"IP-PRE-061"}
    assert codes(api, provider=provider, ownership_let_go=["cert_manager"]) == {"IP-PRE-066"}

    api.objects = {ref: obj for ref, obj in api.objects.items() if ref.kind != cloud.PROVIDERS[line]}
    bench = cloud_manager(api, line, tmp_path)
    cloud.engine(api, line, lws="Managed")
    asyncio.run(bench.run())
    assert api.find("Deployment", "openshift-lws-operator")
    cloud.engine(api, line)
    asyncio.run(bench.run())
    assert not api.all("LeaderWorkerSetOperator"), "the harm"


def test_unmanaged_takes_over_what_we_install_beside_it(api: FakeApi, tmp_path: Path) -> None:
    """With the 3.5 line, an engine that is told to manage nothing takes what stands behind Istio/default."""
    bench = cloud_manager(api, "3.5", tmp_path)
    cloud.engine(api, "3.5")
    asyncio.run(bench.run())
    assert codes(api, provider="aws", cloud_manager="none") == {"IP-PRE-062"}
    with pytest.raises(InventoryError, match="takes over by force"):
        platform.resolve({"platform_release": "3.4", "provider": "aws", "ownership": {"sail": "managed"}})

    api.put(placed("servicemesh-operator3", "istio-system"))
    api.put(cloud.ISTIO)
    cloud.touch(api, "3.5", "1")
    asyncio.run(bench.run())
    assert api.find("Deployment", "servicemesh-operator3")["metadata"]["ownerReferences"], "the harm"


def test_the_end_of_the_lws_operators_object_is_that_of_all_leader_worker_sets(api: FakeApi, tmp_path: Path) -> None:
    bench = Bench(api, operator_of_lws(api, tmp_path))
    own = lws.custom_resource(api)
    lws.issue(api, *lws.SECRETS)
    asyncio.run(bench.run())
    api.put(
        {
            "apiVersion": "leaderworkerset.x-k8s.io/v1",
            "kind": "LeaderWorkerSet",
            "metadata": {"name": "training", "namespace": "team"},
        }
    )
    cloud.engine(api, "3.4", lws="Managed")
    found = codes(api, provider="azure", ownership={"lws": "external"}, ownership_let_go=["lws"])
    assert found == {"IP-PRE-063", "IP-PRE-053"}, "and no switch lets it pass"
    (loss,) = protected.losses([own], [])
    assert "every LeaderWorkerSet of the cluster would be deleted" in loss

    api.drop("LeaderWorkerSetOperator", "cluster")
    api.collect_garbage()
    assert not api.all("CustomResourceDefinition", LWS_CRD), "the harm: with its CRD go all objects"


def test_the_end_of_a_crd_is_that_of_all_objects_of_its_kind_unless_helm_keeps_it() -> None:
    crd: dict[str, Any] = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "llminferenceservices.serving.kserve.io"},
    }
    assert protected.losses([crd], [crd]) == []
    (loss,) = protected.losses([crd], [])
    assert "llminferenceservices.serving.kserve.io would be deleted: all objects of this kind" in loss
    crd["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    assert protected.losses([crd], []) == []


def operator_of_lws(api: FakeApi, folder: Path) -> lws.LwsOperator:
    environment = pod(
        api,
        lws.NAMESPACE,
        env={"RELATED_IMAGE_OPERAND_IMAGE": "lws:1"},
        crds_dir=crd_folder(folder / "lws-crds", {"lws": [LWS_CRD]}),
    )
    versions = {"versions": dict.fromkeys(("serving", "metrics", "config"), "")}
    return lws.LwsOperator(environment, rules.load("lws_operator").rules["cluster"], versions)


def test_the_lws_operator_panics_at_a_crd_that_somebody_else_made(api: FakeApi, tmp_path: Path) -> None:
    api.crd(LWS_CRD, group="leaderworkerset.x-k8s.io")
    assert codes(api, provider="azure") == {"IP-PRE-065"}

    lws.custom_resource(api)
    lws.issue(api, *lws.SECRETS)
    asyncio.run(Bench(api, operator_of_lws(api, tmp_path)).step())
    assert not api.all("Deployment"), "the harm"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"kind": "Kserve", "apiVersion": "components.platform.opendatahub.io/v1alpha1"}, None),
        (
            {"kind": "Platform", "apiVersion": "config.opendatahub.io/v1alpha1"},
            {"spec": {"modules": {"kserve": {"managementState": "Removed"}}}},
        ),
        (
            {"kind": "DataScienceCluster", "apiVersion": "datasciencecluster.opendatahub.io/v1"},
            {"spec": {"components": {"kserve": {"managementState": "Removed"}}}},
        ),
    ],
    ids=["the object goes", "the module of 3.5", "the component on OpenShift"],
)
def test_no_release_removes_kserve(before: dict[str, Any], after: dict[str, Any] | None) -> None:
    named = {**before, "metadata": {"name": "x"}}
    (loss,) = protected.losses([named], [{**named, **after}] if after else [])
    assert "the whole serving stack would be deleted" in loss
    assert protected.losses([named], [named]) == []


ENGINES = ("AWSKubernetesEngine", "AzureKubernetesEngine", "CoreWeaveKubernetesEngine")
DEPENDENCIES = {"certManager": "cert_manager", "gatewayAPI": "gateway_api", "lws": "lws", "sailOperator": "sail"}


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize(("field", "dependency"), DEPENDENCIES.items())
def test_no_release_tells_the_cloud_manager_to_delete_what_it_manages(kind: str, field: str, dependency: str) -> None:
    before = engine_with(kind, {name: {"managementPolicy": "Managed"} for name in DEPENDENCIES})
    kept = before["spec"]["dependencies"]
    after = engine_with(kind, {**kept, field: {"managementPolicy": "Unmanaged"}})
    (loss,) = protected.losses([before], [after])
    assert f"dependencies.{field}.managementPolicy would become Unmanaged: the cloud manager would delete" in loss
    assert f"ownership_let_go: [{dependency}]" in loss
    left_out = engine_with(kind, {})
    assert len(protected.losses([left_out], [after])) == 1, "left out means Managed"
    others = set(DEPENDENCIES.values()) - {dependency}
    assert protected.losses([before], [after], others) == [loss]
    assert protected.losses([before], [after], {dependency}) == []
    assert protected.losses([after], [before]) == protected.losses([after], [after]) == []


def engine_with(kind: str, dependencies: dict[str, Any]) -> dict[str, Any]:
    api_version = "infrastructure.opendatahub.io/v1alpha1"
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": {"dependencies": dependencies}}


def test_the_end_of_kserve_is_that_of_the_serving_stack(tmp_path: Path) -> None:
    api = FakeApi()
    api.crd(*kserve.REQUIRED)
    api.put({"apiVersion": "components.platform.opendatahub.io/v1alpha1", "kind": "Kserve", **kserve.NAMED, "spec": {}})
    crds = {"inference-extension": kserve.EXTENSION, "kserve-llmisvc": kserve.SERVED}
    kserve.installed(api, kserve.bench_of(api, crd_folder(tmp_path, crds)))
    assert protected.holds([api.find("Kserve")])

    api.drop("Kserve", "default-kserve")
    api.collect_garbage()
    assert not api.all("Deployment", "llmisvc-controller-manager"), "the harm"
    assert not api.all("LLMInferenceServiceConfig")


def test_an_older_gateway_api_is_applied_by_force_over_a_newer_one(api: FakeApi, tmp_path: Path) -> None:
    newer = gateway_api("v1.5.1")[1]
    api.put({"apiVersion": "apiextensions.k8s.io/v1", **newer, "spec": {"newer": True}})
    assert codes(api, provider="azure") == {"IP-PRE-041", "IP-PRE-050"}
    assert "IP-PRE-041" in codes(api, provider="azure", ownership_adopt=["gateway_api"])

    cloud.engine(api, "3.4", gatewayAPI="Managed")
    bench = cloud_manager(api, "3.4", tmp_path)
    asyncio.run(bench.run())
    name = newer["metadata"]["name"]
    assert f"CustomResourceDefinition {name}" in api.writes(), "the harm"
