"""What is exported is what is applied, byte for byte, and kustomize adds only the sync waves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.cluster import kubeconfig
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.models import apply_models
from inference_platform.cluster.objects import prepare
from inference_platform.cluster.selection import Choice, model_of
from inference_platform.models import export, render
from tests.unit.cluster.fake_api import running

MODELS: list[dict[str, Any]] = [
    {"name": "small", "namespace": "team", "uri": "hf://a/small", "gpu": {"count": 1}, "env": {"TEXT": "a: {{ b }}\n"}},
    {
        "name": "big",
        "namespace": "other",
        "uri": "hf://a/big",
        "gpu": {"count": 4},
        "args": ["--chat-template", "line 1\nline 2"],
        "scheduler": {"objectives": [{"name": "premium", "priority": 100}]},
        "served_name": "chat",
        "traffic": {"group": "chat", "weight": 90},
    },
    {
        "name": "canary",
        "namespace": "other",
        "uri": "hf://a/canary",
        "gpu": {"count": 4},
        "served_name": "chat",
        "traffic": {"group": "chat", "weight": 10},
    },
]


@pytest.fixture
def objects(aws: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of the models above."""
    rendered = render(MODELS, {}, aws)
    assert rendered.findings == []
    return rendered.objects


def served(objects: list[dict[str, Any]]) -> list[tuple[str, str, str, bool]]:
    kinds = {(obj["apiVersion"], obj["kind"], "namespace" in obj["metadata"]) for obj in objects}
    return [(version, kind, f"{kind.lower()}s", namespaced) for version, kind, namespaced in sorted(kinds)]


def test_the_files_hold_the_bytes_that_the_api_server_is_sent(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    for api in running():
        api.kinds += [kind for kind in served(objects) if kind[1] != "Namespace"]
        cluster = Cluster(kubeconfig.load(api.kubeconfig(tmp_path)))
        assert apply_models(cluster, objects).errors == []
        sent = sorted(request.raw for request in api.writes())
    export.write(tmp_path / "export", export.files(map(prepare, objects)))
    found = sorted(
        path.read_bytes() for path in (tmp_path / "export").rglob("*.yaml") if path.name != export.KUSTOMIZATION
    )
    assert found == sent
    assert len(found) == len(objects)


def test_every_file_reads_back_as_its_object(objects: list[dict[str, Any]]) -> None:
    texts = export.files(map(prepare, objects))
    found = [yaml.safe_load(text) for path, text in texts.items() if not path.endswith(export.KUSTOMIZATION)]
    key = lambda obj: (obj["kind"], obj["metadata"]["name"])  # noqa: E731
    assert sorted(found, key=key) == sorted(map(prepare, objects), key=key)


def test_folders_are_waves_in_the_order_of_need(objects: list[dict[str, Any]]) -> None:
    texts = export.files(map(prepare, objects))
    top = yaml.safe_load(texts[export.KUSTOMIZATION])
    assert top["resources"] == ["0-namespaces", "2-models", "3-after-models"]
    waves = {}
    for folder in top["resources"]:
        kustomization = yaml.safe_load(texts[f"{folder}/{export.KUSTOMIZATION}"])
        waves[folder] = kustomization["commonAnnotations"]
        assert kustomization["resources"] == sorted(
            path.removeprefix(f"{folder}/")
            for path in texts
            if path.startswith(f"{folder}/") and not path.endswith(export.KUSTOMIZATION)
        )
    assert [wave[export.SYNC_WAVE] for wave in waves.values()] == ["0", "2", "3"]
    kept = [folder for folder, marks in waves.items() if "argocd.argoproj.io/sync-options" in marks]
    assert kept == [export.NAMESPACES], "a namespace stays when its last model goes"
    kinds = {yaml.safe_load(text)["kind"] for path, text in texts.items() if path.startswith("3-after-models/")}
    assert kinds == {"HTTPRoute", "InferenceObjective", "Kustomization"}


def test_the_same_models_give_the_same_files_in_any_order(objects: list[dict[str, Any]]) -> None:
    assert export.files(map(prepare, objects)) == export.files(map(prepare, reversed(objects)))


def test_a_second_export_changes_nothing_and_a_changed_one_only_what_differs(
    objects: list[dict[str, Any]], tmp_path: Path
) -> None:
    files = export.files(map(prepare, objects))
    assert len(export.write(tmp_path, files).created) == len(files)
    assert not export.write(tmp_path, files)
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "2-models" / "notes.txt").write_text("mine")
    fewer = [obj for obj in objects if obj["metadata"].get("name") != "small"]
    predicted = export.write(tmp_path, export.files(map(prepare, fewer)), check=True)
    done = export.write(tmp_path, export.files(map(prepare, fewer)))
    assert predicted == done
    assert done.removed == ["2-models/team/llminferenceservice-small.yaml"]
    assert done.changed == ["2-models/kustomization.yaml"]
    assert (tmp_path / "README.md").exists()
    assert (tmp_path / "2-models" / "notes.txt").exists()


def chosen(objects: list[dict[str, Any]], folder: Path, *only: str) -> tuple[export.Written, tuple[str, ...]]:
    """Exports the named models alone, as the action does; what it wrote and what it has to say."""
    earlier = export.read(folder)
    choice = Choice(only=frozenset(only))
    beside = [path for path, obj in earlier.items() if not choice.covers(model_of(obj))]
    selection = choice.of(objects, filter(None, earlier.values()))
    files = export.files(map(prepare, selection.objects), beside)
    return export.write(folder, files, beside=frozenset(beside)), selection.notes


def test_an_export_of_some_models_leaves_the_others_as_they_are(
    objects: list[dict[str, Any]], aws: dict[str, Any], tmp_path: Path
) -> None:
    export.write(tmp_path, export.files(map(prepare, objects)))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.yaml")}
    assert not chosen(objects, tmp_path, "small")[0]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.yaml")} == before
    changed = [{key: value for key, value in model.items() if key != "scheduler"} | {"replicas": 3} for model in MODELS]
    done, notes = chosen(render(changed, {}, aws).objects, tmp_path, "big")
    assert done.changed == ["2-models/other/llminferenceservice-big.yaml", "3-after-models/kustomization.yaml"]
    assert done.removed == ["3-after-models/other/inferenceobjective-premium.yaml"]
    assert notes == ()


def test_models_exported_one_by_one_make_the_whole(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    _, notes = chosen(objects, tmp_path, "big")
    assert notes == (
        "HTTPRoute other/chat is left as it is, because it would also lead to other/canary, not yet there. "
        "Name these in only as well, or run without it.",
    )
    for name in ("canary", "team/small"):
        assert chosen(objects, tmp_path, name)[1] == ()
    assert not export.write(tmp_path, export.files(map(prepare, objects)))


def test_a_file_that_is_no_object_does_not_stop_an_export_of_some_models(
    objects: list[dict[str, Any]], tmp_path: Path
) -> None:
    export.write(tmp_path, export.files(map(prepare, objects)))
    theirs = tmp_path / "2-models" / "theirs.yaml"
    theirs.write_text("a: [")
    assert chosen(objects, tmp_path, "small")[0].removed == []
    assert theirs.exists()


def test_a_folder_of_somebody_else_loses_nothing(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    theirs = tmp_path / "2-models" / "theirs.yaml"
    theirs.parent.mkdir()
    theirs.write_text("a: b")
    export.write(tmp_path, export.files(map(prepare, objects)))
    assert theirs.exists()
