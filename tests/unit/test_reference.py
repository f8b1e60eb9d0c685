"""The reference pages are those that schemas and catalogue make."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from inference_platform.inventory import rules_page
from inference_platform.paths import ROOT, SCHEMAS
from inference_platform.reference import FOLDER, FOR_EDITORS, pages, schema_for_editors


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_reference_page_is_up_to_date(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text == pages()[name], "run: .venv/bin/python -m inference_platform.reference"


def of_editors(schema: str) -> Draft202012Validator:
    """What an editor makes of a schema: references lead to the files beside it."""
    files = [json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.schema.json")]
    registry = Registry().with_resources((file["$id"], Resource.from_contents(file)) for file in files)
    return Draft202012Validator(json.loads(schema), registry=registry)


@pytest.fixture(scope="module")
def editor() -> Draft202012Validator:
    """Of group_vars."""
    return of_editors(schema_for_editors())


@pytest.fixture(scope="module")
def editor_of_a_file() -> Draft202012Validator:
    """Of files with one model."""
    return of_editors((SCHEMAS / "model_file.schema.json").read_text(encoding="utf-8"))


def variables() -> Iterator[Any]:
    """The variables of each file of the sample inventories, and of the examples of docs/models.md."""
    for path in sorted((ROOT / "inventories").glob("*/group_vars/**/*.yml")):
        yield pytest.param(yaml.safe_load(path.read_text(encoding="utf-8")), id="-".join(path.parts[-4:]))
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for number, block in enumerate(text.split("```yaml\n")[1:]):
        yield pytest.param(yaml.safe_load(block.partition("```")[0]), id=f"example {number}")


def test_the_schema_for_editors_is_up_to_date():
    assert FOR_EDITORS.read_text(encoding="utf-8") == schema_for_editors(), (
        "run: .venv/bin/python -m inference_platform.reference"
    )


@pytest.mark.parametrize("written", list(variables()))
def test_an_editor_accepts_what_is_right(editor, written):
    assert [error.message for error in editor.iter_errors(written)] == []


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ({"models": [{"name": "a", "gpu": {"cuont": 1}}]}, ["models", 0, "gpu"]),
        ({"models": [{"uri": "hf://a/b"}]}, ["models", 0]),
        ({"model_defaults": {"replcas": 1}}, ["model_defaults"]),
        ({"model_profiles": {"large": {"vllm": {"dtype": "bf16"}}}}, ["model_profiles", "large", "vllm", "dtype"]),
        ({"model_defaults": {"scheduler": {"strategy": "best"}}}, ["model_defaults", "scheduler", "strategy"]),
        ({"traffic_groups": [{"name": "g", "namespace": "t", "split": "all"}]}, ["traffic_groups", 0, "split"]),
        ({"models_wait": "yes"}, ["models_wait"]),
    ],
)
def test_an_editor_marks_what_is_wrong(editor, written, place):
    assert [list(error.absolute_path) for error in editor.iter_errors(written)] == [place]


@pytest.mark.parametrize(
    "written",
    [
        {"name": "a", "namespace": "t", "state": "absent"},
        {"name": "a", "profiles": ["large"], "uri": "hf://a/b"},
        {"name": "a", "namespace": "t", "uri": "hf://a/b", "gpu": {"product": "NVIDIA-L4", "count": 1}},
    ],
    ids=["absent", "the-rest-is-in-a-profile", "complete"],
)
def test_an_editor_accepts_a_file_of_a_model_without_what_other_files_say(editor_of_a_file, written):
    assert [error.message for error in editor_of_a_file.iter_errors(written)] == []


@pytest.mark.parametrize(
    ("written", "place"), [({"uri": "hf://a/b"}, []), ({"name": "a", "gpu": {"cuont": 1}}, ["gpu"])]
)
def test_an_editor_marks_what_is_wrong_in_a_file_of_a_model(editor_of_a_file, written, place):
    assert [list(error.absolute_path) for error in editor_of_a_file.iter_errors(written)] == [place]


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


def test_the_page_of_the_inventory_has_every_code_that_a_finding_can_have():
    """Pages name codes too; where a finding is made, the code is in quotes in another file."""
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in sources if "page" not in path.stem]
    used = set(re.findall(r'"(IP-(?:INV|PLT)-\d{3})"', "\n".join(texts)))
    assert used == set(rules_page.RULES)
