"""Events of many requests together: scored one after the other, synced to the disk once, then answered.

    queue = ScoringQueue(scorer, max_rows=32_768)
    queue.score(raw, on_scored)        # on_scored(part or error), once, later
    queue.label(raw, on_labeled)       # on_labeled(status or error)
    queue.answer(lines, on_answered)   # on_answered(answers or error): events and verdicts, as they come by a stream

    queue = ScoringQueue(fleet, max_rows, messages=fleet)      # another state, whose rows are answered one by one
    queue.answer_rows(raw, on_answered)

One thread scores, another writes the answers of the group before, explains its alerts, all together, and syncs it: what
both compute is compiled, so that two cores work. What comes while the disk is busy is the next group (group commit):
the slower the disk, the larger the groups. A group begins when the one before it is on the disk, or with MIN_OVERLAPPED
events when that one is scored: smaller ones cost more than they gain. Nothing is answered before it is on the disk, so
nothing that was acknowledged is lost. The store is touched by one thread at a time, and groups keep their order.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

import numpy as np

from deepseek.errors import BusyError, InputError
from deepseek.serve.core.request import JSON_TYPE
from deepseek.serve.scoring.messages import StreamScorer
from deepseek.serve.scoring.reading import RawRows, join_raw
from deepseek.serve.scoring.reasons import AlertExplainer
from deepseek.serve.scoring.scorer import EventScorer, ScoredEvents
from deepseek.serve.scoring.writing import add_reasons, answer_rows

LOG = logging.getLogger(__name__)
#: Requests of one event up to which a group is scored in the event loop: about 3 ms.
INLINE_EVENTS = 512
#: Events that wait from which on a group is scored while the one before it is synced.
MIN_OVERLAPPED = 512
#: Alerts of one request that are explained; a body of which more are alerts is no stream of payments.
MAX_EXPLAINED = 64


class ScoredPart(NamedTuple):  # a frozen dataclass costs 1.5 us more, one for each request
    """The events `start` to `stop` of a group, which are those of one request. `rows`: of the group, as JSON, which are
    there once it is synced. `reasons`: of alerts of the group by their row, as JSON."""

    scored: ScoredEvents
    rows: list[bytes]
    start: int
    stop: int
    reasons: dict[int, bytes]


OnScored: TypeAlias = Callable[["ScoredPart | Exception"], None]
OnLabeled: TypeAlias = Callable[["list[int] | Exception"], None]
OnAnswered: TypeAlias = Callable[["list[bytes] | Exception"], None]


class _Waiting(NamedTuple):
    rows: RawRows | bytes | list[bytes]  # bytes: one record that is not parsed yet; a list: messages of a stream
    deliver: Callable[[Any], None]
    answer: Callable[[list[Any]], list[Any]]  # the answer to each of several `rows`


class StateScorer(Protocol):
    """What a queue asks of whoever keeps a state."""

    def save(self) -> None: ...

    def close(self) -> None: ...

    @property
    def store(self) -> Any:
        """What flush() brings to the disk."""
        ...


class RowAnswerer(Protocol):
    """Answers rows and messages one by one, each by one line of JSON."""

    def answer(self, bodies: Sequence[bytes]) -> list[bytes]: ...

    def answer_rows(self, raw: RawRows) -> list[bytes]: ...


class ScoringQueue:
    """What waits to be scored or labeled by one scorer. Used in the thread of one event loop; the two threads behind it
    hand groups to each other without it, for while it parses and answers requests they would stand still."""

    def __init__(
        self, scorer: EventScorer | StateScorer, max_rows: int, reasons: AlertExplainer | None = None,
        messages: RowAnswerer | None = None,
    ) -> None:  # fmt: skip
        """`scorer`: an EventScorer, or another StateScorer with `messages`, who answers for it. `max_rows`: events that
        may wait; further ones are refused. `reasons` explains alerts."""
        self.scorer = cast("EventScorer", scorer)  # score() and label() are for events alone
        self._reasons = reasons
        self._messages: Any = messages or StreamScorer(self.scorer, reasons)
        self._max_rows = max_rows
        self._num_rows = 0  # of what waits
        self._waiting: list[_Waiting] = []
        self._is_scheduled = False  # whether the event loop will look; it alone asks
        self._lock = threading.Lock()  # of what waits, and of the two that follow
        self._is_scoring = False
        self._num_syncing = 0  # groups that are scored and not yet on the disk
        self._loop: asyncio.AbstractEventLoop
        self._state_thread, self._sync_thread = ThreadPoolExecutor(1, "state"), ThreadPoolExecutor(1, "sync")
        self.num_groups = 0  # that were synced, for who measures

    def score(self, rows: RawRows | bytes, on_scored: OnScored) -> None:
        """Score events, or the one record that a body is: those of a group are parsed together. BusyError at once when
        too many wait."""
        self._add(_Waiting(rows, on_scored, self._score), _count(rows))

    def label(self, raw: RawRows, on_labeled: OnLabeled) -> None:
        """Take verdicts. BusyError at once when too many wait."""
        self._add(_Waiting(raw, on_labeled, self._label), len(raw))

    def answer(self, messages: list[bytes], on_answered: OnAnswered) -> None:
        """Answer messages, each an event or a verdict, one by one. BusyError at once when too many wait."""
        self._add(_Waiting(messages, on_answered, self._answer_messages), len(messages))

    def answer_rows(self, raw: RawRows, on_answered: OnAnswered) -> None:
        """Answer the rows of a request one by one. BusyError at once when too many wait."""
        self._add(_Waiting(raw, on_answered, self._answer_raw), len(raw))

    def close(self) -> None:
        """Close the scorer; nothing waits any more."""
        self._state_thread.shutdown()
        self._sync_thread.shutdown()
        self.scorer.close()

    def _add(self, waiting: _Waiting, num_rows: int) -> None:
        with self._lock:
            if self._num_rows + num_rows > self._max_rows:
                raise BusyError(
                    f"{self._num_rows} events wait",
                    expected=f"at most {self._max_rows}",
                    fix="send them again a little later",
                )
            self._num_rows += num_rows
            self._waiting.append(waiting)
        self._schedule()

    def _schedule(self) -> None:
        """Begins a group with what will have come in this turn of the event loop."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._start_group)

    def _start_group(self) -> None:
        """In the event loop: small groups are scored in it, others in the thread of the state."""
        self._is_scheduled = False
        group = self._take_group(1)
        if not group:
            return
        if len(group) <= INLINE_EVENTS and all(type(waiting.rows) is bytes for waiting in group):  # an event each
            self._hand_to_sync(group, self._answer(group))
            self._state_thread.submit(lambda: self._score_groups(self._finish_state()))
        else:
            self._state_thread.submit(self._score_groups, group)

    def _take_group(self, least: int) -> list[_Waiting]:
        """All that waits, when a group of at least so many events may begin: the state is its own then. Else empty; the
        end of what goes on looks again."""
        with self._lock:
            if self._num_rows < least or not self._may_begin():
                return []
            self._is_scoring = True
            group, self._waiting = self._waiting, []
            self._num_rows = 0
            return group

    def _may_begin(self) -> bool:
        least = MIN_OVERLAPPED if self._num_syncing else 1
        return not self._is_scoring and self._num_syncing <= 1 and self._num_rows >= least

    def _score_groups(self, group: list[_Waiting]) -> None:
        """In the thread of the state: a group and, without a turn of the event loop between them, those behind it."""
        while group:
            try:
                answers = self._answer(group)
            except Exception as error:  # noqa: BLE001  (whoever waits must hear of it)
                answers = [error] * len(group)
            self._hand_to_sync(group, answers)
            group = self._finish_state()

    def _hand_to_sync(self, group: list[_Waiting], answers: list[Any]) -> None:
        with self._lock:
            self._num_syncing += 1
        self._sync_thread.submit(self._sync_group, group, answers)

    def _finish_state(self) -> list[_Waiting]:
        """In the thread of the state: write the tally; then the next group, which is scored, where one is large enough
        to be worth this thread."""
        try:
            self.scorer.save()
        except Exception:
            LOG.exception("the tally of a model with a state is not written")
        with self._lock:
            self._is_scoring = False
        return self._go_on()

    def _go_on(self) -> list[_Waiting]:
        """The next group for the thread of the state; a small one is left to the event loop."""
        group = self._take_group(INLINE_EVENTS + 1)
        if not group and self._may_begin():
            self._call_loop(self._schedule)
        return group

    def _sync_group(self, group: list[_Waiting], answers: list[Any]) -> None:
        """In its own thread: write the answers of a group that is scored, and bring it to the disk."""
        try:
            answers = self._explain_and_sync(answers)
        except Exception as error:  # noqa: BLE001  (what is not on the disk is not answered)
            answers = [error] * len(group)
        with self._lock:
            self._num_syncing -= 1
        # Before the answers, so that the state is busy while they are sent.
        if following := self._go_on():
            self._state_thread.submit(self._score_groups, following)
        self._call_loop(self._deliver, group, answers)

    def _call_loop(self, function: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it who waited
            self._loop.call_soon_threadsafe(function, *args)

    def _deliver(self, group: Sequence[_Waiting], answers: Sequence[Any]) -> None:
        self.num_groups += 1
        for waiting, answer in zip(group, answers, strict=True):
            waiting.deliver(answer)

    def _explain_and_sync(self, answers: list[Any]) -> list[Any]:
        parts = [part for part in answers if type(part) is ScoredPart]
        for scored in {id(part.scored): part.scored for part in parts}.values():
            self._write(scored, [part for part in parts if part.scored is scored])
        self.scorer.store.flush()
        return answers

    def _write(self, scored: ScoredEvents, parts: Sequence[ScoredPart]) -> None:
        """Writes the answers of a group into the rows that its parts share."""
        parts[0].rows.extend(answer_rows(scored))
        if self._reasons is not None and len(scored.alert_inputs):
            self._explain(scored, parts, self._reasons)

    def _explain(self, scored: ScoredEvents, parts: Sequence[ScoredPart], reasons: AlertExplainer) -> None:
        """Add reasons to the alerts of a group, MAX_EXPLAINED of each request: they share rows and reasons."""
        alerts = np.flatnonzero(scored.is_alert)
        bounds = np.searchsorted(alerts, [(part.start, part.stop) for part in parts]).tolist()
        chosen = [place for first, last in bounds for place in range(first, min(last, first + MAX_EXPLAINED))]
        texts = reasons.explain(scored.alert_inputs[chosen], scored.alert_values[chosen])
        for row, text in zip(alerts[chosen].tolist(), texts, strict=True):
            parts[0].reasons[row] = text
            parts[0].rows[row] = add_reasons(parts[0].rows[row], text)

    def _answer(self, group: Sequence[_Waiting]) -> list[Any]:
        """The answer, or the error, of each; verdicts and events in the order in which they came."""
        answers: list[Any] = []
        for answer, run in itertools.groupby(group, lambda waiting: waiting.answer):
            answers += self._answer_run([waiting.rows for waiting in run], answer)
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
        rows: list[bytes] = []
        reasons: dict[int, bytes] = {}
        if len(parts) == len(scored):  # one event each
            return [ScoredPart(scored, rows, row, row + 1, reasons) for row in range(len(parts))]
        stops = list(itertools.accumulate(map(_count, parts)))
        starts = [0, *stops[:-1]]
        return [ScoredPart(scored, rows, start, stop, reasons) for start, stop in zip(starts, stops, strict=True)]

    def _answer_messages(self, parts: list[list[bytes]]) -> list[list[bytes]]:
        rows = self._messages.answer(list(itertools.chain.from_iterable(parts)))
        stops = itertools.accumulate(map(len, parts))
        return [rows[stop - len(part) : stop] for part, stop in zip(parts, stops, strict=True)]

    def _answer_raw(self, parts: list[RawRows]) -> list[list[bytes]]:
        return [self._messages.answer_rows(raw) for raw in parts]

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
    """Events of one request."""
    return 1 if isinstance(rows, bytes) else len(rows)
