"""Copies images with skopeo or crane. Digests are kept; credentials are read from a file by the program itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference_platform.cluster.errors import ClusterError
from inference_platform.cluster.redact import text as redact_text
from inference_platform.credentials import is_content
from inference_platform.mirror.needs import Image

PROGRAMS = ("skopeo", "crane")
# Lines of a program's complaint that are shown.
SHOWN_LINES = 3


class CopyError(ClusterError):
    """An image could not be copied, or there is no program to copy with."""


@dataclass(frozen=True)
class Program:
    """A program that copies images: its name and where it lies."""

    name: str
    path: str


def find_program(search: str | None = None) -> Program:
    """The first of skopeo and crane on ``search`` (default: PATH). Raises CopyError without one."""
    for name in PROGRAMS:
        path = shutil.which(name, path=search)
        if path:
            return Program(name, path)
    raise CopyError(
        f"Copying images: expected {' or '.join(PROGRAMS)} on PATH, found neither. Install one, or copy by the list "
        "mapping.txt with a program of your own."
    )


def command(program: Program, image: Image, auth_file: str | None) -> list[str]:
    """The command line for one image; it names the file with the credentials, never what is in it."""
    if program.name == "skopeo":
        auth = ["--authfile", auth_file] if auth_file else []
        pair = [f"docker://{image.source}", f"docker://{image.target}"]
        return [program.path, "copy", "--all", "--preserve-digests", *auth, *pair]
    return [program.path, "copy", image.source, image.target]


def copy(images: Iterable[Image], program: Program, auth_file: str | None = None) -> list[str]:
    """Copy every image to its target, one after the other; the targets.

    ``auth_file`` is a Docker config.json with both registries. Raises CopyError where it cannot be read, else at the
    end, naming every image that failed.
    """
    if auth_file and is_content(auth_file):
        raise CopyError(
            "Copying images: expected the path of a file with the credentials of both registries, found the content "
            "of a file instead of its path. Put it into a file, and give its path with -e mirror_auth_file or in "
            "pull_secret_file."
        )
    if auth_file and not os.access(auth_file, os.R_OK):
        raise CopyError(
            f"Copying images: expected a readable file with the credentials of both registries, found none at "
            f"{auth_file}. Correct -e mirror_auth_file, or pull_secret_file in the inventory."
        )
    done, failures = [], []
    with tempfile.TemporaryDirectory(prefix="mirror-") as folder:
        environment = _environment(Path(folder), auth_file)
        for image in images:
            answer = subprocess.run(
                command(program, image, auth_file), env=environment, capture_output=True, text=True, check=False
            )
            if answer.returncode == 0:
                done.append(image.target)
            else:
                lines = redact_text(answer.stderr).strip().splitlines()[-SHOWN_LINES:]
                failures.append(f"  {image.source} -> {image.target}: {' '.join(lines) or 'no message'}")
    if failures:
        listed = "\n".join(failures)
        raise CopyError(
            f"{program.name} copied {len(done)} images, and could not copy {len(failures)}:\n{listed}\n"
            "Check the network and the credentials of both registries, then run again; layers that are there are not "
            "sent again."
        )
    return done


def _environment(folder: Path, auth_file: str | None) -> Mapping[str, str]:
    """The environment with the credentials where crane looks for them: a folder with a config.json."""
    if not auth_file:
        return os.environ
    (folder / "config.json").symlink_to(Path(auth_file).resolve())
    return {**os.environ, "DOCKER_CONFIG": str(folder)}
