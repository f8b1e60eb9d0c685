"""Where each value of an entry and of its objects comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.catalog.load import load
from inference_platform.models.explain import ALWAYS, Explanation, UnknownModelError, as_text, explain
from inference_platform.models.pipeline import render_inventory
from inference_platform.platform import resolve
from inference_platform.platform.pools import profiles_of
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
  - name: apart
    uri: oci://example.com/a/apart:1
    image: example.com/x/vllm:1
    gpu: {count: 2}
    prefill: {replicas: 2}
  - {name: v1, uri: hf://a/b, gpu: {count: 1}, served_name: chat, traffic: {group: chat, weight: 90}}
  - {name: v2, uri: hf://a/b, gpu: {count: 1}, served_name: chat, traffic: {group: chat, weight: 10}}
traffic_groups:
  - {name: chat, namespace: team, path: /chat}
model_routes:
  - {name: front, namespace: team, rules: [{backends: [{model: v2}]}]}
"""


POOLS = """\
node_pools:
  - name: spot
    capacity: spot
    node_selector: {team: blue}
    tolerations:
      - {key: team, operator: Exists}
      - {key: other, operator: Exists}
    priority: 100
    keep_running: true
models:
  - name: small
    namespace: team
    uri: hf://a/small
    gpu: {count: 1}
    profiles: [spot]
    replicas: 3
    prefill: {}
"""


@pytest.fixture
def of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: dict[str, Any]) -> Any:
    """Explains a model of the inventory above."""
    path = tmp_path / "mine" / "group_vars" / "all.yml"
    path.parent.mkdir(parents=True)
    path.write_text(INVENTORY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    variables = yaml.safe_load(INVENTORY)

    def run(name: str, **platform: Any) -> Explanation:
        sources = Sources.load([tmp_path / "mine"])
        rendered = render_inventory(variables, {**aws, **platform}, sources)
        assert rendered.findings == []
        return explain(name, rendered, variables, {**aws, **platform}, sources)

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
    assert origins["state"] == "default"


def test_what_a_node_pool_gives_names_the_pool_and_the_line_that_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: dict[str, Any]
) -> None:
    path = tmp_path / "my inventory" / "group_vars" / "all.yml"
    path.parent.mkdir(parents=True)
    path.write_text(POOLS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    variables = yaml.safe_load(POOLS)
    platform = {**aws, "pools": profiles_of(variables, load().providers["aws"])}
    sources = Sources.load([tmp_path / "my inventory"])
    rendered = render_inventory(variables, platform, sources)
    assert rendered.findings == []
    settings = explain("small", rendered, variables, platform, sources).settings
    pool = "node pool spot, my inventory/group_vars/all.yml"
    assert {item.path: item.origin for item in settings if item.origin.startswith("node pool")} == {
        "node_selector.eks.amazonaws.com/capacityType": f"{pool}:3",
        "node_selector.team": f"{pool}:4",
        "tolerations": f"{pool}:5",
        "priority_class": f"{pool}:8",
        "pod_annotations.cluster-autoscaler.kubernetes.io/safe-to-evict": f"{pool}:9",
        "pod_annotations.karpenter.sh/do-not-disrupt": f"{pool}:9",
    }
    origins = {item.path: item.origin for item in settings}
    assert origins["uri"] == "my inventory/group_vars/all.yml:13"
    assert (origins["prefill.replicas"], origins["prefill.priority_class"]) == ("default", "as priority_class")
    text = as_text(explain("small", rendered, variables, platform, sources))
    assert "tolerations: [{key: team, operator: Exists}, " in text


def test_what_is_said_with_e_names_its_path(aws: dict[str, Any]) -> None:
    variables = yaml.safe_load(INVENTORY)
    rendered = render_inventory(variables, aws)
    origins = {item.path: item.origin for item in explain("big", rendered, variables, aws, Sources()).settings}
    assert origins["uri"] == "models[1].uri"
    assert origins["env.LOG_LEVEL"] == "model_profiles.careful.env.LOG_LEVEL"


def test_every_value_of_an_object_names_the_settings_it_depends_on(of: Any) -> None:
    found = reasons(of("big"), "LLMInferenceService team/big")
    assert found["name: big"] == "name"
    assert found["replicas: 3"] == "replicas"
    assert found["model:"] == "uri"
    assert found["imagePullSecrets:"].endswith("the pull secret of the platform")
    assert found["tolerations:"] == "how provider aws presents GPUs"
    assert found["nodeSelector:"].startswith("gpu.product")
    assert found["kind: LLMInferenceService"] == ALWAYS


def test_the_strategy_of_the_scheduler_is_named_where_the_entry_leaves_it_out(of: Any) -> None:
    found = reasons(of("apart"), "LLMInferenceService team/apart")
    assert found["- type: prefix-cache-scorer"] == "scheduler.strategy, by default prefix_cache"
    assert found["kind: EndpointPickerConfig"] == ALWAYS


def test_a_number_in_a_list_is_put_down_to_the_list(of: Any) -> None:
    assert reasons(of("big"), "InferenceObjective team/premium")["priority: 100"] == "scheduler.objectives"


def test_what_a_release_asks_of_every_model_is_named(of: Any) -> None:
    plan = resolve({"platform_release": "3.4", "distribution": "redhat", "provider": "openshift"}).to_dict()
    found = reasons(of("big", serving=plan["serving"], provider="openshift"), "LLMInferenceService team/big")
    assert found["annotations:"] == "what release 3.4 asks of every model on openshift"


def test_the_configurations_below_a_service_are_named_in_the_order_in_which_they_are_merged(of: Any) -> None:
    prefix = "v3-4-4-kserve-config-llm-"
    assert of("big").presets == (f"{prefix}scheduler", f"{prefix}router-route", f"{prefix}template")
    assert of("apart").presets[2:] == (f"{prefix}prefill-template", f"{prefix}decode-template")
    last = as_text(of("apart")).splitlines()[-1]
    assert last == f"  {prefix}decode-template"


def test_a_service_without_scheduler_and_with_configurations_of_ones_own_has_other_ones_below(
    aws: dict[str, Any],
) -> None:
    entry = {"name": "m", "namespace": "t", "uri": "hf://a/b", "gpu": {"count": 1}, "scheduler": {"enabled": False}}
    variables = {"models": [{**entry, "router": {"route": "none"}, "base_refs": ["site", "team"]}]}
    presets = explain("m", render_inventory(variables, aws), variables, aws, Sources()).presets
    assert presets == ("v3-4-4-kserve-config-llm-template", "site", "team")


def test_each_flag_has_its_own_reason(of: Any) -> None:
    found = reasons(of("big"), "LLMInferenceService team/big")
    assert found['"--tensor-parallel-size", "4",'] == "gpu.count"
    assert found['"--max-model-len", "4096",'] == "vllm.max_model_len"


def test_what_a_part_of_the_entry_brings_along_is_put_down_to_that_part(of: Any) -> None:
    lines = [line for _, lines in of("apart").objects for line in lines]
    transfer = [line.reason for line in lines if "--kv-transfer-config" in line.text]
    assert transfer == ["prefill", "prefill"]
    assert {line.reason for line in lines if line.text.strip() == "env:"} == {"prefill"}
    origins = {item.path: item.origin for item in of("apart").settings}
    assert origins["prefill.gpu.count"] == "as gpu.count"
    assert origins["prefill.replicas"] == "mine/group_vars/all.yml:29"


def test_an_image_in_the_mirror_is_shown_as_it_is_applied(of: Any) -> None:
    explanation = of("apart", image_registry="mirror.example")
    lines = [line for _, lines in explanation.objects for line in lines]
    assert [line.reason for line in lines if line.text.endswith("image: mirror.example/x/vllm:1")] == [
        "image, platform_image_registry",
        "prefill.image, platform_image_registry",
    ]
    found = reasons(explanation, "LLMInferenceService team/apart")
    assert found["model:"] == "uri, platform_image_registry"
    assert "platform_image_registry" not in as_text(of("apart"))


def test_a_share_is_explained_by_the_weights_of_all_models_of_the_group(of: Any) -> None:
    explanation = of("v1")
    found = reasons(explanation, "HTTPRoute team/chat")
    assert found["weight: 90"] == "traffic.weight"
    assert found["weight: 10"] == "traffic.weight of v2"
    assert found["name: v2-kserve-workload-svc"] == "name of v2"
    assert found["value: /chat"] == "path of the traffic group"
    group = {item.path: (item.value, item.origin) for item in explanation.group}
    assert group["path"] == ("/chat", "mine/group_vars/all.yml:33")
    assert group["share"] == ("90 of 100", "v1 90, v2 10")
    assert "Its traffic group:" in as_text(explanation)


def test_a_route_of_ones_own_is_shown_for_the_models_it_leads_to(of: Any) -> None:
    assert set(reasons(of("v2"), "HTTPRoute team/front").values()) == {"model_routes, mine/group_vars/all.yml:35"}
    assert "HTTPRoute team/front" not in dict(of("v1").objects)


def test_companions_are_explained_too(of: Any) -> None:
    titles = [title for title, _ in of("big").objects]
    assert titles[:2] == ["Namespace team", "LLMInferenceService team/big"]
    objective = next(title for title in titles if title.startswith("InferenceObjective"))
    assert "scheduler.objectives" in set(reasons(of("big"), objective).values())


def test_the_lines_are_the_yaml_of_the_objects_that_are_applied(of: Any, aws: dict[str, Any]) -> None:
    mirrored = {"image_registry": "mirror.example"}
    made = render_inventory(yaml.safe_load(INVENTORY), {**aws, **mirrored}).objects
    seen = set()
    for name in ("team/small", "other/small", "big", "apart", "v1", "v2"):
        for title, lines in of(name, **mirrored).objects:
            seen.add(title)
            kind, _, place = title.partition(" ")
            wanted = next(obj for obj in made if obj["kind"] == kind and place_of(obj) == place)
            assert yaml.safe_load("\n".join(line.text for line in lines)) == wanted
    assert seen == {f"{obj['kind']} {place_of(obj)}" for obj in made}


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
        UnknownModelError,
        match=r"expected -e model=NAME, found nothing\. There are other/small, team/apart, team/big, team/gone",
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
