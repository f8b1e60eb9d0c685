"""What rules and rendering look at: one model, and all of an inventory together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from inference_platform.models.scheduler import Wiring
from inference_platform.models.topology import Workload

Key = tuple[str, str]


@dataclass(frozen=True)
class Subject:
    """A completed entry and what it means: its place in ``models``, its pods, its scheduler."""

    index: int
    entry: Mapping[str, Any]
    pods: tuple[Workload, ...]
    wiring: Wiring
    platform: Mapping[str, Any]

    @property
    def serving(self) -> Mapping[str, Any]:
        """How models are written for the release."""
        serving: Mapping[str, Any] = self.platform["serving"]
        return serving

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.entry["namespace"], self.entry["name"]


@dataclass(frozen=True)
class Group:
    """One traffic group: its settings (at least name and namespace), and its models by name.

    ``index`` is its place in ``traffic_groups``; None when only models speak of it.
    """

    settings: Mapping[str, Any]
    members: Sequence[Subject]
    index: int | None

    @property
    def name(self) -> str:
        """Its name, and that of its route."""
        return str(self.settings["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.settings["namespace"])


@dataclass(frozen=True)
class Inventory:
    """All models, and the groups and routes of the inventory by their index, as far as they could be read.

    ``subjects`` are the models that are to be there, ``listed`` also those with ``state: absent``.
    ``is_whole`` is whether each model and its group could be read: what is missing may otherwise be there. Groups of
    ``unclear_groups`` are not judged, because what decides about them could not be read.
    """

    subjects: Sequence[Subject]
    described_groups: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    routes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    platform: Mapping[str, Any] = field(default_factory=dict)
    is_whole: bool = True
    unclear_groups: Set[Key] = frozenset()
    listed: Sequence[Subject] = ()

    @cached_property
    def by_key(self) -> dict[Key, Subject]:
        """The models by namespace and name; of two with one name the first."""
        found: dict[Key, Subject] = {}
        for subject in self.subjects:
            found.setdefault(subject.key, subject)
        return found

    @cached_property
    def groups(self) -> list[Group]:
        """The groups that models name, and those of ``traffic_groups`` without any, by namespace and name."""
        members: dict[Key, list[Subject]] = {}
        for subject in self.subjects:
            if "traffic" in subject.entry:
                key = subject.entry["namespace"], subject.entry["traffic"]["group"]
                members.setdefault(key, []).append(subject)
        described: dict[Key, int] = {}
        for index, settings in self.described_groups.items():
            described.setdefault((settings["namespace"], settings["name"]), index)
        return [
            Group(
                settings=self.described_groups[described[key]]
                if key in described
                else {"namespace": key[0], "name": key[1]},
                members=sorted(members.get(key, []), key=lambda subject: str(subject.entry["name"])),
                index=described.get(key),
            )
            for key in sorted({*members, *described} - self.unclear_groups)
        ]
