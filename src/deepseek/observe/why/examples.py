"""Rows to look at: some bad rows of a cause, with what their conditions speak of."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.look import numbers
from deepseek.observe.reading.ndjson import quote_name, quote_text
from deepseek.observe.reading.tables import Logs
from deepseek.observe.why.causes import Cause, Findings
from deepseek.observe.why.coding import LENGTH_PREFIX
from deepseek.observe.why.slices import Condition

NUM_EXAMPLES, MAX_CHARACTERS = 5, 40
ALWAYS = ("request_id", "row", "status", "prediction", "confidence", "duration_s")


@dataclass(frozen=True, slots=True)
class ExampleRows:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # as text


def example_rows(logs: Logs, findings: Findings, cause: Cause) -> ExampleRows:
    """The last bad rows of a cause in the window; of `slow` those above the past's limit for all."""
    columns = logs.columns
    names = [name for name in ("time", *ALWAYS) if name in columns]
    names += [name for name in map(_column_of, cause.conditions) if name in columns and name not in names]
    chosen = ["strftime(make_timestamp(CAST(time * 1e6 AS BIGINT)), '%H:%M:%S') AS time"]
    chosen += [quote_name(name) for name in names if name != "time"]
    where = " AND ".join(
        [findings.window.sql, f"({cause.evidence[0].badness.sql})", *map(condition_sql, cause.conditions)]
    )
    rows = logs.query(
        f"SELECT {', '.join(chosen)} FROM rows WHERE {where} ORDER BY rows.time DESC LIMIT {NUM_EXAMPLES}"
    )
    used = [place for place in range(len(names)) if any(row[place] not in (None, "") for row in rows)]
    return ExampleRows(
        tuple(names[place] for place in used), tuple(tuple(_cell_text(row[place]) for place in used) for row in rows)
    )


def _cell_text(cell: object) -> str:
    """A cell as a person reads it: short, numbers with three digits."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.0f}" if cell.is_integer() and abs(cell) < 1e15 else numbers.number(cell)
    return numbers.clip(str(cell), MAX_CHARACTERS)


def condition_sql(condition: Condition) -> str:
    """A condition as SQL over `rows`; true for rare values, which only codes can say."""
    column = quote_name(_column_of(condition))
    text = f"CAST({column} AS VARCHAR)"
    number = {"length": f"length({text})", "second": "(time % 60)"}.get(condition.kind, f"TRY_CAST({column} AS DOUBLE)")
    if condition.kind == "is":
        return f"{text} = {quote_text(condition.value)}"
    if condition.kind == "missing":
        return f"({column} IS NULL)"
    if condition.kind == "unseen" and condition.values:
        return f"{text} IN ({', '.join(map(quote_text, condition.values))})"
    ends = []
    if condition.low is not None:
        ends.append(f"{number} >= {condition.low!r}")
    if condition.high is not None:
        ends.append(f"{number} < {condition.high!r}")
    return f"({' AND '.join(ends)})" if ends else "true"


def _column_of(condition: Condition) -> str:
    return condition.field.removeprefix(LENGTH_PREFIX) if condition.kind == "length" else condition.field
