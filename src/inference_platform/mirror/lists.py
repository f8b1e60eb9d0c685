"""The needs as a table for people and as files for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from inference_platform.mirror import nodes
from inference_platform.mirror.needs import Needs
from inference_platform.platform.resolve import HELM, OLM

#: Files that some needs have and others have not, as patterns of pathlib.
_NOT_ALWAYS = (
    *("charts.txt", "mapping.txt", "mapping-oc.txt"),
    *(nodes.REGISTRIES_CONF, nodes.HOSTS_TOML.format(registry="*"), nodes.MIRROR_SET),
)
#: Why an image keeps its reference, by the route of the plan.
_WHY_KEPT = {
    HELM: "[brought by the cloud manager or a chart of others: the nodes need the mirror]",
    OLM: "[named by a model: the nodes need the mirror]",
}
_OF_THE_CATALOGUE = (
    "the platform's own come with the operators' catalogue, by `oc mirror`: docs/air-gap.md, section OpenShift",
)
#: Hexadecimal digits of a digest in the tag that `oc image mirror` gives the copy.
_DIGITS_OF_TAG = 12


def as_text(needs: Needs) -> str:
    """Sections with one line for each image, file, chart, and source of weights."""
    return "\n".join(
        [
            *_section(f"images: {len(needs.images)}", _images(needs)),
            *_section(f"CRD files: {len(needs.files)}", ((item.url, item.sha256, *item.crds) for item in needs.files)),
            *_section(
                f"charts, in this repository: {sum(not item.repository for item in needs.charts)}",
                ((item.name, item.version, item.layer) for item in needs.charts if not item.repository),
            ),
            *_charts_of_others(needs),
            *_section(
                f"weights that the site must provide: {len(needs.data)}",
                ((item.uri, *item.used_by) for item in needs.data),
            ),
        ]
    )


def _charts_of_others(needs: Needs) -> Iterable[str]:
    """Only where there are some."""
    rows = [
        (f"{item.repository}/{item.name}", item.version, item.sha256 or "[sha256 not known]", item.layer)
        for item in needs.charts
        if item.repository
    ]
    return _section(f"charts that others publish: {len(rows)}", rows) if rows else ()


def _images(needs: Needs) -> Iterator[Iterable[str]]:
    for item in needs.images:
        note = () if item.rewritten else (_WHY_KEPT[needs.route],)
        yield (item.target or item.source, *note, *item.used_by)
    if needs.route == OLM:
        yield _OF_THE_CATALOGUE


def _section(title: str, rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield title
    yield from (f"  {'  '.join(row)}" for row in rows)


def files(needs: Needs) -> dict[str, str]:
    """Name -> content. With a mirror also the pairs and what the container runtimes of the nodes read."""
    found = {
        "mirror.json": json.dumps(needs.to_dict(), indent=2) + "\n",
        "images.txt": _lines(item.source for item in needs.images),
        "files.txt": _lines(item.url for item in needs.files),
        "SHA256SUMS": _lines(f"{item.sha256}  files/{item.path}" for item in needs.files),
    }
    charts = [item for item in needs.charts if item.repository]
    if charts:
        found["charts.txt"] = _lines(f"{item.repository}/{item.name} {item.version} {item.sha256}" for item in charts)
    if needs.registry:
        found["mapping.txt"] = _lines(f"{item.source}={item.target}" for item in needs.images)
        found["mapping-oc.txt"] = _lines(f"{item.source}={_for_oc(item.target)}" for item in needs.images)
    return found | nodes.files(needs)


def write(needs: Needs, folder: Path, *, check: bool = False) -> bool:
    """Write the files where they differ, and remove those of earlier needs; whether any did differ.

    In check mode nothing is written.
    """
    changed = False
    made = files(needs)
    for path in _left_over(folder, made):
        changed = True
        if not check:
            path.unlink()
            _remove_empty(path.parent, folder)
    for name, text in made.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            changed = True
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    return changed


def _left_over(folder: Path, made: Mapping[str, str]) -> list[Path]:
    """Files of earlier needs that these have not."""
    found = (path for pattern in _NOT_ALWAYS for path in folder.glob(pattern))
    return sorted(path for path in found if str(path.relative_to(folder)) not in made)


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove the folder, and those above it up to ``top``, as far as nothing is in them."""
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _for_oc(target: str) -> str:
    """The target as `oc image mirror` takes it: without a digest, which it refuses there.

    A tag made of the digest takes its place, because oc also refuses the same target twice, and releases have several
    images of one repository (ParseDestinationReference and parseArgs of openshift/oc). The copy keeps its digest.
    """
    name, _, digest = target.partition("@")
    if not digest or ":" in name.rpartition("/")[2]:
        return name
    return f"{name}:digest-{digest.partition(':')[2][:_DIGITS_OF_TAG]}"


def _lines(items: Iterable[str]) -> str:
    return "".join(f"{item}\n" for item in items)
