"""The helm program: finding it, running it, and saying what its errors mean.

Values go in by standard input and the cluster's login by KUBECONFIG, so nothing secret is in a file we write, in the
process list, or in the environment beyond what the user's kubeconfig names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_platform.cluster import errors, redact, secrets
from inference_platform.cluster.client import Cluster

VARIABLE = "INFERENCE_PLATFORM_HELM"
OLDEST = (3, 17)
#: On the Secrets in which Helm records our releases of charts that others publish.
LAYER_LABEL = "inference-platform.io/layer"
STALE_SECONDS = 60.0  # a pending operation older than this was interrupted: without --wait helm ends in seconds
_SECONDS = 300
_ATTEMPTS = 4
_HISTORY = 5


class ReleaseError(errors.ClusterError):
    """A release could not be installed; the message has helm's reason and what to do."""


class TakenNameError(ReleaseError):
    """Objects that the release wants to create are there and not of this release."""


@dataclass(frozen=True)
class Release:
    """A release as wanted: its name and namespace, the chart's folder, and the values for it.

    ``layer`` marks Helm's own record of a release whose chart puts no label of ours on its objects.
    """

    name: str
    namespace: str
    chart: Path
    values: Mapping[str, Any]
    layer: str = ""

    def __str__(self) -> str:
        return f"release {self.namespace}/{self.name}"


def find(explicit: str | None = None) -> str:
    """Path of the helm program: the argument, $INFERENCE_PLATFORM_HELM, or PATH.  Raises ReleaseError."""
    named = explicit or os.environ.get(VARIABLE)
    found = shutil.which(os.path.expanduser(named or "helm"))
    if not found:
        what = f"the helm program {named}" if named else "helm on PATH"
        raise ReleaseError(
            f"Expected {what}, found none. Install Helm {OLDEST[0]}.{OLDEST[1]} or newer "
            f"(https://helm.sh/docs/intro/install), or set {VARIABLE} to its path."
        )
    return found


def environment() -> dict[str, str]:
    """The environment for helm: ours without the content of a pull secret."""
    return {name: value for name, value in os.environ.items() if name != secrets.VARIABLE}


def version(program: str) -> tuple[int, int] | None:
    """(major, minor) of a helm program, None when it does not say."""
    try:
        done = subprocess.run(
            [program, "version", "--template", "{{.Version}}"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"v(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else None


def upgrade(
    program: str, cluster: Cluster, release: Release, sleep: Callable[[float], None], *, adopt: bool = False
) -> tuple[str, int]:
    """Runs `helm upgrade --install`, again after transient errors; the manifest and revision that are now installed.

    adopt  take over objects of other releases, or of none

    Raises ReleaseError, TakenNameError of its kinds.
    """
    command = [
        *(program, "upgrade", "--install", release.name, str(release.chart), "--namespace", release.namespace),
        *("--values", "-", "--history-max", str(_HISTORY), "--disable-openapi-validation", "--output", "json"),
        *(("--take-ownership",) if adopt else ()),
        *(("--labels", f"{LAYER_LABEL}={release.layer}") if release.layer else ()),
        *(("--kube-context", cluster.access.context) if cluster.access.context else ()),
    ]
    for attempt in range(1, _ATTEMPTS + 1):
        done = _run(command, cluster, release)
        if done.returncode == 0:
            body = json.loads(done.stdout)
            return str(body.get("manifest") or ""), int(body.get("version") or 0)
        if attempt == _ATTEMPTS or not _is_transient(done.stderr):
            break
        sleep(float(2 ** (attempt - 1)))
    kind = TakenNameError if re.search(_TAKEN, done.stderr) else ReleaseError
    raise kind(explain(release, done.stderr, program))


def template(program: str, cluster: Cluster, release: Release, *, upgrade: bool) -> str:
    """The manifest that the release would have, from `helm template`: no request to the cluster."""
    command = [program, "template", release.name, str(release.chart), "--namespace", release.namespace, "--values", "-"]
    if upgrade:
        command.append("--is-upgrade")
    server = str(cluster.version.get("gitVersion", ""))
    if re.match(r"v[1-9]\d*\.\d+", server):
        command += ["--kube-version", server]
    done = _run(command, cluster, release)
    if done.returncode != 0:
        raise ReleaseError(explain(release, done.stderr, program))
    return done.stdout


def _run(command: list[str], cluster: Cluster, release: Release) -> subprocess.CompletedProcess[str]:
    variables = {**environment(), "HELM_QPS": "200", "HELM_BURST_LIMIT": "400", "HELM_DRIVER": "secret"}
    if cluster.access.paths:
        variables["KUBECONFIG"] = cluster.access.paths
    for inherited in ("HELM_NAMESPACE", "HELM_KUBECONTEXT", "HELM_KUBEAPISERVER", "HELM_KUBETOKEN"):
        variables.pop(inherited, None)
    try:
        return subprocess.run(
            command,
            input=json.dumps(release.values),
            env=variables,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ReleaseError(
            f"{release}: helm did not end within {_SECONDS} s. Check that the API server answers "
            "(`kubectl get --raw /readyz`), then re-run."
        ) from None
    except OSError as error:
        raise ReleaseError(f"{release}: {command[0]} cannot be run ({error.strerror}).") from None


_TRANSIENT = re.compile(
    r"failed calling webhook|connection refused|connection reset|i/o timeout|TLS handshake timeout|etcdserver:|EOF$"
    r"|the server is currently unable|Too Many Requests|the object has been modified|no endpoints available",
    re.IGNORECASE | re.MULTILINE,
)

_TAKEN = r"invalid ownership metadata|exists and cannot be imported"
# (pattern in helm's message, what to do); the first that fits is used.
_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"another operation .* is in progress",
        "Another run works on this release, or one was cut off: wait a minute and re-run; an operation older than "
        f"{STALE_SECONDS:.0f} s is then ended and repeated.",
    ),
    (
        _TAKEN,
        "The object named above was made by something else. Make the layer `external` to use what is there, or remove "
        "that object.",
    ),
    (
        r"don't meet the specifications of the schema",
        "The values do not fit the chart's values.schema.json: correct the inventory variable behind the value named "
        "above.",
    ),
    (r"no matches for kind", "The CRD of this kind is not installed: run the layers before this one first."),
    (
        r"failed calling webhook",
        "The webhook named above does not answer: look at the pods behind its Service, and at its certificate.",
    ),
    (r"denied the request", "An admission rule of the cluster refused the object named above."),
    (
        r"field is immutable",
        "This field cannot change on an existing object: delete the object named above (it is created anew), re-run.",
    ),
    (r"is forbidden", "The kubeconfig's user lacks a right; the installer needs cluster-admin."),
    (r"cluster unreachable|connection refused|no such host", "The API server cannot be reached; check it and re-run."),
    (r"namespaces \"[^\"]+\" not found", "The namespace is missing: run the layer `namespaces` first."),
    (r"unknown flag", f"This helm is too old; use {OLDEST[0]}.{OLDEST[1]} or newer."),
)


_NOISE = ("W1", "W0", "I1", "I0", "E1", "E0", "level=", "WARNING")  # klog lines and helm's warnings about file modes


def _is_transient(stderr: str) -> bool:
    return bool(_TRANSIENT.search(stderr)) and "denied the request" not in stderr


def explain(release: Release, stderr: str, program: str = "helm") -> str:
    """Helm's error for a person: its last words without noise and secrets, and what to do."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith(_NOISE)]
    start = next((i for i, line in enumerate(lines) if line.startswith("Error")), 0)
    said = redact.text(" ".join(lines[start:]))[:1200] or "no message"
    remedy = next((text for pattern, text in _REMEDIES if re.search(pattern, said, re.IGNORECASE)), "")
    remedy = remedy or f"Look at `helm history {release.name} --namespace {release.namespace}`, then re-run."
    found = version(program)
    if found and found < OLDEST:
        remedy += f" (helm {found[0]}.{found[1]} found; {OLDEST[0]}.{OLDEST[1]} or newer expected.)"
    return f"{release}: {said.rstrip('.')}. {remedy}"
