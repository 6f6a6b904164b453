"""The access log: one JSON line per request on stderr, as a Sink."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from time import time

import msgspec

from deepseek.contracts import Event
from deepseek.observe.ecs import REQUEST_LINES, log_level, request_level, timestamp
from deepseek.observe.lines import LineWriter, RawStream, write_lines

LEVELS = ("debug", "info", "warning", "error", "off")
_encode = msgspec.json.Encoder().encode


class AccessLog:
    """Writes events of at least `level`, in a thread of its own. Who emits makes the line: made in the thread, many
    together, they would take Python's lock from the event loop for milliseconds, and events that wait would take memory
    that no cache holds."""

    def __init__(self, level: str = "info", stream: RawStream | None = None) -> None:
        self._levels = frozenset(LEVELS[LEVELS.index(level) :])
        self._stream = stream or _open_stderr()
        self._ends_in_piece = False  # whether the stream ends in a piece of a line
        self._writer = LineWriter(self._append, name="access-log")

    def emit(self, event: Event) -> None:
        if event.kind == "request":
            if request_level(event.status, bool(event.model_name)) in self._levels:
                self._writer.put(REQUEST_LINES.line(event) + b"\n")
        elif event.kind in ("server", "model") and log_level(event) in self._levels:
            self._writer.put(_event_line(event, time()))

    @property
    def num_lost(self) -> int:
        """Lines that could not be written (a closed pipe)."""
        return self._writer.num_lost

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()

    def _append(self, lines: Sequence[bytes]) -> int:
        if self._ends_in_piece:  # nothing can be taken back from a pipe, but the next line can stand alone
            lines = [b"\n" + lines[0], *lines[1:]]
        num_whole, num_bytes, _ = write_lines(self._stream, lines)
        if num_whole or num_bytes:
            self._ends_in_piece = num_bytes > 0
        return num_whole


def _open_stderr() -> RawStream:
    """stderr without Python's buffer, which would try a refused line again and fail at the end of the process."""
    target = os.devnull if sys.stderr is None else sys.stderr.fileno()
    return open(target, "wb", buffering=0, closefd=sys.stderr is None)


def _event_line(event: Event, epoch_s: float) -> bytes:
    line = {
        "@timestamp": timestamp(epoch_s),
        "log.level": log_level(event),
        "event.action": event.kind,
        "service.name": "deepseek",
    }
    return _encode(line | {"deepseek": {"model.name": event.model_name, **event.fields}}) + b"\n"
