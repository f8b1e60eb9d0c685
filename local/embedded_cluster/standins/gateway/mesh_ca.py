"""istiod's own certificate authority: the Secret `istio-ca-secret` and certificates signed with it (section 1.1)."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from embedded_cluster.kube import ApiError

if TYPE_CHECKING:
    from embedded_cluster.kube import KubeClient

SECRET_NAME = "istio-ca-secret"
SECRET_TYPE = "istio.io/ca-root"
VALIDITY = datetime.timedelta(days=3650)
CLOCK_SKEW = datetime.timedelta(minutes=5)


@dataclass(frozen=True)
class Authority:
    """Root certificate and key of the mesh, as PEM text."""

    root_certificate: str
    key: str

    @classmethod
    def create(cls) -> Authority:
        """A new self-signed authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster.local")])
        certificate = (
            _builder(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(_pem(certificate), _key_pem(key))

    def serving_pair(self, names: Sequence[str]) -> tuple[str, str]:
        """(certificate, key) as PEM text for a server with these DNS names."""
        root = x509.load_pem_x509_certificate(self.root_certificate.encode())
        root_key = serialization.load_pem_private_key(self.key.encode(), password=None)
        if not isinstance(root_key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"Secret {SECRET_NAME} ca-key.pem: expected an elliptic curve key, found {root_key!r}")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(x509.Name([]), root.subject, key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
            .sign(root_key, hashes.SHA256())
        )
        return _pem(certificate), _key_pem(key)


async def ensure(client: KubeClient, namespace: str) -> Authority:
    """The authority of the Secret in istiod's namespace, made when there is none."""
    secret = await client.get("v1", "Secret", SECRET_NAME, namespace)
    if secret is None:
        authority = Authority.create()
        data = {
            "ca-cert.pem": authority.root_certificate,
            "ca-key.pem": authority.key,
            "cert-chain.pem": "",
            "key.pem": "",
            "root-cert.pem": authority.root_certificate,
        }
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET_NAME, "namespace": namespace},
            "type": SECRET_TYPE,
            "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
        }
        try:
            await client.create(secret)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return await ensure(client, namespace)
        return authority
    data = {key: base64.b64decode(text).decode() for key, text in secret["data"].items()}
    return Authority(data["root-cert.pem"] or data["ca-cert.pem"], data["ca-key.pem"])


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


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
