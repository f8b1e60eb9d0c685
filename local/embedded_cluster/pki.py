"""The cluster's own certificates and keys, all in files that only their owner can read.

Three authorities as in a real cluster: one for servers and clients, one for etcd, one for the
API server's front proxy. Keys are ECDSA P-256, which is fast to make and to verify.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALIDITY = datetime.timedelta(days=365)
CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its key as PEM files."""

    certificate: Path
    key: Path

    @classmethod
    def at(cls, folder: Path, name: str) -> KeyPair:
        """The pair `<name>.crt`, `<name>.key` of a folder."""
        return cls(folder / f"{name}.crt", folder / f"{name}.key")


@dataclass(frozen=True)
class Pki:
    """All files of one cluster's PKI; names say who uses the pair."""

    folder: Path

    def pair(self, name: str) -> KeyPair:
        """Certificate and key of `name`: ca, etcd-ca, front-proxy-ca, apiserver, admin, ..."""
        return KeyPair.at(self.folder, name)

    @property
    def ca(self) -> KeyPair:
        return self.pair("ca")

    @property
    def service_account_key(self) -> Path:
        """Private key that signs ServiceAccount tokens."""
        return self.folder / "service-account.key"

    @property
    def service_account_public_key(self) -> Path:
        return self.folder / "service-account.pub"


@dataclass(frozen=True)
class ClientIdentity:
    """A user of the API server: file name, user name and groups."""

    name: str
    user: str
    groups: tuple[str, ...] = ()


CLIENTS = (
    ClientIdentity("admin", "kubernetes-admin", ("system:masters",)),
    ClientIdentity("supervisor", "embedded-cluster:supervisor", ("system:masters", "embedded-cluster")),
    ClientIdentity("controller-manager", "system:kube-controller-manager"),
    ClientIdentity("scheduler", "system:kube-scheduler"),
    ClientIdentity("kwok", "embedded-cluster:kwok", ("embedded-cluster",)),
    ClientIdentity("node-agent", "embedded-cluster:node-agent", ("embedded-cluster",)),
    ClientIdentity("kubelet-client", "embedded-cluster:kubelet-client"),
)


def create(folder: Path, *, api_addresses: Sequence[str], node_addresses: Sequence[str]) -> Pki:
    """Make the whole PKI in `folder`, replacing what is there.

    `api_addresses` are further IP addresses of the API server's certificate (its service and
    advertised address), `node_addresses` those of the nodes' log server.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    pki = Pki(folder)
    authority = _Authority.create(pki.ca, "embedded-cluster-ca")
    etcd_authority = _Authority.create(pki.pair("etcd-ca"), "embedded-cluster-etcd-ca")
    proxy_authority = _Authority.create(pki.pair("front-proxy-ca"), "embedded-cluster-front-proxy-ca")

    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    authority.serve(pki.pair("apiserver"), "kube-apiserver", ["localhost", *names], ["127.0.0.1", *api_addresses])
    authority.serve(pki.pair("kubelet"), "embedded-cluster-nodes", ["localhost"], ["127.0.0.1", *node_addresses])
    for client in CLIENTS:
        authority.client(pki.pair(client.name), client.user, client.groups)
    etcd_authority.serve(pki.pair("etcd"), "etcd", ["localhost"], ["127.0.0.1"])
    etcd_authority.client(pki.pair("etcd-client"), "kube-apiserver", ())
    proxy_authority.client(pki.pair("front-proxy"), "front-proxy", ())

    key = ec.generate_private_key(ec.SECP256R1())
    _write_key(pki.service_account_key, key)
    _write(
        pki.service_account_public_key,
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    )
    return pki


class _Authority:
    """A certificate authority that signs serving and client certificates."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, files: KeyPair, name: str) -> _Authority:
        """A new self-signed authority, written to `files`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(subject, subject, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_key(files.key, key)
        _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return cls(key, certificate)

    def serve(self, files: KeyPair, name: str, dns_names: Sequence[str], addresses: Sequence[str]) -> None:
        """Sign a serving certificate for DNS names and IP addresses."""
        alternatives: list[x509.GeneralName] = [x509.DNSName(item) for item in dns_names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(item)) for item in addresses]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        # etcd's serving certificate also is its client certificate toward itself.
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        self._sign(files, subject, usages, x509.SubjectAlternativeName(alternatives))

    def client(self, files: KeyPair, user: str, groups: Sequence[str]) -> None:
        """Sign a client certificate: the common name is the user, organisations are its groups."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        self._sign(files, subject, [ExtendedKeyUsageOID.CLIENT_AUTH], None)

    def _sign(
        self,
        files: KeyPair,
        subject: x509.Name,
        usages: list[x509.ObjectIdentifier],
        alternatives: x509.SubjectAlternativeName | None,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, self._certificate.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        _write_key(files.key, key)
        _write(files.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    _write(
        path,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ),
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file that was never readable by anyone else."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
