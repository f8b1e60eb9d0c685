"""The engine: what is read, written and retried, apart from any operator."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from embedded_cluster.kube import ApiError
from embedded_cluster.standins.engine import CRD, Controller, Desired, StepError
from embedded_cluster.standins.rules import Case, Rules, Step, Watch

from tests.unit.standins.fake_api import Bench, FakeApi, conditions, crd_folder, pod

WIDGETS = "widgets.example.org"
SOURCE = {"apiVersion": "example.org/v1", "kind": "Thing", "name": "one"}


class Maker(Controller):
    """Writes two ConfigMaps and, if the rules have a step for it, a CRD."""

    def operands(self, source: Any) -> list[dict[str, Any]]:  # noqa: ARG002 - the same for every resource
        return [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns"}, "data": {"a": "1"}}
            for name in ("first", "second")
        ]


@pytest.fixture
def api() -> FakeApi:
    api = FakeApi()
    api.put({"apiVersion": SOURCE["apiVersion"], "kind": SOURCE["kind"], "metadata": {"name": "one"}, "spec": {}})
    return api


def bench_of(api: FakeApi, folder: Path | None = None, **changes: Any) -> Bench:
    settings: dict[str, Any] = {
        "operator": "maker",
        "fact": "none",
        "source": SOURCE,
        "manager": "maker",
        "steps": (Step(objects=("ConfigMap",)),),
        "watches": (Watch("v1", "ConfigMap"),),
        "conditions": {"Ready": (Case(when="error", status="False", message="<< error >>"), Case())},
        **changes,
    }
    return Bench(api, Maker(pod(api, "ns", crds_dir=folder), Rules(**settings)))


def test_a_second_sync_sends_nothing(api: FakeApi) -> None:
    bench = bench_of(api)
    asyncio.run(bench.run())
    api.forget()
    asyncio.run(bench.step())
    assert api.requests == []


def test_what_others_add_is_no_drift_and_what_they_change_is(api: FakeApi) -> None:
    bench = bench_of(api)
    asyncio.run(bench.run())
    api.forget()
    api.find("ConfigMap", "first")["data"]["theirs"] = "2"
    asyncio.run(bench.run())
    assert api.writes() == []
    api.find("ConfigMap", "first")["data"]["a"] = "changed"
    asyncio.run(bench.run())
    assert api.writes() == ["ConfigMap ns/first"]
    assert api.find("ConfigMap", "first")["data"] == {"a": "1", "theirs": "2"}


@pytest.mark.parametrize(("on_error", "written"), [("stop", 0), ("continue", 1)])
def test_an_error_stops_the_step_or_not_as_the_rules_say(api: FakeApi, on_error: str, written: int) -> None:
    api.refuse["ConfigMap ns/first"] = ApiError(403, "Forbidden", "not allowed")
    asyncio.run(bench_of(api, on_error=on_error).step())
    assert len(api.all("ConfigMap")) == written
    assert conditions(api.find("Thing"))["Ready"] == ("False", "not allowed")


def test_the_back_off_doubles_until_a_success(api: FakeApi) -> None:
    bench = bench_of(api)
    api.refuse["ConfigMap"] = ApiError(403, "Forbidden", "not allowed")
    assert [asyncio.run(bench.step()) for _ in range(3)] == [0.005, 0.01, 0.02]
    api.refuse.clear()
    assert asyncio.run(bench.step()) is None
    api.refuse["ConfigMap"] = ApiError(403, "Forbidden", "not allowed")
    api.drop("ConfigMap", "first")
    assert asyncio.run(bench.step()) == 0.005


def test_a_fixed_retry_is_waited_for_whole(api: FakeApi) -> None:
    class Waiting(Maker):
        async def wait(self, _: Any) -> None:
            raise StepError("not yet", retry=7)

    bench = bench_of(api)
    bench.controller.__class__ = Waiting
    bench.controller.rules = Rules(**{**vars(bench.controller.rules), "steps": (Step(call="wait"),)})
    assert asyncio.run(bench.step()) == 0
    assert bench.pauses == [7]


def test_the_status_is_written_once(api: FakeApi) -> None:
    bench = bench_of(api)
    asyncio.run(bench.run())
    asyncio.run(bench.step())
    assert api.verbs("Thing").count("status") == 1


def test_a_warning_event_tells_the_error_once(api: FakeApi) -> None:
    event = {"api_version": "events.k8s.io/v1", "namespace": "default", "reason": "ProvisioningError"}
    api.refuse["ConfigMap"] = ApiError(403, "Forbidden", "x" * 2000)
    bench = bench_of(api, event=event)
    asyncio.run(bench.step())
    asyncio.run(bench.step())
    found = api.find("Event")
    assert (found["reason"], found["type"], len(found["note"])) == ("ProvisioningError", "Warning", 1024)
    assert found["reportingController"] == "thing"


def test_kept_fields_follow_the_live_deployment(api: FakeApi) -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "ns"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "resources": {}}]}}},
    }
    live = api.put({**deployment, "spec": {**deployment["spec"], "replicas": 5}})
    controller = bench_of(api).controller
    asyncio.run(controller.settle(Desired(deployment, "maker", keep=("replicas",))))
    assert api.find("Deployment")["spec"]["replicas"] == 5
    assert not controller.drifted(Desired(deployment, "maker", keep=("replicas",)), live)


# CRDs --------------------------------------------------------------------------------------


def crd_bench(api: FakeApi, tmp_path: Path, **labels: str) -> Bench:
    step = Step(crds={"set": "widgets", "labels": labels})
    return bench_of(api, crd_folder(tmp_path, {"widgets": [WIDGETS]}), steps=(step,))


def test_a_crd_that_is_not_there_is_applied_without_reading_it(api: FakeApi, tmp_path: Path) -> None:
    asyncio.run(crd_bench(api, tmp_path).run())
    assert api.verbs(CRD) == ["apply"]


def test_an_equal_crd_is_read_but_not_applied_again_after_a_restart(api: FakeApi, tmp_path: Path) -> None:
    asyncio.run(crd_bench(api, tmp_path, ours="1").run())
    api.forget()
    asyncio.run(crd_bench(api, tmp_path / "again", ours="1").run())
    assert api.verbs(CRD) == ["get"]


def test_a_crd_without_our_label_is_applied_without_reading_it(api: FakeApi, tmp_path: Path) -> None:
    api.crd(WIDGETS, group="example.org", names="widgets")
    asyncio.run(crd_bench(api, tmp_path, ours="1").run())
    assert api.verbs(CRD) == ["apply"]
    assert api.find(CRD)["metadata"]["labels"] == {"ours": "1"}


def test_while_something_fails_a_changed_crd_brings_the_next_try(api: FakeApi) -> None:
    bench = bench_of(api)
    api.crd("other.example.org")
    api.refuse["ConfigMap"] = ApiError(404, "NotFound", "no matches for kind")
    asyncio.run(bench.step())
    assert not bench.awake
    api.find(CRD, "other.example.org")["metadata"]["resourceVersion"] = "established"
    bench.show()
    assert bench.awake
