"""Check the catalogue and its lock: ``python -m inference_platform.catalog``.

Prints every finding and a line that sums them up; exit code 1 when there is an error.
"""

from __future__ import annotations

import sys

from inference_platform.catalog.check import check
from inference_platform.catalog.load import Catalog, CatalogError, load
from inference_platform.findings import errors


def main() -> int:
    """Check the catalogue of this project."""
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


def summary(catalog: Catalog) -> str:
    """What was looked at: "2 releases, 60 image digests, 90 CRD files"."""
    digests = sum(len(image["digests"]) for image in catalog.images.values())
    files = sum(len(files) for versions in catalog.crds.values() for files in versions.values())
    return f"{len(catalog.releases)} releases, {digests} image digests, {files} CRD files"


if __name__ == "__main__":
    sys.exit(main())
