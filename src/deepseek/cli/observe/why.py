"""`deepseek observe why`: which slice explains the bad answers of a window. The work is in observe/why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE
from deepseek.files import atomic_file, check_writable
from deepseek.look import numbers

if TYPE_CHECKING:
    from deepseek.observe.elastic.source import ElasticSource
    from deepseek.observe.why.report import WhyReport

EPILOG = """\b
Examples:
  deepseek observe why predictions --since 10m --html why.html
  deepseek observe why predictions access.ndjson --labels labels.csv --until 2026-05-01T14:00:00Z
  deepseek observe why access.ndjson --bad "status = 429" --json
  journalctl -o json --since -1h | deepseek observe why predictions --system -
  deepseek observe why --elastic http://127.0.0.1:9200 --since 10m --past 2h
"""


@click.command(epilog=EPILOG, short_help="Which slice explains the bad answers?")
@click.argument("logs", nargs=-1, type=click.Path(path_type=Path), metavar="[LOGS]...")
@click.option("--since", default="10m", show_default=True, help="Length of the window: 30s, 10m, 2h, 1d.")
@click.option("--until", metavar="TIME", help="Its end.  [default: the last row]")
@click.option("--past", metavar="SPAN", help="Length of the past before it.  [default: all, up to 144 windows]")
@click.option(
    "--system", "system", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Log of the machine: journalctl -o json, syslog, docker or Kubernetes events; - for stdin.",
)  # fmt: skip
@click.option("--bad", metavar="EXPR", help="What counts as bad, as SQL: \"status = 503 AND host = 'a'\".")
@click.option("--labels", type=FILE, help="CSV, Parquet or NDJSON: request_id, label, and row.")
@click.option("--time-column", metavar="NAME", help="Where the time stands.  [default: time, @timestamp, ...]")
@click.option("--elastic", metavar="URL", help="Ask Elasticsearch for the lines of that span, too.")
@click.option("--elastic-index", default="logs-deepseek.*", show_default=True, metavar="NAME", help="Where they are.")
@click.option("--elastic-key-file", type=FILE, help="Holds an API key for it.")
@click.option("--elastic-ca", type=FILE, help="Certificates to trust, PEM.")
@click.option(
    "--memory", default=1_024, show_default=True, type=click.IntRange(64), metavar="MIB", help="For the logs."
)
@click.option("--html", type=FILE, help="Write a page there, with rows to look at.")
@output.json_option
def command(
    logs: tuple[Path, ...], since: str, until: str | None, past: str | None, system: tuple[Path, ...],
    bad: str | None, labels: Path | None, time_column: str | None, elastic: str | None, elastic_index: str,
    elastic_key_file: Path | None, elastic_ca: Path | None, memory: int, html: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Say which slice of the requests in LOGS explains what went wrong in a window: a value of a field, a range of an
    input, a version, a worker, what happened to a machine, or two of these at once, each against its own past. LOGS are
    the folder of serve's --prediction-log (also the default: $PREDICTION_LOG), files of log lines, or both."""
    if html is not None:
        check_writable(html)
    from deepseek.observe.why.windows import parse_duration

    options = WhyOptions(
        logs or (() if elastic else default_logs()), parse_duration(since), until,
        None if past is None else parse_duration(past), system, bad, labels, time_column, memory,
    )  # fmt: skip
    if elastic is None:
        report, names = explain_window(options), [path.name for path in options.paths]
    else:
        report = explain_elastic(options, open_source(elastic, elastic_index, elastic_key_file, elastic_ca))
        names = [*(path.name for path in options.paths), elastic_index]
    if html is not None:
        from deepseek.observe.why.page import render_page

        with atomic_file(html) as part:
            part.write_text(render_page(report, ", ".join(names)), encoding="utf-8")
        output.note(f"the page is in {html}")
    for note in report.notes:
        output.note(note.en)
    output.emit(report.to_dict(), as_json, lambda: describe(report))


@dataclass(frozen=True, slots=True)
class WhyOptions:
    """What is asked: the logs, the window (spans in s), and what counts as bad."""

    paths: tuple[Path, ...]
    since_s: float
    until: str | None = None
    past_s: float | None = None
    system: tuple[Path, ...] = ()
    bad: str | None = None
    labels: Path | None = None
    time_column: str | None = None
    memory_mib: int = 1_024


def default_logs() -> tuple[Path, ...]:
    """The folder of the environment's prediction log. UsageError without one."""
    import os

    folder = os.environ.get("PREDICTION_LOG", "").split(",")[0].strip()
    if not folder:
        raise click.UsageError("give LOGS: the folder of --prediction-log, or files of log lines")
    return (Path(folder),)


def open_source(url: str, index: str, key_file: Path | None, ca_file: Path | None) -> ElasticSource:
    """Where lines are asked for. InputError for what cannot be one."""
    from deepseek.observe.elastic.source import ElasticSource, read_api_key

    key = "" if key_file is None else read_api_key(key_file)
    return ElasticSource(url, index, key, "" if ca_file is None else str(ca_file))


def explain_elastic(options: WhyOptions, source: ElasticSource) -> WhyReport:
    """The causes of a window by the lines that Elasticsearch has of it and of its past, beside the logs. Of our own
    data streams those of requests are rows, and those of machines are looked through for what happened to them."""
    import tempfile
    from time import time

    from deepseek.observe.elastic.fetch import Span, fetch_lines
    from deepseek.observe.elastic.source import DEFAULT_INDEX, MESSAGE_FIELD, REQUEST_FIELD, SYSTEM_INDEX, parse_utc
    from deepseek.observe.why.windows import MAX_PAST_WINDOWS

    end_s = time() if options.until is None else parse_utc(options.until)
    past_s = options.past_s or MAX_PAST_WINDOWS * options.since_s
    is_ours = source.index == DEFAULT_INDEX
    span = Span(end_s - options.since_s - past_s, end_s, REQUEST_FIELD if is_ours else "")
    with tempfile.TemporaryDirectory(prefix="deepseek-elastic-") as folder:
        file, machines, system = Path(folder) / "lines.ndjson", Path(folder) / "system.ndjson", options.system
        share = fetch_lines(source, span, file)
        if is_ours:
            said = replace(span, field=MESSAGE_FIELD)
            fetch_lines(replace(source, index=SYSTEM_INDEX), said, machines, may_be_none=True)
            system = (*system, machines)
        return explain_window(replace(options, paths=(*options.paths, file), system=system), share)


def explain_window(options: WhyOptions, line_share: float = 1.0) -> WhyReport:
    """The causes of a window of these logs, with rows to look at. `line_share`: of the lines, that were fetched."""
    from time import time

    from deepseek.extras import need

    for module in ("duckdb", "pyarrow", "scipy"):
        need(module, extra="observe")
    from deepseek.observe.reading.clocks import set_clocks_right
    from deepseek.observe.reading.labels import join_labels
    from deepseek.observe.reading.tables import ReadLimits, open_logs
    from deepseek.observe.system.joining import join_events
    from deepseek.observe.system.sources import read_events
    from deepseek.observe.why.causes import find_causes
    from deepseek.observe.why.report import make_report
    from deepseek.observe.why.windows import WindowChoice, parse_moment

    events = read_events(options.system) if options.system else None
    limits = ReadLimits(memory_mib=options.memory_mib)
    with open_logs(options.paths, limits, time_column=options.time_column) as logs:
        logs.notes.line_share *= line_share
        set_clocks_right(logs)
        if options.labels is not None:
            join_labels(logs, options.labels)
        if events is not None:
            join_events(logs, events)
        logs.lock()
        until_s = None if options.until is None else parse_moment(logs, options.until)
        choice = WindowChoice(options.since_s, until_s, options.past_s, time())
        return make_report(logs, find_causes(logs, choice, bad=options.bad))


def describe(report: WhyReport) -> list[object]:
    """The answer in one sentence, then the causes and what to do."""
    from deepseek.observe.why.words import action_words, bad_words, cause_title

    causes = report.findings.causes
    if not causes:
        return [report.answer.en]
    table = output.make_table("", "cause", "bad", "of", "expected", "what", "do", value_justify="left")
    for rank, cause in enumerate(causes, start=1):
        first = cause.evidence[0]
        expected = numbers.number(max(0.0, first.num_bad - first.excess))
        echo = "" if cause.echo_of is None else f" (as {cause.echo_of})"
        table.add_row(
            str(rank), output.escape_text(cause_title(cause).en + echo), numbers.count(round(first.num_bad)),
            numbers.count(round(first.num_rows)), expected, output.escape_text(bad_words(first).en),
            output.escape_text(action_words(cause).en),
        )  # fmt: skip
    return [report.answer.en, "", table]
