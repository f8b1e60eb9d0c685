"""What a server tells about its KV cache: vLLM's KV events over ZeroMQ.

A message has three parts: the topic, a sequence number (8 bytes, big endian) and a batch in MessagePack. vLLM 0.18
writes structures as arrays: a batch is [seconds since 1970, events, data-parallel rank], an event begins with its name.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

import msgpack
import zmq

from embedded_cluster.model_server.kv_events import EventSettings

MEDIUM = "GPU"
RANK = 0


class Publisher:
    """Sends the events of one server; what nobody listens to is dropped, as vLLM's publisher does."""

    def __init__(self, settings: EventSettings, address: str, namespace: str) -> None:
        """Listen or connect; raises OSError when the endpoint cannot be used.

        address    of the pod on this machine
        namespace  of the pod

        What is `wanted` is connected to once somebody finds it (`reach`); events before that are dropped.
        """
        self._topic = settings.topic.encode()
        self._numbers = itertools.count()
        self._socket = zmq.Context.instance().socket(zmq.PUB)
        self._socket.set_hwm(settings.hwm)
        self.endpoint, self.listens = settings.reached_from(address)
        self.wanted = settings.wanted_from(namespace)
        self._reached = ""
        if self.wanted:
            return
        try:
            (self._socket.bind if self.listens else self._socket.connect)(self.endpoint)
        except zmq.ZMQError as error:
            self._socket.close(linger=0)
            raise OSError(f"KV events: endpoint {self.endpoint}: {error}") from None

    def reach(self, endpoint: str) -> None:
        """What is wanted is there now; the place of before is left."""
        if self._reached:
            self._socket.disconnect(self._reached)
        self._socket.connect(endpoint)
        self._reached = endpoint

    def stored(
        self, hashes: Sequence[int], parent: int | None, tokens: Sequence[int], block_size: int, lora: str
    ) -> None:
        """Blocks of a prompt are in the cache; `parent` is the block before the first of them."""
        self._send(["BlockStored", list(hashes), parent, list(tokens), block_size, None, MEDIUM, lora or None])

    def removed(self, hashes: Sequence[int]) -> None:
        """Blocks have left the cache."""
        self._send(["BlockRemoved", list(hashes), MEDIUM])

    def close(self) -> None:
        """Leave the endpoint."""
        self._socket.close(linger=0)

    def _send(self, event: list[Any]) -> None:
        number = next(self._numbers).to_bytes(8, "big")
        self._socket.send_multipart((self._topic, number, msgpack.packb([time.time(), [event], RANK])), zmq.NOBLOCK)
