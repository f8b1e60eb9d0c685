"""Stands between a client and an API server and spoils some of the writes, as overloaded servers and networks do."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

RESET = 0
#: What happens to the first writes of an object; a number is the status of the answer. Objects take these in turn, so
#: that each meets fewer faults than a client has attempts.
FAULTS: tuple[tuple[int, ...], ...] = ((429, 503), (), (RESET, 500), (503,))


@contextmanager
def flaky(kubeconfig: Path, folder: Path) -> Iterator[tuple[Path, list[int]]]:
    """A kubeconfig for a server that passes requests on to that of `kubeconfig`, and the faults it made so far."""
    body = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    real = body["clusters"][0]["cluster"]["server"]
    handler = type("Handler", (_Handler,), {"origin": urlsplit(real).netloc, "tls": _tls(body, folder)})
    handler.lock, handler.left, handler.made = threading.Lock(), {}, []  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    body["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{server.server_address[1]}"}
    body["users"][0]["user"] = {"token": "the-proxy-logs-in"}
    path = folder / "flaky.kubeconfig"
    path.write_text(yaml.safe_dump(body), encoding="utf-8")
    try:
        yield path, handler.made  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def _tls(kubeconfig: dict[str, Any], folder: Path) -> ssl.SSLContext:
    import base64

    def file(name: str, data: str) -> str:
        path = folder / name
        path.write_bytes(base64.b64decode(data))
        path.chmod(0o600)
        return str(path)

    user, cluster = kubeconfig["users"][0]["user"], kubeconfig["clusters"][0]["cluster"]
    context = ssl.create_default_context(cafile=file("ca.crt", cluster["certificate-authority-data"]))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(
        file("client.crt", user["client-certificate-data"]), file("client.key", user["client-key-data"])
    )
    return context


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    origin: str
    tls: ssl.SSLContext
    lock: threading.Lock
    left: dict[str, list[int]]
    made: list[int]

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self._fault() if self.command in ("PATCH", "DELETE") else None
        if fault is None:
            self._pass_on(raw)
            return
        if fault == RESET:
            self._reset()
        else:
            body = {"kind": "Status", "reason": "Spoiled", "message": "spoiled on purpose", "code": fault}
            headers = {"Content-Type": "application/json", **({"Retry-After": "1"} if fault == 429 else {})}
            self._answer(fault, headers, json.dumps(body).encode())

    def _fault(self) -> int | None:
        """The next fault of the object that is written, if it has one left."""
        with self.lock:
            left = self.left.setdefault(urlsplit(self.path).path, list(FAULTS[len(self.left) % len(FAULTS)]))
            if not left:
                return None
            self.made.append(left.pop(0))
            return self.made[-1]

    def _pass_on(self, raw: bytes) -> None:
        connection = HTTPSConnection(self.origin, context=self.tls, timeout=60)
        kept = ("Accept", "Content-Type", "User-Agent")
        headers = {name: self.headers[name] for name in kept if self.headers[name]}
        try:
            connection.request(self.command, self.path, raw or None, headers)
            answer = connection.getresponse()
            self._answer(answer.status, {"Content-Type": answer.headers["Content-Type"]}, answer.read())
        finally:
            connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def log_message(self, format: str, *args: Any) -> None:
        """Stays quiet."""

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815
