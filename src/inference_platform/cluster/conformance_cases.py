"""What the conformance profiles are run on: the models, groups and objectives of an inventory.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from inference_platform.cluster.immutable import KIND
from inference_platform.cluster.objects import Object
from inference_platform.cluster.smoke import Subject
from inference_platform.models import labels
from inference_platform.models.routes import pool_name, service_name

Key = tuple[str, str]
#: Scorers of an endpoint picker that look at what a prompt begins with.
PREFIX_SCORERS = ("prefix-cache-scorer", "precise-prefix-cache-scorer")
_API_PATH = "/v1/completions"


@dataclass(frozen=True)
class Case:
    """One row: what is asked where.

    placeholders  texts for the names in braces
    headers       go with each request
    shares        the models (namespace, name) whose pods answer, and the part of the requests (0 to 1) each gets
    skip          why nothing is asked
    """

    name: str
    url: str
    placeholders: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    shares: Mapping[Key, float] = field(default_factory=dict)
    skip: str = ""


class Cases:
    """Finds the cases of a profile among rendered objects and the subjects that stand for their models."""

    def __init__(self, objects: Iterable[Object], subjects: Sequence[Subject]) -> None:
        self._objects = list(objects)
        self._models = {_key(item): item for item in self._objects if item["kind"] == KIND}
        self._cases = {_split(subject.model): _case(subject) for subject in subjects}
        self._kinds: dict[str, Callable[[], Iterator[Case]]] = {
            "models": lambda: iter(self._cases.values()),
            "prefix_cache": self._with_prefix_cache,
            "prefill": self._with_prefill,
            "groups": self._groups,
            "objectives": self._objectives,
        }

    def of(self, applies: str) -> list[Case]:
        """The cases of a profile, by what it applies to (catalog/conformance.yml)."""
        return list(self._kinds[applies]())

    def _with_prefix_cache(self) -> Iterator[Case]:
        for key, case in self._cases.items():
            spec = self._models[key]["spec"]
            if _picker_plugins(spec) & set(PREFIX_SCORERS) and spec.get("replicas", 1) > 1:
                yield case

    def _with_prefill(self) -> Iterator[Case]:
        return (case for key, case in self._cases.items() if "prefill" in self._models[key]["spec"])

    def _objectives(self) -> Iterator[Case]:
        for item in self._objects:
            if item["kind"] == "InferenceObjective":
                namespace, name = _key(item)
                owner = namespace, item["metadata"]["labels"][labels.MODEL]
                if owner in self._cases:
                    case = self._cases[owner]
                    texts = {**case.placeholders, "objective": name}
                    priority = item["spec"].get("priority", 0)
                    yield replace(case, name=f"{namespace}/{name} ({priority})", placeholders=texts)

    def _groups(self) -> Iterator[Case]:
        for item in self._objects:
            group = (item["metadata"].get("labels") or {}).get(labels.GROUP)
            if item["kind"] == "HTTPRoute" and group:
                yield from self._of_route(item)

    def _of_route(self, route: Object) -> Iterator[Case]:
        """A case for each set of headers that the rules ask for."""
        namespace, name = _key(route)
        backends = {
            backend: key
            for key in self._cases
            if key[0] == namespace
            for backend in (service_name(key[1]), pool_name(key[1]))
        }
        rules = route["spec"]["rules"]
        base = min((_path(rule) for rule in rules), key=len)
        for headers in dict.fromkeys(tuple(_headers(rule).items()) for rule in rules):
            rule = max(
                (
                    rule
                    for rule in rules
                    if tuple(_headers(rule).items()) == headers and f"{base}{_API_PATH}".startswith(_path(rule))
                ),
                key=lambda rule: len(_path(rule)),
            )
            weights = {
                backends[item["name"]]: item.get("weight", 1)
                for item in rule["backendRefs"]
                if item["name"] in backends and item.get("weight", 1)
            }
            if weights:
                yield self._of_group(f"{namespace}/{name}", base, dict(headers), weights)

    def _of_group(self, name: str, base: str, headers: Mapping[str, str], weights: Mapping[Key, int]) -> Case:
        members = [self._cases[key] for key in weights]
        parts = urlsplit(next((member.url for member in members if member.url), ""))
        marked = f" [{', '.join(f'{key}: {value}' for key, value in headers.items())}]" if headers else ""
        return Case(
            name=f"{name}{marked}",
            url=f"{parts.scheme}://{parts.netloc}{base}" if parts.netloc else "",
            placeholders=members[0].placeholders,
            headers=headers,
            shares={key: weight / sum(weights.values()) for key, weight in weights.items()},
            skip=next((member.skip for member in members if member.skip), ""),
        )


def _case(subject: Subject) -> Case:
    return Case(
        subject.model, subject.url, {"model": subject.served_name}, {}, {_split(subject.model): 1.0}, subject.skip
    )


def _split(model: str) -> Key:
    namespace, _, name = model.partition("/")
    return namespace, name


def _key(item: Object) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _picker_plugins(spec: Mapping[str, Any]) -> set[str]:
    scheduler = (spec.get("router") or {}).get("scheduler") or {}
    inline = (scheduler.get("config") or {}).get("inline") or {}
    return {plugin["type"] for plugin in inline.get("plugins") or []}


def _path(rule: Mapping[str, Any]) -> str:
    return str(rule["matches"][0]["path"]["value"])


def _headers(rule: Mapping[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in rule["matches"][0].get("headers") or []}
