"""Command lines and configuration files of the control plane's processes."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from embedded_cluster.network import SERVICE_CIDR, Network
from embedded_cluster.paths import ClusterPaths
from embedded_cluster.pki import KeyPair, Pki
from embedded_cluster.private_files import write_private

PACKAGE = Path(__file__).resolve().parent
SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIT_LOG_MEGABYTES = 200
NODE_LEASE_SECONDS = 40


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    apiserver: int
    etcd: int
    etcd_peer: int


@dataclass(frozen=True)
class ControlPlane:
    """Everything that the command lines depend on."""

    paths: ClusterPaths
    pki: Pki
    network: Network
    ports: Ports
    bin_dir: Path

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self.ports.apiserver}"

    @property
    def etcd_url(self) -> str:
        return f"https://127.0.0.1:{self.ports.etcd}"

    def kubeconfig_of(self, client: str) -> Path:
        """Kubeconfig of one of the cluster's own processes."""
        return self.paths.run / f"{client}.kubeconfig"

    def write_files(self) -> None:
        """Write kubeconfigs, policies and the pull secret (0600)."""
        for client in ("controller-manager", "scheduler", "kwok", "node-agent", "supervisor"):
            write_private(self.kubeconfig_of(client), kubeconfig(self.api_url, self.pki, client, self.paths.name))
        write_private(self.paths.kubeconfig, kubeconfig(self.api_url, self.pki, "admin", self.paths.name))
        if not self.paths.pull_secret.exists():
            write_private(self.paths.pull_secret, json.dumps(throw_away_pull_secret(), indent=2) + "\n")
        write_private(self._egress_file, yaml.safe_dump(self._egress_configuration()))
        write_private(self._scheduler_file, yaml.safe_dump(self._scheduler_configuration()))
        stages = [path.read_text() for path in sorted((PACKAGE / "stages").glob("*.yml"))]
        write_private(self._kwok_file, "---\n".join(stages))

    @property
    def _egress_file(self) -> Path:
        return self.paths.run / "egress-selector.yml"

    @property
    def _scheduler_file(self) -> Path:
        return self.paths.run / "scheduler.yml"

    @property
    def _kwok_file(self) -> Path:
        return self.paths.run / "kwok.yml"

    def _egress_configuration(self) -> dict[str, Any]:
        """Connections from the API server into the cluster go through our proxy."""
        transport = {"uds": {"udsName": str(self.paths.egress_socket)}}
        return {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [
                {"name": "cluster", "connection": {"proxyProtocol": "HTTPConnect", "transport": transport}},
                {"name": "controlplane", "connection": {"proxyProtocol": "Direct"}},
                {"name": "etcd", "connection": {"proxyProtocol": "Direct"}},
            ],
        }

    def _scheduler_configuration(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {
                "kubeconfig": str(self.kubeconfig_of("scheduler")),
                "qps": 200,
                "burst": 400,
            },
            "leaderElection": {"leaderElect": False},
            "podInitialBackoffSeconds": 1,
            "podMaxBackoffSeconds": 5,
        }

    def etcd(self) -> list[str]:
        """etcd for one member, without fsync: data survives a killed process, not a crashed machine."""
        pair, authority = self.pki.pair("etcd"), self.pki.pair("etcd-ca").certificate
        peer_url = f"https://127.0.0.1:{self.ports.etcd_peer}"
        return [
            str(self.bin_dir / "etcd"),
            *_flags(
                {
                    "name": self.paths.name,
                    "data-dir": self.paths.etcd,
                    "listen-client-urls": self.etcd_url,
                    "advertise-client-urls": self.etcd_url,
                    "listen-peer-urls": peer_url,
                    "initial-advertise-peer-urls": peer_url,
                    "initial-cluster": f"{self.paths.name}={peer_url}",
                    "cert-file": pair.certificate,
                    "key-file": pair.key,
                    "trusted-ca-file": authority,
                    "client-cert-auth": True,
                    "peer-cert-file": pair.certificate,
                    "peer-key-file": pair.key,
                    "peer-trusted-ca-file": authority,
                    "peer-client-cert-auth": True,
                    "unsafe-no-fsync": True,
                    "heartbeat-interval": 50,
                    "election-timeout": 500,
                    "log-level": "warn",
                }
            ),
        ]

    def apiserver(self) -> list[str]:
        """The API server: RBAC and Node authorisation, audit log, egress through our proxy."""
        etcd_client, front_proxy = self.pki.pair("etcd-client"), self.pki.pair("front-proxy")
        serving, kubelet_client = self.pki.pair("apiserver"), self.pki.pair("kubelet-client")
        return [
            str(self.bin_dir / "kube-apiserver"),
            *_flags(
                {
                    "bind-address": "127.0.0.1",
                    "secure-port": self.ports.apiserver,
                    "advertise-address": self.network.api_address,
                    "tls-cert-file": serving.certificate,
                    "tls-private-key-file": serving.key,
                    "client-ca-file": self.pki.ca.certificate,
                    "etcd-servers": self.etcd_url,
                    "etcd-cafile": self.pki.pair("etcd-ca").certificate,
                    "etcd-certfile": etcd_client.certificate,
                    "etcd-keyfile": etcd_client.key,
                    "requestheader-client-ca-file": self.pki.pair("front-proxy-ca").certificate,
                    "requestheader-allowed-names": "front-proxy",
                    "requestheader-extra-headers-prefix": "X-Remote-Extra-",
                    "requestheader-group-headers": "X-Remote-Group",
                    "requestheader-username-headers": "X-Remote-User",
                    "proxy-client-cert-file": front_proxy.certificate,
                    "proxy-client-key-file": front_proxy.key,
                    "service-account-key-file": self.pki.service_account_public_key,
                    "service-account-signing-key-file": self.pki.service_account_key,
                    "service-account-issuer": SERVICE_ACCOUNT_ISSUER,
                    "service-cluster-ip-range": SERVICE_CIDR,
                    "authorization-mode": "Node,RBAC",
                    "enable-admission-plugins": "NodeRestriction",
                    "egress-selector-config-file": self._egress_file,
                    # Webhook calls go to a ready pod chosen by the API server; without one its
                    # answer is "no endpoints available for service", as users see it elsewhere.
                    "enable-aggregator-routing": True,
                    "kubelet-certificate-authority": self.pki.ca.certificate,
                    "kubelet-client-certificate": kubelet_client.certificate,
                    "kubelet-client-key": kubelet_client.key,
                    "kubelet-preferred-address-types": "InternalIP",
                    "audit-policy-file": PACKAGE / "audit-policy.yml",
                    "audit-log-path": self.paths.audit_log,
                    "audit-log-maxsize": AUDIT_LOG_MEGABYTES,
                    "audit-log-maxbackup": 2,
                    "allow-privileged": True,
                    "profiling": False,
                }
            ),
        ]

    def controller_manager(self) -> list[str]:
        """All controllers that make sense without machines and cloud."""
        without = ("ttl-controller", "bootstrap-signer-controller", "token-cleaner-controller")
        return [
            str(self.bin_dir / "kube-controller-manager"),
            *_flags(
                {
                    "kubeconfig": self.kubeconfig_of("controller-manager"),
                    "secure-port": 0,
                    "leader-elect": False,
                    "use-service-account-credentials": True,
                    "service-account-private-key-file": self.pki.service_account_key,
                    "root-ca-file": self.pki.ca.certificate,
                    "cluster-signing-cert-file": self.pki.ca.certificate,
                    "cluster-signing-key-file": self.pki.ca.key,
                    "controllers": ",".join(["*", *(f"-{name}" for name in without)]),
                    "kube-api-qps": 200,
                    "kube-api-burst": 400,
                    "profiling": False,
                }
            ),
        ]

    def scheduler(self) -> list[str]:
        return [
            str(self.bin_dir / "kube-scheduler"),
            *_flags({"config": self._scheduler_file, "secure-port": 0}),
        ]

    def kwok(self) -> list[str]:
        """kwok for node leases and for the pods that no program runs."""
        return [
            str(self.bin_dir / "kwok"),
            *_flags(
                {
                    "kubeconfig": self.kubeconfig_of("kwok"),
                    "config": self._kwok_file,
                    "manage-all-nodes": True,
                    "node-lease-duration-seconds": NODE_LEASE_SECONDS,
                    "cidr": self.network.pod_cidr,
                    "node-ip": self.network.node_address(0),
                }
            ),
        ]


def kubeconfig(server: str, pki: Pki, client: str, cluster_name: str) -> str:
    """A kubeconfig with embedded certificates for one of the PKI's clients."""
    pair = pki.pair(client)
    name = f"embedded-{cluster_name}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": server, "certificate-authority-data": _encoded(pki.ca.certificate)}}
        ],
        "users": [{"name": client, "user": _client_data(pair)}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": client}}],
        "current-context": name,
    }
    return yaml.safe_dump(content, sort_keys=False)


def throw_away_pull_secret() -> dict[str, Any]:
    """A dockerconfigjson with made-up credentials for the private registries."""
    credential = base64.b64encode(f"embedded-cluster:{secrets.token_urlsafe(24)}".encode()).decode()
    return {"auths": {"registry.redhat.io": {"auth": credential}}}


def _client_data(pair: KeyPair) -> dict[str, str]:
    return {"client-certificate-data": _encoded(pair.certificate), "client-key-data": _encoded(pair.key)}


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _flags(values: dict[str, Any]) -> Iterator[str]:
    """`--name=value` for each entry, booleans in lower case."""
    for name, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield f"--{name}={text}"
