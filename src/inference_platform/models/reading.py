"""What an inventory says about models, as far as it can be read: the schema's mistakes told, the rest for the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from inference_platform import schema
from inference_platform.findings import ERROR
from inference_platform.models.layers import Layers, schema_defaults
from inference_platform.models.mending import Mended, are_related, mend
from inference_platform.models.merge import fill, without_nothing
from inference_platform.models.placing import MODELS, PlacedFindings
from inference_platform.models.rules import Problem
from inference_platform.models.subjects import Inventory, Key, Subject
from inference_platform.models.topology import complete
from inference_platform.schema import EntryChecker, KeyPath, SchemaMistake

# What stands in for what an entry must say and does not.
_STAND_INS: Mapping[str, Any] = {"uri": "hf://organisation/model", "gpu": {}}
# Without the first key another is judged differently.
_READ_TOGETHER = {"command": "args", "image": "gpu", "own_presets": "parallelism"}

ABSENT = "absent"
GROUPS = "traffic_groups"
ROUTES = "model_routes"


class Reading:
    """Reads entries, groups and routes, and knows which of them were not what the user meant.

    ``mended`` are the indexes of the models with mistakes of the schema; what they say otherwise is read too, so that
    one run tells all there is to tell. ``whole`` are those among them of which nothing was lost but a key that nobody
    knows. ``mended_items`` are the places of such groups and routes.
    """

    def __init__(self, layers: Layers, findings: PlacedFindings) -> None:
        self.mended: set[int | None] = set()
        self.whole: set[int] = set()
        self.mended_items: set[KeyPath] = set()
        self._layers = layers
        self._findings = findings
        self._unsure: dict[KeyPath, tuple[KeyPath, ...]] = {}
        self._is_whole = True
        self._nameless: set[int] = set()
        self._unclear_groups: set[Key] = set()
        self._a_group_is_lost = False

    def entries(self, entries: Sequence[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
        """The completed entries with their indexes; without those of which too little is left."""
        for index, entry in enumerate(entries):
            model: Any = entry
            lost = False
            if isinstance(entry, Mapping):
                lost = self._findings.add_unknown_profiles(index)
                model = self._layers.merged(entry)
            given = without_nothing(model, schema.inlined_schema("model"))
            if isinstance(given, Mapping) and given.get("state") == ABSENT:
                given = {**_STAND_INS, **given}  # of what goes nobody needs to know what it was
            wrong = _checker().mistakes(given)
            read = self._mended_entry(index, given, wrong, lost) if wrong or lost else given
            if read is not None:
                if "prefill" in read and read["prefill"] is given.get("prefill"):
                    # Nothing in prefill takes back what decode says, so it must get there.
                    read = {**read, "prefill": model["prefill"]}
                yield index, complete(read)

    def inventory(
        self, subjects: Sequence[Subject], groups: Sequence[Any], routes: Sequence[Any], platform: Mapping[str, Any]
    ) -> Inventory:
        """The models together with the groups and routes that could be read."""
        described = self.groups(groups)
        if self._a_group_is_lost:
            of_models = {(one.key[0], one.entry["traffic"]["group"]) for one in subjects if "traffic" in one.entry}
            self._unclear_groups |= of_models - {(one["namespace"], one["name"]) for one in described.values()}
        return Inventory(
            subjects, described, self.routes(routes), platform, self._is_whole, frozenset(self._unclear_groups)
        )

    def groups(self, groups: Sequence[Any]) -> dict[int, Mapping[str, Any]]:
        """The traffic groups by index."""
        read = self._items(groups, GROUPS)
        self._a_group_is_lost = len(read) < len(groups)
        for index, settings in read.items():
            if any(are_related(place, ("split",)) for place in self._unsure.get((GROUPS, index), ())):
                self._unclear_groups.add((settings["namespace"], settings["name"]))
        return read

    def routes(self, routes: Sequence[Any]) -> dict[int, Mapping[str, Any]]:
        """The routes by index."""
        return self._items(routes, ROUTES)

    def known(self, subjects: Sequence[Subject]) -> list[Subject]:
        """Those whose namespace and name are what the user wrote."""
        return [subject for subject in subjects if subject.index not in self._nameless]

    def is_sure(self, problem: Problem) -> bool:
        """Whether a problem is one of what the user wrote, not of what a mistake of the schema left of it.

        Warnings about such a model or group wait until it follows the schema.
        """
        whole = problem.path if problem.model is None else (MODELS, problem.model, *problem.path)
        path, unsure = whole[2:], self._unsure.get(whole[:2])
        if unsure is None:
            return True
        return problem.severity == ERROR and not any(are_related(path, one) for one in unsure)

    def _mended_entry(
        self, index: int, given: Any, wrong: Sequence[SchemaMistake], lost: bool
    ) -> dict[str, Any] | None:
        """What is left of an entry; of one that lost a profile only what it says itself is judged, by the schema."""
        misspelled = {(*item.path[:-1], meant) for item in wrong for meant in item.suggestions[:1]}
        self._findings.add_mistakes(
            index,
            [item for item in wrong if item.kind != schema.MISSING_KEY or not (lost or item.path in misspelled)],
        )
        self.mended.add(index)
        nobody = f"models-{index}"
        stand_ins = {"name": nobody, "namespace": nobody, **_STAND_INS}
        left = mend(given, schema.inlined_schema("model"), _checker().mistakes, stand_ins, wrong)
        if left is None:
            self._is_whole = False
            return None
        together = tuple((other,) for key, other in _READ_TOGETHER.items() if key in left.lost)
        self._unsure[MODELS, index] = ((),) if lost else (*left.unsure, *together)
        if not left.lost and not lost:
            self.whole.add(index)
        read = fill(left.value, schema_defaults())
        if not (left.is_sure(("name",)) and left.is_sure(("namespace",))):
            self._nameless.add(index)
        self._is_whole = self._is_whole and not lost and index not in self._nameless
        self._note_group(given, read, left)
        return read

    def _note_group(self, given: Mapping[str, Any], read: Mapping[str, Any], left: Mended) -> None:
        """What the mistakes of an entry mean for the traffic group it is in."""
        if "traffic" not in read:
            self._is_whole = self._is_whole and "traffic" not in given
        elif not (left.is_sure(("traffic",)) and left.is_sure(("served_name",))):
            self._unclear_groups.add((read["namespace"], read["traffic"]["group"]))

    def _items(self, items: Sequence[Any], name: str) -> dict[int, Mapping[str, Any]]:
        rule = schema.inlined_schema("traffic")["properties"][name]["items"]
        checker = schema.validator(rule)
        read: dict[int, Mapping[str, Any]] = {}
        for index, item in enumerate(items):
            wrong = schema.mistakes(item, checker)
            if not wrong:
                read[index] = item
                continue
            self._findings.add_located((name, index), wrong)
            self.mended_items.add((name, index))
            left = mend(item, rule, lambda value: schema.mistakes(value, checker), {}, wrong)
            if left is not None:
                self._unsure[name, index] = left.unsure
                read[index] = left.value
        return read


@cache
def _checker() -> EntryChecker:
    return EntryChecker(schema.inlined_schema("model"))
