"""Every check is provoked, with its severity; a good cluster provokes none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from embedded_cluster.nodes import Flavour

from inference_platform import platform
from inference_platform.catalog import load
from inference_platform.inventory import validate
from inference_platform.paths import ROOT
from inference_platform.preflight import CHECKS, data
from inference_platform.preflight.gateway_checks import parts_for
from inference_platform.preflight.snapshot import Refusal
from inference_platform.schema import load_schema
from tests.unit.preflight.world import (
    ISTIO,
    Object,
    World,
    asking_for,
    cert_manager,
    crds,
    deployment,
    engine,
    gateway_api,
    istiod,
    named,
    node,
    service,
)

ENFORCE = "pod-security.kubernetes.io/enforce"
CASES: list[Any] = []


def case(code: str, severity: str = "error") -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """A way to provoke exactly one check."""

    def add(spoil: Callable[[World], None]) -> Callable[[World], None]:
        CASES.append(pytest.param(spoil, code, severity, id=f"{code} {spoil.__name__.replace('_', ' ')}"))
        return spoil

    return add


@case("IP-PRE-001")
def too_old_for_the_platform(world: World) -> None:
    world.seen.version = {"major": "1", "minor": "29+", "gitVersion": "v1.29.3-eks"}
    world.own(lws="external")
    world.add("deployments", deployment("lws-controller-manager", "lws-system", "manager", "lws:v0.7.0"))
    world.add("crds", *crds("lws"))


@case("IP-PRE-001", "warning")
def a_server_that_does_not_say(world: World) -> None:
    world.seen.version = {"major": "", "minor": ""}


@case("IP-PRE-002", "warning")
def older_than_tested(world: World) -> None:
    world.seen.version = {"major": "1", "minor": "32", "gitVersion": "v1.32.0"}


@case("IP-PRE-002", "warning")
def newer_than_tested(world: World) -> None:
    world.seen.version = {"major": "1", "minor": "35+", "gitVersion": "v1.35.0-gke"}


def test_the_newest_version_that_was_tested_is_that_of_the_embedded_cluster() -> None:
    locked = (ROOT / "local" / "go" / "cluster" / "go.mod").read_text(encoding="utf-8")
    found = re.search(r"k8s.io/kubernetes v1\.(\d+)", locked)
    assert found
    assert data.load()["kubernetes"][0]["newest"] == f"1.{found[1]}"


@case("IP-PRE-003")
def old_openshift(world: World) -> None:
    world.add("cluster_versions", named("ClusterVersion", "version", status={"desired": {"version": "4.18.20"}}))


@case("IP-PRE-003", "warning")
def openshift_newer_than_supported(world: World) -> None:
    world.add("cluster_versions", named("ClusterVersion", "version", status={"desired": {"version": "4.23.0"}}))


@case("IP-PRE-007")
def not_openshift(world: World) -> None:
    on_openshift(world)
    world.seen.parts["cluster_versions"] = []


@case("IP-PRE-008")
def a_subscription_of_somebody_else(world: World) -> None:
    on_openshift(world)
    world.add("subscriptions", named("Subscription", "theirs", "their-namespace", spec={"name": "rhods-operator"}))


@case("IP-PRE-008")
def an_operator_that_was_updated(world: World) -> None:
    on_openshift(world)
    world.add("subscriptions", subscription("rhods-operator", "rhods-operator.3.4.5"))


@case("IP-PRE-008")
def a_version_that_the_catalogue_does_not_have_yet(world: World) -> None:
    on_openshift(world)
    world.settings["olm_operators"] = {"lws": {"csv": "leader-worker-set.v1.0.2"}}
    world.add("subscriptions", subscription("leader-worker-set", "leader-worker-set.v1.0.0", channel="stable-v1.0"))


@case("IP-PRE-008")
def a_version_beyond_the_one_that_olm_offers(world: World) -> None:
    on_openshift(world)
    world.settings["olm_operators"] = {"lws": {"csv": "leader-worker-set.v1.0.2"}}
    offered = subscription("leader-worker-set", "leader-worker-set.v1.0.0", channel="stable-v1.0")
    offered["status"]["currentCSV"] = "leader-worker-set.v1.0.1"
    world.add("subscriptions", offered)


@case("IP-PRE-008")
def a_second_operator_group(world: World) -> None:
    on_openshift(world)
    world.add("operator_groups", named("OperatorGroup", "theirs", "redhat-ods-operator"))


def on_openshift(world: World) -> None:
    """A cluster with OpenShift, and an inventory for it."""
    world.settings = {"platform_release": "3.4", "provider": "openshift"}
    world.add("cluster_versions", named("ClusterVersion", "version", status={"desired": {"version": "4.21.3"}}))
    world.add("crds", *gateway_api("v1.3.0"))


def subscription(
    package: str, csv: str, *, labels: dict[str, str] | None = None, channel: str = "", **metadata: Any
) -> dict[str, Any]:
    """A Subscription that has installed a version; ours without other labels."""
    ours = {"inference-platform.io/layer": "some_layer"} if labels is None else labels
    status = {"installedCSV": csv, "currentCSV": csv}
    spec = {"name": package, "channel": channel}
    return named("Subscription", package, "some-namespace", labels=ours, spec=spec, status=status, **metadata)


@pytest.mark.parametrize(
    ("wanted", "installed", "offered"),
    [
        ({"csv": "leader-worker-set.v1.0.1"}, "leader-worker-set.v1.0.0", "leader-worker-set.v1.0.1"),
        # What another channel offers shows once the Subscription says so.
        ({"channel": "stable-v1.1", "csv": "leader-worker-set.v1.1.0"}, "leader-worker-set.v1.0.0", ""),
    ],
)
def test_an_update_that_olm_can_make_is_no_obstacle(wanted: dict[str, str], installed: str, offered: str) -> None:
    world = World()
    on_openshift(world)
    world.settings["olm_operators"] = {"lws": wanted}
    found = subscription("leader-worker-set", installed, channel="stable-v1.0")
    found["status"]["currentCSV"] = offered or installed
    world.add("subscriptions", found)
    assert [item for item in world.codes() if item[0] == "IP-PRE-008"] == []


def test_what_is_installed_is_named_as_what_the_inventory_can_have() -> None:
    world = World()
    on_openshift(world)
    world.add("subscriptions", subscription("leader-worker-set", "leader-worker-set.v1.0.1", channel="stable-v1.0"))
    (finding,) = [item for item in world.findings() if item.code == "IP-PRE-008"]
    assert "no way back" in finding.found
    assert finding.remedy.startswith("Set olm_operators.lws.csv to leader-worker-set.v1.0.1")


def test_what_the_release_supports_is_not_told_as_tested() -> None:
    world = World()
    openshift_newer_than_supported(world)
    (finding,) = world.findings()
    assert finding.expected == "OpenShift up to 4.22, which release 3.4 supports"
    assert "No run on any OpenShift" in finding.remedy


def test_a_service_mesh_of_ones_own_on_openshift_is_told_as_what_it_is() -> None:
    """No cloud manager is there that could take it over."""
    world = World()
    on_openshift(world)
    csv = "servicemeshoperator3.v3.3.1"
    theirs = subscription("servicemeshoperator3", csv, labels={})
    world.add("subscriptions", {**theirs, "metadata": {**theirs["metadata"], "namespace": "openshift-operators"}})
    operator = deployment("servicemesh-operator3", "openshift-operators", "operator", "i", labels={"olm.owner": csv})
    world.add("deployments", operator)
    (finding,) = world.findings()
    text = f"{finding.expected} {finding.found} {finding.remedy}"
    assert finding.code == "IP-PRE-060"
    assert "cloud manager" not in text
    assert "ingress operator" in text
    assert csv in text
    world.settings["ownership_adopt"] = ["sail"]
    assert world.codes() == []


def test_on_openshift_what_our_subscriptions_and_openshift_brought_is_no_obstacle() -> None:
    world = World()
    on_openshift(world)
    ingress = {"ingress.operator.openshift.io/owned": "true"}
    revision = [{"kind": "IstioRevision", "name": "openshift-gateway", "apiVersion": "sailoperator.io/v1"}]
    csvs = "cert-manager-operator.v1.18.1", "leader-worker-set.v1.0.0", "servicemeshoperator3.v3.3.1"
    world.add("subscriptions", subscription("openshift-cert-manager-operator", csvs[0]))
    world.add("subscriptions", subscription("leader-worker-set", csvs[1]))
    world.add("subscriptions", subscription("servicemeshoperator3", csvs[2], labels={}, annotations=ingress))
    for csv, namespace, name in zip(
        csvs,
        ("cert-manager-operator", "openshift-lws-operator", "openshift-operators"),
        ("cert-manager-operator-controller-manager", "openshift-lws-operator", "servicemesh-operator3"),
        strict=True,
    ):
        world.add("deployments", deployment(name, namespace, "operator", "i", labels={"olm.owner": csv}))
    istio = deployment("istiod-openshift-gateway", "openshift-ingress", "discovery", "i", labels={"app": "istiod"})
    world.add("deployments", {**istio, "metadata": {**istio["metadata"], "ownerReferences": revision}})
    assert world.codes() == []
    assert world.decisions() == {
        "cert_manager": "managed",
        "gateway_api": "external",
        "lws": "managed",
        "sail": "delegated",
    }


def test_an_istio_that_the_ingress_operator_installed_without_olm_is_openshifts_own() -> None:
    """It looks like a Helm release of anybody's, and there is no Subscription, Istio or IstioRevision."""
    world = World()
    on_openshift(world)
    helm = {
        "meta.helm.sh/release-name": "openshift-gateway-istiod",
        "meta.helm.sh/release-namespace": "openshift-ingress",
    }
    labels = {"app": "istiod"}
    world.add(
        "deployments",
        deployment("istiod-openshift-gateway", "openshift-ingress", "discovery", "i", labels=labels, annotations=helm),
    )
    assert world.codes() == []
    assert world.decisions()["sail"] == "delegated"
    world.add("deployments", deployment("istiod", "mesh", "discovery", "i", labels=labels, annotations=helm))
    assert world.codes() == [("IP-PRE-055", "error")], "one more is still told"


@case("IP-PRE-004")
def a_right_is_missing(world: World) -> None:
    world.seen.denied["apps", "deployments", "create"] = ()


@case("IP-PRE-004", "warning")
def rights_that_the_user_may_not_give_unless_he_has_them(world: World) -> None:
    world.seen.denied["rbac.authorization.k8s.io", "clusterroles", "escalate"] = ()


def test_missing_rights_are_told_with_their_namespaces() -> None:
    world = World()
    for verb in ("get", "create"):
        world.seen.denied["apps", "deployments", verb] = ("istio-system",)
    world.seen.denied["", "namespaces", "create"] = ()
    (finding,) = world.findings()
    assert finding.found == "no right to get/create deployments.apps in istio-system, create namespaces"


@case("IP-PRE-009", "warning")
def no_right_to_the_lease(world: World) -> None:
    world.seen.denied_lease.append("create")


@case("IP-PRE-005")
def no_helm(world: World) -> None:
    world.seen.helm = ("none", "Install it.")


@case("IP-PRE-006", "warning")
def quotas_may_not_be_seen(world: World) -> None:
    world.seen.unseen["quotas"] = "resourcequotas is forbidden"


@case("IP-PRE-006")
def what_others_have_may_not_be_seen(world: World) -> None:
    world.seen.unseen["crds"] = "customresourcedefinitions is forbidden"


@case("IP-PRE-010")
def only_nodes_with_taints(world: World) -> None:
    world.seen.parts["nodes"] = [node("gpu", gpus=1)]


@case("IP-PRE-010")
def an_architecture_without_images(world: World) -> None:
    world.seen.parts["nodes"] = [node("board", info={"architecture": "riscv64"})]


@case("IP-PRE-010", "warning")
def no_node_yet_where_nodes_come_on_demand(world: World) -> None:
    world.seen.parts["nodes"] = []
    world.add("crds", named("CustomResourceDefinition", "nodepools.karpenter.sh"))


@case("IP-PRE-011", "warning")
def a_node_is_not_ready(world: World) -> None:
    world.add("nodes", node("sick", ready=False))


@case("IP-PRE-012")
def no_device_plugin(world: World) -> None:
    world.seen.parts["nodes"] = [node("cpu"), node("gpu", gpus=1)]
    world.seen.parts["nodes"][1]["status"]["allocatable"] = {}
    world.models = [service("m")]


@case("IP-PRE-012")
def a_device_plugin_that_is_gone(world: World) -> None:
    """The kubelet goes on to tell the resource."""
    world.seen.parts["nodes"] = [node("cpu"), node("gpu", gpus=1)]
    world.seen.parts["nodes"][1]["status"].update(capacity={"nvidia.com/gpu": "1"}, allocatable={"nvidia.com/gpu": "0"})
    world.models = [service("m")]


@case("IP-PRE-012")
def a_silent_node_beside_one_with_parts_of_gpus(world: World) -> None:
    """What models ask for is offered by neither."""
    world.seen.parts["nodes"] = [node("cpu"), node("gpu", gpus=1), node("mig", gpus=1)]
    world.seen.parts["nodes"][1]["status"]["allocatable"] = {}
    world.seen.parts["nodes"][2]["status"]["allocatable"] = {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "7"}
    world.models = [service("m")]


@case("IP-PRE-012", "warning")
def parts_of_gpus_that_are_gone_too(world: World) -> None:
    world.add("nodes", node("mig", gpus=1))
    world.seen.parts["nodes"][-1]["status"]["allocatable"] = {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "0"}


@pytest.mark.parametrize("name", ["nvidia.com/mig-1g.5gb", "nvidia.com/mig-3g.20gb", "nvidia.com/gpu.shared"])
def test_a_node_that_offers_its_gpus_in_parts_needs_no_repair(name: str) -> None:
    world = World()
    world.add("nodes", node("parts", gpus=1))
    world.seen.parts["nodes"][-1]["status"]["allocatable"] = {"nvidia.com/gpu": "0", name: "7"}
    assert world.codes() == []


@case("IP-PRE-012", "warning")
def one_node_without_device_plugin(world: World) -> None:
    world.add("nodes", node("new", gpus=1))
    world.seen.parts["nodes"][-1]["status"]["allocatable"] = {"nvidia.com/gpu": "0"}


def waiting_claim(world: World, **spec: Any) -> None:
    """A model that reads a claim without a volume."""
    world.models = [service("m", model={"uri": "pvc://weights/qwen"})]
    namespace = world.models[0]["metadata"]["namespace"]
    claim = named("PersistentVolumeClaim", "weights", namespace, spec=spec, status={"phase": "Pending"})
    world.add("claims", claim)


@case("IP-PRE-020", "warning")
def a_claim_of_a_class_that_is_not_there(world: World) -> None:
    waiting_claim(world, storageClassName="fast")
    world.add("storage_classes", named("StorageClass", "slow"))


@case("IP-PRE-020", "warning")
def a_claim_without_class_and_no_default(world: World) -> None:
    waiting_claim(world)
    world.add("storage_classes", named("StorageClass", "slow"))


@case("IP-PRE-020", "warning")
def a_claim_for_a_volume_that_somebody_makes_by_hand(world: World) -> None:
    waiting_claim(world, storageClassName="")


def test_a_claim_without_any_class_waits_for_a_volume_and_not_for_a_class() -> None:
    world = World()
    a_claim_for_a_volume_that_somebody_makes_by_hand(world)
    (finding,) = world.findings()
    assert finding.remedy.startswith("Make a PersistentVolume")
    assert finding.found == "none bound yet"


@pytest.mark.parametrize("spec", [{"storageClassName": "slow"}, {}, {"storageClassName": "gone", "volumeName": "v"}])
def test_a_claim_that_will_get_a_volume_is_fine(spec: dict[str, Any]) -> None:
    world = World()
    waiting_claim(world, **spec)
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    world.add("storage_classes", named("StorageClass", "slow", annotations=default))
    assert world.codes() == []


@pytest.mark.parametrize(
    ("flavour", "claims"),
    [
        ("aws", {"gp2": True, "gp3": False, None: False}),
        ("azure", {"managed-csi": True, "gp2": False, None: True}),
        ("coreweave", {"shared-vast": True, None: False}),
        ("gcp", {"premium-rwo": True, "gp2": False, None: True}),
        ("generic", {"local-path": False, None: False}),
        ("openshift", {"ocs-storagecluster-cephfs": True, "gp3-csi": False, None: False}),
    ],
)
def test_a_claim_is_judged_by_the_classes_of_the_provider(flavour: str, claims: dict[str | None, bool]) -> None:
    """None: a claim that names no class, for which only a default one will do."""
    for name, fine in claims.items():
        world = World()
        waiting_claim(world, **({} if name is None else {"storageClassName": name}))
        classes = [item for item in Flavour.load(flavour).objects() if item["kind"] == "StorageClass"]
        world.add("storage_classes", *classes)
        assert world.codes() == ([] if fine else [("IP-PRE-020", "warning")]), name


@case("IP-PRE-021", "warning")
def load_balancers_that_wait(world: World) -> None:
    world.add("load_balancers", named("Service", "web", "shop", status={"loadBalancer": {}}))


@case("IP-PRE-030")
def a_policy_refuses_a_dry_run(world: World) -> None:
    world.seen.refusals.append(Refusal("Pod of the platform", 'admission webhook "policy" denied the request'))


@case("IP-PRE-030", "warning")
def a_policy_refuses_it_where_the_platform_does_not_write(world: World) -> None:
    world.seen.refusals.append(Refusal("Pod of the platform in namespace default", "denied", ("istio-system",)))


def asked_about(group: str, resource: str, *operations: str) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "operations": list(operations or ("CREATE", "UPDATE"))}


def configuration(**webhook: Any) -> dict[str, Any]:
    entry = {
        "name": "w.example.org",
        "failurePolicy": "Fail",
        "clientConfig": {"service": {"name": "gone", "namespace": "other"}},
        "rules": [asked_about("*", "pods")],
        **webhook,
    }
    return named("ValidatingWebhookConfiguration", "leftover", webhooks=[entry])


@case("IP-PRE-031")
def a_webhook_that_points_at_nothing(world: World) -> None:
    world.add("validating_webhooks", configuration())
    world.seen.backends["other", "gone"] = "no such Service"


@case("IP-PRE-031", "warning")
def a_dead_webhook_for_some_namespaces(world: World) -> None:
    world.add("mutating_webhooks", configuration(namespaceSelector={"matchLabels": {"a": "b"}}))
    world.seen.backends["other", "gone"] = "no ready pod behind the Service"


@case("IP-PRE-031")
def a_dead_webhook_for_all_but_the_namespaces_of_the_system(world: World) -> None:
    others = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
    world.add("mutating_webhooks", configuration(namespaceSelector={"matchExpressions": [others]}))
    world.seen.backends["other", "gone"] = "no ready pod behind the Service"


@case("IP-PRE-031", "warning")
def a_dead_webhook_for_some_objects(world: World) -> None:
    world.add("mutating_webhooks", configuration(objectSelector={"matchLabels": {"a": "b"}}))
    world.seen.backends["other", "gone"] = "no ready pod behind the Service"


@case("IP-PRE-031")
def a_leftover_of_a_cert_manager_elsewhere(world: World) -> None:
    world.add("validating_webhooks", configuration(rules=[asked_about("cert-manager.io", "*")]))
    world.seen.backends["other", "gone"] = "no such Service"


@case("IP-PRE-031")
def a_dead_webhook_of_a_cert_manager_that_nobody_repairs(world: World) -> None:
    world.own(cert_manager="external")
    world.add("deployments", cert_manager())
    world.add("crds", *crds("cert_manager"))
    theirs = {"service": {"name": "cert-manager-webhook", "namespace": "cert-manager"}}
    rules = [asked_about("cert-manager.io", "*")]
    world.add("validating_webhooks", configuration(clientConfig=theirs, rules=rules))
    world.seen.backends["cert-manager", "cert-manager-webhook"] = "no ready pod behind the Service"


@case("IP-PRE-032")
def a_policy_that_guards_gateway_api(world: World) -> None:
    name = "openshift-ingress-operator-gatewayapi-crd-admission"
    world.add("admission_policies", named("ValidatingAdmissionPolicy", name))


@case("IP-PRE-032")
def a_policy_of_a_newer_gateway_api_that_is_left_over(world: World) -> None:
    world.add("admission_policies", named("ValidatingAdmissionPolicy", "safe-upgrades.gateway.networking.k8s.io"))


@case("IP-PRE-050")
def a_mesh_that_the_provider_manages(world: World) -> None:
    webhook = {"name": "rev.istio.io", "clientConfig": {"url": "https://mesh.example.com/inject"}}
    injector = named("MutatingWebhookConfiguration", "istiod-managed", labels={"app": "sidecar-injector"})
    world.add("mutating_webhooks", {**injector, "webhooks": [webhook]})


@case("IP-PRE-033")
def a_model_namespace_that_is_restricted(world: World) -> None:
    world.add("namespaces", named("Namespace", "models", labels={ENFORCE: "restricted"}))
    world.models = [service("m")]


@case("IP-PRE-033")
def data_parallel_pods_in_a_baseline_namespace(world: World) -> None:
    world.add("namespaces", named("Namespace", "models", labels={ENFORCE: "baseline"}))
    world.models = [service("m", parallelism={"data": 2})]


POD = {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1", "memory": "2Gi", "cpu": "1"}}}]}


def pod(name: str, namespace: str = "models", model: str = "", **more: Any) -> Object:
    """A pod with a GPU, one of a model or of nobody we know."""
    labels = {"app.kubernetes.io/part-of": "llminferenceservice", "app.kubernetes.io/name": model} if model else {}
    return named("Pod", name, namespace, labels=labels, spec=POD, **more)


@case("IP-PRE-034", "warning")
def a_quota_on_limits(world: World) -> None:
    world.add("quotas", named("ResourceQuota", "q", "istio-system", spec={"hard": {"limits.cpu": "4"}}))


@case("IP-PRE-034", "warning")
def a_quota_with_fewer_gpus_than_models_ask_for(world: World) -> None:
    world.add("quotas", named("ResourceQuota", "q", "models", spec={"hard": {"requests.nvidia.com/gpu": "3"}}))
    world.models = [service("m", replicas=2, template=asking_for(2))]


@case("IP-PRE-034", "warning")
def a_quota_in_thousands_with_fewer_gpus_than_groups_ask_for(world: World) -> None:
    world.add("quotas", named("ResourceQuota", "q", "models", spec={"hard": {"requests.nvidia.com/gpu": "1k"}}))
    groups = {"parallelism": {"data": 16, "dataLocal": 8}}
    world.models = [service("m", replicas=63, template=asking_for(8), worker=asking_for(8), **groups)]


@case("IP-PRE-034", "warning")
def a_quota_of_the_inventory_on_what_its_models_do_not_say(world: World) -> None:
    world.settings["namespace_quotas"] = [{"namespace": "models", "hard": {"limits.memory": "100Gi"}}]
    world.models = [service("m", template=asking_for(1))]


@case("IP-PRE-034", "warning")
def a_quota_on_limits_with_a_scheduler_that_has_none(world: World) -> None:
    hard = {"limits.memory": "9Ti", "limits.cpu": "999", "requests.cpu": "999"}
    world.add("quotas", named("ResourceQuota", "q", "models", spec={"hard": hard}))
    limits = {"cpu": "1", "memory": "1Gi"}
    template = {"containers": [{"name": "main", "resources": {"limits": limits}}]}
    world.models = [service("m", template=template, router={"scheduler": {}})]


@case("IP-PRE-034", "warning")
def a_quota_on_pods_that_others_use_up(world: World) -> None:
    world.add("quotas", named("ResourceQuota", "q", "models", spec={"hard": {"pods": "3"}}))
    world.add("pods", *(pod(f"batch-{number}") for number in range(2)))
    world.models = [service("m", replicas=2, template=asking_for(1))]


@case("IP-PRE-040")
def a_version_in_which_objects_are_stored_goes(world: World) -> None:
    world.seen.dropped["llminferenceservices.serving.kserve.io"] = ["v1alpha1"]


def test_the_way_out_of_a_stored_version_is_a_command() -> None:
    world = World()
    a_version_in_which_objects_are_stored_goes(world)
    (finding,) = world.findings()
    assert finding.remedy.startswith("Apply a CRD llminferenceservices.serving.kserve.io first")
    world.seen.still_stored["llminferenceservices.serving.kserve.io"] = ["v1alpha2"]
    (finding,) = world.findings()
    assert (
        "`kubectl patch crd llminferenceservices.serving.kserve.io --subresource=status --type=merge "
        """-p '{"status": {"storedVersions": ["v1alpha2"]}}'`""" in finding.remedy
    )


@case("IP-PRE-041")
def newer_gateway_api(world: World) -> None:
    world.add("crds", *gateway_api("v1.5.1", labels={"inference-platform.io/layer": "gateway_api"}))


@case("IP-PRE-041")
def experimental_gateway_api(world: World) -> None:
    world.settings["ownership_adopt"] = ["gateway_api"]
    world.add("crds", *gateway_api("v1.4.0", "experimental"))


@case("IP-PRE-043")
def a_crd_with_fields_of_somebody_else(world: World) -> None:
    world.seen.conflicts["certificates.cert-manager.io"] = ["kubectl"]


def of_the_community(world: World) -> None:
    pins = dict.fromkeys(load().releases["3.4"]["of_distribution"]["community"]["charts"], "a" * 64)
    world.settings |= {"distribution": "community", "chart_sha256": pins}


@case("IP-PRE-044")
def a_chart_that_nobody_pinned(world: World) -> None:
    of_the_community(world)
    del world.settings["chart_sha256"]["lws"]


@case("IP-PRE-045")
def a_chart_that_is_not_the_pinned_one(world: World) -> None:
    of_the_community(world)
    world.seen.charts["lws"] = ("another archive", "Find out why it was replaced.")


@case("IP-PRE-091")
def the_software_of_red_hat_is_there(world: World) -> None:
    of_the_community(world)
    world.add("deployments", deployment("rhai-operator", "redhat-ods-operator", "manager", "operator:v3.4.4"))


@case("IP-PRE-091")
def the_software_of_the_community_is_there(world: World) -> None:
    world.add("deployments", deployment("llmisvc-controller-manager", "kserve", "manager", "llmisvc:v0.17.0"))


@case("IP-PRE-052")
def an_istio_that_is_too_old_for_the_community(world: World) -> None:
    of_the_community(world)
    an_istio_of_the_project_that_does_not_know_inference_pools_yet(world)


def test_the_istio_that_the_community_was_run_with_will_do() -> None:
    world = World()
    of_the_community(world)
    world.own(sail="external")
    world.add("deployments", istiod("1.28.10", image=ISTIO))
    world.add("crds", *crds("sail"))
    assert world.codes() == []


@case("IP-PRE-092")
def a_kserve_of_somebody_else_is_there(world: World) -> None:
    of_the_community(world)
    world.add("deployments", kserve())


def kserve(namespace: str = "kserve") -> dict[str, Any]:
    marks = {"meta.helm.sh/release-name": "kserve-llmisvc-resources", "meta.helm.sh/release-namespace": namespace}
    return deployment("llmisvc-controller-manager", namespace, "manager", "llmisvc:v0.17.0", annotations=marks)


def test_the_kserve_that_we_installed_is_ours_in_its_namespace_alone() -> None:
    world = World()
    of_the_community(world)
    world.add("deployments", kserve())
    world.add("own_releases", released("kserve-llmisvc-resources", "kserve"))
    assert world.codes() == []
    world.add("deployments", kserve("elsewhere"))
    assert [item.found for item in world.findings()] == [
        "Deployment elsewhere/llmisvc-controller-manager by Helm release elsewhere/kserve-llmisvc-resources"
    ]


def test_without_helms_records_nothing_is_told_to_be_somebody_elses() -> None:
    world = World()
    of_the_community(world)
    world.add("deployments", cert_manager(), kserve())
    world.add("crds", *crds("cert_manager"))
    world.seen.unseen["own_releases"] = "secrets is forbidden"
    assert world.codes() == [("IP-PRE-006", "error")]
    unknown = {item.check.code for item in world.outcome().results if item.status == "unknown"}
    assert {"IP-PRE-050", "IP-PRE-092"} <= unknown


def released(name: str, namespace: str, **labels: str) -> dict[str, Any]:
    return named("Secret", f"sh.helm.release.v1.{name}.v1", namespace, labels={"owner": "helm", "name": name, **labels})


def test_a_published_chart_that_we_installed_is_ours_by_the_mark_on_helms_record() -> None:
    world = World()
    of_the_community(world)
    world.add("deployments", cert_manager())
    world.add("crds", *crds("cert_manager"))
    assert [code for code, _ in world.codes()] == ["IP-PRE-050"]
    world.add("own_releases", released("cert-manager", "cert-manager"))
    assert world.codes() == []


@case("IP-PRE-042")
def a_namespace_that_goes(world: World) -> None:
    world.add("namespaces", named("Namespace", "istio-system", deletionTimestamp="now", finalizers=["kubernetes"]))


@case("IP-PRE-050")
def somebody_elses_cert_manager(world: World) -> None:
    world.add("deployments", cert_manager())
    world.add("crds", *crds("cert_manager"))


@case("IP-PRE-050")
def somebody_elses_gateway_api(world: World) -> None:
    world.add("crds", *gateway_api("v1.4.0", managedFields=[{"manager": "kubectl"}]))


@case("IP-PRE-050")
def a_subscription_of_olm(world: World) -> None:
    spec, status = {"name": "leader-worker-set"}, {"installedCSV": "leader-worker-set.v1.0.0"}
    world.add("subscriptions", named("Subscription", "lws", "openshift-lws-operator", spec=spec, status=status))


@case("IP-PRE-051")
def an_external_istio_that_is_not_there(world: World) -> None:
    world.own(sail="external")


@case("IP-PRE-052")
def an_external_cert_manager_that_is_too_old(world: World) -> None:
    world.own(cert_manager="external")
    world.add("deployments", cert_manager("v1.12.3"))
    world.add("crds", *crds("cert_manager"))


@case("IP-PRE-052")
def an_automatic_cert_manager_that_is_too_old(world: World) -> None:
    world.own(cert_manager="auto")
    world.add("deployments", cert_manager("v1.16.5"))
    world.add("crds", *crds("cert_manager"))


@case("IP-PRE-053", "warning")
def an_external_cert_manager_newer_than_tested(world: World) -> None:
    world.own(cert_manager="external")
    world.add("deployments", cert_manager("v1.21.1"))
    world.add("crds", *crds("cert_manager"))


@case("IP-PRE-053", "warning")
def an_external_cert_manager_without_a_version(world: World) -> None:
    world.own(cert_manager="external")
    world.add("deployments", cert_manager("latest"))
    world.add("crds", *crds("cert_manager"))


@case("IP-PRE-054")
def an_external_cert_manager_without_its_crds(world: World) -> None:
    world.own(cert_manager="external")
    world.add("deployments", cert_manager())


@case("IP-PRE-054")
def a_cert_manager_that_reads_secrets_elsewhere(world: World) -> None:
    world.own(cert_manager="external")
    world.add("deployments", cert_manager(args=["--cluster-resource-namespace=kube-system"]))
    world.add("crds", *crds("cert_manager"))


@case("IP-PRE-054", "warning")
def an_istiod_that_is_not_told_about_inference_pools(world: World) -> None:
    world.own(sail="external")
    world.add("deployments", istiod(inference=False))
    world.add("crds", *crds("sail"))


@case("IP-PRE-054", "warning")
def an_istio_of_the_project_that_does_not_know_inference_pools_yet(world: World) -> None:
    world.own(sail="external")
    world.add("deployments", istiod("1.27.8", image=ISTIO))
    world.add("crds", *crds("sail"))


@case("IP-PRE-055")
def a_second_istio(world: World) -> None:
    ours = {"inference-platform.io/layer": "sail"}
    world.add("deployments", deployment("servicemesh-operator3", "istio-system", "manager", "i@sha256:1", labels=ours))
    world.add("deployments", {**istiod(), "metadata": {**istiod()["metadata"], "namespace": "mesh"}})


@case("IP-PRE-060")
def a_delegated_istio_that_somebody_else_installed(world: World) -> None:
    world.settings["provider"] = "aws"
    world.add("deployments", istiod())


@case("IP-PRE-060")
def a_delegated_lws_that_we_installed(world: World) -> None:
    world.settings["provider"] = "aws"
    ours = {"inference-platform.io/layer": "lws"}
    name = "openshift-lws-operator"
    world.add("deployments", deployment(name, name, "operator", "i@sha256:1", labels=ours))


@case("IP-PRE-061")
def a_policy_that_would_uninstall(world: World) -> None:
    world.add("engines", engine(sailOperator="Managed"))


@case("IP-PRE-061")
def a_policy_left_out_means_managed(world: World) -> None:
    found = engine()
    del found["spec"]["dependencies"]["certManager"]
    world.add("engines", found)


@case("IP-PRE-062")
def an_engine_without_a_cloud_manager_in_the_plan(world: World) -> None:
    world.settings["cloud_manager"] = "none"
    world.add("engines", engine("AWSKubernetesEngine", lws="Managed"))


@case("IP-PRE-063")
def leader_worker_sets_of_users(world: World) -> None:
    world.settings["ownership_let_go"] = ["lws"]
    world.layers = frozenset({"cloud_manager"})
    world.add("engines", engine(lws="Managed"))
    world.add("leader_worker_sets", named("LeaderWorkerSet", "training", "team"))


@case("IP-PRE-066")
def a_dependency_laid_before_the_cloud_manager_gave_it_up(world: World) -> None:
    world.settings["ownership_let_go"] = ["sail"]
    world.add("engines", engine(sailOperator="Managed"))


@case("IP-PRE-065")
def a_crd_of_lws_that_the_operator_did_not_bring(world: World) -> None:
    world.add("crds", *crds("lws", managedFields=[{"manager": "kubectl"}]))


@case("IP-PRE-090")
def an_older_release(world: World) -> None:
    operator = deployment("rhai-operator", "redhat-ods-operator", "manager", "operator@sha256:0",
                          labels={"app.kubernetes.io/version": "3.5.0"})  # fmt: skip
    world.add("deployments", operator)


@case("IP-PRE-023")
def the_secret_with_the_credentials_is_not_there(world: World) -> None:
    world.seen.pull_secret = "expected Secret vault/registry, found none"


@case("IP-PRE-023", "warning")
def the_secret_has_no_credentials_for_the_mirror(world: World) -> None:
    world.seen.pull_secret_for_mirror = "expected credentials for mirror.example.com, found those for quay.io"


def gateway(*listeners: dict[str, Any]) -> dict[str, Any]:
    return named("Gateway", "mine", "edge", spec={"listeners": list(listeners)})


def listener(**namespaces: Any) -> dict[str, Any]:
    return {"name": "web", "protocol": "HTTPS", "port": 443, "allowedRoutes": {"namespaces": namespaces}}


def issuer(kind: str = "ClusterIssuer", name: str = "corp", ready: str = "True", **spec: Any) -> dict[str, Any]:
    space = "" if kind == "ClusterIssuer" else "redhat-ods-applications"
    return named(kind, name, space, spec=spec, status={"conditions": [{"type": "Ready", "status": ready}]})


def uses_own_gateway(world: World, **more: Any) -> None:
    world.settings["gateway"] = {"external": {"name": "mine", "namespace": "edge"}, **more}
    world.models = [service("m")]


def asks_an_issuer(world: World, hostname: str = "models.example.com", **named_as: str) -> None:
    https = {"enabled": True, "hostnames": [hostname], "issuer": {"name": "corp", **named_as}}
    world.settings["gateway"] = {"https": https}
    world.settings["ownership"] = {"cert_manager": "external"}
    world.add("deployments", cert_manager())
    world.add("crds", *crds("cert_manager"))


@case("IP-PRE-070")
def the_own_gateway_is_not_there(world: World) -> None:
    uses_own_gateway(world)
    world.add("crds", *gateway_api("v1.4.0", labels={"inference-platform.io/layer": "gateway_api"}))


@case("IP-PRE-070", "warning")
def nobody_could_have_made_the_own_gateway_yet(world: World) -> None:
    uses_own_gateway(world)


@case("IP-PRE-070")
def the_own_gateway_takes_no_http(world: World) -> None:
    uses_own_gateway(world)
    world.add("gateways", gateway({"name": "raw", "protocol": "TCP", "port": 1}))


@case("IP-PRE-070")
def the_own_gateway_wants_another_label(world: World) -> None:
    uses_own_gateway(world)
    world.add("gateways", gateway(listener(**{"from": "Selector", "selector": {"matchLabels": {"team": "a"}}})))


@case("IP-PRE-070")
def the_own_gateway_takes_routes_of_its_own_namespace_only(world: World) -> None:
    uses_own_gateway(world)
    world.add("gateways", gateway({"name": "web", "protocol": "HTTP", "port": 80}))


@case("IP-PRE-071")
def an_issuer_is_not_there(world: World) -> None:
    asks_an_issuer(world)
    world.add("issuers", issuer("Issuer"))


@case("IP-PRE-071", "warning")
def an_issuer_cannot_be_there_yet(world: World) -> None:
    asks_an_issuer(world)
    world.settings["ownership"] = {}
    world.seen.parts["crds"], world.seen.parts["deployments"] = [], []


@case("IP-PRE-071")
def an_issuer_is_not_ready(world: World) -> None:
    asks_an_issuer(world)
    world.add("issuers", issuer(ready="False", ca={"secretName": "x"}))


@case("IP-PRE-071", "warning")
def an_issuer_that_no_client_knows(world: World) -> None:
    asks_an_issuer(world)
    world.add("issuers", issuer(selfSigned={}))


@case("IP-PRE-071", "warning")
def the_platforms_issuer_that_no_client_knows(world: World) -> None:
    """Made by the run, if it is not there yet."""
    asks_an_issuer(world)
    world.settings["gateway"]["https"]["issuer"] = {"name": "opendatahub-selfsigned-issuer"}


@case("IP-PRE-071")
def a_wildcard_that_acme_cannot_prove(world: World) -> None:
    asks_an_issuer(world, "*.example.com")
    world.add("issuers", issuer(acme={"solvers": [{"http01": {}}]}))


@case("IP-PRE-071")
def an_authority_from_acme(world: World) -> None:
    asks_an_issuer(world)
    world.settings |= {"cloud_manager": "none", "certificate_authority": {"issuer": {"name": "corp"}}, "gateway": {}}
    world.add("issuers", issuer(acme={}))


@case("IP-PRE-071", "warning")
def acme_that_asks_where_nothing_listens(world: World) -> None:
    asks_an_issuer(world)
    world.settings["gateway"]["http"] = {"enabled": False}
    world.add("issuers", issuer(acme={"solvers": [{"http01": {}}]}))


@pytest.mark.parametrize("solver", ["http01", "dns01"])
def test_acme_that_can_ask_is_fine(solver: str) -> None:
    world = World()
    asks_an_issuer(world)
    world.settings["gateway"]["http"] = {"enabled": solver == "http01"}
    world.add("issuers", issuer(acme={"solvers": [{solver: {}}]}))
    assert world.findings() == []


def below_an_issuer(world: World, end: str, namespace: str = "cert-manager") -> None:
    """An authority of the platform that a CA of the company's signed."""
    asks_an_issuer(world)
    world.settings |= {"cloud_manager": "none", "certificate_authority": {"issuer": {"name": "corp"}}, "gateway": {}}
    world.add("issuers", issuer(vault={}))
    times = {"notBefore": "2026-01-01T00:00:00Z", "notAfter": end, "renewalTime": "2026-09-01T00:00:00Z"}
    world.add("authorities", named("Certificate", "rhai-ca", namespace, status=times))


@case("IP-PRE-072", "warning")
def an_authority_that_ends_soon(world: World) -> None:
    below_an_issuer(world, "2027-01-01T00:00:00Z")


def test_the_day_of_the_renewal_is_told() -> None:
    world = World()
    below_an_issuer(world, "2027-01-01T00:00:00Z")
    (finding,) = world.findings()
    assert "ends 2027-01-01T00:00:00Z" in finding.found
    assert "with a new key, on 2026-09-01T00:00:00Z" in finding.found


@pytest.mark.parametrize(
    ("end", "namespace"), [("2125-12-08T00:00:00Z", "cert-manager"), ("2027-01-01T00:00:00Z", "elsewhere")]
)
def test_an_authority_that_lasts_or_is_not_ours_is_fine(end: str, namespace: str) -> None:
    world = World()
    below_an_issuer(world, end, namespace)
    assert world.findings() == []


@pytest.mark.parametrize(
    "namespaces",
    [
        pytest.param({"from": "All"}, id="all"),
        pytest.param({"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}, id="labels that we set"),
    ],
)
def test_a_gateway_of_ones_own_that_admits_the_models_is_fine(namespaces: dict[str, Any]) -> None:
    world = World()
    uses_own_gateway(world, namespace_labels={"team": "a"})
    world.add("gateways", gateway(listener(**namespaces)))
    assert world.findings() == []


@pytest.mark.parametrize("kind", ["ClusterIssuer", "Issuer"])
def test_an_issuer_with_an_authority_is_fine(kind: str) -> None:
    world = World()
    asks_an_issuer(world, "*.example.com", kind=kind)
    world.add("issuers", issuer(kind, ca={"secretName": "x"}), issuer(name="other", ready="False"))
    assert world.findings() == []


def test_gateways_and_issuers_are_read_only_for_inventories_that_name_some() -> None:
    plain = platform.resolve({"platform_release": "3.4", "provider": "generic"}).to_dict()
    own = platform.resolve(
        {"platform_release": "3.4", "provider": "generic", "gateway": {"external": {"name": "a", "namespace": "b"}}}
    ).to_dict()
    signed = platform.resolve(
        {
            "platform_release": "3.4",
            "provider": "generic",
            "cloud_manager": "none",
            "certificate_authority": {"issuer": {"kind": "Issuer", "name": "corp"}},
        }
    ).to_dict()
    assert [parts_for(plan) for plan in (plain, own, signed)] == [set(), {"gateways"}, {"issuers", "authorities"}]


@case("IP-PRE-080")
def a_node_pool_without_karpenter(world: World) -> None:
    world.settings["node_pools"] = [{"name": "burst", "karpenter": {"template": {}}}]


@case("IP-PRE-081", "warning")
def a_pool_without_nodes(world: World) -> None:
    world.settings["node_pools"] = [{"name": "burst", "capacity": "spot"}]


@case("IP-PRE-082")
def another_priority(world: World) -> None:
    world.settings["node_pools"] = [{"name": "calm", "priority": 10}]
    world.add("priority_classes", named("PriorityClass", "inference-calm", value=5))


@case("IP-PRE-082")
def another_preemption(world: World) -> None:
    world.settings["node_pools"] = [{"name": "calm", "priority": 10, "preempts": False}]
    world.add("priority_classes", named("PriorityClass", "inference-calm", value=10))


@pytest.mark.parametrize("policy", [{}, {"preemptionPolicy": "PreemptLowerPriority"}])
def test_a_priority_that_is_as_it_should_be_is_fine(policy: dict[str, str]) -> None:
    world = World()
    world.settings["node_pools"] = [{"name": "calm", "priority": 10}]
    world.add("priority_classes", named("PriorityClass", "inference-calm", value=10, **policy))
    world.add("priority_classes", named("PriorityClass", "inference-other", value=5))
    assert world.codes() == []


def karpenter_is_there(world: World) -> None:
    world.add("crds", named("CustomResourceDefinition", "nodepools.karpenter.sh"))


def a_planned_node_pool(world: World) -> None:
    karpenter_is_there(world)
    world.settings["node_pools"] = [{"name": "made", "karpenter": {"template": {}}}]


def cluster_autoscaler_in_the_cluster(world: World) -> None:
    world.add("deployments", deployment("blue-aws-cluster-autoscaler", "kube-system", "main", "autoscaler:v1"))


def cluster_autoscaler_out_of_sight(world: World) -> None:
    """AKS and GKE run it in their own control plane; it writes its status all the same."""
    world.add("autoscaler_status", named("ConfigMap", "cluster-autoscaler-status", "kube-system"))


def the_inventory_says_so(world: World) -> None:
    world.settings["node_autoscaling"] = True


STARTERS = [
    karpenter_is_there,
    a_planned_node_pool,
    cluster_autoscaler_in_the_cluster,
    cluster_autoscaler_out_of_sight,
    the_inventory_says_so,
]
EMPTY_GROUPS: list[Any] = [
    (only_nodes_with_taints, [("IP-PRE-010", "warning")]),
    (an_architecture_without_images, [("IP-PRE-010", "warning")]),
    (a_pool_without_nodes, []),
]


@pytest.mark.parametrize("starts_nodes", STARTERS)
@pytest.mark.parametrize(("spoil", "told"), EMPTY_GROUPS)
def test_groups_without_nodes_are_no_mistake_where_something_starts_them(
    spoil: Callable[[World], None], told: list[tuple[str, str]], starts_nodes: Callable[[World], None]
) -> None:
    world = World()
    spoil(world)
    pools = world.settings.pop("node_pools", [])
    starts_nodes(world)
    world.settings["node_pools"] = pools + world.settings.get("node_pools", [])
    assert world.codes() == told


def test_openshifts_operator_of_autoscalers_starts_no_nodes() -> None:
    world = World()
    a_pool_without_nodes(world)
    world.add("deployments", deployment("cluster-autoscaler-operator", "openshift-machine-api", "main", "o:v1"))
    assert world.codes() == [("IP-PRE-081", "warning")]


def test_a_pool_of_a_node_pool_that_nobody_makes_is_told() -> None:
    world = World()
    world.settings["node_pools"] = [{"name": "burst", "node_selector": {"karpenter.sh/nodepool": "burst"}}]
    assert world.codes() == [("IP-PRE-081", "warning")]


def test_a_pool_whose_node_is_there_is_fine() -> None:
    world = World()
    world.settings["node_pools"] = [{"name": "burst", "node_selector": {"pool": "burst"}}]
    world.add("nodes", node("burst-1"))
    world.seen.parts["nodes"][-1]["metadata"]["labels"] = {"pool": "burst"}
    assert world.findings() == []


@pytest.mark.parametrize(("spoil", "code", "severity"), CASES)
def test_a_check_finds_what_it_looks_for_and_no_other_check_does(
    spoil: Callable[[World], None], code: str, severity: str
) -> None:
    world = World()
    spoil(world)
    found = world.findings()
    assert [(finding.code, finding.severity) for finding in found] == [(code, severity)], found
    assert all((found[0].where, found[0].expected, found[0].found, found[0].remedy))


def test_a_good_cluster_has_no_findings() -> None:
    outcome = World().outcome()
    assert outcome.findings == []
    assert {result.status for result in outcome.results} == {"ok", "not asked"}


def test_every_check_that_looks_is_provoked() -> None:
    provoked = {param.values[1] for param in CASES}
    assert provoked == {check.code for check in CHECKS if check.look}


def test_codes_are_unique() -> None:
    codes = [check.code for check in CHECKS]
    assert len(set(codes)) == len(codes)


def test_a_check_whose_objects_may_not_be_seen_is_unknown_and_says_why() -> None:
    world = World()
    world.seen.unseen["nodes"] = "nodes is forbidden"
    states = {result.check.code: (result.status, result.note) for result in world.outcome().results}
    assert states["IP-PRE-010"] == ("unknown", "nodes is forbidden")
    assert states["IP-PRE-011"][0] == "unknown"
    assert states["IP-PRE-031"][0] == "ok"


@pytest.mark.parametrize("part", ["deployments", "crds", "engines", "leader_worker_sets"])
def test_a_right_to_read_that_is_missing_lets_nothing_of_others_be_taken(part: str) -> None:
    world = World()
    world.own(cert_manager="auto")
    world.seen.unseen |= {part: "it is forbidden", "quotas": "quotas is forbidden"}
    world.seen.unlisted |= {part: {"things.example.org"}}
    finding, other = world.findings()
    assert [(item.code, item.severity) for item in (finding, other)] == [
        ("IP-PRE-006", "error"),
        ("IP-PRE-006", "warning"),
    ]
    assert "--verb=list --resource=things.example.org`" in finding.remedy
    assert "quotas" in other.found
    guards = [result for result in world.outcome().results if part in result.check.reads]
    assert {result.status for result in guards} == {"unknown"}
    if part in ("deployments", "crds"):
        decision = next(item for item in world.outcome().decisions if item.name == "cert_manager")
        assert (decision.found_in_words, decision.reason) == ("not known", "what is there may not be listed")


def test_a_run_that_lays_no_layer_takes_nothing_and_goes_on() -> None:
    world = World(layers=frozenset())
    world.seen.unseen["crds"] = "customresourcedefinitions is forbidden"
    assert world.codes() == [("IP-PRE-006", "warning")]


# ---- neighbours that are fine -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "webhook",
    [
        {"clientConfig": {"service": {"name": "gone", "namespace": "cert-manager"}}},
        {"failurePolicy": "Ignore"},
        {"clientConfig": {"url": "https://elsewhere"}},
        {"rules": [asked_about("example.org", "widgets")]},
        {"rules": [asked_about("", "namespaces", "DELETE")]},
        {"rules": [asked_about("", "pods", "CONNECT")]},
    ],
    ids=[
        "in a namespace of the platform",
        "failing open",
        "outside the cluster",
        "for other kinds",
        "for deletions",
        "for connections",
    ],
)
def test_a_dead_webhook_that_cannot_stop_us_is_let_pass(webhook: dict[str, Any]) -> None:
    world = World()
    world.add("validating_webhooks", configuration(**webhook))
    world.seen.backends.update({("other", "gone"): "no such Service", ("cert-manager", "gone"): "no such Service"})
    assert world.codes() == []


@pytest.mark.parametrize(
    ("group", "resource"),
    [
        ("sailoperator.io", "istios"),
        ("operator.openshift.io", "leaderworkersetoperators"),
        ("leaderworkerset.x-k8s.io", "leaderworkersets"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("cert-manager.io", "certificaterequests"),
        ("inference.networking.k8s.io", "inferencepools"),
        ("components.platform.opendatahub.io", "kserves"),
        ("infrastructure.opendatahub.io", "azurekubernetesengines"),
        ("", "namespaces"),
    ],
)
def test_a_dead_webhook_for_any_kind_of_a_run_is_told(group: str, resource: str) -> None:
    world = World()
    world.add("mutating_webhooks", configuration(rules=[asked_about(group, resource, "UPDATE")]))
    world.seen.backends["other", "gone"] = "no such Service"
    assert world.codes() == [("IP-PRE-031", "error")]


def test_a_policy_about_gateway_api_does_not_stop_a_run_on_what_this_installer_laid() -> None:
    world = World()
    world.add("admission_policies", named("ValidatingAdmissionPolicy", "safe-upgrades.gateway.networking.k8s.io"))
    world.add("crds", *gateway_api("v1.4.0", labels={"inference-platform.io/layer": "gateway_api"}))
    assert world.codes() == []


def test_an_injector_of_a_mesh_in_the_cluster_is_no_installation_by_itself() -> None:
    """What a removed Istio leaves behind calls a Service."""
    world = World()
    webhook = {"name": "rev.istio.io", "failurePolicy": "Ignore",
               "clientConfig": {"service": {"namespace": "istio-system", "name": "istiod"}}}  # fmt: skip
    injector = named("MutatingWebhookConfiguration", "istio-sidecar-injector", labels={"app": "sidecar-injector"})
    world.add("mutating_webhooks", {**injector, "webhooks": [webhook]})
    assert world.codes() == []


def test_a_quota_that_the_run_raises_is_judged_as_the_inventory_has_it() -> None:
    world = World()
    gpus = "requests.nvidia.com/gpu"
    world.add("quotas", named("ResourceQuota", "inference-platform", "models", spec={"hard": {gpus: "3"}}))
    world.models = [service("m", replicas=2, template=asking_for(2))]
    assert world.codes() == [("IP-PRE-034", "warning")]
    world.settings["namespace_quotas"] = [{"namespace": "models", "hard": {gpus: 4}}]
    assert world.codes() == []


def test_a_quota_on_limits_is_fine_with_defaults() -> None:
    world = World()
    a_quota_on_limits(world)
    limits = {"type": "Container", "default": {"memory": "1Gi"}}
    world.add("limit_ranges", named("LimitRange", "of-memory", "istio-system", spec={"limits": [limits]}))
    assert world.codes() == [("IP-PRE-034", "warning")], "of CPUs there is still none"
    limits = {"type": "Container", "default": {"cpu": "1"}}
    world.add("limit_ranges", named("LimitRange", "of-cpus", "istio-system", spec={"limits": [limits]}))
    assert world.codes() == []


GPUS = "requests.nvidia.com/gpu"
MAIN = {"name": "main", "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}}


@pytest.mark.parametrize(
    ("hard", "spec", "told"),
    [
        ("requests.cpu", {}, ""),
        ("cpu", {}, ""),
        ("requests.memory", {}, ""),
        ("limits.memory", {}, ""),
        ("limits.cpu", {}, "not said: limits.cpu by m (serving)"),
        ("limits.cpu", {"replicas": 0}, ""),
        ("limits.cpu", {"baseRefs": [{"name": "somebody's"}]}, ""),
        ("limits.ephemeral-storage", {}, ""),
        ("requests.cpu", {"template": {"containers": [MAIN, {"name": "more"}]}}, "requests.cpu by m (serving)"),
        ("requests.cpu", {"template": {"containers": []}}, "requests.cpu by m (serving)"),
        ("memory", {"prefill": {"replicas": 1, "template": {}}}, "not said: memory by m (prefill)"),
        ("limits.memory", {"router": {"scheduler": {"template": {"containers": [MAIN]}}}}, ""),
        ("limits.memory", {"router": {"scheduler": {}}}, "not said: limits.memory by m (scheduler)"),
        ("requests.memory", {"router": {"scheduler": {}}}, ""),
    ],
)
def test_what_a_quota_is_about_pods_of_models_must_say(hard: str, spec: dict[str, Any], told: str) -> None:
    world = World()
    world.add("quotas", named("ResourceQuota", "q", "models", spec={"hard": {hard: "1Ti"}}))
    world.models = [service("m", **{"template": {"containers": [MAIN]}, **spec})]
    found = [finding.found for finding in world.findings()]
    assert len(found) == bool(told)
    assert all(words.endswith(told) for words in found), found


def test_a_limit_range_says_it_for_the_pods_of_models() -> None:
    world = World()
    world.add("quotas", named("ResourceQuota", "q", "models", spec={"hard": {"requests.cpu": "9", "memory": "9Gi"}}))
    world.models = [service("m", template=asking_for(1))]
    assert world.codes() == [("IP-PRE-034", "warning")]
    limits = {"type": "Container", "default": {"memory": "1Gi"}, "defaultRequest": {"cpu": "1"}}
    world.add("limit_ranges", named("LimitRange", "defaults", "models", spec={"limits": [limits]}))
    assert world.codes() == []


def test_a_quota_of_some_pods_only_is_left_alone() -> None:
    world = World()
    spec = {"hard": {"pods": "0", "limits.cpu": "1"}, "scopes": ["Terminating"]}
    world.add("quotas", named("ResourceQuota", "q", "models", spec=spec))
    world.models = [service("m", template=asking_for(1))]
    assert world.codes() == []


@pytest.mark.parametrize(
    ("hard", "others", "told"),
    [
        ({GPUS: "2"}, [], ""),
        ({GPUS: "2"}, [{}], f"{GPUS}: 2, of which others hold 1 GPU"),
        ({GPUS: "2"}, [{"deletionTimestamp": "now"}], ""),
        ({GPUS: "2"}, [{"model": "m"}, {"model": "m"}], ""),
        ({GPUS: "2"}, [{"model": "gone"}], ""),
        (
            {GPUS: "2"},
            [{"model": "theirs"}],
            f"{GPUS}: 2, of which others hold 1 GPU",
        ),
        ({GPUS: "2"}, [{"namespace": "elsewhere"}], ""),
        ({"count/pods": "1"}, [], "count/pods: 1"),
        ({"requests.memory": "3Gi"}, [], "requests.memory: 3Gi"),
        ({"memory": "5Gi"}, [{}], "memory: 5Gi, of which others hold 2 GiB memory"),
        ({"requests.cpu": "2"}, [], ""),
        ({"requests.cpu": "1500m"}, [], "requests.cpu: 1500m"),
        ({"requests.storage": "1", "count/secrets": "0", "services": "0"}, [], ""),
        ({"nvidia.com/gpu": "0", "limits.nvidia.com/gpu": "0"}, [], ""),
    ],
)
def test_a_quota_leaves_what_others_do_not_hold(hard: dict[str, str], others: list[dict[str, str]], told: str) -> None:
    world = World()
    world.add("quotas", named("ResourceQuota", "q", "models", spec={"hard": hard}))
    world.add("pods", *(pod(f"other-{number}", **more) for number, more in enumerate(others)))
    world.add(
        "services", named("LLMInferenceService", "gone", "models", labels={"inference-platform.io/layer": "models"})
    )
    world.add("services", named("LLMInferenceService", "theirs", "models"))
    world.models = [service("m", replicas=2, template=POD)]
    assert [finding.found for finding in world.findings()] == ([told] if told else [])


def test_one_load_balancer_with_an_address_is_proof_enough() -> None:
    world = World()
    load_balancers_that_wait(world)
    world.add("load_balancers", named("Service", "b", "x", status={"loadBalancer": {"ingress": [{"ip": "10.1.1.1"}]}}))
    assert world.codes() == []


def test_without_the_platform_lws_operator_its_crd_may_be_anyones() -> None:
    world = World()
    world.own(lws="external")
    world.add("deployments", deployment("lws-controller-manager", "lws-system", "manager", "lws:v0.7.0"))
    world.add("crds", *crds("lws", managedFields=[{"manager": "helm"}]))
    assert world.codes() == []


@pytest.mark.parametrize("layers", [{"cloud_manager"}, {"namespaces", "lws"}])
def test_a_dependency_that_may_go_is_let_go_before_it_is_laid(layers: set[str]) -> None:
    world = World(layers=frozenset(layers))
    world.settings["ownership_let_go"] = ["sail"]
    world.add("engines", engine(sailOperator="Managed"))
    assert world.codes() == []
    world.layers = frozenset({"sail", "cloud_manager"})
    assert world.codes() == [("IP-PRE-066", "error")]


@pytest.mark.parametrize("code", data.load()["acceptable"])
def test_an_accepted_check_stops_nothing_and_stays_visible(code: str) -> None:
    spoil, _, severity = next(case.values for case in CASES if case.values[1] == code)
    world = World()
    spoil(world)
    world.settings["preflight_accept"] = [code]
    outcome = world.outcome()
    (finding,) = outcome.findings
    assert (finding.code, finding.severity) == (code, "warning"), severity
    entry = next(item for item in json.loads(outcome.to_json())["checks"] if item["code"] == code)
    assert (entry["status"], entry["findings"][0]["found"]) == ("accepted", finding.found)
    assert f"{code}  accepted" in outcome.check_table(every=False)


def test_a_check_is_accepted_only_by_its_code_and_only_when_it_found_something() -> None:
    world = World()
    a_policy_refuses_a_dry_run(world)
    world.settings["preflight_accept"] = ["IP-PRE-031"]
    states = {result.check.code: result.status for result in world.outcome().results}
    assert (states["IP-PRE-030"], states["IP-PRE-031"]) == ("error", "ok")


def test_checks_that_protect_what_others_have_are_not_accepted_whatever_is_asked() -> None:
    acceptable = {*data.load()["acceptable"]}
    assert acceptable <= {check.code for check in CHECKS if check.look}
    protecting = {check.code for check in CHECKS if check.guards}
    assert protecting >= {f"IP-PRE-0{number}" for number in (40, 41, 43, 50, 51, 52, 54, 55, 60, 61, 62, 63, 65, 66)}
    assert acceptable & (protecting | {"IP-PRE-006", "IP-PRE-009", "IP-PRE-042"}) == set()
    world = World()
    somebody_elses_cert_manager(world)
    world.settings["preflight_accept"] = ["IP-PRE-050"]
    assert world.codes() == [("IP-PRE-050", "error")]


def test_the_inventory_may_name_what_can_be_accepted_and_nothing_else() -> None:
    said = load_schema("inventory")["properties"]["preflight_accept"]["items"]["enum"]
    assert said == data.load()["acceptable"]
    settings = {"platform_release": "3.4", "provider": "generic", "pull_secret_file": "x"}
    for code in ("IP-PRE-050", "IP-PRE-999"):
        found = validate({**settings, "preflight_accept": [code]})
        (finding,) = [item for item in found if "preflight_accept" in item.where]
        assert (finding.severity, finding.found) == ("error", f'"{code}"')
        assert "IP-PRE-001, " in finding.expected
    assert not [item for item in validate({**settings, "preflight_accept": said}) if "preflight_accept" in item.where]


# ---- what is shown ----------------------------------------------------------------------------------------


def test_the_file_has_every_check_and_every_decision() -> None:
    world = World()
    somebody_elses_cert_manager(world)
    content = json.loads(world.outcome().to_json())
    assert [entry["code"] for entry in content["checks"]] == sorted(check.code for check in CHECKS)
    finding = next(entry for entry in content["checks"] if entry["code"] == "IP-PRE-050")["findings"][0]
    assert (
        finding["found"] == "v1.18.4 by Helm release cert-manager/cert-manager (Deployment cert-manager/cert-manager)"
    )
    by_name = {entry["dependency"]: entry for entry in content["ownership"]}
    assert by_name["cert_manager"]["found"][0]["owner"] == "somebody else"
    assert by_name["sail"] == {
        "dependency": "sail",
        "title": "Istio",
        "wanted": "default",
        "resolved": "managed",
        "reason": "",
        "found": [],
        "crds": {},
    }


def test_tables_show_decisions_and_only_what_is_not_ok() -> None:
    world = World()
    an_external_cert_manager_newer_than_tested(world)
    outcome = world.outcome()
    assert "cert-manager     external  v1.21.1 by Helm release cert-manager/cert-manager  external" in (
        outcome.ownership_table()
    )
    short = outcome.check_table(every=False).splitlines()
    assert short[0] == f"{len(CHECKS) - 2} of {len(CHECKS)} checks ok"
    assert [line.split()[0] for line in short[1:]] == ["IP-PRE-022", "IP-PRE-053"]
    assert len(outcome.check_table(every=True).splitlines()) == len(CHECKS) + 1
