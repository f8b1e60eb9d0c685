"""Honesty of the catalogue, and of the checks that watch over it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from inference_platform.catalog import Catalog, CatalogError, check, load
from inference_platform.catalog.__main__ import main
from inference_platform.catalog.load import holds
from inference_platform.findings import WARNING, errors
from inference_platform.paths import CATALOG, CHARTS, ROLES

COUNTS = {  # how many CRDs each set has, by its project
    "cert-manager": 6,
    "cert-manager-operator": 2,
    "cloud-manager": None,  # one per provider; see below
    "gateway-api": 6,
    "inference-extension": 5,
    "istio": 14,
    "kserve-llmisvc": 2,
    "lws-operator": 2,
    "rhai-operator": 1,
    "sail-operator": 5,
}


OTHER_COUNTS = {  # versions of a set that differ
    ("inference-extension", "odh-v3.5"): 4,
    ("rhai-operator", "3.5.0"): 2,
}


def crd_files() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (name, version, file)
        for name, versions in load().crds.items()
        for version, files in versions.items()
        for file in files
    ]


def test_the_catalogue_has_no_problem():
    assert [str(finding) for finding in errors(check(load()))] == []


def test_every_image_is_locked_by_a_digest_and_named_without_a_tag():
    for name, image in load().images.items():
        assert ":" not in image["repository"], name
        for version, digest in image["digests"].items():
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest), f"{name} {version}"


def test_no_digest_stands_for_two_different_repositories():
    owners: dict[str, str] = {}
    for image in load().images.values():
        for digest in image["digests"].values():
            assert owners.setdefault(digest, image["repository"]) == image["repository"]


def test_every_crd_set_is_complete():
    for name, versions in load().crds.items():
        expected = COUNTS[name]
        for version, files in versions.items():
            expected_here = OTHER_COUNTS.get((name, version), expected)
            assert expected_here is None or len(files) == expected_here, f"{name} {version}"
    assert set(COUNTS) == set(load().crds)


def test_every_crd_file_has_a_url_at_a_commit_and_a_sha256():
    for name, version, file in crd_files():
        assert re.search(r"/[0-9a-f]{40}/", file["url"]), f"{name} {version}: {file['url']}"
        assert re.fullmatch(r"[0-9a-f]{64}", file["sha256"])


def test_the_lws_crd_is_left_to_its_operator():
    assert not [file for _, _, file in crd_files() if file["name"].startswith("leaderworkersets.")]


def test_only_the_crd_that_others_may_own_is_left_alone_when_present():
    lenient = {file["name"] for _, _, file in crd_files() if file.get("only_if_absent")}
    assert lenient == {"servicemonitors.monitoring.coreos.com"}


def test_the_charts_of_all_layers_exist():
    for layer in load().layers:
        for release in layer.get("releases", []):
            if "chart" in release:
                assert (CHARTS / release["chart"] / "Chart.yaml").is_file(), release["chart"]


def test_every_layer_has_a_role_of_its_name():
    missing = [layer["name"] for layer in load().layers if not (ROLES / layer["name"] / "tasks" / "main.yml").is_file()]
    assert missing == []


def _unknown_need(catalog: Catalog) -> None:
    catalog.layers[3]["needs"].append({"layer": "cert_manger"})


def _layer_without_gate(catalog: Catalog) -> None:
    del catalog.gates["sail"]


def _related_image_that_is_neither(catalog: Catalog) -> None:
    catalog.releases["3.5"]["related_images"]["operator"][0]["image"] = "no-such-image"


def _missing_chart(catalog: Catalog) -> None:
    catalog.layers[3]["releases"][0]["chart"] = "sale-operator"


def _missing_crd_set(catalog: Catalog) -> None:
    del catalog.crds["istio"]


def _unlocked_image(catalog: Catalog) -> None:
    catalog.releases["3.4"]["engine_lines"]["3.5"]["images"]["cloud_manager"] = "3.5.9"


def _unlocked_crd_version(catalog: Catalog) -> None:
    catalog.releases["3.4"]["crds"]["istio"] = "9.9"


def _related_image_not_chosen(catalog: Catalog) -> None:
    del catalog.releases["3.4"]["images"]["kv_cache"]


def _provider_without_entry(catalog: Catalog) -> None:
    catalog.releases["3.4"]["providers"]["mars"] = {"engine_line": "none"}


def _locked_image_that_nobody_takes(catalog: Catalog) -> None:
    catalog.images["lws"]["digests"]["0.9"] = "sha256:" + "0" * 64


def _crd_version_that_nobody_takes(catalog: Catalog) -> None:
    catalog.crds["istio"]["3.1.0"] = catalog.crds["istio"]["3.2.3"]


def _set_without_version(catalog: Catalog) -> None:
    del catalog.releases["3.4"]["crds"]["gateway-api"]


def _line_without_engine_crd(catalog: Catalog) -> None:
    catalog.releases["3.4"]["providers"]["aws"]["engine_line"] = "3.4"


def _chart_that_no_layer_uses(catalog: Catalog) -> None:
    catalog.layers[-1]["releases"] = []


def _refusal_without_reason(catalog: Catalog) -> None:
    del catalog.releases["3.4"]["engine_lines"]["3.5"]["refusals"]["external"]


def _file_without_pin(catalog: Catalog) -> None:
    catalog.crds["gateway-api"]["v1.4.0"][0] = {
        "name": "backendtlspolicies.gateway.networking.k8s.io",
        "unpinned": "its project publishes no file",
    }


def _unsorted_lock(catalog: Catalog) -> None:
    catalog.crds["gateway-api"]["v1.4.0"].reverse()


def _operator_that_olm_has_and_the_release_does_not(catalog: Catalog) -> None:
    del catalog.releases["3.4"]["olm"]["operators"]["lws"]


def _operator_in_no_namespace_of_the_release(catalog: Catalog) -> None:
    catalog.releases["3.4"]["olm"]["operators"]["lws"]["namespace"] = "nowhere"


def _published_chart_without_a_version(catalog: Catalog) -> None:
    del catalog.releases["3.4"]["of_distribution"]["community"]["charts"]["lws"]


def _published_chart_in_a_version_that_is_not_locked(catalog: Catalog) -> None:
    catalog.releases["3.4"]["of_distribution"]["community"]["charts"]["lws"] = "9.9.9"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_unknown_need, "IP-CAT-001"),
        (_layer_without_gate, "IP-CAT-002"),
        (_missing_chart, "IP-CAT-003"),
        (_missing_crd_set, "IP-CAT-004"),
        (_unlocked_image, "IP-CAT-005"),
        (_unlocked_crd_version, "IP-CAT-006"),
        (_related_image_not_chosen, "IP-CAT-007"),
        (_related_image_that_is_neither, "IP-CAT-007"),
        (_provider_without_entry, "IP-CAT-008"),
        (_file_without_pin, "IP-CAT-009"),
        (_unsorted_lock, "IP-CAT-010"),
        (_refusal_without_reason, "IP-CAT-011"),
        (_locked_image_that_nobody_takes, "IP-CAT-012"),
        (_crd_version_that_nobody_takes, "IP-CAT-012"),
        (_set_without_version, "IP-CAT-013"),
        (_line_without_engine_crd, "IP-CAT-014"),
        (_chart_that_no_layer_uses, "IP-CAT-015"),
        (_operator_that_olm_has_and_the_release_does_not, "IP-CAT-017"),
        (_operator_in_no_namespace_of_the_release, "IP-CAT-018"),
        (_published_chart_without_a_version, "IP-CAT-019"),
        (_published_chart_in_a_version_that_is_not_locked, "IP-CAT-019"),
    ],
)
def test_a_spoilt_catalogue_is_found_out(catalog: Catalog, spoil: Callable[[Catalog], None], code: str):
    spoil(catalog)
    assert code in {finding.code for finding in check(catalog)}


@pytest.mark.parametrize(
    "chart",
    [
        "version: 1.x\n",
        "version: 1.0.0\ndependencies:\n  - {name: other, version: '>=1.0.0', repository: oci://host/path}\n",
    ],
)
def test_a_chart_or_a_dependency_without_one_exact_version_is_found_out(tmp_path, monkeypatch, chart):
    shutil.copytree(CHARTS, tmp_path / "charts", symlinks=True)
    (tmp_path / "charts" / "pki" / "Chart.yaml").write_text(f"apiVersion: v2\nname: pki\n{chart}")
    monkeypatch.setattr(sys.modules["inference_platform.catalog.check"], "CHARTS", tmp_path / "charts")
    (finding,) = errors(check(load()))
    assert finding.code == "IP-CAT-016"
    assert "charts/pki/Chart.yaml" in finding.where


def test_the_command_sums_up_what_it_checked_and_fails_with_the_first_error(catalog, monkeypatch, capsys):
    assert main() == 0
    assert "0 errors" in capsys.readouterr().out
    _unsorted_lock(catalog)
    monkeypatch.setattr("inference_platform.catalog.__main__.load", lambda: catalog)
    assert main() == 1
    assert "IP-CAT-010" in capsys.readouterr().out


def test_a_catalogue_that_cannot_be_read_fails_the_command(monkeypatch, capsys):
    def broken() -> Catalog:
        raise CatalogError("layers.yml is wrong")

    monkeypatch.setattr("inference_platform.catalog.__main__.load", broken)
    assert main() == 1
    assert "layers.yml is wrong" in capsys.readouterr().err


def test_only_charts_of_others_are_without_a_pin():
    """Their sha256 is looked up where there is internet; an installation asks for it."""
    assert {finding.code for finding in check(load())} <= {"IP-CAT-031"}


def test_a_crd_file_without_a_pin_is_a_warning_with_its_reason(catalog: Catalog):
    _file_without_pin(catalog)
    (finding,) = [finding for finding in check(catalog) if finding.code == "IP-CAT-009"]
    assert finding.severity == WARNING
    assert finding.found == "its project publishes no file"


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("layers.yml", lambda data: data["layers"][0].update(nmae="x"), r"layers.yml layers\.0\.nmae: unknown key"),
        ("gates.yml", lambda data: data["gates"]["lws"][0]["checks"][0].update(check="crdz"), "crdz"),
        (
            "images.yml",
            lambda data: data["images"]["lws"]["digests"].update({"1.0": "latest"}),
            "expected sha256: and 64 hexadecimal digits",
        ),
        ("crds.yml", lambda data: data["sets"]["istio"]["3.2.3"][0].pop("sha256"), "url and sha256"),
    ],
)
def test_a_file_that_breaks_the_schema_is_refused_with_file_and_path(tmp_path, file, change, message):
    shutil.copytree(CATALOG, tmp_path / "catalog")
    data = yaml.safe_load((tmp_path / "catalog" / file).read_text())
    change(data)
    (tmp_path / "catalog" / file).write_text(yaml.safe_dump(data))
    with pytest.raises(CatalogError, match=message):
        load(tmp_path / "catalog")


def test_a_part_without_conditions_always_holds():
    assert holds(None, {})


def test_all_conditions_of_a_part_must_hold():
    when = {"provider": ["aws", "azure"], "ownership": ["managed"]}
    assert holds(when, {"provider": "azure", "ownership": "managed"})
    assert not holds(when, {"provider": "azure", "ownership": "external"})
    assert not holds(when, {"ownership": "managed"})
