"""Node data, address plan and process identities."""

import datetime
import os
import signal
import subprocess
import sys
from collections import deque

import pytest
from embedded_cluster import network
from embedded_cluster.nodes import Flavour, node_objects
from embedded_cluster.paths import SOCKET_PATH_LIMIT, ClusterPaths
from embedded_cluster.probes import port_of, probe_of
from embedded_cluster.processes import ProcessId, free_port, stop_all


@pytest.fixture(scope="module")
def nodes():
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return {item["metadata"]["name"]: item for item in node_objects(Flavour.load("aws"), network.Network(64), now)}


def test_two_gpu_nodes_look_like_g6_2xlarge(nodes):
    gpu = [node for node in nodes.values() if node["metadata"]["labels"].get("nvidia.com/gpu.present") == "true"]
    assert len(gpu) == 2
    for node in gpu:
        assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-L4"
        assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "g6.2xlarge"
        capacity = node["status"]["capacity"]
        assert (capacity["cpu"], capacity["memory"], capacity["nvidia.com/gpu"]) == ("8", "32Gi", "1")


def test_the_other_two_have_no_gpu(nodes):
    assert sum("nvidia.com/gpu" not in node["status"]["capacity"] for node in nodes.values()) == 2


def test_addresses_of_nodes_and_pods_do_not_meet(nodes):
    addresses = [node["status"]["addresses"][0]["address"] for node in nodes.values()]
    blocks = [node["spec"]["podCIDR"] for node in nodes.values()]
    assert len({*addresses, *blocks}) == 8
    plan = network.Network(64)
    pods = {next(plan.pod_addresses(block)) for block in blocks}
    assert not pods & set(addresses)


def test_an_unknown_flavour_names_the_known_ones():
    with pytest.raises(ValueError, match="aws"):
        Flavour.load("moon")


def test_octets_of_other_clusters_are_avoided():
    octet, claim = network.claim_octet(range(64, 100))
    claim.close()
    assert octet >= 100


def test_two_clusters_that_know_nothing_of_each_other_get_different_octets():
    (first, one), (second, two) = network.claim_octet([]), network.claim_octet([])
    with one, two:
        assert first != second
    again, claim = network.claim_octet(set(range(64, 192)) - {first})
    claim.close()
    assert again == first


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "-a", "x" * 41])
def test_cluster_names_are_dns_labels(name):
    with pytest.raises(ValueError, match="cluster name"):
        ClusterPaths.of(name)


def test_the_socket_path_fits_however_deep_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ("x" * 120)))
    assert len(str(ClusterPaths.of("a").egress_socket)) <= SOCKET_PATH_LIMIT


def test_a_process_is_recognised_by_more_than_its_pid():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        identity = ProcessId.of(child.pid)
        assert identity.alive()
        assert not ProcessId(child.pid, identity.start_time - 1, identity.boot_id).alive()
        assert not ProcessId(child.pid, identity.start_time, "another boot").alive()
        stop_all([identity], grace_seconds=5)
        assert child.wait(5) == -signal.SIGTERM
        assert not identity.alive()
    finally:
        child.kill()


def test_a_process_that_ignores_sigterm_is_killed():
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        stop_all([ProcessId.of(child.pid)], grace_seconds=0.1)
        assert child.wait(5) == -signal.SIGKILL
    finally:
        child.kill()


def test_a_preferred_port_is_kept_when_it_is_free():
    port = free_port()
    assert free_port(preferred=port) == port


def test_no_port_is_given_twice_before_its_server_listens(monkeypatch: pytest.MonkeyPatch):
    numbers = iter([20001, 20001, 20002])
    monkeypatch.setattr("embedded_cluster.processes._given", deque())
    monkeypatch.setattr("embedded_cluster.processes._is_free", lambda *_: True)
    monkeypatch.setattr("random.randint", lambda *_: next(numbers))
    assert [free_port(), free_port()] == [20001, 20002]


def test_identities_survive_being_written_down():
    identity = ProcessId.of(os.getpid())
    assert ProcessId.from_dict(identity.to_dict()) == identity


def test_probes_find_named_ports():
    container = {
        "name": "c",
        "ports": [{"name": "health", "containerPort": 8081}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "health"}, "periodSeconds": 5},
    }
    probe = probe_of(container, "readinessProbe")
    assert (probe.kind, probe.port, probe.path, probe.period) == ("httpGet", 8081, "/readyz", 5.0)
    assert probe_of(container, "livenessProbe") is None


def test_a_probe_of_an_undeclared_port_is_refused():
    with pytest.raises(ValueError, match="declares no port named web"):
        port_of({"name": "c"}, "web", "readinessProbe")
