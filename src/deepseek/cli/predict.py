"""`deepseek predict`: one answer per row of a file, read and written a part at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.kinds.encrypted import encrypted_predicting
from deepseek.cli.support.kinds.houses import joint_predicting
from deepseek.cli.support.options import BUNDLE, FILE, bundle_key_option, first_run_options, skip_options
from deepseek.cli.support.progress import Progress

if TYPE_CHECKING:
    from deepseek.automl.cluster.workers import Workers
    from deepseek.cli.support.ray_scoring import ClusterJob
    from deepseek.cli.support.scoring import AnswerFunction, SkippedRow
    from deepseek.cli.support.writers import Writer
    from deepseek.contracts import Prediction
    from deepseek.data import Table
    from deepseek.data.samples.preparer import Fault
    from deepseek.engines import MultimodalRuntime, Runtime

MAX_NOTED = 20  # masked files and skipped rows that are told one by one
FILE_BATCH_ROWS = 32  # rows of files that are tried at a time, where some may be skipped
Broken = Literal["fail", "mask", "skip"]

EPILOG = """\b
Examples:
  deepseek predict loans new.csv --out scores.parquet
  deepseek predict loans new.parquet | head
  deepseek predict loans new.csv --flags --out scores.csv
  deepseek predict patients new.csv --files scans --broken mask
  deepseek predict loans new.csv --out scores.csv --broken skip
  deepseek predict loans new.csv --key release-key.pub
  deepseek predict loans all-of-2026.parquet --out scores.parquet --cluster head.example:6379
  deepseek predict cards july.parquet --history june.parquet --out scores.parquet
  deepseek predict engines sensors.parquet --out rul.csv --html fleet.html
  deepseek predict line3 new-pictures --out found.json
  deepseek predict help questions.csv --out understood.csv
  deepseek predict --encrypted http://hub.example:8000 new.csv --key clinic.ckks --out scores.csv
  deepseek predict bank-half new.csv --with https://shop.example:8443 --study loans --key bank --out scores.csv
"""


@click.command(epilog=EPILOG, short_help="Score the rows of a file.")
@click.argument("bundle", type=BUNDLE)
@click.argument("data", type=FILE)
@click.option("--out", type=FILE, help="A .csv, .jsonl, .parquet or .arrow file.  [default: CSV on stdout]")
@click.option("--flags", is_flag=True, help="Write a column `flags`: what was missing, unseen or beyond training.")
@click.option(
    "--history", type=FILE, multiple=True, metavar="FILE",
    help="Events before DATA, of a model that computes its features from raw events. May be given again.",
)  # fmt: skip
@click.option("--all", "all_rows", is_flag=True, help="Of machines: the remaining life at each time, not the last.")
@click.option("--html", type=FILE, help="Of machines: write a page of the fleet there, the most urgent first.")
@click.option(
    "--strict", is_flag=True, help="Refuse columns that the model does not read, instead of passing them over."
)
@click.option(
    "--cluster", metavar="ray|ADDRESS",
    help="Score on the workers of a Ray cluster: ray (one on this machine), auto or HOST:PORT.",
)  # fmt: skip
@skip_options
@bundle_key_option
@first_run_options
@output.json_option
@encrypted_predicting
@joint_predicting
def command(
    bundle: Path, data: Path, out: Path | None, flags: bool, history: tuple[Path, ...], all_rows: bool,
    html: Path | None, strict: bool, cluster: str | None, files: Path | None, broken: Broken, key: Path | None,
    open_timeout: float, open_memory: int, as_json: bool,
) -> None:  # fmt: skip
    """Score each row of DATA: row_id (its place, from 0), prediction, and probability_LABEL for each class.

    What was missing in a row (imputed), what training never saw (unseen), and what is outside of the training range
    or far from every training row, is counted; --flags writes it beside each row. For a regression, lower and upper
    give the prediction interval. Columns that the model does not read are passed over, and named on stderr; one that it
    reads has to be there. DATA is read a part at a time, so it may be larger than memory; what --json prints
    without --out is not. Columns that the model does not read are passed over with one line on stderr; one that it
    reads has to be there. With --broken skip the rows that cannot be scored are left out, and each with its reason is
    on stderr, in "skipped" of --json and, with --out scores.csv, in scores.skipped.csv.

    With --cluster parts of DATA, which is read here, are scored by the workers of a Ray cluster, which have the bundle
    at the same place; what is written is what one machine writes. A part whose worker dies is scored again.

    A bundle of `recipe fraud` takes raw events: what cards and terminals did before each row of DATA, in DATA itself
    and in --history, becomes its features, and a verdict counts once it was out. Then DATA is read whole.

    A bundle of `recipe maintenance` takes raw sensors, and writes unit, time, rul, low and high: the remaining life of
    each machine at its last time, or with --all at each.

    A bundle of `recipe defects` takes a folder of pictures: --out gets COCO results, all boxes with their scores, and
    NAME.parts.csv beside it says which parts are defective.

    A bundle of `recipe assistant` takes questions (a column `question` or `text`), and writes prediction, probability,
    second, third, in_scope and decision: answer, ask or hand_over.
    """
    from deepseek.cli.support.kinds.assistants import is_assistant, predict_questions
    from deepseek.cli.support.kinds.detection import is_detector, predict_pictures

    if cluster is not None:
        from deepseek.cli.support.ray_scoring import check_options, refused_model_error
        from deepseek.serve.cluster.connection import check_cluster

        check_options(click.get_current_context())
        if out is None and not as_json:
            raise click.UsageError("--cluster writes a file: give --out FILE, too")
        check_cluster(cluster)
        if is_detector(bundle) or is_assistant(bundle):
            raise refused_model_error(bundle)
    if is_detector(bundle):
        predict_pictures(bundle, data, out, key=key, broken=broken, as_json=as_json)
        return
    if is_assistant(bundle):
        predict_questions(bundle, data, out, key=key, as_json=as_json)
        return
    from deepseek.engines.first_run import FirstRunLimits, use_limits

    job = _RowsJob(bundle, data, out, history, files, broken, key, flags, all_rows, html, strict, as_json)
    with use_limits(FirstRunLimits(open_timeout, open_memory << 20)):
        _predict_rows(job, cluster)


@dataclass(frozen=True, slots=True)
class _RowsJob:
    """What was asked of the rows of a table."""

    bundle: Path
    data: Path
    out: Path | None
    history: tuple[Path, ...]
    files: Path | None
    broken: Broken
    key: Path | None
    with_flags: bool
    all_rows: bool
    html: Path | None
    is_strict: bool
    as_json: bool


def _predict_rows(job: _RowsJob, cluster: str | None) -> None:
    """Score the rows of a table, here or on a cluster, and say what was flagged and skipped."""
    from deepseek.automl.cluster.workers import open_workers
    from deepseek.cli.support.events import open_rows
    from deepseek.cli.support.extra_columns import ExtraColumns
    from deepseek.cli.support.kinds.machines import MachineJob, predict_machines
    from deepseek.cli.support.opening import warn_unchecked
    from deepseek.cli.support.writers import RecordsWriter, check_suffix, open_writer
    from deepseek.engines import open_runtime

    out, as_json = job.out, job.as_json
    if out is not None:
        check_suffix(out)
    records = RecordsWriter()
    counts: Counter[tuple[str, str]] = Counter()
    with (
        nullcontext() if cluster is None else open_workers(cluster) as workers,
        open_runtime(job.bundle, key=job.key) as runtime,
        closing(Progress()) as progress,
    ):
        warn_unchecked(job.bundle, job.key)
        machines = MachineJob(runtime, job.data, out, job.html, job.all_rows, as_json, bool(job.history))
        if workers is None and predict_machines(machines):
            return
        answering = None if workers is None else _cluster_job(job, runtime, workers)
        with (
            open_rows(runtime.bundle, job.data, job.history, _check_progress(progress)) as table,
            nullcontext(records) if as_json and out is None else open_writer(out) as writer,
        ):
            num_rows = table.num_rows
            parts, extra = _report_parts(table.parts(), num_rows, progress), ExtraColumns.of(runtime)
            parts = parts if job.is_strict else extra.pass_over(parts)
            root = job.files or job.data.parent
            if answering is not None:
                from deepseek.cli.support.ray_scoring import score_on_cluster

                score_on_cluster(answering, parts, writer, counts)
                skipped = []
            else:
                skipped = _score(runtime, root, job.broken, parts, writer, counts, with_flags=job.with_flags)
    result: dict[str, object] = {"bundle": str(job.bundle), "digest": runtime.bundle.digest, "num_rows": num_rows}
    result |= _flag_counts(counts) | ({"ignored_columns": extra.names} if extra.names else {})
    if workers is not None:
        result["cluster"] = workers.to_dict()
    if job.broken == "skip":
        result |= {"num_skipped": len(skipped), "skipped": [row.to_dict() for row in skipped]}
    result |= {"predictions": records.rows} if out is None else {"out": str(out)}
    _report_skipped(skipped, num_rows, out)
    if as_json:
        output.emit(result, as_json)
    elif out is not None:
        output.note(f"{output.format_value(num_rows - len(skipped))} rows scored into {out}")


def _cluster_job(job: _RowsJob, runtime: Runtime | MultimodalRuntime, workers: Workers) -> ClusterJob:
    """What the workers open. InputError for a model that is not scored on a cluster."""
    from deepseek.cli.support.ray_scoring import ClusterJob, check_model
    from deepseek.engines.first_run import current_limits

    check_model(runtime)
    limits = current_limits().to_dict()
    return ClusterJob(workers, job.bundle, runtime.bundle.digest, job.key, job.with_flags, limits)


def _flag_counts(counts: Counter[tuple[str, str]]) -> dict[str, object]:
    """The entries of the JSON object about flags: how many values were replaced, and how many there are of each reason;
    says them, too."""
    from deepseek.look.summary import BEYOND_TRAINING, count_by_reason, flag_lines

    for line in flag_lines(counts):
        output.note(output.escape_text(line))
    reasons = count_by_reason(counts)
    replaced = sum(number for what, number in reasons.items() if what not in BEYOND_TRAINING)
    return {"num_flags": replaced, "flags": reasons}


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


def _score(
    runtime: Runtime | MultimodalRuntime,
    root: Path,
    broken: Broken,
    parts: Iterable[Table],
    writer: Writer,
    counts: Counter[tuple[str, str]],
    *,
    with_flags: bool,
) -> list[SkippedRow]:
    """Answer the rows of all parts; `with_flags` writes a column of flags, too. Returns the rows that were skipped;
    `counts` gets how many flags there are of each column and reason."""
    from deepseek.cli.support.scoring import score, score_good_rows
    from deepseek.data.samples.faults import find_faults
    from deepseek.engines import Runtime

    answer = _count_flags(_predictor_of(runtime, root, broken), counts)
    if broken == "skip":
        batch_rows = None if isinstance(runtime, Runtime) else FILE_BATCH_ROWS
        return score_good_rows(
            answer, parts, writer, check=_column_check_of(runtime), batch_rows=batch_rows, with_flags=with_flags
        )[1]
    if isinstance(runtime, Runtime):
        score(answer, parts, writer, with_flags=with_flags)
        return []
    preparer = runtime.preparer
    score(
        answer, parts, writer, lambda table, first: find_faults(preparer, table, root=root, first_row=first),
        with_flags=with_flags,
    )  # fmt: skip
    return []


def _count_flags(answer: AnswerFunction, counts: Counter[tuple[str, str]]) -> AnswerFunction:
    """The same answers; `counts` gets their flags."""

    def count(table: Table, first: int) -> Prediction:
        prediction = answer(table, first)
        counts.update((flag.column, flag.what) for flag in prediction.flags)
        return prediction

    return count


def _predictor_of(runtime: Runtime | MultimodalRuntime, root: Path, broken: Broken) -> AnswerFunction:
    """Answers for a part of a table that begins at a row."""
    from deepseek.engines import Runtime

    if isinstance(runtime, Runtime):
        return lambda table, first: runtime.predict(table, first_row=first)
    if broken == "skip":
        return lambda table, first: runtime.predict(table, root=root, first_row=first)

    def answer(table: Table, first: int) -> Prediction:
        faults: list[Fault] = []
        prediction = runtime.predict(table, root=root, broken=broken, faults=faults, first_row=first)
        for fault in faults[:MAX_NOTED]:
            output.note(f"masked: row {first + fault.row}, {fault.message}")
        return prediction

    return answer


def _column_check_of(runtime: Runtime | MultimodalRuntime) -> Callable[[Table], None]:
    """Raises for columns that the model lacks or does not know: without these no row can be scored."""
    import numpy as np

    from deepseek.data.table.table import unknown_column_error
    from deepseek.engines import Runtime

    def check(table: Table) -> None:
        if isinstance(runtime, Runtime):
            runtime.preprocessor.table(table.take(np.arange(0)))
            return
        runtime.preparer.check_names([dict.fromkeys(table.names)], [0])
        for name in runtime.preparer.columns():
            if name not in table.names:
                raise unknown_column_error(name, table.names, where="the data", fix=f"add {name!r} to the data")

    return check


def _report_skipped(skipped: Sequence[SkippedRow], num_rows: int, out: Path | None) -> None:
    """A reason for each row that was left out: on stderr, and in a file beside `out`."""
    from deepseek.cli.support.writers import open_writer

    if not skipped:
        return
    shown = skipped if out is None else skipped[:MAX_NOTED]
    for row in shown:
        place = "" if f"row {row.row_id}" in row.reason else f"row {row.row_id}: "
        output.note(f"skipped: {place}{row.reason}")
    where = ""
    if out is not None:
        import numpy as np

        path = out.with_suffix(".skipped.csv")
        with open_writer(path) as writer:
            ids, reasons = np.array([row.row_id for row in skipped]), np.array([row.reason for row in skipped])
            writer.write({"row_id": ids, "reason": reasons})
        where = f"; each with its reason is in {path}"
    output.note(f"{output.format_value(len(skipped))} of {output.format_value(num_rows)} rows were skipped{where}")
