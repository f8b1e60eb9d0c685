"""Which models a user means: names on the command line are "name" or "namespace/name", ids are the latter."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from inference_platform.schema import close_names, or_list

#: So many names are listed where a name is not known; of more only those that are close.
_MOST_LISTED = 10


def means(names: Collection[str], model: str) -> bool:
    """Whether one of ``names`` means the model with this id."""
    return model in names or model.partition("/")[2] in names


def unknown(names: Iterable[str], models: Iterable[str]) -> str:
    """Of names that mean none of ``models`` (ids) what was found, and what could be meant; empty without any.

    >>> unknown(["chta"], ["team/chat"])
    "found 'chta'. Did you mean chat?"
    """
    known = sorted(models)
    short = list(dict.fromkeys(model.partition("/")[2] for model in known))
    wrong = sorted(set(names) - {*known, *short})
    if not wrong:
        return ""
    close = [hint for name in wrong for hint in close_names(name, known if "/" in name else short)]
    found = ", ".join(repr(name) for name in wrong)
    hint = f"Did you mean {or_list(list(dict.fromkeys(close)))}?" if close else listed(known)
    return f"found {found}. {hint}"


def listed(models: Iterable[str]) -> str:
    """Which models there are, as a sentence; of many only how many."""
    known = sorted(models)
    if not known:
        return "There are no models."
    names = ", ".join(known) if len(known) <= _MOST_LISTED else f"{len(known)} models, among them {known[0]}"
    return f"There are {names}." if len(known) > 1 else f"There is {names}."
