"""A program that copies images between registries on loopback, with the arguments of skopeo.

    PROGRAM copy --all --preserve-digests [--authfile FILE] docker://SOURCE@DIGEST docker://TARGET@DIGEST

The manifest and everything it refers to, indexes with all their manifests, byte by byte.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

_ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"


def install(folder: Path, name: str = "skopeo") -> Path:
    """Puts the program under a name into a folder, for PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program


def main(arguments: list[str]) -> int:
    """Copies one image; says why not as the real program would, on standard error."""
    if arguments[:3] != ["copy", "--all", "--preserve-digests"]:
        print(f"unknown arguments {arguments}", file=sys.stderr)
        return 1
    source, target = (argument.removeprefix("docker://") for argument in arguments[-2:])
    try:
        copy(*split(source), *split(target)[:2])
    except OSError as error:
        print(f"copying {source}: {error}", file=sys.stderr)
        return 1
    return 0


def split(reference: str) -> tuple[str, str, str]:
    """Registry, path and digest of a reference."""
    name, _, digest = reference.partition("@")
    host, _, path = name.partition("/")
    return host, path, digest


def copy(host: str, path: str, digest: str, to_host: str, to_path: str) -> None:
    """One manifest and what it refers to, children first."""
    content, media_type = read(f"http://{host}/v2/{path}/manifests/{digest}")
    manifest: dict[str, Any] = json.loads(content)
    for child in manifest.get("manifests", []):
        copy(host, path, child["digest"], to_host, to_path)
    for blob in [*([manifest["config"]] if "config" in manifest else []), *manifest.get("layers", [])]:
        body, _ = read(f"http://{host}/v2/{path}/blobs/{blob['digest']}")
        begun = send("POST", f"http://{to_host}/v2/{to_path}/blobs/uploads/", b"")
        send("PUT", f"http://{to_host}{begun}?digest={blob['digest']}", body)
    send("PUT", f"http://{to_host}/v2/{to_path}/manifests/{digest}", content, media_type)


def read(url: str) -> tuple[bytes, str]:
    """Content and media type."""
    request = urllib.request.Request(url, headers={"Accept": _ACCEPT})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read(), answer.headers["Content-Type"]


def send(method: str, url: str, body: bytes, media_type: str = "application/octet-stream") -> str:
    """Sends a body; the place that the registry names."""
    request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": media_type})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.headers["Location"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
