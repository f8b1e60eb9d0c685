"""Put pods on nodes. Best fit, hardest pods first, groups as a whole; the same input gives the same places.

Packing is a hard problem, and this is a heuristic: what it places does fit, and what it
does not place might still fit with a cleverer arrangement.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_platform.models.capacity.demand import Demand, Key, Needs, PodSet
from inference_platform.models.capacity.nodes import Node, label_keys, refusal
from inference_platform.models.capacity.resources import BASIC, CPU

Requests = Iterable[tuple[str, int]]

#: reason -> positions of nodes
Refusals = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Place:
    """Where one pod goes: the role and number of its replica, its number in the group, the node.

    ``running`` means that it runs there already.
    """

    role: str
    replica: int
    pod: int
    node: str
    needs: Needs
    running: bool = False


class Room:
    """What is free on each node. Nodes are addressed by their position."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        self.position = {node.name: index for index, node in enumerate(nodes)}
        self._columns: dict[str, list[float]] = {}
        self._totals = [tuple(sorted(node.total.items())) for node in nodes]
        self._alike: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
        self._sorted: dict[Needs, tuple[tuple[int, ...], Refusals]] = {}
        self._has_devices = [any(count for name, count in node.total.items() if name not in BASIC) for node in nodes]
        #: (label, value) -> the model whose group has it for itself. Replaced when it changes, never changed in place.
        self.domains: dict[tuple[str, str], Key] = {}

    def free(self, index: int, resource: str) -> float:
        """What is left of a resource on a node: infinity when the node does not say how much it has."""
        return self.column(resource)[index]

    def free_amounts(self, index: int, resources: Iterable[str]) -> dict[str, int | None]:
        """What is left of some resources; None stands for unknown."""
        left = {resource: self.free(index, resource) for resource in resources}
        return {resource: None if math.isinf(count) else int(count) for resource, count in left.items()}

    def take(self, index: int, requests: Requests) -> None:
        """Occupy part of a node. It may be occupied beyond what it has."""
        for resource, count in requests:
            self.column(resource)[index] -= count

    def give(self, index: int, requests: Requests) -> None:
        """Undo ``take``."""
        for resource, count in requests:
            self.column(resource)[index] += count

    def fits(self, index: int, needs: Needs) -> bool:
        """Whether there is room for one more such pod; not whether it may go there."""
        return all(self.column(resource)[index] >= count for resource, count in needs.requests)

    def eligible(self, needs: Needs) -> tuple[int, ...]:
        """Nodes to which such a pod may go when they are empty, in order."""
        return self._sort(needs)[0]

    def refused(self, needs: Needs) -> Refusals:
        """Nodes to which it may never go, by reason."""
        return self._sort(needs)[1]

    def best(self, needs: Needs, among: Sequence[int] | None = None) -> int | None:
        """The node with room that is left with the least; pods without devices keep off nodes that have some."""
        fitting = list(self.eligible(needs) if among is None else among)
        for resource, count in needs.requests:
            column = self.column(resource)
            fitting = [index for index in fitting if column[index] >= count]
        if not fitting:
            return None
        device = device_of(needs)
        if device is None:
            free = self.column(CPU)
            return min(fitting, key=lambda index: (self._has_devices[index], free[index]))
        return min(fitting, key=self.column(device).__getitem__)

    def slots(self, needs: Needs, among: Iterable[int]) -> int:
        """How many such pods there is room for on the given nodes."""
        columns = [(self.column(resource), count) for resource, count in needs.requests]
        total = 0.0
        for index in among:
            total += max(0, min((column[index] // count for column, count in columns), default=0))
        return int(min(total, 10**9))

    def place_replica(self, pods: PodSet) -> list[int] | None:
        """Nodes for all pods of one more replica, taken; None, and nothing taken, if it does not fit as a whole."""
        if pods.exclusive_topology is None:
            return self._take_group(pods.pods, None)
        return self._place_in_a_domain(pods, pods.exclusive_topology)

    def claim_domain(self, pods: PodSet, indices: Sequence[int]) -> None:
        """Note that a group on these nodes has its topology domain for itself."""
        label = pods.exclusive_topology
        value = self.nodes[indices[0]].labels.get(label) if label is not None else None
        if label is not None and value is not None:
            self.domains = {**self.domains, (label, value): pods.model}

    def release_domains(self, models: Collection[Key]) -> None:
        """Forget which domains the groups of some models have."""
        if self.domains:
            self.domains = {domain: model for domain, model in self.domains.items() if model not in models}

    def _place_in_a_domain(self, pods: PodSet, label: str) -> list[int] | None:
        eligible: dict[str, list[int]] = {}
        for index in self.eligible(pods.hardest):
            value = self.nodes[index].labels.get(label)
            if value is not None and (label, value) not in self.domains:
                eligible.setdefault(value, []).append(index)
        for value in sorted(eligible, key=lambda value: (self.slots(pods.hardest, eligible[value]), value)):
            taken = self._take_group(pods.pods, eligible[value])
            if taken is not None:
                return taken
        return None

    def _take_group(self, pods: Sequence[Needs], among: Sequence[int] | None) -> list[int] | None:
        taken: list[int] = []
        for needs in pods:
            index = self.best(needs, among)
            if index is None:
                for earlier, given in zip(taken, pods, strict=False):
                    self.give(earlier, given.requests)
                return None
            self.take(index, needs.requests)
            taken.append(index)
        return taken

    def _sort(self, needs: Needs) -> tuple[tuple[int, ...], Refusals]:
        known = self._sorted.get(needs)
        if known is None:
            eligible: list[int] = []
            refused: dict[str, list[int]] = {}
            for alike in self._alike_for(needs):
                reason = refusal(self.nodes[alike[0]], needs)
                (eligible if reason is None else refused.setdefault(reason, [])).extend(alike)
            reasons = {reason: tuple(sorted(indices)) for reason, indices in sorted(refused.items())}
            known = self._sorted[needs] = tuple(sorted(eligible)), reasons
        return known

    def _alike_for(self, needs: Needs) -> list[tuple[int, ...]]:
        """Nodes in groups whose members give the same answer to such a pod."""
        keys = tuple(sorted(label_keys(needs)))
        known = self._alike.get(keys)
        if known is None:
            groups: dict[tuple[Any, ...], list[int]] = {}
            for index, node in enumerate(self.nodes):
                labels = tuple(node.label(key) for key in keys)
                groups.setdefault((node.problem, node.taints, self._totals[index], labels), []).append(index)
            known = self._alike[keys] = [tuple(indices) for indices in groups.values()]
        return known

    def column(self, resource: str) -> list[float]:
        """What is left of a resource on each node. The list itself, so that a change counts."""
        column = self._columns.get(resource)
        if column is None:
            totals = (node.has(resource) for node in self.nodes)
            column = self._columns[resource] = [math.inf if total is None else total for total in totals]
        return column


class Packing:
    """Pods of models on nodes: what was placed, by model, and what was not."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.places: dict[Key, list[Place]] = {}

    def keep(self, pods: PodSet, replica: int, indices: Sequence[int]) -> None:
        """Note a replica that runs: its nodes are taken."""
        for index, needs in zip(indices, pods.pods, strict=True):
            self.room.take(index, needs.requests)
        self._note(pods, replica, indices, running=True)

    def add(self, demands: Sequence[Demand]) -> None:
        """Place what does not run yet: models that fit as a whole first, then what is possible of the others."""
        ordered = sorted(demands, key=self._difficulty)
        partly = [demand for demand in ordered if not self._add_whole(demand)]
        for demand in partly:
            for pods in self._sets(demand):
                self._add_set(pods)

    def missing(self, pods: PodSet) -> int:
        """Replicas without a place."""
        return pods.replicas - len(self._replicas(pods))

    def _add_whole(self, demand: Demand) -> bool:
        before, domains = list(self.places.get(demand.model, [])), self.room.domains
        if all(self._add_set(pods) for pods in self._sets(demand)):
            return True
        for place in self.places.get(demand.model, [])[len(before) :]:
            self.room.give(self.room.position[place.node], place.needs.requests)
        self.places[demand.model], self.room.domains = before, domains
        return False

    def _add_set(self, pods: PodSet) -> bool:
        taken = self._replicas(pods)
        for replica in range(pods.replicas):
            if replica not in taken:
                indices = self.room.place_replica(pods)
                if indices is None:
                    return False
                self._note(pods, replica, indices, running=False)
        return True

    def _note(self, pods: PodSet, replica: int, indices: Sequence[int], *, running: bool) -> None:
        places = self.places.setdefault(pods.model, [])
        names = [self.room.nodes[index].name for index in indices]
        for number, (node, needs) in enumerate(zip(names, pods.pods, strict=True)):
            places.append(Place(pods.role, replica, number, node, needs, running))
        self.room.claim_domain(pods, indices)

    def _replicas(self, pods: PodSet) -> Mapping[int, list[int]]:
        found: dict[int, list[int]] = {}
        for place in self.places.get(pods.model, []):
            if place.role == pods.role:
                found.setdefault(place.replica, []).append(self.room.position[place.node])
        return found

    def _sets(self, demand: Demand) -> list[PodSet]:
        return sorted(demand.sets, key=self._set_difficulty)

    def _difficulty(self, demand: Demand) -> tuple[tuple[int, int, int], Key]:
        hardest = min((self._set_difficulty(pods) for pods in demand.sets), default=(0, 0, 0))
        return hardest, demand.model

    def _set_difficulty(self, pods: PodSet) -> tuple[int, int, int]:
        """Pods with many devices first, then large groups, then those with few nodes to choose from."""
        needs = pods.hardest
        device = device_of(needs)
        return -(needs.asks(device) if device else 0), -len(pods.pods), len(self.room.eligible(needs))


def device_of(needs: Needs) -> str | None:
    """The resource that decides where a pod goes: the device it has most of, such as nvidia.com/gpu."""
    devices = [(-count, resource) for resource, count in needs.requests if resource not in BASIC]
    return min(devices)[1] if devices else None


def by_node(room: Room, places: Iterable[Place]) -> Iterator[tuple[int, Requests]]:
    """Position of the node and requests of each placed pod."""
    for place in places:
        yield room.position[place.node], place.needs.requests
