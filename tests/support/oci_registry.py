"""A registry on loopback that keeps what is pushed to it in memory: enough of the OCI distribution API for helm.

Blobs by digest, uploads in one or two requests, manifests by tag and by digest.  Everything else is 404.
"""

from __future__ import annotations

import hashlib
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_BLOB = re.compile(r"^/v2/(?P<repository>.+)/blobs/(?P<digest>sha256:[0-9a-f]{64})$")
_UPLOAD = re.compile(r"^/v2/(?P<repository>.+)/blobs/uploads/(?P<upload>[0-9a-f-]*)$")
_MANIFEST = re.compile(r"^/v2/(?P<repository>.+)/manifests/(?P<reference>[^/]+)$")


@dataclass
class Registry:
    """What was pushed, what was asked for, and under which address.

    blobs      content by digest
    manifests  (repository, tag or digest) -> (media type, content)
    requests   "METHOD path" in order
    """

    address: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def oci(self, path: str = "") -> str:
        """An oci:// reference to a path of it."""
        return f"oci://{self.address}/{path}".rstrip("/")

    def store_blob(self, content: bytes) -> str:
        """Keeps a blob; its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs[digest] = content
        return digest


@contextmanager
def running_registry() -> Iterator[Registry]:
    """A registry on a free port of 127.0.0.1, until the block is left."""
    registry = Registry()

    class Handler(_Handler):
        content = registry

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    content: Registry

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `requests` instead."""

    def do_GET(self) -> None:
        self._note()
        path = urlsplit(self.path).path
        if path == "/v2/":
            self._answer(200)
        elif (match := _BLOB.match(path)) and match["digest"] in self.content.blobs:
            self._answer(200, self.content.blobs[match["digest"]], digest=match["digest"])
        elif (match := _MANIFEST.match(path)) and match.groups() in self.content.manifests:
            media_type, body = self.content.manifests[match["repository"], match["reference"]]
            self._answer(200, body, media_type, f"sha256:{hashlib.sha256(body).hexdigest()}")
        else:
            self._answer(404, b'{"errors": [{"code": "NAME_UNKNOWN", "message": "not here"}]}', "application/json")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self._note()
        match, body = _UPLOAD.match(urlsplit(self.path).path), self._body()
        if match is None:
            self._answer(404)
            return
        upload = str(uuid.uuid4())
        self.content.uploads[upload] = body
        self._answer(202, location=f"/v2/{match['repository']}/blobs/uploads/{upload}")

    def do_PATCH(self) -> None:
        self._note()
        match, body = _UPLOAD.match(urlsplit(self.path).path), self._body()
        if match is None or match["upload"] not in self.content.uploads:
            self._answer(404)
            return
        self.content.uploads[match["upload"]] += body
        self._answer(202, location=urlsplit(self.path).path)

    def do_PUT(self) -> None:
        self._note()
        path, query, body = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query), self._body()
        if (match := _UPLOAD.match(path)) and match["upload"] in self.content.uploads:
            digest = self.content.store_blob(self.content.uploads.pop(match["upload"]) + body)
            right = [digest] == query.get("digest")
            self._answer(201 if right else 400, digest=digest, location=f"/v2/{match['repository']}/blobs/{digest}")
        elif match := _MANIFEST.match(path):
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            for reference in (match["reference"], digest):
                self.content.manifests[match["repository"], reference] = (self.headers["Content-Type"], body)
            self._answer(201, digest=digest, location=f"/v2/{match['repository']}/manifests/{digest}")
        else:
            self._answer(404)

    def _note(self) -> None:
        self.content.requests.append(f"{self.command} {urlsplit(self.path).path}")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(
        self,
        status: int,
        body: bytes = b"",
        media_type: str = "application/octet-stream",
        digest: str = "",
        location: str = "",
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        if location:
            self.send_header("Location", location)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
