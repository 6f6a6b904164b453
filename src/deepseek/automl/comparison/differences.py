"""The comparison itself, from what each model answers to the same rows.

rows = ComparedRows(task, target_name, labels, table, target, weight, groups=codes)
comparison = compare_models([old, new], rows, metric=None, by=("region",))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.comparison.models import ScoredModel
from deepseek.automl.comparison.paired import (
    NO_DIFFERENCE,
    ResampledMetrics,
    Scorer,
    adjust_p_values,
    decision_scorers,
    mcnemar_p_value,
    metric_scorers,
    resample_metrics,
)
from deepseek.automl.comparison.records import (
    Agreement,
    Difference,
    DisagreementRow,
    Exposure,
    GroupDifference,
    ModelComparison,
    ModelFigures,
    RowAnswer,
    adjust_verdicts,
    difference_verdict,
)
from deepseek.automl.comparison.results import ComparisonResult
from deepseek.automl.evidence import MIN_ROWS, rows_by_group
from deepseek.contracts import Float64, Task
from deepseek.data import Table
from deepseek.errors import InputError
from deepseek.look.figures import METRICS, group_order
from deepseek.train.tabular.metrics import MIN_PROBABILITY, check_finite, default_metric, find_metric


@dataclass(frozen=True, slots=True, eq=False)
class ComparedRows:
    """N rows with their true answers."""

    task: Task
    target_name: str
    labels: tuple[str, ...]  # the classes in order; empty for regression
    table: Table
    target: NDArray[np.int64] | Float64  # (N,) class numbers or values
    weight: Float64  # (N,)
    weights_name: str | None = None  # column of the weights
    groups: NDArray[np.int64] | None = None  # (N,) what each row belongs to, numbered from 0; None: rows stand alone
    group_name: str | None = None  # column of the groups

    def take(self, rows: NDArray[np.int64]) -> ComparedRows:
        """Some of the rows, their groups numbered anew."""
        groups = None if self.groups is None else np.unique(self.groups[rows], return_inverse=True)[1]
        return replace(
            self, table=self.table.take(rows), target=self.target[rows], weight=self.weight[rows], groups=groups
        )


def group_codes(table: Table, column: str) -> NDArray[np.int64]:
    """Numbers (N,) from 0 on, equal where the values of a column are; a row without a value stands alone."""
    values, missing = table.column(column), table.missing_mask(column)
    codes = np.unique(values[~missing].astype(str), return_inverse=True)[1]
    numbered = np.empty(table.num_rows, np.int64)
    numbered[~missing] = codes
    num_known = int(codes.max(initial=-1)) + 1
    numbered[missing] = num_known + np.arange(int(missing.sum()))
    return numbered


def compare_models(
    models: Sequence[ScoredModel],
    rows: ComparedRows,
    *,
    metric: str | None = None,
    by: Sequence[str] = (),
    num_shown: int = 10,
    seed: int = 0,
    learned_from: Mapping[str, Exposure] = MappingProxyType({}),
    warnings: Sequence[str] = (),
) -> ComparisonResult:
    """Every model after the first against the first. `metric`: the leading one, by default that of `ship`; `by`:
    columns whose groups are compared, too; `num_shown`: rows on which they disagree; `learned_from`:
    models that have learned from some of the rows.

    InputError for a metric that is undefined on these rows; NonFiniteError for an output that is not finite.
    """
    for model in models:
        check_finite(model.output)
    resamples = _resample(models, rows, seed)
    leading = _leading_metric(rows, resamples, metric)
    comparisons = [
        ModelComparison(
            model=model.name,
            verdict="unknown",
            differences=_differences(resamples, models, place),
            agreement=_agreement(models[0], model, rows),
            segments=_segments(models[0], model, rows, leading, by, seed),
            rows=_disagreements(models[0], model, rows, num_shown),
        )
        for place, model in enumerate(models[1:], start=1)
    ]
    return ComparisonResult(
        task=rows.task, target=rows.target_name, num_rows=len(rows.target), metric=leading,
        higher_is_better=METRICS[leading][1],
        models=tuple(_figures(model, resamples, place) for place, model in enumerate(models)),
        comparisons=tuple(_set_verdicts(comparisons, leading)), warnings=tuple(warnings), group_by=rows.group_name,
        num_groups=None if rows.groups is None else resamples.num_units, weights=rows.weights_name,
        undefined=resamples.undefined, learned_from=dict(learned_from),
    )  # fmt: skip


def _resample(models: Sequence[ScoredModel], rows: ComparedRows, seed: int) -> ResampledMetrics:
    scorers = [_scorers(model, rows) for model in models]
    return resample_metrics(scorers, rows.weight, groups=rows.groups, seed=seed)


def _leading_metric(rows: ComparedRows, resamples: ResampledMetrics, metric: str | None) -> str:
    """The metric by which verdicts speak: the named one, else that of `ship`, else the first that is defined."""
    if metric is not None:
        if metric in resamples.values:
            return metric
        if metric not in resamples.undefined:
            find_metric(rows.task, metric)  # says which there are
        raise InputError(
            f"{metric} is not defined on these rows",
            expected="rows of every class, or a metric that one class has",
            fix=f"give other rows, or take one of {', '.join(resamples.values)}",
        )
    usual = default_metric(rows.task, rows.target)
    return usual if usual in resamples.values else next(iter(resamples.values))


def _figures(model: ScoredModel, resamples: ResampledMetrics, place: int) -> ModelFigures:
    metrics = {name: resamples.figure(name, place) for name in resamples.values}
    return ModelFigures(model.name, model.path, model.digest, metrics, model.size_bytes)


def _differences(resamples: ResampledMetrics, models: Sequence[ScoredModel], place: int) -> dict[str, Difference]:
    """The difference of every metric between a model and the first one; exactly 0 where their answers are the same."""
    is_same = models[place].same_answers(models[0])
    return {name: _difference(resamples, name, place, is_same=is_same) for name in resamples.values}


def _difference(resamples: ResampledMetrics, name: str, place: int, *, is_same: bool) -> Difference:
    paired = NO_DIFFERENCE if is_same else resamples.difference(name, place)
    higher = METRICS[name][1]
    difference = Difference(name, paired.value, paired.low, paired.high, paired.p_value, higher, "identical")
    return difference if is_same else replace(difference, verdict=difference_verdict(difference))


def _set_verdicts(comparisons: Sequence[ModelComparison], leading: str) -> list[ModelComparison]:
    """The verdict of each comparison: of several models at once some would be better by chance."""
    differences = [comparison.differences[leading] for comparison in comparisons]
    adjusted = adjust_verdicts(differences, adjust_p_values([each.p_value for each in differences]))
    return [
        replace(comparison, verdict=difference.verdict, differences=comparison.differences | {leading: difference})
        for comparison, difference in zip(comparisons, adjusted, strict=True)
    ]


def _agreement(reference: ScoredModel, model: ScoredModel, rows: ComparedRows) -> Agreement:
    """Counts of rows, whatever they weigh."""
    if rows.task == "regression":
        ours, theirs = (np.abs(each.output[:, 0] - rows.target) for each in (model, reference))
        differ = int((model.output[:, 0] != reference.output[:, 0]).sum())
        return Agreement(differ, int((theirs < ours).sum()), int((ours < theirs).sum()), None, None, None)
    right, reference_right = model.decided == rows.target, reference.decided == rows.target
    only_reference, only_model = int((reference_right & ~right).sum()), int((right & ~reference_right).sum())
    counts_rows = rows.groups is None and rows.weights_name is None
    return Agreement(
        num_differ=int((model.decided != reference.decided).sum()),
        only_reference=only_reference,
        only_model=only_model,
        both_right=int((right & reference_right).sum()),
        both_wrong=int((~right & ~reference_right).sum()),
        p_value=mcnemar_p_value(only_reference, only_model) if counts_rows else None,
    )


def _segments(
    reference: ScoredModel, model: ScoredModel, rows: ComparedRows, metric: str, by: Sequence[str], seed: int
) -> dict[str, list[GroupDifference]]:
    """The leading metric in each group of each column; p-values are adjusted for the number of groups."""
    segments = {
        column: [
            _group_difference(reference, model, rows, metric, group, members, seed)
            for group, members in sorted(rows_by_group(rows.table, column).items(), key=lambda e: group_order(e[0]))
        ]
        for column in by
    }
    differences = [group.difference for groups in segments.values() for group in groups if group.difference]
    p_values = adjust_p_values([difference.p_value for difference in differences])
    adjusted = iter(adjust_verdicts(differences, p_values))
    return {
        column: [replace(group, difference=next(adjusted)) if group.difference else group for group in groups]
        for column, groups in segments.items()
    }


def _group_difference(
    reference: ScoredModel,
    model: ScoredModel,
    rows: ComparedRows,
    metric: str,
    group: str,
    members: NDArray[np.int64],
    seed: int,
) -> GroupDifference:
    two = [each.take(members) for each in (reference, model)]
    num_differ = (
        int((two[0].output != two[1].output).any(axis=1).sum())
        if rows.task == "regression"
        else int((two[0].decided != two[1].decided).sum())
    )
    entry = GroupDifference(group, len(members), num_differ)
    if len(members) < MIN_ROWS:
        return replace(entry, reason=f"fewer than {MIN_ROWS} rows")
    part = rows.take(members)
    scorers = [{metric: _scorers(each, part)[metric]} for each in two]
    resamples = resample_metrics(scorers, part.weight, groups=part.groups, seed=seed)
    if metric not in resamples.values:
        one_class = rows.labels and len(np.unique(part.target)) == 1
        return replace(entry, reason="not defined: one class" if one_class else "not defined on these rows")
    difference = _difference(resamples, metric, 1, is_same=two[1].same_answers(two[0]))
    return replace(
        entry, reference=resamples.figure(metric, 0), model=resamples.figure(metric, 1), difference=difference
    )


def _scorers(model: ScoredModel, rows: ComparedRows) -> dict[str, Scorer]:
    return metric_scorers(rows.task, rows.target, model.output) | decision_scorers(
        rows.task, rows.target, model.decided
    )


def _disagreements(
    reference: ScoredModel, model: ScoredModel, rows: ComparedRows, num_shown: int
) -> list[DisagreementRow]:
    """The rows that are answered most differently: first those that are decided differently, each by the change of its
    own loss."""
    if rows.task == "regression":
        size = np.abs(model.output[:, 0] - reference.output[:, 0])
        differ = size > 0
    else:
        size = np.abs(_row_losses(model, rows) - _row_losses(reference, rows))
        differ = model.decided != reference.decided
    order = np.lexsort((-size, ~differ))[: min(num_shown, int(differ.sum()))]
    records = rows.table.take(order).records()
    return [
        DisagreementRow(
            int(row), _truth(rows, int(row)), _answer(reference, rows, int(row)), _answer(model, rows, int(row)), record
        )
        for row, record in zip(order, records, strict=True)
    ]


def _row_losses(model: ScoredModel, rows: ComparedRows) -> Float64:
    probability = model.output[np.arange(len(rows.target)), rows.target.astype(np.int64)]
    losses: Float64 = -np.log(np.clip(probability, MIN_PROBABILITY, 1.0))
    return losses


def _truth(rows: ComparedRows, row: int) -> str | float:
    return rows.labels[int(rows.target[row])] if rows.labels else float(rows.target[row])


def _answer(model: ScoredModel, rows: ComparedRows, row: int) -> RowAnswer:
    if not rows.labels:
        return RowAnswer(float(model.output[row, 0]), None)
    return RowAnswer(rows.labels[int(model.decided[row])], float(model.output[row, int(rows.target[row])]))
