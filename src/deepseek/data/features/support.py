"""Where the training rows were: the range of each number, and balls around the middles of groups of rows.

    support = TrainingSupport.of(features, columns)        # of training features (N, F); None without numbers
    support.flags(features, owners)                        # "outside": a number beyond its range; "far": a whole row

A model answers 1e9 as surely as any other number, but nothing that it was trained on speaks for that answer. A row may
be far although each of its numbers is in its range. Distances are between numbers that are centered, divided by their
spread and bent by asinh, so that a long tail does not decide alone; k-means (Lloyd 1982) finds the middles. No training
row is stored: a middle is a mean of at least MIN_GROUP rows. Dates are left out: every new row would be outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Flag, Float32, Float64

MAX_SAMPLE_ROWS = 5_000  # that the middles are fitted on
MAX_CELLS = 4_096  # numbers of all middles
MAX_GROUPS, MIN_GROUPS, MIN_GROUP = 64, 4, 10
NUM_ROUNDS = 12  # of k-means
#: A row is far when it is this many times as far from each middle as the farthest training row of that group.
MARGIN = 1.25
DIGITS = 6  # that are kept of a middle
CHUNK_ROWS = 16_384
ROUNDING = 1e-3  # a share of the squared lengths that is many times what float32 rounds of them
MAX_NUMBER = float(np.finfo(np.float32).max)
MAX_BENT = 1_000.0  # beyond asinh of any float64


@dataclass(frozen=True)
class TrainingSupport:
    """n features that are numbers, by their places among all F."""

    places: tuple[int, ...]  # (n,)
    low: tuple[float, ...]  # (n,) the least and the largest value in training, as the features have them
    high: tuple[float, ...]
    center: tuple[float, ...] = ()  # (n,) what is subtracted, and divided by, before distances
    spread: tuple[float, ...] = ()
    middles: tuple[tuple[float, ...], ...] = ()  # (K, n); none where there are too few rows or too many columns
    radii: tuple[float, ...] = ()  # (K,)

    @classmethod
    def of(cls, features: Float32, places: Sequence[int]) -> TrainingSupport | None:
        """The support of training features (N, F); `places` are those of numbers. None without a number or a row."""
        if not len(places) or not len(features):
            return None
        numbers = features[:, list(places)].astype(np.float64)
        low, high = (tuple(edge.tolist()) for edge in (numbers.min(axis=0), numbers.max(axis=0)))
        support = cls(tuple(places), low, high)
        num_groups = min(MAX_GROUPS, len(numbers) // (2 * MIN_GROUP), MAX_CELLS // len(places))
        if len(places) < 2 or num_groups < MIN_GROUPS:
            return support
        center = np.median(numbers, axis=0)
        spread = np.maximum(np.quantile(numbers, 0.75, axis=0) - np.quantile(numbers, 0.25, axis=0), 0.0)
        deviation = numbers.std(axis=0)
        spread = np.where(spread > 0, spread, np.where(deviation > 0, deviation, 1.0))
        middles, radii = _fit_groups(np.arcsinh((numbers - center) / spread), num_groups)
        return cls(
            support.places,
            low,
            high,
            _round_numbers(center),
            _round_numbers(spread),
            tuple(map(_round_numbers, middles)),
            _round_numbers(radii),
        )

    def flags(self, features: Float32, owners: Sequence[str]) -> list[Flag]:
        """Flags for features (N, F) by the raw column of each: "outside" for each number beyond its range; "far" for a
        row that no group of training rows is near to, with the column by which it differs most from the nearest one."""
        if len(features) == 1 and self._is_near(features[0]):
            return []
        numbers = features[:, self._columns]
        row_flags: list[Flag] = []
        beyond = (numbers < self._low) | (numbers > self._high)
        if beyond.any():
            row_flags = [
                Flag(row, owners[self.places[place]], "outside") for row, place in np.argwhere(beyond).tolist()
            ]
        if self.middles:
            for start in range(0, len(numbers), CHUNK_ROWS):
                bent = self._bend(numbers[start : start + CHUNK_ROWS])
                row_flags += [Flag(start + row, owners[self.places[place]], "far") for row, place in self._far(bent)]
        return row_flags

    def check(self, num_features: int) -> None:
        """ValueError when the parts do not fit together, or a model of so many features."""
        size, num_groups = len(self.places), len(self.middles)
        sizes = {len(self.low), len(self.high), *map(len, self.middles)}
        sizes |= {len(self.center), len(self.spread)} if num_groups else set()
        fits = sizes == {size} and len(self.radii) == num_groups and size > 0
        if not fits or not all(0 <= place < num_features for place in self.places) or 0.0 in self.spread:
            raise ValueError("the support of the training rows does not fit the features")
        numbers = (*self.low, *self.high, *self.center, *self.spread)
        if (
            max(map(abs, numbers)) > MAX_NUMBER
            or max(map(abs, (*chain(*self.middles), *self.radii)), default=0) > MAX_BENT
        ):
            raise ValueError("the support of the training rows has numbers that no features have")

    def _is_near(self, features: Float32) -> bool:
        """Whether one row (F,) has no flag, as nearly all have. A server asks this of each request, so it takes a sixth
        of the time of flags(): argmax and argmin cost less than any() and min()."""
        numbers = features[self._columns]
        beyond = (numbers < self._low) | (numbers > self._high)
        if beyond[beyond.argmax()]:
            return False
        if not self.middles:
            return True
        bent = self._bend(numbers)
        over = bent @ self._product + self._rest
        return bool(over[over.argmin()] + bent.dot(bent) <= 0)

    @cached_property
    def _columns(self) -> NDArray[np.int64] | slice:
        """Where the numbers are among the features: a slice where they follow each other, which costs no copy."""
        first, last = self.places[0], self.places[-1]
        if self.places == tuple(range(first, last + 1)):
            return slice(first, last + 1)
        return np.array(self.places, np.int64)

    @cached_property
    def _low(self) -> Float32:
        return np.array(self.low, np.float32)

    @cached_property
    def _high(self) -> Float32:
        return np.array(self.high, np.float32)

    @cached_property
    def _middles(self) -> Float64:
        return np.array(self.middles)

    @cached_property
    def _product(self) -> Float64:
        """(n, K) what bent numbers are multiplied by."""
        return np.ascontiguousarray(-2.0 * self._middles.T)

    @cached_property
    def _rest(self) -> Float64:
        """(K,) squared lengths of the middles, less the squared distance from which on a row is far from each."""
        rest: Float64 = (self._middles**2).sum(axis=1) - (MARGIN * np.array(self.radii)) ** 2
        return rest

    @cached_property
    def _center_and_scale(self) -> tuple[Float64, Float64]:
        return np.array(self.center), 1.0 / np.array(self.spread)

    def _bend(self, numbers: Float32) -> Float64:
        center, scale = self._center_and_scale
        bent: Float64 = np.arcsinh((numbers - center) * scale)
        return bent

    def _maybe_far(self, bent: Float64) -> NDArray[np.int64]:
        """The rows of bent numbers (N, n) that are far, and those that are so but for what float32 rounds. Most are
        neither, and half the bytes take half the time."""
        narrow = bent.astype(np.float32)
        squares = np.einsum("ij,ij->i", narrow, narrow)
        product, rest = self._narrow
        least = (narrow @ product + rest).min(axis=1) + squares
        return np.flatnonzero(least > -ROUNDING * (squares + np.abs(self._rest).max() + 1.0))

    @cached_property
    def _narrow(self) -> tuple[Float32, Float32]:
        """_product and _rest in float32."""
        return self._product.astype(np.float32), self._rest.astype(np.float32)

    def _far(self, bent: Float64) -> list[tuple[int, int]]:
        """(row, the place that it differs most by) of each row that is far, by its bent numbers (N, n)."""
        maybe = self._maybe_far(bent)
        # |x - m|^2 - reach, for all middles in one product; a single row costs microseconds
        over = bent[maybe] @ self._product + self._rest + (bent[maybe] ** 2).sum(axis=1, keepdims=True)
        far = maybe[over.min(axis=1) > 0] if len(maybe) else maybe
        if not len(far):
            return []
        squares = _squared_distances(bent[far], self._middles)
        nearest = squares.argmin(axis=1)
        differences = np.abs(bent[far] - self._middles[nearest])
        return list(zip(far.tolist(), differences.argmax(axis=1).tolist(), strict=True))


def _fit_groups(rows: Float64, num_groups: int) -> tuple[Float64, Float64]:
    """Middles (K, n) of groups of rows (N, n) by k-means, and how far the farthest row of each group is, (K,)."""
    sample = rows[np.unique(np.linspace(0, len(rows) - 1, MAX_SAMPLE_ROWS).astype(np.int64))]
    order = np.random.default_rng(0).permutation(len(sample))[:num_groups]
    middles = sample[order]
    for _ in range(NUM_ROUNDS):
        nearest = _squared_distances(sample, middles).argmin(axis=1)
        counts = np.bincount(nearest, minlength=len(middles))
        kept = counts >= MIN_GROUP  # a smaller group would nearly be a row; its rows go to the next one
        if not kept.any():
            middles = sample.mean(axis=0, keepdims=True)
            continue
        sums = np.stack([np.bincount(nearest, column, len(middles)) for column in sample.T], axis=1)
        middles = sums[kept] / counts[kept, None]
    radii = np.zeros(len(middles))
    for start in range(0, len(rows), CHUNK_ROWS):
        squares = _squared_distances(rows[start : start + CHUNK_ROWS], middles)
        nearest = squares.argmin(axis=1)
        np.maximum.at(radii, nearest, np.sqrt(squares[np.arange(len(squares)), nearest]))
    return middles, np.maximum(radii, np.median(radii) if len(radii) else 0.0)


def _squared_distances(rows: Float64, middles: Float64) -> Float64:
    """Squared distances (N, K), never below 0."""
    squares = (rows**2).sum(axis=1)[:, None] - 2 * rows @ middles.T + (middles**2).sum(axis=1)
    distances: Float64 = np.maximum(squares, 0.0)
    return distances


def _round_numbers(numbers: Float64) -> tuple[float, ...]:
    return tuple(float(f"{number:.{DIGITS}g}") for number in numbers.tolist())
