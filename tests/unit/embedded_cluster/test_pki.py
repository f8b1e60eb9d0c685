"""The cluster's certificates."""

import ssl
import stat

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from embedded_cluster import pki as cluster_pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    return cluster_pki.create(folder, api_addresses=["172.20.0.1"], node_addresses=["10.64.0.10"])


def certificate(pki, name):
    return x509.load_pem_x509_certificate(pki.pair(name).certificate.read_bytes())


def test_only_the_owner_can_read_the_files(pki):
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in pki.folder.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE(pki.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["apiserver", "kubelet", *(client.name for client in cluster_pki.CLIENTS)])
def test_certificates_are_signed_by_the_cluster_authority(pki, name):
    authority = certificate(pki, "ca")
    key = authority.public_key()
    signed = certificate(pki, name)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signed.verify_directly_issued_by(authority)


@pytest.mark.parametrize(
    ("name", "authority"), [("etcd", "etcd-ca"), ("etcd-client", "etcd-ca"), ("front-proxy", "front-proxy-ca")]
)
def test_other_authorities_sign_their_own(pki, name, authority):
    certificate(pki, name).verify_directly_issued_by(certificate(pki, authority))


def test_the_api_server_certificate_covers_its_addresses(pki):
    names = certificate(pki, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(item) for item in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "172.20.0.1"}
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)


def test_clients_carry_user_and_groups(pki):
    subject = certificate(pki, "admin").subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "kubernetes-admin"
    assert [item.value for item in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["system:masters"]


def test_pairs_load_into_a_verifying_tls_context(pki):
    context = ssl.create_default_context(cafile=str(pki.ca.certificate))
    context.load_cert_chain(str(pki.pair("node-agent").certificate), str(pki.pair("node-agent").key))
    assert context.verify_mode == ssl.CERT_REQUIRED
