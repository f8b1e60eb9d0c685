"""Stand-ins of the charts that others publish, with the values of the catalogue: which images they run, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.catalog import load
from inference_platform.catalog.load import of_distribution
from inference_platform.platform import resolve
from tests.rendered.charts import Helm, label, pod_specs
from tests.support import published_charts

MIRROR = "mirror.example.com:5000/platform"
PROVIDERS = sorted(of_distribution(load().releases["3.4"], "community")["providers"])
#: Makes its objects in the namespace of the cluster's own leases.
SHARED = "kube-system"


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stand-ins, without CRDs."""
    folder = tmp_path_factory.mktemp("published")
    return published_charts.write(folder, folder / "none")


def plan_of(provider: str, **settings: Any) -> dict[str, Any]:
    named = {"platform_release": "3.4", "distribution": "community", "provider": provider}
    return resolve({**named, **settings}).to_dict()


def releases(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [release for layer in plan["layers"] for release in layer["releases"] if release["published"]]


def objects_of(helm: Helm, release: dict[str, Any], chart: Path, folder: Path) -> list[dict[str, Any]]:
    values = folder / f"{release['name']}.json"
    values.write_text(json.dumps(release["values"]), encoding="utf-8")
    done = helm.run(
        "template", release["name"], str(chart), "--namespace", release["namespace"], "--values", str(values)
    )
    assert done.returncode == 0, done.stderr
    return [obj for obj in yaml.safe_load_all(done.stdout) if obj]


def images_of(objects: list[dict[str, Any]]) -> set[str]:
    containers = [part for _, spec in pod_specs(objects) for part in spec["containers"]]
    presets = [obj["spec"] for obj in objects if obj["kind"] == "LLMInferenceServiceConfig"]
    return {part["image"] for part in containers} | set(_images(presets))


def _images(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [item for key, child in value.items() for item in ([child] if key == "image" else _images(child))]
    return [item for child in value for item in _images(child)] if isinstance(value, list) else []


def test_there_is_a_stand_in_of_the_locked_version_for_every_chart(charts: dict[str, Path]) -> None:
    versions = {name: yaml.safe_load((path / "Chart.yaml").read_text())["version"] for name, path in charts.items()}
    assert versions == of_distribution(load().releases["3.4"], "community")["charts"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_pods_run_the_images_that_the_catalogue_lists_in_the_namespaces_of_the_plan(
    helm: Helm, tmp_path: Path, charts: dict[str, Path], provider: str
) -> None:
    plan = plan_of(provider)
    seen: set[str] = set()
    for release in releases(plan):
        objects = objects_of(helm, release, charts[release["chart"]], tmp_path)
        images = images_of(objects)
        assert images <= set(release["published"]["images"].values()), release["name"]
        spaces = {obj["metadata"].get("namespace", release["namespace"]) for obj in objects}
        assert spaces <= {release["namespace"], SHARED}, [label(obj) for obj in objects]
        seen |= images
    assert len(seen) >= 8


def test_with_a_mirror_pods_run_only_what_is_there_but_for_what_the_chart_itself_names(
    helm: Helm, tmp_path: Path, charts: dict[str, Path]
) -> None:
    outside = {}
    for release in releases(plan_of("generic", platform_image_registry=MIRROR)):
        images = images_of(objects_of(helm, release, charts[release["chart"]], tmp_path))
        outside[release["name"]] = {image for image in images if not image.startswith(f"{MIRROR}/")}
        named = {release["published"]["images"][name] for name in release["published"]["fixed"]}
        assert outside[release["name"]] <= named, release["name"]
    assert {name for name, images in outside.items() if images} == {"kserve-runtime-configs"}
