"""docs/architecture.md: its links lead somewhere and its picture stands alone."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "architecture.md").read_text(encoding="utf-8")
PICTURE = DOCS / "architecture.svg"

LINKS = sorted(set(re.findall(r"\]\(([^)#]+)\)", PAGE)))


@pytest.mark.parametrize("link", LINKS)
def test_links_are_relative_and_lead_to_a_file(link: str) -> None:
    assert "://" not in link
    assert (DOCS / link).exists()


def test_the_folders_of_the_table_exist() -> None:
    folders = re.findall(r"^\| `([a-z_/]+)/`", PAGE, re.M)
    assert len(folders) >= 8
    assert [name for name in folders if not (DOCS.parent / name).is_dir()] == []


def test_the_picture_is_well_formed_and_loads_nothing() -> None:
    markup = PICTURE.read_text(encoding="utf-8")
    root = ElementTree.fromstring(markup)
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert root.find("{http://www.w3.org/2000/svg}desc") is not None
    assert not re.search(r"(href|src)\s*=|url\((?!#)|@import|<script|<image", markup)
