"""From model entries to objects: merge, schema, rules, rendering, rules about what was rendered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from inference_platform.findings import ERROR, Finding, errors
from inference_platform.mirror import Rewriting
from inference_platform.models import scheduler
from inference_platform.models.layers import DEFAULTS, POOLS, PROFILES, Layers
from inference_platform.models.placing import MODELS, PlacedFindings
from inference_platform.models.reading import ABSENT, GROUPS, ROUTES, Reading
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
from inference_platform.models.topology import Workload, workloads
from inference_platform.schema import KeyPath
from inference_platform.sources import Sources

_STOPPED = "stopped"
_OVERRIDE = "override"


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
    was before. ``written`` are the variables that ``render_inventory`` was given, to render
    them once more. Models with an error have neither object nor summary.
    """

    objects: list[dict[str, Any]]
    findings: list[Finding]
    models: list[ModelSummary]
    entries: list[dict[str, Any]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    mirrored: dict[str, str] = field(default_factory=dict)
    written: Mapping[str, Any] = field(default_factory=dict)

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
    pools: Sequence[Mapping[str, Any]] | None = None,
    groups: Sequence[Any] | None = None,
    routes: Sequence[Any] | None = None,
    kept: Mapping[str, Mapping[str, Any]] | None = None,
) -> RenderResult:
    """Objects for the models of an inventory.

    ``entries``, ``defaults``, ``profiles``, ``groups`` and ``routes`` are what the user
    wrote (``models``, ``model_defaults``, ``model_profiles``, ``traffic_groups``,
    ``model_routes``); ``platform`` is the plan as plain data. ``pools`` are the node
    pools as written; their profiles are among ``profiles``. ``kept`` has, by id, the
    ``serving`` of models that stay written for another release. All findings are reported
    at once.
    """
    findings, reading = _reading(entries, Layers(defaults or {}, profiles or {}, pools or ()), sources)
    subjects = [
        _subject(index, entry, _platform_of(entry, platform, kept or {})) for index, entry in reading.entries(entries)
    ]
    present = [subject for subject in subjects if not _is_absent(subject)]
    gone = [subject for subject in subjects if _is_absent(subject) and subject.index not in reading.mended]
    inventory = reading.inventory(present, groups or (), routes or (), platform)
    rules = RULES.of(MODEL)
    problems = [problem for subject in present for problem in _model_problems(subject, rules)]
    judged = replace(inventory, subjects=reading.known(present), listed=reading.known(subjects))
    problems += check_inventory(RULES.of(INVENTORY), judged)
    problems += _shared_scheduler_names(reading.known(present))
    problems = [problem for problem in problems if reading.is_sure(problem)]
    rewriting = Rewriting(platform["image_registry"])
    blamed = _blamed(problems)
    bad = blamed.keys() | reading.mended
    services = _services([subject for subject in present if subject.index not in bad], problems, rewriting)
    further = [
        problem
        for subject in present
        if subject.index in bad - (reading.mended - reading.whole)
        for problem in _further_problems(subject, blamed.get(subject.index, set()))
    ]
    problems += filter(reading.is_sure, further)
    findings.add_problems(sorted(problems, key=_order))
    bad = _blamed(problems).keys() | reading.mended
    good = sorted((subject for subject in present if subject.index not in bad), key=lambda subject: subject.key)
    return RenderResult(
        objects=_objects(good, services, inventory, _places_with_errors(problems) | reading.mended_items),
        findings=findings.findings,
        models=[_summary(subject) for subject in good],
        entries=[dict(subject.entry) for subject in good],
        absent=sorted("/".join(subject.key) for subject in gone),
        mirrored=rewriting.sources,
    )


def render_inventory(
    settings: Mapping[str, Any],
    platform: Mapping[str, Any],
    sources: Sources | None = None,
    kept: Mapping[str, Mapping[str, Any]] | None = None,
) -> RenderResult:
    """``render`` for the variables of an inventory, with the model files that ``sources`` found."""
    result = render(
        _entries(settings, sources),
        settings.get(DEFAULTS),
        platform,
        sources,
        profiles={**platform.get("pools", {}), **(settings.get(PROFILES) or {})},
        pools=settings.get(POOLS),
        groups=settings.get(GROUPS),
        routes=settings.get(ROUTES),
        kept=kept,
    )
    names = (MODELS, DEFAULTS, PROFILES, POOLS, GROUPS, ROUTES)
    return replace(result, written={name: settings[name] for name in names if name in settings})


def ids_of(settings: Mapping[str, Any], platform: Mapping[str, Any], sources: Sources | None = None) -> list[str]:
    """Ids (namespace/name) of all entries of an inventory, also of those with mistakes."""
    profiles = {**platform.get("pools", {}), **(settings.get(PROFILES) or {})}
    layers = Layers(settings.get(DEFAULTS) or {}, profiles)
    merged = [layers.merged(entry) for entry in _entries(settings, sources) if isinstance(entry, Mapping)]
    return [f"{entry.get('namespace', '')}/{entry['name']}" for entry in merged if "name" in entry]


def check_schema(
    settings: Mapping[str, Any], sources: Sources | None = None, pools: Mapping[str, Any] | None = None
) -> list[Finding]:
    """What the schema alone finds in the models of an inventory: for settings without a plan, which rules need.

    ``pools`` are the profiles of node pools by name, as far as they are known.
    """
    entries = _entries(settings, sources)
    profiles = {**(pools or {}), **(settings.get(PROFILES) or {})}
    layers = Layers(settings.get(DEFAULTS) or {}, profiles, settings.get(POOLS) or ())
    findings, reading = _reading(entries, layers, sources)
    for _ in reading.entries(entries):
        pass
    reading.groups(settings.get(GROUPS) or ())
    reading.routes(settings.get(ROUTES) or ())
    return findings.findings


def _entries(settings: Mapping[str, Any], sources: Sources | None) -> Sequence[Any]:
    written: Sequence[Any] = settings.get(MODELS) or []
    return sources.models(written) if sources else written


def _reading(entries: Sequence[Any], layers: Layers, sources: Sources | None) -> tuple[PlacedFindings, Reading]:
    findings = PlacedFindings(entries, layers, sources)
    findings.add_mistakes_of_layers()
    return findings, Reading(layers, findings)


def _platform_of(
    entry: Mapping[str, Any], platform: Mapping[str, Any], kept: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The plan as a model has it: with the ``serving`` of another release where it stays with that."""
    serving = kept.get(f"{entry['namespace']}/{entry['name']}") if kept else None
    return platform if serving is None else {**platform, "serving": serving}


def _subject(index: int, entry: Mapping[str, Any], platform: Mapping[str, Any]) -> Subject:
    return Subject(index, entry, workloads(entry), scheduler.wiring_for(entry, platform["serving"]), platform)


def _model_problems(subject: Subject, rules: Sequence[Rule]) -> list[Problem]:
    mistakes = [*subject.wiring.findings, *scheduler.object_mistakes(subject.entry)]
    return [*check_model(rules, subject), *(_of_scheduler(item, subject.index) for item in mistakes)]


def _shared_scheduler_names(subjects: Sequence[Subject]) -> list[Problem]:
    pairs = scheduler.shared_names([subject.entry for subject in subjects])
    return [_of_scheduler(mistake, subjects[position].index) for position, mistake in pairs]


def _of_scheduler(mistake: scheduler.Mistake, index: int) -> Problem:
    return Problem(mistake.code, mistake.path, mistake.expected, mistake.found, mistake.remedy, mistake.severity, index)


def _services(subjects: Sequence[Subject], problems: list[Problem], rewriting: Rewriting) -> dict[int, dict[str, Any]]:
    """The services of models by index; adds what is wrong with their specs to ``problems``."""
    services: dict[int, dict[str, Any]] = {}
    rules = RULES.of(SPEC)
    for subject in subjects:
        service = _service(subject)
        services[subject.index] = rewriting.of(service)
        problems += check_spec(rules, subject, service["spec"])
    return services


def _further_problems(subject: Subject, blamed: Set[str | int]) -> list[Problem]:
    """What is wrong with the spec of a model with errors, and does not follow from those at the keys ``blamed``."""
    if any(item.severity == ERROR for item in subject.wiring.findings):
        return []  # there is no scheduler to render
    rules = RULES.of(SPEC)
    found = check_spec(rules, subject, _service(subject)["spec"])
    if not blamed:
        return found
    plain = replace(subject, entry={key: value for key, value in subject.entry.items() if key != _OVERRIDE})
    without_override = {problem.code for problem in check_spec(rules, plain, _service(plain)["spec"])}
    return [
        problem
        for problem in found
        if (problem.path[0] != _OVERRIDE or problem.code not in without_override)
        and problem.path[0] in subject.entry.keys() - (blamed - {_OVERRIDE})
    ]


def _is_absent(subject: Subject) -> bool:
    return bool(subject.entry["state"] == ABSENT)


def _service(subject: Subject) -> dict[str, Any]:
    return service_object(subject.entry, subject.pods, subject.wiring, subject.serving)


def _objects(
    subjects: Sequence[Subject],
    services: Mapping[int, dict[str, Any]],
    inventory: Inventory,
    wrong: Set[KeyPath],
) -> list[dict[str, Any]]:
    routes = _routes(subjects, inventory, wrong)
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


def _routes(subjects: Sequence[Subject], inventory: Inventory, wrong: Set[KeyPath]) -> list[dict[str, Any]]:
    """Routes of groups and of the user that are not ``wrong``, by namespace and name; a grant comes before."""
    good = {subject.index for subject in subjects}
    models = {subject.key: subject.entry for subject in subjects}
    rendered: list[tuple[tuple[str, str], list[dict[str, Any]]]] = []
    for group in inventory.groups:
        whole = all(member.index in good for member in group.members)
        if group.members and whole and (GROUPS, group.index) not in wrong:
            entries = [member.entry for member in group.members]
            route = group_route(group.settings, entries, inventory.platform["serving"])
            rendered.append(((group.namespace, group.name), [route]))
    for index, own in inventory.routes.items():
        if (ROUTES, index) not in wrong and _backends_are_there(own, models):
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


def _blamed(problems: Iterable[Problem]) -> dict[int | None, set[str | int]]:
    """The models with errors, each with the keys of its entry that have them."""
    keys: dict[int | None, set[str | int]] = {}
    for problem in problems:
        if problem.severity == ERROR:
            keys.setdefault(problem.model, set()).add(problem.path[0])
    return keys


def _places_with_errors(problems: Iterable[Problem]) -> set[KeyPath]:
    """The groups and routes with errors."""
    return {problem.path[:2] for problem in problems if problem.model is None and problem.severity == ERROR}


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
