"""Asks container registries for digests, as clients of the OCI distribution API do."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference_platform.cluster.errors import ClusterError

_SECONDS = 30
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_LOOPBACK = re.compile(r"^(localhost|127\.\d+\.\d+\.\d+)(:\d+)?$")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
#: Indexes come first: the digest of an index stands for all architectures.
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "docker.distribution.manifest.list.v2",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.v2",
    )
)


class RegistryError(ClusterError):
    """A registry did not give what was asked of it; the message says which, what it said, and what to do."""


def digest_of(repository: str, reference: str, auth_file: str | Path | None = None) -> str:
    """The digest ("sha256:...") of what a tag, or a digest, names in a repository such as "quay.io/a/b".

    auth_file  a Docker config.json with the credentials of the registry; none where everyone may pull

    Raises RegistryError.  The digest is that of the content that was received, whatever the registry calls it.
    """
    host, _, path = repository.partition("/")
    scheme = "http" if _LOOPBACK.match(host) else "https"
    url = f"{scheme}://{host}/v2/{path}/manifests/{urllib.parse.quote(reference, safe=':')}"
    basic = credentials_of(host, auth_file) if auth_file else None
    try:
        content = _get(url, {"Accept": _MANIFESTS}, basic)
    except (OSError, ValueError) as error:
        hint = "Check the name" + ("" if auth_file else ", or give credentials with --auth-file") + "."
        raise RegistryError(f"{repository}, {reference}: expected a manifest, found {error}. {hint}") from None
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if _DIGEST.match(reference) and digest != reference:
        raise RegistryError(
            f"{repository}: expected {reference}, found content with {digest}. Do not use this registry."
        )
    return digest


def credentials_of(host: str, auth_file: str | Path) -> str | None:
    """The base64 of user and password for a registry in a Docker config.json, if it has one.  Not for output."""
    try:
        content: Any = json.loads(Path(auth_file).expanduser().read_text(encoding="utf-8"))
        auth = content["auths"].get(host, {}).get("auth")
    except (OSError, ValueError, LookupError, AttributeError):
        raise RegistryError(f"{auth_file}: expected a Docker config.json with auths, found something else.") from None
    return str(auth) if auth else None


def _get(url: str, headers: Mapping[str, str], basic: str | None) -> bytes:
    """The body; where the registry asks for a token, with one of the place it names."""
    try:
        return _read(url, headers)
    except urllib.error.HTTPError as error:
        challenge = error.headers.get("WWW-Authenticate") or ""
        if error.code != 401 or not challenge:
            raise
    if challenge.lower().startswith("basic"):
        return _read(url, {**headers, **_basic(basic)})
    return _read(url, {**headers, "Authorization": f"Bearer {_token(challenge, basic)}"})


def _token(challenge: str, basic: str | None) -> str:
    fields = dict(_CHALLENGE.findall(challenge))
    query = urllib.parse.urlencode({name: fields[name] for name in ("service", "scope") if name in fields})
    answer: Any = json.loads(_read(f"{fields.get('realm', '')}?{query}", _basic(basic)))
    return str(answer.get("token") or answer.get("access_token") or "")


def _basic(basic: str | None) -> dict[str, str]:
    """The header with user and password, checked to be base64."""
    return {"Authorization": f"Basic {base64.b64encode(base64.b64decode(basic)).decode()}"} if basic else {}


def _read(url: str, headers: Mapping[str, str]) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers)), timeout=_SECONDS) as answer:
        return bytes(answer.read())
