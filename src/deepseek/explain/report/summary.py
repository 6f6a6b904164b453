"""What a report shows, as records: which columns matter in general, and why single rows came out so.

    report = global_report(explainer, features, records)      importance, beeswarm, dependence, checks
    rows = row_reports(attribution, records)                  waterfall and reason codes of each row

Raw records are read only for the values that stand beside an attribution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Attribution, Float32, Float64, Prediction, Record
from deepseek.data.table.values import parse_timestamp
from deepseek.engines.checks.finite import check_attribution
from deepseek.engines.parity import spread_indices
from deepseek.errors import InputError
from deepseek.explain.records import (
    AnswerDistribution,
    Bar,
    BeeswarmPoints,
    ColumnImportance,
    DependencePoints,
    GlobalReport,
    LabelCount,
    LeadingColumn,
    OtherBars,
    RowReport,
)
from deepseek.explain.tabular.additivity import ablation, additivity
from deepseek.explain.tabular.explainer import ModelExplainer
from deepseek.explain.tabular.reasons import UNNAMED_OUTCOME, Language, reason_codes

LANGUAGES: tuple[Language, Language] = ("en", "zh")
#: Rows of a global report. The standard error of a mean |attribution| is then 1 / sqrt(500) = 4.5 % of its spread.
MAX_ROWS = 500
MIN_ROWS = 20
_PILOT_ROWS = 4
_NUM_PILOTS = 3
MAX_CLASSES = 12  # of which the importance is shown apart
NUM_BEESWARM_COLUMNS = 20
NUM_DEPENDENCE_COLUMNS = 6
MAX_PLOT_POINTS = 300  # of one plot


def global_report(
    explainer: ModelExplainer,
    features: Float32,
    records: Sequence[Record],
    *,
    target: str | None = None,
    dates: Collection[str] = (),
    max_rows: int = MAX_ROWS,
    limit_s: float = 20.0,
    seed: int = 0,
) -> GlobalReport:
    """Importance of every column, and the points of its plots, from at most `max_rows` of the given rows.

    A deep forest takes 30 ms and more a row, so a pilot of a few rows decides how many fit into `limit_s` (at least
    20). Plots speak of `target`: by default the positive class of two, and the class predicted most often among many.
    The columns `dates` hold moments, as dates or as text that is one.
    """
    if not len(features) or len(features) != len(records):
        raise InputError(
            f"there are {len(features)} prepared rows and {len(records)} records",
            expected="at least one, and as many",
            fix="prepare the features from these records",
        )
    target = target or _most_predicted_class(explainer, features[spread_indices(len(features), MAX_ROWS)])
    classes = _explained_classes(explainer)
    explained = spread_indices(
        len(features), _affordable_rows(explainer, features, target, max_rows, limit_s / max(1, len(classes)))
    )
    rows, raw = features[explained], [records[index] for index in explained.tolist()]
    attribution = explainer.explain(rows, target=target)
    check_attribution(attribution, explained.tolist())
    by_class = {
        name: mean_abs(attribution if name == target else explainer.explain(rows, target=name)) for name in classes
    }
    importance = np.mean(list(by_class.values()), axis=0) if by_class else mean_abs(attribution)
    order = np.argsort(-importance, kind="stable")
    points = [_beeswarm_points(attribution, raw, column, dates) for column in order[:NUM_BEESWARM_COLUMNS].tolist()]
    dependence = [_dependence_points(swarm, dates) for swarm in points[:NUM_DEPENDENCE_COLUMNS]]
    return GlobalReport(
        method=explainer.method, scale=attribution.scale, target=attribution.target,
        base_value=float(attribution.base_value.mean()), num_rows=len(rows), num_rows_given=len(features),
        importance=importance_entries(attribution, importance, order), by_class=by_class_entries(attribution, by_class),
        beeswarm=tuple(points), dependence=tuple(dependence),
        leading=leading_columns(attribution), additivity=additivity(attribution),
        ablation=ablation(explainer, rows, attribution, seed=seed),
    )  # fmt: skip


def row_reports(
    attribution: Attribution,
    records: Sequence[Record],
    *,
    num_bars: int = 10,
    num_reasons: int = 4,
    outcome: str = UNNAMED_OUTCOME,
) -> list[RowReport]:
    """For each row of `attribution` the bars of its waterfall (largest first, the rest summed up) and its reason codes
    in both languages.

    base_value + bars + other + residual = output, to the rounding of float64.
    """
    reports = []
    for row, record in enumerate(records):
        bars, other = _waterfall_bars(attribution, record, row, num_bars)
        reasons, reasons_zh = (
            reason_codes(attribution, record, num_reasons, row=row, outcome=outcome, language=language)
            for language in LANGUAGES
        )
        reports.append(
            RowReport(
                target=attribution.target, scale=attribution.scale, method=attribution.method,
                base_value=float(attribution.base_value[row]), output=float(attribution.output[row]),
                residual=float(attribution.residual[row]), adds_up=bool(attribution.adds_up[row]), bars=bars,
                other=other, reasons=tuple(reasons), reasons_zh=tuple(reasons_zh),
                outcome=None if outcome == UNNAMED_OUTCOME else outcome,
            )
        )  # fmt: skip
    return reports


def _most_predicted_class(explainer: ModelExplainer, features: Float32) -> str | None:
    """The class predicted most often among many; None leaves the choice to the explainer."""
    if explainer.model.task != "multiclass":
        return None
    predicted = explainer.score(features).output.argmax(axis=1)
    return explainer.model.labels[int(np.bincount(predicted).argmax())]


def _explained_classes(explainer: ModelExplainer) -> tuple[str, ...]:
    """The classes that are explained one by one: none where one margin says all, or where there are too many."""
    labels = explainer.model.labels if explainer.model.task == "multiclass" else ()
    return labels if len(labels) <= MAX_CLASSES else ()


def _affordable_rows(
    explainer: ModelExplainer, features: Float32, target: str | None, max_rows: int, limit_s: float
) -> int:
    """Number of rows that are explained within `limit_s`, by the fastest of three pilots: what the work needs, not what
    a busy machine adds."""
    pilot = features[spread_indices(len(features), _PILOT_ROWS)]
    explainer.explain(pilot, target=target)  # makes the boosters
    row_s = np.inf
    for _ in range(_NUM_PILOTS):
        started_s = perf_counter()
        explainer.explain(pilot, target=target)
        row_s = min(row_s, (perf_counter() - started_s) / len(pilot))
        if row_s * max_rows <= limit_s:
            break
    return int(np.clip(limit_s / max(row_s, 1e-9), MIN_ROWS, max_rows))


def mean_abs(attribution: Attribution) -> Float64:
    """Mean |contribution| (P,) of each column."""
    mean: Float64 = np.abs(attribution.values).mean(axis=0)
    return mean


def importance_entries(
    attribution: Attribution, importance: Float64, order: NDArray[np.int64]
) -> tuple[ColumnImportance, ...]:
    """Columns in `order` (P,), each with its mean influence, from `importance` (P,), and its share of all."""
    whole = float(importance.sum()) or 1.0
    mean = attribution.values.mean(axis=0)
    return tuple(
        ColumnImportance(
            attribution.names[column], float(importance[column]), float(importance[column]) / whole, float(mean[column])
        )
        for column in order.tolist()
    )


def by_class_entries(attribution: Attribution, by_class: Mapping[str, Float64]) -> dict[str, dict[str, float]]:
    """The mean influence (P,) of each class by column."""
    return {name: dict(zip(attribution.names, means.tolist(), strict=True)) for name, means in by_class.items()}


def leading_columns(attribution: Attribution) -> tuple[LeadingColumn, ...]:
    """In how many rows each column weighs most, and which way; at most NUM_BEESWARM_COLUMNS columns, the most frequent
    first."""
    if not attribution.values.size:
        return ()
    values = attribution.values
    strongest = np.abs(values).argmax(axis=1)
    moved = np.take_along_axis(values, strongest[:, None], axis=1)[:, 0]
    columns, counts = np.unique(strongest[moved != 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:NUM_BEESWARM_COLUMNS]
    return tuple(
        LeadingColumn(
            attribution.names[columns[place]], int(counts[place]),
            raises=int(((strongest == columns[place]) & (moved > 0)).sum()),
            lowers=int(((strongest == columns[place]) & (moved < 0)).sum()),
        )
        for place in order.tolist()
    )  # fmt: skip


def answer_counts(prediction: Prediction) -> AnswerDistribution:
    """The answers of many rows: counts of labels, or quantiles of values."""
    if prediction.labels is not None:
        counts = dict.fromkeys(prediction.labels_known, 0) | Counter(prediction.labels.tolist())
        return AnswerDistribution(labels=tuple(LabelCount(label, count) for label, count in counts.items()))
    if prediction.values is None or not len(prediction.values):
        return AnswerDistribution()
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    ends = np.quantile(prediction.values.astype(np.float64), shares).tolist()
    return AnswerDistribution(quantiles={str(share): end for share, end in zip(shares, ends, strict=True)})


def _beeswarm_points(
    attribution: Attribution, records: Sequence[Record], column: int, dates: Collection[str]
) -> BeeswarmPoints:
    """Contributions of one column with the place of each raw value among the values."""
    points = spread_indices(len(records), MAX_PLOT_POINTS)
    name = attribution.names[column]
    raw = [records[row].get(name) for row in points.tolist()]
    return BeeswarmPoints(
        name, tuple(attribution.values[points, column].tolist()), tuple(_json_value(value) for value in raw),
        tuple(_relative_ranks([to_epoch_ms(value) for value in raw] if name in dates else raw)),
    )  # fmt: skip


def _dependence_points(swarm: BeeswarmPoints, dates: Collection[str]) -> DependencePoints:
    """Raw values against contributions, of a column's points."""
    ordered = "datetime" if swarm.column in dates else "numeric"
    kind = ordered if any(rank is not None for rank in swarm.rank) else "category"
    return DependencePoints(swarm.column, kind, swarm.value, swarm.attribution)


def _waterfall_bars(
    attribution: Attribution, record: Record, row: int, num_bars: int
) -> tuple[tuple[Bar, ...], OtherBars]:
    """The largest contributions of a row, and the sum of the others."""
    values = attribution.values[row]
    order = np.argsort(-np.abs(values), kind="stable")
    shown, others = order[:num_bars].tolist(), order[num_bars:]
    names = attribution.names
    bars = tuple(Bar(names[column], _json_value(record.get(names[column])), float(values[column])) for column in shown)
    return bars, OtherBars(len(others), float(values[others].sum()))


def _relative_ranks(values: list[Any]) -> list[float | None]:
    """Each number's place among the distinct numbers, as a share; None where there is no order.

    >>> _relative_ranks([5, None, 1, 3, "x"])
    [1.0, None, 0.0, 0.5, None]
    """
    numbers = [_as_number(value) for value in values]
    known = np.unique([number for number in numbers if number is not None])
    top = max(1, len(known) - 1)
    return [None if number is None else float(np.searchsorted(known, number)) / top for number in numbers]


def _as_number(value: Any) -> float | None:
    if isinstance(value, (bool, np.bool_, int, float, np.integer, np.floating)) and np.isfinite(value):
        return float(value)
    return None


def to_epoch_ms(value: Any) -> int | None:
    """A date as milliseconds since 1970; None for what is none."""
    try:
        return parse_timestamp(value)
    except (ValueError, OverflowError):
        return None


def _json_value(value: Any) -> Any:
    """A raw value as JSON holds it: NaN and infinities become null, dates text."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return str(value)
