"""What we make and what we lock, against the CRDs as their projects publish them."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import pytest

from inference_platform.catalog import load
from inference_platform.models import render
from tests.support.crd_schema import UPSTREAM_VARIABLE, CrdIndex, upstream_crds

MODELS = [
    {
        "name": "small",
        "namespace": "models",
        "uri": "hf://Qwen/Qwen2.5-0.5B-Instruct",
        "gpu": {"product": "NVIDIA-L4"},
    },
    {
        "name": "everything",
        "namespace": "models",
        "uri": "pvc://claim/folder",
        "served_name": "org/everything",
        "replicas": 3,
        "gpu": {"count": 4},
        "resources": {"cpu": "500m", "memory": "32Gi"},
        "args": ["--max-model-len=8192", '{"a": "{{ b }}"}'],
        "env": {"A": "1"},
    },
]


@pytest.fixture(scope="module")
def folder() -> Path:
    found = upstream_crds()
    if found is None:
        pytest.skip(f"the real CRDs are not here: put them in ../shared/upstream/crds or set {UPSTREAM_VARIABLE}")
    return found


@pytest.fixture(scope="module")
def published(folder) -> CrdIndex:
    sets = [
        "cert-manager/v1.18.4",
        "cloud-manager/3.5.0",
        "kserve-llmisvc/odh-v3.4",
        "lws/v0.8.0",
    ]
    return CrdIndex.from_files(path for name in sets for path in sorted((folder / name).glob("*.yaml")))


@pytest.mark.parametrize("provider", ["aws", "generic"])
def test_rendered_models_are_accepted_unchanged(published, plan_for, provider):
    result = render(MODELS, {}, plan_for(provider).to_dict())
    assert result.ok
    services = [item for item in result.objects if item["kind"] == "LLMInferenceService"]
    assert len(services) == 2
    assert [str(violation) for item in services for violation in published.violations(item)] == []


@pytest.mark.parametrize("provider", ["aws", "azure", "coreweave"])
def test_the_engine_object_is_accepted_unchanged(published, plan_for, provider):
    engine = plan_for(provider).engine
    assert engine is not None
    item = {
        "apiVersion": "infrastructure.opendatahub.io/v1alpha1",
        "kind": engine["kind"],
        "metadata": {"name": engine["name"]},
        "spec": engine["spec"],
    }
    assert [str(violation) for violation in published.violations(item)] == []


def test_objects_of_dry_run_gates_are_accepted_unchanged(published, aws):
    objects = [check["object"] for gate in aws["gates"].values() for check in gate if check["check"] == "dry_run"]
    assert len(objects) == 3
    assert [str(violation) for item in objects for violation in published.violations(item)] == []


def test_the_lock_holds_the_hashes_of_the_published_files(folder):
    published = published_hashes(folder)
    wrong = [
        file["name"]
        for versions in load().crds.values()
        for files in versions.values()
        for file in files
        if published.get((file["name"], file["url"]), file["sha256"]) != file["sha256"]
    ]
    assert wrong == []


def test_only_the_files_of_one_set_are_not_beside_us(folder):
    published = published_hashes(folder)
    unknown = {
        (name, version)
        for name, versions in load().crds.items()
        for version, files in versions.items()
        for file in files
        if (file["name"], file["url"]) not in published
    }
    assert unknown == {("inference-extension", "odh-v3.5")}


def published_hashes(folder: Path) -> dict[tuple[str, str], str]:
    """sha256 by CRD and URL: of the file beside us where it was taken whole, else as its index says."""
    hashes: dict[tuple[str, str], Any] = {}
    with (folder.parent / "SOURCES.tsv").open(encoding="utf-8") as index:
        for row in csv.DictReader(index, delimiter="\t"):
            path = folder.parent / row["local path"]
            if path.parts[-4] == "crds" and path.is_file():
                commit = row["tag-or-commit"].rpartition("@")[2]
                url = f"https://raw.githubusercontent.com/{row['repo']}/{commit}/{row['path in repo']}"
                whole = row["taken as"] == "whole file"
                stated = row["sha256 of the upstream file"]
                hashes[(path.stem, url)] = hashlib.sha256(path.read_bytes()).hexdigest() if whole else stated
    return hashes
