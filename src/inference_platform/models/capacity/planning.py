"""The answer for every model: it fits, it fits after stopping others, or it does not and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference_platform.models.capacity.demand import Demand, Key, Needs, PodSet, of_objects
from inference_platform.models.capacity.nodes import (
    Node,
    RunningPod,
    Snapshot,
    shortage,
    snapshot,
    stays,
    used_by,
)
from inference_platform.models.capacity.packing import Packing, Place, Requests, Room, by_node, device_of
from inference_platform.models.capacity.resources import BASIC, CPU
from inference_platform.models.capacity.stopping import Missing, Search

FITS = "fits"
AFTER_STOPPING = "fits after stopping"
DOES_NOT_FIT = "does not fit"

Holdings = dict[Key, list[tuple[int, Requests]]]


@dataclass(frozen=True)
class Obstacle:
    """Why some nodes take no (further) pod. ``lasting``: not even when empty. ``holders``: who has what is missing."""

    reason: str
    nodes: tuple[str, ...]
    lasting: bool
    holders: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetPlan:
    """Places of the pods of one role, and replicas without one.

    ``impossible``: not one replica fits, even on the empty cluster. ``surge_room`` is the
    number of pods for which there is room beside all others, up to what a rollout starts.
    """

    pods: PodSet
    places: tuple[Place, ...]
    missing: int
    impossible: bool
    surge_room: int
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True)
class ModelPlan:
    """The answer for one model. ``stop`` names models when the answer is to stop some."""

    model: Key
    answer: str
    sets: tuple[SetPlan, ...]
    stop: tuple[Key, ...] = ()
    not_judged: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """Where its pods go."""
        return tuple(place for item in self.sets for place in item.places)

    @property
    def missing(self) -> int:
        """Replicas without a place."""
        return sum(item.missing for item in self.sets)

    @property
    def runs(self) -> bool:
        """Whether pods of it run now."""
        return any(place.running for place in self.places)


@dataclass(frozen=True)
class CapacityPlan:
    """Answers in the order of the models, the nodes, and what is left on them by node and resource."""

    models: tuple[ModelPlan, ...]
    nodes: tuple[Node, ...]
    left: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether all models fit side by side."""
        return all(model.answer == FITS for model in self.models)


def plan(
    objects: Iterable[Mapping[str, Any]], nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]
) -> CapacityPlan:
    """A plan for the LLMInferenceServices among rendered objects, on the nodes and beside the pods of a cluster."""
    return plan_demands(of_objects(objects), snapshot(nodes, pods))


def plan_demands(demands: Sequence[Demand], seen: Snapshot) -> CapacityPlan:
    """Pods that run stay where they are; then the rest is packed around them."""
    return _Planner(demands, seen).plan()


@dataclass(frozen=True)
class _Answer:
    """Which models to stop for what a model misses."""

    model: Key
    missing: Sequence[Missing]
    stop: tuple[Key, ...] | None


class _Planner:
    def __init__(self, demands: Sequence[Demand], seen: Snapshot) -> None:
        self._demands = demands
        self._position = {demand.model: index for index, demand in enumerate(demands)}
        self._room = Room(seen.nodes)
        self._others = [pod for pod in seen.pods if pod.model not in self._position]
        self._packing = Packing(self._room)
        self._holdings: Holdings = {}
        self._holders: dict[str, list[tuple[str, Mapping[str, int]]]] = {}
        self._stops: dict[Key, tuple[Key, ...] | None] = {}
        self._told: dict[tuple[Needs, int], tuple[Obstacle, ...]] = {}
        self._possible: dict[tuple[Any, ...], bool] = {}
        self._own: dict[tuple[Key, str], list[RunningPod]] = {}
        for pod in seen.pods:
            if pod.model in self._position:
                self._own.setdefault((pod.model, pod.role), []).append(pod)

    def plan(self) -> CapacityPlan:
        for node, used in used_by(self._others).items():
            if node in self._room.position:
                self._room.take(self._room.position[node], used.items())
        for demand in sorted(self._demands, key=lambda demand: demand.model):
            for pods in demand.sets:
                self._keep_running(pods)
        self._packing.add(self._demands)
        self._note_holdings()
        self._find_stops()
        models = tuple(self._answer(demand) for demand in self._demands)
        resources = sorted({resource for node in self._room.nodes for resource in node.total})
        left = {node.name: self._room.free_amounts(index, resources) for index, node in enumerate(self._room.nodes)}
        return CapacityPlan(models, self._room.nodes, left)

    def _keep_running(self, pods: PodSet) -> None:
        """Replicas whose pods run as they are wanted stay; others are placed anew, as a rollout does."""
        groups: dict[str, list[RunningPod]] = {}
        for pod in self._own.get((pods.model, pods.role), []):
            groups.setdefault(pod.group if pod.group is not None else f"{pod.node}/{pod.name}", []).append(pod)
        replica = 0
        for name in sorted(groups):
            running = sorted(groups[name], key=lambda pod: pod.name)
            if replica < pods.replicas and self._as_wanted(running, pods.pods):
                self._packing.keep(pods, replica, [self._room.position[pod.node] for pod in running])
                replica += 1

    def _as_wanted(self, running: Sequence[RunningPod], wanted: Sequence[Needs]) -> bool:
        if len(running) != len(wanted):
            return False
        taken: list[tuple[int, Requests]] = []
        for pod, needs in zip(running, wanted, strict=True):
            index = self._room.position.get(pod.node)
            if (
                index is None
                or _devices(pod.requests) != _devices(dict(needs.requests))
                or not stays(self._room.nodes[index], needs)
                or not self._room.fits(index, needs)
            ):
                break
            self._room.take(index, needs.requests)
            taken.append((index, needs.requests))
        for index, requests in taken:
            self._room.give(index, requests)
        return len(taken) == len(wanted)

    def _note_holdings(self) -> None:
        """Who holds what: models by all their pods, for stopping; everything by node, for telling."""
        for model, places in self._packing.places.items():
            self._holdings[model] = list(by_node(self._room, places))
            for place in places:
                self._holders.setdefault(place.node, []).append((_name(model), dict(place.needs.requests)))
        for pod in self._others:
            index = self._room.position.get(pod.node)
            if index is None:
                continue
            if pod.model is not None:
                self._holdings.setdefault(pod.model, []).append((index, tuple(pod.requests.items())))
            holder = _name(pod.model) if pod.model is not None else f"pod {pod.namespace}/{pod.name}"
            self._holders.setdefault(pod.node, []).append((holder, pod.requests))

    def _answer(self, demand: Demand) -> ModelPlan:
        sets = tuple(self._set_plan(pods) for pods in demand.sets)
        if not any(item.missing for item in sets):
            return ModelPlan(demand.model, FITS, sets, not_judged=demand.not_judged)
        stop = self._stops.get(demand.model)
        answer = DOES_NOT_FIT if stop is None else AFTER_STOPPING
        return ModelPlan(demand.model, answer, sets, stop or (), demand.not_judged)

    def _set_plan(self, pods: PodSet) -> SetPlan:
        places = tuple(place for place in self._packing.places.get(pods.model, []) if place.role == pods.role)
        missing = self._packing.missing(pods)
        hardest = pods.hardest
        surge = min(pods.surge_pods, self._room.slots(hardest, self._room.eligible(hardest))) if pods.surge else 0
        return SetPlan(
            pods=pods,
            places=tuple(sorted(places, key=lambda place: (place.replica, place.pod))),
            missing=missing,
            impossible=bool(missing) and not self._is_possible(pods),
            surge_room=surge,
            obstacles=self._obstacles(pods) if missing else (),
        )

    def _is_possible(self, pods: PodSet) -> bool:
        """Whether one replica fits on the empty cluster."""
        kind = (pods.pods, pods.exclusive_topology)
        if kind not in self._possible:
            self._possible[kind] = Room(self._room.nodes).place_replica(pods) is not None
        return self._possible[kind]

    def _find_stops(self) -> None:
        """What to stop for each model that does not fit, the least demanding first: its answer may do for others."""
        waiting = []
        for demand in self._demands:
            missing = [Missing(pods, self._packing.missing(pods)) for pods in demand.sets]
            missing = [item for item in missing if item.replicas]
            if missing and all(self._is_possible(item.pods) for item in missing):
                waiting.append((demand.model, missing))
        known: dict[tuple[Any, ...], list[_Answer]] = {}
        for model, missing in sorted(waiting, key=lambda item: [part.pods.hardest.requests for part in item[1]]):
            answers = known.setdefault(_kind(missing), [])
            search = Search(model, missing, self._room, self._holdings)
            earlier = next((answer for answer in answers if self._does_for(answer, model, missing, search)), None)
            if earlier is not None:
                self._stops[model] = earlier.stop
            else:
                self._stops[model] = search.smallest(self._stopping_order)
                answers.append(_Answer(model, missing, self._stops[model]))

    def _does_for(self, answer: _Answer, model: Key, missing: Sequence[Missing], search: Search) -> bool:
        """Whether the answer for a model that asks for no more is the smallest for this one as well.

        If it is enough, only stopping the other model itself, which it could not propose, may be better.
        """
        if model in (answer.stop or ()) or not _at_most(answer.missing, missing):
            return False
        other_may_help = bool(self._holdings.get(answer.model))
        if answer.stop is None:
            return not other_may_help
        if len(answer.stop) > 1 and other_may_help and (len(answer.stop) > 2 or search.enough((answer.model,))):
            return False
        return search.enough(answer.stop)

    def _stopping_order(self, model: Key) -> tuple[object, ...]:
        """Which model is rather stopped: one that is not listed, then the smallest, then the last one listed."""
        devices = sum(count for _, requests in self._holdings[model] for count in _devices(dict(requests)).values())
        return model in self._position, devices, -self._position.get(model, 0), model

    def _obstacles(self, pods: PodSet) -> tuple[Obstacle, ...]:
        """The same for all sets with equal pods, since nothing is placed any more."""
        needs, size = pods.hardest, len(pods.pods)
        if (needs, size) not in self._told:
            room = self._room
            busy: dict[str, list[int]] = {}
            for index in room.eligible(needs):
                busy.setdefault(self._shortage(index, needs, size), []).append(index)
            self._told[needs, size] = (
                *(Obstacle(reason, self._names(indices), True) for reason, indices in room.refused(needs).items()),
                *(
                    Obstacle(reason, self._names(indices), False, self._holders_of(indices, needs))
                    for reason, indices in sorted(busy.items())
                ),
            )
        return self._told[needs, size]

    def _shortage(self, index: int, needs: Needs, size: int) -> str:
        free = self._room.free_amounts(index, [resource for resource, _ in needs.requests])
        room = self._room.slots(needs, [index])
        return shortage(free, needs) or f"room for {room} of the {size} pods of a group"

    def _names(self, indices: Iterable[int]) -> tuple[str, ...]:
        return tuple(self._room.nodes[index].name for index in indices)

    def _holders_of(self, indices: Iterable[int], needs: Needs) -> tuple[str, ...]:
        """Who has the devices that the pods need, or else the CPUs, most first."""
        resource = device_of(needs) or CPU
        held: dict[str, int] = {}
        for index in indices:
            for holder, requests in self._holders.get(self._room.nodes[index].name, []):
                if requests.get(resource):
                    held[holder] = held.get(holder, 0) + requests[resource]
        return tuple(sorted(held, key=lambda holder: (-held[holder], holder)))


def _kind(missing: Sequence[Missing]) -> tuple[Any, ...]:
    """What must be equal so that one answer may do for another model: everything but CPU, memory and the like."""
    return tuple(
        (
            item.replicas,
            item.pods.exclusive_topology,
            *(
                (pod.selector, pod.tolerations, pod.affinity, *_devices(dict(pod.requests)).items())
                for pod in item.pods.pods
            ),
        )
        for item in missing
    )


def _at_most(one: Sequence[Missing], other: Sequence[Missing]) -> bool:
    """Whether no pod of the first asks for more of anything than that of the second."""
    return all(
        count <= theirs.asks(resource)
        for mine, item in zip(one, other, strict=True)
        for pod, theirs in zip(mine.pods.pods, item.pods.pods, strict=True)
        for resource, count in pod.requests
    )


def _devices(requests: Mapping[str, int]) -> Mapping[str, int]:
    return {resource: count for resource, count in requests.items() if resource not in BASIC and count}


def _name(model: Key) -> str:
    return "/".join(model)
