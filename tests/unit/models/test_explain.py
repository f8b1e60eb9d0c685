"""Where each value of an entry and of its objects comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.models.explain import ALWAYS, Explanation, UnknownModelError, as_text, explain
from inference_platform.models.pipeline import render_inventory
from inference_platform.sources import Sources

INVENTORY = """\
model_defaults:
  namespace: team
  gpu: {product: NVIDIA-L4}
model_profiles:
  careful:
    env: {LOG_LEVEL: debug}
    vllm: {max_model_len: 4096}
models:
  - name: small
    uri: hf://a/small
    gpu: {count: 1}
  - name: big
    profiles: [careful]
    uri: hf://a/big
    gpu: {count: 4}
    replicas: 3
    scheduler:
      objectives:
        - {name: premium, priority: 100}
  - name: small
    namespace: other
    uri: hf://a/small
    gpu: {count: 2}
  - {name: gone, uri: hf://a/gone, gpu: {count: 1}, state: absent}
"""


@pytest.fixture
def of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: dict[str, Any]) -> Any:
    """Explains a model of the inventory above."""
    path = tmp_path / "mine" / "group_vars" / "all.yml"
    path.parent.mkdir(parents=True)
    path.write_text(INVENTORY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    variables = yaml.safe_load(INVENTORY)

    def run(name: str) -> Explanation:
        sources = Sources.load([tmp_path / "mine"])
        rendered = render_inventory(variables, aws, sources)
        assert rendered.findings == []
        return explain(name, rendered, variables, aws, sources)

    return run


def place_of(obj: dict[str, Any]) -> str:
    metadata = obj["metadata"]
    return "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))


def reasons(explanation: Explanation, title: str) -> dict[str, str]:
    """Reason of each line that has one, by the line without its indent."""
    lines = dict(explanation.objects)[title]
    return {line.text.strip(): line.reason for line in lines if line.reason}


def test_every_setting_names_the_layer_it_comes_from(of: Any) -> None:
    origins = {item.path: item.origin for item in of("big").settings}
    assert origins["uri"] == "mine/group_vars/all.yml:14"
    assert origins["gpu.product"] == "model_defaults, mine/group_vars/all.yml:3"
    assert origins["gpu.count"] == "mine/group_vars/all.yml:15"
    assert origins["env.LOG_LEVEL"] == "profile careful, mine/group_vars/all.yml:6"
    assert origins["state"] == "default of the language, or follows from the rest"


def test_every_value_of_an_object_names_the_settings_it_depends_on(of: Any) -> None:
    found = reasons(of("big"), "LLMInferenceService team/big")
    assert found["name: big"] == "name"
    assert found["replicas: 3"] == "replicas"
    assert found["model:"] == "uri"
    assert found["imagePullSecrets:"].endswith("the pull secret of the platform")
    assert found["tolerations:"] == "how provider aws presents GPUs"
    assert found["nodeSelector:"].startswith("gpu.product")
    assert found["kind: LLMInferenceService"] == ALWAYS
    args = next(text for text in found if text.startswith("args: "))
    assert "--tensor-parallel-size" in args
    assert {"gpu.count", "vllm.max_model_len"} <= set(found[args].split(", "))


def test_companions_are_explained_too(of: Any) -> None:
    titles = [title for title, _ in of("big").objects]
    assert titles[:2] == ["Namespace team", "LLMInferenceService team/big"]
    objective = next(title for title in titles if title.startswith("InferenceObjective"))
    assert "scheduler.objectives" in set(reasons(of("big"), objective).values())


def test_the_lines_are_the_yaml_of_the_objects(of: Any, aws: dict[str, Any]) -> None:
    for name in ("team/small", "big"):
        explanation = of(name)
        made = render_inventory(yaml.safe_load(INVENTORY), aws).objects
        for title, lines in explanation.objects:
            kind, _, place = title.partition(" ")
            wanted = next(obj for obj in made if obj["kind"] == kind and place_of(obj) == place)
            assert yaml.safe_load("\n".join(line.text for line in lines)) == wanted


def test_the_text_shows_entry_and_objects(of: Any) -> None:
    text = as_text(of("team/small"))
    assert text.startswith("Model team/small, mine/group_vars/all.yml:9 models[0]")
    assert "  uri: hf://a/small" in text
    assert "LLMInferenceService team/small:" in text


def test_an_unknown_name_gets_a_suggestion(of: Any) -> None:
    with pytest.raises(UnknownModelError, match=r"found 'smal'\. Did you mean small\?"):
        of("smal")


def test_without_a_name_all_models_are_listed(of: Any) -> None:
    with pytest.raises(
        UnknownModelError, match=r"expected -e model=NAME, found nothing\. There are other/small, team/big, team/gone"
    ):
        of("")


def test_a_model_to_be_removed_is_not_called_unknown(of: Any) -> None:
    with pytest.raises(UnknownModelError, match="found team/gone with state: absent"):
        of("gone")


def test_a_name_in_two_namespaces_needs_its_namespace(of: Any) -> None:
    with pytest.raises(UnknownModelError, match=r"found 'small', which could be other/small or team/small"):
        of("small")
    assert of("other/small").place == "mine/group_vars/all.yml:20 models[2]"
    origins = {item.path: item.origin for item in of("other/small").settings}
    assert origins["gpu.count"] == "mine/group_vars/all.yml:23"
