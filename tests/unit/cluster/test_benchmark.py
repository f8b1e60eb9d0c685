"""A benchmark: GuideLLM is run, the servers are watched, and a run that cannot be says why."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from socket import create_server
from typing import Any

import pytest

from inference_platform.cluster import benchmark as subject
from inference_platform.cluster import pod_metrics
from inference_platform.cluster.benchmark import BenchmarkFailed, benchmark
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.conformance_cases import Case
from inference_platform.cluster.pod_metrics import ServingPod
from inference_platform.load.exposition import Samples
from inference_platform.load.guidellm import Load

POD = ServingPod("team", "a", "a-1")
PROGRAM = """#!{python}
import json, sys
if sys.argv[1:] == ["--version"]:
    print("guidellm version: 0.3.1")
elif "{end}":
    sys.exit("{end}")
else:
    words = dict(zip(sys.argv, sys.argv[1:]))
    prompts = [json.loads(line) for line in open(words["--data"])]
    metrics = {{"requests_per_second": {{"successful": {{"mean": len(prompts)}}}}}}
    json.dump({{"benchmarks": [{{"metrics": metrics}}]}}, open(words["--output-path"], "w"))
"""


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pod, which answers five requests between two looks."""
    requests = iter(range(0, 1000, 5))

    def read(*_: Any, **__: Any) -> dict[ServingPod, Samples]:
        return {POD: Samples({"vllm:request_success_total": float(next(requests))})}

    monkeypatch.setattr(pod_metrics, "serving_pods", lambda *_: [POD])
    monkeypatch.setattr(pod_metrics, "read", read)
    monkeypatch.setattr(subject, "_WATCH_SECONDS", 0.1)


@pytest.fixture
def case() -> Iterator[Case]:
    with create_server(("127.0.0.1", 0)) as gateway:
        url = f"http://127.0.0.1:{gateway.getsockname()[1]}/team/a"
        yield Case("team/a", url, {"model": "served"}, {}, {("team", "a"): 1.0})


def program(folder: Path, end: str = "") -> str:
    """A GuideLLM that only writes a report, or ends with these words."""
    file = folder / "guidellm"
    file.write_text(PROGRAM.format(python=sys.executable, end=end), encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def test_both_reports_are_left_and_summed_up(cluster: Cluster, case: Case, tmp_path: Path) -> None:
    load = Load(rate=1, seconds=1)
    result = benchmark(cluster, case, load, program=program(tmp_path), tls=True, folder=tmp_path / "out")
    assert (result["model"], result["guidellm_version"]) == ("team/a", "0.3.1")
    assert result["guidellm"] == [{"requests": {}, "requests_per_second": 1000}]
    assert result["servers"]["requests"] >= 5
    assert result["servers"]["share_per_version"] == {"a": 1.0}
    assert json.loads((tmp_path / "out" / "guidellm.json").read_text())["benchmarks"]


def test_a_program_that_fails_is_quoted(cluster: Cluster, case: Case, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFailed, match="GuideLLM ended with code 1:\nno such model"):
        benchmark(cluster, case, Load(), program=program(tmp_path, "no such model"), tls=True, folder=tmp_path)


def test_a_missing_program_says_how_to_get_it(cluster: Cluster, case: Case, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkFailed, match="Install it with `make guidellm`"):
        benchmark(cluster, case, Load(), program=str(tmp_path / "nowhere"), tls=True, folder=tmp_path)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (Case("team/a", "", skip="it is stopped"), "team/a cannot be asked: it is stopped"),
        (Case("team/a", ""), "team/a cannot be asked: it has no address from outside"),
    ],
)
def test_a_model_that_cannot_be_asked_is_not_measured(cluster: Cluster, tmp_path: Path, asked: Case, why: str) -> None:
    with pytest.raises(BenchmarkFailed, match=why):
        benchmark(cluster, asked, Load(), program="guidellm", tls=True, folder=tmp_path)
