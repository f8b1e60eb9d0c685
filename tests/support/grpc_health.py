"""Asks the gRPC health service of a program, over plain HTTP/2 and with nothing but sockets.

One unary call, as in RFC 9113 and the gRPC wire format. Headers are sent without compression.
"""

from __future__ import annotations

import socket
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_STREAM = 1
_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class NoAnswerError(Exception):
    """The program is not there, or does not speak gRPC."""


def health(port: int, service: str = "", *, host: str = "127.0.0.1", seconds: float = 10) -> str:
    """SERVING, NOT_SERVING, UNKNOWN or SERVICE_UNKNOWN. Raises NoAnswerError."""
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            return _call(connection, f"{host}:{port}", service)
    except OSError as error:
        raise NoAnswerError(f"no health service on {host}:{port}: {error}") from error


def _call(connection: socket.socket, authority: str, service: str) -> str:
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    name = service.encode()
    question = (b"\x0a" + bytes([len(name)]) + name) if name else b""
    connection.sendall(
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, _STREAM, b"".join(_literal(*pair) for pair in headers.items()))
        + _frame(_DATA, _END_STREAM, _STREAM, b"\0" + struct.pack(">I", len(question)) + question)
    )
    stream = connection.makefile("rb")
    while True:
        kind, flags, payload = _read(stream)
        if kind == _SETTINGS and not flags & _ACK:
            connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            connection.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _DATA and len(payload) >= 5:
            return _status(payload[5:])
        elif kind in (_RST_STREAM, _GOAWAY) or (kind == _HEADERS and flags & _END_STREAM):
            raise NoAnswerError(f"{authority} refused the question about {service!r}")


def _status(message: bytes) -> str:
    """The field status of a HealthCheckResponse; left out when it is 0."""
    return _STATUS[message[1] if message[:1] == b"\x08" else 0]


def _literal(name: str, value: str) -> bytes:
    """A header field, not indexed and not compressed."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _read(stream: object) -> tuple[int, int, bytes]:
    head = _exactly(stream, 9)
    length = int.from_bytes(head[:3], "big")
    return head[3], head[4], _exactly(stream, length)


def _exactly(stream: object, count: int) -> bytes:
    data: bytes = stream.read(count)  # type: ignore[attr-defined]
    if len(data) < count:
        raise NoAnswerError("the connection was closed before the answer")
    return data
