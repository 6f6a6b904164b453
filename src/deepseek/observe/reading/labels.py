"""Labels that come later, joined to the rows that they are of by the request's id, and by the row's number in it."""

from __future__ import annotations

from pathlib import Path

from deepseek.errors import InputError, MissingError
from deepseek.observe.reading.ndjson import quote_text
from deepseek.observe.reading.tables import Logs

READERS = {
    ".parquet": "read_parquet({})", ".csv": "read_csv({}, header = true, all_varchar = true)",
    ".ndjson": "read_json({}, format = 'newline_delimited')", ".jsonl": "read_json({}, format = 'newline_delimited')",
}  # fmt: skip


def join_labels(logs: Logs, path: Path) -> None:
    """Set the column `label` of `rows` from a file with request_id and label, and row where requests have several.

    Of several labels of one row the last counts, by the column time where there is one. Labels of requests that are not
    in the log are counted in the notes. MissingError, InputError: no such file, not these columns.
    """
    if not path.is_file():
        raise MissingError(f"{path}: there is no such file", expected="a file of labels", fix="name another file")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: labels end in {', '.join(READERS)}", expected="such a file", fix="write it as CSV")
    if "request_id" not in logs.columns:
        raise InputError(
            "the log has no request_id, by which labels are joined", expected="a prediction log, or lines with an id",
            fix="write logs with --prediction-log, or leave --labels out",
        )  # fmt: skip
    source = reader.format(quote_text(str(path)))
    names = {row[0].lower() for row in logs.query(f"DESCRIBE SELECT * FROM {source}")}
    if not {"request_id", "label"} <= names:
        raise InputError(
            f"{path} has the columns {', '.join(sorted(names))}", expected="request_id, label, and row where requests "
            "have several", fix="name its columns so",
        )  # fmt: skip
    by_row = "row" in names and "row" in logs.columns
    key = "request_id, CAST(row AS BIGINT) AS row" if by_row else "request_id"
    order = "CAST(time AS VARCHAR)" if "time" in names else "place"
    logs.query("SET preserve_insertion_order = true")  # or "the last one" is whichever thread was last
    logs.query(
        f"CREATE TEMP TABLE labels AS SELECT {key}, CAST(arg_max(label, {order}) AS VARCHAR) AS label FROM "
        f"(SELECT *, row_number() OVER () AS place FROM {source}) GROUP BY ALL"
    )
    logs.query("SET preserve_insertion_order = false")
    using = "USING (request_id, row)" if by_row else "USING (request_id)"
    logs.notes.num_labels = logs.count("SELECT count(*) FROM labels")
    logs.notes.num_unknown_labels = logs.count(f"SELECT count(*) FROM labels ANTI JOIN rows {using}")
    kept = "* EXCLUDE (label)" if "label" in logs.columns else "*"
    logs.query(f"CREATE TEMP TABLE labeled AS SELECT r.{kept}, l.label FROM rows r LEFT JOIN labels l {using}")
    logs.query("DROP TABLE rows")
    logs.query("ALTER TABLE labeled RENAME TO rows")
