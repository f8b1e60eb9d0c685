"""A small API server on loopback: enough of Kubernetes for the client, with faults on demand.

It stores objects, answers discovery, lists, server-side apply (merging maps, replacing lists, keeping managedFields
and resourceVersion), watches and dry runs.  `fail` queues answers that are given instead, to see what the client does.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TOKEN = "unit-test-token"

#: (apiVersion, kind, plural, namespaced)
KINDS = (
    ("v1", "Namespace", "namespaces", False),
    ("v1", "ConfigMap", "configmaps", True),
    ("v1", "Secret", "secrets", True),
    ("v1", "Pod", "pods", True),
    ("v1", "Node", "nodes", False),
    ("v1", "Event", "events", True),
    ("apps/v1", "Deployment", "deployments", True),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", False),
    ("example.org/v1", "Widget", "widgets", True),
)


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    raw: bytes = b""

    @property
    def is_write(self) -> bool:
        """Whether it would change something stored."""
        return self.method in ("POST", "PUT", "PATCH", "DELETE") and "dryRun" not in self.query


@dataclass
class Fault:
    """An answer given instead of the real one: an HTTP status with a Status body, or a broken connection."""

    method: str
    path: str
    status: int = 0
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False


class FakeApi:
    """The server; `url` is where it listens, `requests` what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.objects: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        self.kinds = list(KINDS)
        self.version = {"major": "1", "minor": "34", "gitVersion": "v1.34.4"}
        self.faults: list[Fault] = []
        self.mutate: Any = None  # a webhook: called with the object about to be stored
        self.closing = False
        self._lock = threading.Lock()
        self._revision = 0
        self._events: list[tuple[int, str, dict[str, Any]]] = []  # what happened: (revision, type, object)
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stops listening."""
        self.closing = True
        self._server.shutdown()
        self._server.server_close()

    # ---- what tests use ----

    def fail(self, method: str, path: str, status: int = 0, message: str = "", *, times: int = 1, **more: Any) -> None:
        """Queues an answer for the next `times` requests whose method and path (regular expression) fit.

        The method WATCH ends a watch that is under way, with an error when there is a status.
        """
        body = {
            "kind": "Status",
            "message": message,
            "reason": more.pop("reason", ""),
            "details": more.pop("details", {}),
        }
        for _ in range(times):
            self.faults.append(Fault(method, path, status, body, **more))

    def put(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Stores an object as if somebody else had made it."""
        with self._lock:
            return self._store(obj)

    def stored(self, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
        """A stored object."""
        return next(o for key, o in self.objects.items() if key[1:] == (kind, namespace, name))

    def writes(self) -> list[Request]:
        """The requests that changed (or tried to change) something."""
        return [request for request in self.requests if request.is_write]

    def kubeconfig(self, folder: Path, user: dict[str, Any] | None = None) -> str:
        """Writes a kubeconfig for this server; its path."""
        path = folder / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "unit",
                    "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
                    "users": [{"name": "me", "user": user or {"token": TOKEN}}],
                    "contexts": [{"name": "unit", "context": {"cluster": "fake", "user": "me"}}],
                }
            )
        )
        return str(path)

    # ---- the server ----

    def answer(self, request: Request) -> tuple[int, Any, dict[str, str]] | None:
        """(status, body, headers), or None to break the connection."""
        with self._lock:
            self.requests.append(request)
            fault = self._fault(request.method, request.path)
            if fault is not None:
                return None if fault.reset else (fault.status, fault.body, fault.headers)
            if request.path == "/version":
                return 200, self.version, {}
            if request.path in ("/api", "/apis"):
                return 200, self._discovery(core=request.path == "/api"), {}
            if request.path.endswith("/selfsubjectaccessreviews"):
                return 201, {**request.body, "status": {"allowed": True}}, {}
            return self._object_answer(request)

    def take_fault(self, method: str, path: str) -> Fault | None:
        """The fault queued for this request, if any."""
        with self._lock:
            return self._fault(method, path)

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.method == method and re.search(fault.path, path):
                self.faults.remove(fault)
                return fault
        return None

    def _object_answer(self, request: Request) -> tuple[int, Any, dict[str, str]]:
        found = self._locate(request.path)
        if found is None:
            return 404, _status("NotFound", "the server could not find the requested resource"), {}
        (api_version, kind), namespace, name = found
        if request.method == "POST":
            return self._create(request.body)
        if not name:
            return 200, self._list(api_version, kind, namespace, request.query), {}
        key = (api_version, kind, namespace, name)
        if request.method == "PATCH":
            return self._patch(key, request)
        if key not in self.objects:
            return 404, _status("NotFound", f'{kind.lower()}s "{name}" not found'), {}
        if request.method == "DELETE":
            return 200, self._forget(key), {}
        if request.method == "PUT":
            wanted = request.body["metadata"].get("resourceVersion")
            if wanted not in (None, self.objects[key]["metadata"]["resourceVersion"]):
                return 409, _status("Conflict", "the object has been modified"), {}
            return 200, self._store(request.body), {}
        return 200, self.objects[key], {}

    def _create(self, obj: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        metadata = obj["metadata"]
        if (obj["apiVersion"], obj["kind"], metadata.get("namespace", ""), metadata["name"]) in self.objects:
            return 409, _status("AlreadyExists", f'"{metadata["name"]}" already exists'), {}
        return 201, self._store(obj), {}

    def _patch(self, key: tuple[str, str, str, str], request: Request) -> tuple[int, Any, dict[str, str]]:
        namespace = key[2]
        if namespace and ("v1", "Namespace", "", namespace) not in self.objects:
            return 404, _status("NotFound", f'namespaces "{namespace}" not found'), {}
        old = self.objects.get(key)
        new = _merge(copy.deepcopy(old) if old else {}, request.body)
        if "apply-patch" in request.headers["Content-Type"]:
            _record_manager(new, request.query["fieldManager"], request.body)
        if self.mutate:
            self.mutate(new)
        if "dryRun" in request.query or (old and _bare(old) == _bare(new)):
            return 200, {**new, "metadata": {**new["metadata"], "resourceVersion": "0"}} if not old else new, {}
        return (200 if old else 201), self._store(new), {}

    def _store(self, obj: dict[str, Any]) -> dict[str, Any]:
        self._revision += 1
        stored = copy.deepcopy(obj)
        metadata = stored["metadata"]
        key = (stored["apiVersion"], stored["kind"], metadata.get("namespace", ""), metadata["name"])
        metadata["resourceVersion"] = str(self._revision)
        metadata.setdefault("uid", f"uid-{self._revision}")
        metadata.setdefault("generation", 1)
        self._events.append((self._revision, "MODIFIED" if key in self.objects else "ADDED", stored))
        self.objects[key] = stored
        return stored

    def remove(self, kind: str, name: str, namespace: str = "") -> None:
        """Deletes an object as if somebody else had."""
        with self._lock:
            self._forget(next(key for key in self.objects if key[1:] == (kind, namespace, name)))

    def _forget(self, key: tuple[str, str, str, str]) -> dict[str, Any]:
        gone = self.objects.pop(key)
        self._revision += 1
        self._events.append((self._revision, "DELETED", gone))
        return gone

    def events_after(self, path: str, revision: int) -> tuple[list[dict[str, Any]], int]:
        """What happened to the objects of a collection since then, as watch events, and the revision now."""
        found = self._locate(path)
        assert found is not None
        (api_version, kind), namespace, _ = found
        with self._lock:
            events = [
                {"type": type_, "object": {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(number)}}}
                for number, type_, obj in self._events
                if number > revision
                and (obj["apiVersion"], obj["kind"]) == (api_version, kind)
                and namespace in ("", obj["metadata"].get("namespace", ""))
            ]
            return events, self._revision

    def _list(self, api_version: str, kind: str, namespace: str, query: dict[str, str]) -> dict[str, Any]:
        selector = [part for part in query.get("labelSelector", "").split(",") if part]
        labels = dict(part.split("=") for part in selector if "=" in part and "!=" not in part)
        named = {part for part in selector if "=" not in part}
        fields = dict(
            part.split("=") for part in query.get("fieldSelector", "").split(",") if "!=" not in part and part
        )
        items = [
            obj
            for (v, k, n, _), obj in self.objects.items()
            if (v, k) == (api_version, kind)
            and namespace in ("", n)
            and labels.items() <= (obj["metadata"].get("labels") or {}).items()
            and named <= (obj["metadata"].get("labels") or {}).keys()
            and all(_field(obj, path) == value for path, value in fields.items())
        ]
        bare = [{key: value for key, value in item.items() if key not in ("apiVersion", "kind")} for item in items]
        limit, start = int(query.get("limit", "0") or 0), int(query.get("continue", "0") or 0)
        page = bare[start : start + limit] if limit else bare
        more = str(start + limit) if limit and start + limit < len(bare) else ""
        metadata = {"continue": more, "resourceVersion": str(self._revision)}
        return {"kind": f"{kind}List", "apiVersion": api_version, "metadata": metadata, "items": page}

    def _locate(self, path: str) -> tuple[tuple[str, str], str, str] | None:
        match = re.match(r"/(?:api/(v1)|apis/([^/]+/[^/]+))(?:/namespaces/([^/]+)(?=/))?/([^/]+)(?:/([^/]+))?$", path)
        if not match:
            return None
        version = match[1] or match[2]
        for api_version, kind, plural, _ in self.kinds:
            if (api_version, plural) == (version, match[4]):
                return (api_version, kind), match[3] or "", match[5] or ""
        return None

    def _discovery(self, *, core: bool) -> dict[str, Any]:
        groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for api_version, kind, plural, namespaced in self.kinds:
            group, _, version = api_version.rpartition("/")
            if (group == "") is core:
                item = {
                    "resource": plural,
                    "responseKind": {"group": group, "version": version, "kind": kind},
                    "scope": "Namespaced" if namespaced else "Cluster",
                }
                groups.setdefault(group, {}).setdefault(version, []).append(item)
        items = [
            {"metadata": {"name": group}, "versions": [{"version": v, "resources": r} for v, r in versions.items()]}
            for group, versions in groups.items()
        ]
        return {"kind": "APIGroupDiscoveryList", "items": items}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits for a delayed acknowledgement
    api: FakeApi

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        request = Request(
            self.command,
            parts.path,
            {key: values[0] for key, values in parse_qs(parts.query).items()},
            dict(self.headers.items()),
            _parsed(raw, self.headers.get("Content-Type", "")),
            raw,
        )
        answer = self.api.answer(request)
        if answer is None:
            self._reset()
            return
        status, body, headers = answer
        if request.query.get("watch") and status == 200:
            self._stream(request)
            return
        payload = json.dumps(body).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", "Content-Length": str(len(payload)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(payload)

    def _stream(self, request: Request) -> None:
        """A watch: events as they happen, until a fault for WATCH ends it or the server closes."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        revision = int(request.query["resourceVersion"])
        while not self.api.closing:
            fault = self.api.take_fault("WATCH", request.path)
            if fault is not None and fault.status:
                self._chunk(json.dumps({"type": "ERROR", "object": {**fault.body, "code": fault.status}}) + "\n")
            if fault is not None:
                self.close_connection = True
                return
            events, revision = self.api.events_after(request.path, revision)
            self._chunk("".join(json.dumps(event) + "\n" for event in events))
            time.sleep(0.01)

    def _chunk(self, text: str) -> None:
        if text:
            data = text.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _reset(self) -> None:
        """Closes the connection with a TCP reset instead of an answer."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def log_message(self, format: str, *args: Any) -> None:
        """Stays quiet."""

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815


def running() -> Iterator[FakeApi]:
    """A fixture body: a server for the length of a test."""
    api = FakeApi()
    try:
        yield api
    finally:
        api.close()


def _parsed(raw: bytes, content_type: str) -> Any:
    if not raw:
        return None
    return yaml.load(raw, Loader=_LOADER) if "yaml" in content_type else json.loads(raw)


def _status(reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "reason": reason, "message": message}


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merge(old.get(key), value) for key, value in new.items()}}
    return copy.deepcopy(new)


def _record_manager(obj: dict[str, Any], manager: str, applied: dict[str, Any]) -> None:
    entries = obj["metadata"].get("managedFields") or []
    kept = [entry for entry in entries if entry["manager"] != manager]
    entry = {"manager": manager, "operation": "Apply", "apiVersion": obj["apiVersion"], "fieldsV1": _fields(applied)}
    obj["metadata"]["managedFields"] = [*kept, entry]


def _fields(value: Any) -> dict[str, Any]:
    return {f"f:{key}": _fields(inner) for key, inner in value.items()} if isinstance(value, dict) else {}


def _bare(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    return {**obj, "metadata": metadata}


def _field(obj: Any, path: str) -> Any:
    for step in path.split("."):
        obj = (obj or {}).get(step)
    return obj
