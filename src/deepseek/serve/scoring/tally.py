"""What was decided of each event whose id is known, and what became of it: two bytes an event, in memory and in a file.

    tally = DecisionTally(store, path, identity, edges)
    tally.add(status, chances, is_alert)          # of the events that the store has just answered
    tally.add_verdicts(ids, fraud, status)        # of the verdicts that it has just taken
    tally.save()                                  # to the file
    tally.days()                                  # counts by the day of the event

A verdict comes days after its event, when the features of then are gone: the tally keeps the chance and the decision,
as long as the store keeps the id. Counts by day follow from that alone, so they are the same after a restart. The file
is written without waiting for the disk: a kill of the process costs what was not yet saved, and these events count as
not scored. It is of one model: by another one it begins anew.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from deepseek.features import FeatureStore
from deepseek.features.core.layout import DAY_S
from deepseek.features.definition import TICKS_PER_SECOND
from deepseek.features.events import Longs
from deepseek.features.status import Bytes, Status

Entries: TypeAlias = np.ndarray[Any, np.dtype[np.uint16]]
FRAUD, ALERT, CHANCE = 1 << 15, 1 << 14, (1 << 14) - 1  # of an entry; a chance of 0 says that nothing is known
NUM_STEPS = CHANCE - 1  # between chances 0 and 1
HEAD = struct.Struct("<8s32sQQQ")  # magic, identity of the model, capacity, the first and the next number
MAGIC = b"dsDT0001"
MAX_UNCOUNTED = 16_384  # events, which are counted together: one by one they cost ten times as much
MAX_GAP = 512  # entries between two changes that are written together


@dataclass(slots=True, eq=False)
class DayCounts:
    """Of one day of events. `counts`: (2, 2, B) by fraud, alert and bin of the chance."""

    counts: Longs
    chance_steps: int = 0  # the sum of their chances, in steps of 1 / NUM_STEPS

    @property
    def num_scored(self) -> int:
        return int(self.counts.sum())

    @property
    def chance_sum(self) -> float:
        return self.chance_steps / NUM_STEPS


class DecisionTally:
    """Of the events of one store, by one model. One thread at a time."""

    def __init__(self, store: FeatureStore, path: Path | None, identity: bytes, edges: Longs | Any) -> None:
        """`path`: of the file, None: in memory. `identity`: 32 bytes that say which model decides. `edges`: between the
        bins of chances (B - 2,), as data.view.drift has them."""
        self._store, self._path, self._identity = store, path, identity
        self._edges = np.asarray(edges, np.float64)
        self._day_ticks = DAY_S * TICKS_PER_SECOND[store.definition.time_unit]
        self._days: dict[int, DayCounts] = {}
        self._changed: list[Longs] = []  # rows that verdicts have changed since
        self._file: int | None = None
        self._file_size = 0  # entries that the file has room for
        self.num_unsaved = 0  # times that the file could not be written
        self._entries: Entries = np.zeros(store.max_numbers, np.uint16)
        self.first = self._next = store.known_numbers.stop  # numbers that decisions are known of
        self._saved = self._next  # below it all is in the file
        self._counted = 0  # below it all is in the counts by day
        self._gaps: list[range] = []  # numbers whose decisions are not known, the first ones excepted
        if path is not None:
            self._open(path)

    def add(self, status: Bytes, chances: Any, is_alert: Any) -> None:
        """The N events that the store has just answered, in their order."""
        if status.any():  # some were not accepted
            accepted = np.flatnonzero(status == Status.ACCEPTED)
            chances, is_alert = chances[accepted], is_alert[accepted]
        if not len(chances):
            return
        self._make_room()
        stop = self._store.known_numbers.stop
        start = stop - len(chances)
        self._forget_between(start)
        entries = np.rint(chances * NUM_STEPS).astype(np.uint16) + np.uint16(1)
        entries[is_alert] |= np.uint16(ALERT)
        self._write_entries(start, entries)
        self._next = stop
        if stop - self._counted > MAX_UNCOUNTED:
            self._count_new()

    def add_verdicts(self, ids: Longs, fraud: Longs, status: Bytes) -> None:
        """Verdicts (N,) that the store has just taken."""
        self._count_new()
        taken = np.flatnonzero(status == Status.ACCEPTED)[::-1]
        numbers, last = np.unique(self._store.locate(ids[taken]), return_index=True)  # of one event the last
        is_fraud = fraud[taken][last] == 1
        known = numbers >= self.first
        numbers, is_fraud = numbers[known], is_fraud[known]
        rows = numbers & (len(self._entries) - 1)
        entries = self._entries[rows]
        changes = (entries & CHANCE > 0) & ((entries & FRAUD > 0) != is_fraud)
        rows, entries, times = rows[changes], entries[changes], self._store.times_of(numbers[changes])
        if not len(rows):
            return
        self._count(times, entries, -1)
        self._entries[rows] = entries ^ np.uint16(FRAUD)
        self._count(times, self._entries[rows], 1)
        self._changed.append(rows)

    def day_of(self, time: int) -> int:
        """The day since 1970 of a time in ticks."""
        return time // self._day_ticks

    def days(self) -> Mapping[int, DayCounts]:
        """Counts by day since 1970, of the days of which every id is still known."""
        self._count_new()
        latest = self._store.watermark
        if latest is None:
            return {}
        first = -(-(latest - self._store.id_retention) // self._day_ticks)
        for day in [day for day in list(self._days) if day < first]:
            del self._days[day]
        return dict(sorted(self._days.items()))

    @property
    def num_unknown(self) -> int:
        """Events whose ids are known, and whose decisions are not."""
        known = self._store.known_numbers
        before = range(known.start, self.first)
        return sum(max(0, gap.stop - max(gap.start, known.start)) for gap in (before, *self._gaps))

    def save(self) -> None:
        """Writes what has changed to the file. Where the disk does not take it, it is tried again the next time."""
        if self._path is None or (not self._changed and self._saved == self._next):
            return
        try:
            if self._file is None or self._file_size != len(self._entries):
                self._write_whole(self._path)
            else:
                self._write_changes(self._file)
        except OSError:
            self.num_unsaved += 1
            return
        self._changed.clear()
        self._saved = self._next

    def close(self) -> None:
        """Saves, and lets the file go."""
        self.save()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, path: Path) -> None:
        """What the file knows of the events that the store knows; nothing where it is of another model, or damaged."""
        try:
            data = path.read_bytes()
            magic, identity, capacity, first, stop = HEAD.unpack_from(data)
        except (OSError, struct.error):
            return
        if (magic, identity, len(data)) != (MAGIC, self._identity, HEAD.size + 2 * capacity) or capacity < 1:
            return
        known = self._store.known_numbers
        self.first = max(first, known.start)
        stop = max(self.first, min(stop, known.stop))
        if stop - self.first > capacity:
            self.first = self._next
            return
        numbers = np.arange(self.first, stop)
        entries = np.frombuffer(data, np.uint16, offset=HEAD.size)
        entries = entries[numbers & (capacity - 1)]
        self._entries[numbers & (len(self._entries) - 1)] = entries
        missing = np.flatnonzero(entries & CHANCE == 0)
        runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1) if len(missing) else []
        self._gaps = [range(self.first + int(run[0]), self.first + int(run[-1]) + 1) for run in runs]
        self._next = self._saved = stop
        self._forget_between(known.stop)
        if capacity == len(self._entries):
            self._file, self._file_size = os.open(path, os.O_RDWR | os.O_CLOEXEC), capacity

    def _make_room(self) -> None:
        """As many places as the store has."""
        size, old = self._store.max_numbers, self._entries
        if size == len(old):
            return
        numbers = np.arange(max(self._next - len(old), self.first), self._next)
        self._entries = np.zeros(size, np.uint16)
        self._entries[numbers & (size - 1)] = old[numbers & (len(old) - 1)]

    def _forget_between(self, number: int) -> None:
        """Events from the last one to before this number have no decision: the process ended before it was saved."""
        if number > self._next:
            start = max(self._next, number - len(self._entries))
            self._write_entries(start, np.zeros(number - start, np.uint16))
            self._gaps.append(range(self._next, number))
            self._next = number

    def _write_entries(self, start: int, entries: Entries) -> None:
        """Entries (N,) of events that follow each other."""
        for place, part in self._runs(start, start + len(entries)):
            self._entries[place : place + len(part)] = entries[part.start - start : part.stop - start]

    def _runs(self, start: int, stop: int) -> Iterator[tuple[int, range]]:
        """Numbers in runs to the end of the ring: the place of the first of each."""
        while start < stop:
            place = start & (len(self._entries) - 1)
            part = range(start, min(stop, start + len(self._entries) - place))
            yield place, part
            start = part.stop

    def _count_new(self) -> None:
        """Counts the events since the last time."""
        first = max(self._counted, self._store.known_numbers.start, self.first, self._next - len(self._entries))
        numbers = np.arange(first, self._next)
        entries = self._entries[numbers & (len(self._entries) - 1)]
        known = entries & CHANCE > 0
        self._count(self._store.times_of(numbers[known]), entries[known], 1)
        self._counted = self._next

    def _count(self, times: Longs, entries: Entries, sign: int) -> None:
        """Adds events (N,) to the counts of their days, or takes them out."""
        if not len(times):
            return
        steps = (entries & CHANCE).astype(np.int64) - 1
        num_bins = len(self._edges) + 2
        places = (entries >> 14).astype(np.int64) * num_bins + np.searchsorted(self._edges, steps / NUM_STEPS)
        days = times // self._day_ticks
        first = int(days[0])
        if (days == first).all():
            self._add_to_day(first, places, steps, sign)
            return
        for day in np.unique(days).tolist():
            of_day = days == day
            self._add_to_day(day, places[of_day], steps[of_day], sign)

    def _add_to_day(self, day: int, places: Longs, steps: Longs, sign: int) -> None:
        num_bins = len(self._edges) + 2
        counts = self._days.get(day)
        if counts is None:
            counts = self._days[day] = DayCounts(np.zeros((2, 2, num_bins), np.int64))
        counts.counts += sign * np.bincount(places, minlength=4 * num_bins).reshape(2, 2, num_bins)
        counts.chance_steps += sign * int(steps.sum())

    def _head(self) -> bytes:
        return HEAD.pack(MAGIC, self._identity, len(self._entries), self.first, self._next)

    def _write_changes(self, file: int) -> None:
        """The entries since the last time, those that verdicts have changed, then the head that speaks of them."""
        for place, part in self._runs(max(self._saved, self._next - len(self._entries)), self._next):
            os.pwrite(file, self._entries[place : place + len(part)].tobytes(), HEAD.size + 2 * place)
        if self._changed:
            rows = np.unique(np.concatenate(self._changed))
            for run in np.split(rows, np.flatnonzero(np.diff(rows) > MAX_GAP) + 1):
                start, stop = int(run[0]), int(run[-1]) + 1
                os.pwrite(file, self._entries[start:stop].tobytes(), HEAD.size + 2 * start)
        os.pwrite(file, self._head(), 0)

    def _write_whole(self, path: Path) -> None:
        draft = path.with_name(f".{path.name}.part")
        file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            data = memoryview(self._head() + self._entries.tobytes())
            while data:
                data = data[os.write(file, data) :]
            draft.replace(path)
        except OSError:
            os.close(file)
            raise
        if self._file is not None:
            os.close(self._file)
        self._file, self._file_size = file, len(self._entries)
