"""Objects that exist already become entries, or are refused with a reason."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.catalog import load
from inference_platform.importer import import_objects
from inference_platform.importer.__main__ import main
from inference_platform.manifest import to_yaml
from inference_platform.platform import resolve


def service(spec: dict[str, Any], kind: str = "LLMInferenceService", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": kind,
        "metadata": {"name": "llama", "namespace": "team-a", **metadata},
        "spec": {"model": {"uri": "hf://organisation/llama"}, **spec},
    }


def server(*, gpus: str = "1", **fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": gpus}}, **fields}]}


def routed(**fields: Any) -> dict[str, Any]:
    return {"router": {"gateway": {}, "route": {}, "scheduler": {}}, "template": server(), **fields}


def imported(platform: dict[str, Any], *objects: dict[str, Any]) -> dict[str, Any]:
    result = import_objects([("file.yml", obj) for obj in objects], platform)
    assert [str(one.refused) for one in result.outcomes if one.refused] == []
    return result.inventory


def entry(platform: dict[str, Any], spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    (found,) = imported(platform, service(spec, **metadata))["models"]
    return dict(found)


def refusal(platform: dict[str, Any], obj: dict[str, Any]) -> str:
    (outcome,) = import_objects([("file.yml", obj)], platform).outcomes
    assert outcome.entry is None
    return str(outcome.refused)


def whys(platform: dict[str, Any], spec: dict[str, Any]) -> set[str]:
    (outcome,) = import_objects([("file.yml", service(spec))], platform).outcomes
    assert outcome.refused is None
    return {str(one.why) for one in outcome.differences}


@pytest.mark.parametrize("release", load().releases)
def test_a_small_service_becomes_a_small_entry_of_every_release(release):
    platform = resolve({"platform_release": release, "provider": "generic"}).to_dict()
    assert entry(platform, routed(replicas=2)) == {
        "name": "llama",
        "namespace": "team-a",
        "uri": "hf://organisation/llama",
        "replicas": 2,
        "gpu": {"count": 1},
    }


def test_settings_are_found_among_arguments_and_variables(platform):
    container = server(
        gpus="2",
        args=["--enable-chunked-prefill", "--unknown-flag", "x"],
        env=[
            {"name": "VLLM_ADDITIONAL_ARGS", "value": "--max-model-len 4096 --tensor-parallel-size=2"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
    )
    found = entry(platform, routed(template=container))
    assert found["vllm"] == {"max_model_len": 4096, "enable_chunked_prefill": True}
    assert found["args"] == ["--unknown-flag", "x"]
    assert found["parallelism"] == {"tensor": 2}
    assert found["env"] == {"TOKEN": {"secret": "s", "key": "k"}}


def test_metadata_that_has_a_field_goes_there(platform):
    annotations = {
        "serving.kserve.io/stop": "true",
        "serving.kserve.io/storageSecretName": "token",
        "example.com/a": "b",
    }
    found = entry(platform, routed(), annotations=annotations, labels={"team": "a"})
    assert (found["state"], found["credentials_secret"]) == ("stopped", "token")
    assert (found["annotations"], found["labels"]) == ({"example.com/a": "b"}, {"team": "a"})


def test_what_has_no_field_goes_to_override(platform):
    template = {**server(lifecycle={"preStop": {"sleep": {"seconds": 5}}}), "hostNetwork": True}
    container = {"name": "main", "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
    override = {"template": {"containers": [container], "hostNetwork": True}}
    assert entry(platform, routed(template=template))["override"] == override


def test_what_the_platform_would_add_is_taken_back(platform):
    """A request for memory is also a limit in the language; this service has none."""
    container = server(resources={"limits": {"nvidia.com/gpu": "1"}, "requests": {"memory": "8Gi"}})
    (main_container,) = entry(platform, routed(template=container))["override"]["template"]["containers"]
    assert main_container == {"name": "main", "resources": {"limits": {"memory": None}}}


def test_prefill_says_what_is_different_there(platform):
    decode = server(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "1"}])
    prefill = server(env=[{"name": "B", "value": "2"}])
    found = entry(platform, routed(template=decode, prefill={"replicas": 3, "template": prefill}))
    assert found["prefill"] == {"replicas": 3, "env": {"A": None, "B": "2"}}
    assert found["kv_transfer"] == {"connector": "none"}


def test_kv_transfer_on_both_sides_is_one_setting(platform):
    words = ["--kv-transfer-config", '\'{"kv_connector":"NixlConnector","kv_role":"kv_both"}\'']
    side = server(args=words)
    found = entry(platform, routed(template=side, prefill={"template": side}))
    assert found["kv_transfer"] == {"connector": "NixlConnector", "role": "kv_both"}
    assert "args" not in found
    assert "side channel" in whys(platform, routed(template=side, prefill={"template": side}))


def test_a_worker_that_is_like_its_leader_needs_no_words(platform):
    pod = server(gpus="8", image="example.com/vllm:1")
    found = entry(platform, routed(template=pod, worker=pod, parallelism={"data": 16, "dataLocal": 8}))
    assert found["parallelism"] == {"data": 16, "data_local": 8}
    assert "override" not in found


def test_a_worker_that_is_not_goes_to_override(platform):
    leader, worker = server(gpus="8"), {**server(gpus="8"), "hostNetwork": True}
    found = entry(platform, routed(template=leader, worker=worker, parallelism={"data": 16, "dataLocal": 8}))
    assert found["override"] == {"worker": {"hostNetwork": True}}


def test_scaling_scheduler_and_routes_have_fields(platform):
    scaling = {"maxReplicas": 4, "wva": {"variantCost": "5", "keda": {"pollingInterval": 10}}}
    found = entry(platform, routed(scaling=scaling))
    assert found["scaling"] == {"max_replicas": 4, "variant_cost": "5", "keda": {"polling_interval": 10}}
    router = {"route": {"http": {"refs": [{"name": "own"}]}}, "scheduler": {"pool": {"ref": {"name": "pool"}}}}
    found = entry(platform, routed(router=router))
    assert found["router"] == {"route": "own", "routes": ["own"], "pool": "pool"}


def test_no_router_and_no_scheduler(platform):
    assert entry(platform, {"template": server()})["router"] == {"route": "none"}
    assert entry(platform, routed(router={"route": {}}))["scheduler"] == {"enabled": False}


def test_expressions_stand_for_the_names_of_the_service(platform):
    container = server(args=["--x", "{{ ChildName .ObjectMeta.Name `-epp-service` }}.{{ .ObjectMeta.Namespace }}"])
    assert entry(platform, routed(template=container))["args"] == ["--x", "llama-epp-service.team-a"]


def test_a_named_base_stays(platform):
    found = entry(platform, {"baseRefs": [{"name": "base"}], "template": server()})
    assert (found["base_refs"], found["router"]) == (["base"], {"route": "none"})


def test_sizes_without_effect_take_effect_and_that_is_told(platform):
    spec = routed(template=server(gpus="2"), parallelism={"tensor": 2})
    assert entry(platform, spec)["parallelism"] == {"tensor": 2}
    assert "parallelism" in whys(platform, spec)


def test_adapters_that_the_release_ignores_are_given_to_vllm_and_that_is_told(platform):
    spec = {"model": {"uri": "hf://o/m", "lora": {"adapters": [{"name": "a", "uri": "hf://o/a"}]}}, **routed()}
    assert entry(platform, spec)["lora"] == {"adapters": [{"name": "a", "uri": "hf://o/a"}]}
    assert "adapters" in whys(platform, spec)


def test_a_probe_of_a_server_with_its_own_command_stays_as_it_is(platform):
    probe = {"httpGet": {"path": "/health", "port": 8000, "scheme": "HTTP"}}
    plain = server(livenessProbe=probe)
    assert "probe" in whys(platform, routed(template=plain))
    own = server(livenessProbe=probe, command=["/server"], image="example.com/server:1")
    (container,) = entry(platform, routed(template=own))["override"]["template"]["containers"]
    assert container["livenessProbe"] == probe


def test_a_config_becomes_a_profile_with_its_expressions(platform):
    spec = {
        "template": server(gpus="4", image="example.com/vllm:1", env=[{"name": "A", "value": "{{ .ObjectMeta.Name }}"}])
    }
    config = {**service({}, kind="LLMInferenceServiceConfig"), "spec": spec}
    profile = imported(platform, config)["model_profiles"]["llama"]
    assert profile["image"] == "example.com/vllm:1"
    (container,) = profile["override"]["template"]["containers"]
    assert container["env"] == [{"name": "A", "value": "{{ .ObjectMeta.Name }}"}]
    assert "uri" not in profile


def route(rule: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "team-a"},
        "spec": {"parentRefs": [{"name": "g", "namespace": "gateways"}], "rules": [rule], **spec},
    }


def test_a_route_becomes_a_route_entry(platform):
    rule = {
        "matches": [{"path": {"type": "Exact", "value": "/a"}, "headers": [{"name": "x", "value": "y"}]}],
        "filters": [
            {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/b"}}}
        ],
        "backendRefs": [
            {"name": "s", "port": 80, "weight": 90},
            {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "p", "weight": 10},
        ],
        "timeouts": {"request": "10s"},
    }
    (found,) = imported(platform, route(rule, hostnames=["a.example.com"]))["model_routes"]
    assert found == {
        "name": "r",
        "namespace": "team-a",
        "gateways": [{"name": "g", "namespace": "gateways"}],
        "hostnames": ["a.example.com"],
        "rules": [
            {
                "matches": [{"path": "/a", "path_type": "Exact", "headers": [{"name": "x", "value": "y"}]}],
                "backends": [{"service": "s", "port": 80, "weight": 90}, {"pool": "p", "weight": 10}],
                "rewrite": {"path": "/b"},
                "timeouts": {"request": "10s"},
            }
        ],
    }


def objective(name: str, pool: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "InferenceObjective", "metadata": {"name": name}, "spec": {"poolRef": {"name": pool}, **spec}}


def test_objectives_of_a_pool_become_a_profile_for_the_models_on_it(platform):
    found = imported(platform, objective("high", "own", priority=10), objective("usual", "own"))["model_profiles"]
    objectives = [{"name": "high", "priority": 10}, {"name": "usual", "priority": 0}]
    assert found == {"own-objectives": {"scheduler": {"objectives": objectives}, "router": {"pool": "own"}}}


def test_objectives_of_a_pool_of_kserve_need_no_pool(platform):
    found = imported(platform, objective("high", "llama-inference-pool", priority=10))["model_profiles"]
    assert found == {
        "llama-inference-pool-objectives": {"scheduler": {"objectives": [{"name": "high", "priority": 10}]}}
    }


@pytest.mark.parametrize(
    ("obj", "reason"),
    [
        (service(routed(template={"containers": [{"name": "other", "image": "x"}]})), "IP-MOD-1"),
        (service(routed(unknown={"a": 1})), "IP-INV-001"),
        (service(routed(tracing={"exporter": "otlp"})), "IP-MOD-008"),
        (service(routed(), name="Upper"), "IP-MOD-131"),
        (route({"backendRefs": [{"name": "s", "port": 80, "filters": [{}]}]}), "filters of a single backend"),
        (route({"filters": [{"type": "ExtensionRef", "extensionRef": {}}]}), "type ExtensionRef has no field"),
        (route({"filters": [{"type": "URLRewrite"}]}), "type URLRewrite without urlRewrite"),
        (route({"backendRefs": [{"name": "s", "port": 80}], "retry": {"attempts": 2}}), "rules.0.retry.attempts"),
        (route({"backendRefs": [{"port": 80}]}), "no HTTPRoute as its API describes it: KeyError('name')"),
        (objective("o", "p", priority=2**31), "IP-SCH-052"),
        (objective("o", "p", criticality="Critical"), "spec.criticality"),
        ({"kind": "InferencePool", "metadata": {"name": "p"}, "spec": {}}, "KServe makes the pool of a model itself"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_with_a_reason(platform, obj, reason):
    assert reason in refusal(platform, obj)


def test_a_variable_that_cannot_be_taken_out_is_no_silent_loss(platform):
    """Nothing in a merge takes one item out of a list, so the difference is told."""
    spec = routed(template=server(env=[{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]))
    assert entry(platform, spec)["override"]["template"]["containers"][0]["env"][0]["name"] == "A"


# the command -----------------------------------------------------------------------------


def test_the_command_prints_entries_and_tells_differences(tmp_path: Path, capsys):
    file = tmp_path / "objects.yml"
    file.write_text(to_yaml(service(routed())) + "---\n" + to_yaml({"kind": "Secret", "metadata": {"name": "s"}}))
    assert main(["--release", "3.4", str(file)]) == 0
    printed = capsys.readouterr()
    assert yaml.safe_load(printed.out)["models"][0]["name"] == "llama"
    assert (
        f"# {file}: LLMInferenceService llama: The pods of server and scheduler also get the pull secret" in printed.err
    )


def test_the_command_reads_what_kubectl_prints(monkeypatch: pytest.MonkeyPatch, capsys):
    live = service(routed(), uid="1", resourceVersion="2", managedFields=[{"manager": "x"}])
    text = to_yaml({"apiVersion": "v1", "kind": "List", "items": [{**live, "status": {"url": "http://x"}}]})
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert main(["--release", "3.4", "-"]) == 0
    assert [model["name"] for model in yaml.safe_load(capsys.readouterr().out)["models"]] == ["llama"]


def test_the_command_fails_when_something_is_refused(tmp_path: Path, capsys):
    file = tmp_path / "pool.yml"
    file.write_text(to_yaml({"kind": "InferencePool", "metadata": {"name": "p"}, "spec": {}}))
    assert main(["--release", "3.4", str(file)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "InferencePool p: not imported, KServe makes the pool" in printed.err


def test_the_command_says_what_it_cannot_read(tmp_path: Path, capsys):
    assert main([str(tmp_path / "missing.yml")]) == 2
    assert "missing.yml" in capsys.readouterr().err


def test_the_command_says_when_there_is_nothing_to_import(tmp_path: Path, capsys):
    file = tmp_path / "empty.yml"
    file.write_text("")
    assert main(["--release", "3.4", str(file)]) == 0
    assert "No objects of the kinds LLMInferenceService" in capsys.readouterr().err
