"""What is kept of a failed test: runs, objects, events and logs, without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from inference_platform.cluster import redact
from tests.support.clusters import EmbeddedCluster
from tests.support.playbook import RECENT

FOLDER = Path(__file__).resolve().parents[2] / "build" / "test-failures"
KINDS = (
    *("nodes", "namespaces", "pods", "deployments", "services", "customresourcedefinitions"),
    *("gatewayclasses", "gateways", "httproutes", "inferencepools", "llminferenceservices"),
    *("certificates", "clusterissuers", "istios", "leaderworkersetoperators", "kserves", "certmanagers"),
    *("awskubernetesengines", "azurekubernetesengines"),
)
_LOG_BYTES = 200_000


def collect(test: str, clusters: Iterable[EmbeddedCluster], failure: str) -> Path:
    """Writes build/test-failures/<test>/ and returns it. What cannot be read is left out."""
    folder = FOLDER / re.sub(r"[^\w.-]+", "_", test)
    for cluster in clusters:
        place = folder / cluster.paths.name
        place.mkdir(parents=True, exist_ok=True)
        _write(place / "events.txt", cluster.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp").stdout)
        _write(place / "pods.txt", cluster.kubectl("get", "pods", "-A", "-o", "wide").stdout)
        for kind in KINDS:
            _write_objects(place / f"{kind}.json", cluster, kind)
        for log in sorted(cluster.paths.logs.rglob("*.log")):
            _write(place / "logs" / log.relative_to(cluster.paths.logs), _end_of(log))
    _write(folder / "failure.txt", failure)
    for number, run in enumerate(RECENT, start=1):
        _write(folder / f"run-{number}.txt", str(run))
    return folder


def _write_objects(path: Path, cluster: EmbeddedCluster, kind: str) -> None:
    done = cluster.kubectl("get", kind, "--all-namespaces", "--output", "json")
    if done.returncode == 0:
        path.write_text(json.dumps(redact.obj(json.loads(done.stdout)), indent=1), encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(redact.text(text), encoding="utf-8")


def _end_of(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - _LOG_BYTES))
        return stream.read().decode(errors="replace")
