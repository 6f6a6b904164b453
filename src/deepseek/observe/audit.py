"""The audit log: who asked which model for how many rows, when, and what came of it, as a Sink.

One JSON line per request to a model, only ever appended. Each line carries the hash of the one before it, so a line
that is changed, removed or put in later breaks the chain, and `check_audit` says where. The chain cannot show that
lines at its very end were changed or taken away: compare `last_hash` with one that is kept elsewhere. Values of rows
are not written.

A line is whole or not there. What a full disk took of a line is cut away again, and the chain goes on from the last
whole line; so it does at the start, after a process that was killed while it wrote.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from deepseek.contracts import Event
from deepseek.errors import InputError
from deepseek.observe.ecs import REQUEST_LINES
from deepseek.observe.lines import LineWriter, write_lines

FIRST_HASH = "0" * 64
LINE_PREFIX = b'{"@timestamp":"'  # of every line, so that nothing is ever cut away from another kind of file


class AuditLog:
    """Appends to `path`; a file that exists is continued, chain included."""

    def __init__(self, path: str | Path, *, tell: Callable[[Event], None] = lambda _: None) -> None:
        """`tell` is called when lines begin to be lost, when they are written again, and for what is cut away at the
        start.

        InputError for a file that cannot be written, and for one that is no whole audit log.
        """
        self._path = Path(path)
        self._tell = tell
        self._piece_bytes = 0  # of a line that broke off, at the end of the file
        self._is_failing = False
        try:
            self._hash, self._piece_bytes = _resume_chain(self._path)
            self._stream = self._path.open("ab", buffering=0)
            if self._piece_bytes:
                tell(self._event(state="an unfinished line is cut away", num_bytes=self._piece_bytes))
                self._cut()
        except OSError as error:
            raise InputError(
                f"the audit log {path} cannot be written: {error.strerror}",
                expected="a file in a folder that exists and may be written",
                fix="name another file, or make the folder",
            ) from error
        self._writer = LineWriter(self._append, max_lines=1_000_000, name="audit-log")

    @property
    def num_lost(self) -> int:
        """Lines that could not be written (a full disk)."""
        return self._writer.num_lost

    def emit(self, event: Event) -> None:
        if event.kind == "request" and event.model_name and event.fields.get("method") == "POST":
            self._writer.put(REQUEST_LINES.line(event))

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._writer.close()
        with contextlib.suppress(OSError):  # an error so late was reported before, and every lost line is counted
            self._stream.close()

    def _append(self, entries: Sequence[bytes]) -> int:
        """Write a line per entry, with the hash of the one before; the chain moves on by those that stand whole in the
        file."""
        lines, hashes = [], [self._hash]
        for entry in entries:
            line = _append_hash(entry, hashes[-1])
            hashes.append(hashlib.sha256(line).hexdigest())
            lines.append(line + b"\n")
        num_whole = 0
        try:
            self._cut()
            num_whole, self._piece_bytes, write_error = write_lines(self._stream, lines)
            self._cut()
        except OSError as error:  # the piece is still there, and is cut away before anything else is written
            write_error = error
        self._hash = hashes[num_whole]
        self._report(write_error, len(lines) - num_whole)
        return num_whole

    def _cut(self) -> None:
        if self._piece_bytes:
            os.ftruncate(self._stream.fileno(), os.fstat(self._stream.fileno()).st_size - self._piece_bytes)
            self._piece_bytes = 0

    def _report(self, write_error: OSError | None, num_lost: int) -> None:
        """Tell once when lines begin to be lost, and once when they are written again."""
        if write_error is not None and not self._is_failing:
            reason = write_error.strerror or str(write_error)
            self._tell(self._event(state="lines are lost", error=reason, num_lost=self.num_lost + num_lost))
        elif write_error is None and self._is_failing:
            self._tell(self._event(state="lines are written again", num_lost=self.num_lost))
        self._is_failing = write_error is not None

    def _event(self, **fields: object) -> Event:
        return Event("server", fields={"audit_log": str(self._path), **fields})


def check_audit(path: str | Path) -> list[str]:
    """Problems of an audit log in words, [] when the chain holds."""
    return _chain_problems(Path(path).read_bytes())


def last_hash(path: str | Path) -> str:
    """The hash of the last whole line, which the next one must carry; kept elsewhere, it proves where the log ended."""
    return _last_hash(Path(path).read_bytes())


def _chain_problems(data: bytes) -> list[str]:
    last = FIRST_HASH
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            previous = json.loads(line)["previous.hash.sha256"]
        except (ValueError, KeyError, TypeError):
            return [f"line {number} is no line of an audit log"]
        if previous != last:
            return [f"line {number} does not follow the line before it: one was changed, removed or put in"]
        last = hashlib.sha256(line).hexdigest()
    return [f"line {len(lines)} is unfinished"] if lines[-1] else []


def _last_hash(data: bytes) -> str:
    lines = data.split(b"\n")[:-1]
    return hashlib.sha256(lines[-1]).hexdigest() if lines else FIRST_HASH


def _resume_chain(path: Path) -> tuple[str, int]:
    """The hash that the next line must carry, and how many bytes of an unfinished line stand at the end of the file.

    A line that lacks nothing but its end of line gets it. InputError when the chain does not hold, or when the end is
    not the beginning of a line of ours.
    """
    if not path.exists():
        return FIRST_HASH, 0
    if not path.is_file():  # a pipe or a device cannot be read again, so no chain could go on
        raise InputError(f"the audit log {path} is no regular file", expected="a file", fix="name another one")
    data = path.read_bytes()
    whole, newline, piece = data.rpartition(b"\n")
    problems = _chain_problems(whole + newline)
    if not problems and piece[: len(LINE_PREFIX)] != LINE_PREFIX[: len(piece)]:
        problems = _chain_problems(data)
    if problems:
        raise InputError(
            f"the audit log {path} is damaged: {problems[0]}",
            expected="a file whose every line carries the hash of the one before it",
            fix="keep it, and name another file",
        )
    if piece and not _chain_problems(data + b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")
        return _last_hash(data + b"\n"), 0
    return _last_hash(data), len(piece)


def _append_hash(line: bytes, previous_hash: str) -> bytes:
    return b'%b,"previous.hash.sha256":"%b"}' % (line[:-1], previous_hash.encode())
