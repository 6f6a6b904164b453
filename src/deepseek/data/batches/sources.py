"""Where the parts of a table come from: a CSV, a Parquet file or a file of Arrow, each as pyarrow.Tables in its order.

A source can be passed over again and again. `check` is true for the first pass, which looks at every byte.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from deepseek.data.batches.spool import spool_to_file
from deepseek.data.batches.window import FileWindow, open_buffered
from deepseek.data.table.arrow import TableReader, drop_pandas_index
from deepseek.data.table.delimited import (
    BLOCK_BYTES,
    PART_BYTES,
    broken_line_error,
    check_no_nul,
    check_quotes_closed,
    csv_options,
    find_file_encoding,
    find_layout,
    header_only_error,
    transcode_file,
)
from deepseek.data.table.read import FileFormat, broken_file_error, no_rows_error
from deepseek.errors import InputError
from deepseek.extras import need

SMALL_BLOCK_BYTES = 2**20  # of a CSV that are parsed together, unless a row is longer
MAX_BATCH_ROWS, MAX_BATCH_CELLS = 2**16, 2**24  # of a table that are in memory together
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TableSource(Protocol):
    path: Path

    def reader(self) -> TableReader:
        """The reader of the columns, which have the names that the file gives them."""
        ...

    def tables(self, *, check: bool) -> Iterator[Any]:
        """All rows in their order, as pyarrow.Tables. MalformedError for what cannot be read."""
        ...

    def no_rows_error(self) -> InputError: ...


class DelimitedSource:
    """A CSV file. One that is not in UTF-8 is transcoded into a temporary file first."""

    def __init__(self, descriptor: int, path: Path, exit_stack: ExitStack) -> None:
        self.path, self._descriptor, self._start = path, descriptor, 0
        encoding = find_file_encoding(open_buffered(descriptor))
        if encoding == "utf-8-sig":
            for _ in transcode_file(open_buffered(descriptor), encoding, path.name):
                pass  # that it is UTF-8 throughout
            self._start = len(_BYTE_ORDER_MARK)
        elif encoding != "utf-8":
            self._descriptor = spool_to_file(
                transcode_file(open_buffered(descriptor), encoding, path.name), path, exit_stack
            )
        check_no_nul(open_buffered(self._descriptor, self._start), path.name)
        self._start += _count_leading_bytes(self._descriptor, self._start, b"\r\n")
        self._layout = find_layout(open_buffered(self._descriptor, self._start), path.name)
        self._num_quotes = self._count_byte(b'"')
        self._block_bytes = SMALL_BLOCK_BYTES

    def reader(self) -> TableReader:
        return TableReader(self._layout.names, cells=True, decimal_comma=self._layout.has_decimal_commas)

    def tables(self, *, check: bool) -> Iterator[Any]:
        pa = need("pyarrow", extra="tabular")
        num_yielded = 0
        for block_bytes in (SMALL_BLOCK_BYTES, BLOCK_BYTES):
            self._block_bytes = max(block_bytes, self._block_bytes)
            num_skipped = num_yielded
            try:
                for table in self._parse_blocks():
                    unread = table.slice(min(num_skipped, len(table)))
                    num_skipped -= len(table) - len(unread)
                    num_yielded += len(unread)
                    if len(unread):
                        yield unread
            except pa.ArrowInvalid as error:  # a row that is longer than a small block, or one that does not fit
                if self._block_bytes == BLOCK_BYTES:
                    file = open_buffered(self._descriptor, self._start)
                    raise broken_line_error(file, self._layout, self.path.name, str(error)) from error
            else:
                break
        if check and self._num_quotes % 2:
            check_quotes_closed(open_buffered(self._descriptor, self._start), self._layout, self.path.name)

    def no_rows_error(self) -> InputError:
        return header_only_error(self.path.name)

    def _parse_blocks(self) -> Iterator[Any]:
        pa, csv_reader = need("pyarrow", extra="tabular"), need("pyarrow.csv", extra="tabular")
        window = FileWindow(self._descriptor, self._start)
        block_bytes = min(window.num_bytes + 1, self._block_bytes)
        options = csv_options(self._layout, block_bytes=block_bytes, has_quotes=self._num_quotes > 0)
        names = list(self._layout.names)
        with csv_reader.open_csv(pa.PythonFile(window, "r"), *options) as batches:
            for batch in batches:
                yield pa.Table.from_batches([batch]).rename_columns(names)

    def _count_byte(self, byte: bytes) -> int:
        file = open_buffered(self._descriptor, self._start)
        return sum(part.count(byte) for part in iter(lambda: file.read(PART_BYTES), b""))


class ArrowSource:
    """A Parquet or Arrow file. In memory are one page of each column of a row group, or one record batch."""

    def __init__(self, descriptor: int, path: Path, form: FileFormat) -> None:
        self.path, self._descriptor, self._form = path, descriptor, form

    def reader(self) -> TableReader:
        pa = need("pyarrow", extra="tabular")
        try:
            with ExitStack() as exit_stack:
                empty = self._open(exit_stack)[0].empty_table()
        except (pa.ArrowException, OSError, ValueError) as error:
            raise broken_file_error(self.path, self._form, error) from error
        return TableReader(drop_pandas_index(empty)[0].column_names)

    def tables(self, *, check: bool) -> Iterator[Any]:
        pa = need("pyarrow", extra="tabular")
        with ExitStack() as exit_stack:
            try:
                _, batches = self._open(exit_stack)
                for batch in batches:
                    table = pa.Table.from_batches([batch])
                    if check:
                        table.validate(full=True)
                    yield drop_pandas_index(table)[0]
            except pa.ArrowMemoryError:
                raise
            except (pa.ArrowException, OSError, ValueError) as error:
                raise broken_file_error(self.path, self._form, error) from error

    def no_rows_error(self) -> InputError:
        return no_rows_error(self.path.name)

    def _open(self, exit_stack: ExitStack) -> tuple[Any, Iterator[Any]]:
        """The schema of the file, and its record batches."""
        pa = need("pyarrow", extra="tabular")
        data = exit_stack.enter_context(pa.PythonFile(FileWindow(self._descriptor), "r"))
        if self._form == "Parquet":
            parquet = need("pyarrow.parquet", extra="tabular")
            file = exit_stack.enter_context(parquet.ParquetFile(data, buffer_size=PART_BYTES))
            return file.schema_arrow, file.iter_batches(batch_num_rows(len(file.schema_arrow.names)))
        if self._form == "Arrow":
            ipc = exit_stack.enter_context(pa.ipc.open_file(data))
            return ipc.schema, (ipc.get_batch(index) for index in range(ipc.num_record_batches))
        stream = exit_stack.enter_context(pa.ipc.open_stream(data))
        return stream.schema, iter(stream)


def batch_num_rows(num_columns: int) -> int:
    """How many rows are in memory together: fewer of a wide table.

    >>> batch_num_rows(30), batch_num_rows(5_000)
    (65536, 3355)
    """
    return min(MAX_BATCH_ROWS, MAX_BATCH_CELLS // max(num_columns, 1))


def _count_leading_bytes(descriptor: int, start: int, leading: bytes) -> int:
    """How many of `leading` bytes stand before any other."""
    num_leading = 0
    while part := os.pread(descriptor, PART_BYTES, start + num_leading):
        num_other = len(part.lstrip(leading))
        num_leading += len(part) - num_other
        if num_other:
            break
    return num_leading
