"""A mistake of the schema hides no other mistake, and makes none up."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.findings import ERROR, errors
from inference_platform.models import render
from inference_platform.models.rules import RULES
from inference_platform.models.rules.engine import SCHEMA
from tests.support.model_values import places, replaced
from tests.unit.models.cases import MODEL_CASES, PRECISE, TWO_NODES, model

OF_SCHEMA = {rule.code for rule in RULES.all if rule.scope == SCHEMA}
REFUSED = {rule.code for rule in RULES.all if rule.severity == ERROR}
BAD = [(code, case) for code, cases in MODEL_CASES.items() if code in REFUSED for case in cases]
GOOD = [case.good for cases in MODEL_CASES.values() for case in cases]
GROUP = {"name": "chat", "namespace": "team-a"}
IN_GROUP = {"served_name": "chat", "traffic": {"group": "chat"}}


@pytest.fixture
def findings(aws):
    """Code and place of every error of models, groups and routes."""

    def find(*entries: Any, **others: Any) -> list[tuple[str, str]]:
        return [(one.code, one.where) for one in errors(render(list(entries), {}, aws, **others).findings)]

    return find


def is_of_schema(code: str) -> bool:
    return code.startswith("IP-INV") or code in OF_SCHEMA


@pytest.mark.parametrize(("code", "case"), BAD, ids=str)
def test_an_unknown_key_hides_no_other_mistake(findings, code, case):
    found = findings(model(**case.bad, zzz=1))
    assert code in {code for code, _ in found}
    assert ("IP-INV-001", f"models[0].zzz ({case.bad.get('name', 'qwen')})") in found


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_a_misspelled_key_is_the_only_mistake(findings, good):
    entry = model(**good)
    for wrong in entry:
        misspelled = {f"{key}x" if key == wrong else key: value for key, value in entry.items()}
        assert [code for code, _ in findings(misspelled)] == ["IP-INV-001"], wrong


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_a_value_that_the_schema_refuses_is_no_other_mistake(findings, good):
    entry = model(**good)
    for place in places(entry):
        for junk in (-7.5, {"x": 1}):
            found = findings(replaced(entry, place, junk))
            if any(is_of_schema(code) for code, _ in found):
                elsewhere = [item for item in found if not item[1].startswith(f"models[0].{place[0]}")]
                assert elsewhere == [], (place, junk)


def test_mistakes_of_all_stages_come_together(findings):
    entry = model(
        replica=2,
        parallelism={"data": 12, "data_local": 8},
        vllm={"max_model_len": 4096},
        args=["--max-model-len=8192", "--port=80"],
        override={"model": {"name": "other"}},
    )
    found = [code for code, _ in findings(entry)]
    assert found[0] == "IP-INV-001"
    assert {"IP-MOD-101", "IP-MOD-004", "IP-MOD-011", "IP-MOD-227"} <= set(found)


def test_an_error_of_the_entry_does_not_hide_those_of_its_override(findings):
    found = findings(model(args=["--port=80"], override={"template": {"containers": [{"name": "vllm"}]}}))
    assert [code for code, _ in found] == ["IP-MOD-004", "IP-MOD-115"]


def test_what_follows_from_an_error_of_the_entry_is_not_told_of_its_override(findings):
    half = {"gpu": {"count": 4}, "parallelism": {"tensor": 2}}
    alone = findings(model(**half))
    both = findings(model(**half, override={"template": {"containers": [{"name": "main", "tty": True}]}}))
    assert alone
    assert both == alone


def test_prefill_may_take_back_everything(findings):
    assert findings(model(args=["--seed", "1"], prefill={"args": None, "env": None, "gpu": None})) == []


def test_what_prefill_takes_back_stays_so_beside_a_mistake(findings):
    entry = model(args=["--seed", "1"], prefill={"args": None}, zzz=1)
    assert findings(entry) == [("IP-INV-001", "models[0].zzz (qwen)")]


def test_the_last_key_of_an_item_takes_its_list_along(findings):
    lora = {"adapters": [{"name": "sql", "uri": "hf://a/b"}, {"name": "x"}]}
    assert findings(model(lora=lora)) == [("IP-INV-005", "models[0].lora.adapters[1].uri (qwen)")]


def test_a_model_without_name_is_judged(findings):
    assert findings(model(name=None, args=["--port=80"])) == [
        ("IP-INV-005", "models[0].name"),
        ("IP-MOD-004", "models[0].args[0]"),
    ]


@pytest.mark.parametrize("junk", ["qwen", 5, None, [], {}], ids=str)
def test_junk_beside_a_model_does_not_hide_its_mistakes(findings, junk):
    found = findings(junk, model(args=["--port=80"]))
    assert found[-1] == ("IP-MOD-004", "models[1].args[0] (qwen)")


def test_an_unknown_profile_is_the_only_mistake(findings):
    entry = model(gpu=None, uri=None, profiles=["bigg"])
    assert findings(entry, profiles={"big": {"gpu": {"count": 1}}}) == [("IP-MOD-012", "models[0].profiles[0] (qwen)")]


# groups and routes ---------------------------------------------------------------------------------------


def test_a_group_has_the_members_that_have_a_mistake_elsewhere(findings):
    found = findings(model(**IN_GROUP, zzz=1), groups=[GROUP])
    assert [code for code, _ in found] == ["IP-INV-001"]


@pytest.mark.parametrize(
    "entry",
    [
        "qwen",
        model(namespace="Team A", **IN_GROUP),
        model(traffic={"grup": "chat"}),
        model(traffic={"groups": "chat", "group": ["chat"]}),
        model(traffic="chat"),
        model(trafic={"group": "chat"}),
        model(profiles=["nope"]),
    ],
    ids=str,
)
def test_a_member_that_could_not_be_read_may_be_in_the_group(findings, entry):
    routes = [{"name": "r", "namespace": "team-a", "rules": [{"backends": [{"model": "gone"}]}]}]
    found = findings(entry, groups=[GROUP], routes=routes if entry == "qwen" else [])
    assert all(is_of_schema(code) or code == "IP-MOD-012" for code, _ in found), found


def test_a_group_without_members_is_told_beside_a_mistake_elsewhere(findings):
    assert "IP-MOD-301" in {code for code, _ in findings(model(zzz=1), groups=[GROUP])}


def test_members_are_not_compared_with_one_whose_name_could_not_be_read(findings):
    members = [model(name=name, **IN_GROUP) for name in ("b", "c")]
    found = findings(model(name="a", served_name="my chat", traffic={"group": "chat"}), *members)
    assert [where for _, where in found] == ["models[0].served_name (a)"]


def test_a_split_that_could_not_be_read_says_nothing_about_members(findings):
    members = [model(name=name, traffic={"group": "chat", "headers": [{"name": "x", "value": "y"}]}) for name in "ab"]
    found = findings(*members, groups=[{**GROUP, "split": "headers"}])
    assert [where for _, where in found] == ["traffic_groups[0].split"]


def test_a_lost_group_says_nothing_about_members(findings):
    members = [model(name=name, traffic={"group": "chat", "headers": [{"name": "x", "value": "y"}]}) for name in "ab"]
    found = findings(*members, groups=[{"namespace": "team-a", "split": "header"}])
    assert [where for _, where in found] == ["traffic_groups[0].name"]


def test_a_mistake_of_a_route_hides_no_other(findings):
    rule = {"backends": [{"model": "gone"}]}
    found = findings(model(), routes=[{"name": "r", "namespace": "team-a", "rules": [rule], "zzz": 1}])
    assert found == [
        ("IP-INV-001", "model_routes[0].zzz"),
        ("IP-MOD-311", "model_routes[0].rules[0].backends[0].model"),
    ]


def test_two_models_of_one_name_are_told_beside_a_mistake(findings):
    assert [code for code, _ in findings(model(zzz=1), model())] == ["IP-INV-001", "IP-MOD-001"]


def test_models_with_mistakes_are_not_rendered(aws):
    entries = [model(name="a", zzz=1), model(name="b"), model(name="c", state="absent", zzz=1)]
    result = render(entries, {}, aws, groups=[{**GROUP, "zzz": 1}])
    assert [summary.name for summary in result.models] == ["b"]
    assert [entry["name"] for entry in result.entries] == ["b"]
    assert result.absent == []
    assert not any(item["metadata"]["name"] in ("a", "c", "chat") for item in result.objects)


@pytest.mark.parametrize("shape", [PRECISE, TWO_NODES, {"prefill": {}}], ids=str)
def test_warnings_wait_until_the_model_follows_the_schema(aws, shape):
    entry = model(**shape, uri="pvc://weights", replicas=2, zzz=1)
    assert [one.code for one in render([entry], {}, aws).findings] == ["IP-INV-001"]
