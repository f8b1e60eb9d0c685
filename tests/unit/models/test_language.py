"""The schema and the rules of models: each refusal, and its neighbour that is fine."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.findings import Finding
from inference_platform.models import render
from inference_platform.sources import Sources
from tests.unit.models.cases import pod


def model(**changes: Any) -> dict[str, Any]:
    entry = {
        "name": "qwen",
        "namespace": "team-a",
        "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
        "gpu": {"product": "NVIDIA-L4", "count": 1},
        **changes,
    }
    return {key: value for key, value in entry.items() if value is not None}


@pytest.fixture
def findings(aws):
    def of(*entries: Any, **defaults: Any) -> list[Finding]:
        return render(list(entries), defaults, aws).findings

    return of


@pytest.fixture
def only(findings):
    def of(*entries: Any, **defaults: Any) -> Finding:
        (finding,) = findings(*entries, **defaults)
        return finding

    return of


CONFIG = "override.router.scheduler.config"
CONTAINER = "override.template.containers[0]"
POOL = {
    "selector": {"matchLabels": {"app": "x"}},
    "targetPorts": [{"number": 8000}],
    "endpointPickerRef": {"name": "p", "port": {"number": 9002}},
}

GOOD = [
    {},
    {"name": "a"},
    {"name": "a" * 39},
    {"name": "llama-3-8b"},
    {"uri": "hf://gpt2"},
    {"uri": "hf://Qwen/Qwen2.5-7B-Instruct:main"},
    {"uri": "s3://bucket/path/to/model", "credentials_secret": "keys"},
    {"uri": "oci://quay.io/org/model:1.0"},
    {"uri": "oci://quay.io:443/org/model@sha256:" + "0" * 64},
    {"uri": "pvc://claim"},
    {"uri": "pvc://claim/sub/folder"},
    {"served_name": "Qwen/Qwen2.5-0.5B-Instruct"},
    {"replicas": 0},
    {"gpu": {"count": 8}},
    {"gpu": {"product": "NVIDIA-H100-80GB-HBM3"}},
    {"resources": {"cpu": 4, "memory": "32Gi"}},
    {"resources": {"cpu": "500m"}},
    {"resources": {"cpu": 1.5}},
    {"args": ["--max-model-len", "8192"]},
    {"args": ["--portable-thing"]},
    {"env": {"VLLM_LOGGING_LEVEL": "DEBUG", "PYTHONHASHSEED": "42"}},
    {"env": {"VLLM_ADDITIONAL_ARGS": "--max-model-len 8192 --x '{\"a\": 1}'"}},
    {"namespace": "redhat-ods-applications-x"},
]


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_what_is_right_is_accepted(findings, changes):
    assert findings(model(**changes)) == []


BAD = [
    # names (models.md 1.3)
    ({"name": "Qwen"}, "IP-MOD-131", "name"),
    ({"name": "3-small"}, "IP-MOD-131", "name"),
    ({"name": "qwen-"}, "IP-MOD-131", "name"),
    ({"name": "qwen.2"}, "IP-MOD-131", "name"),
    ({"name": "a" * 40}, "IP-MOD-131", "name"),
    ({"name": ""}, "IP-MOD-131", "name"),
    ({"name": 3}, "IP-MOD-131", "name"),
    ({"name": None}, "IP-INV-005", "name"),
    (
        {"override": {"router": {"scheduler": {"pool": {"spec": {**POOL, "targetPorts": [{"number": 0}]}}}}}},
        "IP-INV-004",
        "override.router.scheduler.pool.spec.targetPorts[0].number",
    ),
    (
        {"override": {"router": {"scheduler": {"pool": {"spec": {**POOL, "endpointPickerRef": {"name": "p"}}}}}}},
        "IP-INV-005",
        "override.router.scheduler.pool.spec.endpointPickerRef.port",
    ),
    ({"override": {"router": {"scheduler": {"config": {"ref": {"name": "a"}}}}}}, "IP-INV-005", f"{CONFIG}.ref.key"),
    (pod(livenessProbe={"httpGet": {"scheme": "HTTPS"}}), "IP-INV-005", f"{CONTAINER}.livenessProbe.httpGet.port"),
    (pod(resources={"limits": {"memory": "32GB"}}), "IP-INV-004", f"{CONTAINER}.resources.limits.memory"),
    ({"router": {"headers": [{"name": "a b", "value": "c"}]}}, "IP-INV-004", "router.headers[0].name"),
    ({"namespace": "Team_A"}, "IP-INV-004", "namespace"),
    ({"namespace": "a" * 64}, "IP-INV-004", "namespace"),
    ({"namespace": None}, "IP-INV-005", "namespace"),
    # source (models.md 1.2, mistake 27)
    ({"uri": None}, "IP-INV-005", "uri"),
    ({"uri": "Qwen/Qwen2.5"}, "IP-MOD-127", "uri"),
    ({"uri": "https://huggingface.co/Qwen/Qwen2.5"}, "IP-MOD-127", "uri"),
    ({"uri": "gs://bucket/model"}, "IP-MOD-127", "uri"),
    ({"uri": "hf://"}, "IP-MOD-127", "uri"),
    ({"uri": "hf://a b"}, "IP-MOD-127", "uri"),
    ({"uri": "hf://a/b/c"}, "IP-MOD-003", "uri"),
    ({"uri": "oci://image"}, "IP-MOD-003", "uri"),
    ({"uri": "pvc://Claim_1/x"}, "IP-MOD-003", "uri"),
    ({"uri": "s3:///path", "credentials_secret": "keys"}, "IP-MOD-003", "uri"),
    ({"served_name": "my model"}, "IP-INV-004", "served_name"),
    # size
    ({"replicas": -1}, "IP-INV-004", "replicas"),
    ({"replicas": "2"}, "IP-INV-003", "replicas"),
    ({"replicas": 1.5}, "IP-INV-003", "replicas"),
    ({"replicas": True}, "IP-INV-003", "replicas"),
    ({"gpu": None}, "IP-INV-005", "gpu"),
    ({"gpu": 1}, "IP-INV-003", "gpu"),
    ({"gpu": {"count": -1}}, "IP-INV-004", "gpu.count"),
    ({"gpu": {"count": 0}}, "IP-MOD-116", "gpu.count"),
    ({"gpu": {"count": "1"}}, "IP-INV-003", "gpu.count"),
    ({"gpu": {"product": "NVIDIA L4"}}, "IP-INV-004", "gpu.product"),
    ({"resources": {"cpu": "four"}}, "IP-INV-004", "resources.cpu"),
    ({"resources": {"cpu": 0}}, "IP-INV-004", "resources.cpu"),
    ({"resources": {"memory": 32}}, "IP-INV-003", "resources.memory"),
    ({"resources": {"memory": "32GB"}}, "IP-INV-004", "resources.memory"),
    # arguments and environment
    ({"args": "--max-model-len 8192"}, "IP-INV-003", "args"),
    ({"args": ["--max-model-len", 8192]}, "IP-INV-003", "args[1]"),
    ({"env": {"PYTHONHASHSEED": 42}}, "IP-MOD-124", "env.PYTHONHASHSEED"),
    ({"env": {"A": True}}, "IP-MOD-124", "env.A"),
    ({"env": {"1A": "x"}}, "IP-INV-004", "env.1A"),
    ({"args": ["--port", "1"]}, "IP-MOD-004", "args[0]"),
    ({"args": ["--served_model_name=x"]}, "IP-MOD-004", "args[0]"),
    ({"args": ["--ssl-keyfile=x"]}, "IP-MOD-004", "args[0]"),
    ({"args": ["--data-parallel-size=2"]}, "IP-MOD-004", "args[0]"),
    ({"args": ["-tp", "2"]}, "IP-MOD-004", "args[0]"),
    ({"env": {"VLLM_ADDITIONAL_ARGS": "--tensor-parallel-size 2"}}, "IP-MOD-004", "env.VLLM_ADDITIONAL_ARGS"),
    ({"env": {"VLLM_ADDITIONAL_ARGS": "--x '{"}}, "IP-MOD-006", "env.VLLM_ADDITIONAL_ARGS"),
    # keys
    ({"gpu": {"cuont": 2}}, "IP-INV-001", "gpu.cuont"),
    ({"replcas": 2}, "IP-INV-001", "replcas"),
    ({"storageUri": "hf://a/b"}, "IP-INV-002", "storageUri"),
    ({"gpu": {"type": "NVIDIA-L4"}}, "IP-INV-002", "gpu.type"),
    # namespaces of others
    ({"namespace": "istio-system"}, "IP-MOD-002", "namespace"),
    ({"namespace": "kube-system"}, "IP-MOD-002", "namespace"),
    ({"namespace": "openshift-lws-operator"}, "IP-MOD-002", "namespace"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "code", "path"), BAD, ids=str)
def test_what_is_wrong_is_refused_where_it_is(only, changes, code, path):
    finding = only(model(**changes))
    name = model(**changes).get("name")
    suffix = f" ({name})" if isinstance(name, str) else ""
    assert (finding.code, finding.severity) == (code, "error")
    assert finding.where == f"models[0].{path}{suffix}"
    assert finding.expected
    assert finding.remedy


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"args": ["--tensor-parallel-size", "2"]}, "Remove --tensor-parallel-size; use gpu.count."),
        ({"args": ["--served-model-name", "x"]}, "Remove --served-model-name; use served_name."),
        ({"gpu": {"cuont": 2}}, "Did you mean count?"),
        ({"gpu": {"type": "NVIDIA-L4"}}, "Write gpu.product."),
        (
            {"env": {"PYTHONHASHSEED": 42}},
            "Put the value in quotes.",
        ),
        ({"uri": "hf://a/b/c"}, "Write the URI as hf://organisation/model or hf://organisation/model:revision."),
    ],
    ids=str,
)
def test_the_remedy_says_what_to_write_instead(only, changes, remedy):
    assert only(model(**changes)).remedy == remedy


def test_an_entry_that_is_no_mapping_is_refused(only):
    finding = only("qwen")
    assert (finding.code, finding.where) == ("IP-INV-003", "models[0]")


def test_two_models_of_one_name_in_one_namespace_are_refused(only):
    finding = only(model(), model(uri="hf://a/b"))
    assert (finding.code, finding.where) == ("IP-MOD-001", "models[1].name (qwen)")
    assert "models[0]" in finding.found


def test_one_name_in_two_namespaces_is_fine(findings):
    assert findings(model(), model(namespace="team-b")) == []


def test_a_claim_for_several_pods_is_a_warning(only):
    finding = only(model(uri="pvc://weights/qwen", replicas=2))
    assert (finding.code, finding.severity) == ("IP-MOD-005", "warning")
    assert '"weights"' in finding.found


def test_a_claim_for_one_pod_is_fine(findings):
    assert findings(model(uri="pvc://weights/qwen", replicas=1)) == []


def test_all_mistakes_of_all_models_are_told_at_once(findings):
    found = findings(model(replicas=-1, gpu={"count": -1}), model(name="b", uri="ftp://x"))
    assert [finding.where for finding in found] == [
        "models[0].gpu.count (qwen)",
        "models[0].replicas (qwen)",
        "models[1].uri (b)",
    ]


# defaults ----------------------------------------------------------------------------


def test_defaults_fill_what_an_entry_leaves_out(aws):
    result = render([model(gpu=None, namespace=None)], {"namespace": "n", "gpu": {"count": 4}}, aws)
    assert result.findings == []
    assert (result.models[0].namespace, result.models[0].gpu_count) == ("n", 4)


def test_a_mistake_in_the_defaults_is_told_once_and_there(findings):
    found = findings(model(replicas=None), model(name="b", replicas=None), replicas="two")
    assert [(finding.code, finding.where) for finding in found] == [("IP-INV-003", "model_defaults.replicas")]


def test_an_entry_that_overrides_a_mistake_of_the_defaults_is_not_blamed(findings):
    assert findings(model(replicas=1), replicas="two") == []


def test_a_name_in_the_defaults_is_refused(only):
    finding = only(model(), name="all")
    assert (finding.code, finding.where) == ("IP-MOD-007", "model_defaults.name")


def test_a_finding_names_file_and_line_of_the_value(aws, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text(
        "models:\n  - name: qwen\n    gpu:\n      count: -1\nmodel_defaults:\n  replicas: -1\n", encoding="utf-8"
    )
    entry = model(gpu={"count": -1})
    found = render([entry], {"replicas": -1}, aws, Sources.load([tmp_path])).findings
    assert [finding.where for finding in found] == [
        "group_vars/all.yml:4 models[0].gpu.count (qwen)",
        "group_vars/all.yml:6 model_defaults.replicas",
    ]


@pytest.mark.parametrize(
    ("changes", "expected", "remedy"),
    [
        ({"replica": 1}, "the key replicas", "Did you mean replicas?"),
        ({"gpu": 1}, "a mapping such as {product: NVIDIA-L4, count: 1}", "Set gpu to a mapping such as"),
        (
            {"traffic": {"group": "a", "weight": -1}},
            "a whole number of at least 0 and of at most 1000000",
            "Set weight",
        ),
        ({"args": [5]}, "a text", "Put the value in quotes."),
        ({"lora": {"adapters": {"name": "x"}}}, "a list", "Write adapters as a list, each item behind a dash"),
        ({"lora": {"adapters": [{"name": "x", "uri": "s3://x/y"}]}}, "hf:// or pvc:// with release 3.4", "Put the"),
        ({"override": {"model": {"uri": "gs://x/y"}}}, "hf://organisation/model, s3://bucket", "Set uri to hf://"),
    ],
    ids=str,
)
def test_a_finding_says_what_would_be_right_in_few_words(aws, changes, expected, remedy):
    (finding,) = render([model(**changes)], {}, aws).findings
    assert finding.expected.startswith(expected)
    assert finding.remedy.startswith(remedy)


def test_an_item_that_is_no_model_is_named_by_its_place(aws):
    (finding,) = render(["qwen"], {}, aws).findings
    assert finding.remedy == "Set models[0] to a mapping with keys such as name, namespace, uri, gpu."


@pytest.mark.parametrize(
    ("changes", "expected", "remedy"),
    [
        ({"replicas": "2"}, "a whole number of at least 0", "Write 2 without quotes."),
        ({"replicas": "two"}, "a whole number of at least 0", "Set replicas to a whole number of at least 0."),
        ({"replicas": 2**31}, "a whole number of at least 0 and of at most 2147483647", "Set replicas to"),
        ({"vllm": {"enable_prefix_caching": "true"}}, "true or false", "Write true without quotes."),
        ({"namespace": 123}, "a namespace name", "Put the value in quotes."),
        ({"revision": True}, "a branch, tag or commit", "Put the value in quotes."),
        ({"resources": {"memory": 16}}, "a quantity of memory with a unit", "Set memory to a quantity of memory with"),
        ({"tolerations": [{"key": "a", "value": True}]}, "a text", "Put the value in quotes."),
        ({"tolerations": [{"key": "a", "effect": "noschedule"}]}, "NoSchedule, Prefer", "Did you mean NoSchedule?"),
        ({"tolerations": ["gpu"]}, "a mapping with keys such as key, operator, value, effect", "Set tolerations[0] to"),
        ({"scheduler": {"strategy": "prefix-cache"}}, "load_aware, ", "Did you mean prefix_cache?"),
        ({"state": "stop"}, "present, stopped or absent", "Did you mean stopped?"),
        ({"scheduler": {"weights": {"queue": 1}}}, "a plugin of", "Did you mean queue-scorer?"),
        ({"tensor_parallel_size": 2}, '"parallelism.tensor"', "Write parallelism.tensor."),
        ({"hf_token": "x"}, '"credentials_secret"', "Write credentials_secret (the name of a Secret with the token)."),
        ({"max_model_len": 4096}, "vllm.max_model_len", "Move it into vllm."),
        ({"memory": "32Gi"}, "resources.memory", "Move it into resources."),
        ({"hostnames": ["a.example.com"]}, "router.hostnames", "Move it into router."),
        ({"max_num_seqs_per_gpu_x": 1}, "one of ", "Remove max_num_seqs_per_gpu_x, or correct its name; docs/ref"),
        ({"networks": ["a"]}, "a text", "Set networks to a text"),
        ({"parallelism": {"data_parallel": 1}}, "the key data or data_local", "Did you mean data or data_local?"),
        ({"router": {"hostnames": "a.example.com"}}, "a list", "Write hostnames as a list, each item behind a dash or"),
        ({"router": {"hostnames": []}}, "a list with at least this many items: 1", "Set hostnames to a list with"),
        (
            {"router": {"hostnames": ["10.0.0.1"]}},
            "a host name in lower case, not an IP address",
            "Set hostnames[0] to a",
        ),
        ({"env": {"A-B": "x"}}, "a name of letters, digits and underscores", "Rename the key A-B."),
        ({"labels": {"my key": "x"}}, "a label key", "Rename the key my key."),
        ({"topology_spread": [{"topologyKey": "z", "maxSkew": 1}]}, "a value", "Add whenUnsatisfiable."),
        ({"image": "https://quay.io/a/b:1"}, "an image reference without a scheme", "Set image to an image reference"),
        ({"image": "quay.io/a b:1"}, "an image reference without a scheme", "Set image to an image reference"),
        ({"profiles": ["large"]}, "a profile of model_profiles, which has none", "Add it to model_profiles"),
    ],
    ids=str,
)
def test_a_typical_mistake_is_told_with_what_to_write(aws, changes, expected, remedy):
    (finding,) = render([model(**changes)], {}, aws).findings
    assert finding.expected.startswith(expected)
    assert finding.remedy.startswith(remedy)


@pytest.mark.parametrize(
    "image",
    ["vllm", "vllm:1", "quay.io/a/b:1.0_x", "localhost:5000/a/b@sha256:0f", "10.0.0.1:5000/a", "a.b/c/d:1@sha256:ab"],
)
def test_an_image_is_any_reference(findings, image):
    assert findings(model(image=image)) == []
