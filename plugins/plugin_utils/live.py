"""Says what a running task waits for.

Workers are cut off from the terminal; what they say goes through Ansible's Display
to the parent, which writes it. On a terminal one line is rewritten in place; in a
log a line is written when the text changes or half a minute has passed.
"""

from __future__ import annotations

import shutil
import sys

from ansible.utils.display import Display

#: Seconds after which an unchanged wait is repeated in a log.
REPEAT_SECONDS = 30.0
#: Waits shorter than this stay out of a log.
QUIET_SECONDS = 2.0
#: Seconds between two counts: in a log, and on a terminal.
COUNT_SECONDS = 5.0
TICK_SECONDS = 0.1
#: Longer lines are cut in a log; the whole text comes with a failure.
LOG_COLUMNS = 200
#: Erases the line that a live message left.
ERASE = "\r\x1b[2K"
#: Whether the run writes to a terminal; decided in the parent, inherited by workers.
TERMINAL = sys.stdout.isatty()
#: Columns of the terminal, likewise.
COLUMNS = shutil.get_terminal_size().columns


class Waiting:
    """The line of one task that waits."""

    def __init__(self, display: Display, *, terminal: bool = TERMINAL, columns: int = COLUMNS) -> None:
        self._display = display
        self._terminal = terminal
        self._columns = columns
        self._said = ""
        self._said_at = 0.0

    def count(self, elapsed: float, doing: str, text: str) -> None:
        """Shows how far something is; ``doing`` is one word. Far more often called than shown."""
        if elapsed - self._said_at < (TICK_SECONDS if self._terminal else COUNT_SECONDS):
            return
        self._said_at = elapsed
        line = f"  {doing:<9} {elapsed:4.0f} s  {text}"
        if self._terminal:
            show_live(self._display, cut(line, self._columns - 1))
        else:
            self._display.display(cut(line, LOG_COLUMNS))

    def say(self, elapsed: float, waiting_for: str) -> None:
        """Shows ``waiting_for`` (one line) after ``elapsed`` seconds."""
        line = f"  waiting   {elapsed:4.0f} s  {waiting_for}"
        if self._terminal:
            show_live(self._display, cut(line, self._columns - 1))
        elif elapsed >= QUIET_SECONDS and self._is_news(elapsed, waiting_for):
            self._said, self._said_at = waiting_for, elapsed
            self._display.display(cut(line, LOG_COLUMNS))

    def _is_news(self, elapsed: float, waiting_for: str) -> bool:
        return waiting_for != self._said or elapsed - self._said_at >= REPEAT_SECONDS


def show_live(display: Display, line: str) -> None:
    """Writes the live line of the terminal over the last one."""
    display.display(ERASE + line, color="cyan", screen_only=True, newline=False)


def cut(line: str, columns: int) -> str:
    """The line, ending in three dots when it was longer than ``columns``."""
    return line if len(line) <= columns else line[: columns - 3] + "..."
