"""Every rule provoked where it points, and its neighbour that is fine."""

from __future__ import annotations

import pytest

from inference_platform.findings import errors
from inference_platform.models import render
from inference_platform.models.rules import RULES, page
from inference_platform.models.rules.engine import CLUSTER, INVENTORY, MODEL, SCHEMA, SPEC
from tests.unit.models.cases import ENTRY, MODEL_CASES, TWO_NODES, model

PAIRS = [(code, case) for code, cases in MODEL_CASES.items() for case in cases]


@pytest.fixture
def findings(aws):
    return lambda entry: render([entry], {}, aws).findings


@pytest.mark.parametrize(("code", "case"), PAIRS, ids=str)
def test_what_is_wrong_is_found_where_it_is(findings, code, case):
    entry = model(**case.bad)
    found = {(finding.code, finding.where) for finding in findings(entry)}
    assert (code, f"models[0].{case.where} ({entry['name']})") in found


@pytest.mark.parametrize(("code", "case"), PAIRS, ids=str)
def test_a_finding_says_what_was_expected_what_was_found_and_what_to_do(findings, code, case):
    for finding in findings(model(**case.bad)):
        if finding.code == code:
            assert finding.expected
            assert finding.found
            assert finding.remedy.endswith(".") or finding.remedy.endswith("?")


@pytest.mark.parametrize(("code", "case"), PAIRS, ids=str)
def test_the_neighbour_is_fine(findings, code, case):
    found = findings(model(**case.good))
    assert code not in {finding.code for finding in found}
    assert errors(found) == []


@pytest.mark.parametrize(("code", "case"), PAIRS, ids=str)
def test_the_severity_is_that_of_the_rule(findings, code, case):
    (rule,) = (rule for rule in RULES.all if rule.code == code)
    assert {finding.severity for finding in findings(model(**case.bad)) if finding.code == code} == {rule.severity}


def test_every_rule_of_an_entry_is_provoked_here():
    ours = {rule.code for rule in RULES.all if rule.scope in (MODEL, SPEC, SCHEMA) and rule.code.startswith("IP-MOD")}
    merging = {"IP-MOD-007", "IP-MOD-012", "IP-MOD-013"}  # test_layers.py
    assert ours - merging == set(MODEL_CASES)


def test_codes_are_given_once_and_in_the_form_of_codes():
    codes = [rule.code for rule in RULES.all]
    assert len(codes) == len(set(codes))
    assert all(len(code) == len("IP-MOD-000") for code in codes)
    assert {rule.scope for rule in RULES.all} == {MODEL, SPEC, SCHEMA, INVENTORY, CLUSTER}


@pytest.mark.parametrize("number", page.MISTAKES)
def test_every_mistake_is_caught_by_some_rule(number):
    assert page.caught(f"mistake {number}")


@pytest.mark.parametrize("number", range(1, 15))
def test_every_admission_rule_is_checked_before(number):
    assert page.caught(f"admission {number}")


@pytest.mark.parametrize("rule", RULES.all, ids=lambda rule: rule.code)
def test_the_page_says_what_to_do_about_every_rule(rule):
    assert page.remedies(rule)
    assert all(remedy.endswith((".", "…", "?")) for remedy in page.remedies(rule))


def test_what_to_do_on_the_page_is_what_findings_say(findings):
    (rule,) = (rule for rule in RULES.all if rule.code == "IP-MOD-009")
    bad = [model(uri="s3://a/b", revision="x"), model(uri="hf://a/b:x", revision="y")]
    said = {one.remedy for entry in bad for one in findings(entry) if one.code == rule.code}
    assert said == set(page.remedies(rule))


def test_there_are_42_mistakes_and_no_rule_catches_another():
    assert list(page.MISTAKES) == list(range(1, 43))
    named = {what for rule in RULES.all for what in rule.catches}
    known = {f"mistake {number}" for number in page.MISTAKES} | {f"admission {number}" for number in range(1, 15)}
    assert named <= known


# by construction: what the language renders satisfies every rule about the spec ---------

SHAPES = [
    {},
    {"gpu": {"count": 8}},
    {"gpu": {"count": 0}, "image": "quay.io/a/b"},
    {"prefill": {}},
    {"prefill": {"replicas": 3, "gpu": {"count": 2}}, "gpu": {"count": 4}},
    TWO_NODES,
    {**TWO_NODES, "prefill": {}},
    {**TWO_NODES, "prefill": {"gpu": {"count": 8}, "parallelism": {"data": 8, "data_local": 8}}},
    {"parallelism": {"data": 4, "data_local": 4, "tensor": 2}, "gpu": {}},
    {"scaling": {"min_replicas": 1, "max_replicas": 4, "keda": {"polling_interval": 5}}, "prefill": {}},
    {"router": {"route": "none"}},
    {"router": {"route": "own", "routes": ["mine"]}},
    {"router": {"pool": "mine"}},
    {"scheduler": {"enabled": False}},
    {"command": ["/app/server"], "image": "quay.io/a/b", "gpu": {"count": 2}},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_the_language_renders_needs_no_rule_about_the_spec(aws, shape):
    result = render([{**ENTRY, **shape}], {}, aws)
    assert errors(result.findings) == []
    spec_codes = {rule.code for rule in RULES.of(SPEC)}
    assert not spec_codes & {finding.code for finding in result.findings}
