"""HTTPS below an authority of the company's, a change of the authority under load, and a Gateway of one's own.

One cluster without a cloud manager for all of it: the tests follow each other, as the life of a platform does.
"""

from __future__ import annotations

import base64
import datetime
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from inference_platform.cluster.front import Front
from inference_platform.cluster.trust import pem, signed_any
from tests.scenarios.conftest import Start, run_on
from tests.support.clusters import EmbeddedCluster, wait_for
from tests.support.playbook import Run

pytestmark = pytest.mark.cluster

APPS, NAME = "redhat-ods-applications", "models.example.test"
PLAIN, SECURE = 8080, 8443
SETTINGS: dict[str, Any] = {
    "cloud_manager": "none",
    "certificate_authority": {"issuer": {"kind": "Issuer", "name": "corporate"}},
    "gateway": {
        "http": {"port": PLAIN, "redirect": True},
        "https": {"enabled": True, "port": SECURE, "hostnames": [NAME]},
    },
}
#: What a company has: a root, and an issuer that signs with it.
CORPORATE = """
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: corporate-root}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: corporate, namespace: cert-manager}
spec:
  isCA: true
  commonName: corporate root
  secretName: corporate
  issuerRef: {kind: ClusterIssuer, name: corporate-root}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: corporate, namespace: cert-manager}
spec: {ca: {secretName: corporate}}
"""
#: Another authority of the company, for what clients see.
PUBLIC = """
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: public, namespace: cert-manager}
spec:
  isCA: true
  commonName: public root
  secretName: public
  issuerRef: {kind: ClusterIssuer, name: corporate-root}
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: public}
spec: {ca: {secretName: public}}
"""
#: A Gateway of the user's with what docs/gateway.md asks of its pods.
OWN_GATEWAY = """
apiVersion: v1
kind: ConfigMap
metadata: {name: front-config, namespace: edge}
data:
  deployment: |
    spec:
      template:
        spec:
          volumes:
            - {name: bundle, configMap: {name: rhai-ca-bundle}}
          containers:
            - name: istio-proxy
              volumeMounts:
                - {name: bundle, mountPath: /var/run/secrets/rhai, readOnly: true}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: edge}
spec:
  gatewayClassName: istio
  infrastructure:
    parametersRef: {group: "", kind: ConfigMap, name: front-config}
  listeners:
    - name: web
      protocol: HTTP
      port: 8081
      allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {edge: allowed}}}}
"""


@dataclass
class Platform:
    """The installed cluster and how clients reach its gateway."""

    cluster: EmbeddedCluster
    installed: Run

    def again(self, *arguments: str, **settings: Any) -> Run:
        return run_on(self.cluster, *arguments, variables={**SETTINGS, **settings})

    @property
    def address(self) -> str:
        gateway = self.cluster.get("gateway", "inference-gateway", APPS)
        return str(gateway["status"]["addresses"][0]["value"])

    def front(self, authorities: str) -> Front:
        return Front(self.address, (NAME,), authorities)

    def secret(self, name: str, namespace: str, key: str) -> str:
        found = self.cluster.get("secret", name, namespace)["data"].get(key, "")
        return base64.b64decode(found).decode()

    @property
    def bundle(self) -> list[x509.Certificate]:
        text = self.cluster.get("configmap", "rhai-ca-bundle", APPS)["data"]["ca.crt"]
        return x509.load_pem_x509_certificates(text.encode())


@pytest.fixture(scope="module")
def platform(start_cluster: Start) -> Iterator[Platform]:
    """Installed up to cert-manager, then the company's issuer, then the rest: as docs/gateway.md says."""
    with start_cluster("gateway") as cluster:
        first = run_on(cluster, "--tags", "namespaces,gateway_api,cert_manager", variables=SETTINGS)
        assert first.exit_code == 0, str(first)
        assert "IP-PRE-071" in first.output, "an issuer that cannot be there yet is told"
        cluster.do("apply", "--filename", "-", stdin=CORPORATE)
        wait_for("the company's issuer", lambda: is_ready(cluster, "issuer", "corporate", "cert-manager"), 180)
        run = run_on(cluster, variables=SETTINGS)
        assert run.exit_code == 0, str(run)
        yield Platform(cluster, run)


def test_models_answer_over_https_verified_with_the_companys_root_alone(platform: Platform) -> None:
    root = platform.secret("corporate", "cert-manager", "tls.crt")
    assert ask(platform.front(root)).status == 200
    assert "passed" in platform.installed.output, "the smoke test of the run asked over HTTPS as well"


def test_clients_that_do_not_know_the_root_refuse_the_certificate(platform: Platform) -> None:
    with pytest.raises(urllib3.exceptions.SSLError):
        ask(platform.front(""))


def test_plain_http_only_leads_to_https(platform: Platform) -> None:
    url = f"http://{platform.address}:{PLAIN}/models/qwen-basic/v1/models"
    answer = urllib3.request("GET", url, redirect=False, retries=False, timeout=30)
    wanted = f"https://{NAME}:{SECURE}/models/qwen-basic/v1/models"
    assert (answer.status, answer.headers["Location"]) == (301, wanted)


def test_a_second_run_changes_nothing(platform: Platform) -> None:
    run = platform.again()
    assert (run.exit_code, run.recap["changed"]) == (0, 0), run.output


def test_a_changed_authority_cuts_nothing_off(platform: Platform) -> None:
    root = platform.secret("corporate", "cert-manager", "tls.crt")
    old = platform.secret("rhai-ca", "cert-manager", "tls.crt")
    (proxy,) = proxies(platform.cluster)
    with ThreadPoolExecutor() as background, asking(platform.front(root)) as load, slow_answers(platform.cluster):
        long = background.submit(ask, platform.front(root), max_tokens=1000, stream=True)
        renew_authority(platform.cluster)
        wait_for("a new authority", lambda: platform.secret("rhai-ca", "cert-manager", "tls.crt") not in ("", old), 180)
        run = platform.again("--tags", "inference_gateway")
        assert run.exit_code == 0, str(run)
        wait_for("the proxy to drain longer than by default", lambda: is_draining(platform.cluster, proxy, 7))
        assert not long.done()
    assert long.result().data.endswith(b"data: [DONE]\n\n")
    wait_for("the proxy to end with its last request", lambda: proxy not in proxies(platform.cluster), 60)
    new = platform.secret("rhai-ca", "cert-manager", "tls.crt")
    assert [pem(item) for item in platform.bundle] == [first_of(text) for text in (root, new, old)]
    assert load.asked > 0
    assert load.failures == []
    again = platform.again()
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output


def test_an_authority_of_which_nothing_is_left_is_trusted_no_longer(platform: Platform) -> None:
    old = first_of(pem(platform.bundle[-1]))
    for namespace, name in signed_by(platform.cluster, platform.bundle[-1]):
        platform.cluster.do("delete", "secret", name, "--namespace", namespace)
    wait_for(
        "every certificate to be signed anew",
        lambda: (
            not signed_by(platform.cluster, x509.load_pem_x509_certificate(old.encode()))
            and all(is_ready(platform.cluster, "certificate", *key) for key in certificates(platform.cluster))
        ),
        240,
    )
    run = platform.again("--tags", "inference_gateway")
    assert run.exit_code == 0, str(run)
    assert old not in [pem(item) for item in platform.bundle]
    assert len(platform.bundle) == 2
    assert ask(platform.front(platform.secret("corporate", "cert-manager", "tls.crt"))).status == 200


def test_other_labels_for_the_gateways_namespaces_cut_nothing_off(platform: Platform) -> None:
    root = platform.secret("corporate", "cert-manager", "tls.crt")
    changed = SETTINGS["gateway"] | {"namespace_labels": {"team": "may-attach"}}
    with asking(platform.front(root), pause=0.05) as load:
        run = platform.again(gateway=changed)
        assert run.exit_code == 0, str(run)
    assert (load.asked > 0, load.failures) == (True, [])
    labels = platform.cluster.get("namespace", "models")["metadata"]["labels"]
    assert labels["team"] == "may-attach"
    assert "inference-platform.io/gateway-access" not in labels
    again = platform.again(gateway=changed)
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output


def test_the_certificate_may_be_of_an_issuer_that_the_company_made(platform: Platform) -> None:
    platform.cluster.do("apply", "--filename", "-", stdin=PUBLIC)
    wait_for("the issuer", lambda: is_ready(platform.cluster, "clusterissuer", "public", "default"), 180)
    run = platform.again("--tags", "inference_gateway", gateway=with_https(issuer={"name": "public"}))
    assert run.exit_code == 0, str(run)
    root = platform.secret("public", "cert-manager", "tls.crt")
    before = platform.secret("corporate", "cert-manager", "tls.crt")
    wait_for("an answer that the issuer's root verifies", lambda: answers(platform.front(root)), 120)
    wait_for("none that the root of before verifies", lambda: not answers(platform.front(before)), 60)


def test_the_certificate_may_be_in_a_secret_that_the_company_fills(platform: Platform) -> None:
    certificate, key = own_certificate()
    data = {"tls.crt": certificate, "tls.key": key}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "stringData": data}
    secret["metadata"] = {"name": "my-certificate", "namespace": APPS}
    platform.cluster.do("apply", "--filename", "-", stdin=json.dumps(secret))
    settings = with_https(secret="my-certificate")
    run = platform.again("--tags", "inference_gateway", gateway=settings)
    assert run.exit_code == 0, str(run)
    wait_for("an answer with that certificate", lambda: answers(platform.front(certificate)), 120)
    again = platform.again("--tags", "inference_gateway", gateway=settings)
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output
    kept = platform.secret("my-certificate", APPS, "tls.crt")
    assert kept == certificate, "the user's Secret stays as it is"


def test_a_gateway_of_ones_own_must_admit_the_models(platform: Platform) -> None:
    platform.cluster.do("create", "namespace", "edge")
    platform.cluster.do("apply", "--filename", "-", stdin=OWN_GATEWAY)
    mark_before = platform.cluster.get("llminferenceservice", "qwen-basic", "models")["metadata"]["generation"]
    run = platform.again(gateway={"external": {"name": "front", "namespace": "edge"}})
    assert run.exit_code != 0
    assert "IP-PRE-070" in run.output
    assert "edge=allowed" in run.text
    service = platform.cluster.get("llminferenceservice", "qwen-basic", "models")
    assert service["metadata"]["generation"] == mark_before


def test_models_answer_through_a_gateway_of_ones_own_and_the_platforms_stays(platform: Platform) -> None:
    own = {"external": {"name": "front", "namespace": "edge"}, "namespace_labels": {"edge": "allowed"}}
    run = platform.again(gateway=own)
    assert run.exit_code == 0, str(run)
    address = platform.cluster.get("gateway", "front", "edge")["status"]["addresses"][0]["value"]
    answer = urllib3.request("GET", f"http://{address}:8081/models/qwen-basic/v1/models", retries=False, timeout=30)
    assert answer.status == 200
    assert platform.cluster.get("gateway", "inference-gateway", APPS)["metadata"].get("deletionTimestamp") is None
    again = platform.again(gateway=own)
    assert (again.exit_code, again.recap["changed"]) == (0, 0), again.output
    checked = run_on(platform.cluster, playbook="playbooks/verify.yml", variables={**SETTINGS, "gateway": own})
    assert (checked.exit_code, checked.recap["changed"]) == (0, 0), checked.output


def test_a_gateway_of_ones_own_is_told_of_a_changed_authority(platform: Platform) -> None:
    """Bundle and pull secret in its namespace came from the runs above: nobody copied them."""
    own = {"external": {"name": "front", "namespace": "edge"}, "namespace_labels": {"edge": "allowed"}}
    old = platform.secret("rhai-ca", "cert-manager", "tls.crt")
    renew_authority(platform.cluster)
    wait_for("a new authority", lambda: platform.secret("rhai-ca", "cert-manager", "tls.crt") not in ("", old), 180)
    run = platform.again("--tags", "inference_gateway", gateway=own)
    assert (run.exit_code, run.recap["changed"]) == (0, 1), run.output
    assert "Restart the pods of Gateway edge/front" in run.text
    text = platform.cluster.get("configmap", "rhai-ca-bundle", "edge")["data"]["ca.crt"]
    new = platform.secret("rhai-ca", "cert-manager", "tls.crt")
    found = [pem(item) for item in x509.load_pem_x509_certificates(text.encode())]
    assert found[1:] == [first_of(new), first_of(old)]


def test_changed_credentials_reach_a_gateway_of_ones_own_with_the_tags_of_the_docs(
    platform: Platform, tmp_path: Path
) -> None:
    """docs/pull-secrets.md, "Rotation": its copy is of the layer inference_gateway."""
    own = {"external": {"name": "front", "namespace": "edge"}, "namespace_labels": {"edge": "allowed"}}
    file, login = tmp_path / "auth.json", {"username": "somebody", "password": "of-a-rotation"}
    file.write_text(json.dumps({"auths": {"registry.redhat.io": login}}), encoding="utf-8")
    tags = "namespaces,models,inference_gateway"
    run = platform.again("--tags", tags, gateway=own, pull_secret_file=str(file))
    assert run.exit_code == 0, str(run)
    copies = {
        space: platform.secret("rhai-pull-secret", space, ".dockerconfigjson") for space in (APPS, "models", "edge")
    }
    assert copies == dict.fromkeys(copies, file.read_text(encoding="utf-8"))


# ---- asking -----------------------------------------------------------------------------------------------


def ask(front: Front, max_tokens: int = 4, **options: Any) -> urllib3.BaseHTTPResponse:
    """One completion, verified."""
    body = json.dumps({"model": "qwen-basic", "prompt": "Kubernetes is", "max_tokens": max_tokens, **options})
    url = f"https://{NAME}:{SECURE}/models/qwen-basic/v1/completions"
    with front.http() as http:
        return http.request(
            "POST", url, body=body, headers={"Content-Type": "application/json"}, retries=False, timeout=60
        )


def answers(front: Front) -> bool:
    """Whether a completion is answered, and its certificate verified."""
    try:
        return ask(front).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@dataclass
class Load:
    """Requests that went on in the background."""

    asked: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def asking(front: Front, pause: float = 0.5) -> Iterator[Load]:
    """Asks one request after the other until the block ends, ``pause`` seconds apart."""
    load, stop = Load(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            load.asked += 1
            try:
                status = ask(front).status
            except urllib3.exceptions.HTTPError as error:
                load.failures.append(repr(error))
            else:
                if status != 200:
                    load.failures.append(str(status))
            stop.wait(pause)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield load
    finally:
        stop.set()
        thread.join(90)


@contextmanager
def slow_answers(cluster: EmbeddedCluster) -> Iterator[None]:
    """Half a second for every token until the block ends: some request is always on its way."""
    set_pace(cluster, 500)
    try:
        yield
    finally:
        set_pace(cluster, 1)


def set_pace(cluster: EmbeddedCluster, itl_ms: int) -> None:
    selector = "app.kubernetes.io/name=qwen-basic,kserve.io/component=workload"
    annotation = f"embedded-cluster/itl-ms={itl_ms}"
    cluster.do("annotate", "pods", "--selector", selector, "--namespace", "models", "--overwrite", annotation)


def proxies(cluster: EmbeddedCluster) -> list[str]:
    """Names of the pods of the platform's gateway, those that end too."""
    selector = "gateway.networking.k8s.io/gateway-name=inference-gateway"
    return [pod["metadata"]["name"] for pod in cluster.objects("pods", "--selector", selector)]


def is_draining(cluster: EmbeddedCluster, pod: str, seconds: float) -> bool:
    """Whether a pod has been ending for so long."""
    metadata = cluster.get("pod", pod, APPS)["metadata"]
    if "deletionTimestamp" not in metadata:
        return False
    until = datetime.datetime.fromisoformat(metadata["deletionTimestamp"])
    began = until - datetime.timedelta(seconds=metadata["deletionGracePeriodSeconds"])
    return datetime.datetime.now(datetime.UTC) - began > datetime.timedelta(seconds=seconds)


def with_https(**settings: Any) -> dict[str, Any]:
    """The gateway's settings with others for HTTPS."""
    return {**SETTINGS["gateway"], "https": {**SETTINGS["gateway"]["https"], **settings}}


# ---- certificates -----------------------------------------------------------------------------------------


def own_certificate() -> tuple[str, str]:
    """A certificate for the name that clients ask, which signed itself, and its key; both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(hours=1),
        not_valid_after=now + datetime.timedelta(days=1),
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    # Clients take it as its own authority.
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    form = serialization.PrivateFormat.PKCS8
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return pem(builder.sign(key, hashes.SHA256())) + "\n", text.decode()


def renew_authority(cluster: EmbeddedCluster) -> None:
    """As `cmctl renew rhai-ca` does: a condition that asks for a new certificate."""
    condition = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "renewed by hand",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    kept = cluster.get("certificate", "rhai-ca", "cert-manager")["status"]["conditions"]
    patch = {"status": {"conditions": [*(item for item in kept if item["type"] != "Issuing"), condition]}}
    cluster.do(
        *("patch", "certificate", "rhai-ca", "--namespace", "cert-manager", "--subresource", "status"),
        *("--type", "merge", "--patch", json.dumps(patch)),
    )


def signed_by(cluster: EmbeddedCluster, authority: x509.Certificate) -> list[tuple[str, str]]:
    """TLS Secrets (namespace, name) whose certificate an authority signed; not the authority's own."""
    found = []
    for secret in cluster.objects("secrets", "--field-selector", "type=kubernetes.io/tls"):
        text = base64.b64decode(secret["data"].get("tls.crt", ""))
        leaf = x509.load_pem_x509_certificates(text)[0] if text else None
        if leaf is not None and signed_any(authority, [leaf]):
            found.append((secret["metadata"]["namespace"], secret["metadata"]["name"]))
    return found


def certificates(cluster: EmbeddedCluster) -> list[tuple[str, str]]:
    """Name and namespace of every Certificate."""
    return [(item["metadata"]["name"], item["metadata"]["namespace"]) for item in cluster.objects("certificates")]


def is_ready(cluster: EmbeddedCluster, kind: str, name: str, namespace: str) -> bool:
    conditions = cluster.get(kind, name, namespace).get("status", {}).get("conditions", [])
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def first_of(text: str) -> str:
    """The first certificate of a text, as the bundle writes it."""
    return pem(x509.load_pem_x509_certificates(text.encode())[0])
