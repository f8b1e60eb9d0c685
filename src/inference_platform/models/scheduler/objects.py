"""InferenceObjective and InferenceModelRewrite objects of models (models.md 4.2, 4.3).

Clients choose an objective by its name in the header ``x-gateway-inference-objective``; without
it, or with a name that the pool does not know, a request has priority 0. The scheduler reads
objectives and rewrites of its own pool, so a model without a scheduler can have neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inference_platform.findings import WARNING, show
from inference_platform.models.routes import pool_of
from inference_platform.models.scheduler.catalogue import Program, load
from inference_platform.models.scheduler.config import items, mapping
from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.schema import or_list

OBJECTIVE_HEADER = "x-gateway-inference-objective"
DEFAULT_OBJECTIVES = "default"

_INT32 = range(-(2**31), 2**31)


def objectives_of(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objectives of a model: {name, priority, pool?} each.

    ``scheduler.objectives: default`` stands for those of the catalogue (premium 100, normal 0, batch -10). Their
    names begin with that of the model, because two models of a namespace cannot share an object.
    """
    given = _scheduler(entry).get("objectives")
    if given == DEFAULT_OBJECTIVES:
        return [{**objective, "name": f"{entry['name']}-{objective['name']}"} for objective in load().objectives]
    return [dict(objective) for objective in given or []]


def objective_objects(entry: Mapping[str, Any], serving: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The InferenceObjectives of a model, in the order in which they are written."""
    program = load().programs[serving["endpoint_picker"]]
    return [
        _object(
            entry,
            program,
            "InferenceObjective",
            objective["name"],
            {
                "priority": objective["priority"],
                "poolRef": _pool_ref(program, objective.get("pool") or pool_of(entry)),
            },
        )
        for objective in objectives_of(entry)
    ]


def rewrite_objects(entry: Mapping[str, Any], serving: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The InferenceModelRewrite of a model, named as the model: one with all rules, or none."""
    rules = items(_scheduler(entry).get("model_rewrites"))
    if not rules:
        return []
    program = load().programs[serving["endpoint_picker"]]
    spec = {"poolRef": _pool_ref(program, pool_of(entry)), "rules": [_rule(rule) for rule in rules]}
    return [_object(entry, program, "InferenceModelRewrite", entry["name"], spec)]


def _scheduler(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(entry.get("scheduler"))


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    rendered: dict[str, Any] = {}
    if rule.get("models"):
        rendered["matches"] = [{"model": {"type": "Exact", "value": name}} for name in rule["models"]]
    rendered["targets"] = [
        {"modelRewrite": target["model"], **({"weight": target["weight"]} if "weight" in target else {})}
        for target in rule["targets"]
    ]
    return rendered


def _pool_ref(program: Program, name: str) -> dict[str, str]:
    return {"group": program.pool_group, "kind": "InferencePool", "name": name}


def _object(entry: Mapping[str, Any], program: Program, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": program.objectives,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": entry["namespace"],
            "labels": {
                "app.kubernetes.io/managed-by": "inference-platform",
                "app.kubernetes.io/part-of": "inference-platform",
                "inference-platform.io/layer": "models",
                "inference-platform.io/model": entry["name"],
            },
        },
        "spec": spec,
    }


def object_mistakes(entry: Mapping[str, Any]) -> Iterator[Mistake]:
    """IP-SCH-051 to 055: objectives and rewrites of one model."""
    scheduler = _scheduler(entry)
    for key in ("objectives", "model_rewrites"):
        if scheduler.get(key) and scheduler.get("enabled") is False:
            yield Mistake(
                "IP-SCH-051",
                ("scheduler", key),
                f"a scheduler, which alone reads {key}",
                "scheduler.enabled: false",
                f"Remove {key}, or let the model have a scheduler.",
            )
    for index, objective in enumerate(objectives_of(entry)):
        if objective["priority"] not in _INT32:
            path = ("scheduler", "objectives", index, "priority")
            yield Mistake("IP-SCH-052", path, "a 32-bit number", show(objective["priority"]), "Choose a smaller one.")
    yield from _rewrites_reach_somebody(entry)


def _rewrites_reach_somebody(entry: Mapping[str, Any]) -> Iterator[Mistake]:
    served = [entry.get("served_name", entry["name"])]
    served += [adapter["name"] for adapter in mapping(entry.get("lora")).get("adapters", [])]
    seen: set[str | None] = set()
    for index, rule in enumerate(items(_scheduler(entry).get("model_rewrites"))):
        weights = ["weight" in target for target in rule["targets"]]
        if any(weights) and not all(weights):
            yield Mistake(
                "IP-SCH-053",
                ("scheduler", "model_rewrites", index, "targets"),
                "a weight for each target, or for none",
                f"{sum(weights)} of {len(weights)} with a weight",
                "Add the missing weights, or remove all.",
            )
        for position, target in enumerate(rule["targets"]):
            if target["model"] not in served:
                yield Mistake(
                    "IP-SCH-054",
                    ("scheduler", "model_rewrites", index, "targets", position, "model"),
                    f"a name that the servers know: {or_list(served)}",
                    show(target["model"]),
                    "Correct the name, or add the adapter to lora.",
                )
        names: set[str | None] = set(rule.get("models") or [None])
        for name in sorted(str(again) if again else "any model" for again in names & seen):
            yield Mistake(
                "IP-SCH-055",
                ("scheduler", "model_rewrites", index),
                "one rule for each name",
                f"a second rule for {name}, which is never used",
                "Merge the rules.",
                WARNING,
            )
        seen |= names


def shared_names(entries: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, Mistake]]:
    """IP-SCH-050: position in ``entries`` and mistake for each objective whose name is taken in its namespace."""
    first: dict[tuple[str, str], str] = {}
    for index, entry in enumerate(entries):
        for position, objective in enumerate(objectives_of(entry)):
            key = (entry["namespace"], objective["name"])
            if key in first:
                yield (
                    index,
                    Mistake(
                        "IP-SCH-050",
                        ("scheduler", "objectives", position, "name"),
                        f"a name that is used once in namespace {key[0]}",
                        f"{show(key[1])}, also an objective of {first[key]}",
                        f"Name it {entry['name']}-{key[1]}, for instance; clients send this name.",
                    ),
                )
            first.setdefault(key, entry["name"])
