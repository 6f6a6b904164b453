"""Files of a log -> one DuckDB table `rows`: a row for each row of a request, its columns under common names.

Times are seconds since 1970, durations seconds. What a log calls its own way ("@timestamp", "event.duration") has the
name of the prediction log; every other column keeps its own. Where predictions and lines of requests are both given,
the lines bring the columns that predictions lack, by the request's id, and the requests that have no prediction.
Memory is bounded: DuckDB spills to a temporary folder, and of very long logs a stated share of the lines is read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from deepseek.errors import InputError
from deepseek.extras import need
from deepseek.observe.reading.files import LogFiles, list_log_files
from deepseek.observe.reading.names import Roles
from deepseek.observe.reading.ndjson import column_types, quote_name, quote_text, sniff_fields

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_MARK = b"PAR1"  # at both ends of a whole file
MIB_PER_THREAD = 64  # that each thread has to have: its own lines and rows
MIN_LINE_BYTES, MAX_LINE_BYTES = 1 << 20, 16 << 20


@dataclass(frozen=True, slots=True)
class ReadLimits:
    memory_mib: int = 1_024  # of DuckDB; beyond it the disk is used
    threads: int = 2
    line_bytes: int = 2 << 30  # of lines that are read whole; of more a share is
    seed: int = 0  # of that share


@dataclass(slots=True)
class ReadingNotes:
    """What was not as it should be, by what it is; all 0 or empty for a log without fault."""

    num_rows: int = 0
    num_broken: int = 0  # lines that are no JSON object
    num_without_time: int = 0
    broken_files: list[str] = field(default_factory=list)  # Parquet that breaks off
    line_share: float = 1.0  # of the lines that were read
    clock_offsets_s: dict[str, float] = field(default_factory=dict)  # host -> how far its clock is ahead
    num_unknown_labels: int = 0  # labels of requests that are not in the log
    num_labels: int = 0
    num_system_events: int = 0  # of machines and containers, that were trouble
    num_unjoined_system: int = 0  # of these, of hosts that the log does not have
    num_broken_system: int = 0  # lines of system logs that have no known form
    num_dropped_system: int = 0  # events beyond what is kept


class Logs:
    """An open DuckDB with the table `rows`. Close it, for its temporary folder's sake."""

    def __init__(self, limits: ReadLimits) -> None:
        duckdb = need("duckdb", extra="observe")
        self.notes = ReadingNotes()
        self.limits = limits
        self._folder = tempfile.TemporaryDirectory(prefix="deepseek-logs-")
        self._connection = duckdb.connect(
            config={
                "memory_limit": f"{limits.memory_mib}MiB",
                "threads": min(limits.threads, max(1, limits.memory_mib // MIB_PER_THREAD)),
                "temp_directory": self._folder.name, "preserve_insertion_order": False,
                "autoinstall_known_extensions": False, "autoload_known_extensions": False,
            }
        )  # fmt: skip
        self._connection.execute("SET TimeZone = 'UTC'")  # of times that name none
        self._connection.execute("SET enable_progress_bar = false")  # it would go to stdout, into the --json object

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query; those of a statement are of no use. InputError where memory does not suffice."""
        with self._says_what_to_do():
            rows: list[tuple[Any, ...]] = self._connection.execute(sql).fetchall()
        return rows

    def table(self, sql: str) -> pa.Table:
        """The rows of a query as an Arrow table. InputError as query()."""
        with self._says_what_to_do():
            return self._connection.sql(sql).to_arrow_table()

    @contextmanager
    def _says_what_to_do(self) -> Iterator[None]:
        try:
            yield
        except need("duckdb", extra="observe").OutOfMemoryException as error:
            raise InputError(
                f"the log cannot be read in {self.limits.memory_mib} MiB of memory",
                expected="memory for its widest rows and longest lines", fix="allow more: --memory 1024",
            ) from error  # fmt: skip

    @staticmethod
    def error_class() -> type[Exception]:
        """What DuckDB raises for a query that it cannot run."""
        return need("duckdb", extra="observe").Error  # type: ignore[no-any-return]

    def count(self, sql: str) -> int:
        """The one number of a query."""
        return int(self.query(sql)[0][0] or 0)

    @property
    def columns(self) -> Mapping[str, str]:
        """Name of each column of `rows` -> its type."""
        return {row[0]: row[1] for row in self.query("DESCRIBE rows")}

    def lock(self) -> None:
        """From now on queries can read nothing but `rows`: before an expression of the user's runs."""
        self.query("SET enable_external_access = false")

    def close(self) -> None:
        self._connection.close()
        self._folder.cleanup()

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def longest_line_bytes(limits: ReadLimits) -> int:
    """The longest line that is read: two of them are held for each thread, and must leave memory for the rest."""
    return max(MIN_LINE_BYTES, min(MAX_LINE_BYTES, (limits.memory_mib << 20) // 32))


def open_logs(paths: Sequence[Path], limits: ReadLimits, *, time_column: str | None = None) -> Logs:
    """Read these files and folders. MissingError, InputError: no such path, no log in it, no time in its rows."""
    logs = Logs(limits)
    try:
        files = _whole_files(list_log_files(paths), logs.notes)
        tables = []
        if files.parquet:
            _read_parquet(logs, files, time_column)
            tables.append("parquet_rows")
        if files.lines:
            _read_lines(logs, files, time_column)
            tables.append("line_rows")
        _join_tables(logs, tables)
        logs.notes.num_rows = logs.count("SELECT count(*) FROM rows")
        if not logs.notes.num_rows:
            raise no_rows_error(paths, logs.notes)
    except BaseException:
        logs.close()
        raise
    return logs


def no_rows_error(paths: Sequence[Path], notes: ReadingNotes) -> InputError:
    """The error for logs in which no row has a time."""
    where = ", ".join(map(str, paths))
    return InputError(
        f"no row of {where} has a time that can be read: {notes.num_broken} lines are broken, "
        f"{notes.num_without_time} have no time",
        expected="a time in ISO form or in seconds since 1970 in each row",
        fix="name its column: --time-column NAME",
    )


def _whole_files(files: LogFiles, notes: ReadingNotes) -> LogFiles:
    """Without the Parquet files that break off, which are noted."""
    whole = []
    for path in files.parquet:
        with path.open("rb") as file:
            file.seek(-min(4, path.stat().st_size), 2)
            if file.read() == PARQUET_MARK:
                whole.append(path)
            else:
                notes.broken_files.append(str(path))
    if not whole and not files.lines:
        raise InputError(
            f"no whole file of Parquet: {', '.join(notes.broken_files[:3])} break off",
            expected="files that were closed",
            fix="read another folder, or copy the files again",
        )
    return LogFiles(tuple(whole), files.lines)


def _read_parquet(logs: Logs, files: LogFiles, time_column: str | None) -> None:
    names = ", ".join(quote_text(str(path)) for path in files.parquet)
    source = f"read_parquet([{names}], union_by_name = true, hive_partitioning = false)"
    types = {row[0]: row[1] for row in logs.query(f"DESCRIBE SELECT * FROM {source}")}
    expressions = {name: quote_name(name) for name in types}
    _make_table(logs, "parquet_rows", source, expressions, types, time_column)


def _read_lines(logs: Logs, files: LogFiles, time_column: str | None) -> None:
    notes, limit = logs.notes, logs.limits.line_bytes
    notes.line_share = min(1.0, limit / max(1, files.num_bytes))
    fields = sniff_fields(files.lines)
    if not fields:
        raise InputError(
            f"{files.lines[0]}: none of its first lines is a JSON object", expected="one JSON object in each line",
            fix="give the server's log, or a folder of Parquet",
        )  # fmt: skip
    types = ", ".join(f"{quote_text(key)}: {quote_text(kind)}" for key, kind in column_types(fields).items())
    names = ", ".join(quote_text(str(path)) for path in files.lines)
    source = (
        f"read_json([{names}], format = 'newline_delimited', ignore_errors = true, columns = {{{types}}}, "
        f"maximum_object_size = {longest_line_bytes(logs.limits)})"
    )
    if notes.line_share < 1:
        source += f" USING SAMPLE {100 * notes.line_share:.4f} PERCENT (bernoulli, {logs.limits.seed})"
    expressions = {each.name: ".".join(map(quote_name, each.keys)) for each in fields}
    kinds = {each.name: "DOUBLE" if each.is_number else "VARCHAR" for each in fields}
    _make_table(logs, "line_rows", source, expressions, kinds, time_column)


def _make_table(
    logs: Logs,
    table: str,
    source: str,
    expressions: Mapping[str, str],
    types: Mapping[str, str],
    time_column: str | None,
) -> None:
    """Make a table of a source under common names, without the rows that have no time, which are noted.
    `expressions`, `types`: of each column, by its name."""
    roles = Roles.of(types)
    time_name = time_column if time_column in types else roles.get("time")
    if time_name is None:
        raise InputError(
            f"the log has no column with the time; its columns are {', '.join(list(types)[:12])}",
            expected="a column time, @timestamp or timestamp", fix="name it: --time-column NAME",
        )  # fmt: skip
    columns = {"time": _time_expression(expressions[time_name], types[time_name])}
    named = {name: meaning for meaning, name in roles.columns.items() if meaning != "time"}
    for name, expression in expressions.items():
        if name == time_name:
            continue
        meaning = named.get(name)
        if meaning in ("duration_ns", "duration_ms"):
            divisor = "1e9" if meaning == "duration_ns" else "1e3"
            columns.setdefault("duration_s", f"TRY_CAST({expression} AS DOUBLE) / {divisor}")
        elif meaning in ("status", "duration_s", "confidence", "value"):
            columns[meaning] = f"TRY_CAST({expression} AS DOUBLE)"
        else:
            columns[meaning or name] = expression
    everything = " AND ".join(f"{expression} IS NULL" for expression in expressions.values())
    chosen = ", ".join(f"{expression} AS {quote_name(name)}" for name, expression in columns.items())
    logs.query(f'CREATE TEMP TABLE {table} AS SELECT {chosen}, ({everything}) AS "is broken" FROM {source}')
    broken, timeless = logs.query(
        f'SELECT count(*) FILTER ("is broken"), count(*) FILTER (time IS NULL AND NOT "is broken") FROM {table}'
    )[0]
    logs.notes.num_broken += broken
    logs.notes.num_without_time += timeless
    if broken or timeless:
        logs.query(f"DELETE FROM {table} WHERE time IS NULL")
    logs.query(f'ALTER TABLE {table} DROP COLUMN "is broken"')


def _time_expression(expression: str, kind: str) -> str:
    """Seconds since 1970. Numbers are seconds, ms, us or ns, whichever lies between 2001 and 2286."""
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"epoch_us({expression}) / 1e6"
    if kind == "VARCHAR":
        return f"epoch_us(TRY_CAST({expression} AS TIMESTAMPTZ)) / 1e6"
    number = f"CAST({expression} AS DOUBLE)"
    return (
        f"CASE WHEN {number} BETWEEN 1e9 AND 1e10 THEN {number} "
        f"WHEN {number} BETWEEN 1e12 AND 1e13 THEN {number} / 1e3 "
        f"WHEN {number} BETWEEN 1e15 AND 1e16 THEN {number} / 1e6 WHEN {number} BETWEEN 1e18 AND 1e19 "
        f"THEN {number} / 1e9 END"
    )


def _join_tables(logs: Logs, tables: Sequence[str]) -> None:
    """Make `rows` of the tables that there are."""
    if len(tables) == 1:
        logs.query(f"ALTER TABLE {tables[0]} RENAME TO rows")
        return
    names = {table: [row[0] for row in logs.query(f"DESCRIBE {table}")] for table in tables}
    predictions, lines = names["parquet_rows"], names["line_rows"]
    if "request_id" not in predictions or "request_id" not in lines:
        logs.query("CREATE TEMP TABLE rows AS SELECT * FROM parquet_rows UNION ALL BY NAME SELECT * FROM line_rows")
        return
    known = {name.lower() for name in predictions}
    more = [name for name in lines if name.lower() not in known]
    added = "".join(f", l.{quote_name(name)}" for name in more)
    brought = "".join(f", any_value({quote_name(name)}) AS {quote_name(name)}" for name in more)
    logs.query(
        f"CREATE TEMP TABLE rows AS SELECT p.*{added} FROM parquet_rows p "
        f"LEFT JOIN (SELECT request_id{brought} FROM line_rows WHERE request_id IS NOT NULL GROUP BY request_id) l "
        "USING (request_id) UNION ALL BY NAME SELECT * FROM line_rows ANTI JOIN parquet_rows USING (request_id)"
    )
    for table in tables:
        logs.query(f"DROP TABLE {table}")
