"""Where alarms begin: by a rate of false alarms, by a queue of alerts a day, by what errors cost; and what it is worth.

    limits = DecisionLimits(max_fpr=0.0002, queue=50, costs=read_costs("fraud=amount,alarm=5"))
    chosen = choose_alarms(held_rows, limits)          # on the rows of the held period, by the model that is shipped
    measure_money(test_rows, test_rows.score >= chosen.threshold.value, limits)

A limit is kept by the upper end of an exact 95 % interval (Clopper and Pearson), not by the estimate. Of the thresholds
that keep all limits costs take the one of least cost, else it is the lowest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.data.table.values import DAY_MS
from deepseek.errors import CheckError, InputError
from deepseek.operating_point import LEAST_COST, LEVEL, Rate, num_rows_for_rate
from deepseek.train.tabular.decide import Threshold, threshold_curve
from deepseek.train.tabular.intervals import exact_interval

Values: TypeAlias = np.ndarray[Any, np.dtype[Any]]
MIN_FRAUDS = 30  # of held rows that costs are weighed on: with fewer the least cost is an accident
NUM_CURVE_POINTS = 60


@dataclass(frozen=True, slots=True)
class ErrorCosts:
    """In the unit of amounts."""

    missed: float | None  # of a fraud that is no alarm; None: its amount
    false_alarm: float

    def losses(self, amount: Values) -> Values:
        """Of each fraud with these amounts (N,), if it is missed."""
        return amount if self.missed is None else np.full(len(amount), self.missed)


def read_costs(text: str) -> ErrorCosts:
    """InputError for anything but fraud=amount or a number, and alarm=NUMBER, both above 0.

    >>> read_costs("fraud=amount,alarm=5")
    ErrorCosts(missed=None, false_alarm=5.0)
    """
    named = dict(part.partition("=")[::2] for part in text.replace(" ", "").split(","))
    try:
        missed = None if named["fraud"] == "amount" else float(named["fraud"])
        costs = ErrorCosts(missed, float(named["alarm"]))
        fits = len(named) == 2 and costs.false_alarm > 0 and (missed is None or missed > 0)
    except (KeyError, ValueError):
        fits = False
    if not fits or not np.isfinite([costs.false_alarm, costs.missed or 0.0]).all():
        raise InputError(
            f"the costs are {text!r}", expected="fraud=amount or a number above 0, and alarm=NUMBER above 0",
            fix="write fraud=amount,alarm=5: a missed fraud costs its amount, a false alarm 5",
        )  # fmt: skip
    return costs


@dataclass(frozen=True, slots=True)
class DecisionLimits:
    """What alarms have to keep. At least one is given."""

    max_fpr: float | None = None  # share of the genuine payments that may be alarms, 0..1
    queue: float | None = None  # alerts a day that are looked at
    costs: ErrorCosts | None = None

    def __post_init__(self) -> None:
        if self.max_fpr is None and self.queue is None and self.costs is None:
            raise InputError("nothing says where alarms begin", expected="max_fpr, queue or costs", fix="give one")
        if self.queue is not None and not 0 < self.queue < np.inf:
            raise InputError(f"the queue takes {self.queue} alerts a day", expected="above 0", fix="give a number")


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRows:
    """N rows with verdicts, of one period."""

    score: Values  # (N,) the chance of fraud
    fraud: Values  # (N,) bool
    amount: Values  # (N,)
    time_ms: Values  # (N,)
    rows_per_day: float  # of the period, rows without a verdict counted

    @property
    def num_genuine(self) -> int:
        return int((~self.fraud).sum())


@dataclass(frozen=True, slots=True)
class Bound:
    """How many of N rows may be alarms so that the 95 % interval of their share ends at `limit` or below."""

    limit: float  # 0..1
    num_rows: int
    num_alarms: int
    level: float = LEVEL


@dataclass(frozen=True, slots=True)
class ChosenAlarms:
    """A threshold, and the bounds that it keeps on the rows it was set on."""

    threshold: Threshold
    rate: Bound | None  # alarms among the genuine rows
    alerts: Bound | None  # among all rows
    num_genuine: int

    def to_dict(self) -> JsonObject:
        """For evidence/fraud.json."""
        return asdict(self)


def choose_alarms(rows: JudgedRows, limits: DecisionLimits) -> ChosenAlarms:
    """The threshold for the limits on held rows. CheckError where so few rows can show none of them."""
    rate = None if limits.max_fpr is None else bound_rate(rows.num_genuine, limits.max_fpr)
    alerts = None if limits.queue is None else bound_queue(len(rows.score), rows.rows_per_day, limits.queue)
    num_frauds = int(rows.fraud.sum())
    if limits.costs is not None and num_frauds < MIN_FRAUDS:
        raise CheckError(
            f"{num_frauds} frauds weigh the costs", expected=f"{MIN_FRAUDS} in the period that sets the threshold",
            fix="bring more transactions, or set it by --queue or --max-fpr",
        )  # fmt: skip
    target, ones = rows.fraud.astype(np.int64), np.ones(len(rows.score))
    values, recall, fpr, precision = threshold_curve(target, rows.score, ones)
    num_false, num_caught = np.rint(fpr * rows.num_genuine), np.rint(recall * num_frauds)
    keeps = np.ones(len(values), bool)
    if rate is not None:
        keeps &= num_false <= rate.num_alarms
    if alerts is not None:
        keeps &= num_false + num_caught <= alerts.num_alarms
    allowed = np.flatnonzero(keeps)  # never empty: above every chance there is no alarm
    place = int(allowed[-1])
    if limits.costs is not None:
        place = int(allowed[np.argmin(_costs_along(rows, limits.costs, num_false)[allowed])])
    said = [f"false-positive rate <= {limits.max_fpr}"] if limits.max_fpr is not None else []
    said += [f"alerts a day <= {limits.queue:g}"] if limits.queue is not None else []
    said += [LEAST_COST] if limits.costs is not None else []
    threshold = Threshold(
        _below(values, place), ", ".join(said), float(recall[place]), float(fpr[place]), float(precision[place])
    )
    return ChosenAlarms(threshold, rate, alerts, rows.num_genuine)


def _below(values: Values, place: int) -> float:
    """A threshold in the middle between a chance and the next lower one: an engine that rounds otherwise does not take
    the last alarm away. Above every chance it stays where it is."""
    if not 0 < place < len(values) - 1:
        return float(values[place])
    return (float(values[place]) + float(values[place + 1])) / 2


def bound_rate(num_genuine: int, max_fpr: float) -> Bound:
    """The most alarms among genuine held rows that still show a rate of at most `max_fpr`. CheckError where even none
    would not.

    >>> bound_rate(18_443, 0.0002).num_alarms, bound_rate(100_000, 0.0002).num_alarms
    (0, 11)
    """
    return _bound_share(
        num_genuine, max_fpr, ("genuine rows", f"a false-positive rate of {max_fpr:g}"),
        "bring more transactions, or allow more false alarms (--max-fpr)",
    )  # fmt: skip


def bound_queue(num_rows: int, rows_per_day: float, queue: float) -> Bound:
    """The most alerts among held rows that still show at most `queue` alerts a day. CheckError where even none would
    not.

    >>> bound_queue(70_000, 10_000.0, 50.0).num_alarms
    313
    """
    return _bound_share(
        num_rows, min(1.0, queue / rows_per_day), ("rows", f"{queue:g} alerts a day of {rows_per_day:,.0f} rows"),
        "bring more transactions, or a longer queue (--queue)",
    )  # fmt: skip


def measure_money(rows: JudgedRows, alert: Values, limits: DecisionLimits) -> JsonObject:
    """What alerts (N,) do to a period: alerts a day with their interval, money that is caught and lost, payments
    that are stopped for nothing; with costs what errors cost, and what they cost without any alarm."""
    fraud, amount = rows.fraud, rows.amount
    by_day = np.bincount((rows.time_ms // DAY_MS - rows.time_ms.min() // DAY_MS)[alert], minlength=1)
    money: JsonObject = {
        "num_rows": len(alert),
        "num_alerts": int(alert.sum()),
        "alerts_per_day": asdict(_alerts_per_day(alert, rows.rows_per_day)),
        "most_alerts_in_a_day": int(by_day.max()),
        "num_days_above_queue": None if limits.queue is None else int((by_day > limits.queue).sum()),
        "amount_caught": float(amount[alert & fraud].sum()),
        "amount_lost": float(amount[~alert & fraud].sum()),
        "amount_false_alarms": float(amount[alert & ~fraud].sum()),
        "cost": None,
        "cost_without_alarms": None,
    }
    if limits.costs is not None:
        losses = limits.costs.losses(amount)
        missed = float(losses[~alert & fraud].sum())
        money["cost"] = missed + limits.costs.false_alarm * int((alert & ~fraud).sum())
        money["cost_without_alarms"] = float(losses[fraud].sum())
    return money


def money_curve(rows: JudgedRows, costs: ErrorCosts | None) -> list[list[float]]:
    """[[alerts a day, money caught a day, and less what false alarms cost], ...] for queues of rising size, evenly on a
    scale of logarithms, up to where all money is caught, or a tenth of the rows are alerts."""
    order = np.argsort(-rows.score, kind="stable")
    fraud = rows.fraud[order]
    caught = np.cumsum(np.where(fraud, rows.amount[order], 0.0))
    days = len(order) / rows.rows_per_day
    last = min(int(np.searchsorted(caught, caught[-1] * 0.999)), len(order) // 10)
    counts = np.unique(np.geomspace(1, max(last, 2), NUM_CURVE_POINTS).round().astype(np.int64))
    alarm_cost = 0.0 if costs is None else costs.false_alarm
    return [
        [number / days, float(caught[number - 1]) / days,
         (float(caught[number - 1]) - alarm_cost * int((~fraud[:number]).sum())) / days]
        for number in counts.tolist()
    ]  # fmt: skip


def _costs_along(rows: JudgedRows, costs: ErrorCosts, num_false: Values) -> Values:
    """What errors cost at each threshold of the curve of these rows."""
    losses = costs.losses(rows.amount)
    weight = np.where(rows.fraud, losses, 1.0)
    _, share_caught, _, _ = threshold_curve(rows.fraud.astype(np.int64), rows.score, weight)
    return np.asarray((1 - share_caught) * losses[rows.fraud].sum() + costs.false_alarm * num_false)


def _alerts_per_day(alert: Values, rows_per_day: float) -> Rate:
    number, total = int(alert.sum()), len(alert)
    return Rate(number / total, *exact_interval(number, total)).multiply(rows_per_day)


def _bound_share(num_rows: int, share: float, named: tuple[str, str], fix: str) -> Bound:
    """The most of these rows that may be alarms, to show `share` or less. `named`: the rows and what they show, in
    words. CheckError."""
    needed, (rows, goal) = num_rows_for_rate(share), named
    if needed is None or num_rows < needed:
        raise CheckError(
            f"{num_rows:,} {rows} set the threshold: they cannot show {goal}",
            expected="a limit above 0" if needed is None else f"{needed:,} {rows} in the period that sets it", fix=fix,
        )  # fmt: skip
    return Bound(share, num_rows, _most_alarms(num_rows, share))


def _most_alarms(num_rows: int, limit: float) -> int:
    low, high = 0, num_rows
    if exact_interval(num_rows, num_rows)[1] <= limit:
        return num_rows
    while high - low > 1:
        middle = (low + high) // 2
        if exact_interval(middle, num_rows)[1] <= limit:
            low = middle
        else:
            high = middle
    return low
