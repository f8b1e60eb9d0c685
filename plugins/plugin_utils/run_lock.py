"""Keeps two runs from changing a cluster at the same time (``inference_platform.cluster.run_lock``).

The callback begins and ends a run, in the process of ansible-playbook. Tasks run in processes that it forks: they
take the Lease before their first write, and note in a file of the run in which cluster that was.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible import constants

#: The process of the run and its own name; tasks inherit it. Without it (another callback) no Lease is taken.
VARIABLE = "INFERENCE_PLATFORM_RUN"
TAKE_OVER = "platform_take_over"
_YES = ("true", "yes", "1")


def begin() -> None:
    """Gives the run a name that no other has, and says which process it is."""
    os.environ[VARIABLE] = f"{os.getpid()} {secrets.token_hex(4)}"


def before_write(cluster: Any, arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> Callable[[], None] | None:
    """What takes the Lease for the run of this task; None outside of a run.

    ``arguments`` are those of the connection, ``variables`` those of the task.
    """
    run = os.environ.get(VARIABLE)
    if run is None:
        return None

    def take() -> None:
        from inference_platform.cluster import run_lock

        force = str(variables.get(TAKE_OVER, "")).lower() in _YES
        if run_lock.take(cluster, _holder(run), force=force):
            connection = {name: arguments.get(name) for name in ("kubeconfig", "context")}
            _note(run).write_text(json.dumps(connection), encoding="utf-8")

    return take


def while_waiting(cluster: Any) -> Callable[[], None]:
    """What renews the Lease of this run from time to time, called as often as one likes; takes none."""
    run, last = os.environ.get(VARIABLE), time.monotonic()

    def renew() -> None:
        nonlocal last
        from inference_platform.cluster import run_lock

        if run is None or time.monotonic() - last < run_lock.RENEWED_AFTER or not _note(run).is_file():
            return
        last = time.monotonic()
        run_lock.take(cluster, _holder(run))

    return renew


def end() -> str:
    """Gives the Lease back if the run took one; what went wrong with that, else nothing."""
    run = os.environ.pop(VARIABLE, None)
    if run is None or not _note(run).is_file():
        return ""
    from inference_platform.cluster import run_lock
    from inference_platform.cluster.client import Cluster
    from inference_platform.cluster.errors import ClusterError

    connection = json.loads(_note(run).read_text(encoding="utf-8"))
    _note(run).unlink()
    try:
        cluster = Cluster.connect(connection["kubeconfig"] or None, connection["context"] or None)
        run_lock.give_back(cluster, _holder(run))
    except ClusterError as error:
        return f"The Lease of this run was not given back: {error}"
    return ""


def _holder(run: str) -> Any:
    from inference_platform.cluster.run_lock import Holder, process_space

    process, name = run.split()
    return Holder(_user(), socket.gethostname(), int(process), name, process_space())


def _user() -> str:
    """The user's name; the number where the machine knows no name for it, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _note(run: str) -> Path:
    """A file in the folder that Ansible makes for a run and removes at its end."""
    return Path(constants.DEFAULT_LOCAL_TMP) / f"lease-{run.replace(' ', '-')}.json"
