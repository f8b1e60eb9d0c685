"""Running the installer again when there is nothing to do, with the same number of models in one namespace and in ten.

The platform is installed whole; models have no replicas, so that only their schedulers run.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import yaml

from benchmarks.install import INVENTORY, Cluster, Say, embedded_cluster, timed
from benchmarks.measurement import Measurement, compare
from inference_platform.cluster.client import Cluster as ApiServer

FEW, MANY = 1, 10
MODELS = 10
#: How much longer a run with MANY namespaces may take than one with FEW.
TARGET = 1.10
#: Runs that count, each time the models were changed.
SAMPLES = 6
SETTLED_SECONDS = 120
_SCHEDULERS = "app.kubernetes.io/component=llminferenceservice-router-scheduler"
_NOTHING_CHANGED = re.compile(r"^cluster +: .*\bchanged=0\b", re.MULTILINE)


def measure(repository: Path, rounds: int, say: Say) -> list[Measurement]:
    """The row of the table. Raises SystemExit when a run fails, or changes something that was as wanted.

    Both numbers take turns, so that what else the machine does meets both.
    """
    folder = repository / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    seconds: dict[int, list[float]] = {FEW: [], MANY: []}
    with embedded_cluster("bench-namespaces") as cluster:
        for _ in range(rounds):
            for namespaces, samples in seconds.items():
                samples += _run_again(repository, folder, cluster, namespaces)
    few, many = seconds[FEW], seconds[MANY]
    say(f"nothing to do, {FEW} namespace: {_shown(few)} s; {MANY} namespaces: {_shown(many)} s")
    return [compare(f"nothing to do, {MANY} model namespaces", many, f"{FEW} model namespace", few, TARGET)]


def _run_again(repository: Path, folder: Path, cluster: Cluster, namespaces: int) -> list[float]:
    """Seconds of runs that change nothing, after one that brought these models and removed others.

    They begin when the schedulers of these models run and those of the others are gone. The first does not count.
    """
    inventory = _inventory(repository, folder, namespaces)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), "site.yml"]
    timed([*command, "-e", "models_delete=yes"], repository, cluster, folder / f"namespaces-{namespaces}-before.log")
    _await_schedulers(cluster, MODELS)
    log = folder / f"namespaces-{namespaces}.log"
    seconds = []
    for _ in range(1 + SAMPLES):
        seconds.append(timed(command, repository, cluster, log))
        if not _NOTHING_CHANGED.search(log.read_text(encoding="utf-8")):
            raise SystemExit(f"a run of an unchanged inventory changed something, see {log}")
    return seconds[1:]


def _await_schedulers(cluster: Cluster, wanted: int) -> None:
    """Returns when there are so many pods of schedulers and all are ready. Raises SystemExit after two minutes."""
    api = ApiServer.connect(str(cluster.kubeconfig))
    until = time.monotonic() + SETTLED_SECONDS
    while time.monotonic() < until:
        pods = api.list("v1", "Pod", label_selector=_SCHEDULERS)
        ready = [pod for pod in pods if any(map(_is_ready, pod.get("status", {}).get("conditions", [])))]
        if len(pods) == len(ready) == wanted:
            return
        time.sleep(0.5)
    raise SystemExit(f"expected {wanted} schedulers that are ready, found {len(ready)} of {len(pods)}")


def _is_ready(condition: Mapping[str, str]) -> bool:
    return condition["type"] == "Ready" and condition["status"] == "True"


def _inventory(repository: Path, folder: Path, namespaces: int) -> Path:
    """The local inventory with models spread over so many namespaces instead of its own."""
    target = folder / f"inventory-{namespaces}-namespaces"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(repository / INVENTORY, target)
    models = [
        {
            "name": f"model-{number}",
            "namespace": f"team-{number % namespaces}",
            "uri": "hf://example/model",
            "replicas": 0,
            "gpu": {"count": 1},
        }
        for number in range(MODELS)
    ]
    path = target / "group_vars" / "all" / "30-models.yml"
    path.write_text(yaml.safe_dump({"models": models, "models_wait": False}, sort_keys=False), encoding="utf-8")
    return target


def _shown(seconds: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in seconds)
