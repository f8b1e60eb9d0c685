"""The small asynchronous client against a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from embedded_cluster.kube import ApiError, KindNotServedError, KubeClient

from tests.support.clusters import EmbeddedCluster

pytestmark = pytest.mark.cluster

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.test.example.com"},
    "spec": {
        "group": "test.example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
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
WIDGET = {"apiVersion": "test.example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"}}


def with_client(cluster: EmbeddedCluster, scenario: Callable[[KubeClient], Awaitable[Any]]) -> Any:
    """Run a scenario with an administrator's client, for half a minute at most."""

    async def run() -> Any:
        client = KubeClient.from_kubeconfig(cluster.paths.kubeconfig, user_agent="test")
        async with client, asyncio.timeout(120):
            return await scenario(client)

    return asyncio.run(run())


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


def test_an_object_from_apply_to_delete(embedded_cluster):
    async def scenario(client):
        owner = await client.apply(config_map("owner"), "test")
        child = await client.apply(config_map("child", a="1"), "test", owner=owner)
        assert child["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
        await client.patch("v1", "ConfigMap", "child", {"data": {"b": "2"}}, "default")
        assert (await client.get("v1", "ConfigMap", "child", "default"))["data"] == {"a": "1", "b": "2"}
        assert not await client.delete("v1", "ConfigMap", "child", "default", uid="another")
        assert await client.delete("v1", "ConfigMap", "child", "default")
        assert await client.delete("v1", "ConfigMap", "owner", "default")
        assert await client.get("v1", "ConfigMap", "child", "default") is None

    with_client(embedded_cluster, scenario)


def test_a_conflict_of_field_managers_is_an_error_unless_forced(embedded_cluster):
    async def scenario(client):
        await client.apply(config_map("contested", a="1"), "one")
        with pytest.raises(ApiError) as caught:
            await client.apply(config_map("contested", a="2"), "two", force=False)
        forced = await client.apply(config_map("contested", a="2"), "two", force=True)
        await client.delete("v1", "ConfigMap", "contested", "default")
        return caught.value, forced

    error, forced = with_client(embedded_cluster, scenario)
    assert (error.status, error.reason) == (409, "Conflict")
    assert forced["data"] == {"a": "2"}


def test_an_unknown_kind_is_named(embedded_cluster):
    async def scenario(client):
        with pytest.raises(KindNotServedError, match=r'kind "Gadget" in version "test\.example\.com/v9"'):
            await client.list("test.example.com/v9", "Gadget")
        assert await client.get("test.example.com/v9", "Gadget", "x") is None

    with_client(embedded_cluster, scenario)


def test_a_watch_outlives_the_crd(embedded_cluster):
    """It waits for the CRD, reports objects, their end with the CRD, and new ones of a new CRD."""

    async def scenario(client):
        seen: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

        async def watch():
            async for event, obj in client.watch("test.example.com/v1", "Widget"):
                seen.put_nowait((event, obj["metadata"]["name"]))

        task = asyncio.create_task(watch())
        try:
            await client.apply(CRD, "test")
            await create_when_served(client)
            first = await seen.get()
            await client.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", CRD["metadata"]["name"])
            second = await seen.get()
            while await client.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", CRD["metadata"]["name"]):
                await asyncio.sleep(0.05)
            await client.apply(CRD, "test")
            await create_when_served(client)
            third = await seen.get()
        finally:
            task.cancel()
            await client.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", CRD["metadata"]["name"])
        return [first, second, third]

    async def create_when_served(client):
        while True:
            try:
                return await client.create(WIDGET)
            except ApiError as error:
                if error.status not in (404, 405):  # 405: the CRD of before is known still
                    raise
                await asyncio.sleep(0.05)

    assert with_client(embedded_cluster, scenario) == [("ADDED", "w"), ("DELETED", "w"), ("ADDED", "w")]


def test_a_watch_without_rights_ends_with_the_refusal(embedded_cluster, monkeypatch, tmp_path):
    monkeypatch.setattr("embedded_cluster.kube.FORBIDDEN_PATIENCE_SECONDS", 0.3)
    token = tmp_path / "token"
    token.write_text(embedded_cluster.kubectl("create", "token", "default").stdout)

    async def scenario(client):
        client.credentials.client_certificate = None
        client.credentials.token_file = token
        async for _ in client.watch("v1", "Secret"):
            raise AssertionError("a ServiceAccount without rights must not see Secrets")

    with pytest.raises(ApiError) as caught:
        with_client(embedded_cluster, scenario)
    assert caught.value.status == 403
    assert "system:serviceaccount:default:default" in caught.value.message
