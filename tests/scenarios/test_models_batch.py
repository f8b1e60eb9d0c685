"""playbooks/models.yml with many models on a real API server: what is written, and what is left alone.

The cluster has the CRDs and no controllers, so that only the installer acts.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scenarios.conftest import INVENTORIES, Start
from tests.support.audit import AuditMark
from tests.support.clusters import EmbeddedCluster, wait_for
from tests.support.flaky_server import flaky
from tests.support.playbook import Project, Run, started

pytestmark = pytest.mark.cluster

COUNT = 40
MODELS = "llminferenceservices"


@pytest.fixture(scope="module")
def bare(start_cluster: Start) -> Iterator[EmbeddedCluster]:
    """A cluster with the kinds of the platform and nothing that acts on them."""
    with start_cluster("models") as cluster:
        for name in ("gateway-api", "inference-extension", "kserve-llmisvc"):
            files = str(cluster.tools / "crds" / name)
            cluster.do("apply", "--server-side", "--field-manager=inference-platform", "--filename", files)
        wait_for("the kind of models", lambda: cluster.kubectl("get", MODELS, "--all-namespaces").returncode == 0)
        cluster.do("create", "namespace", "redhat-ods-applications")
        yield cluster


@pytest.fixture
def inventory(bare: EmbeddedCluster, tmp_path: Path) -> Iterator[Path]:
    """An inventory with many models; at the end nothing of it is left in the cluster."""
    folder = Path(shutil.copytree(INVENTORIES / "local", tmp_path / "inventories" / "many"))
    write(folder, models(COUNT))
    yield folder
    bare.do("delete", MODELS, "--all", "--all-namespaces")


def models(count: int) -> list[dict[str, Any]]:
    return [
        {
            "name": f"m{number:02}",
            "namespace": f"team-{number % 3}",
            "uri": f"hf://someone/model-{number}",
            "replicas": 0,
            "gpu": {"count": 1},
            "args": ["--max-num-seqs", str(number + 1)],
        }
        for number in range(count)
    ]


def write(folder: Path, entries: list[dict[str, Any]], **more: Any) -> None:
    content = {"models": entries, "models_wait": False, **more}
    path = folder / "group_vars" / "all" / "30-models.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def play(cluster: EmbeddedCluster, inventory: Path, *arguments: str, **variables: Any) -> Run:
    # The cluster has the kinds of the platform and nothing else of it, as if it were still to come.
    given = {"platform_installs": True, **variables}
    return Project().play(
        "-i", str(inventory), "playbooks/models.yml", *arguments, cluster=cluster.paths.name, variables=given
    )


def versions(cluster: EmbeddedCluster) -> dict[str, str]:
    """resourceVersion of every model, by namespace/name."""
    found = [item["metadata"] for item in cluster.objects(MODELS)]
    return {f"{item['namespace']}/{item['name']}": item["resourceVersion"] for item in found}


def writes(mark: AuditMark) -> list[str]:
    """What the installer wrote since, as "verb last-part-of-the-path"."""
    found = [request for request in mark.installer_requests() if request.is_write and not request.is_of_the_lock]
    return [f"{request.verb} {request.uri.partition('?')[0].rpartition('/')[2]}" for request in found]


@pytest.fixture
def applied(bare: EmbeddedCluster, inventory: Path) -> Path:
    """The inventory, with its models applied."""
    run = play(bare, inventory)
    assert run.exit_code == 0, run
    assert f"{COUNT} created" in run.text
    assert len(versions(bare)) == COUNT
    return inventory


def test_nothing_changed_reads_and_does_not_write(bare: EmbeddedCluster, applied: Path) -> None:
    mark = AuditMark.now(bare.paths.audit_log)
    run = play(bare, applied)
    assert run.recap["changed"] == 0, run
    assert writes(mark) == []
    lists = [r.uri for r in mark.installer_requests() if r.verb == "list" and f"/{MODELS}?" in r.uri]
    assert len(lists) == 3, "one each of preflight, the batch and the report"
    assert [r for r in mark.installer_requests() if r.verb == "get" and f"/{MODELS}/" in r.uri] == []


def test_changing_one_of_many_writes_one_object(bare: EmbeddedCluster, applied: Path) -> None:
    entries = models(COUNT)
    entries[7]["args"] = ["--max-num-seqs", "99"]
    write(applied, entries)
    before, mark = versions(bare), AuditMark.now(bare.paths.audit_log)
    preview = play(bare, applied, "--check", "--diff")
    assert writes(mark) == []
    assert "+ - '99'" in preview.text, preview
    run = play(bare, applied)
    assert "1 changed; 39 as before" in run.text
    assert writes(mark) == ["patch m07"]
    after = versions(bare)
    assert {name for name in after if after[name] != before[name]} == {"team-1/m07"}


def test_another_order_and_another_spelling_of_the_inventory_write_nothing(
    bare: EmbeddedCluster, applied: Path
) -> None:
    turned = [dict(reversed(entry.items())) for entry in reversed(models(COUNT))]
    common = {"replicas": 0}
    turned = [{key: value for key, value in entry.items() if key != "replicas"} for entry in turned]
    path = applied / "group_vars" / "all" / "30-models.yml"
    path.write_text(
        json.dumps({"model_defaults": common, "models": turned, "models_wait": False}, indent=3), encoding="utf-8"
    )
    mark = AuditMark.now(bare.paths.audit_log)
    run = play(bare, applied)
    assert run.recap["changed"] == 0, run
    assert writes(mark) == []


def test_removing_one_deletes_its_own_objects_and_nothing_of_others(bare: EmbeddedCluster, applied: Path) -> None:
    foreign = bare.get(MODELS, "m01", "team-1")
    labels = foreign["metadata"]["labels"]
    foreign["metadata"] = {"name": "foreign", "namespace": "team-1", "labels": labels}
    foreign.pop("status", None)
    bare.do("create", "--filename", "-", stdin=json.dumps(foreign))
    before, mark = versions(bare), AuditMark.now(bare.paths.audit_log)
    write(applied, models(COUNT)[:-1])
    run = play(bare, applied)
    assert run.exit_code == 0, run
    assert writes(mark) == ["delete m39"]
    assert versions(bare) == {name: version for name, version in before.items() if name != "team-0/m39"}


def test_many_removals_stop_the_run_until_they_are_asked_for(bare: EmbeddedCluster, applied: Path) -> None:
    write(applied, models(5))
    mark = AuditMark.now(bare.paths.audit_log)
    run = play(bare, applied)
    assert run.exit_code != 0
    assert "35 of 40 models of this installer are in the cluster and not in the inventory" in run.text
    assert "-e models_delete=35" in run.text
    assert writes(mark) == []
    assert play(bare, applied, "-e", "models_delete=35").exit_code == 0
    assert len(versions(bare)) == 5


def test_only_acts_on_the_models_it_names(bare: EmbeddedCluster, applied: Path) -> None:
    entries = models(COUNT)
    for entry in entries:
        entry["args"] = ["--max-num-seqs", "7"]
    write(applied, entries)
    mark = AuditMark.now(bare.paths.audit_log)
    run = play(bare, applied, "-e", "only=m03,team-1/m04")
    assert run.exit_code == 0, run
    assert sorted(writes(mark)) == ["patch m03", "patch m04"]
    assert "expected a model of the inventory" in play(bare, applied, "-e", "only=nope").text


def test_a_model_that_somebody_else_holds_fails_and_the_others_do_not(bare: EmbeddedCluster, inventory: Path) -> None:
    theirs = {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": "m05", "namespace": "team-2"},
        "spec": {"replicas": 4, "model": {"uri": "hf://somebody/else"}},
    }
    bare.kubectl("create", "namespace", "team-2")
    text = json.dumps(theirs)
    bare.do("apply", "--server-side", "--field-manager=argocd", "--filename", "-", stdin=text)
    run = play(bare, inventory)
    assert run.exit_code != 0
    assert "39 created, 1 failed" in run.text
    assert "LLMInferenceService team-2/m05" in run.text
    assert "belong to argocd" in run.text
    assert bare.get(MODELS, "m05", "team-2")["spec"]["replicas"] == 4
    assert len(versions(bare)) == COUNT


def test_a_change_that_the_server_would_refuse_is_found_first_and_has_a_way(
    bare: EmbeddedCluster, inventory: Path
) -> None:
    wide = {**models(1)[0], "name": "wide", "parallelism": {"data": 2, "data_local": 1}}
    write(inventory, [*models(3), wide])
    assert play(bare, inventory).exit_code == 0
    wider = {**wide, "parallelism": {"data": 4, "data_local": 1}}
    changed = [{**models(1)[0], "args": ["--max-num-seqs", "5"]}, *models(3)[1:], wider]
    write(inventory, changed)
    uid = bare.get(MODELS, "wide", "team-0")["metadata"]["uid"]
    mark = AuditMark.now(bare.paths.audit_log)
    run = play(bare, inventory)
    assert run.exit_code != 0
    assert "expected a replica of 2 pods as it is in the cluster, found a replica of 4 pods" in run.text
    assert "-e models_recreate=team-0/wide" in run.text
    assert writes(mark) == ["patch m00"]
    assert play(bare, inventory, "-e", "models_recreate=wide").exit_code == 0
    made = bare.get(MODELS, "wide", "team-0")
    assert made["metadata"]["uid"] != uid
    assert made["spec"]["parallelism"]["data"] == 4


def test_a_run_that_was_killed_half_way_is_finished_by_the_next(bare: EmbeddedCluster, inventory: Path) -> None:
    arguments = ("-i", str(inventory), "playbooks/models.yml", "-e", "platform_installs=true")
    with started(Project().root, arguments, cluster=bare.paths.name) as playing:
        deadline = time.monotonic() + 120
        while not versions(bare):
            assert time.monotonic() < deadline, playing.output()
        playing.kill()
    there = len(versions(bare))
    assert there > 0
    run = play(bare, inventory)
    assert run.exit_code == 0, run
    assert len(versions(bare)) == COUNT
    assert play(bare, inventory).recap["changed"] == 0


def test_a_server_that_is_overloaded_and_a_network_that_breaks_only_cost_time(
    bare: EmbeddedCluster, inventory: Path, tmp_path: Path
) -> None:
    with flaky(bare.paths.kubeconfig, tmp_path) as (kubeconfig, faults):
        tools = {"platform_helm": str(bare.tools / "bin" / "helm"), "crd_directory": str(bare.tools / "crds")}
        secret = str(bare.paths.pull_secret)
        run = play(bare, inventory, kubeconfig=str(kubeconfig), pull_secret_file=secret, **tools)
        assert run.exit_code == 0, run
        assert len(faults) > 20
    assert len(versions(bare)) == COUNT
    assert play(bare, inventory).recap["changed"] == 0


def test_an_absent_model_goes_and_a_stopped_one_is_marked(bare: EmbeddedCluster, applied: Path) -> None:
    entries = models(COUNT)
    for entry in entries[:30]:
        entry["state"] = "absent"
    entries[35]["state"] = "stopped"
    write(applied, entries)
    run = play(bare, applied)
    assert run.exit_code == 0, run
    assert "1 stopped, 30 removed; 9 as before" in run.text
    marks = bare.get(MODELS, "m35", "team-2")["metadata"]["annotations"]
    assert marks["serving.kserve.io/stop"] == "true"


def test_validate_needs_no_cluster(inventory: Path, bare: EmbeddedCluster) -> None:
    variables = {"kubeconfig": "/nowhere/kubeconfig", "pull_secret_file": str(bare.paths.pull_secret)}
    run = Project().play("-i", str(inventory), "playbooks/models.yml", "--tags", "validate", variables=variables)
    assert run.exit_code == 0, run
    assert run.recap["failed"] == 0
    entries = models(2)
    entries[1]["uri"] = "https://example.org/model"
    write(inventory, entries)
    run = Project().play("-i", str(inventory), "playbooks/models.yml", "--tags", "validate", variables=variables)
    assert run.exit_code != 0
    assert "models[1].uri" in run.text


def test_what_is_exported_is_what_is_applied(bare: EmbeddedCluster, applied: Path, tmp_path: Path) -> None:
    run = Project().play(
        *("-i", str(applied), "playbooks/export.yml", "-e", f"export_dir={tmp_path / 'export'}"),
        cluster=bare.paths.name,
    )
    assert run.exit_code == 0, run
    before = versions(bare)
    files = sorted((tmp_path / "export" / "2-models").rglob("llminferenceservice-*.yaml"))
    assert len(files) == COUNT
    names = [argument for file in files for argument in ("--filename", str(file))]
    bare.do("apply", "--server-side", "--field-manager=inference-platform", *names)
    assert versions(bare) == before, "the same bytes by the same manager are no change"
    built = list(yaml.safe_load_all(bare.do("kustomize", str(tmp_path / "export"))))
    waves = {item["kind"]: item["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] for item in built}
    assert waves == {"Namespace": "0", "LLMInferenceService": "2"}
    assert len(built) == COUNT + 3


def test_the_models_are_listed_and_explained(bare: EmbeddedCluster, applied: Path) -> None:
    arguments = ("-i", str(applied))
    listed = Project().play(*arguments, "playbooks/list.yml", cluster=bare.paths.name)
    assert listed.exit_code == 0, listed
    assert "40 models: 40 not ready; 0 GPUs in use" in listed.text
    assert "KServe has not looked at it yet" in listed.text
    explained = Project().play(*arguments, "playbooks/explain.yml", "-e", "model=m07", cluster=bare.paths.name)
    assert explained.exit_code == 0, explained
    assert "Model team-1/m07" in explained.text
    assert "uri: hf://someone/model-7 # " in explained.text
    wrong = Project().play(*arguments, "playbooks/explain.yml", "-e", "model=m7", cluster=bare.paths.name)
    assert wrong.exit_code != 0
    assert "expected a model of the inventory, found 'm7'" in wrong.text
