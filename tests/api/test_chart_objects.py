"""Every chart on a real API server: all its objects are valid there; each is installed, upgraded and removed alone.

The offline checks (tests/rendered) know the schemas of custom resources only. What a Deployment, a Role or a webhook
configuration may say is judged here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster.client import Cluster
from tests.api.conftest import serve_kinds
from tests.rendered.charts import RELEASE_NAMESPACES, Case, Helm, all_cases, label, pod_specs
from tests.support.clusters import EmbeddedCluster, running_cluster

pytestmark = pytest.mark.cluster

Object = dict[str, Any]

#: Each chart with the first values it can be rendered with: its defaults, or those of a file of its folder ci.
ALONE = list({case.chart: case for case in reversed(all_cases())}.values())
OTHER_SECRET = ("--set-json", 'global.imagePullSecrets=["another-pull-secret"]')


@pytest.fixture(scope="module")
def helm(tools_folder: Path) -> Helm:
    return Helm(str(tools_folder / "bin" / "helm"))


@pytest.fixture(scope="module")
def objects(helm: Helm) -> list[Object]:
    """Every object of every case, each once."""
    return list({json.dumps(obj): obj for case in all_cases() for obj in helm.objects(case)}.values())


@pytest.fixture(scope="module")
def server(tools_folder: Path, objects: list[Object]) -> Iterator[EmbeddedCluster]:
    """A cluster with every kind and namespace that charts use, and no node that takes a pod: nothing starts here."""
    with running_cluster(f"test-charts-{os.getpid()}", tools_folder) as cluster:
        groups = {obj["apiVersion"].partition("/")[0] for obj in objects}
        serve_kinds(Cluster.connect(str(cluster.paths.kubeconfig)), cluster, groups)
        cluster.do("cordon", "--selector=kubernetes.io/os=linux")
        for namespace in sorted(set(RELEASE_NAMESPACES.values())):
            cluster.do("create", "namespace", namespace)
        yield cluster


class Judge:
    """Asks the API server what it says to new objects, without storing them."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self._api = cluster.api
        self._kinds = Cluster.connect(str(cluster.paths.kubeconfig))

    def complaints(self, obj: Object) -> str:
        """Why the server refuses the object, or what it warns of; empty when it takes it as it is."""
        kind = self._kinds.resource(obj["apiVersion"], obj["kind"])
        url = f"{self._api.configuration.host}{kind.path(obj['metadata'].get('namespace'))}"
        answer = self._api.rest_client.pool_manager.request(
            "POST",
            f"{url}?dryRun=All&fieldValidation=Strict",
            body=json.dumps(obj),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        words = answer.headers.get("Warning") or "" if answer.status == 201 else json.loads(answer.data)["message"]
        return f"{label(obj)}: {words}" if words else ""


def test_the_server_takes_every_object_of_every_variant(server: EmbeddedCluster, objects: list[Object]) -> None:
    assert {obj["kind"] for obj in objects} >= {"Deployment", "ClusterRole", "MutatingWebhookConfiguration", "Gateway"}
    judge = Judge(server)
    with ThreadPoolExecutor(8) as pool:
        assert [words for words in pool.map(judge.complaints, objects) if words] == []


@pytest.mark.parametrize(
    ("field", "complaint"),
    [({"replikas": 1}, 'unknown field "spec.replikas"'), ({"replicas": -1}, "must be greater than or equal to 0")],
)
def test_an_object_that_is_not_as_the_api_has_it_is_refused(
    server: EmbeddedCluster, objects: list[Object], field: Object, complaint: str
) -> None:
    """The control of the test above."""
    deployment = next(obj for obj in objects if obj["kind"] == "Deployment")
    wrong = {**deployment, "spec": {**deployment["spec"], **field}}
    assert complaint in Judge(server).complaints(wrong)


@pytest.mark.parametrize("case", ALONE, ids=str)
def test_a_chart_is_installed_upgraded_and_removed_alone(server: EmbeddedCluster, helm: Helm, case: Case) -> None:
    wanted = helm.objects(case, *OTHER_SECRET)
    release(server, case, "install")
    assert sorted(map(label, live(server, wanted))) == sorted(map(label, wanted))
    release(server, case, "upgrade", *OTHER_SECRET)
    assert pull_secrets(live(server, wanted)) == pull_secrets(wanted)
    run(server, "uninstall", case.chart, "--namespace", case.namespace, "--wait")
    assert live(server, wanted) == []


# ---- helm and what it made --------------------------------------------------------------------------------


def release(server: EmbeddedCluster, case: Case, verb: str, *arguments: str) -> None:
    """`helm install` or `helm upgrade` of a case under the name of its chart."""
    files = ("--values", str(case.values_file)) if case.values_file else ()
    run(server, verb, case.chart, str(case.folder), "--namespace", case.namespace, *files, *arguments)


def run(server: EmbeddedCluster, *arguments: str) -> None:
    """Runs helm; fails the test when it fails."""
    done = subprocess.run(
        [str(server.tools / "bin" / "helm"), *arguments],
        env={**os.environ, "KUBECONFIG": str(server.paths.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"


def live(server: EmbeddedCluster, objects: list[Object]) -> list[Object]:
    """Those of the objects that the server has, as it has them."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    answer = server.do("get", "--filename", "-", "--ignore-not-found", "--output", "json", stdin=listed)
    if not answer.strip():
        return []
    found = json.loads(answer)
    items: list[Object] = found["items"] if found["kind"] == "List" else [found]
    return items


def pull_secrets(objects: list[Object]) -> dict[str, list[Object] | None]:
    """The imagePullSecrets of every ServiceAccount and workload."""
    accounts = {label(obj): obj.get("imagePullSecrets") for obj in objects if obj["kind"] == "ServiceAccount"}
    return accounts | {name: spec.get("imagePullSecrets") for name, spec in pod_specs(objects)}
