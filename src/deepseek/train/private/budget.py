"""What a training may tell of each row of its data, as differential privacy says it: epsilon at a delta.

    budget = parse_budget("epsilon=3,delta=1e-6")
    budget.check(num_rows)

No torch, and nothing heavy: what cannot be kept is refused before anything is read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from deepseek.errors import CheckError, InputError
from deepseek.plugins import did_you_mean

MEANING = (
    "neighboring data sets differ in one row: whatever is written here is at most exp(epsilon) times as likely with "
    "the row as without it, but for a chance of delta. The numbers of rows, the names of columns and of classes, and "
    "all settings are taken as known"
)


class BudgetSpentError(CheckError):
    """What a privacy budget does not pay for."""

    code = "budget_spent"


@dataclass(frozen=True, slots=True)
class PrivacyBudget:
    """The section [dp] of a run, and --dp."""

    epsilon: float  # that the rows may have lost when the run is over, earlier runs of the ledger included
    delta: float  # chance that epsilon does not speak of; below one by the number of rows
    clip_norm: float = 1.0  # longest gradient of a row
    ledger: str | None = None  # file that counts what was spent on the same rows; none: this run alone counts

    def __post_init__(self) -> None:
        for name, good, expected in (
            ("epsilon", 0 < self.epsilon < math.inf, "a number above 0"),
            ("delta", 0 < self.delta < 1, "a share between 0 and 1, such as 1e-6"),
            ("clip_norm", 0 < self.clip_norm < math.inf, "a length above 0"),
        ):
            if not good:
                raise InputError(f"dp.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")

    def check(self, num_rows: int) -> None:
        """InputError for a delta at which a whole row could be let out."""
        if self.delta * num_rows >= 1:
            raise InputError(
                f"dp.delta is {self.delta:g} for {num_rows:,} rows",
                expected=f"less than one by the number of rows, {1 / num_rows:.1e}: else a row might be shown whole",
                fix=f"set it to {0.1 / num_rows:.0e}",
            )


def parse_budget(text: str) -> PrivacyBudget:
    """The budget of `epsilon=3,delta=1e-6`, with clip_norm and ledger where they are named. InputError for others.

    >>> parse_budget("epsilon=3,delta=1e-6")
    PrivacyBudget(epsilon=3.0, delta=1e-06, clip_norm=1.0, ledger=None)
    """
    names = [field.name for field in fields(PrivacyBudget)]
    values: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = (each.strip() for each in part.partition("="))
        if name not in names or not equals or not value:
            raise InputError(
                f"--dp has {part.strip()!r}.{did_you_mean(name, names)}", expected=f"NAME=VALUE of {', '.join(names)}",
                fix="write it as epsilon=3,delta=1e-6",
            )  # fmt: skip
        values[name] = value
    missing = [name for name in ("epsilon", "delta") if name not in values]
    if missing:
        raise InputError(
            f"--dp lacks {' and '.join(missing)}", expected="both numbers of the budget",
            fix="write it as epsilon=3,delta=1e-6",
        )  # fmt: skip
    numbers = {name: _number(name, value) for name, value in values.items() if name != "ledger"}
    return PrivacyBudget(**numbers, ledger=values.get("ledger"))


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"dp.{name} is {text!r}", expected="a number", fix="write it as 3 or 1e-6") from None
