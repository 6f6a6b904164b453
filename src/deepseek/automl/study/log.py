"""The log of a study: one JSON object a line, only ever appended to, on the disk before anybody is answered.

    with open_log(folder) as log:          # one writer at a time; a second waits
        log.entries                        # everything so far
        log.append(Entry(event="tell", trial=3, values={"yield": 81.2}))

A process that is killed in the middle of a line leaves a line that is cut; the next one sets it aside beside the log
and goes on. What was answered before is whole: the line is synced to the disk first.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal, get_args

from deepseek.automl.study.space import Value
from deepseek.errors import BusyError, InputError, MalformedError, StorageError

LOG_NAME, LOCK_NAME = "log.ndjson", ".lock"
MOST_BYTES = 256 * 2**20
MOST_WAIT_S = 120.0  # for another who asks or tells
Event = Literal["ask", "tell", "correct", "fail", "history", "undo"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `ask` has a recipe and why; `tell` and `correct` values; `fail` a reason; `history` both. `undo` takes
    back what was said of the trial last."""

    event: Event
    trial: int = 0  # from 1; of a line of history, too
    recipe: Mapping[str, Value] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    chance: float | None = None
    time: str = ""  # UTC, ISO 8601

    def to_line(self) -> bytes:
        """With the newline, and without fields that are empty."""
        table = {key: value for key, value in asdict(self).items() if value not in ("", {}, None)}
        return json.dumps(table, ensure_ascii=False, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """ValueError for what is no entry."""
        table = json.loads(line)
        entry = cls(**table) if isinstance(table, dict) else None
        if entry is None or entry.event not in get_args(Event) or not isinstance(entry.trial, int):
            raise ValueError("no entry")
        return entry


class Log:
    """An open log, with its lock. `entries` grows by `append`."""

    def __init__(self, path: Path, file: IO[bytes], entries: list[Entry], warnings: tuple[str, ...]) -> None:
        self.path, self.entries, self.warnings = path, entries, warnings
        self._file = file

    def append(self, *entries: Entry) -> None:
        """All of the entries or, where the disk does not take them, none: StorageError."""
        stamped = [_stamp(entry) for entry in entries]
        start = self._file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(b"".join(entry.to_line() for entry in stamped))
            while rest:  # a disk that is nearly full takes a part, then refuses
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), start)
            raise StorageError(
                f"{self.path} cannot be written: {error.strerror}", expected="room on the disk",
                fix="free some, then say it again: nothing of this was kept",
            ) from error  # fmt: skip
        self.entries.extend(stamped)


@contextlib.contextmanager
def open_log(folder: Path) -> Iterator[Log]:
    """The log in a study's folder, locked until the end of the block. BusyError when others hold it for too long."""
    try:
        with (folder / LOCK_NAME).open("ab") as lock:
            _wait_for(lock, folder)
            path = folder / LOG_NAME
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                entries, warnings = _read(path, file)
                yield Log(path, file, entries, warnings)
    except PermissionError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror}", expected="a folder of your own", fix="mend its rights"
        ) from error


def read_log(folder: Path) -> list[Entry]:
    """Everything in the log, without changing anything. A last line that is cut is left out."""
    path = folder / LOG_NAME
    if not path.is_file():
        return []
    with path.open("rb") as file:
        return _parse(path, file.read(MOST_BYTES))[0]


def _wait_for(lock: IO[bytes], folder: Path) -> None:
    deadline = time.monotonic() + MOST_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise BusyError(
                    f"{folder} is held by another process", expected="that it is done within two minutes",
                    fix="try again; end the process that holds it",
                ) from None  # fmt: skip
            time.sleep(0.01)


def _read(path: Path, file: IO[bytes]) -> tuple[list[Entry], tuple[str, ...]]:
    """All entries; a last line that is cut is moved to a file beside the log."""
    data = file.read(MOST_BYTES)
    entries, whole = _parse(path, data)
    rest = data[whole:]
    if not rest:
        return entries, ()
    aside = path.with_name(f"{path.name}.cut")
    with aside.open("ab") as cut:
        cut.write(rest + b"\n")
        os.fsync(cut.fileno())
    os.ftruncate(file.fileno(), whole)
    os.fsync(file.fileno())
    return entries, (f"the last line of {path.name} was cut, by a process that was killed; it is now in {aside.name}",)


def _parse(path: Path, data: bytes) -> tuple[list[Entry], int]:
    """The entries, and up to which byte the lines are whole."""
    whole = data.rfind(b"\n") + 1
    entries = []
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            entries.append(Entry.from_line(line))
        except (ValueError, TypeError) as error:
            raise MalformedError(
                f"line {number} of {path} is damaged", expected="one JSON object, as it was written",
                fix="mend that line by hand, or take it out; every other line stands by itself",
            ) from error  # fmt: skip
    return entries, whole


def _stamp(entry: Entry) -> Entry:
    from dataclasses import replace

    return entry if entry.time else replace(entry, time=datetime.now(UTC).isoformat(timespec="seconds"))
