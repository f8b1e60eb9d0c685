"""File and line of what a user wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_platform.inventory import validate
from inference_platform.sources import Sources, dotted


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory folder; the working directory is its parent."""
    folder = tmp_path / "mine"
    write(folder / "hosts.yml", "all:\n  hosts:\n    cluster:\n      provider: azure\n  vars:\n    kube_context: a\n")
    write(folder / "group_vars/all/10-cluster.yml", "---\n# which\nplatform_release: '3.4'\nprovider: aws\n")
    write(
        folder / "group_vars/all/30-models.yml",
        "models:\n"
        "  - name: one\n"
        "    gpu: {product: A, count: 1}\n"
        "  - name: two\n"
        "    gpu:\n"
        "      product: B\n"
        "      count: 2\n",
    )
    monkeypatch.chdir(tmp_path)
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "where"),
    [
        (("platform_release",), "mine/group_vars/all/10-cluster.yml:3 platform_release"),
        (("models",), "mine/group_vars/all/30-models.yml:1 models"),
        (("models", 0), "mine/group_vars/all/30-models.yml:2 models[0]"),
        (("models", 1, "gpu", "count"), "mine/group_vars/all/30-models.yml:7 models[1].gpu.count"),
        (("models", 1, "uri"), "mine/group_vars/all/30-models.yml:4 models[1].uri"),
        (("models", 9, "uri"), "mine/group_vars/all/30-models.yml:1 models[9].uri"),
        (("kube_context",), "mine/hosts.yml:6 kube_context"),
    ],
)
def test_a_value_is_found_with_file_and_line(inventory, path, where):
    assert Sources.load([inventory]).where(path) == where


def test_a_variable_that_is_in_no_file_has_only_its_path(inventory):
    assert Sources.load([inventory]).where(("distribution",)) == "distribution"


def test_the_inventory_may_be_given_by_its_hosts_file(inventory):
    sources = Sources.load([inventory / "hosts.yml"])
    assert sources.where(("platform_release",)) == "mine/group_vars/all/10-cluster.yml:3 platform_release"


def test_group_vars_beat_the_hosts_file_and_host_vars_beat_groups(inventory):
    assert Sources.load([inventory]).where(("provider",)) == "mine/group_vars/all/10-cluster.yml:4 provider"
    write(inventory / "group_vars/gpu.yml", "provider: coreweave\n")
    assert Sources.load([inventory]).where(("provider",)) == "mine/group_vars/gpu.yml:1 provider"
    write(inventory / "host_vars/cluster.yml", "---\nprovider: generic\n")
    assert Sources.load([inventory]).where(("provider",)) == "mine/host_vars/cluster.yml:2 provider"


def test_of_two_files_of_a_group_the_later_one_counts(inventory):
    write(inventory / "group_vars/all/20-more.yml", "provider: coreweave\n")
    assert Sources.load([inventory]).where(("provider",)) == "mine/group_vars/all/20-more.yml:1 provider"


def test_groups_nested_in_the_hosts_file_are_read(tmp_path):
    write(tmp_path / "hosts.yml", "all:\n  children:\n    gpu:\n      vars:\n        provider: aws\n")
    assert Sources.load([tmp_path]).where(("provider",)).endswith("hosts.yml:5 provider")


def test_an_encrypted_file_is_passed_over(inventory):
    write(inventory / "group_vars/all/90-secret.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    sources = Sources.load([inventory])
    assert sources.unreadable == []


def test_a_tag_of_ansible_does_not_disturb(inventory):
    write(inventory / "group_vars/all/20-more.yml", "kubeconfig: !unsafe '{{ x }}'\n")
    assert Sources.load([inventory]).where(("kubeconfig",)) == "mine/group_vars/all/20-more.yml:1 kubeconfig"


@pytest.mark.parametrize(
    ("text", "line"), [("a: 1\nb: [1, 2\nc: 3\n", 3), ("a: 1\nb: \x01\n", 2), ("a: 1\n b: 2\n", 2)]
)
def test_a_file_that_is_no_yaml_is_kept_with_its_line(inventory, text, line):
    write(inventory / "group_vars/all/20-more.yml", text)
    (file,) = Sources.load([inventory]).unreadable
    assert (file.path.name, file.line) == ("20-more.yml", line)


def test_an_inventory_without_variables_is_fine(tmp_path):
    assert Sources.load([tmp_path]).variables == {}


def test_paths_are_written_as_people_write_them():
    assert dotted(("models", 0, "gpu", "count")) == "models[0].gpu.count"


def test_a_model_is_found_by_its_name_in_the_variable_and_in_files_of_its_own(inventory):
    write(inventory / "models/big.yml", "uri: hf://a/b\ngpu: {count: 8}\n")
    write(inventory / "models/other.yml", "name: named\nuri: hf://a/b\n")
    sources = Sources.load([inventory])
    paths = {name: sources.path_of_model("any", name) for name in ("two", "big", "named", "gone")}
    assert paths == {"two": ("models", 1), "big": ("models", 2), "named": ("models", 3), "gone": None}
    assert sources.where((*paths["big"], "gpu")) == "mine/models/big.yml:2 models[2].gpu"


def test_files_that_are_no_models_for_want_of_an_ending_are_told(inventory):
    names = ["a.yml", "b.json", "c.yaml", "a.yml~", ".hidden", ".git/x", "README.md", "#a.yml#", ".a.yml.swp"]
    passed_over = ("a.yml.txt", "c", "team/b.yml.bak")
    for name in (*names, *passed_over):
        write(inventory / "models" / name, "uri: hf://a/b\n")
    sources = Sources.load([inventory])
    assert len(sources.model_files) == 3
    told = [finding for finding in validate({}, sources) if finding.code == "IP-INV-027"]
    assert [finding.severity for finding in told] == ["warning"] * 3
    assert [finding.where for finding in told] == [
        f"mine/models/{name}" for name in ("a.yml.txt", "c", "team/b.yml.bak")
    ]
    assert told[0].expected == "a file that ends in .yml, .yaml or .json"
    assert told[0].found == '"a.yml.txt"'


def test_a_folder_whose_name_is_nearly_that_of_the_models_is_told(inventory):
    (inventory / "model").mkdir()
    assert Sources.load([inventory]).not_models == [], "nothing in it"
    write(inventory / "model/a.yml", "uri: hf://a/b\n")
    (told,) = [finding for finding in validate({}, Sources.load([inventory])) if finding.code == "IP-INV-027"]
    assert (told.severity, told.where, told.expected) == ("warning", "mine/model", "the folder models")
    assert told.remedy == "Rename it to models: files in it are not read as models."


def test_of_models_with_one_name_the_one_of_the_namespace_is_found(inventory):
    for number, space in enumerate(("namespace: team-a\n", "namespace: team-b\n", "")):
        write(inventory / f"models/{number}.yml", f"name: same\n{space}uri: hf://a/b\n")
    sources = Sources.load([inventory])
    paths = [sources.path_of_model(space, "same") for space in ("team-a", "team-b", "team-c")]
    assert paths == [("models", 2), ("models", 3), ("models", 4)]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("uri: hf://a/b\n\tgpu: 1\n", "Indent with spaces, not with tabs"),
        ("uri: hf://a/b\nrevision: a: b\n", "Put a text with a colon in quotes"),
        ("args:\n  - a\n b: c\n", "Correct the indentation"),
        ("args: [a\n", "Correct the indentation here or in the lines before, or close what is open there."),
        ("uri: 'hf://a\n", "Correct the syntax."),
    ],
)
def test_what_is_no_yaml_is_told_with_what_to_do(inventory, text, remedy):
    write(inventory / "models/odd.yml", text)
    (file,) = Sources.load([inventory]).unreadable
    assert file.remedy.startswith(remedy), file.problem


def test_a_variable_or_key_that_a_file_gives_twice_is_told(inventory):
    write(
        inventory / "group_vars/all/40-more.yml",
        "kube_context: a\nmodel_defaults: {env: {A: b, A: c}}\nkube_context: b\n",
    )
    found = [(sources_file.line, sources_file.problem) for sources_file in Sources.load([inventory]).unreadable]
    assert found == [(2, "A twice, first in line 2"), (3, "kube_context twice, first in line 1")]


def test_merged_keys_of_a_file_are_not_given_twice(inventory):
    text = "uri: hf://a/b\nenv: &env {A: '1', B: '2'}\nprefill:\n  env:\n    <<: *env\n    A: '3'\ngpu: 5\n"
    write(inventory / "models/merged.yml", text)
    sources = Sources.load([inventory])
    assert sources.unreadable == []
    assert sources.models([])[0]["prefill"]["env"] == {"A": "3", "B": "2"}
    assert sources.where(("models", 0, "gpu")) == "mine/models/merged.yml:7 models[0].gpu"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"uri: hf://a/b # caf\xe9\n", id="Latin-1"),
        pytest.param(b"uri: hf://a/b\nrevision: 2024-02-30\n", id="a date that is none"),
        pytest.param(b"uri: hf://a/b\nargs: &a [*a]\n", id="an anchor in itself"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read(inventory, content):
    write(inventory / "models/good.yml", "uri: hf://a/b\n")
    (inventory / "models/odd.yml").write_bytes(content)
    sources = Sources.load([inventory])
    assert [file.path.name for file in sources.unreadable] == ["odd.yml"]
    assert [entry["name"] for entry in sources.models([])] == ["good"]


def test_files_that_editors_and_systems_leave_are_no_models(inventory):
    for name in ("._a.yml", ".#b.yml", ".c.yml"):
        write(inventory / "models" / name, "uri: hf://a/b\n")
    assert Sources.load([inventory]).models([]) == []


def test_two_inventories_of_one_folder_have_its_models_once(inventory):
    write(inventory / "models/one.yml", "uri: hf://a/b\n")
    both = [inventory, next(path for path in inventory.iterdir() if path.is_file())]
    assert len(Sources.load(both).models([])) == 1
