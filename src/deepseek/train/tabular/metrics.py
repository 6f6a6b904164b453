"""Figures of a model on rows with known answers, each with a bootstrap interval, or an exact one (intervals.py).

Every metric takes row weights, so that one bootstrap resample is one vector of counts and nothing is sorted twice
(Efron and Tibshirani 1993, chapter 13, percentile intervals). `score` is the probability of the positive class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Figure, Float64, Task
from deepseek.errors import InputError, NonFiniteError
from deepseek.train.tabular.intervals import degenerate_interval

Metric = Callable[[NDArray[Any], Float64, Float64], float]  # target (N,), output (N, C) or (N, 1), weight (N,)
MIN_PROBABILITY = 1e-15


def _weighted_mean(values: NDArray[Any], *, weights: Float64) -> float:
    """The weighted mean; NaN when nothing has weight, as in a resample that drew only rows of weight zero."""
    total = weights.sum()
    return float(values @ weights / total) if total > 0 else float("nan")


def log_loss(target: NDArray[Any], output: Float64, weight: Float64) -> float:
    """Mean of -log of the probability given to the true class.

    >>> round(log_loss(np.array([1, 0]), np.array([[0.5, 0.5], [0.5, 0.5]]), np.ones(2)), 4)
    0.6931
    """
    return _weighted_mean(_row_log_losses(target, output), weights=weight)


def _row_log_losses(target: NDArray[Any], output: Float64) -> Float64:
    losses: Float64 = -np.log(np.clip(output[np.arange(len(target)), target], MIN_PROBABILITY, 1.0))
    return losses


def brier(target: NDArray[Any], output: Float64, weight: Float64) -> float:
    """Mean squared distance between the probabilities and the truth, summed over classes and halved (Brier 1950)."""
    return _weighted_mean(_row_brier_scores(target, output), weights=weight)


def _row_brier_scores(target: NDArray[Any], output: Float64) -> Float64:
    truth = np.eye(output.shape[1])[target]
    scores: Float64 = ((output - truth) ** 2).sum(axis=1) / 2
    return scores


def accuracy(target: NDArray[Any], output: Float64, weight: Float64) -> float:
    """Share of rows whose likeliest class is the true one."""
    return _weighted_mean(_row_hits(target, output), weights=weight)


def _row_hits(target: NDArray[Any], output: Float64) -> Float64:
    hits: Float64 = (output.argmax(axis=1) == target).astype(np.float64)
    return hits


def macro_f1(target: NDArray[Any], output: Float64, weight: Float64) -> float:
    """Mean of the harmonic mean of precision and recall over the classes that some row has or is given, as
    scikit-learn's f1_score(average="macro"): a class that is not there has no say."""
    predicted, num_classes = output.argmax(axis=1), output.shape[1]
    hits = np.bincount(target, weights=weight * (predicted == target), minlength=num_classes)
    true_plus_predicted = np.bincount(target, weights=weight, minlength=num_classes) + np.bincount(
        predicted, weights=weight, minlength=num_classes
    )
    there = true_plus_predicted > 0
    return float(np.mean(2 * hits[there] / true_plus_predicted[there]))


def auc(target: NDArray[Any], output: Float64, weight: Float64) -> float:
    """Chance that a positive row scores above a negative one, ties counting half (area under the ROC curve)."""
    return _Ranking(target, output[:, 1]).auc(weight)


def average_precision(target: NDArray[Any], output: Float64, weight: Float64) -> float:
    """Sum over thresholds of (gain in recall) x precision, as scikit-learn's average_precision_score."""
    return _Ranking(target, output[:, 1]).average_precision(weight)


class _Ranking:
    """Rows sorted by falling score, equal scores grouped: what ranking metrics need, whatever the weights."""

    def __init__(self, target: NDArray[Any], score: Float64) -> None:
        self.order = np.argsort(-score, kind="stable")
        self.positive = (target[self.order] == 1).astype(np.float64)
        ordered = score[self.order]
        self.ends = np.append(np.flatnonzero(np.diff(ordered)), len(score) - 1)
        self._counted: tuple[Float64, tuple[Float64, Float64]] | None = None  # for both metrics of one resample

    def _counts(self, weight: Float64) -> tuple[Float64, Float64]:
        """Positive and negative rows above each threshold, from 0 up."""
        if self._counted is None or self._counted[0] is not weight:
            w = weight[self.order]
            hits, alarms = np.cumsum(w * self.positive), np.cumsum(w * (1 - self.positive))
            none = np.zeros(1)
            self._counted = weight, (
                np.concatenate((none, hits[self.ends])), np.concatenate((none, alarms[self.ends]))
            )  # fmt: skip
        return self._counted[1]

    def auc(self, weight: Float64) -> float:
        hits, alarms = self._counts(weight)
        if hits[-1] == 0 or alarms[-1] == 0:
            return float("nan")
        return float(np.trapezoid(hits, alarms) / hits[-1] / alarms[-1])

    def average_precision(self, weight: Float64) -> float:
        hits, alarms = self._counts(weight)
        if hits[-1] == 0:
            return float("nan")
        flagged = (hits + alarms)[1:]
        precision = np.divide(hits[1:], flagged, out=np.ones_like(flagged), where=flagged > 0)
        return float(np.sum(np.diff(hits) * precision) / hits[-1])


def rmse(target: NDArray[Any], output: Float64, weight: Float64) -> float:
    """Root of the mean squared error, in the target's units."""
    return float(np.sqrt(_weighted_mean((output[:, 0] - target) ** 2, weights=weight)))


def mae(target: NDArray[Any], output: Float64, weight: Float64) -> float:
    """Mean absolute error, in the target's units."""
    return _weighted_mean(_row_absolute_errors(target, output), weights=weight)


def _row_absolute_errors(target: NDArray[Any], output: Float64) -> Float64:
    errors: Float64 = np.abs(output[:, 0] - target)
    return errors


def r2(target: NDArray[Any], output: Float64, weight: Float64) -> float:
    """Share of the target's variance that is explained."""
    spread = _weighted_mean((target - _weighted_mean(target, weights=weight)) ** 2, weights=weight)
    return (
        float(1 - _weighted_mean((output[:, 0] - target) ** 2, weights=weight) / spread) if spread > 0 else float("nan")
    )


@dataclass(frozen=True)
class MetricInfo:
    function: Metric
    higher_is_better: bool
    of_rows: Callable[[NDArray[Any], Float64], Float64] | None = None  # (N,), where the metric is the mean of these

    def loss(self, target: NDArray[Any], output: Float64, weight: Float64) -> float:
        """The metric turned so that lower is better."""
        value = self.function(target, output, weight)
        return 1 - value if self.higher_is_better else value


def _mean_ranking_score(target: NDArray[Any], output: Float64, weight: Float64) -> float:
    ranking = _Ranking(target, output[:, 1])
    return (ranking.average_precision(weight) + ranking.auc(weight)) / 2


def stabilize_metric(metric: MetricInfo) -> MetricInfo:
    """What to choose a blend by, to end well by `metric`: average precision hangs on the few rows at the top, so that
    the choice is made by its mean with the AUC."""
    return MetricInfo(_mean_ranking_score, True) if metric.function is average_precision else metric


_CLASSES = {
    "log_loss": MetricInfo(log_loss, False, _row_log_losses),
    "accuracy": MetricInfo(accuracy, True, _row_hits),
    "brier": MetricInfo(brier, False, _row_brier_scores),
    "macro_f1": MetricInfo(macro_f1, True),
}
METRICS: dict[str, dict[str, MetricInfo]] = {
    "binary": {
        **_CLASSES,
        "auc": MetricInfo(auc, True),
        "average_precision": MetricInfo(average_precision, True),
    },
    "multiclass": _CLASSES,
    "regression": {
        "rmse": MetricInfo(rmse, False),
        "mae": MetricInfo(mae, False, _row_absolute_errors),
        "r2": MetricInfo(r2, True),
    },
}


def find_metric(task: Task, name: str) -> MetricInfo:
    """The metric of a task, or InputError that lists what there is."""
    if name not in METRICS[task]:
        raise InputError(
            f"metric {name!r} does not fit a {task} target", expected=", ".join(METRICS[task]), fix="take one of these"
        )
    return METRICS[task][name]


def default_metric(task: Task, target: NDArray[Any]) -> str:
    """rmse for values, log_loss for classes, average_precision where the rarer of two classes is below 5 %."""
    if task == "regression":
        return "rmse"
    rare = task == "binary" and min(np.mean(target == 1), np.mean(target == 0)) < 0.05
    return "average_precision" if rare else "log_loss"


def measure_figures(
    task: Task, target: NDArray[Any], output: Float64, weight: Float64 | None = None, *, seed: int = 0
) -> dict[str, Figure]:
    """Every metric of the task with its 95 % bootstrap interval; an exact one where resamples could not differ.

    Resamples: 1,000 for up to 2,000 rows, falling to 200 for large ones. A metric that is undefined on these rows
    (AUC of one class) is left out. NonFiniteError for an output that is not finite: as a probability it would count
    for one of the classes, as a value it would make each figure NaN.
    """
    weight = np.ones(len(target)) if weight is None else weight
    (drawn,) = _draw_resamples(task, target, (output,), weight, seed)
    return _figures(task, drawn, target, weight)


@dataclass(frozen=True, slots=True)
class PairedFigures:
    """Two models on the same rows, by the name of each metric."""

    first: dict[str, Figure]
    second: dict[str, Figure]
    differences: dict[str, Figure]  # first minus second, on the same resamples


def measure_pair(
    task: Task, target: NDArray[Any], first: Float64, second: Float64, weight: Float64, *, seed: int = 0
) -> PairedFigures:
    """The figures of two models, as measure_figures() gives them, and their differences with paired intervals."""
    one, other = _draw_resamples(task, target, (first, second), weight, seed)
    differences = {
        name: Figure(
            value - other[name][0], *_percentile_interval(np.subtract(many, other[name][1]), value - other[name][0])
        )
        for name, (value, many) in one.items()
        if name in other
    }
    return PairedFigures(_figures(task, one, target, weight), _figures(task, other, target, weight), differences)


#: Of each metric its value on all rows, and on each resample.
_Resamples = dict[str, tuple[float, list[float]]]


def _draw_resamples(
    task: Task, target: NDArray[Any], outputs: tuple[Float64, ...], weight: Float64, seed: int
) -> tuple[_Resamples, ...]:
    """The metrics of each of several models of the same rows, on the same resamples."""
    for output in outputs:
        check_finite(output)
    random = np.random.default_rng(seed)
    num_resamples = int(np.clip(2_000_000 // max(1, len(target)), 200, 1_000))
    prepared = [prepare_metrics(task, target, output) for output in outputs]
    drawn: list[_Resamples] = [
        {name: (value, []) for name, compute in metrics.items() if np.isfinite(value := compute(weight))}
        for metrics in prepared
    ]
    uniform = np.full(len(target), 1 / len(target))
    for _ in range(num_resamples):  # one at a time: all of them would be hundreds of numbers a row
        resampled = weight * random.multinomial(len(target), uniform)
        for metrics, resamples in zip(prepared, drawn, strict=True):
            for name, (_, values) in resamples.items():
                values.append(metrics[name](resampled))
    return tuple(drawn)


def _figures(task: Task, drawn: _Resamples, target: NDArray[Any], weight: Float64) -> dict[str, Figure]:
    figures = {}
    for name, (value, many) in drawn.items():
        exact = None if task == "regression" else degenerate_interval(name, value, target, weight)
        figures[name] = Figure(value, *(exact or _percentile_interval(many, value)))
    return figures


def check_finite(output: Float64) -> None:
    """NonFiniteError, which names the row, unless all outputs (N, C) or (N, 1) are finite."""
    bad = ~np.isfinite(output).all(axis=1)
    if bad.any():
        raise NonFiniteError(
            f"the model's output for row {int(bad.argmax())} is not finite, nor for {int(bad.sum()) - 1} others of "
            f"{len(output)}: such rows have no figures",
            expected="finite outputs", fix="look at what that row holds; if it is in order, train the model again",
        )  # fmt: skip


def _percentile_interval(many: list[float] | NDArray[Any], value: float) -> tuple[float, float]:
    """The middle 95 % of the resamples on which the metric is defined."""
    known = np.array(many)[np.isfinite(many)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (value, value)
    return float(low), float(high)


def prepare_metrics(task: Task, target: NDArray[Any], output: Float64) -> dict[str, Callable[[Float64], float]]:
    """The metrics as functions of the weights alone: rows are sorted and their errors taken once."""
    prepared = {name: _bind_rows(info, target, output) for name, info in METRICS[task].items()}
    if task == "binary":
        ranking = _Ranking(target, output[:, 1])
        prepared |= {"auc": ranking.auc, "average_precision": ranking.average_precision}
    return prepared


def _bind_rows(info: MetricInfo, target: NDArray[Any], output: Float64) -> Callable[[Float64], float]:
    if info.of_rows is None:
        return lambda weight: info.function(target, output, weight)
    values = info.of_rows(target, output)
    return lambda weight: _weighted_mean(values, weights=weight)
