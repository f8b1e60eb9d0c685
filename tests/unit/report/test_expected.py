"""catalog/expected.yml and the settings of the checks that read it (tests/platform)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.platform.settings import SettingsError, expectations, from_environment

ENVIRONMENT = {"PLATFORM_KUBECONFIG": "config", "PLATFORM_RELEASE": "3.4", "PLATFORM_PROVIDER": "aws"}


@pytest.mark.parametrize(
    ("provider", "counts"),
    [
        ("aws", (7, 12, 13, 17)),
        ("azure", (7, 12, 13, 17)),
        ("coreweave", (7, 12, 13, 17)),
        ("gcp", (6, 11, 13, 17)),
        ("generic", (6, 11, 13, 17)),
    ],
)
def test_namespaces_deployments_services_and_crds_of_a_provider(
    provider: str, counts: tuple[int, int, int, int]
) -> None:
    expected = expectations("3.4", provider)
    found = tuple(len(expected[name]) for name in ("namespaces", "deployments", "services", "crds"))
    assert found == counts


def test_the_cloud_manager_is_that_of_the_provider() -> None:
    names = {entry["name"] for entry in expectations("3.4", "azure")["deployments"]}
    assert "azure-cloud-manager-operator" in names


@pytest.mark.parametrize("release", ["3.4", "3.4-community", "3.5"])
@pytest.mark.parametrize("provider", ["aws", "azure", "coreweave", "gcp", "generic"])
def test_the_plan_and_the_expectation_agree(plan_for: Callable[..., Any], release: str, provider: str) -> None:
    number, _, distribution = release.partition("-")
    plan = plan_for(provider, platform_release=number, distribution=distribution or "redhat").to_dict()
    expected = expectations(release, provider)
    assert {entry["name"] for entry in expected["namespaces"]} == set(plan["namespaces"].values())
    assert expected["pull_secret"] == plan["pull_secret"]["name"]
    waited = {
        (check["namespace"], check["name"])
        for checks in plan["gates"].values()
        for check in checks
        if check["check"] == "deployment"
    }
    assert {(entry["namespace"], entry["name"]) for entry in expected["deployments"]} == waited
    served = {name for checks in plan["gates"].values() for c in checks for name in c.get("names", [])}
    assert set(expected["crds"]) <= served


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
    ("release", "provider", "message"),
    [
        ("2.0", "aws", 'PLATFORM_RELEASE: expected one of 3.4, 3.5, 3.4-community, found "2.0"'),
        ("3.4", "mars", 'PLATFORM_PROVIDER: expected one of aws, azure, coreweave, gcp, generic, found "mars"'),
    ],
)
def test_unknown_releases_and_providers_are_refused(release: str, provider: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        expectations(release, provider)


def test_a_model_without_a_namespace_is_refused() -> None:
    with pytest.raises(SettingsError, match='expected namespace/name, found "qwen"'):
        from_environment(ENVIRONMENT | {"PLATFORM_MODELS": "qwen"})
