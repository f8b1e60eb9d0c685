"""What tests/platform expects to run by a plan, and the environment that tells it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.catalog import load
from inference_platform.platform import Plan
from tests.platform.expectations import PARTS, SERVICES, Expectations, Gateway, Service, expectations
from tests.platform.settings import SettingsError, from_environment

REPOSITORY = Path(__file__).parents[3]
ENVIRONMENT = {"PLATFORM_KUBECONFIG": "config", "PLATFORM_RELEASE": "3.4", "PLATFORM_PROVIDER": "aws"}
GATEWAY = ("redhat-ods-applications", "inference-gateway-istio")
OPERATORS = {
    "cert_manager": {"cert-manager-operator", "cert-manager"},
    "sail": {"istio-system"},
    "lws": {"openshift-lws-operator"},
}

PlanFor = Callable[..., Plan]


@pytest.fixture
def expected_for(plan_for: PlanFor) -> Callable[..., Expectations]:
    """What is expected for a provider and further settings."""
    return lambda provider, **settings: expectations(plan_for(provider, **settings).to_dict())


def homes(keys: Any) -> set[str]:
    """The namespaces of Deployments or Services."""
    return {key[0] if isinstance(key, tuple) else key.namespace for key in keys}


# ---- from a plan to expectations -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "counts"),
    [
        ("aws", (7, 12, 13)),
        ("azure", (7, 12, 13)),
        ("coreweave", (7, 12, 13)),
        ("gcp", (6, 11, 13)),
        ("generic", (6, 11, 13)),
    ],
)
def test_namespaces_deployments_and_services_of_a_provider(
    expected_for: Callable[..., Expectations], provider: str, counts: tuple[int, int, int]
) -> None:
    """As facts/platform.md 7 and operators.md 9 count them for 3.4."""
    found = expected_for(provider)
    assert (len(found.namespaces), len(found.deployments), len(found.services)) == counts
    assert found.pull_secret == "rhai-pull-secret"
    assert set(found.with_secret) == set(found.homes) == set(found.namespaces)
    assert found.pulling == found.deployments
    assert found.gateway_classes == ("istio",)
    assert {"httproutes.gateway.networking.k8s.io", "leaderworkersets.leaderworkerset.x-k8s.io"} < set(found.crds)
    assert {"llminferenceservices.serving.kserve.io", "kserves.components.platform.opendatahub.io"} < set(found.crds)


def test_the_cloud_manager_is_that_of_the_provider(expected_for: Callable[..., Expectations]) -> None:
    names = {name for _, name in expected_for("azure").deployments}
    assert "azure-cloud-manager-operator" in names


@pytest.mark.parametrize("provider", ["aws", "azure", "coreweave"])
def test_without_a_cloud_manager_neither_it_nor_its_namespace_is_expected(
    expected_for: Callable[..., Expectations], provider: str
) -> None:
    alone, default = expected_for(provider, cloud_manager="none"), expected_for(provider)
    assert set(default.namespaces) - set(alone.namespaces) == {"rhai-cloudmanager-system"}
    cloud_manager = ("rhai-cloudmanager-system", f"{provider}-cloud-manager-operator")
    assert set(default.deployments) - set(alone.deployments) == {cloud_manager}
    assert set(alone.deployments) < set(default.deployments)


@pytest.mark.parametrize("release", ["3.4", "3.5"])
@pytest.mark.parametrize("layer", list(OPERATORS))
def test_nothing_runs_for_a_dependency_of_another_owner(
    expected_for: Callable[..., Expectations], layer: str, release: str
) -> None:
    given = {"platform_release": release, "cloud_manager": "none"}
    default, found = expected_for("aws", **given), expected_for("aws", **given, ownership={layer: "external"})
    assert homes({*default.deployments} - {*found.deployments}) == OPERATORS[layer]
    assert homes({*default.services} - {*found.services}) == OPERATORS[layer]
    assert OPERATORS[layer] & homes([*found.deployments, *found.services]) == set()
    assert set(found.namespaces) == set(default.namespaces), "the installer makes them all the same"


def test_a_proxy_of_somebody_elses_istio_pulls_what_that_says(expected_for: Callable[..., Expectations]) -> None:
    found = expected_for("generic", ownership={"sail": "external"})
    assert GATEWAY in found.deployments
    assert set(found.deployments) - set(found.pulling) == {GATEWAY}


@pytest.mark.parametrize("layer", list(OPERATORS))
def test_what_is_delegated_to_the_cloud_manager_runs_all_the_same(
    expected_for: Callable[..., Expectations], layer: str
) -> None:
    given = {"platform_release": "3.5"}
    delegated = expected_for("coreweave", **given, ownership=dict.fromkeys([*OPERATORS, "gateway_api"], "delegated"))
    assert delegated.deployments == expected_for("coreweave", **given).deployments
    assert OPERATORS[layer] <= homes(delegated.deployments)


def test_a_gateway_of_the_users_own_is_looked_at_and_has_no_service_of_ours(
    expected_for: Callable[..., Expectations],
) -> None:
    found = expected_for("generic", gateway={"external": {"namespace": "edge", "name": "mine"}})
    assert found.gateway == Gateway("edge", "mine", "Programmed")
    assert GATEWAY not in found.deployments
    assert [service for service in found.services if service.of_gateway] == []


def test_without_load_balancers_the_gateway_needs_no_address(expected_for: Callable[..., Expectations]) -> None:
    assert not expected_for("generic").gateway.needs_address
    assert expected_for("aws").gateway.needs_address


@pytest.mark.parametrize(
    ("gateway", "ports"),
    [
        ({}, (80,)),
        ({"http": {"port": 8080}}, (8080,)),
        ({"http": {"enabled": False}, "https": {"enabled": True, "hostnames": ["a.b"]}}, (443,)),
        ({"https": {"enabled": True, "port": 8443, "hostnames": ["a.b"]}}, (80, 8443)),
    ],
)
@pytest.mark.parametrize("release", ["3.4", "3.5"])
def test_the_gateway_listens_as_the_inventory_says_and_its_service_offers_that(
    expected_for: Callable[..., Expectations], release: str, gateway: dict[str, Any], ports: tuple[int, ...]
) -> None:
    found = expected_for("aws", platform_release=release, gateway=gateway)
    assert found.gateway == Gateway("redhat-ods-applications", "inference-gateway", "Programmed", ports)
    assert [service for service in found.services if service.of_gateway] == [
        Service(*GATEWAY, type="LoadBalancer", ports=(15021,), of_gateway=True)
    ]


def test_of_3_5_the_module_of_kserve_is_expected(expected_for: Callable[..., Expectations]) -> None:
    newer, older = expected_for("aws", platform_release="3.5"), expected_for("aws")
    module = ("redhat-ods-applications", "kserve-module-controller-manager")
    assert set(newer.deployments) - set(older.deployments) == {module}


def test_on_openshift_its_own_control_plane_and_gateway_are_expected(
    expected_for: Callable[..., Expectations],
) -> None:
    found = expected_for("openshift")
    assert {("openshift-ingress", "istiod-openshift-gateway"), ("redhat-ods-operator", "rhods-operator")} < set(
        found.deployments
    )
    proxy = "openshift-ai-inference-openshift-ai-inference"
    assert [service.name for service in found.services if service.of_gateway] == [proxy]
    assert found.gateway == Gateway("openshift-ingress", "openshift-ai-inference", "Programmed")
    assert found.gateway_classes == ("openshift-ai-inference",)
    assert (found.pull_secret, found.with_secret) == (None, ())
    assert "openshift-ingress" in found.namespaces
    assert "openshift-ingress" not in found.homes, "others run there, too"


def test_of_the_community_no_operator_is_expected(expected_for: Callable[..., Expectations]) -> None:
    found = expected_for("gcp", distribution="community")
    assert homes(found.deployments) == {"cert-manager", "istio-system", "kserve", "lws-system"}
    assert {service.name for service in found.services if service.namespace == "cert-manager"} == {
        "cert-manager-webhook"
    }
    assert found.pull_secret is None


def test_every_service_of_the_catalogue_is_beside_a_deployment_of_some_plan(
    expected_for: Callable[..., Expectations],
) -> None:
    """A name that no plan has would expect nothing, and nobody would notice."""
    plans = [expected_for(name, platform_release=number) for number in load().releases for name in ("aws", "gcp")]
    found = {service.name for plan in plans for service in plan.services if not service.of_gateway}
    assert {entry["name"] for entry in yaml.safe_load(SERVICES.read_text(encoding="utf-8"))["services"]} == found


# ---- the environment -----------------------------------------------------------------------------


def test_the_playbook_gives_the_parts_of_the_plan_that_are_read(plan_for: PlanFor) -> None:
    variables = yaml.safe_load((REPOSITORY / "roles" / "verify" / "vars" / "main.yml").read_text(encoding="utf-8"))
    assert tuple(variables["_verify_parts"]) == PARTS
    plan = plan_for("aws", platform_release="3.5").to_dict()
    text = json.dumps({name: plan[name] for name in PARTS})
    assert len(text) < 100_000, "Linux takes 128 KiB in one variable"
    given = from_environment({"PLATFORM_KUBECONFIG": "config", "PLATFORM_PLAN": text})
    assert given.expected == expectations(plan)


def test_without_a_plan_it_follows_from_release_and_provider(plan_for: PlanFor) -> None:
    assert from_environment(ENVIRONMENT).expected == expectations(plan_for("aws").to_dict())
    community = ENVIRONMENT | {"PLATFORM_PROVIDER": "gcp", "PLATFORM_DISTRIBUTION": "community"}
    plan = plan_for("gcp", distribution="community").to_dict()
    assert from_environment(community).expected == expectations(plan)


def test_without_a_plan_files_of_an_inventory_can_say_the_settings(plan_for: PlanFor, tmp_path: Path) -> None:
    files = tmp_path / "10-cluster.yml", tmp_path / "20-layers.yml"
    files[0].write_text('platform_release: "3.5"\nprovider: aws\n', encoding="utf-8")
    files[1].write_text("cloud_manager: none\n", encoding="utf-8")
    given = {"PLATFORM_KUBECONFIG": "config", "PLATFORM_SETTINGS": ", ".join(map(str, files))}
    plan = plan_for("aws", platform_release="3.5", cloud_manager="none").to_dict()
    assert from_environment(given).expected == expectations(plan)


def test_models_are_named_with_their_namespace() -> None:
    settings = from_environment(ENVIRONMENT | {"PLATFORM_MODELS": "llm/qwen-basic, other/big"})
    assert settings.models == (("llm", "qwen-basic"), ("other", "big"))


@pytest.mark.parametrize("variable", [{}, {"PLATFORM_MODELS": ""}, {"PLATFORM_MODELS": " , "}])
def test_without_named_models_those_on_the_cluster_are_checked(variable: dict[str, str]) -> None:
    assert from_environment(ENVIRONMENT | variable).models is None


@pytest.mark.parametrize("name", list(ENVIRONMENT))
def test_a_missing_variable_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: expected "):
        from_environment(ENVIRONMENT | {name: ""})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"PLATFORM_RELEASE": "2.0"}, r"PLATFORM_RELEASE, .*\n.*platform_release: expected .* 3\.4 or 3\.5"),
        ({"PLATFORM_PROVIDER": "mars"}, r"PLATFORM_RELEASE, .*\n.*provider: expected .*openshift"),
        ({"PLATFORM_PLAN": "{"}, "PLATFORM_PLAN: expected a plan as JSON"),
        ({"PLATFORM_PLAN": '{"release": "3.4"}'}, "PLATFORM_PLAN: expected release, .* found no distribution, "),
        ({"PLATFORM_PLAN": "[]"}, "PLATFORM_PLAN: expected release, .* found no release, "),
        ({"PLATFORM_SETTINGS": "/none.yml"}, "PLATFORM_SETTINGS: expected a YAML file with settings, found /none.yml"),
    ],
)
def test_what_the_environment_says_wrongly_is_told(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        from_environment(ENVIRONMENT | wrong)


def test_a_file_without_settings_is_told(tmp_path: Path) -> None:
    file = tmp_path / "list.yml"
    file.write_text("- one\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="PLATFORM_SETTINGS: expected settings by name in "):
        from_environment(ENVIRONMENT | {"PLATFORM_SETTINGS": str(file)})


def test_a_model_without_a_namespace_is_refused() -> None:
    with pytest.raises(SettingsError, match='expected namespace/name, found "qwen"'):
        from_environment(ENVIRONMENT | {"PLATFORM_MODELS": "qwen"})
