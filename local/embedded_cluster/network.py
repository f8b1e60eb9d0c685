"""Addresses of the cluster and what they are on this machine.

Pods and nodes get addresses `10.<octet>.x.y`, as the API server refuses loopback addresses in
EndpointSlices. On this machine the very same address with 127 in front is used: whatever a pod
listens on at 10.5.16.7:8000 really is at 127.5.16.7:8000. So the way from a pod's address to a
process needs no table; only ports that a program cannot bind as wanted are listed (overrides).
Each cluster has an octet of its own, so that clusters do not meet.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

OCTETS = range(64, 192)
SERVICE_CIDR = "172.20.0.0/16"
API_SERVICE_ADDRESS = "172.20.0.1"
KUBELET_PORT = 10250
POD_BLOCK = 8
"""Third-octet steps per node: every node has a /21 for its pods."""
FIRST_NODE = 10
CLAIM = 2
"""Last octet of the address that a running cluster holds, and nothing else uses."""
LOAD_BALANCER_BLOCK = 255


@dataclass(frozen=True)
class Network:
    """Address plan of one cluster."""

    octet: int

    @property
    def pod_cidr(self) -> str:
        """All pod and node addresses."""
        return f"10.{self.octet}.0.0/16"

    @property
    def api_address(self) -> str:
        """Address under which the API server shows up in its own Endpoints."""
        return f"10.{self.octet}.0.1"

    def node_address(self, index: int) -> str:
        """InternalIP of the node at `index` (0, 1, ...)."""
        return f"10.{self.octet}.0.{FIRST_NODE + index}"

    def node_pod_cidr(self, index: int) -> str:
        """podCIDR of the node at `index`."""
        return f"10.{self.octet}.{POD_BLOCK * (index + 1)}.0/21"

    def pod_addresses(self, pod_cidr: str) -> Iterator[str]:
        """Pod addresses of a node's podCIDR, in order."""
        return (str(address) for address in ipaddress.ip_network(pod_cidr).hosts())

    def load_balancer_addresses(self) -> Iterator[str]:
        """Loopback addresses for Services of type LoadBalancer."""
        return (f"127.{self.octet}.{LOAD_BALANCER_BLOCK}.{host}" for host in range(1, 255))

    def owns(self, address: str) -> bool:
        """True for pod and node addresses of this cluster."""
        return address.startswith(f"10.{self.octet}.")


def host_address(pod_address: str) -> str:
    """The loopback address of this machine that stands for a pod or node address."""
    first, rest = pod_address.split(".", 1)
    if first != "10":
        raise ValueError(f"pod address: expected 10.x.y.z, found {pod_address}")
    return f"127.{rest}"


def claim_octet(taken: Iterable[int], preferred: int | None = None) -> tuple[int, socket.socket]:
    """An octet that no other cluster uses, and what claims it: a port of the block, as long as the socket is open.

    taken      octets of clusters of this user, also of those that do not run
    preferred  tried first
    """
    used = set(taken)
    candidates: list[int] = [preferred] if preferred else []
    for octet in itertools.chain(candidates, OCTETS):
        if octet not in used and (claim := _claim(octet)) is not None:
            return octet, claim
    raise RuntimeError(f"no free address block among 127.{OCTETS.start}.0.0 to 127.{OCTETS.stop - 1}.0.0")


def _claim(octet: int) -> socket.socket | None:
    """Clusters of other users and home folders know nothing of each other, but the kernel gives a port only once."""
    claim = socket.socket()
    try:
        claim.bind((f"127.{octet}.0.{CLAIM}", KUBELET_PORT))
    except OSError:
        claim.close()
        return None
    return claim
