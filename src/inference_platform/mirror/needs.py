"""What an inventory needs from outside of its cluster: images, CRD files, charts, and data that only the site has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from inference_platform.catalog.load import Catalog, load
from inference_platform.mirror.images import images_in, mirrored, with_registry
from inference_platform.paths import CHARTS
from inference_platform.platform.plan import charts_of
from inference_platform.platform.resolve import HELM, OLM

SERVICE = "LLMInferenceService"
DELEGATED, EXTERNAL = "delegated", "external"
# The layer of the images that no other layer has for itself.
THE_REST = "platform_operator"
# Schemes of model sources that are no image and do not lie in the cluster.
FETCHED = ("hf://", "s3://", "gs://", "http://", "https://")


@dataclass(frozen=True)
class Image:
    """An image: where it is published, where the mirror has it (empty without one), and who uses it.

    ``rewritten`` is False where objects keep the reference, so that the container runtime of the nodes has to be told
    of the mirror: what a cloud manager or the chart of others brings along, and on OpenShift all.
    """

    source: str
    target: str
    used_by: tuple[str, ...]
    rewritten: bool


@dataclass(frozen=True)
class File:
    """A file with CRDs: its URL, checksum, place in the mirror (``path``), and the CRDs that are taken from it."""

    url: str
    sha256: str
    path: str
    crds: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """A chart: of this repository, so nothing to fetch, or with the ``repository`` where others publish it.

    ``sha256`` is that of the archive; empty where nobody knows it yet.
    """

    name: str
    version: str
    layer: str
    repository: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Data:
    """Weights that the site has to provide itself, and the models that take them."""

    uri: str
    used_by: tuple[str, ...]


@dataclass(frozen=True)
class Needs:
    """All of it, each list sorted. ``registry`` is the mirror that the targets are in; empty without one.

    ``route`` is that of the plan, helm or olm.
    """

    registry: str
    route: str
    images: tuple[Image, ...]
    files: tuple[File, ...]
    charts: tuple[Chart, ...]
    data: tuple[Data, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the same keys."""
        return asdict(self)


def list_needs(
    plan: Mapping[str, Any],
    objects: Iterable[Mapping[str, Any]],
    *,
    entries: Iterable[Mapping[str, Any]] = (),
    sources: Mapping[str, str] | None = None,
    registry: str = "",
    own_crds: bool = False,
    catalog: Catalog | None = None,
) -> Needs:
    """What ``plan`` (as plain data) and the ``objects`` of its models need.

    ``entries`` are the completed entries of these models (``RenderResult.entries``), for their adapters.
    ``sources`` says of images that are in a mirror already what they were before
    (``RenderResult.mirrored``); ``registry`` is the mirror for the targets; ``own_crds`` says
    that the inventory has the CRDs in a folder (``crd_directory``), so no file is fetched.
    """
    catalog = catalog or load()
    services = [item for item in objects if item["kind"] == SERVICE]
    return Needs(
        registry=registry,
        route=plan["route"],
        images=_images(plan, services, sources or {}, registry, catalog),
        files=() if own_crds else _files(plan),
        charts=_charts(plan),
        data=_data(services, entries),
    )


def _images(
    plan: Mapping[str, Any],
    services: Iterable[Mapping[str, Any]],
    sources: Mapping[str, str],
    registry: str,
    catalog: Catalog,
) -> tuple[Image, ...]:
    owners = {layer["name"]: layer["ownership"] for layer in plan["layers"]}
    layers = {image: layer["name"] for layer in catalog.layers for image in layer.get("images", [])}
    users: dict[str, set[str]] = {}
    kept: set[str] = set()
    # On the route olm the operators' bundles name the images; `oc mirror` follows those.
    of_platform = plan["images"] if plan["route"] == HELM else {}
    for name, reference in of_platform.items():
        layer = layers.get(name, THE_REST)
        owner = owners.get(layer, EXTERNAL)
        if owner != EXTERNAL:
            users.setdefault(reference, set()).add(layer)
            if owner == DELEGATED:
                kept.add(reference)
    for layer, chart in _published(plan):
        for name, reference in chart["images"].items():
            users.setdefault(reference, set()).add(layer)
            if name in chart["fixed"]:
                kept.add(reference)
    for service in services:
        for reference in images_in(service):
            source = with_registry(sources.get(reference, reference))
            users.setdefault(source, set()).add(_model(service))
            if plan["route"] == OLM:  # platform_image_registry, which would rewrite it, is refused there
                kept.add(source)
    return tuple(
        Image(source, mirrored(source, registry) if registry else "", tuple(sorted(names)), source not in kept)
        for source, names in sorted(users.items())
    )


def _published(plan: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Layer and description of each chart that others publish."""
    for layer in plan["layers"]:
        for release in layer["releases"]:
            if release["published"]:
                yield layer["name"], release["published"]


def _files(plan: Mapping[str, Any]) -> tuple[File, ...]:
    names: dict[tuple[str, str], list[str]] = {}
    for layer in plan["layers"]:
        for chosen in layer["crds"]:
            for file in plan["crds"][chosen]["files"]:
                if "url" in file and "sha256" in file:
                    names.setdefault((file["url"], file["sha256"]), []).append(file["name"])
    return tuple(
        File(url, sha256, f"{urlsplit(url).netloc}{urlsplit(url).path}", tuple(sorted(crds)))
        for (url, sha256), crds in sorted(names.items())
    )


def _charts(plan: Mapping[str, Any]) -> tuple[Chart, ...]:
    own = (
        Chart(chart, _chart_version(CHARTS / chart), layer["name"])
        for layer in plan["layers"]
        for chart in charts_of(layer)
    )
    others = (
        Chart(chart["name"], chart["version"], layer, chart["repository"], chart["sha256"] or "")
        for layer, chart in _published(plan)
    )
    return (*own, *others)


def _chart_version(folder: Path) -> str:
    return str(yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))["version"])


def _data(services: Iterable[Mapping[str, Any]], entries: Iterable[Mapping[str, Any]]) -> tuple[Data, ...]:
    users: dict[str, set[str]] = {}
    pairs = [(uri, _model(service)) for service in services for uri in _uris(service["spec"])]
    # Adapters that vLLM is told of by arguments have no uri in the object.
    for entry in entries:
        name = f"model {entry['namespace']}/{entry['name']}"
        pairs += [(adapter["uri"], name) for adapter in entry.get("lora", {}).get("adapters", [])]
    for uri, name in pairs:
        if uri.startswith(FETCHED):
            users.setdefault(uri, set()).add(name)
    return tuple(Data(uri, tuple(sorted(names))) for uri, names in sorted(users.items()))


def _uris(spec: Mapping[str, Any]) -> Iterator[str]:
    """Where a model and its adapters come from; what KServe does not attach, it does not fetch (models.md 3.7)."""
    model = spec["model"]
    if spec.get("storageInitializer", {}).get("enabled") is not False:
        yield str(model.get("uri", ""))
    yield from (str(adapter.get("uri", "")) for adapter in model.get("lora", {}).get("adapters", []))


def _model(service: Mapping[str, Any]) -> str:
    return f"model {service['metadata']['namespace']}/{service['metadata']['name']}"
