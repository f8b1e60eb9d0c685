"""The lock is filled in, and compared, against servers on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from inference_platform.catalog import check, lock
from inference_platform.catalog.load import CatalogError, load
from inference_platform.cluster import charts, crds, registry
from inference_platform.cluster.helm import ReleaseError
from inference_platform.findings import errors
from inference_platform.paths import CATALOG
from inference_platform.platform.resolve import resolve
from tests.support.oci_registry import Registry, running_registry

MANIFEST = b'{"schemaVersion": 2}'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
CRD = b"kind: CustomResourceDefinition\n"
USER = base64.b64encode(b"user:not-to-be-seen").decode()


@pytest.fixture
def oci() -> Iterator[Registry]:
    with running_registry() as running:
        running.manifests |= {("a/b", name): ("application/json", MANIFEST) for name in ("v1.2.3", DIGEST)}
        yield running


@pytest.fixture
def web() -> Iterator[str]:
    """A server that has /crd.yaml, and asks for a token (of itself) before it gives a manifest."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            path, said = self.path.partition("?")[0], self.headers.get("Authorization")
            right = {"/token": f"Basic {USER}", "/v2/a/b/manifests/v1": "Bearer T"}.get(path, said)
            body = {"/crd.yaml": CRD, "/token": b'{"token": "T"}', "/v2/a/b/manifests/v1": MANIFEST}.get(path)
            self.send_response(404 if body is None else 200 if said == right else 401)
            host = self.headers["Host"]
            self.send_header("WWW-Authenticate", f'Bearer realm="http://{host}/token",service="s",scope="pull"')
            self.end_headers()
            self.wfile.write(body if body and said == right else b"")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


UPSTREAM = lock.Upstream(crds.download, registry.digest_of, charts.sha256_of)


def write(
    folder: Path,
    repository: str,
    url: str,
    *,
    digest: str = "tag:v1.2.3",
    crd: str = "unpinned: new",
    chart: str = "",
) -> None:
    (folder / "images.yml").write_text(
        f"# Says why.\nimages:\n  one:\n    repository: {repository}\n    digests:\n"
        f'      "1.2.2": {DIGEST}\n      "1.2.3": {digest}\n  two:\n    repository: {repository}\n    digests:\n'
        f'      "1.2.3": {DIGEST}\n'
    )
    (folder / "charts.yml").write_text(chart or "charts: {}\n")
    (folder / "crds.yml").write_text(f"sets:\n  s:\n    v1:\n      - name: a.b.c\n        url: {url}\n        {crd}\n")


def test_what_is_missing_is_looked_up_and_nothing_else_is_touched(tmp_path: Path, oci: Registry, web: str) -> None:
    write(tmp_path, f"{oci.address}/a/b", f"http://{web}/crd.yaml")
    before = (tmp_path / "images.yml").read_text()
    outcome = lock.pin(tmp_path, UPSTREAM)
    assert (len(outcome.pinned), outcome.problems) == (2, [])
    assert (tmp_path / "images.yml").read_text() == before.replace("tag:v1.2.3", DIGEST)
    (file,) = yaml.safe_load((tmp_path / "crds.yml").read_text())["sets"]["s"]["v1"]
    assert file == {"name": "a.b.c", "url": f"http://{web}/crd.yaml", "sha256": hashlib.sha256(CRD).hexdigest()}
    oci.requests.clear()
    assert lock.pin(tmp_path, UPSTREAM) == lock.Outcome()
    assert oci.requests == [], "a second run asks nobody"


def test_what_cannot_be_looked_up_stays_and_is_told(tmp_path: Path, oci: Registry, web: str) -> None:
    write(tmp_path, f"{oci.address}/a/other", f"http://{web}/none.yaml")
    before = [(tmp_path / name).read_text() for name in ("images.yml", "crds.yml")]
    outcome = lock.pin(tmp_path, UPSTREAM)
    assert outcome.pinned == []
    assert [line.partition(":")[0] for line in outcome.problems] == ["images.yml one 1.2.3", "crds.yml s v1 a.b.c"]
    assert [(tmp_path / name).read_text() for name in ("images.yml", "crds.yml")] == before


def test_a_pin_that_its_source_no_longer_has_is_told_and_kept(tmp_path: Path, oci: Registry, web: str) -> None:
    write(tmp_path, f"{oci.address}/a/b", f"http://{web}/crd.yaml", digest=DIGEST, crd=f"sha256: {'f' * 64}")
    outcome = lock.compare(tmp_path, UPSTREAM)
    assert [line.partition(":")[0] for line in outcome.problems] == ["crds.yml s v1 a.b.c"]
    assert f"expected sha256 {'f' * 64}, found {hashlib.sha256(CRD).hexdigest()}" in outcome.problems[0]
    oci.manifests["a/b", DIGEST] = ("application/json", b"something else")
    assert f"expected {DIGEST}, found content with" in " ".join(lock.compare(tmp_path, UPSTREAM).problems)


CHART = """charts:
  # Says why.
  one:
    repository: oci://127.0.0.1:1/a
    values: {{}}
    versions:
      v1.2.2:
        sha256: {pinned}
        images: {{}}
      "1.2.3":
        unpinned: not looked at yet
        images: {{}}
  two:
    repository: https://charts.example.com
    values: {{}}
    versions:
      "1.2.3":
        unpinned: not looked at yet
        images: {{}}
"""


def test_the_sha256_of_a_chart_is_looked_up_and_compared(tmp_path: Path, oci: Registry, web: str) -> None:
    def published(repository: str, name: str, version: str) -> str:
        if repository.startswith("https://"):
            raise ReleaseError(f"Chart {name} {version}: nobody answers")
        return {"v1.2.2": "b", "1.2.3": "c"}[version] * 64

    write(tmp_path, f"{oci.address}/a/b", f"http://{web}/crd.yaml", digest=DIGEST, chart=CHART.format(pinned="a" * 64))
    upstream = lock.Upstream(crds.download, registry.digest_of, published)
    outcome = lock.pin(tmp_path, upstream)
    assert f"charts.yml one 1.2.3: {'c' * 64}" in outcome.pinned
    assert outcome.problems == ["charts.yml two 1.2.3: Chart two 1.2.3: nobody answers"]
    written = CHART.format(pinned="a" * 64).replace("unpinned: not looked at yet", f"sha256: {'c' * 64}", 1)
    assert (tmp_path / "charts.yml").read_text() == written
    (different,) = [line for line in lock.compare(tmp_path, upstream).problems if line.startswith("charts.yml")]
    assert different.startswith(f"charts.yml one v1.2.2: expected sha256 {'a' * 64}, found {'b' * 64}")


def test_a_token_is_fetched_with_the_credentials_of_the_registry(tmp_path: Path, web: str) -> None:
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"auths": {web: {"auth": USER}}}))
    assert registry.digest_of(f"{web}/a/b", "v1", auth) == DIGEST
    with pytest.raises(registry.RegistryError, match=r"401.*--auth-file") as refused:
        registry.digest_of(f"{web}/a/b", "v1")
    assert USER not in str(refused.value)


def test_an_image_that_is_not_pinned_is_an_error_with_the_way_to_pin_it(tmp_path: Path) -> None:
    for path in CATALOG.rglob("*.yml"):
        target = tmp_path / path.relative_to(CATALOG)
        target.parent.mkdir(exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    images = tmp_path / "images.yml"
    pinned = load().images["sail_operator"]["digests"]["3.2.3"]
    images.write_text(images.read_text().replace(pinned, "tag:v3.2.3"))
    catalog = load(tmp_path)
    (finding,) = errors(check(catalog))
    assert (finding.code, finding.severity, finding.found) == ("IP-CAT-030", "error", "tag:v3.2.3")
    assert "python -m inference_platform.catalog lock" in finding.remedy
    with pytest.raises(CatalogError, match=r"images\.yml sail_operator 3\.2\.3: expected a digest, found tag:v3\.2\.3"):
        resolve({"platform_release": "3.4", "provider": "generic"}, catalog)
