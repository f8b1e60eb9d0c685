"""The reference pages are those that schemas and catalogue make."""

from __future__ import annotations

import pytest

from inference_platform.reference import FOLDER, pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_reference_page_is_up_to_date(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text == pages()[name], "run: .venv/bin/python -m inference_platform.reference"


def test_the_page_of_layers_says_what_a_run_on_openshift_does(plan_for):
    section = pages()["platform.md"].partition("### openshift")[2].partition("\n## ")[0]
    rows = {row.split("|")[1].strip(" `"): row for row in section.splitlines() if row.startswith("| `")}
    plan = plan_for("openshift")
    for layer in plan.layers:
        row = rows[layer.name]
        assert ("OpenShift |" in row) == (layer.ownership != "managed"), row
        assert all(f"`{release.name}`" in row for release in layer.releases)
        if layer.operator:
            assert f"`{plan.operators[layer.operator]['package']}`" in row
            assert plan.operators[layer.operator]["csv"] in rows[plan.operators[layer.operator]["package"]]
    for wrong in ("cloud manager |", "makes the certificates", "pull secret in each", "GatewayClass istio"):
        assert wrong not in section


def test_the_pages_tell_every_key_of_a_model():
    assert "| `rdma.count` | integer | `1` |" in pages()["model.md"]
    assert "| `lora.adapters[].name` | string | required |" in pages()["model.md"]
    assert "| `uri` | string | required |" in pages()["model.md"]
