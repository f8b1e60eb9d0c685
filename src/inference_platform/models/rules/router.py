"""Rules about how one model is reached."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from inference_platform.findings import WARNING, show
from inference_platform.models.routes import API_PATHS
from inference_platform.models.rules.engine import Objection
from inference_platform.models.rules.registry import rule
from inference_platform.models.subjects import Subject
from inference_platform.schema import inlined_schema

MOST_RULES = 16

# What a scheduler reads that the model does not bring itself.
_OF_ANY_SCHEDULER = ("objectives", "model_rewrites")

# Of a managed route; a route of one's own says these itself.
_OF_THE_MANAGED_ROUTE = ("hostnames", "headers", "query_params", "timeouts", "api_paths", "other_paths")
_FACTORS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_FORBIDDEN_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F", "#")


@rule("IP-MOD-109", "A model with routes of its own has no managed route.", catches=("mistake 9", "admission 5"))
def own_routes_replace_the_managed_one(subject: Subject) -> Iterator[Objection]:
    """KServe takes references to routes or the spec of one, not both."""
    router = subject.entry.get("router", {})
    route = router.get("route", "managed")
    if route == "own" and not router.get("routes"):
        yield Objection(("router", "route"), "the names of the routes", "none", "Add router.routes.")
    if route != "own" and "routes" in router:
        yield Objection(
            ("router", "routes"),
            "route: own with routes",
            f"route: {route}",
            "Set router.route to own, or remove routes.",
        )
    if route != "managed":
        for key in _OF_THE_MANAGED_ROUTE:
            if key in router:
                yield Objection(
                    ("router", key),
                    f"no {key} with route: {route}",
                    "both",
                    f"Remove it; only managed routes have {key}.",
                )


@rule("IP-MOD-110", "A model with a scheduler has a route.", catches=("mistake 10",))
def schedulers_have_a_route(subject: Subject) -> Iterator[Objection]:
    """Without a route nobody asks for the pool, and the model is never Ready (models.md 1.6)."""
    router = subject.entry.get("router", {})
    if router.get("route", "managed") != "none":
        return
    for path, wanted in (
        (("scheduler",), "scheduler" in subject.entry and subject.entry["scheduler"].get("enabled", True)),
        (("router", "pool"), "pool" in router),
        (("router", "gateways"), "gateways" in router),
    ):
        if wanted:
            yield Objection(
                path,
                "a route to the model",
                "route: none",
                f"Remove router.route, or {'.'.join(path)}.",
            )


@rule("IP-MOD-019", "A pool of one's own comes with its own scheduler.")
def own_pools_have_own_schedulers(subject: Subject) -> Iterator[Objection]:
    """KServe makes no scheduler for a pool that it did not make (models.md 1.2); objectives are read by any."""
    if "pool" not in subject.entry.get("router", {}):
        return
    settings = inlined_schema("model")["properties"]["scheduler"]["properties"]
    for key, value in subject.entry.get("scheduler", {}).items():
        if key not in _OF_ANY_SCHEDULER and value != settings[key].get("default"):
            yield Objection(
                ("scheduler", key),
                "no settings of a scheduler of the model's own with router.pool",
                f"{key} and router.pool",
                f"Remove {key}; the pool's own scheduler is used.",
            )


@rule("IP-MOD-302", "No attempt may take longer than its request.")
def timeouts_are_nested(subject: Subject) -> Iterator[Objection]:
    """The Gateway API refuses the route (models.md 5.1)."""
    timeouts = subject.entry.get("router", {}).get("timeouts", {})
    if not attempts_fit(timeouts):
        yield Objection(
            ("router", "timeouts", "backend_request"),
            f"at most {timeouts['request']}",
            timeouts["backend_request"],
            "Lower it, or raise timeouts.request.",
        )


@rule("IP-MOD-303", "Paths are of the kind that the Gateway API takes.")
def paths_are_plain(subject: Subject) -> Iterator[Objection]:
    """No empty, relative or escaped parts (models.md 5.1)."""
    router = subject.entry.get("router", {})
    for key in ("api_paths", "other_paths"):
        paths = router.get(key, [])
        for index, path in enumerate(paths if isinstance(paths, list) else []):
            if not is_plain_path(path):
                yield Objection(
                    ("router", key, index), "a path without //, /./, /../, %2f and #", show(path), "Correct it."
                )


@rule("IP-MOD-304", f"A route has at most {MOST_RULES} rules.", catches=())
def managed_routes_have_few_rules(subject: Subject) -> Iterator[Objection]:
    """One rule per path, and one for the rest."""
    router = subject.entry.get("router", {})
    others = router.get("other_paths", "all")
    count = len(router.get("api_paths", API_PATHS)) + (len(others) if isinstance(others, list) else 1)
    if count > MOST_RULES:
        yield Objection(
            ("router", "other_paths"), f"at most {MOST_RULES} paths together", str(count), "List fewer paths."
        )


@rule("IP-MOD-305", "The address of a model is that of its path.", severity=WARNING)
def narrowed_routes_change_the_address(subject: Subject) -> Iterator[Objection]:
    """KServe reads the address from the shortest path that leads to the Service (models.md 1.6)."""
    router = subject.entry.get("router", {})
    if router.get("other_paths", "all") != "all" and "override" not in subject.entry:
        yield Objection(
            ("router", "other_paths"),
            f"/{subject.entry['namespace']}/{subject.entry['name']} as the path in status.url",
            "a path that the route no longer has",
            "Nothing to do; clients use the path above, whatever status.url says.",
        )


def attempts_fit(timeouts: Mapping[str, Any]) -> bool:
    """Whether backend_request is not above request; a request of 0s has no limit."""
    if "request" not in timeouts or "backend_request" not in timeouts:
        return True
    whole, attempt = seconds_of(timeouts["request"]), seconds_of(timeouts["backend_request"])
    return whole == 0 or attempt <= whole


def seconds_of(duration: str) -> float:
    """A duration of the Gateway API in seconds."""
    return sum(float(number) * _FACTORS[unit] for number, unit in re.findall(r"([0-9]+)(ms|h|m|s)", duration))


def is_plain_path(path: str) -> bool:
    """Whether the Gateway API takes a path as Exact or PathPrefix."""
    return (
        len(path) <= 1024
        and not any(part in path for part in _FORBIDDEN_IN_PATHS)
        and not path.endswith(("/..", "/."))
        and re.fullmatch(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+", path) is not None
    )
