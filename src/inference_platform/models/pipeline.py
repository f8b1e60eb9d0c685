"""From model entries to objects: merge defaults, schema, rules, templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from inference_platform import schema
from inference_platform.catalog.load import load
from inference_platform.findings import ERROR, Finding, errors, show
from inference_platform.models.merge import has, merge, with_schema_defaults
from inference_platform.models.rendering import namespace_object, service_object
from inference_platform.models.rules import Context, Problem, apply_rules
from inference_platform.problems import Reporter
from inference_platform.schema import KeyPath
from inference_platform.sources import Sources

DEFAULTS_WITH_NAME = "IP-MOD-007"

_MODELS = "models"
_DEFAULTS = "model_defaults"


@dataclass(frozen=True)
class ModelSummary:
    """What later steps need of a model: who it is, how much it takes, where it is served.

    ``gpu_product`` is None when any product will do; ``gpu_count`` is per pod;
    ``path`` is the path below the address of the gateway.
    """

    name: str
    namespace: str
    uri: str
    served_name: str
    replicas: int
    gpu_product: str | None
    gpu_count: int
    path: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the same keys."""
        return asdict(self)


@dataclass(frozen=True)
class RenderResult:
    """Objects to apply (namespaces first, then models by namespace and name), what was wrong, who is who.

    Models with an error have neither object nor summary.
    """

    objects: list[dict[str, Any]]
    findings: list[Finding]
    models: list[ModelSummary]

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way of applying the objects."""
        return not errors(self.findings)


def render(
    entries: Sequence[Any],
    defaults: Mapping[str, Any] | None,
    platform: Mapping[str, Any],
    sources: Sources | None = None,
) -> RenderResult:
    """Objects for the models of an inventory.

    ``entries`` and ``defaults`` are what the user wrote (``models``, ``model_defaults``);
    ``platform`` is the plan as plain data. All findings are reported at once.
    """
    given = defaults or {}
    rule = schema.load_schema("model")
    checker = schema.validator(rule)
    pipeline = _Findings(entries, given, sources)
    valid: dict[int, dict[str, Any]] = {}
    pipeline.add_defaults_with_name()
    for index, entry in enumerate(entries):
        model: Any = entry
        if isinstance(entry, Mapping):
            model = with_schema_defaults(merge(_without_name(given), entry), rule)
        wrong = schema.mistakes(model, checker)
        pipeline.add_mistakes(index, wrong)
        if not wrong:
            valid[index] = model
    problems = apply_rules(Context(valid, platform))
    pipeline.add_problems(problems)
    bad = {problem.model for problem in problems if problem.severity == ERROR}
    models = sorted(
        (model for index, model in valid.items() if index not in bad),
        key=lambda model: (model["namespace"], model["name"]),
    )
    namespaces = sorted({model["namespace"] for model in models})
    return RenderResult(
        objects=[
            *(namespace_object(namespace) for namespace in namespaces),
            *(service_object(model, platform["serving"]) for model in models),
        ],
        findings=pipeline.findings,
        models=[_summary(model) for model in models],
    )


def _without_name(defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in defaults.items() if key != "name"}


def _summary(model: Mapping[str, Any]) -> ModelSummary:
    return ModelSummary(
        name=model["name"],
        namespace=model["namespace"],
        uri=model["uri"],
        served_name=model.get("served_name", model["name"]),
        replicas=model["replicas"],
        gpu_product=model["gpu"].get("product"),
        gpu_count=model["gpu"]["count"],
        path=f"/{model['namespace']}/{model['name']}",
    )


class _Findings:
    """Collects findings and gives each the place where its value was written.

    A value that an entry takes from the defaults is reported at the defaults, once.
    """

    def __init__(self, entries: Sequence[Any], defaults: Mapping[str, Any], sources: Sources | None) -> None:
        renamed = [entry for entry in load().renamed if entry["in"] == "model"]
        self._report = Reporter(sources, renamed)
        self._entries = entries
        self._defaults = defaults
        self._found: dict[Finding, None] = {}

    @property
    def findings(self) -> list[Finding]:
        return list(self._found)

    def add_defaults_with_name(self) -> None:
        if "name" in self._defaults:
            self._add(
                self._report.error(
                    DEFAULTS_WITH_NAME,
                    (_DEFAULTS, "name"),
                    "no name: each model has its own",
                    show(self._defaults["name"]),
                    f"Remove name from {_DEFAULTS}.",
                ),
                None,
            )

    def add_mistakes(self, index: int, mistakes: Sequence[schema.SchemaMistake]) -> None:
        for mistake in mistakes:
            base = self._base(index, mistake.path)
            located = replace(mistake, path=(*base, *mistake.path))
            for finding in self._report.of_schema([located], base=len(base)):
                self._add(finding, index if base[0] == _MODELS else None)

    def add_problems(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            base = self._base(problem.model, problem.path)
            make = self._report.error if problem.severity == ERROR else self._report.warning
            path = (*base, *problem.path)
            self._add(make(problem.code, path, problem.expected, problem.found, problem.remedy), problem.model)

    def _base(self, index: int, path: KeyPath) -> KeyPath:
        entry = self._entries[index]
        if path and not has(entry, path) and has(self._defaults, path):
            return (_DEFAULTS,)
        return (_MODELS, index)

    def _add(self, finding: Finding, index: int | None) -> None:
        if index is not None:
            entry = self._entries[index]
            name = entry.get("name") if isinstance(entry, Mapping) else None
            if isinstance(name, str):
                finding = replace(finding, where=f"{finding.where} ({name})")
        self._found.setdefault(finding)
