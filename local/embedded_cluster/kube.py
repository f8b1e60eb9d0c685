"""A small asynchronous Kubernetes client: requests, server-side apply and watches.

Objects are plain dicts as in JSON. The client finds the REST path of a kind through API
discovery, so custom resources work as soon as their CRD is served. TLS is always verified.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import logging
import os
import random
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml

Object = dict[str, Any]

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
REQUEST_TIMEOUT_SECONDS = 60
WATCH_SECONDS = 290
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
ABSENT_KIND_POLL_SECONDS = 0.5
FORBIDDEN_PATIENCE_SECONDS = 8.0

_log = logging.getLogger(__name__)


class ApiError(Exception):
    """An answer of the API server other than success.

    `status` is the HTTP code, `reason` the machine word of the Status object (NotFound,
    Conflict, Forbidden, ...), `message` its text, `request` the method and path.
    """

    def __init__(self, status: int, reason: str, message: str, request: str = "") -> None:
        super().__init__(f"{message} (HTTP {status} {reason}{', ' + request if request else ''})")
        self.status = status
        self.reason = reason
        self.message = message
        self.request = request


class KindNotServedError(ApiError):
    """The API server does not serve this kind (its CRD is missing or not established)."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(404, "KindNotServed", f'no matches for kind "{kind}" in version "{api_version}"')


@dataclass(frozen=True)
class Resource:
    """Where a kind lives: its plural name and whether it belongs to a namespace."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of the collection, of one object, or of a subresource of one object."""
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


@dataclass
class Credentials:
    """How to reach and authenticate to one API server.

    Either `client_certificate` and `client_key` (PEM files) or `token_file`. The token file
    is read again before each request, so a renewed token is picked up.
    """

    server: str
    certificate_authority: Path
    client_certificate: Path | None = None
    client_key: Path | None = None
    token_file: Path | None = None

    def ssl_context(self) -> ssl.SSLContext:
        """A verifying TLS context with the cluster's own authority."""
        context = ssl.create_default_context(cafile=str(self.certificate_authority))
        if self.client_certificate and self.client_key:
            context.load_cert_chain(str(self.client_certificate), str(self.client_key))
        return context

    def headers(self) -> dict[str, str]:
        """The authorisation header, empty when a client certificate is used."""
        if self.token_file is None:
            return {}
        return {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}


def key_of(obj: Mapping[str, Any]) -> tuple[str, str]:
    """(namespace, name) of an object; the namespace is empty for cluster-scoped objects."""
    meta = obj.get("metadata") or {}
    return meta.get("namespace") or "", meta.get("name") or ""


def owner_reference(owner: Mapping[str, Any], *, controller: bool = True) -> Object:
    """An ownerReference to `owner`, which must carry apiVersion, kind, name and uid."""
    reference: Object = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    if controller:
        reference |= {"controller": True, "blockOwnerDeletion": True}
    return reference


class KubeClient:
    """Asynchronous client of one API server. Use as `async with` or call `close()`."""

    def __init__(self, credentials: Credentials, *, user_agent: str, log: logging.Logger | None = None) -> None:
        self.credentials = credentials
        self.user_agent = user_agent
        self.log = log or _log
        self._session: aiohttp.ClientSession | None = None
        self._resources: dict[tuple[str, str], Resource] = {}

    @classmethod
    def from_kubeconfig(cls, path: Path, *, user_agent: str, log: logging.Logger | None = None) -> KubeClient:
        """Client for the current context of a kubeconfig file (files or embedded data)."""
        return cls(credentials_from_kubeconfig(path), user_agent=user_agent, log=log)

    async def __aenter__(self) -> KubeClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()
            self._session = None

    # Objects -----------------------------------------------------------------------------

    async def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object, or None when it does not exist (or its kind is not served)."""
        try:
            resource = await self.resource(api_version, kind)
            return await self.request("GET", resource.path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[Object]:
        """All objects of a kind, each with apiVersion and kind filled in."""
        resource = await self.resource(api_version, kind)
        answer = await self.request("GET", resource.path(namespace), query=_selectors(label_selector, field_selector))
        return [_typed(item, api_version, kind) for item in answer.get("items") or []]

    async def create(self, obj: Object, *, manager: str | None = None) -> Object:
        """Create an object and return it as stored."""
        resource = await self.resource(obj["apiVersion"], obj["kind"])
        query = {"fieldManager": manager} if manager else {}
        return await self.request("POST", resource.path(obj["metadata"].get("namespace")), body=obj, query=query)

    async def update(self, obj: Object, *, subresource: str | None = None, manager: str | None = None) -> Object:
        """Replace an object (PUT); its resourceVersion guards against lost updates."""
        resource = await self.resource(obj["apiVersion"], obj["kind"])
        namespace, name = key_of(obj)
        query = {"fieldManager": manager} if manager else {}
        return await self.request("PUT", resource.path(namespace, name, subresource), body=obj, query=query)

    async def apply(
        self,
        obj: Object,
        manager: str,
        force: bool = True,
        owner: Mapping[str, Any] | None = None,
        *,
        controller: bool = True,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Server-side apply `obj` as field manager `manager`; return the object as stored.

        With `owner`, an ownerReference to it is added (as its controller unless
        `controller=False`).
        """
        if owner is not None:
            obj = copy.deepcopy(obj)
            obj["metadata"].setdefault("ownerReferences", []).append(owner_reference(owner, controller=controller))
        resource = await self.resource(obj["apiVersion"], obj["kind"])
        namespace, name = key_of(obj)
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        return await self.request(
            "PATCH", resource.path(namespace, name, subresource), body=obj, query=query, patch_type="apply"
        )

    async def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        patch_type: str = "merge",
        subresource: str | None = None,
        manager: str | None = None,
    ) -> Object:
        """Patch an object; `patch_type` is merge, strategic or json."""
        resource = await self.resource(api_version, kind)
        query = {"fieldManager": manager} if manager else {}
        return await self.request(
            "PATCH", resource.path(namespace, name, subresource), body=patch, query=query, patch_type=patch_type
        )

    async def patch_status(
        self,
        api_version: str,
        kind: str,
        name: str,
        status: Mapping[str, Any],
        namespace: str | None = None,
        *,
        manager: str | None = None,
    ) -> Object:
        """Merge `status` into the status subresource. Lists are replaced as a whole."""
        return await self.patch(
            api_version, kind, name, {"status": status}, namespace, subresource="status", manager=manager
        )

    async def delete(
        self,
        api_version: str,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
    ) -> bool:
        """Delete an object; False when there was none (or another one, when `uid` is given)."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_period_seconds is not None:
            options["gracePeriodSeconds"] = grace_period_seconds
        if propagation:
            options["propagationPolicy"] = propagation
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            resource = await self.resource(api_version, kind)
            await self.request("DELETE", resource.path(namespace, name), body=options)
        except ApiError as error:
            if error.status == 404 or (uid and error.status == 409):
                return False
            raise
        return True

    # Watches -----------------------------------------------------------------------------

    async def watch(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        on_synced: Callable[[], None] | None = None,
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield (ADDED | MODIFIED | DELETED, object) for ever: list, then watch, and again.

        Waits while the kind is not served; when its CRD goes, the known objects are reported
        as DELETED. A lost connection or an expired resourceVersion leads to a new list, whose
        differences to what was seen are reported. `on_synced` is called after every list.
        Raises ApiError when listing stays forbidden for FORBIDDEN_PATIENCE_SECONDS, as a
        controller stops when its caches do not sync.
        """
        known: dict[tuple[str, str], Object] = {}
        failures = 0
        forbidden_since: float | None = None
        query = _selectors(label_selector, field_selector)
        while True:
            try:
                resource = await self.resource(api_version, kind)
                path = resource.path(namespace)
                listed = await self.request("GET", path, query=query)
                for event in _differences(known, listed, api_version, kind):
                    yield event
                if on_synced:
                    on_synced()
                failures, forbidden_since = 0, None
                version = listed["metadata"]["resourceVersion"]
                while version is not None:
                    async for event_type, obj in self._watch_once(path, query, version):
                        if event_type == "BOOKMARK":
                            version = obj["metadata"]["resourceVersion"]
                            continue
                        obj = _typed(obj, api_version, kind)
                        version = obj["metadata"]["resourceVersion"]
                        if event_type == "DELETED":
                            known.pop(key_of(obj), None)
                        else:
                            known[key_of(obj)] = obj
                        yield event_type, obj
            except ApiError as error:
                if error.status == 404:
                    for obj in list(known.values()):
                        yield "DELETED", obj
                    known.clear()
                    self._forget(api_version)
                    await asyncio.sleep(ABSENT_KIND_POLL_SECONDS)
                    continue
                if error.status == 403:
                    forbidden_since = forbidden_since or time.monotonic()
                    self.log.error("failed to watch %s %s: %s", api_version, kind, error.message)
                    if time.monotonic() - forbidden_since > FORBIDDEN_PATIENCE_SECONDS:
                        raise
                elif error.status != 410:
                    self.log.warning("watch of %s %s: %s", api_version, kind, error)
                await asyncio.sleep(0 if error.status == 410 else _pause(failures))
                failures += 1
            except (TimeoutError, aiohttp.ClientError, ConnectionError, OSError) as error:
                self.log.debug("watch of %s %s lost: %r", api_version, kind, error)
                await asyncio.sleep(_pause(failures))
                failures += 1

    async def _watch_once(self, path: str, query: Mapping[str, str], version: str) -> AsyncIterator[tuple[str, Object]]:
        """Events of one watch request, until the server ends it."""
        seconds = WATCH_SECONDS + random.randint(0, 60)
        watch_query = {
            **query,
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=seconds + 30)
        async with self._send("GET", path, query=watch_query, timeout=timeout) as response:
            if response.status >= 400:
                raise _api_error(response.status, await response.read(), f"WATCH {path}")
            buffer = bytearray()
            async for chunk in response.content.iter_any():
                buffer += chunk
                *lines, rest = buffer.split(b"\n")
                buffer = bytearray(rest)
                for line in lines:
                    if not line:
                        continue
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(
                            status.get("code", 500), status.get("reason", "Unknown"), status.get("message", ""), path
                        )
                    yield event["type"], event["object"]

    # Requests ----------------------------------------------------------------------------

    async def resource(self, api_version: str, kind: str) -> Resource:
        """Where a kind lives, by discovery; raises KindNotServedError."""
        found = self._resources.get((api_version, kind))
        if found:
            return found
        root = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        try:
            answer = await self.request("GET", root)
        except ApiError as error:
            if error.status == 404:
                raise KindNotServedError(api_version, kind) from None
            raise
        for item in answer["resources"]:
            if "/" not in item["name"]:
                self._resources[(api_version, item["kind"])] = Resource(
                    api_version, item["kind"], item["name"], item["namespaced"]
                )
        found = self._resources.get((api_version, kind))
        if not found:
            raise KindNotServedError(api_version, kind)
        return found

    def _forget(self, api_version: str) -> None:
        """Drop what discovery said about an API version."""
        self._resources = {key: value for key, value in self._resources.items() if key[0] != api_version}

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        patch_type: str | None = None,
    ) -> Object:
        """Send a request and return the decoded answer; raises ApiError.

        A throttled request (429) is repeated after the pause the server asks for; a GET is
        repeated when the connection fails.
        """
        for attempt in range(len(RETRY_SECONDS) + 1):
            last = attempt == len(RETRY_SECONDS)
            try:
                async with self._send(method, path, body=body, query=query, patch_type=patch_type) as response:
                    content = await response.read()
                    if response.status == 429 and not last:
                        await asyncio.sleep(float(response.headers.get("Retry-After", "1")))
                        continue
                    if response.status >= 400:
                        raise _api_error(response.status, content, f"{method} {path}")
                    return json.loads(content) if content else {}
            except (TimeoutError, aiohttp.ClientConnectionError):
                if method != "GET" or last:
                    raise
                await asyncio.sleep(RETRY_SECONDS[attempt])
        raise AssertionError("unreachable")

    async def text(self, path: str) -> str:
        """The plain text at a path, for example /readyz; raises ApiError."""
        async with self._send("GET", path) as response:
            content = await response.read()
            if response.status >= 400:
                raise _api_error(response.status, content, f"GET {path}")
            return content.decode()

    @contextlib.asynccontextmanager
    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        patch_type: str | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a request on the shared session."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self.credentials.ssl_context(), limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, headers={"User-Agent": self.user_agent, "Accept": "application/json"}
            )
        headers = self.credentials.headers()
        data = None
        if body is not None:
            headers["Content-Type"] = PATCH_TYPES[patch_type] if patch_type else "application/json"
            data = json.dumps(body).encode()
        async with self._session.request(
            method,
            self.credentials.server + path,
            data=data,
            params=dict(query or {}),
            headers=headers,
            timeout=timeout or aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS, sock_connect=10),
        ) as response:
            yield response


@dataclass
class Cache:
    """The current objects of one kind, kept by a watch.

    `run()` is the task that keeps it; `on_event` is awaited for every change, after the
    cache has taken it in.
    """

    client: KubeClient
    api_version: str
    kind: str
    field_selector: str | None = None
    on_event: Callable[[str, Object], Awaitable[None]] | None = None
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Keep the cache until cancelled."""
        events = self.client.watch(
            self.api_version, self.kind, field_selector=self.field_selector, on_synced=self.synced.set
        )
        async for event_type, obj in events:
            if event_type == "DELETED":
                self.objects.pop(key_of(obj), None)
            else:
                self.objects[key_of(obj)] = obj
            self._changed.set()
            self._changed = asyncio.Event()
            if self.on_event:
                await self.on_event(event_type, obj)

    def get(self, namespace: str, name: str) -> Object | None:
        """The object as last seen, or None."""
        return self.objects.get((namespace, name))

    def changed(self) -> asyncio.Event:
        """An event that is set at the next change; take it before reading the cache."""
        return self._changed


def credentials_from_kubeconfig(path: Path) -> Credentials:
    """Credentials of the current context. Embedded data is written to 0600 files in a private folder."""
    config = yaml.safe_load(path.read_text())
    context = next(item["context"] for item in config["contexts"] if item["name"] == config["current-context"])
    cluster = next(item["cluster"] for item in config["clusters"] if item["name"] == context["cluster"])
    user = next(item["user"] for item in config["users"] if item["name"] == context["user"])
    folder = Path(tempfile.mkdtemp(prefix="kubeconfig-"))

    def file_of(section: Mapping[str, str], key: str) -> Path | None:
        if section.get(key):
            return (path.parent / section[key]).resolve()
        if section.get(f"{key}-data"):
            return _private_file(folder / key, base64.b64decode(section[f"{key}-data"]))
        return None

    authority = file_of(cluster, "certificate-authority")
    if authority is None:
        raise ValueError(f"{path}: clusters[{context['cluster']}] has no certificate-authority")
    token_file: Path | None = None
    if user.get("tokenFile"):
        token_file = (path.parent / user["tokenFile"]).resolve()
    elif user.get("token"):
        token_file = _private_file(folder / "token", user["token"].encode())
    return Credentials(
        server=cluster["server"].rstrip("/"),
        certificate_authority=authority,
        client_certificate=file_of(user, "client-certificate"),
        client_key=file_of(user, "client-key"),
        token_file=token_file,
    )


def _private_file(path: Path, content: bytes) -> Path:
    """Write a file that only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    return path


def _selectors(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    query = {}
    if label_selector:
        query["labelSelector"] = label_selector
    if field_selector:
        query["fieldSelector"] = field_selector
    return query


def _typed(obj: Object, api_version: str, kind: str) -> Object:
    """List items carry no apiVersion and kind; put them first."""
    if "kind" in obj:
        return obj
    return {"apiVersion": api_version, "kind": kind, **obj}


def _differences(
    known: dict[tuple[str, str], Object], listed: Object, api_version: str, kind: str
) -> list[tuple[str, Object]]:
    """Events that turn `known` into the listed state; `known` is updated."""
    events: list[tuple[str, Object]] = []
    current = {key_of(item): _typed(item, api_version, kind) for item in listed.get("items") or []}
    for key in [key for key in known if key not in current]:
        events.append(("DELETED", known.pop(key)))
    for key, obj in current.items():
        before = known.get(key)
        if before is not None and before["metadata"].get("uid") != obj["metadata"].get("uid"):
            events.append(("DELETED", before))
            before = None
        if before is None:
            events.append(("ADDED", obj))
        elif before["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
            events.append(("MODIFIED", obj))
        known[key] = obj
    return events


def _api_error(status: int, content: bytes, request: str) -> ApiError:
    """Error from the body of an answer, which normally is a Status object."""
    try:
        body = json.loads(content)
        return ApiError(status, body.get("reason") or "Unknown", body.get("message") or str(body), request)
    except (ValueError, AttributeError):
        return ApiError(status, "Unknown", content.decode(errors="replace").strip(), request)


def _pause(failures: int) -> float:
    """Seconds to wait after the given number of failures in a row, with jitter."""
    return RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)] * random.uniform(0.8, 1.2)
