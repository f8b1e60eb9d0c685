"""Reads a kubeconfig the way kubectl does: where the API server is and how to log in.

The `kubernetes` package can do this too, but its loader writes the failure of a credential plugin to a log and
goes on without credentials, and importing it costs 0.2 s in every process.  It is used here for one thing only:
the old `auth-provider: oidc` entries, whose tokens it knows how to refresh.
"""

from __future__ import annotations

import base64
import datetime
import importlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from inference_platform.cluster import redact
from inference_platform.cluster.errors import CredentialsRejected, KubeconfigError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PLUGIN_SECONDS = 60
# Credentials that plugins gave, by what was asked.  Kept in memory only: a process that forks workers may log in once
# before, and the workers find the credential here instead of running the plugin again (a second each on EKS).
_FROM_PLUGINS: dict[str, Credential] = {}
_EARLY = datetime.timedelta(seconds=60)  # renew a credential this long before it expires


@dataclass
class Credential:
    """What goes with each request: headers, and for TLS client authentication a certificate and key (PEM)."""

    headers: dict[str, str] = field(default_factory=dict)
    certificate: bytes | None = None
    key: bytes | None = None
    expires: datetime.datetime | None = None

    def is_stale(self) -> bool:
        """Whether it has expired or is about to."""
        return self.expires is not None and datetime.datetime.now(datetime.UTC) + _EARLY >= self.expires


class Login:
    """Gives the credential of one kubeconfig user, and renews it when it expires or is rejected."""

    def __init__(self, user: Mapping[str, Any], cluster: Mapping[str, Any], folder: Path, source: str) -> None:
        self._user, self._cluster, self._folder, self._source = user, cluster, folder, source
        self._lock = threading.Lock()
        self._current: Credential | None = None

    @property
    def kind(self) -> str:
        """How it logs in, for messages: "token", "client certificate", "plugin aws", ..."""
        user = self._user
        if "exec" in user:
            return f"credential plugin `{Path(str(user['exec'].get('command', '?'))).name}`"
        if "auth-provider" in user:
            return f"auth-provider {user['auth-provider'].get('name', '?')}"
        if "token" in user or "tokenFile" in user:
            return "token"
        if "client-certificate" in user or "client-certificate-data" in user:
            return "client certificate"
        return "user name and password" if "username" in user else "no credentials"

    def current(self, *, renew: bool = False) -> Credential:
        """The credential to use now.  `renew` asks for a new one (after a 401)."""
        with self._lock:
            if renew or self._current is None or self._current.is_stale():
                self._current = self._load(renew=renew)
            return self._current

    def is_renewable(self) -> bool:
        """Whether asking again can give another credential."""
        return bool({"exec", "tokenFile", "auth-provider"} & self._user.keys())

    def _load(self, *, renew: bool) -> Credential:
        user = self._user
        if "exec" in user:
            asked = json.dumps([user["exec"], self._cluster, str(self._folder)], sort_keys=True, default=str)
            kept = _FROM_PLUGINS.get(asked)
            if renew or kept is None or kept.is_stale():
                kept = _from_plugin(user["exec"], self._cluster, self._folder, self._source)
                _FROM_PLUGINS[asked] = kept
            return kept
        if "auth-provider" in user:
            return _from_auth_provider(user, self._source)
        credential = Credential(
            certificate=_pem(user, "client-certificate", self._folder, self._source),
            key=_pem(user, "client-key", self._folder, self._source),
        )
        token = user.get("token")
        if "tokenFile" in user:
            token = _read(self._folder / user["tokenFile"], "tokenFile", self._source).decode().strip()
            credential.expires = datetime.datetime.now(datetime.UTC) + 2 * _EARLY
        if token:
            credential.headers["Authorization"] = f"Bearer {token}"
        elif "username" in user:
            pair = f"{user['username']}:{user.get('password', '')}"
            credential.headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return credential


@dataclass(frozen=True)
class Access:
    """One API server and one way to log in.

    server   URL of the API server
    context  name of the kubeconfig context ("" inside a pod)
    source   where this comes from, for messages: "kubeconfig /home/me/.kube/config"
    paths    the kubeconfig files, joined as in $KUBECONFIG ("" inside a pod); helm gets the same
    ca       PEM of the server's certificate authorities, None for the system's
    verify   False only if the kubeconfig says insecure-skip-tls-verify
    """

    server: str
    context: str
    source: str
    paths: str
    login: Login
    ca: bytes | None = None
    verify: bool = True
    server_name: str | None = None
    proxy: str | None = None
    namespace: str = "default"


def load(kubeconfig: str | None = None, context: str | None = None) -> Access:
    """The access that this kubeconfig and context describe.

    kubeconfig  path, or several joined with ":" ; None means $KUBECONFIG, then ~/.kube/config, then the
                ServiceAccount of the pod this runs in
    context     name; None means the file's current-context
    """
    explicit = kubeconfig or os.environ.get("KUBECONFIG") or ""
    paths = [Path(part).expanduser() for part in explicit.split(os.pathsep) if part]
    if not paths and not (default := Path("~/.kube/config").expanduser()).exists():
        if "KUBERNETES_SERVICE_HOST" in os.environ and (_SERVICE_ACCOUNT / "token").exists():
            return _in_cluster()
        raise KubeconfigError(
            f"No kubeconfig: expected a path in the inventory variable `kubeconfig` or in $KUBECONFIG, or the file "
            f"{default}; found none. Set `kubeconfig`, or write one with your provider's tool "
            "(for EKS: `aws eks update-kubeconfig --name CLUSTER`)."
        )
    paths = paths or [default]
    merged = _merge(paths)
    source = "kubeconfig " + ", ".join(str(path) for path in paths)
    name = context or merged.current
    if not name:
        raise KubeconfigError(
            f"{source}: expected a current-context, found none. Set `kube_context` to one of: "
            f"{_names(merged.contexts)}."
        )
    chosen = _entry(merged.contexts, name, "context", source)
    cluster_entry = _entry(merged.clusters, str(chosen.body.get("cluster", "")), "cluster", source)
    cluster = cluster_entry.body
    user_name = chosen.body.get("user")
    user = _entry(merged.users, str(user_name), "user", source) if user_name else None
    server = str(cluster.get("server") or "")
    if not server.startswith(("https://", "http://")):
        raise KubeconfigError(
            f"{source}: cluster {chosen.body.get('cluster')!r} has server {server!r}; expected an https:// URL."
        )
    return Access(
        server=server.rstrip("/"),
        context=name,
        source=source,
        paths=os.pathsep.join(str(path) for path in paths),
        login=Login(user.body if user else {}, cluster, user.folder if user else Path(), source),
        ca=_pem(cluster, "certificate-authority", cluster_entry.folder, source),
        verify=not cluster.get("insecure-skip-tls-verify", False),
        server_name=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url"),
        namespace=chosen.body.get("namespace") or "default",
    )


@dataclass(frozen=True)
class _Entry:
    body: Mapping[str, Any]
    folder: Path


@dataclass
class _Merged:
    """Several kubeconfig files as one: the first file that has a name wins, as for kubectl."""

    clusters: dict[str, _Entry] = field(default_factory=dict)
    contexts: dict[str, _Entry] = field(default_factory=dict)
    users: dict[str, _Entry] = field(default_factory=dict)
    current: str = ""


def _merge(paths: list[Path]) -> _Merged:
    merged, found = _Merged(), 0
    for path in paths:
        if not path.exists() and len(paths) > 1:
            continue
        body = _parse(path)
        found += 1
        for section, target in (
            ("clusters", merged.clusters),
            ("contexts", merged.contexts),
            ("users", merged.users),
        ):
            for item in body.get(section) or []:
                inner = item.get(section[:-1]) or {}
                target.setdefault(str(item.get("name")), _Entry(inner, path.resolve().parent))
        merged.current = merged.current or str(body.get("current-context") or "")
    if not found:
        raise KubeconfigError(
            f"None of the kubeconfig files {', '.join(map(str, paths))} exists. Correct `kubeconfig` or $KUBECONFIG."
        )
    return merged


def _parse(path: Path) -> dict[str, Any]:
    content = _read(path, "kubeconfig", str(path))
    try:
        body = yaml.load(content, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "syntax error"
        raise KubeconfigError(f"{path}{where}: expected a kubeconfig in YAML, found: {problem}.") from None
    if not isinstance(body, dict) or "clusters" not in body:
        raise KubeconfigError(f"{path}: expected a kubeconfig (clusters, contexts, users), found something else.")
    return body


def _read(path: Path, what: str, source: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KubeconfigError(
            f"{source}: the {what} file {path} cannot be read ({error.strerror}). Check the path and its permissions."
        ) from None


def _entry(entries: Mapping[str, _Entry], name: str, what: str, source: str) -> _Entry:
    if name not in entries:
        raise KubeconfigError(f"{source}: expected a {what} named {name!r}, found {_names(entries)}.")
    return entries[name]


def _names(entries: Mapping[str, _Entry]) -> str:
    return ", ".join(sorted(entries)) or "none"


def _pem(holder: Mapping[str, Any], key: str, folder: Path, source: str) -> bytes | None:
    """Content of `<key>-data` (base64) or of the file `<key>`; the data wins, as for kubectl."""
    data = holder.get(f"{key}-data")
    if data:
        try:
            return base64.b64decode("".join(str(data).split()), validate=True)
        except ValueError:
            raise KubeconfigError(f"{source}: {key}-data is not valid base64. Write the kubeconfig anew.") from None
    return _read(folder / holder[key], key, source) if holder.get(key) else None


def _in_cluster() -> Access:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    source = "ServiceAccount of this pod"
    user = {"tokenFile": str(_SERVICE_ACCOUNT / "token")}
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        context="",
        source=source,
        paths="",
        login=Login(user, {}, _SERVICE_ACCOUNT, source),
        ca=_read(_SERVICE_ACCOUNT / "ca.crt", "certificate-authority", source),
    )


def _from_plugin(spec: Mapping[str, Any], cluster: Mapping[str, Any], folder: Path, source: str) -> Credential:
    """Runs a credential plugin (client.authentication.k8s.io), e.g. `aws eks get-token` or kubelogin."""
    command = str(spec.get("command") or "")
    if os.sep in command and not os.path.isabs(command):
        command = str(folder / command)
    hint = " ".join(str(spec.get("installHint") or "").split())
    if not shutil.which(command):
        raise CredentialsRejected(
            f"{source}: the credential plugin `{command}` is not on PATH. Install it"
            f"{f': {hint}' if hint else ', or choose another context'}."
        )
    info: dict[str, Any] = {"interactive": False}
    if spec.get("provideClusterInfo"):
        info["cluster"] = _cluster_info(cluster, folder, source)
    request = {"apiVersion": spec.get("apiVersion"), "kind": "ExecCredential", "spec": info}
    environment = {
        **os.environ,
        **{str(item["name"]): str(item.get("value", "")) for item in spec.get("env") or []},
        "KUBERNETES_EXEC_INFO": json.dumps(request),
    }
    try:
        done = subprocess.run(
            [command, *map(str, spec.get("args") or [])],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PLUGIN_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CredentialsRejected(
            f"{source}: the credential plugin `{command}` failed: {type(error).__name__}."
        ) from None
    if done.returncode != 0:
        said = redact.text(" ".join(done.stderr.split())[-400:]) or "nothing"
        raise CredentialsRejected(
            f"{source}: the credential plugin `{Path(command).name}` ended with exit status {done.returncode} and "
            f"said: {said}. Log in again with your provider's tool, then re-run."
        )
    try:
        answer = json.loads(done.stdout)
        status = answer["status"]
        return _exec_credential(status)
    except (ValueError, KeyError, TypeError):
        raise CredentialsRejected(
            f"{source}: the credential plugin `{Path(command).name}` gave no usable ExecCredential "
            f"(expected JSON with status.token or status.clientCertificateData, found {len(done.stdout)} characters "
            "of something else). Run it by hand to see."
        ) from None


def _exec_credential(status: Mapping[str, Any]) -> Credential:
    credential = Credential()
    if status.get("token"):
        credential.headers["Authorization"] = f"Bearer {status['token']}"
    if status.get("clientCertificateData"):
        credential.certificate = str(status["clientCertificateData"]).encode()
        credential.key = str(status["clientKeyData"]).encode()
    if not credential.headers and not credential.certificate:
        raise KeyError("status.token")
    if status.get("expirationTimestamp"):
        credential.expires = datetime.datetime.fromisoformat(str(status["expirationTimestamp"]))
    return credential


def _cluster_info(cluster: Mapping[str, Any], folder: Path, source: str) -> dict[str, Any]:
    info: dict[str, Any] = {"server": cluster.get("server")}
    authority = _pem(cluster, "certificate-authority", folder, source)
    if authority:
        info["certificate-authority-data"] = base64.b64encode(authority).decode()
    for key in ("insecure-skip-tls-verify", "tls-server-name", "proxy-url"):
        if key in cluster:
            info[key] = cluster[key]
    for extension in cluster.get("extensions") or []:
        if extension.get("name") == "client.authentication.k8s.io/exec":
            info["config"] = extension.get("extension")
    return info


def _from_auth_provider(user: Mapping[str, Any], source: str) -> Credential:
    """Tokens of the old built-in `oidc` provider, by the `kubernetes` package (slow to import, so only here)."""
    name = user["auth-provider"].get("name")
    if name != "oidc":
        raise CredentialsRejected(
            f"{source}: auth-provider {name!r} no longer exists in Kubernetes clients. Write the kubeconfig anew with "
            "your provider's tool, which uses a credential plugin."
        )
    kubernetes_config: Any = importlib.import_module("kubernetes.config.kube_config")
    holder: Any = type("Configuration", (), {"api_key": {}})()
    body = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://unused"}}],
        "users": [{"name": "u", "user": dict(user)}],
    }
    kubernetes_config.KubeConfigLoader(config_dict=body).load_and_set(holder)
    token = holder.api_key.get("BearerToken")
    if not token:
        raise CredentialsRejected(f"{source}: the oidc token expired and could not be refreshed. Log in again.")
    return Credential(headers={"Authorization": token})
