"""The reference pages are those that schemas and catalogue make."""

from __future__ import annotations

import pytest

from inference_platform.reference import FOLDER, pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_reference_page_is_up_to_date(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text == pages()[name], "run: .venv/bin/python -m inference_platform.reference"


def test_the_pages_tell_every_key_of_a_model():
    assert "| `rdma.count` | integer | `1` |" in pages()["model.md"]
    assert "| `lora.adapters[].name` | string | required |" in pages()["model.md"]
    assert "| `uri` | string | required |" in pages()["model.md"]
