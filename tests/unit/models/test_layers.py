"""Defaults, profiles and files: where the settings of a model come from, and where findings point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference_platform.findings import errors
from inference_platform.inventory import unreadable_files
from inference_platform.models import render
from inference_platform.models.pipeline import render_inventory
from inference_platform.sources import Sources
from tests.unit.models.cases import model

PROFILES: dict[str, Any] = {
    "large": {"gpu": {"count": 8}, "vllm": {"max_model_len": 32768}},
    "quick": {"vllm": {"enforce_eager": True, "max_model_len": 4096}},
}


def entry_of(aws: dict[str, Any], entry: dict[str, Any], **settings: Any) -> dict[str, Any]:
    result = render([entry], settings.pop("defaults", {}), aws, **settings)
    assert errors(result.findings) == []
    return result.entries[0]


def test_profiles_come_over_the_defaults_and_below_the_entry(aws):
    entry = model(gpu={"product": "NVIDIA-H200"}, profiles=["large", "quick"], vllm={"dtype": "half"})
    merged = entry_of(aws, entry, defaults={"gpu": {"count": 2}, "replicas": 3}, profiles=PROFILES)
    assert merged["gpu"] == {"product": "NVIDIA-H200", "count": 8}
    assert merged["vllm"] == {"max_model_len": 4096, "enforce_eager": True, "dtype": "half"}
    assert merged["replicas"] == 3


def test_the_defaults_may_name_profiles(aws):
    merged = entry_of(aws, model(gpu={}), defaults={"profiles": ["large"]}, profiles=PROFILES)
    assert merged["gpu"] == {"count": 8}


def test_replicas_of_a_profile_give_way_to_scaling_of_the_entry(aws):
    scaling = {"max_replicas": 4, "hpa": {}}
    merged = entry_of(aws, model(scaling=scaling, profiles=["two"]), profiles={"two": {"replicas": 2}})
    assert "replicas" not in merged


def test_a_mistake_in_what_a_pool_gives_is_told_at_the_pool(aws):
    pools = [{"name": "other"}, {"name": "spot", "node_selector": {"a": 7}, "priority": 1, "keep_running": True}]
    profiles = {"spot": {"node_selector": {"a": 7}, "priority_class": "", "pod_annotations": {"x": 1}}}
    found = render([model(profiles=["spot"])], {}, aws, profiles=profiles, pools=pools).findings
    places = {"node_pools[1].node_selector.a", "node_pools[1].priority", "node_pools[1].keep_running"}
    assert {finding.where for finding in found} >= places


def test_an_unknown_profile_is_refused(aws):
    (finding,) = render([model(profiles=["lagre"])], {}, aws, profiles=PROFILES).findings
    assert (finding.code, finding.where) == ("IP-MOD-012", "models[0].profiles[0] (qwen)")
    assert finding.remedy == "Did you mean large?"


@pytest.mark.parametrize("key", ["name", "profiles"])
def test_a_profile_says_nothing_that_only_a_model_can_say(aws, key):
    found = render([model()], {}, aws, profiles={"p": {key: ["large"] if key == "profiles" else "x"}}).findings
    assert [(finding.code, finding.where) for finding in found] == [("IP-MOD-013", f"model_profiles.p.{key}")]


def test_a_mistake_in_a_profile_is_told_once_and_there_also_when_nobody_uses_it(aws):
    profiles = {"p": {"replicas": "two"}, "unused": {"replcas": 2}}
    found = render([model(profiles=["p"]), model(name="b", profiles=["p"])], {}, aws, profiles=profiles).findings
    assert [(finding.code, finding.where) for finding in found] == [
        ("IP-INV-003", "model_profiles.p.replicas"),
        ("IP-INV-001", "model_profiles.unused.replcas"),
    ]


def test_a_rule_points_at_the_profile_that_broke_it(aws):
    profiles = {"p": {"shm": "64Gi", "resources": {"memory": "32Gi"}}}
    (finding,) = render([model(profiles=["p"])], {}, aws, profiles=profiles).findings
    assert (finding.code, finding.where) == ("IP-MOD-023", "model_profiles.p.shm (qwen)")


# files -----------------------------------------------------------------------------------


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("models:\n  - name: first\n", encoding="utf-8")
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / "models" / name).write_text(text, encoding="utf-8")


GOOD = "namespace: team-a\nuri: hf://a/b\ngpu:\n  count: 1\n"


def test_each_file_is_one_model_after_those_of_the_variable(aws, inventory):
    write(inventory, "second.yml", f"name: second\n{GOOD}")
    write(inventory, "third.yaml", GOOD)
    result = render_inventory({"models": [model(name="first")]}, aws, Sources.load([inventory]))
    assert errors(result.findings) == []
    assert [summary.name for summary in result.models] == ["first", "second", "third"]


def test_files_below_folders_are_found_in_order(inventory):
    (inventory / "models/team").mkdir()
    write(inventory, "team/a.yml", GOOD)
    write(inventory, "z.yml", GOOD)
    write(inventory, "README.md", "no model")
    sources = Sources.load([inventory])
    assert [entry["name"] for entry in sources.models([])] == ["a", "z"]


def test_a_finding_names_the_file_and_its_line(aws, inventory):
    write(inventory, "second.yml", GOOD.replace("count: 1", "count: -1"))
    write(inventory, "third.yml", GOOD + "replcas: 1\n")
    found = render_inventory({"models": [model(name="first")]}, aws, Sources.load([inventory])).findings
    assert [finding.where for finding in found] == [
        "models/second.yml:4 models[1].gpu.count (second)",
        "models/third.yml:5 models[2].replcas (third)",
    ]


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", 1, "nothing"),
        ("# later\n", 1, "nothing"),
        ("- name: a\n", 1, "a list of 1"),
        ("a\n", 1, '"a"'),
        ("models:\n  - name: a\n", 1, "a variable models"),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", 1, "an encrypted file"),
        (GOOD + "env:\n  A: !vault x\n", 6, "could not determine a constructor for the tag '!vault'"),
    ],
    ids=["empty", "comment", "list", "text", "variable", "encrypted", "encrypted value"],
)
def test_a_file_without_a_model_is_told_and_is_no_model(inventory, text, line, found):
    write(inventory, "a.yml", text)
    write(inventory, "good.yml", GOOD)
    sources = Sources.load([inventory])
    assert [entry["name"] for entry in sources.models([])] == ["good"]
    (finding,) = unreadable_files(sources)
    assert (finding.code, finding.where, finding.found) == ("IP-INV-006", f"models/a.yml:{line}", found)
    assert "one model" in finding.expected or finding.expected == "YAML"
    assert finding.remedy.endswith(".")


def test_a_key_that_a_file_gives_twice_is_told(inventory):
    write(inventory, "a.yml", GOOD + "env: {A: b, A: c}\ngpu: {count: 2}\n")
    sources = Sources.load([inventory])
    found = [(one.where, one.found) for one in unreadable_files(sources)]
    assert found == [("models/a.yml:5", "A twice, first in line 5"), ("models/a.yml:6", "gpu twice, first in line 3")]


def test_the_same_key_in_two_mappings_is_fine(inventory):
    write(inventory, "a.yml", GOOD + "env: {A: b}\npod_labels: {A: b}\n")
    assert Sources.load([inventory]).unreadable == []


def test_a_text_that_ansible_would_call_unsafe_is_a_text(aws, inventory):
    write(inventory, "a.yml", GOOD + "env: {A: !unsafe '{{ x }}'}\n")
    (entry,) = render_inventory({}, aws, Sources.load([inventory])).entries
    assert entry["env"] == {"A": "{{ x }}"}


def test_braces_where_a_file_cannot_have_them_are_explained(aws, inventory):
    write(inventory, "a.yml", GOOD.replace("team-a", "'{{ team }}'"))
    (finding,) = render_inventory({}, aws, Sources.load([inventory])).findings
    assert finding.where == "models/a.yml:1 models[0].namespace (a)"
    assert "Braces in the file of a model are text" in finding.remedy


def test_braces_of_a_variable_are_not_explained_as_those_of_a_file(aws):
    (finding,) = render_inventory({"models": [model(namespace="{{ team }}")]}, aws).findings
    assert "Braces" not in finding.remedy


def test_files_of_models_are_left_out_where_only_variables_count(inventory):
    write(inventory, "a.yml", "[")
    sources = Sources.load([inventory], with_models=False)
    assert (sources.unreadable, sources.model_files) == ([], [])


def test_a_file_that_is_no_yaml_is_told_and_the_others_are_read(inventory):
    write(inventory, "bad.yml", "name: [\n")
    write(inventory, "good.yml", GOOD)
    sources = Sources.load([inventory])
    assert [str(file.path.name) for file in sources.unreadable] == ["bad.yml"]
    assert len(sources.models([])) == 1


def test_double_braces_in_a_file_are_text(aws, inventory):
    write(inventory, "braces.yml", GOOD + "env:\n  A: '{{ x }}'\n")
    (entry,) = render_inventory({}, aws, Sources.load([inventory])).entries
    assert entry["env"] == {"A": "{{ x }}"}


def test_the_settings_of_an_inventory_are_all_used(aws):
    settings = {
        "models": [model(profiles=["large"], gpu={}, traffic={"group": "chat"})],
        "model_defaults": {"replicas": 2},
        "model_profiles": PROFILES,
        "traffic_groups": [{"name": "chat", "namespace": "team-a", "path": "/chat"}],
        "model_routes": [
            {"name": "mine", "namespace": "team-a", "rules": [{"backends": [{"model": "qwen"}]}]},
        ],
    }
    result = render_inventory(settings, aws)
    assert errors(result.findings) == []
    assert [item["metadata"]["name"] for item in result.objects] == ["team-a", "qwen", "chat", "mine"]
    assert (result.entries[0]["replicas"], result.entries[0]["gpu"]["count"]) == (2, 8)


@pytest.mark.parametrize(("variable", "value"), [("traffic_groups", {"nmae": "x"}), ("model_routes", {"name": "X"})])
def test_groups_and_routes_follow_their_schema(aws, variable, value):
    found = render_inventory({variable: [value]}, aws).findings
    assert found
    assert all(finding.where.startswith(f"{variable}[0]") for finding in found)


# nothing ---------------------------------------------------------------------------------


def test_nothing_takes_back_what_a_weaker_layer_says(aws):
    defaults = {"gpu": {"product": "NVIDIA-L4", "count": 2}, "env": {"A": "1"}, "served_name": "x"}
    merged = entry_of(aws, model(gpu={"product": None}) | {"env": {"A": None}, "served_name": None}, defaults=defaults)
    assert merged["gpu"] == {"count": 2}
    assert merged["env"] == {}
    assert "served_name" not in merged


def test_a_profile_takes_back_what_the_defaults_say(aws):
    profiles = {"open": {"credentials_secret": None, "prefill": None}}
    result = render([model(profiles=["open"])], {"credentials_secret": "hf"}, aws, profiles=profiles)
    assert errors(result.findings) == []
    assert "credentials_secret" not in result.entries[0]


def test_nothing_without_a_weaker_layer_is_as_if_it_were_not_there(aws):
    assert entry_of(aws, {**model(), "served_name": None, "vllm": {"dtype": None}})["vllm"] == {}


def test_nothing_in_a_required_key_is_missing(aws):
    (finding,) = render([{**model(), "uri": None}], {}, aws).findings
    assert finding.code == "IP-INV-005"


def test_nothing_in_prefill_leaves_out_what_decode_says(aws):
    entry = model(env={"A": "1", "B": "2"}, vllm={"max_num_seqs": 8}, prefill={"env": {"A": None}, "vllm": None})
    merged = entry_of(aws, entry)
    assert merged["prefill"]["env"] == {"B": "2"}
    assert "vllm" not in merged["prefill"]


def test_nothing_in_override_and_in_free_settings_is_a_value(aws):
    entry = model(vllm={"hf_overrides": {"a": None}}, override={"template": {"tolerations": None}})
    merged = entry_of(aws, entry, defaults={"override": {"replicas": 2}})
    assert merged["vllm"]["hf_overrides"] == {"a": None}
    assert merged["override"] == {"replicas": 2, "template": {"tolerations": None}}


def test_nothing_takes_back_to_what_holds_for_every_model(aws):
    assert entry_of(aws, {**model(), "state": None}, defaults={"state": "stopped"})["state"] == "present"


def test_no_replicas_do_not_put_out_the_scaling_of_a_weaker_layer(aws):
    scaling = {"max_replicas": 3, "hpa": {}}
    merged = entry_of(aws, {**model(), "replicas": None}, defaults={"scaling": scaling})
    assert merged["scaling"] == scaling
    assert "replicas" not in merged
