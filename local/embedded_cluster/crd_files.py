"""CRD files for the embedded cluster, taken from the Go modules that are compiled anyway.

Each set becomes a folder of JSON files (`<set>/<crd name>.json`): JSON loads ten times faster than YAML,
and two of the files hold a megabyte. What no registry carries comes from our own small schemas in
`standins/crds/`. Real clusters never see these files: the installer's lock names the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Source:
    """CRDs of one set: a Go module and the files in it (a glob relative to the module)."""

    crd_set: str
    module: str
    files: str


SOURCES = (
    Source("gateway-api", "sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_*.yaml"),
    Source("cert-manager", "github.com/cert-manager/cert-manager", "deploy/crds/crd-*.yaml"),
    Source("istio", "istio.io/api", "kubernetes/customresourcedefinitions.gen.yaml"),
    Source("lws", "sigs.k8s.io/lws", "config/crd/bases/leaderworkerset.x-k8s.io_leaderworkersets.yaml"),
    Source("inference-extension", "sigs.k8s.io/gateway-api-inference-extension", "config/crd/bases/*.yaml"),
    # The "minimal" files are the full ones without descriptions: half the size, the same schema.
    Source("kserve-llmisvc", "github.com/kserve/kserve", "config/crd/minimal/llmisvc/serving.kserve.io_*.yaml"),
)

# Metadata that belongs to the chart or tool a file was written for, not to the CRD.
_FOREIGN_ANNOTATIONS = ("helm.sh/", "cert-manager.io/", "controller-gen.kubebuilder.io/")


def write_all(target: Path, module_dir: Callable[[str], Path], standins: Path) -> None:
    """Write every set below `target`.

    `module_dir` maps a Go module path to its folder in the module cache; `standins` holds one folder of
    YAML files per set. Raises FileNotFoundError when a source matches no file (a changed module layout).
    """
    for source in SOURCES:
        files = sorted(module_dir(source.module).glob(source.files))
        if not files:
            raise FileNotFoundError(f"{source.module}: no file matches {source.files}")
        for file in files:
            _write_file(target / source.crd_set, file)
    for file in sorted(standins.glob("*/*.yaml")):
        _write_file(target / file.parent.name, file)


def _write_file(folder: Path, file: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for document in yaml.load_all(file.read_text(), Loader=_Loader):
        if document and document.get("kind") == "CustomResourceDefinition":
            crd = clean(document)
            (folder / f"{crd['metadata']['name']}.json").write_text(
                json.dumps(crd, separators=(",", ":"), sort_keys=True)
            )


def clean(crd: dict[str, Any]) -> dict[str, Any]:
    """The CRD without status, labels and the annotations of foreign tools; the input is left alone."""
    metadata = crd["metadata"]
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith(_FOREIGN_ANNOTATIONS)
    }
    kept = {"name": metadata["name"], **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": crd["apiVersion"], "kind": crd["kind"], "metadata": kept, "spec": crd["spec"]}
