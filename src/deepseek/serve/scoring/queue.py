"""Events of many requests together: scored one after the other, synced to the disk once, then answered.

    queue = ScoringQueue(scorer, max_rows=32_768)
    queue.score(raw, on_scored)        # on_scored(part or error), once, later
    queue.label(raw, on_labeled)       # on_labeled(status or error)

What comes while the disk is busy is the next group (group commit): the slower the disk, the larger the groups. Nothing
is answered before it is on the disk, so nothing that was acknowledged is lost. The store is touched by one thread at a
time: a group begins when the one before it is on the disk.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

from deepseek.errors import BusyError, InputError
from deepseek.serve.core.request import JSON_TYPE
from deepseek.serve.scoring.reading import RawRows, join_raw
from deepseek.serve.scoring.scorer import EventScorer, ScoredEvents
from deepseek.serve.scoring.writing import answer_rows

#: Events up to which a group is scored in the event loop: about 3 ms.
INLINE_EVENTS = 512


class ScoredPart(NamedTuple):  # a frozen dataclass costs 1.5 us more, one for each request
    """The events `start` to `stop` of a group, which are those of one request. `rows`: of the group, as JSON.
    `has_alerts`: whether one of the request's is an alert."""

    scored: ScoredEvents
    rows: list[bytes]
    start: int
    stop: int
    has_alerts: bool


OnScored: TypeAlias = Callable[["ScoredPart | Exception"], None]
OnLabeled: TypeAlias = Callable[["list[int] | Exception"], None]


class _Waiting(NamedTuple):
    rows: RawRows | bytes  # bytes: one record that is not parsed yet
    deliver: Callable[[Any], None]
    is_verdict: bool


class ScoringQueue:
    """What waits to be scored or labeled by one scorer. Used in the thread of one event loop."""

    def __init__(self, scorer: EventScorer, max_rows: int) -> None:
        """`max_rows`: events that may wait; further ones are refused."""
        self.scorer = scorer
        self._max_rows = max_rows
        self._num_rows = 0  # of what waits
        self._waiting: list[_Waiting] = []
        self._is_working = False
        self._thread = ThreadPoolExecutor(1, "state")
        self.num_groups = 0  # that were synced, for who measures

    def score(self, rows: RawRows | bytes, on_scored: OnScored) -> None:
        """Score events, or the one record that a body is: those of a group are parsed together. BusyError at once when
        too many wait."""
        self._add(_Waiting(rows, on_scored, is_verdict=False), _count(rows))

    def label(self, raw: RawRows, on_labeled: OnLabeled) -> None:
        """Take verdicts. BusyError at once when too many wait."""
        self._add(_Waiting(raw, on_labeled, is_verdict=True), len(raw))

    def close(self) -> None:
        """Close the scorer; nothing waits any more."""
        self._thread.shutdown()
        self.scorer.close()

    def _add(self, waiting: _Waiting, num_rows: int) -> None:
        if self._num_rows + num_rows > self._max_rows:
            raise BusyError(
                f"{self._num_rows} events wait",
                expected=f"at most {self._max_rows}",
                fix="send them again a little later",
            )
        self._num_rows += num_rows
        self._waiting.append(waiting)
        if not self._is_working:
            self._is_working = True
            asyncio.get_running_loop().call_soon(self._start_group)

    def _start_group(self) -> None:
        group, self._waiting = self._waiting, []
        num_rows, self._num_rows = self._num_rows, 0
        loop = asyncio.get_running_loop()
        if num_rows <= INLINE_EVENTS:
            answers = self._answer(group)
            work = loop.run_in_executor(self._thread, self._sync, answers)
        else:
            work = loop.run_in_executor(self._thread, self._answer_and_sync, group)
        work.add_done_callback(lambda done: self._finish_group(group, done))

    def _finish_group(self, group: Sequence[_Waiting], done: asyncio.Future[list[Any]]) -> None:
        error = done.exception()
        answers = [error] * len(group) if error is not None else done.result()
        self.num_groups += 1
        if self._waiting:  # before the answers, so that the disk is busy while they are sent
            asyncio.get_running_loop().call_soon(self._start_group)
        else:
            self._is_working = False
        for waiting, answer in zip(group, answers, strict=True):
            waiting.deliver(answer)

    def _answer_and_sync(self, group: Sequence[_Waiting]) -> list[Any]:
        return self._sync(self._answer(group))

    def _sync(self, answers: list[Any]) -> list[Any]:
        self.scorer.sync()
        return answers

    def _answer(self, group: Sequence[_Waiting]) -> list[Any]:
        """The answer, or the error, of each; verdicts and events in the order in which they came."""
        answers: list[Any] = []
        for is_verdict, run in itertools.groupby(group, lambda waiting: waiting.is_verdict):
            answers += self._answer_run([waiting.rows for waiting in run], self._label if is_verdict else self._score)
        return answers

    def _answer_run(self, parts: list[Any], answer: Callable[[list[Any]], list[Any]]) -> list[Any]:
        """Answers parts together; where one of them is at fault each by itself, to say which. InputError changes no
        state."""
        try:
            return answer(parts)
        except InputError as error:
            if len(parts) == 1:
                return [error]
        except Exception as error:  # noqa: BLE001  (a bug of ours is answered as such, and must not end the server)
            return [error] * len(parts)
        return list(itertools.chain.from_iterable(self._answer_run([part], answer) for part in parts))

    def _score(self, parts: list[RawRows | bytes]) -> list[Any]:
        scored = self.scorer.score(self._read(parts))
        rows = answer_rows(scored)
        if len(parts) == len(scored):  # one event each
            return [
                ScoredPart(scored, rows, row, row + 1, is_alert)
                for row, is_alert in enumerate(scored.is_alert.tolist())
            ]
        stops = list(itertools.accumulate(map(_count, parts)))
        starts = [0, *stops[:-1]]
        return [
            ScoredPart(scored, rows, start, stop, bool(scored.is_alert[start:stop].any()))
            for start, stop in zip(starts, stops, strict=True)
        ]

    def _label(self, parts: list[RawRows]) -> list[Any]:
        status = self.scorer.label(join_raw(parts)).tolist()
        stops = itertools.accumulate(map(len, parts))
        return [status[stop - len(part) : stop] for part, stop in zip(parts, stops, strict=True)]

    def _read(self, parts: list[RawRows | bytes]) -> RawRows:
        """All events in their order. InputError where a record does not parse."""
        reader = self.scorer.reader
        if len(parts) == 1 and isinstance(parts[0], bytes):
            return reader.read(parts[0], JSON_TYPE, 1)
        joined: list[RawRows] = []
        bodies: list[bytes] = []  # that follow each other
        for part in parts:
            if isinstance(part, bytes):
                bodies.append(part)
                continue
            if bodies:
                joined.append(reader.read_records(bodies))
                bodies = []
            joined.append(part)
        return join_raw([*joined, reader.read_records(bodies)] if bodies else joined)


def _count(rows: RawRows | bytes) -> int:
    return 1 if isinstance(rows, bytes) else len(rows)
