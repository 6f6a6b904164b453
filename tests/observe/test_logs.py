"""The access log and the audit log: what a line says, and what becomes of it when the disk fails."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from deepseek.contracts import Event
from deepseek.errors import InputError
from deepseek.observe.audit import AuditLog, check_audit
from deepseek.observe.lines import LineWriter
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


@pytest.mark.parametrize(("level", "num_lines"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0), ("off", 0)])
def test_the_level_decides_what_is_written(level: str, num_lines: int) -> None:
    refused = Event("request", "cancer", "1", 422, fields=FIELDS | {"error": "bad_input"})
    assert len(logged(level, PROBE, REQUEST, refused)) == num_lines


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
    found = lines(path.read_bytes())
    assert len(found) == 4
    assert found[0]["previous.hash.sha256"] == "0" * 64
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


class FullDisk(io.BytesIO):
    def write(self, data: Any) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_loses_lines_and_counts_them() -> None:
    writer = LineWriter(FullDisk(), str.encode)
    for _ in range(3):
        writer.write("line")
    writer.close()
    assert writer.num_lost == 3


def test_lines_beyond_the_bound_are_counted_not_waited_for() -> None:
    stream = io.BytesIO()
    writer = LineWriter(stream, str.encode, max_lines=2)
    for _ in range(50):
        writer.write("x")
    writer.close()
    assert len(stream.getvalue()) + writer.num_lost == 50
