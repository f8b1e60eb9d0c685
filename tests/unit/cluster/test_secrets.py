"""The pull secret: what is accepted, and that its content goes nowhere but to the API server."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster import secrets
from inference_platform.cluster.client import Cluster
from tests.unit.cluster.fake_api import FakeApi

AUTH = base64.b64encode(b"me:hunter2").decode()
GOOD: dict[str, Any] = {"auths": {"registry.redhat.io": {"auth": AUTH}}}


def file(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "pull.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json hunter2", "expected JSON with `auths`"),
        ({}, "expected `auths` with at least one registry, found none"),
        ({"auths": {}, "credsStore": "desktop"}, "it names a credential helper, which a cluster cannot use"),
        ({"auths": {"quay.io": {}}}, r"expected auths\.quay\.io\.auth"),
        ({"auths": {"quay.io": {"auth": "hunter2!"}}}, r"expected auths\.quay\.io\.auth"),
        ([], "expected `auths`"),
    ],
)
def test_an_unusable_file_is_refused_without_showing_it(tmp_path: Path, content: Any, message: str) -> None:
    path = file(tmp_path, content)
    with pytest.raises(secrets.PullSecretError, match=message) as caught:
        secrets.read_pull_secret(path)
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(
        secrets.PullSecretError, match=r'none": No such file or directory\..*podman login.*pull_secret_file'
    ):
        secrets.read_pull_secret(tmp_path / "none")


def test_a_registry_that_is_needed_must_be_there(tmp_path: Path) -> None:
    path = file(tmp_path, {"auths": {"quay.io": {"auth": AUTH}}})
    with pytest.raises(
        secrets.PullSecretError, match=r"credentials for registry\.redhat\.io, found those for quay\.io"
    ):
        secrets.read_pull_secret(path, "registry.redhat.io")


def test_entries_without_credentials_do_no_harm_beside_others(tmp_path: Path) -> None:
    """Docker Desktop leaves such an entry for Docker Hub."""
    auths = {"https://index.docker.io/v1/": {}, "registry.redhat.io": {"auth": AUTH}}
    assert secrets.read_pull_secret(file(tmp_path, {"auths": auths}), "registry.redhat.io/rhaii")


@pytest.mark.parametrize("entry", [{"auth": AUTH}, {"username": "a", "password": "b"}, {"identitytoken": "t"}])
def test_all_forms_of_credentials_are_accepted(tmp_path: Path, entry: dict[str, str]) -> None:
    assert secrets.read_pull_secret(file(tmp_path, {"auths": {"quay.io": entry}}))


@pytest.mark.parametrize(
    "text", ['{"auths": {"quay.io": {"auth": "abcdefgh"}}}', "abcdefgh" * 50, "abcdefgh\n"], ids=str
)
def test_content_in_the_place_of_the_path_is_not_shown(text: str) -> None:
    with pytest.raises(secrets.PullSecretError, match="Pull secret: expected") as error:
        secrets.read_pull_secret(text)
    assert "abcdefgh" not in str(error.value)


def test_it_is_applied_to_all_namespaces_and_rotated(api: FakeApi, cluster: Cluster, tmp_path: Path) -> None:
    for name in ("a", "b"):
        api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    path = file(tmp_path, GOOD)
    first = secrets.apply_pull_secret(cluster, "pull", ["a", "b"], path.read_bytes())
    assert [str(c) for c in first.changes] == ["create Secret a/pull", "create Secret b/pull"]
    assert api.stored("Secret", "pull", "a")["type"] == "kubernetes.io/dockerconfigjson"
    assert not secrets.apply_pull_secret(cluster, "pull", ["a", "b"], path.read_bytes()).changed
    rotated = base64.b64encode(b"me:changed").decode()
    file(tmp_path, {"auths": {"registry.redhat.io": {"auth": rotated}}})
    predicted = secrets.apply_pull_secret(cluster, "pull", ["a", "b"], path.read_bytes(), check=True)
    assert [str(c) for c in predicted.changes] == ["update Secret a/pull", "update Secret b/pull"]
    assert secrets.apply_pull_secret(cluster, "pull", ["a", "b"], path.read_bytes()).changed
    stored = base64.b64decode(api.stored("Secret", "pull", "b")["data"][".dockerconfigjson"])
    assert json.loads(stored)["auths"]["registry.redhat.io"]["auth"] == rotated
    for text in (first.diff(), predicted.diff()):
        assert "<hidden" in text
        assert AUTH not in text
        assert rotated not in text
        assert base64.b64encode(stored).decode() not in text


def put_source(api: FakeApi, data: dict[str, str]) -> None:
    meta = {"name": "registry", "namespace": "vault"}
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": data})


def test_it_may_be_read_from_a_secret_of_the_cluster(api: FakeApi, cluster: Cluster) -> None:
    content = json.dumps(GOOD).encode()
    put_source(api, {".dockerconfigjson": base64.b64encode(content).decode()})
    source = secrets.Credentials(secret=("vault", "registry"))
    assert secrets.read_credentials(cluster, source, {secrets.VARIABLE: "not looked at"}) == content


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(None, "expected Secret vault/registry, found none.*pull_secret_from", id="no Secret"),
        pytest.param({"password": "aHVudGVyMg=="}, "expected key .dockerconfigjson.*type Opaque", id="another kind"),
        pytest.param({".dockerconfigjson": "aHVudGVyMg=="}, "Secret vault/registry: expected JSON", id="no JSON"),
    ],
)
def test_an_unusable_secret_is_refused_without_showing_it(
    api: FakeApi, cluster: Cluster, data: dict[str, str] | None, message: str
) -> None:
    if data is not None:
        put_source(api, data)
    with pytest.raises(secrets.PullSecretError, match=message) as caught:
        secrets.read_credentials(cluster, secrets.Credentials(secret=("vault", "registry")), {})
    assert "hunter2" not in str(caught.value)
    assert "aHVudGVyMg" not in str(caught.value)


def test_it_may_be_read_from_the_environment(cluster: Cluster) -> None:
    content = json.dumps(GOOD)
    assert secrets.read_credentials(cluster, secrets.Credentials(), {secrets.VARIABLE: content}) == content.encode()
    with pytest.raises(secrets.PullSecretError, match=r"in \$DOCKER_AUTH_CONFIG: expected JSON") as caught:
        secrets.read_credentials(cluster, secrets.Credentials(), {secrets.VARIABLE: "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_file_is_taken_before_the_environment(cluster: Cluster, tmp_path: Path) -> None:
    source = secrets.Credentials(file=file(tmp_path, GOOD))
    assert json.loads(secrets.read_credentials(cluster, source, {secrets.VARIABLE: "{}"})) == GOOD
