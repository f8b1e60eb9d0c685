"""All models in one batch: one list per kind, only what differs, refusals first, removal within our own."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster.apply import summary
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.immutable import fixed_fields, group_size
from inference_platform.cluster.models import Choice, ModelsResult, PullSecret, RemovalRefused, UnknownModel
from inference_platform.cluster.models import apply_models as apply_models_of
from inference_platform.cluster.secrets import Credentials
from tests.unit.cluster.fake_api import FakeApi

SERVING = "serving.kserve.io/v1alpha2"
ROUTES = "gateway.networking.k8s.io/v1"


@pytest.fixture(autouse=True)
def kinds(api: FakeApi) -> None:
    """The kinds of models are served."""
    api.kinds += [
        (SERVING, "LLMInferenceService", "llminferenceservices", True),
        (ROUTES, "HTTPRoute", "httproutes", True),
        ("v1", "ServiceAccount", "serviceaccounts", True),
    ]


def namespace(name: str = "team") -> dict[str, Any]:
    labels = {"inference-platform.io/layer": "models"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def model(name: str, space: str = "team", **spec: Any) -> dict[str, Any]:
    labels = {"inference-platform.io/layer": "models", "inference-platform.io/model": name}
    return {
        "apiVersion": SERVING,
        "kind": "LLMInferenceService",
        "metadata": {"name": name, "namespace": space, "labels": labels},
        "spec": {"model": {"uri": "hf://a/b"}, "replicas": 1, "router": {"gateway": {}}, **spec},
    }


def route(name: str, of: str, space: str = "team") -> dict[str, Any]:
    labels = {"inference-platform.io/layer": "models", "inference-platform.io/model": of}
    return {
        "apiVersion": ROUTES,
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": space, "labels": labels},
        "spec": {"rules": [{"matches": [{"path": {"value": f"/{name}"}}]}]},
    }


def apply_models(cluster: Cluster, wanted: list[dict[str, Any]], **more: Any) -> ModelsResult:
    return apply_models_of(cluster, wanted, sleep=lambda _: None, **more)


def models(count: int) -> list[dict[str, Any]]:
    return [namespace(), *(model(f"m{number}") for number in range(count))]


def done(result: ModelsResult) -> list[str]:
    return sorted(str(change) for change in result.changes)


def names(api: FakeApi, kind: str = "LLMInferenceService") -> set[str]:
    return {name for _, of, _, name in api.objects if of == kind}


def test_a_first_run_makes_all_and_a_second_only_reads_with_one_list_per_kind(api: FakeApi, cluster: Cluster) -> None:
    wanted = [*models(30), route("r", "m1")]
    first = apply_models(cluster, wanted)
    assert summary(first.changes) == {"create": 32}
    assert first.errors == []
    api.requests.clear()
    second = apply_models(cluster, wanted)
    assert not second.changed
    assert api.writes() == []
    lists = [r.path for r in api.requests if r.path.endswith("llminferenceservices")]
    assert lists == [f"/apis/{SERVING}/llminferenceservices"]
    assert not [r for r in api.requests if "/llminferenceservices/" in r.path]


def test_changing_one_of_many_writes_one_object(api: FakeApi, cluster: Cluster) -> None:
    apply_models(cluster, models(50))
    api.requests.clear()
    wanted = models(50)
    wanted[17]["spec"]["replicas"] = 3
    result = apply_models(cluster, wanted)
    assert done(result) == ["update LLMInferenceService team/m16"]
    assert len(api.writes()) == 1
    assert result.outcome()["team/m16"] == "changed"
    assert result.outcome()["team/m15"] == "unchanged"


def test_another_order_of_models_and_keys_writes_nothing(api: FakeApi, cluster: Cluster) -> None:
    apply_models(cluster, models(20))
    api.requests.clear()
    turned = [json.loads(json.dumps(obj, sort_keys=True)) for obj in reversed(models(20))]
    assert not apply_models(cluster, turned).changed
    assert api.writes() == []


def test_removing_one_deletes_its_own_objects_only(api: FakeApi, cluster: Cluster) -> None:
    apply_models(cluster, [*models(3), route("of-m0", "m0"), route("of-m2", "m2")])
    api.put(route("foreign", "m2"))  # has our labels, and somebody else made it
    api.put({**model("theirs"), "metadata": {"name": "theirs", "namespace": "team"}})
    result = apply_models(cluster, [*models(2), route("of-m0", "m0")])
    assert done(result) == ["delete HTTPRoute team/of-m2", "delete LLMInferenceService team/m2"]
    assert [change.ref.kind for change in result.changes] == ["HTTPRoute", "LLMInferenceService"]
    assert names(api) == {"m0", "m1", "theirs"}
    assert names(api, "HTTPRoute") == {"of-m0", "foreign"}
    assert result.outcome()["team/m2"] == "removed"


def test_a_companion_that_is_no_longer_wanted_goes_and_its_model_stays(cluster: Cluster) -> None:
    apply_models(cluster, [*models(1), route("r", "m0")])
    result = apply_models(cluster, models(1))
    assert done(result) == ["delete HTTPRoute team/r"]
    assert result.outcome() == {"team/m0": "changed"}


def test_prune_false_removes_nothing(api: FakeApi, cluster: Cluster) -> None:
    apply_models(cluster, models(3))
    assert not apply_models(cluster, models(1), choice=Choice(prune=False)).changed
    assert names(api) == {"m0", "m1", "m2"}


@pytest.mark.parametrize(
    ("there", "kept", "removals", "refused"),
    [
        (12, 7, None, False),  # few
        (12, 6, None, True),
        (1000, 994, None, True),  # few of all, and yet many
        (5, 0, None, True),  # few, and yet all
        (1, 0, None, False),
        (12, 0, 12, False),
        (12, 0, 11, True),
        (12, 0, -1, False),
        (3, 0, 2, True),
    ],
)
def test_many_removals_need_leave(
    api: FakeApi, cluster: Cluster, there: int, kept: int, removals: int | None, refused: bool
) -> None:
    apply_models(cluster, models(there))
    api.requests.clear()
    wanted = [*models(kept), model("new")]
    choice = Choice(removals=removals)
    if refused:
        with pytest.raises(RemovalRefused, match=f"{there - kept} of {there} models .*-e models_delete={there - kept}"):
            apply_models(cluster, wanted, choice=choice)
        assert api.writes() == []
        assert apply_models(cluster, wanted, choice=choice, check=True).notes != []
    else:
        assert summary(apply_models(cluster, wanted, choice=choice).changes) == {"create": 1, "delete": there - kept}


def test_models_that_the_inventory_calls_absent_need_no_leave(cluster: Cluster) -> None:
    apply_models(cluster, models(8))
    choice = Choice(absent=frozenset(f"team/m{number}" for number in range(1, 8)))
    assert summary(apply_models(cluster, models(1), choice=choice).changes) == {"delete": 7}


def test_models_that_are_stopped_and_started_are_called_so(cluster: Cluster) -> None:
    stopped = model("m0")
    stopped["metadata"]["annotations"] = {"serving.kserve.io/stop": "true"}
    apply_models(cluster, [namespace(), stopped, model("m1"), model("m2")])
    other = model("m1")
    other["metadata"]["annotations"] = {"serving.kserve.io/stop": "true"}
    going = model("m0")
    going["metadata"]["annotations"] = {"serving.kserve.io/stop": "false"}
    wanted = [namespace(), going, other, model("m2", replicas=3)]
    words = {"team/m0": "started", "team/m1": "stopped", "team/m2": "changed"}
    assert apply_models(cluster, wanted, check=True).outcome() == words
    assert apply_models(cluster, wanted).outcome() == words


def test_weights_move_when_some_models_are_named_and_the_others_are_there(cluster: Cluster) -> None:
    labels = {"inference-platform.io/layer": "models", "inference-platform.io/traffic-group": "chat"}

    def chat(weight: int, *more: str) -> dict[str, Any]:
        backends = [{"name": f"{name}-kserve-workload-svc", "weight": weight} for name in ("m0", "m1", *more)]
        obj = route("chat", "")
        return {
            **obj,
            "metadata": {**obj["metadata"], "labels": labels},
            "spec": {"rules": [{"backendRefs": backends}]},
        }

    apply_models(cluster, [*models(2), chat(1)])
    result = apply_models(cluster, [*models(2), chat(5)], choice=Choice(only=frozenset({"m0"})))
    assert (done(result), result.routes, result.notes) == (["update HTTPRoute team/chat"], ["team/chat"], [])
    result = apply_models(cluster, [*models(3), chat(5, "m2")], choice=Choice(only=frozenset({"m0"})))
    assert (done(result), result.routes) == ([], [])
    assert "HTTPRoute team/chat is left as it is, because it would also lead to team/m2" in result.notes[0]


def test_only_acts_on_the_named_models(cluster: Cluster) -> None:
    apply_models(cluster, [*models(3), route("r2", "m2")])
    wanted = [*models(2), model("new"), namespace("other"), model("m0", "other")]
    for obj in wanted:
        obj.get("spec", {}).update(replicas=7)
    result = apply_models(cluster, wanted, choice=Choice(only=frozenset({"m1", "m2"})))
    assert done(result) == [
        "delete HTTPRoute team/r2",
        "delete LLMInferenceService team/m2",
        "update LLMInferenceService team/m1",
    ]
    result = apply_models(cluster, wanted, choice=Choice(only=frozenset({"other/m0"})))
    assert done(result) == ["create LLMInferenceService other/m0", "create Namespace other"]
    assert result.models == ["other/m0"]


def test_an_unknown_name_in_only_is_an_error_before_any_write(api: FakeApi, cluster: Cluster) -> None:
    with pytest.raises(UnknownModel, match=r"only: .* found 'm11'\. Did you mean m1"):
        apply_models(cluster, models(3), choice=Choice(only=frozenset({"m11"})))
    with pytest.raises(UnknownModel, match=r"models_recreate: .* found 'm11'\. Did you mean m1"):
        apply_models(cluster, models(3), choice=Choice(recreate=frozenset({"m11"})))
    assert api.writes() == []


def test_one_failing_model_does_not_stop_the_others(api: FakeApi, cluster: Cluster) -> None:
    api.fail("PATCH", "/llminferenceservices/m1$", 403, 'admission webhook "kserve" denied the request: bad uri')
    result = apply_models(cluster, models(4))
    assert names(api) == {"m0", "m2", "m3"}
    assert result.failed == ["team/m1"]
    assert "bad uri" in str(result.errors[0])
    assert result.outcome() == {
        "team/m0": "created",
        "team/m1": "failed",
        "team/m2": "created",
        "team/m3": "created",
    }


def test_a_namespace_that_cannot_be_made_costs_only_its_models(api: FakeApi, cluster: Cluster) -> None:
    api.fail("PATCH", "/namespaces/lost$", 403, "no")
    wanted = [namespace("lost"), model("a", "lost"), route("r", "a", "lost"), *models(1)]
    result = apply_models(cluster, wanted)
    assert result.failed == ["lost/a"]
    assert "its namespace could not be made" in str(result.errors[1])
    assert names(api) == {"m0"}
    assert not [r for r in api.writes() if "/namespaces/lost/" in r.path]


@pytest.mark.parametrize("fault", [{"status": 429, "headers": {"Retry-After": "1"}}, {"status": 503}, {"reset": True}])
def test_passing_faults_are_waited_out(
    api: FakeApi, cluster: Cluster, pauses: list[float], fault: dict[str, Any]
) -> None:
    api.fail("PATCH", "/llminferenceservices/", times=5, **fault)
    result = apply_models(cluster, models(20))
    assert result.errors == []
    assert len(names(api)) == 20
    assert len(pauses) >= 5  # a busy machine may break one more connection


def test_a_lost_race_is_tried_again_and_a_field_of_another_manager_is_not(api: FakeApi, cluster: Cluster) -> None:
    api.fail("PATCH", "/llminferenceservices/m0$", 409, "the object has been modified")
    causes = [{"reason": "FieldManagerConflict", "message": 'conflict with "argocd"', "field": ".spec.replicas"}]
    api.fail("PATCH", "/llminferenceservices/m1$", 409, "conflict", details={"causes": causes}, times=2)
    result = apply_models(cluster, models(2))
    assert [str(error.ref) for error in result.errors] == ["LLMInferenceService team/m1"]
    assert "belong to argocd" in str(result.errors[0])
    assert len([r for r in api.writes() if r.path.endswith("/m1")]) == 1
    assert names(api) == {"m0"}


def test_a_run_that_broke_off_is_completed_by_the_next(api: FakeApi, cluster: Cluster) -> None:
    api.fail("PATCH", "/llminferenceservices/m[5-9]$", 401, "killed", times=99)
    with pytest.raises(Exception, match="rejected the credentials"):
        apply_models(cluster, models(10))
    api.faults.clear()
    result = apply_models(cluster, models(10))
    assert result.errors == []
    assert len(names(api)) == 10
    assert not apply_models(cluster, models(10)).changed


def test_check_mode_predicts_the_run(api: FakeApi, cluster: Cluster) -> None:
    apply_models(cluster, models(3))
    wanted = [*models(2), model("new")]
    wanted[1]["spec"]["replicas"] = 2
    api.requests.clear()
    predicted = apply_models(cluster, wanted, check=True)
    assert api.writes() == []
    real = apply_models(cluster, wanted)
    assert done(predicted) == done(real)
    assert "+  replicas: 2" in predicted.diff()


def test_a_fixed_field_is_refused_before_any_write_and_the_way_is_named(api: FakeApi, cluster: Cluster) -> None:
    one, two = {"data": 2, "dataLocal": 1}, {"data": 4, "dataLocal": 1}
    apply_models(cluster, [*models(1), model("wide", parallelism=one), route("r", "wide")])
    changed_route = route("r", "wide")
    changed_route["spec"]["rules"] = []
    wanted = [*models(1), model("wide", parallelism=two), changed_route]
    wanted[1]["spec"]["replicas"] = 5
    api.requests.clear()
    result = apply_models(cluster, wanted)
    assert done(result) == ["update LLMInferenceService team/m0"]
    text = str(result.errors[0])
    assert "spec.parallelism: expected a replica of 2 pods as it is in the cluster, found a replica of 4 pods" in text
    assert "(IP-MOD-108)" in text
    assert "-e models_recreate=team/wide" in text
    assert result.failed == ["team/wide"]
    assert [r.path.rpartition("/")[2] for r in api.writes()] == ["m0"]


def test_recreate_deletes_the_model_and_makes_it_anew(api: FakeApi, cluster: Cluster) -> None:
    apply_models(cluster, [*models(1), model("wide", parallelism={"pipeline": 2})])
    old = api.stored("LLMInferenceService", "wide", "team")["metadata"]["uid"]
    wanted = [*models(1), model("wide", parallelism={"pipeline": 3})]
    choice = Choice(recreate=frozenset({"wide"}))
    api.requests.clear()
    predicted = apply_models(cluster, wanted, choice=choice, check=True)
    assert api.writes() == []
    result = apply_models(cluster, wanted, choice=choice)
    assert result.errors == []
    assert result.outcome() == predicted.outcome() == {"team/m0": "unchanged", "team/wide": "recreated"}
    assert api.stored("LLMInferenceService", "wide", "team")["metadata"]["uid"] != old
    assert not apply_models(cluster, wanted, choice=choice).changed


def test_a_model_that_is_being_deleted_is_waited_for_and_made_anew(api: FakeApi, cluster: Cluster) -> None:
    apply_models(cluster, models(1))
    key = (SERVING, "LLMInferenceService", "team", "m0")
    api.objects[key]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            del api.objects[key]

    result = apply_models_of(cluster, models(1), sleep=sleep)
    assert done(result) == ["create LLMInferenceService team/m0"]
    assert len(looks) == 3


def test_a_deletion_that_hangs_is_an_error_with_its_finalizers(api: FakeApi, cluster: Cluster) -> None:
    apply_models(cluster, models(2))
    metadata = api.objects[(SERVING, "LLMInferenceService", "team", "m0")]["metadata"]
    metadata.update(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["serving.kserve.io/llmisvc-finalizer"])
    wanted = models(2)
    wanted[2]["spec"]["replicas"] = 4
    result = apply_models(cluster, wanted)
    assert "finalizers: serving.kserve.io/llmisvc-finalizer" in str(result.errors[0])
    assert result.outcome() == {"team/m0": "failed", "team/m1": "changed"}


def test_every_namespace_gets_the_pull_secret_read_by_one_list(api: FakeApi, cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    auth = base64.b64encode(b"user:word").decode()
    file.write_text(json.dumps({"auths": {"registry.redhat.io": {"auth": auth}}}))
    spaces = [f"team{number}" for number in range(8)]
    wanted = [obj for space in spaces for obj in (namespace(space), model("m", space))]
    first = apply_models(cluster, wanted, pull_secret=PullSecret("pull", Credentials(file)))
    assert summary(first.changes) == {"create": 24}
    api.requests.clear()
    assert not apply_models(cluster, wanted, pull_secret=PullSecret("pull", Credentials(file))).changed
    assert [r.path for r in api.requests if "secrets" in r.path] == ["/api/v1/secrets"]
    assert api.requests[-1].query.get("limit")
    assert [r.query["fieldSelector"] for r in api.requests if "secrets" in r.path] == ["metadata.name=pull"]
    file.write_text("{}")
    with pytest.raises(Exception, match="expected `auths`"):
        apply_models(cluster, [*wanted, model("new", "team0")], pull_secret=PullSecret("pull", Credentials(file)))
    assert api.writes() == []


def test_progress_tells_what_is_done_and_how_many(cluster: Cluster) -> None:
    told: list[tuple[str, int, int]] = []
    apply_models(cluster, models(7), on_progress=lambda *what: told.append(what))
    assert ("LLMInferenceServices", 7, 7) in told


def test_a_prune_kind_that_is_not_served_is_left_out(api: FakeApi, cluster: Cluster) -> None:
    api.kinds = [kind for kind in api.kinds if kind[1] != "HTTPRoute"]
    assert apply_models(cluster, models(1)).errors == []


@pytest.mark.parametrize(
    ("parallelism", "size"),
    [
        (None, 1),
        ({"tensor": 8}, 1),
        ({"data": 16, "dataLocal": 8}, 2),
        ({"data": 10, "dataLocal": 4}, 2),  # as the controller divides
        ({"dataLocal": 4}, 1),
        ({"data": 4}, 4),
        ({"pipeline": 3}, 3),
        ({"data": 2, "dataLocal": 2, "pipeline": 3}, 1),
    ],
)
def test_group_sizes_are_those_of_the_controller(parallelism: dict[str, int] | None, size: int) -> None:
    assert group_size(parallelism) == size


def test_what_may_change_is_not_refused() -> None:
    def of(**parallelism: int) -> dict[str, Any]:
        return model("m", parallelism=parallelism)

    assert fixed_fields(of(data=16, dataLocal=8, tensor=2), of(data=8, dataLocal=4)) == []
    assert fixed_fields(of(tensor=4), of(tensor=2)) == []
    assert fixed_fields(model("m", prefill={"parallelism": {"pipeline": 4}}), model("m")) == []
    changed = fixed_fields(
        model("m", prefill={"parallelism": {"pipeline": 4}}), model("m", prefill={"parallelism": {"pipeline": 2}})
    )
    assert [item.path for item in changed] == ["spec.prefill.parallelism"]
    assert fixed_fields(route("r", "m"), route("r", "m")) == []


def keeping(obj: dict[str, Any], version: str) -> dict[str, Any]:
    """A model as KServe marks it with the preset it keeps to."""
    note = {"serving.kserve.io/config-llm-template": f"{version}-kserve-config-llm-template", "other": "stays"}
    return {**obj, "status": {"annotations": note}}


@pytest.mark.parametrize(
    ("version", "named", "moved"),
    [("v3-4-4", "m0", True), ("v3-4-4", "team/m0", True), ("v3-5-0", "m0", False), ("v3-4-4", "m1", False)],
)
def test_a_model_that_moves_forgets_the_presets_of_the_old_release(
    api: FakeApi, cluster: Cluster, version: str, named: str, moved: bool
) -> None:
    wanted = [*models(1), model("m1")]
    apply_models(cluster, wanted)
    api.put(keeping(api.stored("LLMInferenceService", "m0", "team"), version))
    api.fail("PATCH", "/m0/status$", 200)
    api.requests.clear()
    choice = Choice(move=frozenset({named}), presets="v3-5-0-kserve-")
    predicted = apply_models(cluster, wanted, choice=choice, check=True)
    assert api.writes() == []
    result = apply_models(cluster, wanted, choice=choice)
    assert result.errors == []
    assert (
        result.outcome()
        == predicted.outcome()
        == {"team/m0": "changed" if moved else "unchanged", "team/m1": "unchanged"}
    )
    bodies = [request.body for request in api.requests if request.path.endswith("/status")]
    forgotten = {"status": {"annotations": {"serving.kserve.io/config-llm-template": None}}}
    assert bodies == ([forgotten] if moved else [])


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        pytest.param("/m0$", 422, "the webhook says no", id="the model"),
        pytest.param("/m0/status$", 403, "the status is not yours", id="its presets"),
    ],
)
def test_a_model_that_cannot_move_stays_as_it_is(
    api: FakeApi, cluster: Cluster, path: str, status: int, text: str
) -> None:
    apply_models(cluster, [*models(2), route("of-m0", "m0")])
    api.put(keeping(api.stored("LLMInferenceService", "m0", "team"), "v3-4-4"))
    before = api.stored("LLMInferenceService", "m0", "team")
    wanted = models(2)
    for obj in wanted:
        obj.get("spec", {}).update(replicas=7)
    api.requests.clear()
    choice = Choice(move=frozenset({"m0"}), presets="v3-5-0-kserve-")
    api.fail("PATCH", path, status, text)
    result = apply_models(cluster, wanted, choice=choice)
    assert result.outcome() == {"team/m0": "failed", "team/m1": "changed"}
    assert [text in str(error) for error in result.errors] == [True]
    assert api.stored("LLMInferenceService", "m0", "team") == before
    assert names(api, "HTTPRoute") == {"of-m0"}, "what stands beside it stays too"
    assert [request.path.rpartition("/")[2] for request in api.writes() if "m0" in request.path] == (
        ["status"] if "status" in path else []
    )


def test_a_model_that_is_made_anew_need_not_move(api: FakeApi, cluster: Cluster) -> None:
    apply_models(cluster, [*models(1)])
    api.put(keeping(api.stored("LLMInferenceService", "m0", "team"), "v3-4-4"))
    wanted = [namespace(), model("m0", parallelism={"pipeline": 2})]
    choice = Choice(move=frozenset({"m0"}), recreate=frozenset({"m0"}), presets="v3-5-0-kserve-")
    result = apply_models(cluster, wanted, choice=choice)
    assert (result.errors, result.outcome()) == ([], {"team/m0": "recreated"})


OLD_GROUP, NEW_GROUP = "inference.networking.x-k8s.io/v1alpha2", "llm-d.ai/v1alpha2"


def objective(api_version: str, of: str) -> dict[str, Any]:
    return {**route("urgent", of), "apiVersion": api_version, "kind": "InferenceObjective", "spec": {"priority": 1}}


@pytest.mark.parametrize(("before", "after"), [(OLD_GROUP, NEW_GROUP), (NEW_GROUP, OLD_GROUP), (NEW_GROUP, None)])
def test_objectives_of_either_release_go_with_what_they_were_for(
    api: FakeApi, cluster: Cluster, before: str, after: str | None
) -> None:
    api.kinds += [(group, "InferenceObjective", "inferenceobjectives", True) for group in (OLD_GROUP, NEW_GROUP)]
    stays = objective(before, "m1")
    stays["metadata"]["name"] = "stays"
    apply_models(cluster, [*models(2), objective(before, "m0"), stays])
    apply_models(cluster, [*models(2), *([objective(after, "m0")] if after else []), stays])
    found = {(version, name) for version, kind, _, name in api.objects if kind == "InferenceObjective"}
    assert found == {(before, "stays"), *([(after, "urgent")] if after else [])}
