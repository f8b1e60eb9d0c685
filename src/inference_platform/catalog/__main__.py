"""The catalogue and its lock: ``python -m inference_platform.catalog [check | lock | compare]``.

check    every finding about the catalogue, and a line that sums them up (the default; needs no network)
lock     looks up digests and checksums that are not pinned yet, and writes them
compare  asks the sources of all pins whether they still have what was pinned

Exit code 1 when there is an error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from inference_platform.catalog import lock
from inference_platform.catalog.check import check
from inference_platform.catalog.load import Catalog, CatalogError, load
from inference_platform.findings import errors
from inference_platform.paths import CATALOG


def main(arguments: Sequence[str] = ()) -> int:
    """Runs one of the commands on the catalogue of this project."""
    parser = argparse.ArgumentParser(prog="python -m inference_platform.catalog", description="The catalogue's lock.")
    parser.add_argument("command", nargs="?", choices=("check", "lock", "compare"), default="check")
    parser.add_argument("--auth-file", help="Docker config.json with credentials of the registries")
    chosen = parser.parse_args(arguments)
    if chosen.command == "check":
        return _check()
    upstream = _upstream(chosen.auth_file)
    outcome = (lock.pin if chosen.command == "lock" else lock.compare)(CATALOG, upstream)
    for line in (*outcome.pinned, *outcome.problems):
        print(line)
    print(f"{len(outcome.pinned)} pinned, {len(outcome.problems)} problems")
    return 1 if outcome.problems else 0


def _check() -> int:
    try:
        catalog = load()
    except CatalogError as error:
        print(error, file=sys.stderr)
        return 1
    findings = check(catalog)
    for finding in findings:
        print(finding)
    wrong = len(errors(findings))
    print(f"{summary(catalog)}: {wrong} errors, {len(findings) - wrong} warnings")
    return 1 if wrong else 0


def _upstream(auth_file: str | None) -> lock.Upstream:
    from inference_platform.cluster import charts, crds, registry

    return lock.Upstream(
        crds.download, lambda repository, name: registry.digest_of(repository, name, auth_file), charts.sha256_of
    )


def summary(catalog: Catalog) -> str:
    """What was looked at: "2 releases, 60 image digests, 90 CRD files, 7 published charts"."""
    digests = sum(len(image["digests"]) for image in catalog.images.values())
    files = sum(len(files) for versions in catalog.crds.values() for files in versions.values())
    charts = sum(len(chart["versions"]) for chart in catalog.charts.values())
    return f"{len(catalog.releases)} releases, {digests} image digests, {files} CRD files, {charts} published charts"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
