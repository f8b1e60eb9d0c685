"""Honesty of the catalogue beyond its shape: references resolve, the lock is sorted, complete and pinned.

The lock is what every release takes its artifacts from: image digests (images.yml), CRD files
(crds.yml), charts of others (charts.yml) and the charts of this project. ``python -m inference_platform.catalog``
runs all of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from inference_platform.catalog.load import UNPINNED_TAG, Catalog, of_distribution
from inference_platform.findings import ERROR, WARNING, Finding
from inference_platform.paths import CHARTS

_OWNERSHIP = ("managed", "delegated", "external")
#: The chart of every operator that OLM brings.
SUBSCRIPTION_CHART = "operator-subscription"
_EXACT_VERSION = re.compile(r"^v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$")

#: What to do about something without a pin.
HOW_TO_PIN = "Where there is internet, run `python -m inference_platform.catalog lock` and commit what it wrote."

Check = Callable[[Catalog], Iterator[Finding]]


def check(catalog: Catalog) -> list[Finding]:
    """Every problem of the catalogue. Unpinned CRD files and charts of others are warnings, the rest errors."""
    return [finding for part in _CHECKS for finding in part(catalog)]


def _problem(code: str, where: str, expected: str, found: str, remedy: str, severity: str = ERROR) -> Finding:
    return Finding(code, severity, f"catalog/{where}", expected, found, remedy)


def _needs_name_layers(catalog: Catalog) -> Iterator[Finding]:
    names = {layer["name"] for layer in catalog.layers}
    for layer in catalog.layers:
        for need in layer.get("needs", []):
            if need["layer"] not in names:
                yield _problem(
                    "IP-CAT-001",
                    f"layers.yml {layer['name']}.needs",
                    "the name of a layer",
                    need["layer"],
                    "Name a layer of layers.yml.",
                )


def _layers_have_gates(catalog: Catalog) -> Iterator[Finding]:
    names = {layer["name"] for layer in catalog.layers}
    for name in sorted(names ^ set(catalog.gates)):
        yield _problem(
            "IP-CAT-002",
            "gates.yml",
            "a gate for every layer and a layer for every gate",
            name,
            "Add the missing gate or layer.",
        )


def _charts_exist(catalog: Catalog) -> Iterator[Finding]:
    for layer in catalog.layers:
        for release in layer.get("releases", []):
            if "chart" in release and not (CHARTS / release["chart"] / "Chart.yaml").is_file():
                yield _problem(
                    "IP-CAT-003",
                    f"layers.yml {layer['name']}.releases",
                    "a folder of charts/ with a Chart.yaml",
                    release["chart"],
                    "Add the chart or correct its name.",
                )


def _crd_sets_exist(catalog: Catalog) -> Iterator[Finding]:
    used = {entry["set"] for layer in catalog.layers for entry in layer.get("crds", [])}
    gated = {
        name
        for groups in catalog.gates.values()
        for group in groups
        for item in group["checks"]
        for name in item.get("sets", [])
    }
    for name in sorted((used | gated) - set(catalog.crds)):
        yield _problem("IP-CAT-004", "crds.yml", f"the CRD set {name}", "nothing", "Add the set to the lock.")


def _release_versions_are_locked(catalog: Catalog) -> Iterator[Finding]:
    for key, release in catalog.releases.items():
        where = f"releases/{key}.yml"
        for path, images in _image_choices(release):
            for name, version in images.items():
                if version not in catalog.images.get(name, {}).get("digests", {}):
                    yield _problem(
                        "IP-CAT-005",
                        f"{where} {path}.{name}",
                        "an image and version of images.yml",
                        version,
                        "Lock the digest in images.yml.",
                    )
        for path, crds in _crd_choices(release):
            for name, version in crds.items():
                if version not in catalog.crds.get(name, {}):
                    yield _problem(
                        "IP-CAT-006",
                        f"{where} {path}.{name}",
                        "a CRD set and version of crds.yml",
                        version,
                        "Lock the files in crds.yml.",
                    )


def _locked_versions_are_used(catalog: Catalog) -> Iterator[Finding]:
    images, crds = set(), set()
    for release in catalog.releases.values():
        images |= {(name, version) for _, chosen in _image_choices(release) for name, version in chosen.items()}
        crds |= {(name, version) for _, chosen in _crd_choices(release) for name, version in chosen.items()}
    locked = {(name, version) for name, image in catalog.images.items() for version in image["digests"]}
    files = {(name, version) for name, versions in catalog.crds.items() for version in versions}
    for where, unused in (("images.yml", locked - images), ("crds.yml", files - crds)):
        for name, version in sorted(unused):
            yield _problem(
                "IP-CAT-012",
                f"{where} {name}",
                "only versions that a release takes",
                version,
                "Remove it from the lock, or choose it in a release.",
            )


def _crd_sets_have_versions(catalog: Catalog) -> Iterator[Finding]:
    """Every set that a layer applies has a version in every release, or in each line that has the layer."""
    for key, release in catalog.releases.items():
        for layer in catalog.layers:
            lines = (layer.get("when") or {}).get("engine_line", [])
            chosen = [line.get("crds", {}) for name, line in release["engine_lines"].items() if name in lines]
            for entry in layer.get("crds", []):
                if not _is_in_release(entry, key):
                    continue
                name = entry["set"]
                if name not in release["crds"] and not (chosen and all(name in crds for crds in chosen)):
                    yield _problem(
                        "IP-CAT-013",
                        f"releases/{key}.yml crds",
                        f"a version of the set {name}, which layer {layer['name']} applies",
                        "nothing",
                        "Choose a version of crds.yml.",
                    )


def _is_in_release(entry: dict[str, Any], release: str) -> bool:
    return release in (entry.get("when") or {}).get("release", [release])


def _engines_have_crds(catalog: Catalog) -> Iterator[Finding]:
    for key, release in catalog.releases.items():
        for provider, choice in release["providers"].items():
            line = release["engine_lines"].get(choice["engine_line"], {})
            if "dependencies" not in line or provider not in catalog.providers:
                continue
            engine = catalog.providers[provider].get("engine", {})
            wanted = f"{engine.get('plural')}.infrastructure.opendatahub.io"
            version = line.get("crds", {}).get("cloud-manager", "")
            files = catalog.crds.get("cloud-manager", {}).get(version, [])
            if wanted not in {file["name"] for file in files}:
                yield _problem(
                    "IP-CAT-014",
                    f"releases/{key}.yml providers.{provider}",
                    f"the CRD of the provider's engine in line {choice['engine_line']}",
                    wanted,
                    "Lock it under cloud-manager in crds.yml, or give the provider another line.",
                )


def _charts_are_pinned(catalog: Catalog) -> Iterator[Finding]:
    used = {release.get("chart") for layer in catalog.layers for release in layer.get("releases", [])}
    used |= {SUBSCRIPTION_CHART for layer in catalog.layers if "operator" in layer}
    for path in sorted(CHARTS.glob("*/Chart.yaml")):
        name, chart = path.parent.name, _chart(path)
        where = f"../charts/{name}/Chart.yaml"
        if name not in used:
            yield _problem("IP-CAT-015", where, "only charts of a layer", name, "Use the chart in layers.yml.")
        pins = [("version", chart.get("version"))]
        pins += [(f"dependencies.{item['name']}", item.get("version")) for item in chart.get("dependencies", [])]
        for field, version in pins:
            if not _EXACT_VERSION.match(str(version)):
                yield _problem(
                    "IP-CAT-016", f"{where} {field}", "one exact version", str(version), "Write major.minor.patch."
                )


@cache
def _chart(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _published_charts_are_locked(catalog: Catalog) -> Iterator[Finding]:
    """Every published chart of a layer has a version in each distribution that takes it, and no other one is locked."""
    used: set[tuple[str, str]] = set()
    for key, release in catalog.releases.items():
        for distribution in release["distributions"]:
            chosen = of_distribution(release, distribution).get("charts", {})
            used |= set(chosen.items())
            for name in _published(catalog, key, distribution):
                version = chosen.get(name, "nothing")
                if version not in catalog.charts.get(name, {}).get("versions", {}):
                    yield _problem(
                        "IP-CAT-019",
                        f"releases/{key}.yml of_distribution.{distribution}.charts.{name}",
                        "a version of charts.yml",
                        version,
                        "Choose the version, and lock it in charts.yml.",
                    )
    locked = {(name, version) for name, chart in catalog.charts.items() for version in chart["versions"]}
    for name, version in sorted(locked - used):
        yield _problem(
            "IP-CAT-012",
            f"charts.yml {name}",
            "only versions that a release takes",
            version,
            "Remove it from the lock, or choose it in a release.",
        )


def _published(catalog: Catalog, release: str, distribution: str) -> Iterator[str]:
    for layer in catalog.layers:
        for entry in layer.get("releases", []):
            facts = entry.get("when") or {}
            taken = distribution in facts.get("distribution", [distribution]) and _is_in_release(entry, release)
            if "published" in entry and taken:
                yield entry["published"]


def _published_charts_are_pinned(catalog: Catalog) -> Iterator[Finding]:
    for name, chart in catalog.charts.items():
        for version, locked in chart["versions"].items():
            if "unpinned" in locked:
                yield _problem(
                    "IP-CAT-031", f"charts.yml {name} {version}", "a sha256", locked["unpinned"], HOW_TO_PIN, WARNING
                )


def _crd_choices(release: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    yield "crds", release["crds"]
    for name, own in release.get("of_distribution", {}).items():
        yield f"of_distribution.{name}.crds", own.get("crds", {})
    for name, line in release["engine_lines"].items():
        yield f"engine_lines.{name}.crds", line.get("crds", {})
        for layer, crds in line.get("delegated_crds", {}).items():
            yield f"engine_lines.{name}.delegated_crds.{layer}", crds


def _image_choices(release: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    yield "images", release["images"]
    for name, own in release.get("of_distribution", {}).items():
        yield f"of_distribution.{name}.images", own.get("images", {})
    for name, line in release["engine_lines"].items():
        yield f"engine_lines.{name}.images", line.get("images", {})
        for layer, images in line.get("delegated_images", {}).items():
            yield f"engine_lines.{name}.delegated_images.{layer}", images


def _related_images_are_chosen(catalog: Catalog) -> Iterator[Finding]:
    for key, release in catalog.releases.items():
        for user, entries in release["related_images"].items():
            for entry in entries:
                if entry.get("image", next(iter(release["images"]))) not in release["images"]:
                    yield _problem(
                        "IP-CAT-007",
                        f"releases/{key}.yml related_images.{user}",
                        "an image of the release",
                        entry["image"],
                        "Choose a version of the image under images.",
                    )


def _releases_use_known_names(catalog: Catalog) -> Iterator[Finding]:
    for key, release in catalog.releases.items():
        for kind, used, known in (
            ("distribution", release["distributions"], catalog.distributions),
            ("provider", release["providers"], catalog.providers),
            (
                "line of the cloud manager",
                [choice["engine_line"] for choice in release["providers"].values()],
                release["engine_lines"],
            ),
        ):
            for name in used:
                if name not in known:
                    yield _problem("IP-CAT-008", f"releases/{key}.yml", f"a known {kind}", name, "Correct the name.")


def _refusals_have_reasons(catalog: Catalog) -> Iterator[Finding]:
    for key, release in catalog.releases.items():
        for name, line in release["engine_lines"].items():
            possible = line["ownership"].values()
            refused = {word for word in _OWNERSHIP if any(word not in choices for choices in possible)}
            for word in sorted(refused - set(line["refusals"])):
                yield _problem(
                    "IP-CAT-011",
                    f"releases/{key}.yml engine_lines.{name}.refusals",
                    "a reason for every ownership that is not possible",
                    word,
                    "Add reason and nearest.",
                )


def _operators_are_known(catalog: Catalog) -> Iterator[Finding]:
    """Every release on a provider with OLM says what OLM installs for each layer with an operator."""
    wanted = sorted({layer["operator"]["name"] for layer in catalog.layers if "operator" in layer})
    for key, release in catalog.releases.items():
        providers = [name for name in release["providers"] if catalog.providers.get(name, {}).get("route") == "olm"]
        operators = release.get("olm", {}).get("operators", {})
        for name in wanted if providers else []:
            if name not in operators:
                yield _problem(
                    "IP-CAT-017",
                    f"releases/{key}.yml olm.operators",
                    f"the operator {name}, which {', '.join(providers)} takes from OLM",
                    "nothing",
                    "Lock package, channel and csv, or leave the provider out.",
                )
        for name, operator in operators.items():
            if operator["namespace"] not in release["namespaces"]:
                yield _problem(
                    "IP-CAT-018",
                    f"releases/{key}.yml olm.operators.{name}.namespace",
                    "one of the release's namespaces",
                    operator["namespace"],
                    "Correct the name.",
                )


def _images_are_pinned(catalog: Catalog) -> Iterator[Finding]:
    for name, image in catalog.images.items():
        for version, digest in image["digests"].items():
            if digest.startswith(UNPINNED_TAG):
                yield _problem("IP-CAT-030", f"images.yml {name} {version}", "a digest", digest, HOW_TO_PIN)


def _crd_files_are_pinned(catalog: Catalog) -> Iterator[Finding]:
    for name, versions in catalog.crds.items():
        for version, files in versions.items():
            for file in files:
                if "unpinned" in file:
                    yield _problem(
                        "IP-CAT-009",
                        f"crds.yml {name}.{version} {file['name']}",
                        "a url and its sha256",
                        file["unpinned"],
                        HOW_TO_PIN if "url" in file else "Pin the file when its source is known.",
                        WARNING,
                    )


def _locks_are_sorted(catalog: Catalog) -> Iterator[Finding]:
    lists = {
        "images.yml": list(catalog.images),
        "crds.yml": list(catalog.crds),
        "charts.yml": list(catalog.charts),
    }
    lists |= {f"images.yml {name}": list(image["digests"]) for name, image in catalog.images.items()}
    for name, versions in catalog.crds.items():
        lists[f"crds.yml {name}"] = list(versions)
        for version, files in versions.items():
            lists[f"crds.yml {name}.{version}"] = [file["name"] for file in files]
    for key, release in catalog.releases.items():
        lists[f"releases/{key}.yml images"] = list(release["images"])
        lists[f"releases/{key}.yml crds"] = list(release["crds"])
    for where, names in lists.items():
        if names != sorted(set(names)):
            yield _problem("IP-CAT-010", where, "names in order, each once", ", ".join(names), "Sort the entries.")


_CHECKS: tuple[Check, ...] = (
    _needs_name_layers,
    _layers_have_gates,
    _charts_exist,
    _crd_sets_exist,
    _release_versions_are_locked,
    _related_images_are_chosen,
    _releases_use_known_names,
    _refusals_have_reasons,
    _locked_versions_are_used,
    _crd_sets_have_versions,
    _engines_have_crds,
    _charts_are_pinned,
    _published_charts_are_locked,
    _operators_are_known,
    _images_are_pinned,
    _crd_files_are_pinned,
    _published_charts_are_pinned,
    _locks_are_sorted,
)
