"""Whatever schema and rules accept, the real CRDs accept; whatever they refuse has a code.

Entries are made at random: one that is known to be right, with a few keys that follow the schema in its place. Parts
that the schema leaves to an API (such as what is in ``affinity``) are not made up, but taken from a list.
What takes a real API server, such as CEL rules, is in tests/api/test_model_properties.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from inference_platform.findings import errors
from inference_platform.models import RenderResult, render
from inference_platform.platform import resolve
from tests.support.model_values import NAMES, entries, groups, places, replaced, routes
from tests.unit.models.cases import MODEL_CASES, model

Refusals = Callable[[Iterable[dict[str, Any]]], list[str]]

PLATFORM = resolve({"platform_release": "3.4", "provider": "aws"}).to_dict()
KNOWN = [model(**case.good) for cases in MODEL_CASES.values() for case in cases]
JUNK = [None, "", "x", " ", 0, -1, 2**40, 1.5, float("nan"), True, [], ["x"], {}, {"x": 1}, "{{ x }}", "a\nb", "\x00"]
CODE = re.compile(r"IP-[A-Z]{3}-\d{3}\Z")

unhurried = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
nested = some.recursive(
    some.sampled_from(JUNK), lambda inside: some.lists(inside) | some.dictionaries(some.text(max_size=5), inside)
)


def answered(result: RenderResult, refusals: Refusals) -> bool:
    """Whether it was accepted; what was refused has a code and says what to do, what was accepted is real."""
    for finding in result.findings:
        assert CODE.match(finding.code), finding
        assert all((finding.where, finding.expected, finding.found, finding.remedy)), finding
    if errors(result.findings):
        return False
    assert refusals(result.objects) == []
    return True


@settings(unhurried, max_examples=150)
@given(entry=entries(KNOWN))
def test_an_entry_that_follows_the_schema_is_refused_with_a_code_or_is_real(refusals, entry):
    result = render([entry], {}, PLATFORM)
    if answered(result, refusals):
        assert render([entry], {}, PLATFORM).objects == result.objects


@settings(unhurried, max_examples=200)
@given(data=some.data(), known=some.sampled_from(KNOWN), junk=some.sampled_from(JUNK))
def test_junk_at_any_place_is_refused_with_a_code_or_is_real(refusals, data, known, junk):
    place = data.draw(some.sampled_from(places(known)))
    answered(render([replaced(known, place, junk)], {}, PLATFORM), refusals)


@settings(unhurried, max_examples=100)
@given(junk=nested)
def test_anything_at_all_is_refused_with_a_code(refusals, junk):
    assert not answered(render([junk], {}, PLATFORM), refusals)


@settings(unhurried, max_examples=100)
@given(found=some.lists(routes(), max_size=1), described=some.lists(groups(), max_size=1), weight=some.integers(0, 100))
def test_routes_and_groups_that_follow_the_schema_are_refused_with_a_code_or_are_real(
    refusals, found, described, weight
):
    traffic = {"traffic": {"group": "chat", "weight": weight}} if described else {}
    models = [model(name=name, served_name="chat", **traffic) for name in NAMES]
    answered(render(models, {}, PLATFORM, routes=found, groups=described), refusals)


def test_enough_random_entries_are_accepted_to_mean_something():
    accepted = []

    @settings(unhurried, max_examples=100)
    @given(entry=entries(KNOWN))
    def look(entry: dict[str, Any]) -> None:
        accepted.append(not errors(render([entry], {}, PLATFORM).findings))

    look()
    assert sum(accepted) > len(accepted) / 3
