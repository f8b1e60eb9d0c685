"""Where a server's KV events go: the value of vLLM's flag --kv-events-config (facts/models.md section 4.8)."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

BOUND = ("*", "::", "ipc://", "inproc://")
"""vLLM listens at an endpoint with one of these, and connects to any other."""


@dataclass(frozen=True)
class EventSettings:
    """The value of --kv-events-config, with vLLM's defaults.

    >>> EventSettings.of('{"enable_kv_cache_events": true, "topic": "kv@10.0.0.1:8000@m"}').topic
    'kv@10.0.0.1:8000@m'
    """

    enable_kv_cache_events: bool = False
    publisher: str = ""
    endpoint: str = "tcp://*:5557"
    replay_endpoint: str | None = None
    buffer_steps: int = 10_000
    hwm: int = 100_000
    max_queue_size: int = 100_000
    topic: str = ""

    @classmethod
    def of(cls, text: str) -> EventSettings:
        """The settings of a JSON object; raises ValueError for a key or a publisher that vLLM does not know."""
        given = json.loads(text)
        known = {item.name for item in fields(cls)}
        if not isinstance(given, dict) or set(given) - known:
            raise ValueError(f"expected a JSON object with keys of {', '.join(sorted(known))}, found {text}")
        settings = cls(**given)
        if settings.publisher not in ("", "null", "zmq"):
            raise ValueError(f"publisher: expected null or zmq, found {settings.publisher}")
        return settings

    @property
    def published(self) -> bool:
        """Whether events leave the server."""
        return self.enable_kv_cache_events and self.publisher != "null"

    def wanted_from(self, namespace: str) -> tuple[str, int] | None:
        """Host and port that only the cluster knows: a pod's address, or the name of a Service, in full.

        namespace  of the server's pod, where DNS looks for a short name

        None where the server listens, and for an endpoint on its own machine.

        >>> EventSettings(endpoint="tcp://picker:5557").wanted_from("team")
        ('picker.team.svc', 5557)
        """
        parts = urlsplit(self.endpoint)
        host, port = parts.hostname or "", parts.port
        if any(word in self.endpoint for word in BOUND) or parts.scheme != "tcp" or port is None:
            return None
        if host == "localhost" or host.startswith("127."):
            return None
        if host.count(".") == 0:
            return f"{host}.{namespace}.svc", port
        return (f"{host}.svc" if host.count(".") == 1 else host), port

    def reached_from(self, address: str) -> tuple[str, bool]:
        """The endpoint for a pod whose address on this machine is given, and whether the server listens there."""
        bound = any(word in self.endpoint for word in BOUND)
        if bound and self.endpoint.startswith("tcp://"):
            return f"tcp://{address}:{urlsplit(self.endpoint).netloc.rpartition(':')[2]}", True
        return self.endpoint, bound
