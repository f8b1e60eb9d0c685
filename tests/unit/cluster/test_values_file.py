"""The values of a release as a file for helm."""

from __future__ import annotations

import stat
from pathlib import Path

import yaml

from inference_platform.cluster import values_file
from inference_platform.cluster.helm import Release

RELEASE = Release("pki", "cert-manager", Path("charts/pki"), {"b": {"port": 8080, "text": "8080"}, "a": "x\ny\n"})


def test_the_file_holds_the_values_and_the_command_that_takes_it(tmp_path: Path) -> None:
    path = values_file.write(tmp_path / "values", RELEASE)
    first, _, _ = (text := path.read_text(encoding="utf-8")).partition("\n")
    assert path == tmp_path / "values" / "pki.yaml"
    assert first == f"# helm upgrade pki charts/pki --namespace cert-manager --values {path}"
    assert yaml.safe_load(text) == RELEASE.values


def test_only_the_user_can_read_it_also_when_it_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "pki.yaml").write_text("old", encoding="utf-8")
    (tmp_path / "pki.yaml").chmod(0o644)
    path = values_file.write(tmp_path, RELEASE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["pki.yaml"]


def test_files_of_another_plan_go(tmp_path: Path) -> None:
    values_file.write(tmp_path, RELEASE)
    (tmp_path / "sail-operator.yaml").write_text("{}", encoding="utf-8")
    values_file.remove_others(tmp_path, ["pki", "istio"])
    assert [item.name for item in tmp_path.iterdir()] == ["pki.yaml"]
