"""Installing the platform, and running the installer again, against the plainest shell script.

Every round installs twice on fresh embedded clusters of the same kind: once with `site.yml` of the local inventory,
once with `plain_install.sh`. The script gets the values and the model that the playbook used, read back from its
cluster, so both lay down the same objects. Clusters are started and removed by the benchmark itself.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measurement import Measurement, compare

INVENTORY = "inventories/local"
DEMO_TARGET_SECONDS = 60.0
CONTROL_PLANE_TARGET_SECONDS = 5.0

Say = Callable[[str], None]


@dataclass
class Samples:
    """Seconds measured so far, one entry per round."""

    control_plane: list[float] = field(default_factory=list)
    fresh: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    plain_fresh: list[float] = field(default_factory=list)
    plain_again: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Cluster:
    """A running embedded cluster: its name, kubeconfig and folder, and the folder of the tools."""

    name: str
    kubeconfig: Path
    tools: Path
    seconds_to_start: float

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.tools / 'bin'}{os.pathsep}{os.environ['PATH']}"
        # As for most users, Python may keep what it compiled: without, every run compiles some hundred modules again.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "KUBECONFIG": str(self.kubeconfig), "EMBEDDED_CLUSTER": self.name, "PATH": path}

    @property
    def pull_secret(self) -> Path:
        return self.kubeconfig.parent / "pull-secret.json"


def measure(repository: Path, rounds: int, say: Say) -> list[Measurement]:
    """Run the rounds and return the rows of the table. Raises CalledProcessError when an install fails."""
    samples = Samples()
    inputs = repository / "build" / "bench"
    inputs.mkdir(parents=True, exist_ok=True)
    for number in range(1, rounds + 1):
        with embedded_cluster("bench") as cluster:
            samples.control_plane.append(cluster.seconds_to_start)
            playbook = site_yml()
            samples.fresh.append(timed(playbook, repository, cluster, inputs / "site-fresh.log"))
            samples.again.append(timed(playbook, repository, cluster, inputs / "site-again.log"))
            read_back(cluster, inputs)
        with embedded_cluster("bench") as cluster:
            script = [str(repository / "benchmarks" / "plain_install.sh"), str(inputs), str(cluster.tools / "crds")]
            script += [str(cluster.pull_secret), str(inputs / "models.yaml")]
            samples.plain_fresh.append(timed(script, repository, cluster, inputs / "plain-fresh.log"))
            samples.plain_again.append(timed(script, repository, cluster, inputs / "plain-again.log"))
        say(
            f"round {number}/{rounds}: control plane {samples.control_plane[-1]:.1f} s; "
            f"site.yml {samples.fresh[-1]:.1f} s, again {samples.again[-1]:.1f} s; "
            f"plain script {samples.plain_fresh[-1]:.1f} s, again {samples.plain_again[-1]:.1f} s"
        )
    say_where_time_goes(repository / "build" / "local" / "report.json", say)
    demo = [up + fresh for up, fresh in zip(samples.control_plane, samples.fresh, strict=True)]
    return [
        compare("fresh install, site.yml", samples.fresh, "plain script", samples.plain_fresh, 1.15),
        compare("second run, nothing to do", samples.again, "plain script's second run", samples.plain_again, 0.5),
        compare("demo, everything built", demo, "a minute", [DEMO_TARGET_SECONDS], 1.0),
        compare("control plane up", samples.control_plane, "five seconds", [CONTROL_PLANE_TARGET_SECONDS], 1.0),
    ]


def site_yml() -> list[str]:
    """The command that installs the local inventory."""
    return [str(Path(sys.executable).with_name("ansible-playbook")), "-i", INVENTORY, "site.yml"]


@contextmanager
def embedded_cluster(name: str) -> Iterator[Cluster]:
    """A fresh embedded cluster, removed at the end."""
    command = [sys.executable, "-m", "embedded_cluster"]
    subprocess.run([*command, "down", "--name", name], check=True, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    subprocess.run([*command, "up", "--name", name], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    try:
        printed = subprocess.run([*command, "kubeconfig", "--name", name], check=True, capture_output=True, text=True)
        kubeconfig = Path(printed.stdout.strip())
        yield Cluster(name, kubeconfig, kubeconfig.parents[2] / "tools" / "current", seconds)
    finally:
        subprocess.run([*command, "down", "--name", name], check=True, stdout=subprocess.DEVNULL)


def timed(command: list[str], folder: Path, cluster: Cluster, log: Path) -> float:
    """Seconds that the command took; its output goes to `log`."""
    began = time.monotonic()
    with log.open("w") as output:
        result = subprocess.run(command, cwd=folder, env=cluster.environment, stdout=output, stderr=subprocess.STDOUT)
    seconds = time.monotonic() - began
    if result.returncode:
        tail = "\n".join(log.read_text().splitlines()[-25:])
        raise SystemExit(f"{Path(command[0]).name} failed (exit {result.returncode}), see {log}:\n{tail}")
    return seconds


def read_back(cluster: Cluster, folder: Path) -> None:
    """Write the values of every Helm release and the models' objects of `cluster` to `folder`."""
    for release in json.loads(_output(cluster, "helm", "list", "--all-namespaces", "--output", "json")):
        values = _output(
            cluster, "helm", "get", "values", release["name"], "--namespace", release["namespace"], "--output", "yaml"
        )
        (folder / f"{release['name']}.yaml").write_text(values)
    models = json.loads(_output(cluster, "kubectl", "get", "llminferenceservices", "--all-namespaces", "-o", "json"))
    namespaces = sorted({model["metadata"]["namespace"] for model in models["items"]})
    listed = [json.loads(_output(cluster, "kubectl", "get", "namespace", name, "-o", "json")) for name in namespaces]
    objects = [without_server_fields(item) for item in [*listed, *models["items"]]]
    (folder / "models.yaml").write_text(yaml.safe_dump_all(objects, sort_keys=False))


def without_server_fields(item: dict[str, Any]) -> dict[str, Any]:
    """The object as a person would write it: names, labels, spec."""
    metadata = {key: item["metadata"][key] for key in ("name", "namespace", "labels") if key in item["metadata"]}
    spec = {"spec": item["spec"]} if item["kind"] != "Namespace" else {}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata, **spec}


def say_where_time_goes(report: Path, say: Say) -> None:
    """Print the layers of the last run that wrote `report`, slowest first."""
    layers = json.loads(report.read_text()).get("layers", [])
    timed_layers = sorted((layer for layer in layers if layer.get("seconds")), key=lambda layer: -layer["seconds"])
    if timed_layers:
        say("last run, by layer: " + ", ".join(f"{layer['name']} {layer['seconds']:.1f} s" for layer in timed_layers))


def _output(cluster: Cluster, *command: str) -> str:
    return subprocess.run(command, env=cluster.environment, check=True, capture_output=True, text=True).stdout
