"""Helm releases: what counts as a difference, what helm is told, what its errors become.

Helm itself is a small script here that notes how it was called; the real one is used in tests/api.
"""

from __future__ import annotations

import base64
import datetime
import gzip
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster import deletion, helm, release
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.release import Release, ReleaseError
from tests.unit.cluster.fake_api import FakeApi

TEMPLATE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '{{ .Values.a }}'}\n"
MANIFEST = "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: b\n"
WIDGETS = MANIFEST + "---\napiVersion: example.org/v1\nkind: Widget\nmetadata:\n  name: w\nspec:\n  size: 1\n"

SCRIPT = f"""#!{sys.executable}
import json, os, pathlib, sys
home = pathlib.Path(os.environ["FAKE_HELM"])
if sys.argv[1] == "version":
    print("v3.19.0")
    raise SystemExit
call = dict(args=sys.argv[1:], values=json.load(sys.stdin), kubeconfig=os.environ.get("KUBECONFIG"))
calls = json.loads((home / "calls").read_text()) + [call]
(home / "calls").write_text(json.dumps(calls))
errors = json.loads((home / "errors").read_text())
if errors:
    (home / "errors").write_text(json.dumps(errors[1:]))
    sys.exit(errors[0])
manifest = (home / "manifest").read_text()
print(manifest if sys.argv[1] == "template" else json.dumps(dict(manifest=manifest, version=9)))
"""


class FakeHelm:
    """The script, what it will answer, and how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, str(folder / "helm")
        Path(self.path).write_text(SCRIPT)
        os.chmod(self.path, stat.S_IRWXU)
        self.answer(MANIFEST)
        (folder / "calls").write_text("[]")

    def answer(self, manifest: str, *errors: str) -> None:
        (self.folder / "manifest").write_text(manifest)
        (self.folder / "errors").write_text(json.dumps(errors))

    @property
    def calls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.folder / "calls").read_text())
        return found

    @property
    def upgrades(self) -> list[dict[str, Any]]:
        return [call for call in self.calls if call["args"][0] == "upgrade"]


@pytest.fixture
def fake_helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHelm:
    folder = tmp_path / "fake-helm"
    folder.mkdir()
    monkeypatch.setenv("FAKE_HELM", str(folder))
    return FakeHelm(folder)


@pytest.fixture
def wanted(tmp_path: Path) -> Release:
    """A release of a chart with one template."""
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: x\nversion: 1.0.0\n")
    (chart / "values.yaml").write_text("a: b\nnothing: null\n")
    (chart / "values.schema.json").write_text("{}")
    (chart / "README.md").write_text("About.")
    (chart / "templates" / "c.yaml").write_text(TEMPLATE)
    return Release("x", "n", chart, {"a": "b", "list": [1, {"k": 2}]})


def record(
    wanted: Release, *, status: str = "deployed", revision: int = 1, manifest: str = MANIFEST, age: float = 5
) -> Any:
    """Helm's Secret for the release as it is in the chart folder now."""
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
    chart = release.load_chart(wanted.chart)
    body = {
        "name": wanted.name,
        "namespace": wanted.namespace,
        "version": revision,
        "info": {"status": status, "last_deployed": began.isoformat().replace("+00:00", "123Z")},
        "chart": {
            "metadata": chart.metadata,
            "templates": [{"name": n, "data": base64.b64encode(d).decode()} for n, d in chart.templates.items()],
            "values": chart.values,
            "schema": base64.b64encode(chart.schema).decode(),
            "files": [{"name": "README.md", "data": base64.b64encode(b"Older.").decode()}],
        },
        "config": wanted.values,
        "manifest": manifest,
    }
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(body).encode()))).decode()
    labels = {"owner": "helm", "name": wanted.name, "status": status, "version": str(revision)}
    name = f"sh.helm.release.v1.{wanted.name}.v{revision}"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {"name": name, "namespace": wanted.namespace, "labels": labels},
        "data": {"release": packed},
    }


def live(kind: str = "ConfigMap", name: str = "c", **more: Any) -> dict[str, Any]:
    api_version = "v1" if kind == "ConfigMap" else "example.org/v1"
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "n"}, **more}


@pytest.fixture
def installed(api: FakeApi, wanted: Release) -> Release:
    """The release installed, its object there."""
    api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    api.put(record(wanted))
    api.put(live(data={"a": "b"}))
    return wanted


def test_an_unchanged_release_costs_a_few_reads_and_no_helm(
    api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm
) -> None:
    cluster.discovery()
    api.requests.clear()
    result = release.install(cluster, installed, helm=fake_helm.path)
    assert (result.changed, result.action, result.revision) == (False, "unchanged", 1)
    assert fake_helm.calls == []
    assert [r.method for r in api.requests] == ["GET", "GET", "GET"]


def test_a_first_install_calls_helm_with_values_by_standard_input(
    cluster: Cluster, wanted: Release, fake_helm: FakeHelm
) -> None:
    result = release.install(cluster, wanted, helm=fake_helm.path)
    assert (result.action, result.revision, [str(c) for c in result.changes]) == (
        "install",
        9,
        ["create ConfigMap n/c"],
    )
    [call] = fake_helm.calls
    assert call["values"] == wanted.values
    assert call["kubeconfig"] == cluster.access.paths
    assert call["args"][:3] == ["upgrade", "--install", "x"]
    for pair in (("--namespace", "n"), ("--values", "-"), ("--history-max", "5"), ("--kube-context", "unit")):
        assert call["args"][call["args"].index(pair[0]) + 1] == pair[1]
    assert "--disable-openapi-validation" in call["args"]
    assert "--wait" not in call["args"]


def test_what_somebody_else_made_is_taken_over_only_when_told_so(
    cluster: Cluster, wanted: Release, fake_helm: FakeHelm
) -> None:
    release.install(cluster, wanted, helm=fake_helm.path)
    release.install(cluster, wanted, helm=fake_helm.path, adopt=True)
    assert ["--take-ownership" in call["args"] for call in fake_helm.upgrades] == [False, True]


TAKEN = 'Error: ConfigMap "c" in namespace "n" exists and cannot be imported into the current release'


@pytest.mark.parametrize("adopt", [False, True])
def test_what_is_being_deleted_is_waited_for(
    api: FakeApi, cluster: Cluster, wanted: Release, fake_helm: FakeHelm, adopt: bool
) -> None:
    old = live(data={})
    old["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.org/x"]}
    api.put(old)
    fake_helm.answer(MANIFEST, *([] if adopt else [TAKEN]))
    told: list[str] = []

    def sleep(_seconds: float) -> None:
        if len(told) == 2:
            api.remove("ConfigMap", "c", "n")

    def on_wait(_elapsed: float, what: str) -> None:
        told.append(what)

    result = release.install(cluster, wanted, helm=fake_helm.path, sleep=sleep, on_wait=on_wait, adopt=adopt)
    assert (result.action, told) == ("install", ["ConfigMap n/c to be deleted"] * 2)
    assert len(fake_helm.upgrades) == (1 if adopt else 2)


def test_what_is_not_deleted_in_time_is_named_with_its_finalizers(
    api: FakeApi, cluster: Cluster, wanted: Release, fake_helm: FakeHelm
) -> None:
    old = live(data={})
    old["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.org/x"]}
    api.put(old)
    fake_helm.answer(MANIFEST, TAKEN)
    naps: list[float] = []
    with pytest.raises(ReleaseError, match=r"ConfigMap n/c, finalizers example\.org/x"):
        release.install(cluster, wanted, helm=fake_helm.path, sleep=naps.append)
    assert (len(fake_helm.upgrades), sum(naps)) == (1, deletion.SECONDS)


LWS = """---
apiVersion: operator.openshift.io/v1
kind: LeaderWorkerSetOperator
metadata: {name: cluster}
spec: {managementState: %s}
"""


@pytest.mark.parametrize("manifest", [MANIFEST, MANIFEST + LWS % "Removed"], ids=["left out", "set to Removed"])
@pytest.mark.parametrize("check", [False, True])
def test_an_upgrade_that_takes_other_things_with_it_is_refused_before_helm_runs(
    api: FakeApi, cluster: Cluster, wanted: Release, fake_helm: FakeHelm, manifest: str, check: bool
) -> None:
    api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    api.kinds.append(("operator.openshift.io/v1", "LeaderWorkerSetOperator", "leaderworkersetoperators", False))
    api.put(record(wanted, manifest=MANIFEST + LWS % "Managed"))
    fake_helm.answer(manifest)
    other = Release(wanted.name, wanted.namespace, wanted.chart, {"a": "c"})
    with pytest.raises(ReleaseError, match="every LeaderWorkerSet of the cluster would be deleted"):
        release.install(cluster, other, helm=fake_helm.path, check=check)
    assert [call["args"][0] for call in fake_helm.calls] == ["template"]


def test_an_upgrade_that_keeps_what_others_depend_on_goes_on(
    api: FakeApi, cluster: Cluster, wanted: Release, fake_helm: FakeHelm
) -> None:
    api.kinds.append(("operator.openshift.io/v1", "LeaderWorkerSetOperator", "leaderworkersetoperators", False))
    api.put(record(wanted, manifest=MANIFEST + LWS % "Managed"))
    fake_helm.answer(MANIFEST + LWS % "Managed")
    other = Release(wanted.name, wanted.namespace, wanted.chart, {"a": "c"})
    assert release.install(cluster, other, helm=fake_helm.path).action == "upgrade"


ENGINE = """---
apiVersion: infrastructure.opendatahub.io/v1alpha1
kind: AzureKubernetesEngine
metadata: {name: default}
spec: {dependencies: {lws: {managementPolicy: %s}}}
"""


def test_a_dependency_is_taken_from_the_cloud_manager_only_where_the_inventory_lets_it_go(
    api: FakeApi, cluster: Cluster, wanted: Release, fake_helm: FakeHelm
) -> None:
    kind = ("infrastructure.opendatahub.io/v1alpha1", "AzureKubernetesEngine", "azurekubernetesengines", False)
    api.kinds.append(kind)
    api.put(record(wanted, manifest=ENGINE % "Managed"))
    fake_helm.answer(ENGINE % "Unmanaged")
    other = Release(wanted.name, wanted.namespace, wanted.chart, {"a": "c"})
    with pytest.raises(ReleaseError, match=r"unless ownership_let_go: \[lws\] permits that"):
        release.install(cluster, other, helm=fake_helm.path, let_go=["sail"])
    assert fake_helm.upgrades == []
    assert release.install(cluster, other, helm=fake_helm.path, let_go=["lws"]).action == "upgrade"
    assert len(fake_helm.upgrades) == 1


def test_check_mode_renders_locally_and_writes_nothing(
    api: FakeApi, cluster: Cluster, wanted: Release, fake_helm: FakeHelm
) -> None:
    result = release.install(cluster, wanted, helm=fake_helm.path, check=True)
    assert (result.changed, result.action) == (True, "install")
    assert "+  a: b" in result.diff
    assert fake_helm.calls[0]["args"][0] == "template"
    assert api.writes() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: (c / "templates" / "c.yaml").write_text("# other"), "templates differ: templates/c.yaml"),
        (lambda c: (c / "templates" / "d.yaml").write_text(""), "templates differ: templates/d.yaml"),
        (lambda c: (c / "templates" / "c.yaml").unlink(), "templates differ: templates/c.yaml"),
        (lambda c: (c / "values.yaml").write_text("a: z"), "the chart's default values differ"),
        (lambda c: (c / "values.schema.json").write_text("{} "), "the chart's values schema differs"),
        (
            lambda c: (c / "Chart.yaml").write_text("apiVersion: v2\nname: x\nversion: 1.1.0\n"),
            "Chart.yaml differs (version 1.0.0 installed, 1.1.0 wanted)",
        ),
    ],
)
def test_any_change_of_the_chart_is_an_upgrade(
    cluster: Cluster, installed: Release, fake_helm: FakeHelm, change: Any, reason: str
) -> None:
    change(installed.chart)
    for check in (True, False):
        result = release.install(cluster, installed, helm=fake_helm.path, check=check)
        assert (result.action, result.reasons) == ("upgrade", [reason])


def test_a_changed_readme_is_no_change_unless_templates_read_files(wanted: Release) -> None:
    stored = release.decode(record(wanted))
    assert release.reasons(stored, release.load_chart(wanted.chart), wanted.values) == []
    (wanted.chart / "templates" / "c.yaml").write_text('{{ .Files.Get "README.md" }}')
    stored = release.decode(record(wanted))
    assert release.reasons(stored, release.load_chart(wanted.chart), wanted.values) == ["files of the chart differ"]


@pytest.mark.parametrize(
    ("values", "reasons"),
    [
        ({"a": "b", "list": [1.0, {"k": 2}]}, []),
        ({"a": "b", "list": [1, {"k": 2}], "n": None}, []),
        ({"a": "z", "list": [1, {"k": 2}]}, ["values differ: a"]),
        ({"list": [1, {"k": 3}], "m": {"x": "s3cret"}}, ["values differ: a, list, m"]),
    ],
)
def test_values_are_compared_and_only_their_names_are_told(
    wanted: Release, values: dict[str, Any], reasons: list[str]
) -> None:
    stored = release.decode(record(wanted))
    assert release.reasons(stored, release.load_chart(wanted.chart), values) == reasons


def test_a_missing_object_is_an_upgrade(
    api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm
) -> None:
    del api.objects[("v1", "ConfigMap", "n", "c")]
    predicted = release.install(cluster, installed, helm=fake_helm.path, check=True)
    done = release.install(cluster, installed, helm=fake_helm.path)
    for result in (predicted, done):
        assert (result.action, result.reasons) == ("upgrade", ["ConfigMap n/c is missing"])
        assert [str(c) for c in result.changes] == ["create ConfigMap n/c"]


def test_a_changed_field_of_a_built_in_kind_is_an_upgrade(
    api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm
) -> None:
    api.put(live(data={"a": "edited"}))
    result = release.install(cluster, installed, helm=fake_helm.path)
    assert result.reasons == ["ConfigMap n/c was changed: data.a"]
    assert "-  a: edited" in result.diff
    assert "+  a: b" in result.diff
    assert len(fake_helm.calls) == 1


def test_a_changed_field_of_a_custom_resource_is_patched_without_helm(
    api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm
) -> None:
    api.put(record(installed, revision=2, manifest=WIDGETS))
    api.put(live("Widget", "w", spec={"size": 7, "theirs": True}))
    predicted = release.install(cluster, installed, helm=fake_helm.path, check=True)
    assert api.writes() == []
    done = release.install(cluster, installed, helm=fake_helm.path)
    for result in (predicted, done):
        assert (result.action, [str(c) for c in result.changes]) == ("repair", ["update Widget n/w"])
    assert api.stored("Widget", "w", "n")["spec"] == {"size": 1, "theirs": True}
    assert fake_helm.calls == []
    assert not release.install(cluster, installed, helm=fake_helm.path).changed


def test_a_field_that_an_operator_has_taken_over_is_left_alone_and_noted(
    api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm
) -> None:
    obj = live(data={"a": "theirs"})
    entry = {"manager": "engine", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}}
    obj["metadata"]["managedFields"] = [entry]
    api.put(obj)
    result = release.install(cluster, installed, helm=fake_helm.path)
    assert not result.changed
    assert result.notes == ["ConfigMap n/c: data.a is now managed by engine; left alone."]


def test_a_webhook_that_always_sets_a_field_back_is_no_change(
    api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm
) -> None:
    api.put(live(data={"a": "always"}))

    def webhook(obj: dict[str, Any]) -> None:
        obj["data"]["a"] = "always"

    api.mutate = webhook
    assert not release.install(cluster, installed, helm=fake_helm.path).changed
    assert api.writes() == []


def test_the_newest_revision_counts(api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm) -> None:
    api.put(record(installed, revision=10))
    api.put(record(installed, revision=9, status="superseded"))
    assert release.install(cluster, installed, helm=fake_helm.path).revision == 10


def test_an_uninstalled_release_is_installed_anew(
    api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm
) -> None:
    api.put(record(installed, revision=2, status="uninstalled"))
    assert release.install(cluster, installed, helm=fake_helm.path).action == "install"


def test_a_failed_release_is_upgraded(api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm) -> None:
    api.put(record(installed, revision=2, status="failed"))
    result = release.install(cluster, installed, helm=fake_helm.path)
    assert (result.action, result.reasons) == ("upgrade", ["revision 2 failed"])


def test_a_young_pending_release_is_waited_for(
    api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm
) -> None:
    api.put(record(installed, revision=2, status="pending-upgrade"))
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            api.put(record(installed, revision=2))

    result = release.install(cluster, installed, helm=fake_helm.path, sleep=sleep)
    assert (naps, result.action, result.notes) == ([1.0, 1.0, 1.0], "unchanged", [])


@pytest.mark.parametrize("status", ["pending-install", "pending-upgrade", "pending-rollback"])
def test_an_old_pending_release_is_marked_failed_and_upgraded(
    api: FakeApi, cluster: Cluster, installed: Release, fake_helm: FakeHelm, status: str
) -> None:
    api.put(record(installed, revision=2, status=status, age=3600))
    predicted = release.install(cluster, installed, helm=fake_helm.path, check=True)
    assert predicted.action == "upgrade"
    assert api.writes() == []
    result = release.install(cluster, installed, helm=fake_helm.path)
    assert result.action == "upgrade"
    assert f"revision 2 was left {status} by an interrupted run" in result.notes[0]
    secret = api.stored("Secret", "sh.helm.release.v1.x.v2", "n")
    assert secret["metadata"]["labels"]["status"] == "failed"
    assert release.decode(secret).status == "failed"


def test_a_transient_helm_error_is_tried_again(cluster: Cluster, wanted: Release, fake_helm: FakeHelm) -> None:
    fake_helm.answer(MANIFEST, 'Error: Internal error occurred: failed calling webhook "x"')
    naps: list[float] = []
    assert release.install(cluster, wanted, helm=fake_helm.path, sleep=naps.append).changed
    assert naps == [1.0]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
            "an operation older than 60 s is then ended",
        ),
        (
            'Error: INSTALLATION FAILED: ServiceAccount "a" in namespace "n" exists and cannot be imported into the '
            "current release: invalid ownership metadata",
            "made by something else. Make the layer `external`",
        ),
        (
            'Error: admission webhook "v" denied the request: spec.size: too big',
            'admission webhook "v" denied the request: spec.size: too big. An admission rule',
        ),
        ('Error: resource mapping not found: no matches for kind "Istio"', "The CRD of this kind is not installed"),
        ("Error: values don't meet the specifications of the schema(s): x", "correct the inventory variable"),
        ("Error: something new", "Look at `helm history x --namespace n`"),
    ],
)
def test_helm_errors_say_what_to_do(
    cluster: Cluster, wanted: Release, fake_helm: FakeHelm, said: str, expected: str
) -> None:
    fake_helm.answer(MANIFEST, *[said] * 5)
    with pytest.raises(ReleaseError) as caught:
        release.install(cluster, wanted, helm=fake_helm.path, sleep=lambda _: None)
    assert str(caught.value).startswith("release n/x: Error:")
    assert expected in str(caught.value)
    assert len(fake_helm.upgrades) == 1


def test_helm_errors_show_no_noise_and_no_secrets(wanted: Release) -> None:
    stderr = (
        "WARNING: Kubernetes configuration file is readable\nW0101 00:00:00 warn\nError: password=hunter2 rejected\n"
    )
    text = helm.explain(wanted, stderr, "no-such-helm")
    assert "release n/x: Error: password=<hidden> rejected" in text
    assert "WARNING" not in text
    assert "W0101" not in text


def test_helm_is_found_by_argument_variable_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {}
    for name in ("argument", "variable", "path"):
        folder = tmp_path / name
        folder.mkdir()
        paths[name] = folder / "helm"
        paths[name].write_text("#!/bin/sh\n")
        paths[name].chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.delenv("INFERENCE_PLATFORM_HELM", raising=False)
    assert helm.find() == str(paths["path"])
    monkeypatch.setenv("INFERENCE_PLATFORM_HELM", str(paths["variable"]))
    assert helm.find() == str(paths["variable"])
    assert helm.find(str(paths["argument"])) == str(paths["argument"])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert helm.find("~/argument/helm") == str(paths["argument"])
    monkeypatch.delenv("INFERENCE_PLATFORM_HELM")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ReleaseError, match=r"Expected helm on PATH, found none\. Install Helm 3\.17 or newer"):
        helm.find()


def test_a_damaged_record_is_named(api: FakeApi, cluster: Cluster, wanted: Release) -> None:
    secret = record(wanted)
    secret["data"]["release"] = "!!!"
    api.put(secret)
    with pytest.raises(ReleaseError, match=r"Secret n/sh\.helm\.release\.v1\.x\.v1: expected a Helm 3 release record"):
        release.install(cluster, wanted, helm="helm")


@pytest.mark.parametrize("folder", ["empty", "subcharts"])
def test_a_folder_that_is_no_plain_chart_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "subcharts" / "charts").mkdir(parents=True)
    (tmp_path / "subcharts" / "Chart.yaml").write_text("name: x")
    with pytest.raises(ReleaseError, match="expected a chart"):
        release.load_chart(tmp_path / folder)


def test_cluster_scoped_objects_get_no_namespace(cluster: Cluster) -> None:
    manifest = "kind: Namespace\napiVersion: v1\nmetadata: {name: a}\n---\n# nothing\n---\n" + MANIFEST
    found = release.parse_manifest(manifest, "n", cluster)
    assert [(o["kind"], o["metadata"].get("namespace")) for o in found] == [("Namespace", None), ("ConfigMap", "n")]
