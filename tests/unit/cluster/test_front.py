"""The gateway as a client finds it: names that DNS does not know yet, certificates of the platform's authority."""

from __future__ import annotations

import base64
import datetime
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from inference_platform.cluster.client import Cluster
from inference_platform.cluster.front import Front, front_of
from inference_platform.cluster.smoke import UNREACHABLE, Subject, smoke
from inference_platform.models.addresses import public_url
from tests.unit.cluster.fake_api import FakeApi

NAME = "models.invalid"  # of a domain that DNS never knows (RFC 2606)


@dataclass
class Gateway:
    """An HTTPS server on loopback for one name."""

    port: int
    authority: str
    hosts: list[str]


def self_signed(folder: Path) -> Path:
    """A file with a key and a certificate for NAME that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - day, now + day)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "serving.pem"
    path.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(pem))
    return path


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    hosts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hosts.append(self.headers["Host"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    certificate = self_signed(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield Gateway(server.server_address[1], certificate.read_text().partition("-----END PRIVATE KEY-----")[2], hosts)
    server.shutdown()
    server.server_close()


def get(front: Front, url: str) -> urllib3.BaseHTTPResponse:
    with front.http() as http:
        return http.request("GET", url, retries=False, timeout=10)


def test_a_name_that_dns_does_not_know_yet_is_asked_at_the_gateway_and_verified(gateway: Gateway) -> None:
    front = Front("127.0.0.1", (NAME,), gateway.authority)
    assert get(front, f"https://{NAME}:{gateway.port}/").status == 200
    assert gateway.hosts == [f"{NAME}:{gateway.port}"]


def test_a_certificate_of_an_authority_that_is_not_known_is_refused(gateway: Gateway) -> None:
    with pytest.raises(urllib3.exceptions.SSLError):
        get(Front("127.0.0.1", (NAME,)), f"https://{NAME}:{gateway.port}/")


def test_a_model_behind_an_unknown_authority_cannot_be_asked_from_here(gateway: Gateway) -> None:
    subject = Subject("team/qwen", "qwen", f"https://{NAME}:{gateway.port}/team/qwen")
    (asked,) = smoke([subject], patience=0, front=Front("127.0.0.1", (NAME,))).models
    assert (asked.state, asked.outcomes) == (UNREACHABLE, ())
    assert "the certificate is not trusted here" in asked.why


def test_a_certificate_for_another_name_is_refused(gateway: Gateway) -> None:
    front = Front("127.0.0.1", ("other.invalid",), gateway.authority)
    with pytest.raises(urllib3.exceptions.SSLError):
        get(front, f"https://other.invalid:{gateway.port}/")


@pytest.mark.parametrize(
    ("host", "place"),
    [
        pytest.param(NAME, "10.0.0.1", id="a name of the gateway"),
        pytest.param("a.wild.invalid", "10.0.0.1", id="covered by a star"),
        pytest.param("wild.invalid", "wild.invalid", id="a star does not cover its own domain"),
        pytest.param("elsewhere.invalid", "elsewhere.invalid", id="a name of somebody else"),
        pytest.param("127.0.0.1", "127.0.0.1", id="an address"),
    ],
)
def test_only_names_of_the_gateway_are_looked_for_there(host: str, place: str) -> None:
    assert Front("10.0.0.1", (NAME, "*.wild.invalid")).host_for(host) == place


def test_without_https_the_cluster_is_not_asked(api: FakeApi, cluster: Cluster) -> None:
    cluster.discovery()
    before = len(api.requests)
    assert front_of(cluster, {"https": {"enabled": False}}) == Front()
    assert len(api.requests) == before


class Objects:
    """A cluster that has these objects, by kind."""

    def __init__(self, **objects: Any) -> None:
        self._objects = objects

    def get(self, _: str, kind: str, *__: str) -> Any:
        return self._objects.get(kind)


def test_address_names_and_authority_come_from_gateway_and_secret() -> None:
    secret = {"data": {"ca.crt": base64.b64encode(b"PEM").decode(), "tls.key": base64.b64encode(b"never").decode()}}
    gateway = {"status": {"addresses": [{"value": "10.0.0.1"}]}}
    https = {"enabled": True, "hostnames": [NAME], "secret": "gw-cert"}
    wanted = {"name": "gw", "namespace": "apps", "https": https}
    assert front_of(cast(Cluster, Objects(Gateway=gateway, Secret=secret)), wanted) == Front("10.0.0.1", (NAME,), "PEM")
    assert front_of(cast(Cluster, Objects()), wanted) == Front("", (NAME,), "")


@pytest.mark.parametrize(
    ("urls", "wanted"),
    [
        pytest.param(["http://a/m", "https://b/m"], "https://b/m", id="https before http"),
        pytest.param(["http://a/m"], "http://a/m", id="http alone"),
        pytest.param([], "", id="none"),
    ],
)
def test_clients_are_given_the_https_url_where_there_is_one(urls: list[str], wanted: str) -> None:
    inside = {"name": "gateway-internal", "url": "https://gw.svc/m"}
    addresses = [inside, *({"name": "gateway-external", "url": url} for url in urls)]
    status = {"addresses": addresses, **({"url": urls[0]} if urls else {})}
    assert public_url({"status": status}) == wanted
