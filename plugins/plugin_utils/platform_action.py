"""What all actions of the collection share: arguments, connection, errors, results.

An action is a skin. It declares its arguments, calls the Python package
``inference_platform`` and says what changed. It runs on the controller, in the
worker that Ansible forks for the task, so it inherits the modules which the
callback plugin imported (plugin_utils/preload.py).
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.inference.platform.plugins.plugin_utils import preload, run_lock

#: Connection arguments of every action that talks to the cluster.
CONNECTION: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}


class PlatformAction(ActionBase):
    """Validates the arguments, performs, and turns the package's errors into a failure.

    Subclasses set ``ARGUMENTS`` (an Ansible argument spec) and write ``perform``.
    """

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {}
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.task_vars: Mapping[str, Any] = task_vars or {}
        preload.require_package()
        from inference_platform.cluster.errors import ClusterError
        from inference_platform.findings import InventoryError

        _, arguments = self.validate_argument_spec(self.ARGUMENTS)
        try:
            result.update(self.perform(plain(arguments)))
        except (ClusterError, InventoryError) as error:
            raise AnsibleActionFail(str(error)) from error
        return result

    @abstractmethod
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Does the work; returns result keys such as changed, msg and diff.

        ``self.task_vars`` holds the variables of the task, templates not resolved.
        """

    @property
    def check(self) -> bool:
        """True when the run must write nothing."""
        return bool(self._task.check_mode)

    @property
    def diff(self) -> bool:
        """True when the user asked to see differences."""
        return bool(self._task.diff)

    def connect(self, arguments: Mapping[str, Any], workers: int = 8) -> Any:
        """A client of the cluster named by the connection arguments, with that many connections at most."""
        from inference_platform.cluster.client import Cluster

        cluster = Cluster.connect(arguments["kubeconfig"] or None, arguments["context"] or None, workers=workers)
        cluster.guard(run_lock.before_write(cluster, arguments, self.task_vars))
        return cluster


def plain(value: Any) -> Any:
    """The same data in built-in types only.

    Ansible's values carry tags (where they come from) in subclasses of str, dict
    and list; YAML and JSON writers and schema validators want the plain ones.
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return value


def result_of(outcomes: Iterable[Any], unchanged: str, *, diff: bool = True) -> dict[str, Any]:
    """One Ansible result for several apply results.

    ``unchanged`` is said when there is nothing to change; ``diff`` is whether somebody
    will read the differences. A failure names every object that the server refused.
    """
    outcomes = list(outcomes)
    errors = [str(error) for outcome in outcomes for error in outcome.errors]
    changes = [change for outcome in outcomes for change in outcome.changes]
    result: dict[str, Any] = {
        "changed": any(outcome.changed for outcome in outcomes),
        "msg": count_of(changes) or unchanged,
    }
    if diff:
        result["diff"] = {"prepared": "\n".join(filter(None, (outcome.diff() for outcome in outcomes)))}
    if errors:
        result.update(failed=True, msg="\n".join(errors))
    return result


def credentials(file: str | None, secret: Mapping[str, str] | None) -> Any:
    """Where the content of the pull secret is (``inference_platform.cluster.secrets.Credentials``).

    ``secret`` has namespace and name. With neither it is in the environment.
    """
    from inference_platform.cluster.secrets import Credentials

    return Credentials(Path(file) if file else None, (secret["namespace"], secret["name"]) if secret else None)


def count_of(changes: Iterable[Any]) -> str:
    """How many objects were created, changed, deleted: "3 created, 1 changed"; empty for none."""
    words = {"create": "created", "update": "changed", "delete": "deleted"}
    counts = Counter(words.get(change.action, change.action) for change in changes)
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def quantity(count: int, noun: str) -> str:
    """A count with its noun: 1 object, 3 objects."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
