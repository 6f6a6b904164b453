"""What a threshold does to rows that it was not set on: how many are caught, how many alarms are false, and how sure
that is. Made by `ship` and `evaluate`; read by whoever shows it. Plain Python: a bundle is read without numpy.

    point = read_promises(bundle).operating_point
    point.recall, point.alerts_per_day
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

LEAST_COST = "least cost"  # ends the rule of a threshold that costs chose among those that keep the limits
LEVEL = 0.95  # of every interval here: the share of such intervals that hold the true rate


@dataclass(frozen=True, slots=True)
class Rate:
    """A measured rate and its 95 % interval."""

    value: float
    low: float
    high: float

    def multiply(self, factor: float) -> Rate:
        """The rate in another unit."""
        return Rate(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold of two classes on N rows of which the answer is known. Rates are 0..1 and None where no row speaks
    for them; counts are rows, unweighted."""

    label: str  # the positive class: decided for from the threshold on
    threshold: float
    rule: str  # how it was set: "0.5", "false-positive rate <= 0.01", ...
    num_rows: int
    num_positives: int
    num_caught: int  # positives that are decided positive
    num_false_alarms: int  # negatives that are decided positive
    recall: Rate | None
    false_positive_rate: Rate | None
    precision: Rate | None
    alert_share: Rate | None  # of all rows, decided positive
    max_fpr: float | None = None  # the limit that was asked for
    min_recall: float | None = None
    num_negatives_set: int | None = None  # rows of the other class that the threshold was set on
    rows_per_day: float | None = None  # where the rows are dated
    max_alerts_per_day: float | None = None  # the limit that was asked for
    num_alarms_set: int | None = None  # by a bound: alarms among num_negatives_set, whose interval ends at max_fpr
    is_weighted: bool = False  # whether the rates weigh rows

    @property
    def num_alerts(self) -> int:
        return self.num_caught + self.num_false_alarms

    @property
    def num_negatives(self) -> int:
        return self.num_rows - self.num_positives

    @property
    def alerts_per_day(self) -> Rate | None:
        """Alerts of a day with as many rows as the dated rows have on average."""
        if self.alert_share is None or self.rows_per_day is None:
            return None
        return self.alert_share.multiply(self.rows_per_day)

    @property
    def num_negatives_needed(self) -> int | None:
        """Negative rows that can show a rate as low as max_fpr; None without such a limit."""
        return None if self.max_fpr is None else num_rows_for_rate(self.max_fpr)

    def to_dict(self) -> dict[str, object]:
        """The object that evidence and --json hold."""
        derived = {"alerts_per_day": self.alerts_per_day, "num_negatives_needed": self.num_negatives_needed}
        return {**asdict(self), **{name: asdict(v) if isinstance(v, Rate) else v for name, v in derived.items()}}


def num_rows_for_rate(rate: float) -> int | None:
    """The fewest rows of which none is an alarm whose 95 % interval ends at `rate` or below; None for a rate of 0,
    which no number of rows can show.

    >>> num_rows_for_rate(0.01), num_rows_for_rate(0.0002), num_rows_for_rate(1.0), num_rows_for_rate(0.0)
    (368, 18443, 1, None)
    """
    if rate <= 0:
        return None
    return 1 if rate >= 1 else max(1, math.ceil(math.log((1 - LEVEL) / 2) / math.log1p(-rate)))


def highest_rate_of_none(num_rows: int) -> float:
    """The upper end of the exact 95 % interval (Clopper and Pearson 1934) of 0 in `num_rows`.

    >>> round(highest_rate_of_none(368), 4), highest_rate_of_none(0)
    (0.01, 1.0)
    """
    return 1.0 if num_rows <= 0 else 1 - ((1 - LEVEL) / 2) ** (1 / num_rows)
