"""What was known of the two nodes of an event at its moment: their last events, and around each of these the events of
its other node.

    graph = EventGraph(time, (card, terminal), values, fraud, delay)
    past = graph.sample(rows)            # arrays of fixed shapes; nothing of it lies behind its root

A verdict counts from `delay` after its event. Around an event means before and after it: what came after tells more of
it, as long as it came before the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from deepseek.errors import InputError

Longs: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

NUM_FIRST = 12  # events of a node that a root looks at
NUM_SIDE = 3  # events of the other node that are looked at on either side of these
NUM_SECOND = 2 * NUM_SIDE
#: What is known of an event beside its own values: is there, verdict is out, is fraud, and how long ago in three forms.
NUM_MARKS = 6


@dataclass(frozen=True, slots=True)
class Past:
    """Of N roots the past of both nodes: for each node `first` (N, NUM_FIRST, D) and `second` (N, NUM_FIRST,
    NUM_SECOND, D), whose last NUM_MARKS values say what is known; where no event is, all of D are 0."""

    first: tuple[Floats, Floats]
    second: tuple[Floats, Floats]

    def __len__(self) -> int:
        return len(self.first[0])

    @property
    def num_values(self) -> int:
        """D."""
        return int(self.first[0].shape[-1])


class EventGraph:
    """N events: time (N,) int64 in the order of time, two keys (N,) each, values (N, V) float32, fraud (N,) 0 or 1;
    `delay` in units of time. Of one moment the earlier row comes first."""

    def __init__(
        self, time: Longs, keys: tuple[Longs, Longs], values: Floats, fraud: Longs, *, delay: int, day: int = 86_400
    ) -> None:
        if len(time) and (np.diff(time) < 0).any():
            raise InputError("the events are not in the order of time", expected="rising times", fix="sort them")
        self.time, self.values, self.fraud, self.delay, self.day = time, values, fraud, delay, day
        self.nodes = tuple(_NodeOrder(key, time) for key in keys)

    def sample(self, rows: Longs) -> Past:
        """The past of the events at these places. The first node's last events are the newest, with a verdict or
        without; the second node's are those with a verdict, for it has many more."""
        first, second = [], []
        for number, node in enumerate(self.nodes):
            behind = self.time[rows] - self.delay if number == 1 else self.time[rows]
            near = node.last(rows, behind, NUM_FIRST)
            roots = np.repeat(rows, NUM_FIRST)
            far = self.nodes[1 - number].around(near.ravel(), roots, NUM_SIDE)
            first.append(self._describe(near, rows[:, None]))
            shape = (len(rows), NUM_FIRST, NUM_SECOND)
            second.append(self._describe(far, roots[:, None], near.reshape(-1, 1)).reshape(*shape, -1))
        return Past((first[0], first[1]), (second[0], second[1]))

    def _describe(self, events: Longs, roots: Longs, centers: Longs | None = None) -> Floats:
        """Values and marks of events (N, K; -1: none) as their roots (N, 1) know them; ages are from the root, or from
        the events at `centers` (N, 1), and then have a sign."""
        there = events >= 0
        safe = np.where(there, events, 0)
        known = there & (self.time[safe] <= self.time[roots] - self.delay)
        since = self.time[roots if centers is None else np.maximum(centers, 0)] - self.time[safe]
        days = (since / self.day).astype(np.float32)
        marks = [there, known, known & (self.fraud[safe] == 1)]
        ages = [np.clip(days / 14, -3, 3), np.exp(-np.abs(days) / 3), np.sign(days) * np.exp(-np.abs(days) / 14)]
        described = np.concatenate(
            [self.values[safe], *(part[..., None].astype(np.float32) for part in (*marks, *ages))], axis=-1
        )
        described[~there] = 0
        return described


class _NodeOrder:
    """Events in the order of (node, time): `order` (N,), the place of each event in it, and where its node begins and
    ends."""

    def __init__(self, key: Longs, time: Longs) -> None:
        _, code = np.unique(key, return_inverse=True)
        self.order = np.argsort(code, kind="stable")
        self.place = np.empty(len(key), np.int64)
        self.place[self.order] = np.arange(len(key))
        ordered = code[self.order]
        self.begin = np.searchsorted(ordered, code)
        self.end = np.searchsorted(ordered, code, side="right")
        self.moments, rank = np.unique(time, return_inverse=True)
        self.stride = len(self.moments) + 1
        self.code = code.astype(np.int64)
        self.rank = (self.code * self.stride + rank)[self.order]

    def last(self, rows: Longs, until: Longs, number: int) -> Longs:
        """(N, number): of each row the last events of its node that are at most as late as `until` (N,), before the row
        itself; the newest first, -1 where there are no more."""
        wanted = self.code[rows] * self.stride + np.searchsorted(self.moments, until, side="right")
        stop = np.minimum(np.searchsorted(self.rank, wanted), self.place[rows])
        places = stop[:, None] - 1 - np.arange(number)
        return np.where(places >= self.begin[rows][:, None], self.order[np.maximum(places, 0)], -1)

    def around(self, events: Longs, roots: Longs, side: int) -> Longs:
        """(N, 2 * side): of each event (-1: none) the events of its node just before and after it, as far as they came
        before its root (N,), the root left out; -1 where there are no more."""
        safe = np.maximum(events, 0)
        offsets = np.concatenate([-1 - np.arange(side), 1 + np.arange(side)])
        places = self.place[safe][:, None] + offsets
        inside = (places >= self.begin[safe][:, None]) & (places < self.end[safe][:, None]) & (events >= 0)[:, None]
        event = self.order[np.where(inside, places, 0)]
        return np.where(inside & (event < roots[:, None]), event, -1)
