"""The charts as test cases: which values to render each with, and helpers to look at the result."""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
CHARTS = REPOSITORY / "charts"

IMAGE = re.compile(r"[a-z0-9.-]+(:[0-9]+)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}")

# Namespace of each chart's release (facts: platform.md 7.1 and 7.2).
RELEASE_NAMESPACES = {
    "cert-manager-operator": "cert-manager-operator",
    "sail-operator": "istio-system",
    "istio": "istio-system",
    "lws-operator": "openshift-lws-operator",
    "lws": "openshift-lws-operator",
    "kserve": "redhat-ods-applications",
    "cloud-manager": "rhai-cloudmanager-system",
    "kubernetes-engine": "rhai-cloudmanager-system",
    "pki": "cert-manager",
    "rhai-operator": "redhat-ods-operator",
    "platform": "redhat-ods-applications",
    "kserve-instance": "redhat-ods-applications",
    "inference-gateway": "redhat-ods-applications",
    "operator-subscription": "cert-manager-operator",
    "openshift-gateway-class": "redhat-ods-applications",
    "data-science-cluster": "redhat-ods-operator",
    "openshift-gateway": "openshift-ingress",
}

# Charts that cannot be rendered without values of the user.
NEED_VALUES = {"inference-gateway", "operator-subscription"}


@dataclass(frozen=True)
class Case:
    """One chart with one set of values: its defaults, or those and a file of its ci folder."""

    chart: str
    values_file: Path | None = None

    @property
    def namespace(self) -> str:
        return RELEASE_NAMESPACES[self.chart]

    @property
    def folder(self) -> Path:
        return CHARTS / self.chart

    def values(self) -> dict[str, Any]:
        """The chart's defaults with the case's file merged over them, as Helm does it."""
        values = load_yaml(self.folder / "values.yaml")
        return merged(values, load_yaml(self.values_file)) if self.values_file else values

    def __str__(self) -> str:
        return f"{self.chart}-{self.values_file.stem.removesuffix('-values')}" if self.values_file else self.chart


@dataclass
class Helm:
    """The helm program; renders each case with the same arguments only once."""

    program: str
    _cache: dict[tuple[Case, tuple[str, ...]], str] = field(default_factory=dict, repr=False)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs helm and returns its output and status, whatever the status is."""
        return subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False)

    def template(self, case: Case, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Renders a case, without the cache; ``arguments`` come last and win over the case's values."""
        files = ["--values", str(case.values_file)] if case.values_file else []
        return self.run("template", case.chart, str(case.folder), "--namespace", case.namespace, *files, *arguments)

    def text(self, case: Case, *arguments: str) -> str:
        """The rendered YAML of a case; an AssertionError with helm's message if it does not render."""
        key = (case, arguments)
        if key not in self._cache:
            result = self.template(case, *arguments)
            assert result.returncode == 0, f"helm template {case} {' '.join(arguments)}: {result.stderr}"
            self._cache[key] = result.stdout
        return self._cache[key]

    def objects(self, case: Case, *arguments: str) -> list[dict[str, Any]]:
        """The rendered objects of a case, in the order Helm would install them."""
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return [obj for obj in yaml.load_all(self.text(case, *arguments), Loader=loader) if obj]


def all_cases() -> list[Case]:
    """Every chart with its defaults (where it has them all) and with each of its ci files."""
    cases = []
    for chart in RELEASE_NAMESPACES:
        if chart not in NEED_VALUES:
            cases.append(Case(chart))
        cases += [Case(chart, path) for path in sorted((CHARTS / chart / "ci").glob("*-values.yaml"))]
    return cases


def case(chart: str, values: str | None = None) -> Case:
    """A case by chart and the name of its ci file (without ``-values.yaml``)."""
    return Case(chart, CHARTS / chart / "ci" / f"{values}-values.yaml" if values else None)


def load_yaml(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def merged(base: Any, over: Any) -> Any:
    """Merges values as Helm does: maps key by key, everything else is replaced."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return copy.deepcopy(over)
    result = copy.deepcopy(base)
    for key, value in over.items():
        result[key] = merged(result.get(key), value)
    return result


def named(objects: list[dict[str, Any]], kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
    """The one object of that kind and name."""
    found = [
        obj
        for obj in objects
        if obj["kind"] == kind
        and obj["metadata"]["name"] == name
        and namespace in (None, obj["metadata"].get("namespace"))
    ]
    assert len(found) == 1, f"expected one {kind} {name}, found {len(found)} in {[label(o) for o in objects]}"
    return found[0]


def label(obj: Mapping[str, Any]) -> str:
    """Kind and name of an object, for messages."""
    metadata = obj["metadata"]
    return f"{obj['kind']} {metadata['namespace'] + '/' if 'namespace' in metadata else ''}{metadata['name']}"


def pod_specs(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pod specs of all workloads among the objects, with the workload's name."""
    for obj in objects:
        template = obj.get("spec", {}).get("template") if isinstance(obj.get("spec"), dict) else None
        if isinstance(template, dict) and "containers" in template.get("spec", {}):
            yield label(obj), template["spec"]


def strings(value: Any) -> Iterator[str]:
    """All strings in a structure, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for child in value.values():
            yield from strings(child)
    elif isinstance(value, list):
        for child in value:
            yield from strings(child)
