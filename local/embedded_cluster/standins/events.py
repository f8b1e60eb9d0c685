"""Warning events as operators write them about their custom resource."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

NOTE_LIMIT = 1024
"""Characters of a message; the API server refuses longer ones (observed-operators.md 3.3)."""


def warning(about: Mapping[str, Any], settings: Mapping[str, str], note: str, instance: str) -> dict[str, Any]:
    """A Warning event.

    settings: api_version (`v1` or `events.k8s.io/v1`), namespace of the event, reason. `instance` is the writer's pod.
    """
    metadata = about["metadata"]
    regarding = {
        "apiVersion": about["apiVersion"],
        "kind": about["kind"],
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
    }
    now = datetime.now(UTC)
    common = {
        "apiVersion": settings["api_version"],
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": settings["namespace"]},
        "type": "Warning",
        "reason": settings["reason"],
    }
    if settings["api_version"] == "v1":
        seconds = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            **common,
            "involvedObject": {**regarding, "namespace": settings["namespace"]},
            "message": note[:NOTE_LIMIT],
            "source": {"component": instance},
            "firstTimestamp": seconds,
            "lastTimestamp": seconds,
            "count": 1,
        }
    return {
        **common,
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "action": "Reconcile",
        "note": note[:NOTE_LIMIT],
        "regarding": regarding,
        "reportingController": about["kind"].lower(),
        "reportingInstance": instance,
    }
