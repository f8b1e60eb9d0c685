"""Conformance profiles: what they are run on, what they send, and what they make of counters."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from inference_platform.cluster import conformance
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.conformance import Profile, conform, profiles, report, wrong_growth, wrong_shares
from inference_platform.cluster.conformance_cases import Case, Cases
from inference_platform.cluster.pod_metrics import PREFILL, SERVING, ServingPod
from inference_platform.cluster.smoke import FAILED, PASSED, SKIPPED, UNREACHABLE, Subject
from inference_platform.load.exposition import Samples

GATEWAY = "http://10.0.0.1:8080"


def model(name: str, *plugins: str, **spec: Any) -> dict[str, Any]:
    inline = {"plugins": [{"type": plugin} for plugin in plugins]}
    router = {"scheduler": {"config": {"inline": inline}}} if plugins else {}
    return {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": name, "namespace": "team", "labels": {"inference-platform.io/model": name}},
        "spec": {"model": {"name": "served"}, "router": router, **spec},
    }


def subject(name: str, skip: str = "") -> Subject:
    return Subject(f"team/{name}", "served", f"{GATEWAY}/team/{name}", skip)


def group_route(*rules: dict[str, Any]) -> dict[str, Any]:
    labels = {"inference-platform.io/traffic-group": "ab"}
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": "ab", "namespace": "team", "labels": labels},
        "spec": {"rules": list(rules)},
    }


def rule(path: str, headers: dict[str, str] | None = None, **weights: int) -> dict[str, Any]:
    match: dict[str, Any] = {"path": {"type": "PathPrefix", "value": path}}
    if headers:
        match["headers"] = [{"name": key, "value": value} for key, value in headers.items()]
    kind = "inference-pool" if "completions" in path else "kserve-workload-svc"
    backends = [{"name": f"{name}-{kind}", "weight": weight} for name, weight in weights.items()]
    return {"matches": [match], "backendRefs": backends}


def test_profiles_apply_to_the_models_that_have_what_they_are_about() -> None:
    objects = [
        model("one", "prefix-cache-scorer", replicas=1),
        model("many", "queue-scorer", "precise-prefix-cache-scorer", replicas=3),
        model("load", "queue-scorer", replicas=3),
        model("split", "prefix-cache-scorer", replicas=2, prefill={}),
    ]
    cases = Cases(objects, [subject(item["metadata"]["name"]) for item in objects])
    assert [case.name for case in cases.of("models")] == ["team/one", "team/many", "team/load", "team/split"]
    assert [case.name for case in cases.of("prefix_cache")] == ["team/many", "team/split"]
    assert [case.name for case in cases.of("prefill")] == ["team/split"]
    assert cases.of("groups") == cases.of("objectives") == []


def test_each_objective_of_a_model_is_a_case_of_its_own() -> None:
    objective = {
        "kind": "InferenceObjective",
        "metadata": {"name": "a-batch", "namespace": "team", "labels": {"inference-platform.io/model": "a"}},
        "spec": {"priority": -10},
    }
    (case,) = Cases([model("a"), objective], [subject("a")]).of("objectives")
    assert (case.name, case.url) == ("team/a-batch (-10)", f"{GATEWAY}/team/a")
    assert case.placeholders == {"model": "served", "objective": "a-batch"}


def test_a_group_is_asked_at_its_own_path_and_shared_by_weight() -> None:
    route = group_route(rule("/team/ab/v1/completions", a=9, b=1, c=0), rule("/team/ab", a=9, b=1, c=0))
    names = "abc"
    (case,) = Cases([*map(model, names), route], [subject(name) for name in names]).of("groups")
    assert case == Case(
        "team/ab", f"{GATEWAY}/team/ab", {"model": "served"}, {}, {("team", "a"): 0.9, ("team", "b"): 0.1}
    )


def test_a_group_by_header_has_a_case_for_each_condition() -> None:
    marked = {"x-version": "b"}
    route = group_route(rule("/team/ab", marked, b=1), rule("/team/ab", a=1))
    first, second = Cases([model("a"), model("b"), route], [subject("a"), subject("b")]).of("groups")
    assert (first.name, first.headers, first.shares) == ("team/ab [x-version: b]", marked, {("team", "b"): 1.0})
    assert (second.name, second.headers, second.shares) == ("team/ab", {}, {("team", "a"): 1.0})


def pod(name: str, model_name: str = "a", role: str = SERVING) -> ServingPod:
    return ServingPod("team", model_name, name, role)


def growth(**values: float) -> dict[ServingPod, Samples]:
    return {pod(name): Samples({"hits": value}) for name, value in values.items()}


@pytest.mark.parametrize(
    ("at", "grown", "problem"),
    [
        ("some", {"x": 1, "y": 2}, ""),
        ("one", {"x": 0, "y": 2}, ""),
        ("one", {"x": 1, "y": 2}, "expected hits to grow at one pod, found it growing at x, y"),
        ("some", {"x": 0, "y": 0}, "expected hits to grow at the serving pods (x, y), found it unchanged"),
        ("some", {}, "expected serving pods, found none"),
    ],
)
def test_counters_grow_where_they_should(at: str, grown: dict[str, float], problem: str) -> None:
    assert wrong_growth({"metric": "hits", "pods": SERVING, "at": at}, growth(**grown)) == problem


def test_counters_of_another_role_do_not_count() -> None:
    both = {pod("d"): Samples({"hits": 3}), pod("p", role=PREFILL): Samples({"hits": 0})}
    assert "prefill pods (p)" in wrong_growth({"metric": "hits", "pods": PREFILL, "at": "some"}, both)


def counted(**requests: float) -> dict[ServingPod, Samples]:
    return {pod(f"{name}-1", name): Samples({"vllm:request_success_total": n}) for name, n in requests.items()}


def test_shares_are_compared_in_points() -> None:
    wanted = {("team", "a"): 0.9, ("team", "b"): 0.1}
    assert wrong_shares(wanted, counted(a=84, b=16), 9) == ""
    problem = wrong_shares(wanted, counted(a=50, b=50), 9)
    assert problem == "expected shares within 9 points of the weights, found a 50% of 90%, b 50% of 10%"
    assert "unchanged" in wrong_shares(wanted, counted(a=0, b=0), 9)


# Runs --------------------------------------------------------------------------------------


class _Answers(BaseHTTPRequestHandler):
    """Answers every request with the list of models, and counts it."""

    seen: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("x-mark", "")))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "served"}]}')

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.seen = []
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


CHECK = {"name": "models", "shows": "", "request": {"method": "GET", "path": "/v1/models"}, "expect": {"status": [200]}}


def profile(**check: Any) -> Profile:
    return Profile("p", "title", "guide", "models", ({**CHECK, **check},))


def run(cluster: Cluster, url: str, chosen: Profile, skip: str = "") -> conformance.ProfileResult:
    cases = Cases([model("a")], [Subject("team/a", "served", url, skip)])
    (result,) = conform(cluster, [chosen], cases, tls=True, patience=0.0)
    return result


def test_a_check_is_sent_as_often_as_it_says(cluster: Cluster, server: Any) -> None:
    result = run(cluster, f"http://127.0.0.1:{server.server_port}/team/a", profile(times=5))
    assert [item.state for item in result.result.models] == [PASSED]
    assert server.seen == [("/team/a/v1/models", "")] * 5


def test_a_wrong_answer_fails_the_profile_and_is_shown(cluster: Cluster, server: Any) -> None:
    url = f"http://127.0.0.1:{server.server_port}"
    result = run(cluster, url, profile(expect={"status": [404]}))
    assert (result.failed, result.result.models[0].state) == (True, FAILED)
    text = report([result])
    assert text.startswith("p: title (guide: guide)")
    assert "models: GET" in text
    assert "expected status 404, found 200" in text


def test_metrics_that_cannot_be_read_fail_the_check_with_the_reason(cluster: Cluster, server: Any) -> None:
    counters = [{"metric": "hits", "pods": SERVING, "at": "some"}]
    result = run(cluster, f"http://127.0.0.1:{server.server_port}", profile(counters=counters))
    (outcome,) = result.result.models[0].outcomes
    assert outcome.problem == "expected serving pods, found none"


def test_models_that_cannot_be_asked_do_not_fail(cluster: Cluster) -> None:
    assert run(cluster, "", profile()).result.models[0].state == UNREACHABLE
    assert run(cluster, "", profile(), skip="it is stopped").result.models[0].state == SKIPPED


def test_a_profile_without_models_says_what_it_would_need(cluster: Cluster) -> None:
    chosen = profiles()["prefill_decode"]
    (result,) = conform(cluster, [chosen], Cases([model("a")], [subject("a")]), tls=True, patience=0.0)
    assert "skipped: no model with prefill workers" in report([result])
    assert not result.failed


def test_the_catalogue_has_a_profile_for_each_guide() -> None:
    assert list(profiles()) == ["basic", "prefix_cache", "prefill_decode", "ab_test", "priority"]


def test_pods_that_count_more_than_they_may_are_told() -> None:
    counter = {"metric": "tokens", "pods": PREFILL, "at_most": 4}
    few = {pod("p", role=PREFILL): Samples({"tokens": 4}), pod("d"): Samples({"tokens": 28})}
    many = {**few, pod("q", role=PREFILL): Samples({"tokens": 1})}
    assert wrong_growth(counter, few) == ""
    assert "tokens of the prefill pods to grow by 4 at most, found 5" in wrong_growth(counter, many)
