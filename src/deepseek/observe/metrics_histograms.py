"""Histograms that are counted without a client library's own cost, and handed over when Prometheus asks.

>>> buckets = HistogramBuckets((1, 2, 4))
>>> for value in (1, 3, 9):
...     buckets.observe(value)
>>> buckets.cumulative()
[('1.0', 1), ('2.0', 1), ('4.0', 2), ('+Inf', 3)]

A bucket may keep an exemplar: the request of a value that fell into it, by which a slow one is looked up in the log or
among the traces. OpenMetrics alone carries it, and at most 128 characters of names and values (OpenMetrics 1.0,
Exemplars).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from time import perf_counter, time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client.samples import Exemplar

from deepseek.contracts import Event, Float64

MAX_ID_CHARACTERS = 64  # of a request's id in an exemplar
FamilyBucket = tuple[str, float] | tuple[str, float, Exemplar]  # bound, cumulative count, exemplar


@dataclass(slots=True)  # not frozen: made for every request batch
class ExemplarSource:
    """A value and the request that it is of. `offset_s`: of the clock of Event.marks to seconds since 1970."""

    event: Event
    value: float
    offset_s: float

    def exemplar(self) -> Exemplar:
        """The request's trace, where its client sent one, and its id; when it was answered."""
        fields, labels = self.event.fields, {}
        if "traceparent" in fields:
            labels["trace_id"] = fields["traceparent"].split("-")[1]
        request_id = fields.get("request_id", "")
        if request_id and len(request_id) <= MAX_ID_CHARACTERS:
            labels["request_id"] = request_id
        marks = self.event.marks
        answered_s = self.offset_s + marks[0] + self.event.duration_s if marks else time()
        return Exemplar(labels, self.value, round(answered_s, 3))


class HistogramBuckets:
    """The counts of one histogram, by the bounds that values do not exceed."""

    __slots__ = ("bounds", "counts", "sources", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.sources: list[ExemplarSource | None] = []  # the last exemplar of each bucket; []: none is kept

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_all(self, values: Sequence[float] | NDArray[Any]) -> None:
        """Count values (N,)."""
        self.add(np.bincount(np.searchsorted(self.bounds, values), minlength=len(self.counts)), float(np.sum(values)))

    def add(self, counts: NDArray[Any], total: float) -> None:
        """Add values that were counted elsewhere: how many fell into each bucket (B,), and their sum."""
        self.counts = [before + more for before, more in zip(self.counts, counts.tolist(), strict=True)]
        self.total += total

    def keep_exemplars(self, values: Float64, events: Sequence[Event], traced: Sequence[int]) -> None:
        """Keep for each bucket the last of the events that these values (N,) are of; `traced`: which of them have a
        trace. These go before others."""
        if not len(values):
            return
        places = np.searchsorted(self.bounds, values)
        last = np.full(len(self.counts), -1)
        last[places] = np.arange(len(values))  # of equal places the last one stays
        last[places[traced]] = traced
        self.sources = self.sources or [None] * len(self.counts)
        offset_s = time() - perf_counter()
        for place, index in enumerate(last.tolist()):
            if index >= 0:
                self.sources[place] = ExemplarSource(events[index], float(values[index]), offset_s)

    def cumulative(self) -> list[tuple[str, int]]:
        """How many values did not exceed each bound, as Prometheus writes it."""
        bounds = (str(float(bound)) for bound in self.bounds)
        return list(zip((*bounds, "+Inf"), accumulate(self.counts), strict=True))

    def buckets(self) -> list[FamilyBucket]:
        """As cumulative(), with the exemplars that there are, as the families of prometheus_client take them."""
        sources = self.sources or [None] * len(self.counts)
        rows: list[FamilyBucket] = []
        for (bound, count), source in zip(self.cumulative(), sources, strict=True):
            exemplar = None if source is None else source.exemplar()
            rows.append((bound, count, exemplar) if exemplar is not None and exemplar.labels else (bound, count))
        return rows
