"""Templates: values never pass through their text."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import DictLoader

from inference_platform.models import shapes
from inference_platform.models.shapes import Block, TemplateError, literal, render

TEMPLATES = Path(shapes.__file__).parent / "templates"


@pytest.fixture
def template(monkeypatch):
    """Renders a text as a template."""

    def make(text, block, **options):
        environment = shapes._environment()
        monkeypatch.setattr(environment, "loader", DictLoader({"test.yml.j2": text}))
        environment.cache.clear()
        shapes._FILLS.clear()
        return render("test", block, **options)

    yield make
    shapes._FILLS.clear()
    shapes._environment().cache.clear()


NASTY = [
    "a: b",
    "- x",
    "{{ y }}",
    "{% z %}",
    "#",
    "'",
    '"',
    "\n",
    "null",
    "1",
    "",
    "\ue0005\ue001",
    True,
    1.5,
    None,
    [],
    {},
]


@pytest.mark.parametrize("value", NASTY, ids=repr)
def test_a_value_is_put_in_as_it_is(template, value):
    assert template("a: {{ x }}\nb: [{{ x }}]\n", Block(x=value)) == {"a": value, "b": [value]}


def test_a_value_may_be_a_key(template):
    assert template("a:\n  {{ k }}: {{ v }}\n", Block(k="x/y", v=1)) == {"a": {"x/y": 1}}


def test_a_template_may_ask_what_is_there(template):
    text = "{% if x is defined %}\nx: {{ x }}\n{% endif %}\ny: {{ y }}\n"
    assert template(text, Block(y=1)) == {"y": 1}
    assert template(text, Block(x=None, y=1)) == {"x": None, "y": 1}


def test_a_template_may_walk_over_blocks(template):
    text = "items:\n{% for one in things %}\n  - name: {{ one.name }}\n{% endfor %}\n"
    block = Block(things=[Block(name="a"), Block(name="b")])
    assert template(text, block) == {"items": [{"name": "a"}, {"name": "b"}]}


def test_a_value_inside_a_text_is_a_mistake_of_the_template(template):
    with pytest.raises(TemplateError, match="inside a text"):
        template("a: x-{{ v }}\n", Block(v="y"))


def test_blocks_of_one_shape_are_rendered_once(template, monkeypatch):
    template("a: {{ x }}\n", Block(x=1))
    monkeypatch.setattr(shapes, "_prepare", None)
    assert render("test", Block(x=2)) == {"a": 2}


def test_two_objects_share_no_part(template):
    value = {"list": [1]}
    first, second = (template("a: {{ x }}\nb: {{ x }}\n", Block(x=value)) for _ in range(2))
    first["a"]["list"].append(2)
    assert first["b"] == second["a"] == second["b"] == value == {"list": [1]}


def test_braces_are_kept_from_kserve_below_spec_only(template):
    made = template("metadata: {{ x }}\nspec: {{ x }}\n", Block(x={"a": "{{ b }}"}), literal_spec=True)
    assert made == {"metadata": {"a": "{{ b }}"}, "spec": {"a": "{{`{{`}} b }}"}}


def test_literal_reaches_into_everything():
    assert literal({"{{": ["{{", ("{{", 1)]}) == {"{{": ["{{`{{`}}", ["{{`{{`}}", 1]]}


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.j2")), ids=lambda path: path.name)
def test_a_template_begins_by_saying_what_it_is_for(path):
    assert path.read_text(encoding="utf-8").startswith("{# ")
