"""What the topologies of the language become, and that the real CRDs take all of it unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference_platform.findings import errors
from inference_platform.models import render
from inference_platform.models.topology import complete, workloads
from tests.unit.models.cases import MODEL_CASES, TWO_NODES, model
from tests.unit.models.test_rules import SHAPES
from tests.unit.models.test_traffic import CASES as TRAFFIC_CASES


@pytest.fixture
def spec(aws):
    def of(platform: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
        result = render([model(**changes)], {}, platform or aws)
        assert errors(result.findings) == []
        return dict(next(item for item in result.objects if item["kind"] == "LLMInferenceService")["spec"])

    return of


def server(pod: dict[str, Any]) -> dict[str, Any]:
    (container,) = (item for item in pod["containers"] if item["name"] == "main")
    return dict(container)


def env(pod: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in server(pod).get("env", [])}


def gpus(pod: dict[str, Any]) -> str:
    return str(server(pod)["resources"]["limits"]["nvidia.com/gpu"])


PLATFORM_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}

# numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "numbers"),
    [
        # (tensor, data_local, GPUs of a pod, pods of a replica)
        ({"gpu": {}}, (1, 1, 1, 1)),
        ({"gpu": {"count": 8}}, (8, 1, 8, 1)),
        ({"gpu": {}, "parallelism": {"tensor": 4}}, (4, 1, 4, 1)),
        ({"gpu": {"count": 8}, "parallelism": {"data": 2, "data_local": 2}}, (4, 2, 8, 1)),
        ({"gpu": {}, "parallelism": {"data": 16, "data_local": 8}}, (1, 8, 8, 2)),
        ({"gpu": {}, "parallelism": {"data": 32, "data_local": 8, "tensor": 1}}, (1, 8, 8, 4)),
        ({"gpu": {"count": 8}, "parallelism": {"data": 4, "data_local": 2}}, (4, 2, 8, 2)),
        ({"gpu": {}, "parallelism": {"pipeline": 3, "tensor": 2}}, (2, 1, 2, 3)),
        ({"gpu": {"count": 0}}, (1, 1, 0, 1)),
    ],
)
def test_what_is_left_out_follows_from_the_rest(settings, numbers):
    (pods,) = workloads(complete(model(**settings)))
    assert (pods.tensor, pods.data_local, pods.gpus, pods.size) == numbers


def test_prefill_takes_what_it_leaves_out_from_decode_but_not_its_replicas():
    entry = complete(model(replicas=3, vllm={"dtype": "half"}, env={"A": "1"}, prefill={"env": {"B": "2"}}))
    decode, prefill = workloads(entry)
    assert (decode.replicas, prefill.replicas) == (3, 1)
    assert prefill.settings["env"] == {"A": "1", "B": "2"}
    assert prefill.settings["vllm"] == {"dtype": "half"}
    assert (decode.port, prefill.port) == (8001, 8000)


# one node --------------------------------------------------------------------------------


def test_data_parallel_ranks_on_one_node_are_told_to_vllm(spec):
    made = spec(gpu={"count": 8}, parallelism={"data": 4, "data_local": 4, "expert": True})
    assert server(made["template"])["args"] == [
        "--tensor-parallel-size",
        "2",
        "--data-parallel-size",
        "4",
        "--enable-expert-parallel",
    ]
    assert {"parallelism", "worker"} & set(made) == set()


def test_named_settings_become_flags_in_the_order_of_the_schema(spec):
    made = spec(
        vllm={
            "enable_prefix_caching": False,
            "max_model_len": 8192,
            "gpu_memory_utilization": 0.95,
            "enforce_eager": True,
            "hf_overrides": {"rope_scaling": {"factor": 2.0}},
            "dtype": "bfloat16",
            "logging_level": "DEBUG",
        },
        args=["--seed", "1"],
    )
    assert server(made["template"])["args"] == [
        "--max-model-len", "8192",
        "--dtype", "bfloat16",
        "--gpu-memory-utilization", "0.95",
        "--no-enable-prefix-caching",
        "--enforce-eager",
        "--hf-overrides", '\'{"rope_scaling":{"factor":2.0}}\'',
        "--seed", "1",
    ]  # fmt: skip
    assert env(made["template"]) == {"VLLM_LOGGING_LEVEL": "DEBUG"}


def test_with_a_command_of_its_own_arguments_are_not_quoted(spec):
    made = spec(command=["/app/server"], image="quay.io/a/b:1", args=["a b"])
    assert server(made["template"])["args"] == ["a b"]
    assert server(made["template"])["command"] == ["/app/server"]
    assert server(made["template"])["image"] == "quay.io/a/b:1"


def test_a_model_on_cpus_asks_for_no_gpu_and_tolerates_nothing(spec):
    pod = spec(gpu={"count": 0}, image="quay.io/a/b:1", resources={"cpu": 2, "cpu_limit": 4, "memory": "8Gi"})[
        "template"
    ]
    assert server(pod)["resources"] == {
        "limits": {"cpu": "4", "memory": "8Gi"},
        "requests": {"cpu": "2", "memory": "8Gi"},
    }
    assert "tolerations" not in pod


def test_resources_name_disk_devices_and_rdma(spec):
    pod = spec(
        resources={"memory": "64Gi", "memory_limit": "96Gi", "ephemeral_storage": "100Gi", "devices": {"a.io/fast": 2}},
        rdma={"resource": "rdma/ib", "roce": True, "ucx_tls": "rc,sm"},
        shm="8Gi",
    )["template"]
    limits, requests = server(pod)["resources"]["limits"], server(pod)["resources"]["requests"]
    assert (limits["memory"], requests["memory"]) == ("96Gi", "64Gi")
    for name, value in (("ephemeral-storage", "100Gi"), ("a.io/fast", "2"), ("rdma/ib", "1"), ("nvidia.com/gpu", "1")):
        assert limits[name] == requests[name] == value
    assert env(pod) == {"KSERVE_INFER_ROCE": "true", "UCX_TLS": "rc,sm"}
    assert pod["volumes"] == [{"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}]


def test_placement_is_complete(spec):
    pod = spec(
        node_selector={"zone": "a"},
        tolerations=[{"key": "team", "operator": "Exists"}, PLATFORM_TOLERATION],
        affinity={"nodeAffinity": {}},
        topology_spread=[{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        priority_class="high",
        scheduler_name="mine",
        service_account="hfsa",
        termination_grace_period_seconds=120,
        pull_secrets=["mine", "rhai-pull-secret"],
    )["template"]  # fmt: skip
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "zone": "a"}
    assert pod["tolerations"] == [PLATFORM_TOLERATION, {"key": "team", "operator": "Exists"}]
    assert (pod["priorityClassName"], pod["schedulerName"], pod["serviceAccountName"]) == ("high", "mine", "hfsa")
    assert pod["terminationGracePeriodSeconds"] == 120
    assert pod["imagePullSecrets"] == [{"name": "rhai-pull-secret"}, {"name": "mine"}]
    assert pod["affinity"] == {"nodeAffinity": {}}


def test_variables_come_from_secrets_configmaps_and_fields(spec):
    pod = spec(
        env={
            "A": {"secret": "s", "key": "k"},
            "B": {"config_map": "c", "key": "k"},
            "C": {"field": "status.podIP"},
            "ALL": "$(A)-$(C)",
        }
    )["template"]
    assert [item["name"] for item in server(pod)["env"]] == ["A", "B", "C", "ALL"]
    assert env(pod)["A"] == {"secretKeyRef": {"name": "s", "key": "k"}}
    assert env(pod)["B"] == {"configMapKeyRef": {"name": "c", "key": "k"}}
    assert env(pod)["C"] == {"fieldRef": {"fieldPath": "status.podIP"}}


def test_probes_get_timing_only(spec):
    pod = spec(
        probes={"liveness": {"initial_delay_seconds": 120, "period_seconds": 30}, "startup": {"period_seconds": 30}},
        startup_budget_seconds=3600,
    )["template"]
    assert server(pod)["livenessProbe"] == {"initialDelaySeconds": 120, "periodSeconds": 30}
    assert server(pod)["startupProbe"] == {"periodSeconds": 30, "failureThreshold": 120}


@pytest.mark.parametrize(("size", "looks"), [("15Gi", None), ("640Gi", 358)])
def test_the_start_gets_the_time_its_weights_need(spec, size, looks):
    pod = spec(gpu={"count": 1}, weights_size=size)["template"]
    assert server(pod).get("startupProbe", {}).get("failureThreshold") == looks


def test_source_settings(aws):
    entry = model(
        revision="v1.0",
        credentials_secret="hf-token",
        offline=True,
        storage_initializer=False,
        base_refs=["mine"],
        networks="roce-p2",
        exclusive_topology="rack",
        monitoring="annotations",
        labels={"team": "a"},
        annotations={"note": "b"},
        pod_labels={"x": "1"},
        pod_annotations={"y": "2"},
    )
    service = render([entry], {}, aws).objects[-1]
    made = service["spec"]
    assert made["model"]["uri"] == "hf://Qwen/Qwen2.5-7B-Instruct:v1.0"
    assert made["storageInitializer"] == {"enabled": False}
    assert made["baseRefs"] == [{"name": "mine"}]
    assert (made["labels"], made["annotations"]) == ({"x": "1"}, {"y": "2"})
    assert env(made["template"]) == {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    assert service["metadata"]["labels"]["team"] == "a"
    assert service["metadata"]["annotations"] == {
        "note": "b",
        "serving.kserve.io/storageSecretName": "hf-token",
        "k8s.v1.cni.cncf.io/networks": "roce-p2",
        "leaderworkerset.sigs.k8s.io/exclusive-topology": "rack",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8000",
        "prometheus.io/path": "/metrics",
        "prometheus.io/scheme": "https",
    }


def test_a_pod_monitor_selects_the_serving_pods_of_the_model(aws):
    monitor = render([model(monitoring="pod_monitor")], {}, aws).objects[-1]
    assert (monitor["kind"], monitor["metadata"]["name"]) == ("PodMonitor", "qwen")
    assert monitor["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "qwen",
        "app.kubernetes.io/part-of": "llminferenceservice",
        "kserve.io/component": "workload",
    }
    assert monitor["spec"]["podMetricsEndpoints"][0]["scheme"] == "https"


# adapters --------------------------------------------------------------------------------

ADAPTERS = {
    "adapters": [
        {"name": "sql", "uri": "pvc://adapters/sql"},
        {"name": "law", "uri": "pvc://adapters/law"},
        {"name": "chat", "uri": "hf://org/chat"},
    ],
    "max_rank": 64,
}


def test_adapters_are_given_to_vllm_where_kserve_ignores_them(spec):
    made = spec(lora=ADAPTERS, credentials_secret="hf-token")
    container = server(made["template"])
    assert container["args"] == [
        "--enable-lora", "--lora-modules", "sql=/mnt/adapters/sql", "law=/mnt/adapters/law", "chat=org/chat",
        "--max-loras", "3", "--max-lora-rank", "64",
    ]  # fmt: skip
    assert container["volumeMounts"] == [
        {"name": "adapters-0", "mountPath": "/mnt/adapters/sql", "readOnly": True, "subPath": "sql"},
        {"name": "adapters-0", "mountPath": "/mnt/adapters/law", "readOnly": True, "subPath": "law"},
    ]
    assert made["template"]["volumes"] == [
        {"name": "adapters-0", "persistentVolumeClaim": {"claimName": "adapters", "readOnly": True}}
    ]
    assert env(made["template"])["HF_TOKEN"] == {"secretKeyRef": {"name": "hf-token", "key": "HF_TOKEN"}}
    assert "lora" not in made["model"]


def later_release(aws: dict[str, Any]) -> dict[str, Any]:
    return {**aws, "serving": {**aws["serving"], "lora": "api", "lacks": []}}


def test_adapters_are_given_to_kserve_where_it_serves_them(spec, aws):
    made = spec(later_release(aws), lora={**ADAPTERS, "max_adapters": 2, "max_cpu_adapters": 4})
    assert made["model"]["lora"] == {
        "adapters": ADAPTERS["adapters"],
        "maxRank": 64,
        "maxAdapters": 2,
        "maxCpuAdapters": 4,
    }
    assert "args" not in server(made["template"])


def test_fields_of_a_later_release_are_rendered_there(spec, aws):
    made = spec(
        later_release(aws),
        tracing={"exporter_endpoint": "http://otel:4317", "sampler_arg": "0.1"},
        kv_cache_offloading={"cpu": "10Gi"},
        confidential={"enabled": True, "resource_id": "key"},
        router={"group": "g", "weight": 10, "gateways": [{"name": "g", "namespace": "n", "section_name": "https"}]},
    )
    assert made["tracing"] == {"exporterEndpoint": "http://otel:4317", "samplerArg": "0.1"}
    assert made["kvCacheOffloading"] == {"cpu": "10Gi"}
    assert made["model"]["confidential"] == {"enabled": True, "resourceId": "key"}
    assert made["router"]["route"] == {"group": "g", "weight": 10}
    assert made["router"]["gateway"]["refs"] == [{"name": "g", "namespace": "n", "sectionName": "https"}]


# several nodes ---------------------------------------------------------------------------


def test_a_replica_over_several_nodes_has_a_leader_and_workers_that_are_alike(spec):
    made = spec(
        gpu={"count": 8},
        parallelism={"data": 32, "data_local": 8, "expert": True, "data_rpc_port": 5556},
        vllm={"api_server_count": 1, "max_model_len": 4096},
        probes={"liveness": {"initial_delay_seconds": 4800}},
        rdma={"resource": "rdma/roce_gdr"},
    )
    assert made["parallelism"] == {"data": 32, "dataLocal": 8, "expert": True, "dataRPCPort": 5556}
    leader, worker = server(made["template"]), server(made["worker"])
    assert leader.pop("livenessProbe") == {"initialDelaySeconds": 4800}
    assert leader == worker
    assert leader["args"] == ["--max-model-len", "4096"]
    assert env(made["worker"])["VLLM_API_SERVER_COUNT"] == "1"
    assert {key: value for key, value in made["template"].items() if key != "containers"} == {
        key: value for key, value in made["worker"].items() if key != "containers"
    }


def test_tensor_parallelism_over_nodes_is_told_to_the_preset(spec):
    made = spec(gpu={"count": 8}, parallelism={"data": 4, "data_local": 2})
    assert made["parallelism"] == {"data": 4, "dataLocal": 2, "tensor": 4}
    assert "args" not in server(made["template"])


def test_pipeline_parallelism_with_a_preset_of_ones_own(spec):
    made = spec(
        gpu={},
        parallelism={"pipeline": 2, "tensor": 4},
        own_presets=["v3-4-4-kserve-config-llm-worker-pipeline-parallel"],
    )
    assert made["parallelism"] == {"pipeline": 2, "tensor": 4}
    assert gpus(made["worker"]) == "4"


# prefill and decode ----------------------------------------------------------------------


def test_prefill_and_decode_transfer_their_cache_by_the_same_configuration(spec):
    made = spec(replicas=1, prefill={"replicas": 2}, rdma={"resource": "rdma/roce_gdr"}, vllm={"block_size": 64})
    for pod in (made["template"], made["prefill"]["template"]):
        args = server(pod)["args"]
        assert (
            args[args.index("--kv-transfer-config") + 1] == '\'{"kv_connector":"NixlConnector","kv_role":"kv_both"}\''
        )
        assert args[args.index("--block-size") + 1] == "64"
        assert env(pod)["VLLM_NIXL_SIDE_CHANNEL_HOST"] == {"fieldRef": {"fieldPath": "status.podIP"}}
        assert server(pod)["resources"]["limits"]["rdma/roce_gdr"] == "1"
    assert (made["replicas"], made["prefill"]["replicas"]) == (1, 2)


def test_the_transfer_can_be_another_or_none(spec):
    other = spec(prefill={}, kv_transfer={"connector": "MultiConnector", "role": "kv_producer", "config": {"a": 1}})
    args = server(other["template"])["args"]
    assert json.loads(args[1].strip("'")) == {
        "kv_connector": "MultiConnector",
        "kv_role": "kv_producer",
        "kv_connector_extra_config": {"a": 1},
    }
    none = spec(prefill={}, kv_transfer={"connector": "none"})
    assert "args" not in server(none["template"])


def test_prefill_and_decode_may_have_different_gpus(spec):
    made = spec(gpu={"count": 4}, prefill={"gpu": {"count": 2, "product": "NVIDIA-L40S"}})
    assert (gpus(made["template"]), gpus(made["prefill"]["template"])) == ("4", "2")
    assert server(made["prefill"]["template"])["args"][:2] == ["--tensor-parallel-size", "2"]
    assert made["prefill"]["template"]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L40S"}


def test_prefill_and_decode_over_several_nodes(spec):
    made = spec(**TWO_NODES, prefill={"parallelism": {"data": 32}})
    assert made["parallelism"] == {"data": 16, "dataLocal": 8}
    assert made["prefill"]["parallelism"] == {"data": 32, "dataLocal": 8}
    assert {"template", "worker"} <= set(made["prefill"])


def test_the_scheduler_of_a_disaggregated_model_knows_both_sides(spec):
    config = spec(prefill={})["router"]["scheduler"]["config"]["inline"]
    assert {profile["name"] for profile in config["schedulingProfiles"]} == {"prefill", "decode"}


# autoscaling -----------------------------------------------------------------------------


def test_autoscaling_takes_the_place_of_replicas(spec):
    made = spec(
        scaling={
            "min_replicas": 2,
            "max_replicas": 8,
            "variant_cost": "20.0",
            "keda": {
                "polling_interval": 5,
                "idle_replica_count": 1,
                "fallback": {"failure_threshold": 3, "replicas": 2, "behavior": "static"},
            },
        },
    )
    assert "replicas" not in made
    assert made["scaling"] == {
        "minReplicas": 2,
        "maxReplicas": 8,
        "wva": {
            "variantCost": "20.0",
            "keda": {
                "pollingInterval": 5,
                "idleReplicaCount": 1,
                "fallback": {"failureThreshold": 3, "replicas": 2, "behavior": "static"},
            },
        },
    }
    assert made["labels"] == {"inference.optimization/acceleratorName": "NVIDIA-H100-80GB-HBM3"}


# state -----------------------------------------------------------------------------------


def test_a_stopped_model_keeps_its_object_with_a_note(aws):
    result = render([model(state="stopped")], {}, aws)
    assert result.objects[-1]["metadata"]["annotations"] == {"serving.kserve.io/stop": "true"}
    assert (result.models[0].state, result.absent) == ("stopped", [])


def test_an_absent_model_is_not_rendered_and_named(aws):
    result = render([model(state="absent"), model(name="b")], {}, aws)
    assert [summary.name for summary in result.models] == ["b"]
    assert result.absent == ["team-a/qwen"]
    assert [item["metadata"]["name"] for item in result.objects] == ["team-a", "b"]


def test_of_an_absent_model_name_and_namespace_are_enough(aws):
    gone = {"name": "gone", "namespace": "team-a", "state": "absent"}
    result = render([gone], {}, aws)
    assert (result.findings, result.objects, result.absent) == ([], [], ["team-a/gone"])
    wrong = render([{**gone, "namespace": "Team", "uri": "gone"}, {"name": "x", "namespace": "y"}], {}, aws)
    assert [finding.where for finding in wrong.findings] == [
        "models[0].namespace (gone)",
        "models[0].uri (gone)",
        "models[1].gpu (x)",
        "models[1].uri (x)",
    ]


def test_an_absent_model_is_spared_the_rules(aws):
    assert render([model(state="absent", gpu={"count": 0})], {}, aws).findings == []


def test_completed_entries_come_with_the_result(aws):
    (entry,) = render([model(replicas=None)], {}, aws).entries
    assert (entry["replicas"], entry["state"]) == (1, "present")


# override --------------------------------------------------------------------------------


def test_override_is_merged_last_by_the_rules_of_the_api(spec):
    made = spec(
        env={"A": "1", "B": "2"},
        override={
            "replicas": 5,
            "template": {
                "nodeSelector": {"zone": "a"},
                "containers": [
                    {"name": "main", "env": [{"name": "B", "value": "3"}], "securityContext": {"runAsNonRoot": True}},
                    {"name": "exporter", "image": "quay.io/a/b"},
                ],
            },
            "router": {
                "scheduler": {"template": {"containers": [{"name": "tokenizer", "env": [{"name": "L", "value": "D"}]}]}}
            },
        },
    )
    assert made["replicas"] == 5
    assert env(made["template"]) == {"A": "1", "B": "3"}
    assert server(made["template"])["securityContext"] == {"runAsNonRoot": True}
    assert [item["name"] for item in made["template"]["containers"]] == ["main", "exporter"]
    assert made["template"]["nodeSelector"]["zone"] == "a"
    assert [item["name"] for item in made["router"]["scheduler"]["template"]["containers"]] == ["main", "tokenizer"]


def test_override_leaves_braces_to_kserve(spec):
    assert spec(override={"labels": {"a": "{{ .ObjectMeta.Name }}"}})["labels"] == {"a": "{{ .ObjectMeta.Name }}"}


# the real CRDs ---------------------------------------------------------------------------

GOOD = [case.good for cases in MODEL_CASES.values() for case in cases if case.good]


@pytest.mark.parametrize("changes", [*SHAPES, *GOOD], ids=str)
def test_the_api_takes_every_object_unchanged(aws, refusals, changes):
    result = render([model(**changes)], {}, aws)
    assert errors(result.findings) == []
    assert refusals(result.objects) == []


@pytest.mark.parametrize("traffic", [case[3] for case in TRAFFIC_CASES], ids=lambda case: str(case)[:60])
def test_the_api_takes_routes_and_groups_unchanged(aws, refusals, traffic):
    result = traffic.render(aws)
    assert errors(result.findings) == []
    assert refusals(result.objects) == []


def test_what_one_object_says_no_other_shares(aws):
    """Changing one object must never change another."""
    result = render([model(), model(name="b")], {}, aws)
    before = json.dumps(result.objects[-1])
    first = result.objects[-2]["spec"]
    first["template"]["tolerations"].append("changed")
    first["router"]["scheduler"]["config"]["inline"]["plugins"].clear()
    assert json.dumps(result.objects[-1]) == before
