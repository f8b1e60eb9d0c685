"""The API server with the pods' addresses of this machine."""

from __future__ import annotations

import json
from pathlib import Path

from embedded_cluster.network import Network
from embedded_cluster.pki import KeyPair
from embedded_cluster.pod_view import PodView

PAIR = KeyPair(Path("a"), Path("b"))
VIEW = PodView(Network(64), "127.64.0.10", PAIR, "https://127.0.0.1:1", Path("ca"))


def test_only_addresses_of_own_pods_are_translated() -> None:
    status = {
        "podIP": "10.64.8.3",
        "podIPs": [{"ip": "10.64.8.3"}],
        "hostIP": "10.64.0.11",
        "message": "10.64.8.3 and 10.65.8.3",
    }
    pod = {"metadata": {"name": "10.64.8.3"}, "spec": {"env": "10.64.8.3"}, "status": status}
    for separators in ((",", ":"), (", ", ": ")):
        translated = json.loads(VIEW.translated(json.dumps(pod, separators=separators).encode()))
        assert translated["status"] == status | {"podIP": "127.64.8.3", "podIPs": [{"ip": "127.64.8.3"}]}
        assert translated["metadata"] == pod["metadata"]


def test_pods_of_other_networks_stay() -> None:
    content = b'{"podIP":"10.65.8.3","podIPs":[{"ip":"192.168.1.1"}]}'
    assert VIEW.translated(content) == content
