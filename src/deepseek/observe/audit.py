"""The audit log: who asked which model for how many rows, when, and what came of it, as a Sink.

One JSON line per request to a model, only ever appended. Each line carries the hash of the one before it, so a line
that is changed, removed or put in later breaks the chain, and `check_audit` says where. Values of rows are not written.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from time import time
from typing import Any, BinaryIO

import msgspec

from deepseek.contracts import Event
from deepseek.errors import InputError
from deepseek.observe.ecs import request_line
from deepseek.observe.lines import LineWriter

START = "0" * 64
_encode = msgspec.json.Encoder().encode


class AuditLog:
    """Appends to `path`; a file that exists is continued, chain included."""

    def __init__(self, path: str | Path) -> None:
        try:
            self._hash = last_hash(Path(path))
            self._stream: BinaryIO = Path(path).open("ab")  # noqa: SIM115  (open for as long as the server)
        except OSError as error:
            raise InputError(f"the audit log {path} cannot be written: {error.strerror}") from error
        self._writer = LineWriter(self._stream, self._line, max_lines=1_000_000, name="audit-log")

    @property
    def num_lost(self) -> int:
        """Lines that could not be written (a full disk)."""
        return self._writer.num_lost

    def emit(self, event: Event) -> None:
        if event.kind == "request" and event.model_name and event.fields.get("method") == "POST":
            self._writer.write((event, time()))

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._writer.close()
        self._stream.close()

    def _line(self, entry: tuple[Event, float]) -> bytes:
        event, epoch_s = entry
        line = _chained(request_line(event, epoch_s), self._hash)
        self._hash = hashlib.sha256(line).hexdigest()
        return line + b"\n"


def check_audit(path: str | Path) -> list[str]:
    """Problems of an audit log in words, [] when the chain holds."""
    before = START
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            said = json.loads(line)["previous.hash.sha256"]
        except (ValueError, KeyError, TypeError):
            return [f"line {number} is no line of an audit log"]
        if said != before:
            return [f"line {number} does not follow the line before it: one was changed, removed or put in"]
        before = hashlib.sha256(line).hexdigest()
    return []


def last_hash(path: Path) -> str:
    """The hash that the next line must carry. InputError when the chain of the file does not hold."""
    if not path.exists():
        return START
    problems = check_audit(path)
    if problems:
        raise InputError(f"the audit log {path} is damaged: {problems[0]}", fix="keep it, and name another file")
    lines = path.read_bytes().splitlines()
    return hashlib.sha256(lines[-1]).hexdigest() if lines else START


def _chained(line: dict[str, Any], before: str) -> bytes:
    return _encode(line | {"previous.hash.sha256": before})
