"""What goes into an observation: the objects read, and what the cluster cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inference_platform.report.objects import Object
from inference_platform.report.observation import ClusterIdentity

MODELS_STEP = "models"
"""The name under which a run reports the time of the models role."""


@dataclass(frozen=True)
class Timing:
    """What a run measured for one layer. ``changed``: the run wrote something."""

    seconds: float
    changed: bool


@dataclass(frozen=True)
class Context:
    """What the cluster cannot tell: who asked, when, and what the run measured.

    ``layer_problems`` maps a layer to the gate checks that do not hold, in
    words; a layer that is absent was not checked. ``answered`` are the models,
    as "namespace/name", that passed the smoke test of this run. ``unverified``
    are sentences of the caller (e.g. about CRDs taken from a directory).
    """

    generated_at: str
    inventory: str
    cluster: ClusterIdentity
    timings: Mapping[str, Timing]
    layer_problems: Mapping[str, Sequence[str]]
    kubeconfig: str = ""
    answered: frozenset[str] = frozenset()
    unverified: tuple[str, ...] = ()


@dataclass(frozen=True)
class Objects:
    """The lists that were read, each as the API server returned its items.

    ``established_crds`` are names: the server serves a kind when its CRD is Established.
    """

    namespaces: Sequence[Object] = ()
    deployments: Sequence[Object] = ()
    services: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    nodes: Sequence[Object] = ()
    established_crds: frozenset[str] = frozenset()
    gateways: Sequence[Object] = ()
    gateway_classes: Sequence[Object] = ()
    models: Sequence[Object] = ()
    routes: Sequence[Object] = ()
    pools: Sequence[Object] = ()
