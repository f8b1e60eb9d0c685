"""The entry points share one preamble, and the sample inventories are valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.inventory import Sources, validate
from inference_platform.paths import ROLES

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
SAMPLES = ("eks", "aks")


def plays(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_all_playbooks_connect_in_the_same_way() -> None:
    connections = [
        play["module_defaults"]["group/inference.platform.cluster"] for path in PLAYBOOKS for play in plays(path)
    ]
    assert len(connections) >= len(PLAYBOOKS)
    assert all(connection == connections[0] for connection in connections)


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_every_playbook_checks_the_inventory_first(path: Path) -> None:
    for play in plays(path):
        roles = [role["role"] for role in play.get("roles", [])]
        first = roles[0] if roles else play["tasks"][0]["ansible.builtin.import_role"]["name"]
        assert first == "inference.platform.platform"


def variables(inventory: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in sorted((ROOT / "inventories" / inventory / "group_vars" / "all").glob("*.yml")):
        merged |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return merged


def inputs_of_roles() -> set[str]:
    specs = [yaml.safe_load(path.read_text()) for path in ROLES.glob("*/meta/argument_specs.yml")]
    return {name for spec in specs for name in spec["argument_specs"]["main"]["options"]}


@pytest.mark.parametrize("inventory", SAMPLES)
def test_a_sample_inventory_is_valid_as_it_is(inventory: str, tmp_path: Path) -> None:
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"auths": {"registry.redhat.io": {"username": "u", "password": "p"}}}))
    sources = Sources.load([ROOT / "inventories" / inventory])
    given = {name: value for name, value in variables(inventory).items() if name not in inputs_of_roles()}
    assert validate(given, sources, environ={"REGISTRY_AUTH_FILE": str(auth)}) == []


@pytest.mark.parametrize("inventory", [*SAMPLES, "local"])
def test_a_sample_inventory_comments_every_variable(inventory: str) -> None:
    for path in sorted((ROOT / "inventories" / inventory / "group_vars" / "all").glob("*.yml")):
        commented = False
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                commented = True
            elif line and not line.startswith((" ", "-", "{")):
                assert commented, f"{path}: no comment above {line!r}"
            elif not line:
                commented = False


@pytest.mark.parametrize("inventory", [*SAMPLES, "local"])
def test_all_inventories_have_the_same_files_and_one_host(inventory: str) -> None:
    folder = ROOT / "inventories" / inventory
    assert sorted(path.name for path in (folder / "group_vars" / "all").iterdir()) == [
        *("10-cluster.yml", "20-layers.yml", "30-models.yml", "90-offline.yml")
    ]
    assert list(hosts_of(folder / "hosts.yml")) == ["cluster"]


def hosts_of(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["all"]["hosts"])
