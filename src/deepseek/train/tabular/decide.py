"""From probabilities to decisions: a threshold for a stated limit, a cost matrix, and intervals for values.

All are set on rows that the model was not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import CheckError, InputError


@dataclass(frozen=True)
class Threshold:
    """Decide for the positive class from the probability `value` on. Shares are those on the rows it was set on."""

    value: float
    rule: str
    recall: float
    false_positive_rate: float
    precision: float

    def to_dict(self) -> dict[str, float | str]:
        """As decision.json holds it."""
        return asdict(self)


def choose_threshold(
    target: NDArray[Any],
    probability: Float64,
    weight: Float64,
    *,
    max_fpr: float | None = None,
    min_recall: float | None = None,
    costs: Float64 | None = None,
) -> Threshold:
    """The threshold that meets the limits: of those with a false-positive rate <= max_fpr the one of highest recall,
    of those with recall >= min_recall the one of lowest false-positive rate; with costs the one of least expected cost;
    else 0.5. Raises CheckError when both limits are given and nothing meets them.

    >>> found = choose_threshold(np.array([0, 0, 1, 1]), np.array([.1, .6, .5, .9]), np.ones(4), max_fpr=0.0)
    >>> found.value, found.recall, found.false_positive_rate
    (0.9, 0.5, 0.0)
    """
    for name, share in (("max_fpr", max_fpr), ("min_recall", min_recall)):
        if share is not None and not 0 <= share <= 1:
            raise InputError(f"{name} is {share}", expected="a share between 0 and 1", fix="for 5 % write 0.05")
    values, recall, fpr, precision = threshold_curve(target, probability, weight)

    def operating_point_at(index: int, rule: str) -> Threshold:
        return Threshold(float(values[index]), rule, float(recall[index]), float(fpr[index]), float(precision[index]))

    if max_fpr is None and min_recall is None:
        value, rule = (0.5, "0.5") if costs is None else (_cost_threshold(costs), "least expected cost")
        index = int(np.searchsorted(-values, -value, side="right")) - 1
        operating_point = operating_point_at(index, rule)
        return Threshold(
            value, rule, operating_point.recall, operating_point.false_positive_rate, operating_point.precision
        )
    meets_limits = np.ones(len(values), bool)
    if max_fpr is not None:
        meets_limits &= fpr <= max_fpr
    if min_recall is not None:
        meets_limits &= recall >= min_recall
    if not meets_limits.any():
        best = recall[fpr <= (max_fpr or 0)].max(initial=0.0)
        raise CheckError(
            f"no threshold has a false-positive rate <= {max_fpr} and a recall >= {min_recall}",
            expected=f"limits that the model can meet: at that rate its recall is {best:.3f}",
            fix="loosen one of the two limits, or give the search more budget",
        )
    where = np.flatnonzero(meets_limits)
    if max_fpr is not None:
        return operating_point_at(int(where[np.argmax(recall[where])]), f"false-positive rate <= {max_fpr}")
    return operating_point_at(int(where[np.argmin(fpr[where])]), f"recall >= {min_recall}")


def threshold_curve(
    target: NDArray[Any], probability: Float64, weight: Float64
) -> tuple[Float64, Float64, Float64, Float64]:
    """Thresholds in falling order, from above every probability down; recall, false-positive rate and precision."""
    order = np.argsort(-probability, kind="stable")
    ordered, w, positive = probability[order], weight[order], target[order] == 1
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    hits, alarms = np.cumsum(w * positive)[ends], np.cumsum(w * ~positive)[ends]
    flagged = hits + alarms
    nothing = float(np.nextafter(np.float32(max(1.0, float(ordered[0]))), np.float32(2)))  # as engines answer
    return (
        np.append(nothing, ordered[ends]),
        np.append(0.0, hits / max(hits[-1], 1e-300)),
        np.append(0.0, alarms / max(alarms[-1], 1e-300)),
        np.append(1.0, hits / np.maximum(flagged, 1e-300)),
    )


def check_costs(costs: object, labels: tuple[str, ...]) -> Float64:
    """A cost matrix (C, C): costs[truth][decision] by label (what is not named costs 0) or in the order of the labels;
    or InputError.

    >>> check_costs({"bad": {"good": 50}, "good": {"bad": 1}}, ("bad", "good")).tolist()
    [[0.0, 50.0], [1.0, 0.0]]
    """
    if isinstance(costs, Mapping):
        costs = _cost_rows(costs, labels)
    try:
        matrix = np.asarray(costs, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            "the cost matrix is not a table of numbers",
            expected="costs[truth][decision]",
            fix='give {"TRUE": {"PREDICTED": cost}}',
        ) from error
    size = len(labels)
    if matrix.shape != (size, size) or not np.isfinite(matrix).all():
        raise InputError(
            f"the cost matrix has shape {matrix.shape}",
            expected=f"({size}, {size}) finite numbers, costs[truth][decision] in the order {', '.join(labels)}",
            fix="give a cost for each pair of labels",
        )
    if size == 2 and not (matrix[0, 1] > matrix[0, 0] and matrix[1, 0] > matrix[1, 1]):
        raise InputError(
            "a wrong decision costs no more than a right one",
            expected="costs[i][j] > costs[i][i]",
            fix="make every wrong decision dearer than the right one of its label",
        )
    return matrix


def _cost_rows(costs: Mapping[Any, Any], labels: tuple[str, ...]) -> list[list[Any]]:
    rows = [(str(truth), row if isinstance(row, Mapping) else {}) for truth, row in costs.items()]
    for name in [truth for truth, _ in rows] + [str(label) for _, row in rows for label in row]:
        if name not in labels:
            raise InputError(
                f"the costs name {name!r}, which is no label",
                expected=", ".join(labels),
                fix="name the labels as the target holds them",
            )
    named = {truth: {str(label): cost for label, cost in row.items()} for truth, row in rows}
    return [[named.get(truth, {}).get(label, 0) for label in labels] for truth in labels]


def _cost_threshold(costs: Float64) -> float:
    """Elkan (2001), equation 2: decide positive when its probability is at least this."""
    alarm, miss = costs[0, 1] - costs[0, 0], costs[1, 0] - costs[1, 1]
    return float(alarm / (alarm + miss))


def conformal_half_width(target: Float64, value: Float64, level: float) -> float:
    """Half the width of an interval that holds a new value with probability >= level, from held-out residuals (split
    conformal prediction, Lei et al. 2018, algorithm 2; exchangeable rows assumed).

    >>> conformal_half_width(np.arange(9.0), np.zeros(9), 0.8)
    7.0
    """
    if not 0 < level < 1:
        raise InputError(
            f"interval is {level}", expected="a share between 0 and 1, such as 0.9", fix="give such a share"
        )
    residual = np.sort(np.abs(target - value))
    rank = int(np.ceil((len(residual) + 1) * level - 1e-9)) - 1
    if rank >= len(residual):
        raise InputError(
            f"{len(residual)} held rows cannot promise an interval of {level}",
            expected=f"at most {len(residual) / (len(residual) + 1):.3f}",
            fix="bring more rows, or lower interval",
        )
    return float(residual[rank])
