"""Asks a gRPC server for its health, as a kubelet's gRPC probe does: one unary call over plain HTTP/2.

Written by hand because a whole gRPC library for one call of twenty bytes would weigh more than the embedded cluster.
"""

from __future__ import annotations

import asyncio
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GO_AWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
ACKNOWLEDGED, END_STREAM, END_HEADERS = 0x1, 0x1, 0x4
STREAM = 1
SERVING = 1
STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


async def check(host: str, port: int, service: str) -> str | None:
    """None when the server says SERVING for the service, else what it says. Raises OSError when it does not answer."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(PREFACE + _frame(SETTINGS, 0, 0, b"") + _call(f"{host}:{port}", service))
        status = await _status(reader, writer)
    except asyncio.IncompleteReadError:
        raise ConnectionError("the connection was closed") from None
    finally:
        writer.close()
    return None if status == SERVING else f"service unhealthy (responded with {STATUSES.get(status, status)!r})"


def _call(authority: str, service: str) -> bytes:
    """The frames of grpc.health.v1.Health/Check."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    # HPACK: literal fields that are not indexed, with new names and no Huffman coding.
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers.items())
    name = service.encode()
    request = b"\x0a" + bytes([len(name)]) + name if name else b""
    message = b"\x00" + struct.pack(">I", len(request)) + request
    return _frame(HEADERS, END_HEADERS, STREAM, block) + _frame(DATA, END_STREAM, STREAM, message)


def _text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


async def _status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The status in the answer (0 when it has none)."""
    message = b""
    while True:
        head = await reader.readexactly(9)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = await reader.readexactly(length)
        if kind in (SETTINGS, PING) and not flags & ACKNOWLEDGED:
            writer.write(_frame(kind, ACKNOWLEDGED, 0, payload if kind == PING else b""))
        elif kind == DATA:
            message += payload
        elif kind in (RESET, GO_AWAY):
            return 0
        # Trailers end the answer; five bytes of every message are its length.
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            return message[6] if message[5:6] == b"\x08" else 0
