"""The plan: what is installed, in which order, from which artifacts. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Release:
    """One Helm release of a layer: release name, chart, namespace.

    ``chart`` is a folder of this project's charts; for a chart that others publish its name there.
    Such a one is described by ``published``: name, repository, version, layer, sha256 (None where it
    is not known, and then ``unpinned`` says why), and ``images``, where they are published, by name;
    ``fixed`` are names of those that the chart itself writes, which no mirror takes the place of.
    ``values`` are what the catalogue gives the chart.
    """

    name: str
    chart: str
    namespace: str
    published: dict[str, Any] | None = None
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """One layer, with only the parts that this plan really has.

    ``ownership`` is managed (this installer), delegated (the cloud manager, or OpenShift) or
    external (was there before). ``needs`` are the layers of this plan that come before; ``crds``
    the CRD sets that this installer applies; ``operator`` the name among the plan's ``operators``
    of the one that OLM brings before the releases, None without.
    """

    name: str
    title: str
    ownership: str
    needs: list[str]
    releases: list[Release]
    crds: list[str]
    waits_for: str
    operator: str | None = None


#: The chart of a Subscription, by which OLM brings the operator of a layer.
SUBSCRIPTION_CHART = "operator-subscription"


def charts_of(layer: Mapping[str, Any]) -> list[str]:
    """The charts of this project that a layer (plain data) installs, in order."""
    subscription = [SUBSCRIPTION_CHART] if layer["operator"] else []
    return subscription + [release["chart"] for release in layer["releases"] if not release["published"]]


@dataclass(frozen=True)
class Plan:
    """Everything later steps need to know about the platform.

    ``engine_line`` and ``engine`` are None without a cloud manager. ``images`` are full
    references by digest. ``crds`` holds, per set, the version and the files (name, url,
    sha256, and only_if_absent where the CRD must be left alone if present) of every set
    that a layer applies or a gate asks for, and ``shared_with`` where an operator of the
    platform applies them too: its field manager. ``gates`` holds the resolved checks per layer.
    ``gateway`` is the gateway of the models, the platform's or one of the user's (its
    ``ownership``): name and namespace, listeners, certificate, who may attach routes; then the
    load balancer that the provider is asked for: the ``condition`` that proves it,
    ``annotations`` of its Service, and ``port_annotations`` for every port, whose $(port) is
    still to be filled in. ``authority`` names the issuer of the platform's authority.
    ``versions`` are component versions for chart values and the report. ``serving`` is what
    rendering a model needs to know. ``pull_secret`` never holds the content; its ``name`` is None
    where the nodes have the credentials. ``image_registry`` is the mirror (host[:port][/path])
    that takes the place of the registry of every image; ``images`` name the registries of the
    lock all the same.

    ``pools`` are profiles of models, one per group of nodes; ``capacity`` the quotas, priorities and
    NodePools of the inventory, as objects.

    ``route`` is how operators get into the cluster, helm or olm. ``operators`` are those that OLM
    brings, by name: package, channel, csv, source, source_namespace, namespace, target_namespaces
    (empty: all) and env. ``made_namespaces`` are those of ``namespaces`` that are made here,
    ``namespace_labels`` further labels of some of them.
    """

    release: str
    version: str
    distribution: str
    provider: str
    engine_line: str | None
    namespaces: dict[str, str]
    ownership: dict[str, str]
    layers: list[Layer]
    images: dict[str, str]
    related_images: dict[str, list[dict[str, str]]]
    pull_secret: dict[str, Any]
    crds: dict[str, dict[str, Any]]
    gates: dict[str, list[dict[str, Any]]]
    engine: dict[str, Any] | None
    gateway: dict[str, Any]
    authority: dict[str, Any]
    pools: dict[str, dict[str, Any]]
    capacity: list[dict[str, Any]]
    versions: dict[str, str]
    serving: dict[str, Any]
    image_registry: str = ""
    route: str = "helm"
    operators: dict[str, dict[str, Any]] = field(default_factory=dict)
    made_namespaces: list[str] = field(default_factory=list)
    namespace_labels: dict[str, dict[str, str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The plan as nested dicts and lists, safe to hand to Ansible or to JSON."""
        return asdict(self)
