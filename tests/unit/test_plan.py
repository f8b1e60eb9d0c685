"""The plan: order, ownership, artifacts, gates, refusals."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from inference_platform.catalog import load
from inference_platform.catalog.load import CatalogError
from inference_platform.findings import InventoryError
from inference_platform.platform import Plan, resolve
from inference_platform.platform.gates import fill

PROVIDERS = sorted(load().releases["3.4"]["providers"])


DEPENDENCIES = ("gateway_api", "cert_manager", "sail", "lws")


def names(plan: Plan) -> list[str]:
    return [layer.name for layer in plan.layers]


def layer(plan: Plan, name: str) -> Any:
    return next(layer for layer in plan.layers if layer.name == name)


def refusals(**settings: Any) -> list[Any]:
    with pytest.raises(InventoryError) as caught:
        resolve(settings)
    return caught.value.findings


# order -------------------------------------------------------------------------------


def test_on_aws_delegated_layers_come_after_the_cloud_manager(plan_for):
    order = names(plan_for("aws"))
    assert order.index("cloud_manager") < order.index("sail")
    assert order.index("cloud_manager") < order.index("lws")


def test_on_azure_the_installers_own_istio_comes_before_the_cloud_manager(plan_for):
    assert names(plan_for("azure")) == [
        "namespaces",
        "gateway_api",
        "cert_manager",
        "sail",
        "lws",
        "inference_extension",
        "kserve",
        "cloud_manager",
        "pki",
        "platform_operator",
        "kserve_instance",
        "inference_gateway",
    ]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_layer_comes_after_what_it_needs(plan_for, provider):
    plan = plan_for(provider)
    order = names(plan)
    for item in plan.layers:
        assert all(order.index(need) < order.index(item.name) for need in item.needs), item.name


def test_the_plan_does_not_depend_on_the_order_of_settings(plan_for):
    one = resolve(
        {"platform_release": "3.4", "provider": "aws", "ownership": {"sail": "delegated", "lws": "delegated"}}
    )
    two = resolve(
        {"ownership": {"lws": "delegated", "sail": "delegated"}, "provider": "aws", "platform_release": "3.4"}
    )
    assert one == two == plan_for("aws")


# ownership ---------------------------------------------------------------------------


def test_on_aws_istio_and_lws_are_delegated_and_the_rest_is_ours(plan_for):
    assert plan_for("aws").ownership == {
        "cert_manager": "managed",
        "gateway_api": "managed",
        "lws": "delegated",
        "sail": "delegated",
    }


@pytest.mark.parametrize("provider", ["azure", "coreweave", "gcp", "generic"])
def test_elsewhere_all_four_dependencies_are_ours(plan_for, provider):
    assert set(plan_for(provider).ownership.values()) == {"managed"}


def test_nothing_of_a_delegated_layer_is_laid_by_us(plan_for):
    sail = layer(plan_for("aws"), "sail")
    assert (sail.ownership, sail.releases, sail.crds) == ("delegated", [], [])


def test_nothing_of_an_external_layer_is_laid_by_us(plan_for):
    cert_manager = layer(plan_for("azure", ownership={"cert_manager": "external"}), "cert_manager")
    assert (cert_manager.ownership, cert_manager.releases, cert_manager.crds) == ("external", [], [])


def test_our_own_istio_brings_operator_and_control_plane(plan_for):
    sail = layer(plan_for("azure"), "sail")
    assert [(release.name, release.namespace) for release in sail.releases] == [
        ("sail-operator", "istio-system"),
        ("istio", "istio-system"),
    ]
    assert sail.crds == ["istio", "sail-operator"]


def test_the_engine_manages_exactly_what_is_delegated_to_it(plan_for):
    policies = {
        name: entry["managementPolicy"] for name, entry in plan_for("aws").engine["spec"]["dependencies"].items()
    }
    assert policies == {
        "certManager": "Unmanaged",
        "gatewayAPI": "Unmanaged",
        "lws": "Managed",
        "sailOperator": "Managed",
    }


def test_the_engine_on_azure_manages_nothing(plan_for):
    engine = plan_for("azure").engine
    assert engine["name"] == "default-azurekubernetesengine"
    assert {entry["managementPolicy"] for entry in engine["spec"]["dependencies"].values()} == {"Unmanaged"}
    assert all(set(entry) == {"managementPolicy"} for entry in engine["spec"]["dependencies"].values())


def test_without_a_cloud_manager_the_certificates_are_ours(plan_for):
    plan = plan_for("aws", cloud_manager="none")
    assert plan.engine is None
    assert plan.engine_line is None
    assert "cloud_manager" not in names(plan)
    assert "cloud_manager" not in plan.namespaces
    assert [release.name for release in layer(plan, "pki").releases] == ["pki"]
    assert layer(plan, "pki").ownership == "managed"


def test_with_a_cloud_manager_the_certificates_are_only_waited_for(plan_for):
    pki = layer(plan_for("aws"), "pki")
    assert (pki.ownership, pki.releases) == ("delegated", [])


@pytest.mark.parametrize("provider", ["gcp", "generic"])
def test_a_provider_without_a_cloud_manager_gets_its_certificates_from_us(plan_for, provider):
    plan = plan_for(provider)
    assert (plan.engine, plan.engine_line) == (None, None)
    assert [release.name for release in layer(plan, "pki").releases] == ["pki"]
    assert not {"cloud_manager", "cloud-manager"} & {*names(plan), *plan.namespaces, *plan.images, *plan.crds}


# the load balancer of the gateway ----------------------------------------------------


def test_the_load_balancer_of_azure_is_told_to_probe_tcp_on_every_port(plan_for):
    gateway = plan_for("azure").gateway
    assert (gateway["condition"], gateway["annotations"]) == ("Programmed", {})
    assert gateway["port_annotations"] == {"service.beta.kubernetes.io/port_$(port)_health-probe_protocol": "tcp"}


@pytest.mark.parametrize(
    ("provider", "kind", "annotation"),
    [
        ("aws", "nlb", "service.beta.kubernetes.io/aws-load-balancer-type"),
        ("azure", "internal", "service.beta.kubernetes.io/azure-load-balancer-internal"),
        ("gcp", "internal", "networking.gke.io/load-balancer-type"),
    ],
)
def test_another_kind_of_load_balancer_is_asked_for_by_annotations(plan_for, provider, kind, annotation):
    assert plan_for(provider).gateway["annotations"] == {}
    assert annotation in plan_for(provider, gateway_load_balancer=kind).gateway["annotations"]


def test_the_internal_load_balancer_of_aws_differs_in_its_scheme_only(plan_for):
    public, internal = (
        plan_for("aws", gateway_load_balancer=kind).gateway["annotations"] for kind in ("nlb", "nlb-internal")
    )
    assert public.keys() == internal.keys()
    assert {name for name in public if public[name] != internal[name]} == {
        "service.beta.kubernetes.io/aws-load-balancer-scheme"
    }


def test_a_load_balancer_that_the_provider_lacks_is_refused_with_those_it_has():
    (finding,) = refusals(platform_release="3.4", provider="gcp", gateway_load_balancer="nlb")
    assert (finding.code, finding.where) == ("IP-PLT-007", "gateway_load_balancer")
    assert "default or internal" in finding.expected


# artifacts ---------------------------------------------------------------------------


def test_the_release_has_seven_namespaces_and_the_pull_secret_in_each(plan_for):
    plan = plan_for("aws")
    assert sorted(plan.namespaces.values()) == [
        "cert-manager",
        "cert-manager-operator",
        "istio-system",
        "openshift-lws-operator",
        "redhat-ods-applications",
        "redhat-ods-operator",
        "rhai-cloudmanager-system",
    ]
    assert plan.pull_secret == {"name": "rhai-pull-secret", "namespaces": sorted(plan.namespaces.values())}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_all_images_are_full_references_by_digest(plan_for, provider):
    for name, reference in plan_for(provider).images.items():
        assert re.fullmatch(r"registry\.redhat\.io/[a-z0-9./-]+@sha256:[0-9a-f]{64}", reference), name


def test_aws_takes_the_cloud_manager_of_the_next_line_and_azure_its_own(plan_for):
    aws, azure = plan_for("aws"), plan_for("azure")
    assert aws.images["cloud_manager"] != azure.images["cloud_manager"]
    assert azure.images["cloud_manager"] == azure.images["rhai_operator"]


def test_images_of_istio_are_those_of_who_brings_it(plan_for):
    assert plan_for("aws").images["istiod"] != plan_for("azure").images["istiod"]
    assert plan_for("aws").versions["istio"] == "v1.27.9"
    assert plan_for("aws", cloud_manager="none").images["istiod"] == plan_for("azure").images["istiod"]
    assert plan_for("azure").versions["istio"] == "v1.27.8"


def test_related_images_point_to_images_of_the_plan(plan_for):
    plan = plan_for("aws")
    entries = plan.related_images["operator"]
    assert len(entries) == 13
    assert {entry["value"] for entry in entries} <= set(plan.images.values())


@pytest.mark.parametrize(
    ("provider", "crd"),
    [
        ("aws", "awskubernetesengines.infrastructure.opendatahub.io"),
        ("azure", "azurekubernetesengines.infrastructure.opendatahub.io"),
        ("coreweave", "coreweavekubernetesengines.infrastructure.opendatahub.io"),
    ],
)
def test_only_the_engine_crd_of_the_provider_is_applied(plan_for, provider, crd):
    assert [file["name"] for file in plan_for(provider).crds["cloud-manager"]["files"]] == [crd]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_crd_sets_of_all_layers_have_files(plan_for, provider):
    plan = plan_for(provider)
    for item in plan.layers:
        for name in item.crds:
            assert plan.crds[name]["files"], name


def test_a_number_as_release_means_the_release_written_like_it(plan_for):
    assert resolve({"platform_release": 3.4, "provider": "aws"}) == plan_for("aws")


def test_the_plan_is_plain_data(plan_for):
    data = plan_for("aws").to_dict()
    assert json.loads(json.dumps(data)) == data


# gates -------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_layer_has_a_gate_without_unfilled_names(plan_for, provider):
    plan = plan_for(provider)
    assert list(plan.gates) == names(plan)
    assert all(plan.gates.values())
    assert "$(" not in json.dumps(plan.gates)


def find(plan: Plan, gate: str, **fields: str) -> list[dict[str, Any]]:
    return [check for check in plan.gates[gate] if all(check.get(key) == value for key, value in fields.items())]


def test_an_engine_of_the_3_4_line_is_not_expected_to_become_ready(plan_for):
    gate = {check.get("type") for check in plan_for("azure").gates["cloud_manager"]}
    assert "ProvisioningSucceeded" in gate
    assert "Ready" not in gate


def test_an_engine_of_the_3_5_line_must_be_ready_at_its_current_generation(plan_for):
    (check,) = find(plan_for("aws"), "cloud_manager", type="Ready")
    assert (check["kind"], check["generation"]) == ("AWSKubernetesEngine", "current")


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "openshift"])
def test_certificates_are_proven_by_issuers_and_secrets_whatever_the_engine_says(plan_for, provider):
    gate = plan_for(provider).gates["pki"]
    assert {check["name"] for check in gate} == {
        "opendatahub-selfsigned-issuer",
        "rhai-ca-issuer",
        "rhai-ca",
        "rhai-operator-controller-webhook-cert",
    }


def test_conditions_of_lws_that_lie_are_not_asked(plan_for):
    types = {check["type"] for check in find(plan_for("aws"), "lws", check="condition")}
    assert types == {"TargetConfigControllerDegraded"}


@pytest.mark.parametrize(
    ("gate", "kind"),
    [("cert_manager", "ClusterIssuer"), ("lws", "LeaderWorkerSet"), ("kserve_instance", "LLMInferenceService")],
)
def test_webhooks_are_proven_by_an_admitted_object(plan_for, gate, kind):
    (check,) = find(plan_for("aws"), gate, check="dry_run")
    assert check["object"]["kind"] == kind


def test_the_gate_of_kserve_asks_for_the_version_and_the_presets_of_the_release(plan_for):
    gate = plan_for("aws").gates["kserve_instance"]
    (version,) = [check for check in gate if check["check"] == "field"]
    assert version["path"] == ["metadata", "annotations", "platform.opendatahub.io/version"]
    assert re.search(version["matches"], "3.4.4")
    assert not re.search(version["matches"], "3.4x4")
    presets = [check["name"] for check in gate if check.get("kind") == "LLMInferenceServiceConfig"]
    assert len(presets) == 8
    assert "v3-4-4-kserve-config-llm-template" in presets


def test_where_no_load_balancer_is_taken_for_granted_the_gateway_need_not_have_an_address(plan_for):
    generic, aws = plan_for("generic"), plan_for("aws")
    assert find(generic, "inference_gateway", type="Accepted")
    assert not find(generic, "inference_gateway", check="field")
    assert find(aws, "inference_gateway", type="Programmed")
    assert find(aws, "inference_gateway", check="field")[0]["path"] == "status.addresses.0.value"


def test_the_gate_of_an_external_layer_asks_for_use_and_not_for_our_names(plan_for):
    gate = plan_for("azure", ownership={"cert_manager": "external"}).gates["cert_manager"]
    assert [check["check"] for check in gate] == ["crds", "dry_run"]


def test_a_name_in_a_gate_that_is_no_fact_is_refused():
    with pytest.raises(CatalogError, match=r"\$\(namespaces\.moon\)"):
        fill({"namespace": "$(namespaces.moon)"}, {"namespaces.istio": "istio-system"})


# refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "code", "lists"),
    [
        ({"platform_release": "3.6", "provider": "aws"}, "IP-PLT-001", "3.4"),
        ({"platform_release": 2, "provider": "aws"}, "IP-PLT-001", "3.4"),
        ({"platform_release": "3.4", "provider": "aws", "distribution": "readhat"}, "IP-PLT-002", "redhat"),
        (
            {"platform_release": "3.4", "provider": "gke"},
            "IP-PLT-003",
            "aws, azure, coreweave, gcp, generic or openshift",
        ),
        ({"platform_release": "3.4"}, "IP-PLT-003", "azure, coreweave, gcp, generic or openshift"),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_exist(settings, code, lists):
    (finding,) = refusals(**settings)
    assert finding.code == code
    assert lists in finding.expected


def test_a_name_with_a_typo_is_recognised():
    (finding,) = refusals(platform_release="3.4", provider="azur")
    assert "Did you mean azure?" in finding.remedy


@pytest.mark.parametrize(
    ("written", "meant"), [("EKS", "aws"), ("aks", "azure"), ("gke", "gcp"), ("AWS", "aws"), ("ocp", "openshift")]
)
def test_a_provider_is_known_by_what_people_call_it(written, meant):
    (finding,) = refusals(platform_release="3.4", provider=written)
    assert finding.remedy.endswith(f"Did you mean {meant}?")


def test_all_unknown_names_are_told_at_once():
    found = refusals(platform_release="9", provider="mars", distribution="moon")
    assert [finding.code for finding in found] == ["IP-PLT-001", "IP-PLT-002", "IP-PLT-003"]


@pytest.mark.parametrize("wanted", ["managed", "external"])
def test_our_own_lws_beside_the_3_5_cloud_manager_is_refused_with_the_nearest_that_works(wanted):
    (finding,) = refusals(platform_release="3.4", provider="aws", ownership={"lws": wanted})
    assert finding.code == "IP-PLT-006"
    assert finding.where == "ownership.lws"
    assert "takes over by force" in finding.found
    assert "delegated" in finding.remedy
    assert "cloud_manager none" in finding.remedy


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"provider": "aws", "cloud_manager": "none", "ownership": {"sail": "delegated"}}, "ownership.sail"),
        ({"provider": "generic", "ownership": {"gateway_api": "delegated"}}, "ownership.gateway_api"),
    ],
)
def test_what_cannot_be_delegated_is_refused(settings, path):
    (finding,) = refusals(platform_release="3.4", **settings)
    assert (finding.code, finding.where) == ("IP-PLT-006", path)
    assert "managed" in finding.remedy


@pytest.mark.parametrize("provider", ["azure", "aws"], ids=["line 3.4", "line 3.5"])
def test_the_cloud_manager_can_be_given_everything(plan_for, provider):
    plan = plan_for(provider, ownership=dict.fromkeys(DEPENDENCIES, "delegated"))
    order = names(plan)
    assert all(order.index("cloud_manager") < order.index(name) < order.index("pki") for name in DEPENDENCIES)
    policies = {entry["managementPolicy"] for entry in plan.engine["spec"]["dependencies"].values()}
    assert policies == {"Managed"}
    assert [layer.releases + layer.crds for layer in plan.layers if layer.name in DEPENDENCIES] == [[]] * 4


@pytest.mark.parametrize("name", ["gateway_api", "cert_manager"])
def test_one_delegated_dependency_leaves_the_other_before_the_cloud_manager(plan_for, name):
    order = names(plan_for("azure", ownership={name: "delegated"}))
    (other,) = {"gateway_api", "cert_manager"} - {name}
    assert order.index(other) < order.index("cloud_manager") < order.index(name)


def test_what_is_to_be_found_out_is_the_default_until_then(plan_for):
    assert plan_for("azure", ownership={"sail": "auto"}) == plan_for("azure")
    assert plan_for("aws", ownership={"sail": "auto"}) == plan_for("aws")


def test_the_nearest_combination_of_a_refusal_really_works(plan_for):
    assert plan_for("aws", ownership={"lws": "delegated"})
    assert plan_for("aws", cloud_manager="none", ownership={"lws": "managed"})


@pytest.mark.parametrize(
    ("settings", "code", "reason", "nearest"),
    [
        (
            {"platform_release": "3.5", "provider": "gcp", "distribution": "community"},
            "IP-PLT-004",
            "is not settled",
            "platform_release 3.4 with distribution community",
        ),
        (
            {"platform_release": "3.4", "provider": "openshift", "distribution": "community"},
            "IP-PLT-005",
            "a policy refuses another Istio",
            "distribution redhat on openshift",
        ),
        (
            {
                "platform_release": "3.4",
                "provider": "aws",
                "distribution": "community",
                "ownership": {"sail": "delegated"},
            },
            "IP-PLT-006",
            "there is no cloud manager to delegate to",
            "managed",
        ),
        (
            {
                "platform_release": "3.4",
                "provider": "aws",
                "distribution": "community",
                "chart_sha256": {"cert-manger": "0" * 64},
            },
            "IP-PLT-026",
            "cert-manger",
            "Did you mean cert-manager?",
        ),
    ],
)
def test_what_a_release_cannot_do_is_refused_with_the_reason_and_the_nearest(settings, code, reason, nearest):
    (finding,) = refusals(**settings)
    assert (finding.code, finding.severity) == (code, "error")
    assert reason in finding.found
    assert nearest in finding.remedy


def test_both_refusals_of_a_combination_are_told_at_once():
    found = refusals(platform_release="3.5", provider="openshift", distribution="community")
    assert [finding.code for finding in found] == ["IP-PLT-004", "IP-PLT-005"]


def test_a_distribution_or_provider_that_the_release_lacks_is_refused(catalog):
    catalog.distributions["elsewhere"] = {"title": "images from elsewhere"}
    catalog.providers["mars"] = catalog.providers["generic"]
    with pytest.raises(InventoryError) as caught:
        resolve({"platform_release": "3.4", "provider": "mars", "distribution": "elsewhere"}, catalog)
    assert [finding.code for finding in caught.value.findings] == ["IP-PLT-004", "IP-PLT-005"]


# Charts and images of the projects themselves -------------------------------------------


@pytest.mark.parametrize(
    "source", [{"pull_secret_file": "/auth.json"}, {"pull_secret_from": {"namespace": "vault", "name": "registry"}}]
)
def test_a_pull_secret_that_the_inventory_names_reaches_every_chart_of_others_that_runs_pods(plan_for, source):
    plan = plan_for("generic", distribution="community", platform_image_registry="mirror.example.com/a", **source)
    name = "rhai-pull-secret"
    assert plan.pull_secret == {"name": name, "namespaces": ["cert-manager", "istio-system", "kserve", "lws-system"]}
    assert plan.serving["pull_secret"] == name
    assert [check["namespace"] for check in plan.gates["namespaces"] if check.get("kind") == "Secret"] == [
        *plan.pull_secret["namespaces"]
    ]
    values = {release.name: release.values for layer in plan.layers for release in layer.releases if release.published}
    assert values["cert-manager"]["global"]["imagePullSecrets"] == [{"name": name}]
    assert values["istiod"]["global"]["imagePullSecrets"] == [name]
    assert values["lws"]["imagePullSecrets"] == [{"name": name}]
    controller = values["kserve-llmisvc-resources"]["kserve"]["llmisvc"]["controller"]
    assert controller["imagePullSecrets"] == [name]


def test_community_has_neither_an_operator_of_the_platform_nor_a_cloud_manager_nor_a_pull_secret(plan_for):
    plan = plan_for("aws", distribution="community")
    assert (plan.engine, plan.engine_line, plan.pull_secret) == (None, None, {"name": None, "namespaces": []})
    assert names(plan) == [
        "namespaces",
        "gateway_api",
        "cert_manager",
        "sail",
        "lws",
        "kserve",
        "pki",
        "kserve_instance",
        "inference_gateway",
    ]
    assert plan.images == {}
    assert set(plan.namespaces.values()) == {"cert-manager", "istio-system", "kserve", "lws-system"}


def published(plan: Plan) -> dict[str, Any]:
    return {release.name: release for layer in plan.layers for release in layer.releases if release.published}


def test_community_installs_published_charts_by_version_with_values_of_the_catalogue(plan_for):
    releases = published(plan_for("gcp", distribution="community"))
    assert list(releases) == [
        "cert-manager",
        "istio-base",
        "istiod",
        "lws",
        "kserve-llmisvc-crd",
        "kserve-llmisvc-resources",
        "kserve-runtime-configs",
    ]
    lws = releases["lws"]
    assert lws.values == {
        "image": {"manager": {"repository": "registry.k8s.io/lws/lws", "tag": "v0.8.0"}},
        "imagePullSecrets": [],
    }
    assert (lws.published["repository"], lws.published["version"]) == ("oci://registry.k8s.io/lws/charts", "0.8.0")
    gateway = releases["kserve-llmisvc-resources"].values["kserve"]["controller"]["gateway"]["ingressGateway"]
    assert gateway["kserveGateway"] == "kserve/inference-gateway"
    assert {item.published["sha256"] for item in published(plan_for("gcp")).values()} == set()


def test_the_sha256_of_the_inventory_takes_the_place_of_the_locks(plan_for):
    releases = published(plan_for("gcp", distribution="community", chart_sha256={"lws": "a" * 64}))
    assert releases["lws"].published["sha256"] == "a" * 64
    assert "unpinned" not in releases["lws"].published
    locked = load().charts["cert-manager"]["versions"]["v1.18.4"]
    assert releases["cert-manager"].published["sha256"] == locked.get("sha256")


def test_a_mirror_of_images_is_in_the_values_of_published_charts(plan_for):
    releases = published(plan_for("gcp", distribution="community", platform_image_registry="mirror.example.com/x"))
    assert releases["istiod"].values["global"]["hub"] == "mirror.example.com/x/istio"
    assert releases["lws"].values["image"]["manager"]["repository"] == "mirror.example.com/x/lws/lws"
    assert releases["istiod"].published["fixed"] == []
    assert releases["kserve-runtime-configs"].published["fixed"] == ["scheduler", "sidecar", "vllm"]


def test_what_is_external_needs_no_published_chart(plan_for):
    plan = plan_for("gcp", distribution="community", ownership={"cert_manager": "external", "sail": "external"})
    assert "cert-manager" not in published(plan)
    assert "istiod" not in published(plan)


# OpenShift ---------------------------------------------------------------------------


def test_on_openshift_what_the_cluster_ships_is_left_out(plan_for):
    plan = plan_for("openshift")
    assert names(plan) == [
        "namespaces",
        "gateway_api",
        "cert_manager",
        "gateway_class",
        "sail",
        "lws",
        "platform_operator",
        "kserve_instance",
        "inference_gateway",
    ]
    assert [item.crds for item in plan.layers if item.crds] == []
    assert plan.ownership == {
        "cert_manager": "managed",
        "gateway_api": "external",
        "lws": "managed",
        "sail": "delegated",
    }
    assert (plan.route, plan.engine, plan.engine_line) == ("olm", None, None)
    assert not {"gateway_api", "istio", "sail_operator"} & plan.versions.keys()


def test_on_openshift_operators_come_from_olm_at_the_locked_version(plan_for):
    plan = plan_for("openshift")
    assert {item.name: item.operator for item in plan.layers if item.operator} == {
        "cert_manager": "cert_manager",
        "lws": "lws",
        "platform_operator": "platform_operator",
    }
    assert {entry["package"]: entry["csv"] for entry in plan.operators.values()} == {
        "openshift-cert-manager-operator": "cert-manager-operator.v1.18.1",
        "leader-worker-set": "leader-worker-set.v1.0.0",
        "rhods-operator": "rhods-operator.3.4.4",
    }
    for name, entry in plan.operators.items():
        ((phase,), (installed,)) = (find(plan, name, kind=kind) for kind in ("ClusterServiceVersion", "Subscription"))
        assert (phase["name"], phase["namespace"], phase["path"]) == (entry["csv"], entry["namespace"], "status.phase")
        assert re.search(installed["matches"], entry["csv"])
        assert not re.search(installed["matches"], entry["csv"].replace(".", "x"))


def test_an_operator_of_an_external_dependency_is_not_subscribed_to(plan_for):
    plan = plan_for("openshift", ownership={"cert_manager": "external"})
    assert layer(plan, "cert_manager").operator is None
    assert find(plan, "cert_manager", kind="Subscription") == []


def test_on_openshift_only_our_own_namespaces_are_made_and_none_gets_a_pull_secret(plan_for):
    plan = plan_for("openshift")
    assert plan.made_namespaces == [
        "cert-manager",
        "cert-manager-operator",
        "openshift-lws-operator",
        "redhat-ods-applications",
        "redhat-ods-operator",
    ]
    assert plan.namespace_labels == {"openshift-lws-operator": {"openshift.io/cluster-monitoring": "true"}}
    assert (plan.pull_secret, plan.serving["pull_secret"]) == ({"name": None, "namespaces": []}, None)


def test_models_on_openshift_use_its_gateway_and_need_no_authorization(plan_for):
    serving = plan_for("openshift").serving
    assert serving["gateway"] == {
        "name": "openshift-ai-inference",
        "namespace": "openshift-ingress",
        "address_required": True,
        "namespace_labels": {"inference-platform.io/gateway-access": "true"},
    }
    assert serving["annotations"] == {"security.opendatahub.io/enable-auth": "false"}


def test_another_version_of_an_operator_is_approved_and_waited_for(plan_for):
    chosen = {"lws": {"channel": "stable-v1.1", "csv": "leader-worker-set.v1.1.0"}}
    plan = plan_for("openshift", olm_operators=chosen)
    assert (plan.operators["lws"]["channel"], plan.operators["lws"]["csv"]) == (
        "stable-v1.1",
        "leader-worker-set.v1.1.0",
    )
    assert plan.operators["cert_manager"]["csv"] == "cert-manager-operator.v1.18.1"
    awaited = {check.get("name") for check in plan.gates["lws"]}
    assert "leader-worker-set.v1.1.0" in awaited
    assert "leader-worker-set.v1.0.0" not in awaited


def test_versions_of_operators_are_refused_where_none_comes_from_olm():
    (finding,) = refusals(platform_release="3.4", provider="aws", olm_operators={"lws": {"csv": "a.v1.0"}})
    assert finding.code == "IP-PLT-009"


@pytest.mark.parametrize(
    ("operator", "csv", "meant"),
    [
        pytest.param("lws", "cert-manager-operator.v1.18.1", "a version of leader-worker-set", id="of another"),
        pytest.param("cert_manager", "leader-worker-set.v1.0.0", "a version of cert-manager-operator", id="swapped"),
        pytest.param("lws", "leader-worker-set.1.0.1", "leader-worker-set.v1.0.1", id="no v"),
    ],
)
def test_a_version_that_the_operator_cannot_have_is_refused(operator: str, csv: str, meant: str) -> None:
    """The run would wait for an InstallPlan that never comes."""
    (finding,) = refusals(platform_release="3.4", provider="openshift", olm_operators={operator: {"csv": csv}})
    assert (finding.code, finding.where) == ("IP-PLT-038", f"olm_operators.{operator}.csv")
    assert (finding.found, finding.remedy) == (f'"{csv}"', f"Write {meant}.")


def test_on_openshift_istio_is_waited_for_as_it_is_with_olm_and_without(plan_for):
    """Without OLM there is no object and no CRD of sailoperator.io (operators.md 5)."""
    checks = plan_for("openshift").gates["sail"]
    assert [check["check"] for check in checks] == ["crds", "deployment", "condition"]
    assert not [check for check in checks if "sailoperator" in str(check)]


def test_an_istio_of_ours_is_there_once_istiod_runs_the_image_of_the_plan(plan_for):
    """Istio/default says Healthy of the control plane of before, while its operator is replaced."""
    plan = plan_for("generic")
    (check,) = [check for check in plan.gates["sail"] if check["check"] == "field" and check["kind"] == "Deployment"]
    assert re.search(check["matches"], plan.images["istiod"])
    mirrored = f"mirror.example.com/istio/pilot@{plan.images['istiod'].partition('@')[2]}"
    assert re.search(check["matches"], mirrored)
    assert not re.search(check["matches"], plan.images["istio_proxy"])
    delegated = plan_for("aws").gates["sail"]
    assert not [check for check in delegated if check.get("kind") == "Deployment" and check["check"] == "field"]


def test_a_secret_to_copy_is_refused_where_no_pull_secret_is_made(plan_for):
    named = {"namespace": "vault", "name": "registry"}
    (finding,) = refusals(platform_release="3.4", provider="openshift", pull_secret_from=named)
    assert (finding.code, finding.where) == ("IP-PLT-028", "pull_secret_from")
    assert plan_for("openshift", pull_secret_file="auth.json").pull_secret["name"] is None


def test_without_olm_there_is_nothing_of_it_in_the_plan(plan_for):
    plan = plan_for("generic")
    assert (plan.route, plan.operators, plan.namespace_labels) == ("helm", {}, {})
    assert {item.operator for item in plan.layers} == {None}
    assert plan.made_namespaces == plan.pull_secret["namespaces"] == sorted(plan.namespaces.values())
    assert plan.serving["annotations"] == {}


@pytest.mark.parametrize(
    ("settings", "code", "reason", "nearest"),
    [
        ({"ownership": {"sail": "managed"}}, "IP-PLT-006", "ingress operator", "delegated for sail"),
        ({"ownership": {"sail": "external"}}, "IP-PLT-006", "ingress operator", "delegated"),
        ({"ownership": {"gateway_api": "managed"}}, "IP-PLT-006", "policy", "external for gateway_api"),
        ({"ownership": {"lws": "delegated"}}, "IP-PLT-006", "no cloud manager", "managed"),
        ({"platform_image_registry": "mirror.example.com"}, "IP-PLT-008", "mirror.example.com", "ImageDigestMirrorSet"),
        ({"platform_release": "3.5"}, "IP-PLT-005", "OLM", "platform_release 3.4"),
        ({"gateway_load_balancer": "nlb"}, "IP-PLT-007", "nlb", "default"),
    ],
)
def test_what_openshift_cannot_do_is_refused_with_the_nearest(settings, code, reason, nearest):
    (finding,) = refusals(**{"platform_release": "3.4", "provider": "openshift", **settings})
    assert finding.code == code
    assert reason in finding.found
    assert nearest in finding.remedy


def test_the_nearest_to_a_refusal_on_openshift_really_works(plan_for):
    assert plan_for("openshift", cloud_manager="none") == plan_for("openshift")
    assert plan_for("openshift", ownership={"gateway_api": "external", "sail": "delegated", "lws": "managed"})


def test_what_is_left_to_somebody_else_is_not_taken_over():
    settings = {
        "platform_release": "3.4",
        "provider": "generic",
        "ownership": {"cert_manager": "external", "sail": "auto"},
    }
    assert resolve({**settings, "ownership_adopt": ["sail", "lws"]}).ownership["cert_manager"] == "external"
    (finding,) = refusals(**settings, ownership_adopt=["sail", "cert_manager"])
    assert (finding.code, finding.where, finding.found) == ("IP-PLT-031", "ownership_adopt[1]", "cert_manager")
