"""One connection that carries events out and decisions back at the same time, for as long as there are events.

    for decision in DecisionStream(connection, path, headers).run(events): ...

Lines in chunks, as the server answers them (decision 0024). One thread goes through the events, another sends what has
come meanwhile: an event that comes alone goes alone, many go together, and whoever makes the next event of the last
decision waits for nothing. The thread that asks for decisions reads them.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from deepseek.client.answers import parse_body
from deepseek.client.attempts import TRANSPORT_ERRORS
from deepseek.client.decisions import EventDecision, encode_line, read_decision
from deepseek.client.errors import UnreachableError, error_from_body
from deepseek.client.timed import DeadlineConnection
from deepseek.errors import DeadlineError

MAX_WAITING = 8_192  # events that were taken and not yet sent
MAX_CHUNK_LINES = 512
END = b""  # behind the last line


class StreamConnection(DeadlineConnection):
    """A connection without an end in sight: each wait for the server has the same limit. None: none."""

    wait_s: float | None = None

    def left_s(self) -> float | None:
        """Seconds for the next wait."""
        return self.wait_s


class ErrorKeeper:
    """Keeps what is raised in it, for another thread to raise."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True


class DecisionStream:
    """Used once. `connection` is closed at its end."""

    def __init__(self, connection: StreamConnection, path: str, headers: Mapping[str, str]) -> None:
        self._connection, self._path, self._headers = connection, path, headers
        self._lines: queue.Queue[bytes] = queue.Queue(MAX_WAITING)
        self._num_taken = 0
        self._source = ErrorKeeper()  # around the events

    def run(self, events: Iterable[Any]) -> Iterator[EventDecision]:
        """A decision for each event, in their order. What iterating over the events raises is raised here, behind the
        decisions that have come; InputError for an event that cannot be sent, the server's error where it refuses the
        stream or cannot go on, DeadlineError, UnreachableError."""
        try:
            self._open()
            for work in (lambda: self._take(events), self._send):
                threading.Thread(target=work, daemon=True, name="events").start()
            response = self._connection.getresponse()
            if response.status >= 400:
                raise error_from_body(response.status, response.read(), self._path)
            number = 0
            while line := response.readline():
                yield parse_body(read_decision, line)
                number += 1
            if self._source.error is not None:
                raise self._source.error
            if number < self._num_taken:
                raise _broken_error(f"the stream ended after {number} of {self._num_taken} events")
        except TimeoutError as error:
            raise DeadlineError(
                f"no decision came for {self._connection.wait_s:g} s", expected="an answer in time",
                fix="give a longer timeout_s, or None for events that come seldom",
            ) from error  # fmt: skip
        except TRANSPORT_ERRORS as error:
            raise self._source.error or _broken_error(str(error)[:200] or type(error).__name__) from error
        finally:
            self._close()

    def _open(self) -> None:
        self._connection.connect()
        self._connection.auto_open = 0  # what is sent behind its end must open no other
        self._connection.putrequest("POST", self._path)
        for name, value in self._headers.items():
            self._connection.putheader(name, value)
        self._connection.putheader("transfer-encoding", "chunked")
        self._connection.endheaders()

    def _take(self, events: Iterable[Any]) -> None:
        """Puts the lines of events into the queue, then END."""
        with self._source:
            for event in events:
                line = encode_line(event)
                self._num_taken += 1
                self._lines.put(line)
        self._lines.put(END)

    def _send(self) -> None:
        """Sends what is in the queue, in chunks, to its END."""
        try:
            while (line := self._lines.get()) != END:
                lines = [line]
                while len(lines) < MAX_CHUNK_LINES and not self._lines.empty():
                    if (line := self._lines.get()) == END:
                        break
                    lines.append(line)
                chunk = b"\n".join(lines) + b"\n"
                self._connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                if line == END:
                    break
            self._connection.send(b"0\r\n\r\n")
        except TRANSPORT_ERRORS:  # the thread that reads says what became of the stream
            self._discard()

    def _discard(self) -> None:
        """Empties the queue, so that whoever goes through the events ends."""
        while self._lines.get() != END:
            pass

    def _close(self) -> None:
        """Ends the connection, which ends who sends."""
        stream: Any = self._connection.sock
        if stream is not None:
            with contextlib.suppress(OSError):  # it is closed already
                stream.stop_transfer()
        self._connection.close()


def _broken_error(what: str) -> UnreachableError:
    return UnreachableError(
        what, expected="a stream that stays open",
        fix="send the events without a decision again: one that is known by its id gets the decision of then",
    )  # fmt: skip
