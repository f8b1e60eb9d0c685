"""Pins what the lock does not pin yet, and compares what it pins with its sources.

Whoever adds a release writes what is not known yet as such, and lets this find it out:

    images.yml   "3.5.1": tag:v3.5.1              becomes  "3.5.1": sha256:...
    crds.yml     url: https://...                 the line "unpinned" becomes "sha256: ..."
                 unpinned: not looked at yet
    charts.yml   unpinned: not looked at yet      becomes  sha256: ...

Only those lines are rewritten; comments and order stay.  What is pinned is never changed: where the source of a pin
has something else now, that is an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from inference_platform.catalog.load import UNPINNED_TAG, Loader

IMAGES, CRDS, CHARTS = "images.yml", "crds.yml", "charts.yml"


@dataclass(frozen=True)
class Upstream:
    """Where the truth is.

    download  the content behind a URL; raises OSError
    digest    of a repository and a tag or digest; raises ClusterError
    chart     the sha256 of the archive of a chart: of its repository, name and version; raises ClusterError
    """

    download: Callable[[str], bytes]
    digest: Callable[[str, str], str]
    chart: Callable[[str, str, str], str]


@dataclass
class Outcome:
    """Lines for people: what was pinned, and what could not be, or is not what the lock says."""

    pinned: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def pin(folder: Path, upstream: Upstream) -> Outcome:
    """Fills in the digests and checksums that the files in ``folder`` lack."""
    outcome = Outcome()
    for name, edit in ((IMAGES, _pin_images), (CRDS, _pin_crds), (CHARTS, _pin_charts)):
        path = folder / name
        before = path.read_text(encoding="utf-8")
        after = edit(before, upstream, outcome)
        if after != before:
            path.write_text(after, encoding="utf-8")
    return outcome


def compare(folder: Path, upstream: Upstream) -> Outcome:
    """Compares every pin with its source; changes nothing."""
    outcome = Outcome()
    for name, image in _read(folder / IMAGES)["images"].items():
        for version, digest in image["digests"].items():
            where = f"{IMAGES} {name} {version}"
            _attempt(outcome, where, upstream.digest, image["repository"], digest)
    for where, file in _crd_files(_read(folder / CRDS)):
        if "url" in file and "sha256" in file:
            found = _attempt(outcome, where, _sha256_of, upstream, file["url"])
            if found not in (None, file["sha256"]):
                outcome.problems.append(f"{where}: expected sha256 {file['sha256']}, found {found} at {file['url']}.")
    for where, name, version, chart in _charts(_read(folder / CHARTS)):
        locked = chart["versions"][version]
        if "sha256" in locked:
            found = _attempt(outcome, where, upstream.chart, chart["repository"], name, version)
            if found not in (None, locked["sha256"]):
                outcome.problems.append(
                    f"{where}: expected sha256 {locked['sha256']}, found {found} in {chart['repository']}."
                )
    return outcome


def _pin_images(text: str, upstream: Upstream, outcome: Outcome) -> str:
    for name, image in yaml.load(text, Loader=Loader)["images"].items():
        for version, digest in image["digests"].items():
            if not digest.startswith(UNPINNED_TAG):
                continue
            where, tag = f"{IMAGES} {name} {version}", digest.removeprefix(UNPINNED_TAG)
            found = _attempt(outcome, where, upstream.digest, image["repository"], tag)
            if found:
                line = re.compile(
                    rf'^(  {re.escape(name)}:\n(?: {{4,}}.*\n)*? {{6}}"?{re.escape(version)}"?: ){re.escape(digest)}$',
                    re.M,
                )
                text = _replaced(line, rf"\g<1>{found}", text, where)
                outcome.pinned.append(f"{where}: {found} ({tag})")
    return text


def _pin_crds(text: str, upstream: Upstream, outcome: Outcome) -> str:
    for where, file in _crd_files(yaml.load(text, Loader=Loader)):
        if "url" not in file or "unpinned" not in file:
            continue
        found = _attempt(outcome, where, _sha256_of, upstream, file["url"])
        if found:
            line = re.compile(
                rf"^( +)(- name: {re.escape(file['name'])}\n +url: {re.escape(file['url'])}\n) +unpinned: .*$", re.M
            )
            text = _replaced(line, rf"\g<1>\g<2>\g<1>  sha256: {found}", text, where)
            outcome.pinned.append(f"{where}: {found}")
    return text


def _pin_charts(text: str, upstream: Upstream, outcome: Outcome) -> str:
    for where, name, version, chart in _charts(yaml.load(text, Loader=Loader)):
        if "unpinned" not in chart["versions"][version]:
            continue
        found = _attempt(outcome, where, upstream.chart, chart["repository"], name, version)
        if found:
            line = re.compile(
                rf'^(  {re.escape(name)}:\n(?: {{4,}}.*\n)*? {{6}}"?{re.escape(version)}"?:\n(?: {{8,}}.*\n)*? {{8}})'
                r"unpinned: .*$",
                re.M,
            )
            text = _replaced(line, rf"\g<1>sha256: {found}", text, where)
            outcome.pinned.append(f"{where}: {found}")
    return text


def _charts(content: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for name, chart in content["charts"].items():
        for version in chart["versions"]:
            yield f"{CHARTS} {name} {version}", name, version, chart


def _replaced(line: re.Pattern[str], new: str, text: str, where: str) -> str:
    changed, count = line.subn(new, text, count=1)
    if count != 1:
        raise ValueError(
            f"{where}: expected name, url and unpinned (or the version) on lines of their own, in this order"
        )
    return changed


def _crd_files(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, versions in content["sets"].items():
        for version, files in versions.items():
            for file in files:
                yield f"{CRDS} {name} {version} {file['name']}", file


def _attempt(outcome: Outcome, where: str, ask: Callable[..., str], *arguments: Any) -> str | None:
    """The answer; None, and a problem more, when there is none."""
    from inference_platform.cluster.errors import ClusterError  # the client of clusters needs the catalogue

    try:
        return ask(*arguments)
    except (OSError, ClusterError) as error:
        outcome.problems.append(f"{where}: {error}")
        return None


def _sha256_of(upstream: Upstream, url: str) -> str:
    return hashlib.sha256(upstream.download(url)).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    return dict(yaml.load(path.read_text(encoding="utf-8"), Loader=Loader))
