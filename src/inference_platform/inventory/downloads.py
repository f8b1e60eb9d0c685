"""Check where an inventory takes CRD files and charts of others from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from inference_platform.findings import Finding, show
from inference_platform.paths import expanded
from inference_platform.problems import Reporter
from inference_platform.schema import or_list

WRONG_URL = "IP-INV-023"
NO_FOLDER = "IP-INV-024"
TWO_SOURCES = "IP-PLT-029"

FOLDER, CRD_MIRROR, CHART_MIRROR = "crd_directory", "platform_crd_mirror", "platform_chart_mirror"
#: How the URL of a mirror may begin: CRD files are fetched by Python's urllib, charts by `helm pull`.
SCHEMES = {CRD_MIRROR: ("https", "http", "file"), CHART_MIRROR: ("oci", "https", "http")}


def check_downloads(variables: Mapping[str, Any], report: Reporter, *, lays_crds: bool) -> Iterator[Finding]:
    """Findings about mirrors and the folder of CRD files; credentials in a URL are not shown.

    lays_crds  whether a layer takes CRD files from anywhere; else the folder need not be there
    """
    for name, schemes in SCHEMES.items():
        text = variables.get(name)
        if text and isinstance(text, str):
            yield from _check_url(name, text, schemes, report)
    folder = variables.get(FOLDER)
    if not folder or not isinstance(folder, str):
        return
    if variables.get(CRD_MIRROR):
        yield report.error(
            TWO_SOURCES,
            (FOLDER,),
            f"{FOLDER} or {CRD_MIRROR}",
            "both",
            f"Remove one of them: with {FOLDER} no mirror is asked.",
        )
    place = expanded(folder)
    if lays_crds and not os.path.isdir(place):
        yield report.error(
            NO_FOLDER,
            (FOLDER,),
            "a folder with the CRD files, as <set>/<name>.json or .yaml",
            f"{show(str(place), limit=300)}, which is {'no folder' if os.path.exists(place) else 'not there'}",
            f"Correct the path, or leave {FOLDER} empty to take the files from the URLs of the lock.",
        )


def _check_url(name: str, text: str, schemes: tuple[str, ...], report: Reporter) -> Iterator[Finding]:
    expected = f"a URL that begins with {or_list([_beginning(scheme) for scheme in schemes])}"
    scheme, _, rest = text.partition("://")
    if "@" in (rest.partition("/")[0] if scheme == "file" else text):
        yield report.error(
            WRONG_URL,
            (name,),
            f"{expected}, without user and password",
            "a URL with an @ in it, which is not shown",
            _LOGIN[name],
        )
    elif not _is_url(text, schemes):
        # What stands behind a question mark may be a token.
        shown = show(text.partition("?")[0])
        yield report.error(WRONG_URL, (name,), expected, shown, f"Correct {name}, or leave it empty.")


_LOGIN = {
    CRD_MIRROR: f"Take them out: use a web server that asks for none, or a copy of its files, as file:/// or as "
    f"{FOLDER}. An @ in a path is written %40.",
    CHART_MIRROR: "Take them out: use an OCI registry, and log in to it with `helm registry login`.",
}


def _beginning(scheme: str) -> str:
    return f"{scheme}:///" if scheme == "file" else f"{scheme}://"


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    """Whether there is a host behind one of the schemes, and of a file none; and nothing behind the path."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme not in schemes or parts.query or parts.fragment or text != text.strip():
        return False
    return host in ("", "localhost") and parts.path.startswith("/") if parts.scheme == "file" else bool(host)
