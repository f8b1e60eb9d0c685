"""Playbooks that need no cluster, run as a user runs them: validate, export and explain."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scenarios.conftest import INVENTORIES
from tests.support.playbook import Project, Run

CHAT = {"namespace": "team-a", "uri": "hf://someone/chat", "gpu": {"count": 1}, "served_name": "chat"}
MODELS: list[dict[str, Any]] = [
    {"name": "v1", **CHAT, "traffic": {"group": "chat", "weight": 90}},
    {"name": "v2", **CHAT, "traffic": {"group": "chat", "weight": 10}},
    {"name": "v1", "namespace": "team-b", "uri": "hf://someone/b", "gpu": {"count": 2}, "state": "stopped"},
    {"name": "gone", "namespace": "team-b", "uri": "hf://someone/b", "gpu": {"count": 2}, "state": "absent"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the inventory "mine", which has the models above, and a pull secret."""
    inventory = Path(shutil.copytree(INVENTORIES / "eks", tmp_path / "mine"))
    models = yaml.safe_dump({"models": MODELS}, sort_keys=False)
    (inventory / "group_vars" / "all" / "30-models.yml").write_text(models, encoding="utf-8")
    content = {"auths": {"registry.redhat.io": {"username": "u", "password": "p"}}}
    (tmp_path / "pull-secret.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def play(folder: Path, playbook: str, *arguments: str) -> Run:
    variables = {"kubeconfig": "/nowhere/kubeconfig", "pull_secret_file": str(folder / "pull-secret.json")}
    return Project().play("-i", str(folder / "mine"), f"playbooks/{playbook}", *arguments, variables=variables)


def test_validate_counts_the_models_and_knows_the_names_of_some(folder: Path) -> None:
    run = play(folder, "models.yml", "--tags", "validate", "-e", "only=v2,team-b/gone")
    assert run.exit_code == 0, run
    assert "3 models (1 stopped, 1 to remove), 2 GPUs; no warnings" in run.text
    run = play(folder, "models.yml", "--tags", "validate", "-e", "only=v22")
    assert run.exit_code == 2
    assert "only: expected models of the inventory, found 'v22'. Did you mean v2?" in run.text


def test_values_for_charts_are_checked_with_the_inventory(folder: Path) -> None:
    values = folder / "mine" / "group_vars" / "all" / "40-values.yml"
    values.write_text("sail_values: {istio: {accessLogFile: ''}}\n", encoding="utf-8")
    run = play(folder, "models.yml", "--tags", "validate")
    assert run.exit_code == 0, run
    assert "40-values.yml:1 sail_values.istio: expected values for what is installed in the layer sail" in run.text
    values.write_text("kserve_values: {kserve: {bogus: 1}}\n", encoding="utf-8")
    run = play(folder, "models.yml", "--tags", "validate")
    assert run.exit_code == 2
    assert "40-values.yml:1 kserve_values.kserve.bogus (error IP-INV-001)" in run.text


def test_an_export_of_some_models_keeps_those_of_the_others(folder: Path) -> None:
    def export(*arguments: str) -> Run:
        return play(folder, "export.yml", "-e", f"export_dir={folder / 'out'}", *arguments)

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (folder / "out").rglob("*.yaml")}

    first = export("-e", "only=v2")
    assert first.exit_code == 0, first
    assert "HTTPRoute team-a/chat is left as it is" in " ".join(first.text.split())
    assert not list((folder / "out").rglob("httproute-*.yaml"))
    assert export().exit_code == 0
    whole = files()
    assert export("-e", "only=nope").exit_code == 2
    again = export("-e", "only=team-a/v1")
    assert again.exit_code == 0
    assert "files of other models kept" in again.text
    assert files() == whole


def test_an_export_has_the_quotas_and_priorities_that_models_need(folder: Path) -> None:
    pools = {
        "node_pools": [{"name": "steady", "capacity": "on_demand", "priority": 1000}],
        "namespace_quotas": [{"namespace": "team-a", "hard": {"requests.nvidia.com/gpu": 2}}],
    }
    (folder / "mine" / "group_vars" / "all" / "50-pools.yml").write_text(yaml.safe_dump(pools), encoding="utf-8")
    run = play(folder, "export.yml", "-e", f"export_dir={folder / 'out'}")
    assert run.exit_code == 0, run
    before = folder / "out" / "1-before-models"
    (quota,) = (before / "team-a").glob("resourcequota-*.yaml")
    assert yaml.safe_load(quota.read_text(encoding="utf-8"))["spec"] == {"hard": {"requests.nvidia.com/gpu": "2"}}
    assert (before / "priorityclass-inference-steady.yaml").is_file()
    listed = yaml.safe_load((before / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert sorted(listed) == ["priorityclass-inference-steady.yaml", f"team-a/{quota.name}"]


def test_a_mirror_is_named_without_a_scheme(folder: Path) -> None:
    run = play(folder, "mirror.yml", "-e", "mirror_registry=https://mirror.example.com/platform")
    assert run.exit_code == 2, run
    expected = "mirror_registry: expected host[:port][/path] in lower case, without a scheme"
    assert f"{expected}, found 'https://mirror.example.com/platform'." in run.text


@dataclass(frozen=True)
class Listed:
    """What the lists of a sample inventory have to have.

    changes   settings besides those of the sample
    nodes     the files that tell the nodes of the mirror
    source    an image, as it is published
    rewritten whether objects then name the mirror for it
    said      a sentence of the table
    """

    inventory: str
    changes: dict[str, Any]
    nodes: tuple[str, ...]
    source: str
    rewritten: bool
    said: str


OWN_IMAGE = {"name": "v1", **CHAT, "image": "quay.io/team/vllm:v1"}
LISTED = {
    "delegated": Listed(
        "eks",
        {},
        ("registries.conf", "certs.d/registry.redhat.io/hosts.toml"),
        "registry.redhat.io/openshift-service-mesh/istio-rhel9-operator",
        False,
        "[brought by the cloud manager or a chart of others: the nodes need the mirror]",
    ),
    "openshift": Listed(
        "openshift",
        {"models": [OWN_IMAGE]},
        ("mirror-set.yaml",),
        "quay.io/team/vllm",
        False,
        "the platform's own come with the operators' catalogue, by `oc mirror`: docs/air-gap.md",
    ),
    "community": Listed(
        "gke",
        {"distribution": "community", "chart_sha256": {"lws": "a" * 64}},
        ("registries.conf", "certs.d/registry.k8s.io/hosts.toml", "charts.txt"),
        "registry.k8s.io/lws/lws",
        True,
        "charts that others publish: 7",
    ),
}


MIRROR = "mirror.example.com:5000/platform"


def play_mirror(folder: Path, inventory: str, changes: dict[str, Any], *arguments: str, **settings: Any) -> Run:
    """`playbooks/mirror.yml -e mirror_registry=...` of a sample inventory; the lists are in ``folder``/mirror."""
    variables = {"kubeconfig": "/nowhere/kubeconfig", "platform_preflight_directory": str(folder), **changes}
    named = ("-i", f"inventories/{inventory}", "playbooks/mirror.yml", "-e", f"mirror_registry={MIRROR}")
    return Project().play(*named, *arguments, variables=variables, **settings)


@pytest.mark.parametrize("named", ["-e mirror_auth_file", "pull_secret_file"])
def test_a_mirror_is_filled_with_the_program_on_path(tmp_path: Path, named: str) -> None:
    """The second command of docs/air-gap.md, with a stand-in that writes down what it is called with.

    On OpenShift no pull secret is made; the file that the inventory names has the credentials all the same.
    """
    program, auth = tmp_path / "bin" / "skopeo", tmp_path / "both-registries.json"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n', encoding="utf-8")
    program.chmod(0o755)
    auth.write_text('{"auths": {}}', encoding="utf-8")
    option = ("-e", f"mirror_auth_file={auth}") if named.startswith("-e") else ()
    run = play_mirror(
        *(tmp_path, "openshift", {"models": [OWN_IMAGE], **({} if option else {named: str(auth)})}),
        *("-e", "mirror_copy=true", *option),
        environment={"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
    )
    assert run.exit_code == 0, run
    assert f"Copied 1 images to {MIRROR} with skopeo" in run.text
    pair = f"docker://quay.io/team/vllm:v1 docker://{MIRROR}/team/vllm:v1"
    call = f"copy --all --preserve-digests --authfile {auth} {pair}\n"
    assert (tmp_path / "calls").read_text(encoding="utf-8") == call


@pytest.mark.parametrize("name", LISTED)
def test_a_mirror_gets_its_lists(tmp_path: Path, name: str) -> None:
    """The first command of docs/air-gap.md, for sample inventories."""
    wanted = LISTED[name]
    run = play_mirror(tmp_path, wanted.inventory, wanted.changes)
    assert run.exit_code == 0, run
    assert wanted.said in run.text
    folder = tmp_path / "mirror"
    needs = json.loads((folder / "mirror.json").read_text(encoding="utf-8"))
    (image,) = [item for item in needs["images"] if re.split("[:@]", item["source"])[0] == wanted.source]
    registry = wanted.source.partition("/")[0]
    assert image["target"] == image["source"].replace(registry, MIRROR)
    assert image["rewritten"] == wanted.rewritten
    assert f"{image['source']}={image['target']}" in (folder / "mapping.txt").read_text(encoding="utf-8").splitlines()
    always = {"mirror.json", "images.txt", "files.txt", "SHA256SUMS", "mapping.txt", "mapping-oc.txt"}
    made = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert made >= {*wanted.nodes}
    assert {path for path in made if not path.startswith("certs.d/")} - {*wanted.nodes} == always
    assert MIRROR.partition("/")[0] in (folder / wanted.nodes[0]).read_text(encoding="utf-8")


def test_explain_says_what_it_needs(folder: Path) -> None:
    explained = play(folder, "explain.yml", "-e", "model=team-a/v1")
    assert explained.exit_code == 0, explained
    assert "weight: 10 # traffic.weight of v2" in " ".join(explained.text.split())
    for arguments, text in (
        ((), "model: expected -e model=NAME, found nothing. There are team-a/v1, team-a/v2, team-b/gone, team-b/v1."),
        (("-e", "model=v1"), "model: expected one model, found 'v1', which could be team-a/v1 or team-b/v1."),
    ):
        run = play(folder, "explain.yml", *arguments)
        assert run.exit_code == 2
        assert run.text.count(text) == 1, run


@pytest.mark.parametrize(
    "arguments",
    [("models.yml", "--tags", "validate"), ("export.yml",), ("explain.yml", "-e", "model=v2"), ("capacity.yml",)],
    ids=lambda arguments: arguments[0],
)
def test_a_build_job_needs_no_credentials_to_check_models(folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "pull-secret.json").unlink()
    more = ("-e", f"export_dir={folder / 'out'}", "-e", "capacity_live=false")
    run = play(folder, *arguments, *more)
    assert run.exit_code == 0, run
    assert "IP-INV-011 warning at pull_secret_file: expected a readable file" in run.text


def test_capacity_without_a_cluster_tells_memory_and_machines(folder: Path) -> None:
    run = play(folder, "capacity.yml", "-e", "capacity_live=false")
    assert run.exit_code == 0, run
    assert "not known: weights: give size.parameters" in run.text
    assert "Machines on aws, if no node had GPUs yet" in run.text


def test_what_writes_needs_the_pull_secret(folder: Path) -> None:
    (folder / "pull-secret.json").unlink()
    run = play(folder, "models.yml")
    assert run.exit_code == 2
    assert "error IP-INV-011" in run.text


def test_a_list_with_a_space_is_explained(folder: Path) -> None:
    run = play(folder, "models.yml", "--tags", "validate", "-e", "only=v1, v2")
    assert run.exit_code == 2
    assert '-e: expected NAME=VALUE, found "v2". Write a list without spaces' in run.text


@pytest.mark.parametrize(
    ("playbook", "option", "tag", "hint"),
    [
        ("site.yml", "--tags", "cert-manager", "Did you mean cert_manager?"),
        ("site.yml", "--skip-tags", "model", "Did you mean models?"),
    ],
)
def test_a_tag_that_is_nearly_one_is_a_mistake(folder: Path, playbook: str, option: str, tag: str, hint: str) -> None:
    """Ansible runs nothing for it, or skips nothing, and calls that a success."""
    run = play(folder, playbook, option, tag)
    assert run.exit_code == 2, run
    assert f"found {tag}. {hint}" in run.text


def test_a_tag_that_the_playbook_lacks_is_told(folder: Path) -> None:
    run = play(folder, "models.yml", "--tags", "validate,sail")
    assert run.exit_code == 0, run
    assert "--tags: expected validate, models, smoke or report, found sail." in run.text
