"""Looks at a cluster once and returns an :class:`Observation`. Reads only; writes nothing.

A handful of list requests in parallel, then one look at the gates of the plan.
Left out are checks that would send an object, even as a dry run, and checks of
Secrets: a report has no business with either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from inference_platform.cluster import gate
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.errors import UnknownKind
from inference_platform.report.context import Context, Objects, Timing
from inference_platform.report.objects import Object
from inference_platform.report.observation import ClusterIdentity, Observation
from inference_platform.report.observe import observe
from inference_platform.report.platform_state import crd_names

WORKERS = 8

# Field of Objects -> what is listed for it. Kinds that a cluster does not serve yet are empty.
LISTS: dict[str, tuple[str, str]] = {
    "namespaces": ("v1", "Namespace"),
    "deployments": ("apps/v1", "Deployment"),
    "services": ("v1", "Service"),
    "pods": ("v1", "Pod"),
    "nodes": ("v1", "Node"),
    "gateways": ("gateway.networking.k8s.io/v1", "Gateway"),
    "gateway_classes": ("gateway.networking.k8s.io/v1", "GatewayClass"),
    "routes": ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    "models": ("serving.kserve.io/v1alpha2", "LLMInferenceService"),
    "pools": ("inference.networking.k8s.io/v1", "InferencePool"),
}


def collect(
    cluster: Cluster,
    platform: Mapping[str, Any],
    timings: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    inventory: str = "",
    kubeconfig: str = "",
    crd_directory: str = "",
    answered: Sequence[str] = (),
    unverified: Sequence[str] = (),
    now: datetime | None = None,
) -> Observation:
    """What ``cluster`` looks like, against the plan ``platform`` (a plan as a dict).

    ``timings`` are of this run: ``{layer: {"seconds": float, "changed": bool}}``, with
    ``models`` for the models role; empty for a report without a run. ``kubeconfig`` is
    named in the commands to try, "" where kubectl finds the cluster by itself.
    ``crd_directory`` says that the CRDs came from there, unverified; ``answered`` are the
    models, as "namespace/name", that passed the smoke test of this run; ``unverified`` adds
    sentences of the caller. ``now`` is the time to print, default the present.

    Raises what the cluster client raises when the API server cannot be used.
    """
    discovery = cluster.discovery()  # once, before the workers ask for it
    with ThreadPoolExecutor(WORKERS) as pool:
        lists = dict(zip(LISTS, pool.map(lambda what: _list(cluster, *what), LISTS.values()), strict=True))
    established = frozenset(name for name in crd_names(platform) if discovery.serves(name))
    context = Context(
        generated_at=(now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        inventory=inventory,
        cluster=ClusterIdentity(cluster.access.context or "", str(cluster.version.get("gitVersion", ""))),
        timings={name: _timing(name, entry) for name, entry in (timings or {}).items()},
        layer_problems=_layer_problems(cluster, platform),
        kubeconfig=kubeconfig,
        answered=frozenset(answered),
        unverified=(*_directory_note(platform, crd_directory), *unverified),
    )
    return observe(Objects(established_crds=established, **lists), platform, context)


def _list(cluster: Cluster, api_version: str, kind: str) -> Sequence[Object]:
    try:
        return cluster.list(api_version, kind)
    except UnknownKind:
        return ()


def _layer_problems(cluster: Cluster, platform: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """For each layer the checks of its gate that do not hold, in words. One look for all layers."""
    gates = {
        layer["name"]: [check for check in platform["gates"].get(layer["name"], ()) if _is_for_report(check)]
        for layer in platform["layers"]
    }
    look = gate.evaluate(cluster, [check for checks in gates.values() for check in checks])
    waiting = {item.what: item for item in look.waiting}
    return {
        layer: tuple(_problem(check, waiting[gate.label(check)]) for check in checks if gate.label(check) in waiting)
        for layer, checks in gates.items()
    }


def _is_for_report(check: Mapping[str, Any]) -> bool:
    return check["check"] != "dry_run" and check.get("kind") != "Secret"


def _problem(check: Mapping[str, Any], waiting: gate.Waiting) -> str:
    # The label of a CRD check names all CRDs of the layer; which ones are missing is in the why.
    return waiting.why if check["check"] == "crds" else str(waiting)


def _timing(name: str, entry: Mapping[str, Any]) -> Timing:
    try:
        return Timing(float(entry["seconds"]), bool(entry["changed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"timings.{name}: expected {{seconds: number, changed: true or false}}, found {entry!r}"
        ) from error


def _directory_note(platform: Mapping[str, Any], crd_directory: str) -> list[str]:
    if not crd_directory or not any(layer["crds"] for layer in platform["layers"]):
        return []
    return [f"The CRDs came from the directory {crd_directory} and were not compared with the checksums of the lock."]
