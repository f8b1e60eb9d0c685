"""Why a model is as it is: its merged entry, its objects, and where every value comes from.

Where an entry's value comes from is looked up in the layers: entry, profile, defaults, language.  What a value of
an object depends on is found by experiment: the entry is rendered again with one setting changed at a time, and what
differs depends on that setting.  So the answer is true whatever the templates do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_platform.manifest import scalar
from inference_platform.models import scheduler
from inference_platform.models.choice import listed, means, unknown
from inference_platform.models.merge import has, plain
from inference_platform.models.pipeline import RenderResult
from inference_platform.models.services import namespace_object, pod_monitor_object, service_object
from inference_platform.models.topology import complete, workloads
from inference_platform.schema import KeyPath, or_list
from inference_platform.sources import Sources, dotted

Object = dict[str, Any]

#: Settings of the release and the provider, and what they say when a value comes from them.
SERVING = {
    "api_version": "the API version of release {release}",
    "gateway": "the platform's gateway",
    "gpu": "how provider {provider} presents GPUs",
    "lora": "how release {release} takes adapters",
    "pool_group": "the kind of pool that the gateway of release {release} knows",
    "pull_secret": "the pull secret of the platform",
    "scheduler_containers": "release {release}: a pod template must name the containers of its preset",
    "tls": "servers of release {release} speak HTTPS",
}
#: What is said of a value before its place, by the variable it comes from.
_LAYER = {"model_profiles": "profile {}, ", "model_defaults": "model_defaults, "}
ALWAYS = "the same for every model"
_WORDS = ("changed", "Changed", "a", "0", "1Gi", "2Gi", "hf://other/model", "10s")


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
    """A model: where its entry is, its settings, and the lines of its objects, by their title."""

    model: str
    place: str
    settings: tuple[Setting, ...]
    objects: tuple[tuple[str, tuple[Line, ...]], ...]


class UnknownModelError(LookupError):
    """The name means no model that could be explained, or several; the text says what to do."""


def explain(
    name: str, rendered: RenderResult, variables: Mapping[str, Any], platform: Mapping[str, Any], sources: Sources
) -> Explanation:
    """Explains the model called ``name`` ("name" or "namespace/name").

    ``rendered`` is what ``render`` made of ``variables`` (models, model_defaults, model_profiles).
    """
    entry = _entry(name, rendered)
    path, written = _written(entry, variables, sources)
    settings = tuple(_settings(entry, written, variables, path, sources))
    objects = _objects(entry, platform)
    reasons = _reasons(entry, platform, objects)
    return Explanation(
        f"{entry['namespace']}/{entry['name']}",
        sources.where(path),
        settings,
        tuple((_title(obj), tuple(_lines(obj, reasons[key]))) for key, obj in objects.items()),
    )


def as_text(explanation: Explanation) -> str:
    """The explanation for a terminal: the entry with origins, then each object with a reason beside its values."""
    parts = [f"Model {explanation.model}, {explanation.place}", "", "Its entry, put together:"]
    parts += _columns([(f"  {item.path}: {_short(item.value)}", item.origin) for item in explanation.settings])
    for title, lines in explanation.objects:
        parts += ["", f"{title}:"]
        parts += _columns([(f"  {line.text}", line.reason) for line in lines])
    return "\n".join(parts)


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


def _written(
    entry: Mapping[str, Any], variables: Mapping[str, Any], sources: Sources
) -> tuple[KeyPath, Mapping[str, Any]]:
    """The entry as the user wrote it, and its path."""
    for index, item in enumerate(sources.models(variables.get("models") or [])):
        if isinstance(item, Mapping) and item.get("name") == entry["name"]:
            layers = [item, *(layer for _, layer in _below(item, variables))]
            if next((layer["namespace"] for layer in layers if "namespace" in layer), None) == entry["namespace"]:
                return ("models", index), item
    return ("models",), {}


def _below(written: Mapping[str, Any], variables: Mapping[str, Any]) -> list[tuple[KeyPath, Mapping[str, Any]]]:
    """Profiles and defaults of an entry, the strongest first, with their paths."""
    defaults, profiles = variables.get("model_defaults") or {}, variables.get("model_profiles") or {}
    named = written.get("profiles", defaults.get("profiles", []))
    found: list[tuple[KeyPath, Mapping[str, Any]]] = [
        (("model_profiles", name), profiles.get(name) or {}) for name in reversed(named)
    ]
    return [*found, (("model_defaults",), defaults)]


def _settings(
    entry: Mapping[str, Any],
    written: Mapping[str, Any],
    variables: Mapping[str, Any],
    path: KeyPath,
    sources: Sources,
) -> Iterator[Setting]:
    layers = [(path, written), *_below(written, variables)]
    for key in _leaves(entry):
        yield Setting(dotted(key), _at(entry, key), _origin(key, layers, sources))


def _origin(key: KeyPath, layers: Sequence[tuple[KeyPath, Mapping[str, Any]]], sources: Sources) -> str:
    for path, layer in layers:
        if has(layer, key):
            return _LAYER.get(str(path[0]), "").format(path[-1]) + sources.where((*path, *key)).split(" ")[0]
    return "default of the language, or follows from the rest"


# ---- the objects ------------------------------------------------------------------------------------------


def _objects(entry: Mapping[str, Any], platform: Mapping[str, Any]) -> dict[tuple[str, str], Object]:
    """The objects of one entry by kind and name; no rules are asked."""
    serving, model = platform["serving"], complete(entry)
    pods, wiring = workloads(model), scheduler.wiring_for(model, platform["serving"])
    made = [
        namespace_object(model["namespace"], serving),
        service_object(model, pods, wiring, serving),
        *scheduler.objective_objects(model, serving),
        *scheduler.rewrite_objects(model, serving),
    ]
    if model.get("monitoring") == "pod_monitor":
        made.append(pod_monitor_object(model, serving))
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in made}


Reasons = dict[KeyPath, list[str]]


def _reasons(
    entry: Mapping[str, Any], platform: Mapping[str, Any], objects: Mapping[tuple[str, str], Object]
) -> dict[tuple[str, str], Reasons]:
    """For each object: path of a value -> what it depends on."""
    found: dict[tuple[str, str], Reasons] = {key: {} for key in objects}
    flat = {key: _flat(obj) for key, obj in objects.items()}
    for reason, changed in _experiments(entry, platform):
        for key, before in flat.items():
            after = _flat(changed[key]) if key in changed else None
            for path in before:
                if after is None or after.get(path, _GONE) != before[path]:
                    found[key].setdefault(path, []).append(reason)
    return found


_GONE = object()


def _experiments(entry: Mapping[str, Any], platform: Mapping[str, Any]) -> Iterator[tuple[str, dict[Any, Object]]]:
    """What becomes of the objects when one setting is another: (setting, objects)."""
    base = _objects(entry, platform)
    for path in _leaves(entry):
        for value in _others(_at(entry, path)):
            made = _attempt(_with(entry, path, value), platform)
            if made is not None and _differs(base, made):
                # Objects are known by their names, which the name and the namespace decide.
                yield dotted(path), _matched(base, made)
                break
    for name, text in SERVING.items():
        reason = text.format(release=platform["release"], provider=platform["provider"])
        for value in _others(platform["serving"].get(name)):
            made = _attempt(entry, {**platform, "serving": {**platform["serving"], name: value}})
            if made is not None and _differs(base, made):
                yield reason, _matched(base, made)
                break


def _matched(base: Mapping[Any, Object], made: Mapping[Any, Object]) -> dict[Any, Object]:
    """The objects of ``made`` under the keys of ``base``: by key, or else the next of the kind."""
    result = {key: obj for key, obj in made.items() if key in base}
    spare = [obj for key, obj in made.items() if key not in base]
    for key in base:
        if key not in result:
            match = next((obj for obj in spare if obj["kind"] == key[0]), None)
            if match is not None:
                spare.remove(match)
                result[key] = match
    return result


def _differs(base: Mapping[Any, Object], made: Mapping[Any, Object]) -> bool:
    return dict(base) != dict(made)


def _attempt(entry: Mapping[str, Any], platform: Mapping[str, Any]) -> dict[tuple[str, str], Object] | None:
    """The objects of a changed entry; None when it cannot be rendered at all."""
    try:
        return _objects(entry, platform)
    except Exception:  # the change made nonsense of the entry: another one is tried
        return None


def _others(value: Any) -> Iterable[Any]:
    """Values that could stand in the place of this one, then its absence."""
    if isinstance(value, bool):
        return (not value, _GONE)
    if isinstance(value, int):
        return (value + 1, value * 2 + 2, _GONE)
    if isinstance(value, float):
        return (value / 2, _GONE)
    if isinstance(value, str):
        return (f"{value}x", *_WORDS, _GONE)
    if isinstance(value, list):
        return (_respelled(value), [*value, *value[-1:]], value[:-1], _GONE)
    if isinstance(value, Mapping):
        return (_respelled(value), {}, _GONE)
    return ("changed", 1, _GONE)


def _respelled(value: Any) -> Any:
    """A copy with another text in the place of every text."""
    if isinstance(value, Mapping):
        return {key: _respelled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_respelled(item) for item in value]
    return f"{value}x" if isinstance(value, str) else value


def _with(entry: Mapping[str, Any], path: KeyPath, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(plain(entry))
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    if value is _GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return dict(changed)


def _leaves(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Paths of all values: a mapping with something in it is gone into, everything else is one value."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif path:
        yield path


def _flat(value: Any, path: KeyPath = ()) -> dict[KeyPath, Any]:
    """Path -> value; lists of mappings are gone into by position, other lists are one value."""
    if isinstance(value, Mapping) and value:
        return {k: v for key, item in value.items() for k, v in _flat(item, (*path, key)).items()}
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return {k: v for index, item in enumerate(value) for k, v in _flat(item, (*path, index)).items()}
    return {path: value}


def _at(value: Any, path: KeyPath) -> Any:
    for step in path:
        value = value[step]
    return value


# ---- text -------------------------------------------------------------------------------------------------


def _title(obj: Object) -> str:
    metadata = obj["metadata"]
    place = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
    return f"{obj['kind']} {place}"


def _lines(obj: Object, reasons: Reasons) -> Iterator[Line]:
    """YAML, with a reason at the outermost line whose whole content has it."""
    flat = _flat(obj)

    def reason_of(path: KeyPath) -> str | None:
        """The one reason of everything below a path; None when there are several."""
        below = {_sentence(reasons.get(key)) for key in flat if key[: len(path)] == path}
        return below.pop() if len(below) == 1 else None

    def walk(value: Any, path: KeyPath, indent: str, known: str | None, lead: str | None = None) -> Iterator[Line]:
        pairs: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in pairs:
            here = (*path, key)
            reason = reason_of(here) if known is None else known
            shown = reason if known is None and reason is not None else ""
            head = indent if lead is None else lead
            lead = None
            is_list = not isinstance(value, Mapping)
            if isinstance(item, Mapping) and item and is_list:
                yield from _marked(walk(item, here, f"{indent}  ", reason, f"{head}- "), shown)
            elif (isinstance(item, Mapping) and item) or _is_tree(item):
                yield Line(f"{head}{scalar(str(key))}:", shown)
                inner = f"{indent}  " if isinstance(item, Mapping) else indent
                yield from walk(item, here, inner, reason)
            else:
                label = "-" if is_list else f"{scalar(str(key))}:"
                yield Line(f"{head}{label} {_value(item)}", shown)

    return walk(obj, (), "", None)


def _marked(lines: Iterator[Line], reason: str) -> Iterator[Line]:
    """The lines, the first with this reason."""
    for number, line in enumerate(lines):
        yield Line(line.text, reason) if number == 0 and reason else line


def _is_tree(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and all(isinstance(part, Mapping) for part in item)


def _value(item: Any) -> str:
    if isinstance(item, list):
        return "[" + ", ".join(map(_value, item)) + "]"
    return "{}" if isinstance(item, Mapping) else scalar(item)


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
