"""What was read of a cluster: plain data, so that every check can be tried without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inference_platform.cluster.objects import Object

#: Objects of the cloud managers, one kind per provider (platform.md 2.3).
ENGINES = "engines"

#: Helm's records of our releases of charts that others publish.
OWN_RELEASES = "own_releases"


@dataclass(frozen=True)
class Refusal:
    """An object that the API server, or something before it, does not admit.

    ``instead_of``: namespaces of the platform that are not there yet; it was tried in another one.
    """

    subject: str
    words: str
    instead_of: tuple[str, ...] = ()


@dataclass
class Snapshot:
    """One look at a cluster.

    server    its URL
    access    the context in words
    version   the answer of /version
    parts     name of a part (see ``cluster.survey.READS``) -> objects as the server gave them
    unseen    parts that the user may not read -> the server's words
    unlisted  the resources of these parts, as kubectl names them
    backends  (namespace, name) of Services behind webhooks -> what is wrong with them, "" when nothing is
    denied    rights (group, resource, verb) that the user lacks -> the namespaces where, none for everywhere
    denied_lease  verbs that the user lacks on the Lease of a run
    refusals  dry runs that were not admitted
    dropped   CRD -> versions in which objects are stored and which the CRD of the plan no longer has
    still_stored  the other versions of these in which objects are stored
    conflicts CRD -> managers whose fields the CRD of the plan would change
    charts    published chart that cannot be had -> what was found, and what to do
    helm      what is wrong with the helm program, as (found, remedy); None when nothing is
    unasked   code of a check whose question was not asked in this run -> why
    pull_secret  what is wrong with the Secret that the pull secret is copied from, "" when nothing is
    pull_secret_for_mirror  what it lacks for the mirror of the site, "" when nothing
    """

    server: str = ""
    access: str = ""
    version: Mapping[str, Any] = field(default_factory=dict)
    parts: dict[str, list[Object]] = field(default_factory=dict)
    unseen: dict[str, str] = field(default_factory=dict)
    unlisted: dict[str, set[str]] = field(default_factory=dict)
    backends: dict[tuple[str, str], str] = field(default_factory=dict)
    denied: dict[tuple[str, str, str], tuple[str, ...]] = field(default_factory=dict)
    denied_lease: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    still_stored: dict[str, list[str]] = field(default_factory=dict)
    conflicts: dict[str, list[str]] = field(default_factory=dict)
    charts: dict[str, tuple[str, str]] = field(default_factory=dict)
    helm: tuple[str, str] | None = None
    pull_secret: str = ""
    pull_secret_for_mirror: str = ""
    unasked: dict[str, str] = field(default_factory=dict)

    def of(self, part: str) -> list[Object]:
        """The objects of a part; none when it was not read."""
        return self.parts.get(part, [])

    def namespace(self, name: str) -> Object | None:
        """A Namespace, if it exists."""
        return next((item for item in self.of("namespaces") if item["metadata"]["name"] == name), None)


def dig(obj: Mapping[str, Any], *path: str, default: Any = None) -> Any:
    """The value at a path of keys; ``default`` when a part of it is missing or empty."""
    value: Any = obj
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            return default
    return value


def place(obj: Mapping[str, Any]) -> str:
    """ "Deployment ns/name"."""
    namespace = dig(obj, "metadata", "namespace")
    return f"{obj.get('kind', 'object')} {f'{namespace}/' if namespace else ''}{obj['metadata']['name']}"


def labels_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an object."""
    found: Mapping[str, str] = dig(obj, "metadata", "labels", default={})
    return found


def annotations_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """The annotations of an object."""
    found: Mapping[str, str] = dig(obj, "metadata", "annotations", default={})
    return found
