"""All roles have the same shape, and what they say about their inputs is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.inference.platform.plugins.filter.layers import layer_step

from inference_platform.paths import CATALOG, ROLES

LAYERS = [layer["name"] for layer in yaml.safe_load((CATALOG / "layers.yml").read_text())["layers"]]
EVERY_ROLE = sorted(path.name for path in ROLES.iterdir() if path.is_dir())


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role: str) -> dict[str, dict[str, Any]]:
    specs = read(ROLES / role / "meta" / "argument_specs.yml")["argument_specs"]
    return dict(specs["main"]["options"])


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_has_a_role_of_the_same_shape(layer: str) -> None:
    wanted = {
        *("README.md", "defaults/main.yml", "vars/main.yml", "meta/argument_specs.yml", "meta/main.yml"),
        *("tasks/main.yml", "tasks/install.yml", "tasks/verify.yml"),
        *(["tasks/external.yml"] if layer_step({"name": layer, "ownership": "external"}) == "external" else []),
    }
    found = {str(path.relative_to(ROLES / layer)) for path in (ROLES / layer).rglob("*") if path.is_file()}
    assert found == wanted


@pytest.mark.parametrize("layer", LAYERS)
def test_the_install_step_of_a_layer_ends_with_its_gate(layer: str) -> None:
    assert read(ROLES / layer / "tasks" / "install.yml")[-1]["ansible.builtin.import_tasks"] == "verify.yml"
    gate = read(ROLES / layer / "tasks" / "verify.yml")
    assert [task["inference.platform.gate"]["checks"] for task in gate] == [f"{{{{ platform.gates.{layer} }}}}"]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_applies_crds_before_releases_before_objects(layer: str) -> None:
    order = ["crds", "release", "resources"]
    steps = [
        key.rpartition(".")[2]
        for task in read(ROLES / layer / "tasks" / "install.yml")
        for key in task
        if key.startswith("inference.platform.")
    ]
    laid = [step for step in steps if step in order]
    assert laid == sorted(laid, key=order.index)


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_argument_specs_and_defaults_say_the_same(role: str) -> None:
    specs = {name: spec["default"] for name, spec in options(role).items()}
    assert specs == read(ROLES / role / "defaults" / "main.yml")


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_inputs_are_named_after_their_role_and_documented(role: str) -> None:
    readme = (ROLES / role / "README.md").read_text(encoding="utf-8")
    lines = (ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8").splitlines()
    for name, spec in options(role).items():
        assert name.startswith(f"{role}_")
        assert spec["description"]
        assert f"| `{name}` | {spec['type']} |" in readme
        line = next(number for number, text in enumerate(lines) if text.startswith(f"{name}:"))
        assert lines[line - 1].startswith("# "), f"{role}/defaults/main.yml: {name} has no comment"


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_private_variables_carry_the_role_in_their_name(role: str) -> None:
    path = ROLES / role / "vars" / "main.yml"
    names = read(path) if path.exists() else {}
    assert [name for name in names or {} if not name.startswith((f"_{role}_", f"{role}_"))] == []
