"""What an inventory needs is listed once, by who uses it, with its place in the mirror."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference_platform.catalog import load
from inference_platform.mirror import lists
from inference_platform.mirror.needs import Needs, list_needs
from inference_platform.models import render
from inference_platform.platform import resolve

MIRROR = "mirror.example.com:5000/platform"
OWN = "quay.io/team/vllm:v1"
MODELS: list[dict[str, Any]] = [
    {"name": "a", "uri": "hf://org/model", "image": OWN, "gpu": {"count": 1}},
    {"name": "b", "uri": "oci://quay.io/team/weights:v1", "gpu": {"count": 1}},
    {"name": "c", "uri": "pvc://claim/folder", "gpu": {"count": 1}},
]


def needs(registry: str = "", *, setting: str = "", **changes: Any) -> Needs:
    settings = {"platform_release": "3.4", "provider": "generic", "platform_image_registry": setting, **changes}
    plan = resolve(settings).to_dict()
    result = render(MODELS, {"namespace": "models"}, plan)
    assert result.ok, result.findings
    return list_needs(plan, result.objects, entries=result.entries, sources=result.mirrored, registry=registry)


def by_name(listed: Needs) -> dict[str, Any]:
    return {item.source.partition("@")[0]: item for item in listed.images}


def test_every_image_of_the_plan_and_of_the_models_is_listed_once() -> None:
    listed = needs()
    sources = [item.source for item in listed.images]
    plan = resolve({"platform_release": "3.4", "provider": "generic"}).to_dict()
    assert sources == sorted({*plan["images"].values(), OWN, "quay.io/team/weights:v1"})
    assert {item.target for item in listed.images} == {""}
    assert by_name(listed)[OWN].used_by == ("model models/a",)


def test_digests_and_tags_are_kept_in_the_mirror() -> None:
    listed = needs(MIRROR)
    assert len(listed.images) == len(needs().images)
    assert all(item.target == f"{MIRROR}/{item.source.partition('/')[2]}" for item in listed.images)


def test_an_inventory_that_uses_the_mirror_already_lists_the_same() -> None:
    assert needs(MIRROR, setting=MIRROR) == needs(MIRROR)


def test_what_somebody_else_has_installed_is_not_listed() -> None:
    names = by_name(needs(ownership={"cert_manager": "external", "sail": "external", "lws": "external"}))
    layers = {layer["name"]: layer.get("images", []) for layer in load().layers}
    left = [image for name in ("cert_manager", "sail", "lws") for image in layers[name]]
    repositories = {load().images[image]["repository"] for image in left}
    assert len(repositories) == 12
    assert repositories & set(names) == set()


def test_what_the_cloud_manager_brings_is_left_to_the_nodes() -> None:
    listed = needs(MIRROR, provider="aws")
    brought = {user for item in listed.images if not item.rewritten for user in item.used_by}
    assert brought == {"sail", "lws"}
    assert "[brought by the cloud manager or a chart of others: the nodes need the mirror]" in lists.as_text(listed)
    assert all(item.rewritten for item in needs(MIRROR).images)


def test_charts_that_others_publish_are_listed_with_their_images_and_sha256() -> None:
    listed = needs(MIRROR, distribution="community", chart_sha256={"lws": "a" * 64})
    others = {chart.name: chart for chart in listed.charts if chart.repository}
    assert len(others) == 7
    assert (others["lws"].repository, others["lws"].version) == ("oci://registry.k8s.io/lws/charts", "0.8.0")
    assert others["lws"].sha256 == "a" * 64
    assert {chart.name for chart in listed.charts} - others.keys() == {"pki", "inference-gateway"}
    images = {item.source: item for item in listed.images}
    assert images["registry.k8s.io/lws/lws:v0.8.0"].target == f"{MIRROR}/lws/lws:v0.8.0"
    assert [source for source, item in images.items() if not item.rewritten] == [
        "ghcr.io/llm-d/llm-d-cuda:v0.4.0",
        "ghcr.io/llm-d/llm-d-inference-scheduler:v0.4.0",
        "ghcr.io/llm-d/llm-d-routing-sidecar:v0.4.0",
    ]
    assert not any("redhat" in source for source in images)
    written = lists.files(listed)["charts.txt"].splitlines()
    assert f"oci://registry.k8s.io/lws/charts/lws 0.8.0 {'a' * 64}" in written
    assert "charts that others publish: 7" in lists.as_text(listed)
    assert "charts.txt" not in lists.files(needs(MIRROR))


def test_on_openshift_the_images_of_operators_are_left_to_the_mirrored_catalogue() -> None:
    users = {name for image in needs(provider="openshift").images for name in image.used_by}
    assert {name for name in users if not name.startswith("model ")} == set()
    assert needs(provider="openshift").files == ()


def test_on_openshift_models_keep_their_images_and_it_is_told_where_the_others_are() -> None:
    listed = needs(MIRROR, provider="openshift")
    assert {item.source for item in listed.images} == {OWN, "quay.io/team/weights:v1"}
    assert not any(item.rewritten for item in listed.images)
    text = lists.as_text(listed)
    assert "the platform's own come with the operators' catalogue, by `oc mirror`: docs/air-gap.md" in text
    assert "[named by a model: the nodes need the mirror]" in text
    assert "operators' catalogue" not in lists.as_text(needs(MIRROR))


def test_the_chart_of_subscriptions_is_listed_for_each_layer_that_has_one() -> None:
    listed = [(chart.name, chart.layer) for chart in needs(provider="openshift").charts]
    wanted = [("operator-subscription", layer) for layer in ("cert_manager", "lws", "platform_operator")]
    assert [entry for entry in listed if entry[0] == "operator-subscription"] == wanted
    assert "operator-subscription" not in {chart.name for chart in needs().charts}


def test_layers_name_images_of_the_lock() -> None:
    named = [image for layer in load().layers for image in layer.get("images", [])]
    assert len(named) == len(set(named)) == 13
    assert set(named) <= set(load().images)


def test_files_have_a_checksum_and_their_place_on_the_web_server() -> None:
    listed = needs()
    crds = [name for file in listed.files for name in file.crds]
    assert "llminferenceservices.serving.kserve.io" in crds
    assert len(crds) == len(set(crds)) > 20
    assert all(file.url == f"https://{file.path}" and len(file.sha256) == 64 for file in listed.files)


def test_weights_that_are_no_image_are_left_to_the_site() -> None:
    assert [(item.uri, item.used_by) for item in needs().data] == [("hf://org/model", ("model models/a",))]


@pytest.mark.parametrize("release", sorted(load().releases))
def test_adapters_are_data_however_the_release_takes_them(release: str) -> None:
    plan = resolve({"platform_release": release, "provider": "generic"}).to_dict()
    adapters = [{"name": "sql", "uri": "hf://a/sql"}, {"name": "own", "uri": "pvc://claim/own"}]
    model = {"name": "a", "namespace": "m", "uri": "pvc://claim/a", "gpu": {"count": 1}, "lora": {"adapters": adapters}}
    result = render([model], {}, plan)
    assert result.ok, result.findings
    (data,) = list_needs(plan, result.objects, entries=result.entries).data
    assert (data.uri, data.used_by) == ("hf://a/sql", ("model m/a",))


def test_the_lists_are_for_programs(tmp_path: Path) -> None:
    listed = needs(MIRROR)
    assert lists.write(listed, tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []
    assert lists.write(listed, tmp_path)
    assert not lists.write(listed, tmp_path)
    assert (tmp_path / "images.txt").read_text().splitlines() == [item.source for item in listed.images]
    assert mapping_of(listed) == {item.source: item.target for item in listed.images}
    assert json.loads((tmp_path / "mirror.json").read_text()) == json.loads(json.dumps(listed.to_dict()))
    assert not {"mapping.txt", "mapping-oc.txt"} & set(lists.files(needs()))


def test_oc_gets_targets_without_a_digest_and_none_twice() -> None:
    """It refuses a digest there, and a target twice; the release of aws has two images of one repository."""
    listed = needs(MIRROR, provider="aws")
    lines = lists.files(listed)["mapping-oc.txt"].splitlines()
    pairs = dict(line.split("=") for line in lines)
    assert list(pairs) == [item.source for item in listed.images]
    assert len(set(pairs.values())) == len(lines)
    assert not any("@" in target for target in pairs.values())
    repositories = {source: target.partition("@")[0] for source, target in mapping_of(listed).items()}
    assert len(set(repositories.values())) < len(lines)
    assert pairs[OWN] == f"{MIRROR}/team/vllm:v1"
    for source in pairs.keys() - {OWN, "quay.io/team/weights:v1"}:
        tag = f"digest-{source.partition('@sha256:')[2][:12]}"
        assert pairs[source] == f"{repositories[source]}:{tag}"


def mapping_of(listed: Needs) -> dict[str, str]:
    return dict(line.split("=") for line in lists.files(listed)["mapping.txt"].splitlines())


@pytest.mark.parametrize("part", ["chart", "image", "hf://org/model", "cert-manager.io"])
def test_the_table_has_a_part_for_each(part: str) -> None:
    assert part in lists.as_text(needs())


def test_an_inventory_with_crds_of_its_own_needs_no_files() -> None:
    plan = resolve({"platform_release": "3.4", "provider": "generic"}).to_dict()
    assert list_needs(plan, [], own_crds=True).files == ()
    assert list_needs(plan, []).files != ()


def test_lists_that_are_no_longer_made_go(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("of somebody else")
    lists.write(needs(MIRROR, provider="openshift"), tmp_path)
    assert (tmp_path / "mirror-set.yaml").is_file()
    lists.write(needs(MIRROR, distribution="community"), tmp_path)
    assert {path.name for path in (tmp_path / "certs.d").iterdir()} > {"quay.io", "registry.k8s.io"}
    lists.write(needs(MIRROR), tmp_path)
    assert {path.name for path in (tmp_path / "certs.d").iterdir()} == {"quay.io", "registry.redhat.io"}
    lists.write(needs(MIRROR, distribution="community"), tmp_path)
    later = needs()
    assert lists.write(later, tmp_path, check=True)
    assert (tmp_path / "charts.txt").is_file()
    assert lists.write(later, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*lists.files(later), "notes.txt"}
    assert not lists.write(later, tmp_path)
