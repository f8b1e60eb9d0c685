"""Runs ansible-playbook as a user does, and reads what it printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

REPOSITORY = Path(__file__).resolve().parents[2]
#: What a copy of the project needs so that its playbooks run from there.
PROJECT = (
    *("ansible.cfg", "site.yml", "galaxy.yml", "meta", "playbooks", "roles", "plugins", "collections"),
    *("inventories", "charts", "catalog", "schemas", "src", "tests/platform"),
)
#: Variables with which a developer's shell could change what a test runs on.
_OF_THE_USER = frozenset({"KUBECONFIG", "REGISTRY_AUTH_FILE", "EMBEDDED_CLUSTER", "ANSIBLE_CONFIG"})
_RECAP = re.compile(r"^cluster +: (.*)$", re.MULTILINE)
_COLOR = re.compile(r"\x1b\[[0-9;]*m")

#: The newest runs, for the evidence of a failed test.
RECENT: deque[Run] = deque(maxlen=4)


@dataclass(frozen=True)
class Run:
    """A finished run: command, exit code (negative for a signal), everything it printed, seconds it took."""

    command: list[str]
    exit_code: int
    output: str
    seconds: float

    @property
    def recap(self) -> dict[str, int]:
        """The counts of the play recap: ok, changed, failed, ...; empty when the run did not get there."""
        found = _RECAP.search(self.output)
        pairs = (item.split("=") for item in found[1].split()) if found else ()
        return {name: int(count) for name, count in pairs}

    @property
    def text(self) -> str:
        """The output with every run of white space as one blank, to look for sentences."""
        return " ".join(self.output.split())

    def __str__(self) -> str:
        return f"$ {' '.join(self.command)}\nexit code {self.exit_code} after {self.seconds:.1f} s\n{self.output}"


@dataclass(frozen=True)
class Project:
    """A checkout from which playbooks run: the repository itself, or a copy that a test changes."""

    root: Path = REPOSITORY

    @classmethod
    def copy_to(cls, folder: Path) -> Project:
        """A copy with everything that a run reads."""
        for name in PROJECT:
            source, target = REPOSITORY / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target, follow_symlinks=False)
        return cls(folder)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replaces the one place in a file where `old` stands."""
        replace_once(self.root / path, old, new)

    def play(self, *arguments: str, seconds: float = 420, **settings: Any) -> Run:
        """Runs `ansible-playbook ARGUMENTS` to its end; see `started` for the settings."""
        with started(self.root, arguments, **settings) as process:
            return process.finish(seconds)


def replace_once(file: Path, old: str, new: str) -> None:
    """Replaces the one place in a file where `old` stands; fails when there is none, or more than one."""
    text = file.read_text(encoding="utf-8")
    count = text.count(old)
    assert count == 1, f"{file}: expected {old!r} once, found it {count} times"
    file.write_text(text.replace(old, new), encoding="utf-8")


@dataclass
class Playing:
    """A run under way, in a process group of its own."""

    process: subprocess.Popen[str]
    command: list[str]
    stream: IO[str]
    began: float = field(default_factory=time.monotonic)

    def output(self) -> str:
        """What it printed up to now, without colours."""
        return _COLOR.sub("", Path(self.stream.name).read_text(encoding="utf-8", errors="replace"))

    def wait_until_it_says(self, pattern: str, seconds: float) -> None:
        """Returns as soon as the output matches; fails when the run ends or the time is over before."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.output()):
            assert self.process.poll() is None, f"the run ended without saying {pattern!r}:\n{self.output()}"
            assert time.monotonic() < deadline, f"{pattern!r} was not said in {seconds} s:\n{self.output()}"
            time.sleep(0.05)

    def kill(self) -> Run:
        """Ends it and all it started as a crash of the machine would, at once and without a word."""
        os.killpg(self.process.pid, signal.SIGKILL)
        return self.finish(10)

    def finish(self, seconds: float) -> Run:
        """Waits for its end; a run that takes longer is killed and fails the test."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"the run did not end within {seconds} s:\n{self.output()}") from None
        run = Run(self.command, code, self.output(), time.monotonic() - self.began)
        RECENT.append(run)
        return run


@contextmanager
def started(
    root: Path,
    arguments: tuple[str, ...],
    *,
    cluster: str | None = None,
    variables: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Playing]:
    """A run of ansible-playbook in a project; it is ended when the block is left.

    cluster      name of the embedded cluster that inventories/local shall mean
    variables    passed with -e, as JSON
    environment  variables of the process besides those of this one
    """
    command = [str(Path(sys.executable).with_name("ansible-playbook")), *arguments]
    if variables:
        command += ["-e", json.dumps(dict(variables))]
    surroundings = {name: value for name, value in os.environ.items() if name not in _OF_THE_USER}
    if root != REPOSITORY:
        surroundings["PYTHONPATH"] = str(root / "src")
    if cluster:
        surroundings["EMBEDDED_CLUSTER"] = cluster
    surroundings.update(environment or {})
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as stream:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        playing = Playing(process, command, stream)
        try:
            yield playing
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
