"""read_table: whatever holds a table becomes a Table.

    read_table("loans.csv")     # also .tsv, .gz, .zst, Parquet, Arrow, Feather
    read_table(frame)           # pandas or polars
    read_table({"age": [31, 40], "city": ["Rome", None]})

Files are told apart by their first bytes; a name that promises something else is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from deepseek.data.table.arrow import check_names, from_arrow
from deepseek.data.table.delimited import read_delimited
from deepseek.data.table.memory import check_memory, translate_memory_errors
from deepseek.data.table.table import Table
from deepseek.data.table.values import BadValueError, level_name, map_distinct, parse_numbers, parse_timestamps
from deepseek.errors import InputError, MalformedError, MissingError
from deepseek.extras import need

EXPECTED_FILE = "a CSV, Parquet, Arrow or Feather file"
#: First bytes of files that are often taken for tables, and what to do.
_UNSUPPORTED_SIGNATURES = {
    b"PK\x03\x04": ("a ZIP or Excel file", "unpack it, or save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Excel file", "save the sheet as CSV"),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV or Parquet"),
    b"\x89HDF": ("an HDF5 file", "export the table as Parquet"),
    b"%PDF": ("a PDF", "export the table as CSV"),
    b"\x80\x04": ("a pickle, which is never read", "save the frame as Parquet"),
    b"\x80\x05": ("a pickle, which is never read", "save the frame as Parquet"),
    b"BZh": ("bzip2", "unpack it, or pack it as .gz or .zst"),
    b"\xfd7zXZ": ("xz", "unpack it, or pack it as .gz or .zst"),
}
FileFormat = Literal["gzip", "zstd", "Parquet", "Arrow", "Arrow stream", "delimited"]
_FORMAT_SIGNATURES: dict[bytes, FileFormat] = {
    b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PAR1": "Parquet", b"ARROW1": "Arrow",
    b"\xff\xff\xff\xff": "Arrow stream",
}  # fmt: skip
PEAK_MEMORY_FACTOR = 5  # a CSV that is read takes so many times its size at its peak: bytes, cells and columns
FIX_TOO_LARGE = "take a part of its rows or columns (ship and predict read a file that is larger than memory)"
SIGNATURE_BYTES = 16  # that tell what a file is


def read_table(source: Any) -> Table:
    """A Table from a path, a pandas or polars frame, an Arrow table, or columns by name.

    InputError (MalformedError, MissingError, TooLargeError) says which file, line or column cannot be used.
    """
    if isinstance(source, Table):
        return source
    table = _read_path(Path(source)) if isinstance(source, (str, Path)) else _read_object(source)
    if table.num_rows == 0:
        raise no_rows_error(Path(source).name if isinstance(source, (str, Path)) else "the table")
    return table


def no_rows_error(name: str) -> InputError:
    return InputError(f"{name} has no rows", expected="at least one row", fix="give rows")


def _read_path(path: Path) -> Table:
    """The whole file. TooLargeError when it does not fit into memory."""
    with translate_memory_errors(path.name, FIX_TOO_LARGE):
        with translate_open_errors(path):
            check_memory(PEAK_MEMORY_FACTOR * path.stat().st_size, path.name, FIX_TOO_LARGE)
            data = path.read_bytes()
        return _read_bytes(data, path)


@contextmanager
def translate_open_errors(path: Path) -> Iterator[None]:
    """Turn the error of a path that cannot be read into an InputError or a MissingError."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(
            f"there is no file {path}", expected=EXPECTED_FILE, fix="check the name and the folder"
        ) from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder", expected=EXPECTED_FILE, fix="name a file in it") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(
            f"{str(path)!r} cannot be read: {error}", expected=EXPECTED_FILE, fix="check its name and its rights"
        ) from error


def detect_format(head: bytes, path: Path) -> FileFormat:
    """The format of a file, by its first bytes. InputError for no table; MalformedError when its name says otherwise.

    >>> detect_format(b"PAR1", Path("loans.parquet")), detect_format(b"age,city", Path("loans.csv"))
    ('Parquet', 'delimited')
    """
    if not head:
        raise empty_file_error(path)
    for start, form in _FORMAT_SIGNATURES.items():
        if head.startswith(start):
            return form
    for start, (what, fix) in _UNSUPPORTED_SIGNATURES.items():
        if head.startswith(start):
            raise InputError(f"{path.name} is {what}", expected=EXPECTED_FILE, fix=fix)
    if path.suffix.lower() in (".parquet", ".pq", ".arrow", ".feather", ".ipc"):
        raise MalformedError(f"{path.name} is not what its name says", expected=EXPECTED_FILE, fix="export it again")
    if path.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        raise InputError(f"{path.name} is JSON", expected=EXPECTED_FILE, fix="write its rows as CSV or Parquet")
    return "delimited"


def _read_bytes(data: bytes, path: Path) -> Table:
    form = detect_format(data[:SIGNATURE_BYTES], path)
    if form in ("gzip", "zstd"):
        return _read_bytes(_decompress(data, form, path), path.with_suffix(""))
    return read_delimited(data, path.name) if form == "delimited" else _read_arrow(data, path, form)


def _decompress(data: bytes, codec: str, path: Path) -> bytes:
    pa = need("pyarrow", extra="tabular")
    try:
        with pa.input_stream(pa.BufferReader(data), compression=codec) as stream:
            unpacked: bytes = stream.read()
    except OSError as error:
        raise decompress_error(path, codec, error) from error
    if not unpacked:
        raise empty_file_error(path)
    return unpacked


def empty_file_error(path: Path) -> InputError:
    return InputError(f"{path.name} is empty", expected=EXPECTED_FILE, fix="export it again")


def decompress_error(path: Path, codec: str, error: OSError) -> MalformedError:
    return MalformedError(
        f"{path.name} does not unpack: {error}", expected=f"a whole {codec} file", fix="make the file again"
    )


def broken_file_error(path: Path, form: FileFormat, error: Exception) -> MalformedError:
    """The error for a file of Arrow or Parquet that is not whole."""
    what = form.removesuffix(" stream")
    return MalformedError(
        f"{path.name} cannot be read as {what}: {str(error)[:200]}",
        expected=f"a whole {what} file",
        fix="export it again; it may be cut off",
    )


def _read_arrow(data: bytes, path: Path, form: FileFormat) -> Table:
    pa = need("pyarrow", extra="tabular")
    try:
        if form == "Parquet":
            file = need("pyarrow.parquet", extra="tabular").ParquetFile(pa.BufferReader(data))
            check_memory(_decoded_bytes(file), path.name, FIX_TOO_LARGE)
            table = file.read()
        elif form == "Arrow":
            table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        else:
            table = pa.ipc.open_stream(pa.BufferReader(data)).read_all()
        table.validate(full=True)
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise broken_file_error(path, form, error) from error
    return from_arrow(table)


def _decoded_bytes(file: Any) -> int:
    """About what the numbers of a `pyarrow.parquet.ParquetFile` take once they are decoded. Zeros that take a few bytes
    in the file take eight each in memory, and Arrow's threads before 25.0 abort the process where that is not there."""
    widths = {"BOOLEAN": 1 / 8, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 8}
    columns = [file.schema.column(index) for index in range(len(file.schema))]
    return int(file.metadata.num_rows * sum(widths.get(column.physical_type, 4) for column in columns))


def _read_object(source: Any) -> Table:
    pa = need("pyarrow", extra="tabular")
    if isinstance(source, (pa.Table, pa.RecordBatch)):
        return from_arrow(pa.Table.from_batches([source]) if isinstance(source, pa.RecordBatch) else source)
    module = type(source).__module__.partition(".")[0]
    if module == "polars" and hasattr(source, "collect"):
        source = source.collect()
    if module == "polars" and hasattr(source, "get_columns"):
        return _read_columns([(series.name, series.to_arrow()) for series in source.get_columns()])
    if module == "pandas" and hasattr(source, "columns"):
        return _read_columns([(_flat_name(name), source.iloc[:, i]) for i, name in enumerate(source.columns)])
    if isinstance(source, Mapping):
        return _read_columns(list(source.items()))
    raise InputError(
        f"a table cannot be read from {type(source).__name__}",
        expected="a path, a pandas or polars frame, an Arrow table, or a dict of columns",
        fix="turn it into one of these",
    )


def _flat_name(name: Any) -> str:
    if isinstance(name, tuple):
        raise InputError(
            f"column {name!r} has a name of several levels", expected="a text", fix="join the levels into one name"
        )
    return str(name)


def _read_columns(columns: list[tuple[Any, Any]]) -> Table:
    """Columns one by one, so that the one that cannot be read is named."""
    pa = need("pyarrow", extra="tabular")
    names = check_names([str(name) for name, _ in columns])
    arrays = [_to_arrow_array(name, values) for name, (_, values) in zip(names, columns, strict=True)]
    for name, array in zip(names, arrays, strict=True):
        if len(array) != len(arrays[0]):
            raise InputError(
                f"column {name!r} has {len(array)} values and {names[0]!r} has {len(arrays[0])}",
                expected="columns of one length",
                fix="give each row a value, None where there is none",
            )
    return from_arrow(pa.table(arrays, names=names))


def _to_arrow_array(name: str, values: Any) -> Any:
    """An Arrow array of a series, an array or a list. Mixed objects become text when each of them has one."""
    pa = need("pyarrow", extra="tabular")
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InputError(
            f"column {name!r} is {type(values).__name__}",
            expected="a list or an array of values",
            fix=f"give {name!r} a list with one value for each row",
        )
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    values = _without_pandas_types(values if hasattr(values, "__len__") else list(values))
    try:
        array = pa.array(values, from_pandas=True)
        if pa.types.is_date(array.type) and any(isinstance(value, datetime) for value in values):
            return _mixed_to_arrow(name, values)  # Arrow would cut off their hours
        return array
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return _mixed_to_arrow(name, values)


def _without_pandas_types(values: Any) -> Any:
    """A series of pandas whose type Arrow does not have, in one that it has: periods are the moments of their starts,
    intervals texts."""
    kind = str(getattr(values, "dtype", ""))
    if kind == "category":
        kind = str(values.dtype.categories.dtype)
    if kind.startswith("period["):
        values = values.astype(kind)
        return values.dt.to_timestamp() if hasattr(values, "dt") else values.to_timestamp()
    return values.astype(str) if kind.startswith("interval[") else values


def _parse_dates(values: list[Any]) -> NDArray[Any]:
    return parse_timestamps(values).astype("datetime64[ms]")


def _mixed_to_arrow(name: str, values: Any) -> Any:
    """Objects of several types: numbers or dates when each can be read as one, else text."""
    pa = need("pyarrow", extra="tabular")
    if getattr(values, "ndim", 1) != 1:
        raise InputError(
            f"column {name!r} has {values.ndim} dimensions",
            expected="one value for each row",
            fix="make a column of each part",
        )
    values = list(values)
    for read in (parse_numbers, _parse_dates):
        try:
            return pa.array(read(values), from_pandas=True)
        except BadValueError:
            continue
    try:
        return pa.array(map_distinct(values, level_name), pa.large_string())
    except BadValueError as error:
        raise InputError(
            f"column {name!r}, row {error.row}: {str(error.value)[:80]!r} is of type {type(error.value).__name__}",
            expected="numbers, true or false, text or dates",
            fix=f"turn {name!r} into such values, or leave it out",
        ) from error
    except UnicodeEncodeError as error:
        raise InputError(
            f"column {name!r} holds half a letter (a lone surrogate)", expected="whole letters", fix="clean the text"
        ) from error
