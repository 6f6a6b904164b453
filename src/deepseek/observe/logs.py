"""The access log: one JSON line per request on stderr, as a Sink."""

from __future__ import annotations

import sys
from time import time
from typing import BinaryIO

import msgspec

from deepseek.contracts import Event
from deepseek.observe.ecs import level_of, request_line, timestamp
from deepseek.observe.lines import LineWriter

LEVELS = ("debug", "info", "warning", "error", "off")
_encode = msgspec.json.Encoder().encode


class AccessLog:
    """Writes what has at least `level`. Lines are made and written in a thread; emitting costs one append."""

    def __init__(self, level: str = "info", stream: BinaryIO | None = None) -> None:
        self._rank = LEVELS.index(level)
        self._writer = LineWriter(stream or sys.stderr.buffer, _line, name="access-log")

    def emit(self, event: Event) -> None:
        if event.kind in ("request", "server", "model") and LEVELS.index(level_of(event)) >= self._rank:
            self._writer.write((event, time()))

    @property
    def num_lost(self) -> int:
        """Lines that could not be written (a closed pipe)."""
        return self._writer.num_lost

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()


def _line(entry: tuple[Event, float]) -> bytes:
    event, epoch_s = entry
    if event.kind == "request":
        return _encode(request_line(event, epoch_s)) + b"\n"
    line = {
        "@timestamp": timestamp(epoch_s),
        "log.level": "info",
        "event.action": event.kind,
        "service.name": "deepseek",
    }
    return _encode(line | {"deepseek": {"model.name": event.model_name, **event.fields}}) + b"\n"
