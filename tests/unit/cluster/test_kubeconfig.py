"""Reading kubeconfigs: files, contexts, and every way to log in."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from inference_platform.cluster import kubeconfig
from inference_platform.cluster.errors import CredentialsRejected, KubeconfigError
from tests.unit.cluster.test_client import jwt


def write(path: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None, context: str = "c") -> Path:
    """A kubeconfig with one of each."""
    body = {
        "current-context": context,
        "clusters": [{"name": "k", "cluster": {"server": "https://host:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": context, "context": {"cluster": "k", "user": "u", "namespace": "ns"}}],
    }
    path.write_text(json.dumps(body))
    return path


def plugin(folder: Path, script: str) -> dict[str, Any]:
    """A user that logs in by a credential plugin."""
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "args": ["get"]}}


def login(path: Path) -> kubeconfig.Credential:
    return kubeconfig.load(str(path)).login.current()


def test_server_namespace_and_source_are_read(tmp_path: Path) -> None:
    access = kubeconfig.load(str(write(tmp_path / "k", {"token": "t"})))
    assert (access.server, access.namespace, access.context) == ("https://host:6443", "ns", "c")
    assert access.source == f"kubeconfig {tmp_path / 'k'}"


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "t"}, "Bearer t"),
        ({"username": "a", "password": "b"}, "Basic " + base64.b64encode(b"a:b").decode()),
    ],
)
def test_simple_logins(tmp_path: Path, user: dict[str, Any], header: str) -> None:
    assert login(write(tmp_path / "k", user)).headers == {"Authorization": header}


def test_certificates_come_from_data_or_from_files_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "crt").write_bytes(b"CERT")
    user = {"client-certificate": "crt", "client-key-data": base64.b64encode(b"KEY").decode()}
    credential = login(write(tmp_path / "k", user))
    assert (credential.certificate, credential.key, credential.headers) == (b"CERT", b"KEY", {})


def test_several_files_are_merged_and_the_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write(tmp_path / "one", {"token": "one"}, context="first")
    two = write(tmp_path / "two", {"token": "two"}, context="second")
    monkeypatch.setenv("KUBECONFIG", f"{one}:{tmp_path / 'missing'}:{two}")
    assert kubeconfig.load().context == "first"
    assert kubeconfig.load(context="second").login.current().headers == {"Authorization": "Bearer one"}


def test_no_kubeconfig_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(KubeconfigError, match="Set `kubeconfig`"):
        kubeconfig.load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("clusters: [", r"k:2: expected a kubeconfig in YAML"),
        ("just text", "expected a kubeconfig \\(clusters, contexts, users\\)"),
        ("clusters: []\ncontexts: []\nusers: []", "expected a current-context, found none"),
        ("current-context: x\nclusters: []", "expected a context named 'x', found none"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "k"
    path.write_text(content)
    with pytest.raises(KubeconfigError, match=message):
        kubeconfig.load(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match=r"nowhere cannot be read \(No such file"):
        kubeconfig.load(str(tmp_path / "nowhere"))


def test_a_plugin_gives_a_token_that_is_kept_until_it_expires(tmp_path: Path) -> None:
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-plugin"},
    }
    answer["status"]["expirationTimestamp"] = "2999-01-01T00:00:00Z"  # type: ignore[index]
    user = plugin(tmp_path, f"echo called >> {tmp_path}/calls; echo '{json.dumps(answer)}'")
    access = kubeconfig.load(str(write(tmp_path / "k", user)))
    assert access.login.current().headers == {"Authorization": "Bearer from-plugin"}
    access.login.current()
    assert (tmp_path / "calls").read_text() == "called\n"
    access.login.current(renew=True)
    assert (tmp_path / "calls").read_text() == "called\ncalled\n"


def test_a_forked_worker_uses_the_token_its_parent_has_got(tmp_path: Path) -> None:
    user = plugin(tmp_path, f"echo called >> {tmp_path}/calls; echo '{json.dumps({'status': {'token': 'once'}})}'")
    path = write(tmp_path / "k", user)
    login(path)
    child = os.fork()
    if child == 0:
        os._exit(0 if login(path).headers == {"Authorization": "Bearer once"} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tmp_path / "calls").read_text() == "called\n"


def test_an_expired_plugin_token_is_renewed_by_itself(tmp_path: Path) -> None:
    answer = {"status": {"token": "t", "expirationTimestamp": "2001-01-01T00:00:00Z"}}
    user = plugin(tmp_path, f"echo called >> {tmp_path}/calls; echo '{json.dumps(answer)}'")
    access = kubeconfig.load(str(write(tmp_path / "k", user)))
    access.login.current()
    access.login.current()
    assert (tmp_path / "calls").read_text() == "called\ncalled\n"


def test_a_failing_plugin_tells_its_last_words_without_secrets(tmp_path: Path) -> None:
    token = jwt(1_700_000_000)
    user = plugin(tmp_path, f"echo 'SSO session expired for token={token}' >&2; exit 3")
    with pytest.raises(CredentialsRejected) as caught:
        login(write(tmp_path / "k", user))
    assert "`plugin` ended with exit status 3 and said: SSO session expired" in str(caught.value)
    assert token not in str(caught.value)


def test_a_missing_plugin_shows_its_install_hint(tmp_path: Path) -> None:
    user = {"exec": {"command": "no-such-plugin", "installHint": "get it\n from the provider"}}
    with pytest.raises(
        CredentialsRejected, match=r"`no-such-plugin` is not on PATH\. Install it: get it from the provider"
    ):
        login(write(tmp_path / "k", user))


def test_what_a_plugin_prints_instead_of_a_credential_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(CredentialsRejected) as caught:
        login(write(tmp_path / "k", plugin(tmp_path, "echo hunter2")))
    assert "no usable ExecCredential" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_plugin_is_told_of_the_cluster_when_it_asks(tmp_path: Path) -> None:
    user = plugin(tmp_path, f'echo "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; echo \'{{"status": {{"token": "t"}}}}\'')
    user["exec"]["provideClusterInfo"] = True
    login(write(tmp_path / "k", user, {"certificate-authority-data": base64.b64encode(b"CA").decode()}))
    cluster = json.loads((tmp_path / "info").read_text())["spec"]["cluster"]
    assert cluster["server"] == "https://host:6443/"
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"CA"


def test_a_valid_token_of_the_old_oidc_provider_is_used(tmp_path: Path) -> None:
    token = jwt(4_000_000_000)
    user = {"auth-provider": {"name": "oidc", "config": {"id-token": token}}}
    assert login(write(tmp_path / "k", user)).headers == {"Authorization": f"Bearer {token}"}


def test_the_old_cloud_providers_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CredentialsRejected, match="auth-provider 'gcp' no longer exists"):
        login(write(tmp_path / "k", {"auth-provider": {"name": "gcp"}}))


def test_bad_base64_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="certificate-authority-data is not valid base64"):
        kubeconfig.load(str(write(tmp_path / "k", {"token": "t"}, {"certificate-authority-data": "%%%"})))
