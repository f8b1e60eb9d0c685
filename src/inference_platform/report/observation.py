"""What was seen on the cluster, as plain data.

An :class:`Observation` is everything the three reports show. It is made by
``collect`` (from a cluster) or by a test (by hand) and rendered by ``text``,
``page`` and :func:`render_json`. Rendering reads nothing else: the same
observation always gives the same bytes.

Durations are seconds. Counts are integers. An unknown value is ``None`` or
``""``, never a guess. Secret values have no place in these types.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

SHAPE = "inference-platform/report/v1"
"""Name and version of the JSON shape, described by schemas/report.schema.json."""

READY = "ready"
NOT_READY = "not ready"
UNCHECKED = "not checked"

ROLE_SERVING = "serving"
ROLE_WORKER = "worker"
ROLE_PREFILL = "prefill"
ROLE_SCHEDULER = "scheduler"
ROLE_OTHER = "other"

STOPPED = "Stopped"
"""Reason of a model's condition Ready."""


@dataclass(frozen=True)
class Count:
    """How many of how many: Deployments ready, CRDs established, GPUs in use."""

    ready: int
    wanted: int

    @property
    def complete(self) -> bool:
        """True when nothing is missing. Nothing wanted is complete."""
        return self.ready >= self.wanted

    def __str__(self) -> str:
        return f"{self.ready}/{self.wanted}"


@dataclass(frozen=True)
class ClusterIdentity:
    """Which cluster this is. ``version`` is the server's, e.g. ``v1.34.4``."""

    name: str
    version: str


@dataclass(frozen=True)
class PlatformIdentity:
    """What the plan asked for. ``engine_line`` is None without a cloud manager."""

    release: str
    version: str
    distribution: str
    provider: str
    engine_line: str | None
    ownership: dict[str, str]


@dataclass(frozen=True)
class Layer:
    """One layer of the plan with its time in this run and its state now.

    ``seconds`` and ``changed`` are None when the run did not measure the layer
    (a report made without a run). ``problems`` says what keeps it from ready.
    """

    name: str
    title: str
    ownership: str
    needs: tuple[str, ...]
    releases: tuple[str, ...]
    state: str
    seconds: float | None
    changed: bool | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Namespace:
    """A platform namespace. ``phase`` is "" when it does not exist."""

    name: str
    phase: str


@dataclass(frozen=True)
class Deployment:
    """A Deployment of a platform namespace; ``layer`` is "" when none claims it."""

    namespace: str
    name: str
    layer: str
    replicas: Count


@dataclass(frozen=True)
class Service:
    """A Service of a platform namespace; ``ports`` like ``443/TCP``."""

    namespace: str
    name: str
    type: str
    ports: tuple[str, ...]
    address: str


@dataclass(frozen=True)
class CrdSet:
    """One set of CRDs of the plan, the layer it belongs to, and how many are Established."""

    name: str
    layer: str
    version: str
    established: Count
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Listener:
    """A port of the gateway and how many routes hang on it."""

    name: str
    port: int
    protocol: str
    routes: int


@dataclass(frozen=True)
class Gateway:
    """The entry point. ``reason`` and ``message`` explain a missing Programmed."""

    namespace: str
    name: str
    gateway_class: str
    class_accepted: bool
    address: str
    accepted: bool
    programmed: bool
    reason: str
    message: str
    listeners: tuple[Listener, ...]


@dataclass(frozen=True)
class Condition:
    """A status condition as the controller wrote it."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class Pod:
    """A pod of a model. ``gpus`` is the sum of its container limits."""

    name: str
    role: str
    node: str
    phase: str
    ready: bool
    restarts: int
    gpus: int


@dataclass(frozen=True)
class Model:
    """A served model: its object, its pods, and the way requests take to them.

    ``served_name`` is the name a request carries. ``route`` and ``pool`` are the
    names of the HTTPRoute and the InferencePool, "" when they do not exist. ``ready`` is
    true as well for a model that is stopped because it shall be.
    """

    namespace: str
    name: str
    served_name: str
    uri: str
    url: str
    ready: bool
    serving: Count
    gpus: int
    gpu_product: str
    route: str
    route_accepted: bool
    pool: str
    pool_accepted: bool
    conditions: tuple[Condition, ...]
    pods: tuple[Pod, ...]

    @property
    def stopped(self) -> bool:
        """Whether it is stopped because it shall be."""
        return self.ready and any(entry.type == "Ready" and entry.reason == STOPPED for entry in self.conditions)


@dataclass(frozen=True)
class Node:
    """A node; ``gpus_used`` counts the GPUs of all pods bound to it."""

    name: str
    ready: bool
    instance_type: str
    gpu_product: str
    gpus: int
    gpus_used: int
    cpu: str
    memory: str


@dataclass(frozen=True)
class Command:
    """A command worth trying next, ready to paste, and what it shows."""

    purpose: str
    command: str


@dataclass(frozen=True)
class Observation:
    """Everything the reports show.

    ``generated_at`` is an ISO 8601 time in UTC, given by the caller.
    ``problems`` is empty exactly when the platform and its models are ready.
    ``unverified`` lists what this report does not prove.
    ``environment`` is a shell line the commands rely on, or "".
    """

    generated_at: str
    inventory: str
    cluster: ClusterIdentity
    platform: PlatformIdentity
    layers: tuple[Layer, ...]
    namespaces: tuple[Namespace, ...]
    deployments: tuple[Deployment, ...]
    services: tuple[Service, ...]
    crds: tuple[CrdSet, ...]
    gateway: Gateway | None
    models: tuple[Model, ...]
    nodes: tuple[Node, ...]
    total_seconds: float | None = None
    models_seconds: float | None = None
    models_changed: bool | None = None
    problems: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    environment: str = ""
    commands: tuple[Command, ...] = field(default_factory=tuple)

    @property
    def ready(self) -> bool:
        """True when nothing that the plan or the models asked for is missing."""
        return not self.problems

    @property
    def totals(self) -> dict[str, Count]:
        """The counts of the summary line, by what they count, in reading order."""
        return {
            "layers": _count(layer.state == READY for layer in self.layers),
            "namespaces": _count(bool(ns.phase == "Active") for ns in self.namespaces),
            "deployments": _count(d.replicas.wanted > 0 and d.replicas.complete for d in self.deployments),
            "crds": Count(sum(s.established.ready for s in self.crds), sum(s.established.wanted for s in self.crds)),
            "models": _count(model.ready for model in self.models),
            "gpus": Count(sum(n.gpus_used for n in self.nodes), sum(n.gpus for n in self.nodes)),
        }

    def to_dict(self) -> dict[str, Any]:
        """The shape of schemas/report.schema.json: lists, mappings, text, numbers."""
        data: dict[str, Any] = {"shape": SHAPE, "ready": self.ready}
        data |= asdict(self)
        data["totals"] = {name: asdict(count) for name, count in self.totals.items()}
        return data


def render_json(observation: Observation) -> str:
    """The observation as JSON text: two spaces, keys in the order of the types, final newline."""
    return json.dumps(observation.to_dict(), indent=2, ensure_ascii=False) + "\n"


def _count(flags: Any) -> Count:
    values = [bool(flag) for flag in flags]
    return Count(sum(values), len(values))
