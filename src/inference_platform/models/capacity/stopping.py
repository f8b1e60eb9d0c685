"""Which models would have to stop so that another one fits.

The answer is the smallest set when one or two models are enough; a larger one is such
that none of its models can be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

from inference_platform.models.capacity.demand import Key, PodSet
from inference_platform.models.capacity.packing import Requests, Room

# Pairs are looked for among this many models, those that make most room.
_PAIRED = 40

Holding = Sequence[tuple[int, Requests]]
Order = Callable[[Key], tuple[object, ...]]


@dataclass(frozen=True)
class Missing:
    """Replicas of a set that have no place."""

    pods: PodSet
    replicas: int


class Search:
    """Tries out what fits when models stop. The room is left as it was after each question.

    ``model`` is the one that is missing something; it does not stop for itself.
    """

    def __init__(self, model: Key, missing: Sequence[Missing], room: Room, holdings: Mapping[Key, Holding]) -> None:
        self._model = model
        self._missing = missing
        self._room = room
        self._holdings = holdings
        self._eligible = [frozenset(room.eligible(item.pods.hardest)) for item in missing]
        self._columns = [
            [(room.column(resource), count) for resource, count in item.pods.hardest.requests] for item in missing
        ]
        self._resources = {resource for item in missing for needs in item.pods.pods for resource, _ in needs.requests}
        self._equal = [len(set(item.pods.pods)) == 1 for item in missing]
        self._needed = [item.replicas * len(item.pods.pods) for item in missing]
        self._slots = self._slots_on(self._eligible)
        self._nodes: dict[Key, frozenset[int]] = {}
        self._held: dict[Key, list[tuple[list[float], int, int]]] = {}
        self._alone: dict[Key, list[int]] = {}

    def smallest(self, order: Order) -> tuple[Key, ...] | None:
        """Models to stop so that all that is missing fits; None if all of them are not enough.

        ``order`` says which model is rather stopped than another.
        """
        wanted = frozenset[int]().union(*self._eligible)
        others = (key for key in self._holdings if key != self._model)
        candidates = sorted((key for key in others if self._nodes_of(key) & wanted), key=order)
        if not self.enough(candidates):
            return None
        for key in candidates:
            if self.enough((key,)):
                return (key,)
        helpful = sorted(candidates, key=lambda key: (-self._gain(key), order(key)))[:_PAIRED]
        pairs = combinations(sorted(helpful, key=order), 2)
        for pair in sorted(pairs, key=lambda pair: order(pair[1])):
            if self.enough(pair):
                return pair
        return self._reduced(candidates)

    def enough(self, stopped: Sequence[Key]) -> bool:
        """Whether everything fits without these models."""
        if not self._could_be_enough(self._slots_without(stopped)):
            return False
        with self._without(stopped):
            return self._all_fit()

    def _gain(self, key: Key) -> int:
        """Pods for which one model makes room."""
        return sum(self._slots_without((key,))) - sum(self._slots)

    def _reduced(self, candidates: Sequence[Key]) -> tuple[Key, ...]:
        """Of all candidates, which are enough, those that cannot be left out; the last ones are left out first."""
        stopped = set(candidates)
        slots = self._slots_without(candidates)
        with self._without(candidates):
            for key in reversed(candidates):
                affected = self._affected((key,))
                before = self._slots_on(affected)
                self._take(key)
                after = self._slots_on(affected)
                changed = [count + more - less for count, more, less in zip(slots, after, before, strict=True)]
                if self._could_be_enough(changed) and self._all_fit():
                    stopped.remove(key)
                    slots = changed
                else:
                    self._give(key)
            for key in candidates:
                if key not in stopped:
                    self._give(key)
        return tuple(key for key in candidates if key in stopped)

    def _could_be_enough(self, slots: Sequence[int]) -> bool:
        """Necessary, and cheap: room for the pods of each set, taken alone. Unknown for groups of unequal pods."""
        return all(
            count >= needed or not equal for count, needed, equal in zip(slots, self._needed, self._equal, strict=True)
        )

    def _slots_without(self, stopped: Sequence[Key]) -> list[int]:
        """Pods of each set, taken alone, for which there is room when these models have stopped."""
        if len(stopped) == 1 and stopped[0] in self._alone:
            return self._alone[stopped[0]]
        if len(stopped) == 2 and not self._nodes_of(stopped[0]) & self._nodes_of(stopped[1]):
            one, other = (self._slots_without((key,)) for key in stopped)
            return [first + second - now for first, second, now in zip(one, other, self._slots, strict=True)]
        affected = self._affected(stopped)
        before = self._slots_on(affected)
        with self._without(stopped):
            after = self._slots_on(affected)
        found = [slots + more - less for slots, more, less in zip(self._slots, after, before, strict=True)]
        if len(stopped) == 1:
            self._alone[stopped[0]] = found
        return found

    def _affected(self, keys: Sequence[Key]) -> list[frozenset[int]]:
        nodes = frozenset[int]().union(*(self._nodes_of(key) for key in keys))
        return [eligible & nodes for eligible in self._eligible]

    def _slots_on(self, groups: Sequence[Iterable[int]]) -> list[int]:
        """The same as ``Room.slots`` for each set, without looking up columns again and again."""
        return [
            int(sum(max(0, min(column[index] // count for column, count in columns)) for index in nodes))
            for columns, nodes in zip(self._columns, groups, strict=True)
        ]

    def _all_fit(self) -> bool:
        taken: list[tuple[int, Requests]] = []
        domains = self._room.domains
        try:
            for item in self._missing:
                for _ in range(item.replicas):
                    indices = self._room.place_replica(item.pods)
                    if indices is None:
                        return False
                    self._room.claim_domain(item.pods, indices)
                    taken += [(index, needs.requests) for index, needs in zip(indices, item.pods.pods, strict=True)]
            return True
        finally:
            for index, requests in taken:
                self._room.give(index, requests)
            self._room.domains = domains

    @contextmanager
    def _without(self, stopped: Sequence[Key]) -> Iterator[None]:
        domains = self._room.domains
        for key in stopped:
            self._give(key)
        self._room.release_domains(stopped)
        try:
            yield
        finally:
            for key in stopped:
                self._take(key)
            self._room.domains = domains

    def _give(self, key: Key) -> None:
        for column, index, count in self._held_by(key):
            column[index] += count

    def _take(self, key: Key) -> None:
        for column, index, count in self._held_by(key):
            column[index] -= count

    def _held_by(self, key: Key) -> list[tuple[list[float], int, int]]:
        """What a model holds of the resources that matter."""
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = [
                (self._room.column(resource), index, count)
                for index, requests in self._holdings[key]
                for resource, count in requests
                if resource in self._resources
            ]
        return held

    def _nodes_of(self, key: Key) -> frozenset[int]:
        nodes = self._nodes.get(key)
        if nodes is None:
            nodes = self._nodes[key] = frozenset(index for index, _ in self._holdings[key])
        return nodes
