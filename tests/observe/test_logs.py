"""The access log and the audit log: what a line says, and what becomes of it when the disk fails."""

from __future__ import annotations

import io
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from deepseek.contracts import Event
from deepseek.errors import InputError
from deepseek.observe.audit import AuditLog, check_audit, last_hash
from deepseek.observe.lines import LineWriter, write_lines
from deepseek.observe.logs import AccessLog

FIELDS = {
    "route": "/v1/models/M:predict", "method": "POST", "request_id": "order-17", "digest": "abc",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "flags": {("age", "imputed"): 1},
}  # fmt: skip
REQUEST = Event("request", "cancer", "1", 200, num_rows=2, duration_s=0.0015, queue_s=0.0005, fields=FIELDS)
PROBE = Event("request", status=200, fields={"route": "/v2/health/live", "method": "GET", "request_id": "p"})


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def logged(level: str, *events: Event) -> list[dict[str, Any]]:
    stream = io.BytesIO()
    log = AccessLog(level, stream)
    for event in events:
        log.emit(event)
    log.close()
    return lines(stream.getvalue())


def test_a_line_has_the_names_of_the_elastic_common_schema() -> None:
    (line,) = logged("info", REQUEST)
    assert line["http.request.id"] == "order-17"
    assert line["trace.id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert line["event.duration"] == 1_500_000
    assert line["http.response.status_code"] == 200
    assert line["deepseek"]["model.name"] == "cancer"
    assert line["deepseek"]["flagged"] == {"imputed:age": 1}


@pytest.mark.parametrize("with_model", [True, False])
def test_a_line_says_what_its_own_request_was_though_most_of_it_is_made_once_for_all(with_model: bool) -> None:
    name = '100 % "sure"' if with_model else ""
    events = [
        Event("request", name, "%d", 200 + place, place, place / 1e3, place / 1e4,
              {"route": "/v1/%b", "method": "POST", "request_id": f"id-{place}", "client": client})
        for place, client in enumerate(("50%", "50%", "bank"))
    ]  # fmt: skip
    for place, (line, client) in enumerate(zip(logged("debug", *events), ("50%", "50%", "bank"), strict=True)):
        assert (line["http.request.id"], line["user.name"]) == (f"id-{place}", client)
        assert (line["event.action"], line["http.response.status_code"]) == ("/v1/%b", 200 + place)
        assert line["event.duration"] == place * 1_000_000
        if with_model:
            model = line["deepseek"]
            assert (model["model.name"], model["model.version"], model["rows"]) == (name, "%d", place)
            assert model["queue.duration"] == place * 100_000


def test_logs_of_one_server_write_the_same_line_of_a_request(tmp_path: Path) -> None:
    stream = io.BytesIO()
    audit, access = AuditLog(tmp_path / "audit"), AccessLog("info", stream)
    for number in range(3):  # events that are equal, and not the same
        event = Event("request", "cancer", "1", 200, number, 0.001, fields={"method": "POST", "request_id": "a"})
        for log in (audit, access):
            log.emit(event)
    for log in (audit, access):
        log.close()
    written = lines((tmp_path / "audit").read_bytes())
    assert [line["deepseek"]["rows"] for line in written] == [0, 1, 2]
    assert [{**line, "previous.hash.sha256": ""} for line in written] == [
        {**line, "previous.hash.sha256": ""} for line in lines(stream.getvalue())
    ]


@pytest.mark.parametrize(("level", "num_lines"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0), ("off", 0)])
def test_the_level_decides_what_is_written(level: str, num_lines: int) -> None:
    refused = Event("request", "cancer", "1", 422, fields=FIELDS | {"error": "bad_input"})
    assert len(logged(level, PROBE, REQUEST, refused)) == num_lines


def test_a_process_that_died_is_a_warning() -> None:
    event = Event("server", fields={"state": "an engine process died", "engine_pid": 7})
    (line,) = logged("warning", event, Event("server", fields={"state": "started"}))
    assert (line["log.level"], line["deepseek"]["engine_pid"]) == ("warning", 7)


def test_a_bug_of_ours_is_written_with_its_traceback() -> None:
    (line,) = logged("error", Event("request", "cancer", "1", 500, fields=FIELDS | {"traceback": "Traceback ..."}))
    assert (line["log.level"], line["error.stack_trace"]) == ("error", "Traceback ...")


def test_the_audit_log_holds_requests_to_models_only_and_its_chain_holds(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    for _ in range(2):  # the second server continues the file of the first
        log = AuditLog(path)
        for event in (REQUEST, PROBE, REQUEST):
            log.emit(event)
        log.close()
    entries = lines(path.read_bytes())
    assert len(entries) == 4
    assert entries[0]["previous.hash.sha256"] == "0" * 64
    assert check_audit(path) == []


@pytest.mark.parametrize("damage", ["change", "remove", "insert", "garbage"])
def test_a_damaged_audit_log_is_found_and_not_continued(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "audit.ndjson"
    log = AuditLog(path)
    for _ in range(3):
        log.emit(REQUEST)
    log.close()
    rows = path.read_bytes().splitlines(keepends=True)
    rows = {
        "change": [rows[0].replace(b"order-17", b"order-18"), *rows[1:]],
        "remove": [rows[0], rows[2]],
        "insert": [rows[0], rows[0], *rows[1:]],
        "garbage": [*rows, b"not json\n"],
    }[damage]
    path.write_bytes(b"".join(rows))
    assert len(check_audit(path)) == 1
    with pytest.raises(InputError, match="damaged"):
        AuditLog(path)


def test_an_audit_log_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        AuditLog(tmp_path / "no" / "folder.ndjson")


class Disk(io.BytesIO):
    """A stream that takes `room_bytes` and then says that the disk is full."""

    def __init__(self, room_bytes: int) -> None:
        super().__init__()
        self.room_bytes = room_bytes

    def write(self, data: Any) -> int:
        if self.room_bytes == 0:
            raise OSError(28, "No space left on device")
        num_written = super().write(data[: self.room_bytes])
        self.room_bytes -= num_written
        return num_written


def appender(stream: io.BytesIO) -> Any:
    return lambda lines: write_lines(stream, [line.encode() for line in lines])[0]


def test_a_full_disk_loses_lines_and_counts_them() -> None:
    disk = Disk(room_bytes=7)
    writer = LineWriter(appender(disk))
    for _ in range(3):
        writer.write(["line\n"])
    writer.close()
    assert writer.num_lost == 2
    assert disk.getvalue() == b"line\nli"


def test_after_a_line_that_broke_off_the_access_log_begins_a_new_one() -> None:
    disk = Disk(room_bytes=40)
    log = AccessLog("info", disk)
    log.emit(REQUEST)
    wait_until(lambda: log.num_lost == 1)
    disk.room_bytes = 10_000
    log.emit(REQUEST)
    log.close()
    piece, *whole = disk.getvalue().splitlines()
    assert len(piece) == 40
    assert [json.loads(line)["http.request.id"] for line in whole] == ["order-17"]


def test_lines_beyond_the_bound_are_counted_not_waited_for() -> None:
    stream = io.BytesIO()
    writer = LineWriter(appender(stream), max_lines=2)
    for _ in range(50):
        writer.write(["x"])
    writer.close()
    assert len(stream.getvalue()) + writer.num_lost == 50


def wait_until(holds: Callable[[], bool]) -> None:
    stop_s = monotonic() + 60
    while not holds():
        assert monotonic() < stop_s
        sleep(0.01)


def written(path: Path, num_lines: int = 1) -> bytes:
    """An audit log of some lines."""
    log = AuditLog(path)
    for _ in range(num_lines):
        log.emit(REQUEST)
    log.close()
    return path.read_bytes()


@contextmanager
def file_limit(size_bytes: int) -> Iterator[None]:
    """While it lasts no file of this process can grow beyond the size: what a full disk does, byte for byte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_an_audit_line_is_whole_or_not_there_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    before = written(path, 2)
    events: list[Event] = []
    log = AuditLog(path, tell=events.append)
    with file_limit(len(before) + len(before) // 2 + 100):  # room for one line and a piece of the next
        for _ in range(3):
            log.emit(REQUEST)
        wait_until(lambda: log.num_lost == 2)
        assert len(lines(path.read_bytes())) == 3
        log.emit(REQUEST)
        wait_until(lambda: log.num_lost == 3)
    log.emit(REQUEST)
    log.close()
    assert len(lines(path.read_bytes())) == 4
    assert check_audit(path) == []
    assert [event.fields["state"] for event in events] == ["lines are lost", "lines are written again"]
    assert events[0].fields["error"] == "File too large"
    assert logged("error", *events)[0]["deepseek"]["num_lost"] == 2


def test_an_audit_log_on_a_full_disk_closes_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    log = AuditLog(path)
    with file_limit(10):
        log.emit(REQUEST)
        log.close()
    assert path.read_bytes() == b""
    assert log.num_lost == 1


@pytest.mark.parametrize("num_bytes", [1, 5, 40, -2, -1])
def test_an_unfinished_last_line_is_mended_at_the_start(tmp_path: Path, num_bytes: int) -> None:
    path = tmp_path / "audit.ndjson"
    whole = written(path, 2)
    piece = written(tmp_path / "other.ndjson")[:num_bytes]
    path.write_bytes(whole + piece)
    if num_bytes == -1:  # nothing but the end of the line is missing: the line is kept
        path.write_bytes(whole[:-1])
        piece = b""
    assert check_audit(path) == [f"line {2 if num_bytes == -1 else 3} is unfinished"]
    events: list[Event] = []
    log = AuditLog(path, tell=events.append)
    log.emit(REQUEST)
    log.close()
    assert path.read_bytes().startswith(whole)
    assert len(lines(path.read_bytes())) == 3
    assert check_audit(path) == []
    assert [event.fields["num_bytes"] for event in events] == ([len(piece)] if piece else [])


@pytest.mark.parametrize("content", [b"{}", b"notes without an end of line", b"a\nb"])
def test_a_file_of_another_kind_is_refused_as_an_audit_log_and_stays_as_it_was(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        AuditLog(path)
    assert path.read_bytes() == content


def test_a_device_is_no_audit_log() -> None:
    with pytest.raises(InputError, match="no regular file"):
        AuditLog("/dev/full")


def test_the_last_hash_shows_what_the_chain_cannot(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    rows = written(path, 3).splitlines(keepends=True)
    kept = last_hash(path)
    path.write_bytes(b"".join(rows[:2]))
    assert check_audit(path) == []
    assert last_hash(path) != kept
