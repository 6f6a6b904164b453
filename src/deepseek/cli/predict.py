"""`deepseek predict`: one answer per row of a file, read and written a part at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    from deepseek.contracts import Flag, Prediction
    from deepseek.data import Table
    from deepseek.data.samples.preparer import Fault
    from deepseek.engines import MultimodalRuntime, Runtime

EPILOG = """\b
Examples:
  deepseek predict loans new.csv --out scores.parquet
  deepseek predict loans new.parquet | head
  deepseek predict loans new.csv --flags --out scores.csv
  deepseek predict patients new.csv --files scans --broken mask
  deepseek predict loans new.csv --key release-key.pub
"""


@click.command(epilog=EPILOG, short_help="Score the rows of a file.")
@click.argument("bundle", type=BUNDLE)
@click.argument("data", type=FILE)
@click.option("--out", type=FILE, help="A .csv, .jsonl, .parquet or .arrow file.  [default: CSV on stdout]")
@click.option("--flags", is_flag=True, help="Write a column `flags`: what was missing, unseen or beyond training.")
@files_options
@bundle_key_option
@first_run_options
@output.json_option
def command(
    bundle: Path,
    data: Path,
    out: Path | None,
    flags: bool,
    files: Path | None,
    broken: Literal["fail", "mask"],
    key: Path | None,
    open_timeout: float,
    open_memory: int,
    as_json: bool,
) -> None:
    """Score each row of DATA: row_id (its place, from 0), prediction, and probability_LABEL for each class.

    What was missing in a row (imputed), what training never saw (unseen), and what is outside of the training range or
    far from every training row, is counted; --flags writes it beside each row. For a regression, lower and upper give
    the prediction interval. DATA is read a part at a time, so it may be larger than memory; what --json prints without
    --out is not.
    """
    from deepseek.cli.support.opening import warn_unchecked
    from deepseek.cli.support.writers import RecordsWriter, check_suffix, open_writer
    from deepseek.data.batches import open_table
    from deepseek.engines import open_runtime
    from deepseek.engines.first_run import FirstRunLimits, use_limits
    from deepseek.look.flags import BEYOND_TRAINING, count_by_reason, flag_lines

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
                counts = score(answer, parts, records, with_flags=flags)
            else:
                with open_writer(out) as writer:
                    counts = score(answer, parts, writer, with_flags=flags)
            num_rows = table.num_rows
    reasons = count_by_reason(counts)
    num_replaced = sum(number for what, number in reasons.items() if what not in BEYOND_TRAINING)
    result: dict[str, object] = {"bundle": str(bundle), "digest": runtime.bundle.digest}
    result |= {"num_rows": num_rows, "num_flags": num_replaced, "flags": reasons}
    if out is None:
        result["predictions"] = records.rows
    else:
        result["out"] = str(out)
    for line in flag_lines(counts):
        output.note(output.escape_text(line))
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


def score(
    answer: Callable[[Table, int], Prediction], parts: Iterable[Table], writer: Writer, *, with_flags: bool = False
) -> Counter[tuple[str, str]]:
    """Answer every row of a table in parts; `with_flags` writes a column of flags, too. Returns how many flags there
    are of each column and reason."""
    import numpy as np

    counts: Counter[tuple[str, str]] = Counter()
    start = 0
    for part in parts:
        prediction = answer(part, start)
        columns = dict(as_columns(np.arange(start, start + part.num_rows), prediction))
        if with_flags:
            columns["flags"] = flag_texts(part.num_rows, prediction.flags)
        writer.write(columns)
        counts.update((flag.column, flag.what) for flag in prediction.flags)
        start += part.num_rows
    return counts


def flag_texts(num_rows: int, flags: Sequence[Flag]) -> NDArray[np.str_]:
    """For each of N rows its flags, as "amount: outside; age: imputed"."""
    import numpy as np

    texts: list[list[str]] = [[] for _ in range(num_rows)]
    for flag in flags:
        texts[flag.row].append(f"{flag.column}: {flag.what}")
    return np.array(["; ".join(of_row) for of_row in texts], str)


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
