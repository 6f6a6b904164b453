"""Heads that two readers could take for different requests: refused, and nothing that is smuggled behind is answered.

Each is sent on a new connection and on one whose head is known already.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.servers.serving import Server, started

PREDICT = b"/v1/models/loans:predict"
SMUGGLED = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def server(loans: Path) -> Iterator[Server]:
    with started(loans, "--workers", "0") as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def row(loan: dict[str, Any]) -> bytes:
    return json.dumps({"instances": [loan]}).encode()


class Wire:
    """A connection that sends bytes as they are."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        headers = dict(line.decode().lower().rstrip().split(": ", 1) for line in iter(self._file.readline, b"\r\n"))
        return status, headers, self._file.read(int(headers["content-length"])) if has_body else b""

    def rest(self) -> bytes:
        """What comes until the server closes."""
        return self._file.read()


def post(body: bytes, *more: bytes, host: bytes = b"host: localhost") -> bytes:
    lines = [b"POST %b HTTP/1.1" % PREDICT, host, b"content-length: %d" % len(body), *more]
    return b"\r\n".join([*lines, b"", body])


def head(*lines: bytes, first: bytes = b"POST %b HTTP/1.1" % PREDICT) -> bytes:
    return b"\r\n".join([first, b"host: localhost", *lines, b"", b""])


CHUNKED, LAST = b"transfer-encoding: chunked", b"0\r\n\r\n"
FOLDED = b"x-a: b\r\n c: d"
#: What is sent, and what the error says.
REFUSED = {
    "length and chunks": (head(b"content-length: 5", CHUNKED) + LAST, "not an HTTP/1.1 request"),
    "chunks and length": (head(CHUNKED, b"content-length: 5") + LAST, "not an HTTP/1.1 request"),
    "the same length twice": (head(b"content-length: 1", b"content-length: 1") + b"a", ""),
    "lengths as a list": (head(b"content-length: 1, 1") + b"a", ""),
    "a length with a sign": (head(b"content-length: +1") + b"a", ""),
    "a length in hexadecimal": (head(b"content-length: 0x1") + b"a", ""),
    "a length without digits": (head(b"content-length:") + b"a", ""),
    "a length beyond 64 bits": (head(b"content-length: 99999999999999999999999") + b"a", ""),
    "a folded line": (head(FOLDED, b"content-length: 0"), ""),
    "a folded coding": (head(b"transfer-encoding:\r\n chunked") + LAST, ""),
    "a space before a colon": (head(b"content-length : 1") + b"a", ""),
    "a space before the first header": (b"POST %b HTTP/1.1\r\n host: localhost\r\n\r\n" % PREDICT, ""),
    "bare line feeds": (b"POST %b HTTP/1.1\nhost: localhost\ncontent-length: 0\n\n" % PREDICT, ""),
    "a bare line feed at the end of a header": (head(b"x-a: b\ncontent-length: 1") + b"a", ""),
    "a bare carriage return": (head(b"x-a: b\rcontent-length: 1") + b"a", ""),
    "a zero byte": (head(b"x-a: b\0c"), ""),
    "another coding": (head(b"transfer-encoding: xchunked") + LAST, "this transfer-encoding is not read here"),
    "chunks in another coding": (head(b"transfer-encoding: gzip, chunked") + LAST, "this transfer-encoding"),
    "chunks that are not the last coding": (head(b"transfer-encoding: chunked, identity") + LAST, ""),
    "chunks twice": (head(CHUNKED, CHUNKED) + LAST, ""),
    "chunks over HTTP/1.0": (head(CHUNKED, first=b"POST %b HTTP/1.0" % PREDICT) + LAST, "this transfer-encoding"),
    "a vertical tab before the coding": (head(b"transfer-encoding: \x0bchunked") + LAST, ""),
    "a negative chunk": (head(CHUNKED) + b"-2\r\nxx\r\n" + LAST, ""),
    "a chunk of more than 64 bits": (head(CHUNKED) + b"fffffffffffffffff\r\nxx\r\n" + LAST, ""),
    "a chunk with a bare line feed": (head(CHUNKED) + b"2\nxx\r\n" + LAST, ""),
    "an extension with a bare line feed": (head(CHUNKED) + b"2;a\nxx\r\n" + LAST, ""),
    "two hosts": (head(b"host: y", b"content-length: 0"), "the header host stands twice"),
    "no host": (b"POST %b HTTP/1.1\r\ncontent-length: 0\r\n\r\n" % PREDICT, "the header host is missing"),
    "two keys": (head(b"authorization: Bearer a", b"Authorization: Bearer b"), "the header authorization stands twice"),
    "two limits": (head(b"x-timeout-ms: 1", b"x-timeout-ms: 9"), "the header x-timeout-ms stands twice"),
    "two media types": (head(b"content-type: text/plain", b"content-type: application/json"), "stands twice"),
    "HTTP/0.9": (b"GET /v2/health/live\r\n\r\n", "HTTP/0.9 is not spoken here"),
    "HTTP/2.0 in words": (b"GET /v2/health/live HTTP/2.0\r\nhost: localhost\r\n\r\n", "HTTP/2.0 is not spoken here"),
    "the beginning of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
    "a tunnel": (b"CONNECT evil:80 HTTP/1.1\r\nhost: localhost\r\n\r\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("what", REFUSED)
def test_an_ambiguous_request_is_400_and_the_last_of_its_connection(
    server: Server, row: bytes, what: str, known: bool
) -> None:
    sent, said = REFUSED[what]
    with Wire(server.url) as wire:
        if known:
            for _ in range(2):
                wire.send(post(row))
                assert wire.answer()[0] == 200
        wire.send(sent + SMUGGLED)
        status, headers, body = wire.answer()
        assert (status, headers["connection"]) == (400, "close")
        error = json.loads(body)["error"]
        assert said in error["message"]
        assert error["expected"]
        assert error["fix"]
        assert wire.rest() == b""


#: The first line -> the status, on a connection that lives on.
TARGETS = {
    b"GET http://evil.example/v2/health/live HTTP/1.1": 200,  # the whole form is for proxies, and must be understood
    b"GET http://evil.example/nothing HTTP/1.1": 404,
    b"OPTIONS * HTTP/1.1": 404,
    b"GET * HTTP/1.1": 404,
    b"OPTIONS /v2/health/live HTTP/1.1": 405,
    b"TRACE /v2/health/live HTTP/1.1": 405,
    b"PUT /v2/health/live HTTP/1.1": 405,
    b"GET /v2/health/live?a=b#c HTTP/1.1": 200,
    b"GET /v2/health/%6cive HTTP/1.1": 200,
    b"GET /v2/health%2flive HTTP/1.1": 404,
    b"GET /v2%2Fhealth/live HTTP/1.1": 404,
    b"GET /v1/models/..%2Floans HTTP/1.1": 404,
    b"GET /v1/models/../models/loans HTTP/1.1": 404,
    b"GET //v2/health/live HTTP/1.1": 404,
    b"GET /v1/models/%00 HTTP/1.1": 404,
    b"GET /v1/models/%ff HTTP/1.1": 404,
    b"GET /v1/models/%zz HTTP/1.1": 404,
    b"GET /v1/models/" + b"a" * 60_000 + b" HTTP/1.1": 404,
}


def test_every_form_of_a_target_is_understood_or_refused_and_the_connection_lives_on(server: Server) -> None:
    with Wire(server.url) as wire:
        targets = {}
        for first in TARGETS:
            wire.send(head(first=first))
            targets[first], _, body = wire.answer()
            assert len(body) < 1_000
    assert targets == TARGETS


def test_http_1_0_is_answered_and_its_connection_closed_unless_it_asks(server: Server) -> None:
    first = b"GET /v2/health/live HTTP/1.0"
    with Wire(server.url) as wire:
        for _ in range(2):  # whoever asks for it waits for the end of the connection unless it is granted
            wire.send(first + b"\r\nconnection: keep-alive\r\n\r\n")
            status, headers, _ = wire.answer()
            assert (status, headers["connection"]) == (200, "keep-alive")
        wire.send(first + b"\r\n\r\n")
        status, headers, _ = wire.answer()
        assert (status, headers["connection"], wire.rest()) == (200, "close", b"")


@pytest.mark.parametrize("path", [b"/v2/health/live", b"/nothing", PREDICT])
def test_head_never_has_a_body(server: Server, path: bytes) -> None:
    with Wire(server.url) as wire:
        for _ in range(3):
            wire.send(head(first=b"HEAD %b HTTP/1.1" % path))
            status, headers, _ = wire.answer(has_body=False)
            assert status == {b"/v2/health/live": 200, b"/nothing": 404}.get(path, 405)
            assert int(headers["content-length"]) > 0
        wire.send(SMUGGLED)
        assert wire.answer()[0] == 200
