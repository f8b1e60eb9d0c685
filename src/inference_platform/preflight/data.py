"""What the catalogue says about preflight, and versions compared with it.

The data is ``catalog/preflight.yml``; its comments and ``schemas/preflight.schema.json``
say what each key means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from inference_platform import schema
from inference_platform.catalog import CatalogError
from inference_platform.paths import CATALOG

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBERS = re.compile(r"^v?(\d+(?:\.\d+)+)(?:[-+_].*)?$")

Version = tuple[int, ...]


@cache
def load(folder: Path = CATALOG) -> dict[str, Any]:
    """catalog/preflight.yml.  Raises CatalogError naming the path of each mistake."""
    data = yaml.load((folder / "preflight.yml").read_text(encoding="utf-8"), Loader=_LOADER)
    wrong = schema.mistakes(data, schema.validator(schema.load_schema("preflight")))
    if wrong:
        lines = "\n".join(
            f"  preflight.yml {'.'.join(map(str, item.path))}: expected {item.expected}, found {item.found}"
            for item in wrong
        )
        raise CatalogError(f"the catalogue does not follow its schema:\n{lines}")
    return dict(data)


def version_of(text: str | None) -> Version | None:
    """The numbers of a version such as "v1.27.8" or "1.18.4-rc.1"; None when the text is none."""
    match = _NUMBERS.match(text or "")
    return tuple(map(int, match[1].split("."))) if match else None


def may_become(installed: str, wanted: str) -> bool:
    """Whether OLM may update one ClusterServiceVersion to another: that is newer, as far as the names tell.

    Names are like "cert-manager-operator.v1.18.1" and "rhods-operator.3.4.4"; OLM never goes back (operators.md 5).
    Of rebuilds of one version, such as "v1.18.1-0.1762", OLM knows the order, not the name.
    """
    before, after = (version_of(name.partition(".")[2]) for name in (installed, wanted))
    return before is None or after is None or before < after or (before == after and installed != wanted)


def is_older(version: Version, than: str) -> bool:
    """Whether a version comes before another: 1.26.9 before 1.27, 1.27.0 not."""
    return _padded(version) < _padded(_required(than))


def is_newer(version: Version, than: str) -> bool:
    """Whether a version comes after another, as far as that one is told: 1.27.8 not after 1.27."""
    wanted = _required(than)
    return version[: len(wanted)] > wanted


def _required(text: str) -> Version:
    """Versions of the catalogue may be a single number."""
    return version_of(text) or (int(text),)


def _padded(version: Version) -> Version:
    return (*version, 0, 0, 0)[:3]


def window_of(entry: Mapping[str, Any], distribution: str) -> dict[str, str]:
    """The window of a dependency of the catalogue: minimum, tested and perhaps below."""
    differing = entry["window"].get("of_distribution", {}).get(distribution, {})
    return {key: text for key, text in {**entry["window"], **differing}.items() if key != "of_distribution"}


def outside(window: Mapping[str, str], version: Version) -> str | None:
    """ "too old" or "too new" for a window of the catalogue; None inside of it."""
    if is_older(version, window["minimum"]):
        return "too old"
    if "below" in window and not is_older(version, window["below"]):
        return "too new"
    return None


def in_words(window: Mapping[str, str]) -> str:
    """A window as it stands in a sentence: "1.17.0 or newer, below 2"."""
    below = f", below {window['below']}" if "below" in window else ""
    return f"{window['minimum']} or newer{below}"
