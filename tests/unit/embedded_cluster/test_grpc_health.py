"""The gRPC health call, against servers that speak HTTP/2 frame by frame."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest
from embedded_cluster import grpc_health
from embedded_cluster.grpc_health import DATA, END_STREAM, HEADERS, PING, RESET, SETTINGS

Frames = list[tuple[int, int, bytes]]


def frame(kind: int, flags: int, payload: bytes) -> bytes:
    stream = 1 if kind in (DATA, HEADERS, RESET) else 0
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def message(status: int) -> bytes:
    return b"\x00\x00\x00\x00\x02\x08" + bytes([status])


def ask(answer: Frames, service: str = "readiness") -> tuple[str | None, bytes]:
    """What the check says when a server answers with these frames, and what the server received."""
    received = b""

    async def run() -> str | None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal received
            received = await reader.read(4096)
            writer.write(b"".join(frame(*item) for item in answer))
            await writer.drain()
            if answer:
                received += await reader.read(4096)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server, asyncio.timeout(5):
            return await grpc_health.check(*server.sockets[0].getsockname(), service)

    return asyncio.run(run()), received


START: Frames = [(SETTINGS, 0, b""), (PING, 0, b"12345678"), (HEADERS, 4, b"\x88")]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([(DATA, 0, message(1)), (HEADERS, END_STREAM | 4, b"")], None),
        ([(DATA, 0, message(2)), (HEADERS, END_STREAM | 4, b"")], "service unhealthy (responded with 'NOT_SERVING')"),
        ([(DATA, END_STREAM, message(3))], "service unhealthy (responded with 'SERVICE_UNKNOWN')"),
        ([(HEADERS, END_STREAM | 4, b"")], "service unhealthy (responded with 'UNKNOWN')"),
        ([(RESET, 0, b"\x00\x00\x00\x02")], "service unhealthy (responded with 'UNKNOWN')"),
    ],
)
def test_only_serving_is_healthy(answer: Frames, expected: str | None) -> None:
    assert ask([*START, *answer])[0] == expected


def test_the_call_names_method_and_service() -> None:
    _, received = ask([*START, (DATA, END_STREAM, message(1))], service="liveness")
    assert received.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert b"/grpc.health.v1.Health/Check" in received
    assert b"\x0a\x08liveness" in received


def test_a_server_that_hangs_up_is_a_connection_error() -> None:
    with pytest.raises(ConnectionError):
        ask([])


def test_a_closed_port_is_a_connection_error() -> None:
    check: Callable[..., Awaitable[str | None]] = grpc_health.check
    with pytest.raises(OSError):
        asyncio.run(check("127.0.0.1", 1, ""))
