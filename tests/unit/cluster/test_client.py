"""The client against a fake server: retries, errors, discovery, lists."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3

from inference_platform.cluster import errors, kubeconfig
from inference_platform.cluster.client import Cluster
from tests.unit.cluster.fake_api import TOKEN, FakeApi

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "space"}, "data": {"a": "b"}}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "space"}}


def jwt(expires: float) -> str:
    """An unsigned JWT that expires at this time."""
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, {"exp": int(expires)})]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "signature"])


def test_requests_carry_token_and_own_user_agent(api: FakeApi, cluster: Cluster) -> None:
    cluster.get("v1", "Namespace", "space")
    headers = api.requests[-1].headers
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["User-Agent"].startswith("inference-platform/")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_transient_status_is_tried_again(api: FakeApi, cluster: Cluster, pauses: list[float], status: int) -> None:
    api.put(NAMESPACE)
    api.fail("GET", "/namespaces/space$", status, times=2)
    assert cluster.get("v1", "Namespace", "space") is not None
    assert len(pauses) == 2
    assert 0.1 <= pauses[0] <= 0.2 <= pauses[1] <= 0.4


def test_retry_after_is_obeyed(api: FakeApi, cluster: Cluster, pauses: list[float]) -> None:
    api.fail("GET", "/namespaces/space$", 429, headers={"Retry-After": "7"})
    cluster.get("v1", "Namespace", "space")
    assert 7.0 <= pauses[0] <= 7.1


def test_a_reset_connection_is_tried_again(api: FakeApi, cluster: Cluster, pauses: list[float]) -> None:
    api.put(NAMESPACE)
    api.fail("PATCH", "/configmaps/c$", reset=True)
    cluster.apply(CONFIG)
    assert api.stored("ConfigMap", "c", "space")["data"] == {"a": "b"}
    assert len(pauses) == 1


def test_retries_end(api: FakeApi, cluster: Cluster, pauses: list[float]) -> None:
    api.fail("GET", "/namespaces/space$", 503, "no capacity", times=50)
    with pytest.raises(errors.Overloaded, match=r"read Namespace space: no capacity \(HTTP 503"):
        cluster.get("v1", "Namespace", "space")
    assert len(pauses) == 5


def test_a_conflict_is_tried_again_only_where_the_caller_says_so(api: FakeApi, cluster: Cluster) -> None:
    api.put(NAMESPACE)
    api.fail("GET", "/namespaces/space$", 409, "changed meanwhile")
    with pytest.raises(errors.Conflict):
        cluster.request("GET", "/api/v1/namespaces/space", subject="read")
    api.fail("GET", "/namespaces/space$", 409, "changed meanwhile")
    assert cluster.request("GET", "/api/v1/namespaces/space", subject="read", retry_conflict=True)


def test_an_apply_conflict_names_fields_and_managers(api: FakeApi, cluster: Cluster) -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl-edit" using v1', "field": ".data.a"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "argocd"', "field": ".data.b"},
    ]
    api.fail("PATCH", "/configmaps/c$", 409, "Apply failed", reason="Conflict", details={"causes": causes})
    with pytest.raises(errors.Conflict) as caught:
        cluster.apply(CONFIG)
    assert [(f.field, f.manager) for f in caught.value.fields()] == [(".data.a", "kubectl-edit"), (".data.b", "argocd")]
    assert "belong to argocd, kubectl-edit" in str(caught.value)
    assert "apply v1 ConfigMap space/c" in str(caught.value)


def test_an_expired_token_is_named_as_such(api: FakeApi, tmp_path: Path) -> None:
    api.fail("GET", "/version", 401, "Unauthorized")
    path = api.kubeconfig(tmp_path, {"token": jwt(1_700_000_000)})
    with pytest.raises(errors.CredentialsRejected) as caught:
        Cluster.connect(path)
    text = str(caught.value)
    assert "The token expired at 2023-11-14 22:13:20 UTC" in text
    assert path in text
    assert "'unit'" in text


def test_a_rejected_token_does_not_show_itself(api: FakeApi, tmp_path: Path) -> None:
    api.fail("GET", "/version", 401, "Unauthorized")
    token = jwt(time.time() + 3600)
    with pytest.raises(errors.CredentialsRejected) as caught:
        Cluster.connect(api.kubeconfig(tmp_path, {"token": token}))
    assert token not in str(caught.value)
    assert "log in again" in str(caught.value)


def test_a_token_file_is_read_again_after_401(api: FakeApi, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    api.fail("GET", "/version", 401, "Unauthorized")
    Cluster.connect(api.kubeconfig(tmp_path, {"tokenFile": str(token)}))
    assert [r.path for r in api.requests] == ["/version", "/version"]


def test_forbidden_says_which_right_is_missing(api: FakeApi, cluster: Cluster) -> None:
    message = 'namespaces "space" is forbidden: User "me" cannot get resource "namespaces"'
    api.fail("GET", "/namespaces/space$", 403, message, reason="Forbidden", details={"kind": "namespaces"})
    with pytest.raises(errors.Forbidden, match=r"cannot get resource.*right to do this on namespaces.*cluster-admin"):
        cluster.get("v1", "Namespace", "space")


def test_a_webhook_denial_passes_through_with_the_object(api: FakeApi, cluster: Cluster) -> None:
    message = 'admission webhook "v.example.org" denied the request: spec.replicas: must be at most 8'
    api.fail("PATCH", "/configmaps/c$", 403, message, reason="Forbidden")
    with pytest.raises(errors.Forbidden) as caught:
        cluster.apply(CONFIG)
    assert message in str(caught.value)
    assert "apply v1 ConfigMap space/c" in str(caught.value)
    assert "cluster-admin" not in str(caught.value)


def test_nobody_listening_says_what_to_check(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    api = FakeApi()
    api.url = f"http://127.0.0.1:{port}"
    path = api.kubeconfig(tmp_path)
    api.close()
    with pytest.raises(errors.ClusterUnreachable) as caught:
        Cluster.connect(path)
    text = str(caught.value)
    for part in (f"http://127.0.0.1:{port}", "connection refused", path, "'unit'", f"kubectl --kubeconfig {path}"):
        assert part in text


def test_an_unknown_name_says_dns(tmp_path: Path, api: FakeApi) -> None:
    api.url = "http://cluster.invalid:6443"
    with pytest.raises(errors.ClusterUnreachable, match="not known to DNS"):
        Cluster.connect(api.kubeconfig(tmp_path))


def test_an_unknown_kind_is_looked_up_anew(api: FakeApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_platform.cluster.client._UNKNOWN_KIND_AGE", -1.0)
    cluster.discovery()
    with pytest.raises(errors.UnknownKind, match=r"does not serve Gadget in example\.org/v1"):
        cluster.resource("example.org/v1", "Gadget")
    api.kinds.append(("example.org/v1", "Gadget", "gadgets", True))
    assert cluster.resource("example.org/v1", "Gadget").path("a", "b") == "/apis/example.org/v1/namespaces/a/gadgets/b"


def test_another_served_version_of_a_kind_is_named(cluster: Cluster) -> None:
    with pytest.raises(errors.UnknownKind, match=r"It serves Widget as example\.org/v1\."):
        cluster.resource("example.org/v2", "Widget")


def test_discovery_takes_two_requests(api: FakeApi, cluster: Cluster) -> None:
    cluster.get("v1", "Namespace", "a")
    cluster.get("apps/v1", "Deployment", "a", "b")
    assert [r.path for r in api.requests].count("/api") == 1
    assert [r.path for r in api.requests].count("/apis") == 1
    assert cluster.discovery().serves("widgets.example.org")
    assert not cluster.discovery().serves("gadgets.example.org")


def test_long_lists_come_in_pages(api: FakeApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_platform.cluster.client._LIST_LIMIT", 2)
    for number in range(5):
        api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"n{number}"}})
    found = cluster.list("v1", "Namespace")
    assert [item["metadata"]["name"] for item in found] == ["n0", "n1", "n2", "n3", "n4"]
    assert all(item["kind"] == "Namespace" and item["apiVersion"] == "v1" for item in found)


def test_a_list_whose_page_expired_starts_again(
    api: FakeApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_platform.cluster.client._LIST_LIMIT", 2)
    for number in range(3):
        api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"n{number}"}})
    cluster.discovery()
    original, asked = api.answer, []

    def expired(request):  # type: ignore[no-untyped-def]
        asked.append(request.query)
        if "continue" in request.query:
            return 410, {"kind": "Status", "reason": "Expired", "message": "too old"}, {}
        return original(request)

    monkeypatch.setattr(api, "answer", expired)
    assert len(cluster.list("v1", "Namespace")) == 3
    assert asked[-1] == {}


def test_unknown_fields_are_refused_by_every_apply(api: FakeApi, cluster: Cluster) -> None:
    api.put(NAMESPACE)
    cluster.apply(CONFIG)
    query = api.requests[-1].query
    assert query == {"fieldManager": "inference-platform", "fieldValidation": "Strict", "force": "false"}


def test_deleting_names_the_uid(api: FakeApi, cluster: Cluster) -> None:
    live = api.put(NAMESPACE)
    cluster.delete(live)
    assert api.requests[-1].body["preconditions"] == {"uid": live["metadata"]["uid"]}
    cluster.delete(live)  # already gone: no error


def test_a_forked_child_uses_its_own_connections(api: FakeApi, cluster: Cluster) -> None:
    api.put(NAMESPACE)
    cluster.get("v1", "Namespace", "space")
    parent = cluster._connections(cluster.access.login.current())
    child = os.fork()
    if child == 0:
        mine = cluster._connections(cluster.access.login.current())
        os._exit(0 if mine is not parent and cluster.get("v1", "Namespace", "space") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_importing_the_client_does_not_import_the_kubernetes_package() -> None:
    import subprocess
    import sys

    code = "import inference_platform.cluster.client, sys; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_context_may_be_chosen(api: FakeApi, tmp_path: Path) -> None:
    with pytest.raises(errors.KubeconfigError, match="expected a context named 'other', found unit"):
        kubeconfig.load(api.kubeconfig(tmp_path), "other")


@pytest.mark.parametrize(
    ("said", "tries"),
    [
        ("[SSL: TLSV1_ALERT_DECODE_ERROR] tlsv1 alert decode error (_ssl.c:2580)", 2),
        ("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol", 2),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", 1),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", 1),
    ],
)
def test_of_tls_only_what_was_garbled_is_tried_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, said: str, tries: int
) -> None:
    real, asked = cluster._connections, []

    class Garbled:
        def request(self, *arguments: Any, **settings: Any) -> Any:
            asked.append(arguments)
            if len(asked) == 1:
                raise urllib3.exceptions.SSLError(said)
            return real(cluster.access.login.current()).request(*arguments, **settings)

    monkeypatch.setattr(cluster, "_connections", lambda _: Garbled())
    if tries == 1:
        with pytest.raises(errors.ClusterUnreachable):
            cluster.request("GET", "/version", subject="look")
    else:
        cluster.request("GET", "/version", subject="look")
    assert len(asked) == tries
