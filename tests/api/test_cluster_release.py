"""Helm releases with the real helm on a real API server: unchanged, changed, drifted, interrupted."""

from __future__ import annotations

import base64
import datetime
import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster import crds, release
from inference_platform.cluster.apply import apply
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.release import Release, ReleaseError, ReleaseResult
from tests.api.conftest import serve_kinds
from tests.api.test_cluster_objects import writes
from tests.support.clusters import EmbeddedCluster, wait_for

pytestmark = pytest.mark.cluster

SPACE = "release-test"
CHARTS = Path(__file__).parents[2] / "charts"
FIXED_NAMESPACES = {
    "openshift-gateway": "openshift-ingress",
    "cert-manager-operator": "cert-manager-operator",
    "pki": "cert-manager",
}
GROUP = "release-test.example.org"
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"gears.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "gears", "singular": "gear", "kind": "Gear"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
TEMPLATES = {
    "objects.yaml": f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: sa}}
imagePullSecrets: [{{name: pull}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: role}}
rules:
- {{apiGroups: [""], resources: [pods], verbs: [get, list]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: d, labels: {{app: d}}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: d}}}}
  template:
    metadata: {{labels: {{app: d}}}}
    spec:
      nodeSelector: {{}}
      containers:
      - name: main
        image: {{{{ .Values.image }}}}
        ports: [{{containerPort: 8080}}]
        resources: {{limits: {{cpu: 1000m, memory: 1024Mi}}}}
        securityContext: {{}}
---
apiVersion: {GROUP}/v1
kind: Gear
metadata: {{name: g}}
spec: {{size: {{{{ .Values.size }}}}, empty: {{}}, list: [{{a: 1}}]}}
""",
    "NOTES.txt": "Installed.\n",
}


@pytest.fixture(scope="module")
def cluster(embedded_cluster: EmbeddedCluster) -> Cluster:
    """Our client, with the namespace and a custom kind for the charts."""
    client = Cluster.connect(str(embedded_cluster.paths.kubeconfig))
    apply(client, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, CRD]).raise_errors()
    wait_for("the CRD", lambda: client.discovery(max_age=0.0).serves(f"gears.{GROUP}"))
    return client


@pytest.fixture
def helm(embedded_cluster: EmbeddedCluster) -> str:
    return str(embedded_cluster.tools / "bin" / "helm")


@pytest.fixture
def wanted(tmp_path: Path, embedded_cluster: EmbeddedCluster, helm: str) -> Iterator[Release]:
    """A release of a small chart; uninstalled at the end."""
    chart = tmp_path / "small"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: small\nversion: 1.0.0\nappVersion: '1'\n")
    (chart / "values.yaml").write_text("image: example.org/none\nsize: 1\nbig: 10000000\nflag: true\n")
    (chart / "values.schema.json").write_text('{"type": "object", "properties": {"size": {"type": "integer"}}}')
    for name, content in TEMPLATES.items():
        (chart / "templates" / name).write_text(content)
    yield Release("small", SPACE, chart, {"size": 2})
    subprocess.run(
        [
            helm,
            "--kubeconfig",
            str(embedded_cluster.paths.kubeconfig),
            "uninstall",
            "small",
            "-n",
            SPACE,
            "--ignore-not-found",
        ],
        check=True,
        capture_output=True,
    )


def both(cluster: Cluster, wanted: Release, helm: str) -> ReleaseResult:
    """Installs after check mode, which must have predicted the same; then once more, which must change nothing."""
    predicted = release.install(cluster, wanted, helm=helm, check=True)
    done = release.install(cluster, wanted, helm=helm)
    assert (predicted.action, sorted(map(str, predicted.changes))) == (done.action, sorted(map(str, done.changes)))
    assert release.install(cluster, wanted, helm=helm).action == "unchanged"
    return done


def test_install_then_nothing_then_upgrade(
    cluster: Cluster, embedded_cluster: EmbeddedCluster, wanted: Release, helm: str
) -> None:
    before = writes(embedded_cluster)
    assert release.install(cluster, wanted, helm=helm, check=True).action == "install"
    assert writes(embedded_cluster) == before
    first = both(cluster, wanted, helm)
    assert (first.action, first.revision, len(first.changes)) == ("install", 1, 4)
    before = writes(embedded_cluster)
    assert not release.install(cluster, wanted, helm=helm).changed
    assert not release.install(cluster, wanted, helm=helm, check=True).changed
    assert writes(embedded_cluster) == before
    second = both(cluster, Release("small", SPACE, wanted.chart, {"size": 3}), helm)
    assert (second.action, second.revision) == ("upgrade", 2)
    assert [str(c) for c in second.changes] == [f"update Gear {SPACE}/g"]
    assert second.reasons == ["values differ: size"]


def test_missing_and_edited_objects_are_put_back(cluster: Cluster, wanted: Release, helm: str) -> None:
    release.install(cluster, wanted, helm=helm)
    account = cluster.get("v1", "ServiceAccount", "sa", SPACE)
    assert account is not None
    cluster.delete(account)
    assert [str(c) for c in both(cluster, wanted, helm).changes] == [f"create ServiceAccount {SPACE}/sa"]
    role = cluster.get("rbac.authorization.k8s.io/v1", "Role", "role", SPACE)
    assert role is not None
    cluster.replace({**role, "rules": []})
    assert [str(c) for c in both(cluster, wanted, helm).changes] == [f"update Role {SPACE}/role"]


def test_an_edited_custom_resource_is_put_back_although_helm_would_not(
    cluster: Cluster, wanted: Release, helm: str
) -> None:
    release.install(cluster, wanted, helm=helm)
    gear = cluster.get(f"{GROUP}/v1", "Gear", "g", SPACE)
    assert gear is not None
    cluster.replace({**gear, "spec": {**gear["spec"], "size": 7, "theirs": 1}})
    assert both(cluster, wanted, helm).action == "repair"
    gear = cluster.get(f"{GROUP}/v1", "Gear", "g", SPACE)
    assert gear is not None
    assert gear["spec"] == {"size": 2, "empty": {}, "list": [{"a": 1}], "theirs": 1}
    cluster.replace({**gear, "spec": {**gear["spec"], "size": 8}})
    assert (
        both(cluster, Release("small", SPACE, wanted.chart, {"size": 2, "image": "example.org/b"}), helm).action
        == "upgrade"
    )
    gear = cluster.get(f"{GROUP}/v1", "Gear", "g", SPACE)
    assert gear is not None
    assert gear["spec"]["size"] == 2


def test_a_field_taken_by_an_operator_stays_with_it(cluster: Cluster, wanted: Release, helm: str) -> None:
    release.install(cluster, wanted, helm=helm)
    theirs = {"apiVersion": f"{GROUP}/v1", "kind": "Gear", "metadata": {"name": "g", "namespace": SPACE}}
    cluster.apply({**theirs, "spec": {"size": 9}}, manager="engine", force=True)
    result = release.install(cluster, wanted, helm=helm)
    assert not result.changed
    assert result.notes == [f"Gear {SPACE}/g: spec.size is now managed by engine; left alone."]


def test_a_failed_install_is_repeated(cluster: Cluster, wanted: Release, helm: str) -> None:
    with pytest.raises(ReleaseError, match=r"release-test/small: Error"):
        release.install(cluster, Release("small", SPACE, wanted.chart, {"image": "'"}), helm=helm, sleep=lambda _: None)
    bad = Release("small", SPACE, wanted.chart, {"size": 2, "image": ""})
    with pytest.raises(ReleaseError, match="image"):
        release.install(cluster, bad, helm=helm, sleep=lambda _: None)
    stored = release.read(cluster, "small", SPACE)
    assert stored is not None
    assert stored.status == "failed"
    assert both(cluster, wanted, helm).reasons[0] == f"revision {stored.revision} failed"


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade"])
def test_an_interrupted_run_is_taken_up(cluster: Cluster, wanted: Release, helm: str, status: str) -> None:
    release.install(cluster, wanted, helm=helm)
    if status == "pending-upgrade":
        release.install(cluster, Release("small", SPACE, wanted.chart, {"size": 5}), helm=helm)
    interrupt(cluster, status)
    assert "another operation" in plain_helm_upgrade(cluster, wanted, helm)
    result = release.install(cluster, wanted, helm=helm)
    assert result.action == "upgrade"
    assert f"was left {status} by an interrupted run" in result.notes[0]
    assert release.install(cluster, wanted, helm=helm).action == "unchanged"


def interrupt(cluster: Cluster, status: str) -> None:
    """Makes the newest revision look as a killed helm leaves it, an hour ago."""
    stored = release.read(cluster, "small", SPACE)
    assert stored is not None
    body = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(stored.secret["data"]["release"]))))
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    body["info"] |= {"status": status, "last_deployed": began.isoformat()}
    data = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(body).encode()))).decode()
    metadata = stored.secret["metadata"]
    labels = {**metadata["labels"], "status": status}
    cluster.replace({**stored.secret, "metadata": {**metadata, "labels": labels}, "data": {"release": data}})


def plain_helm_upgrade(cluster: Cluster, wanted: Release, helm: str) -> str:
    """What helm itself says to an upgrade."""
    done = subprocess.run(
        [helm, "--kubeconfig", cluster.access.paths, "upgrade", "small", str(wanted.chart), "-n", SPACE],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr


def test_an_object_of_somebody_else_is_not_taken(cluster: Cluster, wanted: Release, helm: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa", "namespace": SPACE}}
    cluster.apply(account, manager="somebody")
    with pytest.raises(ReleaseError, match=r'ServiceAccount "sa".*made by something else.*`external`'):
        release.install(cluster, wanted, helm=helm, sleep=lambda _: None)
    cluster.delete(account)


def test_a_bad_value_is_named_before_anything_is_written(
    cluster: Cluster, embedded_cluster: EmbeddedCluster, wanted: Release, helm: str
) -> None:
    before = writes(embedded_cluster)
    bad = Release("small", SPACE, wanted.chart, {"size": "two"})
    for check in (True, False):
        with pytest.raises(ReleaseError, match=r"(?s)/?size.*correct the inventory variable"):
            release.install(cluster, bad, helm=helm, check=check)
    assert writes(embedded_cluster) == before


@pytest.fixture(scope="module")
def all_kinds(cluster: Cluster, embedded_cluster: EmbeddedCluster) -> Iterator[None]:
    """Every kind that our charts use is served; what was not there before goes at the end."""
    added = serve_kinds(cluster, embedded_cluster)
    yield
    for name in added:
        cluster.delete({"apiVersion": crds.API_VERSION, "kind": crds.KIND, "metadata": {"name": name}})
    # The next module may make them again, which must not meet the deletion of these. The API server takes its time for
    # some seventy of them, on a busy machine minutes.
    wait_for(
        "the CRDs to be gone",
        lambda: not any(cluster.get(crds.API_VERSION, crds.KIND, name) for name in added),
        seconds=300,
    )


@pytest.mark.usefixtures("all_kinds")
@pytest.mark.parametrize("chart", sorted(path.parent.name for path in CHARTS.glob("*/Chart.yaml")))
def test_each_of_our_charts_is_recognised_in_what_helm_stores(
    chart: str, helm: str, embedded_cluster: EmbeddedCluster
) -> None:
    cases = sorted((CHARTS / chart / "ci").glob("*.yaml"))
    more = ["--values", str(cases[0])] if cases else []
    more += ["--namespace", FIXED_NAMESPACES.get(chart, "default")]
    done = subprocess.run(
        [helm, "install", chart, str(CHARTS / chart), "--dry-run=client", "--output", "json", *more],
        env={"KUBECONFIG": str(embedded_cluster.paths.kubeconfig), "HOME": str(embedded_cluster.paths.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    body["info"]["status"] = "deployed"
    stored = release.StoredRelease(
        chart, "default", 1, "deployed", body["chart"], body.get("config") or {}, body["manifest"], None, {}
    )
    assert release.reasons(stored, release.load_chart(CHARTS / chart), stored.config) == []
