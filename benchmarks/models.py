"""Many models: applying them, running again, adding one, and checking and rendering them.

The cluster has the CRDs of the models and no controllers, so that the apply is what is measured. Every way of
applying starts from the same namespaces without models, in the same run. Of ours the task counts that applies, which
compares and looks for what to remove as well; its peers are given objects that were rendered before.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks.install import Cluster, Say, embedded_cluster, timed
from benchmarks.measurement import Measurement, compare
from inference_platform.cluster import gate
from inference_platform.cluster.client import Cluster as ApiServer

MODELS = 1000
NAMESPACES = 10
RENDERED = 10_000
#: Numbers of models in the plot.
SERIES = (10, 100, 1000, 10_000)
FLOOR_THREADS = 16
UNCHANGED_SECONDS, ADD_ONE_SECONDS, RENDER_SECONDS, RENDER_MEGABYTES = 5.0, 6.0, 15.0, 600.0
CRD_SETS = ("gateway-api", "inference-extension", "kserve-llmisvc")
_APPLY_TASK = re.compile(r"^  \w+ +Apply the models +([0-9.]+) s", re.MULTILINE)


@dataclass(frozen=True)
class Bench:
    """Where things are: the repository, a folder to write to, and the cluster."""

    repository: Path
    folder: Path
    cluster: Cluster

    def inventory(self, count: int) -> Path:
        """The local inventory with `count` models in place of its own, spread over the namespaces."""
        folder = self.folder / f"inventory-{count}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.repository / "inventories" / "local", folder)
        content = {"models": [model(number) for number in range(count)], "models_wait": False}
        path = folder / "group_vars" / "all" / "30-models.yml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return folder

    def playbook(self, name: str, inventory: Path, *arguments: str) -> tuple[float, str]:
        """Run a playbook of the project; its seconds and what it printed."""
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        log = self.folder / f"{Path(name).stem}.log"
        # The cluster has the kinds of the platform and nothing else of it, as if it were still to come.
        command = [program, "-i", str(inventory), name, "-e", "platform_installs=true", *arguments]
        return timed(command, self.repository, self.cluster, log), log.read_text(encoding="utf-8")


def model(number: int) -> dict[str, Any]:
    """A model as a person would list it. It has no replicas: nothing is to be scheduled."""
    return {
        "name": f"model-{number:05}",
        "namespace": f"team-{number % NAMESPACES}",
        "uri": f"hf://example/model-{number}",
        "replicas": 0,
        "gpu": {"product": "NVIDIA-L4", "count": 1},
    }


def measure(repository: Path, rounds: int, say: Say) -> list[Measurement]:
    """The rows of the table; seconds by number of models go to build/bench-models.json, which `plot` draws.

    Raises SystemExit when a run fails.
    """
    folder = repository / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with embedded_cluster("bench") as cluster:
        bench = Bench(repository, folder, cluster)
        api = ApiServer.connect(str(cluster.kubeconfig))
        for name in CRD_SETS:
            files = str(cluster.tools / "crds" / name)
            _run(cluster, "kubectl", "apply", "--server-side", "--field-manager=inference-platform", "-f", files)
        crds = [path.stem for name in CRD_SETS for path in (cluster.tools / "crds" / name).glob("*.json")]
        gate.wait(api, [{"check": "crds", "names": crds}], timeout=60)
        _run(cluster, "kubectl", "create", "namespace", "redhat-ods-applications")
        rows = [*_applying(bench, api, rounds, say), *_again(bench, api, rounds, say)]
        applied = _series(bench, api, say)
        rendered, rows_of_rendering = _rendering(bench, rounds, say)
    series = {"models.yml, first apply": applied, "models.yml --tags validate": rendered}
    (repository / "build" / "bench-models.json").write_text(json.dumps(series, indent=2) + "\n")
    return [*rows, *rows_of_rendering]


def _applying(bench: Bench, api: ApiServer, rounds: int, say: Say) -> list[Measurement]:
    inventory = bench.inventory(MODELS)
    manifest, objects = _exported(bench, inventory)
    task = bench.folder / "kubernetes-core.yml"
    task.write_text(yaml.safe_dump(_kubernetes_core_play(manifest), sort_keys=False), encoding="utf-8")
    seconds: dict[str, list[float]] = {
        name: [] for name in ("floor", "task", "models.yml", "kubectl", "kubernetes.core")
    }
    ways: dict[str, Callable[[], None]] = {
        "floor": lambda: seconds["floor"].append(_floor(api, objects)),
        "models.yml": lambda: _ours(bench, inventory, seconds),
        "kubectl": lambda: seconds["kubectl"].append(
            timed(
                ["kubectl", "apply", "--server-side", "--filename", str(manifest)],
                bench.folder,
                bench.cluster,
                bench.folder / "kubectl.log",
            )
        ),
        "kubernetes.core": lambda: seconds["kubernetes.core"].append(bench.playbook(str(task), Path("localhost,"))[0]),
    }
    _floor(api, [item for item in objects if item["kind"] == "Namespace"])
    for number in range(1, rounds + 1):
        for apply in ways.values():
            _remove_models(api)
            apply()
            _expect(api, MODELS)
        last = {name: round(found[-1], 1) for name, found in seconds.items()}
        say(f"round {number}/{rounds}, {MODELS} models, first apply, seconds: {last}")
    bound = median(seconds["kubectl"]) / median(seconds["floor"])
    say(f"the API server takes kubectl's objects {bound:.1f} times faster from {FLOOR_THREADS} threads at once")
    what = f"{MODELS} models, first apply"
    return [
        compare(what, seconds["task"], f"{FLOOR_THREADS} threads, objects ready", seconds["floor"], 1.5),
        compare(what, seconds["task"], "kubectl apply --server-side", seconds["kubectl"], 1 / 4),
        compare(what, seconds["task"], "kubernetes.core.k8s", seconds["kubernetes.core"], 1 / 3),
    ]


def _ours(bench: Bench, inventory: Path, seconds: dict[str, list[float]]) -> None:
    whole, output = bench.playbook("playbooks/models.yml", inventory)
    found = _APPLY_TASK.search(output)
    if not found:
        raise SystemExit(f"the run did not say how long the apply took:\n{output[-2000:]}")
    seconds["models.yml"].append(whole)
    seconds["task"].append(float(found[1]))


def _again(bench: Bench, api: ApiServer, rounds: int, say: Say) -> list[Measurement]:
    """With all models there: a run that changes nothing, and one that adds a model."""
    inventory, one_more = bench.inventory(MODELS), bench.inventory(MODELS + 1)
    bench.playbook("playbooks/models.yml", inventory)
    unchanged, added = [], []
    for number in range(1, rounds + 1):
        before = _versions(api)
        unchanged.append(bench.playbook("playbooks/models.yml", inventory)[0])
        if _versions(api) != before:
            raise SystemExit("a run of an unchanged inventory wrote to the cluster")
        added.append(bench.playbook("playbooks/models.yml", one_more)[0])
        written = set(_versions(api).items()) - set(before.items())
        if len(written) != 1:
            raise SystemExit(f"adding one model wrote {len(written)} objects")
        bench.playbook("playbooks/models.yml", inventory)
        say(f"round {number}/{rounds}: unchanged {unchanged[-1]:.1f} s; one model added {added[-1]:.1f} s")
    return [
        compare(f"{MODELS} models, nothing changed: models.yml", unchanged, "at most", [UNCHANGED_SECONDS], 1.0),
        compare(f"one model added to {MODELS}: models.yml", added, "at most", [ADD_ONE_SECONDS], 1.0),
    ]


def _series(bench: Bench, api: ApiServer, say: Say) -> dict[int, float]:
    found = {}
    for count in SERIES:
        _remove_models(api)
        found[count] = bench.playbook("playbooks/models.yml", bench.inventory(count))[0]
        _expect(api, count)
        say(f"{count} models, first apply: models.yml {found[count]:.1f} s")
    _remove_models(api)
    return found


def _rendering(bench: Bench, rounds: int, say: Say) -> tuple[dict[int, float], list[Measurement]]:
    """`models.yml --tags validate`: reads, checks and renders every model, and asks no cluster."""
    found: dict[int, float] = {}
    for count in SERIES:
        inventory = bench.inventory(count)
        samples = [
            bench.playbook("playbooks/models.yml", inventory, "--tags", "validate")[0]
            for _ in range(rounds if count == RENDERED else 1)
        ]
        found[count] = sorted(samples)[len(samples) // 2]
        say(f"{count} models, validate and render: {found[count]:.1f} s")
    # The largest of all children that ended; none of them reads more than these runs.
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    what = f"{RENDERED} models, validate and render"
    return found, [
        compare(what, [found[RENDERED]], "at most", [RENDER_SECONDS], 1.0),
        compare(f"{what}: memory", [megabytes], "at most", [RENDER_MEGABYTES], 1.0, "MB"),
    ]


def _exported(bench: Bench, inventory: Path) -> tuple[Path, list[dict[str, Any]]]:
    """What `export.yml` writes for these models, as one manifest and as objects, namespaces first."""
    folder = bench.folder / "export"
    shutil.rmtree(folder, ignore_errors=True)
    bench.playbook("playbooks/export.yml", inventory, "-e", f"export_dir={folder}")
    files = sorted(path for path in folder.rglob("*.yaml") if path.name != "kustomization.yaml")
    objects = [item for path in files for item in yaml.load_all(path.read_text(), yaml.CSafeLoader) if item]
    objects.sort(key=lambda item: item["kind"] != "Namespace")
    manifest = bench.folder / "models-all.yaml"
    manifest.write_text(yaml.dump_all(objects, Dumper=yaml.CSafeDumper, sort_keys=False), encoding="utf-8")
    return manifest, objects


def _kubernetes_core_play(manifest: Path) -> list[dict[str, Any]]:
    task = {
        "name": "Apply the models",
        "kubernetes.core.k8s": {
            "src": str(manifest),
            "apply": True,
            "server_side_apply": {"field_manager": "kubernetes-core", "force_conflicts": True},
        },
    }
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    return [{"name": "Peer", "hosts": "localhost", "gather_facts": False, "vars": host, "tasks": [task]}]


def _floor(api: ApiServer, objects: list[dict[str, Any]]) -> float:
    """Seconds for server-side apply of objects that are ready, by threads over one pool of connections."""
    plural = {"Namespace": "namespaces", "LLMInferenceService": "llminferenceservices"}
    requests = []
    for item in objects:
        group = "/api/v1" if item["apiVersion"] == "v1" else f"/apis/{item['apiVersion']}"
        space = item["metadata"].get("namespace")
        within = f"/namespaces/{space}" if space else ""
        path = f"{group}{within}/{plural[item['kind']]}/{item['metadata']['name']}"
        requests.append((path, json.dumps(item).encode()))

    def send(request: tuple[str, bytes]) -> None:
        api.request(
            "PATCH",
            request[0],
            body=request[1],
            query={"fieldManager": "floor", "force": "true"},
            content_type="application/apply-patch+yaml",
            subject=request[0],
        )

    began = time.monotonic()
    with ThreadPoolExecutor(FLOOR_THREADS) as pool:
        list(pool.map(send, requests))
    return time.monotonic() - began


def _remove_models(api: ApiServer) -> None:
    for number in range(NAMESPACES):
        path = f"/apis/serving.kserve.io/v1alpha2/namespaces/team-{number}/llminferenceservices"
        api.request("DELETE", path, subject=path)
    _expect(api, 0)


def _versions(api: ApiServer) -> dict[str, str]:
    found = api.list("serving.kserve.io/v1alpha2", "LLMInferenceService")
    metadata = [item["metadata"] for item in found]
    return {f"{item['namespace']}/{item['name']}": item["resourceVersion"] for item in metadata}


def _expect(api: ApiServer, count: int) -> None:
    found = len(_versions(api))
    if found != count:
        raise SystemExit(f"expected {count} models in the cluster, found {found}")


def _run(cluster: Cluster, *command: str) -> None:
    subprocess.run(command, env=cluster.environment, check=True, stdout=subprocess.DEVNULL)
