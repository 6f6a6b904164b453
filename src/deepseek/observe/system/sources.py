"""Files of events -> SystemEvents, with bounded memory: a line at a time, and only what is trouble is kept.

What form a line has is seen by the line itself, so that files of several forms may be given together. Events of
Kubernetes come as one JSON document, which is read whole up to MAX_DOCUMENT_BYTES.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from deepseek.errors import InputError, MissingError
from deepseek.observe.system.containers import read_container_event, read_kubernetes_event
from deepseek.observe.system.events import SystemEvent
from deepseek.observe.system.journal import JOURNAL_TIME, read_ecs_entry, read_journal_entry, read_syslog_line

MAX_LINE_BYTES = 1 << 20
MAX_DOCUMENT_BYTES = 64 << 20
MAX_EVENTS = 5_000  # that are kept; of more the last ones
MAX_FILES = 1_000
STDIN = "-"
#: What reading strange JSON may raise.
BROKEN = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, OSError)


@dataclass(slots=True)
class SystemEvents:
    """Events by their time, and what was not as it should be."""

    events: list[SystemEvent] = field(default_factory=list)
    num_lines: int = 0
    num_broken: int = 0  # lines of no form that is known
    num_dropped: int = 0  # events beyond MAX_EVENTS


def read_events(paths: Sequence[Path]) -> SystemEvents:
    """The events of files and folders; "-" is the standard input. MissingError for a path that is not there, InputError
    where nothing in them is of a form that is known."""
    result = SystemEvents()
    for path in _list_files(paths):
        try:
            with _open(path) as file:
                _read_file(file, _latest_s(path), result)
        except (EOFError, OSError, gzip.BadGzipFile):  # it breaks off: what was read counts
            result.num_broken += 1
    result.events.sort(key=lambda event: event.time_s)
    _drop_oldest(result, MAX_EVENTS)
    if result.num_broken >= max(1, result.num_lines) and not result.events:
        names = ", ".join(map(str, paths))
        raise InputError(
            f"{names}: none of {result.num_lines} lines has a form that is known",
            expected="journalctl -o json, syslog, docker events as JSON, or kubectl get events -o json",
            fix="give such a file, or leave --system out",
        )
    return result


def _list_files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if str(path) == STDIN:
            yield path
        elif path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.is_file() and each.stat().st_size)[:MAX_FILES]
        elif path.exists():
            yield path
        else:
            raise MissingError(
                f"{path}: there is no such file or folder", expected="a log of the system",
                fix="for example --system <(journalctl -o json), or a file of it",
            )  # fmt: skip


def _open(path: Path) -> IO[bytes]:
    if str(path) == STDIN:
        return sys.stdin.buffer
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _latest_s(path: Path) -> float:
    """When the file was last written: none of its lines is later."""
    from time import time

    return path.stat().st_mtime if path.is_file() else time()


def _read_file(file: IO[bytes], latest_s: float, result: SystemEvents) -> None:
    first = file.readline(MAX_LINE_BYTES)
    if first.lstrip()[:1] in (b"{", b"[") and not _is_whole_json(first):
        _read_document(first, file, result)
        return
    line = first
    while line:
        if line.strip():
            _take_line(line, latest_s, result)
        while line and not line.endswith(b"\n"):  # the rest of a line that is too long
            line = file.readline(MAX_LINE_BYTES)
        line = file.readline(MAX_LINE_BYTES)


def _is_whole_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except BROKEN:
        return False
    return True


def _read_document(first: bytes, file: IO[bytes], result: SystemEvents) -> None:
    """One JSON document of several lines: events of Kubernetes."""
    text = first + file.read(MAX_DOCUMENT_BYTES)
    if file.read(1):
        raise InputError(
            f"a document of events has more than {MAX_DOCUMENT_BYTES >> 20} MiB", expected="a smaller one",
            fix="kubectl get events -o json --field-selector type=Warning",
        )  # fmt: skip
    try:
        _take_document(json.loads(text), result)
    except BROKEN:
        result.num_lines += 1
        result.num_broken += 1


def _take_line(line: bytes, latest_s: float, result: SystemEvents) -> None:
    text = line.decode("utf-8", "replace").replace("\x00", " ").strip()
    result.num_lines += 1
    try:
        if text.startswith("{"):
            document = json.loads(text)
            if "items" in document or document.get("kind") == "Event":
                result.num_lines -= 1
                _take_document(document, result)
                return
            event = _read_json(document)
        else:
            event = read_syslog_line(text, latest_s)
    except BROKEN:
        result.num_broken += 1
        return
    _keep(event, result)


def _read_json(document: Any) -> SystemEvent | None:
    """What a line of JSON tells, by the form that it has."""
    if JOURNAL_TIME in document:
        return read_journal_entry(document)
    return read_ecs_entry(document) if "@timestamp" in document else read_container_event(document)


def _take_document(document: Any, result: SystemEvents) -> None:
    items = document.get("items", [document]) if isinstance(document, dict) else document
    for item in items:
        result.num_lines += 1
        try:
            _keep(read_kubernetes_event(item), result)
        except BROKEN:
            result.num_broken += 1


def _keep(event: SystemEvent | None, result: SystemEvents) -> None:
    if event is not None:
        result.events.append(event)
        if len(result.events) >= 2 * MAX_EVENTS:
            result.events.sort(key=lambda each: each.time_s)
            _drop_oldest(result, MAX_EVENTS)


def _drop_oldest(result: SystemEvents, most: int) -> None:
    excess = len(result.events) - most
    if excess > 0:
        del result.events[:excess]
        result.num_dropped += excess
