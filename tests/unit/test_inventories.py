"""The sample inventories: complete, without a mistake, and each with a plan of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.catalog import load
from inference_platform.catalog.instance_types import load_hardware
from inference_platform.inventory import Sources, validate
from inference_platform.models import render
from inference_platform.platform import resolve
from tests.support.crd_schema import REPOSITORY

INVENTORIES = REPOSITORY / "inventories"
EVERY = sorted(path.parent.name for path in INVENTORIES.glob("*/hosts.yml"))
#: Inventories to copy. That of the embedded cluster has settings that nobody else needs; that for runs without -i
#: finds its provider by itself.
SAMPLES = [name for name in EVERY if name not in ("local", "current")]
FILES = ("10-cluster.yml", "20-layers.yml", "30-models.yml", "90-offline.yml")
SCHEMA = REPOSITORY / "schemas" / "inventory.schema.json"
_NAME = re.compile(r"^(?:# )?([a-z_0-9]+):", re.MULTILINE)
#: A setting in a comment, with the lines below it that are indented.
_EXAMPLE = re.compile(r"^# [a-z0-9]+_[a-z_0-9]+:.*\n(?:#  .*\n)*", re.MULTILINE)
#: Settings that are no part of the schema, since a role has them, and that an inventory without internet needs.
OF_ROLES = {"platform_crd_mirror", "platform_chart_mirror"}
LABEL = "node.kubernetes.io/instance-type"
#: What an example needs besides, as the comment before it says.
AS_THE_COMMENT_SAYS: dict[str, dict[str, Any]] = {
    "certificate_authority": {"cloud_manager": "none"},
    "platform_chart_mirror": {"distribution": "community"},
    "chart_sha256": {"distribution": "community"},
    "traffic_groups": {"model_defaults": {"namespace": "models", "traffic": {"group": "chat"}}},
}
_BUT_OPENSHIFT = frozenset({"eks", "aks", "gke", "coreweave", "generic"})
#: Settings about where CRD files come from.
OF_CRD_FILES = ("crd_directory", "platform_crd_mirror", "platform_crd_cache")
#: Settings that say nothing to some providers: why, and which sample has them.
ONLY_FOR = {
    # OpenShift's operators come by OLM, and nowhere else does.
    **dict.fromkeys(("olm_operators", "platform_olm_source"), frozenset({"openshift"})),
    # Only these have a cloud manager that could delete anything.
    "ownership_let_go": frozenset({"eks", "aks", "coreweave"}),
    # OpenShift's operators make the authority, and nobody publishes charts for it.
    **dict.fromkeys(
        ("certificate_authority", "platform_chart_mirror", "chart_sha256", "pull_secret_from"),
        _BUT_OPENSHIFT,
    ),
    # OpenShift and its operators bring all CRDs: no layer there lays any.
    **dict.fromkeys(OF_CRD_FILES, _BUT_OPENSHIFT),
}


def files_of(inventory: str) -> list[Path]:
    return [INVENTORIES / inventory / "group_vars" / "all" / name for name in FILES]


def variables_of(inventory: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in files_of(inventory):
        merged |= yaml.safe_load(path.read_text(encoding="utf-8"))
    return merged


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("auth") / "config.json"
    path.write_text(json.dumps({"auths": {"registry.redhat.io": {"auth": "dXNlcjpwYXNz"}}}), encoding="utf-8")
    path.chmod(0o600)
    return {"REGISTRY_AUTH_FILE": str(path)}


def test_there_is_an_inventory_for_every_provider() -> None:
    assert {variables_of(name)["provider"] for name in SAMPLES} == set(load().providers)


@pytest.mark.parametrize("inventory", EVERY)
def test_the_inventory_has_one_host_on_this_machine(inventory: str) -> None:
    hosts = yaml.safe_load((INVENTORIES / inventory / "hosts.yml").read_text(encoding="utf-8"))
    (settings,) = hosts["all"]["hosts"].values()
    assert hosts["all"]["hosts"].keys() == {"cluster"}
    assert settings["ansible_connection"] == "local"


@pytest.mark.parametrize("inventory", SAMPLES)
def test_the_inventory_has_no_mistake(inventory: str, environment: dict[str, str]) -> None:
    sources = Sources.load([str(INVENTORIES / inventory)])
    found = validate(variables_of(inventory), sources, environ=environment)
    assert [str(finding) for finding in found] == []


@pytest.mark.parametrize("inventory", SAMPLES)
@pytest.mark.parametrize("number", range(len(FILES)), ids=FILES)
def test_every_setting_of_one_sample_is_in_all_of_them(inventory: str, number: int) -> None:
    """But for how long a layer may take, which is longer where others bring it, and what says nothing to a provider."""
    every = yaml.safe_load(files_of("eks")[number].read_text(encoding="utf-8"))
    reference = {name for name in every if inventory in ONLY_FOR.get(name, SAMPLES)}
    found = set(yaml.safe_load(files_of(inventory)[number].read_text(encoding="utf-8")))
    assert {name for name in found if not name.endswith("_wait_seconds")} == reference


@pytest.mark.parametrize("inventory", SAMPLES)
def test_every_setting_that_says_something_to_the_provider_is_in_its_sample(inventory: str) -> None:
    """As a setting or as an example in a comment."""
    known = set(json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"]) | OF_ROLES | ONLY_FOR.keys()
    wanted = {name for name in known if inventory in ONLY_FOR.get(name, SAMPLES)}
    found = {name for path in files_of(inventory) for name in _NAME.findall(path.read_text(encoding="utf-8"))}
    assert found & known == wanted


@pytest.mark.parametrize("inventory", SAMPLES)
def test_settings_about_crd_files_are_where_a_layer_lays_any(inventory: str) -> None:
    variables = variables_of(inventory)
    plan = resolve({name: variables[name] for name in ("platform_release", "distribution", "provider")}).to_dict()
    lays = any(layer["crds"] for layer in plan["layers"])
    assert {name for name in OF_CRD_FILES if name in variables} == ({*OF_CRD_FILES} if lays else set())


def examples() -> list[tuple[str, str]]:
    """Every example in a comment of a sample: the inventory and its text."""
    return [
        (inventory, re.sub("^# ", "", example, flags=re.MULTILINE))
        for inventory in SAMPLES
        for path in files_of(inventory)
        for example in _EXAMPLE.findall(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(
    ("inventory", "example"), [pytest.param(*item, id=f"{item[0]}-{item[1].partition(':')[0]}") for item in examples()]
)
def test_an_example_can_be_taken_as_it_is(inventory: str, example: str, environment: dict[str, str]) -> None:
    variables = (
        variables_of(inventory) | yaml.safe_load(example) | AS_THE_COMMENT_SAYS.get(example.partition(":")[0], {})
    )
    found = validate(variables, Sources.load([str(INVENTORIES / inventory)]), environ=environment)
    assert [str(finding) for finding in found] == []


@pytest.mark.parametrize("inventory", SAMPLES)
def test_examples_of_capacity_can_be_taken_together(inventory: str, environment: dict[str, str]) -> None:
    """With every pool asked for by a model."""
    together = yaml.safe_load("".join(text for name, text in examples() if name == inventory and _of_capacity(text)))
    variables = variables_of(inventory) | together
    assert together.keys() == {"node_pools", "namespace_quotas", "node_autoscaling", "instance_types"}
    (model,) = variables["models"]
    variables["models"] = [
        {**model, "name": f"in-{pool['name']}", "replicas": 1, "profiles": [pool["name"]]}
        for pool in variables["node_pools"]
    ]
    found = validate(variables, Sources.load([str(INVENTORIES / inventory)]), environ=environment)
    assert [str(finding) for finding in found] == []


@pytest.mark.parametrize("inventory", SAMPLES)
def test_machines_of_examples_are_not_in_the_catalogue_and_those_of_pools_are(inventory: str) -> None:
    provider = variables_of(inventory)["provider"]
    known = {item.name for item in load_hardware().instance_types.get(provider, ())}
    together = yaml.safe_load("".join(text for name, text in examples() if name == inventory and _of_capacity(text)))
    selectors = [pool.get("node_selector", {}) for pool in together["node_pools"]]
    selected = {item[LABEL] for item in selectors if LABEL in item}
    assert {item["name"] for item in together["instance_types"]} & known == set()
    assert selected <= known
    assert bool(selected) == bool(known)


def _of_capacity(example: str) -> bool:
    return example.startswith(("node_pools:", "namespace_quotas:", "node_autoscaling:", "instance_types:"))


@pytest.mark.parametrize("inventory", EVERY)
@pytest.mark.parametrize("number", range(len(FILES)), ids=FILES)
def test_every_setting_has_a_comment_before_it(inventory: str, number: int) -> None:
    lines = files_of(inventory)[number].read_text(encoding="utf-8").splitlines()
    blocks = "\n".join(lines).split("\n\n")[1:]
    bare = [block.splitlines()[0] for block in blocks if not block.startswith("#")]
    assert bare == []


@pytest.mark.parametrize("inventory", EVERY)
def test_settings_in_comments_are_settings_that_exist(inventory: str) -> None:
    known = {*json.loads((REPOSITORY / "schemas" / "inventory.schema.json").read_text())["properties"], "all"}
    for path in (REPOSITORY / "roles").glob("*/defaults/main.yml"):
        known |= set(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    for path in files_of(inventory):
        found = set(_NAME.findall(path.read_text(encoding="utf-8")))
        assert {name for name in found if "_" in name} <= known, path.name


def test_a_run_without_an_inventory_asks_the_nodes_and_leaves_models_alone() -> None:
    config = (REPOSITORY / "ansible.cfg").read_text(encoding="utf-8")
    variables = variables_of("current")
    assert "inventory = inventories/current\n" in config
    assert (variables["provider"], variables["kube_context"], variables["kubeconfig"]) == ("auto", "", "")
    assert (variables["models"], variables["models_prune"]) == ([], False)


@pytest.mark.parametrize("inventory", SAMPLES)
def test_the_load_balancers_that_the_comment_names_are_those_of_the_provider(inventory: str) -> None:
    variables = variables_of(inventory)
    text = files_of(inventory)[1].read_text(encoding="utf-8")
    (comment,) = [block for block in text.split("\n\n") if "\ngateway_load_balancer:" in block]
    kinds = set(load().providers[variables["provider"]]["gateway"]["load_balancers"])
    assert variables["gateway_load_balancer"] == "default"
    assert all(kind in comment for kind in kinds)


@pytest.mark.parametrize("inventory", SAMPLES)
def test_the_models_render_for_the_plan_of_their_inventory(inventory: str) -> None:
    variables = variables_of(inventory)
    plan = resolve({name: variables[name] for name in ("platform_release", "distribution", "provider")})
    result = render(variables["models"], variables["model_defaults"], plan.to_dict())
    assert result.ok
    assert [model.name for model in result.models] == ["qwen-basic"]
