"""What counts as bad: failed, refused, slow, unsure, wrong, flagged, or answered as it rarely was.

Each kind is an SQL expression over `rows` that is true, false, or NULL where a row cannot say. Thresholds come from the
past: slow is above its 99th percentile of duration, unsure below the 5th of confidence.
"""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.errors import InputError
from deepseek.observe.reading.ndjson import quote_name, quote_text
from deepseek.observe.reading.tables import Logs
from deepseek.observe.why.windows import Window

SLOW_SHARE, UNSURE_SHARE, UNUSUAL_SHARE = 0.99, 0.05, 0.95
MAX_LABELS = 6  # labels whose share is watched, the most frequent ones
MIN_PAST = 100  # rows from which a threshold is taken


@dataclass(frozen=True, slots=True)
class Badness:
    """A kind of bad row. `detail`: the threshold or the label, as words use it. `columns`: what it is read from, which
    cannot be its cause."""

    kind: str  # failed, refused, slow, unsure, wrong, flagged, answer, value, chosen
    sql: str
    detail: str = ""
    columns: tuple[str, ...] = ()


def list_badness(logs: Logs, window: Window, chosen: str | None = None) -> list[Badness]:
    """The kinds that these rows can say; the one that was `chosen` alone. InputError for an expression that is none."""
    if chosen is not None:
        return [_chosen_badness(logs, chosen)]
    columns = logs.columns
    kinds = []
    if "status" in columns:
        kinds.append(Badness("failed", "status >= 500", columns=("status",)))
        kinds.append(Badness("refused", "status >= 400 AND status < 500", columns=("status",)))
    if "duration_s" in columns and (limit := _past_quantile(logs, window, "duration_s", SLOW_SHARE)) is not None:
        kinds.append(Badness("slow", f"duration_s > {limit!r}", f"{limit:.9g}", ("duration_s",)))
    if "confidence" in columns and (limit := _past_quantile(logs, window, "confidence", UNSURE_SHARE)) is not None:
        kinds.append(Badness("unsure", f"confidence < {limit!r}", f"{limit:.9g}", ("confidence", "prediction")))
    if "flags" in columns:
        kinds.append(Badness("flagged", "flags <> ''", columns=("flags",)))
    return kinds + _answer_kinds(logs, window)


def _answer_kinds(logs: Logs, window: Window) -> list[Badness]:
    columns = logs.columns
    kinds = []
    if "prediction" in columns:
        if "label" in columns:
            sql = _differ("prediction", "label")
            kinds.append(Badness("wrong", sql, columns=("label", "prediction")))
        labels = logs.query(
            f"SELECT CAST(prediction AS VARCHAR), count(*) FROM rows WHERE {window.past_sql} "
            f"AND prediction IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAX_LABELS + 1}"
        )
        if len(labels) > 1:
            for label, _ in labels[:MAX_LABELS]:
                sql = f"CAST(prediction AS VARCHAR) = {quote_text(label)}"
                kinds.append(Badness("answer", sql, label, ("prediction", "confidence")))
    if "value" in columns:
        if "label" in columns:
            error = "abs(value - TRY_CAST(label AS DOUBLE))"
            if (limit := _past_quantile(logs, window, error, UNUSUAL_SHARE)) is not None:
                kinds.append(Badness("wrong", f"{error} > {limit!r}", f"{limit:.9g}", ("label", "value")))
        for share, sign in ((UNUSUAL_SHARE, ">"), (1 - UNUSUAL_SHARE, "<")):
            if (limit := _past_quantile(logs, window, "value", share)) is not None:
                kinds.append(Badness("value", f"value {sign} {limit!r}", f"{sign} {limit:.6g}", ("value",)))
    return kinds


def _differ(one: str, other: str) -> str:
    """Whether two columns differ: as numbers where both are numbers, so that 1 and 1.0 are the same class."""
    numbers = [f"TRY_CAST({name} AS DOUBLE)" for name in (one, other)]
    texts = [f"CAST({name} AS VARCHAR)" for name in (one, other)]
    return (
        f"CASE WHEN {numbers[0]} IS NOT NULL AND {numbers[1]} IS NOT NULL THEN {' <> '.join(numbers)} "
        f"ELSE {' <> '.join(texts)} END"
    )


def _past_quantile(logs: Logs, window: Window, expression: str, share: float) -> float | None:
    """A quantile of the past; None where it has too few rows."""
    sql = f"SELECT count({expression}), approx_quantile({expression}, {share}) FROM rows WHERE {window.past_sql}"
    count, value = logs.query(sql)[0]
    return float(value) if count >= MIN_PAST and value is not None else None


def _chosen_badness(logs: Logs, expression: str) -> Badness:
    duckdb_error = type(logs).error_class()
    try:
        logs.query(f"SELECT CAST(({expression}) AS BOOLEAN) FROM rows LIMIT 0")
    except duckdb_error as error:
        names = ", ".join(list(logs.columns)[:20])
        raise InputError(
            f"--bad {expression!r} cannot be used: {str(error).splitlines()[0]}",
            expected=f"a condition in SQL over the columns {names}", fix="for example --bad \"status = 503\"",
        ) from error  # fmt: skip
    used = tuple(name for name in logs.columns if name in expression or quote_name(name) in expression)
    return Badness("chosen", f"CAST(({expression}) AS BOOLEAN)", expression, used)
