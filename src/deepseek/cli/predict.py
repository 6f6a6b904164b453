"""`deepseek predict`: one answer per row of a file, read and written a part at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, bundle_key_option, files_options, first_run_options
from deepseek.cli.support.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deepseek.cli.support.writers import Columns, Writer
    from deepseek.contracts import Prediction
    from deepseek.data import Table
    from deepseek.data.samples.preparer import Fault
    from deepseek.engines import MultimodalRuntime, Runtime

EPILOG = """\b
Examples:
  deepseek predict loans new.csv --out scores.parquet
  deepseek predict loans new.parquet | head
  deepseek predict patients new.csv --files scans --broken mask
  deepseek predict loans new.csv --key release-key.pub
"""


@click.command(epilog=EPILOG, short_help="Score the rows of a file.")
@click.argument("bundle", type=BUNDLE)
@click.argument("data", type=FILE)
@click.option("--out", type=FILE, help="A .csv, .jsonl, .parquet or .arrow file.  [default: CSV on stdout]")
@files_options
@bundle_key_option
@first_run_options
@output.json_option
def command(
    bundle: Path,
    data: Path,
    out: Path | None,
    files: Path | None,
    broken: Literal["fail", "mask"],
    key: Path | None,
    open_timeout: float,
    open_memory: int,
    as_json: bool,
) -> None:
    """Score each row of DATA: row_id (its place, from 0), prediction, and probability_LABEL for each class.

    For a regression, lower and upper give the prediction interval. DATA is read a part at a time, so it may be larger
    than memory; what --json prints without --out is not.
    """
    from deepseek.cli.support.opening import warn_unchecked
    from deepseek.cli.support.writers import RecordsWriter, check_suffix, open_writer
    from deepseek.data.batches import open_table
    from deepseek.engines import open_runtime
    from deepseek.engines.first_run import FirstRunLimits, use_limits

    limits = FirstRunLimits(open_timeout, open_memory << 20)
    if out is not None:
        check_suffix(out)
    records = RecordsWriter()
    with (
        use_limits(limits),
        open_runtime(bundle, key=key) as runtime,
        closing(Progress()) as progress,
    ):
        warn_unchecked(bundle, key)
        answer = _predictor_of(runtime, files or data.parent, broken)
        with open_table(data, _check_progress(progress)) as table:
            parts = _report_parts(table.parts(), table.num_rows, progress)
            if as_json and out is None:
                num_flags = score(answer, parts, records)
            else:
                with open_writer(out) as writer:
                    num_flags = score(answer, parts, writer)
            num_rows = table.num_rows
    result: dict[str, object] = {"bundle": str(bundle), "digest": runtime.bundle.digest}
    result |= {"num_rows": num_rows, "num_flags": num_flags}
    if out is None:
        result["predictions"] = records.rows
    else:
        result["out"] = str(out)
    if num_flags:
        output.note(f"{output.format_value(num_flags)} values were missing or unseen and were replaced")
    if as_json:
        output.emit(result, as_json)
    elif out is not None:
        output.note(f"{output.format_value(num_rows)} rows scored into {out}")


def _check_progress(progress: Progress) -> Callable[[int], None]:
    """Says how many rows were checked; how many there are is known at the end of it."""
    return lambda num_rows: progress(f"{output.format_value(num_rows)} rows checked", 0.0)


def _report_parts(parts: Iterable[Table], num_rows: int, progress: Progress) -> Iterator[Table]:
    """The same parts; says how far they are."""
    start = 0
    for part in parts:
        progress(f"{output.format_value(start)} of {output.format_value(num_rows)} rows scored", start / num_rows)
        yield part
        start += part.num_rows


def _predictor_of(
    runtime: Runtime | MultimodalRuntime, root: Path, broken: Literal["fail", "mask"]
) -> Callable[[Table, int], Prediction]:
    """Answers for a part of a table that begins at a row."""
    from deepseek.engines import Runtime

    if isinstance(runtime, Runtime):
        return lambda table, first: runtime.predict(table, first_row=first)

    def answer(table: Table, first: int) -> Prediction:
        faults: list[Fault] = []
        prediction = runtime.predict(table, root=root, broken=broken, faults=faults, first_row=first)
        for fault in faults[:20]:
            output.note(f"masked: row {first + fault.row}, {fault.message}")
        return prediction

    return answer


def score(answer: Callable[[Table, int], Prediction], parts: Iterable[Table], writer: Writer) -> int:
    """Answer every row of a table in parts. Returns how many values were imputed or unseen."""
    import numpy as np

    num_flags = start = 0
    for part in parts:
        prediction = answer(part, start)
        writer.write(as_columns(np.arange(start, start + part.num_rows), prediction))
        num_flags += len(prediction.flags)
        start += part.num_rows
    return num_flags


def as_columns(rows: NDArray[np.int64], prediction: Prediction) -> Columns:
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
    return columns
