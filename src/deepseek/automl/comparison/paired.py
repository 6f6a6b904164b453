"""Differences between models on the same rows, with intervals.

    resamples = resample_metrics([scorers_of_a, scorers_of_b], weight, seed=0)
    resamples.difference("log_loss", 1)         # the second minus the first: value, low, high, p_value

Each resample weighs the rows alike for all models, so what makes a row hard for both cancels out (Efron and Tibshirani
1993, chapters 8 and 13). Rows of one group are drawn together. The ends are quantiles of the resamples, widened for few
rows (Hesterberg 2015, section 5.3: expanded percentile interval). Where fewer than MAX_EXACT_ROWS rows speak for either
model, a share has too few values for that: then the interval is exact (Clopper and Pearson 1934, of the rows on which
one alone is right and of how many of them there are) and excludes zero where McNemar's exact test does (1947).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Figure, Float64, Task
from deepseek.extras import need
from deepseek.train.tabular.metrics import prepare_metrics

LEVEL = 0.95  # of every interval
MAX_EXACT_ROWS = 25
MIN_RESAMPLES, MAX_RESAMPLES = 200, 1_000
RESAMPLED_ROWS = 2_000_000  # over all resamples, between these limits

Scorer = Callable[[Float64], float]  # row weights (N,) -> a metric; NaN where it is undefined


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """The share of rows that have a property, among those that count for it."""

    hits: NDArray[np.bool_]  # (N,)
    among: NDArray[np.bool_]  # (N,)

    def __call__(self, weight: Float64) -> float:
        total = weight @ self.among
        return float(weight @ (self.hits & self.among) / total) if total > 0 else nan

    def same_rows(self, other: Share) -> bool:
        """Whether both are shares of the same rows."""
        return bool(np.array_equal(self.among, other.among))


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """One metric of a model minus that of another, on the same rows."""

    value: float
    low: float  # NaN where the rows do not suffice for an interval
    high: float
    p_value: float  # two-sided, of no difference; NaN as the ends

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


UNKNOWN_ENDS = (nan, nan)
NO_DIFFERENCE = PairedDifference(0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class ResampledMetrics:
    """Metrics of K models on all rows, and on R resamples that are the same for each. A metric that is undefined for
    one of the models is left out."""

    scorers: Sequence[Mapping[str, Scorer]]
    values: dict[str, Float64]  # (K,)
    resampled: dict[str, Float64]  # (K, R)
    undefined: tuple[str, ...]  # metrics that are left out
    num_units: int  # what is drawn: rows, or groups of rows
    counts_rows: bool  # each row counts once and by itself: no weights, no groups

    def figure(self, metric: str, model: int) -> Figure:
        """The metric of one model, with its interval."""
        value, scorer = float(self.values[metric][model]), self.scorers[model][metric]
        if self.counts_rows and isinstance(scorer, Share):
            hits, size = int((scorer.hits & scorer.among).sum()), int(scorer.among.sum())
            if min(hits, size - hits) < MAX_EXACT_ROWS:
                return Figure(value, *_proportion_ends(hits, size, "wilson"))
        low, high = _ends(self.resampled[metric][model], self.num_units)
        return Figure(value, low, high)

    def difference(self, metric: str, model: int, reference: int = 0) -> PairedDifference:
        """The metric of `model` minus that of `reference`."""
        value = float(self.values[metric][model] - self.values[metric][reference])
        resampled = self.resampled[metric][model] - self.resampled[metric][reference]
        low, high = _ends(resampled, self.num_units)
        p_value = _bootstrap_p_value(value, resampled, self.num_units)
        ours, theirs = self.scorers[model][metric], self.scorers[reference][metric]
        if self.counts_rows and isinstance(ours, Share) and isinstance(theirs, Share) and ours.same_rows(theirs):
            only_reference = int((theirs.hits & ~ours.hits & ours.among).sum())
            only_model = int((ours.hits & ~theirs.hits & ours.among).sum())
            if only_reference + only_model < MAX_EXACT_ROWS:
                return exact_difference(only_reference, only_model, int(ours.among.sum()))
            p_value = mcnemar_p_value(only_reference, only_model)
        return PairedDifference(value, low, high, p_value)


def metric_scorers(task: Task, target: NDArray[Any], output: Float64) -> dict[str, Scorer]:
    """The task's metrics of outputs (N, C) or (N, 1), as functions of row weights."""
    scorers: dict[str, Scorer] = dict(prepare_metrics(task, target, output))
    if task != "regression":
        scorers["accuracy"] = Share(output.argmax(axis=1) == target, np.ones(len(target), bool))
    return scorers


def decision_scorers(task: Task, target: NDArray[Any], decided: NDArray[np.int64]) -> dict[str, Scorer]:
    """What the decisions (N,) of a classifier do, as functions of row weights; of two classes the rates of the second
    one. Nothing for regression."""
    if task == "regression":
        return {}
    everywhere = np.ones(len(target), bool)
    scorers: dict[str, Scorer] = {"decision_accuracy": Share(decided == target, everywhere)}
    if task == "binary":
        chosen, positive = decided == 1, target == 1
        scorers["recall"] = Share(chosen, positive)
        scorers["false_positive_rate"] = Share(chosen, ~positive)
        scorers["precision"] = Share(positive, chosen)
    return scorers


def resample_metrics(
    scorers: Sequence[Mapping[str, Scorer]], weight: Float64, *, groups: NDArray[np.int64] | None = None, seed: int = 0
) -> ResampledMetrics:
    """Metrics of K models on rows of weight (N,) and on resamples of them. `groups` (N,) numbers what each row belongs
    to, from 0 on: rows of one are drawn together."""
    num_rows = len(weight)
    num_units = num_rows if groups is None else int(groups.max()) + 1
    values = {name: np.array([each[name](weight) for each in scorers]) for name in scorers[0]}
    defined = [name for name in values if np.isfinite(values[name]).all()]
    num_resamples = int(np.clip(RESAMPLED_ROWS // num_rows, MIN_RESAMPLES, MAX_RESAMPLES)) if num_units > 1 else 0
    resampled = {name: np.empty((len(scorers), num_resamples)) for name in defined}
    for place, drawn in enumerate(_draw_weights(weight, groups, num_units, num_resamples, seed)):
        for name in defined:
            resampled[name][:, place] = [each[name](drawn) for each in scorers]
    return ResampledMetrics(
        scorers, {name: values[name] for name in defined}, resampled,
        tuple(name for name in values if name not in resampled), num_units,
        counts_rows=groups is None and bool((weight == weight[0]).all()),
    )  # fmt: skip


def _draw_weights(
    weight: Float64, groups: NDArray[np.int64] | None, num_units: int, num_resamples: int, seed: int
) -> Iterator[Float64]:
    """Weights (N,) of the rows in each resample: how often a row, or its group, was drawn, times its own weight."""
    random = np.random.default_rng(seed)
    uniform = np.full(num_units, 1 / num_units)
    for _ in range(num_resamples):
        counts = random.multinomial(num_units, uniform)
        yield weight * (counts if groups is None else counts[groups])


def exact_difference(only_reference: int, only_model: int, num_rows: int) -> PairedDifference:
    """The difference of two shares of `num_rows` rows, by the rows that count for one of them alone.

    >>> exact_difference(0, 0, 100).excludes_zero, round(exact_difference(0, 0, 100).high, 3)
    (False, 0.036)
    """
    num_differ = only_reference + only_model
    share_low, share_high = _proportion_ends(only_model, num_differ, "exact") if num_differ else (0.0, 1.0)
    rate_low, rate_high = _proportion_ends(num_differ, num_rows, "exact")
    low, high = 2 * share_low - 1, 2 * share_high - 1
    return PairedDifference(
        (only_model - only_reference) / num_rows,
        low * (rate_high if low < 0 else rate_low),
        high * (rate_high if high > 0 else rate_low),
        mcnemar_p_value(only_reference, only_model),
    )


def mcnemar_p_value(only_reference: int, only_model: int) -> float:
    """Two-sided p-value of McNemar's exact test: whether either model is alone right more often.

    >>> mcnemar_p_value(0, 6), mcnemar_p_value(0, 0)
    (0.03125, 1.0)
    """
    num_differ = only_reference + only_model
    if not num_differ:
        return 1.0
    return float(need("scipy.stats", extra="tabular").binomtest(only_model, num_differ, 0.5).pvalue)


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """P-values of several questions, so that of those below a bound at most that share is false (Benjamini and Hochberg
    1995). NaN stays NaN."""
    known = [p_value for p_value in p_values if isfinite(p_value)]
    adjusted = iter(need("scipy.stats", extra="tabular").false_discovery_control(known) if known else ())
    return [float(next(adjusted)) if isfinite(p_value) else nan for p_value in p_values]


def _proportion_ends(hits: int, size: int, method: str) -> tuple[float, float]:
    """The ends of the interval of a share of `size` rows."""
    interval = (
        need("scipy.stats", extra="tabular").binomtest(hits, size).proportion_ci(confidence_level=LEVEL, method=method)
    )
    return float(interval.low), float(interval.high)


def _ends(resampled: Float64, num_units: int) -> tuple[float, float]:
    """The ends of the interval by resamples (R,), of those on which the metric is defined; NaN for a single unit."""
    known = resampled[np.isfinite(resampled)]
    if num_units < 2 or not len(known):
        return UNKNOWN_ENDS
    stats = need("scipy.stats", extra="tabular")
    tail = (1 - LEVEL) / 2
    tail = float(stats.norm.cdf(sqrt(num_units / (num_units - 1)) * stats.t.ppf(tail, num_units - 1)))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _bootstrap_p_value(value: float, resampled: Float64, num_units: int) -> float:
    """Two-sided p-value of no difference, by the standard error of the resamples and Student's t."""
    known = resampled[np.isfinite(resampled)]
    if num_units < 2 or len(known) < 2:
        return nan
    error = float(known.std(ddof=1)) * sqrt(num_units / (num_units - 1))
    if error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * need("scipy.stats", extra="tabular").t.sf(abs(value) / error, num_units - 1))
