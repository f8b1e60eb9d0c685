"""CRDs: where files come from, when they are applied, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_platform.cluster import crds
from inference_platform.cluster.apply import summary
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import STAMP
from tests.unit.cluster.fake_api import FakeApi

NAME = "widgets.example.org"


def crd(name: str = NAME, versions: tuple[str, ...] = ("v1",)) -> dict[str, Any]:
    plural, _, group = name.partition(".")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "creationTimestamp": None},
        "spec": {
            "group": group,
            "names": {"plural": plural, "kind": "Widget"},
            "scope": "Namespaced",
            "versions": [{"name": v, "served": True, "storage": v == versions[-1]} for v in versions],
        },
        "status": {"storedVersions": []},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A crd_directory with one set of two CRDs, one JSON and one YAML."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / f"{NAME}.json").write_text(json.dumps(crd()))
    (tmp_path / "set" / "gadgets.example.org.yaml").write_text(yaml.safe_dump(crd("gadgets.example.org")))
    return tmp_path


def located(folder: Path, **entry: Any) -> list[crds.CrdFile]:
    entries: list[dict[str, Any]] = [{"name": NAME, **entry}, {"name": "gadgets.example.org", **entry}]
    return crds.locate("set", entries, directory=folder)


def test_a_first_run_applies_and_a_second_reads_one_list(api: FakeApi, cluster: Cluster, folder: Path) -> None:
    first = crds.apply_crds(cluster, located(folder), labels={"layer": "x"})
    assert summary(first.changes) == {"create": 2}
    stored = api.stored("CustomResourceDefinition", NAME)
    assert stored["metadata"]["annotations"][STAMP] == located(folder)[0].sha256
    assert stored["metadata"]["labels"] == {"layer": "x"}
    assert "status" not in stored
    api.requests.clear()
    assert not crds.apply_crds(cluster, located(folder), labels={"layer": "x"}).changed
    assert [r.path for r in api.requests] == ["/apis/apiextensions.k8s.io/v1/customresourcedefinitions"]
    assert "PartialObjectMetadataList" in api.requests[0].headers["Accept"]


def test_check_mode_predicts_and_writes_nothing(api: FakeApi, cluster: Cluster, folder: Path) -> None:
    predicted = crds.apply_crds(cluster, located(folder), check=True)
    assert api.writes() == []
    assert [str(c) for c in predicted.changes] == [str(c) for c in crds.apply_crds(cluster, located(folder)).changes]


def test_another_file_is_an_update_whose_diff_is_short(api: FakeApi, cluster: Cluster, folder: Path) -> None:
    crds.apply_crds(cluster, located(folder))
    (folder / "set" / f"{NAME}.json").write_text(json.dumps(crd(versions=("v1", "v2"))))
    for check in (True, False):
        result = crds.apply_crds(cluster, located(folder), check=check)
        assert [str(c) for c in result.changes] == [f"update CustomResourceDefinition {NAME}"]
    assert "+  - name: v2" in result.diff()
    assert len(api.stored("CustomResourceDefinition", NAME)["spec"]["versions"]) == 2


def test_a_version_that_objects_are_stored_in_is_never_dropped(api: FakeApi, cluster: Cluster, folder: Path) -> None:
    api.put({**crd(versions=("v1alpha1", "v1")), "status": {"storedVersions": ["v1alpha1", "v1"]}})
    for check in (True, False):
        result = crds.apply_crds(cluster, located(folder), check=check)
        assert [e.ref.name for e in result.errors] == [NAME]
        assert "the new file drops v1alpha1" in str(result.errors[0])
        assert "kubectl get widgets.example.org -A" in str(result.errors[0])
    assert len(api.stored("CustomResourceDefinition", NAME)["spec"]["versions"]) == 2


def test_only_if_absent_leaves_an_existing_crd_alone(api: FakeApi, cluster: Cluster, folder: Path) -> None:
    api.put(crd())
    result = crds.apply_crds(cluster, located(folder, only_if_absent=True))
    assert [str(c) for c in result.changes] == ["create CustomResourceDefinition gadgets.example.org"]


def test_a_crd_of_another_manager_with_other_content_is_an_error(api: FakeApi, cluster: Cluster, folder: Path) -> None:
    causes = [{"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".spec.versions"}]
    api.fail("PATCH", NAME, 409, "Apply failed with 1 conflict", details={"causes": causes})
    result = crds.apply_crds(cluster, located(folder))
    assert "belong to kubectl" in str(result.errors[0])
    assert summary(result.changes) == {"create": 1}


@pytest.mark.parametrize("owner", ["platform.opendatahub.io", "kubectl"])
def test_only_an_operator_that_shares_a_crd_gives_way(api: FakeApi, cluster: Cluster, folder: Path, owner: str) -> None:
    api.put(crd(versions=("v1", "v2")))
    causes = [{"reason": "FieldManagerConflict", "message": f'conflict with "{owner}"', "field": ".spec.versions"}]
    api.fail("PATCH", NAME, 409, "Apply failed with 1 conflict", details={"causes": causes})
    files = crds.locate("set", [{"name": NAME}], directory=folder, shared_with="platform.opendatahub.io")
    result = crds.apply_crds(cluster, files)
    forced = [request.query["force"] for request in api.requests if request.method == "PATCH"]
    assert forced == (["false"] if owner == "kubectl" else ["false", "true"])
    assert bool(result.errors) == (owner == "kubectl")
    assert summary(result.changes) == ({} if owner == "kubectl" else {"update": 1})


def test_crd_objects_are_compared_by_their_own_hash(cluster: Cluster) -> None:
    assert crds.apply_crds(cluster, [crd()]).changed
    assert not crds.apply_crds(cluster, [crd()]).changed
    assert crds.apply_crds(cluster, [crd(versions=("v1", "v2"))]).changed


def test_a_missing_file_of_the_directory_is_named(folder: Path) -> None:
    with pytest.raises(
        crds.CrdFileError, match=r"CRD other\.example\.org: expected the file .*/set/other\.example\.org"
    ):
        crds.locate("set", [{"name": "other.example.org"}], directory=folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected YAML or JSON, found JSONDecodeError"),
        ("a: [", "expected YAML or JSON, found ParserError"),
        ("kind: ConfigMap", "expected a CRD of this name, found none"),
        (json.dumps(crd("other.example.org")), "expected a CRD of this name, found other.example.org"),
    ],
)
def test_a_file_without_the_crd_is_an_error(content: str, message: str) -> None:
    with pytest.raises(crds.CrdFileError, match=message):
        crds.parse(crds.CrdFile(NAME, "", content.encode))


def test_the_right_document_of_several_is_taken() -> None:
    content = yaml.safe_dump_all([{"kind": "ConfigMap"}, None, crd("other.example.org"), crd()])
    assert crds.parse(crds.CrdFile(NAME, "", content.encode))["metadata"]["name"] == NAME


def published(root: Path, content: bytes) -> dict[str, str]:
    """A file behind a file:// URL and its entry in the lock."""
    file = root / "host" / "path" / "crd.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return {"name": NAME, "url": file.as_uri(), "sha256": hashlib.sha256(content).hexdigest()}


def test_a_file_is_downloaded_verified_and_kept(tmp_path: Path) -> None:
    content = yaml.safe_dump(crd()).encode()
    entry = published(tmp_path / "web", content)
    [file] = crds.locate("set", [entry], cache=tmp_path / "cache")
    assert file.read() == content
    (tmp_path / "web" / "host" / "path" / "crd.yaml").unlink()
    assert file.read() == content


def test_a_spoiled_cache_is_not_believed(tmp_path: Path) -> None:
    content = yaml.safe_dump(crd()).encode()
    entry = published(tmp_path / "web", content)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / entry["sha256"]).write_bytes(b"spoiled")
    assert crds.locate("set", [entry], cache=tmp_path / "cache")[0].read() == content


def test_another_content_than_the_lock_says_is_refused(tmp_path: Path) -> None:
    entry = {**published(tmp_path / "web", b"kind: X"), "sha256": "0" * 64}
    with pytest.raises(crds.CrdFileError, match=f"expected sha256 {'0' * 64}, found [0-9a-f]{{64}}"):
        crds.locate("set", [entry], cache=tmp_path / "cache")[0].read()
    assert not list((tmp_path / "cache").glob("*"))


def test_the_mirror_is_asked_first(tmp_path: Path) -> None:
    content = yaml.safe_dump(crd()).encode()
    published(tmp_path / "mirror", content)
    entry = {
        "name": NAME,
        "url": "https://host/path/crd.yaml",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    mirror = (tmp_path / "mirror").as_uri()
    assert crds.locate("set", [entry], mirror=mirror, cache=tmp_path / "cache")[0].read() == content


@pytest.mark.parametrize("start", ["~", "$HOME"])
def test_folders_may_begin_with_the_home_folder(folder: Path, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (file,) = crds.locate("set", [{"name": NAME}], directory=f"{start}/.")
    assert json.loads(file.read()) == crd()
    content = yaml.safe_dump(crd()).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / "cache").mkdir()
    (folder / "cache" / sha256).write_bytes(content)
    entry = {"name": NAME, "url": "https://nowhere.invalid/crd.yaml", "sha256": sha256}
    assert crds.locate("set", [entry], cache=f"{start}/cache")[0].read() == content


@pytest.mark.parametrize("user", ["me:hunter2", "hunter2", "me:"])
def test_a_mirror_with_credentials_is_refused_and_not_shown(user: str, tmp_path: Path) -> None:
    entry = {"name": NAME, "url": "https://127.0.0.1:1/crd.yaml", "sha256": "0" * 64}
    with pytest.raises(crds.CrdFileError, match="expected a URL without credentials") as caught:
        crds.locate("set", [entry], mirror=f"https://{user}@127.0.0.1:1", cache=tmp_path)
    assert "hunter2" not in str(caught.value)


def test_a_url_that_is_none_is_told_as_a_file_that_cannot_be_had(tmp_path: Path) -> None:
    entry = {"name": NAME, "url": "https://127.0.0.1:port/crd.yaml?password=hunter2", "sha256": "0" * 64}
    with pytest.raises(crds.CrdFileError, match="could not be had") as caught:
        crds.locate("set", [entry], cache=tmp_path)[0].read()
    assert "hunter2" not in str(caught.value)


def test_an_entry_without_a_url_says_what_to_do() -> None:
    with pytest.raises(crds.CrdFileError, match=r"found not published.*Set `crd_directory`"):
        crds.locate("set", [{"name": NAME, "unpinned": "not published"}])


def test_an_unchanged_crd_is_not_even_read(api: FakeApi, cluster: Cluster) -> None:
    api.put({**crd(), "metadata": {"name": NAME, "annotations": {STAMP: "the-sha"}}})

    def read() -> bytes:
        raise AssertionError("read although nothing changed")

    assert not crds.apply_crds(cluster, [crds.CrdFile(NAME, "the-sha", read)]).changed


@pytest.mark.parametrize(("live", "wanted", "refused"), [("v1.5.1", "v1.4.0", True), ("v1.4.0", "v1.4.1", False)])
def test_gateway_api_is_never_downgraded(api: FakeApi, cluster: Cluster, live: str, wanted: str, refused: bool) -> None:
    name, marks = "gateways.gateway.networking.k8s.io", "gateway.networking.k8s.io/bundle-version"

    def bundle(version: str) -> dict[str, Any]:
        found = crd(name)
        return {**found, "metadata": {"name": name, "annotations": {marks: version}}}

    api.put(bundle(live))
    found = crds.apply_crds(cluster, [bundle(wanted)], force=True)
    assert bool(found.errors) == refused
    assert api.stored("CustomResourceDefinition", name)["metadata"]["annotations"][marks] == (
        live if refused else wanted
    )
    if refused:
        assert "expected Gateway API v1.4.0 or older, found v1.5.1. It is never downgraded" in str(found.errors[0])
