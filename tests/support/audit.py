"""Who asked what of the API server, read from the audit log of an embedded cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: How the clients of the installer call themselves: its own, and helm.
INSTALLER = ("inference-platform/", "Helm/")
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
#: The API server answers creates in this group and stores nothing ("may I?").
STORES_NOTHING = "authorization.k8s.io"


@dataclass(frozen=True)
class Request:
    """One request: when it came, verb and URI, the program and user it came from, the answer's status."""

    at: datetime
    verb: str
    uri: str
    agent: str
    user: str
    code: int
    group: str
    resource: str

    @classmethod
    def of(cls, event: dict[str, Any]) -> Request:
        """A request from an event of the audit log."""
        return cls(
            at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
            verb=event["verb"],
            uri=event["requestURI"],
            agent=event.get("userAgent", ""),
            user=event.get("user", {}).get("username", "nobody"),
            code=(event.get("responseStatus") or {}).get("code", 0),
            group=(event.get("objectRef") or {}).get("apiGroup", ""),
            resource=(event.get("objectRef") or {}).get("resource", ""),
        )

    @property
    def is_write(self) -> bool:
        """Whether it could change what is stored: no dry run, and nothing the server only answers."""
        dry_run = "All" in parse_qs(urlsplit(self.uri).query).get("dryRun", [])
        return self.verb in WRITES and not dry_run and self.group != STORES_NOTHING

    @property
    def is_of_the_lock(self) -> bool:
        """Whether it is about the Lease that a run which writes holds."""
        return self.resource == "leases" and self.uri.partition("?")[0].endswith(
            ("/leases", "/leases/inference-platform")
        )

    @property
    def needs_right_to_write(self) -> bool:
        """Whether the API server asks for a right to change something: for dry runs too."""
        return self.verb in WRITES and self.group != STORES_NOTHING

    @property
    def is_of_installer(self) -> bool:
        return self.agent.startswith(INSTALLER)

    def __str__(self) -> str:
        return f"{self.verb} {self.uri} -> {self.code} by {self.agent} ({self.user})"


def entries(log: Path, offset: int = 0) -> Iterator[dict[str, Any]]:
    """The entries of an audit log that begin at a place or behind it, while the API server goes on writing.

    The place may be within an entry, and the last line may be half written: neither is an entry yet.
    """
    with log.open("rb") as stream:
        if offset:
            stream.seek(offset - 1)
            stream.readline()
        for line in stream:
            if line.endswith(b"\n"):
                yield json.loads(line)


@dataclass(frozen=True)
class AuditMark:
    """A moment in an audit log; what came later is read from there."""

    log: Path
    offset: int

    @classmethod
    def now(cls, log: Path) -> AuditMark:
        """The end of the log as it is."""
        return cls(log, log.stat().st_size)

    def requests(self) -> list[Request]:
        """Everything asked since."""
        return list(self._requests())

    def installer_requests(self) -> list[Request]:
        """Everything that the installer and its helm asked since."""
        return [request for request in self._requests() if request.is_of_installer]

    def installer_writes(self) -> list[str]:
        """The writes among them, as text: what a run that changes nothing must leave empty."""
        return [str(request) for request in self.installer_requests() if request.is_write]

    def platform_writes(self) -> list[str]:
        """The writes among them but for the Lease that a run which writes holds."""
        return [
            str(request) for request in self.installer_requests() if request.is_write and not request.is_of_the_lock
        ]

    def _requests(self) -> Iterator[Request]:
        yield from map(Request.of, entries(self.log, self.offset))
