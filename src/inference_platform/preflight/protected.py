"""Objects whose deletion takes other things with it (operators.md 3.5, observed-operators.md 3.7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inference_platform.cluster.objects import Object
from inference_platform.preflight import data
from inference_platform.preflight.snapshot import annotations_of, dig, place

REMOVED = "Removed"
#: Helm leaves objects with "keep" alone.
_POLICY = "helm.sh/resource-policy"


def holds(objects: Iterable[Object]) -> bool:
    """Whether any of the objects is protected."""
    return any(_rule(obj) for obj in objects)


def losses(before: Iterable[Object], after: Iterable[Object]) -> list[str]:
    """What would be lost when ``after`` replaces ``before`` (both are objects of one release): one sentence each."""
    wanted = {place(obj): obj for obj in after}
    return [text for obj in before if (rule := _rule(obj)) for text in _lost(obj, wanted.get(place(obj)), rule)]


def _lost(obj: Object, wanted: Object | None, rule: Mapping[str, Any]) -> Iterator[str]:
    if wanted is None:
        if annotations_of(obj).get(_POLICY) == "keep":
            return
        yield f"{place(obj)} would be deleted: {rule['consequence']}"
        return
    for field in rule.get("fields", ()):
        path = field.split(".")
        if dig(wanted, *path) == REMOVED and dig(obj, *path) != REMOVED:
            yield f"{place(obj)} {field} would become {REMOVED}: {rule['consequence']}"


def _rule(obj: Object) -> Mapping[str, Any] | None:
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    rules: Iterable[Mapping[str, Any]] = data.load()["protected"]
    return next((rule for rule in rules if (rule["group"], rule["kind"]) == (group, obj.get("kind"))), None)
