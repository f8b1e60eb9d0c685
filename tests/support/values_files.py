"""The commands that a run leaves in the first lines of its values files, run as a user would, and what they changed."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from inference_platform.cluster.release import decode
from tests.support.clusters import EmbeddedCluster, Object
from tests.support.playbook import REPOSITORY

#: What the server and controllers write on their own account while nobody asks for anything.
_OF_THE_SERVER = frozenset({"managedFields", "resourceVersion"})


@dataclass(frozen=True)
class ByHand:
    """What upgrades by hand came to.

    charts    chart of each release that was upgraded, as its command names it, by release
    failures  what helm said of each that failed
    changes   objects of releases that are other than before, and releases that did not get exactly one new revision
    """

    charts: Mapping[str, str]
    failures: list[str]
    changes: list[str]


@dataclass(frozen=True)
class _State:
    """Revision and label of each release, and every object of it as far as somebody asked for it."""

    revisions: dict[str, int]
    marks: dict[str, str]
    objects: dict[str, Object]


def upgrade_by_hand(cluster: EmbeddedCluster, folder: Path) -> ByHand:
    """Runs the command of every values file in a folder, in the project's own, where a user would."""
    commands = {file.stem: command_of(file) for file in sorted(folder.glob("*.yaml"))}
    before = _state(cluster)
    answers = {name: _run(cluster, command) for name, command in commands.items()}
    after = _state(cluster)
    revisions = {name: count + (name in commands) for name, count in before.revisions.items()}
    return ByHand(
        charts={name: command[3] for name, command in commands.items()},
        failures=[f"{name}: {done.stderr}" for name, done in answers.items() if done.returncode != 0],
        changes=[
            *_differing("revision", revisions, after.revisions),
            *_differing("label", before.marks, after.marks),
            *_differing("object", before.objects, after.objects),
        ],
    )


def command_of(file: Path) -> list[str]:
    """The words of the command in the first line of a values file.

    It names the file where the run wrote it, which the next run with that inventory overwrites: `file` is a copy, and
    takes its place.
    """
    line = file.read_text(encoding="utf-8").partition("\n")[0]
    assert line.startswith("# helm upgrade "), f"{file}:1: expected a command, found {line}"
    *words, option, path = shlex.split(line.removeprefix("# "))
    assert (option, Path(path).parent.name, Path(path).name) == ("--values", "values", file.name), line
    return [*words, option, str(file)]


def _run(cluster: EmbeddedCluster, command: list[str]) -> subprocess.CompletedProcess[str]:
    tools = {"PATH": f"{cluster.tools / 'bin'}:{os.environ['PATH']}", "KUBECONFIG": str(cluster.paths.kubeconfig)}
    return subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, **tools}, capture_output=True, text=True, timeout=180, check=False
    )


def _state(cluster: EmbeddedCluster) -> _State:
    secrets = cluster.objects("secrets", "--selector=owner=helm,status=deployed")
    wanted = [obj for secret in secrets for obj in _manifest(secret)]
    listed = {"apiVersion": "v1", "kind": "List", "items": wanted}
    # Fails when one of them is missing.
    live = json.loads(cluster.do("get", "--filename", "-", "--output", "json", stdin=json.dumps(listed)))
    labels = [secret["metadata"]["labels"] for secret in secrets]
    return _State(
        revisions={item["name"]: int(item["version"]) for item in labels},
        marks={item["name"]: item.get("inference-platform.io/layer", "") for item in labels},
        objects={_place(obj): _asked_for(obj) for obj in live["items"]},
    )


def _manifest(secret: Object) -> list[Object]:
    """The objects of a stored release, with the namespace that Helm gives those without one."""
    release = decode(secret)
    loaded = yaml.load_all(release.manifest, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    found: list[Object] = [obj for obj in loaded if obj]
    for obj in found:
        obj["metadata"].setdefault("namespace", release.namespace)
    return found


def _place(obj: Object) -> str:
    about = obj["metadata"]
    return f"{obj['kind']} {about.get('namespace', '')}/{about['name']}"


def _asked_for(obj: Object) -> Object:
    """An object without its status and what the server counts: its generation stays, which grows with the spec."""
    metadata = {name: value for name, value in obj["metadata"].items() if name not in _OF_THE_SERVER}
    return {**{name: value for name, value in obj.items() if name != "status"}, "metadata": metadata}


def _differing(what: str, before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    names = sorted(before.keys() | after.keys())
    return [
        f"{what} {name}: expected {before.get(name)}, found {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
    ]
