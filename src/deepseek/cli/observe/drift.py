"""`deepseek observe drift`: is what comes in still what the model was trained on? The work is in observe/drift."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE
from deepseek.files import atomic_file, check_writable
from deepseek.look import numbers

if TYPE_CHECKING:
    from deepseek.observe.drift.drift import DriftReport

EPILOG = """\b
Examples:
  deepseek observe drift loans predictions --html drift.html
  deepseek observe drift loans predictions --since 7d --labels labels.csv
  deepseek observe drift loans predictions --json > drift.json   # for `deepseek observe expose drift.json`
"""


@click.command(epilog=EPILOG, short_help="Is what comes in still what the model was trained on?")
@click.argument("bundle", type=BUNDLE)
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--since", default="1d", show_default=True, help="Length of the window: 10m, 2h, 7d.")
@click.option("--until", metavar="TIME", help="Its end.  [default: the last row]")
@click.option("--labels", type=FILE, help="CSV, Parquet or NDJSON: request_id, label, and row.")
@click.option("--any-version", is_flag=True, help="Take rows that other versions answered, too.")
@click.option("--time-column", metavar="NAME", help="Where the time stands.  [default: time, @timestamp, ...]")
@click.option(
    "--memory", default=1_024, show_default=True, type=click.IntRange(64), metavar="MIB", help="For the logs."
)
@click.option("--key", type=FILE, help="Public key that must have signed the bundle.")
@click.option("--html", type=FILE, help="Write a page there.")
@output.json_option
def command(
    bundle: Path, logs: tuple[Path, ...], since: str, until: str | None, labels: Path | None, any_version: bool,
    time_column: str | None, memory: int, key: Path | None, html: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Hold the rows of LOGS against the data card of BUNDLE: each column by itself, weighed by how much it moves the
    answers, all of them together against earlier rows, and accuracy and AUC without labels, or with as many as came."""
    if html is not None:
        check_writable(html)
    from time import time

    from deepseek.extras import need
    from deepseek.observe.why.windows import parse_duration, parse_moment

    since_s = parse_duration(since)
    for module in ("duckdb", "pyarrow", "scipy"):
        need(module, extra="observe")
    from deepseek.bundle.read import open_bundle
    from deepseek.observe.drift.drift import find_drift
    from deepseek.observe.reading.clocks import set_clocks_right
    from deepseek.observe.reading.labels import join_labels
    from deepseek.observe.reading.tables import ReadLimits, open_logs
    from deepseek.observe.reading.words import reading_words

    opened = open_bundle(bundle, key=key)
    with open_logs(logs, ReadLimits(memory_mib=memory), time_column=time_column) as rows:
        set_clocks_right(rows)
        if labels is not None:
            join_labels(rows, labels)
        until_s = None if until is None else parse_moment(rows, until)
        report = find_drift(
            opened, rows, since_s=since_s, until_s=until_s, now_s=time(), any_version=any_version,
            notes=tuple(reading_words(rows.notes)),
        )  # fmt: skip
    if html is not None:
        from deepseek.observe.drift.page import render_page

        with atomic_file(html) as part:
            part.write_text(render_page(report, ", ".join(path.name for path in logs), bundle.name), encoding="utf-8")
        output.note(f"the page is in {html}")
    output.emit(report.to_dict(), as_json, lambda: describe(report))


def describe(report: DriftReport) -> list[object]:
    """The answer in one sentence, the columns, how good the model still is, what could not be compared."""
    from deepseek.observe.drift.words import (
        answer_words,
        column_state,
        fault_words,
        joint_words,
        performance_words,
        start_words,
    )

    table = output.make_table(
        "column", "PSI", "distance", "impact", "missing", "p", "state", "since", value_justify="right"
    )
    for each in report.columns[:30]:
        table.add_row(
            output.escape_text(each.name), numbers.number(each.psi), numbers.number(each.distance),
            numbers.number(each.impact), numbers.number(each.missing_share), numbers.number(each.p_value),
            column_state(each).en, start_words(report.starts.get(each.name)).en,
        )  # fmt: skip
    lines = [*performance_words(report), *joint_words(report), *fault_words(report)]
    return [
        output.escape_text(answer_words(report).en),
        "",
        table,
        "",
        *(output.escape_text(line.en) for line in lines),
    ]
