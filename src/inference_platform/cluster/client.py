"""A small Kubernetes client: raw JSON over one connection pool, with retries and clear errors.

Only this module (and the helm calls of `release`) touch the network.  Objects are plain dicts as the API server
sends them.  A `Cluster` may be used from several threads, and after a fork the child gets its own connections.
"""

from __future__ import annotations

import base64
import datetime
import importlib.metadata
import json
import os
import random
import ssl
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import urllib3

from inference_platform.cluster import errors, redact
from inference_platform.cluster.errors import ClusterUnreachable, CredentialsRejected, UnknownKind
from inference_platform.cluster.kubeconfig import Access, Credential
from inference_platform.cluster.kubeconfig import load as load_kubeconfig
from inference_platform.cluster.objects import Ref

FIELD_MANAGER = "inference-platform"
APPLY = "application/apply-patch+yaml"  # the server takes JSON as well: JSON is YAML
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_METADATA_LIST = "application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadataList"
_RETRIED = frozenset({429, 500, 502, 503, 504})
_LONGEST_RETRY_AFTER = 30.0  # seconds; a server that asks for more gets this
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 60.0
_LIST_LIMIT = 500
#: What OpenSSL says of a handshake or record that was cut off or garbled.
_GARBLED = ("decode error", "unexpected eof", "eof occurred", "bad record mac", "record layer failure")
_UNKNOWN_KIND_AGE = 0.3  # seconds for which "not served" is believed before discovery is read again

Object = dict[str, Any]
ObjectList = list[Object]  # inside Cluster, `list` is a method


@dataclass(frozen=True)
class Resource:
    """One served kind: its URL name and whether it lives in namespaces."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def group(self) -> str:
        """API group, "" for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """URL path of the collection, or of one object."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        scope = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{quote(name, safe=':')}" if name else "")


class Discovery:
    """What the API server serves, from the two aggregated discovery documents (/api and /apis)."""

    def __init__(self, documents: list[Mapping[str, Any]]) -> None:
        self._by_kind: dict[tuple[str, str], Resource] = {}
        for document in documents:
            for resource in _resources(document):
                self._by_kind[(resource.api_version, resource.kind)] = resource

    def find(self, api_version: str, kind: str) -> Resource | None:
        """The resource of a kind, or None when the server does not serve it."""
        return self._by_kind.get((api_version, kind))

    def versions(self, kind: str, group: str) -> tuple[str, ...]:
        """API versions in which this kind of this group is served."""
        return tuple(sorted(v for v, k in self._by_kind if k == kind and v.rpartition("/")[0] == group))

    def serves(self, crd_name: str) -> bool:
        """Whether "<plural>.<group>" is served in some version: then its CRD is Established."""
        plural, _, group = crd_name.partition(".")
        return any(r.plural == plural and r.group == group for r in self._by_kind.values())


def _resources(document: Mapping[str, Any]) -> Iterator[Resource]:
    for group in document.get("items") or []:
        name = (group.get("metadata") or {}).get("name") or ""
        for version in group.get("versions") or []:
            api_version = f"{name}/{version['version']}" if name else version["version"]
            for item in version.get("resources") or []:
                kind = (item.get("responseKind") or {}).get("kind")
                if kind:
                    yield Resource(api_version, kind, item["resource"], item.get("scope") == "Namespaced")


class Cluster:
    """A connection to one API server, with the rights of one kubeconfig context."""

    def __init__(
        self,
        access: Access,
        *,
        workers: int = 8,
        attempts: int = 6,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.access, self.workers = access, workers
        self.version: Mapping[str, Any] = {}
        self._attempts, self._sleep = attempts, sleep
        self._pool: urllib3.PoolManager | None = None
        self._pool_key: tuple[int, int] = (0, 0)
        self._lock = threading.Lock()
        self._discovery: Discovery | None = None
        self._discovered_at = 0.0
        self._user_agent = f"inference-platform/{_own_version()}"
        self._before_write: Callable[[], None] | None = None
        self._first_write = threading.Lock()

    @classmethod
    def connect(cls, kubeconfig: str | None = None, context: str | None = None, *, workers: int = 8) -> Cluster:
        """Opens a connection and proves it with one request for the server's version.

        Raises KubeconfigError, ClusterUnreachable or CredentialsRejected, each with what to do about it.
        """
        cluster = cls(load_kubeconfig(kubeconfig, context), workers=workers)
        cluster.version = cluster.request("GET", "/version", subject="read the server's version", attempts=2)
        return cluster

    # ---- writing ------------------------------------------------------------------------------------------

    def guard(self, before_write: Callable[[], None] | None) -> None:
        """Has something done before the first write; an error of it is that of the write."""
        self._before_write = before_write

    def about_to_write(self) -> None:
        """Says that something is going to be written, by this client or by a program beside it."""
        with self._first_write:
            if self._before_write is not None:
                self._before_write()
                self._before_write = None

    # ---- objects ------------------------------------------------------------------------------------------

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None when it is not there.  Raises UnknownKind when the kind is not served."""
        resource = self.resource(api_version, kind)
        try:
            answer: Object = self.request(
                "GET", resource.path(namespace, name), subject=f"read {kind} {_place(namespace, name)}"
            )
        except errors.NotFound:
            return None
        return answer

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> list[Object]:
        """All objects of a kind (in one namespace, or everywhere).  Raises UnknownKind when it is not served."""
        return self.list_at(
            api_version,
            kind,
            namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
        )[0]

    def list_at(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> tuple[ObjectList, str]:
        """As `list`, with the resource version of the list: what `watch` goes on from."""
        resource = self.resource(api_version, kind)
        query = {"limit": str(_LIST_LIMIT)}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        accept = f"{_METADATA_LIST},application/json" if metadata_only else "application/json"
        items: list[Object] = []
        subject = f"list {kind}" + (f" in namespace {namespace}" if namespace else "")
        while True:
            try:
                page = self.request("GET", resource.path(namespace), query=query, accept=accept, subject=subject)
            except errors.ApiError as error:
                if error.status == 410 and "continue" in query:  # the snapshot is too old: start again, in one page
                    query = {key: value for key, value in query.items() if key not in ("limit", "continue")}
                    items.clear()
                    continue
                raise
            items.extend({**item, "apiVersion": api_version, "kind": kind} for item in page.get("items") or [])
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion") or "")
            query["continue"] = metadata["continue"]

    def watch(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        resource_version: str,
        label_selector: str = "",
        seconds: int = 300,
    ) -> Iterator[tuple[str, Object]]:
        """What happens to objects of a kind from then on, as (type, object): ADDED, MODIFIED, DELETED, BOOKMARK.

        Ends when the server ends it (after `seconds` at the latest) or the connection breaks; go on from the last
        resource version seen.  Raises ApiError with status 410 when that is too old: list again.
        """
        resource = self.resource(api_version, kind)
        query = {"watch": "1", "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        query["resourceVersion"] = resource_version
        if label_selector:
            query["labelSelector"] = label_selector
        subject = f"watch {kind}" + (f" in namespace {namespace}" if namespace else "")
        credential = self.access.login.current()
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=seconds + _READ_SECONDS)
        try:
            response = self._connections(credential).request(
                "GET",
                f"{self.access.server}{resource.path(namespace)}?{urlencode(query)}",
                headers={"Accept": "application/json", "User-Agent": self._user_agent, **credential.headers},
                retries=False,
                redirect=False,
                timeout=timeout,
                preload_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(subject, error) from None
        try:
            if response.status >= 300:
                answer = _decode(response.data, response.headers.get("Content-Type", ""))
                raise (
                    self._rejected(answer)
                    if response.status == 401
                    else errors.api_error(response.status, answer, subject)
                )
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise errors.api_error(int(event["object"].get("code") or 500), event["object"], subject)
                yield event["type"], event["object"]
        except (urllib3.exceptions.HTTPError, OSError):
            return  # it broke: the caller goes on with another watch
        finally:
            response.close()

    def apply(
        self,
        obj: Object,
        *,
        manager: str = FIELD_MANAGER,
        force: bool = False,
        dry_run: bool = False,
        attempts: int | None = None,
        body: bytes | None = None,
    ) -> Object:
        """Server-side apply of one object; the object as the server then has it.  Unknown fields are refused.

        body  the object as YAML, where the very bytes matter; otherwise it is sent as JSON
        """
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace"), metadata["name"]
        resource = self.resource(obj["apiVersion"], obj["kind"])
        query = {"fieldManager": manager, "fieldValidation": "Strict", "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        if not dry_run:
            self.about_to_write()
        verb = "try to apply (dry run)" if dry_run else "apply"
        answer: Object = self.request(
            "PATCH",
            resource.path(namespace, name),
            body=obj if body is None else body,
            query=query,
            content_type=APPLY,
            subject=f"{verb} {obj['apiVersion']} {obj['kind']} {_place(namespace, name)}",
            attempts=attempts,
            retry_conflict=True,
        )
        return answer

    def delete(self, obj: Object) -> None:
        """Deletes exactly this object (by uid); already gone is fine."""
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace"), metadata["name"]
        resource = self.resource(obj["apiVersion"], obj["kind"])
        self.about_to_write()
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if metadata.get("uid"):
            body["preconditions"] = {"uid": metadata["uid"]}
        try:
            self.request(
                "DELETE",
                resource.path(namespace, name),
                body=body,
                subject=f"delete {obj['kind']} {_place(namespace, name)}",
            )
        except errors.NotFound:
            return

    def merge_patch(self, obj: Object, *, manager: str = FIELD_MANAGER) -> Object:
        """JSON merge patch with the whole object: its fields are set, lists replaced, other fields kept."""
        self.about_to_write()
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace"), metadata["name"]
        resource = self.resource(obj["apiVersion"], obj["kind"])
        answer: Object = self.request(
            "PATCH",
            resource.path(namespace, name),
            body=obj,
            query={"fieldManager": manager},
            content_type="application/merge-patch+json",
            subject=f"update {obj['kind']} {_place(namespace, name)}",
        )
        return answer

    def patch_status(self, ref: Ref, status: Mapping[str, Any]) -> None:
        """JSON merge patch of the status: its fields are set, or removed where they are None."""
        self.about_to_write()
        resource = self.resource(ref.api_version, ref.kind)
        self.request(
            "PATCH",
            f"{resource.path(ref.namespace, ref.name)}/status",
            body={"status": dict(status)},
            query={"fieldManager": FIELD_MANAGER},
            content_type="application/merge-patch+json",
            subject=f"update the status of {ref}",
        )

    def replace(self, obj: Object) -> Object:
        """Writes an object back; a 409 Conflict when it changed since it was read."""
        self.about_to_write()
        metadata = obj["metadata"]
        resource = self.resource(obj["apiVersion"], obj["kind"])
        namespace, name = metadata.get("namespace"), metadata["name"]
        answer: Object = self.request(
            "PUT",
            resource.path(namespace, name),
            body=obj,
            query={"fieldManager": FIELD_MANAGER},
            subject=f"update {obj['kind']} {_place(namespace, name)}",
        )
        return answer

    # ---- kinds --------------------------------------------------------------------------------------------

    def discovery(self, *, max_age: float | None = None) -> Discovery:
        """What is served: two requests the first time, kept, and read anew when older than `max_age` seconds."""
        age = time.monotonic() - self._discovered_at
        if self._discovery is None or (max_age is not None and age > max_age):
            subject = "read which kinds the cluster serves"
            documents = [self.request("GET", path, accept=_DISCOVERY, subject=subject) for path in ("/api", "/apis")]
            self._discovery, self._discovered_at = Discovery(documents), time.monotonic()
        return self._discovery

    def resource(self, api_version: str, kind: str) -> Resource:
        """The resource of a kind; for an unknown one discovery is read anew.  Raises UnknownKind."""
        found = self.discovery().find(api_version, kind)
        if found is None:
            found = self.discovery(max_age=_UNKNOWN_KIND_AGE).find(api_version, kind)
        if found is None:
            group = api_version.rpartition("/")[0]
            raise UnknownKind(api_version, kind, self.discovery().versions(kind, group))
        return found

    # ---- requests -----------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        subject: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        attempts: int | None = None,
        retry_conflict: bool = False,
        read_seconds: float = _READ_SECONDS,
    ) -> Any:
        """One request and its decoded answer.

        Tried again, with growing jittered pauses, when the connection breaks, on 429 (for as long as the server
        says) and on 5xx; on 409 only if `retry_conflict`, and not when another manager owns a field, which stays so.
        `subject` begins each error: "apply Deployment a/b".
        """
        url = self.access.server + path + (f"?{urlencode(query)}" if query else "")
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Accept": accept, "User-Agent": self._user_agent, "Accept-Encoding": "gzip"}
        if payload is not None:
            headers["Content-Type"] = content_type
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=read_seconds)
        limit, renewed = attempts or self._attempts, False
        attempt = 0
        while True:
            attempt += 1
            try:
                credential = self.access.login.current()
                response = self._connections(credential).request(
                    method,
                    url,
                    body=payload,
                    headers={**headers, **credential.headers},
                    retries=False,
                    redirect=False,
                    timeout=timeout,
                )
            except urllib3.exceptions.HTTPError as error:
                if attempt >= limit or not _is_transient(error):
                    raise self._unreachable(subject, error) from None
                self._sleep(_pause(attempt))
                continue
            answer = _decode(response.data, response.headers.get("Content-Type", ""))
            if response.status < 300:
                return answer
            if response.status == 401:
                if renewed or not self.access.login.is_renewable():
                    raise self._rejected(answer)
                renewed = True
                self.access.login.current(renew=True)
                continue
            error_found = errors.api_error(response.status, answer, subject)
            lost_a_race = isinstance(error_found, errors.Conflict) and not error_found.fields()
            transient = response.status in _RETRIED or (retry_conflict and lost_a_race)
            if attempt >= limit or not transient:
                raise error_found
            self._sleep(_pause(attempt, response.headers.get("Retry-After")))

    def _connections(self, credential: Credential) -> urllib3.PoolManager:
        """The connection pool: a new one after a fork, or when the client certificate changed."""
        key = (os.getpid(), hash((credential.certificate, credential.key)))
        with self._lock:
            if self._pool is None or self._pool_key != key:
                self._pool, self._pool_key = _pool(self.access, credential, self.workers), key
            return self._pool

    def _unreachable(self, subject: str, error: Exception) -> ClusterUnreachable:
        why, what = _explain(error)
        command = "kubectl" + (f" --kubeconfig {self.access.paths}" if self.access.paths else "")
        command += f" --context {self.access.context}" if self.access.context else ""
        return ClusterUnreachable(
            f"The API server {self.access.server} cannot be reached to {subject}: {why}. "
            f"It is the server of context {self.access.context!r} in {self.access.source}. "
            f"{what} To see for yourself: `{command} version`."
        )

    def _rejected(self, answer: Any) -> CredentialsRejected:
        login = self.access.login
        expiry = _token_expiry(login.current().headers.get("Authorization", ""))
        hint = "They are expired or belong to another cluster: log in again"
        if expiry and expiry < datetime.datetime.now(datetime.UTC):
            hint = f"The token expired at {expiry:%Y-%m-%d %H:%M:%S} UTC: get a new one"
        elif login.kind == "no credentials":
            hint = "The context names no user with credentials: add one"
        said = redact.text(str(answer.get("message", ""))) if isinstance(answer, dict) else ""
        return CredentialsRejected(
            f"The API server {self.access.server} rejected the credentials (401 {said or 'Unauthorized'}) of context "
            f"{self.access.context!r} in {self.access.source} ({login.kind}). {hint}, then re-run."
        )


def _own_version() -> str:
    try:
        return importlib.metadata.version("inference-platform")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "dev"


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The complete lines of a streamed answer, as they arrive."""
    rest = b""
    for chunk in response.stream():
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)


def _place(namespace: str | None, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def _decode(data: bytes, content_type: str) -> Any:
    if "json" in content_type and data:
        try:
            return json.loads(data)
        except ValueError:
            return data.decode(errors="replace")
    return data.decode(errors="replace")


def _pause(attempt: int, retry_after: str | None = None) -> float:
    """Seconds to wait before the next attempt: doubling from 0.2 up to 5, with jitter; or what the server asks."""
    if retry_after and retry_after.isdigit():
        return min(float(retry_after), _LONGEST_RETRY_AFTER) + random.uniform(0, 0.1)
    return float(min(0.1 * 2**attempt, 5.0) * random.uniform(0.5, 1.0))


def _is_transient(error: urllib3.exceptions.HTTPError) -> bool:
    """Whether another try may help.  Of TLS only what is garbled on the way: certificates stay as they are."""
    if isinstance(error, urllib3.exceptions.SSLError):
        return any(word in str(error).lower() for word in _GARBLED)
    return not isinstance(error, urllib3.exceptions.LocationParseError)


def _explain(error: Exception) -> tuple[str, str]:
    """(why, what to do) for a failed connection."""
    if isinstance(error, urllib3.exceptions.ProxyError):
        return "the proxy refused or does not answer", "Check HTTPS_PROXY, NO_PROXY and the kubeconfig's proxy-url."
    if isinstance(error, urllib3.exceptions.SSLError):
        said = str(error).partition("] ")[2].partition(" (_ssl")[0] or "TLS failed"
        return (
            f"TLS: {said}",
            "The server's certificate does not fit the kubeconfig's certificate-authority (another cluster at this "
            "address, or a cluster created anew?): write the kubeconfig anew.",
        )
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "its name is not known to DNS", "Check the spelling, your VPN and DNS; the cluster may be deleted."
    if "refused" in str(error):  # before timeouts: urllib3 counts it among them
        return "connection refused", "Check that the cluster is running and that address and port are right."
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "no answer in time", "Check your VPN, firewall and proxy, and that the endpoint is not private."
    return (
        f"the connection broke ({type(error).__name__})",
        "Check that the cluster is healthy and that no proxy stands between.",
    )


def _token_expiry(authorization: str) -> datetime.datetime | None:
    """When a bearer token expires, if it is a JWT that says so."""
    parts = authorization.removeprefix("Bearer ").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.datetime.fromtimestamp(int(claims["exp"]), datetime.UTC)
    except (ValueError, KeyError, TypeError):
        return None


def _pool(access: Access, credential: Credential, workers: int) -> urllib3.PoolManager:
    settings: dict[str, Any] = {"num_pools": 1, "maxsize": workers}
    if access.server.startswith("https://"):
        settings["ssl_context"] = _tls(access, credential)
        if access.server_name:
            settings["server_hostname"] = settings["assert_hostname"] = access.server_name
        if not access.verify:
            settings["assert_hostname"] = False
    proxy = access.proxy or _environment_proxy(access.server)
    if proxy:
        return urllib3.ProxyManager(proxy, **settings)
    return urllib3.PoolManager(**settings)


def _tls(access: Access, credential: Credential) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=access.ca.decode() if access.ca else None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # many clusters' own CAs lack the extensions it asks for
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credential.certificate and credential.key:
        # load_cert_chain takes only files: a private folder that exists for the length of the call.
        with tempfile.TemporaryDirectory(prefix="inference-platform-") as folder:
            path = os.path.join(folder, "client.pem")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(credential.certificate.rstrip() + b"\n" + credential.key)
            context.load_cert_chain(path)
    return context


def _environment_proxy(server: str) -> str | None:
    """Proxy from HTTPS_PROXY/HTTP_PROXY unless NO_PROXY or a loopback address rules it out."""
    parts = urlsplit(server)
    host = parts.hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1" or urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(parts.scheme)
