"""Filters on the plan: which layers run, and what they are given."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

#: Tags that run every layer.
EVERY_LAYER = frozenset({"all", "layers", "verify"})


def selected_layers(
    layers: Iterable[Mapping[str, Any]], run_tags: Iterable[str], skip_tags: Iterable[str] = ()
) -> list[Mapping[str, Any]]:
    """The layers of this run: all of them, or those that --tags names, without those of --skip-tags."""
    wanted, unwanted = set(run_tags), set(skip_tags)
    if "layers" in unwanted:
        return []
    return [
        layer for layer in layers if (wanted & EVERY_LAYER or layer["name"] in wanted) and layer["name"] not in unwanted
    ]


#: Layers to which this installer adds something when they are somebody else's.
_ADDED_TO = frozenset({"inference_gateway"})


def layer_step(layer: Mapping[str, Any], run_tags: Iterable[str] = ()) -> str:
    """The tasks file of a layer: install, external or verify.

    External is for what this installer adds to a layer that somebody else lays; where it adds nothing, and where only
    gates are wanted, it is verify.
    """
    managed = layer["ownership"] == "managed"
    if _wants_gates_only(set(run_tags)) or not (managed or layer["name"] in _ADDED_TO):
        return "verify"
    return "install" if managed else "external"


def laid_layers(
    layers: Iterable[Mapping[str, Any]], run_tags: Iterable[str], skip_tags: Iterable[str] = ()
) -> list[str]:
    """Names of the layers that a run with these tags lays, if they are its own; validate alone is for a whole run."""
    tags = {"all"} if set(run_tags) == {"validate"} else set(run_tags)
    return [] if _wants_gates_only(tags) else [layer["name"] for layer in selected_layers(layers, tags, skip_tags)]


def _wants_gates_only(tags: Collection[str]) -> bool:
    return "verify" in tags and not {"all", "layers"} & set(tags)


def sets_of(lock: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The named CRD sets of the plan's lock, in the order of the names."""
    return {name: lock[name] for name in names}


def namespace_object(
    name: str, layer: str, more_labels: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Any]:
    """A Namespace of ours, with the labels of everything this installer applies directly.

    ``more_labels`` are further labels by namespace.
    """
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/managed-by": "inference-platform",
                "app.kubernetes.io/part-of": "inference-platform",
                "inference-platform.io/layer": layer,
                **(more_labels or {}).get(name, {}),
            },
        },
    }


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Any]:
        """Names as used in templates."""
        return {
            "laid_layers": laid_layers,
            "layer_step": layer_step,
            "namespace_object": namespace_object,
            "selected_layers": selected_layers,
            "sets_of": sets_of,
        }
