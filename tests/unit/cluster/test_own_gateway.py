"""What a Gateway of the user's gets, and what of others stays as it is."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from inference_platform.cluster import own_gateway
from inference_platform.cluster.client import Cluster
from tests.unit.cluster.fake_api import FakeApi
from tests.unit.cluster.test_trust import Signer, put_authority, put_tls, signer

API = "gateway.networking.k8s.io/v1"
GATEWAY = {"namespace": "edge", "name": "front"}
#: Days for which an authority is good, whenever the tests run.
LONG = 36500
CONTENT = b'{"auths": {"registry.redhat.io": {"auth": "bWU6aHVudGVyMg=="}}}'


@pytest.fixture(autouse=True)
def kinds(api: FakeApi) -> None:
    api.kinds.append((API, "Gateway", "gateways", True))


def put_gateway(api: FakeApi, class_name: str = "istio") -> None:
    api.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}})
    meta = {"name": "front", "namespace": "edge"}
    spec = {"gatewayClassName": class_name}
    api.put({"apiVersion": API, "kind": "Gateway", "metadata": meta, "spec": spec})


def put_of_others(api: FakeApi, kind: str, name: str, data: dict[str, str]) -> None:
    api.put({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "edge"}, "data": data})


def supply(cluster: Cluster, **more: Any) -> own_gateway.Supplied:
    return own_gateway.supply(
        cluster, GATEWAY, ("cert-manager", "rhai-ca"), ("rhai-pull-secret", lambda: CONTENT), **more
    )


def changes(found: own_gateway.Supplied) -> list[str]:
    return [str(change) for change in found.outcome.changes]


def bundle(api: FakeApi) -> str:
    """The authorities that the Gateway's namespace trusts."""
    return str(api.stored("ConfigMap", "rhai-ca-bundle", "edge")["data"]["ca.crt"])


def change_authority(api: FakeApi, cluster: Cluster) -> tuple[Signer, Signer]:
    """The authority that the bundle has, and the one that has just taken its place."""
    old, new = signer(days=LONG), signer(days=LONG)
    put_authority(api, old)
    put_gateway(api)
    supply(cluster)
    put_authority(api, new)
    return old, new


def test_it_gets_bundle_and_pull_secret_once(api: FakeApi, cluster: Cluster) -> None:
    own = signer()
    put_authority(api, own)
    put_gateway(api)
    wanted = ["create ConfigMap edge/rhai-ca-bundle", "create Secret edge/rhai-pull-secret"]
    assert sorted(changes(supply(cluster, check=True))) == wanted
    assert api.writes() == []
    first = supply(cluster)
    assert (sorted(changes(first)), first.notes) == (wanted, [])
    assert bundle(api) == f"{own.pem}\n"
    secret = api.stored("Secret", "rhai-pull-secret", "edge")
    assert base64.b64decode(secret["data"][".dockerconfigjson"]) == CONTENT
    second = supply(cluster)
    assert (changes(second), second.notes) == ([], [])


def test_a_new_authority_comes_before_the_old_one_and_its_owner_is_told_to_restart_the_pods(
    api: FakeApi, cluster: Cluster
) -> None:
    old, new = change_authority(api, cluster)
    put_tls(api, "model-certs", "models", tls_crt=signer(by=old).pem)
    found = supply(cluster)
    assert changes(found) == ["update ConfigMap edge/rhai-ca-bundle"]
    assert bundle(api) == f"{new.pem}\n{old.pem}\n"
    (note,) = found.notes
    assert "Restart the pods of Gateway edge/front" in note


def test_a_user_who_may_not_see_all_secrets_changes_the_authority_and_is_told_what_stays(
    api: FakeApi, cluster: Cluster
) -> None:
    old, new = change_authority(api, cluster)
    api.fail("GET", "/api/v1/secrets$", 403, "cannot list secrets at the cluster scope", reason="Forbidden")
    found = supply(cluster)
    assert changes(found) == ["update ConfigMap edge/rhai-ca-bundle"]
    assert bundle(api) == f"{new.pem}\n{old.pem}\n"
    assert [note for note in found.notes if "the right to list Secrets in all namespaces" in note]


def test_proxies_of_another_controller_get_no_credentials(api: FakeApi, cluster: Cluster) -> None:
    put_authority(api, signer())
    put_gateway(api, "other")
    assert changes(supply(cluster)) == ["create ConfigMap edge/rhai-ca-bundle"]


def test_objects_of_others_stay_and_what_they_lack_is_told_without_showing_it(api: FakeApi, cluster: Cluster) -> None:
    put_authority(api, signer())
    put_gateway(api)
    put_of_others(api, "ConfigMap", "rhai-ca-bundle", {"ca.crt": signer().pem})
    put_of_others(api, "Secret", "rhai-pull-secret", {".dockerconfigjson": base64.b64encode(b"{}").decode()})
    found = supply(cluster)
    assert (changes(found), api.writes()) == ([], [])
    assert ["not the platform's authority" in note for note in found.notes] == [True, False]
    assert ["other credentials" in note for note in found.notes] == [False, True]
    assert not any("hunter2" in note or "bWU6" in note for note in found.notes)


@pytest.mark.parametrize("more", ["", "with another"])
def test_objects_of_others_that_have_what_is_needed_are_fine(api: FakeApi, cluster: Cluster, more: str) -> None:
    own = signer()
    put_authority(api, own)
    put_gateway(api)
    there = f"{signer().pem}\n{own.pem}" if more else own.pem
    put_of_others(api, "ConfigMap", "rhai-ca-bundle", {"ca.crt": there})
    put_of_others(api, "Secret", "rhai-pull-secret", {".dockerconfigjson": base64.b64encode(CONTENT).decode()})
    found = supply(cluster)
    assert (changes(found), found.notes) == ([], [])


@pytest.mark.parametrize("served", [True, False])
def test_without_the_gateway_nothing_is_written(api: FakeApi, cluster: Cluster, served: bool) -> None:
    if not served:
        api.kinds.remove((API, "Gateway", "gateways", True))
    assert changes(supply(cluster)) == []
    assert api.writes() == []
