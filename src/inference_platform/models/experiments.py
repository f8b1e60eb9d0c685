"""What the values of a model's objects depend on, found by experiment.

The model is rendered again with one setting changed at a time, and what differs depends on that setting.  So the
answer is true whatever the templates do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from inference_platform.mirror import Rewriting
from inference_platform.models import scheduler
from inference_platform.models.merge import has, merge, plain
from inference_platform.models.routes import group_route
from inference_platform.models.scheduler.strategies import DEFAULT
from inference_platform.models.services import namespace_object, pod_monitor_object, service_object
from inference_platform.models.topology import complete, workloads
from inference_platform.schema import KeyPath
from inference_platform.sources import dotted

Object = dict[str, Any]
#: Objects by kind and name.
Objects = dict[tuple[str, str], Object]
#: Path of a value in an object -> what it depends on.  The parts of a value are those of ``parts``.
Reasons = dict[KeyPath, list[str]]

#: Settings of the release and the provider, and what they say when a value comes from them.
SERVING = {
    "annotations": "what release {release} asks of every model on {provider}",
    "api_version": "the API version of release {release}",
    "gateway": "the platform's gateway",
    "gpu": "how provider {provider} presents GPUs",
    "lora": "how release {release} takes adapters",
    "pool_group": "the kind of pool that the gateway of release {release} knows",
    "pull_secret": "the pull secret of the platform",
    "scheduler_containers": "release {release}: a pod template must name the containers of its preset",
    "tls": "servers of release {release} speak HTTPS",
}
MIRROR = "platform_image_registry"
#: Settings that matter also where an entry leaves them out: what they are then, and could be instead.
_LEFT_OUT: dict[KeyPath, tuple[str, ...]] = {("scheduler", "strategy"): (DEFAULT, "load_aware", "random")}
#: Keys by one of which the items of a list are told apart.
_NAMES = ("name", "pluginRef", "type", "key")
_OF_THE_GROUP = ("name", "namespace")
_WORDS = ("changed", "Changed", "a", "0", "1Gi", "2Gi", "hf://other/model", "10s")
_GONE = object()


@dataclass(frozen=True)
class Case:
    """What the objects of one model are made of.

    entry     its completed entry
    platform  the plan as plain data
    group     what the inventory says of its traffic group
    members   completed entries of the other models of that group
    """

    entry: Mapping[str, Any]
    platform: Mapping[str, Any]
    group: Mapping[str, Any] = field(default_factory=dict)
    members: Sequence[Mapping[str, Any]] = ()


def objects_of(case: Case) -> Objects:
    """The objects of a case; no rules are asked."""
    serving, model = case.platform["serving"], complete(case.entry)
    service = service_object(model, workloads(model), scheduler.wiring_for(model, serving), serving)
    made = [
        namespace_object(model["namespace"], serving),
        Rewriting(case.platform["image_registry"]).of(service),
        *scheduler.objective_objects(model, serving),
        *scheduler.rewrite_objects(model, serving),
    ]
    if model.get("monitoring") == "pod_monitor":
        made.append(pod_monitor_object(model, serving))
    if "traffic" in model:
        group = {**case.group, "name": model["traffic"]["group"], "namespace": model["namespace"]}
        members = sorted([model, *case.members], key=lambda member: str(member["name"]))
        made.append(group_route(group, members, serving))
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in made}


def reasons_of(case: Case) -> dict[tuple[str, str], Reasons]:
    """For each object of a case what its values depend on; a value without a reason is the same for every model."""
    base = objects_of(case)
    found: dict[tuple[str, str], Reasons] = {key: {} for key in base}
    vanished: dict[tuple[str, str], Reasons] = {key: {} for key in base}
    innermost: dict[tuple[tuple[str, str], KeyPath], int] = {}
    for reason, made in _experiments(case, base):
        for key, before in base.items():
            for path, cut in _differences(before, made.get(key, _GONE)):
                if not cut:
                    found[key].setdefault(path, []).append(reason)
                elif cut >= innermost.get((key, path), 0):
                    others = vanished[key].get(path, []) if cut == innermost.get((key, path)) else []
                    vanished[key][path] = [*others, reason]
                    innermost[key, path] = cut
    # That a setting takes a part away as a whole says less of a value in it than what changes the value, and the
    # less, the larger the part.
    for weaker in (vanished, _of_parts(case, base)):
        for key, reasons in weaker.items():
            found[key] = {**reasons, **found[key]}
    return found


def parts(value: Any) -> list[tuple[Any, Any]] | None:
    """What a value is made of, by key or position; None when it is one value.

    Command lines are made of flags, each with its values; other lists of texts are one value.
    """
    if isinstance(value, Mapping):
        return list(value.items()) or None
    if isinstance(value, list) and value:
        if all(isinstance(item, Mapping) for item in value):
            return list(enumerate(value))
        if any(_is_flag(item) for item in value):
            return list(enumerate(_flags(value)))
    return None


def leaves(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Paths of all values of an object."""
    inner = parts(value)
    if inner is None:
        yield path
    else:
        for step, item in inner:
            yield from leaves(item, (*path, step))


def settings(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Paths of all settings of an entry: a mapping with something in it is gone into, everything else is one."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from settings(item, (*path, key))
    elif path:
        yield path


def at(value: Any, path: KeyPath) -> Any:
    """The value at a path."""
    for step in path:
        value = value[step]
    return value


# ---- experiments ------------------------------------------------------------------------------------------


def _experiments(case: Case, base: Objects) -> Iterator[tuple[str, Objects]]:
    """What becomes of the objects when one setting is another: (setting, objects)."""
    for reason, changes in _changes(case):
        made = next((made for other in changes if (made := _attempt(other)) is not None and made != base), None)
        if made is not None:
            # Objects are known by their names, which the name and the namespace decide.
            yield reason, _matched(base, made)


def _changes(case: Case) -> Iterator[tuple[str, Iterator[Case]]]:
    """Each setting, and the cases in which it is another, of which one is tried after the other."""
    for path in settings(case.entry):
        yield dotted(path), (replace(case, entry=entry) for entry in _variants(case.entry, path))
    for path, (default, *rest) in _LEFT_OUT.items():
        if not has(case.entry, path):
            for value in rest:
                yield (
                    f"{dotted(path)}, by default {default}",
                    iter([replace(case, entry=_given(case.entry, path, value))]),
                )
    platform = case.platform
    for name, text in SERVING.items():
        reason = text.format(release=platform["release"], provider=platform["provider"])
        served = _variants(platform, ("serving", name)) if name in platform["serving"] else ()
        yield reason, (replace(case, platform=other) for other in served)
    if platform["image_registry"]:
        yield MIRROR, iter([replace(case, platform={**platform, "image_registry": ""})])
    for path in settings(case.group):
        if path[0] not in _OF_THE_GROUP:
            yield f"{dotted(path)} of the traffic group", (replace(case, group=g) for g in _variants(case.group, path))
    for index, member in enumerate(case.members):
        for path in [("name",), *settings(member["traffic"], ("traffic",))]:
            others = (_with(case.members, (index,), changed) for changed in _variants(member, path))
            yield f"{dotted(path)} of {member['name']}", (replace(case, members=members) for members in others)


def _of_parts(case: Case, base: Objects) -> dict[tuple[str, str], Reasons]:
    """For each object what depends on a part of the entry being there at all, the innermost part only."""
    found: dict[tuple[str, str], Reasons] = {key: {} for key in base}
    inner = {path[:length] for path in settings(case.entry) for length in range(1, len(path))}
    for path in sorted(inner, key=lambda path: (-len(path), dotted(path))):
        made = _attempt(replace(case, entry=_with(case.entry, path, _GONE)))
        if made is not None:
            for key, before in base.items():
                for changed, _ in _differences(before, made.get(key, _GONE)):
                    found[key].setdefault(changed, [dotted(path)])
    return found


def _attempt(case: Case) -> Objects | None:
    """The objects of a changed case; None when it cannot be rendered at all."""
    try:
        return objects_of(case)
    except Exception:  # the change made nonsense of it: another one is tried
        return None


def _matched(base: Objects, made: Objects) -> Objects:
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


def _variants(entry: Any, path: KeyPath) -> Iterator[Any]:
    """Copies of an entry in which one setting is another, the last without it."""
    return (_with(entry, path, value) for value in _others(at(entry, path)))


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
    """A copy with another text in the place of every text, and another number in that of every number."""
    if isinstance(value, Mapping):
        return {key: _respelled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_respelled(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return value + 1
    return f"{value}x" if isinstance(value, str) else value


def _given(entry: Any, path: KeyPath, value: Any) -> Any:
    """A copy of an entry with a setting that it leaves out."""
    made: Any = value
    for step in reversed(path):
        made = {step: made}
    return merge(entry, made)


def _with(entry: Any, path: KeyPath, value: Any) -> Any:
    changed = copy.deepcopy(plain(entry))
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    if value is _GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed


# ---- comparison -------------------------------------------------------------------------------------------


def _differences(before: Any, after: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, int]]:
    """Paths of values of ``before`` that differ in ``after``, each with how deep the part is that went with it.

    The depth is 0 for a value that differs itself.
    """
    if before == after:
        return
    inner = parts(before)
    if inner is None or (path == () and after is _GONE):
        yield from ((leaf, 0) for leaf in leaves(before, path))
        return
    others = _partners(before, after)
    for step, item in inner:
        other = others.get(step, _GONE)
        if other is _GONE and parts(item) is not None:
            yield from ((leaf, len(path) + 1) for leaf in leaves(item, (*path, step)))
        else:
            yield from _differences(item, other, (*path, step))


def _partners(before: Any, after: Any) -> dict[Any, Any]:
    """The parts of ``after`` under the keys of the parts of ``before``, those of lists by name if they have one."""
    there = parts(after) or []
    if isinstance(before, Mapping) or isinstance(after, Mapping):
        return dict(there) if type(before) is type(after) else {}
    here = parts(before) or []
    ours, theirs = [_name(item) for _, item in here], [_name(item) for _, item in there]
    if len(ours) == len(theirs) and set(ours) != set(theirs):
        return dict(there)
    by_name = {name: item for name, (_, item) in zip(theirs, there, strict=True)}
    return {step: by_name[name] for name, (step, _) in zip(ours, here, strict=True) if name in by_name}


def _name(item: Any) -> str:
    if isinstance(item, Mapping):
        return next((f"{key}={item[key]}" for key in _NAMES if key in item), str(item))
    return str(item[0]).partition("=")[0]


def _is_flag(word: Any) -> bool:
    return isinstance(word, str) and word.lstrip("'").startswith("--")


def _flags(words: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The words of a command line, each flag with its values."""
    found: list[tuple[Any, ...]] = []
    for word in words:
        if _is_flag(word) or not found:
            found.append((word,))
        else:
            found[-1] = (*found[-1], word)
    return found
