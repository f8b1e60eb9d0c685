"""Entries that provoke each rule, and their neighbours that are fine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ENTRY = {
    "name": "qwen",
    "namespace": "team-a",
    "uri": "hf://Qwen/Qwen2.5-7B-Instruct",
    "gpu": {"product": "NVIDIA-H100-80GB-HBM3", "count": 1},
}


def model(**changes: Any) -> dict[str, Any]:
    """The plain entry with changes; None takes a key out."""
    entry = {**ENTRY, **changes}
    return {key: value for key, value in entry.items() if value is not None}


@dataclass(frozen=True)
class Case:
    """What is wrong, where the finding points (inside the entry), and the neighbour that is right."""

    bad: Mapping[str, Any]
    where: str
    good: Mapping[str, Any] = field(default_factory=dict)


TWO_NODES = {"gpu": {"count": 8}, "parallelism": {"data": 16, "data_local": 8}}
MAIN = {"name": "main"}


def pod(**fields: Any) -> dict[str, Any]:
    """An override of the server's container."""
    return {"override": {"template": {"containers": [{**MAIN, **fields}]}}}


def scheduler_config(**changes: Any) -> dict[str, Any]:
    """An override of the scheduler's configuration by one that only counts queues, with changes."""
    plugins = [{"type": kind} for kind in ("single-profile-handler", "queue-scorer", "max-score-picker")]
    config = {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": plugins,
        "schedulingProfiles": [{"name": "default", "plugins": [{"pluginRef": item["type"]} for item in plugins[1:]]}],
    }
    return {"override": {"router": {"scheduler": {"config": {"inline": {**config, **changes}}}}}}


PRECISE = {"scheduler": {"strategy": "precise_prefix_cache"}}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}

# Rules about one entry, or about its rendered spec.
MODEL_CASES: dict[str, list[Case]] = {
    "IP-MOD-002": [
        Case({"namespace": "istio-system"}, "namespace", {"namespace": "istio-system-2"}),
        Case({"namespace": "kube-public"}, "namespace"),
    ],
    "IP-MOD-003": [Case({"uri": "hf://a/b/c"}, "uri", {"uri": "hf://a/b"})],
    "IP-MOD-034": [
        Case(
            {"env": {"HF_TOKEN": "hf_x"}},
            "env.HF_TOKEN",
            {"env": {"HF_TOKEN": {"secret": "hub", "key": "token"}, "MAX_TOKENS": "5", "TOKENIZER": "x"}},
        ),
        Case({"prefill": {"env": {"VLLM_API_KEY": "x"}}}, "prefill.env.VLLM_API_KEY", {"env": {"VLLM_API_KEY": ""}}),
    ],
    "IP-MOD-004": [
        Case({"args": ["--model=/x"]}, "args[0]", {"args": ["--model-impl", "auto"]}),
        Case({"args": ["--port", "80"]}, "args[0]", {"args": ["--portal"]}),
        Case({"env": {"VLLM_ADDITIONAL_ARGS": "-tp 2"}}, "env.VLLM_ADDITIONAL_ARGS"),
        Case(
            {"prefill": {"args": ["--headless"]}, "args": ["--seed", "1"]},
            "prefill.args[0]",
            {"prefill": {"args": ["--seed", "2"]}, "args": ["--seed", "1"]},
        ),
        # With a command there is no preset, but what follows from settings is still given by the platform.
        Case(
            {"command": ["/server"], "args": ["--port", "8000", "--tensor-parallel-size", "2"]},
            "args[2]",
            {"command": ["/server"], "args": ["--port", "8000", "--served-model-name", "x"]},
        ),
    ],
    "IP-MOD-005": [
        Case({"uri": "pvc://weights", "replicas": 2}, "uri", {"uri": "pvc://weights"}),
        Case({"uri": "pvc://weights", **TWO_NODES}, "uri"),
        Case({"uri": "pvc://weights", "prefill": {}}, "uri"),
        Case({"uri": "pvc://weights", "scaling": {"max_replicas": 2, "hpa": {}}}, "uri"),
    ],
    "IP-MOD-006": [
        Case(
            {"env": {"VLLM_ADDITIONAL_ARGS": "--x 'a"}},
            "env.VLLM_ADDITIONAL_ARGS",
            {"env": {"VLLM_ADDITIONAL_ARGS": "--x 'a'"}},
        )
    ],
    "IP-MOD-133": [
        Case(
            {"env": {"VLLM_ADDITIONAL_ARGS": '--kv-transfer-config {"kv_role":"kv_both"}'}},
            "env.VLLM_ADDITIONAL_ARGS",
            {"env": {"VLLM_ADDITIONAL_ARGS": '--kv-transfer-config \'{"kv_role":"kv_both"}\''}},
        ),
        Case({"env": {"VLLM_ADDITIONAL_ARGS": '--x={"a":1}'}}, "env.VLLM_ADDITIONAL_ARGS"),
    ],
    "IP-MOD-008": [
        Case({"tracing": {"exporter_endpoint": "http://otel:4317"}}, "tracing"),
        Case({"router": {"weight": 10}}, "router.weight", {"router": {"hostnames": ["a.example.com"]}}),
        Case(
            {"router": {"gateways": [{"name": "g", "namespace": "n", "section_name": "https"}]}},
            "router.gateways[0].section_name",
            {"router": {"gateways": [{"name": "g", "namespace": "n"}]}},
        ),
        Case({"override": {"router": {"route": {"group": "g"}}}}, "override.router.route.group"),
    ],
    "IP-MOD-009": [
        Case({"uri": "pvc://a", "revision": "main"}, "revision", {"revision": "main"}),
        Case({"uri": "hf://a/b:main", "revision": "v1"}, "revision", {"uri": "hf://a/b:main"}),
    ],
    "IP-MOD-010": [
        Case(
            {"labels": {"inference-platform.io/model": "x"}},
            "labels.inference-platform.io/model",
            {"labels": {"team": "a"}},
        ),
        Case(
            {"annotations": {"serving.kserve.io/stop": "true"}},
            "annotations.serving.kserve.io/stop",
            {"annotations": {"note": "a"}, "state": "stopped"},
        ),
    ],
    "IP-MOD-011": [
        Case(
            {"vllm": {"max_model_len": 4096}, "args": ["--max_model_len=8192"]},
            "args[0]",
            {"vllm": {"max_model_len": 4096}, "args": ["--max-model-length-x"]},
        ),
        Case(
            {"vllm": {"enable_prefix_caching": True}, "env": {"VLLM_ADDITIONAL_ARGS": "--no-enable-prefix-caching"}},
            "env.VLLM_ADDITIONAL_ARGS",
            {"env": {"VLLM_ADDITIONAL_ARGS": "--no-enable-prefix-caching"}},
        ),
    ],
    "IP-MOD-014": [Case({"offline": True}, "offline", {"offline": True, "uri": "oci://quay.io/a/b"})],
    "IP-MOD-015": [
        Case(
            {"lora": {"adapters": [{"name": "qwen", "uri": "pvc://a/x"}]}},
            "lora.adapters[0].name",
            {"lora": {"adapters": [{"name": "sql", "uri": "pvc://a/x"}, {"name": "chat", "uri": "hf://org/chat"}]}},
        ),
        Case({"lora": {"adapters": [{"name": "sql", "uri": "s3://bucket/x"}]}}, "lora.adapters[0].uri"),
        Case({"lora": {"adapters": [{"name": "sql", "uri": "pvc://Claim"}]}}, "lora.adapters[0].uri"),
        Case(
            {"uri": "pvc://w", "offline": True, "lora": {"adapters": [{"name": "sql", "uri": "hf://a/b"}]}},
            "lora.adapters[0].uri",
        ),
    ],
    "IP-MOD-016": [
        Case(
            {"storage_initializer": False},
            "storage_initializer",
            {
                "storage_initializer": False,
                **pod(volumeMounts=[{"name": "weights", "mountPath": "/mnt/models"}]),
            },
        )
    ],
    "IP-MOD-017": [
        Case({"pod_labels": {"llm-d.ai/role": "x"}}, "pod_labels.llm-d.ai/role", {"pod_labels": {"team": "a"}}),
        Case(
            {"scheduler": {"pod_labels": {"app.kubernetes.io/name": "x"}}},
            "scheduler.pod_labels.app.kubernetes.io/name",
            {"scheduler": {"pod_labels": {"team": "a"}}},
        ),
        Case(
            {"scheduler": {"pod_annotations": {"app.kubernetes.io/version": "0.6.0"}}},
            "scheduler.pod_annotations.app.kubernetes.io/version",
            {"scheduler": {"pod_annotations": {"note": "a"}}},
        ),
    ],
    "IP-MOD-019": [
        Case(
            {"router": {"pool": "mine"}, "scheduler": {"replicas": 2}},
            "scheduler.replicas",
            {"router": {"pool": "mine"}, "scheduler": {"objectives": "default"}},
        )
    ],
    "IP-MOD-022": [
        Case(
            {"startup_budget_seconds": 900, "probes": {"startup": {"failure_threshold": 90}}},
            "startup_budget_seconds",
            {"startup_budget_seconds": 900, "probes": {"startup": {"period_seconds": 30}}},
        )
    ],
    "IP-MOD-023": [
        Case({"shm": "32Gi", "resources": {"memory": "32Gi"}}, "shm", {"shm": "8Gi", "resources": {"memory": "32Gi"}})
    ],
    "IP-MOD-024": [
        Case(
            {"resources": {"cpu": 4, "cpu_limit": "3500m"}},
            "resources.cpu_limit",
            {"resources": {"cpu": 4, "cpu_limit": 8}},
        ),
        Case(
            {"resources": {"memory": "32Gi", "memory_limit": "16G"}},
            "resources.memory_limit",
            {"resources": {"memory": "16Gi", "memory_limit": "32Gi"}},
        ),
    ],
    "IP-MOD-025": [
        Case(
            {"vllm": {"dtype": "float16"}, "prefill": {"vllm": {"dtype": "bfloat16"}}},
            "prefill.vllm.dtype",
            {"vllm": {"dtype": "float16"}, "prefill": {"vllm": {"max_num_seqs": 4}}},
        )
    ],
    "IP-MOD-026": [
        Case({"gpu": {"count": 2}, "prefill": {"gpu": {"count": 1}}}, "prefill.parallelism.tensor", {"prefill": {}})
    ],
    "IP-MOD-027": [
        Case(
            {**TWO_NODES, "vllm": {"all2all_backend": "deepep_low_latency"}},
            "vllm.all2all_backend",
            {**TWO_NODES, "vllm": {"all2all_backend": "naive"}},
        )
    ],
    "IP-MOD-028": [
        Case(
            {"parallelism": {"expert": True}},
            "parallelism.expert",
            {"parallelism": {"expert": True}, "gpu": {"count": 2}},
        )
    ],
    "IP-MOD-101": [
        Case({"gpu": {"count": 4}, "parallelism": {"data": 4}}, "parallelism.data"),
        Case({"parallelism": {"data_local": 1}}, "parallelism.data_local"),
        Case(
            {"gpu": {"count": 4}, "parallelism": {"data": 10, "data_local": 4}},
            "parallelism.data",
            {"gpu": {"count": 4}, "parallelism": {"data": 8, "data_local": 4}},
        ),
        Case({"prefill": {"parallelism": {"data": 2}}}, "prefill.parallelism.data"),
    ],
    "IP-MOD-102": [
        Case(
            {"gpu": {"count": 2}, "parallelism": {"tensor": 4}}, "gpu.count", {"gpu": {}, "parallelism": {"tensor": 4}}
        ),
        Case(
            {"gpu": {"count": 8}, "parallelism": {"data": 16, "data_local": 8, "tensor": 2}},
            "gpu.count",
            {"gpu": {}, "parallelism": {"data": 16, "data_local": 4, "tensor": 2}},
        ),
        Case(
            {"gpu": {"count": 4}, "prefill": {"gpu": {"count": 4}, "parallelism": {"tensor": 2}}}, "prefill.gpu.count"
        ),
    ],
    "IP-MOD-104": [
        Case(
            {"parallelism": {"pipeline": 2}},
            "parallelism.pipeline",
            {"parallelism": {"pipeline": 2}, "own_presets": ["v3-4-4-kserve-config-llm-worker-pipeline-parallel"]},
        ),
        Case({"prefill": {"parallelism": {"pipeline": 2}}}, "prefill.parallelism.pipeline"),
    ],
    "IP-MOD-105": [
        Case(
            {"parallelism": {"pipeline": 2, "data": 2, "data_local": 1}},
            "parallelism.pipeline",
            {"parallelism": {"data": 2, "data_local": 1}},
        )
    ],
    "IP-MOD-107": [
        Case(
            {"replicas": 2, "scaling": {"max_replicas": 4, "hpa": {}}},
            "scaling",
            {"scaling": {"max_replicas": 4, "hpa": {}}},
        ),
        Case({"prefill": {"replicas": 2, "scaling": {"max_replicas": 4, "hpa": {}}}}, "prefill.scaling"),
    ],
    "IP-MOD-033": [
        Case(
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
            "tolerations[0].value",
            {"tolerations": [{"key": "a", "operator": "Exists"}]},
        ),
        Case(
            {"tolerations": [{"value": "b"}]},
            "tolerations[0]",
            {"tolerations": [{"operator": "Exists"}]},
        ),
        Case(
            {"prefill": {"tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 5}]}},
            "prefill.tolerations[0]",
            {
                "prefill": {
                    "tolerations": [
                        {"key": "a", "operator": "Exists", "tolerationSeconds": 5, "effect": "NoExecute"},
                    ]
                }
            },
        ),
    ],
    "IP-MOD-116": [Case({"gpu": {"count": 0}}, "gpu.count", {"gpu": {"count": 0}, "image": "quay.io/org/vllm-cpu:v1"})],
    "IP-MOD-119": [
        Case(
            {"gpu": {"count": 1}, "weights_size": "640Gi", "startup_budget_seconds": 600},
            "startup_budget_seconds",
            {"gpu": {"count": 1}, "weights_size": "640Gi"},
        ),
        Case(
            {"gpu": {"count": 1}, "weights_size": "640Gi", "probes": {"startup": {"failure_threshold": 60}}},
            "startup_budget_seconds",
            {"gpu": {"count": 1}, "weights_size": "640Gi", "probes": {"startup": {"failure_threshold": 600}}},
        ),
    ],
    "IP-MOD-109": [
        Case({"router": {"route": "own"}}, "router.route", {"router": {"route": "own", "routes": ["mine"]}}),
        Case({"router": {"routes": ["mine"]}}, "router.routes"),
        Case({"router": {"route": "own", "routes": ["mine"], "timeouts": {"request": "1s"}}}, "router.timeouts"),
    ],
    "IP-MOD-110": [
        Case({"router": {"route": "none"}, "scheduler": {"replicas": 2}}, "scheduler", {"router": {"route": "none"}}),
        Case({"router": {"route": "none", "pool": "mine"}}, "router.pool"),
    ],
    "IP-MOD-302": [
        Case(
            {"router": {"timeouts": {"request": "10s", "backend_request": "1m"}}},
            "router.timeouts.backend_request",
            {"router": {"timeouts": {"request": "0s", "backend_request": "1m"}}},
        )
    ],
    "IP-MOD-303": [
        Case({"router": {"api_paths": ["/v1//x"]}}, "router.api_paths[0]", {"router": {"api_paths": ["/v1/x"]}}),
        Case({"router": {"other_paths": ["/ok", "/.."]}}, "router.other_paths[1]"),
    ],
    "IP-MOD-304": [
        Case(
            {"router": {"other_paths": [f"/p{index}" for index in range(14)]}},
            "router.other_paths",
            {"router": {"other_paths": [f"/p{index}" for index in range(13)]}},
        )
    ],
    "IP-MOD-305": [Case({"router": {"other_paths": "none"}}, "router.other_paths", {"router": {"other_paths": "all"}})],
    # the rendered spec
    "IP-MOD-103": [
        Case(
            {"gpu": {"count": 4}, **pod(args=["--max-model-len=8192"])},
            "override.template.containers",
            {"gpu": {"count": 4}, **pod(args=["--tensor-parallel-size=4"])},
        ),
        Case({**pod(args=["-tp", "2"])}, "override.template.containers", pod(args=["--seed", "1"])),
    ],
    "IP-MOD-106": [
        Case(
            {"override": {"worker": {"imagePullSecrets": [{"name": "rhai-pull-secret"}], "containers": [MAIN]}}},
            "override.worker",
            TWO_NODES,
        )
    ],
    "IP-MOD-113": [
        Case(
            {"override": {"router": {"scheduler": {"template": {"containers": None}}}}},
            "override.router.scheduler.template.containers",
            {"override": {"router": {"scheduler": {"template": {"priorityClassName": "high"}}}}},
        )
    ],
    "IP-MOD-114": [
        Case(
            {"override": {"template": {"imagePullSecrets": None}}},
            "override.template.imagePullSecrets",
            {"override": {"template": {"imagePullSecrets": [{"name": "mine"}]}}},
        ),
        Case(
            {"override": {"router": {"scheduler": {"template": {"imagePullSecrets": None}}}}},
            "override.router.scheduler.template.imagePullSecrets",
        ),
    ],
    "IP-MOD-115": [
        Case(
            {"override": {"template": {"containers": [{"name": "vllm", "args": ["--seed"]}]}}},
            "override.template.containers",
            {"override": {"template": {"containers": [{"name": "exporter", "image": "quay.io/a/b"}]}}},
        ),
        Case({"override": {"template": {"containers": None}}}, "override.template.containers"),
    ],
    "IP-MOD-117": [
        Case(
            {"override": {"template": {"tolerations": [{"key": "team", "operator": "Exists"}]}}},
            "override.template.tolerations",
            {"tolerations": [{"key": "team", "operator": "Exists"}]},
        )
    ],
    "IP-MOD-118": [
        Case(
            pod(livenessProbe={"httpGet": {"port": 8001}}),
            "override.template.containers",
            pod(livenessProbe={"httpGet": {"port": 8000, "scheme": "HTTPS"}}),
        ),
        Case(pod(readinessProbe={"httpGet": {"port": 8000, "scheme": "HTTP"}}), "override.template.containers"),
        Case(
            {"prefill": {}, **pod(livenessProbe={"httpGet": {"port": 8000}})},
            "override.template.containers",
            {"prefill": {}, **pod(livenessProbe={"httpGet": {"port": 8001}})},
        ),
    ],
    "IP-MOD-126": [
        Case(
            {"override": {"model": {"lora": {"adapters": []}}}},
            "override.model.lora",
            {"lora": {"adapters": [{"name": "sql", "uri": "hf://a/b"}]}},
        )
    ],
    "IP-MOD-132": [
        Case(
            {"override": {"model": {"uri": "pvc://{{.Values.name}}"}}},
            "override.model.uri",
            {"override": {"annotations": {"a": "{{ .ObjectMeta.Name }}-{{ ChildName .ObjectMeta.Name `-x` }}"}}},
        ),
        Case({"override": {"annotations": {"a": "{{"}}}, "override.annotations.a"),
    ],
    "IP-MOD-201": [
        Case(
            {"override": {"scaling": {"maxReplicas": 2, "wva": {"hpa": {}}}}},
            "override.scaling",
            {"override": {"replicas": None, "scaling": {"maxReplicas": 2, "wva": {"hpa": {}}}}},
        )
    ],
    "IP-MOD-202": [
        Case(
            {"scaling": {"min_replicas": 3, "max_replicas": 2, "hpa": {}}},
            "scaling.min_replicas",
            {"scaling": {"min_replicas": 2, "max_replicas": 2, "hpa": {}}},
        ),
        Case({"scaling": {"max_replicas": 2, "keda": {"idle_replica_count": 1}}}, "scaling.keda.idle_replica_count"),
        Case(
            {"scaling": {"min_replicas": 2, "max_replicas": 4, "keda": {"idle_replica_count": 2}}},
            "scaling.keda.idle_replica_count",
            {"scaling": {"min_replicas": 2, "max_replicas": 4, "keda": {"idle_replica_count": 1}}},
        ),
        Case({"override": {"replicas": None, "scaling": {"maxReplicas": 2}}}, "override.scaling"),
    ],
    "IP-MOD-203": [
        Case({"scaling": {"max_replicas": 2}}, "scaling"),
        Case(
            {"scaling": {"max_replicas": 2, "hpa": {}, "keda": {}}},
            "scaling",
            {"scaling": {"max_replicas": 2, "keda": {}}},
        ),
        Case({"prefill": {"scaling": {"max_replicas": 2}}}, "prefill.scaling"),
    ],
    "IP-MOD-204": [
        Case(
            {"scaling": {"max_replicas": 2, "keda": {"advanced": {"scalingModifiers": {"formula": "x"}}}}},
            "scaling.keda.advanced",
            {"scaling": {"max_replicas": 2, "keda": {"polling_interval": 5}}},
        ),
        Case(
            {"scaling": {"max_replicas": 2, "keda": {"advanced": {"restoreToOriginalReplicaCount": True}}}},
            "scaling.keda.advanced",
        ),
    ],
    "IP-MOD-205": [
        Case(
            {
                "router": {"route": "own", "routes": ["mine"]},
                "override": {"router": {"route": {"http": {"spec": {"hostnames": ["a.b"]}}}}},
            },
            "override.router.route.http",
            {"override": {"router": {"route": {"http": {"spec": {"hostnames": ["a.b"]}}}}}},
        )
    ],
    "IP-MOD-206": [
        Case(
            {"router": {"route": "own", "routes": ["mine"]}, "override": {"router": {"gateway": {"refs": None}}}},
            "override.router.gateway",
            {"router": {"route": "own", "routes": ["mine"]}, "override": {"router": {"gateway": None}}},
        )
    ],
    "IP-MOD-207": [
        Case(
            {"override": {"router": {"route": {"http": {"spec": {"parentRefs": [{"name": "g", "namespace": "n"}]}}}}}},
            "override.router.route.http.spec",
            {
                "router": {"gateways": [{"name": "g", "namespace": "n"}]},
                "override": {
                    "router": {"route": {"http": {"spec": {"parentRefs": [{"name": "g", "namespace": "n"}]}}}}
                },
            },
        )
    ],
    "IP-MOD-209": [
        Case({**TWO_NODES, "override": {"parallelism": {"pipeline": 2}}}, "override.parallelism", TWO_NODES)
    ],
    "IP-MOD-210": [
        Case({**TWO_NODES, "override": {"parallelism": {"dataLocal": None}}}, "override.parallelism"),
        Case(
            {**TWO_NODES, "override": {"parallelism": {"data": 20}}},
            "override.parallelism",
            {**TWO_NODES, "override": {"parallelism": {"data": 16}}},
        ),
        Case({**TWO_NODES, "override": {"parallelism": {"data": 0}}}, "override.parallelism"),
    ],
    "IP-MOD-211": [
        Case(
            {"override": {"router": {"scheduler": {"replicas": 0}}}},
            "override.router.scheduler.replicas",
            {"override": {"router": {"scheduler": {"replicas": 2}}}},
        )
    ],
    "IP-MOD-212": [
        Case(
            {"override": {"router": {"scheduler": {"config": {"ref": {"name": "mine", "key": "epp"}}}}}},
            "override.router.scheduler.config",
            {
                "override": {
                    "router": {"scheduler": {"config": {"inline": None, "ref": {"name": "mine", "key": "epp"}}}}
                }
            },
        ),
        Case(
            {"override": {"router": {"scheduler": {"config": None}}}},
            "override.router.scheduler.config",
            {"override": {"router": {"scheduler": {"config": None}}}, "base_refs": ["base"]},
        ),
        Case(
            {"override": {"router": {"scheduler": {"config": {"inline": None, "ref": {"key": "epp"}}}}}},
            "override.router.scheduler.config",
        ),
    ],
    "IP-MOD-213": [
        Case(
            {"scaling": {"max_replicas": 2, "hpa": {}}, "prefill": {"scaling": {"max_replicas": 2, "keda": {}}}},
            "prefill.scaling",
            {"scaling": {"max_replicas": 2, "keda": {}}, "prefill": {"scaling": {"max_replicas": 2, "keda": {}}}},
        )
    ],
    "IP-MOD-221": [
        Case(
            pod(resources={"limits": {"nvidia.com/gpu": "2"}}),
            "override.template.containers",
            pod(resources={"limits": {"memory": "64Gi"}}),
        ),
        Case(pod(resources={"limits": None}), "override.template.containers"),
        Case(
            {
                "gpu": {"count": 0},
                "image": "quay.io/a/b",
                **pod(resources={"limits": {"nvidia.com/gpu": 1}}),
            },
            "override.template.containers",
        ),
    ],
    "IP-MOD-222": [
        Case(
            {
                "override": {
                    "router": {
                        "scheduler": {
                            "template": {"containers": [{"name": "main", "args": ["--total-queued-requests-metric=x"]}]}
                        }
                    }
                }
            },
            "override.router.scheduler.template.containers",
            {
                "override": {
                    "router": {"scheduler": {"template": {"containers": [{"name": "main", "args": ["--v=4"]}]}}}
                }
            },
        )
    ],
    "IP-MOD-223": [
        Case(
            scheduler_config(featureGates=["noSuchGate"]),
            "override.router.scheduler.config",
            scheduler_config(saturationDetector={"queueDepthThreshold": 9}),
        ),
        Case(scheduler_config(plugins=[{"type": "no-such-scorer"}]), "override.router.scheduler.config"),
        Case(
            {"override": {"prefill": {"template": {"containers": [MAIN]}}}},
            "scheduler",
            {"prefill": {}, "override": {"prefill": {"replicas": 2}}},
        ),
    ],
    "IP-MOD-224": [
        Case(
            {**PRECISE, **pod(args=["--max-num-seqs=8"])},
            "override.template.containers",
            {**PRECISE, "args": ["--max-num-seqs=8"], **pod(resources={"limits": {"memory": "64Gi"}})},
        ),
        Case(
            {**PRECISE, **pod(env=[{"name": "PYTHONHASHSEED", "value": "7"}])},
            "override.template.containers",
            {**PRECISE, **pod(env=[{"name": "OTHER", "value": "7"}])},
        ),
        Case({**PRECISE, **scheduler_config()}, "override.router.scheduler.config"),
    ],
    "IP-MOD-225": [
        Case(
            {"topology_spread": [SPREAD, {**SPREAD, "maxSkew": 2}]},
            "topology_spread",
            {"topology_spread": [SPREAD, {**SPREAD, "whenUnsatisfiable": "ScheduleAnyway"}]},
        ),
    ],
    "IP-MOD-226": [
        Case(
            {"gpu": {"count": 1}, "override": {"parallelism": {"tensor": 4}}},
            "override.parallelism",
            {"gpu": {"count": 4}, "parallelism": {"tensor": 4}},
        ),
        Case({"gpu": {"count": 8}, "override": {"parallelism": {"data": 4, "dataLocal": 4}}}, "override.parallelism"),
        Case(
            {**TWO_NODES, "override": {"parallelism": {"tensor": 4}}},
            "override.parallelism",
            {**TWO_NODES, "override": {"parallelism": {"data": 16, "dataLocal": 8}}},
        ),
        Case({**TWO_NODES, "override": {"parallelism": {"dataLocal": 4}}}, "override.parallelism"),
        Case({**TWO_NODES, "override": {"parallelism": {"expert": True}}}, "override.parallelism"),
        Case({**TWO_NODES, "override": {"parallelism": None}}, "override.parallelism"),
        Case(
            {"prefill": {}, "override": {"prefill": {"parallelism": {"tensor": 2}}}},
            "override.prefill.parallelism",
            {"prefill": {"gpu": {"count": 2}}, "override": {"prefill": {"replicas": 2}}},
        ),
        Case({"override": {"prefill": {"parallelism": {"tensor": 2}}}}, "override.prefill.parallelism"),
    ],
    "IP-MOD-227": [
        Case(
            {**PRECISE, "served_name": "foo", "override": {"model": {"name": "bar"}}},
            "override.model.name",
            {**PRECISE, "served_name": "foo", "override": {"model": {"name": "foo"}}},
        ),
        Case(
            {"override": {"model": {"name": "bar"}}}, "override.model.name", {"override": {"model": {"name": "qwen"}}}
        ),
        Case(
            {"served_name": "foo", "override": {"model": {"name": None}}},
            "override.model.name",
            {"served_name": "foo", "override": {"model": {"uri": "pvc://weights"}}},
        ),
    ],
    "IP-MOD-029": [
        Case(
            {"uri": "s3://bucket/model"},
            "uri",
            {"uri": "s3://bucket/model", "credentials_secret": "keys"},
        ),
        Case(
            {"uri": "s3://bucket/model", "prefill": {}},
            "uri",
            {"uri": "s3://bucket/model", "service_account": "reader"},
        ),
    ],
    "IP-MOD-030": [
        Case(
            {"uri": "hf://meta-llama/Llama-3.1-8B-Instruct"},
            "uri",
            {"uri": "hf://meta-llama/Llama-3.1-8B-Instruct", "credentials_secret": "hugging-face"},
        ),
        Case(
            {"uri": "hf://Google/gemma-3-27b-it:main"},
            "uri",
            {"uri": "hf://Google/gemma-3-27b-it:main", "service_account": "reader"},
        ),
        Case({"uri": "hf://meta-llama/x"}, "uri", {"uri": "hf://mirror/meta-llama"}),
    ],
    "IP-MOD-031": [
        Case(
            {"gpu": {"product": "NVIDIA-L44", "count": 1}},
            "gpu.product",
            {"gpu": {"product": "NVIDIA-L4", "count": 1}},
        ),
        Case(
            {"gpu": {"product": "MI300X", "count": 1}},
            "gpu.product",
            {"gpu": {"product": "AMD-MI300X", "resource": "amd.com/gpu", "count": 1}},
        ),
        Case(
            {"prefill": {"gpu": {"product": "NVIDIA-L44"}}},
            "prefill.gpu.product",
            {"gpu": {"product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "count": 1}, "prefill": {}},
        ),
        Case(
            {"gpu": {"product": "NVIDIA-L44-SHARED", "count": 1}, "prefill": {}},
            "gpu.product",
            {"gpu": {"product": "NVIDIA-L4-SHARED", "count": 1}},
        ),
    ],
    "IP-MOD-032": [
        Case(
            {"gpu": {"product": "NVIDIA-L4", "count": 16}},
            "gpu.count",
            {"gpu": {"product": "NVIDIA-L4", "count": 8}},
        ),
        Case(
            {"gpu": {"product": "NVIDIA-L4", "count": 1}, "prefill": {"gpu": {"product": "NVIDIA-L4", "count": 16}}},
            "prefill.gpu.count",
            {"gpu": {"count": 16}},
        ),
    ],
    # the schema
    "IP-MOD-124": [Case({"env": {"PYTHONHASHSEED": 42}}, "env.PYTHONHASHSEED", {"env": {"PYTHONHASHSEED": "42"}})],
    "IP-MOD-125": [
        Case({"scaling": {"min_replicas": 0, "max_replicas": 2, "hpa": {}}}, "scaling.min_replicas"),
        Case(
            {"scaling": {"min_replicas": 2, "max_replicas": 2, "keda": {"idle_replica_count": 0}}},
            "scaling.keda.idle_replica_count",
            {"scaling": {"min_replicas": 1, "max_replicas": 2, "hpa": {}}},
        ),
    ],
    "IP-MOD-127": [Case({"uri": "gs://bucket/model"}, "uri", {"uri": "s3://bucket/model"})],
    "IP-MOD-131": [Case({"name": "3-small"}, "name", {"name": "small-3"})],
}
