"""Finding the process behind an address of the cluster."""

import asyncio

import pytest
from embedded_cluster.egress import Directory, EgressProxy, NoRouteError, PodEndpoint
from embedded_cluster.network import Network, host_address


def service(name, cluster_ip, port=443, port_name="https"):
    return {
        "metadata": {"namespace": "ns", "name": name},
        "spec": {"clusterIPs": [cluster_ip], "ports": [{"name": port_name, "port": port}]},
    }


def endpoint_slice(name, addresses, port=9443, port_name="https"):
    return {
        "metadata": {"namespace": "ns", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": port_name, "port": port}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address, ready in addresses],
    }


@pytest.fixture
def directory():
    return Directory(
        Network(64),
        6443,
        {
            "10.64.8.1": PodEndpoint("ns", "webhook-0", simulated=False, overrides={9443: 20001}),
            "10.64.8.2": PodEndpoint("ns", "model-0", simulated=True),
        },
        lambda: [service("webhook", "172.20.0.9"), service("model", "172.20.0.10"), service("idle", "172.20.0.11")],
        lambda: [
            endpoint_slice("webhook", [("10.64.8.3", False), ("10.64.8.1", True)]),
            endpoint_slice("model", [("10.64.8.2", True)]),
            endpoint_slice("idle", [("10.64.8.3", False)]),
        ],
    )


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("10.64.8.1", 8081, ("127.64.8.1", 8081)),
        ("10.64.8.1", 9443, ("127.64.8.1", 20001)),
        ("172.20.0.9", 443, ("127.64.8.1", 20001)),
        ("webhook.ns.svc", 443, ("127.64.8.1", 20001)),
        ("webhook.ns.svc.cluster.local", 443, ("127.64.8.1", 20001)),
        ("10.64.0.11", 10250, ("127.64.0.11", 10250)),
        ("10.64.0.1", 443, ("127.0.0.1", 6443)),
        ("172.20.0.1", 443, ("127.0.0.1", 6443)),
    ],
)
def test_addresses_lead_to_processes(directory, host, port, expected):
    assert directory.resolve(host, port) == expected
    assert directory.addresses(host, port) == [expected]


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("idle.ns.svc", 443, "no ready endpoint for service ns/idle port 443"),
        ("webhook.ns.svc", 80, "service ns/webhook has no port 80"),
        ("model.ns.svc", 443, "pod ns/model-0 is simulated, nothing listens on port 9443"),
        ("10.64.9.9", 80, "no pod has address 10.64.9.9"),
        ("webhook.other.svc", 443, "webhook.other.svc is neither"),
        ("192.0.2.1", 443, "192.0.2.1 is neither"),
    ],
)
def test_what_cannot_be_reached_says_why(directory, host, port, reason):
    with pytest.raises(NoRouteError, match=reason):
        directory.resolve(host, port)


def test_a_pod_address_is_a_loopback_address_with_the_same_end():
    assert host_address("10.64.8.1") == "127.64.8.1"


def test_the_proxy_carries_bytes_both_ways_and_refuses_with_a_reason(directory, tmp_path):
    async def talk(target, message):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(message)
        answer = await reader.read()
        writer.close()
        return head.decode(), answer

    async def echo(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def scenario():
        server = await asyncio.start_server(echo, "127.64.8.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxy = EgressProxy(directory, tmp_path / "s")
        await proxy.start()
        good = await talk(f"10.64.8.1:{port}", b"ping\n")
        bad = await talk("idle.ns.svc:443", b"")
        await proxy.stop()
        server.close()
        return good, bad, (tmp_path / "s").exists()

    (head, answer), (refusal, nothing), left = asyncio.run(scenario())
    assert head.startswith("HTTP/1.1 200 ")
    assert answer == b"PING\n"
    assert refusal.startswith("HTTP/1.1 502 no ready endpoint for service ns/idle port 443")
    assert nothing == b""
    assert not left
