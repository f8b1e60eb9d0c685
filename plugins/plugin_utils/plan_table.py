"""The plan as a person reads it before the first write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: More models than this are only counted.
MOST_MODELS = 20
OWNERS = {"managed": "this installer", "external": "already in the cluster"}


def as_text(
    platform: Mapping[str, Any], cluster: str, models: Iterable[Any], kept: Mapping[str, str] | None = None
) -> str:
    """Lines: cluster, platform, then the layers in order with their owner, then the models.

    ``platform`` is the plan as plain data; ``cluster`` names the cluster; ``models``
    are model summaries; ``kept`` has id and release of those that another release made.
    """
    return "\n".join([*_head(platform, cluster), "", *_layers(platform), *_models(models), *_kept(kept or {})])


def _head(platform: Mapping[str, Any], cluster: str) -> Iterator[str]:
    line = platform["engine_line"]
    manager = f"cloud manager of the {line} line" if line else "no cloud manager"
    yield f"Cluster    {cluster}"
    yield (
        f"Platform   release {platform['release']} ({platform['version']}), {platform['distribution']} images, "
        f"provider {platform['provider']}, {manager}"
    )
    yield f"Versions   {', '.join(f'{name} {version}' for name, version in sorted(platform['versions'].items()))}"


def _layers(platform: Mapping[str, Any]) -> Iterator[str]:
    delegated_to = "the cloud manager" if platform["engine_line"] else "OpenShift"
    for number, layer in enumerate(platform["layers"], start=1):
        owner = OWNERS.get(layer["ownership"], delegated_to)
        if layer.get("operator"):
            owner += f", with {platform['operators'][layer['operator']]['csv']} from OperatorHub"
        yield f"{number:>2}  {layer['name']:<20} {layer['title']:<30} {owner}"


def _models(models: Iterable[Any]) -> Iterator[str]:
    every = list(models)
    if len(every) > MOST_MODELS:
        pods, gpus = sum(m.pods for m in every), sum(m.gpus for m in every)
        spaces = len({m.namespace for m in every})
        place = "1 namespace" if spaces == 1 else f"{spaces} namespaces"
        yield f"    {len(every)} models in {place}: {pods} pods with {gpus} GPUs"
        return
    for model in every:
        yield f"    model {model.namespace}/{model.name}: {_size(model)}, {model.uri}"


def _kept(kept: Mapping[str, str]) -> Iterator[str]:
    for release in sorted(set(kept.values())):
        names = sorted(model for model, own in kept.items() if own == release)
        more = f" and {len(names) - MOST_MODELS} more" if len(names) > MOST_MODELS else ""
        shown = ", ".join(names[:MOST_MODELS])
        yield f"    stays as release {release} made it, until models_move names it: {shown}{more}"


def _size(model: Any) -> str:
    """Pods and GPUs of all replicas together."""
    if model.state == "stopped":
        return "stopped"
    pods = "1 pod" if model.pods == 1 else f"{model.pods} pods"
    return f"{pods} with {model.gpus} x {model.gpu_product or 'any GPU'}" if model.gpus else pods
