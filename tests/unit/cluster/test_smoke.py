"""The smoke test: what counts as an answer, what cannot be reached, and how it is shown."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from inference_platform.cluster.smoke import FAILED, PASSED, SKIPPED, UNREACHABLE, Subject, requests, smoke, table

STREAM = 'data: {"choices": [{"text": "Paris"}]}\n\ndata: [DONE]\n\n'


class Server:
    """A model server of the model "qwen" below /team/qwen; `spoil` changes the answer of a request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.spoil: dict[str, tuple[int, str, str]] = {}
        self.failures_first = 0
        handler = type("Handler", (_Handler,), {"server_": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/team/qwen"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, str, str]:
        self.asked.append((method, path, body))
        if self.failures_first:
            self.failures_first -= 1
            return 503, "text/plain", "no healthy upstream"
        what = "models" if path.endswith("/models") else body["model"] + (" stream" if body.get("stream") else "")
        if what in self.spoil:
            return self.spoil[what]
        if what == "models":
            return 200, "application/json", json.dumps({"data": [{"id": "other"}, {"id": "qwen"}]})
        if body["model"] != "qwen":
            return 404, "application/json", json.dumps({"error": "no such model"})
        if body.get("stream"):
            return 200, "text/event-stream; charset=utf-8", STREAM
        return 200, "application/json", json.dumps({"choices": [{"text": " Paris"}]})


class _Handler(BaseHTTPRequestHandler):
    server_: Server

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, kind, text = self.server_.answer(self.command, self.path, json.loads(raw) if raw else None)
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Stays quiet."""

    do_GET = do_POST = _serve  # noqa: N815


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def ask(url: str, patience: float = 0.0) -> Any:
    (result,) = smoke([Subject("team/qwen", "qwen", url)], patience=patience).models
    return result


def test_a_model_that_answers_passes_with_four_requests_below_its_url(server: Server) -> None:
    result = ask(server.url)
    assert result.state == PASSED
    assert [(method, path) for method, path, _ in server.asked] == [
        ("GET", "/team/qwen/v1/models"),
        *[("POST", "/team/qwen/v1/completions")] * 3,
    ]
    assert [body["model"] for _, _, body in server.asked[1:]] == ["qwen", "qwen", "no-such-model"]


@pytest.mark.parametrize(
    ("what", "answer", "column", "problem"),
    [
        (
            "models",
            (200, "application/json", '{"data": [{"id": "a"}]}'),
            "models",
            "expected qwen at data.*.id, found a",
        ),
        ("models", (200, "application/json", "<html>"), "models", "expected JSON, found <html>"),
        ("qwen", (400, "application/json", '{"message": "no"}'), "completion", "expected status 200, found 400"),
        ("qwen", (200, "application/json", '{"choices": []}'), "completion", "expected a value at choices.0.text"),
        ("qwen stream", (200, "application/json", "{}"), "streaming", "expected an answer of type text/event-stream"),
        ("qwen stream", (200, "text/event-stream", "data: {}\n\n"), "streaming", "expected [DONE] as the last event"),
        ("no-such-model", (200, "application/json", "{}"), "wrong name", "expected status 404, found 200"),
    ],
)
def test_an_answer_that_is_not_as_expected_fails_and_says_how(
    server: Server, what: str, answer: tuple[int, str, str], column: str, problem: str
) -> None:
    server.spoil[what] = answer
    result = ask(server.url)
    assert result.state == FAILED
    bad = {outcome.name: outcome.problem for outcome in result.outcomes if not outcome.ok}
    assert list(bad) == [column]
    assert problem in bad[column]


def test_a_gateway_that_learns_of_the_route_a_moment_late_is_given_time(server: Server) -> None:
    server.failures_first = 1
    assert ask(server.url, patience=3.0).state == PASSED
    server.failures_first = 1
    assert ask(server.url).state == FAILED


def test_when_the_first_request_fails_the_others_are_not_sent(server: Server) -> None:
    server.spoil["models"] = (503, "text/plain", "no healthy upstream")
    assert [outcome.name for outcome in ask(server.url).outcomes] == ["models"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_what_cannot_be_reached_is_neither_passed_nor_failed() -> None:
    port = free_port()
    subjects = [
        Subject("team/refused", "a", f"http://127.0.0.1:{port}/team/refused"),
        Subject("team/no-url", "b", ""),
        Subject("team/inside", "c", "http://gw.ns.svc.cluster.local/team/inside"),
        Subject("team/unknown", "d", "http://no-such-host.invalid/team/unknown"),
        Subject("team/starting", "e", "", skip="it is not ready"),
    ]
    result = smoke(subjects)
    found = {item.model: (item.state, item.why) for item in result.models}
    assert found["team/refused"] == (UNREACHABLE, f"127.0.0.1:{port}: connection refused")
    assert found["team/no-url"] == (UNREACHABLE, "it has no address from outside")
    assert "a name inside the cluster" in found["team/inside"][1]
    assert "not known to DNS" in found["team/unknown"][1]
    assert found["team/starting"] == (SKIPPED, "it is not ready")
    assert result.summary == "4 not reachable from here, 1 skipped"


def test_an_address_is_tried_once_for_all_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, int]] = []

    def refuse(address: tuple[str, int], _: float) -> None:
        tried.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    smoke([Subject(f"team/m{number}", "m", f"http://10.0.0.1/team/m{number}") for number in range(50)])
    assert tried == [("10.0.0.1", 80)]


def test_the_table_shows_each_model_and_its_problems(server: Server) -> None:
    server.spoil["no-such-model"] = (200, "application/json", "{}")
    subjects = [
        Subject("team/qwen", "qwen", server.url),
        Subject("team/far", "far", f"http://127.0.0.1:{free_port()}/x"),
    ]
    text = table(smoke(subjects, patience=0.0), note="Nobody answers there.")
    lines = text.splitlines()
    assert lines[0].split() == ["model", "models", "completion", "streaming", "wrong", "name", "url"]
    assert "ok" in lines[1]
    assert "FAILED" in lines[1]
    assert lines[2].strip().startswith("wrong name: POST")
    assert "not reachable from here: 127.0.0.1" in lines[4]
    assert lines[5] == "Nobody answers there."


def test_progress_counts_models(server: Server) -> None:
    told: list[tuple[int, int]] = []
    smoke([Subject("team/qwen", "qwen", server.url)] * 3, on_progress=lambda *what: told.append(what))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_catalogue_proves_what_the_facts_ask_for() -> None:
    assert [check["name"] for check in requests()] == ["models", "completion", "streaming", "wrong name"]
