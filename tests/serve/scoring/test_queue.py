"""Groups of events: one is scored while the disk takes the one before, and none is answered before it is there."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepseek.errors import BusyError
from deepseek.features import FeatureStore
from deepseek.features.log import file_of
from deepseek.serve.scoring.queue import MIN_OVERLAPPED, ScoredPart, ScoringQueue
from deepseek.serve.scoring.scorer import EventScorer
from support.servers.cards import events_of, payments

LINES = b"application/x-ndjson"
LIMIT_S = 600.0


class SlowDisk:
    """fdatasync that waits until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_begun, self._steps, self._sync = 0, threading.Semaphore(0), os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self)

    def __call__(self, file: int) -> None:
        self.num_begun += 1
        assert self._steps.acquire(timeout=LIMIT_S)
        self._sync(file)

    def let_go(self, number: int) -> None:
        for _ in range(number):
            self._steps.release()


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_group_is_scored_while_the_one_before_is_synced_and_answers_keep_their_order(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = EventScorer.open(cards, tmp_path / "state")
    scorer.warm_up()  # to compile takes longer than anybody waits here
    disk, store = SlowDisk(monkeypatch), scorer.store
    records = events_of(payments(3 * MIN_OVERLAPPED))
    bodies = [
        b"\n".join(json.dumps(record).encode() for record in records[start : start + MIN_OVERLAPPED])
        for start in range(0, len(records), MIN_OVERLAPPED)
    ]
    answered: list[ScoredPart] = []

    async def run() -> None:
        queue = ScoringQueue(scorer, 10_000)

        def send(body: bytes) -> None:
            queue.score(scorer.reader.read(body, LINES, 10_000), answered.append)  # type: ignore[arg-type]

        send(bodies[0])
        await wait_until(lambda: disk.num_begun == 1)
        send(bodies[1])
        await wait_until(lambda: store.sequence == 2)  # scored, though the disk has not taken the first
        send(bodies[2])
        too_many = scorer.reader.read(b"\n".join(bodies * 14), LINES, 100_000)
        with pytest.raises(BusyError):
            queue.score(too_many, print)
        assert (answered, store.synced_sequence) == ([], 0)
        disk.let_go(1)
        await wait_until(lambda: disk.num_begun == 2 and bool(answered))  # told by another thread: in either order
        assert (len(answered), store.synced_sequence) == (1, 1)  # what came during a sync waits for the next
        disk.let_go(10)
        await wait_until(lambda: len(answered) == 3)
        queue.close()

    asyncio.run(run())
    ids = [json.loads(row)["id"] for part in answered for row in part.rows[part.start : part.stop]]
    assert ids == [record["id"] for record in records]
    assert FeatureStore.verify(tmp_path / "state").num_events >= len(records)


def test_a_large_group_that_comes_while_the_tally_of_a_small_one_is_written_is_scored(
    cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = EventScorer.open(cards, tmp_path / "state")
    scorer.warm_up()
    records = [json.dumps(record).encode() for record in events_of(payments(2 * MIN_OVERLAPPED))]
    is_saving, may_end = threading.Event(), threading.Event()
    answered: list[ScoredPart] = []

    def save() -> None:
        is_saving.set()
        assert may_end.wait(LIMIT_S)

    monkeypatch.setattr(scorer, "save", save)

    async def run() -> None:
        queue = ScoringQueue(scorer, 10_000)
        queue.score(records[0], answered.append)  # type: ignore[arg-type]
        await wait_until(is_saving.is_set)
        queue.score(scorer.reader.read(b"\n".join(records[1:]), LINES, 10_000), answered.append)  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        may_end.set()
        await wait_until(lambda: len(answered) == 2)
        queue.score(records[0], answered.append)  # type: ignore[arg-type]
        await wait_until(lambda: len(answered) == 3)
        queue.close()

    asyncio.run(run())
    assert [part.stop - part.start for part in answered] == [1, len(records) - 1, 1]


def test_a_snapshot_that_cannot_begin_lets_the_log_go_on(cards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    scorer = EventScorer.open(cards, folder)
    scorer.snapshots.every = 10
    rows = [json.dumps(record).encode() for record in events_of(payments(40))]

    def score(lines: list[bytes]) -> Any:
        return scorer.score(scorer.reader.read(b"\n".join(lines), LINES, 1_000)).status.tolist()

    assert score(rows[:20]) == [0] * 20
    in_the_way = file_of(folder, scorer.store.sequence + 1)
    in_the_way.mkdir()
    scorer.sync()
    in_the_way.rmdir()
    assert score(rows[20:]) == [0] * 20
    scorer.sync()
    scorer.close()
    assert FeatureStore.verify(folder).num_events == 40
