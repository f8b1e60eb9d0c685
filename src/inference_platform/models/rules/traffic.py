"""Rules about traffic groups and routes: what models share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from inference_platform.findings import WARNING, show
from inference_platform.models.routes import API_PATHS, group_path, has_scheduler, model_path, split_of, weight_of
from inference_platform.models.rules.engine import INVENTORY, Objection
from inference_platform.models.rules.registry import rule
from inference_platform.models.rules.router import MOST_RULES, attempts_fit, is_plain_path
from inference_platform.models.subjects import Group, Inventory
from inference_platform.schema import KeyPath, close_names, or_list

# Limits of an HTTPRoute (models.md 5.1).
_MOST_MATCHES_OF_A_ROUTE = 128
# Names with fewer letters differ in one on purpose.
_SHORTEST_WITH_SLIPS = 4


@rule("IP-MOD-129", "Models of a group are served under one name.", INVENTORY, catches=("mistake 29",))
def members_have_one_served_name(inventory: Inventory) -> Iterator[Objection]:
    """Clients send one model name; a server that does not know it answers 404 (models.md 5.4)."""
    for group in inventory.groups:
        names = [member.entry.get("served_name", member.entry["name"]) for member in group.members]
        for member, name in zip(group.members, names, strict=True):
            if name != names[0]:
                yield Objection(
                    ("served_name",) if "served_name" in member.entry else ("name",),
                    f"{show(names[0])}, as {group.members[0].entry['name']} of traffic group {group.name} has",
                    show(name),
                    f"Set served_name to {names[0]}.",
                    member.index,
                )


@rule("IP-MOD-141", "A weighted rule has one scheduler.", INVENTORY, WARNING, catches=("mistake 41",))
def weighted_pools_share_one_scheduler(inventory: Inventory) -> Iterator[Objection]:
    """The gateway asks the scheduler of the last pool of a rule for all of its requests."""
    if not inventory.platform["serving"]["picker_per_rule"]:
        return
    for group in inventory.groups:
        serving = [member for member in group.members if weight_of(member.entry)]
        if split_of(group.settings) == "pool" and len(serving) > 1:
            yield Objection(
                *_place(group, "split"),
                "split service or header, which the gateway of this release routes as asked",
                f"split pool over {len(serving)} models",
                "Expect the shares to hold, but only the scheduler of the last model to be asked.",
                _model_of(group),
            )
    for index, route in inventory.routes.items():
        for position, one in enumerate(route["rules"]):
            pools = [backend for backend in one.get("backends", []) if _is_pool(backend, route, inventory)]
            if len([pool for pool in pools if pool.get("weight", 1)]) > 1:
                yield Objection(
                    ("model_routes", index, "rules", position, "backends"),
                    "one pool per rule, because the gateway asks one scheduler per rule",
                    f"{len(pools)} pools",
                    "Expect the shares to hold, but only the scheduler of the last pool to be asked.",
                )


@rule("IP-MOD-301", "A group has models, and is described once.", INVENTORY)
def groups_have_members(inventory: Inventory) -> Iterator[Objection]:
    """A route without backends answers 500. A group whose models are all absent goes with them."""
    seen: dict[tuple[str, str], int] = {}
    listed = (subject for subject in inventory.listed if "traffic" in subject.entry)
    members = {(subject.key[0], subject.entry["traffic"]["group"]) for subject in listed}
    for index, settings in inventory.described_groups.items():
        key = settings["namespace"], settings["name"]
        if key in seen:
            yield Objection(
                ("traffic_groups", index, "name"),
                "one entry per group",
                f"{show(settings['name'])}, also traffic_groups[{seen[key]}]",
                "Remove one of the two.",
            )
        elif key not in members and inventory.is_whole and key not in inventory.unclear_groups:
            yield Objection(
                ("traffic_groups", index, "name"),
                f"models of namespace {key[0]} with traffic.group {key[1]}",
                "none",
                "Add traffic.group to the models, or remove the group.",
            )
        seen.setdefault(key, index)


@rule("IP-MOD-306", "Some model of a group gets requests.", INVENTORY)
def weights_are_not_all_zero(inventory: Inventory) -> Iterator[Objection]:
    """With weights that are all 0 nothing is served."""
    for group in inventory.groups:
        by_weight = split_of(group.settings) != "header" and inventory.is_whole
        if group.members and by_weight and not any(map(weight_of, _entries(group))):
            yield Objection(
                ("traffic", "weight"),
                f"a weight above 0 for some model of traffic group {group.name}",
                "0 for all of them",
                "Raise one weight.",
                group.members[0].index,
            )


@rule("IP-MOD-307", "A split by header has conditions and a rest.", INVENTORY)
def header_splits_are_complete(inventory: Inventory) -> Iterator[Objection]:
    """Exactly one model takes what no other asks for; weights mean nothing there."""
    for group in inventory.groups:
        by_header = split_of(group.settings) == "header"
        rest = [member for member in group.members if "headers" not in member.entry["traffic"]]
        for member in group.members:
            for key in ("weight",) if by_header else ("headers",):
                if key in member.entry["traffic"]:
                    yield Objection(
                        ("traffic", key),
                        f"no {key} in a group with split {split_of(group.settings)}",
                        key,
                        f"Remove {key}, or change split in traffic_groups.",
                        member.index,
                    )
        if by_header and group.members and (len(rest) > 1 or (not rest and inventory.is_whole)):
            yield Objection(
                ("traffic", "headers"),
                f"one model of traffic group {group.name} without headers, for all other requests",
                str(len(rest)),
                "Add or remove traffic.headers.",
                (rest or group.members)[-1].index,
            )


@rule("IP-MOD-308", "Models of a group that is split over pools have schedulers.", INVENTORY)
def members_have_pools(inventory: Inventory) -> Iterator[Objection]:
    """A model without a scheduler has no InferencePool."""
    for group in inventory.groups:
        for member in group.members:
            if split_of(group.settings) != "service" and not has_scheduler(member.entry):
                yield Objection(
                    ("scheduler", "enabled") if "scheduler" in member.entry else ("router",),
                    f"a scheduler, because traffic group {group.name} has split {split_of(group.settings)}",
                    "none",
                    "Turn the scheduler on, or set split to service.",
                    member.index,
                )


@rule("IP-MOD-309", "The path of a group is its own.", INVENTORY)
def group_paths_do_not_clash(inventory: Inventory) -> Iterator[Objection]:
    """Of two routes with one path the older wins, for both."""
    taken = {
        model_path(*subject.key): f"model {subject.entry['name']}"
        for subject in inventory.subjects
        if subject.entry.get("router", {}).get("route", "managed") == "managed"
    }
    for group in inventory.groups:
        path = group_path(group.settings)
        if path in taken:
            yield Objection(
                *_place(group, "path" if "path" in group.settings else "name"),
                "a path that nothing else has",
                f"{show(path)}, also the path of {taken[path]}",
                "Give the group a path of its own in traffic_groups, or rename it.",
                _model_of(group),
            )
        taken.setdefault(path, f"traffic group {group.name}")


@rule("IP-MOD-310", "Names of routes are used once and are not those of KServe.", INVENTORY)
def route_names_are_free(inventory: Inventory) -> Iterator[Objection]:
    """KServe keeps NAME-kserve-route for each model (models.md 3.1)."""
    taken = {
        (subject.entry["namespace"], f"{subject.entry['name']}-kserve-route"): f"model {subject.entry['name']}"
        for subject in inventory.subjects
    }
    named: list[tuple[tuple[str, str], KeyPath, int | None, str]] = [
        ((group.namespace, group.name), *_place(group, "name"), _model_of(group), f"traffic group {group.name}")
        for group in inventory.groups
    ]
    named += [
        ((route["namespace"], route["name"]), ("model_routes", index, "name"), None, f"model_routes[{index}]")
        for index, route in inventory.routes.items()
    ]
    for key, path, model, who in named:
        if key in taken:
            yield Objection(
                path, "a name that no other HTTPRoute has", f"{show(key[1])}, that of {taken[key]}", "Rename it.", model
            )
        taken.setdefault(key, who)


@rule("IP-MOD-311", "A route leads to models that exist.", INVENTORY)
def backends_exist(inventory: Inventory) -> Iterator[Objection]:
    """A backend that names a model gets its Service or pool."""
    for path, route, backend in _backends(inventory):
        if "model" in backend:
            namespace = backend.get("namespace", route["namespace"])
            model = inventory.by_key.get((namespace, backend["model"]))
            if model is None and inventory.is_whole:
                close = close_names(backend["model"], [name for space, name in inventory.by_key if space == namespace])
                meant = f"Did you mean {or_list(close)}? " if close else ""
                yield Objection(
                    (*path, "model"),
                    f"a model of namespace {namespace}",
                    show(backend["model"]),
                    f"{meant}Correct the name, or name a service or pool.",
                )
            elif model and backend.get("through") == "scheduler" and not has_scheduler(model.entry):
                yield Objection(
                    (*path, "through"), "service", "scheduler, which the model does not have", "Remove through."
                )


@rule("IP-MOD-312", "A rule either rewrites, redirects or sends on.", INVENTORY)
def filters_go_together(inventory: Inventory) -> Iterator[Objection]:
    """The Gateway API refuses the rest (models.md 5.1)."""
    for path, one in _rules(inventory):
        for first, second in (("redirect", "rewrite"), ("redirect", "backends")):
            if first in one and one.get(second):
                yield Objection((*path, first), f"{first} or {second}", "both", "Remove one of the two.")
        for change in ("rewrite", "redirect"):
            parts = one.get(change, {})
            if "prefix" in parts and "path" in parts:
                yield Objection((*path, change, "prefix"), "prefix or path", "both", "Remove one of the two.")
            matches = one.get("matches", [])
            by_prefix = [
                item for item in matches if "path" in item and item.get("path_type", "PathPrefix") == "PathPrefix"
            ]
            if "prefix" in parts and not len(matches) == len(by_prefix) == 1:
                yield Objection(
                    (*path, change, "prefix"),
                    "exactly one match, with a path prefix",
                    f"{len(matches)} matches",
                    "Make one rule per path.",
                )


@rule("IP-MOD-313", "Matches of a route are of the kind that the Gateway API takes.", INVENTORY)
def matches_are_valid(inventory: Inventory) -> Iterator[Objection]:
    """Paths, names that are given twice, and how many matches a route may have (models.md 5.1)."""
    for index, route in inventory.routes.items():
        total = sum(len(one.get("matches", [])) for one in route["rules"])
        if total > _MOST_MATCHES_OF_A_ROUTE:
            yield Objection(
                ("model_routes", index, "rules"),
                f"at most {_MOST_MATCHES_OF_A_ROUTE} matches in a route",
                str(total),
                "Make two routes.",
            )
    for path, one in _rules(inventory):
        for position, match in enumerate(one.get("matches", [])):
            place = (*path, "matches", position)
            if match.get("path_type") != "RegularExpression" and not is_plain_path(match.get("path", "/")):
                yield Objection(
                    (*place, "path"), "a path without //, /./, /../, %2f and #", show(match["path"]), "Correct it."
                )
            if "path_type" in match and "path" not in match:
                yield Objection((*place, "path_type"), "path and path_type", "path_type alone", "Add path.")
            yield from _repeated(match, place)
        for change in ("request_headers", "response_headers"):
            yield from _repeated(one.get(change, {}), (*path, change))
    for subject in inventory.subjects:
        yield from (
            Objection(item.path, item.expected, item.found, item.remedy, subject.index)
            for part in ("router", "traffic")
            for item in _repeated(subject.entry.get(part, {}), (part,))
        )


@rule("IP-MOD-314", "No attempt of a route or group takes longer than its request.", INVENTORY)
def timeouts_are_nested(inventory: Inventory) -> Iterator[Objection]:
    """The Gateway API refuses the route (models.md 5.1)."""
    places: list[tuple[KeyPath, Mapping[str, Any]]] = [
        (("traffic_groups", index), settings) for index, settings in inventory.described_groups.items()
    ]
    for path, holder in [*places, *_rules(inventory)]:
        timeouts = holder.get("timeouts", {})
        if not attempts_fit(timeouts):
            yield Objection(
                (*path, "timeouts", "backend_request"),
                f"at most {timeouts['request']}",
                timeouts["backend_request"],
                "Lower it, or raise timeouts.request.",
            )


@rule("IP-MOD-315", f"The route of a group has at most {MOST_RULES} rules.", INVENTORY)
def groups_have_few_rules(inventory: Inventory) -> Iterator[Objection]:
    """A split by header needs the rules once per model."""
    for group in inventory.groups:
        paths = len(group.settings.get("api_paths", API_PATHS))
        split = split_of(group.settings)
        count = {"service": 1, "pool": paths + 1, "header": (paths + 1) * len(group.members)}[split]
        backends = len(group.members) if split != "header" else 1
        if count > MOST_RULES or backends > MOST_RULES:
            yield Objection(
                *_place(group, "split"),
                f"at most {MOST_RULES} rules and models",
                f"{count} rules and {len(group.members)} models",
                "List fewer api_paths in traffic_groups, or make two groups.",
                _model_of(group),
            )


@rule("IP-MOD-316", "Models of a group that are stopped get no share.", INVENTORY, WARNING)
def stopped_members_have_no_share(inventory: Inventory) -> Iterator[Objection]:
    """A stopped model has no Service; its share of the requests is answered with errors."""
    for group in inventory.groups:
        for member in group.members:
            if member.entry.get("state") == "stopped" and weight_of(member.entry):
                yield Objection(
                    ("state",),
                    f"present, or traffic.weight 0, in traffic group {group.name}",
                    "stopped",
                    "Set traffic.weight to 0 while the model is stopped.",
                    member.index,
                )


@rule("IP-MOD-317", "Paths of groups are of the kind that the Gateway API takes.", INVENTORY)
def group_paths_are_plain(inventory: Inventory) -> Iterator[Objection]:
    """No empty, relative or escaped parts, and no slash at the end (models.md 5.1)."""
    for index, settings in inventory.described_groups.items():
        paths: list[tuple[KeyPath, str]] = [(("path",), settings["path"])] if "path" in settings else []
        paths += [(("api_paths", position), path) for position, path in enumerate(settings.get("api_paths", []))]
        for path, value in paths:
            if not is_plain_path(value) or (path == ("path",) and value.endswith("/")):
                yield Objection(
                    ("traffic_groups", index, *path),
                    "a path without //, /./, /../, %2f and #, and without a slash at the end",
                    show(value),
                    "Correct it.",
                )


@rule("IP-MOD-318", "A model is in the group that is meant.", INVENTORY, WARNING)
def groups_are_spelled_alike(inventory: Inventory) -> Iterator[Objection]:
    """A misspelled group is a group of its own: its model gets no share, and has a route that nobody uses."""
    names: dict[tuple[str, str], Group] = {}
    for group in inventory.groups:
        names.setdefault((group.namespace, _letters(group.name)), group)
    alike: dict[tuple[str, str], list[Group]] = {}
    for (namespace, letters), group in names.items():
        for spelling in _spellings(letters):
            alike.setdefault((namespace, spelling), []).append(group)
    for group in inventory.groups:
        if not _is_alone(group):
            continue
        letters = _letters(group.name)
        others = [one for spelling in sorted(_spellings(letters)) for one in alike[group.namespace, spelling]]
        close = next((one for one in others if _letters(one.name) != letters and _is_older(one, group)), None)
        if close:
            yield Objection(
                ("traffic", "group"),
                f"{close.name}, another group of namespace {group.namespace}",
                f"{show(group.name)}, which no other model has",
                f"Did you mean {close.name}? Nothing to do if not; an entry in traffic_groups says so.",
                group.members[0].index,
            )


def _letters(name: str) -> str:
    """A name without dashes and digits; these tell groups apart on purpose."""
    return "".join(filter(str.isalpha, name))


def _spellings(letters: str) -> set[str]:
    """A name with and without one of its letters, doubled letters taken for one; none for a short name."""
    plain = "".join(letter for letter, _ in groupby(letters))
    if len(plain) < _SHORTEST_WITH_SLIPS:
        return set()
    return {plain, *(plain[:place] + plain[place + 1 :] for place in range(len(plain)))}


def _is_alone(group: Group) -> bool:
    """Whether one model alone speaks of a group."""
    return group.index is None and len(group.members) == 1


def _is_older(other: Group, group: Group) -> bool:
    """Whether ``group`` may be a slip for ``other``; of two with one model each, the later one is."""
    return not _is_alone(other) or other.members[0].index < group.members[0].index


def _place(group: Group, key: str) -> tuple[KeyPath]:
    """Where a group is described: in traffic_groups, or by the first of its models."""
    if group.index is None:
        return (("traffic", "group"),)
    return (("traffic_groups", group.index, key),)


def _model_of(group: Group) -> int | None:
    return None if group.index is not None else group.members[0].index


def _entries(group: Group) -> Sequence[Mapping[str, Any]]:
    return [member.entry for member in group.members]


def _rules(inventory: Inventory) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
    for index, route in inventory.routes.items():
        for position, one in enumerate(route["rules"]):
            yield ("model_routes", index, "rules", position), one


def _backends(inventory: Inventory) -> Iterator[tuple[KeyPath, Mapping[str, Any], Mapping[str, Any]]]:
    for path, one in _rules(inventory):
        route = inventory.routes[int(path[1])]
        for position, backend in enumerate(one.get("backends", [])):
            yield (*path, "backends", position), route, backend
        if "mirror" in one:
            yield (*path, "mirror"), route, one["mirror"]


def _is_pool(backend: Mapping[str, Any], route: Mapping[str, Any], inventory: Inventory) -> bool:
    if "pool" in backend or backend.get("kind") == "InferencePool":
        return True
    if "model" not in backend or backend.get("through") == "service":
        return False
    key = backend.get("namespace", route["namespace"]), backend["model"]
    return key in inventory.by_key and has_scheduler(inventory.by_key[key].entry)


def _repeated(match: Mapping[str, Any], path: KeyPath) -> Iterator[Objection]:
    for key in ("headers", "query_params", "set", "add"):
        names = Counter(item["name"] if key == "query_params" else item["name"].lower() for item in match.get(key, []))
        for name, count in names.items():
            if count > 1:
                yield Objection((*path, key), "each name once", f"{name} {count} times", "Remove all but one.")
