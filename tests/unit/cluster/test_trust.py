"""The bundle of authorities: the new one first, the old ones as long as something needs them."""

from __future__ import annotations

import base64
import datetime
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from inference_platform.cluster import trust
from inference_platform.cluster.client import Cluster
from tests.unit.cluster.fake_api import FakeApi

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SOURCE = trust.Source("cert-manager", "rhai-ca", "ca.crt", ("apps", "rhai-ca-bundle"))


@dataclass(frozen=True)
class Signer:
    """A key with its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return trust.pem(self.certificate)


def signer(by: Signer | None = None, key: ec.EllipticCurvePrivateKey | None = None, days: int = 365) -> Signer:
    """An authority of the name that all of them have, signed by itself or another."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rhai-ca")])
    builder = x509.CertificateBuilder(
        issuer_name=by.certificate.subject if by else name,
        subject_name=name,
        public_key=own.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - datetime.timedelta(days=400),
        not_valid_after=NOW + datetime.timedelta(days=days),
    )
    return Signer(own, builder.sign(by.key if by else own, hashes.SHA256()))


def put_tls(api: FakeApi, name: str, namespace: str, **texts: str) -> None:
    data = {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    meta = {"name": name, "namespace": namespace}
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/tls", "data": data})


def put_bundle(api: FakeApi, *signers: Signer) -> None:
    meta = {"name": "rhai-ca-bundle", "namespace": "apps"}
    data = {"ca.crt": "\n".join(item.pem for item in signers) + "\n"}
    api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})


def put_authority(api: FakeApi, authority: Signer, root: Signer | None = None) -> None:
    private = authority.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    root = root or authority
    put_tls(api, "rhai-ca", "cert-manager", ca_crt=root.pem, tls_crt=authority.pem, tls_key=private.decode())


def test_the_first_bundle_is_the_authority_alone(api: FakeApi, cluster: Cluster) -> None:
    own = signer()
    put_authority(api, own)
    assert trust.bundle(cluster, SOURCE).text == own.pem


def test_a_new_authority_comes_before_the_old_one_while_something_of_the_old_one_is_served(
    api: FakeApi, cluster: Cluster
) -> None:
    old, new = signer(), signer()
    put_authority(api, new)
    put_bundle(api, old)
    put_tls(api, "model-certs", "models", tls_crt=signer(by=old).pem, tls_key="never looked at")
    wanted = f"{new.pem}\n{old.pem}"
    assert trust.bundle(cluster, SOURCE, now=NOW).text == wanted
    put_bundle(api, new, old)
    assert trust.bundle(cluster, SOURCE, now=NOW).text == wanted


def test_the_old_authority_goes_when_nothing_of_it_is_served_or_it_has_expired(api: FakeApi, cluster: Cluster) -> None:
    old, expired, new = signer(), signer(days=-1), signer()
    put_authority(api, new)
    put_bundle(api, new, old, expired)
    put_tls(api, "model-certs", "models", tls_crt=signer(by=new).pem)
    put_tls(api, "forgotten", "models", tls_crt=signer(by=expired).pem)
    assert trust.bundle(cluster, SOURCE, now=NOW).text == new.pem


def test_the_old_authority_stays_where_the_user_may_not_see_what_it_signed(api: FakeApi, cluster: Cluster) -> None:
    old, expired, new = signer(), signer(days=-1), signer()
    put_authority(api, new)
    put_bundle(api, new, old, expired)
    api.fail("GET", "/api/v1/secrets$", 403, "cannot list secrets at the cluster scope", reason="Forbidden")
    found = trust.bundle(cluster, SOURCE, now=NOW)
    assert found.text == f"{new.pem}\n{old.pem}"
    assert "ConfigMap apps/rhai-ca-bundle keeps" in found.note
    assert "the right to list Secrets in all namespaces" in found.note
    assert trust.bundle(cluster, SOURCE, now=NOW) == trust.Bundle(new.pem), "a user who may see it lets it go"


def test_a_renewed_certificate_of_the_same_key_takes_the_place_of_the_old_one(api: FakeApi, cluster: Cluster) -> None:
    old = signer()
    renewed = signer(key=old.key, days=900)
    put_authority(api, renewed)
    put_bundle(api, old)
    put_tls(api, "model-certs", "models", tls_crt=signer(by=old).pem)
    assert trust.bundle(cluster, SOURCE, now=NOW).text == renewed.pem


def test_an_authority_below_a_root_is_in_the_bundle_beside_it(api: FakeApi, cluster: Cluster) -> None:
    root = signer()
    below = signer(by=root)
    put_authority(api, below, root)
    assert trust.bundle(cluster, SOURCE).text == f"{root.pem}\n{below.pem}"


@pytest.mark.parametrize("key", ["-----BEGIN PRIVATE KEY-----\nx", "AND A KEY"])
def test_a_key_never_gets_into_the_bundle(api: FakeApi, cluster: Cluster, key: str) -> None:
    content = f"{signer().pem}\n-----BEGIN PRIVATE KEY-----" if key == "AND A KEY" else key
    put_tls(api, "rhai-ca", "cert-manager", ca_crt=content)
    with pytest.raises(trust.TrustError, match="expected a certificate in PEM form, found something else") as error:
        trust.bundle(cluster, SOURCE)
    assert content not in str(error.value)


def test_a_missing_authority_stops_a_run_and_not_a_check(cluster: Cluster) -> None:
    with pytest.raises(trust.TrustError, match=r"found no such Secret.*describe certificate rhai-ca"):
        trust.bundle(cluster, SOURCE)
    assert "once it exists" in trust.bundle(cluster, SOURCE, check=True).text


def test_as_long_as_nothing_changes_two_objects_are_read(api: FakeApi, cluster: Cluster) -> None:
    own = signer()
    put_authority(api, own)
    put_bundle(api, own)
    cluster.discovery()
    before = len(api.requests)
    assert trust.bundle(cluster, SOURCE).text == own.pem
    assert len(api.requests) - before == 2
    asked: list[Any] = [request.path for request in api.requests[before:]]
    assert not any(path.endswith("/secrets") for path in asked)
