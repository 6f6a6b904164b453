"""What the served decision does to rows with known answers, with exact intervals.

point = measure_operating_point(target, decided, weight, rule)      # of rows that did not set the threshold
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.operating_point import OperatingPoint
from deepseek.train.tabular.intervals import weighted_rate


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How a threshold was set."""

    label: str  # of the positive class
    threshold: float
    rule: str
    max_fpr: float | None = None  # 0..1
    min_recall: float | None = None  # 0..1
    num_negatives_set: int | None = None  # rows of the other class among those that it was set on
    max_alerts_per_day: float | None = None
    num_alarms_set: int | None = None  # by a bound: how many of num_negatives_set may be alarms


def measure_operating_point(
    target: NDArray[Any],
    decided: NDArray[np.int64],
    weight: Float64,
    rule: DecisionRule,
    *,
    rows_per_day: float | None = None,
) -> OperatingPoint:
    """The operating point on N rows: `target` and `decided` are class numbers (N,), 1 the positive one, as they are
    served. Intervals are exact (Clopper and Pearson 1934); with weights, those of as many rows as say as much."""
    positive, alert = target == 1, decided == 1
    return OperatingPoint(
        label=rule.label, threshold=rule.threshold, rule=rule.rule, num_rows=len(target),
        num_positives=int(positive.sum()), num_caught=int((positive & alert).sum()),
        num_false_alarms=int((~positive & alert).sum()),
        recall=weighted_rate(alert[positive], weight[positive]),
        false_positive_rate=weighted_rate(alert[~positive], weight[~positive]),
        precision=weighted_rate(positive[alert], weight[alert]), alert_share=weighted_rate(alert, weight),
        max_fpr=rule.max_fpr, min_recall=rule.min_recall, num_negatives_set=rule.num_negatives_set,
        max_alerts_per_day=rule.max_alerts_per_day, num_alarms_set=rule.num_alarms_set,
        rows_per_day=rows_per_day, is_weighted=bool(np.ptp(weight)) if len(weight) else False,
    )  # fmt: skip
