"""Envoy's folder over several starts of its container."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from embedded_cluster import proxy
from embedded_cluster.standins.gateway.proxies import ProxyConfig
from embedded_cluster.standins.proxy_files import ProxyFiles


def start(folder: Path) -> None:
    proxy.launch(["proxy", "router"], {}, "gw", folder, "127.0.0.1")


def listeners(folder: Path) -> object:
    return json.loads((folder / proxy.LISTENERS_FILE).read_text(encoding="utf-8"))["resources"]


def test_the_first_start_has_an_empty_configuration(tmp_path: Path) -> None:
    start(tmp_path)
    assert listeners(tmp_path) == []


def test_a_proxy_that_starts_again_has_what_istiod_wrote_before(tmp_path: Path) -> None:
    """istiod's stand-in writes what changed, and nothing has."""
    files = ProxyFiles()
    config = ProxyConfig(str(tmp_path), {}, {}, ({"name": "http"},))
    for _ in range(2):
        start(tmp_path)
        asyncio.run(files.publish([config]))
        assert listeners(tmp_path) == [{"name": "http"}]


@pytest.mark.parametrize(
    ("env", "grace", "seconds"),
    [({}, 30, 5), ({}, 2, 2), ({"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true"}, 600, 600)],
    ids=["the-agents-default", "a-short-grace-period", "told-to-wait-for-all"],
)
def test_requests_may_go_on_as_long_as_the_proxys_agent_lets_them(
    env: dict[str, str], grace: float, seconds: float
) -> None:
    assert proxy.drain_seconds(env, grace) == seconds
