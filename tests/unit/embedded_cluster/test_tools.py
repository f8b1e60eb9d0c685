"""The build of the embedded cluster's programs, without building them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from embedded_cluster import crd_files, tools


def test_the_kubernetes_programs_carry_the_version_that_go_mod_pins() -> None:
    api_server = next(program for program in tools.PROGRAMS if program.name == "kube-apiserver")

    flags = tools._linker_flags(api_server)

    assert "version.gitVersion=v1.34." in flags
    assert "version.gitMinor=34" in flags


def test_other_programs_are_not_stamped() -> None:
    helm = next(program for program in tools.PROGRAMS if program.name == "helm")

    assert tools._linker_flags(helm) == tools.LINKER_FLAGS


def test_every_program_belongs_to_a_module_with_locked_versions() -> None:
    for program in tools.PROGRAMS:
        assert (tools.GO_MODULES / program.module / "go.sum").is_file(), program


def test_the_tools_live_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert tools.tools_dir().parent == tmp_path / "inference-platform" / "tools"


def test_a_half_finished_build_does_not_count_as_built(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for program in tools.PROGRAMS[:-1]:
        (tmp_path / "bin" / program.name).touch()

    assert not tools.is_built(tmp_path)

    (tmp_path / "bin" / tools.PROGRAMS[-1].name).touch()
    assert tools.is_built(tmp_path)


def test_a_failing_build_says_which_module_and_what_go_said(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'proxy refused the module' >&2\nexit 1\n")
    go.chmod(0o755)

    with pytest.raises(tools.ToolsError, match="proxy refused the module") as caught:
        tools._go(str(go), "cluster", "build")

    assert str(tools.GO_MODULES / "cluster") in str(caught.value)


def test_a_crd_file_loses_what_belongs_to_the_tool_it_was_written_for() -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "things.example.org",
            "labels": {"app": "{{ template }}"},
            "annotations": {"helm.sh/resource-policy": "keep", "gateway.networking.k8s.io/bundle-version": "v1.4.0"},
        },
        "spec": {"group": "example.org"},
        "status": {},
    }

    assert crd_files.clean(crd) == {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "things.example.org",
            "annotations": {"gateway.networking.k8s.io/bundle-version": "v1.4.0"},
        },
        "spec": {"group": "example.org"},
    }


def test_a_module_without_the_expected_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file matches"):
        crd_files.write_all(tmp_path / "out", module_dir=lambda _: tmp_path / "empty", standins=tmp_path)


def test_standin_schemas_become_json_by_set(tmp_path: Path) -> None:
    schema = tmp_path / "standins" / "some-set" / "things.yaml"
    schema.parent.mkdir(parents=True)
    schema.write_text(
        "apiVersion: v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.org}\nspec: {}\n"
    )

    crd_files._write_file(tmp_path / "out" / "some-set", schema)

    written = json.loads((tmp_path / "out" / "some-set" / "things.example.org.json").read_text())
    assert written["metadata"]["name"] == "things.example.org"
