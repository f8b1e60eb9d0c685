"""What the run measured so far: one section for each role, filled by the progress callback.

The callback runs in the parent process; a worker that is forked later (the report
action) finds the sections as they were at its start.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Section:
    """The tasks of one role: a layer, or a part of the run such as the models."""

    role: str
    title: str
    seconds: float = 0.0
    changed: bool = False
    failed: bool = False

    @property
    def state(self) -> str:
        """One word for the summary."""
        if self.failed:
            return "failed"
        return "changed" if self.changed else "ok"


#: Sections by role, in the order in which they began.
SECTIONS: dict[str, Section] = {}
