"""Objects in, entries out, each proven by rendering it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference_platform.findings import errors
from inference_platform.importer.explained import Difference, Place, explain
from inference_platform.importer.meaning import (
    ARGUMENTS,
    Item,
    Meaning,
    Path,
    differences,
    evaluated,
    names_of,
    objective_meaning,
    route_meaning,
    service_meaning,
)
from inference_platform.importer.refusal import Refused
from inference_platform.importer.routes import route_entry
from inference_platform.importer.service import beyond, settings_of
from inference_platform.models.pipeline import RenderResult, render
from inference_platform.models.routes import pool_name
from inference_platform.models.strategic_merge import strategic_merge

SERVICE = "LLMInferenceService"
CONFIG = "LLMInferenceServiceConfig"
ROUTE = "HTTPRoute"
POOL = "InferencePool"
OBJECTIVE = "InferenceObjective"
#: Kinds that are looked at; others are passed over.
KINDS = (SERVICE, CONFIG, ROUTE, POOL, OBJECTIVE)

_SPEC: Path = ("spec",)
# The API takes it as a whole only.
_HANDLER = "httpGet"
# A profile is proven on a model that takes it; this is what the model says itself.
_CARRIER = {"name": "carrier", "namespace": "default"}
_CARRIER_SPEC: Mapping[str, Any] = {
    "model": {"uri": "hf://organisation/model"},
    "router": {"gateway": {}, "route": {}, "scheduler": {}},
    "template": {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
}


@dataclass
class Outcome:
    """What became of one object.

    ``entry`` is what goes under ``key`` of the inventory (models, model_profiles,
    model_routes), None when the object was ``refused``. ``differences`` are those that are
    meant to be.
    """

    source: str
    kind: str
    name: str
    key: str = ""
    entry: dict[str, Any] | None = None
    differences: list[Difference] = field(default_factory=list)
    refused: Refused | None = None


@dataclass(frozen=True)
class ImportResult:
    """What became of each object, in the order in which they were given."""

    outcomes: list[Outcome]

    @property
    def inventory(self) -> dict[str, Any]:
        """The entries as variables of an inventory."""
        found: dict[str, Any] = {}
        for outcome in self.outcomes:
            if outcome.entry is None:
                continue
            if outcome.key == "model_profiles":
                found.setdefault(outcome.key, {})[outcome.name] = outcome.entry
            else:
                found.setdefault(outcome.key, []).append(outcome.entry)
        return found


def import_objects(
    objects: Iterable[tuple[str, Mapping[str, Any]]], platform: Mapping[str, Any], namespace: str = "default"
) -> ImportResult:
    """Imports objects, given with the names of their sources; ``platform`` is the plan as plain data.

    ``namespace`` is that of objects that name none. Objects of other kinds are passed over.
    """
    importer = _Importer(platform, namespace)
    known = [(source, obj) for source, obj in objects if obj.get("kind") in KINDS]
    objectives = [(source, obj) for source, obj in known if obj["kind"] == OBJECTIVE]
    outcomes = [importer.outcome(source, obj) for source, obj in known if obj["kind"] != OBJECTIVE]
    return ImportResult([*outcomes, *importer.objectives(objectives)])


class _Importer:
    def __init__(self, platform: Mapping[str, Any], namespace: str) -> None:
        self.platform = platform
        self.serving: Mapping[str, Any] = platform["serving"]
        self.namespace = namespace

    def outcome(self, source: str, obj: Mapping[str, Any]) -> Outcome:
        outcome = Outcome(source, obj["kind"], obj["metadata"]["name"])
        steps = {SERVICE: self._service, CONFIG: self._config, ROUTE: self._route, POOL: self._pool}
        try:
            outcome.key, outcome.entry, outcome.differences = steps[obj["kind"]](obj)
        except Refused as refused:
            outcome.refused = refused
        except (AttributeError, KeyError, TypeError) as error:
            outcome.refused = Refused(f"no {obj['kind']} as its API describes it", repr(error))
        return outcome

    def objectives(self, objects: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Outcome]:
        """A profile for the objectives of each pool."""
        by_pool: dict[tuple[str, str], list[tuple[str, Mapping[str, Any]]]] = {}
        for source, obj in objects:
            by_pool.setdefault((self._namespace_of(obj), obj["spec"]["poolRef"]["name"]), []).append((source, obj))
        return [self._objectives_of(pool, members) for (_, pool), members in by_pool.items()]

    def _objectives_of(self, pool: str, members: Sequence[tuple[str, Mapping[str, Any]]]) -> Outcome:
        sources = ", ".join(dict.fromkeys(source for source, _ in members))
        outcome = Outcome(sources, OBJECTIVE, f"{pool}-objectives", "model_profiles")
        objectives = [
            {"name": obj["metadata"]["name"], "priority": obj["spec"].get("priority", 0)} for _, obj in members
        ]
        profile: dict[str, Any] = {"scheduler": {"objectives": objectives}}
        carrier = {**_CARRIER, "uri": _CARRIER_SPEC["model"]["uri"], "gpu": {"count": 1}}
        if pool == pool_name(pool.removesuffix("-inference-pool")):
            carrier["name"] = pool.removesuffix("-inference-pool")
        else:
            profile["router"] = {"pool": pool}
        try:
            rendered = _checked(render([{**carrier, **profile}], {}, self.platform))
            made = {obj["metadata"]["name"]: obj for obj in rendered.objects if obj["kind"] == OBJECTIVE}
            found = [
                difference
                for _, obj in members
                for difference in self._differences(
                    objective_meaning(obj), objective_meaning(made[obj["metadata"]["name"]])
                )
            ]
            _refuse_unexplained(found)
            outcome.entry, outcome.differences = profile, found
        except Refused as refused:
            outcome.refused = refused
        return outcome

    def _service(self, obj: Mapping[str, Any]) -> tuple[str, dict[str, Any], list[Difference]]:
        names = names_of(obj, self.namespace)
        spec = evaluated(obj.get("spec") or {}, names)
        head = {"name": obj["metadata"]["name"], "namespace": self._namespace_of(obj)}
        entry = {**head, **settings_of(obj["metadata"], spec, self.serving)}
        wanted = service_meaning(obj, self.serving, names)

        def rendered(candidate: Mapping[str, Any]) -> Meaning:
            return service_meaning(self._made(SERVICE, models=[candidate]), self.serving, names)

        entry, found = self._proven(entry, spec, wanted, rendered)
        return "models", entry, found

    def _config(self, obj: Mapping[str, Any]) -> tuple[str, dict[str, Any], list[Difference]]:
        name, spec = obj["metadata"]["name"], obj.get("spec") or {}
        user = {"metadata": {**_CARRIER}, "spec": strategic_merge(spec, _CARRIER_SPEC)}
        if "uri" in (spec.get("model") or {}):
            user["spec"]["model"]["uri"] = spec["model"]["uri"]
        plain = settings_of({}, _CARRIER_SPEC, self.serving)
        own = settings_of({}, user["spec"], self.serving)
        wanted = service_meaning(user, self.serving)

        def rendered(profile: Mapping[str, Any]) -> Meaning:
            carrier = {**_CARRIER, **plain, "profiles": [name]}
            carrier = {key: value for key, value in carrier.items() if key not in profile or key in _CARRIER}
            made = self._made(SERVICE, models=[carrier], profiles={name: profile})
            return service_meaning(made, self.serving)

        profile, found = self._proven(beyond(own, plain), spec, wanted, rendered)
        return "model_profiles", profile, found

    def _route(self, obj: Mapping[str, Any]) -> tuple[str, dict[str, Any], list[Difference]]:
        namespace = self._namespace_of(obj)
        entry = route_entry(obj["metadata"], obj.get("spec") or {}, namespace, self.serving)
        made = self._made(ROUTE, routes=[entry])
        found = self._differences(route_meaning(obj, namespace), route_meaning(made, namespace))
        _refuse_unexplained(found)
        return "model_routes", entry, found

    def _pool(self, obj: Mapping[str, Any]) -> tuple[str, dict[str, Any], list[Difference]]:
        raise Refused(
            "KServe makes the pool of a model itself; a pool of your own stays as it is, named in router.pool of the "
            "model that uses it or as a backend in model_routes",
            str(obj["metadata"]["name"]),
        )

    def _proven(
        self,
        entry: dict[str, Any],
        spec: Mapping[str, Any],
        wanted: Meaning,
        rendered: Callable[[Mapping[str, Any]], Meaning],
    ) -> tuple[dict[str, Any], list[Difference]]:
        """``entry`` with an override for what it does not say, and the differences that are left."""
        found = self._differences(wanted, rendered(entry))
        override = _patch([difference for difference in found if difference.why is None], spec)
        if override:
            entry = {**entry, "override": override}
            found = self._differences(wanted, rendered(entry))
        _refuse_unexplained(found)
        return entry, found

    def _differences(self, wanted: Meaning, rendered: Meaning) -> list[Difference]:
        found = differences(wanted, rendered)
        return [explain(Place(path, wanted, self.serving), *pair) for path, pair in found.items()]

    def _made(self, kind: str, *, models: Sequence[Any] = (), **settings: Any) -> dict[str, Any]:
        """The object of a kind that entries render to; raises ``Refused`` when rules object."""
        result = _checked(render(models, {}, self.platform, **settings))
        return next(obj for obj in result.objects if obj["kind"] == kind)

    def _namespace_of(self, obj: Mapping[str, Any]) -> str:
        return str(obj["metadata"].get("namespace", self.namespace))


def _checked(result: RenderResult) -> RenderResult:
    mistakes = errors(result.findings)
    if mistakes:
        places = [f"{one.code} at {one.where.partition(' (')[0]}" for one in mistakes]
        told = [
            f"{place}: expected {one.expected}, found {one.found}" for place, one in zip(places, mistakes, strict=True)
        ]
        raise Refused("rules object", "; ".join(dict.fromkeys(told)), tuple(dict.fromkeys(places)))
    return result


def _refuse_unexplained(found: Iterable[Difference]) -> None:
    unexplained = [str(difference) for difference in found if difference.why is None]
    if unexplained:
        raise Refused("no entry renders to the same", "; ".join(unexplained[:3]))


def _patch(missing: Sequence[Difference], spec: Mapping[str, Any]) -> dict[str, Any]:
    """A partial spec, for a merge by the rules of the API, that makes up for what an entry does not say of ``spec``."""
    patch: dict[str, Any] = {}
    for difference in missing:
        if difference.path[:1] != _SPEC or ARGUMENTS in difference.path:
            continue
        path = difference.path[1:]
        if _HANDLER in path:
            path = path[: path.index(_HANDLER) + 1]
        if difference.wanted is not None:
            _put(patch, path, _at(spec, path, difference.wanted))
        else:
            _put(patch, _first_absent(spec, path), None)
    return patch


def _first_absent(spec: Mapping[str, Any], path: Path) -> Path:
    """The shortest part of ``path`` that ``spec`` does not have. Items of lists cannot be taken out by themselves."""
    lengths = (length for length in range(1, len(path)) if not isinstance(path[length - 1], Item))
    return next((path[:length] for length in lengths if _at(spec, path[:length], None) is None), path)


def _at(tree: Any, path: Path, otherwise: Any) -> Any:
    """What ``tree`` says at ``path``, in the words of the API; ``otherwise`` when it is a default."""
    for part in path:
        if isinstance(part, Item):
            tree = next((item for item in tree or [] if item.get(part.key) == part.value), None)
        else:
            tree = tree.get(part) if isinstance(tree, Mapping) else None
    return otherwise if tree is None else tree


def _put(tree: dict[str, Any], path: Path, value: Any) -> None:
    """Puts ``value`` into ``tree``; steps that are items become lists of mappings with a key."""
    for index, part in enumerate(path[:-1]):
        if isinstance(part, Item):
            continue
        following = path[index + 1]
        if isinstance(following, Item):
            items = tree.setdefault(part, [])
            tree = next((item for item in items if item[following.key] == following.value), {})
            if not tree:
                tree[following.key] = following.value
                items.append(tree)
        else:
            tree = tree.setdefault(part, {})
    if not isinstance(path[-1], Item):
        tree[path[-1]] = value
