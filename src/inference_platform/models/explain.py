"""Why a model is as it is: its merged entry, its objects, and where every value comes from.

Where an entry's value comes from is looked up in the layers: entry, profile, defaults, language.  What a value of
an object depends on is found by ``experiments``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_platform.manifest import scalar
from inference_platform.models import experiments, labels
from inference_platform.models.choice import listed, means, unknown
from inference_platform.models.experiments import Case, Object, Reasons, at, leaves, parts
from inference_platform.models.layers import DEFAULTS, POOLS, PROFILES, Layers
from inference_platform.models.merge import ALTERNATIVES, has, plain
from inference_platform.models.pipeline import RenderResult
from inference_platform.models.routes import models_behind, split_of, weight_of
from inference_platform.models.topology import PREFILL, workloads
from inference_platform.schema import KeyPath, or_list
from inference_platform.sources import Sources, dotted

#: What is said of a value before its place, by the variable it comes from.
_LAYER = {PROFILES: "profile {name}, ", POOLS: "node pool {name}, ", DEFAULTS: "model_defaults, "}
ALWAYS = "the same for every model"


@dataclass(frozen=True)
class Setting:
    """One value of the merged entry: its path, the value, and where it was given."""

    path: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Line:
    """One line of YAML of an object, and why it is there; no reason where the line above has it."""

    text: str
    reason: str = ""


@dataclass(frozen=True)
class Explanation:
    """A model: where its entry is, its settings, those of its traffic group, the lines of its objects by title.

    ``presets`` are the configurations from which KServe takes what the service leaves out, the weakest first.
    """

    model: str
    place: str
    settings: tuple[Setting, ...]
    group: tuple[Setting, ...]
    presets: tuple[str, ...]
    objects: tuple[tuple[str, tuple[Line, ...]], ...]


class UnknownModelError(LookupError):
    """The name means no model that could be explained, or several; the text says what to do."""


def explain(
    name: str, rendered: RenderResult, variables: Mapping[str, Any], platform: Mapping[str, Any], sources: Sources
) -> Explanation:
    """Explains the model called ``name`` ("name" or "namespace/name").

    ``rendered`` is what ``render`` made of ``variables`` (models, model_defaults, model_profiles, node_pools,
    traffic_groups, model_routes).
    """
    entry = _entry(name, rendered)
    layers = _layers(variables, platform)
    path, written = _written(entry, layers, variables, sources)
    group, members = _group(entry, rendered, variables)
    case = Case(entry, platform, group[1], members)
    reasons = experiments.reasons_of(case)
    explained = [(obj, reasons[key]) for key, obj in experiments.objects_of(case).items()]
    explained += _own_routes(entry, rendered, variables, sources)
    return Explanation(
        f"{entry['namespace']}/{entry['name']}",
        sources.where(path),
        tuple(_settings(entry, written, layers, path, sources)),
        tuple(_group_settings(case, group[0], sources)),
        tuple(_presets(case)),
        tuple((_title(obj), tuple(_lines(obj, why))) for obj, why in explained),
    )


def as_text(explanation: Explanation) -> str:
    """The explanation for a terminal: the entry with origins, then each object with a reason beside its values."""
    text = [f"Model {explanation.model}, {explanation.place}", "", "Its entry, put together:"]
    text += _columns([(f"  {item.path}: {_short(item.value)}", item.origin) for item in explanation.settings])
    if explanation.group:
        text += ["", "Its traffic group:"]
        text += _columns([(f"  {item.path}: {_short(item.value)}", item.origin) for item in explanation.group])
    for title, lines in explanation.objects:
        text += ["", f"{title}:"]
        text += _columns([(f"  {line.text}", line.reason) for line in lines])
    text += ["", "KServe takes what the LLMInferenceService leaves out from these configurations, the strongest last:"]
    text += [f"  {name}" for name in explanation.presets]
    return "\n".join(text)


# ---- the entry --------------------------------------------------------------------------------------------


def _entry(name: str, rendered: RenderResult) -> dict[str, Any]:
    found = [entry for entry in rendered.entries if name in (entry["name"], f"{entry['namespace']}/{entry['name']}")]
    if len(found) == 1:
        return found[0]
    absent = [model for model in rendered.absent if means({name}, model)]
    if found:
        ids = sorted(f"{entry['namespace']}/{entry['name']}" for entry in found)
        raise UnknownModelError(f"expected one model, found {name!r}, which could be {or_list(ids)}. Name it in full.")
    if absent:
        raise UnknownModelError(
            f"expected a model that is wanted, found {absent[0]} with state: absent, without objects."
        )
    if not name:
        raise UnknownModelError(f"expected -e model=NAME, found nothing. {listed(rendered.ids)}")
    raise UnknownModelError(f"expected a model of the inventory, {unknown([name], rendered.ids)}")


def _layers(variables: Mapping[str, Any], platform: Mapping[str, Any]) -> Layers:
    """Profiles and defaults of the inventory, with what its node pools became."""
    profiles = {**platform["pools"], **(variables.get(PROFILES) or {})}
    return Layers(variables.get(DEFAULTS) or {}, profiles, variables.get(POOLS) or ())


def _written(
    entry: Mapping[str, Any], layers: Layers, variables: Mapping[str, Any], sources: Sources
) -> tuple[KeyPath, Mapping[str, Any]]:
    """The entry as the user wrote it, and its path."""
    for index, item in enumerate(sources.models(variables.get("models") or [])):
        same_name = isinstance(item, Mapping) and item.get("name") == entry["name"]
        if same_name and layers.merged(item).get("namespace") == entry["namespace"]:
            return ("models", index), item
    return ("models",), {}


def _settings(
    entry: Mapping[str, Any], written: Mapping[str, Any], layers: Layers, path: KeyPath, sources: Sources
) -> Iterator[Setting]:
    for key in experiments.settings(entry):
        yield Setting(dotted(key), at(entry, key), _origin(key, written, layers, path, sources))


def _origin(key: KeyPath, written: Mapping[str, Any], layers: Layers, path: KeyPath, sources: Sources) -> str:
    """Where a value of the entry was written, or what it follows."""
    place = (*path, *key) if has(written, key) else layers.place(written, key)
    if place is not None:
        return _said(place, layers, sources)
    main = key[1:] if key[0] == PREFILL else ()
    if main and main[0] not in ALTERNATIVES and (has(written, main) or layers.place(written, main)):
        return f"as {dotted(main)}"
    return "default"


def _said(place: KeyPath, layers: Layers, sources: Sources) -> str:
    """A place with the layer it is in; of a value in no file, such as one of ``-e``, its path."""
    position = sources.place(place)
    if not position:
        return dotted(place)
    name = layers.pool_at(int(place[1])) if place[0] == POOLS else place[1]
    return _LAYER.get(str(place[0]), "").format(name=name) + position


def _presets(case: Case) -> Iterator[str]:
    """The LLMInferenceServiceConfigs of a model, in the order in which KServe merges them (models.md 2.1 and 2.2)."""
    service = next(obj for obj in experiments.objects_of(case).values() if obj["kind"] == "LLMInferenceService")
    router, prefix = service["spec"].get("router", {}), case.platform["serving"]["presets"]["prefix"]
    if "scheduler" in router and "pool" not in router["scheduler"]:
        yield f"{prefix}config-llm-scheduler"
    if "route" in router and "refs" not in router["route"].get("http", {}):
        yield f"{prefix}config-llm-router-route"
    yield from (f"{prefix}{workload.preset}" for workload in reversed(workloads(case.entry)))
    yield from (str(reference["name"]) for reference in service["spec"].get("baseRefs", ()))


# ---- traffic ----------------------------------------------------------------------------------------------


def _group(
    entry: Mapping[str, Any], rendered: RenderResult, variables: Mapping[str, Any]
) -> tuple[tuple[KeyPath, Mapping[str, Any]], list[dict[str, Any]]]:
    """What the inventory says of the traffic group of a model, with its path, and the other models of the group."""
    key = entry["namespace"], entry.get("traffic", {}).get("group")
    members = [
        other
        for other in rendered.entries
        if other["name"] != entry["name"] and (other["namespace"], other.get("traffic", {}).get("group")) == key
    ]
    for index, group in enumerate(variables.get("traffic_groups") or []):
        if (group.get("namespace"), group.get("name")) == key:
            return (("traffic_groups", index), group), members
    return ((), {}), members if key[1] else []


def _group_settings(case: Case, path: KeyPath, sources: Sources) -> Iterator[Setting]:
    for key in experiments.settings(case.group):
        yield Setting(dotted(key), at(case.group, key), sources.place((*path, *key)) or dotted((*path, *key)))
    if "traffic" in case.entry and split_of(case.group) != "header":
        weights = {member["name"]: weight_of(member) for member in [case.entry, *case.members]}
        share = f"{weights[case.entry['name']]} of {sum(weights.values())}"
        yield Setting("share", share, ", ".join(f"{name} {weight}" for name, weight in sorted(weights.items())))


def _own_routes(
    entry: Mapping[str, Any], rendered: RenderResult, variables: Mapping[str, Any], sources: Sources
) -> Iterator[tuple[Object, Reasons]]:
    """The routes of ``model_routes`` that lead to a model; all of each comes from there."""
    model = f"{entry['namespace']}/{entry['name']}"
    written = {
        (item["namespace"], item["name"]): index for index, item in enumerate(variables.get("model_routes") or [])
    }
    for obj in rendered.objects:
        metadata = obj["metadata"]
        if obj["kind"] == "HTTPRoute" and labels.ROUTE in metadata["labels"] and model in models_behind(obj):
            path = ("model_routes", written[metadata["namespace"], metadata["name"]])
            reason = f"model_routes, {sources.place(path)}" if sources.place(path) else dotted(path)
            yield obj, {leaf: [reason] for leaf in leaves(obj)}


# ---- text -------------------------------------------------------------------------------------------------


def _title(obj: Object) -> str:
    metadata = obj["metadata"]
    place = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
    return f"{obj['kind']} {place}"


def _lines(obj: Object, reasons: Reasons) -> Iterator[Line]:
    """YAML, with a reason at the outermost line whose whole content has it."""
    paths = list(leaves(obj))

    def reason_of(path: KeyPath) -> str | None:
        """The one reason of everything below a path; None when there are several."""
        below = {_sentence(reasons.get(key)) for key in paths if key[: len(path)] == path}
        return below.pop() if len(below) == 1 else None

    def walk(value: Any, path: KeyPath, indent: str, known: str | None, lead: str | None = None) -> Iterator[Line]:
        is_list = not isinstance(value, Mapping)
        for key, item in parts(value) or ():
            here, head, lead = (*path, key), indent if lead is None else lead, None
            reason = reason_of(here) if known is None else known
            shown = reason if known is None and reason is not None else ""
            inner = parts(item)
            if inner is None:
                label = "-" if is_list else f"{scalar(str(key))}:"
                yield Line(f"{head}{label} {_value(item)}", shown)
            elif is_list:
                yield from _marked(walk(item, here, f"{indent}  ", reason, f"{head}- "), shown)
            elif isinstance(inner[0][1], tuple):
                yield from words(f"{head}{scalar(str(key))}:", inner, here, indent, reason, shown)
            else:
                yield Line(f"{head}{scalar(str(key))}:", shown)
                yield from walk(item, here, f"{indent}  " if isinstance(item, Mapping) else indent, reason)

    def words(
        head: str, flags: list[tuple[Any, Any]], path: KeyPath, indent: str, known: str | None, shown: str
    ) -> Iterator[Line]:
        """A command line: one flag with its values on each line."""
        if len(flags) == 1:
            yield Line(f"{head} {_value(list(flags[0][1]))}", shown)
            return
        yield Line(f"{head} [", shown)
        for key, flag in flags:
            reason = reason_of((*path, key)) or "" if known is None else ""
            yield Line(f"{indent}  {', '.join(map(_value, flag))},", reason)
        yield Line(f"{indent}]")

    return walk(obj, (), "", None)


def _marked(lines: Iterator[Line], reason: str) -> Iterator[Line]:
    """The lines, the first with this reason."""
    for number, line in enumerate(lines):
        yield Line(line.text, reason) if number == 0 and reason else line


def _value(item: Any) -> str:
    if isinstance(item, list):
        return "[" + ", ".join(map(_value, item)) + "]"
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{scalar(str(key))}: {_value(inner)}" for key, inner in item.items()) + "}"
    return scalar(item)


def _sentence(found: Sequence[str] | None) -> str:
    if not found:
        return ALWAYS
    return ", ".join(dict.fromkeys(found))


def _short(value: Any, limit: int = 60) -> str:
    text = _value(plain(value))
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _columns(rows: Sequence[tuple[str, str]], widest: int = 76) -> list[str]:
    """Rows with the second column aligned, as far as the first is not too wide."""
    width = max((len(left) for left, right in rows if right and len(left) <= widest), default=0)
    return [f"{left.ljust(width)}  # {right}" if right else left for left, right in rows]
