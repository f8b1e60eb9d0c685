"""YAML text of objects: it reads back as the same object, and people can read it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from inference_platform.manifest import to_yaml

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.sampled_from("aZ09_-./:@#{}[]&*!|>'\"%,=~ \n\t\\")),
    st.sampled_from(["yes", "No", "on", "null", "~", "1e3", "0x1", "1_000", "2020-01-01", "12:30", ".inf", "<<", "="]),
)
numbers = st.one_of(st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=20,
)


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@given(obj=st.dictionaries(texts, values, min_size=1, max_size=5))
def test_the_text_reads_back_as_the_same_object(loader: Any, obj: dict[str, Any]) -> None:
    assert yaml.load(to_yaml(obj), Loader=loader) == obj


@given(obj=st.dictionaries(texts, values, min_size=1, max_size=3))
def test_several_documents_in_one_file_stay_apart(obj: dict[str, Any]) -> None:
    assert list(yaml.safe_load_all(f"---\n{to_yaml(obj)}---\n{to_yaml(obj)}")) == [obj, obj]


def test_it_looks_as_a_person_would_write_it() -> None:
    obj = {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "metadata": {"name": "a", "labels": {"inference-platform.io/model": "a", "on": "yes"}},
        "spec": {
            "model": {"uri": "hf://Qwen/Qwen2.5-0.5B"},
            "replicas": 0,
            "router": {"gateway": {}, "refs": []},
            "template": {"containers": [{"name": "main", "args": ["--max-model-len", "4096", "{{ x }}"]}, {}]},
            "nested": [[1, 2], [{"a": None}]],
            "text": "one\n  two\n\nthree\n",
            "cut": "one\ntwo",
            "odd": " lead\n",
        },
    }
    assert (
        to_yaml(obj)
        == """apiVersion: serving.kserve.io/v1alpha2
metadata:
  name: a
  labels:
    inference-platform.io/model: a
    "on": "yes"
spec:
  model:
    uri: hf://Qwen/Qwen2.5-0.5B
  replicas: 0
  router:
    gateway: {}
    refs: []
  template:
    containers:
    - name: main
      args:
      - "--max-model-len"
      - "4096"
      - "{{ x }}"
    - {}
  nested:
  -
    - 1
    - 2
  -
    - a: null
  text: |
    one
      two

    three
  cut: |-
    one
    two
  odd: " lead\\n"
"""
    )
