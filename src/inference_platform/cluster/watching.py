"""A copy of some objects of the cluster that follows their changes, by one list and one watch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from inference_platform.cluster import errors
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.objects import Object, Ref

_WATCH_SECONDS = 240
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Watching:
    """Objects of one kind as they are now: a context manager that lists them, and follows them in a thread.

    A broken connection or a server that restarts only makes the copy late.  An error that will not go away (no
    rights, kind not served) is raised by `wait`.
    """

    def __init__(
        self,
        cluster: Cluster,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cluster, self._what, self._namespace = cluster, (api_version, kind), namespace
        self._selector, self._sleep = label_selector, sleep
        self._objects: dict[Ref, Object] = {}
        self._changed, self._stopped = threading.Condition(), False
        self._news, self._error = False, None  # type: bool, errors.ClusterError | None
        self._version = ""

    def __enter__(self) -> Watching:
        self._list()
        threading.Thread(target=self._follow, name="watching", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True

    def objects(self) -> dict[Ref, Object]:
        """A copy of what is there now, by reference."""
        with self._changed:
            return dict(self._objects)

    def wait(self, seconds: float) -> bool:
        """Returns True as soon as something changed since the last call, False after `seconds`."""
        with self._changed:
            if not self._news and self._error is None:
                self._changed.wait(seconds)
            if self._error is not None:
                raise self._error
            news, self._news = self._news, False
            return news

    def _list(self) -> None:
        found, version = self._cluster.list_at(*self._what, self._namespace, label_selector=self._selector)
        with self._changed:
            self._objects = {Ref.of(obj): obj for obj in found}
            self._version = version
            self._tell()

    def _tell(self) -> None:
        self._news = True
        self._changed.notify_all()

    def _follow(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopped:
            try:
                if not self._version:
                    self._list()
                if self._watch():
                    pause = _FIRST_PAUSE
            except errors.ApiError as error:
                if error.status == 410:
                    self._version = ""  # too old: list again
                elif not isinstance(error, errors.Overloaded):
                    self._fail(error)
                    return
            except errors.ClusterUnreachable:
                pass
            except errors.ClusterError as error:
                self._fail(error)
                return
            self._sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _watch(self) -> bool:
        """One watch, to its end; whether it brought anything."""
        brought = False
        for kind, obj in self._cluster.watch(
            *self._what,
            self._namespace,
            resource_version=self._version,
            label_selector=self._selector,
            seconds=_WATCH_SECONDS,
        ):
            brought = True
            self._take(kind, obj)
            if self._stopped:
                break
        return brought

    def _take(self, kind: str, obj: Object) -> None:
        with self._changed:
            self._version = obj["metadata"].get("resourceVersion") or self._version
            if kind == "BOOKMARK":
                return
            ref = Ref.of({"apiVersion": self._what[0], "kind": self._what[1], **obj})
            if kind == "DELETED":
                self._objects.pop(ref, None)
            else:
                self._objects[ref] = obj
            self._tell()

    def _fail(self, error: errors.ClusterError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()
