"""Check the pull secret file without ever showing what is in it."""

from __future__ import annotations

import base64
import binascii
import errno
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inference_platform.credentials import is_content
from inference_platform.findings import Finding
from inference_platform.paths import expanded
from inference_platform.problems import Reporter

VARIABLE = "pull_secret_file"
SECRET = "pull_secret_from"
ENVIRONMENT = "REGISTRY_AUTH_FILE"
CONTENT = "DOCKER_AUTH_CONFIG"

MISSING = "IP-INV-010"
UNREADABLE = "IP-INV-011"
MALFORMED = "IP-INV-012"
NO_CREDENTIALS = "IP-INV-013"
TWO_PLACES = "IP-INV-014"
CONTENT_AS_PATH = "IP-INV-022"

ONLY_FOR_WRITING = frozenset({MISSING, UNREADABLE})
"""What is no mistake for a run that writes nothing to a cluster: a build job checks entries without credentials."""


def pull_secret_path(variables: Mapping[str, Any], environ: Mapping[str, str]) -> Path | None:
    """The pull secret file of the inventory, else that of the environment, else None; None beside a Secret."""
    if variables.get(SECRET):
        return None
    text = variables.get(VARIABLE) or environ.get(ENVIRONMENT)
    return expanded(str(text)) if text else None


def check_path(variables: Mapping[str, Any], environ: Mapping[str, str], report: Reporter) -> Iterator[Finding]:
    """A finding where the content of a pull secret file stands in the place of its path; it is not shown.

    Asked of every inventory, as the path goes into messages and command lines also where no pull secret is made.
    """
    place = VARIABLE if variables.get(VARIABLE) else f"${ENVIRONMENT}"
    text = variables.get(VARIABLE) or environ.get(ENVIRONMENT)
    if text and is_content(str(text)):
        yield report.error(
            CONTENT_AS_PATH,
            (VARIABLE,),
            "the path of a file",
            f"the content of a file instead of its path, in {place}",
            f"Put the content into a file that only you can read and give its path; or put it into the environment "
            f"variable {CONTENT}, and leave {VARIABLE} and {ENVIRONMENT} empty.",
        )


def check_pull_secret(
    variables: Mapping[str, Any],
    environ: Mapping[str, str],
    registry: str,
    report: Reporter,
    *,
    anonymous: bool = False,
) -> Iterator[Finding]:
    """Findings about the pull secret file: it exists, is a Docker config, and knows ``registry`` (host[:port][/path]).

    registry  "": any will do

    Where ``anonymous`` pulls may do, as in a mirror of the site, missing credentials are a warning.
    """
    path = pull_secret_path(variables, environ)
    where = (VARIABLE,)
    if variables.get(SECRET):
        if variables.get(VARIABLE):
            yield report.error(
                TWO_PLACES,
                where,
                f"{VARIABLE} or {SECRET}",
                "both",
                f"Remove one of them: {SECRET} copies a Secret of the cluster, {VARIABLE} a file.",
            )
        return
    if path is None and environ.get(CONTENT):
        yield from _check_content(environ[CONTENT], f"${CONTENT}", registry, report, anonymous)
        return
    if path is None:
        yield report.error(
            MISSING,
            where,
            f"a Docker config.json with credentials for {registry}",
            "no path",
            f"Set {VARIABLE} to its path, or put the path into the environment variable {ENVIRONMENT}. A Secret that "
            f"the cluster has already is named in {SECRET}.",
        )
        return
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        yield report.error(
            UNREADABLE,
            where,
            "a readable file",
            unreadable(path, error),
            f"Correct the path in {VARIABLE} or {ENVIRONMENT}, or make the file readable.",
        )
        return
    except UnicodeDecodeError:
        text = ""
    yield from _check_content(text, path, registry, report, anonymous)


def unreadable(path: Path, error: OSError) -> str:
    """Why a file cannot be read, with its path; without it where it is too long for one, and may be anything."""
    return str(error.strerror) if error.errno == errno.ENAMETOOLONG else f'"{path}": {error.strerror}'


def _check_content(text: str, path: Path | str, registry: str, report: Reporter, anonymous: bool) -> Iterator[Finding]:
    auths = _auths(text)
    if auths is None:
        yield report.error(
            MALFORMED,
            (VARIABLE,),
            'JSON of the form {"auths": {"<registry>": {"auth": "<base64>"}}}',
            f'"{path}" with something else',
            f"Write it with: podman login --authfile FILE {registry or 'REGISTRY'}",
        )
    elif registry and not knows(auths, registry):
        yield (report.warning if anonymous else report.error)(
            NO_CREDENTIALS,
            (VARIABLE,),
            f"credentials (user and password) for {registry}",
            f'"{path}" with credentials for {", ".join(sorted(map(str, auths))) or "no registry"}',
            f"Add them with: podman login --authfile FILE {registry}",
        )


def knows(auths: Mapping[str, Any], registry: str) -> bool:
    """Whether there are credentials for a registry, as host[:port][/path]."""
    return any(has_credentials(auths.get(place)) for place in _places(registry))


def _places(registry: str) -> Iterator[str]:
    """Keys under which credentials for a registry may stand: its path, shorter ones, its host."""
    while registry:
        yield registry
        registry = registry.rpartition("/")[0]


def _auths(text: str) -> dict[str, Any] | None:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    auths = content.get("auths") if isinstance(content, dict) else None
    return auths if isinstance(auths, dict) else None


def has_credentials(entry: Any) -> bool:
    """Whether an entry of ``auths`` holds anything to log in with."""
    if not isinstance(entry, dict):
        return False
    if entry.get("identitytoken") or (entry.get("username") and entry.get("password")):
        return True
    try:
        user, _, password = base64.b64decode(str(entry.get("auth") or ""), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return bool(user and password)
