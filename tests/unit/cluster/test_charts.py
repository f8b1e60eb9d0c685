"""Charts of others: pulled by helm out of a registry on loopback, compared with the lock, kept."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster import charts
from inference_platform.cluster.helm import ReleaseError
from tests.support.oci_registry import Registry, running_registry

VERSION = "1.2.3"


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with running_registry() as registry:
        yield registry


@pytest.fixture
def helm(tools_folder: Path) -> str:
    return str(tools_folder / "bin" / "helm")


@pytest.fixture
def lock(registry: Registry, helm: str, tmp_path: Path) -> dict[str, Any]:
    """A chart that helm pushed, as the lock has it."""
    chart = tmp_path / "widget"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: widget\nversion: {VERSION}\n")
    (chart / "templates" / "map.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: widget}\n")
    run(helm, "package", str(chart), "--destination", str(tmp_path))
    archive = tmp_path / f"widget-{VERSION}.tgz"
    run(helm, "push", str(archive), registry.oci("charts"), "--plain-http")
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert f"sha256:{sha256}" in registry.blobs, "the pin is the digest of the layer"
    return {"name": "widget", "repository": registry.oci("charts"), "version": VERSION, "sha256": sha256}


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_a_chart_is_fetched_once_and_then_comes_from_the_cache(
    lock: dict[str, Any], helm: str, registry: Registry, tmp_path: Path
) -> None:
    folder = charts.locate(lock, helm, cache=tmp_path / "cache")
    assert "name: widget" in (folder / "Chart.yaml").read_text()
    registry.requests.clear()
    assert charts.locate(lock, helm, cache=tmp_path / "cache") == folder
    assert registry.requests == []


def test_a_chart_with_another_sha256_is_refused_and_not_kept(lock: dict[str, Any], helm: str, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=f"expected an archive with sha256 {'0' * 64}, found {lock['sha256']}"):
        charts.locate({**lock, "sha256": "0" * 64}, helm, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_damaged_archive_of_the_cache_is_fetched_again(lock: dict[str, Any], helm: str, tmp_path: Path) -> None:
    folder = charts.locate(lock, helm, cache=tmp_path / "cache")
    archive = folder.parent.with_suffix(".tgz")
    archive.write_bytes(b"damaged")
    charts.locate(lock, helm, cache=tmp_path / "cache")
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == lock["sha256"]


def test_what_the_archive_does_not_have_is_not_used(lock: dict[str, Any], helm: str, tmp_path: Path) -> None:
    folder = charts.locate(lock, helm, cache=tmp_path / "cache")
    template = folder / "templates" / "map.yaml"
    locked = template.read_text()
    template.write_text("kind: Other\n")
    (folder / "templates" / "more.yaml").write_text("kind: More\n")
    assert charts.locate(lock, helm, cache=tmp_path / "cache") == folder
    assert template.read_text() == locked
    assert [path.name for path in (folder / "templates").iterdir()] == ["map.yaml"]
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == ["", ".tgz"], "nothing else is left"


def test_a_chart_without_a_pin_is_refused_with_the_way_to_pin_it(lock: dict[str, Any], helm: str) -> None:
    unpinned = {**lock, "sha256": None, "unpinned": "no source has its digest"}
    with pytest.raises(ReleaseError, match=r"no source has its digest.*python -m inference_platform\.catalog lock"):
        charts.locate(unpinned, helm)


def test_the_mirror_takes_the_place_of_the_repository(
    lock: dict[str, Any], helm: str, registry: Registry, tmp_path: Path
) -> None:
    upstream = {**lock, "repository": "oci://127.0.0.1:1/charts"}
    assert charts.locate(upstream, helm, mirror=registry.oci("charts"), cache=tmp_path / "cache").is_dir()


def test_a_registry_that_does_not_answer_is_named(lock: dict[str, Any], helm: str, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"widget 1\.2\.3: expected it at oci://127\.0\.0\.1:1/charts.*mirror"):
        charts.locate({**lock, "repository": "oci://127.0.0.1:1/charts"}, helm, cache=tmp_path / "cache")


def test_the_remedy_is_that_of_the_cause(lock: dict[str, Any], helm: str, registry: Registry, tmp_path: Path) -> None:
    cache, nowhere = tmp_path / "cache", "oci://127.0.0.1:1/charts"
    with pytest.raises(charts.ChartError, match="refused") as unreachable:
        charts.locate(lock, helm, mirror=nowhere, cache=cache)
    assert "put the chart into the mirror" in unreachable.value.remedy
    assert "platform_chart_mirror" not in str(unreachable.value)
    with pytest.raises(charts.ChartError) as other:
        charts.locate({**lock, "sha256": "0" * 64}, helm, mirror=registry.oci("charts"), cache=cache)
    assert other.value.found.startswith(lock["sha256"])
    assert other.value.remedy.startswith("Copy the right one into the mirror")


@pytest.mark.parametrize(
    "content",
    [b"no archive", gzip.compress(b"no archive"), gzip.compress(b"x" * 9999)[:-9]],
    ids=["text", "gzip", "cut off"],
)
def test_a_pinned_file_that_is_no_archive_is_told_and_leaves_nothing(tmp_path: Path, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    (tmp_path / f"{sha256}.tgz").write_bytes(content)
    lock = {"name": "widget", "repository": "oci://127.0.0.1:1/charts", "version": VERSION, "sha256": sha256}
    with pytest.raises(charts.ChartError, match=r"expected an archive \(\.tgz\), found .*Correct the sha256"):
        charts.locate(lock, "helm", cache=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{sha256}.tgz"]


def test_the_cache_may_be_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    sha256 = hashlib.sha256(b"archive").hexdigest()
    (tmp_path / f"{sha256}.tgz").write_bytes(b"archive")
    lock = {"name": "widget", "repository": "oci://127.0.0.1:1/charts", "version": VERSION, "sha256": sha256}
    assert charts.fetch(lock, "/no/helm", cache="~") == tmp_path / f"{sha256}.tgz"


def test_a_mirror_with_credentials_is_refused_before_helm_sees_it(lock: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(charts.ChartError, match="expected a URL without credentials") as caught:
        charts.locate(lock, "/no/helm", mirror="https://user:hunter2@mirror.example.com/charts", cache=tmp_path)
    assert "hunter2" not in str(caught.value)


def test_helm_gets_no_pull_secret_and_says_none(
    lock: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", "hunter2")
    helm = tmp_path / "helm"
    helm.write_text("#!/bin/sh\necho got [$DOCKER_AUTH_CONFIG] >&2\nexit 1\n")
    helm.chmod(0o755)
    upstream = {**lock, "repository": "https://user:hunter3@example.com/charts"}
    with pytest.raises(charts.ChartError, match=r"got \[\]") as caught:
        charts.locate(upstream, str(helm), cache=tmp_path / "cache")
    assert "hunter3" not in str(caught.value)


def test_crds_of_a_chart_are_those_of_its_folder_crds(tmp_path: Path) -> None:
    assert charts.crds_in(tmp_path) == []
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds" / "two.yaml").write_text("kind: A\n---\n---\nkind: B\n")
    (tmp_path / "crds" / "one.json").write_text('{"kind": "C"}')
    (tmp_path / "crds" / "README.md").write_text("kind: D")
    assert charts.crds_in(tmp_path) == [{"kind": "C"}, {"kind": "A"}, {"kind": "B"}]
