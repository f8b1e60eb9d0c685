"""A copy of some objects of the cluster that follows their changes, by one list and one watch for each kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from inference_platform.cluster import errors
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object, Ref

_WATCH_SECONDS = 240
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


@dataclass(frozen=True)
class Wish:
    """Objects to follow: their kind, label selector, and namespace (None: all)."""

    api_version: str
    kind: str
    selector: str = ""
    namespace: str | None = None


@dataclass
class _Copy:
    """What is there of one wish, and up to which resource version it is known ("": unknown)."""

    wish: Wish
    objects: dict[Ref, Object] = field(default_factory=dict)
    version: str = ""


class Watching:
    """Objects as they are now: a context manager that lists them, wish by wish, and follows each in a thread.

    A broken connection or a server that restarts only makes the copy late.  An error that will not go away (no
    rights) is raised by `wait`; a kind that is not served has no objects.
    """

    def __init__(
        self, cluster: Cluster, wishes: Sequence[Wish], *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._cluster, self._sleep = cluster, sleep
        self._copies = {wish: _Copy(wish) for wish in wishes}
        self._changed = threading.Condition()
        self._stopped = self._news = False
        self._error: errors.ClusterError | None = None

    def __enter__(self) -> Watching:
        for copy in self._copies.values():
            try:
                self._list(copy)
            except errors.UnknownKind:
                continue
            threading.Thread(target=self._follow, args=(copy,), name="watching", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True

    def objects(self, wish: Wish) -> dict[Ref, Object]:
        """A copy of what is there now of a wish, by reference."""
        with self._changed:
            return dict(self._copies[wish].objects)

    def wait(self, seconds: float) -> bool:
        """Returns True as soon as something changed since the last call, False after `seconds`."""
        with self._changed:
            if not self._news and self._error is None:
                self._changed.wait(seconds)
            if self._error is not None:
                raise self._error
            news, self._news = self._news, False
            return news

    def _list(self, copy: _Copy) -> None:
        wish = copy.wish
        found, version = self._cluster.list_at(
            wish.api_version, wish.kind, wish.namespace, label_selector=wish.selector
        )
        with self._changed:
            copy.objects = {Ref.of(obj): obj for obj in found}
            copy.version = version
            self._tell()

    def _tell(self) -> None:
        self._news = True
        self._changed.notify_all()

    def _follow(self, copy: _Copy) -> None:
        pause = _FIRST_PAUSE
        while not self._stopped:
            try:
                if not copy.version:
                    self._list(copy)
                if self._watch(copy):
                    pause = _FIRST_PAUSE
            except errors.ClusterError as error:
                if isinstance(error, errors.ApiError) and error.status == 410:
                    copy.version = ""  # too old: list again
                elif not isinstance(error, (errors.Overloaded, errors.ClusterUnreachable)):
                    self._fail(error)
                    return
            self._sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _watch(self, copy: _Copy) -> bool:
        """One watch, to its end; whether it brought anything."""
        brought, wish = False, copy.wish
        for kind, obj in self._cluster.watch(
            wish.api_version,
            wish.kind,
            wish.namespace,
            resource_version=copy.version,
            label_selector=wish.selector,
            seconds=_WATCH_SECONDS,
        ):
            brought = True
            self._take(copy, kind, obj)
            if self._stopped:
                break
        return brought

    def _take(self, copy: _Copy, kind: str, obj: Object) -> None:
        with self._changed:
            copy.version = obj["metadata"].get("resourceVersion") or copy.version
            if kind == "BOOKMARK":
                return
            ref = Ref.of({**obj, "apiVersion": copy.wish.api_version, "kind": copy.wish.kind})
            if kind == "DELETED":
                copy.objects.pop(ref, None)
            else:
                copy.objects[ref] = obj
            self._tell()

    def _fail(self, error: errors.ClusterError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
