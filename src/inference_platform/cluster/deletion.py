"""Objects on their way out: what is to be created under their names has to wait until they are gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from inference_platform.cluster.apply import read_live
from inference_platform.cluster.client import Cluster
from inference_platform.cluster.helm import ReleaseError
from inference_platform.cluster.objects import Object, Ref

SECONDS = 120
_PAUSE_SECONDS = 2
_WORKERS = 4


def wait(
    cluster: Cluster,
    wanted: Sequence[Object],
    release: str,
    sleep: Callable[[float], None],
    on_wait: Callable[[float, str], None] = lambda _seconds, _what: None,
) -> bool:
    """Waits until none of the wanted objects is being deleted; whether one was.

    ``release`` is whose objects they are, for the message; ``on_wait`` is told the seconds so far and what is still
    there.  Raises ReleaseError when some stay for ``SECONDS``: the
    program that takes off their finalizer, or that of an object they own, is not there any more.
    """
    refs = [Ref.of(obj) for obj in wanted]
    leaving = found = _leaving(cluster, refs)
    for pause in range(SECONDS // _PAUSE_SECONDS):
        if not leaving:
            return bool(found)
        on_wait(pause * _PAUSE_SECONDS, f"{', '.join(map(str, leaving))} to be deleted")
        sleep(_PAUSE_SECONDS)
        leaving = _leaving(cluster, list(leaving))
    if not leaving:
        return True
    shown = "; ".join(f"{ref}, finalizers {', '.join(finalizers) or 'none'}" for ref, finalizers in leaving.items())
    raise ReleaseError(
        f"{release}: expected objects that are being deleted to be gone within {SECONDS} s, found {shown}. Look at "
        "what they wait for with `kubectl get -o yaml`, and at the objects that they own. Where the program that takes "
        "off a finalizer is gone, take it off by hand, then re-run."
    )


def _leaving(cluster: Cluster, refs: Sequence[Ref]) -> dict[Ref, list[str]]:
    """Those that are being deleted, with their finalizers."""
    with ThreadPoolExecutor(_WORKERS) as pool:
        live = read_live(cluster, refs, pool)
    return {
        ref: obj["metadata"].get("finalizers", [])
        for ref, obj in live.items()
        if isinstance(obj, dict) and obj["metadata"].get("deletionTimestamp")
    }
