"""What objects of a cluster mean for the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from inference_platform.report.context import Objects
from inference_platform.report.observation import Count, Observation
from inference_platform.report.observe import observe
from tests.unit.report import example


def seen(**changes: Any) -> Observation:
    """The example with some lists replaced."""
    return observe(replace(example.objects(), **changes), example.platform(), example.context())


def test_a_finished_platform_has_no_problems() -> None:
    observation = example.observation()
    assert observation.problems == ()
    assert observation.ready
    assert observation.totals == {
        "layers": Count(12, 12),
        "namespaces": Count(7, 7),
        "deployments": Count(12, 12),
        "crds": Count(43, 43),
        "models": Count(1, 1),
        "gpus": Count(2, 2),
    }
    assert len(observation.services) == 13


def test_the_time_of_the_run_is_the_sum_of_its_layers_and_models() -> None:
    assert example.observation().total_seconds == pytest.approx(40.82)


def test_a_report_without_a_run_has_no_times() -> None:
    observation = example.observation(timings={})
    assert observation.total_seconds is None
    assert {layer.seconds for layer in observation.layers} == {None}


def deployment(ready: int, generation: int = 1) -> list[dict[str, Any]]:
    item = example.deployment("istio-system", "istiod", 1, ready)
    item["metadata"]["generation"] = generation
    return [item]


NO_SERVICE_ADDRESS = example.model() | {"status": example.model()["status"] | {"url": ""}}
OLD_STATUS = example.model() | {"metadata": example.model()["metadata"] | {"generation": 2}}


def unready_model() -> dict[str, Any]:
    model = example.model()
    model["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "reason": "RefsInvalid", "message": "Gateway\n a/b  does not exist"}
    ]
    return model


def unaccepted_gateway() -> dict[str, Any]:
    gateway = example.gateway()
    gateway["status"]["conditions"] = []
    return gateway


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param(
            {"namespaces": example.objects().namespaces[1:]},
            "Namespace cert-manager does not exist.",
            id="namespace missing",
        ),
        pytest.param(
            {"deployments": deployment(ready=0)},
            "Deployment istio-system/istiod has 0/1 replicas ready.",
            id="deployment without a ready pod",
        ),
        pytest.param(
            {"deployments": deployment(ready=1, generation=2)},
            "Deployment istio-system/istiod has 0/1 replicas ready.",
            id="ready counts of an older generation do not count",
        ),
        pytest.param(
            {"established_crds": example.objects().established_crds - {"istios.sailoperator.io"}},
            "CRDs of sail-operator not Established: istios.sailoperator.io.",
            id="one CRD missing",
        ),
        pytest.param(
            {"established_crds": example.objects().established_crds - set(example.CRDS["gateway-api"][1])},
            "None of the 6 CRDs of gateway-api is Established.",
            id="all CRDs of a set missing",
        ),
        pytest.param({"gateways": []}, "The gateway of the models does not exist.", id="no gateway"),
        pytest.param(
            {"gateways": [unaccepted_gateway()]},
            "Gateway redhat-ods-applications/inference-gateway is not accepted: the controller has not accepted it.",
            id="gateway not accepted",
        ),
        pytest.param(
            {"models": [unready_model()]},
            "Model llm/qwen-basic is not Ready: RefsInvalid Gateway a/b does not exist.",
            id="model not ready, message on one line",
        ),
        pytest.param(
            {"models": [NO_SERVICE_ADDRESS]},
            "Model llm/qwen-basic is Ready but has no URL: the gateway has no address yet.",
            id="ready does not mean reachable",
        ),
        pytest.param(
            {"models": [OLD_STATUS]},
            "Model llm/qwen-basic is not Ready: its controller has not seen the newest version yet.",
            id="status of an older generation",
        ),
    ],
)
def test_each_gap_is_said_once(changes: dict[str, Any], problem: str) -> None:
    observation = seen(**changes)
    assert observation.problems == (problem,)
    assert not observation.ready


def test_without_a_load_balancer_a_model_needs_no_url() -> None:
    platform = example.platform()
    platform["serving"]["gateway"]["address_required"] = False
    objects = replace(example.objects(), models=[NO_SERVICE_ADDRESS])
    assert observe(objects, platform, example.context()).problems == ()


def test_what_a_gate_complains_about_is_not_said_twice() -> None:
    objects = replace(example.objects(), deployments=deployment(ready=0))
    context = example.context(layer_problems={"sail": ("Deployment istio-system/istiod: 0 of 1 available",)})
    observation = observe(objects, example.platform(), context)
    assert observation.problems == ("Sail and Istio: Deployment istio-system/istiod: 0 of 1 available",)


def test_a_layer_with_many_problems_shows_the_first_and_counts_the_rest() -> None:
    observation = example.observation(layer_problems={"sail": tuple(f"check {n}" for n in range(5))})
    assert observation.problems == (
        "Sail and Istio: check 0",
        "Sail and Istio: check 1",
        "Sail and Istio: check 2",
        "Sail and Istio: 2 more checks of its gate.",
    )
    (sail,) = [layer for layer in observation.layers if layer.name == "sail"]
    assert len(sail.problems) == 5


def test_layers_without_a_check_are_not_called_ready() -> None:
    observation = example.observation(layer_problems={})
    assert {layer.state for layer in observation.layers} == {"not checked"}
    assert any("were not evaluated" in note for note in observation.unverified)


def test_only_models_that_gave_no_answer_in_this_run_are_unverified() -> None:
    models = [example.model(), example.model("other")]

    def notes(*answered: str) -> str:
        context = example.context(answered=frozenset(answered))
        return " ".join(observe(replace(example.objects(), models=models), example.platform(), context).unverified)

    ids = [f"{model['metadata']['namespace']}/{model['metadata']['name']}" for model in models]
    assert "no request to a model" in notes()
    assert "no request to 1 of 2 models" in notes(ids[0])
    assert "no request" not in notes(*ids)


def stopped_model() -> dict[str, Any]:
    model = example.model("halted")
    model["metadata"]["annotations"] = {"serving.kserve.io/stop": "true"}
    model["status"]["conditions"] = [{"type": "Ready", "status": "False", "reason": "Stopped"}]
    return model


def test_a_model_that_shall_be_stopped_is_no_problem_and_needs_no_answer() -> None:
    context = example.context(answered=frozenset(["llm/qwen-basic"]))
    objects = replace(example.objects(), models=[example.model(), stopped_model()])
    observation = observe(objects, example.platform(), context)
    halted, serving = observation.models
    assert (halted.ready, halted.stopped, str(halted.serving)) == (True, True, "0/0")
    assert (serving.ready, serving.stopped) == (True, False)
    assert observation.problems == ()
    assert not any("no request" in note for note in observation.unverified)
    assert observation.commands[-1].command.startswith(f"curl http://{example.ADDRESS}/llm/qwen-basic")


def test_a_model_that_stopped_by_itself_or_has_not_stopped_yet_is_a_problem() -> None:
    by_itself, not_yet = stopped_model(), stopped_model()
    del by_itself["metadata"]["annotations"]
    not_yet["status"]["conditions"][0]["reason"] = "Progressing"
    for model in (by_itself, not_yet):
        (seen_model,) = seen(models=[model]).models
        assert (seen_model.ready, seen_model.stopped) == (False, False)


def test_models_of_others_are_left_out() -> None:
    foreign = example.model("someone-elses")
    foreign["metadata"]["labels"] = {}
    assert [model.name for model in seen(models=[foreign, example.model()]).models] == ["qwen-basic"]


def test_a_model_shows_its_pods_by_role_with_node_and_gpu() -> None:
    (model,) = example.observation().models
    assert [(pod.role, pod.node, pod.gpus) for pod in model.pods] == [
        ("serving", "ip-10-0-1-21.ec2.internal", 1),
        ("serving", "ip-10-0-2-37.ec2.internal", 1),
        ("scheduler", "ip-10-0-1-5.ec2.internal", 0),
    ]
    assert (model.serving, model.gpus, model.gpu_product) == (Count(2, 2), 2, "NVIDIA-L4")


def test_a_pod_of_another_model_with_a_longer_name_is_not_counted() -> None:
    other = example.pod("qwen-basic-large-kserve-1-a", "workload", "n", gpus=1, owner="qwen-basic-large")
    (model,) = seen(pods=[*example.pods(), other]).models
    assert len(model.pods) == 3


def test_a_crash_loop_shows_its_reason_and_restarts() -> None:
    pods = example.pods()
    pods[0]["status"] = {
        "phase": "Running",
        "containerStatuses": [{"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
    }
    (model,) = seen(pods=pods).models
    assert (model.pods[0].phase, model.pods[0].restarts, model.pods[0].ready) == ("CrashLoopBackOff", 4, False)
    assert model.serving == Count(1, 2)


def break_route(objects: Objects) -> Objects:
    route = example.accepted_by_gateway("qwen-basic-kserve-route")
    route["status"]["parents"][0]["conditions"][1]["status"] = "False"
    return replace(objects, routes=[route])


def orphan_pool(objects: Objects) -> Objects:
    return replace(objects, pools=[example.accepted_by_gateway("a-pool", owner="another")])


def unseen_route(objects: Objects) -> Objects:
    route = example.accepted_by_gateway("qwen-basic-kserve-route")
    route["status"]["parents"] = []
    return replace(objects, routes=[route])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda objects: objects, ("qwen-basic-kserve-route", True, "qwen-basic-inference-pool", True)),
        (break_route, ("qwen-basic-kserve-route", False, "qwen-basic-inference-pool", True)),
        (unseen_route, ("qwen-basic-kserve-route", False, "qwen-basic-inference-pool", True)),
        (orphan_pool, ("qwen-basic-kserve-route", True, "", False)),
    ],
)
def test_route_and_pool_count_when_every_parent_accepted_them(
    change: Callable[[Objects], Objects], expected: tuple[str, bool, str, bool]
) -> None:
    (model,) = observe(change(example.objects()), example.platform(), example.context()).models
    assert (model.route, model.route_accepted, model.pool, model.pool_accepted) == expected


def test_gpus_of_finished_pods_are_free() -> None:
    pods = example.pods()
    pods[0]["status"]["phase"] = "Succeeded"
    assert seen(pods=pods).totals["gpus"] == Count(1, 2)


def test_the_curl_of_the_last_command_survives_a_shell() -> None:
    import json
    import shlex

    *_, ask = example.observation().commands
    words = shlex.split(ask.command)
    assert words[:2] == ["curl", f"http://{example.ADDRESS}/llm/qwen-basic/v1/completions"]
    assert json.loads(words[-1])["model"] == "Qwen/Qwen2.5-0.5B-Instruct"


@pytest.mark.parametrize(
    ("models", "starts"),
    [
        ([example.model()], ["kubectl get llminferenceservices", "kubectl get pods --namespace llm", "curl "]),
        (
            [unready_model()],
            [
                "kubectl get llminferenceservices",
                "kubectl describe llminferenceservice qwen-basic",
                "kubectl get pods --namespace llm",
            ],
        ),
        ([], ["kubectl get llminferenceservices", "kubectl get gateways", "kubectl get pods --all"]),
    ],
)
def test_three_commands_fit_the_state(models: list[dict[str, Any]], starts: list[str]) -> None:
    commands = [command.command for command in seen(models=models).commands]
    assert len(commands) == 3
    for command, start in zip(commands, starts, strict=True):
        assert command.startswith(start)


@pytest.mark.parametrize("provider", ["aws", "azure", "coreweave"])
def test_the_real_plans_can_be_reported_on_an_empty_cluster(plan_for: Callable[..., Any], provider: str) -> None:
    platform = plan_for(provider).to_dict()
    observation = observe(Objects(), platform, example.context(timings={}, layer_problems={}))
    assert len(observation.layers) == len(platform["layers"])
    assert all(crd_set.layer for crd_set in observation.crds)
    assert not observation.ready
