"""Puts a load on a model with GuideLLM, and watches the model's pods meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inference_platform.cluster import errors, pod_metrics
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.conformance_cases import Case
from inference_platform.cluster.smoke import address_of, unreachable_because
from inference_platform.load import guidellm
from inference_platform.load.guidellm import Load
from inference_platform.load.summary import Moment, Server, summary

_WATCH_SECONDS = 1.0
#: GuideLLM needs this much beside the load itself: its start, its warm-up and its report.
_OVERHEAD_SECONDS = 300.0
_LAST_LINES = 15


class BenchmarkFailed(errors.ClusterError):
    """No benchmark came about; `str()` says why and what to do."""


def benchmark(
    cluster: Cluster,
    case: Case,
    load: Load,
    *,
    program: str,
    tls: bool,
    folder: Path,
    on_progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Runs GuideLLM against one model or group and returns what to keep: target, load, servers, GuideLLM's figures.

    GuideLLM's own report becomes `guidellm.json` in `folder`.

    program  path of GuideLLM
    tls      whether the servers speak HTTPS
    """
    why = case.skip or (unreachable_because(address_of(case.url)) if case.url else "it has no address from outside")
    if why:
        raise BenchmarkFailed(f"{case.name} cannot be asked: {why}")
    version = _version(program)
    folder.mkdir(parents=True, exist_ok=True)
    watch = _Watch(cluster, pod_metrics.serving_pods(cluster, case.shares), tls=tls)
    with tempfile.TemporaryDirectory() as place:
        prompts = Path(place) / "prompts.jsonl"
        prompts.write_text("\n".join(guidellm.prompt_lines(load, seed=os.getpid())), encoding="utf-8")
        command = guidellm.arguments(
            guidellm.version_of(version),
            load,
            url=case.url,
            model=case.placeholders["model"],
            prompts=prompts,
            output=folder / "guidellm.json",
        )
        _run([program, *command], load.seconds + _OVERHEAD_SECONDS, watch, on_progress)
    report = json.loads((folder / "guidellm.json").read_text(encoding="utf-8"))
    return {
        "model": case.name,
        "url": case.url,
        "load": asdict(load),
        "guidellm_version": version,
        "servers": summary(watch.moments),
        "guidellm": guidellm.results(report),
    }


def _version(program: str) -> str:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_OVERHEAD_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkFailed(
            f"GuideLLM does not run: {program}: {error}. Install it with `make guidellm`, or name yours with "
            "models_benchmark_program."
        ) from None
    return done.stdout.strip().rpartition(" ")[2]


def _run(command: Sequence[str], timeout: float, watch: _Watch, on_progress: Callable[[float], None] | None) -> None:
    """The program to its end, with a look at the servers every second."""
    environment = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "GUIDELLM__PREFERRED_ROUTE": "text_completions"}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        began = time.monotonic()
        watch.look()
        try:
            while process.poll() is None and time.monotonic() - began < timeout:
                time.sleep(_WATCH_SECONDS)
                watch.look()
                if on_progress is not None:
                    on_progress(time.monotonic() - began)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        output.seek(0)
        if process.returncode:
            last = "\n".join(output.read().splitlines()[-_LAST_LINES:])
            raise BenchmarkFailed(f"GuideLLM ended with code {process.returncode}:\n{last}")


class _Watch:
    """Looks at the servers of a model; a look that fails is left out, the first must not."""

    def __init__(self, cluster: Cluster, pods: Sequence[pod_metrics.ServingPod], *, tls: bool) -> None:
        self._cluster, self._pods, self._tls = cluster, list(pods), tls
        self.moments: list[Moment] = []

    def look(self) -> None:
        """One more moment."""
        try:
            seen = pod_metrics.read(self._cluster, self._pods, tls=self._tls)
        except errors.ClusterError:
            if not self.moments:
                raise
            return
        servers = {Server(pod.model, pod.name): samples for pod, samples in seen.items()}
        self.moments.append(Moment(time.monotonic(), servers))
