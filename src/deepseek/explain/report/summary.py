"""What a report shows, as plain JSON-able data: which columns matter in general, and why single rows came out so.

    report = global_report(explainer, features, records)      importance, beeswarm, dependence, checks
    rows = row_reports(attribution, records)                  waterfall and reason codes of each row

Raw records are read only for the values that stand beside an attribution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Attribution, Float32, Float64, Prediction, Record
from deepseek.data.table.values import parse_timestamp
from deepseek.engines.checks.finite import check_attribution
from deepseek.engines.parity import spread_indices
from deepseek.errors import InputError
from deepseek.explain.tabular.additivity import ablation, additivity
from deepseek.explain.tabular.explainer import ModelExplainer
from deepseek.explain.tabular.reasons import reason_codes

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
) -> dict[str, Any]:
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
    chosen = spread_indices(
        len(features), _affordable_rows(explainer, features, target, max_rows, limit_s / max(1, len(classes)))
    )
    rows, raw = features[chosen], [records[index] for index in chosen.tolist()]
    attribution = explainer.explain(rows, target=target)
    check_attribution(attribution, chosen.tolist())
    by_class = {
        name: mean_abs(attribution if name == target else explainer.explain(rows, target=name)) for name in classes
    }
    importance = np.mean(list(by_class.values()), axis=0) if by_class else mean_abs(attribution)
    order = np.argsort(-importance, kind="stable")
    return {
        "method": explainer.method,
        "scale": attribution.scale,
        "target": attribution.target,
        "base_value": float(attribution.base_value.mean()),
        "num_rows": len(rows),
        "num_rows_given": len(features),
        "importance": importance_entries(attribution, importance, order),
        "by_class": {
            name: dict(zip(attribution.names, values.tolist(), strict=True)) for name, values in by_class.items()
        },
        "beeswarm": [
            _beeswarm_points(attribution, raw, index, dates) for index in order[:NUM_BEESWARM_COLUMNS].tolist()
        ],
        "dependence": [
            _dependence_points(attribution, raw, index, dates) for index in order[:NUM_DEPENDENCE_COLUMNS].tolist()
        ],
        "leading": leading_columns(attribution),
        "additivity": additivity(attribution),
        "ablation": ablation(explainer, rows, attribution, seed=seed),
    }


def row_reports(
    attribution: Attribution,
    records: Sequence[Record],
    *,
    num_bars: int = 10,
    num_reasons: int = 4,
    outcome: str = "the prediction",
) -> list[dict[str, Any]]:
    """For each row of `attribution` the bars of its waterfall (largest first, the rest summed up) and its reason codes
    in both languages.

    base_value + bars + other + residual = output, to the rounding of float64.
    """
    return [
        {
            "target": attribution.target,
            "scale": attribution.scale,
            "method": attribution.method,
            "base_value": float(attribution.base_value[row]),
            "output": float(attribution.output[row]),
            "residual": float(attribution.residual[row]),
            "adds_up": bool(attribution.adds_up[row]),
            **_waterfall_bars(attribution, record, row, num_bars),
            "reasons": reason_codes(attribution, record, num_reasons, row=row, outcome=outcome),
            "reasons_zh": reason_codes(attribution, record, num_reasons, row=row, outcome=outcome, language="zh"),
        }
        for row, record in enumerate(records)
    ]


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
    """As many rows as are explained within `limit_s`, by the fastest of three pilots: what the work needs, not what a
    busy machine adds."""
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
    """(P,) how far each column moves the output on average."""
    mean: Float64 = np.abs(attribution.values).mean(axis=0)
    return mean


def importance_entries(attribution: Attribution, importance: Float64, order: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Columns in `order`, each with its mean influence and its share of all."""
    whole = float(importance.sum()) or 1.0
    mean = attribution.values.mean(axis=0)
    return [
        {
            "column": attribution.names[index],
            "mean_abs": float(importance[index]),
            "share": float(importance[index]) / whole,
            "mean": float(mean[index]),
        }
        for index in order.tolist()
    ]


def leading_columns(attribution: Attribution) -> list[dict[str, Any]]:
    """In how many rows each column weighs most, and which way; at most NUM_BEESWARM_COLUMNS columns, the most frequent
    first."""
    if not attribution.values.size:
        return []
    values = attribution.values
    strongest = np.abs(values).argmax(axis=1)
    moved = np.take_along_axis(values, strongest[:, None], axis=1)[:, 0]
    columns, counts = np.unique(strongest[moved != 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:NUM_BEESWARM_COLUMNS]
    return [
        {
            "column": attribution.names[columns[place]], "num_rows": int(counts[place]),
            "raises": int(((strongest == columns[place]) & (moved > 0)).sum()),
            "lowers": int(((strongest == columns[place]) & (moved < 0)).sum()),
        }
        for place in order.tolist()
    ]  # fmt: skip


def answer_counts(prediction: Prediction) -> dict[str, Any]:
    """The answers of many rows: {"labels": [{"label", "num_rows"}]}, or {"quantiles": {"0.05": value, ...}}."""
    if prediction.labels is not None:
        found = dict.fromkeys(prediction.labels_known, 0) | Counter(prediction.labels.tolist())
        return {"labels": [{"label": label, "num_rows": count} for label, count in found.items()]}
    if prediction.values is None or not len(prediction.values):
        return {}
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    ends = np.quantile(prediction.values.astype(np.float64), shares).tolist()
    return {"quantiles": {str(share): end for share, end in zip(shares, ends, strict=True)}}


def _beeswarm_points(
    attribution: Attribution, records: Sequence[Record], index: int, dates: Collection[str]
) -> dict[str, Any]:
    """Attributions of one column with the place of each raw value among the values: 0 the lowest, 1 the highest, null
    for a value that has no order."""
    points = spread_indices(len(records), MAX_PLOT_POINTS)
    name = attribution.names[index]
    raw = [records[row].get(name) for row in points.tolist()]
    return {
        "column": name,
        "attribution": attribution.values[points, index].tolist(),
        "value": [_json_value(value) for value in raw],
        "rank": _relative_ranks([to_epoch_ms(value) for value in raw] if name in dates else raw),
    }


def _dependence_points(
    attribution: Attribution, records: Sequence[Record], index: int, dates: Collection[str]
) -> dict[str, Any]:
    """Raw value against attribution."""
    swarm = _beeswarm_points(attribution, records, index, dates)
    ordered = "datetime" if swarm["column"] in dates else "numeric"
    return {
        "column": swarm["column"],
        "kind": ordered if any(rank is not None for rank in swarm["rank"]) else "category",
        "value": swarm["value"],
        "attribution": swarm["attribution"],
    }


def _waterfall_bars(attribution: Attribution, record: Record, row: int, num_bars: int) -> dict[str, Any]:
    values = attribution.values[row]
    order = np.argsort(-np.abs(values), kind="stable")
    shown, others = order[:num_bars], order[num_bars:]
    bars = [
        {
            "column": attribution.names[index],
            "value": _json_value(record.get(attribution.names[index])),
            "contribution": float(values[index]),
        }
        for index in shown.tolist()
    ]
    return {"bars": bars, "other": {"num_columns": len(others), "contribution": float(values[others].sum())}}


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
    """Milliseconds since 1970; None for what is no moment."""
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
