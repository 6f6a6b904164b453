"""Lines in chunks to `:score` are answered while they come, over one connection."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from support.servers.cards import build_cards, events_of, payments

SCORE = "/v1/models/cards:score"


class EventStream:
    """A client that sends lines and reads answers when it likes."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
        self.connection.putrequest("POST", SCORE)
        self.connection.putheader("content-type", "application/x-ndjson")
        self.connection.putheader("transfer-encoding", "chunked")
        self.connection.endheaders()
        self.connection.auto_open = False
        self._answers: http.client.HTTPResponse | None = None

    def send(self, lines: Sequence[Any]) -> None:
        """One chunk for each line; bytes are sent as they are."""
        for line in lines:
            data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            self.connection.send(b"%x\r\n%b\r\n" % (len(data), data))

    def read(self, number: int) -> list[dict[str, Any]]:
        """The next answers."""
        if self._answers is None:
            self._answers = self.connection.getresponse()
            assert self._answers.status == 200
        return [json.loads(self._answers.readline()) for _ in range(number)]

    def end(self) -> bytes:
        """End the body; what the server still sends."""
        self.connection.send(b"0\r\n\r\n")
        return self.rest()

    def rest(self) -> bytes:
        assert self._answers is not None
        return self._answers.read()

    def close(self) -> None:
        if self._answers is not None:
            self._answers.close()
        self.connection.close()


@pytest.fixture
def open_stream() -> Iterator[Callable[[str], EventStream]]:
    """Opens a stream at the URL of a server; all are closed after the test."""
    streams: list[EventStream] = []

    def connect(url: str) -> EventStream:
        streams.append(EventStream(url))
        return streams[-1]

    yield connect
    for stream in streams:
        stream.close()


@pytest.fixture(scope="module")
def url(cards: Path, start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for the tests that end no server; each takes ids of its own."""
    with start(cards, "--state", tmp_path_factory.mktemp("state"), "--workers", "0") as running:
        yield running.url
        assert running.stop() == 0


def test_each_event_is_answered_before_the_next_is_sent_as_by_a_request_of_its_own(url: str, open_stream: Any) -> None:
    events = events_of(payments(20, span_s=3_600, seed=3, first_id=1_000))
    stream = open_stream(url)
    streamed = []
    for event in events:
        stream.send([event])
        streamed += stream.read(1)
    assert stream.end() == b""
    assert {answer["status"] for answer in streamed} == {"accepted"}
    again = [httpx.post(url + SCORE, json=event).json() for event in events]  # duplicates: the answers of then
    assert [answer["chance"] for answer in again] == [answer["chance"] for answer in streamed]


def test_verdicts_and_lines_that_are_neither_stand_among_events(url: str, open_stream: Any) -> None:
    first, second = events_of(payments(2, span_s=3_600, seed=4, first_id=2_000))
    stream = open_stream(url)
    stream.send([first, b"\n \n", {"id": 2_000, "label": 1}, b"{]\n", {"id": [1]}, second])
    answers = stream.read(5)
    assert [answer["status"] for answer in answers] == ["accepted", "accepted", "bad_input", "bad_input", "accepted"]
    assert [answer["id"] for answer in answers if "id" in answer] == [2_000, 2_000, 2_001]
    assert stream.end() == b""


def test_lines_need_not_end_where_chunks_end_and_the_last_needs_no_line_feed(url: str, open_stream: Any) -> None:
    text = "\n".join(map(json.dumps, events_of(payments(3, span_s=3_600, seed=5, first_id=3_000)))).encode()
    stream = open_stream(url)
    stream.send([text[place : place + 7] for place in range(0, len(text), 7)])
    assert [answer["id"] for answer in stream.read(2)] == [3_000, 3_001]
    assert json.loads(stream.end())["id"] == 3_002


@pytest.mark.slow
def test_alerts_of_a_stream_have_their_reasons(start: Any, tmp_path: Path, open_stream: Any) -> None:
    cards = build_cards(tmp_path / "cards", threshold=0.0)
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        stream = open_stream(server.url)
        events = events_of(payments(2, span_s=3_600, seed=6))
        stream.send(events[:1])
        (answer,) = stream.read(1)
        assert answer["decision"] == "fraud"
        assert answer["reasons"][0]["text"]
        assert stream.end() == b""
        single = httpx.post(server.url + SCORE, json=events[1]).json()
        assert single["reasons"][0].keys() == answer["reasons"][0].keys()


def test_a_line_that_is_too_long_ends_its_stream_alone(url: str, open_stream: Any) -> None:
    (event,) = events_of(payments(1, span_s=3_600, seed=8, first_id=4_000))
    stream = open_stream(url)
    stream.send([event])
    assert stream.read(1)[0]["status"] == "accepted"
    stream.send([b'"' + b"a" * 200_000])
    assert stream.read(1)[0]["status"] == "stopped"
    assert stream.rest() == b""
    assert httpx.post(url + SCORE, json=event).json()["status"] == "duplicate"


def test_a_body_in_single_bytes_ends_its_stream(url: str, open_stream: Any) -> None:
    (event,) = events_of(payments(1, span_s=3_600, seed=13, first_id=7_000))
    stream = open_stream(url)
    stream.send([event])
    assert stream.read(1)[0]["status"] == "accepted"
    stream.connection.send(b"1\r\n \r\n" * 40_000)
    assert stream.read(1)[0]["status"] == "stopped"
    assert stream.rest() == b""


@pytest.mark.slow
def test_a_client_that_reads_no_answers_is_read_no_further(url: str, open_stream: Any) -> None:
    """Both buffers of the kernel and the server's own fill; then the client's sending blocks, and others are served."""
    stream = open_stream(url)
    stream.connection.sock.settimeout(0.5)
    data = b"".join(b'{"id": 5, "label": 7}\n' for _ in range(2_000))
    with pytest.raises(TimeoutError):
        stream.send([data] * 2_000)  # 88 MB
    (event,) = events_of(payments(1, span_s=3_600, seed=9, first_id=5_000))
    assert httpx.post(url + SCORE, json=event, timeout=30).json()["status"] == "accepted"
    stream.connection.close()


@pytest.mark.slow
def test_a_server_that_stops_answers_what_has_come_and_ends_the_stream(
    cards: Path, start: Any, tmp_path: Path, open_stream: Any
) -> None:
    events = events_of(payments(50, span_s=3_600, seed=10))
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        stream = open_stream(server.url)
        stream.send([*events, b'{"id": 99'])
        answers = stream.read(1)
        server.process.send_signal(signal.SIGTERM)
        answers += [json.loads(line) for line in stream.rest().splitlines()]  # an incomplete body would raise
        assert server.stop() == 0
    assert [answer["id"] for answer in answers] == list(range(50))


@pytest.mark.slow
def test_what_a_stream_has_answered_outlives_a_killed_server(
    cards: Path, start: Any, tmp_path: Path, open_stream: Any
) -> None:
    events = events_of(payments(400, span_s=3_600, seed=11))
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        stream = open_stream(server.url)
        stream.send(events)
        answers = stream.read(37)
        server.process.kill()
        server.process.wait()
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        stream = open_stream(server.url)
        stream.send(events)
        again = stream.read(400)
        assert {answer["status"] for answer in again[:37]} == {"duplicate"}
        assert [answer["chance"] for answer in again[:37]] == [answer["chance"] for answer in answers]
        assert {answer["status"] for answer in again[37:]} <= {"accepted", "duplicate"}
        assert stream.end() == b""


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_sends_a_file_as_a_stream(url: str, tmp_path: Path) -> None:
    events = events_of(payments(3, span_s=3_600, seed=12, first_id=6_000))
    (tmp_path / "events.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    with (tmp_path / "events.ndjson").open("rb") as file:
        command = ["curl", "-sT", "-", "-X", "POST", "-H", "content-type: application/x-ndjson", url + SCORE]
        answer = subprocess.run(command, stdin=file, capture_output=True, timeout=60, check=True)
    assert [json.loads(line)["id"] for line in answer.stdout.splitlines()] == [6_000, 6_001, 6_002]
