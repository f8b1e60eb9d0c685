"""What can go wrong with a cluster, worded for the person who has to fix it.

`str(error)` is complete: what was tried, on which object or server, what came back, what to do.
Messages never hold secret values: texts that come from outside pass through `redact.text` first.
"""

# The names say what happened; each is used as `except ClusterUnreachable`.
# ruff: noqa: N818

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference_platform.cluster.redact import text as redact_text


class ClusterError(Exception):
    """Base of everything this package raises."""


class KubeconfigError(ClusterError):
    """The kubeconfig cannot be used: file missing, unreadable, or a named part absent."""


class ClusterUnreachable(ClusterError):
    """No answer from the API server (name, network, TLS, or server down)."""


class CredentialsRejected(ClusterError):
    """The API server answered 401, or a credential plugin failed to give credentials."""


class UnknownKind(ClusterError):
    """The cluster does not serve this kind: its CRD is not installed, or not in this version."""

    def __init__(self, api_version: str, kind: str, served: tuple[str, ...] = ()) -> None:
        self.api_version, self.kind, self.served = api_version, kind, served
        hint = f"It serves {kind} as {', '.join(served)}." if served else "Its CRD is not installed."
        super().__init__(f"The cluster does not serve {kind} in {api_version}. {hint}")


@dataclass(frozen=True)
class FieldConflict:
    """One field that another manager owns with a different value."""

    field: str
    manager: str


class ApiError(ClusterError):
    """The API server answered with an error status.

    status   HTTP status code
    reason   machine word of the Status object ("Conflict", "Forbidden", ...)
    message  the server's own text, redacted; a webhook's denial passes through unchanged
    subject  what the request was about, e.g. "apply apps/v1 Deployment istio-system/istiod"
    """

    remedy = ""

    def __init__(
        self, status: int, reason: str, message: str, subject: str, details: Mapping[str, Any] | None = None
    ) -> None:
        self.status, self.reason, self.subject = status, reason, subject
        self.message = redact_text(message)
        self.details: Mapping[str, Any] = details or {}
        text = f"{subject}: {self.message or reason or 'no message'} (HTTP {status} {reason})"
        super().__init__(f"{text}. {self.hint()}" if self.hint() else text)

    def hint(self) -> str:
        """What to do next: one sentence, or nothing."""
        return self.remedy

    def causes(self) -> list[Mapping[str, Any]]:
        """The server's list of causes ({field, reason, message}), if it gave one."""
        return list(self.details.get("causes") or [])


class NotFound(ApiError):
    """The object, its namespace, or its kind is not there."""


class Forbidden(ApiError):
    """RBAC (or an admission rule) refuses the request."""

    def hint(self) -> str:
        if "admission webhook" in self.message or "denied the request" in self.message:
            return "An admission rule of the cluster refused it: change the object, or the rule."
        kind = ".".join(filter(None, (self.details.get("kind"), self.details.get("group"))))
        return (
            f"Give the user of this kubeconfig the right to do this{f' on {kind}' if kind else ''} "
            "(the installer needs cluster-admin), or choose another context; "
            "`kubectl auth can-i --list` shows what it may do."
        )


class Conflict(ApiError):
    """409: another manager owns fields, the object changed meanwhile, or it exists already."""

    def fields(self) -> list[FieldConflict]:
        """For a server-side apply conflict: every field and the manager that owns it."""
        conflicts = []
        for cause in self.causes():
            if cause.get("reason") == "FieldManagerConflict":
                words = str(cause.get("message", "")).split('"')
                manager = words[1] if len(words) > 1 else str(cause.get("message", ""))
                conflicts.append(FieldConflict(str(cause.get("field", "")), manager))
        return conflicts

    def hint(self) -> str:
        fields = self.fields()
        if not fields:
            return ""
        managers = ", ".join(sorted({field.manager for field in fields}))
        return (
            f"These fields belong to {managers}. Let {managers} keep the object (make the layer `external` or "
            "`delegated`), or take the fields over on purpose with force."
        )


class Invalid(ApiError):
    """422 or 400: the server does not accept the object as written."""


class Overloaded(ApiError):
    """429 or 5xx that did not go away within the retries."""

    def hint(self) -> str:
        if "failed calling webhook" in self.message:
            return (
                "An admission webhook does not answer: look at the Deployment behind the Service named in the "
                "message, and at its certificate."
            )
        return "The API server refused for lack of capacity or because of an internal error; run again later."


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: Overloaded,
}


def api_error(status: int, body: Any, subject: str) -> ApiError:
    """The right error for an answer. `body` is the decoded Status object, or the raw text."""
    if isinstance(body, Mapping):
        reason, message = str(body.get("reason") or ""), str(body.get("message") or "")
        details = body.get("details")
    else:
        reason, message, details = "", str(body)[:500], None
    kind = _BY_STATUS.get(status, Overloaded if status >= 500 else ApiError)
    return kind(status, reason, message, subject, details if isinstance(details, Mapping) else None)
