"""Rows scored a part at a time: all of them or none, or all that can be, with a reason for each that cannot.

num_flags = score(answer, parts, writer)
num_flags, skipped = score_good_rows(answer, parts, writer, batch_rows=32)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.data.samples.faults import FILE_ERRORS, BrokenFilesError, name_all_faults
from deepseek.data.samples.preparer import Fault
from deepseek.errors import ExtraError, InputError, NonFiniteError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deepseek.cli.support.writers import Columns, Writer
    from deepseek.contracts import Flag, JsonObject, Prediction
    from deepseek.data import Table

#: Answers for a part of a table that begins at a row.
AnswerFunction = Callable[["Table", int], "Prediction"]


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that cannot be scored."""

    row_id: int
    reason: str

    def to_dict(self) -> JsonObject:
        return {"row_id": self.row_id, "reason": self.reason}


def score(
    answer: AnswerFunction,
    parts: Iterable[Table],
    writer: Writer,
    find_faults: Callable[[Table, int], list[Fault]] | None = None,
    *,
    with_flags: bool = False,
) -> int:
    """Answer every row of a table in parts; `with_flags` writes a column of flags, too. Returns how many flags there
    are. `find_faults`: the files of
    a part that cannot be read; where one ends the run, those of the rows that follow are named with it."""
    num_flags = start = 0
    remaining = iter(parts)
    for part in remaining:
        try:
            prediction = answer(part, start)
        except FILE_ERRORS as error:
            if find_faults is None:
                raise
            faults = list(error.faults) if isinstance(error, BrokenFilesError) else [Fault(start, "", str(error))]
            start += part.num_rows
            for later in remaining:
                faults += find_faults(later, start)
                start += later.num_rows
            raise name_all_faults(error, faults) from error
        writer.write(as_columns(np.arange(start, start + part.num_rows), prediction, with_flags=with_flags))
        num_flags += len(prediction.flags)
        start += part.num_rows
    return num_flags


def score_good_rows(
    answer: AnswerFunction,
    parts: Iterable[Table],
    writer: Writer,
    *,
    check: Callable[[Table], None],
    batch_rows: int | None = None,
    with_flags: bool = False,
) -> tuple[int, list[SkippedRow]]:
    """Answer every row that can be answered. Returns how many values of these were imputed or unseen, and the rows that
    are left out. `check` raises for a part whose columns do not fit, which is no row's fault; `batch_rows`: how many
    are tried at a time (None: a part).

    InputError where no row can be scored.
    """
    num_flags = start = num_written = 0
    skipped: list[SkippedRow] = []
    for part in parts:
        check(part)
        size = batch_rows or part.num_rows
        for first in range(0, part.num_rows, size):
            batch = part.take(np.arange(first, min(first + size, part.num_rows)))
            for row, prediction in _answer_in_halves(answer, batch, start + first, skipped):
                rows = np.arange(row, row + len(prediction))
                writer.write(as_columns(rows, prediction, with_flags=with_flags))
                num_flags += len(prediction.flags)
                num_written += len(prediction)
        start += part.num_rows
    if not num_written:
        raise InputError(
            f"none of the {start} rows can be scored; the first: {skipped[0].reason}",
            expected="a row at least that the model can read",
            fix="mend the rows: --broken fail names what is wrong",
        )
    return num_flags, skipped


def _answer_in_halves(
    answer: AnswerFunction, table: Table, first: int, skipped: list[SkippedRow]
) -> Iterator[tuple[int, Prediction]]:
    """Answers for the rows of a table, in their order, each with the number of its first row; what cannot be answered
    is halved until the rows that are at fault stand alone."""
    try:
        prediction = answer(table, first)
    except (InputError, NonFiniteError) as error:
        if isinstance(error, ExtraError):  # not the row's fault
            raise
        if table.num_rows == 1:
            skipped.append(SkippedRow(first, error.message))
            return
        half = table.num_rows // 2
        yield from _answer_in_halves(answer, table.take(np.arange(half)), first, skipped)
        yield from _answer_in_halves(answer, table.take(np.arange(half, table.num_rows)), first + half, skipped)
        return
    yield first, prediction


def as_columns(rows: NDArray[np.int64], prediction: Prediction, *, with_flags: bool = False) -> Columns:
    """The columns that are written for rows numbered `rows`."""
    columns: dict[str, NDArray[Any]] = {"row_id": rows}
    if prediction.values is not None:
        columns["prediction"] = prediction.values
    if prediction.intervals is not None:
        columns |= {"lower": prediction.intervals[:, 0], "upper": prediction.intervals[:, 1]}
    if prediction.labels is not None:
        columns["prediction"] = prediction.labels
    if prediction.probabilities is not None:
        for column, label in enumerate(prediction.labels_known):
            columns[f"probability_{label}"] = prediction.probabilities[:, column]
    if with_flags:
        columns["flags"] = _flag_texts(len(rows), prediction.flags)
    return columns


def _flag_texts(num_rows: int, flags: Sequence[Flag]) -> NDArray[np.str_]:
    """For each of N rows its flags, as "amount: outside; age: imputed"."""
    texts: list[list[str]] = [[] for _ in range(num_rows)]
    for flag in flags:
        texts[flag.row].append(f"{flag.column}: {flag.what}")
    return np.array(["; ".join(of_row) for of_row in texts], str)
