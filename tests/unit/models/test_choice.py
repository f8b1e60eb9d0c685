"""Names on the command line: which models they mean, and what is said of those that mean none."""

from __future__ import annotations

import pytest

from inference_platform.models.choice import listed, means, unknown

MODELS = ["a/chat", "b/chat", "b/code"]


@pytest.mark.parametrize(
    ("names", "meant"), [({"chat"}, MODELS[:2]), ({"b/chat", "code"}, MODELS[1:]), ({"b"}, []), ({"cha"}, [])]
)
def test_a_name_means_models_of_any_namespace_and_an_id_means_one(names: set[str], meant: list[str]) -> None:
    assert [model for model in MODELS if means(names, model)] == meant


def test_names_that_mean_a_model_are_known() -> None:
    assert unknown(["chat", "b/code"], MODELS) == ""


def test_an_unknown_name_gets_a_suggestion_or_the_list() -> None:
    assert unknown(["chta", "code"], MODELS) == "found 'chta'. Did you mean chat?"
    assert unknown(["a/chta", "cod"], MODELS) == "found 'a/chta', 'cod'. Did you mean a/chat, b/chat or code?"
    assert unknown(["zzzz"], MODELS) == "found 'zzzz'. There are a/chat, b/chat, b/code."
    assert unknown([""], ["a/chat"]) == "found ''. There is a/chat."


def test_many_models_are_counted() -> None:
    assert listed(f"a/m{number}" for number in range(11)) == "There are 11 models, among them a/m0."
    assert listed([]) == "There are no models."
