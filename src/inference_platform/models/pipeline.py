"""From model entries to objects: merge, schema, rules, rendering, rules about what was rendered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any

from inference_platform import schema
from inference_platform.catalog.load import load
from inference_platform.findings import ERROR, Finding, errors, show
from inference_platform.mirror import Rewriting
from inference_platform.models import scheduler
from inference_platform.models.merge import Defaults, defaults_of, fill, has, layered, merge, without_nothing
from inference_platform.models.routes import group_route, own_route
from inference_platform.models.rules import RULES, Problem, Rule
from inference_platform.models.rules.engine import (
    INVENTORY,
    MODEL,
    SPEC,
    check_inventory,
    check_model,
    check_spec,
)
from inference_platform.models.services import namespace_object, pod_monitor_object, service_object
from inference_platform.models.subjects import Inventory, Subject
from inference_platform.models.topology import Workload, complete, workloads
from inference_platform.problems import Reporter
from inference_platform.schema import EntryChecker, KeyPath
from inference_platform.sources import Sources

DEFAULTS_WITH_NAME = "IP-MOD-007"
UNKNOWN_PROFILE = "IP-MOD-012"
PROFILE_WITH_NAME = "IP-MOD-013"

_MODELS = "models"
_DEFAULTS = "model_defaults"
_PROFILES = "model_profiles"
_GROUPS = "traffic_groups"
_ROUTES = "model_routes"

# What only an entry itself can say.
_OF_AN_ENTRY = ("name", "profiles")
_ABSENT, _STOPPED = "absent", "stopped"


@dataclass(frozen=True)
class ModelSummary:
    """What later steps need of a model: who it is, how much it takes, where it is served.

    ``replicas`` are the fewest while an autoscaler decides; ``gpu_product`` is None when
    any product will do; ``gpu_count`` is per pod. ``pods`` and ``gpus`` are those of all
    replicas together, with the workers of groups and prefill pods; none when it is stopped.
    ``path`` is the path below the address of the gateway. ``state`` is present or stopped.
    ``models.topology`` tells more about the pods of an entry.
    """

    name: str
    namespace: str
    uri: str
    served_name: str
    replicas: int
    gpu_product: str | None
    gpu_count: int
    path: str
    pods: int
    gpus: int
    state: str = "present"

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the same keys."""
        return asdict(self)


@dataclass(frozen=True)
class RenderResult:
    """Objects to apply, what was wrong, who is who.

    Objects: namespaces first, then models by namespace and name, each followed by what
    stands beside it, then routes. ``entries`` are the completed entries of ``models``, in
    the same order. ``absent`` are the ids (namespace/name) of models that the inventory
    wants removed. ``mirrored`` says of each image that was pointed at the mirror what it
    was before. Models with an error have neither object nor summary.
    """

    objects: list[dict[str, Any]]
    findings: list[Finding]
    models: list[ModelSummary]
    entries: list[dict[str, Any]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    mirrored: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        """Ids (namespace/name) of all models that the inventory speaks of, sorted."""
        return sorted([*(f"{model.namespace}/{model.name}" for model in self.models), *self.absent])

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way of applying the objects."""
        return not errors(self.findings)


def render(
    entries: Sequence[Any],
    defaults: Mapping[str, Any] | None,
    platform: Mapping[str, Any],
    sources: Sources | None = None,
    *,
    profiles: Mapping[str, Any] | None = None,
    groups: Sequence[Any] | None = None,
    routes: Sequence[Any] | None = None,
) -> RenderResult:
    """Objects for the models of an inventory.

    ``entries``, ``defaults``, ``profiles``, ``groups`` and ``routes`` are what the user
    wrote (``models``, ``model_defaults``, ``model_profiles``, ``traffic_groups``,
    ``model_routes``); ``platform`` is the plan as plain data. All findings are reported
    at once.
    """
    layers = _Layers(defaults or {}, profiles or {})
    findings = _Findings(entries, layers, sources)
    findings.add_mistakes_of_layers()
    subjects = [subject for subject in _subjects(entries, layers, platform, findings) if subject is not None]
    present = [subject for subject in subjects if subject.entry["state"] != _ABSENT]
    inventory = Inventory(
        present,
        _checked(groups or (), _GROUPS, findings),
        _checked(routes or (), _ROUTES, findings),
        platform,
    )
    rules = RULES.of(MODEL)
    problems = [problem for subject in present for problem in _model_problems(subject, rules)]
    problems += check_inventory(RULES.of(INVENTORY), replace(inventory, subjects=subjects))
    problems += _shared_scheduler_names(present)
    rewriting = Rewriting(platform["image_registry"])
    services = _services(present, _with_errors(problems), problems, rewriting)
    findings.add_problems(sorted(problems, key=_order))
    bad = _with_errors(problems)
    good = sorted((subject for subject in present if subject.index not in bad), key=lambda subject: subject.key)
    return RenderResult(
        objects=_objects(good, services, inventory, problems),
        findings=findings.findings,
        models=[_summary(subject) for subject in good],
        entries=[dict(subject.entry) for subject in good],
        absent=sorted("/".join(subject.key) for subject in subjects if subject.entry["state"] == _ABSENT),
        mirrored=rewriting.sources,
    )


def render_inventory(
    settings: Mapping[str, Any], platform: Mapping[str, Any], sources: Sources | None = None
) -> RenderResult:
    """``render`` for the variables of an inventory, with the model files that ``sources`` found."""
    written = settings.get(_MODELS) or []
    return render(
        sources.models(written) if sources else written,
        settings.get(_DEFAULTS),
        platform,
        sources,
        profiles=settings.get(_PROFILES),
        groups=settings.get(_GROUPS),
        routes=settings.get(_ROUTES),
    )


def _subjects(
    entries: Sequence[Any], layers: _Layers, platform: Mapping[str, Any], findings: _Findings
) -> Iterable[Subject | None]:
    checker = _checker()
    for index, entry in enumerate(entries):
        model: Any = entry
        if isinstance(entry, Mapping):
            findings.add_unknown_profiles(index)
            model = layers.merged(entry)
        given = without_nothing(model, schema.inlined_schema("model"))
        wrong = checker.mistakes(given)
        if wrong:
            findings.add_mistakes(index, wrong)
            yield None
        else:
            # Nothing in prefill takes back what decode says, so it must get there.
            completed = complete({**given, "prefill": model["prefill"]} if "prefill" in given else given)
            yield Subject(
                index, completed, workloads(completed), scheduler.wiring_for(completed, platform["serving"]), platform
            )


def _checked(items: Sequence[Any], name: str, findings: _Findings) -> dict[int, Mapping[str, Any]]:
    """The groups or routes that follow the schema, by their place."""
    checker = schema.validator(schema.inlined_schema("traffic")["properties"][name]["items"])
    good: dict[int, Mapping[str, Any]] = {}
    for index, item in enumerate(items):
        wrong = schema.mistakes(item, checker, (name, index))
        findings.add_located(wrong)
        if not wrong:
            good[index] = item
    return good


def _model_problems(subject: Subject, rules: Sequence[Rule]) -> list[Problem]:
    mistakes = [*subject.wiring.findings, *scheduler.object_mistakes(subject.entry)]
    return [*check_model(rules, subject), *(_of_scheduler(item, subject.index) for item in mistakes)]


def _shared_scheduler_names(subjects: Sequence[Subject]) -> list[Problem]:
    pairs = scheduler.shared_names([subject.entry for subject in subjects])
    return [_of_scheduler(mistake, subjects[position].index) for position, mistake in pairs]


def _of_scheduler(mistake: scheduler.Mistake, index: int) -> Problem:
    return Problem(mistake.code, mistake.path, mistake.expected, mistake.found, mistake.remedy, mistake.severity, index)


def _services(
    subjects: Sequence[Subject], bad: set[int | None], problems: list[Problem], rewriting: Rewriting
) -> dict[int, dict[str, Any]]:
    """The services of the models without errors; adds what is wrong with their specs to ``problems``."""
    services: dict[int, dict[str, Any]] = {}
    rules = RULES.of(SPEC)
    for subject in subjects:
        if subject.index not in bad:
            service = service_object(subject.entry, subject.pods, subject.wiring, subject.serving)
            services[subject.index] = rewriting.of(service)
            problems += check_spec(rules, subject, service["spec"])
    return services


def _objects(
    subjects: Sequence[Subject],
    services: Mapping[int, dict[str, Any]],
    inventory: Inventory,
    problems: Sequence[Problem],
) -> list[dict[str, Any]]:
    routes = _routes(subjects, inventory, problems)
    namespaces = {subject.entry["namespace"] for subject in subjects}
    namespaces |= {route["metadata"]["namespace"] for route in routes if route["kind"] == "HTTPRoute"}
    objects = [namespace_object(namespace, inventory.platform["serving"]) for namespace in sorted(namespaces)]
    for subject in subjects:
        entry, serving = subject.entry, subject.serving
        objects.append(services[subject.index])
        objects += scheduler.objective_objects(entry, serving)
        objects += scheduler.rewrite_objects(entry, serving)
        if entry["monitoring"] == "pod_monitor":
            objects.append(pod_monitor_object(entry, serving))
    return objects + routes


def _routes(subjects: Sequence[Subject], inventory: Inventory, problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Routes of groups and of the user, by namespace and name; a grant comes before the route that needs it."""
    wrong = {problem.path[:2] for problem in problems if problem.model is None and problem.severity == ERROR}
    good = {subject.index for subject in subjects}
    models = {subject.key: subject.entry for subject in subjects}
    rendered: list[tuple[tuple[str, str], list[dict[str, Any]]]] = []
    for group in inventory.groups:
        whole = all(member.index in good for member in group.members)
        if group.members and whole and (_GROUPS, group.index) not in wrong:
            entries = [member.entry for member in group.members]
            route = group_route(group.settings, entries, inventory.platform["serving"])
            rendered.append(((group.namespace, group.name), [route]))
    for index, own in inventory.routes.items():
        if (_ROUTES, index) not in wrong and _backends_are_there(own, models):
            made = own_route(own, models, inventory.platform["serving"])
            rendered.append(((own["namespace"], own["name"]), made))
    return [item for _, items in sorted(rendered, key=lambda pair: pair[0]) for item in items]


def _backends_are_there(route: Mapping[str, Any], models: Mapping[tuple[str, str], Any]) -> bool:
    backends = [
        backend
        for rule in route["rules"]
        for backend in [*rule.get("backends", []), *([rule["mirror"]] if "mirror" in rule else [])]
    ]
    return all(
        (backend.get("namespace", route["namespace"]), backend["model"]) in models
        for backend in backends
        if "model" in backend
    )


def _with_errors(problems: Iterable[Problem]) -> set[int | None]:
    return {problem.model for problem in problems if problem.severity == ERROR}


def _order(problem: Problem) -> tuple[bool, int, str]:
    return problem.model is None, problem.model or 0, problem.code


def _summary(subject: Subject) -> ModelSummary:
    model, main = subject.entry, subject.pods[0]
    counts = [(0 if model["state"] == _STOPPED else _replicas(item) * item.size, item.gpus) for item in subject.pods]
    return ModelSummary(
        name=model["name"],
        namespace=model["namespace"],
        uri=model["uri"],
        served_name=model.get("served_name", model["name"]),
        replicas=_replicas(main),
        gpu_product=model["gpu"].get("product"),
        gpu_count=main.gpus,
        path=f"/{model['namespace']}/{model['name']}",
        pods=sum(pods for pods, _ in counts),
        gpus=sum(pods * gpus for pods, gpus in counts),
        state=model["state"],
    )


def _replicas(workload: Workload) -> int:
    """Its replicas, the fewest while an autoscaler decides."""
    scaling = workload.settings.get("scaling", {})
    return int(scaling.get("min_replicas", 1)) if workload.replicas is None else workload.replicas


@cache
def _checker() -> EntryChecker:
    return EntryChecker(schema.inlined_schema("model"))


@cache
def _layer_checker() -> EntryChecker:
    """For a part of an entry: nothing is required in it."""
    return EntryChecker({**schema.inlined_schema("model"), "required": []})


@cache
def _schema_defaults() -> Defaults:
    return defaults_of(schema.inlined_schema("model"))


class _Layers:
    """Defaults and named profiles, from which entries take what they leave out."""

    def __init__(self, defaults: Mapping[str, Any], profiles: Mapping[str, Any]) -> None:
        self.defaults = defaults
        self.profiles = profiles
        self._below: dict[tuple[str, ...], dict[str, Any]] = {}

    def names(self, entry: Mapping[str, Any]) -> list[str]:
        """Names of the profiles of an entry that are there."""
        named = entry.get("profiles", self.defaults.get("profiles", []))
        if not isinstance(named, (list, tuple)):
            return []
        return [name for name in named if isinstance(name, str) and isinstance(self.profiles.get(name), Mapping)]

    def merged(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """The entry over its profiles over the defaults over those of the schema."""
        names = tuple(self.names(entry))
        below = self._below.get(names)
        if below is None:
            layers = [_without(self.defaults, ("name",)), *(_without(self.profiles[name]) for name in names)]
            below = self._below[names] = layered(layers)
        return fill(merge(below, entry), _schema_defaults())

    def place(self, entry: Any, path: KeyPath) -> KeyPath | None:
        """Where below ``entry`` its value at ``path`` comes from; None when it is the entry's own."""
        if not path or not isinstance(entry, Mapping) or has(entry, path):
            return None
        for name in reversed(self.names(entry)):
            if has(self.profiles[name], path):
                return (_PROFILES, name)
        return (_DEFAULTS,) if has(self.defaults, path) else None


def _without(layer: Mapping[str, Any], keys: Sequence[str] = _OF_AN_ENTRY) -> dict[str, Any]:
    return {key: value for key, value in layer.items() if key not in keys}


class _Findings:
    """Collects findings and gives each the place where its value was written.

    A value that an entry takes from a profile or the defaults is reported there, once.
    """

    def __init__(self, entries: Sequence[Any], layers: _Layers, sources: Sources | None) -> None:
        renamed = [entry for entry in load().renamed if entry["in"] == "model"]
        self._report = Reporter(sources, renamed)
        self._entries = entries
        self._layers = layers
        self._found: dict[Finding, None] = {}

    @property
    def findings(self) -> list[Finding]:
        return list(self._found)

    def add_mistakes_of_layers(self) -> None:
        """What is wrong with defaults and profiles whoever uses them."""
        if "name" in self._layers.defaults:
            self._add_error(
                DEFAULTS_WITH_NAME,
                (_DEFAULTS, "name"),
                "no name: each model has its own",
                self._layers.defaults["name"],
            )
        for name, profile in self._layers.profiles.items():
            path: KeyPath = (_PROFILES, name)
            wrong = _layer_checker().mistakes(profile)
            self.add_located([replace(mistake, path=(*path, *mistake.path)) for mistake in wrong], base=len(path))
            for key in _OF_AN_ENTRY:
                if isinstance(profile, Mapping) and key in profile:
                    self._add_error(PROFILE_WITH_NAME, (*path, key), f"no {key}: only a model has it", profile[key])

    def add_unknown_profiles(self, index: int) -> None:
        """Profiles that an entry names and that are not there."""
        entry = self._entries[index]
        named = entry.get("profiles", self._layers.defaults.get("profiles", []))
        for position, name in enumerate(named if isinstance(named, (list, tuple)) else []):
            if isinstance(name, str) and name not in self._layers.profiles:
                close = schema.close_names(name, self._layers.profiles)
                expected = schema.or_list(list(self._layers.profiles)) if self._layers.profiles else "no profile"
                remedy = f"Did you mean {schema.or_list(close)}?" if close else f"Add it to {_PROFILES}, or remove it."
                path: KeyPath = ("profiles", position)
                base = self._base(index, path)
                finding = self._report.error(UNKNOWN_PROFILE, (*base, *path), expected, show(name), remedy)
                self._add(finding, index if base[0] == _MODELS else None)

    def add_mistakes(self, index: int, mistakes: Sequence[schema.SchemaMistake]) -> None:
        for mistake in mistakes:
            base = self._base(index, mistake.path)
            located = replace(mistake, path=(*base, *mistake.path))
            for finding in self._report.of_schema([located], base=len(base)):
                self._add(finding, index if base[0] == _MODELS else None)

    def add_located(self, mistakes: Sequence[schema.SchemaMistake], base: int = 2) -> None:
        """Mistakes whose paths start at the top of the inventory."""
        for finding in self._report.of_schema(mistakes, base=base):
            self._add(finding, None)

    def add_problems(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            base = () if problem.model is None else self._base(problem.model, problem.path)
            make = self._report.error if problem.severity == ERROR else self._report.warning
            path = (*base, *problem.path)
            self._add(make(problem.code, path, problem.expected, problem.found, problem.remedy), problem.model)

    def _base(self, index: int, path: KeyPath) -> KeyPath:
        return self._layers.place(self._entries[index], path) or (_MODELS, index)

    def _add_error(self, code: str, path: KeyPath, expected: str, found: Any) -> None:
        remedy = f"Remove {path[-1]} from {'.'.join(map(str, path[:-1]))}."
        self._add(self._report.error(code, path, expected, show(found), remedy), None)

    def _add(self, finding: Finding, index: int | None) -> None:
        if index is not None:
            entry = self._entries[index]
            name = entry.get("name") if isinstance(entry, Mapping) else None
            if isinstance(name, str):
                finding = replace(finding, where=f"{finding.where} ({name})")
        self._found.setdefault(finding)
