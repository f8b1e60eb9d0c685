"""What counts as the same, and what does not: each pair of spellings beside one that is close but different."""

from __future__ import annotations

from typing import Any

import pytest

from inference_platform.importer.meaning import (
    differences,
    flags_of,
    names_of,
    objective_meaning,
    quantity,
    route_meaning,
    service_meaning,
    shown,
)


def service(spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"kind": "LLMInferenceService", "metadata": {"name": "m", "namespace": "n", **metadata}, "spec": spec}


def main(**fields: Any) -> dict[str, Any]:
    return {"template": {"containers": [{"name": "main", **fields}]}}


def decode(**fields: Any) -> dict[str, Any]:
    return {**main(**fields), "prefill": {"template": {"containers": [{"name": "main"}]}}}


def args(*words: str) -> dict[str, Any]:
    return main(args=list(words))


def env(*pairs: tuple[str, str]) -> dict[str, Any]:
    return main(env=[{"name": name, "value": value} for name, value in pairs])


def probe(**get: Any) -> dict[str, Any]:
    return main(livenessProbe={"periodSeconds": 5, **({"httpGet": get} if get else {})})


EXTRA = "VLLM_ADDITIONAL_ARGS"
GATEWAY = {"name": "inference-gateway", "namespace": "redhat-ods-applications"}
DEFAULT_CONFIG = {
    "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
    "kind": "EndpointPickerConfig",
    "plugins": [
        {"type": name} for name in ("single-profile-handler", "queue-scorer", "prefix-cache-scorer", "max-score-picker")
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

# One spelling, another of the same meaning (or itself again), and one of another meaning.
SCALED = {"scaling": {"maxReplicas": 2}}
BASED = {"baseRefs": [{"name": "b"}]}
LISTED = args("--modules", "a=1", "b=2")
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "the served name is the name": (
        {"model": {"uri": "u"}},
        {"model": {"uri": "u", "name": "m"}},
        {"model": {"uri": "u", "name": "x"}},
    ),
    "one replica unless said": ({}, {"replicas": 1}, {"replicas": 2}),
    "autoscaling has no replicas": (SCALED, SCALED, {**SCALED, "replicas": 1}),
    "a base may say the replicas": (BASED, BASED, {**BASED, "replicas": 1}),
    "arguments as a list or for a shell": (
        args("--max-model-len", "4096", "--enforce-eager"),
        env((EXTRA, "--max_model_len=4096 --enforce-eager")),
        env((EXTRA, "--max-model-len=8192 --enforce-eager")),
    ),
    "arguments have no order": (args("--a-b", "1", "--c"), args("--c", "--a-b=1"), args("--c", "--a-b")),
    "the last of two flags counts": (args("--a", "1", "--a", "2"), args("--a", "2"), args("--a", "1")),
    "JSON among arguments": (
        args("--x", "'{\"a\": 1, \"b\": 2}'"),
        env((EXTRA, '--x \'{"b":2,"a":1}\'')),
        args("--x", "'{\"a\": 1}'"),
    ),
    "a list after a flag keeps its order": (LISTED, LISTED, args("--modules", "b=2", "a=1")),
    "a flag and its opposite": (args("--no-enable-x"), args("--no-enable_x"), args("--enable-x")),
    "with a command arguments are its own": (
        main(command=["x"], args=["a", "b"]),
        main(command=["x"], args=["a", "b"]),
        main(command=["x"], args=["b", "a"]),
    ),
    "with a command the variable is its own": (
        main(command=["x"], env=[{"name": EXTRA, "value": "--a"}]),
        main(command=["x"], env=[{"name": EXTRA, "value": "--a"}]),
        main(command=["x"], args=["--a"]),
    ),
    "variables have no order": (env(("A", "1"), ("B", "2")), env(("B", "2"), ("A", "1")), env(("A", "2"), ("B", "1"))),
    "but a reference looks up only": (
        env(("A", "1"), ("B", "$(A)")),
        env(("A", "1"), ("B", "$(A)")),
        env(("B", "$(A)"), ("A", "1")),
    ),
    "a reference by shell or kubelet": (
        main(env=[{"name": "IP", "value": "1"}, {"name": EXTRA, "value": "--x ${IP}"}]),
        main(env=[{"name": "IP", "value": "1"}], args=["--x", "$(IP)"]),
        main(env=[{"name": "IP", "value": "1"}], args=["--x", "IP"]),
    ),
    "a variable of the preset is only the shell's": (
        args("--x", "${LWS}"),
        env((EXTRA, "--x ${LWS}")),
        args("--x", "$(LWS)"),
    ),
    "quantities": (
        main(resources={"limits": {"memory": "1Gi", "cpu": "2"}}),
        main(resources={"limits": {"memory": "1024Mi", "cpu": "2000m"}}),
        main(resources={"limits": {"memory": "1G", "cpu": "2"}}),
    ),
    "requests are the limits unless said": (
        main(resources={"limits": {"cpu": 1}}),
        main(resources={"limits": {"cpu": 1}, "requests": {"cpu": "1"}}),
        main(resources={"requests": {"cpu": 1}}),
    ),
    "a probe asks where the preset says": (
        probe(),
        probe(path="/health", port=8000, scheme="HTTPS"),
        probe(path="/health", port=8000, scheme="HTTP"),
    ),
    "a probe of a decode pod asks the server": (
        decode(livenessProbe={"periodSeconds": 5}),
        decode(livenessProbe={"periodSeconds": 5, "httpGet": {"port": 8001}}),
        decode(livenessProbe={"periodSeconds": 5, "httpGet": {"port": 8000}}),
    ),
    "a probe of another kind is another": (
        main(livenessProbe={"tcpSocket": {"port": 1}}),
        main(livenessProbe={"tcpSocket": {"port": 1}}),
        main(livenessProbe={"httpGet": {"port": 1}}),
    ),
    "sizes that say nothing": ({"parallelism": {"tensor": 1, "expert": False}}, {}, {"parallelism": {"tensor": 2}}),
    "no gateway and the default": (
        {"router": {"route": {}}},
        {"router": {"route": {}, "gateway": {"refs": [GATEWAY]}}},
        {"router": {"route": {}, "gateway": {"refs": [{**GATEWAY, "name": "other"}]}}},
    ),
    "routes of one's own have no default gateway": (
        {"router": {"route": {"http": {"refs": [{"name": "r"}]}}}},
        {"router": {"route": {"http": {"refs": [{"name": "r"}]}}}},
        {"router": {"route": {"http": {"refs": [{"name": "r"}]}}, "gateway": {"refs": [GATEWAY]}}},
    ),
    "the scheduler of KServe": (
        {"router": {"scheduler": {}}},
        {"router": {"scheduler": {"config": {"inline": DEFAULT_CONFIG}}}},
        {"router": {"scheduler": {"config": {"inline": {**DEFAULT_CONFIG, "featureGates": ["flowControl"]}}}}},
    ),
    "names of containers of the scheduler": (
        {"router": {"scheduler": {}}},
        {"router": {"scheduler": {"template": {"containers": [{"name": "main"}, {"name": "tokenizer"}]}}}},
        {"router": {"scheduler": {"template": {"containers": [{"name": "main", "image": "x"}]}}}},
    ),
    "containers and volumes have no order": (
        {"template": {"containers": [{"name": "main"}, {"name": "b", "image": "x"}]}},
        {"template": {"containers": [{"name": "b", "image": "x"}, {"name": "main"}]}},
        {"template": {"containers": [{"name": "main"}, {"name": "b", "image": "y"}]}},
    ),
    "tolerations have an order": (
        {"template": {"tolerations": [{"key": "a"}, {"key": "b"}]}},
        {"template": {"tolerations": [{"key": "a"}, {"key": "b"}]}},
        {"template": {"tolerations": [{"key": "b"}, {"key": "a"}]}},
    ),
    "an empty block is not nothing": ({"router": {}}, {"router": {}}, {}),
    "expressions": (
        {"model": {"uri": "u", "name": "{{ .ObjectMeta.Name }}"}},
        {"model": {"uri": "u", "name": "m"}},
        {"model": {"uri": "u", "name": "{{ .ObjectMeta.Namespace }}"}},
    ),
    "braces that KServe prints": (args("--x", "'{{`{{`}} a }}'"), args("--x", "'{{`{{`}} a }}'"), args("--x", "a")),
}  # fmt: skip


def meaning(spec: dict[str, Any], serving: dict[str, Any]) -> Any:
    obj = service(spec)
    return service_meaning(obj, serving, names_of(obj, "n"))


@pytest.mark.parametrize("name", [name for name, (one, other, _) in PAIRS.items() if one != other])
def test_two_spellings_mean_the_same(serving, name):
    one, other, _ = PAIRS[name]
    assert differences(meaning(one, serving), meaning(other, serving)) == {}


@pytest.mark.parametrize("name", PAIRS)
def test_a_close_one_means_something_else(serving, name):
    one, _, different = PAIRS[name]
    assert differences(meaning(one, serving), meaning(different, serving)) != {}


def test_a_difference_has_a_place_and_both_sides(serving):
    found = differences(meaning(main(image="a"), serving), meaning(main(image="b"), serving))
    assert {shown(path): pair for path, pair in found.items()} == {"spec.template.containers[main].image": ("a", "b")}


def test_without_names_expressions_stay(serving):
    obj = service({"model": {"uri": "u", "name": "{{ .ObjectMeta.Name }}"}})
    assert service_meaning(obj, serving)[("spec", "model", "name")] == "{{ .ObjectMeta.Name }}"


def test_labels_of_the_platform_are_not_part_of_the_meaning_but_those_of_others_are(serving):
    ours = {"app.kubernetes.io/managed-by": "inference-platform", "inference-platform.io/model": "m"}
    theirs = {"app.kubernetes.io/managed-by": "Helm"}
    plain = service_meaning(service({}), serving)
    assert service_meaning(service({}, labels=ours), serving) == plain
    assert service_meaning(service({}, labels=theirs), serving) != plain


def test_a_route_with_the_defaults_of_the_gateway_api_is_the_same():
    short = {
        "metadata": {"name": "r"},
        "spec": {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "s", "port": 80}]}]},
    }
    match = {"path": {"type": "PathPrefix", "value": "/"}}
    backend = {"group": "", "kind": "Service", "name": "s", "namespace": "n", "port": 80, "weight": 1}
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g", "namespace": "n"}
    long = {
        "metadata": {"name": "r"},
        "spec": {"parentRefs": [parent], "rules": [{"matches": [match], "backendRefs": [backend]}]},
    }
    assert differences(route_meaning(short, "n"), route_meaning(long, "n")) == {}
    backend["weight"] = 2
    found = differences(route_meaning(short, "n"), route_meaning(long, "n"))
    assert [shown(path) for path in found] == ["spec.rules.0.backendRefs.0.weight"]


def test_an_objective_without_priority_has_priority_0():
    short = {"metadata": {"name": "o"}, "spec": {"poolRef": {"name": "p"}}}
    long = {
        "metadata": {"name": "o"},
        "spec": {
            "priority": 0,
            "poolRef": {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "p"},
        },
    }
    assert objective_meaning(short) == objective_meaning(long)


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1000m"), ("1Ki", "1024"), ("1.5Gi", "1536Mi"), (2, "2"), ("1k", "1000")]
)
def test_quantities_are_numbers(one, other):
    assert quantity(one) == quantity(other)


def test_what_is_no_quantity_stays():
    assert quantity("{{ x }}") == "{{ x }}"


def test_words_are_taken_apart_into_flags():
    words = ["serve", "--a", "1", "-tp", "2", "--b_c=d", "--e", "f", "g", "--h", "-1"]
    assert list(flags_of(words)) == [
        ("", ("serve",)),
        ("--a", ("1",)),
        ("--tensor-parallel-size", ("2",)),
        ("--b-c", ("d",)),
        ("--e", ("f", "g")),
        ("--h", ("-1",)),
    ]
