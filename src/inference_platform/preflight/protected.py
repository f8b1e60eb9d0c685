"""Objects whose deletion takes other things with it (operators.md 3.5, observed-operators.md 3.7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from inference_platform.cluster.objects import Object
from inference_platform.preflight import data
from inference_platform.preflight.snapshot import annotations_of, dig, place

#: Helm leaves objects with "keep" alone.
_POLICY = "helm.sh/resource-policy"
_UNINSTALLED = (
    "the cloud manager would delete {0} with all that goes with it, unless ownership_let_go: [{0}] permits that"
)


def holds(objects: Iterable[Object]) -> bool:
    """Whether any of the objects is protected."""
    return any(_rule(obj) for obj in objects)


def losses(before: Iterable[Object], after: Iterable[Object], let_go: Collection[str] = ()) -> list[str]:
    """What would be lost when ``after`` replaces ``before`` (both are objects of one release): one sentence each.

    ``let_go``: the dependencies that the cloud manager may delete.
    """
    wanted = {place(obj): obj for obj in after}
    return [text for obj in before if (rule := _rule(obj)) for text in _lost(obj, wanted.get(place(obj)), rule, let_go)]


def _lost(obj: Object, wanted: Object | None, rule: Mapping[str, Any], let_go: Collection[str]) -> Iterator[str]:
    if wanted is None:
        if annotations_of(obj).get(_POLICY) == "keep":
            return
        yield f"{place(obj)} would be deleted: {rule['consequence']}"
        return
    for field in rule.get("fields", ()):
        path, ends, dependency = field["path"].split("."), field["value"], field.get("dependency")
        if dig(wanted, *path) == ends and dig(obj, *path) != ends and dependency not in let_go:
            consequence = _UNINSTALLED.format(dependency) if dependency else rule["consequence"]
            yield f"{place(obj)} {field['path']} would become {ends}: {consequence}"


def _rule(obj: Object) -> Mapping[str, Any] | None:
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    rules: Iterable[Mapping[str, Any]] = data.load()["protected"]
    return next((rule for rule in rules if rule["group"] == group and obj.get("kind") in rule["kinds"]), None)
