"""Order layers by what they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class GraphError(Exception):
    """The graph cannot be ordered; the message names the layers of the cycle."""


def order(names: Sequence[str], needs: Mapping[str, Iterable[str]]) -> list[str]:
    """``names`` so that each comes after everything it needs.

    Where several could be next, the one that comes first in ``names`` is. Needs that
    are not among ``names`` are parts this plan does not have; they are left out.
    """
    waiting = {name: {need for need in needs.get(name, ()) if need in names} for name in names}
    done: list[str] = []
    while waiting:
        ready = next((name for name, left in waiting.items() if not left), None)
        if ready is None:
            raise GraphError(f"these layers need each other: {', '.join(waiting)}")
        done.append(ready)
        del waiting[ready]
        for left in waiting.values():
            left.discard(ready)
    return done
