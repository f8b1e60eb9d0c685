"""Which machines a cluster without GPU nodes (scaled to zero, or not there yet) would need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference_platform.catalog.instance_types import Hardware, InstanceType, load_hardware
from inference_platform.models.capacity.demand import Key, Needs, PodSet, of_objects
from inference_platform.models.capacity.resources import BASIC, CPU, MEMORY, PODS, Amounts, add, gib, text

# What a node keeps for itself (models.md 7.3: 1 to 2 CPUs, 5 to 10 % of the memory), on the safe side.
_RESERVED_CPUS = 2
_USABLE_MEMORY = 0.9
_PODS_PER_NODE = 110
_ENOUGH = 10**6

_INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
_RDMA_WORDS = ("rdma", "efa")


@dataclass
class Machine:
    """A node to start: what is left on it, and the pods it is for (model, role)."""

    type: InstanceType
    left: Amounts
    pods: list[tuple[Key, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Unplaced:
    """Pods for which the provider has no machine."""

    model: Key
    role: str
    reason: str


@dataclass(frozen=True)
class EmptyClusterPlan:
    """Machines with GPUs to start, pods without a machine, and what pods without GPUs ask for on other nodes.

    ``assumed`` says what could not be looked at. There is no spare room for rollouts in it.
    """

    provider: str
    machines: tuple[Machine, ...]
    unplaced: tuple[Unplaced, ...]
    elsewhere: Amounts
    assumed: tuple[str, ...]

    @property
    def nodes(self) -> dict[str, int]:
        """Number of nodes by instance type."""
        counts: dict[str, int] = {}
        for machine in self.machines:
            counts[machine.type.name] = counts.get(machine.type.name, 0) + 1
        return dict(sorted(counts.items()))

    def takes(self, model: Key, role: str) -> bool:
        """Whether there is a machine for all pods of this role."""
        return all((item.model, item.role) != (model, role) for item in self.unplaced)

    def why_not(self, model: Key, role: str) -> str:
        """Why there is no machine for pods of this role; empty when there is one."""
        return next((item.reason for item in self.unplaced if (item.model, item.role) == (model, role)), "")

    def machines_of(self, model: Key) -> list[str]:
        """The machines for a model, as "2 x g6.xlarge"; some may be shared with other models."""
        kinds = [machine.type.name for machine in self.machines if any(of == model for of, _ in machine.pods)]
        return [f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds)]


def plan_for_empty_cluster(
    objects: Iterable[Mapping[str, Any]],
    provider: str,
    gpu: Mapping[str, Any],
    hardware: Hardware | None = None,
    *,
    own: Iterable[Mapping[str, Any]] = (),
) -> EmptyClusterPlan:
    """Machines of ``provider`` for the LLMInferenceServices among rendered objects.

    ``gpu`` is ``serving.gpu`` of the plan; ``own`` are machines beside those of the catalogue, as ``instance_types``
    of the inventory has them. Each pod goes on the machine already chosen that it fills best, else on a new one of the
    smallest type that takes it. Of a provider without machines in the catalogue only ``own`` are known.
    """
    catalogued = (hardware or load_hardware()).instance_types.get(provider, ())
    types = [*catalogued, *(InstanceType(provider, **item, source="inventory") for item in own)]
    chooser = _Chooser(provider, types, gpu)
    sets = sorted((pods for demand in of_objects(objects) for pods in demand.sets), key=chooser.difficulty)
    for pods in sets:
        chooser.add(pods)
    machines = sorted(chooser.machines, key=lambda machine: (machine.type.name, machine.pods))
    return EmptyClusterPlan(
        provider, tuple(machines), tuple(chooser.unplaced), chooser.elsewhere, tuple(chooser.assumed)
    )


def as_text(plan: EmptyClusterPlan) -> str:
    """The plan for the terminal."""
    lines = []
    for name, count in plan.nodes.items():
        machines = [machine for machine in plan.machines if machine.type.name == name]
        kind = machines[0].type
        names = sorted({"/".join(model) for machine in machines for model, _ in machine.pods})
        lines.append(f"{count} x {name} ({kind.gpus} x {kind.product}) for {', '.join(names)}")
    if plan.elsewhere:
        cpus, memory = plan.elsewhere.get(CPU, 0) / 1000, plan.elsewhere.get(MEMORY, 0)
        lines.append(f"nodes without GPUs: {cpus:g} CPUs and {gib(memory)} GiB memory for {plan.elsewhere[PODS]} pods")
    lines += [f"no machine for {'/'.join(item.model)} {item.role}: {item.reason}" for item in plan.unplaced]
    lines += [f"assumed: {assumption}" for assumption in plan.assumed]
    return "\n".join([*lines, "figures of instance types are the vendor's, unconfirmed"])


class _Chooser:
    def __init__(self, provider: str, types: Sequence[InstanceType], gpu: Mapping[str, Any]) -> None:
        self._provider = provider
        self._types = sorted(types, key=lambda item: (item.gpus, item.vcpu, item.memory_gib, item.name))
        self._resource = gpu["resource"]
        self._product_label = gpu["product_label"]
        self.machines: list[Machine] = []
        self.unplaced: list[Unplaced] = []
        self.elsewhere: Amounts = {}
        self.assumed: dict[str, None] = {}

    def difficulty(self, pods: PodSet) -> tuple[int, Key, str]:
        """Pods with many GPUs first."""
        return -pods.hardest.asks(self._resource), pods.model, pods.role

    def add(self, pods: PodSet) -> None:
        """Find machines for all replicas."""
        for _ in range(pods.replicas):
            for needs in pods.pods:
                if not needs.asks(self._resource):
                    add(self.elsewhere, dict(needs.requests))
                    continue
                reason = self._place(pods, needs)
                if reason is not None:
                    self.unplaced.append(Unplaced(pods.model, pods.role, reason))
                    return

    def _place(self, pods: PodSet, needs: Needs) -> str | None:
        self._note_assumptions(pods, needs)
        suited = [item for item in self._types if self._suits(item, needs)]
        names = {item.name for item in suited}
        open_ones = [machine for machine in self.machines if machine.type.name in names and _fits(machine.left, needs)]
        if open_ones:
            machine = min(open_ones, key=lambda machine: machine.left[self._resource])
        else:
            large = [item for item in suited if _fits(self._amounts(item, needs), needs)]
            if not large:
                return self._why_not(suited, needs)
            machine = Machine(large[0], self._amounts(large[0], needs))
            self.machines.append(machine)
        for resource, count in needs.requests:
            machine.left[resource] = machine.left.get(resource, 0) - count
        machine.pods.append((pods.model, pods.role))
        return None

    def _suits(self, item: InstanceType, needs: Needs) -> bool:
        wanted = dict(needs.selector)
        return (
            wanted.get(self._product_label, item.product) == item.product
            and wanted.get(_INSTANCE_TYPE_LABEL, item.name) == item.name
            and (item.rdma is not None or not _rdma_of(needs))
        )

    def _amounts(self, item: InstanceType, needs: Needs) -> Amounts:
        """Allocatable amounts of a new node. How many RDMA devices it offers is not known: enough."""
        return {
            self._resource: item.gpus,
            CPU: max(item.vcpu - _RESERVED_CPUS, 0) * 1000,
            MEMORY: int(item.memory_gib * 2**30 * _USABLE_MEMORY),
            PODS: _PODS_PER_NODE,
            **dict.fromkeys(_rdma_of(needs), _ENOUGH),
        }

    def _why_not(self, suited: Sequence[InstanceType], needs: Needs) -> str:
        wanted = " and ".join(text(resource, count) for resource, count in needs.requests if resource != PODS)
        product = dict(needs.selector).get(self._product_label)
        if not suited:
            network = " and RDMA" if _rdma_of(needs) else ""
            return f"no machine with {product or 'GPUs'}{network} is known for {self._provider}"
        largest = suited[-1]
        return f"a pod needs {wanted}; the largest machine, {largest.name}, has {text(self._resource, largest.gpus)}"

    def _note_assumptions(self, pods: PodSet, needs: Needs) -> None:
        name = "/".join(pods.model)
        labels = {key for key, _ in needs.selector} - {self._product_label, _INSTANCE_TYPE_LABEL}
        if labels:
            self.assumed[f"nodes for {name} get the labels {', '.join(sorted(labels))}"] = None
        if needs.affinity:
            self.assumed[f"nodes for {name} match its node affinity"] = None
        if self._product_label not in dict(needs.selector):
            self.assumed[f"any GPU will do for {name}, which names no product: the smallest machine is taken"] = None
        others = {resource for resource, _ in needs.requests} - {*BASIC, self._resource, *_rdma_of(needs)}
        if others:
            self.assumed[f"nodes for {name} offer {', '.join(sorted(others))}"] = None


def _fits(left: Amounts, needs: Needs) -> bool:
    return all(left[resource] >= count for resource, count in needs.requests if resource in left)


def _rdma_of(needs: Needs) -> list[str]:
    return [resource for resource, _ in needs.requests if any(word in resource for word in _RDMA_WORDS)]
