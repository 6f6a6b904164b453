"""Answered rows of a log -> how good the model still is: probabilities, answers, labels that have come, and scores of
the inputs of rows with labels, by which probabilities are set right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from deepseek.contracts import Float64
from deepseek.data.features.texts import TextEncoder
from deepseek.observe.drift.joint import Span
from deepseek.observe.drift.performance import (
    MIN_LABELS,
    AnsweredSample,
    PastCalibration,
    Performance,
    estimate_performance,
)
from deepseek.observe.drift.scores import RowScorer, read_columns
from deepseek.observe.drift.texts import TextDescriber
from deepseek.observe.reading.ndjson import quote_name, quote_text
from deepseek.observe.reading.tables import Logs

PROBABILITY_PREFIX = "probability."
MAX_ANSWERS = 50_000  # from which performance is estimated
MAX_LABELED = 20_000  # earlier rows with labels that probabilities are set right by


def probability_columns(logs: Logs, classes: Sequence[str]) -> list[str]:
    """The columns of the classes' probabilities; none where the log lacks one."""
    names = [PROBABILITY_PREFIX + label for label in classes]
    return names if len(classes) >= 2 and all(name in logs.columns for name in names) else []


def measure_performance(
    logs: Logs, span: Span, classes: Sequence[str], columns: Sequence[str], encoders: Mapping[str, TextEncoder],
    prefix: str,
) -> Performance | None:  # fmt: skip
    """Of the window's rows. None for a regression, and for a log without probabilities."""
    names = probability_columns(logs, classes)
    if not names or "prediction" not in logs.columns:
        return None
    now = _read(logs, span.now(), classes, columns, MAX_ANSWERS)
    if "label" not in logs.columns or len(classes) != 2:
        return estimate_performance(_sample(now, names, _no_scores(now)))
    past = _read(logs, f"({span.past()} AND label IS NOT NULL)", classes, columns, MAX_LABELED)
    if past.num_rows < MIN_LABELS or not now.num_rows:
        return estimate_performance(_sample(now, names, _no_scores(now)))
    raw = read_columns(past.select(list(columns)))
    describer = TextDescriber(raw, encoders, prefix)
    scorer = RowScorer(describer.describe(raw))
    scores = scorer.score(describer.describe(read_columns(now.select(list(columns))))).single
    past_calibration = PastCalibration.fit(_sample(past, names, scorer.past.single))
    return estimate_performance(_sample(now, names, scores), past=past_calibration)


def _no_scores(table: pa.Table) -> Float64:
    return np.zeros((table.num_rows, 0))


def _read(logs: Logs, where: str, classes: Sequence[str], columns: Sequence[str], most: int) -> pa.Table:
    """Answered rows, drawn by chance: probabilities, inputs, and the classes' numbers `answered` and `labeled`."""
    names = probability_columns(logs, classes)
    label = "CAST(label AS VARCHAR)" if "label" in logs.columns else "NULL::VARCHAR"
    listed = ", ".join(map(quote_text, classes))
    chosen = ", ".join(map(quote_name, [*names, *columns]))
    return logs.table(
        f"SELECT {chosen}, list_position([{listed}], CAST(prediction AS VARCHAR)) - 1 AS answered, "
        f"COALESCE(list_position([{listed}], {label}) - 1, -1) AS labeled FROM rows WHERE {where} "
        f"AND {quote_name(names[0])} IS NOT NULL AND list_contains([{listed}], CAST(prediction AS VARCHAR)) "
        f"ORDER BY hash(rowid) LIMIT {most}"
    )


def _sample(table: pa.Table, names: Sequence[str], scores: Float64) -> AnsweredSample:
    probabilities = np.column_stack([table[name].to_numpy() for name in names]).astype(np.float64)
    answers, labels = (table[name].to_numpy().astype(np.int64) for name in ("answered", "labeled"))
    return AnsweredSample(probabilities, answers, labels, scores)
