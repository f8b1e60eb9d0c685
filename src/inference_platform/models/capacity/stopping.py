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


@dataclass(frozen=True)
class Missing:
    """Replicas of a set that have no place."""

    pods: PodSet
    replicas: int


def to_stop(
    missing: Sequence[Missing],
    room: Room,
    holdings: Mapping[Key, Holding],
    order: Callable[[Key], tuple[object, ...]],
) -> tuple[Key, ...] | None:
    """Models of ``holdings`` to stop so that all that is missing fits; None if all of them are not enough.

    ``order`` says which model is rather stopped than another. ``room`` is left as it was.
    """
    search = _Search(missing, room, holdings)
    candidates = sorted(search.candidates, key=order)
    if not search.enough(candidates):
        return None
    for key in candidates:
        if search.enough((key,)):
            return (key,)
    helpful = sorted(candidates, key=lambda key: (-search.gain(key), order(key)))[:_PAIRED]
    pairs = combinations(sorted(helpful, key=order), 2)
    for pair in sorted(pairs, key=lambda pair: order(pair[1])):
        if search.enough(pair):
            return pair
    return search.reduced(candidates)


class _Search:
    """Tries out what fits when models stop."""

    def __init__(self, missing: Sequence[Missing], room: Room, holdings: Mapping[Key, Holding]) -> None:
        self._missing = missing
        self._room = room
        self._eligible = [frozenset(room.eligible(item.pods.hardest)) for item in missing]
        wanted = frozenset[int]().union(*self._eligible)
        self._holdings = holdings
        self.candidates = [key for key, held in holdings.items() if any(index in wanted for index, _ in held)]
        self._slots = [
            room.slots(item.pods.hardest, eligible) for item, eligible in zip(missing, self._eligible, strict=True)
        ]
        self._alone: dict[Key, list[int]] = {}
        self._needed = [item.replicas * len(item.pods.pods) for item in missing]

    def gain(self, key: Key) -> int:
        """Pods for which one model makes room."""
        return sum(self._without_one(key)) - sum(self._slots)

    def enough(self, stopped: Sequence[Key]) -> bool:
        """Whether everything fits without these models."""
        slots = self._without_one(stopped[0]) if len(stopped) == 1 else self._slots_without(stopped)
        if not self._could_be_enough(slots):
            return False
        with self._without(stopped):
            return self._all_fit()

    def reduced(self, candidates: Sequence[Key]) -> tuple[Key, ...]:
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
            count >= needed or len(set(item.pods.pods)) > 1
            for count, needed, item in zip(slots, self._needed, self._missing, strict=True)
        )

    def _without_one(self, key: Key) -> list[int]:
        known = self._alone.get(key)
        if known is None:
            known = self._alone[key] = self._slots_without((key,))
        return known

    def _slots_without(self, stopped: Sequence[Key]) -> list[int]:
        affected = self._affected(stopped)
        before = self._slots_on(affected)
        with self._without(stopped):
            after = self._slots_on(affected)
        return [slots + more - less for slots, more, less in zip(self._slots, after, before, strict=True)]

    def _affected(self, keys: Sequence[Key]) -> list[frozenset[int]]:
        nodes = {index for key in keys for index, _ in self._holdings[key]}
        return [eligible & nodes for eligible in self._eligible]

    def _slots_on(self, affected: Sequence[Iterable[int]]) -> list[int]:
        return [self._room.slots(item.pods.hardest, nodes) for item, nodes in zip(self._missing, affected, strict=True)]

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
        for index, requests in self._holdings[key]:
            self._room.give(index, requests)

    def _take(self, key: Key) -> None:
        for index, requests in self._holdings[key]:
            self._room.take(index, requests)
