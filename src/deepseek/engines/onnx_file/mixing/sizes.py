"""Sizes of axes as products of a number and of named unknowns, so that a Reshape can be followed without numbers.

NUM_ROWS * known_size(12) / known_size(4)      # three times the number of rows
(NUM_ROWS * known_size(12)).per_row            # known_size(12): the share of each row
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from math import prod

_ROWS = "N"
_unknown_ids = count()


@dataclass(frozen=True, slots=True)
class Size:
    """`factor` times each unknown to its power."""

    factor: Fraction
    powers: tuple[tuple[str, int], ...] = ()  # name of an unknown and its power, by name

    def __mul__(self, other: Size) -> Size:
        return _multiply(self, other, 1)

    def __truediv__(self, other: Size) -> Size:
        """ZeroDivisionError for 0."""
        return _multiply(self, other, -1)

    @property
    def number(self) -> Fraction | None:
        """The number, where there is no unknown."""
        return None if self.powers else self.factor

    @property
    def whole(self) -> int | None:
        """The number, where it is known and whole."""
        return self.factor.numerator if not self.powers and self.factor.denominator == 1 else None

    @property
    def counts_rows(self) -> bool:
        """Whether it depends on how many rows there are."""
        return any(name.startswith(_ROWS) for name, _ in self.powers)

    @property
    def is_integral(self) -> bool:
        """Whether it is a whole number, whatever the unknowns are."""
        return self.factor.denominator == 1 and all(power > 0 for _, power in self.powers)

    @property
    def per_row(self) -> Size | None:
        """The size's share of each row, where it is a whole multiple of the number of rows; else None."""
        if dict(self.powers).get(_ROWS) != 1:
            return None
        share = self / NUM_ROWS
        return share if share.is_integral and not share.counts_rows else None


def _multiply(first: Size, second: Size, sign: int) -> Size:
    powers = dict(first.powers)
    for name, power in second.powers:
        powers[name] = powers.get(name, 0) + sign * power
    factor = first.factor * second.factor if sign > 0 else first.factor / second.factor
    return Size(factor, tuple(sorted((name, power) for name, power in powers.items() if power and factor)))


def known_size(number: float | Fraction) -> Size:
    """The size that is this number."""
    return Size(Fraction(number))


def named_size(name: str) -> Size:
    """The size of an input's free axis; equal names are equal sizes."""
    return Size(Fraction(1), ((f"axis {name}", 1),))


def unknown_size(*, counts_rows: bool = False) -> Size:
    """A size like no other. `counts_rows`: it may depend on how many rows there are."""
    return Size(Fraction(1), ((f"{_ROWS if counts_rows else ''}?{next(_unknown_ids)}", 1),))


def total_size(sizes: Iterable[Size]) -> Size:
    """The product of these sizes."""
    return prod(sizes, start=ONE)


ONE = known_size(1)
#: The number of rows of a call.
NUM_ROWS = Size(Fraction(1), ((_ROWS, 1),))
