"""Payments as arrays: who paid where, when and how much, with cards and terminals as small whole numbers.

>>> when, cards, shop = np.array([20, 0]), np.array(["b", "a"]), np.array(["x", "x"])
>>> payments = Payments.from_columns(when, cards, shop, np.array([3.5, 1.0]))
>>> payments.time_s.tolist(), payments.card.tolist(), payments.card_names.tolist(), payments.cents.tolist()
([0, 20], [0, 1], ['a', 'b'], [100, 350])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_CARDS = 2  # one card alone is in no ring
MAX_TIME_S = 253_402_300_799  # the end of the year 9999
MAX_AMOUNT = 1e12  # above it cents are no longer exact; no card payment is so large


@dataclass(frozen=True, eq=False)
class Payments:
    """N payments in the order of time."""

    time_s: Ints  # (N,) whole seconds since 1970
    card: Ints  # (N,) index into card_names
    terminal: Ints  # (N,) index into terminal_names
    cents: Ints  # (N,) amounts in the smallest unit
    card_names: NDArray[Any]  # (C,)
    terminal_names: NDArray[Any]  # (T,)

    @classmethod
    def from_columns(
        cls, time_s: NDArray[Any], card: NDArray[Any], terminal: NDArray[Any], amount: NDArray[Any]
    ) -> Payments:
        """Payments of four columns (N,) in any order of rows: whole seconds, names of any kind, and amounts with two
        decimals. InputError for rows without a time, a card, a terminal or an amount that can be used."""
        time_s, card, terminal, amount = (np.asarray(values) for values in (time_s, card, terminal, amount))
        _check_lengths({"time": time_s, "card": card, "terminal": terminal, "amount": amount})
        _check_whole("time", np.isfinite(time_s.astype(np.float64)))
        _check_whole("amount", np.isfinite(amount.astype(np.float64)))
        if (np.abs(time_s) > MAX_TIME_S).any():
            row = int(np.argmax(np.abs(time_s) > MAX_TIME_S))
            raise InputError(
                f"the time of row {row} is {time_s[row]:g}, beyond the year 9999",
                expected="seconds since 1970",
                fix="milliseconds must be divided by 1,000",
            )
        if (np.abs(amount) > MAX_AMOUNT).any():
            row = int(np.argmax(np.abs(amount) > MAX_AMOUNT))
            raise InputError(
                f"the amount of row {row} is {amount[row]:g}", expected=f"at most {MAX_AMOUNT:g}", fix="leave it out"
            )
        card_names, card_codes = np.unique(card, return_inverse=True)
        terminal_names, terminal_codes = np.unique(terminal, return_inverse=True)
        if len(card_names) < MIN_CARDS:
            raise InputError(
                f"all {len(card)} payments are of one card",
                expected="payments of at least two cards: a ring is a group",
                fix="give the payments of all cards of the same days",
            )
        order = np.lexsort((terminal_codes, card_codes, time_s))
        cents = np.rint(amount.astype(np.float64) * 100).astype(np.int64)
        return cls(
            time_s[order].astype(np.int64), card_codes[order].astype(np.int64), terminal_codes[order].astype(np.int64),
            cents[order], card_names, terminal_names,
        )  # fmt: skip

    @property
    def num_cards(self) -> int:
        return len(self.card_names)

    @property
    def num_terminals(self) -> int:
        return len(self.terminal_names)

    @property
    def num_days(self) -> float:
        """Days from the first payment to the last, at least one."""
        return max(1.0, float(self.time_s[-1] - self.time_s[0]) / DAY_S)

    def __len__(self) -> int:
        return len(self.time_s)

    def replace_rows(self, kept: Mask, time_s: Ints, card: Ints, terminal: Ints, cents: Ints) -> Payments:
        """The rows of the mask `kept` (N,) and further ones, in the order of time, of the same cards and terminals."""
        columns = [
            np.concatenate([old[kept], new])
            for old, new in ((self.time_s, time_s), (self.card, card), (self.terminal, terminal), (self.cents, cents))
        ]
        order = np.lexsort((columns[2], columns[1], columns[0]))
        when, who, where, paid = (values[order] for values in columns)
        return Payments(when, who, where, paid, self.card_names, self.terminal_names)


DAY_S = 86_400
HOUR_S = 3_600


def _check_lengths(columns: Mapping[str, NDArray[Any]]) -> None:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"the columns have other lengths: {lengths}", expected="one length", fix="give whole rows")
    if not lengths["time"]:
        raise InputError("there are no payments", expected="at least two cards with payments", fix="give rows")


def _check_whole(name: str, is_usable: Mask) -> None:
    if not is_usable.all():
        row = int(np.argmin(is_usable))
        raise InputError(
            f"{int((~is_usable).sum())} payments have no {name}, the first of them in row {row}",
            expected=f"a {name} in each row",
            fix="leave these rows out, or find out why it is missing",
        )
