"""The charts' defaults are the reference release's versions, which only the catalogue holds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rendered.charts import REPOSITORY, case, load_yaml

LOCK = load_yaml(REPOSITORY / "catalog" / "images.yml")["images"]
RELEASE = load_yaml(REPOSITORY / "catalog" / "releases" / "3.4.yml")

CHARTS_WITH_IMAGES = ["cert-manager-operator", "sail-operator", "lws-operator", "cloud-manager", "rhai-operator"]
ISTIO_IMAGES = {
    "istiod": "istiod",
    "proxy": "istio_proxy",
    "cni": "istio_cni",
    "ztunnel": "istio_ztunnel",
    "must-gather": "istio_must_gather",
}


def _reference(name: str, versions: dict[str, Any]) -> str:
    entry = LOCK[name]
    return f"{entry['repository']}@{entry['digests'][str(versions[name])]}"


def _versions_of_line(line: str) -> dict[str, Any]:
    return {**RELEASE["images"], **RELEASE["engine_lines"][line]["images"]}


@pytest.mark.parametrize("chart", CHARTS_WITH_IMAGES)
def test_default_images_are_the_catalogues(chart: str) -> None:
    images = case(chart).values()["images"]
    assert images == {name: _reference(name, _versions_of_line("3.4")) for name in images}


def test_the_example_of_aws_uses_the_image_of_the_next_line() -> None:
    images = case("cloud-manager", "aws-3.5").values()["images"]
    assert images == {name: _reference(name, _versions_of_line("3.5")) for name in images}


def test_default_related_images_are_the_catalogues() -> None:
    expected = {
        entry["name"]: _reference(entry["image"], RELEASE["images"]) for entry in RELEASE["related_images"]["operator"]
    }
    assert {entry["name"]: entry["value"] for entry in case("rhai-operator").values()["relatedImages"]} == expected


def test_default_istio_images_are_the_catalogues() -> None:
    (istio,) = case("sail-operator").values()["istioImages"]
    assert istio["version"] == RELEASE["versions"]["istio"]
    expected = {part: _reference(name, RELEASE["images"]) for part, name in ISTIO_IMAGES.items()}
    assert istio["images"] == expected


def test_the_version_of_the_platform_is_the_releases() -> None:
    for chart in ("rhai-operator", "kserve", "kserve-instance", "inference-gateway", "pki", "cloud-manager"):
        assert load_yaml(case(chart).folder / "Chart.yaml")["appVersion"] == RELEASE["version"], chart


def test_the_versions_of_the_dependencies_are_the_releases() -> None:
    values = case("cert-manager-operator").values()
    assert values["operandVersion"] == RELEASE["images"]["cert_manager"]
    assert values["istioCsrVersion"] == RELEASE["images"]["cert_manager_istio_csr"]
    charts = {"cert-manager-operator": "cert_manager_operator", "sail-operator": "sail_operator", "lws": "lws"}
    for chart, image in charts.items():
        assert load_yaml(case(chart).folder / "Chart.yaml")["appVersion"] == RELEASE["images"][image], chart
