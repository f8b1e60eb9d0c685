"""Asks models for answers, from this machine, as a client would: the requests of catalog/smoke.yml.

Only what can be reached from here is tested; the rest says so, and counts neither as passed nor as failed.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import urllib3
import yaml

from inference_platform import schema
from inference_platform.cluster import redact
from inference_platform.cluster.front import Front
from inference_platform.paths import CATALOG

PASSED, FAILED, UNREACHABLE, SKIPPED = "passed", "failed", "not reachable from here", "skipped"
#: Seconds for which a request that goes wrong is repeated: a gateway learns of a new route a moment late.
PATIENCE_SECONDS = 10.0
_PAUSE_SECONDS = 0.5
_CONNECT_SECONDS, _ANSWER_SECONDS = 3.0, 60.0
_UNTRUSTED = "TLS: the certificate is not trusted here"
_HEADERS = {"Content-Type": "application/json", "User-Agent": "inference-platform-smoke"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_IN_CLUSTER = (".svc", ".svc.cluster.local", ".cluster.local")


@dataclass(frozen=True)
class Subject:
    """One model to ask: its id, the name clients send, its URL ("" without one), or why it is not asked at all."""

    model: str
    served_name: str
    url: str
    skip: str = ""


@dataclass(frozen=True)
class Outcome:
    """One request: its column, whether the answer was as expected, seconds it took, and what was wrong."""

    name: str
    ok: bool
    seconds: float
    problem: str = ""


@dataclass(frozen=True)
class Smoke:
    """What became of one model: PASSED, FAILED, UNREACHABLE or SKIPPED, and why."""

    model: str
    url: str
    state: str
    why: str = ""
    outcomes: tuple[Outcome, ...] = ()


@dataclass
class SmokeResult:
    """All models, in the order asked for; `columns` are the names of the requests."""

    models: list[Smoke] = field(default_factory=list)
    columns: tuple[str, ...] = ()

    def count(self, state: str) -> int:
        """How many models ended so."""
        return sum(1 for item in self.models if item.state == state)

    @property
    def summary(self) -> str:
        """ "3 passed, 1 not reachable from here"; "no models" for none."""
        counts = ((state, self.count(state)) for state in (PASSED, FAILED, UNREACHABLE, SKIPPED))
        return ", ".join(f"{count} {state}" for state, count in counts if count) or "no models"


@cache
def requests() -> tuple[dict[str, Any], ...]:
    """The requests of the catalogue.  Raises ValueError naming the mistakes of the file."""
    path = CATALOG / "smoke.yml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    wrong = schema.mistakes(data, schema.validator(schema.load_schema("smoke")))
    if wrong:
        raise ValueError(f"{path.name}: " + "; ".join(f"{item.path}: {item.expected}" for item in wrong))
    return tuple(data["checks"])


def smoke(
    subjects: Sequence[Subject],
    *,
    patience: float = PATIENCE_SECONDS,
    workers: int = 8,
    checks: Iterable[Mapping[str, Any]] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    front: Front | None = None,
) -> SmokeResult:
    """Asks all models, several at a time; each address is first tried once for all of its models.

    front        how the gateway is found and whom to trust
    patience     seconds for which a request that goes wrong is repeated
    on_progress  told how many models are done, and how many there are, from this thread
    """
    wanted, front = tuple(requests() if checks is None else checks), front or Front()
    with ThreadPoolExecutor(max_workers=workers) as pool, front.http(maxsize=workers) as http:
        addresses = list(dict.fromkeys(address_of(item.url) for item in subjects if item.url and not item.skip))
        places = [(front.host_for(host), port) for host, port in addresses]
        reachable = dict(zip(addresses, pool.map(unreachable_because, places), strict=True))

        def ask(subject: Subject) -> Smoke:
            if subject.skip:
                return Smoke(subject.model, subject.url, SKIPPED, subject.skip)
            why = reachable[address_of(subject.url)] if subject.url else "it has no address from outside"
            if why:
                return Smoke(subject.model, subject.url, UNREACHABLE, why)
            return _all_of(Asker(http, subject.url, {"model": subject.served_name}, patience), subject, wanted)

        result = SmokeResult(columns=tuple(str(check["name"]) for check in wanted))
        for done, item in enumerate(pool.map(ask, subjects), start=1):
            result.models.append(item)
            if on_progress is not None:
                on_progress(done, len(subjects))
        return result


def table(result: SmokeResult, note: str = "") -> str:
    """The result as aligned text: a row for each model, its problems below.

    note  a sentence about models that could not be reached, for clusters of which the reason is known
    """
    rows = [("model", *result.columns, "url")]
    rows += [(item.model, *_cells(item, len(result.columns)), item.url) for item in result.models]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row, item in zip(rows, [None, *result.models], strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if item is not None:
            lines += [f"    {line}" for line in _problems(item)]
    if note and result.count(UNREACHABLE):
        lines.append(note)
    return "\n".join(lines)


def _cells(item: Smoke, columns: int) -> list[str]:
    cells = [f"ok {outcome.seconds:.1f} s" if outcome.ok else "FAILED" for outcome in item.outcomes]
    return cells + ["-"] * (columns - len(cells))


def _problems(item: Smoke) -> list[str]:
    if item.state in (UNREACHABLE, SKIPPED):
        return [f"{item.state}: {item.why}"]
    return [f"{outcome.name}: {outcome.problem}" for outcome in item.outcomes if not outcome.ok]


class Asker:
    """Requests to one URL, with texts in place of {placeholders}; `headers` go with each request."""

    def __init__(
        self,
        http: urllib3.PoolManager,
        url: str,
        placeholders: Mapping[str, str],
        patience: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._http, self._url, self._patience = http, url.rstrip("/"), patience
        self._placeholders, self._headers = placeholders, headers or {}

    def outcome(self, check: Mapping[str, Any]) -> Outcome:
        """Sends the request of a check until the answer is as expected, or patience is over."""
        began = time.monotonic()
        while True:
            sent = time.monotonic()
            problem = self.send(check)
            now = time.monotonic()
            if not problem or now - began + _PAUSE_SECONDS >= self._patience:
                return Outcome(str(check["name"]), not problem, now - sent, problem)
            time.sleep(_PAUSE_SECONDS)

    def send(self, check: Mapping[str, Any]) -> str:
        """What is wrong with the answer, or nothing."""
        request = _filled(check["request"], self._placeholders)
        body = request.get("body")
        url = self._url + request["path"]
        try:
            response = self._http.request(
                request["method"],
                url,
                body=json.dumps(body).encode() if body is not None else None,
                headers={**_HEADERS, **self._headers, **request.get("headers", {})},
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_ANSWER_SECONDS),
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            return f"{request['method']} {url}: no answer ({_reason(error)})"
        wrong = unexpected(_filled(check["expect"], self._placeholders), response)
        return f"{request['method']} {url}: {wrong}" if wrong else ""


def _all_of(asker: Asker, subject: Subject, checks: Sequence[Mapping[str, Any]]) -> Smoke:
    """A model behind a certificate that this machine does not trust is one that cannot be asked from here."""
    outcomes: list[Outcome] = []
    for check in checks:
        outcomes.append(asker.outcome(check))
        if not outcomes[-1].ok and len(outcomes) == 1:
            break  # when not even the list of models comes, the rest only repeats it
    if outcomes and _UNTRUSTED in outcomes[0].problem:
        return Smoke(subject.model, subject.url, UNREACHABLE, f"{_UNTRUSTED}; add its authority, or ask from elsewhere")
    good = all(outcome.ok for outcome in outcomes)
    return Smoke(subject.model, subject.url, PASSED if good else FAILED, "", tuple(outcomes))


def unexpected(expect: Mapping[str, Any], response: urllib3.BaseHTTPResponse) -> str:
    """How an answer differs from what a check expects; "" when it does not."""
    text = response.data.decode(errors="replace")
    if response.status not in expect["status"]:
        wanted = " or ".join(map(str, expect["status"]))
        return f"expected status {wanted}, found {response.status} {_short(text)}".rstrip()
    kind = response.headers.get("Content-Type", "")
    if not kind.startswith(expect.get("content_type", "")):
        return f"expected an answer of type {expect['content_type']}, found {kind or 'none'}"
    if "last_event" in expect:
        events = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("data:")]
        last = events[-1] if events else "no event"
        if last != expect["last_event"]:
            return f"expected {expect['last_event']} as the last event of the stream, found {_short(last)}"
    if "value" in expect:
        return _unexpected_value(expect["value"], text)
    return ""


def _unexpected_value(expect: Mapping[str, str], text: str) -> str:
    try:
        found = _values(json.loads(text), expect["path"].split("."))
    except ValueError:
        return f"expected JSON, found {_short(text)}"
    shown = ", ".join(map(str, found)) or "nothing"
    if "is" in expect:
        return "" if expect["is"] in found else f"expected {expect['is']} at {expect['path']}, found {_short(shown)}"
    return "" if any(found) else f"expected a value at {expect['path']}, found {_short(shown)}"


def _values(data: Any, path: Sequence[str]) -> list[Any]:
    """What is at a path; `*` stands for any position."""
    if not path:
        return [data]
    if isinstance(data, list):
        if path[0] == "*":
            return [value for item in data for value in _values(item, path[1:])]
        return _values(data[int(path[0])], path[1:]) if path[0].isdigit() and int(path[0]) < len(data) else []
    return _values(data[path[0]], path[1:]) if isinstance(data, dict) and path[0] in data else []


def _filled(value: Any, placeholders: Mapping[str, str]) -> Any:
    """A copy with texts in place of {names}."""
    if isinstance(value, str):
        for name, text in placeholders.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, Mapping):
        return {key: _filled(item, placeholders) for key, item in value.items()}
    return [_filled(item, placeholders) for item in value] if isinstance(value, list) else value


def address_of(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)


def unreachable_because(address: tuple[str, int]) -> str:
    """Why no connection can be made to an address, or nothing."""
    host, port = address
    if host.endswith(_IN_CLUSTER):
        return f"{host} is a name inside the cluster; with `kubectl port-forward` it could be asked from here"
    try:
        socket.create_connection(address, _CONNECT_SECONDS).close()
    except socket.gaierror:
        return f"the name {host} is not known to DNS"
    except TimeoutError:
        return f"{host}:{port} does not answer (firewall, private network, or VPN)"
    except OSError as error:
        return f"{host}:{port}: {(error.strerror or str(error)).lower()}"
    return ""


def _reason(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return f"none in {_ANSWER_SECONDS:.0f} s"
    if isinstance(error, urllib3.exceptions.SSLError):
        return _UNTRUSTED
    return "the connection broke"


def _short(text: str) -> str:
    line = " ".join(redact.text(text).split())
    return line if len(line) <= 200 else f"{line[:197]}..."
