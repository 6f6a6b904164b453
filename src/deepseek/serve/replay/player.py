"""Plays rows through the scorer: each when it is due, verdicts when the label delay is over, on the disk before it
counts.

    playback = play(StreamScorer(scorer), rows, Pacing(speed=10.0))

Rows that are due are answered together, as a stream does. Their order and the moments of verdicts follow from the rows
alone, so the answers are the same at any speed, and those that `predict --history` gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from deepseek.features.events import Longs
from deepseek.serve.replay.rows import ReplayRows
from deepseek.serve.scoring.messages import StreamScorer
from deepseek.serve.streams.messages import MAX_BATCH

NOT_PLAYED = "not_played"
ACCEPTED = "accepted"
WAIT_S = 0.2  # at most at once, so that a signal is seen


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why an event is an alert, in sentences."""

    en: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pacing:
    """How fast, and who is told how far it is."""

    speed: float | None = None  # times real time, above 0; None: without waiting
    is_stopping: Callable[[], bool] = lambda: False
    progress: Callable[[str, float], None] = lambda _message, _share: None
    now: Callable[[], float] = time.monotonic  # seconds
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True, eq=False)
class Playback:
    """The answers to N rows."""

    status: list[str]  # (N,) as the answers say it; NOT_PLAYED behind the end
    chance: np.ndarray[Any, np.dtype[np.float64]]  # (N,) NaN where there is none
    is_alert: np.ndarray[Any, np.dtype[np.bool_]]  # (N,)
    latency_s: np.ndarray[Any, np.dtype[np.float64]]  # (N,) from when a row was due until its answer was on the disk
    reasons: dict[int, Reasons] = field(default_factory=dict)  # of alerts, by row
    num_played: int = 0
    num_verdicts: int = 0
    wall_s: float = 0.0  # without the history
    max_lag_s: float = 0.0  # how far the answers were behind real time times speed; 0 without waiting


def play(scorer: StreamScorer, rows: ReplayRows, pacing: Pacing) -> Playback:
    """Plays all rows, or those before `pacing.is_stopping`."""
    player = _Player(scorer, rows, pacing)
    player.run()
    return player.playback


class _Player:
    def __init__(self, scorer: StreamScorer, rows: ReplayRows, pacing: Pacing) -> None:
        self.scorer, self.rows, self.pacing = scorer, rows, pacing
        self._history_scorer = StreamScorer(scorer.scorer)  # nobody reads why a past row was an alert
        number = len(rows)
        self.playback = Playback(
            [NOT_PLAYED] * number, np.full(number, np.nan), np.zeros(number, np.bool_), np.zeros(number)
        )
        self._positive = scorer.scorer.runtime.labels[1]
        self._first = rows.num_history
        self._start_s = 0.0  # when the first row behind the history was due
        # Only fraud is reported: a verdict that says genuine changes no feature.
        frauds = np.flatnonzero(rows.verdict == 1)
        due = rows.time[frauds] + rows.definition.ticks(rows.definition.label_delay)
        order = np.argsort(due, kind="stable")
        self._verdict_rows, self._verdict_due = frauds[order], due[order]

    def run(self) -> None:
        row, verdict = 0, 0
        while row < len(self.rows) and not self.pacing.is_stopping():
            if row == self._first:
                self._start_s = self.pacing.now()
            if not self._wait_for(row):
                break
            stop_verdict = int(np.searchsorted(self._verdict_due, self.rows.time[row], "right"))
            self._deliver(self._verdict_rows[verdict:stop_verdict])
            verdict = stop_verdict
            stop = self._stop_behind(row, verdict)
            self._answer(row, stop)
            row = self.playback.num_played = stop
            self._report()
        if row > self._first:
            self.playback.wall_s = self.pacing.now() - self._start_s

    def _wait_for(self, row: int) -> bool:
        """Sleep until a row is due; whether it is."""
        if self.pacing.speed is None or row < self._first:
            return True
        due_s = float(self._due_s(np.array([row]), self.pacing.speed)[0])
        while (rest_s := due_s - self.pacing.now()) > 0:
            if self.pacing.is_stopping():
                return False
            self.pacing.sleep(min(rest_s, WAIT_S))
        return True

    def _stop_behind(self, row: int, verdict: int) -> int:
        """Where the rows end that are answered together with `row`: before the next verdict, and all due by now."""
        time = self.rows.time
        stop = min(row + MAX_BATCH, len(self.rows), self._first if row < self._first else len(self.rows))
        if verdict < len(self._verdict_due):
            stop = min(stop, int(np.searchsorted(time, self._verdict_due[verdict], "left")))
        if self.pacing.speed is not None and row >= self._first:
            passed_s = (self.pacing.now() - self._start_s) * self.pacing.speed
            now = int(time[self._first]) + int(passed_s * self.rows.ticks_per_second)
            stop = min(stop, int(np.searchsorted(time, now, "right")))
        return max(stop, row + 1)

    def _due_s(self, rows: Longs, speed: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        """When rows are due, on the pacing's clock."""
        since = (self.rows.time[rows] - self.rows.time[self._first]) / self.rows.ticks_per_second
        due_s: np.ndarray[Any, np.dtype[np.float64]] = self._start_s + since / speed
        return due_s

    def _deliver(self, rows: Longs) -> None:
        """Verdicts on rows, as messages."""
        for first in range(0, len(rows), MAX_BATCH):
            part = rows[first : first + MAX_BATCH]
            self.scorer.answer(self.rows.encode_verdicts(part))
            self.playback.num_verdicts += len(part)

    def _answer(self, start: int, stop: int) -> None:
        bodies = self.rows.encode(start, stop)
        begin_s = self.pacing.now()
        answers = (self._history_scorer if start < self._first else self.scorer).answer(bodies)
        self.scorer.scorer.sync()
        end_s = self.pacing.now()
        playback = self.playback
        for row, answer in enumerate(map(msgspec.json.decode, answers), start):
            playback.status[row] = answer["status"]
            if "chance" in answer:
                playback.chance[row] = answer["chance"]
                playback.is_alert[row] = answer["decision"] == self._positive
            if "reasons" in answer:
                playback.reasons[row] = msgspec.convert(answer["reasons"], Reasons)
        if self.pacing.speed is None or start < self._first:
            playback.latency_s[start:stop] = end_s - begin_s
        else:
            late_s = end_s - self._due_s(np.arange(start, stop), self.pacing.speed)
            playback.latency_s[start:stop] = late_s
            playback.max_lag_s = max(playback.max_lag_s, float(late_s.max()))

    def _report(self) -> None:
        played, number = self.playback.num_played, len(self.rows)
        if played <= self._first:
            self.pacing.progress(f"{played:,} rows of the history", 0.0)
            return
        passed_s = max(self.pacing.now() - self._start_s, 1e-9)
        lag = "" if self.pacing.speed is None else f", lag {self.playback.latency_s[played - 1]:.3f} s"
        rate = (played - self._first) / passed_s
        share = played / number
        if self.pacing.speed is not None:  # by time: it tells how long is left
            time = self.rows.time
            share = float((time[played - 1] - time[self._first]) / max(time[-1] - time[self._first], 1))
        self.pacing.progress(f"{played:,} of {number:,} rows, {rate:,.0f} rows/s{lag}", min(share, 1.0))
