"""The bundle of authorities that the gateway trusts: the platform's, and while it changes, those before it.

A new authority takes the place of the old one in its Secret at once, and what the old one signed goes on being served
until it is signed anew.  So the certificates of the bundle that is in use stay in it as long as a Secret of the
cluster holds something they signed (platform.md 4.2: nobody else refreshes the bundle).  A user who may not look into
all namespaces cannot know that: then they stay until they expire.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from inference_platform.cluster import errors
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object

_BEGIN = "-----BEGIN CERTIFICATE-----"
_TLS = "kubernetes.io/tls"


class TrustError(errors.ClusterError):
    """The authority's Secret is missing or holds no certificate."""


@dataclass(frozen=True)
class Source:
    """Where the authority is: a Secret, its key; and the ConfigMap (namespace, name) of the bundle in use, if any."""

    namespace: str
    secret: str
    key: str
    config_map: tuple[str, str] | None = None

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.secret} key {self.key}"


@dataclass(frozen=True)
class Bundle:
    """Certificates in PEM form, and what the user should know of them (whole sentences, "" for nothing)."""

    text: str
    note: str = ""


def bundle(cluster: Cluster, source: Source, *, check: bool = False, now: datetime.datetime | None = None) -> Bundle:
    """The bundle: the authority first, then those that are still needed, in the order in which they were.

    In check mode a Secret that a run would only make gives a placeholder.  Raises TrustError.
    """
    secret = cluster.get("v1", "Secret", source.secret, source.namespace)
    if secret is None and check:
        return Bundle(f"{_BEGIN}\n(from {source}, once it exists)\n-----END CERTIFICATE-----")
    current = authorities(secret, source)
    if source.config_map is None:
        return Bundle(_text(current))
    namespace, name = source.config_map
    live = cluster.get("v1", "ConfigMap", name, namespace)
    moment = now or datetime.datetime.now(datetime.UTC)
    before = others(_read(((live or {}).get("data") or {}).get(source.key, "")), current)
    valid = [item for item in before if item.not_valid_after_utc > moment]
    if not valid:
        return Bundle(_text(current))
    try:
        served = list(_served(cluster))
    except errors.Forbidden:
        return Bundle(_text([*current, *valid]), _cannot_tell(namespace, name))
    return Bundle(_text([*current, *(item for item in valid if signed_any(item, served))]))


def _text(certificates: Iterable[x509.Certificate]) -> str:
    return "\n".join(map(pem, certificates))


def _cannot_tell(namespace: str, name: str) -> str:
    return (
        f"ConfigMap {namespace}/{name} keeps the authorities from before the change: expected the right to list "
        "Secrets in all namespaces, to see whether anything that they signed is still in use; found that it is "
        "refused. They stay trusted until they expire, or until a run of a user with that right finds them unused."
    )


def authorities(secret: Object | None, source: Source) -> list[x509.Certificate]:
    """The authority's own certificate and the root above it, if it is not the root itself.  Raises TrustError."""
    data = (secret or {}).get("data") or {}
    text = base64.b64decode(data.get(source.key, "")).decode("utf-8", "replace").strip()
    found = _read(text)
    if not found or "PRIVATE KEY" in text:
        missing = "no such key" if secret else "no such Secret"
        raise TrustError(
            f"{source}: expected a certificate in PEM form, found {'something else' if text else missing}. "
            f"See: kubectl -n {source.namespace} describe certificate {source.secret}"
        )
    own = _read(base64.b64decode(data.get("tls.crt", "")).decode("utf-8", "replace"))[:1]
    return found + others(own, found)


def includes(there: str, needed: str) -> bool:
    """Whether a bundle (PEM) has the key of every certificate of another."""
    return not others(_read(needed), _read(there))


def others(certificates: Iterable[x509.Certificate], known: Iterable[x509.Certificate]) -> list[x509.Certificate]:
    """Those whose key none of the known ones has: a renewed certificate of the same key proves the same."""
    keys = {_key(item) for item in known}
    found = []
    for item in certificates:
        if _key(item) not in keys:
            keys.add(_key(item))
            found.append(item)
    return found


def signed_any(authority: x509.Certificate, certificates: Iterable[x509.Certificate]) -> bool:
    """Whether an authority signed one of the certificates."""
    return any(_signed(authority, item) for item in certificates)


def pem(certificate: x509.Certificate) -> str:
    """A certificate as text, without a line end."""
    return certificate.public_bytes(Encoding.PEM).decode().strip()


def _signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _served(cluster: Cluster) -> Iterator[x509.Certificate]:
    """The certificates in all TLS Secrets; their keys are passed over."""
    for secret in cluster.list("v1", "Secret", field_selector=f"type={_TLS}"):
        text = base64.b64decode((secret.get("data") or {}).get("tls.crt", "")).decode("utf-8", "replace")
        yield from _read(text)[:1]


def _read(text: str) -> list[x509.Certificate]:
    """The certificates in a text; none when it is something else."""
    if _BEGIN not in text:
        return []
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        return []


def _key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
