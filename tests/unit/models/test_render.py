"""Objects made from models."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from inference_platform.models import render
from inference_platform.models.shapes import literal

QWEN = {
    "name": "qwen-basic",
    "namespace": "models",
    "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
    "replicas": 2,
    "gpu": {"product": "NVIDIA-L4", "count": 1},
}

# What KServe makes itself when a model has no configuration, written out (models.md 2.6).
DEFAULT_CONFIG = {
    "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
    "kind": "EndpointPickerConfig",
    "plugins": [
        {"type": "single-profile-handler"},
        {"type": "queue-scorer"},
        {"type": "prefix-cache-scorer"},
        {"type": "max-score-picker"},
    ],
    "schedulingProfiles": [
        {
            "name": "default",
            "plugins": [
                {"pluginRef": "queue-scorer", "weight": 2},
                {"pluginRef": "prefix-cache-scorer", "weight": 3},
                {"pluginRef": "max-score-picker"},
            ],
        }
    ],
}


@pytest.fixture
def spec(aws):
    """The spec of one model, with changes to its entry or to the serving facts of the plan."""

    def of(serving: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        platform = {**aws, "serving": {**aws["serving"], **(serving or {})}}
        result = render([{**QWEN, **changes}], {}, platform)
        assert result.findings == []
        return dict(result.objects[-1]["spec"])

    return of


def main(spec: dict[str, Any]) -> dict[str, Any]:
    (container,) = spec["template"]["containers"]
    return dict(container)


def test_a_model_becomes_a_namespace_and_a_service(aws):
    namespace, service = render([QWEN], {}, aws).objects
    assert namespace == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": "models",
            "labels": {
                "app.kubernetes.io/managed-by": "inference-platform",
                "app.kubernetes.io/part-of": "inference-platform",
                "inference-platform.io/gateway-access": "true",
                "inference-platform.io/layer": "models",
            },
        },
    }
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1alpha2", "LLMInferenceService")
    assert service["metadata"] == {
        "name": "qwen-basic",
        "namespace": "models",
        "labels": {
            "app.kubernetes.io/managed-by": "inference-platform",
            "app.kubernetes.io/part-of": "inference-platform",
            "inference-platform.io/layer": "models",
            "inference-platform.io/model": "qwen-basic",
        },
    }


def test_the_smallest_model_says_only_what_differs_from_the_presets(spec):
    assert spec() == {
        "model": {"uri": "hf://Qwen/Qwen2.5-0.5B-Instruct"},
        "replicas": 2,
        "template": {
            "imagePullSecrets": [{"name": "rhai-pull-secret"}],
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "containers": [
                {
                    "name": "main",
                    "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}},
                }
            ],
        },
        "router": {
            "gateway": {"refs": [{"name": "inference-gateway", "namespace": "redhat-ods-applications"}]},
            "route": {},
            "scheduler": {
                "config": {"inline": DEFAULT_CONFIG},
                "template": {
                    "imagePullSecrets": [{"name": "rhai-pull-secret"}],
                    "containers": [{"name": "main"}, {"name": "tokenizer"}],
                },
            },
        },
    }


def test_resources_are_requested_and_memory_is_limited(spec):
    resources = main(spec(resources={"cpu": 4, "memory": "32Gi"}))["resources"]
    assert resources == {
        "limits": {"memory": "32Gi", "nvidia.com/gpu": "1"},
        "requests": {"cpu": "4", "memory": "32Gi", "nvidia.com/gpu": "1"},
    }


def test_several_gpus_are_used_by_tensor_parallelism(spec):
    container = main(spec(gpu={"count": 4}, args=["--max-model-len=8192"]))
    assert container["args"] == ["--tensor-parallel-size", "4", "--max-model-len=8192"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "4"


def test_any_product_means_no_node_selector(spec):
    assert "nodeSelector" not in spec(gpu={"count": 1})["template"]


def test_the_served_name_is_given_when_it_differs(spec):
    assert spec(served_name="Qwen/Qwen2.5")["model"]["name"] == "Qwen/Qwen2.5"


def test_the_environment_is_sorted(spec):
    env = main(spec(env={"B": "2", "A": "1"}))["env"]
    assert env == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]


def test_without_a_pull_secret_no_pod_template_of_the_scheduler_is_needed(spec):
    result = spec(serving={"pull_secret": None})
    assert "imagePullSecrets" not in result["template"]
    assert "template" not in result["router"]["scheduler"]


def test_the_containers_of_the_scheduler_are_those_of_the_release(spec):
    result = spec(serving={"scheduler_containers": ["main"]})
    assert result["router"]["scheduler"]["template"]["containers"] == [{"name": "main"}]


def test_where_the_gateway_may_have_no_address_the_model_does_not_wait_for_one(spec):
    gateway = {"name": "g", "namespace": "n", "address_required": False, "namespace_labels": {"a": "b"}}
    assert spec(serving={"gateway": gateway})["router"]["gateway"] == {}


# quoting -----------------------------------------------------------------------------

NASTY = [
    '{"kv_connector": "NixlConnector", "n": 1}',
    "a b",
    "it's",
    "$(POD_IP)",
    "${HOME}; rm -rf /",
    "back`tick`",
    "{{ .Spec.Model.Name }}",
    "{% raw %}",
    "{{{{",
    "}}",
    "# no comment",
    "yes",
    "1e3",
    "null",
    ": colon",
    "- dash",
    "tab\there",
    "line\nbreak",
    "\x7f\x85\u2028\ufeff",
    "ümläut 😀",
    "\\d+ \\u0041",
]


def go_template(text: str) -> str:
    """What the controller's template engine makes of ``text``: only raw-string actions are known here."""
    return re.sub(r"\{\{`([^`]*)`\}\}", r"\1", text)


@pytest.mark.parametrize("word", NASTY, ids=ascii)
def test_an_argument_reaches_the_server_as_it_was_written(spec, word):
    (rendered,) = main(spec(args=[word]))["args"]
    assert shlex.split(go_template(rendered)) == [word]


@pytest.mark.parametrize("word", NASTY, ids=ascii)
def test_where_no_shell_is_between_arguments_are_not_quoted(spec, word):
    (rendered,) = main(spec(serving={"args_pass_through_shell": False}, args=[word]))["args"]
    assert go_template(rendered) == word


@pytest.mark.parametrize("word", NASTY, ids=ascii)
def test_a_variable_reaches_the_server_as_it_was_written(spec, word):
    (variable,) = main(spec(env={"A": word}))["env"]
    assert go_template(variable["value"]) == word


@pytest.mark.parametrize("word", NASTY, ids=ascii)
def test_no_open_action_is_left_for_the_controller(spec, word):
    text = json.dumps(spec(args=[word], env={"A": word}), ensure_ascii=False)
    assert "{{" not in re.sub(r"\{\{`\{\{`\}\}", "", text)


@pytest.mark.parametrize("word", NASTY, ids=ascii)
def test_outside_the_spec_a_value_is_written_as_it_is(aws, word):
    (_, service) = render([{**QWEN, "annotations": {"note": word}}], {}, aws).objects
    assert service["metadata"]["annotations"] == {"note": word}


def test_only_opening_braces_are_taken_care_of():
    assert literal({"{{k": "{{ a }}"}) == {"{{k": "{{`{{`}} a }}"}


# order and repetition ----------------------------------------------------------------


def test_the_order_of_entries_and_keys_does_not_change_the_objects(aws):
    one = {**QWEN, "name": "one"}
    two = {**QWEN, "name": "two", "namespace": "early"}
    reversed_keys = dict(reversed(list(one.items())))
    first = render([one, two], {}, aws).objects
    second = render([two, reversed_keys], {}, aws).objects
    assert json.dumps(first) == json.dumps(second)
    assert [(item["kind"], item["metadata"]["name"]) for item in first] == [
        ("Namespace", "early"),
        ("Namespace", "models"),
        ("LLMInferenceService", "two"),
        ("LLMInferenceService", "one"),
    ]


def test_a_namespace_of_several_models_is_made_once(aws):
    result = render([QWEN, {**QWEN, "name": "other"}], {}, aws)
    assert [item["kind"] for item in result.objects].count("Namespace") == 1


def test_a_model_with_a_mistake_is_not_rendered_and_the_others_are(aws):
    result = render([QWEN, {**QWEN, "name": "bad", "replicas": -1}], {}, aws)
    assert not result.ok
    assert [summary.name for summary in result.models] == ["qwen-basic"]
    assert len(result.objects) == 2


def test_a_model_with_a_warning_is_rendered(aws):
    result = render([{**QWEN, "uri": "pvc://claim"}], {}, aws)
    assert result.ok
    assert result.findings
    assert len(result.objects) == 2


def test_no_models_means_no_objects(aws):
    result = render([], None, aws)
    assert (result.objects, result.findings, result.models) == ([], [], [])


def test_the_summary_says_what_later_steps_need(aws):
    (summary,) = render([QWEN], {}, aws).models
    assert summary.to_dict() == {
        "name": "qwen-basic",
        "namespace": "models",
        "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
        "served_name": "qwen-basic",
        "replicas": 2,
        "gpu_product": "NVIDIA-L4",
        "gpu_count": 1,
        "path": "/models/qwen-basic",
        "pods": 2,
        "gpus": 2,
        "state": "present",
    }


def test_the_summary_counts_the_pods_of_groups_and_prefill(aws):
    group = {"parallelism": {"data": 2, "data_local": 1}, "gpu": {"count": 1}}
    entry = {**QWEN, **group, "prefill": {"replicas": 3, "gpu": {"count": 2}, "parallelism": {"data": 4, "tensor": 2}}}
    (summary,) = render([entry], {}, aws).models
    assert (summary.pods, summary.gpus) == (2 * 2 + 3 * 4, 2 * 2 * 1 + 3 * 4 * 2)
    (stopped,) = render([{**QWEN, "state": "stopped"}], {}, aws).models
    assert (stopped.pods, stopped.gpus) == (0, 0)


def test_rendering_does_not_change_what_the_user_gave(aws):
    entry, defaults = json.loads(json.dumps(QWEN)), {"args": ["--a"]}
    render([entry], defaults, aws)
    assert (entry, defaults) == (QWEN, {"args": ["--a"]})


# the scheduler's side ----------------------------------------------------------------------


def test_scheduler_pods_have_their_own_labels_annotations_and_number(spec):
    block = {"replicas": 2, "pod_labels": {"team": "a"}, "pod_annotations": {"note": "b"}}
    scheduler = spec(scheduler=block)["router"]["scheduler"]
    assert (scheduler["replicas"], scheduler["labels"], scheduler["annotations"]) == (2, {"team": "a"}, {"note": "b"})
    assert not {"replicas", "labels", "annotations"} & set(spec()["router"]["scheduler"])


def test_weights_and_own_configurations_are_rendered_as_they_are(spec):
    plugins = spec(scheduler={"weights": {"queue-scorer": 5}})["router"]["scheduler"]["config"]["inline"]
    assert {"pluginRef": "queue-scorer", "weight": 5} in plugins["schedulingProfiles"][0]["plugins"]
    own = {**DEFAULT_CONFIG, "saturationDetector": {"queueDepthThreshold": 9}}
    assert spec(scheduler={"config": own})["router"]["scheduler"]["config"]["inline"] == own


def test_priorities_and_rewrites_stand_beside_the_model(aws):
    scheduler = {"objectives": "default", "model_rewrites": [{"targets": [{"model": "qwen-basic"}]}]}
    result = render([{**QWEN, "scheduler": scheduler}], {}, aws)
    assert result.findings == []
    beside = {(obj["kind"], obj["metadata"]["name"]): obj["spec"] for obj in result.objects[2:]}
    pool = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "qwen-basic-inference-pool"}
    assert beside == {
        ("InferenceObjective", "qwen-basic-premium"): {"priority": 100, "poolRef": pool},
        ("InferenceObjective", "qwen-basic-normal"): {"priority": 0, "poolRef": pool},
        ("InferenceObjective", "qwen-basic-batch"): {"priority": -10, "poolRef": pool},
        ("InferenceModelRewrite", "qwen-basic"): {
            "poolRef": pool,
            "rules": [{"targets": [{"modelRewrite": "qwen-basic"}]}],
        },
    }


def test_cache_events_have_the_same_values_on_both_sides(spec):
    given = {"strategy": "precise_prefix_cache", "kv_events": {"block_size": 64, "hash_seed": "7"}}
    rendered = spec(served_name="qwen", prefill={}, scheduler=given)
    plugins = rendered["router"]["scheduler"]["config"]["inline"]["plugins"]
    scorer = next(plugin["parameters"] for plugin in plugins if plugin["type"] == "precise-prefix-cache-scorer")
    assert scorer["tokenProcessorConfig"] == {"blockSize": 64, "hashSeed": "7"}
    assert scorer["kvEventsConfig"]["zmqEndpoint"] == "tcp://*:5557"
    for pods in (rendered, rendered["prefill"]):
        server = main(pods)
        words = [word for text in server["args"] for word in shlex.split(text)]
        events = json.loads(words[words.index("--kv-events-config") + 1])
        assert words[words.index("--block-size") + 1] == "64"
        assert events["topic"] == "kv@$(POD_IP):8000@qwen"
        assert events["endpoint"] == "tcp://qwen-basic-epp-service:5557"
        assert {"name": "PYTHONHASHSEED", "value": "7"} in server["env"]
        assert {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}} in server["env"]


def test_servers_of_prefill_with_arguments_of_their_own_publish_events_too(spec):
    rendered = spec(
        scheduler={"strategy": "precise_prefix_cache"}, args=["--block-size", "16"], prefill={"args": ["--seed=1"]}
    )
    assert "--block-size" in main(rendered["prefill"])["args"]


def test_objectives_may_be_for_a_pool_of_ones_own(aws):
    entry = {**QWEN, "router": {"pool": "mine"}, "scheduler": {"objectives": [{"name": "premium", "priority": 1}]}}
    result = render([entry], {}, aws)
    assert result.findings == []
    assert result.objects[-1]["spec"]["poolRef"]["name"] == "mine"
    assert result.objects[1]["spec"]["router"]["scheduler"] == {"pool": {"ref": {"name": "mine"}}}
