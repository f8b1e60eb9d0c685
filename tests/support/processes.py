"""Watches the command lines and environments of all processes, as any user of the machine could."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

_PAUSE_SECONDS = 0.05


class ProcessWatch:
    """Reads /proc over and over while the block runs; `seen` holds every command line and environment.

    seen  {text: process id}; arguments and variables are joined by blanks
    """

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        known: set[tuple[int, str]] = set()
        while not self._over.wait(_PAUSE_SECONDS):
            for folder in Path("/proc").iterdir():
                if folder.name.isdigit():
                    self._look(folder, known)

    def _look(self, folder: Path, known: set[tuple[int, str]]) -> None:
        try:
            command = _text(folder / "cmdline")
            identity = int(folder.name), command
            if identity in known or not command:
                return
            known.add(identity)
            self.seen.setdefault(command, identity[0])
            self.seen.setdefault(_text(folder / "environ"), identity[0])
        except OSError:  # it has ended, or belongs to somebody else
            return


def _text(path: Path) -> str:
    return path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
