"""Which objects a run acts on when it is told the names of some models.

Those of these models, their namespaces, and the routes that lead to them and to others, as far as that leads no
request to a model that is not there.  Objects belong to a model by the label `inference-platform.io/model` and their
namespace; an id is "namespace/name".  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from inference_platform.cluster import objects
from inference_platform.cluster.immutable import KIND
from inference_platform.cluster.objects import Object, Ref
from inference_platform.models import labels
from inference_platform.models.choice import means
from inference_platform.models.routes import models_behind

_ROUTE, _GRANT = "HTTPRoute", "ReferenceGrant"


@dataclass(frozen=True)
class Selection:
    """Objects to act on, in the order they were in; notes on routes that would have to change and are left alone."""

    objects: list[Object]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What the user asked for, beside the inventory.

    only      names or ids of the models to act on; empty: all
    prune     whether models that the inventory no longer lists are removed
    removals  how many models may be removed at once; None: the built-in limit, -1: any number
    absent    ids that the inventory itself wants removed: they count for no limit
    recreate  names or ids of models that may be deleted and made anew when they cannot be changed
    move      names or ids of models that shall go over to the presets of the release
    presets   what the names of these presets begin with
    """

    only: frozenset[str] = frozenset()
    prune: bool = True
    removals: int | None = None
    absent: frozenset[str] = frozenset()
    recreate: frozenset[str] = frozenset()
    move: frozenset[str] = frozenset()
    presets: str = ""

    def covers(self, model: str | None) -> bool:
        """Whether this id is to be acted on; None, which is no model, only where all are."""
        return not self.only or (model is not None and means(self.only, model))

    def of(self, wanted: Sequence[Object], there: Iterable[Object] = ()) -> Selection:
        """What of the ``wanted`` objects is to be acted on, given the objects of this installer that are ``there``."""
        if not self.only:
            return Selection(list(wanted))
        found = {Ref.of(obj): obj for obj in there}
        routes = _Routes(self, wanted, found)
        chosen = {Ref.of(obj) for obj in wanted if (model := model_of(obj)) and self.covers(model)} | routes.taken
        spaces = {ref.namespace for ref in chosen}
        chosen |= {ref for obj in wanted if (ref := Ref.of(obj)).kind == "Namespace" and ref.name in spaces}
        return Selection([obj for obj in wanted if Ref.of(obj) in chosen], tuple(routes.notes))


class _Routes:
    """Routes that are of no single model: those to take, with their grants, and notes on the others."""

    def __init__(self, choice: Choice, wanted: Sequence[Object], there: Mapping[Ref, Object]) -> None:
        self.taken: set[Ref] = set()
        self.notes: list[str] = []
        self._choice, self._wanted, self._there = choice, wanted, there
        listed = {Ref.of(obj).place for obj in wanted if obj["kind"] == KIND}
        self._lacking = {place for place in listed if not choice.covers(place)}
        self._lacking -= {ref.place for ref in there if ref.kind == KIND}
        shared = {Ref.of(obj): obj for obj in wanted if _is_shared_route(obj)}
        for ref, route in shared.items():
            self._look_at(ref, route)
        for ref, live in there.items():
            if ref not in shared and _is_shared_route(live) and (to := self._chosen(live)):
                self.notes.append(
                    f"{ref} leads to {to} and is no longer in the inventory. A run without only removes it."
                )

    def _look_at(self, ref: Ref, route: Object) -> None:
        live = self._there.get(ref)
        if not (self._chosen(route) or (live and self._chosen(live))):
            return
        lacking = sorted(self._lacking & models_behind(route))
        if not lacking:
            self.taken |= {ref, *self._grants(route)}
        elif live is None or objects.stamp_of(live) != objects.stamp_of(objects.prepare(route)):
            self.notes.append(
                f"{ref} is left as it is, because it would also lead to {', '.join(lacking)}, not yet there. "
                "Name these in only as well, or run without it."
            )

    def _chosen(self, route: Object) -> str:
        """The models to act on that a route leads to, as text."""
        return ", ".join(sorted(model for model in models_behind(route) if self._choice.covers(model)))

    def _grants(self, route: Object) -> Iterator[Ref]:
        name, namespace = _label(route, labels.ROUTE), route["metadata"].get("namespace")
        grants = [obj for obj in self._wanted if obj["kind"] == _GRANT] if name else []
        for obj in grants:
            spaces = {source.get("namespace") for source in obj["spec"]["from"]}
            if _label(obj, labels.ROUTE) == name and namespace in spaces:
                yield Ref.of(obj)


def model_of(obj: Mapping[str, object]) -> str | None:
    """The id of the model that an object belongs to."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    name = (metadata.get("labels") or {}).get(labels.MODEL)
    return f"{metadata.get('namespace', '')}/{name}" if name else None


def _is_shared_route(obj: Object) -> bool:
    return obj["kind"] == _ROUTE and model_of(obj) is None


def _label(obj: Object, name: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(name, ""))
